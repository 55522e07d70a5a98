"""Candidates: what a scheme may choose among is read, checked, and chosen on validation data alone."""

import math
from pathlib import Path

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.sweeps.choices import choose, table_of
from laser_wireless.benchmarks.sweeps.running import run_sweep
from laser_wireless.benchmarks.sweeps.savings import savings, targets_of
from laser_wireless.benchmarks.sweeps.sweep import NOISELESS, cells, run_from, sweep_from
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.channels import LinearEnergy, Rayleigh

SEEDS = [0, 1]
PLAIN = {
    "task": {"class_path": "Digits", "init_args": {"width": 12}},
    "uplink": {"class_path": "AnalogUplink", "init_args": {"noise_variance": 2.0}},
    "schemes": ["laser", "z-sgd"],
    "energy_budgets": [1, 10],
    "learning_rates": [0.1, 0.2],
    "seeds": SEEDS,
    "num_devices": 4,
    "num_rounds": 6,
    "evaluate_every": 2,
}


def make_rows(sweep, value):
    """One row per cell; value(cell) -> (validation loss, test metrics), the same for both results."""
    rows = []
    for scheme in (*sweep.schemes, NOISELESS):
        for cell in cells(sweep, scheme):
            loss, test = value(cell)
            metrics = {"validation": {"loss": loss}, "test": test}
            spent = dict.fromkeys(
                ("energy_spent", "max_energy_spent", "energy_allowed", "num_symbols", "num_channel_uses"), 1.0
            )
            rows.append(
                {
                    "scheme": scheme,
                    "energy_budget": cell.energy_budget,
                    "learning_rate": cell.candidate.learning_rate,
                    "arguments": cell.candidate.label,
                    "seed": cell.seed,
                    "status": "done",
                    "metrics": metrics,
                    "best": {"round": 4, "metrics": metrics},
                    "mean_per_round": spent,
                }
            )
    return rows


def test_every_combination_with_every_rate_is_run_once():
    sweep = sweep_from(PLAIN | {"tune": {"laser": {"rank": [2, 8], "rule": ["alternating", "both"]}}})
    found = [cell for cell in cells(sweep, "laser") if cell.seed == 0 and cell.energy_budget == 1]
    assert len(found) == len({cell.folder(Path()) for cell in found}) == 8
    chosen = {(cell.spec["learning_rate"], cell.spec["compressor"]["init_args"]["rank"]) for cell in found}
    assert chosen == {(0.1, 2), (0.1, 8), (0.2, 2), (0.2, 8)}
    assert found[0].candidate.label == "rank=2 rule=alternating"
    assert len(list(cells(sweep, "z-sgd"))) == 2 * 2 * len(SEEDS)


def test_arguments_are_chosen_on_validation_where_test_would_choose_otherwise():
    sweep = sweep_from(PLAIN | {"tune": {"laser": {"rank": [2, 8]}}})

    def value(cell):
        validation = 0.5 if cell.candidate.label == "rank=2" and cell.candidate.learning_rate == 0.2 else 1.0
        return validation, {"loss": 3.0 if validation == 0.5 else 0.0}  # test says the contrary

    curves = choose(sweep, make_rows(sweep, value))
    assert [(p.arguments, p.learning_rate, p.mean) for p in curves["laser"]] == [("rank=2", 0.2, 3.0)] * 2
    rows = {row["scheme"]: row for row in table_of(sweep, curves)}
    assert (rows["laser"]["chosen"], rows["laser"]["candidates"]) == ("rank=2", 4)
    assert (rows["z-sgd"]["chosen"], rows["z-sgd"]["candidates"]) == ("", 2)


def test_the_best_round_may_choose_another_candidate_than_the_last():
    content = PLAIN | {"energy_budgets": [1]}
    rows = make_rows(sweep_from(content), lambda cell: (1.0 if cell.candidate.learning_rate == 0.1 else 2.0, {"loss": 5.0}))
    for row in rows:
        if row["learning_rate"] == 0.2:
            row["best"] = {"round": 2, "metrics": {"validation": {"loss": 0.3}, "test": {"loss": 0.4}}}
    last, best = sweep_from(content), sweep_from(content | {"result": "best"})
    assert choose(last, rows)["laser"][0].learning_rate == 0.1
    point = choose(best, rows)["laser"][0]
    assert (point.learning_rate, point.mean) == (0.2, 0.4)
    row = table_of(best, choose(best, rows))[0]
    assert (row["test_loss"], row["test_loss_at_best_validation"], row["best_round"]) == (5.0, 0.4, 2.0)


