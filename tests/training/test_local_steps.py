"""Local steps: federated averaging transcribed naively, one step as the gradient itself, sampling, weights."""

import copy
import math

import pytest
import torch
from helpers.families import DOWNLINKS, uplink_families
from helpers.models import bridge_over, build, data, gradients, loss_of, perceptron, weights
from helpers.processes import in_processes
from helpers.schemes import COMPRESSORS
from torch import nn

from laser_wireless.channels import (
    AnalogUplink,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    RandomDropout,
    SampledDevices,
)
from laser_wireless.compression import LowRank, Sign, Uncompressed
from laser_wireless.training import LocalSteps, ProcessAir

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
RATE = 0.3
K = 3


def batches_of(round, num_steps, num_devices=K):
    """The batches of each local step of a round."""
    return [data(num_steps * round + step, num_devices=num_devices) for step in range(num_steps)]


def averaged(model, steps, local, weights_of=(1.0,) * K, asked=None):
    """Parameters after a round of federated averaging as it is usually written: copies, torch's SGD, a weighted mean."""
    asked = range(len(weights_of)) if asked is None else asked
    start = [p.detach().clone() for p in model.parameters()]
    trained = []
    for k in asked:
        own = copy.deepcopy(model)
        optimizer = torch.optim.SGD(own.parameters(), lr=RATE, momentum=local.momentum)
        for x, y in steps[: local.steps_of(len(weights_of))[k]]:
            size = None if local.batch_sizes is None else local.batch_sizes[k]
            optimizer.zero_grad()
            loss = loss_of(own, x[k][:size], y[k][:size])
            for p, held in zip(own.parameters(), start, strict=True):
                loss = loss + local.proximal / 2 * (p - held).square().sum()
            loss.backward()
            optimizer.step()
        trained.append(weights(own))
    its = torch.tensor([weights_of[k] for k in asked])
    before = weights(model)
    return before + (its[:, None] * (torch.stack(trained) - before)).sum(0) / sum(weights_of) * len(weights_of) / len(asked)


def after_a_round(model, steps, local, *, looped=False, **options):
    """Parameters after a round over a channel without noise, with SGD of the local rate at the base station."""
    bridge = bridge_over(model, **{"compressor": Uncompressed(), "uplink": NOISELESS, **options})
    bridge._training.may_batch = not looped
    bridge.local_updates(loss_of, steps, local, learning_rate=RATE)
    bridge.exchange()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    return weights(model)


LOCALS = [
    LocalSteps(num_steps=4),
    LocalSteps(num_steps=4, momentum=0.8),
    LocalSteps(num_steps=4, proximal=0.7),
    LocalSteps(num_steps=3, momentum=0.5, proximal=0.7),
    LocalSteps(num_steps=(1, 4, 2)),
    LocalSteps(num_steps=(3, 3, 1), batch_sizes=(8, 2, 5), momentum=0.5),
]


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("local", LOCALS, ids=str)
def test_without_noise_it_is_federated_averaging(local, looped, device):
    model = perceptron().double().to(device)
    steps = [(x.double().to(device), y.to(device)) for x, y in batches_of(0, local.longest)]
    expected = averaged(model, steps, local)
    assert (expected - weights(model)).norm() > 0.1
    found = after_a_round(model, steps, local, looped=looped)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)  # losses are float32


