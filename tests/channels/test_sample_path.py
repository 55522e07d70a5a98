"""The sample path: equal to the quick one where both hold, honest about energy, open to stages and channels of one's own."""

import math
from itertools import product

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import name_of, random_message
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels import (
    AnalogUplink,
    BarrageJammer,
    CarrierFrequencyOffset,
    Clipping,
    FullPower,
    IqImbalance,
    Jakes,
    Lmmse,
    MaximumRatio,
    MseOptimal,
    NoFading,
    NoisyCsi,
    NormalSpread,
    Ofdm,
    PhaseError,
    PhaseNoise,
    Quantiser,
    RandomDropout,
    Rapp,
    Rayleigh,
    Rician,
    Saleh,
    Stragglers,
    Streams,
    TimingOffset,
    Transceiver,
    TruncatedInversion,
    UniformSpread,
)

LAYOUT = (6, 2, 5)


def unchanged(x, radio, *, generators):
    return x


def louder(x, radio, *, generators):
    """A stage that raises the energy."""
    return 3 * x


IMPAIRMENTS = [
    PhaseError(rad=NormalSpread(std=0.2)),
    CarrierFrequencyOffset(hz=UniformSpread(low=-50.0, high=50.0)),
    PhaseNoise(linewidth_hz=10.0),
    TimingOffset(samples=UniformSpread(low=0.0, high=2.0)),
    Rapp(saturation_db=3.0),
    Saleh(saturation_db=3.0),
    Clipping(saturation_db=0.0),
    Quantiser(bits=4),
    IqImbalance(amplitude_db=1.0, phase_rad=0.1),
    louder,
]


def estimate_of(u, layout=LAYOUT, *, round=0, **options):
    uplink = AnalogUplink(**{"energy_budget": 40.0, "noise_variance": 0.5, "fading": Rayleigh(), **options})
    return uplink.aggregate(u, layout, round=round, streams=Streams(7))


JAKES = Jakes(doppler_hz=5.0, round_interval_s=0.01)


@pytest.mark.parametrize(
    ("fading", "coherence"),
    [*product([Rayleigh(), Rician(k_factor=3.0)], ["round", "block", "symbol", 4]), (JAKES, "round"), (JAKES, 4)],
    ids=name_of,
)
def test_both_paths_give_one_estimate_from_the_same_draws(fading, coherence, device):
    u = random_message(3, (6, 2, 4), dtype=torch.float64, device=device)
    options = {
        "fading": fading,
        "coherence": coherence,
        "power_control": TruncatedInversion(threshold=0.05),
        "bandwidth_hz": 1e4 if coherence in ("symbol", 4) else None,
    }
    quick = estimate_of(u, (6, 2, 4), **options)
    slow = estimate_of(u, (6, 2, 4), **options, impairments=[unchanged])
    torch.testing.assert_close(slow.estimate, quick.estimate)
    torch.testing.assert_close(slow.ledger.energy_spent, quick.ledger.energy_spent)
    assert (slow.ledger.peak_power <= 2.001 * quick.ledger.peak_power).all()  # the phase may turn I and Q into one another
    assert torch.equal(slow.delivered, quick.delivered)


@pytest.mark.parametrize("layout", [(5, 3, 4), (1, 1, 1, 1, 3), (3, 4, 6), (7,)])
@pytest.mark.parametrize(
    "options",
    [
        {"csi": NoisyCsi(nmse=0.5)},
        {"power_control": FullPower(phase=False)},
        {"num_rx_antennas": 3, "receiver": Lmmse(), "csi": NoisyCsi(nmse=0.5), "power_control": FullPower()},
        {"num_rx_antennas": 3, "receiver": Lmmse(), "coherence": 4, "power_control": MseOptimal()},
    ],
    ids=["noisy CSI", "no phase", "antennas", "antennas and cells"],
)
def test_both_paths_agree_on_channel_uses_that_two_blocks_share(layout, options):
    u = random_message(3, layout, dtype=torch.float64)
    antennas = [3] if "receiver" in options else []
    two_rounds = torch.randn(2, 3, *antennas, 1, dtype=torch.complex128, generator=seeded(5))
    gains = None if "coherence" in options else two_rounds
    common = {"energy_budget": 40.0, "noise_variance": 0.0, "fading": Rayleigh(), **options}
    quick, slow = (
        AnalogUplink(**common, impairments=stages).aggregate(u, layout, round=0, streams=Streams(7), gains=gains).estimate
        for stages in ([], [unchanged])
    )
    torch.testing.assert_close(slow.expand(quick.shape), quick, rtol=1e-6, atol=1e-9)


