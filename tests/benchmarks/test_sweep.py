"""Sweeps: paired, complete, resumable after any kill, and clear about what failed."""

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.sweeps import running
from laser_wireless.benchmarks.sweeps.running import run_sweep
from laser_wireless.benchmarks.sweeps.sweep import NOISELESS, Sweep, cells, run_from, sweep_from
from laser_wireless.benchmarks.training_run import train

TINY = {
    "task": {"class_path": "Digits", "init_args": {"width": 12}},
    "uplink": {"class_path": "AnalogUplink", "init_args": {"fading": "Rayleigh", "power_control": "TruncatedInversion"}},
    "schemes": {"laser r=2": {"class_path": "LowRank", "init_args": {"rank": 2}}, "z-sgd": "z-sgd"},
    "energy_budgets": [10, 1000],
    "learning_rates": [0.03, 0.1],
    "seeds": [0, 1],
    "num_devices": 4,
    "num_rounds": 8,
    "evaluate_every": 4,
}


def environment_free(rows):
    return [{name: value for name, value in row.items() if name != "environment"} for row in rows]


def test_a_sweep_pairs_schemes_over_budgets_rates_and_seeds():
    sweep = sweep_from(TINY)
    grids = {}
    for scheme in sweep.schemes:
        found = list(cells(sweep, scheme))
        grids[scheme] = {(cell.energy_budget, cell.candidate.learning_rate, cell.seed) for cell in found}
        assert len(found) == 8
        assert all(cell.spec["uplink"]["init_args"]["energy_budget"] == cell.energy_budget for cell in found)
    assert grids["laser r=2"] == grids["z-sgd"]
    noiseless = list(cells(sweep, NOISELESS))
    assert len(noiseless) == 4
    assert all(cell.spec["uplink"]["init_args"]["noise_variance"] == 0 for cell in noiseless)


def test_a_list_of_words_is_enough():
    sweep = sweep_from(TINY | {"schemes": ["laser", "z-sgd"]})
    assert list(sweep.schemes) == ["laser", "z-sgd"]
    assert sweep.baseline == "z-sgd"


def test_a_schedule_takes_the_budget_as_its_mean():
    uplink = {
        "class_path": "AnalogUplink",
        "init_args": {"energy_budget": {"class_path": "LinearEnergy", "init_args": {"num_rounds": 8}}},
    }
    cell = next(cells(sweep_from(TINY | {"uplink": uplink}), "z-sgd"))
    assert cell.spec["uplink"]["init_args"]["energy_budget"]["init_args"]["energy_budget"] == 10


def test_folders_differ_where_results_do(tmp_path):
    one, two = sweep_from(TINY), sweep_from(TINY | {"num_rounds": 9})
    patient = sweep_from(TINY | {"checkpoint_seconds": 1.0})
    first = [cell.folder(tmp_path) for cell in cells(one, "z-sgd")]
    assert len(set(first)) == 8
    assert not set(first) & {cell.folder(tmp_path) for cell in cells(two, "z-sgd")}
    assert first == [cell.folder(tmp_path) for cell in cells(patient, "z-sgd")]


@pytest.mark.slow
def test_processes_and_one_process_give_the_same_rows_and_nothing_is_done_twice(tmp_path):
    sweep = sweep_from(TINY | {"learning_rates": [0.1], "seeds": [0]})
    together = run_sweep(sweep, tmp_path / "a", device="cpu", jobs=2)
    alone = run_sweep(sweep, tmp_path / "b", device="cpu", jobs=1)
    assert environment_free(together) == environment_free(alone)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("result.json")}
    assert run_sweep(sweep, tmp_path / "a", device="cpu", jobs=1) == together
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("result.json")} == before


