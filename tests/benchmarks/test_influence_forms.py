"""Closed forms of the channel influence factors against plain transcriptions: every draw enumerated, or Monte-Carlo."""

import math
from itertools import combinations, product
from statistics import NormalDist

import pytest
import torch
from helpers.closed_forms import vote_mean
from helpers.statistical import assert_mean, seeded
from scipy.integrate import quad
from scipy.stats import norm

from laser_wireless.benchmarks.theory import (
    OneBlock,
    both_factors,
    bound_of_the_paper,
    count_sketch,
    gaussian_projection,
    index_error,
    one_factor,
    random_k,
    sign_mean,
    sign_vote,
    top_k,
    uncompressed,
)
from laser_wireless.benchmarks.theory.influence import inverse_count
from laser_wireless.benchmarks.theory.recovery import recovery_error
from laser_wireless.benchmarks.theory.signs import vote_error
from laser_wireless.benchmarks.theory.sparse import gaussian_top_share
from laser_wireless.compression.shared_draws import portion

Z = NormalDist().inv_cdf(1 - 1e-6 / 2)


def block_of(snr, m=16, n=64, **options):
    return OneBlock(m=m, n=n, energy_budget=snr * m * n, **options)


def parallel(g, block, ratio_from=(1.0, 3.0)):
    """The gradients of two devices, positive multiples of g with mean g, and the block with their norm ratio."""
    factors = torch.tensor(ratio_from, dtype=torch.float64) / torch.tensor(ratio_from).mean()
    return factors, OneBlock(**{**vars(block), "num_devices": 2, "norm_ratio": factors.max().item() ** 2})


def noise_per_symbol(message, block, factors):
    """tau^2 for the messages factors times `message`."""
    return (factors.max() * message.norm()).square().item() * block.noise_variance / (4 * block.energy_budget)


def test_published_example():
    # 16 x 64, SNR 0.05, rank 1: Z-SGD 20, both factors 4.69, bound 6.56
    block = block_of(0.05)
    assert uncompressed(block).total == pytest.approx(20)
    assert both_factors(block, 1).total == pytest.approx(4.6875)
    assert bound_of_the_paper(block, 1) == pytest.approx(6.5625)
    assert one_factor(block, 1).total == pytest.approx(1.25)
    assert one_factor(block, 1, sends="rows").total == pytest.approx(20 / 64)


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize("snr", [1e-3, 0.05, 10.0])
def test_bound_of_the_paper_is_one_and_is_met_by_squares(snr, rank):
    uneven = block_of(snr, norm_ratio=1.5)
    assert both_factors(uneven, rank).channel <= bound_of_the_paper(uneven, rank)
    square = block_of(snr, m=32, n=32)
    assert both_factors(square, rank).channel == pytest.approx(bound_of_the_paper(square, rank))


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_several_devices_are_a_higher_snr(share):
    many, one = block_of(0.05, num_devices=4), block_of(0.05 * 16)
    assert uncompressed(many) == uncompressed(one)
    assert both_factors(many, 3, captured=share) == both_factors(one, 3, captured=share)
    assert one_factor(many, 3, captured=share).compression == 1 - share


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 1.0])
def test_random_k_over_every_choice_of_places(fraction, rescale):
    g = torch.randn(6, dtype=torch.float64, generator=seeded(0))
    factors, block = parallel(g, OneBlock(m=2, n=3, energy_budget=2.0))
    k = max(1, int(fraction * 6))
    compression, channel = [], []
    for places in combinations(range(6), k):
        decoded, gain = torch.zeros_like(g), 6 / k if rescale else 1.0
        decoded[list(places)] = gain * g[list(places)]
        compression.append((decoded - g).square().sum())
        channel.append(k * gain**2 * noise_per_symbol(g[list(places)], block, factors))
    found = random_k(block, fraction, rescale=rescale)
    assert found.compression == pytest.approx((sum(compression) / len(compression) / g.square().sum()).item(), abs=1e-12)
    assert found.channel == pytest.approx((sum(channel) / len(channel) / g.square().sum()).item())


@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("s", [1, 2, 3])
def test_count_sketch_over_every_hash(s, divide):
    g = torch.randn(4, dtype=torch.float64, generator=seeded(0))
    factors, block = parallel(g, OneBlock(m=2, n=2, energy_budget=2.0))
    compression, channel = [], []
    for buckets in product(range(s), repeat=4):
        place = torch.tensor(buckets)
        share = torch.bincount(place, minlength=s)[place].double() if divide else torch.ones(4)
        for signs in product((-1.0, 1.0), repeat=4):
            sign = torch.tensor(signs, dtype=torch.float64)
            sketch = torch.zeros(s, dtype=torch.float64).index_add_(0, place, sign * g)
            compression.append((sign * sketch[place] / share - g).square().sum())
            channel.append(noise_per_symbol(sketch, block, factors) * share.pow(-2).sum())
    found = count_sketch(block, s, divide_by_count=divide)
    assert found.compression == pytest.approx((sum(compression) / len(compression) / g.square().sum()).item())
    assert found.channel == pytest.approx((sum(channel) / len(channel) / g.square().sum()).item())


