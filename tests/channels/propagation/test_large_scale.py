"""Large-scale gain: where the devices are, how their shadowing spreads, which level it has, and budgets in dBm."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.propagation.large_scale import (
    Annulus,
    CellGain,
    Distances,
    LogNormalShadowing,
    Positions,
    cell_energy_budget,
    noise_power_dbm,
)
from laser_wireless.channels.propagation.path_loss import LogDistance, UMaPathLoss, UMiPathLoss

NUM_DEVICES = 20_000
GAINS = [
    LogNormalShadowing(),
    CellGain(),
    CellGain(path_loss=UMiPathLoss(), placement=Annulus(sector_deg=120.0), normalise="absolute"),
    CellGain(path_loss=UMaPathLoss(), shadowing_db=3.0, decorrelation_m=50.0),
    CellGain(placement=Distances(distances_m=[30.0, 80.0, 150.0]), shadowing_db=8.0),
    CellGain(placement=Positions(positions_m=[[30.0, 0.0], [0.0, 80.0], [-3.0, 4.0]]), antenna_gain_db=10.0),
]


def places(placement, num_devices=NUM_DEVICES, device="cpu"):
    return placement.positions(num_devices, generator=seeded(5, device)).cpu()


def annulus_cdf(inner, outer):
    return lambda r: (r**2 - inner**2) / (outer**2 - inner**2)


@pytest.mark.parametrize(("inner", "outer"), [(0.0, 100.0), (10.0, 200.0), (150.0, 151.0)])
def test_devices_fill_the_area_of_the_ring_evenly(inner, outer, device):
    found = places(Annulus(min_distance_m=inner, max_distance_m=outer), device=device)
    distance = found.norm(dim=-1)
    assert_distributed(distance, annulus_cdf(inner, outer))
    assert (distance >= inner * (1 - 1e-12)).all()
    assert (distance <= outer * (1 + 1e-12)).all()
    assert_distributed(torch.atan2(found[:, 1], found[:, 0]), "uniform", -math.pi, 2 * math.pi)


def test_devices_spread_evenly_over_the_radius_instead_would_be_noticed():
    distance = 10 + 190 * torch.rand(NUM_DEVICES, generator=seeded(0))
    with pytest.raises(AssertionError, match="not"):
        assert_distributed(distance, annulus_cdf(10.0, 200.0))


def test_sector_looks_along_the_x_axis():
    found = places(Annulus(sector_deg=120.0))
    assert_distributed(torch.atan2(found[:, 1], found[:, 0]), "uniform", -math.pi / 3, 2 * math.pi / 3)


def test_distances_and_positions_are_kept():
    found = places(Distances(distances_m=[5.0, 0.0, 20.0]), 3)
    torch.testing.assert_close(found.norm(dim=-1), torch.tensor([5.0, 0.0, 20.0], dtype=torch.float64))
    assert places(Positions(positions_m=[[1.0, 2.0], [-3.0, 0.5]]), 2).tolist() == [[1.0, 2.0], [-3.0, 0.5]]


@pytest.mark.parametrize("model", GAINS[1:4], ids=str)
def test_positions_are_those_of_the_gains(model):
    links = model.links(3, generator=seeded(8))
    assert torch.equal(model.positions(3, generator=seeded(8)), links.positions_m)
    assert torch.equal(model(3, generator=seeded(8)), links.gain)


@pytest.mark.parametrize("model", GAINS, ids=str)
def test_contract_of_a_gain(model, device, global_rng_untouched):
    gain = model(3, generator=seeded(1, device))
    assert (gain.dtype, gain.shape, gain.device.type) == (torch.float64, (3,), device.type)
    assert (gain > 0).all()
    assert torch.equal(gain, model(3, generator=seeded(1, device)))
    with FakeTensorMode():
        assert model(3, generator=seeded(1)).shape == (3,)


@pytest.mark.parametrize("model", [LogNormalShadowing(sigma_db=8.0), CellGain(path_loss=UMiPathLoss())], ids=str)
def test_mean_over_the_devices_is_one(model):
    for num_devices in (1, 7):
        assert model(num_devices, generator=seeded(2)).mean().item() == pytest.approx(1)


def test_mean_is_found_of_gains_too_weak_for_a_number():
    model = CellGain(path_loss=LogDistance(reference_loss_db=4000.0), placement=Distances(distances_m=[10.0, 10.0]))
    assert model(2, generator=seeded(0)).tolist() == pytest.approx([1.0, 1.0])


def test_absolute_gain_is_the_loss_in_decibels():
    path_loss = LogDistance(exponent=2.0, reference_loss_db=40.0)
    cell = CellGain(
        path_loss=path_loss, placement=Distances(distances_m=[10.0, 100.0]), antenna_gain_db=5.0, normalise="absolute"
    )
    assert cell(2, generator=seeded(0)).log10().mul(10).tolist() == pytest.approx([-55.0, -75.0])


@pytest.mark.parametrize("sigma_db", [3.0, 8.0])
def test_shadowing_is_normal_in_decibels(sigma_db, device):
    shadowing = LogNormalShadowing(sigma_db=sigma_db, normalise="absolute")
    db = shadowing(NUM_DEVICES, generator=seeded(3, device)).cpu().log10() * 10
    assert_mean(db, mean=0, variance=sigma_db**2)
    assert_mean(db.square(), mean=sigma_db**2, variance=2 * sigma_db**4)
    assert_distributed(db, "norm", 0, sigma_db)


def test_shadowing_ten_per_cent_too_wide_would_be_noticed():
    db = LogNormalShadowing(sigma_db=8.8, normalise="absolute")(NUM_DEVICES, generator=seeded(3)).log10() * 10
    with pytest.raises(AssertionError, match="expected 64"):
        assert_mean(db.square(), mean=64, variance=2 * 64**2)


def test_shadowing_of_the_cell_is_that_of_its_path_loss_unless_given():
    def shadowing(**options):
        links = CellGain(path_loss=UMiPathLoss(), **options).links(NUM_DEVICES, generator=seeded(4))
        return links.shadowing_db, links.line_of_sight

    db, sees = shadowing()
    assert 100 < sees.sum() < NUM_DEVICES - 100
    assert_mean(db[sees].square(), mean=16, variance=2 * 16**2)
    assert_mean(db[~sees].square(), mean=7.82**2, variance=2 * 7.82**4)
    db, _ = shadowing(shadowing_db=2.0)
    assert_mean(db.square(), mean=4, variance=32)
    assert (shadowing(shadowing_db=0.0)[0] == 0).all()


def test_shadowing_of_neighbours_is_correlated_by_their_distance():
    placement = Positions(positions_m=[[0.0, 0.0], [50.0, 0.0], [50.0, 0.0]])  # two at one place
    cell = CellGain(placement=placement, shadowing_db=1.0, decorrelation_m=50.0)
    generator = seeded(6)
    drops = torch.stack([cell.links(3, generator=generator).shadowing_db for _ in range(2000)])
    expected = math.exp(-1)
    assert_mean(drops[:, 0] * drops[:, 1], mean=expected, variance=1 + expected**2)
    assert_mean(drops[:, 1].square(), mean=1, variance=2)
    torch.testing.assert_close(drops[:, 1], drops[:, 2], atol=1e-6, rtol=0)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(drops[:, 0] * drops[:, 1], mean=0, variance=1)


def test_thermal_noise_is_the_known_174_decibels():
    assert noise_power_dbm(1.0, noise_figure_db=0.0) == pytest.approx(-173.975, abs=1e-3)
    assert noise_power_dbm(20e6, noise_figure_db=7.0) == pytest.approx(-173.975 + 73.010 + 7, abs=1e-3)


@pytest.mark.parametrize("baseband", ["complex", "real"])
def test_energy_budget_is_power_times_time_over_noise_energy(baseband):
    """20 dBm for 1000 symbols at 1 MHz."""
    budget = cell_energy_budget(
        transmit_power_dbm=20.0, num_symbols=1000, bandwidth_hz=1e6, noise_figure_db=3.0103, baseband=baseband
    )
    seconds = (500 if baseband == "complex" else 1000) / 1e6
    noise_per_real_symbol = 2 * 1.380649e-23 * 290 / 2  # joules; the noise figure doubles it
    assert budget == pytest.approx(0.1 * seconds / noise_per_real_symbol, rel=1e-5)


def test_snr_per_symbol_is_transmit_power_over_noise_power():
    budget = cell_energy_budget(transmit_power_dbm=-90.0, num_symbols=400, bandwidth_hz=5e6, noise_figure_db=6.0)
    snr_db = 10 * math.log10(budget / 400)
    assert snr_db == pytest.approx(-90 - noise_power_dbm(5e6, noise_figure_db=6.0))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Annulus(min_distance_m=-1.0), ValueError, "min_distance_m and max_distance_m must be finite"),
        (lambda: Annulus(min_distance_m=5.0, max_distance_m=4.0), ValueError, "got 5.0 and 4.0"),
        (lambda: Annulus(min_distance_m=0.0, max_distance_m=0.0), ValueError, "max_distance_m > 0"),
        (lambda: Annulus(max_distance_m=math.nan), ValueError, "min_distance_m and max_distance_m"),
        (lambda: Annulus(sector_deg=0.0), ValueError, "sector_deg must lie in"),
        (lambda: Distances(distances_m=[]), ValueError, "distances_m must hold"),
        (lambda: Distances(distances_m=[1.0, math.nan]), ValueError, "distances_m must hold"),
        (lambda: places(Distances(distances_m=[1.0]), 2), ValueError, "each of the 2 devices, got 1"),
        (lambda: Positions(positions_m=[[1.0]]), ValueError, "positions_m must hold"),
        (lambda: places(Positions(positions_m=[[1.0, 2.0]]), 2), ValueError, "each of the 2 devices, got 1"),
        (lambda: LogNormalShadowing(sigma_db=-1.0), ValueError, "sigma_db must be finite and >= 0"),
        (lambda: LogNormalShadowing(normalise="sum"), ValueError, "normalise must be"),
        (lambda: CellGain(path_loss="UMi"), TypeError, "path_loss must be a function"),
        (lambda: CellGain(placement=[10.0]), TypeError, "placement must have a method positions\\(num_devices"),
        (lambda: CellGain(shadowing_db=math.nan), ValueError, "shadowing_db must be finite"),
        (lambda: CellGain(decorrelation_m=-1.0), ValueError, "decorrelation_m must be finite"),
        (lambda: CellGain(antenna_gain_db=math.inf), ValueError, "antenna_gain_db must be finite"),
        (lambda: CellGain(normalise="none"), ValueError, "normalise must be"),
        (lambda: noise_power_dbm(0.0), ValueError, "bandwidth_hz must be finite and > 0"),
        (lambda: noise_power_dbm(1.0, temperature_k=math.nan), ValueError, "temperature_k must be finite"),
        (lambda: noise_power_dbm(1.0, noise_figure_db=-1.0), ValueError, "noise_figure_db must be finite"),
        (
            lambda: cell_energy_budget(transmit_power_dbm=math.nan, num_symbols=2, bandwidth_hz=1.0),
            ValueError,
            "transmit_power_dbm must be finite",
        ),
        (
            lambda: cell_energy_budget(transmit_power_dbm=0.0, num_symbols=0, bandwidth_hz=1.0),
            ValueError,
            "num_symbols must be >= 1",
        ),
        (
            lambda: cell_energy_budget(transmit_power_dbm=0.0, num_symbols=2, bandwidth_hz=1.0, baseband="dsb"),
            ValueError,
            "baseband must be",
        ),
    ],
)
def test_impossible_parameters_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
