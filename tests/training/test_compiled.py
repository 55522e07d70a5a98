"""Devices' passes through torch.compile: the same to rounding, and compiled once."""

from functools import partial

import pytest
import torch
from helpers.models import bridge_over, build, data, loss_of, perceptron, train, weights
from torch import nn

from laser_wireless.channels import AnalogBroadcast
from laser_wireless.training import LocalSteps
from laser_wireless.training.compiled import Compiler, NotCompiled, as_it_is


@pytest.fixture
def traced(monkeypatch):
    """torch.compile that traces and leaves out the generating of code; how often it was called."""
    called = []

    def traced_only(function, **options):
        called.append(function)
        return compiled(function, backend="eager", **options)

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", traced_only)
    return called


def with_statistics():
    return build(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))


@pytest.mark.parametrize("downlink", [None, AnalogBroadcast(energy_budget=30.0)], ids=["free", "analog"])
@pytest.mark.parametrize("make", [perceptron, with_statistics])
def test_rounds_are_those_without_and_each_function_is_compiled_once(make, downlink, traced):
    plain, compiled = (bridge_over(make(), downlink=downlink, compiled=wanted) for wanted in (False, True))
    for bridge in (plain, compiled):
        train(bridge, range(3))
    torch.testing.assert_close(weights(compiled.model), weights(plain.model), rtol=1e-4, atol=1e-5)
    assert compiled.batches_devices == (make is perceptron)
    assert len(traced) == (2 if downlink is not None and make is perceptron else 1)  # before and after the first broadcast


@pytest.mark.slow
def test_local_steps_go_through_it(traced):
    plain, compiled = (bridge_over(perceptron(), compiled=wanted) for wanted in (False, True))
    for bridge in (plain, compiled):
        for round in range(2):
            steps = [data(2 * round + step) for step in range(2)]
            bridge.local_updates(loss_of, steps, LocalSteps(num_steps=2), learning_rate=0.1)
            bridge.exchange()
    torch.testing.assert_close(compiled.memory, plain.memory, rtol=1e-4, atol=1e-5)
    assert len(traced) == 2  # with the common model, and with models of their own


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_generated_code_gives_the_same(device):
    plain, compiled = (bridge_over(perceptron().to(device), compiled=wanted) for wanted in (False, True))
    for bridge in (plain, compiled):
        train(bridge, range(4))
    torch.testing.assert_close(weights(compiled.model), weights(plain.model), rtol=1e-4, atol=1e-5)


def test_a_compiler_that_fails_is_said_and_not_taken_for_the_model(monkeypatch):
    def failing(*arguments):
        raise torch._dynamo.exc.TorchDynamoException("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", lambda function, **options: failing)
    bridge = bridge_over(perceptron(), compiled=True)
    with pytest.raises(NotCompiled, match=r"cannot be compiled here .* needs a C\+\+ compiler .* leave compiled out"):
        bridge.backward(loss_of, *data())
    assert not bridge.memory.any()


def test_errors_of_the_model_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)

    def missing():
        raise KeyError("label")

    with pytest.raises(KeyError, match="label"):
        Compiler()("name", missing)()


def test_without_it_functions_are_themselves():
    function = partial(int, base=2)
    assert as_it_is("name", function) is function