def test_both_paths_agree_with_several_antennas():
    u = random_message(3, (6, 2, 4), dtype=torch.float64)
    options = {"noise_variance": 0.0, "num_rx_antennas": 4, "receiver": Lmmse(), "power_control": FullPower()}
    quick, slow = (estimate_of(u, (6, 2, 4), **options, impairments=stages) for stages in ([], [unchanged]))
    torch.testing.assert_close(slow.estimate, quick.estimate)


def one_gain_for_all_antennas(num_devices, num_rx_antennas, grid, *, round, generator):
    """A user's fading that leaves the antennas to be broadcast."""
    shape = (num_devices, 1, grid.num_slots, grid.num_frequency_blocks)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def matched_on_a_wire(h, norms, energy, noise_variance, *, agreement):
    """A power control that sends and scales the same, whatever the message."""
    one = torch.ones(1, 1, dtype=torch.float64)
    return Transceiver(one, one, one, one > 0)


@pytest.mark.parametrize("fading", [NoFading(), one_gain_for_all_antennas], ids=name_of)
@pytest.mark.parametrize("stages", [[], [unchanged]], ids=["quick", "samples"])
def test_antennas_with_one_gain_have_noise_of_their_own(stages, fading):
    """The combiner averages the noise of the antennas; one noise for all of them would be N_r times as strong."""
    u = torch.zeros(3, 20_000)
    options = {"num_rx_antennas": 4, "receiver": MaximumRatio(), "fading": fading, "power_control": matched_on_a_wire}
    reception = estimate_of(u, (20_000,), **options, impairments=stages)
    variance = reception.noise_variance.item()
    assert_mean(reception.estimate.square(), mean=variance, variance=2 * variance**2)


@pytest.mark.parametrize("impairment", IMPAIRMENTS, ids=name_of)
@pytest.mark.parametrize(
    "ofdm", [None, Ofdm(num_subcarriers=4, symbols_per_slot=1, subcarriers_per_block=4, time_domain=True)]
)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(level=st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30]), seed=st.integers(0, 99), budgets=st.booleans())
def test_no_impairment_lets_a_device_exceed_its_budget(impairment, ofdm, level, seed, budgets):
    u = level * torch.randn(3, sum(LAYOUT), dtype=torch.float64, generator=seeded(seed))
    budget = [2.0, 0.0, 5.0] if budgets else 3.0
    options = {} if ofdm is not None else {"bandwidth_hz": 1e6}
    reception = estimate_of(u, energy_budget=budget, impairments=[impairment], ofdm=ofdm, **options)
    assert (reception.ledger.energy_spent <= reception.ledger.energy_allowed).all()
    assert reception.estimate.isfinite().all()
    reception.ledger.check()


def test_level_control_lowers_all_devices_together():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    plain = estimate_of(u, noise_variance=0.0)
    raised = estimate_of(u, noise_variance=0.0, impairments=[louder])
    torch.testing.assert_close(raised.estimate, 3 * plain.estimate)
    expected = plain.ledger.energy_spent * (40.0 / plain.ledger.energy_spent.max())
    torch.testing.assert_close(raised.ledger.energy_spent, expected, rtol=1e-9, atol=0)