def test_rows_of_a_sketch_over_every_hash():
    g = torch.randn(3, dtype=torch.float64, generator=seeded(0))
    factors, block = parallel(g, OneBlock(m=1, n=3, energy_budget=2.0))
    draws = []  # of one row: sketch and decoded
    for buckets, signs in product(product(range(2), repeat=3), product((-1.0, 1.0), repeat=3)):
        place, sign = torch.tensor(buckets), torch.tensor(signs, dtype=torch.float64)
        sketch = torch.zeros(2, dtype=torch.float64).index_add_(0, place, sign * g)
        draws.append((sketch, sign * sketch[place]))
    compression, channel = [], []
    for (first, one), (second, two) in product(draws, repeat=2):
        compression.append(((one + two) / 2 - g).square().sum())
        channel.append(3 / 2 * noise_per_symbol(torch.cat([first, second]), block, factors))
    found = count_sketch(block, 2, rows=2)
    assert found.compression == pytest.approx((sum(compression) / len(compression) / g.square().sum()).item())
    assert found.channel == pytest.approx((sum(channel) / len(channel) / g.square().sum()).item())
    assert math.isnan(count_sketch(block, 2, rows=2, divide_by_count=True).total)


@pytest.mark.parametrize(("d", "s"), [(1, 1), (7, 1), (7, 3), (500, 100), (2000, 2)])
def test_mean_inverse_count_is_the_finite_sum(d, s):
    q = 1 - 1 / s
    assert inverse_count(d, s) == pytest.approx(sum((q ** (d - i) - q**d) / i for i in range(1, d + 1)), rel=1e-9)


