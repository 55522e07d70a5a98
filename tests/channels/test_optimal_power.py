"""Least error: the threshold rule against every other rule and a numerical optimum; all rules at their limits."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from helpers.transceivers import (
    RULES,
    Instance,
    agreement,
    errors_of,
    extreme_instance,
    in_two_processes,
    one_segment,
    random_instance,
    settle,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.power_control.estimation_error import delivered_share, mean_square_error
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import AlignedInversion, TimeVaryingPrecoding, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion
from laser_wireless.channels.segments import Grid, Segments

NUM_INSTANCES = 10_000
ROUNDING = 1 + 1e-12


@pytest.mark.parametrize("num_devices", [1, 2, 16])
def test_threshold_rule_is_never_worse_than_another(num_devices):
    instance = random_instance(NUM_INSTANCES, num_devices, decades=1.0)
    least = errors_of(MseOptimal(), instance)
    for rule in RULES:
        assert (least <= errors_of(rule, instance) * ROUNDING).all(), rule


def test_threshold_rule_is_better_than_both_limits_where_they_matter():
    instance = random_instance(NUM_INSTANCES, 8)
    best_of_limits = torch.minimum(errors_of(AlignedInversion(), instance), errors_of(FullPower(), instance))
    assert (errors_of(MseOptimal(), instance) < 0.99 * best_of_limits).double().mean() > 0.3


def numerical_optimum(most, nu, noise_energy):
    """Least of sum nu (g a - 1/K)^2 + g^2 noise over 0 <= a <= most, g >= 0, from several starts."""
    k = len(most)

    def error(x):
        return (nu * (x[k] * x[:k] - 1 / k) ** 2).sum() + x[k] ** 2 * noise_energy

    found = []
    for share in (0.3, 1.0):
        start = np.append(share * most, 1 / (k * share * most.mean()))
        bounds = [(0, m) for m in most] + [(0, None)]
        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-12}
        found.append(scipy.optimize.minimize(error, start, bounds=bounds, options=options).fun)
    return min(found)


def small_instances():
    instance = random_instance(12, 3, decades=0.3, seed=5)
    most = (instance.h.abs() * instance.energy.sqrt() / instance.norms)[..., 0].numpy()
    return instance, most, instance.norms[..., 0].square().numpy(), 6 * instance.noise_variance.numpy()


def test_threshold_rule_is_the_numerical_optimum():
    instance, most, nu, noise = small_instances()
    found = [numerical_optimum(*case) for case in zip(most, nu, noise, strict=True)]
    torch.testing.assert_close(
        errors_of(MseOptimal(), instance), torch.tensor(found, dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_level_ten_percent_off_is_noticed():
    """The error at 0.9 of the level is above the numerical optimum by more than the tolerance."""
    instance, most, nu, noise = small_instances()
    scale = 0.9 * settle(MseOptimal(), instance).scale[:, 0, 0].numpy()
    arriving = np.minimum(most, 1 / (3 * scale[:, None]))
    error = (nu * (scale[:, None] * arriving - 1 / 3) ** 2).sum(1) + scale**2 * noise
    found = np.array([numerical_optimum(*case) for case in zip(most, nu, noise, strict=True)])
    assert (error / found).max() > 1.001


@pytest.mark.parametrize("decades", [0.3, 3.0, 10.0])
def test_level_is_the_least_root_over_the_sorted_devices(decades):
    """Water-filling by sorting, which needs all devices in one place, against bisection, which does not."""
    instance = random_instance(2000, 9, decades=decades, seed=1)
    most, order = (instance.h.abs() * instance.energy.sqrt() / instance.norms)[..., 0].sort(-1)
    nu = instance.norms[..., 0].square().gather(-1, order)
    noise = 6 * instance.noise_variance.unsqueeze(-1)
    level = ((noise + (nu * most**2).cumsum(-1)) / (nu * most).cumsum(-1)).amin(-1)
    torch.testing.assert_close(1 / (9 * settle(MseOptimal(), instance).scale[:, 0, 0]), level, rtol=1e-12, atol=0)


def test_strong_devices_align_and_weak_ones_send_at_full_power():
    instance = random_instance(500, 6)
    transceiver = settle(MseOptimal(), instance)
    share = (6 * transceiver.scale * instance.h * transceiver.precoder)[..., 0]
    torch.testing.assert_close(share.imag, torch.zeros_like(share.imag), rtol=0, atol=1e-12)
    full = (transceiver.precoder.abs() * instance.norms).square() >= instance.energy * (1 - 1e-12)
    assert ((share.real > 1 - 1e-12) | full[..., 0]).all()
    assert (share.real < 1 + 1e-12).all()
    torch.testing.assert_close(share.real, transceiver.delivered[..., 0])
    assert 0.1 < full.double().mean() < 0.9


def test_without_noise_everybody_inverts():
    instance = random_instance(100, 5)._replace(noise_variance=torch.zeros(100, dtype=torch.float64))
    found, aligned = settle(MseOptimal(), instance), settle(AlignedInversion(), instance)
    torch.testing.assert_close(found.scale, aligned.scale, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.precoder, aligned.precoder, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.delivered, aligned.delivered)


def test_in_much_noise_everybody_sends_at_full_power():
    instance = random_instance(100, 5)
    instance = instance._replace(noise_variance=instance.noise_variance * 1e12)
    found, full = settle(MseOptimal(), instance), settle(FullPower(), instance)
    torch.testing.assert_close(found.precoder, full.precoder, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.scale, full.scale, rtol=1e-12, atol=0)


def test_several_segments_share_the_energy_by_their_symbols_and_are_each_optimal():
    segments = Segments((4, 2), Grid(num_slots=3, symbols_per_cell=2))
    instance = random_instance(50, 3)
    h, norms = (torch.cat([random_instance(50, 3, seed=s)[i] for s in range(3)], dim=-1) for i in (0, 1))
    energy = instance.energy.expand(50, 3, 2) * torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = settle(MseOptimal(), Instance(h, norms, energy, instance.noise_variance, segments))
    spent = segments.sum_in_blocks((found.precoder.abs() * norms).square())
    assert (spent <= energy * ROUNDING).all()
    of_first = norms[..., :2].square() / norms[..., :2].square().sum(-1, keepdim=True)
    for s, part in (
        (0, of_first[..., :1] * energy[..., :1]),
        (1, of_first[..., 1:] * energy[..., :1]),
        (2, energy[..., 1:]),
    ):
        alone = Instance(h[..., s : s + 1], norms[..., s : s + 1], part, instance.noise_variance, one_segment(2))
        expected = settle(MseOptimal(), alone)
        torch.testing.assert_close(found.precoder[..., s : s + 1], expected.precoder)
        torch.testing.assert_close(found.scale[..., s : s + 1], expected.scale)


@pytest.mark.parametrize("regulariser", [1e-9, 1e9])
def test_regularised_inversion_goes_from_inversion_to_the_matched_filter(regulariser):
    instance = random_instance(100, 4)
    b = settle(RegularisedInversion(regulariser=regulariser), instance).precoder
    shape = instance.h.conj() / instance.h.abs().square() if regulariser < 1 else instance.h.conj()
    ratio = (b / shape)[..., 0]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=0)


def test_regularised_inversion_is_not_silenced_by_a_fade():
    h = torch.tensor([[[1.0], [1e-9]]], dtype=torch.complex128)
    ones = torch.ones(1, 2, 1, dtype=torch.float64)
    instance = Instance(h, ones, ones, torch.ones(1, dtype=torch.float64), one_segment(6))
    assert settle(RegularisedInversion(regulariser=0.1), instance).precoder[0, 0].abs() > 0.5
    assert settle(AlignedInversion(), instance).precoder[0, 0].abs() < 1e-8


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_limits_hold_and_all_is_finite_at_extreme_scales(rule):
    instance = extreme_instance(4000, 3)
    transceiver = settle(rule, instance)
    spent = (transceiver.precoder.abs() * instance.norms).square()
    assert (spent <= instance.energy * ROUNDING).all()
    assert all(value.isfinite().all() for value in transceiver[:4])
    assert (transceiver.scale >= 0).all()
    assert ((transceiver.delivered >= 0) & (transceiver.delivered <= 1)).all()
    assert not transceiver.delivered[~transceiver.active.expand_as(transceiver.delivered)].any()
    assert not transceiver.precoder[(instance.energy == 0) & (instance.norms > 0)].any()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("dead", ["h", "energy", "norms"])
def test_nobody_to_hear_gives_zero(dead, rule):
    instance = random_instance(2, 3)
    instance = instance._replace(**{dead: torch.zeros_like(getattr(instance, dead))})
    transceiver = settle(rule, instance)
    assert not (transceiver.scale * instance.h * transceiver.precoder).any()
    assert dead == "norms" or not transceiver.scale.any()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_need_nothing_but_the_air(rule):
    """Two processes with three devices each choose what one process with six does."""
    instance = random_instance(40, 6)

    def run(devices, air):
        h, norms, energy = (value[:, devices] for value in instance[:3])
        return rule(h, norms, energy, instance.noise_variance, agreement=agreement(instance.segments, air, peaks=norms))

    together = settle(rule, instance)
    halves = in_two_processes(run, 6)
    torch.testing.assert_close(torch.cat([half.precoder for half in halves], dim=1), together.precoder)
    torch.testing.assert_close(torch.cat([half.delivered for half in halves], dim=1), together.delivered)
    for half in halves:
        torch.testing.assert_close(half.scale, together.scale)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_batched_equals_one_by_one(rule):
    instance = random_instance(5, 4)
    batched = settle(rule, instance)
    for i in range(5):
        alone = settle(rule, Instance(*(value[i] for value in instance[:4]), instance.segments))
        torch.testing.assert_close(batched.precoder[i], alone.precoder)
        torch.testing.assert_close(batched.scale[i], alone.scale)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_many_gains_meet_one_message(rule):
    """Leading axes of the gains alone, as in a Monte-Carlo over fades; also one gain, energy and row for all devices."""
    many, one = random_instance(5, 4), random_instance(1, 4, seed=1)
    h, (norms, energy) = many.h, (one.norms[0], one.energy[0])
    noise = torch.tensor(0.5, dtype=torch.float64)
    together = settle(rule, Instance(h, norms, energy, noise, many.segments))
    for i in range(5):
        alone = settle(rule, Instance(h[i], norms, energy, noise, many.segments))
        torch.testing.assert_close(together.precoder.expand(5, 4, 1)[i], alone.precoder)
        torch.testing.assert_close(together.scale[i], alone.scale)
    equal = settle(rule, Instance(h[0, :1], norms, energy[:1], noise, many.segments))
    spelled = settle(rule, Instance(h[0, :1].expand(4, 1), norms, energy[:1].expand(4, 1), noise, many.segments))
    torch.testing.assert_close(equal.precoder, spelled.precoder)
    torch.testing.assert_close(equal.scale, spelled.scale)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_gradients_match_finite_differences(rule):
    instance = random_instance(2, 3, decades=0.2, seed=2)
    inputs = [value.clone().requires_grad_() for value in instance[:4]]

    def run(*values):
        transceiver = settle(rule, Instance(*values, instance.segments), peaks=torch.ones(2, 3, 1, dtype=torch.float64))
        return transceiver.precoder, transceiver.scale

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_silence_leaves_gradients_finite(rule):
    instance = random_instance(4, 3)
    for value in instance[:3]:
        value[0, 1], value[1] = 0, 0
    instance.noise_variance[2] = 0
    inputs = [value.requires_grad_() for value in instance[:4]]
    transceiver = settle(rule, Instance(*inputs, instance.segments), peaks=instance.norms.detach())
    (transceiver.precoder.abs().square().sum() + transceiver.scale.sum()).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in inputs)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_read_no_value(rule):
    with FakeTensorMode():
        h, norms = torch.randn(3, 4, 2, dtype=torch.complex64), torch.rand(3, 4, 2, dtype=torch.float64)
        energy, noise = torch.rand(3, 1, 2, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
        segments = Segments((5, 3), Grid(num_slots=1, symbols_per_cell=8))
        assert settle(rule, Instance(h, norms, energy, noise, segments)).precoder.shape == (3, 4, 2)


def test_mean_square_error_of_exact_alignment_is_the_noise():
    error = mean_square_error(
        torch.full((4, 1), 0.25), torch.ones(4, 1), noise_gain=torch.tensor([9.0]), noise_variance=0.5, num_symbols=6
    )
    assert error.item() == 27.0


def test_mean_square_error_counts_the_quadrature_part():
    c = torch.tensor([[0.5 + 0.1j], [0.5]], dtype=torch.complex128)
    error = mean_square_error(c, torch.full((2, 1), 2.0), noise_gain=torch.zeros(1), noise_variance=1.0, num_symbols=3)
    assert error.item() == pytest.approx(0.01 * 4)


OF_THE_ACTIVE = (AlignedInversion, TruncatedInversion, TimeVaryingPrecoding)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_delivered_is_what_the_estimate_holds_of_a_device(rule):
    """The estimate counts delivered / m of a device, m all devices or the active ones; nobody counts above 1 / m."""
    instance = random_instance(200, 4)
    transceiver = settle(rule, instance)
    c = (transceiver.scale * instance.h * transceiver.precoder).real
    counts_active = isinstance(rule, OF_THE_ACTIVE) or getattr(rule, "scale", None) == "unit_sum"
    m = transceiver.active.sum(-2, keepdim=True) if counts_active else 4
    torch.testing.assert_close(transceiver.delivered, (m * c).clamp(0, 1))
    if not isinstance(rule, (FullPower, OpenLoop, RegularisedInversion)):
        torch.testing.assert_close(transceiver.delivered, m * c)  # the books balance exactly


def test_a_device_that_arrives_too_strong_counts_once():
    assert delivered_share(torch.tensor([[0.75 + 2j], [0.1], [-0.2]]), 4).flatten().tolist() == pytest.approx([1, 0.4, 0])


@pytest.mark.parametrize("regulariser", [0.0, -1.0, math.nan, math.inf])
def test_impossible_regulariser_is_refused(regulariser):
    with pytest.raises(ValueError, match="regulariser must be finite and > 0"):
        RegularisedInversion(regulariser=regulariser)
