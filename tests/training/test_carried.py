"""The bridge carries every gradient that it leaves in p.grad: parameters may be frozen and renamed, others are refused."""

import pytest
import torch
from helpers.models import NUM_CLASSES, NUM_FEATURES, bridge_over, build, data, gradients, loss_of, perceptron
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from laser_wireless.channels import AnalogUplink, PreviousScale
from laser_wireless.channels.downlinks.analog import AnalogBroadcast
from laser_wireless.compression import GaussianProjection, JacobiLowRank, LowRank, Sign, TopK, Uncompressed

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
SCHEMES = [
    JacobiLowRank(rank=2),
    LowRank(rank=2),
    LowRank(rank=2, rule="both"),
    Sign(),
    TopK(fraction=0.1),
    GaussianProjection(),
    Uncompressed(),
]


class Deep(nn.Module):
    """Layers in a dictionary, so that they can be renamed, added and removed."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({name: build(nn.Linear(NUM_FEATURES, NUM_FEATURES), seed=3) for name in "abc"})
        self.head = build(nn.Linear(NUM_FEATURES, NUM_CLASSES))

    def forward(self, x):
        for name in sorted(self.layers):
            x = torch.tanh(self.layers[name](x))
        return self.head(x)


def round_of(bridge, round=0, *, batched):
    x, y = data(round, num_devices=bridge.num_devices)
    if batched:
        bridge.backward(loss_of, x, y)
        return
    for k in range(bridge.num_devices):
        with bridge.gradients_of(k):
            loss_of(bridge.model, x[k], y[k]).backward()


def unfreeze(model):
    model[0].weight.requires_grad_(True)


def add(model):
    model.append(nn.Linear(NUM_CLASSES, NUM_CLASSES))


def replace(model):
    model[2].weight = nn.Parameter(model[2].weight.detach().clone())


def replace_by_frozen(model):
    model[2].weight = nn.Parameter(model[2].weight.detach().clone(), requires_grad=False)


def remove(model):
    model[2].bias = None


def reshape(model):
    model[0].bias.data = torch.zeros(4, 4)


CHANGES = {
    "unfrozen": (unfreeze, r"parameters \['0.weight'\] require gradients but are not carried"),
    "added": (add, r"parameters \['3.weight', '3.bias'\] require gradients but are not carried"),
    "replaced": (replace, r"parameters \['2.weight'\] require gradients but are not carried"),
    "replaced by a frozen one": (replace_by_frozen, r"parameters \['2.weight'\] are carried by the bridge but no longer"),
    "removed": (remove, r"parameters \['2.bias'\] are carried by the bridge but no longer part of the model"),
    "halved": (lambda model: model.half(), r"parameter 0.bias must stay torch.float32 \[16\] on cpu, .* got torch.float16"),
    "moved": (lambda model: model.to("meta"), r"parameters \['0.bias', .* require gradients but are not"),  # new objects
    "reshaped": (reshape, r"parameter 0.bias must stay torch.float32 \[16\] on cpu, .* got torch.float32 \[4, 4\] on cpu"),
    "all frozen": (lambda model: model.requires_grad_(False), r"all parameters .* are frozen, nothing can be sent"),
}


def partly_frozen():
    model = perceptron()
    model[0].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("downlink", [None, AnalogBroadcast(energy_budget=300.0)], ids=["plain", "downlink"])
@pytest.mark.parametrize("name", CHANGES)
def test_change_of_the_model_is_refused_by_name_before_anything_is_lost(name, downlink):
    change, message = CHANGES[name]
    bridge = bridge_over(partly_frozen(), downlink=downlink)
    round_of(bridge, batched=True)
    memory = bridge.memory.clone()
    change(bridge.model)
    x, y = data()
    refusals = [bridge.exchange, lambda: bridge.backward(loss_of, x, y), lambda: bridge.gradients_of(0).__enter__()]
    for refused in refusals:
        with pytest.raises(RuntimeError, match=message):
            refused()
    assert torch.equal(bridge.memory, memory)
    assert bridge.round == 0


def test_refused_round_goes_on_when_the_model_is_put_right():
    bridge, twin = bridge_over(partly_frozen()), bridge_over(partly_frozen())
    x, y = data()
    for k in range(3):
        for one in (bridge, twin):
            with one.gradients_of(k):
                loss_of(one.model, x[k], y[k]).backward()
        bridge.model[0].weight.requires_grad_(True)
        with pytest.raises(RuntimeError, match="not carried"), bridge.gradients_of(2):
            pass
        bridge.model[0].weight.requires_grad_(False)
    bridge.exchange()
    twin.exchange()
    assert torch.equal(gradients_of_trainable(bridge), gradients_of_trainable(twin))


def gradients_of_trainable(bridge):
    return torch.cat([p.grad.flatten() for p in bridge.model.parameters() if p.requires_grad])


def test_parameter_unfrozen_within_a_device_is_refused_by_the_next_and_by_exchange():
    bridge = bridge_over(partly_frozen())
    x, y = data()
    with bridge.gradients_of(0):
        bridge.model[0].weight.requires_grad_(True)
        loss_of(bridge.model, x[0], y[0]).backward()
    for refused in (bridge.exchange, lambda: bridge.gradients_of(1).__enter__()):
        with pytest.raises(RuntimeError, match=r"\['0.weight'\] require gradients but are not carried"):
            refused()


def test_lazy_parameters_are_refused():
    with pytest.raises(ValueError, match=r"parameters must have a shape, got lazy \['0.weight', '0.bias'\]"):
        bridge_over(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize("batched", [True, False])
def test_renamed_parameters_are_carried(batched):
    model = Deep()
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    expected = mean_gradients(model, 0)
    model.layers["d"] = model.layers.pop("a")
    model.layers["a"], model.layers["b"] = model.layers["b"], model.layers["c"]
    model.layers["c"] = model.layers.pop("d")
    model.layers["a"], model.layers["b"], model.layers["c"] = (model.layers[name] for name in "cab")  # in the old order
    round_of(bridge, batched=batched)
    assert bridge.batches_devices
    bridge.exchange()
    for p, gradient in expected.items():
        torch.testing.assert_close(p.grad, gradient)


@pytest.mark.parametrize("downlink", [None, AnalogBroadcast(energy_budget=300.0)], ids=["plain", "downlink"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("compressor", SCHEMES, ids=str)
def test_frozen_parameter_does_not_move_and_keeps_its_error_memory(compressor, batched, downlink):
    """An optimiser with momentum and weight decay, a noisy channel: gradual unfreezing, layer by layer."""
    model = Deep()
    bridge = bridge_over(model, compressor=compressor, uplink=AnalogUplink(energy_budget=30.0), downlink=downlink)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    columns = dict(zip(bridge.carried.names, bridge.gradient_memory._views, strict=True))

    def train(rounds):
        for round in rounds:
            round_of(bridge, round, batched=batched)
            bridge.exchange()
            optimizer.step()

    train(range(2))  # all are trained: momentum and error memory are there
    for p in model.layers.parameters():
        p.requires_grad_(False)
    owed = {name: rows.clone() for name, rows in columns.items()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    if compressor.error_feedback:
        assert all(rows.any() for name, rows in owed.items() if "weight" in name)
    for number, opened in enumerate(["", "c", "b", "a"]):
        if opened:
            model.layers[opened].requires_grad_(True)
        train(range(2 + 2 * number, 4 + 2 * number))
        for name, p in model.named_parameters():
            if p.requires_grad:
                assert p.grad is not None
                assert not torch.equal(p, before[name]) or not p.grad.any()
            else:
                assert p.grad is None
                assert torch.equal(p, before[name])
                assert torch.equal(columns[name], owed[name])
    assert not any(torch.equal(p, before[name]) for name, p in model.named_parameters() if "weight" in name)
    assert bridge._training.may_batch


def test_gradient_of_a_frozen_parameter_would_move_it_if_it_were_zero():
    """Negative control: with p.grad = 0 momentum and weight decay go on moving it."""
    p = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1)
    p.grad = torch.zeros(3)
    optimizer.step()
    assert not torch.equal(p, torch.ones(3))


def test_unfrozen_parameter_gets_what_it_owed():
    """Noiseless and with error memory: what was asked before freezing arrives after unfreezing."""
    model = perceptron().double()
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, scale=PreviousScale())
    bridge = bridge_over(model, num_devices=1, compressor=Uncompressed(error_feedback=True), uplink=uplink)
    bridge.memory.fill_(1.0)
    model[0].weight.requires_grad_(False)
    for round in range(3):
        if round == 1:
            model[0].weight.requires_grad_(True)
        with bridge.gradients_of(0):
            pass
        bridge.exchange()
    torch.testing.assert_close(model[0].weight.grad, torch.ones_like(model[0].weight))  # after one silent round
    assert not bridge.gradient_memory._views[0].any()


def test_gradient_that_came_before_freezing_is_dropped_without_error_memory_and_owed_with_it():
    for feedback in (False, True):
        model = perceptron()
        bridge = bridge_over(model, compressor=Uncompressed(error_feedback=feedback), uplink=NOISELESS)
        round_of(bridge, batched=False)
        asked = bridge.gradient_memory._views[0].clone()
        model[0].weight.requires_grad_(False)
        bridge.exchange()
        assert torch.equal(bridge.gradient_memory._views[0], asked if feedback else torch.zeros_like(asked))


def test_interrupted_exchange_is_not_gone_on_from():
    bridge = bridge_over(perceptron())
    round_of(bridge, batched=True)

    class Stopped(LowRank):
        def decode(self, *arguments, **options):
            raise KeyboardInterrupt

    bridge.compressor = Stopped(rank=2)
    with pytest.raises(KeyboardInterrupt):
        bridge.exchange()
    with pytest.raises(RuntimeError, match="the exchange of round 0 was interrupted half-way"):
        bridge.exchange()


def test_failing_channel_leaves_the_round_to_be_repeated():
    failing = [False]

    def fading(num_devices, num_rx_antennas, grid, *, round, generator):
        if failing[0]:
            raise OSError("trace file is gone")
        return torch.ones(1, 1, 1, 1)

    bridge = bridge_over(perceptron(), uplink=AnalogUplink(energy_budget=100.0, fading=fading))
    twin = bridge_over(perceptron())
    for one in (bridge, twin):
        one.model[0].bias.requires_grad_(False)
        round_of(one, batched=True)
    failing[0] = True
    with pytest.raises(OSError, match="gone"):
        bridge.exchange()
    failing[0] = False
    bridge.exchange()
    twin.exchange()
    assert torch.equal(bridge.memory, twin.memory)


def mean_gradients(model, round):
    """Of the devices' losses by plain autograd, for each parameter that requires a gradient."""
    kept = {p: p.grad for p in model.parameters()}
    wanted = [p for p in model.parameters() if p.requires_grad]
    x, y = data(round)
    loss = torch.stack([loss_of(model, x[k], y[k]) for k in range(3)]).mean()
    found = dict(zip(wanted, torch.autograd.grad(loss, wanted, allow_unused=True), strict=True))
    for p, grad in kept.items():
        p.grad = grad
    return {p: torch.zeros_like(p) if gradient is None else gradient for p, gradient in found.items()}


