"""Cells of TR 38.901: geometry, path loss, unit power, and a topology that stays for a run."""

import io
import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded

from laser_wireless.channels.propagation.paths import draw_paths
from laser_wireless.channels.propagation.sionna_runtime import load_sionna
from laser_wireless.channels.propagation.sionna_topology import LAYOUTS, SionnaCell

NOW = torch.zeros(1, dtype=torch.float64)
OUTDOORS = {"indoor_probability": 0.0, "line_of_sight": "always"}


@pytest.fixture(scope="module", autouse=True)
def sionna():
    pytest.importorskip("sionna")
    return load_sionna()


def run(cell, rounds, num_devices=6, num_rx_antennas=2, times=NOW, state=None):
    """Gains of the given rounds in a narrow band [K, N_r, T] and the last state."""
    gains = []
    for round in rounds:
        a, tau, state = draw_paths(
            cell, num_devices, num_rx_antennas, times, round=round, generator=seeded(round), state=state
        )
        assert tau.shape == (num_devices, a.shape[2])
        assert tau.max() < 1e-4  # the fillers' 9.6 s are gone
        gains.append(a.sum(2))
    return gains, state


@pytest.mark.parametrize("scenario", LAYOUTS)
def test_every_scenario_draws_paths(scenario, global_rng_untouched):
    times = torch.arange(2, dtype=torch.float64) * 1e-3
    cell = SionnaCell(scenario=scenario, precision="double")
    (first, second), state = run(cell, [0, 1], num_devices=9, times=times)
    assert first.shape == (9, 2, 2)
    assert first.dtype == torch.complex128
    assert not torch.equal(first, second)
    assert all(value.shape[0] == 9 for value in state.values())
    gain_db = 10 * cell.link_gain(state).log10()
    assert gain_db.max() < -30
    assert gain_db.min() > -250


def test_devices_fill_the_sector_evenly():
    cell = SionnaCell(min_distance_m=20.0, radius_m=100.0, min_speed_m_s=1.0, max_speed_m_s=3.0, indoor_probability=0.3)
    state = cell._drop(20_000, generator=seeded(1))
    x, y, z = state["positions"].double().T
    area = (x.square() + y.square() - 20.0**2) / (100.0**2 - 20.0**2)
    assert_distributed(area, "uniform")
    assert_distributed(torch.atan2(y, x), "uniform", -math.pi / 3, 2 * math.pi / 3)
    assert_distributed(state["velocities"].norm(dim=-1), "uniform", 1.0, 2.0)
    assert_mean(state["indoor"].double(), mean=0.3, variance=0.21)
    assert torch.equal(z, torch.full_like(z, 1.5))


@pytest.mark.parametrize("carrier_hz", [2e9, 3.5e9])
def test_path_loss_in_the_line_of_sight_is_the_specifications(carrier_hz):
    """TR 38.901 table 7.4.1-1, UMi LOS: 32.4 + 21 log10(d) + 20 log10(f in GHz) dB up to the breakpoint."""
    cell = SionnaCell(**OUTDOORS, shadowing=False, carrier_hz=carrier_hz, precision="double")
    state = cell.place(50, generator=seeded(1))
    distance = (state["positions"] - torch.tensor([0.0, 0.0, 10.0])).norm(dim=-1)
    expected = 32.4 + 21 * distance.log10() + 20 * math.log10(carrier_hz / 1e9)
    torch.testing.assert_close(-10 * cell.link_gain(state).log10(), expected, atol=1e-6, rtol=0)


def test_shadowing_is_log_normal_with_the_specifications_deviation():
    """UMi LOS: 4 dB; one draw for each topology, as devices of a topology are correlated."""
    cell = SionnaCell(**OUTDOORS, pathloss=False)
    shadowing = torch.stack([10 * cell.link_gain(cell.place(1, generator=seeded(i))).log10() for i in range(200)])
    assert_distributed(shadowing, "norm", 0.0, 4.0)
    with pytest.raises(AssertionError, match="not norm"):
        assert_distributed(shadowing, "norm", 0.0, 12.0)


