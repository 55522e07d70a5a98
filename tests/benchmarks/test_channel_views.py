"""Pictures of a channel: their numbers meet closed forms within what the sample size allows."""

import math
from dataclasses import fields
from statistics import NormalDist

import numpy as np
import pytest
import torch
import yaml
from scipy.special import j0

from laser_wireless.benchmarks.channel_views.correlation import first_below
from laser_wireless.benchmarks.channel_views.gains import k_factor_by_moments
from laser_wireless.benchmarks.channel_views.spectrogram import study_spectrogram
from laser_wireless.benchmarks.channel_views.study import VIEWS, ChannelStudy
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv
from laser_wireless.channels.waveform import Ofdm

CPU = torch.device("cpu")
TDL = "--fading Multipath --fading.paths TappedDelayLine --fading.paths.profile C --fading.paths.delay_spread_s 1e-6"
GRID = "--ofdm Ofdm --ofdm.num_subcarriers 64 --ofdm.subcarriers_per_block 4 --ofdm.symbols_per_slot 1"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def view(words, tmp_path, *names):
    """Run `laser channel --view ...` and read its files; pictures and configuration must be there."""
    assert main(["channel", "--device", "cpu", "--output", "out", "--view", *words.split()]) == 0
    folder = tmp_path / "out"
    picture = names[0].removesuffix(".csv")
    assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / f"{picture}.pdf").read_bytes().startswith(b"%PDF")
    assert yaml.safe_load((folder / "config.yaml").read_text())["view"] == words.split()[0]
    return [read_csv(folder / name) for name in names]


def deviations(found, theory, spread):
    """Largest deviation over the bound at which a correct model fails once in a million pictures."""
    z = NormalDist().inv_cdf(1 - 1e-6 / (2 * len(found)))
    return (np.abs(np.subtract(found, theory)) / (z * np.asarray(spread))).max()


def test_gains_meet_their_laws(tmp_path, capsys):
    words = "gains --fading [Rayleigh,Rician,Nakagami] --fading.2.m 3 --num_rounds 1000 --num_devices 8"
    [rows] = view(words, tmp_path, "gains.csv")
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("mean_power", "k_factor_by_moments", "in_fade_theory", "Nakagami (m = 3)"))
    for quantity, width in (("power_below", 1), ("power_above", 1), ("envelope", None), ("phase", math.pi / 18)):
        for fading in {row["fading"] for row in rows}:
            mine = [row for row in rows if row["fading"] == fading and row["quantity"] == quantity]
            step = width or mine[1]["x"] - mine[0]["x"]
            shares, expected = (step * np.array([row[name] for row in mine]) for name in ("simulated", "theory"))
            seen = 8000 * expected * (1 - expected) > 10  # where the normal law is near the binomial
            spread = np.sqrt(expected * (1 - expected) / 8000)
            assert seen.sum() >= 15
            assert deviations(shares[seen], expected[seen], spread[seen]) <= 1
            other = [row["theory"] * step for row in rows if row["fading"] != fading and row["quantity"] == quantity]
            if quantity != "phase":
                assert deviations(shares[seen], np.array(other[: len(mine)])[seen], spread[seen]) > 1


def test_k_factor_by_moments_inverts_the_variance_of_a_rician_power():
    for k in (0.5, 4.0, 50.0):
        spread = math.sqrt((1 - (k / (k + 1)) ** 2) / 2)  # the variance of two numbers 1 -+ d is 2 d^2
        assert k_factor_by_moments(torch.tensor([1 - spread, 1 + spread], dtype=torch.float64)) == pytest.approx(k)
    assert k_factor_by_moments(torch.tensor([0.0, 2.0])) == 0  # wider than Rayleigh
    assert k_factor_by_moments(torch.ones(3)) == math.inf


def test_time_correlation_is_bessel_for_jakes_and_geometric_for_gauss_markov(tmp_path, capsys):
    words = "correlation --fading [Jakes,GaussMarkov] --fading.0.doppler_hz 50 --fading.0.round_interval_s 1e-3"
    [rows] = view(f"{words} --fading.1.correlation 0.9 --num_lags 20", tmp_path, "correlation.csv")
    assert "coherence_time_s" in capsys.readouterr().out
    jakes, markov = ([row for row in rows if row["fading"].startswith(name)] for name in ("Jakes", "GaussMarkov"))
    lags = np.arange(21)
    assert [row["offset"] for row in jakes] == pytest.approx(lags * 1e-3)
    assert [row["theory_real"] for row in jakes] == pytest.approx(j0(2 * math.pi * 0.05 * lags))
    assert [row["unit"] for row in markov] == ["round"] * 21
    assert [row["theory_real"] for row in markov] == pytest.approx(0.9**lags)
    for mine in (jakes, markov):
        theory = np.array([row["theory_real"] for row in mine])
        spread = np.sqrt((1 + theory**2) / 2 / 512)  # of Re h' h* for one pair of complex Gaussian gains in each link
        found = [row["real"] for row in mine]
        assert deviations(found, theory, spread) <= 1
        assert deviations([row["imag"] for row in mine], 0, np.sqrt((1 - theory**2) / 2 / 512 + 1e-12)) <= 1
        assert deviations(found, j0(2 * math.pi * 0.1 * lags), spread) > 1


