"""Bad input to the bridge: refused by name, or an invalid round that poisons nothing."""

import math

import pytest
import torch
from helpers.models import bridge_over, data, gradients, loss_of, perceptron, train, weights
from helpers.statistical import seeded
from torch import nn

from laser_wireless.channels import AnalogUplink, PreviousScale
from laser_wireless.compression import LowRank, Uncompressed


def enter(bridge, devices, *, poison=None, value=math.nan):
    x, y = data()
    for k in devices:
        with bridge.gradients_of(k):
            loss = loss_of(bridge.model, x[k], y[k])
            (loss * value if k == poison else loss).backward()


@pytest.mark.parametrize("num_devices", [0, -1, 2.0, "3"])
def test_impossible_number_of_devices_is_refused(num_devices):
    with pytest.raises(ValueError if isinstance(num_devices, int) else TypeError, match="num_devices must be an integer"):
        bridge_over(perceptron(), num_devices=num_devices)


def test_model_without_trainable_parameters_is_refused():
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        bridge_over(perceptron().requires_grad_(False))


def test_model_over_two_devices_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    with pytest.raises(ValueError, match=r"all parameters must be on one device, got \['cpu', 'meta'\]"):
        bridge_over(model)


def test_complex_parameters_are_refused():
    model = nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(TypeError, match=r"parameters must be real, got complex \['weight', 'bias'\]"):
        bridge_over(model)


@pytest.mark.parametrize("device_index", [-1, 3])
def test_unknown_device_is_refused(device_index):
    bridge = bridge_over(perceptron())
    with pytest.raises(ValueError, match=r"device_index must be 0 \.\. 2"):
        enter(bridge, [device_index % 3] if device_index == 5 else [device_index])


def test_entering_a_device_twice_is_refused_and_can_be_gone_on_from():
    bridge = bridge_over(perceptron())
    enter(bridge, [0, 1])
    with pytest.raises(RuntimeError, match="device 1 was entered twice in round 0"):
        enter(bridge, [1])
    enter(bridge, [2])
    bridge.exchange()


def test_exchange_without_all_devices_is_refused_and_can_be_gone_on_from():
    bridge = bridge_over(perceptron())
    enter(bridge, [1])
    with pytest.raises(RuntimeError, match=r"round 0 lacks the gradients of devices \[0, 2\]"):
        bridge.exchange()
    enter(bridge, [0, 2])
    bridge.exchange()
    with pytest.raises(RuntimeError, match="round 1 lacks"):
        bridge.exchange()


def test_interrupted_gradient_is_not_exchanged():
    bridge = bridge_over(perceptron())
    saved = {**bridge.state_dict(), "memory": bridge.memory.clone()}
    x, y = data()

    def stopped(gradient):
        raise KeyboardInterrupt

    handle = bridge.model[0].weight.register_hook(stopped)  # in the middle of the backward pass
    with pytest.raises(KeyboardInterrupt), bridge.gradients_of(0):
        loss_of(bridge.model, x[0], y[0]).backward()
    handle.remove()
    assert all(p.grad is None for p in bridge.model.parameters())
    enter(bridge, [1, 2])
    with pytest.raises(RuntimeError, match="device 0 in round 0 was interrupted"):
        bridge.exchange()
    bridge.load_state_dict(saved)
    enter(bridge, [0, 1, 2])
    bridge.exchange()


@pytest.mark.parametrize("model", [perceptron, lambda: perceptron().double()])
def test_zero_grad_inside_a_context_is_refused(model):
    bridge = bridge_over(model())
    with pytest.raises(RuntimeError, match=r"p\.grad was cleared inside gradients_of"), bridge.gradients_of(0):
        bridge.model.zero_grad()


def test_replaced_gradient_is_refused():
    bridge = bridge_over(perceptron())
    with pytest.raises(RuntimeError, match=r"p\.grad was replaced inside gradients_of"), bridge.gradients_of(0):
        bridge.model[0].weight.grad = torch.ones_like(bridge.model[0].weight)


