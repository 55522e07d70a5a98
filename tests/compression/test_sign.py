"""Signum: votes after the channel, the size of what is sent, momentum at the device, scaled signs with error feedback."""

import math
from statistics import NormalDist

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import assert_mean

from laser_wireless.channels import AnalogUplink, Rayleigh, Streams, TruncatedInversion
from laser_wireless.compression import Sign

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
SHAPES = ((3, 2), (4,))
VOTES = torch.tensor(
    [[1.0, -2, 3, 1, 1, 5, 0, -1, 2, 3], [2, 1, -1, 1, 2, 3, 0, -3, -3, 4], [9, -1, 1, 2, -7, 1, 0, -2, 1, -1]]
)


def test_noiseless_vote_is_the_majority():
    decoded = flat(Run(Sign(), NOISELESS, SHAPES, dtype=torch.float32).step(VOTES).decoded)
    assert decoded.tolist() == [1, -1, 1, 1, 1, 1, 0, -1, 1, 1]


def test_a_block_has_the_norm_of_its_signs_whatever_the_gradient():
    message = Sign().encode(1e-5 * VOTES.clamp(min=0.1), begin(Sign(), SHAPES, dtype=torch.float32), round=0)
    assert message.symbols.square().sum(1).tolist() == [10, 10, 10]
    assert message.layout == (6, 4)
    assert message.num_bytes == 10 / 8


def noisy_votes(budget, num_rounds=40_000):
    """Decided signs [R, d] of constant gradients over AWGN, and the closed-form tau of both blocks."""
    state = begin(Sign(), SHAPES, dtype=torch.float64)
    gradients = VOTES.double().index_fill(1, torch.tensor([6]), 1.0)  # no zeros: every block has norm sqrt(d_b)
    message = Sign().encode(gradients, state, round=0)
    uplink = AnalogUplink(energy_budget=budget)
    batch = message.symbols.expand(num_rounds, -1, -1)
    estimate = uplink.aggregate(batch, message.layout, round=0, streams=Streams(0)).estimate
    shares = [math.sqrt(size) / (math.sqrt(6) + math.sqrt(4)) for size in (6, 4)]  # energy in proportion to the norm
    tau = [math.sqrt(size) / (3 * math.sqrt(budget * share)) for size, share in zip((6, 4), shares, strict=True)]
    return estimate.sign(), message.symbols.mean(0), [tau[0]] * 6 + [tau[1]] * 4


def test_decided_sign_has_the_mean_and_variance_of_theory():
    decided, votes, tau = noisy_votes(4.0)
    for column, vote, level in zip(decided.unbind(1), votes.tolist(), tau, strict=True):
        mean = 2 * NormalDist().cdf(vote / level) - 1
        assert_mean(column, mean=mean, variance=1 - mean**2, num_comparisons=10)


def test_noise_scaled_by_the_gradient_is_noticed():
    """The authors' image code scaled the noise by the gradient's norm instead of sqrt(d): 10 % less noise must show."""
    decided, votes, tau = noisy_votes(4.0 * 1.21)
    level = tau[0] * 1.1
    mean = 2 * NormalDist().cdf(votes[1].item() / level) - 1
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(decided[:, 1], mean=mean, variance=1 - mean**2)


def test_momentum_is_kept_by_each_device():
    run, beta = Run(Sign(momentum=0.9), NOISELESS, SHAPES), 0.9
    expected = torch.zeros(3, 10, dtype=torch.float64)
    for round in range(4):
        gradients = random_gradients(3, size=10, seed=round)
        expected = beta * expected + gradients
        assert torch.equal(run.step(gradients).message.symbols, expected.sign())


@pytest.mark.parametrize(
    "uplink",
    [NOISELESS, AnalogUplink(energy_budget=2.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.8))],
)
def test_momentum_does_not_depend_on_the_channel(uplink):
    run = Run(Sign(momentum=0.5), uplink, SHAPES)
    first = run.step(random_gradients(3, size=10))
    assert torch.equal(first.owed, 0.5 * first.asked)


def test_scaled_sign_is_the_best_multiple_of_the_sign():
    compressor = Sign(rule="mean", error_feedback=True)
    gradients = random_gradients(3, size=10)
    step = Run(compressor, NOISELESS, SHAPES).step(gradients)
    for start, stop in ((0, 6), (6, 10)):
        part = gradients[:, start:stop]
        scale = part.abs().mean(1, keepdim=True)
        torch.testing.assert_close(step.message.symbols[:, start:stop], scale * part.sign())
        # the residual is orthogonal to the sign vector: no other multiple comes closer
        residual = (step.owed[:, start:stop] * part.sign()).sum(1)
        torch.testing.assert_close(residual, torch.zeros(3, dtype=torch.float64))


def test_not_a_number_is_not_taken_for_a_zero():
    gradients = random_gradients(3, size=10)
    gradients[2, 3] = torch.nan
    step = Run(Sign(), NOISELESS, SHAPES).step(gradients)
    assert step.reception.ledger.nonfinite.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "majority"}, 'rule must be "vote" or "mean", got \'majority\''),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"momentum": float("nan")}, "momentum must lie"),
        ({"momentum": 0.5, "error_feedback": True}, "error_feedback needs momentum=0"),
        ({"rule": "mean", "momentum": 0.5, "error_feedback": True}, "error_feedback needs momentum=0"),
        ({"feedback_strength": 0.5}, "feedback_strength is of error_feedback, which is off"),
        ({"error_feedback": True, "feedback_strength": 0.0}, r"feedback_strength must lie in \(0, 1\], got 0.0"),
        ({"error_feedback": True, "feedback_strength": float("nan")}, "feedback_strength must lie"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sign(**options)
