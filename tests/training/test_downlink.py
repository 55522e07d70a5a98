"""Training behind a downlink: the devices compute their gradients at the models that they hold."""

import copy
import gc

import pytest
import torch
from helpers.models import (
    NUM_CLASSES,
    NUM_FEATURES,
    bridge_over,
    build,
    data,
    gradients,
    loss_of,
    perceptron,
    train,
    weights,
)
from helpers.statistical import assert_mean, seeded
from torch import nn

from laser_wireless.channels import AnalogUplink
from laser_wireless.channels.downlinks.analog import AnalogBroadcast, NoiselessBroadcast
from laser_wireless.channels.downlinks.digital import DigitalBroadcast
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.compression import Uncompressed
from laser_wireless.training import load_checkpoint, save_checkpoint


class Worsening:
    """A fading whose gains fall from round to round."""

    def advance(self, num_devices, num_rx_antennas, grid, *, round, generator, state):
        gain = torch.ones((), device=generator.device) if state is None else 0.8 * state["gain"]
        return gain.expand(num_devices, 1, 1, 1), {"gain": gain}


NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
NOISY = [
    AnalogBroadcast(energy_budget=300.0),
    AnalogBroadcast(energy_budget=300.0, fading=Rayleigh(), threshold=0.5),
    AnalogBroadcast(energy_budget=300.0, fading=Worsening()),
    DigitalBroadcast(energy_budget=1e5, bits=3),
]
noisy = pytest.mark.parametrize("downlink", NOISY, ids=["analog", "faded", "process", "digital"])


def loop(bridge, round=0):
    x, y = data(round)
    for k in range(bridge.num_devices):
        with bridge.gradients_of(k):
            loss_of(bridge.model, x[k].to(next(bridge.model.parameters()).device), y[k]).backward()


def copies_of(bridge):
    """What each device computes with, [K, d]."""
    found = []
    for k in range(bridge.num_devices):
        with bridge.gradients_of(k):
            found.append(weights(bridge.model))
    return torch.stack(found)


@pytest.mark.parametrize("batched", [True, False])
def test_noiseless_downlink_is_no_downlink_bit_for_bit(batched, device):
    plain, noiseless, loud = (
        bridge_over(perceptron().to(device), downlink=downlink)
        for downlink in (None, NoiselessBroadcast(), AnalogBroadcast(energy_budget=1e30))
    )
    for bridge in (plain, noiseless, loud):
        bridge._training.may_batch = batched
        train(bridge, range(4))
    assert torch.equal(weights(noiseless.model), weights(plain.model))
    assert torch.equal(noiseless.memory, plain.memory)
    assert noiseless.downlink_ledger is None
    torch.testing.assert_close(weights(loud.model), weights(plain.model), rtol=1e-5, atol=1e-6)


def test_digital_downlink_of_many_bits_is_nearly_none():
    plain = bridge_over(perceptron())
    fine = bridge_over(perceptron(), downlink=DigitalBroadcast(energy_budget=1e30, bits=16))
    for bridge in (plain, fine):
        train(bridge, range(4))
    torch.testing.assert_close(weights(fine.model), weights(plain.model), rtol=0, atol=1e-4)
    assert not torch.equal(weights(fine.model), weights(plain.model))


@noisy
def test_batched_gradients_are_those_of_the_loop(downlink, device):
    batched, looped = (bridge_over(perceptron().to(device), downlink=downlink) for _ in range(2))
    looped._training.may_batch = False
    for bridge in (batched, looped):
        train(bridge, range(3))
        x, y = (batch.to(device) for batch in data(3))
        bridge.backward(loss_of, x, y)
    assert batched.batches_devices
    torch.testing.assert_close(batched.memory, looped.memory, rtol=1e-4, atol=1e-5)


@noisy
def test_gradients_are_taken_at_the_received_models(downlink):
    bridge = bridge_over(perceptron(), uplink=NOISELESS, compressor=Uncompressed(), downlink=downlink)
    train(bridge, range(2))
    received = copies_of(bridge)
    assert not torch.equal(received[0], weights(bridge.model))
    differ = (received[0] != received[1]).any()
    assert differ == isinstance(downlink, AnalogBroadcast)
    bridge.gradient_memory.begin_round()
    x, y = data(2)
    bridge.backward(loss_of, x, y)
    bridge.exchange()
    expected = []
    for k in range(3):
        model = perceptron()
        nn.utils.vector_to_parameters(received[k], model.parameters())
        loss_of(model, x[k], y[k]).backward()
        expected.append(gradients(model))
    torch.testing.assert_close(gradients(bridge.model), torch.stack(expected).mean(0), rtol=1e-4, atol=1e-6)


@noisy
def test_initial_model_is_known_to_all_without_a_broadcast(downlink):
    bridge = bridge_over(perceptron(), downlink=downlink)
    assert torch.equal(copies_of(bridge), weights(bridge.model).expand(3, -1))
    assert bridge.downlink_ledger is None
    bridge.exchange()
    with bridge.gradients_of(2):
        assert bridge.downlink_ledger.round == 1
    assert bridge.downlink_ledger.num_symbols == weights(bridge.model).numel()


