"""Trainings side by side: each folder holds to the byte what its run alone would have written, whatever happens."""

import json
from dataclasses import replace

import pytest
import torch

from laser_wireless.benchmarks import side_by_side
from laser_wireless.benchmarks.side_by_side import Member, train_together
from laser_wireless.benchmarks.tasks.digits import Digits
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogBroadcast, AnalogUplink, Rayleigh
from laser_wireless.compression import CountSketch, GaussianProjection, LowRank, RandomK, TopK, Uncompressed
from laser_wireless.training.batched import stacked_gradients
from laser_wireless.training.side_by_side import SideBySide

CPU = torch.device("cpu")
NAMES = ("rounds.csv", "evaluations.csv")
SCHEMES = {
    "laser": LowRank(rank=2),
    "z-sgd": Uncompressed(),
    "random-k": RandomK(fraction=0.2),
    "sketching": CountSketch(fraction=0.3),
    "top-k": TopK(fraction=0.1),
    "a-dsgd": GaussianProjection(fraction=0.2, iterations=4),
}


def runs_of(scheme="laser", count=4, **options):
    """Runs of two seeds, two budgets and rates; the last rate diverges."""
    settings = {
        "task": Digits(width=16, batch_size=2, averaging=0.9),
        "compressor": SCHEMES.get(scheme, scheme),
        "num_devices": 8,
        "num_rounds": 7,
        "evaluate_every": 3,
    } | options
    rates = [0.05, 0.1, 0.05, 1e30][:count]
    return [
        TrainingRun(
            uplink=settings.get("uplink") or AnalogUplink(energy_budget=10.0 ** (i % 2 + 1), fading=Rayleigh()),
            learning_rate=rate,
            seed=i // 2,
            **{name: value for name, value in settings.items() if name != "uplink"},
        )
        for i, rate in enumerate(rates)
    ]


def members_in(root, runs):
    for i in range(len(runs)):
        (root / str(i)).mkdir(parents=True, exist_ok=True)
    return [Member(run, root / str(i)) for i, run in enumerate(runs)]


def contents(root, count):
    """Records and results of each run, without what depends on the machine and the moment."""
    found = []
    for i in range(count):
        result = json.loads((root / str(i) / "result.json").read_text())
        found.append([(root / str(i) / name).read_bytes() for name in NAMES] + [result["metrics"], result["best"]])
        assert not list((root / str(i)).glob("checkpoint*"))
    return found


def alone(root, runs, device=CPU):
    for member in members_in(root, runs):
        train(member.run, member.folder, device=device)
    return contents(root, len(runs))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_folder_is_that_of_the_run_alone(scheme, device, tmp_path):
    runs, told = runs_of(scheme), []
    rows = train_together(members_in(tmp_path / "together", runs), device=device, tell=told.append)
    assert [row["status"] for row in rows] == ["done", "done", "done", "diverged"]
    assert told == []
    found, wanted = contents(tmp_path / "together", 4), alone(tmp_path / "alone", runs, device)
    if device.type == "cpu":
        assert found == wanted
    for one, other in zip(found[:3], wanted[:3], strict=True):  # a GPU rounds several runs otherwise
        assert one[2]["validation"]["loss"] == pytest.approx(other[2]["validation"]["loss"], rel=1e-3)
    assert len({row["metrics"]["validation"]["loss"] for row in rows[:3]}) == 3  # not one run four times


def test_each_run_keeps_the_momentum_of_its_own_task(tmp_path):
    """Of a sweep such runs do not come together; given together, each steps with the optimiser of its own."""
    usual, told = runs_of(count=3), []
    pairs = zip(usual, (0.0, 0.5, 0.7), strict=True)
    runs = [replace(run, task=replace(run.task, momentum=momentum)) for run, momentum in pairs]
    train_together(members_in(tmp_path / "together", runs), device=CPU, tell=told.append)
    found = contents(tmp_path / "together", 3)
    assert found == alone(tmp_path / "alone", runs)
    assert told == []
    assert not any(one == other for one, other in zip(found, alone(tmp_path / "usual", usual), strict=True))


def test_they_really_are_computed_together(tmp_path, monkeypatch):
    sizes = []
    make = SideBySide.__init__

    def counted(self, bridges):
        sizes.append(len(bridges))
        make(self, bridges)

    monkeypatch.setattr(SideBySide, "__init__", counted)
    train_together(members_in(tmp_path, runs_of()), device=CPU)
    assert sizes == [4, 3]  # the fourth diverges
    sizes.clear()
    monkeypatch.setitem(side_by_side._NUMBERS, "cpu", 0)  # no room for two
    train_together(members_in(tmp_path / "apart", runs_of(count=3)), device=CPU)
    assert sizes == []