def test_another_pull_or_momentum_would_be_noticed():
    steps = [(x.double(), y) for x, y in batches_of(0, 4)]
    for local, other in [(LOCALS[2], {"proximal": 0.6}), (LOCALS[1], {"momentum": 0.79})]:
        model = perceptron().double()
        expected = averaged(model, steps, LocalSteps(**{**vars(local), **other}))
        assert not torch.allclose(after_a_round(model, steps, local), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("downlink", DOWNLINKS.values(), ids=list(DOWNLINKS))
@pytest.mark.parametrize("compressor", [*COMPRESSORS[:4], COMPRESSORS[-1]], ids=str)
def test_one_step_is_the_gradient_to_the_bit(compressor, downlink, looped):
    local = LocalSteps(num_steps=1, momentum=0.9, proximal=2.0, learning_rate=0.7)
    of_steps, of_gradients = (bridge_over(perceptron(), compressor=compressor, downlink=downlink) for _ in range(2))
    for bridge in (of_steps, of_gradients):
        bridge._training.may_batch = not looped
        optimizer = torch.optim.SGD(bridge.model.parameters(), lr=0.1)
        for round in range(3):
            batches = data(round)
            if bridge is of_steps:
                bridge.local_updates(loss_of, [batches], local, learning_rate=0.1)
            elif looped:
                for k in range(K):
                    with bridge.gradients_of(k):
                        loss_of(bridge.model, batches[0][k], batches[1][k]).backward()
            else:
                bridge.backward(loss_of, *batches)
            bridge.exchange()
            optimizer.step()
    assert torch.equal(weights(of_steps.model), weights(of_gradients.model))
    assert torch.equal(of_steps.memory, of_gradients.memory)


@pytest.mark.parametrize("family", ["awgn", "rayleigh blocks", "digital"])
def test_local_steps_are_one_message_over_every_uplink(family):
    uplink = uplink_families()[family]
    batched, looped = (bridge_over(perceptron(), uplink=uplink, downlink=DOWNLINKS["analog"]) for _ in range(2))
    looped._training.may_batch = False
    local = LocalSteps(num_steps=(2, 3, 1), proximal=0.1)
    for bridge in (batched, looped):
        for round in range(2):
            bridge.local_updates(loss_of, batches_of(round, 3), local, learning_rate=RATE)
            bridge.exchange()
            torch.optim.SGD(bridge.model.parameters(), lr=0.05).step()
    torch.testing.assert_close(batched.memory, looped.memory, rtol=1e-3, atol=1e-3)  # digital rounding may fall elsewhere


@pytest.mark.parametrize("looped", [False, True])
def test_weights_are_those_of_the_mean(looped):
    sizes, local = (30.0, 0.0, 10.0), LocalSteps(num_steps=2)
    model = perceptron()
    steps = batches_of(0, 2)
    expected = averaged(model, steps, local, sizes)
    torch.testing.assert_close(after_a_round(model, steps, local, looped=looped, weights=sizes), expected)


def test_weights_hold_in_a_loop_of_ones_own():
    of_loop, of_backward = (bridge_over(perceptron(), weights=(1, 2, 5)) for _ in range(2))
    x, y = data()
    of_backward.backward(loss_of, x, y)
    for k in range(K):
        with of_loop.gradients_of(k):
            loss_of(of_loop.model, x[k], y[k]).backward()
    torch.testing.assert_close(of_loop.memory, of_backward.memory)
    equal = bridge_over(perceptron())
    equal.backward(loss_of, x, y)
    torch.testing.assert_close(of_loop.memory, equal.memory * torch.tensor([3 / 8, 6 / 8, 15 / 8])[:, None])


def test_normalised_updates_have_equal_say():
    """FedNova, eq. (6): theta - eta tau_eff sum_k p_k (theta - theta_k) / (eta tau_k), tau_eff = sum_k p_k tau_k."""
    sizes, local = (1.0, 2.0, 1.0), LocalSteps(num_steps=(1, 4, 2), normalised=True)
    model, steps = perceptron(), batches_of(0, 4)
    start = weights(model)
    of_each = [averaged(model, steps, local, (1.0,) * K, asked=[k]) - start for k in range(K)]
    shares = [size / sum(sizes) for size in sizes]
    effective = sum(share * tau for share, tau in zip(shares, local.num_steps, strict=True))
    mean = sum(share * moved / tau for share, moved, tau in zip(shares, of_each, local.num_steps, strict=True))
    found = after_a_round(model, steps, local, weights=sizes)
    torch.testing.assert_close(found, start + effective * mean, rtol=1e-4, atol=1e-6)


def test_lengths_of_ways_are_closed_forms():
    momentum = LocalSteps(num_steps=(1, 5), momentum=0.5, normalised=True)
    length = sum((1 - 0.5**left) / 0.5 for left in range(1, 6))
    mean = (1 + length) / 2
    assert momentum.factors((1.0, 1.0), 0.1) == pytest.approx((mean, mean / length))
    pulled = LocalSteps(num_steps=(1, 5), proximal=2.0, normalised=True)
    length = (1 - (1 - 0.2) ** 5) / 0.2
    assert pulled.factors((1.0, 1.0), 0.1)[1] == pytest.approx((1 + length) / 2 / length)
    assert LocalSteps(num_steps=7, normalised=True).factors((1.0,) * 49, 0.1) == (1.0,) * 49


@pytest.mark.parametrize("local", [LocalSteps(), LocalSteps(num_steps=2), LocalSteps(num_steps=(1, 2, 3))], ids=str)
@pytest.mark.parametrize("looped", [False, True])
def test_devices_that_are_not_asked_do_nothing(local, looped, device):
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, participation=SampledDevices(num_sampled=2))
    model = perceptron().to(device)
    bridge = bridge_over(model, uplink=uplink, compressor=LowRank(rank=12))
    bridge._training.may_batch = not looped
    met = set()
    for round in range(4):
        asked = bridge.asked().tolist()
        met.add(tuple(asked))
        steps = [tuple(b.to(device) for b in step) for step in batches_of(round, local.longest)]
        expected = averaged(model, steps, local, asked=asked)
        losses = bridge.local_updates(loss_of, steps, local, learning_rate=RATE)
        assert torch.equal(bridge.memory.norm(dim=1) > 1e-3, torch.tensor([k in asked for k in range(K)], device=device))
        of_asked = torch.stack([loss_of(model, steps[0][0][k], steps[0][1][k]) for k in asked])
        torch.testing.assert_close(losses, of_asked.detach())
        bridge.exchange()
        torch.optim.SGD(model.parameters(), lr=RATE).step()
        torch.testing.assert_close(weights(model), expected, rtol=1e-4, atol=1e-5)
    assert len(met) > 1