@pytest.mark.parametrize("scenario", ["umi", "inh"])
def test_mean_power_is_one_without_link_gains(scenario):
    gains, _ = run(SionnaCell(scenario=scenario), range(4), num_devices=400, num_rx_antennas=1)
    power = torch.stack(gains).abs().square()
    assert_mean(power, mean=1, variance=1)  # independent phases: the variance of |h|^2 is at most 1
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(10**-0.27 * power, mean=1, variance=1)  # what randomly tilted antennas would lose


def test_link_gains_are_applied_as_asked():
    state = SionnaCell().place(6, generator=seeded(9))
    (plain,), _ = run(SionnaCell(), [0], state=state)
    gain = SionnaCell().link_gain(state).reshape(-1, 1, 1)
    (absolute,), _ = run(SionnaCell(normalise="none"), [0], state=state)
    (relative,), _ = run(SionnaCell(normalise="mean"), [0], state=state)
    torch.testing.assert_close(absolute, gain.sqrt() * plain)
    torch.testing.assert_close(relative, (gain / gain.mean()).sqrt() * plain)
    (loss_only,), _ = run(SionnaCell(normalise="none", shadowing=False), [0], state=state)
    (neither,), _ = run(SionnaCell(normalise="none", shadowing=False, pathloss=False), [0], state=state)
    assert (loss_only.abs() < absolute.abs()).any()
    assert (loss_only.abs() > absolute.abs()).any()
    assert torch.equal(neither, plain)


def test_small_scale_fading_is_sionnas_on_the_same_topology(sionna):
    """The topology is drawn by Sionna with losses, then both draw from the same generator state."""
    cell = SionnaCell(normalise="none", precision="double")
    state = cell.place(5, generator=seeded(4))
    times = torch.arange(3, dtype=torch.float64) * 1e-3
    theirs = cell._build(2, "cpu", with_loss=True)
    cell._set_topology(theirs, state, state["line_of_sight"][None, None])
    parameters = dict(
        zip(("ds", "asd", "asa", "sf", "k_factor", "zsa", "zsd", "pathloss"), state["large_scale"].T, strict=True)
    )
    theirs._lsp = type(theirs._lsp)(**{name: value[None, None] for name, value in parameters.items()})
    keep = sionna.config.torch_rng("cpu").get_state()
    sionna.config.torch_rng("cpu").set_state(seeded(8).get_state())
    a, tau = theirs(3, 1e3)
    sionna.config.torch_rng("cpu").set_state(keep)
    ours, delays, _ = draw_paths(cell, 5, 2, times, round=0, generator=seeded(8), state=state)
    torch.testing.assert_close(ours, a[0, 0, :, :, 0].transpose(0, 1), rtol=1e-10, atol=0)
    present = (ours != 0).any(-1).any(1)
    assert torch.equal(delays[present], tau[0, 0][present])


def test_a_resumed_run_continues_bit_for_bit():
    cell = SionnaCell(normalise="mean", max_speed_m_s=10.0)
    straight, last = run(cell, [0, 1, 2])
    _, state = run(cell, [0])
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    resumed, again = run(cell, [1, 2], state=torch.load(file))
    assert torch.equal(resumed[0], straight[1])
    assert torch.equal(resumed[1], straight[2])
    assert all(torch.equal(last[name], again[name]) for name in last)


def test_a_run_without_its_state_has_another_topology():
    _, state = run(SionnaCell(), [0])
    _, other = run(SionnaCell(), [1])
    assert not torch.equal(state["positions"], other["positions"])


def test_runs_may_share_a_topology_and_know_its_link_gains():
    cell = SionnaCell(topology_seed=5)
    state = cell.place(6, generator=seeded(1))
    (first,), used = run(cell, [0])
    (second,), _ = run(cell, [1])
    assert all(torch.equal(used[name], state[name]) for name in state)
    assert not torch.equal(first, second)
    (absolute,), _ = run(SionnaCell(topology_seed=5, normalise="none"), [0])
    torch.testing.assert_close(absolute, cell.link_gain(state).sqrt().reshape(-1, 1, 1) * first)


