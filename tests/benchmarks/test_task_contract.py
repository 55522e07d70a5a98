"""A task of the user's that returns nonsense is told which method, and what it must return."""

import math

import pytest
import torch

from laser_wireless.benchmarks.tasks import Digits, StdlibText
from laser_wireless.benchmarks.tasks.contract import CheckedTask
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import Uncompressed


class Regression:
    """The least task that a user may write."""

    averaging = 0.0

    def model(self, seed):
        return torch.nn.Linear(3, 1)

    def batches(self, round, num_devices, streams):
        x = torch.ones(num_devices, 2, 3)
        return x, x.sum(-1, keepdim=True)

    def loss(self, model, x, y):
        return (model(x) - y).square().mean()

    def evaluate(self, model, split):
        return {"loss": 1.0}

    def optimizer(self, model, learning_rate):
        return torch.optim.SGD(model.parameters(), lr=learning_rate)

    def learning_rate_factor(self, round, num_rounds):
        return 1.0


def run_of(task, tmp_path):
    run = TrainingRun(
        task=task, compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=10.0), num_devices=2, num_rounds=2
    )
    return train(run, tmp_path, device=torch.device("cpu"))


def returning(method, value):
    return type("Odd", (Regression,), {method: lambda self, *arguments: value})()


WEIGHT = torch.nn.Parameter(torch.ones(2))
ODD = [
    ("model", None, TypeError, r"Odd\.model\(seed\) must return a torch\.nn\.Module, got None"),
    ("model", torch.nn.Linear, TypeError, r"Odd\.model\(seed\) must return a torch\.nn\.Module, got <class"),
    (
        "batches",
        torch.ones(2, 3),
        TypeError,
        r"Odd\.batches\(round, num_devices, streams\) must return a tuple of tensors \[2, batch, \.\.\.\]",
    ),
    ("batches", (), TypeError, "must return a tuple of tensors"),
    ("batches", ([1.0], [2.0]), TypeError, "must return a tuple of tensors"),
    (
        "batches",
        (torch.ones(3, 2, 3), torch.ones(2, 2, 1)),
        ValueError,
        r"one row for each device, got \[3, 2, 3\], \[2, 2, 1\]",
    ),
    ("batches", (torch.tensor(1.0), torch.tensor(1.0)), ValueError, r"got \[\], \[\]"),
    (
        "loss",
        3.0,
        TypeError,
        r"Odd\.loss\(model, \*batch\) must return a tensor of one real number, shape \[\], with a gradient, got 3\.0",
    ),
    ("loss", torch.ones(2, requires_grad=True), TypeError, r"got a tensor torch\.float32 \[2\]"),
    (
        "evaluate",
        None,
        TypeError,
        r'Odd\.evaluate\(model, split\) must return a dict of numbers with the key "loss", got None',
    ),
    ("evaluate", 0.5, TypeError, r"Odd\.evaluate"),
    ("evaluate", {"accuracy": 0.5}, TypeError, r"with the key \"loss\", got \{'accuracy': 0\.5\}"),
    ("evaluate", {"loss": "low"}, TypeError, r"got \{'loss': 'low'\}"),
    ("evaluate", {"loss": True}, TypeError, r"got \{'loss': True\}"),
    ("evaluate", {"loss": 1.0, "scores": [1.0]}, TypeError, r"got \{'scores': \[1\.0\]\}"),
    (
        "optimizer",
        None,
        TypeError,
        r"Odd\.optimizer\(model, learning_rate\) must return a torch\.optim\.Optimizer, got None",
    ),
    (
        "optimizer",
        torch.optim.SGD([WEIGHT], lr=1.0),
        ValueError,
        r"must hold all parameters of the model .* 2 are left out \(weight, bias\)",
    ),
    (
        "learning_rate_factor",
        None,
        TypeError,
        r"Odd\.learning_rate_factor\(round, num_rounds\) must return a finite number >= 0, got None",
    ),
    ("learning_rate_factor", math.nan, TypeError, "got nan"),
    ("learning_rate_factor", -1.0, TypeError, r"got -1\.0"),
]


@pytest.mark.parametrize(
    ("method", "value", "error", "message"), ODD, ids=[f"{method}-{value}"[:40] for method, value, *_ in ODD]
)
def test_nonsense_is_refused_by_the_name_of_the_method(method, value, error, message, tmp_path):
    with pytest.raises(error, match=message) as caught:
        run_of(returning(method, value), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_optimiser_of_half_the_model_is_refused(tmp_path):
    class Half(Regression):
        def optimizer(self, model, learning_rate):
            return torch.optim.SGD([model.weight], lr=learning_rate)

    with pytest.raises(ValueError, match=r"1 are left out \(bias\); give it model\.parameters\(\), or freeze those"):
        run_of(Half(), tmp_path)


@pytest.mark.parametrize("averaging", [1.0, -0.1, True, "much", math.nan])
def test_an_impossible_average_is_refused(averaging, tmp_path):
    class Odd(Regression):
        pass

    Odd.averaging = averaging
    with pytest.raises(ValueError, match=r"Odd\.averaging must be a number in \[0, 1\), got"):
        run_of(Odd(), tmp_path)


@pytest.mark.parametrize(
    "missing", ["model", "batches", "loss", "evaluate", "optimizer", "learning_rate_factor", "averaging"]
)
def test_a_task_without_a_method_is_refused_where_the_run_is_described(missing):
    members = {name: member for name, member in vars(Regression).items() if not name.startswith("__") and name != missing}
    task = type("Lacking", (), members)()
    what = (
        r"an attribute averaging \(float\), which Lacking lacks"
        if missing == "averaging"
        else rf"a method {missing}\(.*; Lacking has none"
    )
    with pytest.raises(TypeError, match=f"task must have {what}"):
        TrainingRun(task=task, compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=1.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"task": Digits}, TypeError, r"write task=Digits\(\)"),
        ({"num_devices": 2.5}, TypeError, "num_devices must be an integer, got 2.5"),
        ({"learning_rate": True}, TypeError, "learning_rate must be a number, got True"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be finite and > 0, got nan"),
    ],
)
def test_a_run_takes_objects_and_numbers(options, error, message):
    sound = {"task": Regression(), "compressor": Uncompressed(), "uplink": AnalogUplink(energy_budget=1.0)}
    with pytest.raises(error, match=message):
        TrainingRun(**(sound | options))


def test_the_least_task_trains(tmp_path):
    assert run_of(Regression(), tmp_path)["status"] == "done"


@pytest.mark.parametrize(
    "task", [Digits(width=8), StdlibText(width=16, num_layers=1, context=16, evaluation_windows=8)], ids=repr
)
def test_checks_change_nothing_that_a_sound_task_returns(task):
    sure = CheckedTask(task)
    model = sure.model(1)
    batch = sure.batches(0, 2, Streams(0))
    assert all(torch.equal(a, b) for a, b in zip(batch, task.batches(0, 2, Streams(0)), strict=True))
    one = [part[0] for part in batch]
    assert torch.equal(sure.loss(model, *one), task.loss(model, *one))
    assert sure.evaluate(model, "validation") == task.evaluate(model, "validation")
    assert sure.learning_rate_factor(3, 10) == task.learning_rate_factor(3, 10)
