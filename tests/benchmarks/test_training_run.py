"""A run cut off anywhere goes on to the same result, to the bit; what cannot be read is refused, nothing is lost."""

import itertools
import math
from pathlib import Path

import pytest
import torch

from laser_wireless.benchmarks import run_folder, training_run
from laser_wireless.benchmarks.records import read_csv
from laser_wireless.benchmarks.tasks import Digits, StdlibText
from laser_wireless.benchmarks.training_run import TrainingRun, torch_device, train
from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression import LowRank, Uncompressed

CPU = torch.device("cpu")


def make_run(**more) -> TrainingRun:
    uplink = AnalogUplink(
        energy_budget=64.0,
        fading=Rayleigh(),
        power_control=TruncatedInversion(threshold=0.2),
        scale=PreviousScale(),
        bandwidth_hz=1e6,
    )
    settings = {
        "task": Digits(width=12),
        "compressor": LowRank(rank=2),
        "uplink": uplink,
        "num_devices": 4,
        "num_rounds": 12,
        "evaluate_every": 5,
    }
    return TrainingRun(**(settings | more))


def interrupted_after(rounds: int):
    def progress(round, row):
        if round == rounds:
            raise KeyboardInterrupt

    return progress


def without_environment(result: dict) -> dict:
    return {name: value for name, value in result.items() if name != "environment"}


def test_a_run_interrupted_within_a_step_goes_on_from_the_last_checkpoint(tmp_path, monkeypatch):
    """Ctrl-C between the exchange and the optimiser's step: half a step must not be saved."""
    run = make_run(checkpoint_seconds=0.0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    expected = train(run, whole, device=CPU)
    exchange = training_run.UplinkBridge.exchange

    def interrupted(bridge):
        ledger = exchange(bridge)
        if bridge.round == 7:
            raise KeyboardInterrupt
        return ledger

    with monkeypatch.context() as patch:
        patch.setattr(training_run.UplinkBridge, "exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(run, broken, device=CPU)
    assert without_environment(train(run, broken, device=CPU)) == without_environment(expected)


@pytest.mark.parametrize("task", [Digits(width=12), StdlibText(width=16, num_layers=1, context=16, evaluation_windows=8)])
def test_a_run_resumed_at_several_points_equals_an_unbroken_one(tmp_path, task):
    run = make_run(task=task, learning_rate=0.01)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    expected = train(run, whole, device=CPU)
    for rounds in (1, 5, 8, 11):
        with pytest.raises(KeyboardInterrupt):
            train(run, broken, device=CPU, progress=interrupted_after(rounds))
        assert not (broken / "result.json").exists()
    assert without_environment(train(run, broken, device=CPU)) == without_environment(expected)
    for name in ("rounds.csv", "evaluations.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert not (broken / "checkpoint.pt").exists()


def test_the_best_result_is_that_of_the_least_validation_loss(tmp_path):
    result = train(make_run(num_rounds=60, evaluate_every=1, learning_rate=0.4), tmp_path, device=CPU)
    evaluations = read_csv(tmp_path / "evaluations.csv")
    least = min(evaluations, key=lambda row: row["loss"])
    assert result["best"]["round"] == least["round"] < 60
    assert result["best"]["metrics"]["validation"]["loss"] == least["loss"]
    shorter = make(tmp_path / "shorter")
    again = train(make_run(num_rounds=least["round"], evaluate_every=1, learning_rate=0.4), shorter, device=CPU)
    assert result["best"]["metrics"] == again["metrics"]  # of the run that stopped there, test metrics included


def test_the_best_result_outlives_a_kill_after_it(tmp_path):
    run = make_run(num_rounds=60, evaluate_every=1, learning_rate=0.4)
    whole, broken = make(tmp_path / "whole"), make(tmp_path / "broken")
    expected = train(run, whole, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(run, broken, device=CPU, progress=interrupted_after(expected["best"]["round"] + 2))
    assert without_environment(train(run, broken, device=CPU)) == without_environment(expected)


def test_another_seed_gives_another_result(tmp_path):
    results = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        results.append(train(make_run(seed=seed), folder, device=CPU)["metrics"])
    assert results[0] != results[1]


def test_a_finished_run_is_not_computed_again(tmp_path, monkeypatch):
    first = train(make_run(), tmp_path, device=CPU)
    monkeypatch.setattr(training_run, "Trainer", None)
    assert train(make_run(), tmp_path, device=CPU) == first


def test_a_kill_between_rounds_and_checkpoint_is_survived(tmp_path, monkeypatch):
    expected = without_environment(train(make_run(), make(tmp_path / "whole"), device=CPU))
    broken = make(tmp_path / "broken")
    count = itertools.count()

    def save_or_die(path, content):
        if next(count) == 3:
            raise MemoryError  # rounds.csv is written, the checkpoint is not
        original(path, content)

    original = run_folder.save_checkpoint
    monkeypatch.setattr(run_folder, "save_checkpoint", save_or_die)
    with pytest.raises(MemoryError):
        train(make_run(checkpoint_seconds=0.0), broken, device=CPU)
    assert len(read_csv(broken / "rounds.csv")) == 4
    assert without_environment(train(make_run(checkpoint_seconds=0.0), broken, device=CPU)) == expected


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_run_of_another_model_is_refused_and_nothing_is_changed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(make_run(), tmp_path, device=CPU, progress=interrupted_after(6))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"holds a run of another configuration \(.*checkpoint\.pt\)"):
        train(make_run(task=Digits(width=13)), tmp_path, device=CPU)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_run_that_diverges_is_a_result_with_a_reason(tmp_path):
    result = train(make_run(learning_rate=1e30, compressor=Uncompressed()), tmp_path, device=CPU)
    assert result["status"] == "diverged"
    assert "not finite" in result["reason"]
    assert result["metrics"]["test"] == {"loss": math.inf}
    assert train(make_run(learning_rate=1e30, compressor=Uncompressed()), tmp_path, device=CPU) == result


def test_records_hold_the_ledger_of_every_round(tmp_path):
    train(make_run(), tmp_path, device=CPU)
    rows = read_csv(tmp_path / "rounds.csv")
    assert [row["round"] for row in rows] == list(range(12))
    assert all(0 < row["max_energy_spent"] <= row["energy_allowed"] == 64.0 for row in rows)
    assert {row["num_symbols"] for row in rows[::2]} != {row["num_symbols"] for row in rows[1::2]}  # sides alternate
    assert all(row["seconds"] == row["num_channel_uses"] / 1e6 for row in rows)
    assert [row["round"] for row in read_csv(tmp_path / "evaluations.csv")] == [5, 10, 12]


def test_training_learns_over_a_good_channel(tmp_path):
    run = make_run(num_rounds=150, compressor=LowRank(rank=4), uplink=AnalogUplink(energy_budget=1e4), learning_rate=0.03)
    assert train(run, tmp_path, device=CPU)["metrics"]["test"]["loss"] < 1.0 < math.log(10)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_devices", 0), ("num_rounds", 0), ("learning_rate", math.nan), ("learning_rate", -1.0), ("seed", -1)],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        make_run(**{name: value})


def test_asking_for_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == CPU
    with pytest.raises(ValueError, match="torch sees no GPU"):
        torch_device("cuda")


def test_a_misspelt_device_is_refused():
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, got 'gpu'"):
        torch_device("gpu")