@pytest.mark.parametrize("kind", [DigitalUplink, FskMajorityVote, EnergyDifference])
def test_devices_that_are_not_asked_do_nothing_over_any_uplink(kind):
    uplink = kind(energy_budget=1e6, participation=SampledDevices(num_sampled=2))
    bridge = bridge_over(perceptron(), uplink=uplink, compressor=Sign(momentum=0.9))
    for round in range(3):
        before, asked = bridge.memory.clone(), bridge.asked()
        assert len(bridge.local_updates(loss_of, batches_of(round, 1), LocalSteps(), learning_rate=RATE)) == 2
        changed = (bridge.memory != before).any(1).nonzero().flatten()
        assert torch.equal(changed, asked)
        assert torch.equal(bridge.exchange().energy_spent.nonzero().flatten(), asked)


def test_one_that_was_asked_and_dropped_out_sends_later():
    uplink = AnalogUplink(
        energy_budget=1.0, noise_variance=0.0, participation=RandomDropout(drop_probability=(0.0, 0.0, 1.0), num_sampled=3)
    )
    bridge = bridge_over(perceptron(), uplink=uplink, compressor=LowRank(rank=12))
    bridge.local_updates(loss_of, batches_of(0, 2), LocalSteps(num_steps=2), learning_rate=RATE)
    its = bridge.memory[2].clone()
    bridge.exchange()
    assert torch.equal(bridge.memory[2], its)
    assert bridge.memory[:2].abs().max() < 1e-5 < its.abs().max()


def test_frozen_parameters_do_not_move():
    model = perceptron()
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    model[0].weight.requires_grad_(False)
    local, steps = LocalSteps(num_steps=3), batches_of(0, 3)
    bridge.local_updates(loss_of, steps, local, learning_rate=RATE)
    twin = bridge_over(perceptron(), compressor=Uncompressed(), uplink=NOISELESS)
    twin.model[0].weight.requires_grad_(False)
    twin._training.may_batch = False
    twin.local_updates(loss_of, steps, local, learning_rate=RATE)
    torch.testing.assert_close(bridge.memory, twin.memory, rtol=1e-4, atol=1e-6)
    assert not bridge.memory[:, : model[0].weight.numel()].any()
    assert bridge.memory.any()


