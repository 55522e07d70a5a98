"""Bad input to the uplink, refused by name."""

import math

import pytest
import torch

from laser_wireless.channels import AnalogUplink, Rayleigh, Streams
from laser_wireless.channels.radio_link import large_scale

U = torch.ones(3, 5)


def aggregate(u=U, layout=(5,), **options):
    uplink = AnalogUplink(**{"energy_budget": 1.0, **options})
    return uplink.aggregate(u, layout, round=0, streams=Streams(0))


@pytest.mark.parametrize(
    "budget", [0.0, -1.0, math.nan, math.inf, [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, math.nan, 1.0], torch.zeros(3)]
)
def test_budget_that_allows_nothing_is_refused(budget):
    with pytest.raises(ValueError, match="energy_budget must be finite and > 0"):
        AnalogUplink(energy_budget=budget)


@pytest.mark.parametrize("budget", [[1.0, 2.0], torch.ones(4), torch.ones(2, 2), lambda round: torch.ones(2)])
def test_budget_of_the_wrong_length_is_refused(budget):
    with pytest.raises(ValueError, match="one for each of the 3 devices"):
        aggregate(energy_budget=budget)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_unsound_budget_tensor_of_a_schedule_voids_the_round(bad):
    reception = aggregate(energy_budget=lambda round: torch.tensor([1.0, bad, 1.0]))
    assert not reception.estimate.any()
    with pytest.raises(FloatingPointError, match=r"\[1\].* round 0"):
        reception.ledger.check()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_symbols_of_another_type_are_refused(dtype):
    with pytest.raises(TypeError, match="symbols must be float32 or float64"):
        aggregate(U.to(dtype))


@pytest.mark.parametrize("shape", [(5,), (0, 5)])
def test_symbols_without_devices_are_refused(shape):
    with pytest.raises(ValueError, match=r"symbols must be \[\.\.\., num_devices, num_symbols\]"):
        aggregate(torch.ones(shape))


@pytest.mark.parametrize("layout", [(4,), (3, 3), (), (5, 0), (6, -1)])
def test_layout_that_does_not_fit_is_refused(layout):
    with pytest.raises(ValueError, match="layout must hold block sizes >= 1 that sum to num_symbols = 5"):
        aggregate(layout=layout)


@pytest.mark.parametrize(
    ("option", "value"),
    [("baseband", "Complex"), ("coherence", "slot"), ("coherence", 0), ("coherence", -2)],
)
def test_misspelt_option_is_refused_by_name(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* got {value!r}"):
        AnalogUplink(energy_budget=1.0, **{option: value})


def test_coherence_that_splits_a_channel_use_is_refused():
    with pytest.raises(ValueError, match="coherence must be an even number"):
        AnalogUplink(energy_budget=1.0, coherence=3)
    assert AnalogUplink(energy_budget=1.0, coherence=3, baseband="real").coherence == 3


def test_uplink_shows_what_differs_from_the_default():
    assert repr(AnalogUplink(energy_budget=2.0)) == "AnalogUplink(energy_budget=2.0)"
    uplink = AnalogUplink(energy_budget=2.0, noise_variance=torch.ones(2), fading=Rayleigh(), coherence="block")
    shown = "AnalogUplink(energy_budget=2.0, noise_variance=tensor([1., 1.]), fading=Rayleigh(), coherence='block')"
    assert repr(uplink) == shown

    def my_fading(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(1, 1, 1, 1)

    assert repr(AnalogUplink(energy_budget=2.0, fading=my_fading)) == "AnalogUplink(energy_budget=2.0, fading=my_fading)"


@pytest.mark.parametrize("bandwidth_hz", [0.0, -1.0, math.nan, math.inf])
def test_impossible_bandwidth_is_refused(bandwidth_hz):
    with pytest.raises(ValueError, match="bandwidth_hz"):
        AnalogUplink(energy_budget=1.0, bandwidth_hz=bandwidth_hz)


@pytest.mark.parametrize("name", ["fading", "power_control", "allocation"])
def test_plug_in_that_is_no_function_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be a function"):
        AnalogUplink(energy_budget=1.0, **{name: 3})


@pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 2), (4, 3, 2)])
def test_gains_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"gains must be \[\.\.\., num_devices, T F\] = \[\.\.\., 3, 1\]"):
        AnalogUplink(energy_budget=1.0).aggregate(U, (5,), round=0, streams=Streams(0), gains=torch.ones(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf, complex(0, math.nan)])
def test_nonfinite_gain_voids_the_round(bad):
    def broken(num_devices, num_rx_antennas, grid, *, round, generator):
        h = torch.ones(num_devices, 1, 1, 1, dtype=torch.complex64)
        h[2] = bad
        return h

    reception = aggregate(fading=broken)
    assert not reception.estimate.any()
    assert not reception.delivered.any()
    with pytest.raises(FloatingPointError, match=r"devices \[2\] were not finite in round 0"):
        reception.ledger.check()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_symbol_voids_the_round_and_names_the_device(bad, device):
    u = U.to(device).clone()
    u[1, 3] = bad
    reception = aggregate(u)
    assert not reception.estimate.any()
    assert not reception.delivered.any()
    assert not reception.ledger.energy_spent.any()
    assert reception.ledger.active_fraction.tolist() == [0, 0, 0]
    with pytest.raises(FloatingPointError, match=r"devices \[1\] were not finite in round 0"):
        reception.ledger.summary()


def test_large_scale_gains_of_a_list_keep_their_digits():
    gains = large_scale([0.1, 0.7], 2, Streams(0), torch.device("cpu"))
    assert gains.tolist() == [0.1, 0.7]
    listed, given = (
        AnalogUplink(energy_budget=1.0, noise_variance=0.0, link_gain=link_gain).aggregate(
            torch.ones(2, 5, dtype=torch.float64), (5,), round=0, streams=Streams(0)
        )
        for link_gain in ([0.1, 0.7], torch.tensor([0.1, 0.7], dtype=torch.float64))
    )
    assert torch.equal(listed.estimate, given.estimate)


@pytest.mark.parametrize("noise_variance", [1e39, 1e-50, 5e-324])
def test_noise_variance_beyond_float32_is_a_noise_variance(noise_variance):
    assert AnalogUplink(energy_budget=1.0, noise_variance=noise_variance).noise_variance == noise_variance
