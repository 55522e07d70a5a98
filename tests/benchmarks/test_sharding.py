"""Who holds which sample: disjoint and exhaustive shards, the Dirichlet law, the order within an epoch."""

import pytest
import torch
from helpers.statistical import assert_mean, seeded

from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.benchmarks.tasks.sharding import check_sharding, deal
from laser_wireless.channels import Streams

LABELS = torch.randint(10, (1003,), generator=seeded(0))
CASES = [("random", None), ("label", None), ("dirichlet", 0.05), ("dirichlet", 5.0)]


def held(shards, device_index: int) -> torch.Tensor:
    return shards.samples[device_index, : shards.sizes[device_index]]


@pytest.mark.parametrize(("sharding", "alpha"), CASES)
def test_shards_are_disjoint_and_exhaustive(sharding, alpha, global_rng_untouched):
    shards = deal(LABELS, 16, 8, Streams(0), sharding=sharding, alpha=alpha)
    samples = torch.cat([held(shards, k) for k in range(16)])
    expected = 1003 // 16 * 16 if sharding == "random" else 1003  # equal shards leave out what does not divide
    assert len(samples) == len(samples.unique()) == expected == shards.sizes.sum()
    assert shards.sizes.min() >= 1
    again, other = (deal(LABELS, 16, 8, Streams(seed), sharding=sharding, alpha=alpha) for seed in (0, 1))
    assert torch.equal(shards.samples, again.samples)
    assert not torch.equal(held(shards, 0), held(other, 0))


def test_sharding_by_label_gives_few_classes_and_equal_sizes():
    shards = deal(LABELS, 16, 8, Streams(0), sharding="label")
    assert shards.sizes.max() - shards.sizes.min() <= 1
    assert max(len(LABELS[held(shards, k)].unique()) for k in range(16)) <= 2


def shares(alpha: float, num_devices: int) -> torch.Tensor:
    """Device 0's share of each class, of 400 independent deals of 10 classes of 1000 samples each, [400, 10]."""
    labels = torch.arange(10).repeat_interleave(1000)
    deals = [deal(labels, num_devices, 1, Streams(seed), sharding="dirichlet", alpha=alpha) for seed in range(400)]
    return torch.stack([torch.bincount(labels[held(shards, 0)], minlength=10) / 1000 for shards in deals])


def beta_moments(alpha: float, num_devices: int) -> tuple[float, float, float]:
    """Mean, variance and variance of the squared deviation of one share, which is Beta(alpha, (K - 1) alpha)."""
    a, b = alpha, (num_devices - 1) * alpha
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    excess = 6 * ((a - b) ** 2 * (a + b + 1) - a * b * (a + b + 2)) / (a * b * (a + b + 2) * (a + b + 3))
    return mean, variance, variance**2 * (excess + 2)


@pytest.mark.parametrize("alpha", [0.5, 5.0])
def test_class_shares_have_the_moments_of_the_dirichlet_law(alpha):
    """Rounding to whole samples moves a share by at most 0.0005, an eighth of the bounds or less."""
    found = shares(alpha, 4)
    mean, variance, of_square = beta_moments(alpha, 4)
    assert_mean(found, mean=mean, variance=variance, num_comparisons=2)
    assert_mean((found - mean).square(), mean=variance, variance=of_square, num_comparisons=2)
    _, narrow, of_narrow = beta_moments(2 * alpha, 4)
    with pytest.raises(AssertionError):  # a law of half the skew
        assert_mean((found - mean).square(), mean=narrow, variance=of_narrow)


def batches(shards, round):
    """Of all devices, four samples each."""
    return shards.batches(range(len(shards.sizes)), round, 4, Streams(0))


def test_a_device_goes_through_its_shard_in_an_epoch_and_small_shards_go_round_again():
    shards = deal(LABELS, 8, 4, Streams(0), sharding="dirichlet", alpha=0.3)
    longest = int(shards.sizes.max())
    rounds = longest // 4
    seen = torch.cat([batches(shards, round) for round in range(rounds)], dim=1)
    for k in range(8):
        counts = torch.bincount(seen[k], minlength=1003)
        assert counts[held(shards, k)].sum() == 4 * rounds  # nobody else's samples
        assert counts.max() - counts[held(shards, k)].min() <= 1  # as evenly as whole numbers allow
    next_epoch = torch.cat([batches(shards, round) for round in range(rounds, 2 * rounds)], dim=1)
    assert not torch.equal(seen, next_epoch)


def test_device_without_a_sample_takes_one_from_the_largest_shard():
    shards = deal(torch.zeros(40, dtype=torch.int64), 20, 4, Streams(0), sharding="dirichlet", alpha=0.01)
    assert shards.sizes.min() == 1
    assert shards.sizes.sum() == 40
    assert (batches(shards, 0)[shards.sizes == 1].diff(dim=1) == 0).all()


@pytest.mark.parametrize(("sharding", "alpha"), CASES)
def test_digits_train_on_shards_of_any_kind(sharding, alpha):
    images, labels = Digits(sharding=sharding, alpha=alpha).batches(70, 16, Streams(0))
    assert images.shape == (16, 16, 64)
    assert labels.shape == (16, 16)


def test_impossible_shardings_are_refused():
    with pytest.raises(ValueError, match="sharding must be one of random, dirichlet, label, shared, got 'even'"):
        check_sharding("even", None)
    for sharding, alpha in (("dirichlet", None), ("random", 0.5)):
        with pytest.raises(ValueError, match="alpha must be given with sharding dirichlet and only then"):
            Digits(sharding=sharding, alpha=alpha)
    for alpha in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha must be finite and > 0"):
            Digits(sharding="dirichlet", alpha=alpha)
    for sharding, alpha in CASES:
        with pytest.raises(ValueError, match="batch_size must be at most the 0 images"):
            deal(LABELS, 2000, 1, Streams(0), sharding=sharding, alpha=alpha)


def test_shared_samples_are_drawn_uniformly_and_independently_by_any_number_of_devices():
    common = deal(LABELS[:50], 1000, 16, Streams(0), sharding="shared")
    drawn = common.batches(range(1000), 3, 16, Streams(0))
    assert drawn.shape == (1000, 16)
    counts = torch.bincount(drawn.flatten(), minlength=50).double()
    chi_squared = ((counts - 320).square() / 320).sum()
    assert 49 - 5 * 98**0.5 < chi_squared < 49 + 5 * 98**0.5  # 49 degrees of freedom, variance 98
    repeats = (drawn[:, :8] == drawn[:, 8:]).double()
    assert_mean(repeats, mean=1 / 50, variance=1 / 50 * 49 / 50)
    other = common.batches(range(1000), 4, 16, Streams(0))
    assert_mean((drawn == other).double(), mean=1 / 50, variance=1 / 50 * 49 / 50)
    assert common.sizes.tolist() == [50] * 1000


@pytest.mark.parametrize(("sharding", "alpha"), [*CASES, ("shared", None)])
def test_batches_of_some_devices_are_those_of_all(sharding, alpha):
    task = Digits(sharding=sharding, alpha=alpha)
    whole = task.batches(5, 16, Streams(0))
    for devices in (range(0, 3), range(3, 16)):
        part = task.batches_of(devices, 5, 16, Streams(0))
        assert all(torch.equal(a, b[devices.start : devices.stop]) for a, b in zip(part, whole, strict=True))
    assert task.shard_sizes(16, Streams(0)).shape == (16,)
