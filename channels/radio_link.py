"""A radio link: fading, large-scale gain, antennas and noise, drawn alike for every uplink and downlink.

    y = sqrt(l_k) h_k x_k + n,    n ~ N(0, sigma^2) per REAL symbol and antenna

h_k is the small-scale gain with E|h|^2 = 1, l_k the large-scale power gain, constant over a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.draws import as_fading, draw_gains
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.paths import draw_paths, frequency_response
from laser_wireless.channels.round import Round
from laser_wireless.channels.segments import Grid, Segments
from laser_wireless.channels.signals import broadcast, root, wide
from laser_wireless.channels.waveform import Ofdm


class LargeScale(Protocol):
    """Draws the large-scale power gains of a run; a plain function will do."""

    def __call__(self, num_devices: int, /, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices], linear power gains >= 0; the generator comes freshly seeded for the run."""
        ...


LinkGain: TypeAlias = list[float] | Tensor | LargeScale
"""Large-scale power gains [K], or a function (num_devices, *, generator) that draws them once for a run."""


class Gains(NamedTuple):
    """The gains of a round between K devices and N_r antennas.

    cells: small-scale h of the grid's cells, real or complex, broadcastable to [..., K, N_r, C].
    link_gain: l, float64 [K]; None for 1.
    fades: whether there is anything to know: gains were drawn or given.
    state: "fading", of a process for the next round; empty without memory.
    taps: sqrt(l) h of a waveform in time, complex [..., K, N_r, T, L]; None where cells are all that is needed.
    """

    num_devices: int
    num_rx_antennas: int
    cells: Tensor
    link_gain: Tensor | None
    fades: bool
    state: dict[str, dict[str, Tensor]]
    taps: Tensor | None = None

    def over(self, segments: Segments, cells: Tensor) -> Tensor:
        """Spread gains of cells, true or estimated, over the segments and multiply them with sqrt(l): [..., K, N_r, G]."""
        h = segments.gains_of(cells)
        return h if self.link_gain is None else h * root(self.link_gain)[:, None, None]

    def of_every_device(self) -> Tensor:
        """Small-scale gains as complex numbers of every device and antenna: [..., K, N_r, C], a view where it can be."""
        h = self.cells.to(torch.promote_types(self.cells.dtype, torch.complex64))
        return h.expand(*h.shape[:-3], self.num_devices, self.num_rx_antennas, -1)

    def powers(self) -> Tensor:
        """l |h|^2 summed over the antennas: float64, broadcastable to [..., K, C]."""
        h = self.cells
        power = wide(h).abs().square().expand(*h.shape[:-2], self.num_rx_antennas, h.shape[-1]).sum(-2)
        return power if self.link_gain is None else power * self.link_gain.unsqueeze(-1)


