"""Bytes of a step over processes: the hook sends the ledger's symbols and nothing but what it states."""

import pytest

from laser_wireless.benchmarks.speed import wire


def test_options_are_checked(capsys):
    for words, message in ((["--processes", "0"], "--processes must be >= 1"), (["--steps", "3"], "even number >= 2")):
        with pytest.raises(SystemExit):
            wire.main(words)
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_hook_sends_the_symbols_of_the_ledger(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(wire, "HOOKS", ("all-reduce", "uplink_hook, LowRank(rank=4)"))
    wire.main(["--processes", "2", "--steps", "2", "--output", str(tmp_path / "wire.md")])
    plain, factors = [line.split(" | ") for line in (tmp_path / "wire.md").read_text().splitlines()[-2:]]
    size = 4 * sum((before + 1) * after for before, after in zip(wire.WIDTHS, wire.WIDTHS[1:], strict=False))
    sent = float(plain[5].replace(",", ""))
    assert size <= sent <= 1.02 * size  # a ring of two sends what it is given
    assert factors[2] == factors[3]
    assert float(factors[5].replace(",", "")) <= 1.2 * float(factors[3].replace(",", ""))
