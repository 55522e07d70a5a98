"""`speed runs`: it measures what a sweep does, and says whether it is the same."""

import pytest

from laser_wireless.benchmarks.speed import runs
from laser_wireless.benchmarks.speed.__main__ import main
from laser_wireless.channels.uplinks.stacked import NotStackable


def test_contenders_take_the_same_steps():
    timing = runs.measure_runs("LowRank(rank=4)", [1, 3], "cpu", threads=1, rounds=2)
    assert set(timing.together) == {1, 3}
    assert timing.difference == {1: 0, 3: 0}
    assert all(seconds > 0 for seconds in (timing.alone, timing.plain, *timing.together.values()))
    assert timing.megabytes == pytest.approx(4e-6 * 16 * (26_122 + 1_546))  # the message of an even round


def test_runs_that_cannot_be_together_are_told(monkeypatch):
    def refuse(self, *arguments):
        raise NotStackable("no")

    monkeypatch.setattr("laser_wireless.training.side_by_side.SideBySide.exchange", refuse)
    timing = runs.measure_runs("Uncompressed()", [2], "cpu", threads=1, rounds=1)
    assert timing.together == {}
    assert timing.alone > 0


@pytest.mark.slow
def test_the_table(tmp_path, capsys):
    file = tmp_path / "speed.md"
    main(["runs", "--schemes", *runs.SCHEMES, "--together", "2", "--threads", "1", "--rounds", "1", "--output", str(file)])
    text = capsys.readouterr().out
    assert file.read_text() in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [row[:3] for row in rows[2:]] == [
        [scheme, "1", together] for scheme in runs.SCHEMES for together in ("alone", "2")
    ]
    assert all(float(row[3]) > 0 and row[6] in ("", "yes") for row in rows[2:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--together 0", "--together must be >= 1, got 0"),
        ("--rounds 0", "--rounds must be >= 1, got 0"),
        ("--schemes QSGD", "invalid choice: 'QSGD'"),
    ],
)
def test_impossible_options_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["runs", *words.split()])
    assert message in capsys.readouterr().err