@pytest.mark.parametrize("compressor", [Uncompressed(), LowRank(rank=2), LowRank(rank=2, rule="both")], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nonfinite_gradient_voids_the_round(compressor, value, device):
    model = perceptron().to(device)
    bridge = bridge_over(model, compressor=compressor, uplink=AnalogUplink(energy_budget=1.0, scale=PreviousScale()))
    x, y = (batch.to(device) for batch in data())
    for k in range(3):
        with bridge.gradients_of(k):
            (loss_of(model, x[k], y[k]) * (value if k == 1 else 1)).backward()
    owed = bridge.memory.clone()
    before = weights(model)
    ledger = bridge.exchange()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not gradients(model).any()
    assert torch.equal(weights(model), before)
    if compressor.error_feedback:
        assert torch.equal(bridge.memory[[0, 2]], owed[[0, 2]])
    for check in (ledger.check, ledger.summary, bridge.check, bridge.state_dict):
        with pytest.raises(FloatingPointError, match=r"devices \[1\] were not finite in round 0"):
            check()


def test_scheme_without_memory_goes_on_after_a_void_round():
    """The gradient is lost, nothing else: the next rounds are sound."""
    bridge = bridge_over(
        perceptron(), compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=1.0, scale=PreviousScale())
    )
    enter(bridge, range(3), poison=1)
    bridge.exchange()
    for _ in range(3):
        enter(bridge, range(3))
        ledger = bridge.exchange()
        assert not ledger.nonfinite.any()
        assert gradients(bridge.model).isfinite().all()
    assert gradients(bridge.model).any()


def test_earlier_state_recovers_a_void_run():
    bridge, twin = bridge_over(perceptron()), bridge_over(perceptron())
    train(bridge, range(2))
    train(twin, range(2))
    saved = {**bridge.state_dict(), "memory": bridge.memory.clone()}
    enter(bridge, range(3), poison=2)
    bridge.exchange()
    bridge.load_state_dict(saved)
    bridge.check()
    for one in (bridge, twin):
        enter(one, range(3))
        one.exchange()
    assert torch.equal(gradients(bridge.model), gradients(twin.model))


def test_gradients_of_zeros_are_fine():
    bridge = bridge_over(perceptron())
    for _ in range(3):
        for k in range(3):
            with bridge.gradients_of(k):
                (0 * loss_of(bridge.model, *(batch[k] for batch in data()))).backward()
        bridge.exchange()
        assert not gradients(bridge.model).any()
    bridge.check()


def states_of_others():
    def changed(**entries):
        bridge = bridge_over(perceptron())
        return {**bridge.state_dict(), **entries}

    wide = nn.Sequential(nn.Linear(16, 12), nn.Linear(14, 4))  # other shapes, as many parameters
    while sum(p.numel() for p in wide.parameters()) != 276:
        wide = nn.Sequential(nn.Linear(11, 12), nn.Linear(10, 12))
    return {
        "other model": (bridge_over(nn.Linear(3, 3)).state_dict(), "memory"),
        "other shapes": (bridge_over(wide).state_dict(), "another model's"),
        "other devices": (bridge_over(perceptron(), num_devices=2).state_dict(), "num_devices"),
        "other seed": (bridge_over(perceptron(), seed=1).state_dict(), "seed 1"),
        "other compressor": (bridge_over(perceptron(), compressor=Uncompressed()).state_dict(), "another compressor, Unc"),
        "other rank": (bridge_over(perceptron(), compressor=LowRank(rank=1)).state_dict(), "another compressor, LowRank"),
        "other precision": (bridge_over(perceptron().double()).state_dict(), "float64"),
        "incomplete": ({"round": 3}, "state lacks"),
        "empty": ({}, "state lacks"),
    }


@pytest.mark.parametrize("name", states_of_others())
def test_state_of_another_run_is_refused_and_changes_nothing(name):
    state, message = states_of_others()[name]
    bridge = bridge_over(perceptron())
    train(bridge, range(1))
    memory, basis = bridge.memory.clone(), bridge.state_dict()["compressor"]["rows"][0].clone()
    with pytest.raises(ValueError, match=message):
        bridge.load_state_dict(state)
    assert bridge.round == 1
    assert torch.equal(bridge.memory, memory)
    assert torch.equal(bridge.state_dict()["compressor"]["rows"][0], basis)


def test_subnormal_gradients_are_carried():
    model = nn.Linear(4, 3)
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=1e6, noise_variance=0.0))
    scale = 1e-41 * torch.randn(3, 15, generator=seeded(0))
    for k in range(3):
        with bridge.gradients_of(k):
            (nn.utils.parameters_to_vector(model.parameters()) * scale[k]).sum().backward()
    bridge.exchange()
    assert gradients(model).isfinite().all()
    assert gradients(model).any()


def test_half_a_round_is_no_state():
    bridge = bridge_over(perceptron())
    enter(bridge, [0, 2])
    with pytest.raises(
        RuntimeError, match=r"round 0 is half done \(gradients of 2 devices are in\); take the state after exchange"
    ):
        bridge.state_dict()
    enter(bridge, [1])
    bridge.exchange()
    assert bridge.state_dict()["round"] == 1