@dataclass(frozen=True, kw_only=True)
class RadioLink:
    """The radio channel between devices and base station, as far as transmitters do not shape it.

    Args:
        fading: of the small-scale gains; see `channels.fading`.
        link_gain: large-scale power gains, one for each device, or a function that draws them once for a run; 1 if None.
        num_rx_antennas: N_r.
        noise_variance: sigma^2 per REAL symbol and antenna, >= 0; a number or a tensor over the leading axes.
        waveform: OFDM that is sent sample by sample and needs taps; None where gains of cells will do.
        stream: of the random draws.
    """

    fading: FadingModel = field(default_factory=NoFading)
    link_gain: LinkGain | None = None
    num_rx_antennas: int = 1
    noise_variance: float | Tensor = 1.0
    waveform: Ofdm | None = None
    stream: str = "gains"

    def __post_init__(self) -> None:
        variance = torch.as_tensor(self.noise_variance, dtype=torch.float64).detach()
        if not bool(((variance >= 0) & variance.isfinite()).all()):
            raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {self.noise_variance}")
        if self.num_rx_antennas < 1:
            raise ValueError(f"num_rx_antennas must be an integer >= 1, got {self.num_rx_antennas}")
        if self.link_gain is None or callable(self.link_gain):
            return
        gain = torch.as_tensor(self.link_gain, dtype=torch.float64).detach()
        if gain.ndim != 1 or not bool(((gain >= 0) & gain.isfinite()).all() and (gain > 0).any()):
            raise ValueError(
                "link_gain must hold one finite power gain >= 0 for each device (linear, not dB), not all 0, got "
                f"{self.link_gain}"
            )

    def noise_for(self, symbols: Tensor) -> Tensor:
        """sigma^2 as float64 [...] on the device of the symbols."""
        return constant(self.noise_variance, dtype=torch.float64, device=symbols.device)

    def draw(
        self,
        num_devices: int,
        grid: Grid,
        now: Round,
        *,
        like: Tensor,
        state: dict[str, Tensor] | None,
        given: Tensor | None = None,
    ) -> Gains:
        """Draw the gains of a round.

        Args:
            num_devices: K.
            grid: where the symbols lie.
            now: the round; its streams fix the draws.
            like: real, gives dtype and device where nothing fades.
            state: of a fading process after the last round.
            given: gains drawn elsewhere, [..., K, C], or [..., K, N_r, C] with several antennas.

        Raises:
            TypeError, ValueError: what a function or a model of the user's returned, or gave, does not fit.
        """
        gains = Gains(
            num_devices=num_devices,
            num_rx_antennas=self.num_rx_antennas,
            cells=torch.ones(1, 1, 1, dtype=like.dtype, device=like.device),
            link_gain=large_scale(self.link_gain, num_devices, now, like.device),
            fades=self._fades,
            state={},
        )
        if given is not None:
            return gains._replace(cells=self._given(given, num_devices, grid), fades=True)
        return self._small_scale(gains, grid, now, state)

    @cached_property
    def _fades(self) -> bool:
        return not isinstance(self.fading, NoFading)

    @cached_property
    def _small_scale(self) -> Callable[[Gains, Grid, Round, dict[str, Tensor] | None], Gains]:
        """How the small-scale gains of a round come about."""
        if self.waveform is not None:
            return partial(_draw_taps, self, self.waveform)
        return partial(_draw_cells, self) if self._fades else _no_fading

    def _given(self, gains: Tensor, num_devices: int, grid: Grid) -> Tensor:
        """Check gains that the caller gives and return them as [..., K, N_r, C]."""
        if self.waveform is not None:
            raise ValueError(
                "gains cannot be given for an OFDM waveform in the time domain, which needs taps; give a fading"
            )
        single = self.num_rx_antennas == 1
        wanted = (num_devices, grid.num_cells) if single else (num_devices, self.num_rx_antennas, grid.num_cells)
        names = "[..., num_devices, T F]" if single else "[..., num_devices, num_rx_antennas, T F]"
        found = gains.shape[-len(wanted) :]
        if gains.ndim < len(wanted) or any(n not in (1, size) for n, size in zip(found, wanted, strict=True)):
            raise ValueError(
                f"gains must be {names} = [..., {', '.join(map(str, wanted))}] (axes of length 1 are broadcast), "
                f"got shape {list(gains.shape)}"
            )
        return gains.unsqueeze(-2) if single else gains


def _no_fading(gains: Gains, grid: Grid, now: Round, state: dict[str, Tensor] | None) -> Gains:
    """h = 1."""
    return gains


def _draw_cells(radio: RadioLink, gains: Gains, grid: Grid, now: Round, state: dict[str, Tensor] | None) -> Gains:
    """A gain for every cell; of several runs each draws by itself, which a law with memory cannot."""
    after: dict[str, Tensor] = {}

    def draw(generator: torch.Generator) -> Tensor:
        nonlocal after
        antennas = radio.num_rx_antennas
        options: dict[str, Any] = {"round": now.index, "num_rx_antennas": antennas, "state": state}
        h, after = draw_gains(radio.fading, gains.num_devices, grid, generator=generator, **options)
        return h

    cells = now.drawn(radio.stream, gains.cells.device, draw)
    return gains._replace(cells=cells, state={"fading": after} if after else {})