def freeze_layer(model, name):
    if name in model.layers:
        model.layers[name].requires_grad_(False)


def unfreeze_layer(model, name):
    if name in model.layers:
        model.layers[name].requires_grad_(True)


def add_layer(model, name):
    model.layers[name + "x"] = nn.Linear(NUM_FEATURES, NUM_FEATURES)


def add_frozen_layer(model, name):
    model.layers[name + "y"] = nn.Linear(NUM_FEATURES, NUM_FEATURES).requires_grad_(False)


def replace_weight(model, name):
    if name in model.layers:
        model.layers[name][0].weight = nn.Parameter(0.5 * model.layers[name][0].weight.detach())


def rename_layer(model, name):
    if name in model.layers:
        model.layers[name + "z"] = model.layers.pop(name)


def remove_layer(model, name):
    if name in model.layers:
        del model.layers[name]


def new_values(model, name):
    if name in model.layers:
        with torch.no_grad():
            model.layers[name][0].weight.mul_(0.5)
        model.layers[name][0].bias.data = torch.zeros(NUM_FEATURES)


OPERATIONS = [
    freeze_layer,
    unfreeze_layer,
    add_layer,
    add_frozen_layer,
    replace_weight,
    rename_layer,
    remove_layer,
    new_values,
]


def misfits(model, carried):
    """Names of what must be refused, by the model's state alone; None for a model without anything to train."""
    named = dict(model.named_parameters())
    new = [name for name, p in named.items() if p.requires_grad and all(p is not q for q in carried)]
    gone = any(all(p is not q for q in named.values()) for p in carried)
    if not new and not gone and not any(p.requires_grad for p in carried):
        return ["all parameters"]
    return new or (["no longer part"] if gone else [])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from(OPERATIONS), st.sampled_from("abc")), max_size=2), min_size=1, max_size=4
    ),
    batched=st.booleans(),
    frozen_first=st.sampled_from(["", "a", "b"]),
)
def test_every_trainable_gradient_is_what_the_receiver_decoded_or_an_error_names_it(steps, batched, frozen_first):
    model = Deep()
    if frozen_first:
        freeze_layer(model, frozen_first)
    bridge = bridge_over(model, compressor=Uncompressed(), uplink=NOISELESS)
    carried = list(bridge._parameters)
    for round, operations in enumerate(steps):
        for operation, name in operations:
            operation(model, name)
        if refused := misfits(model, carried):
            with pytest.raises(RuntimeError) as error:
                round_of(bridge, round, batched=batched)
            assert all(name in str(error.value) for name in refused)
            return
        expected = mean_gradients(model, round)
        round_of(bridge, round, batched=batched)
        bridge.exchange()
        for p in model.parameters():
            if p.requires_grad:
                torch.testing.assert_close(p.grad, expected[p], rtol=1e-4, atol=1e-6)
            else:
                assert p.grad is None


def test_nothing_frozen_is_the_round_that_it_was():
    """The mean of the gradients, with no p.grad left out."""
    bridge = bridge_over(perceptron(), uplink=NOISELESS, compressor=Uncompressed())
    expected = mean_gradients(bridge.model, 0)
    round_of(bridge, batched=False)
    bridge.exchange()
    torch.testing.assert_close(gradients(bridge.model), torch.cat([g.flatten() for g in expected.values()]))
