"""One uplink of every family, with which every scheme must work: analog, with memory, hardware, digital, votes."""

from __future__ import annotations

from typing import Any

from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    BarrageJammer,
    CellGain,
    Clipping,
    DelayedCsi,
    DigitalBroadcast,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    GaussMarkov,
    LeastNoiseAllocation,
    Lmmse,
    Multipath,
    Ofdm,
    PhaseError,
    PilotCsi,
    PreviousScale,
    RandomDropout,
    Rayleigh,
    SparseQuantiser,
    TappedDelayLine,
    TruncatedInversion,
)

DOWNLINKS = {
    "free": None,
    "analog": AnalogBroadcast(energy_budget=30.0),
    "digital": DigitalBroadcast(energy_budget=300.0, symbols_per_parameter=3.0),
}
_TDL_C = Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=1e-7, doppler_hz=5.0, round_interval_s=1e-2))


def uplink_families(energy_budget: float = 100.0) -> dict[str, Any]:
    """Name -> uplink, made anew."""
    budget: dict[str, Any] = {"energy_budget": energy_budget}
    return {
        "awgn": AnalogUplink(**budget),
        "rayleigh blocks": AnalogUplink(**budget, fading=Rayleigh(), coherence="block", power_control=TruncatedInversion()),
        "memory, previous scale": AnalogUplink(**budget, fading=GaussMarkov(correlation=0.9), scale=PreviousScale()),
        "pilots, late": AnalogUplink(**budget, fading=GaussMarkov(correlation=0.9), csi=[PilotCsi(), DelayedCsi()]),
        "antennas": AnalogUplink(
            **budget,
            fading=Rayleigh(),
            num_rx_antennas=4,
            receiver=Lmmse(alternations=2),
            receiver_csi=PilotCsi(),
            allocation=LeastNoiseAllocation(),
        ),
        "ofdm": AnalogUplink(**budget, fading=_TDL_C, ofdm=Ofdm(num_subcarriers=12), power_control=TruncatedInversion()),
        "ofdm samples": AnalogUplink(**budget, fading=_TDL_C, ofdm=Ofdm(num_subcarriers=12, time_domain=True)),
        "hardware": AnalogUplink(
            **budget,
            fading=Rayleigh(),
            impairments=[PhaseError(rad=0.2), Clipping(saturation_db=3.0)],
            front_end=[BarrageJammer(power=0.1)],
        ),
        "dropout, cell": AnalogUplink(
            **budget, participation=RandomDropout(drop_probability=0.4), link_gain=CellGain(), bandwidth_hz=1e5
        ),
        "digital": DigitalUplink(**budget, fading=Rayleigh(), num_channel_uses=2000),
        "digital, sparse": DigitalUplink(
            **budget,
            quantiser=SparseQuantiser(),
            fixed_rate=0.5,
            num_channel_uses=2000,
            participation=RandomDropout(drop_probability=0.4),
        ),
        "fsk": FskMajorityVote(**budget, fading=Rayleigh()),
        "energies": EnergyDifference(**budget, fading=Rayleigh(), num_chips=2),
    }