def test_devices_stand_where_the_user_puts_them():
    """A device that moves towards the array by the line of sight turns at v / wavelength."""
    cell = SionnaCell(**OUTDOORS, scenario="rma", precision="double", min_speed_m_s=0.0)
    state = cell.place(1, generator=seeded(1))
    state["positions"] = torch.tensor([[500.0, 0.0, 1.5]], dtype=torch.float64)
    state["velocities"] = torch.tensor([[-10.0, 0.0, 0.0]], dtype=torch.float64)
    state["large_scale"][:, 4] = 1e9  # K-factor: the line of sight alone
    lag = 1e-3
    (h,), _ = run(cell, [0], num_devices=1, num_rx_antennas=1, times=NOW + torch.tensor([0.0, lag]), state=state)
    turns = (h[0, 0, 1] / h[0, 0, 0]).angle() / (2 * math.pi)
    level = 500 / math.hypot(500, 33.5)
    assert turns.item() == pytest.approx(10.0 * level * lag * 3.5e9 / 299_792_458.0, rel=1e-3)


def test_devices_of_a_cell_arrive_from_distinct_angles():
    gains, _ = run(SionnaCell(), [0], num_devices=300, num_rx_antennas=16)
    h = gains[0][..., 0]
    eigenvalues = torch.linalg.eigvalsh(h.T @ h.conj())
    assert eigenvalues.sum().square() / eigenvalues.square().sum() > 8


def test_elements_of_the_specification_are_louder_in_front():
    state = SionnaCell(sector_deg=360.0).place(200, generator=seeded(1))
    (omni,), _ = run(SionnaCell(), [0], num_devices=200, num_rx_antennas=1, state=state)
    (shaped,), _ = run(SionnaCell(bs_pattern="38.901"), [0], num_devices=200, num_rx_antennas=1, state=state)
    cosine = state["positions"][:, 0] / state["positions"][:, :2].norm(dim=-1)
    ratio = shaped.abs().square().flatten() / omni.abs().square().flatten()
    assert ratio[cosine > 0.9].median() > 2  # 8 dB in the middle, -22 dB behind
    assert ratio[cosine < -0.9].median() < 0.5


def test_number_of_devices_is_kept():
    _, state = run(SionnaCell(), [0], num_devices=3)
    with pytest.raises(ValueError, match="state must hold 4 devices, got 3"):
        run(SionnaCell(), [1], num_devices=4, state=state)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scenario": "indoor"}, 'scenario must be "umi", "uma", "rma", "inh" or "inf", got .indoor.'),
        ({"carrier_hz": 2.4}, "carrier_hz must be between"),
        ({"carrier_hz": math.nan}, "carrier_hz must be between"),
        ({"normalise": "all"}, 'normalise must be "'),
        ({"line_of_sight": "yes"}, 'line_of_sight must be "'),
        ({"o2i": "middle"}, 'o2i must be "'),
        ({"bs_pattern": "iso"}, 'bs_pattern must be "'),
        ({"min_speed_m_s": -1.0}, "min_speed_m_s"),
        ({"min_distance_m": 200.0}, "0 <= min_distance_m < radius_m"),
        ({"radius_m": math.nan}, "0 <= min_distance_m < radius_m"),
        ({"bs_height_m": 0.0}, "bs_height_m must be finite and > 0"),
        ({"device_height_m": math.nan}, "device_height_m must be finite and > 0"),
        ({"sector_deg": 0.0}, "sector_deg must be > 0"),
        ({"indoor_probability": 1.5}, "indoor_probability must be between 0 and 1"),
        ({"scenario": "inh", "indoor_probability": 0.5}, "indoor_probability must be 1 in inh"),
        ({"scenario": "rma", "o2i": "high"}, 'o2i="high" is of umi and uma only'),
        ({"topology_seed": -1}, "topology_seed must be an integer >= 0"),
        ({"time_step_s": 0.0}, "time_step_s must be finite and > 0"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SionnaCell(**parameters)
