"""The limits in which the uplink is something simpler, exactly."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import (
    ALLOCATIONS,
    BASEBANDS,
    COHERENCES,
    FADINGS,
    POWER_CONTROLS,
    deep_fades,
    matched_filter,
    name_of,
    random_message,
    unit_gains,
)

from laser_wireless.channels import AlignedInversion, AnalogUplink, FullPower, NoFading, Rayleigh, Streams

LAYOUT = (5, 3, 1, 2)


def estimate(u, *, layout=LAYOUT, round=0, **options):
    uplink = AnalogUplink(**{"energy_budget": 2.0, **options})
    return uplink.aggregate(u, layout, round=round, streams=Streams(1)).estimate


@pytest.mark.parametrize("coherence", COHERENCES)
@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=name_of)
@pytest.mark.parametrize("fading", [NoFading(), Rayleigh()], ids=name_of)
def test_without_noise_the_estimate_is_the_mean(fading, allocation, coherence, device):
    u = random_message(4, LAYOUT, dtype=torch.float64, device=device)
    found = estimate(u, noise_variance=0.0, fading=fading, allocation=allocation, coherence=coherence)
    torch.testing.assert_close(found, u.mean(0), rtol=1e-12, atol=1e-12)


def test_one_device_is_a_wire_with_noise(device):
    u = random_message(1, LAYOUT, device=device)
    torch.testing.assert_close(estimate(u, noise_variance=0.0), u[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("coherence", ["round", "block", 4])  # a "symbol" is one real number or two: other pieces
@pytest.mark.parametrize("num_devices", [1, 3])
def test_basebands_agree_bit_by_bit_without_fading(num_devices, coherence, device):
    u = random_message(num_devices, LAYOUT, device=device)
    options = {"coherence": coherence}
    real, complex = (estimate(u, baseband=baseband, **options) for baseband in ("real", "complex"))
    if device.type == "cpu":
        assert torch.equal(real, complex)
    torch.testing.assert_close(real, complex, rtol=1e-6, atol=1e-6)  # a GPU's products of two shapes round otherwise


@pytest.mark.parametrize("fading", FADINGS, ids=name_of)
@pytest.mark.parametrize("power_control", [p for p in POWER_CONTROLS if p != FullPower(phase=False)], ids=name_of)
def test_basebands_agree_under_fading(power_control, fading, device):
    """The same draws per round; matched to float precision, since phases are undone with rounding."""
    u = random_message(3, LAYOUT, dtype=torch.float64, device=device)
    options = {"fading": fading, "power_control": power_control}
    real, both = (estimate(u, baseband=baseband, **options) for baseband in BASEBANDS)
    torch.testing.assert_close(real, both, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("baseband", BASEBANDS)
@pytest.mark.parametrize("coherence", COHERENCES)
def test_users_fading_of_ones_is_no_fading(coherence, baseband, device):
    u = random_message(3, LAYOUT, dtype=torch.float64, device=device)
    ones = estimate(u, fading=unit_gains, coherence=coherence, baseband=baseband)
    torch.testing.assert_close(ones, estimate(u, coherence=coherence, baseband=baseband), rtol=1e-12, atol=1e-12)


def test_phase_that_is_not_undone_mixes_in_phase_and_quadrature():
    """h = j turns I into Q and Q into -I; a policy that does not invert shows it."""

    def no_inversion(h, norms, energy, noise_variance, *, agreement):
        transceiver = matched_filter(h.abs(), norms, energy, noise_variance, agreement=agreement)
        return transceiver._replace(precoder=transceiver.precoder.to(torch.complex128))

    def turn(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.full((1, 1, 1, 1), 1j, dtype=torch.complex128)

    u = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    found = estimate(u, layout=(3,), noise_variance=0.0, fading=turn, power_control=no_inversion)
    torch.testing.assert_close(found, torch.tensor([-2.0, 1.0, 0.0], dtype=torch.float64))


def test_subnormal_message_is_delivered(device):
    u = torch.randn(2, 11, generator=seeded(0)).to(device) * 1e-41
    found = estimate(u, noise_variance=0.0)
    torch.testing.assert_close(found.double(), u.double().mean(0), rtol=0, atol=3e-45)


def test_zero_gains_leave_the_mean_of_the_others():
    u = random_message(9, LAYOUT, dtype=torch.float64)
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, fading=deep_fades, power_control=AlignedInversion())
    plan = uplink.plan(u, LAYOUT, round=0, streams=Streams(0))
    heard = plan.gains.abs()[..., 0, 0] > 0
    assert 0 < heard.sum() < 9
    found = uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(found, u[heard].mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("baseband", BASEBANDS)
@pytest.mark.parametrize("fading", FADINGS, ids=name_of)
def test_inputs_and_the_global_generator_are_left_alone(fading, baseband, global_rng_untouched):
    u = random_message(3, LAYOUT)
    before = u.clone()
    estimate(u, fading=fading, baseband=baseband)
    assert torch.equal(u, before)


def test_same_seed_and_round_give_the_same_estimate(device):
    u = random_message(3, LAYOUT, device=device)
    assert torch.equal(estimate(u, fading=Rayleigh(), round=5), estimate(u, fading=Rayleigh(), round=5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device_follow_the_symbols(dtype, device):
    u = random_message(3, LAYOUT, dtype=dtype, device=device)
    found = estimate(u, fading=Rayleigh(), coherence="symbol")
    assert (found.dtype, found.device.type, found.shape) == (dtype, device.type, (11,))
