"""The speed command for channels runs and its table is whole; timings are never judged here."""

import re
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.benchmarks.speed import channels
from laser_wireless.benchmarks.speed.__main__ import main
from laser_wireless.benchmarks.speed.channel_cases import CHANNEL_CASES, NUM_DEVICES
from laser_wireless.benchmarks.speed.channel_table import Result, to_markdown
from laser_wireless.benchmarks.speed.channels import in_own_process
from laser_wireless.benchmarks.speed.contest import OURS, Contest, measure_memory, measure_times, ratios
from laser_wireless.channels import Ofdm

NUM_SYMBOLS = 70


def contest(name="awgn", without=("Sionna AWGN", "Sionna flat", "pykaira")):
    return measure_times(name, num_symbols=NUM_SYMBOLS, without=list(without), seconds=0, threads=1)


def test_each_round_has_a_time_for_every_contender():
    found = contest()
    assert found.contenders == [OURS]
    assert set(found.cpu) == set(found.wall) == {OURS, "read", "draw"}
    assert {len(times) for times in found.cpu.values()} == {3}
    assert found.floor == pytest.approx([a + b for a, b in zip(found.cpu["read"], found.cpu["draw"], strict=True)])


def test_peers_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaira.channels", None)
    found = contest(without=["Sionna AWGN", "Sionna flat"])
    assert list(found.absent) == ["pykaira"]
    assert found.contenders == [OURS]
    text = to_markdown({}, [Result(name="awgn", num_symbols=NUM_SYMBOLS, contest=found, memory={OURS: 1}, absent={})])
    assert re.search(r"\| awgn \| 70 \| pykaira \| not run: .*kaira", text)
    with pytest.raises(ImportError, match="kaira"):
        measure_memory("awgn", "pykaira", num_symbols=NUM_SYMBOLS, threads=1)


def test_ratios_are_taken_round_by_round():
    assert ratios([2.0, 6.0, 20.0], [1.0, 2.0, 4.0]) == (2.5, 3.0, 4.0)


def test_table_has_a_row_for_each_contender():
    seconds = {"read": [1e-3] * 3, "draw": [1e-3] * 3, OURS: [4e-3] * 3, "Sionna flat": [8e-3] * 3}
    found = Contest(cpu=seconds, wall=seconds, absent={})
    memory = {OURS: 2**20, "Sionna flat": 2**21}
    result = Result(name="rayleigh", num_symbols=1000, contest=found, memory=memory, absent={"pykaira": "too large"})
    lines = to_markdown({"threads": "1"}, [result]).splitlines()
    assert "- threads: 1" in lines
    assert "| rayleigh | 1,000 | laser | 4 (4) | 2 (2) | 2 (2 to 2) |  | 4e+06 | 4 | 1 |" in lines
    assert "| rayleigh | 1,000 | Sionna flat | 8 (8) | 2 (2) | 4 (4 to 4) | 2 (2 to 2) | 2e+06 | 8 | 2 |" in lines
    assert any("not run: too large" in line for line in lines)
    assert len({line.count("|") for line in lines if line.startswith("| ")}) == 1


@pytest.mark.slow
def test_peaks_of_memory_grow_with_what_is_held():
    small, large = (
        in_own_process(partial(measure_memory, "awgn", OURS, num_symbols=size, threads=1)) for size in (1000, 2_000_000)
    )
    assert small < 4 * 2_000_000 <= large + 2**20  # the estimate at least


def test_command_writes_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(channels, "in_own_process", lambda work: work())
    monkeypatch.setitem(CHANNEL_CASES, "ofdm-tdl", replace(CHANNEL_CASES["ofdm-tdl"], peers={}))
    path = tmp_path / "results" / "speed.md"
    main(["channels", "--cases", "ofdm-tdl", "--num-symbols", "70", "90", "--seconds", "0", "--output", str(path)])
    text = path.read_text()
    assert text == capsys.readouterr().out.removesuffix("\n")
    assert "| ofdm-tdl | 70 | laser |" in text
    assert "| ofdm-tdl | 90 | laser |" in text
    for fact in ("device", "threads", "versions", "commit", "date"):
        assert f"- {fact}: " in text


@pytest.mark.parametrize("name", ["awgn", "rayleigh", "rayleigh-symbol", "ofdm-tdl"])
def test_our_cases_run_round_after_round(name):
    symbols = torch.randn(NUM_DEVICES, NUM_SYMBOLS, generator=seeded(0))
    step = CHANNEL_CASES[name].rounds(symbols)
    first, second = step(), step()
    assert first.shape == second.shape == (NUM_SYMBOLS,)
    assert not torch.equal(first, second)  # noise of another round


@pytest.mark.parametrize("case", list(CHANNEL_CASES))
def test_sionna_carries_the_same_number_of_symbols(case):
    pytest.importorskip("sionna.phy")
    symbols = torch.randn(4, 2 * Ofdm().num_subcarriers * Ofdm().symbols_per_slot, generator=seeded(0))
    for name, build in CHANNEL_CASES[case].peers.items():
        if name.startswith("Sionna"):
            y = build(symbols)()
            num_antennas = 4 if case == "umi" else 1
            assert y.is_complex()
            assert y.numel() == num_antennas * symbols.shape[1] // 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--cases", "wire"], "wire"), (["--threads", "0"], "--threads"), (["--num-symbols", "1"], "--num-symbols")],
)
def test_bad_options_are_refused_by_name(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["channels", *arguments])
    assert message in capsys.readouterr().err