def test_peak_without_fading_is_that_of_the_message():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    quick, slow = (estimate_of(u, fading=NoFading(), impairments=stages).ledger for stages in ([], [unchanged]))
    torch.testing.assert_close(slow.peak_power, quick.peak_power)


def test_phase_errors_shrink_the_mean_by_their_characteristic_function():
    """E e^{j phi} = exp(-s^2 / 2): the estimate's mean over the phases shrinks by it, in closed form."""
    num_rounds, std = 10_000, 0.6
    u = torch.ones(num_rounds, 1, 2, dtype=torch.float64)
    reception = AnalogUplink(
        energy_budget=2.0, noise_variance=0.0, impairments=[PhaseError(rad=NormalSpread(std=std))]
    ).aggregate(u, (2,), round=0, streams=Streams(0))
    mean = math.exp(-(std**2) / 2)
    sums = reception.estimate.sum(-1) / 2  # Re(e^{j phi} (1 + j)) + Im(...) = 2 cos(phi)
    variance = (1 + math.exp(-2 * std**2)) / 2 - mean**2
    assert_mean(sums, mean=mean, variance=variance)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(sums, mean=math.exp(-((1.1 * std) ** 2) / 2), variance=variance)


def test_jammer_adds_its_power_to_the_noise():
    num_rounds = 4000
    u = torch.zeros(num_rounds, 2, 8, dtype=torch.float64)
    u[:, :, 0] = 1.0  # so that the amplitude is known: sqrt(P), and the estimate's noise is (noise + jammer) / (K^2 P)
    uplink = AnalogUplink(energy_budget=4.0, noise_variance=0.5, front_end=[BarrageJammer(power=1.5)])
    estimate = uplink.aggregate(u, (8,), round=0, streams=Streams(0)).estimate
    variance = (0.5 + 1.5) / (4 * 4.0)
    assert_mean(estimate[:, 1:].square(), mean=variance, variance=2 * variance**2)


def test_converter_at_the_receiver_is_fine_enough_with_many_bits():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    plain = estimate_of(u, noise_variance=1e-3).estimate
    errors = [
        (estimate_of(u, noise_variance=1e-3, front_end=[Quantiser(bits=bits)]).estimate - plain).abs().max().item()
        for bits in (3, 8, 14)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-2 * plain.abs().max()


def test_absent_devices_send_nothing_and_are_not_counted():
    u = random_message(16, LAYOUT, dtype=torch.float64)
    reception = estimate_of(u, noise_variance=0.0, participation=RandomDropout(drop_probability=0.5))
    present = reception.ledger.energy_spent > 0
    assert 0 < present.sum() < 16
    torch.testing.assert_close(reception.estimate, u[present].mean(0))
    assert not reception.delivered.expand(16, -1)[~present].any()
    assert (reception.ledger.active_fraction == present.double()).all()


def test_waiting_for_stragglers_takes_time():
    u = random_message(4, LAYOUT)
    late = Stragglers(deadline_s=2.0, least_s=0.5, extra_s=1.0)
    ledger = estimate_of(u, participation=late, bandwidth_hz=1e3).ledger
    assert 0.5 < float(ledger.seconds) <= 2.0 + 7e-3
    assert ledger.summary()["seconds"] == pytest.approx(float(ledger.seconds))


def doubling_delay(x, *, round, generator):
    """A channel of the user's own: an echo of the sum, at two antennas."""
    total = x.sum(-2)
    return torch.stack([total + 0.5 * total.roll(1, -1), total], dim=-2)


def test_channel_of_ones_own_takes_the_place_of_fading():
    u = random_message(3, (8,), dtype=torch.float64)

    def echo(x, *, round, generator):
        total = x.sum(-2, keepdim=True)
        return total + 0.5 * total.roll(1, -1)

    reception = estimate_of(u, (8,), fading=NoFading(), noise_variance=0.0, channel=echo)
    mean = torch.view_as_complex(u.mean(0).unflatten(-1, (-1, 2)))
    torch.testing.assert_close(reception.estimate, torch.view_as_real(mean + 0.5 * mean.roll(1, -1)).flatten())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: x, r"channel broken must return what the antennas hear, .* \[1, 4\].* got .* \[3, 4\]"),
        (lambda x: x.real.sum(-2, keepdim=True), "must return what the antennas hear, torch.complex64"),
        (lambda x: None, "got NoneType"),
    ],
)
def test_channel_that_returns_something_else_is_told(returned, message):
    def broken(x, *, round, generator):
        return returned(x)

    uplink = AnalogUplink(energy_budget=1.0, channel=broken)
    with pytest.raises(ValueError, match=message):
        uplink.aggregate(torch.ones(3, 8), (8,), round=0, streams=Streams(0))


