"""Error against SNR for several power controls, receivers and antennas: closed forms, and where there are none."""

import math
from statistics import NormalDist

import pytest
import torch

from laser_wireless.benchmarks.channel_views import error as error_view
from laser_wireless.benchmarks.channel_views.draws import Links, seed_of_run
from laser_wireless.benchmarks.channel_views.error import AVERAGED, CONDITIONAL, SIMULATED, study_error
from laser_wireless.benchmarks.channel_views.labels import label_of, labels_of
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv
from laser_wireless.channels.csi.models import DelayedCsi, NoisyCsi
from laser_wireless.channels.fading.alpha_mu import Nakagami
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.laws import Rayleigh, Rician
from laser_wireless.channels.hardware.amplifier import Rapp
from laser_wireless.channels.power_control.full_power import FullPower
from laser_wireless.channels.power_control.inversion import AlignedInversion, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.sionna_paths import SionnaTdl
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine
from laser_wireless.channels.receivers.least_error import Lmmse, ZeroForcing
from laser_wireless.channels.receivers.maximum_ratio import MaximumRatio
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.waveform import Ofdm

CPU = torch.device("cpu")
Z = NormalDist().inv_cdf(1 - 1e-6 / 2)  # standard errors
SMALL = {"num_devices": 4, "num_symbols": 16, "num_rounds": 1000, "snr_db": [0.0]}


def rows_of(**options):
    return study_error(ChannelStudy(**(SMALL | options)).error_view(), CPU)


