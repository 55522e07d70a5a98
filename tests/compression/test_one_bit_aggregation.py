"""OBDA and EFOBDA: votes over fading channels by truncated inversion or at least error, and what devices keep of them."""

import math
from itertools import product
from statistics import NormalDist

import pytest
import torch
from helpers.schemes import Run, begin, random_gradients
from helpers.statistical import assert_mean, seeded

from laser_wireless.benchmarks.assembly import build, component
from laser_wireless.channels import AnalogUplink, MseOptimal, NoFading, Rayleigh, Streams, TimeVaryingPrecoding
from laser_wireless.compression import Sign

K, D, BUDGET, THRESHOLD = 3, 6, 2.0, 0.4
SHAPES = ((D,),)
SIGNS = torch.tensor([[1.0, 1, -1, 1, -1, -1], [1, -1, -1, 1, 1, -1], [1, 1, 1, -1, -1, -1]], dtype=torch.float64)


def decided(uplink, num_rounds):
    """Votes [R, D] of independent rounds, each with gains of its own."""
    scheme, state, streams = build(component("obda", "compressor"), "compressor"), begin(Sign(), SHAPES), Streams(0)
    message = scheme.encode(3.7 * SIGNS, state, round=0)
    rounds = (uplink.aggregate(message.symbols, message.layout, round=t, streams=streams) for t in range(num_rounds))
    return torch.stack([scheme.decode(found.estimate, state, round=0)[0][0] for found in rounds])


def mean_votes(amplitude, chance):
    """E sign(y) for y = amplitude sum of the signs of those who send + unit noise, each sending with this probability."""
    total = torch.zeros(D, dtype=torch.float64)
    for sends in product((0, 1), repeat=K):
        weight = math.prod(chance if one else 1 - chance for one in sends)
        sums = (torch.tensor(sends, dtype=torch.float64) @ SIGNS).tolist()
        total += weight * torch.tensor([2 * NormalDist().cdf(amplitude * s) - 1 for s in sums], dtype=torch.float64)
    return total


@pytest.mark.slow
def test_vote_over_rayleigh_fading_is_that_of_truncated_inversion_with_one_receive_power():
    """rho_0 = threshold P / d for a real symbol; a device sends with probability exp(-threshold)."""
    uplink = AnalogUplink(
        energy_budget=BUDGET, fading=Rayleigh(), power_control=TimeVaryingPrecoding(threshold=THRESHOLD), baseband="complex"
    )
    found, amplitude = decided(uplink, 2000), math.sqrt(THRESHOLD * BUDGET / D)
    expected = mean_votes(amplitude, math.exp(-THRESHOLD))
    for column, mean in zip(found.unbind(1), expected.tolist(), strict=True):
        assert_mean(column, mean=mean, variance=1 - mean**2, num_comparisons=D)
    others = mean_votes(2 * amplitude, math.exp(-THRESHOLD))
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(found[:, 0], mean=others[0].item(), variance=1 - others[0].item() ** 2)


def plain_aggregation(signs, h, rho, threshold):
    """One-bit aggregation without noise, symbol by symbol: two signs on a 4-QAM symbol, inverted where the gain allows."""
    votes = []
    for first in range(0, signs.shape[1], 2):
        y = 0j
        for k in range(len(signs)):
            symbol = complex(signs[k, first].item(), signs[k, first + 1].item())
            gain = complex(h[k])
            if abs(gain) ** 2 >= threshold:
                y += gain * (math.sqrt(rho) / gain) * symbol
        votes += [(y.real > 0) - (y.real < 0), (y.imag > 0) - (y.imag < 0)]
    return votes


