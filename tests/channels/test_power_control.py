"""Power control: who is heard, at which amplitude, and what an impossible channel does."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.transceivers import RULES, Instance, agreement, one_segment, random_instance, settle
from helpers.uplinks import FADINGS, deep_fades, name_of, random_message

from laser_wireless.channels import AlignedInversion, AnalogUplink, NoFading, Rayleigh, Streams, TruncatedInversion
from laser_wireless.channels.power_control.estimation_error import mean_square_error
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import TimeVaryingPrecoding
from laser_wireless.channels.power_control.optimal import MseOptimal
from laser_wireless.channels.power_control.peak_limit import PeakLimited
from laser_wireless.channels.segments import Grid, Segments

LAYOUT = (3, 5)


def plan_of(power_control, fading, u, **options):
    uplink = AnalogUplink(energy_budget=2.0, fading=fading, power_control=power_control, **options)
    return uplink.plan(u, LAYOUT, round=0, streams=Streams(3))


@pytest.mark.parametrize("fading", FADINGS, ids=name_of)
@pytest.mark.parametrize("coherence", ["round", "block", "symbol"])
@pytest.mark.parametrize("power_control", [AlignedInversion(), TruncatedInversion(threshold=0.5)], ids=name_of)
def test_active_devices_arrive_with_one_amplitude(power_control, fading, coherence, device):
    u = random_message(6, LAYOUT, dtype=torch.float64, device=device)
    plan = plan_of(power_control, fading, u, coherence=coherence)
    weights = plan.arriving  # of each device in the estimate
    active = plan.design.transceiver.active.expand(plan.message.norms.shape)
    speakers = active.sum(-2, keepdim=True)
    expected = active.double() / speakers.clamp(min=1)
    torch.testing.assert_close(weights.expand(plan.message.norms.shape), expected.to(weights.dtype), rtol=1e-12, atol=1e-12)


def test_devices_in_a_fade_stay_silent():
    u = random_message(6, LAYOUT)
    plan = plan_of(TruncatedInversion(threshold=0.7), Rayleigh(), u)
    sends = plan.design.transceiver.precoder.abs() > 0
    assert torch.equal(sends.any(-1), plan.gains.abs().square()[..., 0, 0] >= 0.7)
    assert 0 < sends.any(-1).sum() < 6


def test_rayleigh_outage_probability_follows_from_the_threshold():
    u = torch.ones(100_000, 1, 2)
    uplink = AnalogUplink(energy_budget=1.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.2))
    gains = torch.randn(100_000, 1, 1, dtype=torch.complex64, generator=seeded(0))
    outage = uplink.aggregate(u, (2,), round=0, streams=Streams(0), gains=gains).ledger.outage
    p = 1 - math.exp(-0.2)
    assert_mean(outage, mean=p, variance=p * (1 - p))


def test_common_amplitude_is_the_largest_that_all_can_afford():
    """h = (1, 1/2), norms (1, 1), budget 2: the second device needs four times the energy and spends all of it."""
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    gains = torch.tensor([[1.0], [0.5]])
    uplink = AnalogUplink(energy_budget=2.0)
    spent = uplink.aggregate(u, (2,), round=0, streams=Streams(0), gains=gains).ledger.energy_spent
    torch.testing.assert_close(spent, torch.tensor([0.5, 2.0], dtype=torch.float64))


def test_aligned_inversion_is_truncated_inversion_without_threshold():
    u = random_message(4, LAYOUT)
    for fading in (Rayleigh(), deep_fades):
        aligned = plan_of(AlignedInversion(), fading, u, coherence="symbol").design.transceiver
        truncated = plan_of(TruncatedInversion(threshold=0.0), fading, u, coherence="symbol").design.transceiver
        assert all(torch.equal(one, other) for one, other in zip(aligned, truncated, strict=True))


def test_without_fading_truncation_changes_nothing():
    u = random_message(4, LAYOUT)
    aligned = plan_of(AlignedInversion(), NoFading(), u).design.transceiver
    truncated = plan_of(TruncatedInversion(threshold=0.1), NoFading(), u).design.transceiver
    assert all(torch.equal(one, other) for one, other in zip(aligned, truncated, strict=True))


def test_device_without_budget_never_counts():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    options = {"noise_variance": 0.0, "fading": Rayleigh()}
    three = AnalogUplink(energy_budget=[1.0, 0.0, 2.0], **options)
    estimate = three.aggregate(u, LAYOUT, round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, (u[0] + u[2]) / 2)


def test_device_with_nothing_to_say_counts_as_zero():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    u[1] = 0
    estimate = AnalogUplink(energy_budget=1.0, noise_variance=0.0).aggregate(u, LAYOUT, round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, u.mean(0))


def nobody(num_devices, num_rx_antennas, grid, *, round, generator):
    return torch.zeros(num_devices, 1, 1, 1, dtype=torch.complex64, device=generator.device)


@pytest.mark.parametrize("power_control", [AlignedInversion(), TruncatedInversion()], ids=name_of)
def test_outage_of_everybody_gives_zero_and_is_counted(power_control, device):
    u = random_message(3, LAYOUT, device=device)
    uplink = AnalogUplink(energy_budget=1.0, fading=nobody, power_control=power_control)
    reception = uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0))
    assert not reception.estimate.any()
    assert not reception.delivered.any()
    assert reception.ledger.outage.item() == 1
    assert not reception.ledger.energy_spent.any()
    assert not reception.ledger.active_fraction.any()


def test_outage_of_a_symbol_leaves_the_others_alone():
    u = random_message(1, (8,), dtype=torch.float64)
    gains = torch.tensor([[1.0, 0.0, 0.5, 2.0]])  # of four channel uses
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, coherence="symbol")
    reception = uplink.aggregate(u, (8,), round=0, streams=Streams(0), gains=gains)
    expected = u[0].clone()
    expected[2:4] = 0
    torch.testing.assert_close(reception.estimate, expected)
    torch.testing.assert_close(reception.delivered_symbols(u)[0], expected, rtol=0, atol=0)
    assert reception.ledger.outage.item() == 0.25


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        TruncatedInversion(threshold=threshold)


def test_time_varying_precoding_aligns_those_who_are_heard():
    instance = random_instance(300, 5)
    transceiver = settle(TimeVaryingPrecoding(threshold=0.4), instance)
    assert torch.equal(transceiver.active, instance.h.abs().square() >= 0.4)
    share = transceiver.active.double() / transceiver.active.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(transceiver.scale * instance.h * transceiver.precoder, share.to(torch.complex128))


def test_time_varying_precoding_is_deaf_to_the_others_gains():
    instance = random_instance(50, 4)
    h = instance.h.clone()
    h[:, 1:] *= 3 / h[:, 1:].abs()
    transceivers = [
        settle(rule, instance._replace(h=g))
        for rule in (TimeVaryingPrecoding(threshold=0.1), TruncatedInversion(threshold=0.1))
        for g in (h, h * torch.tensor([[1.0], [2.0], [1.0], [0.5]]))
    ]
    own = [transceiver.precoder[:, 0] for transceiver in transceivers]
    assert torch.equal(own[0], own[1])
    assert not torch.equal(own[2], own[3])


def test_time_varying_precoding_is_never_louder_than_truncated_inversion():
    instance = random_instance(300, 5)
    careful = settle(TimeVaryingPrecoding(threshold=0.4), instance).precoder.abs()
    assert (careful <= settle(TruncatedInversion(threshold=0.4), instance).precoder.abs() * (1 + 1e-12)).all()


def test_time_varying_precoding_without_fading_is_aligned_inversion():
    u = random_message(4, LAYOUT)
    aligned = plan_of(AlignedInversion(), NoFading(), u).design.transceiver
    precoded = plan_of(TimeVaryingPrecoding(threshold=1.0), NoFading(), u).design.transceiver
    assert all(torch.equal(one, other) for one, other in zip(aligned, precoded, strict=True))


@pytest.mark.parametrize("rule", [FullPower(), FullPower(phase=False), FullPower(scale="unit_sum")], ids=str)
def test_full_power_spends_all_the_energy_of_everybody(rule):
    instance = random_instance(100, 4)
    spent = (settle(rule, instance).precoder.abs() * instance.norms).square()
    torch.testing.assert_close(spent, instance.energy, rtol=1e-12, atol=0)


def test_error_of_full_power_is_the_documented_one_also_where_devices_arrive_upside_down():
    """Per instance: sum nu / K^2 - max(0, sum Re(a) nu / K)^2 / (sum |a|^2 nu + sigma^2 N)."""
    rule, instance = FullPower(phase=False), random_instance(300, 3)
    transceiver = settle(rule, instance)
    a, nu = (instance.h * transceiver.precoder).squeeze(-1), instance.norms.square().squeeze(-1)
    coherent = (a.real * nu).sum(-1) / 3
    heard = (a.abs().square() * nu).sum(-1) + instance.noise_variance * 6
    expected = nu.sum(-1) / 9 - coherent.clamp(min=0).square() / heard
    scale = transceiver.scale
    found = mean_square_error(
        scale * instance.h * transceiver.precoder,
        instance.norms,
        noise_gain=scale.square().squeeze(-2),
        noise_variance=instance.noise_variance,
        num_symbols=6,
    ).squeeze(-1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    against = coherent < 0
    assert 50 < against.sum() < 250
    unclamped = nu.sum(-1) / 9 - coherent.square() / heard  # negative control: the formula without the clamp
    assert ((found - unclamped)[against] > 0).all()
    assert "max(0, sum_k Re(a_k) nu_k / K)^2" in FullPower.__doc__


def test_full_power_without_phase_knows_nothing_of_the_channel():
    one, other = random_instance(20, 4, seed=1), random_instance(20, 4, seed=2)
    blind, seeing = (settle(FullPower(phase=phase), one._replace(h=other.h)).precoder for phase in (False, True))
    assert torch.equal(blind, settle(FullPower(phase=False), one).precoder)
    assert not torch.equal(seeing, settle(FullPower(), one).precoder)


def test_weights_of_unit_sum_count_who_has_nothing_to_say():
    instance = random_instance(50, 4)
    instance.norms[:, 2], instance.energy[:, 3] = 0, 0  # one of three active devices says zero
    transceiver = settle(FullPower(scale="unit_sum"), instance)
    total = (transceiver.scale * instance.h * transceiver.precoder).real.sum(1)
    torch.testing.assert_close(total, torch.full_like(total, 2 / 3))


def equal_links(num_devices=3):
    ones = torch.ones(num_devices, 1, dtype=torch.float64)
    return Instance(ones.to(torch.complex128), 2 * ones, 100 * ones, torch.tensor(1.0, dtype=torch.float64), one_segment(4))


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, [2.0, 2.0, 2.0]), (0.5, [2.0, 4.0, 20.0]), (1.0, [2.0, 8.0, 25.0])])
def test_open_loop_compensates_a_share_of_the_path_loss(alpha, expected):
    """Path gains 1, 1/4, 1/100 and four symbols; the energy of 100 ends at 25 a symbol."""
    link_gain = torch.tensor([1.0, 0.25, 0.01], dtype=torch.float64)
    instance = equal_links()
    transceiver = settle(OpenLoop(p0=2.0, alpha=alpha), instance, link_gain=link_gain)
    power = (transceiver.precoder.abs() * instance.norms).square() / 4
    assert power.flatten().tolist() == pytest.approx(expected)


def test_open_loop_stops_at_the_largest_power():
    link_gain = torch.tensor([1.0, 0.25, 0.01], dtype=torch.float64)
    transceiver = settle(OpenLoop(p0=2.0, alpha=1.0, max_power=5.0), equal_links(), link_gain=link_gain)
    assert (transceiver.precoder.abs() * 2).square().div(4).flatten().tolist() == pytest.approx([2.0, 5.0, 5.0])


def test_open_loop_does_not_invert_the_fading():
    instance = random_instance(20, 3)
    one, other = (settle(OpenLoop(p0=0.1), instance._replace(h=h)).precoder.abs() for h in (instance.h, 2 * instance.h))
    torch.testing.assert_close(one, other)


def peaks_of(num_instances, num_devices, num_segments):
    return torch.rand(num_instances, num_devices, num_segments, generator=seeded(8)) + 0.5


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_peaks_stay_below_their_limit(rule):
    instance, peaks = random_instance(200, 4), peaks_of(200, 4, 1)
    free = settle(rule, instance, peaks=peaks)
    limited = settle(PeakLimited(power_control=rule, peak_power=0.2), instance, peaks=peaks)
    assert ((limited.precoder.abs() * peaks).square() <= 0.2).all()
    assert ((free.precoder.abs() * peaks).square() > 0.2).any()
    unlimited = settle(PeakLimited(power_control=rule, peak_power=1e9), instance, peaks=peaks)
    assert all(torch.equal(one, other) for one, other in zip(unlimited[:4], free[:4], strict=True))


@pytest.mark.parametrize("rule", [AlignedInversion(), TruncatedInversion(threshold=0.3)], ids=str)
def test_peak_limit_keeps_alignment_and_goes_to_the_limit(rule):
    instance, peaks = random_instance(200, 4), peaks_of(200, 4, 1)
    free = settle(rule, instance, peaks=peaks)
    limited = settle(PeakLimited(power_control=rule, peak_power=0.2), instance, peaks=peaks)
    torch.testing.assert_close(limited.scale * limited.precoder, free.scale * free.precoder)
    tops = [(t.precoder.abs() * peaks).square().amax((1, 2)) for t in (limited, free)]
    torch.testing.assert_close(tops[0], tops[1].clamp(max=0.2), rtol=1e-5, atol=0)
    torch.testing.assert_close(limited.delivered, free.delivered)


def test_least_error_below_a_peak_is_that_of_the_energy_it_leaves():
    instance, peaks = random_instance(200, 4), peaks_of(200, 4, 1)
    limited = settle(PeakLimited(power_control=MseOptimal(), peak_power=0.2), instance, peaks=peaks)
    at_the_peak = 0.2 * (instance.norms / peaks).square()
    expected = settle(MseOptimal(), instance._replace(energy=torch.minimum(instance.energy, at_the_peak)))
    torch.testing.assert_close(limited.precoder, expected.precoder, rtol=1e-5, atol=0)
    torch.testing.assert_close(limited.scale, expected.scale, rtol=1e-5, atol=0)


def test_peak_limit_lowers_the_segments_of_a_block_together_and_no_other():
    segments = Segments((4, 2), Grid(num_slots=3, symbols_per_cell=2))
    gains = torch.tensor([[0.5, 0.1, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    peaks = torch.tensor([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5]])
    ones = torch.ones(2, 2, dtype=torch.float64)
    instance = Instance(gains, torch.ones(2, 3, dtype=torch.float64), ones, torch.tensor(1.0, dtype=torch.float64), segments)
    free, limited = (settle(rule, instance, peaks=peaks) for rule in (AlignedInversion(), PeakLimited(peak_power=0.01)))
    factor = limited.precoder / free.precoder
    torch.testing.assert_close(factor[:, :2], factor[:1, :1].expand(2, 2))
    assert limited.precoder[0, 1] == pytest.approx(0.1, rel=1e-5)  # the deepest fade sends the highest peak
    torch.testing.assert_close(factor[:, 2], torch.full_like(factor[:, 2], 0.2), rtol=1e-5, atol=0)
    torch.testing.assert_close(limited.scale * factor[:1], free.scale)


def test_peak_limit_without_peaks_says_what_is_missing():
    instance = random_instance(1, 2)
    with pytest.raises(ValueError, match=r"PeakLimited needs agreement\.peaks"):
        PeakLimited()(*instance[:4], agreement=agreement(instance.segments))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TimeVaryingPrecoding(threshold=0.0), "threshold must be finite and > 0"),
        (lambda: TimeVaryingPrecoding(threshold=math.nan), "threshold must be finite and > 0"),
        (lambda: FullPower(scale="best"), 'scale must be "least_error" or "unit_sum"'),
        (lambda: OpenLoop(scale="best"), 'scale must be "least_error" or "unit_sum"'),
        (lambda: OpenLoop(p0=math.nan), "p0 must be finite and > 0"),
        (lambda: OpenLoop(alpha=1.5), r"alpha must lie in \[0, 1\]"),
        (lambda: OpenLoop(alpha=math.nan), r"alpha must lie in \[0, 1\]"),
        (lambda: OpenLoop(max_power=0.0), "max_power must be finite and > 0"),
        (lambda: PeakLimited(peak_power=math.inf), "peak_power must be finite and > 0"),
    ],
)
def test_impossible_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_peak_limit_of_no_rule_is_refused():
    with pytest.raises(TypeError, match="power_control must be a function"):
        PeakLimited(power_control="AlignedInversion")


def test_rules_leave_their_inputs_alone():
    instance = random_instance(3, 4)
    before = [value.clone() for value in instance[:4]]
    for rule in RULES:
        settle(rule, instance)
    assert all(torch.equal(value, copy) for value, copy in zip(instance[:4], before, strict=True))