def test_one_curve_for_each_power_control(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "channel --fading Rayleigh --power_control [TruncatedInversion,FullPower,MseOptimal] --num_rounds 400"
    more = "--power_control.0.threshold 0.3 --num_devices 4 --snr_db [-10,10] --device cpu --output out"
    assert main([*words.split(), *more.split()]) == 0
    assert "closed_form" in capsys.readouterr().out
    assert (tmp_path / "out" / "channel.png").read_bytes().startswith(b"\x89PNG")
    rows = read_csv(tmp_path / "out" / "channel.csv")
    assert [row["case"] for row in rows[::2]] == ["TruncatedInversion", "FullPower", "MseOptimal"]
    assert [row["closed_form"] for row in rows[::2]] == [AVERAGED, AVERAGED, CONDITIONAL]
    assert rows[0]["silent_theory"] == pytest.approx(1 - math.exp(-0.3))
    for row in rows:
        assert abs(row["mse"] - row["mse_given_gains"]) <= Z * row["mse_se"]
        assert row["energy_spent_largest"] <= 1
        if row["closed_form"] == AVERAGED:
            assert abs(row["mse"] - row["mse_theory"]) <= Z * row["mse_se"]
            assert abs(row["mse"] - 1.3 * row["mse_theory"]) > Z * row["mse_se"]
    best = {row["snr_db"]: row["mse_given_gains"] for row in rows if row["case"] == "MseOptimal"}
    assert all(best[row["snr_db"]] <= row["mse_given_gains"] * (1 + 1e-6) for row in rows)


def test_silence_and_outage_come_with_intervals_that_hold_the_closed_form():
    rows = rows_of(fading=Rayleigh(), power_control=[TruncatedInversion(threshold=t) for t in (0.1, 1.5)], num_devices=2)
    for row in rows:
        assert row["independent"] == 1000
        for name in ("silent", "outage"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
            middle, half = (row[f"{name}_low"] + row[f"{name}_high"]) / 2, (row[f"{name}_high"] - row[f"{name}_low"]) / 2
            assert abs(row[f"{name}_theory"] - middle) <= Z / 1.96 * half
    [never] = rows_of(fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.1), num_devices=16)
    assert (never["outage"], never["outage_low"]) == (0, 0)
    assert never["outage_high"] == pytest.approx(3 / 1000, rel=0.01)
    assert never["energy_spent_se"] > 0


def test_receivers_and_antennas_meet_their_closed_forms():
    rows = rows_of(
        fading=Rayleigh(),
        power_control=FullPower(phase=False),
        receiver=[MaximumRatio(), Lmmse(), ZeroForcing()],
        num_rx_antennas=[6, 12],
    )
    assert [row["case"] for row in rows[:3]] == ["MaximumRatio, N_r = 6", "MaximumRatio, N_r = 12", "Lmmse, N_r = 6"]
    for row in rows:
        assert row["closed_form"] == AVERAGED
        assert abs(row["mse"] - row["mse_theory"]) <= Z * row["mse_se"]
        assert abs(row["mse"] - row["mse_given_gains"]) <= Z * row["mse_se"]
    assert abs(rows[0]["mse"] - rows[1]["mse_theory"]) > Z * rows[0]["mse_se"]


def test_the_closed_form_given_the_gains_holds_with_noisy_knowledge_link_gains_and_ofdm():
    paths = TappedDelayLine(profile="C", delay_spread_s=1e-6, num_sinusoids=8)
    grid = Ofdm(num_subcarriers=8, subcarriers_per_block=2, symbols_per_slot=1)
    for options in (
        {"fading": Rayleigh(), "csi": NoisyCsi(nmse=0.1)},
        {"fading": Rayleigh(), "link_gain": [1.0, 0.1, 0.3, 2.0]},
        {"fading": Multipath(paths=paths), "ofdm": grid, "num_rounds": 400},
    ):
        [row] = rows_of(power_control=MseOptimal(), **options)
        assert (row["closed_form"], math.isnan(row["mse_theory"])) == (CONDITIONAL, True)
        assert abs(row["mse"] - row["mse_given_gains"]) <= Z * row["mse_se"]
        assert abs(row["mse"] - 1.5 * row["mse_given_gains"]) > Z * row["mse_se"]


def test_hardware_and_waveforms_are_simulated_only():
    grid = Ofdm(num_subcarriers=8, subcarriers_per_block=2, symbols_per_slot=1, cyclic_prefix_s=4.7e-6, time_domain=True)
    paths = TappedDelayLine(profile="A", delay_spread_s=1e-7, num_sinusoids=4)
    for options in (
        {"impairments": [Rapp(saturation_db=3.0)]},
        {"ofdm": grid, "fading": Multipath(paths=paths), "num_rounds": 40},
    ):
        [row] = rows_of(power_control=[FullPower()], **options)
        assert row["closed_form"] == SIMULATED
        assert math.isnan(row["mse_theory"])
        assert math.isnan(row["mse_given_gains"])
        assert 0 < row["mse"] < 1


def test_late_knowledge_of_correlated_fading_costs_error():
    options = {"power_control": TruncatedInversion(threshold=0.1), "snr_db": [10.0]}
    fading = GaussMarkov(correlation=0.9)
    [fresh] = rows_of(fading=fading, **options)
    [late] = rows_of(fading=fading, csi=DelayedCsi(rounds=2), **options)
    for row in (fresh, late):
        assert abs(row["mse"] - row["mse_given_gains"]) <= Z * row["mse_se"]
    assert late["mse"] - fresh["mse"] > Z * late["mse_se"]


def test_blocks_of_rounds_meet_the_gains_of_one_block(monkeypatch):
    options = {"fading": Rayleigh(), "power_control": MseOptimal(), "num_rounds": 100}
    [together] = rows_of(**options)
    monkeypatch.setattr(error_view, "_AT_ONCE", 7 * 4 * 16)  # seven rounds
    [apart] = rows_of(**options)
    assert apart["mse_given_gains"] == pytest.approx(together["mse_given_gains"], rel=1e-6)
    assert apart["mse"] != together["mse"]  # another order of messages and noise


def test_a_process_starts_afresh_in_each_run_and_a_function_goes_on():
    grid = Grid(num_slots=1, symbols_per_cell=2)
    options = {"runs": range(1, 3), "num_rounds": 3, "device": CPU}
    held = Links(2, 1, grid, seed=5).draw(GaussMarkov(correlation=1.0), **options)
    assert held.shape == (2, 3, 2, 1, 1)
    assert torch.equal(held[:, 0], held[:, 2])
    assert not torch.equal(held[0], held[1])

    def counting(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.full((1, 1, 1, 1), float(round))

    assert Links(1, 1, grid, seed=5).draw(counting, **options).flatten().tolist() == [3, 4, 5, 6, 7, 8]
    assert seed_of_run(5, 0) == 5
    assert len({seed_of_run(seed, run) for seed in range(3) for run in range(1, 4)}) == 9


def test_labels_tell_components_apart():
    assert label_of(TruncatedInversion()) == "TruncatedInversion (threshold = 0.1)"
    assert label_of(FullPower(phase=False)) == "FullPower (phase = False)"
    assert label_of(Jakes(doppler_hz=50.0, round_interval_s=1e-3)) == "Jakes (doppler = 50 Hz, round_interval = 1 ms)"
    assert label_of(Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=3e-7))) == (
        "TappedDelayLine (profile = C, delay_spread = 300 ns)"
    )
    assert label_of(SionnaTdl(min_speed_m_s=3.5)) == "SionnaTdl (profile = C, min_speed = 3.5 m/s)"
    assert labels_of([Rayleigh(), Rician(), Nakagami()]) == ["Rayleigh", "Rician (k_factor = 4)", "Nakagami (m = 2)"]
    assert labels_of([TruncatedInversion(), AlignedInversion()]) == ["TruncatedInversion", "AlignedInversion"]
    two = labels_of([TruncatedInversion(), TruncatedInversion(threshold=0.2)])
    assert two == ["TruncatedInversion (threshold = 0.1)", "TruncatedInversion (threshold = 0.2)"]
    assert labels_of([Rayleigh(), Rayleigh()]) == ["Rayleigh, 1", "Rayleigh, 2"]


def test_a_single_curve_is_named_by_its_parts():
    [case] = ChannelStudy(fading=Rayleigh(), receiver=Lmmse(), num_rx_antennas=2).cases()
    assert case.label == "Rayleigh, AlignedInversion, Lmmse, N_r = 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power_control": []}, "power_control must hold at least one entry"),
        ({"num_rx_antennas": [1, 4]}, "num_rx_antennas = 4 needs a receiver"),
        ({"num_slots": 1}, "num_slots must be >= 2"),
        ({"fade_db": math.nan}, "fade_db must be finite and within 300 dB of 0, got nan"),
        ({"view": "spectrum"}, "view must be one of"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ChannelStudy(**options)