def test_frequency_correlation_is_the_transform_of_the_delay_profile(tmp_path, capsys):
    words = f"correlation {GRID} {TDL} --num_slots 3 --num_devices 64 --fading.paths.num_sinusoids 8 --num_lags 12"
    [rows] = view(words, tmp_path, "correlation.csv")
    printed = capsys.readouterr().out
    assert "coherence_bandwidth_hz" in printed
    assert "1e-06" in printed  # rms delay spread
    assert [row["axis"] for row in rows] == ["slot"] * 3 + ["frequency"] * 13
    assert all(row["theory_real"] == pytest.approx(1) for row in rows[:3])  # nothing moves
    mine = rows[3:]
    assert [row["offset"] for row in mine] == pytest.approx(60e3 * np.arange(13))
    for part in ("real", "imag"):
        found = [row[part] for row in mine]
        spread = np.full(13, math.sqrt(1 / 512))  # Var Re h' h* <= 1
        assert deviations(found, [row[f"theory_{part}"] for row in mine], spread) <= 1
        assert deviations(found, [float(part == "real")] * 13, spread) > 1  # a flat channel


def test_spectrogram_of_a_tapped_delay_line(tmp_path, capsys):
    words = f"spectrogram {GRID} {TDL} --fading.paths.doppler_hz 500 --fading.paths.round_interval_s .inf --num_slots 20"
    power, plane, profile = view(
        f"{words} --num_devices 64", tmp_path, "spectrogram.csv", "delay_doppler.csv", "delay_profile.csv"
    )
    assert "rms_delay_spread_s" in capsys.readouterr().out
    assert (len(power), len(power[0])) == (20, 1 + 16)
    assert len(plane) == len(profile)
    theory = np.array([row["theory"] for row in profile])
    found = [row["power"] for row in profile]
    spread = theory / math.sqrt(64)  # |H|^2 of Rayleigh fading has the variance theory^2, less where times are averaged
    assert deviations(found, theory, spread) <= 1
    assert deviations(found, np.roll(theory, 3), spread) > 1


def test_one_path_lies_at_its_delay_and_doppler_shift():
    ofdm = Ofdm(num_subcarriers=32, subcarriers_per_block=1, symbols_per_slot=1)
    slot_s, delay_s, doppler_hz = ofdm.symbol_s, 20e-6, 2000.0

    def one_path(num_devices, num_rx_antennas, grid, *, round, generator):
        f = (torch.arange(32) - 15.5) * 15e3
        t = torch.arange(grid.num_slots) * slot_s
        turns = doppler_hz * t[:, None] - f * delay_s
        return torch.polar(torch.ones_like(turns), 2 * math.pi * turns).expand(num_devices, 1, -1, -1)

    settings = ChannelStudy(view="spectrogram", fading=one_path, ofdm=ofdm, num_slots=64, num_devices=2)
    picture, [summary] = study_spectrogram(settings.spectrogram_view(), CPU)
    assert np.abs(picture.power_db).max() < 1e-4
    assert summary["mean_power_db"] == pytest.approx(0, abs=1e-4)
    delay, doppler = np.unravel_index(picture.spreading_db.argmax(), picture.spreading_db.shape)
    assert picture.delays_s[delay] == pytest.approx(delay_s, abs=1 / (2 * 4 * 32 * 15e3))
    assert picture.dopplers_hz[doppler] == pytest.approx(doppler_hz, abs=1 / (2 * 64 * slot_s))
    assert max(row["power"] for row in picture.profile) == pytest.approx(1, rel=0.02)


def test_coherence_ends_where_the_correlation_falls_to_one_half():
    offsets = np.array([0.0, 1.0, 2.0, 3.0])
    assert first_below(offsets, np.array([1.0, 0.8, 0.6, 0.2])) == pytest.approx(2.25)
    assert first_below(offsets, np.array([1.0, 0.1, 0.0, 0.0])) == 0
    assert first_below(offsets, np.ones(4)) == math.inf
    assert math.isnan(first_below(offsets, np.full(4, math.nan)))


def test_all_views_at_once(tmp_path, capsys):
    words = "channel --view all --fading Rayleigh --num_rounds 20 --num_links 16 --num_lags 2 --snr_db [0] --device cpu"
    assert main([*words.split(), "--output", "out"]) == 0
    assert "spectrogram: left out" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {"channel.csv", "gains.csv", "correlation.csv"}


def test_help_names_every_option_and_view(capsys):
    assert main(["channel", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"--{entry.name}\n" in printed for entry in fields(ChannelStudy))
    assert all(f'"{name}"' in printed for name in VIEWS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--view gain", "view must be one of error, gains, correlation, spectrogram, all, got 'gain'"),
        ("--view spectrogram", "give an OFDM grid, --ofdm Ofdm"),
        ("--view spectrogram --ofdm Ofdm --fading [Rayleigh,Rician]", "shows one model of fading, got 2"),
        ("--power_control [FullPowr,MseOptimal]", "power_control[0]: 'FullPowr' is not known; did you mean FullPower"),
        ("--num_rx_antennas 4", "num_rx_antennas = 4 needs a receiver"),
        ("--num_links 1", "num_links must be >= 2"),
        ("--num_lags 0", "num_lags must be >= 1"),
        ("--fade_db .inf", "fade_db must be finite and within 300 dB"),
        ("--link_gain [-1,1]", "link_gain must hold one finite power gain"),
    ],
)
def test_bad_options_are_refused_by_name(words, message, capsys, tmp_path):
    assert main(["channel", *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_grid_of_one_block_has_no_spectrogram(capsys):
    words = "channel --view spectrogram --ofdm Ofdm --ofdm.num_subcarriers 12 --device cpu"
    assert main(words.split()) == 1
    assert "several frequency blocks, got 1" in capsys.readouterr().err
