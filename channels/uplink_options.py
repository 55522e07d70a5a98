"""An uplink's options: checked once, when it is made, and shown as far as they are not the default."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from laser_wireless.channels import round_input
from laser_wireless.channels.fading import NoFading
from laser_wireless.channels.parameters import check_fields
from laser_wireless.channels.receivers import SingleAntenna
from torch import Tensor

if TYPE_CHECKING:
    from laser_wireless.channels.uplink import AnalogUplink


def check_options(uplink: AnalogUplink) -> None:
    """Refuse options that cannot be, or that do not go together.

    Raises:
        ValueError: a value out of range, or two options that exclude each other.
        TypeError: a value of another kind than its annotation says, or a component without its protocol's methods.
    """
    check_fields(uplink)
    round_input.check_options(
        energy_budget=uplink.energy_budget,
        noise_variance=uplink.noise_variance,
        bandwidth_hz=uplink.bandwidth_hz,
        link_gain=uplink.link_gain,
    )
    _check_coherence(uplink)
    _check_antennas(uplink)
    if uplink.ofdm is not None and uplink.bandwidth_hz is not None:
        raise ValueError("bandwidth_hz follows from ofdm (subcarriers times their spacing); leave it out")
    if uplink.ofdm is not None and uplink.coherence != "round":
        raise ValueError(
            "coherence is that of the ofdm grid (symbols_per_slot, subcarriers_per_block), leave it out; "
            f"got {uplink.coherence!r}"
        )
    if uplink.baseband == "real" and (uplink.by_samples or uplink.ofdm is not None):
        raise ValueError('ofdm, impairments, front_end and channel work on complex samples; leave baseband at "complex"')
    if uplink.channel is not None and not isinstance(uplink.fading, NoFading):
        raise ValueError("channel stands in place of fading; give one of them")
    if uplink.channel is not None and uplink.in_time_domain:
        raise ValueError("channel stands in place of the taps of an OFDM waveform in the time domain; give one of them")


def _check_coherence(uplink: AnalogUplink) -> None:
    if not isinstance(uplink.coherence, int):
        return
    if uplink.coherence < 1:
        raise ValueError(f"coherence must be a number of real symbols >= 1, or a word, got {uplink.coherence}")
    if uplink.baseband == "complex" and uplink.coherence % 2:
        raise ValueError(
            f"coherence must be an even number of real symbols on a complex baseband, got {uplink.coherence}; "
            'a channel use carries two, or set baseband="real"'
        )


def _check_antennas(uplink: AnalogUplink) -> None:
    if uplink.num_rx_antennas < 1:
        raise ValueError(f"num_rx_antennas must be an integer >= 1, got {uplink.num_rx_antennas}")
    if uplink.num_rx_antennas > 1 and isinstance(uplink.receiver, SingleAntenna):
        raise ValueError(
            f"num_rx_antennas = {uplink.num_rx_antennas} needs a receiver that combines them: "
            "Lmmse, ZeroForcing or MaximumRatio"
        )


def brief(options: Any) -> str:
    """A dataclass as its constructor would be written: only what differs from the default, functions by their names."""
    shown = [f"{f.name}={_shown(getattr(options, f.name))}" for f in fields(options) if not _is_default(options, f)]
    return f"{type(options).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    return value.__name__ if isfunction(value) else repr(value)


def _is_default(options: Any, field: Field[Any]) -> bool:
    value = getattr(options, field.name)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return value is default or (type(value) is type(default) and not isinstance(value, Tensor) and bool(value == default))
