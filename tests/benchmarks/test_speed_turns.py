"""Rounds of several schemes in turns: tables are whole, ratios are those of the same turn; timings are never judged here."""

import pytest

from laser_wireless.benchmarks.speed import turns
from laser_wireless.benchmarks.speed.__main__ import main
from laser_wireless.benchmarks.speed.shapes import CASES


def test_every_case_takes_every_turn():
    cases = {name: CASES[name] for name in ("mlp", "mlp-equal")}
    found = turns.measure_turns(cases, threads=1, turns=2)
    assert list(found) == list(cases)
    for own in found.values():
        assert len(own) == 2
        assert all(spent > 0 and min(stages) >= 0 and sum(stages) > 0 for spent, stages in own)


def test_the_table_compares_with_the_first_case_turn_by_turn(tmp_path, monkeypatch, capsys):
    stages = (0.001, 0.002, 0.003, 0.004)
    found = {
        "mlp": [(k, tuple(k * s for s in stages)) for k in (1.0, 5.0, 2.0)],
        "mlp-equal": [(3 * k, tuple(2 * k * s for s in stages)) for k in (1.0, 5.0, 2.0)],
    }
    monkeypatch.setattr(turns, "in_own_process", lambda work: found)
    file = tmp_path / "speed.md"
    main(["turns", "--turns", "3", "--output", str(file)])
    text = capsys.readouterr().out
    assert file.read_text() in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| mlp")]
    assert [row[4:] for row in rows] == [
        ["3", "20", "2", "4", "6", "8", "1.00 [1.00, 1.00]", "1.00 [1.00, 1.00]"],
        ["3", "40", "4", "8", "12", "16", "2.00 [2.00, 2.00]", "3.00 [3.00, 3.00]"],
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--threads 0", "--threads must be >= 1, got 0"),
        ("--turns 1", "--turns must be >= 2, got 1"),
        ("--cases mlp gpt2", "--cases must be of one model, such as mlp and mlp-equal, got mlp, gpt2"),
        ("--cases nothing", "invalid choice: 'nothing'"),
    ],
)
def test_impossible_options_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["turns", *words.split()])
    assert message in capsys.readouterr().err
