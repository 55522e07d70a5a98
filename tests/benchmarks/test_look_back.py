"""Results read back: `load`, `laser ls`, `laser show`, `laser compare`."""

import math

import pytest

from laser_wireless import benchmarks
from laser_wireless.benchmarks import loading
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv, read_json

pandas = pytest.importorskip("pandas")
RUN = "--task.width 8 --task.batch_size 4 --num_devices 2 --num_rounds 5 --evaluate_every 2 --device cpu"
SWEEP = """
task: {class_path: digits, init_args: {width: 8, batch_size: 4}}
schemes: [laser, z-sgd]
energy_budgets: [1, 100]
learning_rates: [0.01, 0.1]
seeds: [0, 1]
num_devices: 2
num_rounds: 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs, a sweep, a channel study."""
    root = tmp_path_factory.mktemp("looked")
    (root / "mine.yaml").write_text(SWEEP)
    one, two, sweep, channel = (str(root / "runs" / name) for name in ("one", "two", "sweep", "channel"))
    assert main(["run", *RUN.split(), "--uplink.energy_budget", "9", "--output", one]) == 0
    assert main(["run", *RUN.split(), "--uplink.energy_budget", "90", "--compressor", "z-sgd", "--output", two]) == 0
    assert main(["sweep", str(root / "mine.yaml"), "--device", "cpu", "--jobs", "1", "--output", sweep]) == 0
    assert main(["channel", "--num_rounds", "20", "--snr_db", "[0]", "--device", "cpu", "--output", channel]) == 0
    return root / "runs"


def test_a_sweep_as_tables(folder):
    records = benchmarks.load(folder / "sweep")
    runs = records.runs
    assert len(runs) == 2 * 2 * 2 * 2 + 2 * 2
    assert set(runs.scheme) == {"laser", "z-sgd", "noiseless"}
    assert set(runs.status) == {"done"}
    chosen = records.choices.query("scheme == 'laser' and energy_budget == 100").iloc[0]
    mine = runs.query("scheme == 'laser' and energy_budget == 100 and learning_rate == @chosen.learning_rate")
    assert mine.test_loss.mean() == pytest.approx(chosen.test_loss, rel=1e-12)
    best = runs.query("scheme == 'laser' and energy_budget == 100").groupby("learning_rate").validation_loss.mean()
    assert best.idxmin() == chosen.learning_rate
    assert len(records.rounds) == len(runs) * 4
    assert (records.rounds.energy_spent <= records.rounds.energy_allowed).all()
    one = runs.iloc[3]
    assert read_json(folder / "sweep" / "runs" / one.run / "result.json")["metrics"]["test"]["loss"] == one.test_loss
    of_it = records.rounds[records.rounds.run == one.run]
    assert of_it.energy_spent.mean() == pytest.approx(one.energy_spent, rel=1e-12)
    assert of_it.training_loss.tolist() == [
        row["training_loss"] for row in read_csv(folder / "sweep" / "runs" / one.run / "rounds.csv")
    ]
    assert len(records.savings) == len(read_csv(folder / "sweep" / "savings.csv"))
    assert {"commit", "cpu", "torch"} <= set(runs.columns)


def test_a_run_as_tables(folder):
    records = benchmarks.load(str(folder / "one"))
    [row] = records.runs.to_dict("records")
    assert (row["scheme"], row["energy_budget"], row["arguments"], row["seed"]) == ("LowRank", 9, "rank=4", 0)
    assert len(records.rounds) == 5
    assert records.evaluations["round"].tolist() == [2, 4, 5]
    assert records.choices.empty


def test_runs_that_are_not_done_are_told(folder, tmp_path):
    import shutil

    copy = tmp_path / "sweep"
    shutil.copytree(folder / "sweep", copy)
    gone = benchmarks.load(copy).runs.run[0]
    (copy / "runs" / gone / "result.json").unlink()
    runs = benchmarks.load(copy).runs
    assert runs[runs.run == gone].status.tolist() == ["not done"]
    assert math.isnan(runs[runs.run == gone].test_loss.iloc[0])
    assert len(runs) == 20


def test_what_is_no_folder_of_ours_and_what_is_damaged_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="holds neither a run"):
        benchmarks.load(tmp_path)
    import shutil

    copy = tmp_path / "one"
    shutil.copytree(folder / "one", copy)
    path = copy / "result.json"
    path.write_text(path.read_text().replace('"rounds": 5', '"rounds": 6'))
    with pytest.raises(ValueError, match=r"result.json is damaged"):
        benchmarks.load(copy)


def test_without_pandas_the_extra_is_named(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'laser-wireless\[pandas\]'"):
        loading.load(folder / "one")


def test_ls_lists_each_folder_once(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert main(["ls"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["runs/channel", "channel", *lines[1][2:4]],
        ["runs/one", "run", "1", "1"],
        ["runs/sweep", "sweep", "20", "20"],
        ["runs/two", "run", "1", "1"],
    ]


def test_show_prints_settings_and_results(folder, capsys):
    assert main(["show", str(folder / "one")]) == 0
    found = capsys.readouterr().out
    assert "energy_budget: 9" in found
    assert "test_loss" in found
    assert main(["show", str(folder / "sweep")]) == 0
    found = capsys.readouterr().out
    assert "savings.csv" in found
    assert "20 runs, 0 not done" in found


def test_compare_tells_settings_and_results_apart(folder, capsys):
    one, two = str(folder / "one"), str(folder / "two")
    assert main(["compare", one, two]) == 0
    found = capsys.readouterr().out
    settings, results = found.split("\n\n")
    assert "uplink.init_args.energy_budget" in settings
    assert "compressor.class_path" in settings
    assert "num_rounds" not in settings
    a, b = (read_json(folder / name / "result.json")["metrics"]["test"]["loss"] for name in ("one", "two"))
    assert f"{b - a:.5g}" in next(line for line in results.splitlines() if "metrics.test.loss" in line)
    assert main(["compare", one, one]) == 0
    assert "no setting differs" in capsys.readouterr().out
    assert main(["compare", str(folder / "sweep"), str(folder / "sweep")]) == 0
    assert capsys.readouterr().out.count("test_loss") == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ls nowhere", "there is no folder nowhere"),
        ("show", "laser show takes one folder, got 0"),
        ("compare FOLDER/one", "laser compare takes two folders, got 1"),
        ("compare FOLDER/one FOLDER/sweep", "two runs or two sweeps can be compared"),
        ("show FOLDER/one --all", "'--all' is not an option"),
    ],
)
def test_bad_words_are_named(words, message, folder, capsys):
    assert main([word.replace("FOLDER", str(folder)) for word in words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_is_of_the_commits_of_its_runs(folder, tmp_path, monkeypatch):
    """The tree may have moved on while it ran: what counts is what computed the numbers."""
    import shutil

    from laser_wireless.benchmarks.sweeps import report

    copy = tmp_path / "sweep"
    shutil.copytree(folder / "sweep", copy)
    monkeypatch.setattr(report, "environment", lambda: {"commit": "later", "python": "3"})
    assert main(["sweep", str(folder.parent / "mine.yaml"), "--device", "cpu", "--jobs", "1", "--output", str(copy)]) == 0
    [commit] = set(benchmarks.load(copy).runs.commit)
    found = read_json(copy / "environment.json")
    assert (found["commit"], found["python"]) == (commit, "3")
