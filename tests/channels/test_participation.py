"""Participation: who takes part, how often, and how long the server waits."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.participation import EveryDevice, RandomDropout, SampledDevices, Stragglers

NUM_DEVICES = 100_000


def attend(rule, num_devices=NUM_DEVICES, *, round=0, seed=3, device="cpu"):
    return rule(num_devices, round=round, generator=seeded(seed, device))


RULES = [
    EveryDevice(),
    RandomDropout(drop_probability=0.3),
    RandomDropout(drop_probability=(0.0, 0.5, 1.0)),
    Stragglers(extra_s=1.0, least_s=(0.1, 0.2, 0.3), deadline_s=1.0),
    SampledDevices(num_sampled=2),
    RandomDropout(drop_probability=0.3, num_sampled=2),
    Stragglers(extra_s=1.0, deadline_s=1.0, num_sampled=2),
]


@pytest.mark.usefixtures("global_rng_untouched")
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_gives_a_mask_and_repeats(rule, device):
    found = attend(rule, 3, device=device)
    assert (found.present.shape, found.present.dtype, found.present.device.type) == ((3,), torch.bool, device.type)
    assert torch.equal(found.present, attend(rule, 3, device=device).present)
    assert (found.seconds is None) == (not isinstance(rule, Stragglers))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_reads_nothing(rule):
    with FakeTensorMode():
        assert attend(rule, 3).present.shape == (3,)


def test_everybody_is_present():
    assert attend(EveryDevice()).present.all()


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.9])
def test_devices_drop_out_with_their_probability(probability):
    present = attend(RandomDropout(drop_probability=probability)).present.double()
    assert_mean(present, mean=1 - probability, variance=probability * (1 - probability))
    pairs = present.view(2, -1) - (1 - probability)
    assert_mean(pairs[0] * pairs[1], mean=0, variance=(probability * (1 - probability)) ** 2)


def test_dropout_ten_percent_too_frequent_is_noticed():
    present = attend(RandomDropout(drop_probability=0.33)).present.double()
    with pytest.raises(AssertionError, match=r"expected 0\.7"):
        assert_mean(present, mean=0.7, variance=0.21)


def test_sure_dropouts_are_sure():
    rule = RandomDropout(drop_probability=(0.0, 1.0))
    for seed in range(100):
        assert attend(rule, 2, seed=seed).present.tolist() == [True, False]


@pytest.mark.parametrize(("least", "extra", "deadline"), [(0.0, 2.0, 1.0), (0.5, 1.0, 3.0)])
def test_devices_are_in_time_with_the_shifted_exponential_law(least, extra, deadline):
    found = attend(Stragglers(least_s=least, extra_s=extra, deadline_s=deadline))
    rate = 1 - math.exp(-(deadline - least) / extra)
    assert_mean(found.present.double(), mean=rate, variance=rate * (1 - rate))
    assert found.seconds.item() == deadline
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(found.present.double(), mean=0.95 * rate, variance=rate * (1 - rate))


def test_arrival_of_one_device_is_shifted_exponential():
    rule = Stragglers(least_s=0.5, extra_s=2.0)
    seconds = torch.stack([attend(rule, 1, seed=seed).seconds for seed in range(5_000)])
    assert_distributed(seconds, "expon", 0.5, 2.0)


def test_last_of_many_arrives_after_the_harmonic_sum():
    """E max = least + extra (1 + 1/2 + ... + 1/K), Var max = extra^2 (1 + 1/4 + ... + 1/K^2)."""
    rule = Stragglers(least_s=0.5, extra_s=2.0)
    rounds = [attend(rule, 8, seed=seed) for seed in range(5_000)]
    assert all(found.present.all() for found in rounds)
    harmonic, squares = (sum(1 / k**power for k in range(1, 9)) for power in (1, 2))
    assert_mean(torch.stack([found.seconds for found in rounds]), mean=0.5 + 2 * harmonic, variance=4 * squares)


def test_server_waits_for_the_last_device_or_the_deadline():
    rule = Stragglers(extra_s=1.0, deadline_s=2.0)
    rounds = [attend(rule, 3, seed=seed) for seed in range(200)]
    late = [found for found in rounds if not found.present.all()]
    in_time = [found for found in rounds if found.present.all()]
    assert len(late) > 20
    assert len(in_time) > 20
    assert all(found.seconds == 2.0 for found in late)
    assert all(found.seconds < 2.0 for found in in_time)


def test_slow_device_misses_a_deadline_before_its_least_time():
    found = attend(Stragglers(extra_s=1e-3, least_s=(0.1, 5.0), deadline_s=1.0), 2)
    assert found.present.tolist() == [True, False]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_impossible_drop_probability_is_refused(bad):
    for value in (bad, (0.5, bad)):
        with pytest.raises(ValueError, match=r"drop_probability must be in \[0, 1\]"):
            RandomDropout(drop_probability=value)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_impossible_times_are_refused(bad):
    with pytest.raises(ValueError, match="extra_s must be finite and > 0"):
        Stragglers(extra_s=(1.0, bad))
    with pytest.raises(ValueError, match="least_s must be finite and >= 0"):
        Stragglers(extra_s=1.0, least_s=bad)
    with pytest.raises(ValueError, match="deadline_s must be > 0"):
        Stragglers(extra_s=1.0, deadline_s=bad if bad != math.inf else 0.0)


@pytest.mark.parametrize("number", [0, 2])
def test_as_many_values_as_devices_are_wanted(number):
    with pytest.raises(
        ValueError, match=f"drop_probability must hold one value or one for each of the 3 devices, got {number}"
    ):
        attend(RandomDropout(drop_probability=(0.5,) * number), 3)
    with pytest.raises(ValueError, match="extra_s must hold one value"):
        attend(Stragglers(extra_s=(1.0,) * 2), 3)


@pytest.mark.parametrize("num_sampled", [1, 3, 7])
def test_each_device_is_asked_as_often_as_any_other(num_sampled):
    """Hypergeometric: a device with probability m/K, a pair with m (m - 1) / (K (K - 1))."""
    rule, num_rounds = SampledDevices(num_sampled=num_sampled), 4000
    present = torch.stack([attend(rule, 7, seed=seed).present for seed in range(num_rounds)]).double()
    assert (present.sum(1) == num_sampled).all()
    p = num_sampled / 7
    for device in range(7):
        assert_mean(present[:, device], mean=p, variance=p * (1 - p))
    both = num_sampled * (num_sampled - 1) / 42
    assert_mean(present[:, 0] * present[:, 5], mean=both, variance=both * (1 - both))


@pytest.mark.parametrize("rule", [rule for rule in RULES if getattr(rule, "num_sampled", None)], ids=str)
def test_only_those_asked_are_present(rule, device):
    for seed in range(20):
        asked = rule.asked(3, round=0, generator=seeded(seed, device))
        assert asked.tolist() == sorted(set(asked.tolist()))
        assert asked.shape == (2,)
        absent = torch.ones(3, dtype=torch.bool, device=device).index_fill(0, asked, False)
        assert not (attend(rule, 3, seed=seed, device=device).present & absent).any()


def test_server_waits_for_those_asked_alone():
    slow = Stragglers(extra_s=1e-9, least_s=(1.0, 2.0, 3.0), num_sampled=1)
    for seed in range(9):
        [asked] = slow.asked(3, round=0, generator=seeded(seed)).tolist()
        assert attend(slow, 3, seed=seed).seconds.item() == pytest.approx(asked + 1)


@pytest.mark.parametrize("num_sampled", [0, -2])
def test_nobody_asked_is_refused(num_sampled):
    with pytest.raises(ValueError, match=f"num_sampled must be >= 1, got {num_sampled}"):
        SampledDevices(num_sampled=num_sampled)


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(ValueError, match="num_sampled must be at most the 3 devices that there are, got 4"):
        attend(SampledDevices(num_sampled=4), 3)
