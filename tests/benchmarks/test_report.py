"""What a sweep ends with when runs fail or diverge, and its pictures again from its files alone."""

import json
import math
import shutil

import pytest
import yaml
from helpers.sweep_rows import diverge, fail, make_sweep, rows_of

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv
from laser_wireless.benchmarks.sweeps.report import protocol, read_rows, report

CURVES = {"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0], "noiseless": [1.0, 1.0, 0.5]}
CONTENT = {
    "task": {"class_path": "Digits", "init_args": {"width": 12}},
    "energy_budgets": [1, 10, 100],
    "learning_rates": [0.1],
    "seeds": [0, 1],
    "num_devices": 4,
    "num_rounds": 4,
    "targets": [2.2],
}


def test_failed_budgets_are_stated_and_nothing_is_concluded_across_them(tmp_path, capsys):
    rows = fail(rows_of(CURVES, shift=0.1), "laser", [1, 10], every=2)
    assert report(make_sweep(targets=[2.5]), rows, tmp_path, "broken") == 1
    said = capsys.readouterr()
    assert "laser: P = 1, 10 (6 of 12 runs failed)" in said.out
    assert "nothing is concluded across these budgets" in said.out
    assert "not known: runs failed at P = 1, 10" in said.out
    assert "below the lowest budget" not in said.out
    assert "cross at: none seen within these budgets; not known beside missing ones" in said.out
    assert said.err.count("failed: a run: it raised") == 1
    table = read_csv(tmp_path / "table.csv")
    assert [(row["failed"], row["runs"]) for row in table if row["scheme"] == "laser"] == [(3, 6), (3, 6), (0, 6)]
    assert (tmp_path / "sweep.png").exists()


def test_failures_of_one_kind_take_one_line(tmp_path, capsys):
    """Whatever a hundred runs fail of is said once, with the first traceback, and a second kind is not lost in it."""
    rows = fail(rows_of(CURVES), "laser", [1, 10])
    failed = [row for row in rows if row["status"] == "failed"]
    for number, row in enumerate(failed):
        kind = "ValueError: one" if number else "KeyError: two"
        row["reason"] = f"{kind} (mine.py:3, in f); traceback in runs/{number}/error.txt"
    report(make_sweep(), rows, tmp_path, "broken")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert lines == [
        "failed: KeyError: two (mine.py:3, in f); traceback in runs/0/error.txt",
        f"failed: ValueError: one (mine.py:3, in f); traceback in runs/1/error.txt, and {len(failed) - 2} more like it",
    ]


def test_the_report_says_in_what_a_schemes_task_differs():
    assert "task" not in protocol(make_sweep())
    schemes = {
        "laser": {"compressor": "laser", "task": {"momentum": 0, "sharding": "label"}},
        "whole": {"compressor": "laser", "task": {"class_path": "Digits", "init_args": {"averaging": 0.5}}},
        "usual": {"compressor": "laser", "task": {}},
        "z-sgd": "z-sgd",
    }
    task = {"class_path": "Digits", "init_args": {"width": 12, "averaging": 0.5}}
    said = protocol(make_sweep(schemes=schemes, task=task))
    assert "; arguments of the task that differ: laser (momentum=0, sharding='label'), whole (width=default).\n" in said


def test_a_noiseless_line_with_failed_runs_is_none(tmp_path, capsys):
    rows = fail(rows_of(CURVES), "noiseless", [100], every=2)
    assert report(make_sweep(), rows, tmp_path, "broken") == 1
    assert "noiseless: no line (3 of 6 runs failed)" in capsys.readouterr().out


@pytest.mark.parametrize("change", [diverge, lambda rows, schemes: [fail(rows, scheme, [1, 10, 100]) for scheme in schemes]])
def test_a_sweep_in_which_nothing_is_finite_ends_with_table_and_report(change, tmp_path, capsys):
    rows = rows_of(CURVES)
    change(rows, tuple(CURVES))
    status = report(make_sweep(targets=[2.5]), rows, tmp_path, "lost")
    assert status == (1 if change is not diverge else 0)
    assert len(read_csv(tmp_path / "table.csv")) == 9
    assert "written to" in capsys.readouterr().out
    for name in ("sweep.png", "sweep.pdf", "savings.csv", "environment.json"):
        assert (tmp_path / name).exists()


def test_a_users_scheme_that_raises_at_the_lowest_budgets(tmp_path, monkeypatch, capsys):
    (tmp_path / "fragile_part.py").write_text(
        "from laser_wireless.channels import AlignedInversion\n"
        "class Fragile(AlignedInversion):\n"
        "    def __call__(self, h, norms, energy, noise_variance, **knowledge):\n"
        "        if energy.sum() < 60:\n"
        "            raise ValueError('too little energy for me')\n"
        "        return super().__call__(h, norms, energy, noise_variance, **knowledge)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    fragile = {"compressor": "laser", "uplink": {"power_control": "fragile_part.Fragile"}}
    content = CONTENT | {"schemes": {"fragile": fragile, "z-sgd": "z-sgd"}}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(content))
    assert main(["sweep", "some.yaml", "--jobs", "1", "--device", "cpu", "--output", "out"]) == 1
    said = capsys.readouterr()
    assert "too little energy for me" in said.err
    assert "fragile: P = 1, 10 (4 of 4 runs failed)" in said.out
    [row] = [row for row in read_csv(tmp_path / "out" / "savings.csv") if row["scheme"] == "fragile"]
    assert row["note"] == "not known: runs failed at P = 1, 10"
    assert math.isnan(row["saving_db"])


def drawn(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.p*")}


def test_a_sweep_is_redrawn_from_its_files_to_the_byte(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = CONTENT | {
        "schemes": {"1": "laser", "z-sgd": "z-sgd"},  # a name that reads like a number
        "figure": {"kind": "difference", "panels": {"a": {"1": "z-sgd"}}},
    }
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(content))
    assert main(["sweep", "some.yaml", "--jobs", "1", "--device", "cpu"]) == 0
    folder = tmp_path / "runs" / "some"
    before = drawn(folder)
    assert set(before) == {"sweep.png", "sweep.pdf", "figure.png", "figure.pdf"}
    kept = tmp_path / "kept under another name"
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("runs", "*.p*"))
    assert main(["redraw", str(kept)]) == 0
    assert "drawn in" in capsys.readouterr().out
    assert drawn(kept) == before
    assert json.loads((kept / "environment.json").read_text())["study"] == "some"
    assert [row["scheme"] for row in read_rows(kept / "table.csv")][:3] == ["1", "1", "1"]
    assert main(["redraw", str(kept), "--style", "ggplot"]) == 0
    assert drawn(kept) != before


@pytest.mark.parametrize(
    "words",
    [
        "sweep communication --scale small",
        "sweep energy-share --scale small --num_rounds 4 --record_every 2 --task.width 16 --task.context 8",
        pytest.param(
            "channel --view all --fading Rayleigh --power_control TruncatedInversion --num_rounds 20 --num_links 16",
            marks=pytest.mark.slow,
        ),
        "channel --view spectrogram --fading tdl-c --num_slots 4 --ofdm Ofdm",
    ],
)
def test_other_studies_are_redrawn_from_their_files_to_the_byte(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--device", "cpu", "--output", "out"]) == 0
    before = drawn(tmp_path / "out")
    assert before
    for name in before:
        (tmp_path / "out" / name).unlink()
    assert main(["redraw", "out"]) == 0
    assert drawn(tmp_path / "out") == before


def test_a_folder_that_cannot_be_redrawn_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "sweep.yaml").write_text("task: digits\n")
    for words, message in (
        ("redraw empty", "empty holds nothing to draw"),
        ("redraw begun", "begun has no table.csv: the sweep has not ended"),
        ("redraw --style", "--style needs a value"),
        ("redraw empty --styel ggplot", "'--styel' is not an option of laser redraw"),
        ("redraw empty --style ggplt", "--style 'ggplt' is neither a style"),
        ("redraw --style ggplot", "needs a folder"),
    ):
        assert main(words.split()) == 2
        assert message in capsys.readouterr().err
    assert main(["redraw", "--help"]) == 0
    assert "--style STYLE" in capsys.readouterr().out
