"""Random-K: uniform subsets shared by seed; bias, variance, the channel's part, and what feedback owes."""

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import assert_mean

from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import RandomK

SHAPES = ((3, 4), (6,), ())
NUM_ROUNDS = 4000


def estimates(compressor, num_rounds=NUM_ROUNDS):
    """Decoded gradients [R, d] of one constant gradient without noise, and the mean gradient [d]."""
    gradients, state = random_gradients(2, size=19), begin(compressor, SHAPES)
    rows = []
    for round in range(num_rounds):
        symbols = compressor.encode(gradients, state, round=round).symbols.mean(0)
        decoded, state = compressor.decode(symbols, state, round=round)
        rows.append(flat(decoded))
    return torch.stack(rows), gradients.mean(0)


@pytest.mark.parametrize(("rescale", "factor"), [(False, 1.0), (True, 4.0)])
def test_mean_and_variance_over_the_subsets(rescale, factor):
    """The first parameter sends 3 of 12 entries: mean f k/d g, variance f^2 k/d (1 - k/d) g^2."""
    got, mean = estimates(RandomK(fraction=0.25, rescale=rescale))
    share = 3 / 12
    for column, g in zip(got[:, :12].unbind(1), mean[:12].tolist(), strict=True):
        variance = factor**2 * share * (1 - share) * g**2
        assert_mean(column, mean=factor * share * g, variance=variance, num_comparisons=12)
    error = (got[:, :12] - mean[:12]).square().sum(1) / mean[:12].square().sum()
    expected = factor**2 * share - 2 * factor * share + 1  # E ||f P g - g||^2 / ||g||^2: 1 - k/d, or d/k - 1
    assert expected == pytest.approx(4 - 1 if rescale else 0.75)
    fourth = factor**4  # the error is a sum of at most 12 bounded terms; its variance is at most its range squared / 4
    assert_mean(error, mean=expected, variance=fourth / 4)


def test_the_scalar_is_always_sent():
    got, mean = estimates(RandomK(fraction=0.25), num_rounds=20)
    torch.testing.assert_close(got[:, -1], mean[-1].expand(20))


def test_channel_noise_falls_on_the_sent_entries_alone():
    run = Run(RandomK(fraction=0.25), AnalogUplink(energy_budget=1.0), SHAPES)
    step = run.step(random_gradients(3, size=19))
    assert [int((part != 0).sum()) for part in step.decoded] == [3, 1, 1]


def test_subsets_change_from_round_to_round_and_agree_between_runs():
    first, second = (Run(RandomK(fraction=0.25), AnalogUplink(energy_budget=1.0), SHAPES) for _ in range(2))
    seen = []
    for round in range(3):
        gradients = random_gradients(3, size=19, seed=round)
        assert torch.equal(first.state.places, second.state.places)
        seen.append(first.state.places)
        first.step(gradients), second.step(gradients)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(begin(RandomK(), SHAPES, seed=1).places, begin(RandomK(), SHAPES, seed=2).places)


def test_all_entries_without_noise_are_the_plain_mean(device):
    gradients = random_gradients(3, size=19).to(device)
    step = Run(RandomK(fraction=1.0), AnalogUplink(energy_budget=1.0, noise_variance=0.0), SHAPES, device=device).step(
        gradients
    )
    torch.testing.assert_close(flat(step.decoded), gradients.mean(0), rtol=1e-12, atol=1e-12)
    assert not step.owed.any()


def test_feedback_without_rescaling_forgets_nothing_and_with_it_owes_too_much():
    gradients = random_gradients(3, size=19)
    plain, rescaled = (
        Run(RandomK(fraction=0.25, rescale=rescale), AnalogUplink(energy_budget=1.0, noise_variance=0.0), SHAPES)
        for rescale in (False, True)
    )
    for _ in range(60):
        owed, too_much = plain.step(gradients).owed.norm(), rescaled.step(gradients).owed.norm()
    assert owed < 12 / 3 * 3 * gradients.norm()  # an entry waits d / k rounds on average
    assert too_much > 1e3 * gradients.norm()  # each visit multiplies what is owed by 1 - d / k


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_bad_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\]"):
        RandomK(fraction=fraction)
