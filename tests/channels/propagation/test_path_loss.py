"""Path loss: values worked out by hand from TR 38.901, Sionna's scenarios as an independent one, lines of sight."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.propagation.path_loss import (
    InHPathLoss,
    LogDistance,
    RMaPathLoss,
    UMaPathLoss,
    UMiPathLoss,
    free_space_loss_db,
)

SCENARIOS = [UMiPathLoss, UMaPathLoss, RMaPathLoss, InHPathLoss]
MODELS = [LogDistance(shadowing_db=3.0), *(scenario() for scenario in SCENARIOS), InHPathLoss(office="open")]
DISTANCES = torch.tensor([12.0, 60.0, 149.0, 400.0, 1500.0, 4800.0], dtype=torch.float64)


def attenuation(model, *distances, seed=0, device="cpu"):
    distance = torch.tensor(distances, dtype=torch.float64, device=device)
    return model(distance, generator=seeded(seed, device))


def loss(model, distance):
    return attenuation(model, distance).loss_db.item()


def test_log_distance_is_a_straight_line_over_the_decades():
    model = LogDistance(exponent=3.0, reference_loss_db=40.0, reference_distance_m=10.0, shadowing_db=6.0)
    found = attenuation(model, 10.0, 100.0, 1000.0, 2.0)
    assert found.loss_db.tolist() == pytest.approx([40.0, 70.0, 100.0, 40.0])  # 2 m counts as 10 m
    assert found.shadowing_db.tolist() == [6.0] * 4
    assert found.line_of_sight.all()


def test_free_space_is_the_known_32_decibels_at_one_metre_and_one_gigahertz():
    assert free_space_loss_db(1.0, 1e9) == pytest.approx(32.44, abs=0.01)
    assert free_space_loss_db(1.0, 3.5e9) == pytest.approx(LogDistance().reference_loss_db, abs=0.05)


OPEN_COUNTRY = RMaPathLoss(
    carrier_hz=1e9,
    base_height_m=10.0,
    device_height_m=1.0,
    building_height_m=10.0,
    street_width_m=10.0,
    line_of_sight="never",
)
# d3 = 5 / 4 of 80 m is 100 m where the heights differ by 60 m: log10(d3) = 2 exactly; at 1 GHz the carrier adds nothing.
BY_HAND = [
    (UMiPathLoss(carrier_hz=1e9, base_height_m=61.5, line_of_sight="always"), 80.0, 74.4),  # 32.4 + 42
    (UMiPathLoss(carrier_hz=1e9, base_height_m=61.5, line_of_sight="never"), 80.0, 93.0),  # 22.4 + 70.6
    (UMiPathLoss(carrier_hz=10e9, base_height_m=61.5, line_of_sight="always"), 80.0, 94.4),
    (UMiPathLoss(carrier_hz=10e9, base_height_m=61.5, line_of_sight="never"), 80.0, 114.3),
    (UMaPathLoss(carrier_hz=1e9, base_height_m=61.5, line_of_sight="always"), 80.0, 72.0),  # 28 + 44
    (UMaPathLoss(carrier_hz=1e9, base_height_m=61.5, line_of_sight="never"), 80.0, 91.7),  # 13.54 + 78.16
    (UMaPathLoss(carrier_hz=1e9, base_height_m=63.0, device_height_m=3.0, line_of_sight="never"), 80.0, 90.8),  # - 0.9
    (InHPathLoss(carrier_hz=1e9, base_height_m=61.0, line_of_sight="always"), 80.0, 67.0),  # 32.4 + 34.6
    (InHPathLoss(carrier_hz=1e9, base_height_m=61.0, line_of_sight="never"), 80.0, 93.9),  # 17.3 + 76.6
    # beyond the breakpoint at 4 * 9 * 0.5 * 10 / 3 = 60 m: 32.4 + 80 - 9.5 log10(3600 + 72.25), d3 = 100 m
    (UMiPathLoss(carrier_hz=1e9, line_of_sight="always"), math.sqrt(1e4 - 72.25), 78.532),
    # 20 log10(40 pi 1e3 / 3) + 0.47801 * 3 - 0.70109 + 0.0013979 * 1e3, with 5^1.72 = 15.9338; breakpoint at 1100 m
    (RMaPathLoss(carrier_hz=1e9, line_of_sight="always"), math.sqrt(1e6 - 33.5**2), 94.573),
    # 161.04 - 7.1 + 7.5 - (24.37 - 3.7) - 3.2 log10(11.75)^2 + 4.97: all else is 1 or has the logarithm 0, d3 = 1 km
    (OPEN_COUNTRY, math.sqrt(1e6 - 81), 142.076),
]


@pytest.mark.parametrize(("model", "distance", "expected"), BY_HAND, ids=str)
def test_values_worked_out_by_hand(model, distance, expected):
    assert loss(model, distance) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sight", ["always", "never"])
def test_loss_grows_with_the_distance_and_does_not_jump(scenario, sight):
    distance = torch.logspace(1, 3.6, 4000, dtype=torch.float64)
    steps = scenario(line_of_sight=sight)(distance, generator=seeded(0)).loss_db.diff()
    assert steps.min() > 0
    assert steps.max() < 0.2  # 0.065 % of distance at each step; the breakpoint's own jump is below 0.1 dB


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_line_of_sight_the_loss_is_never_less(scenario):
    distance = torch.logspace(0, 3.6, 400, dtype=torch.float64)
    with_sight = scenario(line_of_sight="always")(distance, generator=seeded(0)).loss_db
    without = scenario(line_of_sight="never")(distance, generator=seeded(0)).loss_db
    assert (without >= with_sight).all()


def test_shadowing_is_that_of_the_table():
    for model, sees, hidden in ((UMiPathLoss, 4.0, 7.82), (UMaPathLoss, 4.0, 6.0), (InHPathLoss, 3.0, 8.03)):
        assert attenuation(model(line_of_sight="always"), 50.0).shadowing_db.item() == sees
        assert attenuation(model(line_of_sight="never"), 50.0).shadowing_db.item() == hidden
    rural = RMaPathLoss(carrier_hz=1e9, line_of_sight="always")  # breakpoint at 1100 m
    assert attenuation(rural, 1000.0, 1200.0).shadowing_db.tolist() == [4.0, 6.0]
    assert attenuation(RMaPathLoss(line_of_sight="never"), 50.0).shadowing_db.item() == 8.0


PROBABILITIES = [
    (UMiPathLoss(), 15.0, 1.0),
    (UMiPathLoss(), 36.0, 0.5 + 0.5 * math.exp(-1)),
    (UMaPathLoss(), 63.0, 2 / 7 + 5 / 7 * math.exp(-1)),
    (RMaPathLoss(), 5.0, 1.0),
    (RMaPathLoss(), 1010.0, math.exp(-1)),
    (InHPathLoss(), 1.0, 1.0),
    (InHPathLoss(), 5.9, math.exp(-1)),
    (InHPathLoss(), 39.1, 0.32 * math.exp(-1)),
    (InHPathLoss(office="open"), 4.0, 1.0),
    (InHPathLoss(office="open"), 40.4, math.exp(-0.5)),
    (InHPathLoss(office="open"), 260.7, 0.54 * math.exp(-1)),
]


@pytest.mark.parametrize(("model", "distance", "expected"), PROBABILITIES, ids=str)
def test_probability_of_a_line_of_sight(model, distance, expected, device):
    found = model.line_of_sight_probability(torch.tensor([distance], dtype=torch.float64))
    assert found.item() == pytest.approx(expected)
    drawn = attenuation(model, *[distance] * 20_000, device=device).line_of_sight.double().cpu()
    assert_mean(drawn, mean=expected, variance=expected * (1 - expected))


def test_a_probability_five_per_cent_too_low_would_be_seen():
    drawn = attenuation(UMiPathLoss(), *[36.0] * 20_000).line_of_sight.double()
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(drawn, mean=0.95 * drawn.mean().item(), variance=0.25)


def sionna_scenario(name, distances):
    """Sionna's scenario over the same distances: its path loss and shadowing without line of sight and with it, P(LOS)."""
    tr38901 = pytest.importorskip("sionna.phy.channel.tr38901")
    array = tr38901.PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=3.5e9,
        precision="double",
        device="cpu",
    )
    extra = {"o2i_model": "low"} if name in ("UMi", "UMa") else {}
    extra |= {"indoor_scenario": "mixed"} if name == "InH" else {}
    cell = getattr(tr38901, name)(
        carrier_frequency=3.5e9,
        ut_array=array,
        bs_array=array,
        direction="uplink",
        precision="double",
        device="cpu",
        spec_version="19.2",
        **extra,
    )
    height = {"UMi": (10.0, 1.5), "UMa": (25.0, 1.5), "RMa": (35.0, 1.5), "InH": (3.0, 1.0)}[name]
    devices = torch.zeros(1, len(distances), 3, dtype=torch.float64)
    devices[0, :, 0], devices[0, :, 2] = distances, height[1]
    base = torch.tensor([[[0.0, 0.0, height[0]]]], dtype=torch.float64)
    still = torch.zeros_like(devices)
    indoors = torch.full((1, len(distances)), name == "InH")
    found = []
    for sight in (False, True):
        cell.set_topology(devices, base, still, torch.zeros_like(base), still, indoors, los=sight)
        found.append(cell._scenario.basic_pathloss.flatten().clone())  # the next topology overwrites it
    return *found, cell._scenario.los_probability.flatten()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_losses_are_those_of_sionna(scenario):  # importing Sionna takes seconds
    with torch.random.fork_rng():
        without, with_sight, probability = sionna_scenario(scenario.__name__.removesuffix("PathLoss"), DISTANCES)
    # Sionna's speed of light is 299,792,458 m/s, TR 38.901's 3e8 m/s: up to 0.006 dB beyond the breakpoint
    for sight, expected in (("never", without), ("always", with_sight)):
        found = scenario(line_of_sight=sight)(DISTANCES, generator=seeded(0)).loss_db
        torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    torch.testing.assert_close(scenario().line_of_sight_probability(DISTANCES), probability)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_near_distances_count_as_the_nearest_and_all_is_finite(model):
    found = attenuation(model, 0.0, 0.5, 1e6)
    assert found.loss_db.isfinite().all()
    assert found.loss_db.dtype == torch.float64


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_nothing_is_read_and_the_global_generator_stays(model, global_rng_untouched):
    first, second = attenuation(model, 20.0, 90.0), attenuation(model, 20.0, 90.0)
    assert torch.equal(first.loss_db, second.loss_db)
    with FakeTensorMode():
        assert attenuation(model, 20.0, 90.0).loss_db.shape == (2,)


