"""The bridge: p.grad is what the receiver decoded, memory what each device still owes."""

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
from helpers.statistical import seeded
from torch import nn

from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh
from laser_wireless.compression import LowRank, Uncompressed

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)


def mean_gradient(model, x, y):
    """Of the devices' losses, by plain autograd."""
    model.zero_grad()
    torch.stack([loss_of(model, x[k], y[k]) for k in range(len(x))]).mean().backward()
    found = gradients(model)
    model.zero_grad()
    return found


def loop(bridge, x, y):
    """One round, device by device."""
    for k in range(bridge.num_devices):
        with bridge.gradients_of(k):
            loss_of(bridge.model, x[k], y[k]).backward()


@pytest.mark.parametrize("compressor", [Uncompressed(), LowRank(rank=12), LowRank(rank=12, rule="both")], ids=str)
def test_noiseless_and_full_rank_is_plain_averaging(compressor, device):
    model = perceptron().to(device)
    x, y = (batch.to(device) for batch in data())
    expected = mean_gradient(model, x, y)
    bridge = bridge_over(model, compressor=compressor, uplink=NOISELESS)
    loop(bridge, x, y)
    bridge.exchange()
    torch.testing.assert_close(gradients(model), expected, rtol=1e-5, atol=1e-7)
    assert bridge.memory.abs().max() < 1e-7


def test_noiseless_training_is_plain_training(device):
    model, twin = perceptron().to(device), perceptron().to(device)
    train(bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS), range(5))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for round in range(5):
        optimizer.zero_grad()
        x, y = (batch.to(device) for batch in data(round))
        torch.stack([loss_of(twin, x[k], y[k]) for k in range(3)]).mean().backward()
        optimizer.step()
    torch.testing.assert_close(weights(model), weights(twin), rtol=1e-5, atol=1e-6)


def test_one_device_is_a_wire(device):
    model = perceptron().to(device)
    x, y = (batch.to(device) for batch in data(num_devices=1))
    expected = mean_gradient(model, x, y)
    bridge = bridge_over(model, num_devices=1, compressor=Uncompressed(), uplink=NOISELESS)
    loop(bridge, x, y)
    bridge.exchange()
    torch.testing.assert_close(gradients(model), expected, rtol=1e-6, atol=1e-9)


def test_several_backward_passes_add_up():
    model = perceptron()
    x, y = data()
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    for k in range(3):
        with bridge.gradients_of(k):
            loss_of(model, x[k], y[k]).backward()
            loss_of(model, x[k], y[k]).backward()
    bridge.exchange()
    found = gradients(model)
    torch.testing.assert_close(found, 2 * mean_gradient(model, x, y), rtol=1e-5, atol=1e-7)


def test_device_without_a_backward_pass_counts_as_zero():
    model = perceptron()
    x, y = data()
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    for k in (2, 0, 1):  # any order
        with bridge.gradients_of(k):
            if k == 0:
                loss_of(model, x[k], y[k]).backward()
    bridge.exchange()
    found = gradients(model)
    torch.testing.assert_close(found, mean_gradient(model, x[:1], y[:1]) / 3, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "compressor", [LowRank(rank=1), LowRank(rank=1, rule="both"), Uncompressed(error_feedback=True)], ids=str
)
@pytest.mark.parametrize("scale", [PreviousScale(), AnalogUplink(energy_budget=1.0).scale], ids=str)
def test_memory_keeps_what_was_not_delivered(scale, compressor, device):
    """memory before + gradient = delivered + memory after; noiseless and with one device, delivered is p.grad."""
    model = perceptron().double().to(device)
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, scale=scale)
    bridge = bridge_over(model, num_devices=1, compressor=compressor, uplink=uplink)
    for round in range(4):
        before = bridge.memory.clone()
        x, y = (batch.to(device) for batch in data(round, num_devices=1, dtype=torch.float64))
        with bridge.gradients_of(0):
            ((1 + round) * nn.functional.cross_entropy(model(x[0]), y[0])).backward()
        asked = bridge.memory.clone()
        bridge.exchange()
        assert not torch.equal(asked, before)
        torch.testing.assert_close(asked[0], gradients(model) + bridge.memory[0], rtol=1e-10, atol=1e-12)