@noisy
def test_one_broadcast_a_round_whatever_the_order(downlink):
    bridge = bridge_over(perceptron(), downlink=downlink)
    train(bridge, range(2))
    with bridge.gradients_of(1):
        first, ledger = weights(bridge.model), bridge.downlink_ledger
    with bridge.gradients_of(0):
        pass
    bridge.gradient_memory.begin_round()
    with bridge.gradients_of(1):
        assert torch.equal(weights(bridge.model), first)
    assert bridge.downlink_ledger is ledger


@noisy
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interruption_gives_the_parameters_back(downlink, error):
    bridge = bridge_over(perceptron(), downlink=downlink)
    train(bridge, range(2))
    before, places = weights(bridge.model), [p.data_ptr() for p in bridge.model.parameters()]
    grads = [p.grad for p in bridge.model.parameters()]

    def interrupted():
        assert not torch.equal(weights(bridge.model), before)
        raise error

    with pytest.raises(error), bridge.gradients_of(0):
        interrupted()
    assert torch.equal(weights(bridge.model), before)
    assert [p.data_ptr() for p in bridge.model.parameters()] == places
    assert all(p.grad is grad for p, grad in zip(bridge.model.parameters(), grads, strict=True))


def test_failing_broadcast_changes_nothing_and_can_be_repeated():
    failing = [False]

    def fading(num_devices, num_rx_antennas, grid, *, round, generator):
        if failing[0]:
            raise OSError("trace file is gone")
        return torch.ones(1, 1, 1, 1)

    bridge = bridge_over(perceptron(), downlink=AnalogBroadcast(energy_budget=1e3, fading=fading))
    train(bridge, range(1))
    before = weights(bridge.model)
    failing[0] = True
    with pytest.raises(OSError, match="gone"):
        train(bridge, range(1, 2))
    failing[0] = False
    assert torch.equal(weights(bridge.model), before)
    train(bridge, range(1, 2))