@pytest.mark.parametrize("mean_sign", [-1.0, -0.5, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("tau", [0.3, 2.0, 50.0])
def test_vote_after_noise(mean_sign, tau):
    votes = torch.sign(mean_sign + tau * torch.randn(100_000, dtype=torch.float64, generator=seeded(1)))
    mean = vote_mean(mean_sign, tau)
    assert_mean(votes, mean=mean, variance=1 - mean**2)
    if mean_sign:
        wrong = (votes != math.copysign(1, mean_sign)).double()
        p = vote_error(mean_sign, tau)
        assert_mean(wrong, mean=p, variance=p * (1 - p))
    closer = mean_sign - math.copysign(0.3 * tau, mean_sign)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(votes, mean=vote_mean(closer, tau), variance=1 - mean**2)


def test_vote_without_noise_is_the_sign():
    assert (vote_mean(0.1, 0.0), vote_mean(-0.1, 0.0), vote_mean(0.0, 0.0)) == (1, -1, 0)


@pytest.mark.parametrize("form", [sign_vote, sign_mean])
def test_signs_times_the_mean_magnitude(form):
    g = torch.randn(16, 64, dtype=torch.float64, generator=seeded(0))
    scale, flatness = g.abs().mean(), (g.abs().mean().square() / g.square().mean()).item()
    block = block_of(0.05, num_devices=3)
    noise = torch.randn(2000, 16, 64, dtype=torch.float64, generator=seeded(1)) / (3 * math.sqrt(0.05))
    received = g.sign() + noise
    error = (scale * (received.sign() if form is sign_vote else received) - g).square().sum((1, 2)) / g.square().sum()
    found, bound = form(block, flatness=flatness), Z * error.std().item() / math.sqrt(2000)
    assert abs(error.mean().item() - found.total) <= bound
    assert abs(error.mean().item() - 1.1 * found.total) > bound
    assert ((scale * g.sign() - g).square().sum() / g.square().sum()).item() == pytest.approx(found.compression)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_largest_gaussian_entries(share):
    t = norm.isf(share / 2)
    assert gaussian_top_share(share) == pytest.approx(2 * quad(lambda x: x * x * norm.pdf(x), t, 40)[0], rel=1e-6)
    loud = block_of(1e4, m=100, n=100)  # every index arrives, with half of the energy
    assert top_k(loud, share).channel == pytest.approx(gaussian_top_share(share) * share * 2 / 1e4, rel=1e-6)
    assert top_k(loud, share).compression == pytest.approx(1 - gaussian_top_share(share))
    assert not top_k(loud, share).exact


def test_top_k_with_the_share_it_captured():
    g = torch.randn(6, dtype=torch.float64, generator=seeded(0))
    factors, block = parallel(g, OneBlock(m=2, n=3, energy_budget=2e4))
    largest = g.abs().topk(2).values
    captured = (largest.square().sum() / g.square().sum()).item()
    channel = 2 * noise_per_symbol(largest, OneBlock(m=2, n=3, energy_budget=1e4), factors) / g.square().sum().item()
    found = top_k(block, 0.34, captured=captured)
    assert found.compression == 1 - captured
    assert found.channel == pytest.approx(channel)


def test_top_k_without_power_for_its_indices_is_random_k():
    """All places random, values drawn with replacement: nearly nothing is gained over the same number at random."""
    block = block_of(1e-3, m=100, n=100)
    found, blind = top_k(block, 0.01), random_k(block, 0.01)
    noise = found.total - blind.compression
    assert 0 < noise < 1.01 * 2 * blind.channel  # half of the energy is in the bits
    assert found.compression < 0.95 < 0.99 <= blind.compression


def test_top_k_of_one_entry_has_no_index():
    assert top_k(OneBlock(m=1, n=1, energy_budget=4.0), 0.5, captured=1.0).total == pytest.approx(0.25)


def test_bits_of_an_index():
    block = OneBlock(m=8, n=16, energy_budget=40.0, num_devices=3, noise_variance=0.5)
    k, num_bits = 12, 12 * 7  # floor(0.1 * 128) entries, 7 bits each
    assert portion(0.1, 128) == k
    noise = torch.randn(100_000, dtype=torch.float64, generator=seeded(4)) * math.sqrt(num_bits * 0.5 / (9 * 20.0))
    wrong = (1 / 3 + noise < 0).double()  # one device of three sends
    p = index_error(block, 0.1)
    assert_mean(wrong, mean=p, variance=p * (1 - p))
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(wrong, mean=1.1 * p, variance=p * (1 - p))


@pytest.mark.parametrize("orthogonal", [False, True])
def test_recovery_grows_worse_with_noise_from_perfect_to_nothing(orthogonal):
    options = {"fraction": 0.5, "share": 0.05, "orthogonal": orthogonal, "iterations": 30}
    found = [recovery_error(noise_variance=noise, **options) for noise in (0.0, 1e-4, 1e-2, 1.0, 1e4)]
    assert found == sorted(found)
    assert found[0] < 1e-6
    assert found[1] < 1e-2
    assert found[-1] == pytest.approx(1, abs=1e-3)


def test_projection_loses_what_its_places_and_its_recovery_lose():
    block = block_of(10.0, m=64, n=64)
    found = gaussian_projection(block, 0.5, 0.1, captured=0.7)
    assert found.compression == pytest.approx(0.3, abs=1e-6)  # recovered without noise
    assert 0 < found.channel < 0.05
    assert not found.exact


def test_share_is_taken_as_it_is_written():
    assert (portion(0.29, 100), portion(0.1, 7840), portion(0.2, 4), portion(1.0, 5)) == (29, 784, 1, 5)


def test_both_factors_of_devices_with_unequal_norms():
    m, n, r, num_rounds = 8, 12, 2, 40_000
    left = torch.linalg.qr(torch.randn(m, r, dtype=torch.float64, generator=seeded(0)))[0]
    right = torch.randn(r, n, dtype=torch.float64, generator=seeded(1))
    factors, block = parallel(left @ right, OneBlock(m=m, n=n, energy_budget=40.0))
    p_noise = math.sqrt(r / (4 * 20.0))
    q_noise = math.sqrt(noise_per_symbol(right, OneBlock(m=m, n=n, energy_budget=20.0), factors))
    p = left + p_noise * torch.randn(num_rounds, m, r, dtype=torch.float64, generator=seeded(2))
    q = right + q_noise * torch.randn(num_rounds, r, n, dtype=torch.float64, generator=seeded(3))
    error = (p @ q - left @ right).square().sum((1, 2)) / right.square().sum()
    expected, bound = both_factors(block, r).total, Z * error.std().item() / math.sqrt(num_rounds)
    assert abs(error.mean().item() - expected) <= bound
    assert abs(error.mean().item() - 1.05 * expected) > bound


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneBlock(m=0, n=1, energy_budget=1.0), "m must be >= 1"),
        (lambda: OneBlock(m=1, n=1, energy_budget=0.0), "energy_budget must be finite and > 0"),
        (lambda: OneBlock(m=1, n=1, energy_budget=1.0, noise_variance=-1.0), "noise_variance must be finite and >= 0"),
        (lambda: block_of(1.0, norm_ratio=0.9), "norm_ratio must be finite and >= 1"),
        (lambda: one_factor(block_of(1.0), 17), r"rank must lie between 1 and min\(m, n\) = 16"),
        (lambda: one_factor(block_of(1.0), 2, captured=1.5), "captured must lie in"),
        (lambda: random_k(block_of(1.0), 0.0), "fraction must lie in"),
        (lambda: count_sketch(block_of(1.0), 0), "num_buckets and rows must be >= 1"),
        (lambda: sign_vote(block_of(1.0), flatness=2.0), "flatness must lie in"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
