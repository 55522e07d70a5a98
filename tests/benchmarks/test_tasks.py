"""Tasks: fixed disjoint parts, batches that a seed fixes, models that leave the global generator alone."""

import math

import pytest
import torch

from laser_wireless.benchmarks.tasks import Cifar, Digits, FashionMnist, Mnist, StdlibText, WikiText, digits, stdlib_text
from laser_wireless.benchmarks.tasks.gpt import GPT
from laser_wireless.channels import Streams

SMALL = [
    Digits(width=8),
    Digits(architecture="linear"),
    StdlibText(width=16, num_layers=1, context=16, evaluation_windows=8),
]


@pytest.mark.parametrize("task", SMALL, ids=repr)
def test_model_and_batches_follow_the_seed_alone(task, global_rng_untouched):
    one, two, other = task.model(3), task.model(3), task.model(4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    batch, again = task.batches(5, 4, Streams(0)), task.batches(5, 4, Streams(0))
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert not torch.equal(batch[0], task.batches(6, 4, Streams(0))[0])
    assert not torch.equal(batch[0], task.batches(5, 4, Streams(1))[0])


@pytest.mark.parametrize("task", SMALL, ids=repr)
def test_an_optimiser_step_lowers_the_loss_on_the_same_batch(task):
    model, batch = task.model(0), tuple(part[0] for part in task.batches(0, 4, Streams(0)))
    optimizer = task.optimizer(model, 1e-2)
    before = task.loss(model, *batch)
    before.backward()
    optimizer.step()
    assert task.loss(model, *batch) < before


def stepped(task, gradients, learning_rate=0.5, start=1.0):
    """A number that a task's optimiser moves by these gradients."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, start)
    optimizer = task.optimizer(model, learning_rate)
    for gradient in gradients:
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
    return model.weight.item()


@pytest.mark.parametrize("kind", [Digits, FashionMnist, Mnist, Cifar])
def test_without_momentum_a_step_is_of_its_own_gradient_alone(kind):
    plain = kind(momentum=0, weight_decay=0.0)
    assert stepped(plain, [1.0, 0.25, -0.5]) == 1 - 0.5 * 1 - 0.5 * 0.25 + 0.5 * 0.5
    assert stepped(plain, [1.0, 0.0]) == stepped(plain, [1.0])
    decayed = kind(momentum=0, weight_decay=0.5)
    assert stepped(decayed, [1.0, 1.0]) == (1 - 0.5 * 1.5) - 0.5 * (1 + 0.5 * 0.25)


@pytest.mark.parametrize("kind", [Digits, FashionMnist, Mnist, Cifar])
def test_momentum_sums_the_gradients_and_is_nine_tenths_unless_said(kind):
    for beta, task in ((0.5, kind(momentum=0.5, weight_decay=0.0)), (0.9, kind(weight_decay=0.0))):
        velocities = [1.0, beta + 0.25, beta * (beta + 0.25) - 0.5]
        assert stepped(task, [1.0, 0.25, -0.5]) == pytest.approx(1 - 0.5 * sum(velocities), abs=1e-6)


@pytest.mark.parametrize("kind", [StdlibText, WikiText])
def test_adam_divides_an_average_by_the_rms_and_the_gradient_itself_without_momentum(kind):
    gradients = [1.0, 0.25, -0.5]
    for beta, task in (
        (0.0, kind(momentum=0, weight_decay=0.0)),
        (0.5, kind(momentum=0.5, weight_decay=0.0)),
        (0.9, kind(weight_decay=0.0)),
    ):
        expected, mean, square = 1.0, 0.0, 0.0
        for step, gradient in enumerate(gradients, 1):
            mean = beta * mean + (1 - beta) * gradient
            square = 0.95 * square + 0.05 * gradient**2
            expected -= 0.5 * mean / (1 - beta**step) / math.sqrt(square / (1 - 0.95**step))
        assert stepped(task, gradients) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("task", SMALL, ids=repr)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_is_repeatable_and_starts_at_chance(task, split):
    model = task.model(0)
    found = task.evaluate(model, split)
    assert found == task.evaluate(model, split)
    chance = torch.tensor(10.0 if isinstance(task, Digits) else 256.0).log().item()
    assert abs(found["loss"] - chance) < 0.7


def test_digits_parts_are_disjoint_stratified_and_complete():
    parts = digits._parts()
    assert {name: len(x) for name, (x, _) in parts.items()} == {"train": 1077, "validation": 360, "test": 360}
    rows = [row.numpy().tobytes() for x, _ in parts.values() for row in x]
    assert len(set(rows)) == 1797  # all images of the set are different, so no image is in two parts
    for _, y in parts.values():
        assert torch.bincount(y).min() >= 0.09 * len(y)


def test_digits_epoch_visits_each_image_of_a_shard_once():
    task, streams = Digits(batch_size=11), Streams(0)
    shard = 1077 // 16
    seen = [task.batches(round, 16, streams)[0] for round in range(shard // 11)]
    for k in range(16):
        rows = {row.numpy().tobytes() for batch in seen for row in batch[k]}
        assert len(rows) == shard // 11 * 11
    across = [{row.numpy().tobytes() for batch in seen for row in batch[k]} for k in range(16)]
    assert sum(map(len, across)) == len(set.union(*across))  # no image on two devices


def test_digits_refuses_batches_beyond_a_shard():
    with pytest.raises(ValueError, match="batch_size must be at most the 10 images"):
        Digits(batch_size=16).batches(0, 100, Streams(0))


def test_text_parts_come_from_different_files():
    parts = stdlib_text._parts()
    assert all(len(text) > 100_000 for text in parts.values())
    assert len(parts["train"]) > 5 * max(len(parts["validation"]), len(parts["test"]))
    window = bytes(parts["test"][:400].tolist())
    assert window not in bytes(parts["train"].tolist())


def test_text_targets_are_the_next_bytes_of_the_devices_own_share():
    task = StdlibText(context=16)
    seen, following = task.batches(0, 4, Streams(0))
    assert seen.shape == following.shape == (4, 8, 16)
    assert torch.equal(seen[..., 1:], following[..., :-1])


def test_gpt_sees_no_future_and_counts_its_parameters():
    model = GPT(vocabulary=256, width=64, num_layers=2, num_heads=4, context=64)
    assert sum(p.numel() for p in model.parameters()) == 119_104
    tokens = torch.randint(256, (2, 10), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 6:] = 0
    assert torch.equal(model(tokens)[:, :6], model(changed)[:, :6])
    assert not torch.equal(model(tokens)[:, 6:], model(changed)[:, 6:])


def test_text_learning_rate_warms_up_and_decays_to_a_fifth():
    factor = StdlibText().learning_rate_factor
    assert factor(0, 1000) == 0.01
    assert factor(20, 1000) == 1.0
    assert factor(999, 1000) == pytest.approx(0.2, abs=1e-4)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="width must be >= 1"):
        Digits(width=0)
    with pytest.raises(ValueError, match="num_heads must divide width"):
        StdlibText(width=10, num_heads=4)


@pytest.mark.parametrize("kind", [Digits, FashionMnist, Mnist, Cifar, StdlibText, WikiText])
@pytest.mark.parametrize("momentum", [1.0, -0.1, math.inf])
def test_an_impossible_momentum_is_refused(kind, momentum):
    with pytest.raises(ValueError, match=rf"momentum must lie in \[0, 1\), got {momentum}"):
        kind(momentum=momentum)