def test_last_rounds_amplitude_is_handed_on():
    """Under PreviousScale a gradient three times larger is delivered by a third; the rest is owed."""
    model = perceptron().double()
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, scale=PreviousScale())
    bridge = bridge_over(model, num_devices=1, compressor=Uncompressed(error_feedback=True), uplink=uplink)
    x, y = data(num_devices=1, dtype=torch.float64)
    for factor in (1, 3):
        with bridge.gradients_of(0):
            (factor * nn.functional.cross_entropy(model(x[0]), y[0])).backward()
        asked = bridge.memory.clone()
        bridge.exchange()
    torch.testing.assert_close(gradients(model), asked[0] / 3)
    torch.testing.assert_close(bridge.memory, asked * 2 / 3)


def test_gradients_a_user_holds_are_put_back():
    model = perceptron()
    kept = [torch.ones_like(p) for p in model.parameters()]
    for p, grad in zip(model.parameters(), kept, strict=True):
        p.grad = grad
    bridge = bridge_over(model)
    with bridge.gradients_of(0):
        loss_of(model, *(batch[0] for batch in data())).backward()
    assert all(
        p.grad is grad and torch.equal(grad, torch.ones_like(grad)) for p, grad in zip(model.parameters(), kept, strict=True)
    )


def test_frozen_parameters_are_left_alone():
    model = perceptron()
    model[0].weight.requires_grad_(False)
    bridge = bridge_over(model)
    assert bridge.memory.shape == (3, sum(p.numel() for p in model.parameters() if p.requires_grad))
    train(bridge, range(2), optimizer=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1))
    assert model[0].weight.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("batched", [True, False])
def test_models_of_other_precision_are_carried(batched, dtype, device):
    model = perceptron().to(device, dtype)
    bridge = bridge_over(model, uplink=AnalogUplink(energy_budget=1e4))
    x, y = (batch.to(device) for batch in data(dtype=dtype))
    if batched:
        bridge.backward(loss_of, x, y)
    else:
        loop(bridge, x, y)
    assert bridge.memory.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert bridge.memory.any()
    bridge.exchange()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in model.parameters())
    bridge.check()


def test_half_precision_parameter_beside_a_full_one():
    model = build(nn.Linear(NUM_FEATURES, 16).to(torch.bfloat16), nn.Linear(16, NUM_CLASSES))
    x, y = data()

    def loss(m, x, y):
        return nn.functional.cross_entropy(m[1](m[0](x.bfloat16()).float()), y)

    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    for k in range(3):
        with bridge.gradients_of(k):
            loss(model, x[k], y[k]).backward()
    bridge.exchange()
    assert [p.grad.dtype for p in model.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert all(p.grad.any() for p in model.parameters())


def test_sparse_embedding_gradients_arrive():
    model = nn.Embedding(20, 6, sparse=True)
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS, num_devices=2)
    for k in range(2):
        with bridge.gradients_of(k):
            model(torch.tensor([k, 5])).sum().backward()
    bridge.exchange()
    expected = torch.zeros(20, 6)
    expected[0] = expected[1] = 0.5
    expected[5] = 1
    torch.testing.assert_close(model.weight.grad, expected)


def test_ledger_counts_the_round(device):
    model = perceptron().to(device)
    bridge = bridge_over(model)
    x, y = (batch.to(device) for batch in data())
    for round in range(2):
        loop(bridge, x, y)
        ledger = bridge.exchange()
        assert ledger.round == round
        assert ledger.num_symbols == sum(LowRank(rank=2).layout(tuple(tuple(p.shape) for p in model.parameters()), round))
        assert (ledger.energy_spent <= ledger.energy_allowed).all()
    assert bridge.round == 2


def test_global_generator_is_left_alone():
    model = perceptron()
    before = torch.random.get_rng_state()
    train(bridge_over(model, uplink=AnalogUplink(energy_budget=1.0, fading=Rayleigh())), range(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_over_a_good_channel_learns(device):
    generator = seeded(0)
    x = torch.randn(3, 64, NUM_FEATURES, generator=generator).to(device)
    y = (x @ torch.randn(NUM_FEATURES, NUM_CLASSES, generator=generator).to(device)).argmax(-1)
    model = perceptron().to(device)
    bridge = bridge_over(model, uplink=AnalogUplink(energy_budget=1e4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(60):
        bridge.backward(loss_of, x, y)
        bridge.exchange()
        optimizer.step()
    assert (model(x).argmax(-1) == y).float().mean() > 0.9  # chance is 0.25