def test_schemes_may_have_their_own_rates_of_equal_number():
    rates = {"laser": [0.01, 0.02], "default": [0.1, 0.2]}
    sweep = sweep_from(PLAIN | {"learning_rates": rates})
    grids = {
        scheme: {cell.candidate.learning_rate for cell in cells(sweep, scheme)} for scheme in ("laser", "z-sgd", NOISELESS)
    }
    assert grids == {"laser": {0.01, 0.02}, "z-sgd": {0.1, 0.2}, NOISELESS: {0.1, 0.2}}
    curves = choose(sweep, make_rows(sweep, lambda cell: (cell.candidate.learning_rate, {"loss": 1.0})))
    assert {point.rate_at_edge for points in curves.values() for point in points} == {"lowest"}


def test_a_scheme_may_change_the_uplink_and_keeps_the_rest():
    schedule = {"class_path": "LinearEnergy", "init_args": {"num_rounds": 6, "rising": False}}
    changed = {"compressor": "laser", "uplink": {"energy_budget": schedule, "fading": "Rayleigh"}}
    sweep = sweep_from(PLAIN | {"schemes": {"falling": changed, "plain": "laser"}})
    falling, plain = (run_from(list(cells(sweep, name))[-1].spec).uplink for name in ("falling", "plain"))
    assert falling.energy_budget == LinearEnergy(energy_budget=10.0, num_rounds=6, rising=False)
    assert (falling.fading, falling.noise_variance) == (Rayleigh(), 2.0)
    assert (plain.energy_budget, plain.noise_variance) == (10.0, 2.0)


def test_another_uplink_takes_no_arguments_over():
    other = {"compressor": "laser", "uplink": {"class_path": "AnalogUplink", "init_args": {}}}
    cell = next(cells(sweep_from(PLAIN | {"schemes": {"other": other, "z-sgd": "z-sgd"}}), "other"))
    assert cell.spec["uplink"]["init_args"] == {"energy_budget": 1.0}


WIDE = {"class_path": "Digits", "init_args": {"width": 12, "averaging": 0.5}}


def test_a_scheme_may_change_the_task_and_keeps_the_rest():
    changed = {"compressor": "laser", "task": {"momentum": 0}, "uplink": {"noise_variance": 3.0}}
    sweep = sweep_from(
        PLAIN | {"task": WIDE, "schemes": {"own": changed, "usual": "laser"}, "tune": {"own": {"rank": [1, 2]}}}
    )
    for cell in cells(sweep, "own"):
        assert cell.spec["task"]["init_args"] == {"width": 12, "averaging": 0.5, "momentum": 0}
    run = run_from(cell.spec)
    assert (run.task, run.uplink.noise_variance) == (Digits(width=12, averaging=0.5, momentum=0), 3.0)
    for name in ("usual", NOISELESS):
        assert all(run_from(cell.spec).task == Digits(width=12, averaging=0.5) for cell in cells(sweep, name))


def test_a_whole_task_takes_no_arguments_over():
    other = {"compressor": "laser", "task": {"class_path": "digits", "init_args": {"momentum": 0.5}}}
    cell = next(cells(sweep_from(PLAIN | {"task": WIDE, "schemes": {"other": other, "z-sgd": "z-sgd"}}), "other"))
    assert run_from(cell.spec).task == Digits(momentum=0.5)


def test_a_task_of_its_own_names_other_runs_and_moves_no_others(tmp_path):
    schemes = {"own": {"compressor": "laser", "task": {"momentum": 0}}, "same": {"compressor": "laser", "task": {}}}
    plain, sweep = (sweep_from(PLAIN | {"schemes": some}) for some in ({"own": "laser", "same": "laser"}, schemes))

    def folders(sweep, name):
        return [cell.folder(tmp_path) for cell in cells(sweep, name)]

    assert not set(folders(plain, "own")) & set(folders(sweep, "own"))
    for name in ("same", NOISELESS):
        assert folders(plain, name) == folders(sweep, name)
    assert next(cells(sweep, "own")).kind != next(cells(sweep, "same")).kind  # not computed together


def test_bytes_of_a_scheme_are_of_the_model_of_its_own_task():
    wide = {"compressor": "z-sgd", "task": {"architecture": "linear"}}
    sweep = sweep_from(PLAIN | {"schemes": {"wide": wide, "z-sgd": "z-sgd"}})
    curves = choose(sweep, make_rows(sweep, lambda cell: (1.0, {"loss": 1.0})))
    found = {row["scheme"]: row["num_bytes_per_round"] for row in table_of(sweep, curves)}
    d = 64 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10
    assert found == {"wide": 4 * 650, "z-sgd": 4 * d, NOISELESS: 4 * d}


