"""Shared draws: one generator a round for all parties, and subsets that are uniform whatever the length."""

import pytest
import torch
from helpers.statistical import assert_mean, seeded

from laser_wireless.compression import shared_draws
from laser_wireless.compression.shared_draws import draw_subset, portion, shared_generator


def test_generator_depends_on_seed_and_round_alone():
    one, same, later, other = (torch.rand(4, generator=shared_generator(*key)) for key in [(3, 5), (3, 5), (3, 6), (4, 5)])
    assert torch.equal(one, same)
    assert not torch.equal(one, later)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (10, 3), (10, 10), (200_000, 1), (200_000, 70_000), (131_072, 131_072)])
def test_subset_has_its_size_and_no_repetition(size, count):
    chosen = draw_subset(size, count, seed=(0,), generator=seeded(0))
    assert chosen.shape == (count,)
    assert len(chosen.unique()) == count
    assert 0 <= chosen.min() <= chosen.max() < size


def members(num_draws, size, count):
    """Whether each entry was drawn, float64 [draws, size]."""
    inside = torch.zeros(num_draws, size, dtype=torch.float64)
    for number in range(num_draws):
        inside[number, draw_subset(size, count, seed=(number,), generator=seeded(number))] = 1
    return inside


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1 << 16, 3])
def test_every_entry_and_every_pair_is_equally_likely(chunk, monkeypatch):
    """Inclusion k / d; pairs k (k - 1) / (d (d - 1)), within a chunk and across chunks."""
    monkeypatch.setattr(shared_draws, "_CHUNK", chunk)
    inside = members(20_000, 7, 3)
    for entry in inside.unbind(1):
        assert_mean(entry, mean=3 / 7, variance=3 / 7 * 4 / 7, num_comparisons=28)
    pairs = [inside[:, i] * inside[:, j] for i in range(7) for j in range(i)]
    for pair in pairs:
        assert_mean(pair, mean=1 / 7, variance=1 / 7 * 6 / 7, num_comparisons=28)


def test_unequal_chances_are_noticed():
    """The same number from each chunk would be stratified sampling: pairs within a chunk become too rare."""
    inside = torch.zeros(20_000, 6, dtype=torch.float64)
    for number in range(len(inside)):
        for start in (0, 3):
            inside[number, start + torch.randperm(3, generator=seeded(2 * number + start))[:1]] = 1
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(inside[:, 0] * inside[:, 1], mean=1 / 15, variance=1 / 15 * 14 / 15)


@pytest.mark.parametrize(
    ("fraction", "size", "count"), [(0.29, 100, 29), (0.2, 64, 12), (0.01, 7, 1), (1.0, 5, 5), (1e-9, 3, 1)]
)
def test_portion_is_what_the_decimals_say(fraction, size, count):
    assert portion(fraction, size) == count