def test_schemes_of_different_momentum_are_what_their_runs_are_alone(tmp_path, monkeypatch):
    groups, make = [], running.train_together

    def counted(members, **options):
        groups.append([member.run.task.momentum for member in members])
        return make(members, **options)

    monkeypatch.setattr(running, "train_together", counted)
    schemes = {f"beta={beta}": {"compressor": "laser", "task": {"momentum": beta}} for beta in (0, 0.5)} | {"usual": "laser"}
    sweep = sweep_from(TINY | {"schemes": schemes})
    rows = {row["run"]: row for row in run_sweep(sweep, tmp_path / "sweep", device="cpu", jobs=1)}
    results = {}
    for scheme in schemes:
        for cell in cells(sweep, scheme):
            folder = cell.folder(tmp_path / "alone")
            folder.mkdir(parents=True)
            alone = train(run_from(cell.spec), folder, device=torch.device("cpu"))
            assert rows[folder.name]["metrics"] == alone["metrics"]
            for name in ("rounds.csv", "evaluations.csv"):
                assert (cell.folder(tmp_path / "sweep") / name).read_bytes() == (folder / name).read_bytes()
            results.setdefault(scheme, []).append(alone["metrics"]["test"]["loss"])
    assert len({*map(tuple, results.values())}) == 3  # momentum does matter
    assert all(len(set(group)) == 1 for group in groups)
    assert {group[0] for group in groups} == {0, 0.5, 0.9}  # runs of one momentum did come together


def test_one_run_that_fails_does_not_take_the_others(tmp_path):
    sweep = sweep_from(TINY | {"learning_rates": [0.1], "seeds": [0]})
    victim = next(cells(sweep, "z-sgd")).folder(tmp_path)
    victim.parent.mkdir(parents=True)
    victim.write_text("")  # where its folder should be
    rows = run_sweep(sweep, tmp_path, device="cpu", jobs=1)
    assert [row["status"] for row in rows] == ["done", "done", "failed", "done", "done"]
    assert victim.name in rows[2]["reason"]


def test_names_of_schemes_and_folders_are_one_to_one(tmp_path):
    """Two schemes of one configuration must not share a folder, whatever signs or capitals tell their names apart."""
    names = ["a b", "a_b", "a+b", "a/b", "a%2Fb", "A b", "ä b", "..", "x" * 99 + "1", "x" * 99 + "2"]
    sweep = sweep_from(TINY | {"schemes": dict.fromkeys(names, "z-sgd")})
    folders = [cell.folder(tmp_path) for name in names for cell in cells(sweep, name)]
    assert len({str(folder).casefold() for folder in folders}) == len(folders) == 8 * len(names)
    assert all(folder.parent == tmp_path / "runs" and len(folder.name) < 200 for folder in folders)
    assert folders[0].name.startswith("a+b-P10-lr0.03-seed0-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_round": 3}, "no argument 'num_round'; did you mean num_rounds"),
        ({"energy_budgets": []}, "energy_budgets must hold at least one entry"),
        ({"energy_budgets": [10, 1]}, "energy_budgets must be > 0 and ascending"),
        ({"energy_budgets": [0, 1]}, r"energy_budgets\[0\] must be finite and > 0"),
        ({"learning_rates": [-1]}, r"learning_rates\[0\] must be finite and > 0"),
        ({"seeds": [0, 0]}, "none twice"),
        ({"schemes": ["lasr"]}, "did you mean laser"),
        ({"schemes": "laser"}, "schemes must be a list of names or a mapping"),
        ({"schemes": {"noiseless": "z-sgd"}}, "always drawn"),
        ({"reference": "sgd"}, "reference must be one of the schemes"),
        ({"task": {"class_path": "Digits", "init_args": {"widht": 3}}}, "did you mean width"),
        ({"num_devices": 0}, "num_devices must be >= 1"),
    ],
)
def test_bad_sweeps_are_refused_before_anything_runs(change, message):
    with pytest.raises(BadConfiguration, match=message):
        sweep_from(TINY | change)


def test_a_sweep_without_a_task_is_refused():
    with pytest.raises(BadConfiguration, match="needs 'task'"):
        sweep_from({name: value for name, value in TINY.items() if name != "task"})


def test_defaults_are_those_that_the_class_documents():
    assert Sweep.__dataclass_fields__["num_rounds"].default == 240
