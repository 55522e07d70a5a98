"""How do other libraries carry the same symbols? One builder for each: symbols -> a function that runs a round.

Each peer gets the symbols in the layout that it wants, converted beforehand, and does channel and noise only: no power
control, no combiner, no ledger. Sionna's generic blocks give each channel use or resource element a gain of its own.
A library that is not installed raises ImportError.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from laser_wireless.channels.propagation.sionna_runtime import load_sionna
from laser_wireless.channels.waveform import Ofdm

Build = Callable[[Tensor], Callable[[], Tensor]]

_NOISE_POWER = 2.0  # per channel use: variance 1 per real symbol
_CARRIER_HZ = 3.5e9
_NUM_ANTENNAS = 4
_PLACES: dict[str, Any] = {"device": "cpu", "precision": "single"}


def _uses(symbols: Tensor) -> Tensor:
    """Real symbols [K, S] as complex channel uses [K, ceil(S / 2)]."""
    padded = torch.nn.functional.pad(symbols, (0, symbols.shape[-1] % 2)) if symbols.shape[-1] % 2 else symbols
    return torch.view_as_complex(padded.unflatten(-1, (-1, 2)))


def sionna_awgn(symbols: Tensor) -> Callable[[], Tensor]:
    """The sum over the devices, then Sionna's AWGN block."""
    awgn, x = load_sionna().channel.AWGN(**_PLACES), _uses(symbols)
    return lambda: awgn(x.sum(0), _NOISE_POWER)


def sionna_flat_awgn(symbols: Tensor) -> Callable[[], Tensor]:
    """ApplyFlatFadingChannel, the devices as transmit antennas, with gains of 1."""
    apply, x = load_sionna().channel.ApplyFlatFadingChannel(**_PLACES), _uses(symbols).mT.contiguous()
    h = torch.ones(1, 1, x.shape[1], dtype=x.dtype).expand(x.shape[0], -1, -1)
    return lambda: apply(x, h, _NOISE_POWER)


def sionna_flat_rayleigh(symbols: Tensor) -> Callable[[], Tensor]:
    """The same with one Rayleigh gain for each device, drawn in each round."""
    channel, x = load_sionna().channel, _uses(symbols).mT.contiguous()
    apply = channel.ApplyFlatFadingChannel(**_PLACES)
    draw = channel.GenerateFlatFadingChannel(x.shape[1], 1, **_PLACES)
    return lambda: apply(x, draw(1).expand(x.shape[0], -1, -1), _NOISE_POWER)


def sionna_rayleigh_per_use(symbols: Tensor) -> Callable[[], Tensor]:
    """FlatFadingChannel: an independent gain for each device and channel use."""
    x = _uses(symbols).mT.contiguous()
    channel = load_sionna().channel.FlatFadingChannel(x.shape[1], 1, **_PLACES)
    return lambda: channel(x, _NOISE_POWER)


def sionna_tdl_ofdm(symbols: Tensor) -> Callable[[], Tensor]:
    """TDL-C for each device, its response on every resource element, and ApplyOFDMChannel."""
    channel, ofdm, x = load_sionna().channel, Ofdm(), _elements(symbols)
    num_devices, num_symbols = x.shape[1], x.shape[3]
    tdl = channel.tr38901.TDL("C", 1e-7, _CARRIER_HZ, min_speed=1.0, **_PLACES)
    frequencies = channel.subcarrier_frequencies(ofdm.num_subcarriers, ofdm.subcarrier_spacing_hz, **_PLACES)
    apply = channel.ApplyOFDMChannel(**_PLACES)

    def step() -> Tensor:
        a, tau = tdl(num_devices, num_symbols, 1 / ofdm.symbol_s)
        h = channel.cir_to_ofdm_channel(frequencies, a, tau)  # [K, 1, 1, 1, 1, T, F]
        return apply(x, h.transpose(0, 3), _NOISE_POWER)

    return step


def sionna_umi_ofdm(symbols: Tensor) -> Callable[[], Tensor]:
    """OFDMChannel over UMi with 4 antennas; the topology is drawn once."""
    sionna, x = load_sionna(), _elements(symbols)
    tr38901, num_devices = sionna.channel.tr38901, x.shape[1]

    def array(num_antennas: int) -> Any:
        return tr38901.PanelArray(
            num_rows_per_panel=1,
            num_cols_per_panel=num_antennas,
            polarization="single",
            polarization_type="V",
            antenna_pattern="omni",
            carrier_frequency=_CARRIER_HZ,
            **_PLACES,
        )

    model = tr38901.UMi(
        _CARRIER_HZ,
        "low",
        array(1),
        array(_NUM_ANTENNAS),
        "uplink",
        enable_pathloss=False,
        enable_shadow_fading=False,
        **_PLACES,
    )
    topology = sionna.channel.gen_single_sector_topology(
        1, num_devices, "umi", min_ut_velocity=1.0, max_ut_velocity=1.0, **_PLACES
    )
    model.set_topology(*topology)
    channel = sionna.channel.OFDMChannel(model, _grid(x), **_PLACES)
    return lambda: channel(x, _NOISE_POWER)


def sionna_rayleigh_ofdm(symbols: Tensor) -> Callable[[], Tensor]:
    """OFDMChannel over RayleighBlockFading: the path that any of Sionna's channel models takes."""
    channel, x = load_sionna().channel, _elements(symbols)
    model = channel.RayleighBlockFading(1, 1, x.shape[1], 1, **_PLACES)
    apply = channel.OFDMChannel(model, _grid(x), **_PLACES)
    return lambda: apply(x, _NOISE_POWER)


def _grid(x: Tensor) -> Any:
    """Sionna's resource grid of the elements x."""
    ofdm = Ofdm()
    return import_module("sionna.phy.ofdm").ResourceGrid(
        x.shape[3],
        ofdm.num_subcarriers,
        ofdm.subcarrier_spacing_hz,
        num_tx=x.shape[1],
        cyclic_prefix_length=round(ofdm.cyclic_prefix_s * ofdm.num_subcarriers * ofdm.subcarrier_spacing_hz),
        **_PLACES,
    )


def _elements(symbols: Tensor) -> Tensor:
    """Symbols on whole slots as Sionna lays them: complex [1, K, 1, OFDM symbols, subcarriers]."""
    return Ofdm().to_elements(_uses(symbols)).contiguous()[None, :, None]


def kaira_awgn(symbols: Tensor) -> Callable[[], Tensor]:
    """UplinkMACChannel of one AWGNChannel for all users, each of whom gets a fraction of the noise."""
    kaira, x = import_module("kaira.channels"), list(_uses(symbols))
    user = kaira.AWGNChannel(avg_noise_power=_NOISE_POWER / len(x))
    channel = kaira.UplinkMACChannel(user, num_users=len(x))
    return lambda: channel(x)


def kaira_flat_rayleigh(symbols: Tensor) -> Callable[[], Tensor]:
    """UplinkMACChannel of one FlatFadingChannel, whose gain holds for the message."""
    kaira, x = import_module("kaira.channels"), [row.unsqueeze(0) for row in _uses(symbols)]
    user = kaira.FlatFadingChannel("rayleigh", x[0].shape[-1], avg_noise_power=_NOISE_POWER / len(x))
    channel = kaira.UplinkMACChannel(user, num_users=len(x))
    return lambda: channel(x)