def test_impairment_that_changes_the_shape_is_told():
    with pytest.raises(ValueError, match=r"impairment 0 .* must return samples like those given"):
        estimate_of(torch.ones(3, 8), (8,), impairments=[lambda x, radio, *, generators: x[..., 1:]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseband": "real", "impairments": [unchanged]}, "work on complex samples"),
        ({"channel": doubling_delay}, "channel stands in place of fading"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AnalogUplink(energy_budget=1.0, fading=Rayleigh(), **options)


@pytest.mark.parametrize("name", ["impairments", "front_end"])
@pytest.mark.parametrize("value", [3, [3], unchanged])
def test_stages_that_are_no_list_of_functions_are_refused(name, value):
    with pytest.raises(TypeError, match=rf"{name}(\[0\])? must be a (list of functions|function) \(x, radio"):
        AnalogUplink(energy_budget=1.0, **{name: value})


@pytest.mark.parametrize("impairment", IMPAIRMENTS, ids=name_of)
@pytest.mark.parametrize(
    "ofdm", [None, Ofdm(num_subcarriers=4, symbols_per_slot=1, subcarriers_per_block=4, time_domain=True)]
)
def test_samples_are_not_read_by_the_host(impairment, ofdm):
    options = {} if ofdm is not None else {"bandwidth_hz": 1e6}
    with FakeTensorMode():
        reception = estimate_of(
            torch.randn(3, 13), impairments=[impairment], front_end=[Quantiser(bits=3)], ofdm=ofdm, **options
        )
        assert reception.estimate.shape == (13,)


def test_leading_axes_are_rounds_of_their_own():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    batch = estimate_of(torch.stack([u, 2 * u]), noise_variance=0.0, impairments=[Rapp(saturation_db=3.0)]).estimate
    assert batch.shape == (2, 13)
    torch.testing.assert_close(batch[1], 2 * batch[0])


def test_gradients_pass_the_impairments():
    u = random_message(3, LAYOUT, dtype=torch.float64).requires_grad_()
    estimate_of(
        u, impairments=[Rapp(saturation_db=3.0), IqImbalance(phase_rad=0.1)], front_end=[Clipping(saturation_db=0.0)]
    ).estimate.square().sum().backward()
    assert u.grad.isfinite().all()
    assert u.grad.abs().min() > 0


def test_noise_that_the_level_control_raises_is_reported():
    num_rounds = 4000
    u = torch.ones(num_rounds, 2, 8, dtype=torch.float64)
    uplink = AnalogUplink(energy_budget=4.0, noise_variance=0.5, impairments=[louder])
    reception = uplink.aggregate(u, (8,), round=0, streams=Streams(0))
    silent = AnalogUplink(energy_budget=4.0, noise_variance=0.0, impairments=[louder])
    clean = silent.aggregate(u, (8,), round=0, streams=Streams(0)).estimate
    variance = 9 * 0.5 * 8 / (4 * 4.0)  # three times the amplitude of a message of energy P
    torch.testing.assert_close(
        reception.noise_variance, torch.full((num_rounds, 1), variance, dtype=torch.float64), rtol=1e-3, atol=0
    )
    assert_mean((reception.estimate - clean).square(), mean=variance, variance=2 * variance**2)
