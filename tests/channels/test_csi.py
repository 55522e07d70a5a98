"""Knowledge of the gains: the error of each model in closed form, what it costs, and what it does to a round."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import random_message

from laser_wireless.channels import AnalogUplink, FullPower, GaussMarkov, Ofdm, Rayleigh, Streams, TruncatedInversion
from laser_wireless.channels.csi.contract import Knowledge
from laser_wireless.channels.csi.models import DelayedCsi, NoCsi, NoisyCsi, PerfectCsi, PhaseOnlyCsi, PilotCsi, QuantisedCsi
from laser_wireless.channels.csi.observation import apply_csi

NUM_DEVICES = 40_000
LAYOUT = (6, 4)


def true_gains(num_devices=NUM_DEVICES, num_cells=1):
    return torch.randn(num_devices, 1, num_cells, dtype=torch.complex128, generator=seeded(0))


def know(model, h, *, energy=1.0, noise_variance=1.0, state=None):
    energies = torch.full(h.shape[:-2], energy, dtype=torch.float64)
    noise = torch.full((1,), noise_variance, dtype=torch.float64)
    return model(h, energy=energies, noise_variance=noise, generator=seeded(1), state=state)


def assert_squared_error(error, *, variance, num_comparisons=1):
    """|e|^2 of a complex normal error is exponential."""
    assert_mean(error.abs().square(), mean=variance, variance=variance**2, num_comparisons=num_comparisons)


@pytest.mark.parametrize("nmse", [0.01, 0.3, 1.5])
def test_additive_error_has_the_nmse_asked_for(nmse):
    h = true_gains()
    assert_squared_error(know(NoisyCsi(nmse=nmse), h).h - h, variance=nmse)


def test_error_ten_percent_too_large_is_noticed():
    h = true_gains()
    with pytest.raises(AssertionError, match=r"expected 0\.3"):
        assert_squared_error(know(NoisyCsi(nmse=0.33), h).h - h, variance=0.3)


@pytest.mark.parametrize("nmse", [0.05, 0.6])
def test_mmse_error_is_orthogonal_to_the_estimate(nmse):
    h = true_gains()
    estimate = know(NoisyCsi(nmse=nmse, model="mmse"), h).h
    error = h - estimate
    assert_squared_error(error, variance=nmse)
    assert_squared_error(estimate, variance=1 - nmse)
    assert_mean((error * estimate.conj()).real, mean=0, variance=nmse * (1 - nmse) / 2)


@pytest.mark.parametrize("num_cells", [1, 4])
def test_pilot_error_follows_from_the_pilots_energy(num_cells):
    """Least squares: CN(0, 2 sigma^2 / e) with e = fraction P / C in each cell."""
    h = true_gains(NUM_DEVICES // num_cells, num_cells)
    known = know(PilotCsi(energy_fraction=0.2, estimator="ls"), h, energy=30.0, noise_variance=0.7)
    assert_squared_error(known.h - h, variance=2 * 0.7 * num_cells / (0.2 * 30.0))
    assert torch.equal(known.energy, torch.full((len(h),), 6.0, dtype=torch.float64))
    assert known.num_channel_uses == len(h) * num_cells


def test_mmse_pilots_have_the_least_error():
    h = true_gains()
    variance = 2 * 0.7 / 6.0
    known = know(PilotCsi(energy_fraction=0.2, estimator="mmse"), h, energy=30.0, noise_variance=0.7)
    assert_squared_error(known.h - h, variance=variance / (1 + variance))


def test_pilots_of_a_device_without_energy_say_nothing():
    h = true_gains(3)
    energy = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    known = PilotCsi()(h, energy=energy, noise_variance=torch.ones(1).double(), generator=seeded(0), state=None)
    assert known.h[1].item() == 0
    assert known.h.isfinite().all()
    assert known.energy.tolist() == [0.1, 0.0, 0.1]


def test_delay_returns_the_gains_of_rounds_ago():
    rounds = [true_gains(2) * k for k in (1, 2, 3, 4)]
    state, seen = None, []
    for h in rounds:
        known = know(DelayedCsi(rounds=2), h, state=state)
        state = known.state
        seen.append(known.h)
    for known, expected in zip(seen, [rounds[0], rounds[0], rounds[0], rounds[1]], strict=True):
        assert torch.equal(known, expected)


def test_phase_only_has_unit_amplitude_and_survives_zero():
    h = torch.cat([true_gains(5), torch.zeros(1, 1, 1, dtype=torch.complex128)])
    known = know(PhaseOnlyCsi(), h).h
    torch.testing.assert_close(known[:5] * h[:5].abs(), h[:5])
    assert known[5].item() == 1


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_quantised_phase_error_is_uniform_in_its_cell(bits):
    h = true_gains()
    known = know(QuantisedCsi(phase_bits=bits, amplitude_bits=0), h)
    error = (known.h * h.conj()).angle()
    width = 2 * math.pi / 2**bits
    assert error.abs().max() <= width / 2 * (1 + 1e-9)
    assert_mean(error, mean=0, variance=width**2 / 12)
    assert_mean(error.square(), mean=width**2 / 12, variance=width**4 / 180)
    assert known.feedback_bits == bits


def test_quantised_amplitude_lies_in_its_cell():
    h = true_gains()
    known = know(QuantisedCsi(phase_bits=8, amplitude_bits=5, largest_amplitude=3.0), h).h
    inside = h.abs() < 3
    assert (known.abs() - h.abs())[inside].abs().max() <= 3 / 2**5 / 2 * (1 + 1e-9)
    assert known[~inside].abs().max() < 3


def test_no_csi_takes_gains_for_one():
    assert torch.equal(know(NoCsi(), true_gains(3)).h, torch.ones(3, 1, 1, dtype=torch.complex128))


def test_stages_in_a_row_add_up_their_prices():
    h, energy = true_gains(4), torch.ones(4, dtype=torch.float64)
    known, state = apply_csi(
        (PilotCsi(energy_fraction=0.1), QuantisedCsi(), DelayedCsi()),
        Knowledge(h),
        energy=energy,
        noise_variance=torch.ones(1).double(),
        generator=seeded(0),
        state={},
    )
    assert torch.equal(known.energy, 0.1 * energy)
    assert (known.num_channel_uses, known.feedback_bits, list(state)) == (4, 8, ["2"])
    assert not known.free  # paid for, however late it comes


def aggregate(u, *, round=0, state=None, **options):
    uplink = AnalogUplink(**{"energy_budget": 50.0, "noise_variance": 0.0, "fading": Rayleigh(), **options})
    return uplink.aggregate(u, LAYOUT, round=round, streams=Streams(3), state=state)


def test_pilots_are_paid_from_the_budget():
    u = random_message(3, LAYOUT)
    options = {
        "power_control": FullPower(),
        "csi": PilotCsi(energy_fraction=0.25),
        "receiver_csi": PilotCsi(energy_fraction=0.25),
    }
    ledger = aggregate(u, noise_variance=1.0, **options).ledger
    assert (ledger.energy_spent <= 50).all()
    torch.testing.assert_close(ledger.energy_spent, torch.full((3,), 50.0, dtype=torch.float64), rtol=1e-4, atol=0)
    assert ledger.num_channel_uses == 5 + 3
    plain = aggregate(u, noise_variance=1.0, power_control=FullPower()).ledger
    torch.testing.assert_close(ledger.peak_power, 0.75 * plain.peak_power, rtol=1e-4, atol=0)


def test_same_pilots_serve_both_sides_and_other_ones_are_paid_twice():
    u = random_message(3, LAYOUT)
    shared = aggregate(u, csi=PilotCsi(), receiver_csi=PilotCsi(), noise_variance=1.0).ledger
    apart = aggregate(u, csi=PilotCsi(), receiver_csi=PilotCsi(energy_fraction=0.2), noise_variance=1.0).ledger
    assert (shared.num_channel_uses, apart.num_channel_uses) == (8, 11)


@pytest.mark.parametrize("later", [QuantisedCsi(), DelayedCsi()], ids=str)
def test_receiver_and_transmitters_go_by_one_estimate_that_is_fed_back_or_late(later):
    """The base station estimates, the devices are told: one set of pilots, and one error of the estimate."""
    u, seen = random_message(3, LAYOUT), {"devices": [], "receiver": []}

    def devices_note(h, **options):
        seen["devices"].append(h)
        return PerfectCsi()(h, **options)

    def receiver_notes(h, **options):
        seen["receiver"].append(h)
        return PerfectCsi()(h, **options)

    options = {"csi": [PilotCsi(), devices_note, later], "receiver_csi": [PilotCsi(), receiver_notes]}
    state = None
    for round in range(3):
        reception = aggregate(u, round=round, state=state, noise_variance=1.0, **options)
        state = reception.state
        assert reception.ledger.num_channel_uses == 5 + 3
        assert torch.equal(seen["devices"][round], seen["receiver"][round])
    assert torch.view_as_real(torch.stack(seen["receiver"])).unique().numel() == 2 * 9  # new pilots in every round


def test_delay_keeps_its_place_behind_what_both_sides_share():
    """The states of several delays do not mix: knowledge of two and of one round ago."""
    u, state, seen = random_message(2, LAYOUT), None, {"devices": [], "receiver": [], "true": []}

    def note(name):
        def stage(h, **options):
            seen[name].append(h)
            return PerfectCsi()(h, **options)

        return stage

    shared = note("true")
    options = {
        "csi": [shared, DelayedCsi(), DelayedCsi(), note("devices")],
        "receiver_csi": [shared, DelayedCsi(), note("receiver")],
    }
    for round in range(5):
        state = aggregate(u, round=round, state=state, **options).state
    assert len(seen["true"]) == 5
    for round in range(2, 5):
        assert torch.equal(seen["devices"][round], seen["true"][round - 2])
        assert torch.equal(seen["receiver"][round], seen["true"][round - 1])


@pytest.mark.parametrize(
    "options",
    [
        {"csi": PilotCsi(energy_fraction=0.6), "receiver_csi": PilotCsi(energy_fraction=0.6, estimator="ls")},
        {"csi": [PilotCsi(energy_fraction=0.6), PilotCsi(energy_fraction=0.6)]},
    ],
    ids=["sides", "stages"],
)
def test_pilots_of_several_kinds_never_cost_more_than_the_budget(options):
    ledger = aggregate(random_message(3, LAYOUT), noise_variance=1.0, power_control=FullPower(), **options).ledger
    ledger.check()
    torch.testing.assert_close(ledger.energy_spent, torch.full((3,), 50.0, dtype=torch.float64), rtol=1e-4, atol=0)


def test_prefix_of_the_pilots_is_paid_from_their_energy():
    """Of energy e, e / overhead is in the useful part: the estimate is that much noisier."""
    ofdm = Ofdm(num_subcarriers=12, symbols_per_slot=1, cyclic_prefix_s=3e-5, fft_size=32)
    options = {"fading": Rayleigh(), "csi": PilotCsi(energy_fraction=0.5, estimator="ls"), "ofdm": ofdm}
    uplink = AnalogUplink(energy_budget=20.0, noise_variance=0.7, **options)
    plan = uplink.plan(torch.ones(20_000, 2), (2,), round=0, streams=Streams(0))
    error = plan.known.transmitters.h - plan.gains
    assert ofdm.prefix_overhead > 1.4
    assert_squared_error(error, variance=2 * 0.7 * ofdm.prefix_overhead / 10)


def test_phase_error_of_the_csi_turns_what_arrives():
    """Inversion by h_est leaves h / h_est of each device; without noise the estimate shows it."""
    u = random_message(2, LAYOUT, dtype=torch.float64)
    uplink = AnalogUplink(
        energy_budget=50.0, noise_variance=0.0, fading=Rayleigh(), csi=NoisyCsi(nmse=0.1), power_control=TruncatedInversion()
    )
    plan = uplink.plan(u, LAYOUT, round=0, streams=Streams(3))
    known = (plan.arriving * (plan.known.transmitters.h / plan.gains).squeeze(-2)).expand(2, 2)
    torch.testing.assert_close(known, torch.full_like(known, 0.5))
    pairs = torch.view_as_complex(u.unflatten(-1, (-1, 2)).contiguous())
    expected = torch.view_as_real((plan.arriving[:, :1] * pairs).sum(0)).flatten()
    torch.testing.assert_close(aggregate(u, csi=NoisyCsi(nmse=0.1), power_control=TruncatedInversion()).estimate, expected)


def test_delayed_knowledge_is_worth_what_the_fading_keeps():
    u = random_message(2, LAYOUT, dtype=torch.float64)
    errors = {}
    for correlation in (1.0, 0.5):
        state = None
        for round in range(3):
            reception = aggregate(
                u,
                round=round,
                state=state,
                fading=GaussMarkov(correlation=correlation),
                csi=DelayedCsi(),
            )
            state = reception.state
        errors[correlation] = (reception.estimate - u.mean(0)).abs().max().item()
    assert errors[1.0] < 1e-5 < 1e-2 < errors[0.5]


def test_what_is_known_without_being_paid_for_is_counted():
    u = random_message(3, LAYOUT)
    assert aggregate(u).ledger.known_gains == 3
    assert aggregate(u, csi=NoCsi(), power_control=FullPower(phase=False)).ledger.known_gains == 0
    ledger = aggregate(u, csi=QuantisedCsi(phase_bits=3, amplitude_bits=2)).ledger
    assert (ledger.known_gains, ledger.feedback_bits) == (0, 5)
    late = aggregate(u, csi=[QuantisedCsi(phase_bits=3, amplitude_bits=2), DelayedCsi()]).ledger
    assert (late.known_gains, late.feedback_bits) == (0, 5)
    uplink = AnalogUplink(energy_budget=50.0)
    given = uplink.aggregate(u, LAYOUT, round=0, streams=Streams(3), gains=torch.ones(3, 1, dtype=torch.complex64)).ledger
    assert given.known_gains == 3


def test_csi_that_is_not_finite_voids_the_round():
    def broken(h, *, energy, noise_variance, generator, state):
        known = PerfectCsi()(h, energy=energy, noise_variance=noise_variance, generator=generator, state=state)
        return known._replace(h=known.h.clone().index_fill_(0, torch.tensor([1]), math.nan))

    reception = aggregate(random_message(3, LAYOUT), csi=broken)
    assert not reception.estimate.any()
    with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
        reception.ledger.check()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (NoisyCsi, {"nmse": -0.1}, "nmse must be finite and >= 0"),
        (NoisyCsi, {"nmse": math.nan}, "nmse must be finite and >= 0"),
        (NoisyCsi, {"nmse": 1.2, "model": "mmse"}, "nmse must be <= 1"),
        (NoisyCsi, {"nmse": 0.1, "model": "ls"}, 'model must be "additive" or "mmse", got \'ls\''),
        (PilotCsi, {"energy_fraction": 1.0}, "energy_fraction must lie strictly between 0 and 1"),
        (PilotCsi, {"estimator": "zf"}, 'estimator must be "ls" or "mmse"'),
        (PilotCsi, {"uses_per_device": 0}, "uses_per_device must be >= 1"),
        (DelayedCsi, {"rounds": 0}, "rounds must be >= 1, got 0; without a delay use PerfectCsi"),
        (QuantisedCsi, {"phase_bits": 0}, "phase_bits must be >= 1"),
        (QuantisedCsi, {"largest_amplitude": 0.0}, "largest_amplitude must be finite and > 0"),
    ],
)
def test_impossible_knowledge_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        model(**options)


def test_csi_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"csi must be a function .* or a list of functions"):
        AnalogUplink(energy_budget=1.0, csi=3)