@pytest.mark.parametrize("save_every_round", [True, False])
@pytest.mark.parametrize("stop", [1, 2, 3, 6])
def test_interrupted_runs_go_on_together_or_alone(stop, save_every_round, tmp_path):
    runs = [replace(run, checkpoint_seconds=0.0 if save_every_round else 1e9) for run in runs_of()]
    members, ticks = members_in(tmp_path / "stopped", runs), []

    def interrupt():
        ticks.append(1)
        if len(ticks) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together(members, device=CPU, tick=interrupt)
    train(members[1].run, members[1].folder, device=CPU)  # one by itself, to its end
    ticks.clear()
    if stop < 4:
        with pytest.raises(KeyboardInterrupt):  # another one further on, so that no two are at one round
            train_together(members[2:3], device=CPU, tick=interrupt)
    train_together(members, device=CPU)
    assert contents(tmp_path / "stopped", 4) == alone(tmp_path / "alone", runs)


def test_interrupt_amid_a_step_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    runs = [replace(run, checkpoint_seconds=0.0) for run in runs_of(count=3)]
    members = members_in(tmp_path / "stopped", runs)
    exchange, calls = SideBySide.exchange, []

    def interrupted(self):
        calls.append(1)
        ledgers = exchange(self)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return ledgers

    with monkeypatch.context() as patch:
        patch.setattr(SideBySide, "exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_together(members, device=CPU)
    train_together(members, device=CPU)
    assert contents(tmp_path / "stopped", 3) == alone(tmp_path / "alone", runs)


def test_an_uplink_that_takes_one_run_leaves_the_gradients_together(tmp_path):
    runs, told = runs_of(uplink=AnalogUplink(energy_budget=9.0, link_gain=[2.0**-k for k in range(8)])), []
    train_together(members_in(tmp_path / "together", runs), device=CPU, tell=told.append)
    assert contents(tmp_path / "together", 4) == alone(tmp_path / "alone", runs)
    assert told == []


def test_what_cannot_be_computed_together_is_trained_one_by_one_and_says_so(tmp_path):
    runs, told = runs_of(downlink=AnalogBroadcast(energy_budget=1e4)), []
    train_together(members_in(tmp_path / "together", runs), device=CPU, tell=told.append)
    assert contents(tmp_path / "together", 4) == alone(tmp_path / "alone", runs)
    assert told == ["runs are trained one by one: errors on the downlink give every device a model of its own"]


@pytest.mark.parametrize("first_round", [0, 1])
@pytest.mark.parametrize("scheme", ["laser", "a-dsgd"])
def test_kernels_that_round_otherwise_are_found_and_nothing_is_lost(scheme, first_round, tmp_path, monkeypatch):
    """As on a machine where a product of several matrices is not the products of each."""
    calls = []

    def fault(*arguments):
        gradients, losses = stacked_gradients(*arguments)
        calls.append(1)
        gradients[0][0].view(-1)[0] += float(len(calls) > first_round)
        return gradients, losses

    runs, told = runs_of(scheme), []
    with monkeypatch.context() as patch:
        patch.setattr("laser_wireless.training.side_by_side.stacked_gradients", fault)
        train_together(members_in(tmp_path / "together", runs), device=CPU, tell=told.append)
    assert contents(tmp_path / "together", 4) == alone(tmp_path / "alone", runs)
    assert len(calls) > first_round
    if scheme == "a-dsgd":  # whose exchange is run by run: nothing is left to share
        assert len(told) == 1
        assert "this machine rounds the gradients" in told[0]
    else:
        assert told == []


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("call", [1, 2, 5])
def test_interrupt_amid_an_evaluation_leaves_no_gap_in_the_records(call, together, tmp_path, monkeypatch):
    runs, calls = runs_of(count=2), []
    members, evaluate = members_in(tmp_path / "stopped", runs), Digits.evaluate

    def interrupted(self, model, split):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return evaluate(self, model, split)

    def go():
        for some in [members] if together else [[member] for member in members]:
            train_together(some, device=CPU) if together else train(some[0].run, some[0].folder, device=CPU)

    with monkeypatch.context() as patch:
        patch.setattr(Digits, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            go()
    go()
    assert contents(tmp_path / "stopped", 2) == alone(tmp_path / "alone", runs)
