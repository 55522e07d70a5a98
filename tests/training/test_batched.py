"""Batched over the devices or one after another: the same gradients; models that couple samples take the loop."""

import pytest
import torch
from helpers.models import NUM_CLASSES, NUM_FEATURES, bridge_over, build, data, loss_of, perceptron
from torch import nn


class Tied(nn.Module):
    """Input and output share a matrix."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(NUM_FEATURES, 8, bias=False)
        self.unembed = nn.Linear(NUM_FEATURES, 8, bias=False)
        self.unembed.weight = self.embed.weight
        self.head = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x)) @ self.unembed.weight)


class Counting(nn.Module):
    """Keeps a statistic in a buffer, as batch normalisation does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.linear = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x):
        self.seen += x.mean()
        return self.linear(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x):
        return self.rnn(x)[0]


class FunctionalDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x):
        return nn.functional.dropout(self.linear(x), 0.5, self.training)


def unused():
    model = perceptron()
    model.extra = nn.Linear(3, 3)
    return model


def frozen():
    model = perceptron()
    model[0].bias.requires_grad_(False)
    return model


BATCHED = {
    "perceptron": perceptron,
    "tied": Tied,
    "frozen": frozen,
    "layer norm": lambda: build(nn.Linear(NUM_FEATURES, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, NUM_CLASSES)),
    "batch norm without statistics": lambda: build(
        nn.Linear(NUM_FEATURES, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, NUM_CLASSES)
    ),
    "evaluated": lambda: build(nn.Linear(NUM_FEATURES, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 4)).eval(),
}
LOOPED = {
    "batch norm": lambda: build(nn.Linear(NUM_FEATURES, 16), nn.BatchNorm1d(16), nn.Linear(16, NUM_CLASSES)),
    "dropout": lambda: build(nn.Linear(NUM_FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, NUM_CLASSES)),
    "alpha dropout": lambda: build(nn.Linear(NUM_FEATURES, 16), nn.AlphaDropout(0.5), nn.Linear(16, NUM_CLASSES)),
    "recurrent": Recurrent,
}
FALLS_BACK = {
    "functional dropout": FunctionalDropout,
    "buffer": Counting,
    "attention": lambda: build(nn.TransformerEncoderLayer(NUM_FEATURES, 2, 16, dropout=0.0, batch_first=True)),
}


def loss_and_penalty(model, x, y):
    """A loss that sees the parameters too."""
    penalty = sum(p.square().sum() for p in model.parameters())
    return nn.functional.cross_entropy(model(x), y) + 0.1 * penalty


@pytest.mark.parametrize("loss", [loss_of, loss_and_penalty])
@pytest.mark.parametrize("name", BATCHED)
def test_batched_gradients_are_those_of_the_loop(name, loss, device):
    torch.manual_seed(0)
    model = BATCHED[name]().to(device)
    x, y = (batch.to(device) for batch in data())
    batched, looped = bridge_over(model), bridge_over(model)
    assert batched.batches_devices
    losses = batched.backward(loss, x, y)
    assert batched.batches_devices, "fell back to the loop"
    for k in range(3):
        with looped.gradients_of(k):
            value = loss(model, x[k], y[k])
            value.backward()
        torch.testing.assert_close(losses[k], value.detach())
    torch.testing.assert_close(batched.memory, looped.memory, rtol=1e-4, atol=1e-6)
    assert batched.memory.any(dim=1).all()


@pytest.mark.parametrize("name", [*LOOPED, *FALLS_BACK])
def test_models_that_couple_or_randomise_samples_take_the_loop(name):
    model = (LOOPED | FALLS_BACK)[name]()
    bridge = bridge_over(model)
    assert bridge.batches_devices == (name in FALLS_BACK)
    x, y = data()
    torch.manual_seed(1)
    losses = bridge.backward(loss_of, x, y)
    assert not bridge.batches_devices
    torch.manual_seed(1)
    twin = (LOOPED | FALLS_BACK)[name]()
    twin.load_state_dict(model.state_dict())
    other = bridge_over(twin)
    torch.manual_seed(1)
    for k in range(3):
        with other.gradients_of(k):
            value = loss_of(twin, x[k], y[k])
            value.backward()
        torch.testing.assert_close(losses[k], value.detach())
    torch.testing.assert_close(bridge.memory, other.memory)


def test_batch_norm_statistics_see_every_device_once():
    model = build(nn.BatchNorm1d(NUM_FEATURES), nn.Linear(NUM_FEATURES, NUM_CLASSES))
    bridge_over(model).backward(loss_of, *data())
    assert model[0].num_batches_tracked.item() == 3


def test_statistics_of_a_fallen_back_model_are_not_counted_twice():
    model = Counting()
    x, y = data()
    bridge_over(model).backward(loss_of, x, y)
    torch.testing.assert_close(model.seen, x.mean((1, 2)).sum())


def test_unused_parameters_get_zeros():
    model = unused()

    def loss(m, x, y):
        return nn.functional.cross_entropy(m[2](torch.tanh(m[0](x))), y)

    bridge = bridge_over(model)
    bridge.backward(loss, *data())
    assert bridge.batches_devices
    size = sum(p.numel() for p in model.extra.parameters())
    assert not bridge.memory[:, -size:].any()
    assert bridge.memory[:, :-size].any()


def test_batched_gradients_add_to_the_memory():
    bridge = bridge_over(perceptron())
    bridge.memory.fill_(1.0)
    other = bridge_over(perceptron())
    bridge.backward(loss_of, *data())
    other.backward(loss_of, *data())
    torch.testing.assert_close(bridge.memory, 1 + other.memory)


def test_error_of_the_users_loss_is_shown():
    def broken(model, x, y):
        return nn.functional.cross_entropy(model(x[:, :3]), y)

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        bridge_over(perceptron()).backward(broken, *data())


def test_batches_of_another_number_of_devices_are_refused():
    x, y = data(num_devices=2)
    with pytest.raises(ValueError, match="stacked over the 3 devices"):
        bridge_over(perceptron()).backward(loss_of, x, y)
