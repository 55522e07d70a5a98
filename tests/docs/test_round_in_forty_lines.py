"""The plain round of the guide and the uplink: equal gains, equal noise, equal estimate and energies."""

import importlib.util
from pathlib import Path

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import (
    AnalogUplink,
    FullPower,
    NoFading,
    Rayleigh,
    Rician,
    Streams,
    TruncatedInversion,
    draw_rounds,
)

FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "round_in_forty_lines.py"
plain = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("round_in_forty_lines", FILE))
spec.loader.exec_module(plain)
POLICIES = {
    "truncated": (plain.truncated_inversion, TruncatedInversion(threshold=0.1)),
    "aligned": (lambda u, P, s, h: plain.truncated_inversion(u, P, s, h, threshold=0.0), TruncatedInversion(threshold=0.0)),
    "full power": (plain.full_power, FullPower()),
}


def both(policy, fading, num_symbols, *, sigma2=0.5, seed=0):
    """The uplink's reception, and estimate and energies of the plain round, for the same draws."""
    reference, rule = POLICIES[policy]
    u = torch.randn(6, num_symbols, dtype=torch.float64, generator=seeded(seed))
    streams = Streams(seed)
    uplink = AnalogUplink(energy_budget=20.0, noise_variance=0.5, fading=fading, power_control=rule)
    reception = uplink.aggregate(u, (num_symbols,), round=0, streams=streams)
    grid = uplink.grid((num_symbols,))
    h = draw_rounds(fading, 6, grid, num_rounds=1, streams=streams, device="cpu").flatten().to(torch.complex128)
    noise = torch.randn(num_symbols, dtype=torch.float64, generator=streams.generator("noise", 0))
    return reception, plain.one_round(u, 20.0, sigma2, h, noise, reference)


@pytest.mark.parametrize("num_symbols", [1, 2, 37, 100])
@pytest.mark.parametrize("fading", [NoFading(), Rayleigh(), Rician(k_factor=2.0)], ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_uplink_is_the_plain_round(policy, fading, num_symbols):
    reception, (estimate, energy) = both(policy, fading, num_symbols)
    torch.testing.assert_close(reception.estimate, estimate, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(reception.ledger.energy_spent, energy, rtol=1e-9, atol=1e-12)


def test_noise_of_another_variance_is_noticed():
    reception, (estimate, _) = both("truncated", Rayleigh(), 100, sigma2=0.55)
    assert not torch.allclose(reception.estimate, estimate, rtol=1e-3, atol=1e-3)


def test_it_has_forty_lines():
    lines = FILE.read_text().splitlines()
    body = [line for line in lines if line.strip() and not line.strip().startswith(('"""', "#", "import", "from"))]
    assert len(body) <= 40