def test_model_gradients_and_optimiser_see_nothing_of_it():
    """Local steps of devices that come one by one move the parameters themselves, and put them back."""
    model = build(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    bridge = bridge_over(model)
    assert not bridge.batches_devices
    kept = torch.ones(4)
    model[3].bias.grad = kept
    before, places = weights(model), [p.data_ptr() for p in model.parameters()]
    bridge.local_updates(loss_of, batches_of(0, 2), LocalSteps(num_steps=2), learning_rate=RATE)
    assert torch.equal(weights(model), before)
    assert [p.data_ptr() for p in model.parameters()] == places
    assert model[3].bias.grad is kept


def test_error_amid_local_steps_leaves_the_model_as_it_was():
    calls = []

    def failing(model, x, y):
        calls.append(1)
        if len(calls) == 4:
            raise KeyError("a batch without labels")
        return loss_of(model, x, y)

    model = perceptron()
    bridge, before = bridge_over(model), weights(model)
    bridge._training.may_batch = False
    with pytest.raises(KeyError):
        bridge.local_updates(failing, batches_of(0, 2), LocalSteps(num_steps=2), learning_rate=RATE)
    assert torch.equal(weights(model), before)
    with pytest.raises(RuntimeError, match=r"lacks the gradients of devices \[1, 2\]"):
        bridge.exchange()


def test_resumed_run_is_the_unbroken_one():
    uplink = AnalogUplink(energy_budget=10.0, participation=SampledDevices(num_sampled=2))
    local = LocalSteps(num_steps=2, momentum=0.5)

    def go(bridge, rounds):
        for round in rounds:
            bridge.local_updates(loss_of, batches_of(round, 2), local, learning_rate=RATE)
            bridge.exchange()
            torch.optim.SGD(bridge.model.parameters(), lr=0.05).step()

    whole, first, second = (bridge_over(perceptron(), uplink=uplink) for _ in range(3))
    go(whole, range(6))
    go(first, range(3))
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    go(second, range(3, 6))
    assert torch.equal(weights(second.model), weights(whole.model))
    assert torch.equal(second.memory, whole.memory)


LOCAL_OF_PROCESSES = LocalSteps(num_steps=(2, 1, 3), batch_sizes=(8, 3, 4), proximal=0.1)


def rounds_of(air=None):
    uplink = AnalogUplink(energy_budget=100.0, participation=SampledDevices(num_sampled=2))
    bridge = bridge_over(perceptron().double(), uplink=uplink, weights=(1, 2, 3), air=air)
    own = slice(bridge.devices.start, bridge.devices.stop)
    for round in range(4):
        steps = [(x[own].double(), y[own]) for x, y in batches_of(round, 3)]
        bridge.local_updates(loss_of, steps, LOCAL_OF_PROCESSES, learning_rate=RATE)
        bridge.exchange()
        torch.optim.SGD(bridge.model.parameters(), lr=0.05).step()
    return weights(bridge.model), gradients(bridge.model)


def in_one_of_two(rank):
    return rounds_of(ProcessAir((1, 2)[rank]))


@pytest.mark.slow
def test_processes_give_what_one_process_gives():
    found, expected = in_processes(in_one_of_two, 2), rounds_of()
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, r"num_steps must be integers >= 1, got \[0\]"),
        ({"num_steps": ()}, r"num_steps must be integers >= 1, got \[\]"),
        ({"batch_sizes": (3, 0)}, r"batch_sizes must be integers >= 1, got \[3, 0\]"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and > 0, or None"),
        ({"learning_rate": math.nan}, "learning_rate must be finite and > 0, or None"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"proximal": -1.0}, "proximal must be finite and >= 0, got -1.0"),
        ({"proximal": math.inf}, "proximal must be finite and >= 0, got inf"),
    ],
)
def test_bad_steps_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LocalSteps(**options)


@pytest.mark.parametrize(
    ("local", "num_batches", "message"),
    [
        (LocalSteps(num_steps=2), 1, "steps must hold the batches of 2 local steps, got 1"),
        (LocalSteps(num_steps=(1, 2)), 2, "num_steps must hold one number for each of the 3 devices, got 2"),
        (LocalSteps(batch_sizes=(1, 2)), 1, "batch_sizes must hold one number for each of the 3 devices, got 2"),
        (LocalSteps(batch_sizes=(1, 2, 9)), 1, "batch_sizes must be at most the 8 samples .* got 9"),
        (LocalSteps(num_steps=(2, 1, 1), proximal=9.0, normalised=True), 2, "normalised needs steps that lead forward"),
    ],
)
def test_steps_that_do_not_fit_are_refused_and_nothing_is_lost(local, num_batches, message):
    bridge = bridge_over(perceptron())
    with pytest.raises(ValueError, match=message):
        bridge.local_updates(loss_of, batches_of(0, num_batches), local, learning_rate=RATE)
    assert not bridge.memory.any()
    bridge.backward(loss_of, *data())
    bridge.exchange()


@pytest.mark.parametrize("bad", [(1.0, 2.0), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (1.0, math.nan, 1.0), (1.0, math.inf, 1.0)])
def test_bad_weights_are_refused(bad):
    with pytest.raises(ValueError, match="weights must hold a finite number >= 0 for each of the 3 devices, not all 0"):
        bridge_over(perceptron(), weights=bad)


def test_more_devices_than_there_are_cannot_be_asked():
    bridge = bridge_over(perceptron(), uplink=AnalogUplink(energy_budget=1.0, participation=SampledDevices(num_sampled=4)))
    with pytest.raises(ValueError, match="num_sampled must be at most the 3 devices that there are, got 4"):
        bridge.backward(loss_of, *data())