def test_noiseless_may_be_named_and_is_drawn_once():
    sweep = sweep_from(PLAIN | {"schemes": ["laser", "z-sgd", "noiseless"]})
    assert list(sweep.schemes) == ["laser", "z-sgd"]
    assert sweep.baseline == "z-sgd"


def test_all_schemes_meet_the_same_gains_and_noise(tmp_path, monkeypatch):
    drawn = {}

    def fading(num_devices, num_rx_antennas, grid, *, round, generator):
        h = torch.randn(num_devices, 1, 1, 1, dtype=torch.complex64, generator=generator)
        drawn.setdefault(round, []).append(h)
        return h

    (tmp_path / "recorded_fading.py").write_text("draw = None")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__("recorded_fading")
    module.draw = fading
    uplink = {
        "class_path": "AnalogUplink",
        "init_args": {
            "fading": {"class_path": "Unnormalised", "init_args": {"fading": "recorded_fading.draw"}},  # not measured
            "power_control": "TruncatedInversion",
        },
    }
    content = PLAIN | {"uplink": uplink, "energy_budgets": [10], "learning_rates": [0.1], "seeds": [0]}
    run_sweep(sweep_from(content), tmp_path, device="cpu", jobs=1)
    assert len(drawn) == 6
    assert all(len(gains) == 2 and torch.equal(*gains) for gains in drawn.values())


OWN_WIDTH = {"compressor": "laser", "task": {"width": 3}}
ACCURACY = {"laser": {1: 0.8, 10: 0.9}, "z-sgd": {1: 0.7, 10: 0.9}, NOISELESS: {10: 0.95}}


def test_accuracy_is_better_when_it_is_higher():
    sweep = sweep_from(PLAIN | {"metric": "accuracy", "targets": [0.85, 0.6, 0.95]})
    rows = make_rows(sweep, lambda cell: (1.0, {"loss": 1.0, "accuracy": ACCURACY[cell.scheme][cell.energy_budget]}))
    curves = choose(sweep, rows)
    found = {(row["target"], row["scheme"]): row["power_db"] for row in savings(sweep, curves)}
    assert found[0.85, "laser"] == pytest.approx(5.0)
    assert found[0.85, "z-sgd"] == pytest.approx(7.5)
    assert found[0.6, "z-sgd"] == -math.inf
    assert found[0.95, "z-sgd"] == math.inf
    assert savings(sweep, curves)[0]["saving_db"] == pytest.approx(2.5)
    free = sweep_from(PLAIN | {"metric": "accuracy"})
    assert targets_of(free, curves) == pytest.approx([0.82, 0.84, 0.86, 0.88])


def test_a_diverged_accuracy_is_bad_and_not_good():
    sweep = sweep_from(PLAIN | {"metric": "accuracy"})
    rows = make_rows(sweep, lambda cell: (1.0, {"loss": 1.0, "accuracy": 0.9}))
    for row in rows:
        if row["scheme"] == "laser" and row["energy_budget"] == 1:
            row["metrics"] = {"validation": {"loss": math.inf}, "test": {"loss": math.inf}}
    point = choose(sweep, rows)["laser"][0]
    assert point.mean == -math.inf
    assert point.cost == math.inf


def test_a_metric_that_the_task_does_not_measure_is_refused():
    sweep = sweep_from(PLAIN | {"metric": "perplexity"})
    with pytest.raises(ValueError, match="'perplexity' is not measured by this task; it gives loss, accuracy"):
        choose(sweep, make_rows(sweep, lambda cell: (1.0, {"loss": 1.0, "accuracy": 0.9})))


def test_interval_of_the_mean_is_students():
    sweep = sweep_from(PLAIN)
    curves = choose(sweep, make_rows(sweep, lambda cell: (1.0, {"loss": 1.0 + cell.seed})))
    row = table_of(sweep, curves)[0]
    assert row["standard_error"] == pytest.approx(0.5)
    assert row["half_width_95"] == pytest.approx(12.706204736 * 0.5)


