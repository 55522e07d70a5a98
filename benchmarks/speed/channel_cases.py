"""Which channels does the speed command time, and which peers do the same job?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from torch import Tensor

from laser_wireless.benchmarks.speed.peers import (
    Build,
    kaira_awgn,
    kaira_flat_rayleigh,
    sionna_awgn,
    sionna_flat_awgn,
    sionna_flat_rayleigh,
    sionna_rayleigh_ofdm,
    sionna_rayleigh_per_use,
    sionna_tdl_ofdm,
    sionna_umi_ofdm,
)
from laser_wireless.channels import (
    AnalogUplink,
    Lmmse,
    Ofdm,
    Rayleigh,
    SionnaCell,
    Streams,
    TappedDelayLine,
    TruncatedInversion,
    UplinkState,
)

NUM_DEVICES = 16
_ENERGY_BUDGET = 1000.0


@dataclass(frozen=True, kw_only=True)
class ChannelCase:
    """One uplink and the peers that carry the same symbols over the same kind of channel, by name.

    largest: real symbols of each device, above which a round would need too much memory; no limit if None.
    """

    title: str
    uplink: AnalogUplink
    largest: int | None = None
    peers: Mapping[str, Build] = field(default_factory=dict)

    def rounds(self, symbols: Tensor) -> Callable[[], Tensor]:
        """A function that runs one round after another: plan, channel, noise, estimate, ledger."""
        streams, rounds = Streams(0), count()
        state: list[UplinkState | None] = [None]

        def step() -> Tensor:
            layout = (symbols.shape[-1],)
            reception = self.uplink.aggregate(symbols, layout, round=next(rounds), streams=streams, state=state[0])
            state[0] = reception.state
            return reception.estimate

        return step


CHANNEL_CASES = {
    "awgn": ChannelCase(
        title="AWGN",
        uplink=AnalogUplink(energy_budget=_ENERGY_BUDGET),
        peers={"Sionna AWGN": sionna_awgn, "Sionna flat": sionna_flat_awgn, "pykaira": kaira_awgn},
    ),
    "rayleigh": ChannelCase(
        title="Rayleigh, one gain a round, truncated inversion",
        uplink=AnalogUplink(energy_budget=_ENERGY_BUDGET, fading=Rayleigh(), power_control=TruncatedInversion()),
        peers={"Sionna OFDM": sionna_rayleigh_ofdm, "Sionna flat": sionna_flat_rayleigh, "pykaira": kaira_flat_rayleigh},
    ),
    "rayleigh-symbol": ChannelCase(
        title="Rayleigh, one gain a channel use, truncated inversion; up to 10^6 symbols, since all K S / 2 gains are kept",
        largest=1_000_000,
        uplink=AnalogUplink(
            energy_budget=_ENERGY_BUDGET,
            fading=Rayleigh(),
            power_control=TruncatedInversion(),
            coherence="symbol",
        ),
        peers={"Sionna flat": sionna_rayleigh_per_use},
    ),
    "ofdm-tdl": ChannelCase(
        title="OFDM over TDL-C (100 ns), truncated inversion",
        uplink=AnalogUplink(
            energy_budget=_ENERGY_BUDGET,
            fading=TappedDelayLine(profile="C", delay_spread_s=1e-7),
            power_control=TruncatedInversion(),
            ofdm=Ofdm(),
        ),
        peers={"Sionna OFDM": sionna_tdl_ofdm},
    ),
    "umi": ChannelCase(
        title="OFDM in a UMi cell, 4 antennas, LMMSE",
        uplink=AnalogUplink(
            energy_budget=_ENERGY_BUDGET,
            fading=SionnaCell(scenario="umi"),
            num_rx_antennas=4,
            receiver=Lmmse(),
            ofdm=Ofdm(),
        ),
        peers={"Sionna OFDM": sionna_umi_ofdm},
    ),
}