def test_loss_computed_outside_of_the_context_is_refused():
    bridge = bridge_over(perceptron(), downlink=NOISY[0])
    train(bridge, range(1))
    x, y = data()
    loss = loss_of(bridge.model, x[0], y[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"), bridge.gradients_of(0):
        loss.backward()
    with bridge.gradients_of(1):
        loss = loss_of(bridge.model, x[0], y[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@noisy
@pytest.mark.parametrize("broken_at", [0, 1, 4])
def test_resumed_run_equals_the_unbroken_one(downlink, broken_at, tmp_path, device):
    unbroken = bridge_over(perceptron().to(device), downlink=downlink)
    train(unbroken, range(6))

    first = bridge_over(perceptron().to(device), downlink=downlink)
    optimizer = train(first, range(broken_at))
    parts = {"bridge": first, "model": first.model, "optimizer": optimizer}
    save_checkpoint(tmp_path / "run.pt", {name: part.state_dict() for name, part in parts.items()})

    second = bridge_over(build(*copy.deepcopy(list(perceptron())), seed=9).to(device), downlink=downlink)
    optimizer = torch.optim.SGD(second.model.parameters(), lr=0.1, momentum=0.9)
    content = load_checkpoint(tmp_path / "run.pt")
    second.load_state_dict(content["bridge"])
    second.model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    train(second, range(broken_at, 6), optimizer=optimizer)
    assert torch.equal(weights(second.model), weights(unbroken.model))
    assert torch.equal(second.memory, unbroken.memory)


class Quadratic(nn.Module):
    """Loss ||theta - target||^2 / 2, the same at every device: the mean gradient is theta + mean noise - target."""

    def __init__(self, size):
        super().__init__()
        self.target = torch.randn(size, generator=seeded(4))
        self.theta = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return (self.theta - self.target).square().sum() / 2


@pytest.mark.parametrize(("energy", "size"), [(1e4, 20_000), (1e3, 20_000)])
def test_training_ends_at_the_noise_floor_of_an_analog_downlink(energy, size):
    """Gradient steps of size s, K devices: error variance v = s / (2 - s) sigma^2 ||theta||^2 / (P K) per parameter."""
    model, step, num_devices = Quadratic(size), 0.5, 4
    downlink = AnalogBroadcast(energy_budget=energy * size)
    bridge = bridge_over(model, num_devices=num_devices, uplink=NOISELESS, compressor=Uncompressed(), downlink=downlink)
    optimizer = torch.optim.SGD(model.parameters(), lr=step)
    for _ in range(25):
        bridge.backward(lambda m, x: m(x), torch.zeros(num_devices, 1))
        bridge.exchange()
        optimizer.step()
    error = (model.theta - model.target).detach().double()
    floor = step / (2 - step) * model.target.square().mean().item() / (energy * num_devices)
    assert_mean(error.square(), mean=floor, variance=2 * floor**2)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(error.square(), mean=1.1 * floor, variance=2 * floor**2)


def test_training_ends_without_error_behind_a_digital_downlink():
    """The change goes to zero, and with it the quantiser's step."""
    model = Quadratic(200)
    downlink = DigitalBroadcast(energy_budget=1e6, bits=4)
    bridge = bridge_over(model, uplink=NOISELESS, compressor=Uncompressed(), downlink=downlink)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(60):
        bridge.backward(lambda m, x: m(x), torch.zeros(3, 1))
        bridge.exchange()
        optimizer.step()
    assert (model.theta - model.target).abs().max() < 1e-5


@noisy
def test_models_that_couple_samples_take_the_loop(downlink):
    model = build(nn.Linear(NUM_FEATURES, 16), nn.BatchNorm1d(16), nn.Linear(16, NUM_CLASSES))
    bridge = bridge_over(model, downlink=downlink)
    train(bridge, range(3))
    assert not bridge.batches_devices
    assert model[1].num_batches_tracked == 9  # buffers are the model's own
    assert bridge.downlink_ledger.round == 2


def test_tied_and_half_precision_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(NUM_FEATURES, NUM_FEATURES, bias=False)
            self.two = nn.Linear(NUM_FEATURES, NUM_FEATURES, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(torch.tanh(self.one(x.to(self.one.weight.dtype))))[:, :NUM_CLASSES]

    for dtype in (torch.float32, torch.bfloat16):
        model = build(Tied()).to(dtype)
        batched, looped = (bridge_over(copy.deepcopy(model), downlink=NOISY[0]) for _ in range(2))
        looped._training.may_batch = False
        for bridge in (batched, looped):
            train(bridge, range(1))
            bridge.backward(loss_of, *data(1))
        assert next(looped.model.parameters()).dtype == dtype
        tolerance = 1e-5 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(batched.memory, looped.memory, rtol=tolerance, atol=tolerance)


def test_global_generator_is_left_alone():
    bridges = [bridge_over(perceptron(), downlink=downlink) for downlink in NOISY]
    before = torch.random.get_rng_state()
    for bridge in bridges:
        train(bridge, range(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_broken_model_is_reported_by_check():
    bridge = bridge_over(perceptron(), downlink=NOISY[0])
    train(bridge, range(2))
    held = copies_of(bridge)
    bridge.exchange()
    with torch.no_grad():
        bridge.model[0].weight[0, 0] = torch.nan
    assert torch.equal(copies_of(bridge), held)
    for check in (bridge.check, bridge.state_dict):
        with pytest.raises(FloatingPointError, match="broadcast of round 3"):
            check()


def states_of_others():
    def with_held(held):
        state = bridge_over(perceptron(), downlink=NOISY[0]).state_dict()
        return {**state, "downlink": {**state["downlink"], "held": held}}

    return {
        "no downlink": (bridge_over(perceptron()).state_dict(), "without errors on the downlink"),
        "other model": (with_held(torch.zeros(3, 5)), r"got torch\.float32 \[3, 5\]"),
        "other devices": (with_held(torch.zeros(2, 276)), r"got torch\.float32 \[2, 276\]"),
        "other precision": (with_held(torch.zeros(3, 276).double()), r"got torch\.float64 \[3, 276\]"),
    }


@pytest.mark.parametrize("name", states_of_others())
def test_state_of_another_run_is_refused_and_changes_nothing(name):
    state, message = states_of_others()[name]
    bridge, twin = (bridge_over(perceptron(), downlink=NOISY[0]) for _ in range(2))
    for one in (bridge, twin):
        train(one, range(2))
    with pytest.raises(ValueError, match=message):
        bridge.load_state_dict(state)
    assert bridge.round == 2
    assert torch.equal(copies_of(bridge), copies_of(twin))


def test_state_with_a_downlink_is_refused_by_a_bridge_without():
    with pytest.raises(ValueError, match="with errors on the downlink, this bridge is not"):
        bridge_over(perceptron()).load_state_dict(bridge_over(perceptron(), downlink=NOISY[0]).state_dict())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rounds():
    """1000 rounds without `check`: as many tensors as after ten."""

    def tensors_after(rounds):
        for _ in range(rounds):
            for k in range(2):
                with bridge.gradients_of(k):
                    bridge.model(torch.ones(1, 1)).sum().backward()
            bridge.exchange()
        gc.collect()
        return sum(issubclass(type(entry), torch.Tensor) for entry in gc.get_objects())

    bridge = bridge_over(
        nn.Linear(1, 1), num_devices=2, compressor=Uncompressed(), downlink=AnalogBroadcast(energy_budget=9.0)
    )
    first = tensors_after(10)
    assert tensors_after(1000) <= first + 2


def test_first_of_several_void_broadcasts_is_reported():
    bridge = bridge_over(perceptron(), downlink=NOISY[0])
    train(bridge, range(2))
    with torch.no_grad():
        bridge.model[0].weight[0, 0] = torch.nan
    for _ in range(3):
        loop(bridge)
        bridge.exchange()
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="broadcast of round 2"):
            bridge.check()