def test_bytes_are_those_of_the_chosen_message():
    content = PLAIN | {"schemes": ["laser", "signum", "z-sgd"], "tune": {"laser": {"rank": [1, 2]}}}
    sweep = sweep_from(content)
    curves = choose(sweep, make_rows(sweep, lambda cell: (2.0 if cell.candidate.label == "rank=1" else 1.0, {"loss": 1.0})))
    found = {row["scheme"]: row["num_bytes_per_round"] for row in table_of(sweep, curves)}
    d = 64 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10  # 64 -> 12 -> 12 -> 10 with biases
    assert found["z-sgd"] == found[NOISELESS] == 4 * d
    assert found["signum"] == d / 8
    factors = 2 * (64 + 12 + 12 + 12 + 12 + 10) / 2  # rank 2, the two sides by turns
    assert found["laser"] == 4 * (factors + 12 + 12 + 10)


def test_targets_fall_back_to_the_reference_when_one_scheme_never_joins_the_others():
    sweep = sweep_from(PLAIN)
    values = {"laser": {1: 9.0, 10: 8.0}, "z-sgd": {1: 4.0, 10: 1.0}, NOISELESS: {10: 0.5}}
    curves = choose(sweep, make_rows(sweep, lambda cell: (1.0, {"loss": values[cell.scheme][cell.energy_budget]})))
    assert all(1.0 < target < 4.0 for target in targets_of(sweep, curves))
    notes = {row["scheme"]: row["note"] for row in savings(sweep, curves)}
    assert notes == {"laser": "target not reached", "z-sgd": "reference"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": {"lasr": {"rank": [2]}}}, "tune names 'lasr'.*did you mean laser"),
        ({"tune": {"laser": {"rank": []}}}, "tune.laser.rank must hold at least one entry"),
        ({"tune": {"laser": {"rank": [2, 2]}}}, "tune.laser.rank must hold at least one entry and none twice"),
        ({"tune": {"laser": {"rnk": [2]}}}, "no argument 'rnk'; did you mean rank"),
        ({"tune": {"laser": {"rank": [2, 0]}}}, "rank must be an integer >= 1"),
        ({"tune": {"noiseless": {"error_feedback": [True]}}}, "tune names 'noiseless'"),
        ({"tune": {"laser": [2]}}, "tune"),
        ({"learning_rates": []}, "learning_rates must hold at least one entry"),
        ({"learning_rates": {"laser": [0.1], "default": [0.1, 0.2]}}, "the same number of rates.*'laser': 1"),
        ({"learning_rates": {"laser": [0.1]}}, "must have an entry for z-sgd, noiseless, or one named 'default'"),
        ({"learning_rates": {"lasr": [0.1], "default": [0.1]}}, "learning_rates names 'lasr'.*did you mean laser"),
        ({"learning_rates": {"laser": [0.2, 0.1], "default": [0.1, 0.2]}}, "must be > 0 and ascending"),
        ({"schemes": {"a": {"compressor": "laser", "uplnk": {}}}}, "schemes.a must be a name, .*compressor, uplink"),
        ({"schemes": {"a": {"compressor": "laser", "uplink": "Rayleigh"}}}, "schemes.a.uplink must be a mapping"),
        ({"schemes": {"a": {"compressor": "laser", "uplink": {"fadng": 3}}}}, "did you mean fading"),
        ({"schemes": {"a": {"compressor": "laser", "tsk": {}}}}, "schemes.a must be a name, .*compressor, uplink, task"),
        ({"schemes": {"a": {"compressor": "laser", "task": "Digits"}}}, "schemes.a.task must be a mapping of arguments"),
        ({"schemes": {"a": {"compressor": "laser", "task": {"momntum": 0}}}}, "schemes.a.task: .*did you mean momentum"),
        ({"schemes": {"a": {"compressor": "laser", "task": {"momentum": 1.0}}}}, r"schemes.a.task: .*lie in \[0, 1\)"),
        (
            {"schemes": {"a": {"compressor": "laser", "task": {"class_path": "StdlibText"}}}},
            "schemes.a.task must be the sweep's Digits, for curves of different tasks cannot be compared, got StdlibText",
        ),
        (
            {"task": {"class_path": "Digits", "init_args": {"width": 0}}, "schemes": {"a": OWN_WIDTH}},
            "^task: Digits: width must be >= 1",  # the noiseless line's, though no scheme has it
        ),
        ({"metric": "f1"}, "metric must be one of loss, perplexity, accuracy"),
        ({"result": "median"}, "result"),
    ],
)
def test_bad_candidates_are_refused_before_anything_runs(change, message):
    with pytest.raises(BadConfiguration, match=message):
        sweep_from(PLAIN | change)


def test_noiseless_under_another_name_is_refused():
    with pytest.raises(
        BadConfiguration, match=r"schemes\.clean: noiseless is the scheme z-sgd over a channel without noise"
    ):
        sweep_from(PLAIN | {"schemes": {"clean": "noiseless", "laser": "laser"}})
