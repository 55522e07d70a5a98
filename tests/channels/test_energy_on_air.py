"""No device ever puts more energy on the air than its budget, counted on the samples themselves, and the ledger says so.

    LASER_ENERGY_ROUNDS=1000000 python -m pytest tests/channels/test_energy_on_air.py

goes on for a million rounds of options drawn together (a quarter of an hour on one core); the suite does twenty thousand.
"""

import os
from unittest import mock

import pytest
import torch
from helpers.any_uplink import rounds
from hypothesis import HealthCheck, given, settings

from laser_wireless.channels import AnalogUplink, FullPower, Lmmse, Rayleigh, Streams
from laser_wireless.channels.uplinks.sample_path import SampleMedium

AT_ONCE = 64  # rounds of a drawn uplink, side by side
NUM_ROUNDS = int(os.environ.get("LASER_ENERGY_ROUNDS", "20000"))
ULPS = 4 * torch.finfo(torch.float64).eps


def energy_of(x):
    """Sum of |x|^2 [..., K] of real or complex samples, in float64."""
    parts = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x.unsqueeze(-1)
    return parts.double().square().sum((-1, -2))


def send(case, *, round=0, state=None):
    """Energies on the air [R, K], twice: of what `transmit` returns, and of the samples where they pass hardware."""
    uplink, u, sent = case.uplink, case.messages, []
    propagate = SampleMedium.propagate

    def listen(medium, x, *arguments):
        sent.append(x)
        return propagate(medium, x, *arguments)

    options = {"round": round, "streams": Streams(case.seed), "state": state, "gains": case.gains}
    with mock.patch.object(SampleMedium, "propagate", listen):
        reception = uplink.aggregate(u, case.layout, **options)
    plan = uplink.plan(u, case.layout, **options)
    pilots = 0 if plan.known.pilot_energy is None else plan.known.pilot_energy
    formed = energy_of(uplink.transmit(u, plan)) * uplink.carrier.prefix_overhead + pilots
    prefix = uplink.medium.prefix_overhead if sent else uplink.carrier.prefix_overhead
    on_air = energy_of(sent[0]) * prefix + pilots if sent else formed
    return reception, formed, on_air


def assert_limit_kept(case, reception, formed, on_air):
    ledger = reception.ledger
    allowed = ledger.energy_allowed
    for energy in (formed, on_air, ledger.energy_spent):
        excess = (energy / allowed.masked_fill(allowed == 0, 1)).amax().item() - 1
        assert (energy <= allowed * (1 + ULPS)).all(), f"{excess:.3g} over the budget"
    assert (ledger.energy_spent <= allowed).all()
    shape = ledger.energy_spent.shape
    torch.testing.assert_close(ledger.energy_spent, on_air.expand(shape), rtol=1e-5, atol=0)
    assert reception.estimate.isfinite().all()
    assert reception.delivered.isfinite().all()
    assert reception.noise_variance.isfinite().all()
    assert not ledger.nonfinite.any()
    assert not ledger.unsettled.any()


@settings(
    max_examples=-(-NUM_ROUNDS // AT_ONCE // 2), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(case=rounds(AT_ONCE))
def test_no_device_puts_more_energy_on_the_air_than_its_budget(case):
    state = None
    for round in range(2):  # the second knows what the first left
        reception, formed, on_air = send(case, round=round, state=state)
        assert_limit_kept(case, reception, formed, on_air)
        state = reception.state


def test_beams_of_two_blocks_share_a_channel_use_within_the_budget():
    """|b1 u_I + j b2 u_Q|^2 is not |b1 u_I|^2 + |b2 u_Q|^2 where the two beams turn the phase differently."""
    u = torch.tensor([[5, 1, 1], [1, 5, 1], [1, 1, 9], [2, 0.3, 0.1]], dtype=torch.float64)
    options = {"energy_budget": 10.0, "fading": Rayleigh(), "num_rx_antennas": 4, "power_control": FullPower()}
    uplink = AnalogUplink(receiver=Lmmse(alternations=1), **options)
    plan = uplink.plan(u, (1, 2), round=0, streams=Streams(74))
    on_air = energy_of(uplink.transmit(u, plan))
    assert on_air.amax().item() == pytest.approx(10.0, rel=1e-9)
    torch.testing.assert_close(plan.energy, on_air, rtol=1e-12, atol=0)
    apart = (plan.design.transceiver.precoder.abs() * plan.message.norms).square().sum(-1)
    assert apart.amax() < 0.6 * on_air.amax()  # counted symbol by symbol, most of it would be missing