@pytest.mark.parametrize(
    "gains", [(1.0, 0.2 + 0.9j, -1.3j), (0.1 + 0.1j, 0.3, 0.7 - 0.4j), (0.3, 0.2j, 2.0), (0.1, 0.2, 0.3j)]
)
def test_votes_without_noise_are_those_of_qam_symbols(gains):
    """An odd number of senders, or none: no vote is a tie."""

    def fixed(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.tensor(gains, dtype=torch.complex128).view(num_devices, 1, 1, 1)

    uplink = AnalogUplink(
        energy_budget=BUDGET,
        noise_variance=0.0,
        fading=fixed,
        power_control=TimeVaryingPrecoding(threshold=THRESHOLD),
        baseband="complex",
    )
    assert decided(uplink, 1)[0].tolist() == plain_aggregation(SIGNS, gains, THRESHOLD * BUDGET / D, THRESHOLD)


def water_level(limits, noise):
    """x of sum_k A_k max(0, x - A_k) = noise, by trying every number of devices below the level."""
    limits = sorted(limits)
    for count in range(1, len(limits) + 1):
        level = (noise + sum(a * a for a in limits[:count])) / sum(limits[:count])
        if level >= limits[count - 1] and (count == len(limits) or level <= limits[count]):
            return level
    raise AssertionError("one number fits")


def test_vote_at_least_error_lets_weak_devices_send_at_full_power():
    """Signs have one norm, so that all that counts are the gains: a_k = min(A_k, x), A_k = |h_k| sqrt(P / d)."""
    gains = torch.tensor([0.3, 0.8, 4.0])

    def fixed(num_devices, num_rx_antennas, grid, *, round, generator):
        return (gains * torch.tensor([1, 1j, -1])).view(num_devices, 1, 1, 1)

    uplink = AnalogUplink(energy_budget=BUDGET, fading=fixed, power_control=MseOptimal(), baseband="complex")
    limits = [gain * math.sqrt(BUDGET / D) for gain in gains.tolist()]
    level = water_level(limits, 1.0)
    arriving = torch.tensor([min(a, level) for a in limits], dtype=torch.float64)
    assert min(limits) < level < max(limits)  # one at least on either side
    symbols = SIGNS.expand(20_000, -1, -1)
    found = uplink.aggregate(symbols, (D,), round=0, streams=Streams(0)).estimate.sign()
    for column, y in zip(found.unbind(1), (arriving @ SIGNS).tolist(), strict=True):
        mean = 2 * NormalDist().cdf(y) - 1
        assert_mean(column, mean=mean, variance=1 - mean**2, num_comparisons=D)


def kept(asked, strength=1.0):
    return strength * (asked - asked.abs().mean(1, keepdim=True) * asked.sign())


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_devices_keep_what_their_own_scaled_sign_leaves(strength):
    run = Run(
        Sign(error_feedback=True, feedback_strength=strength), AnalogUplink(energy_budget=1.0, fading=NoFading()), SHAPES
    )
    expected = torch.zeros(K, D, dtype=torch.float64)
    for round in range(4):
        gradients = random_gradients(K, size=D, seed=round)
        asked, expected = expected + gradients, kept(expected + gradients, strength)
        step = run.step(gradients)
        assert torch.equal(step.message.symbols, asked.sign())
        torch.testing.assert_close(step.owed, expected, rtol=1e-12, atol=1e-12)


def test_norm_of_what_is_kept_is_one_minus_the_flatness():
    asked = torch.randn(K, 500, dtype=torch.float64, generator=seeded(0))
    step = Run(Sign(error_feedback=True), AnalogUplink(energy_budget=1.0, noise_variance=0.0), ((500,),)).step(asked)
    flatness = asked.abs().sum(1).square() / (500 * asked.square().sum(1))
    torch.testing.assert_close(step.owed.square().sum(1) / asked.square().sum(1), 1 - flatness, rtol=1e-10, atol=0)
    assert ((flatness - 2 / math.pi).abs() < 0.1).all()  # of Gaussian entries


def test_device_that_was_silent_keeps_what_it_was_asked():
    uplink = AnalogUplink(energy_budget=[1.0, 0.0, 2.0])
    gradients = random_gradients(K, size=D)
    step = Run(Sign(error_feedback=True), uplink, SHAPES).step(gradients)
    assert torch.equal(step.owed[1], gradients[1])
    torch.testing.assert_close(step.owed[[0, 2]], kept(gradients[[0, 2]]), rtol=1e-12, atol=1e-12)


def test_vote_of_a_weak_device_counts_whole():
    """The vote has no size: what a device at full power lacks in amplitude is not asked again."""
    gains = torch.tensor([0.05, 0.1, 2.0])

    def fixed(num_devices, num_rx_antennas, grid, *, round, generator):
        return gains.to(torch.complex64).view(num_devices, 1, 1, 1)

    gradients = random_gradients(K, size=D)
    uplink = AnalogUplink(energy_budget=1.0, fading=fixed, power_control=MseOptimal())
    step = Run(Sign(error_feedback=True), uplink, SHAPES).step(gradients)
    assert step.reception.delivered_symbols(step.message.symbols)[0].abs().max() < 0.2  # of an amplitude of 1
    torch.testing.assert_close(step.owed, kept(gradients), rtol=1e-12, atol=1e-12)


def test_scaled_signs_fade_by_the_strength_too():
    gradients = random_gradients(K, size=D)
    uplink = AnalogUplink(energy_budget=1.0)
    step = Run(Sign(rule="mean", error_feedback=True, feedback_strength=0.25), uplink, SHAPES).step(gradients)
    torch.testing.assert_close(step.owed, kept(gradients, 0.25), rtol=1e-12, atol=1e-12)


def test_words_stand_for_the_papers_schemes():
    assert build(component("obda", "compressor"), "compressor") == Sign()
    assert build(component("efobda", "compressor"), "compressor") == Sign(error_feedback=True)