@pytest.mark.parametrize(
    ("model", "bad", "message"),
    [
        (LogDistance, {"exponent": -1.0}, "exponent must be finite and in"),
        (LogDistance, {"reference_loss_db": math.nan}, "reference_loss_db must be finite"),
        (LogDistance, {"reference_distance_m": 0.0}, "reference_distance_m must be finite and > 0"),
        (LogDistance, {"shadowing_db": -1.0}, "shadowing_db must be finite"),
        (UMiPathLoss, {"carrier_hz": 3.5}, "carrier_hz must lie in"),
        (UMiPathLoss, {"base_height_m": 1.0}, "base_height_m must be finite and in"),
        (UMiPathLoss, {"device_height_m": 1.0}, "device_height_m must be finite and in"),
        (UMiPathLoss, {"line_of_sight": "yes"}, "line_of_sight must be"),
        (UMaPathLoss, {"device_height_m": 20.0}, "device_height_m must be finite and in"),
        (UMaPathLoss, {"base_height_m": math.nan}, "base_height_m must be finite"),
        (RMaPathLoss, {"carrier_hz": 60e9}, r"carrier_hz must lie in \[0\.5e9, 3e\+10\]"),
        (RMaPathLoss, {"base_height_m": 5.0}, "base_height_m must be finite"),
        (RMaPathLoss, {"device_height_m": 11.0}, "device_height_m must be finite"),
        (RMaPathLoss, {"building_height_m": 1.0}, "building_height_m must be finite"),
        (RMaPathLoss, {"street_width_m": 60.0}, "street_width_m must be finite"),
        (InHPathLoss, {"base_height_m": -1.0}, "base_height_m must be finite"),
        (InHPathLoss, {"device_height_m": math.inf}, "device_height_m must be finite"),
        (InHPathLoss, {"office": "cubicle"}, "office must be"),
    ],
)
def test_impossible_parameters_are_refused(model, bad, message):
    with pytest.raises(ValueError, match=message):
        model(**bad)