def _draw_taps(radio: RadioLink, ofdm: Ofdm, gains: Gains, grid: Grid, now: Round, state: dict[str, Tensor] | None) -> Gains:
    """Taps of the waveform, and the gains of the cells that follow from the same paths."""
    fading = as_fading(radio.fading)
    if isinstance(fading, Multipath):
        gains, taps = _taps_of_paths(fading, ofdm, gains, grid, now, radio.stream, state)
    else:
        flat = Grid(num_slots=grid.num_slots, symbols_per_cell=grid.symbols_per_cell, slot_s=grid.slot_s)
        gains = _draw_cells(radio, gains, flat, now, state)
        h = gains.of_every_device().expand(-1, -1, grid.num_slots)
        gains, taps = gains._replace(cells=h.repeat_interleave(grid.num_frequency_blocks, -1)), h.unsqueeze(-1)
    return gains._replace(taps=taps if gains.link_gain is None else taps * root(gains.link_gain)[:, None, None, None])


def _taps_of_paths(
    fading: Multipath,
    ofdm: Ofdm,
    gains: Gains,
    grid: Grid,
    now: Round,
    stream: str,
    state: dict[str, Tensor] | None,
) -> tuple[Gains, Tensor]:
    device = gains.cells.device
    a, tau, after = draw_paths(
        fading.paths,
        gains.num_devices,
        gains.num_rx_antennas,
        torch.arange(grid.num_slots, dtype=torch.float64, device=device) * (ofdm.symbols_per_slot * ofdm.symbol_s),
        round=now.index,
        generator=now.generator(stream, device),
        state=state or None,
    )
    blocks = torch.arange(grid.num_frequency_blocks, dtype=torch.float64, device=device)
    block_hz = ofdm.subcarriers_per_block * ofdm.subcarrier_spacing_hz
    h = frequency_response(a, tau, (blocks - (grid.num_frequency_blocks - 1) / 2) * block_hz)
    return gains._replace(cells=h.flatten(-2), state={"fading": after} if after else {}), ofdm.taps(a, tau)


def large_scale(link_gain: LinkGain | None, num_devices: int, now: Round, device: torch.device) -> Tensor | None:
    """Large-scale power gains float64 [K], the same in every round of a run; None for 1.

    Raises:
        ValueError: not one real number for each device.
    """
    if link_gain is None:
        return None
    name = ""
    if callable(link_gain):
        name = f"{getattr(link_gain, '__name__', None) or repr(link_gain)} "
        drawn = link_gain(num_devices, generator=now.of_one_run.generator("topology", 0, device))
    else:
        drawn = constant(link_gain, dtype=torch.float64, device=device)
    if not isinstance(drawn, Tensor) or drawn.shape != (num_devices,) or drawn.is_complex():
        found = f"{drawn.dtype} {list(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(f"link_gain {name}must hold one real power gain for each of the {num_devices} devices, got {found}")
    return drawn.double()


def receiver_noise(like: Tensor, noise_variance: Tensor, now: Round) -> Tensor:
    """Draw white Gaussian noise of a round, independent for every real symbol and leading index.

    Args:
        like: real [..., S]; gives shape, dtype and device.
        noise_variance: float64, broadcastable to the leading axes [...].
        now: gives the draws ("noise"), a run's own ones where several are computed together.

    Returns:
        n: real [..., S], each entry N(0, noise_variance); with the leading axes of both.
    """
    shape = broadcast(like.shape, noise_variance.unsqueeze(-1).shape)
    of_a_run = shape[now.num_run_axes :]
    n = now.drawn(
        "noise",
        like.device,
        lambda generator: torch.randn(of_a_run, dtype=like.dtype, device=like.device, generator=generator),
    )
    return n.mul_(noise_variance.sqrt().to(like.dtype).unsqueeze(-1))
