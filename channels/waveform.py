"""OFDM: how the message lies on slots and subcarriers, and the waveform in time with its cyclic prefix.

Resource elements are filled slot by slot, within a slot by blocks of subcarriers, within a block by OFDM symbols. Subcarrier
i of N has the baseband frequency (i - (N - 1) / 2) spacing. The transforms are unitary: a subcarrier has the energy of its
part of the samples, and noise CN(0, 2 sigma^2) per sample is CN(0, 2 sigma^2) per subcarrier. The prefix repeats the end of
a symbol; its energy is paid from the device's budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.carrier import Baseband
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid

__all__ = ["Ofdm"]

_LONGEST_FILTER = 16  # samples of the fractional delay filter to either side
_SHORTEST_PREFIX = 24  # samples, so that the filter is accurate
_KAISER_BETA = 8.0
_KAISER_PEAK = 427.56411572180474  # I_0(8)


@dataclass(frozen=True, kw_only=True)
@checked
class Ofdm:
    """Numerology of an OFDM uplink.

    Args:
        num_subcarriers: N, that carry symbols.
        subcarrier_spacing_hz: between neighbours; 1 / spacing is a symbol without its prefix.
        symbols_per_slot: OFDM symbols in a slot, over which gains hold still; 1 for a gain per OFDM symbol.
        subcarriers_per_block: over which gains hold still; 12 is a resource block, 1 a gain per subcarrier. Divides N.
        cyclic_prefix_s: seconds, >= 0; without a prefix whatever arrives late falls into the next symbol.
        time_domain: send the waveform sample by sample, through taps that hold still over a slot; the impairments then act
            on its samples. Otherwise each subcarrier is multiplied with its gain, which is the same within the prefix.
        fft_size: samples of a symbol; if None the smallest power of two that leaves an eighth of the band free and gives the
            prefix 24 samples.
        max_delay_s: longest path in the time domain, one OFDM symbol if None; longer ones are cut off.
    """

    num_subcarriers: int = 1200
    subcarrier_spacing_hz: float = 15e3
    symbols_per_slot: int = 14
    subcarriers_per_block: int = 12
    cyclic_prefix_s: float = 4.7e-6
    time_domain: bool = False
    fft_size: int | None = None
    max_delay_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_subcarriers", "symbols_per_slot", "subcarriers_per_block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.num_subcarriers % self.subcarriers_per_block:
            raise ValueError(
                f"subcarriers_per_block must divide num_subcarriers = {self.num_subcarriers}, "
                f"got {self.subcarriers_per_block}"
            )
        if not 0 < self.subcarrier_spacing_hz < math.inf:
            raise ValueError(f"subcarrier_spacing_hz must be finite and > 0, got {self.subcarrier_spacing_hz}")
        if not 0 <= self.cyclic_prefix_s <= 1 / self.subcarrier_spacing_hz:
            raise ValueError(
                f"cyclic_prefix_s must lie between 0 and one symbol, {1 / self.subcarrier_spacing_hz:.4g} s, "
                f"got {self.cyclic_prefix_s}"
            )
        if self.fft_size is not None and self.fft_size < self.num_subcarriers:
            raise ValueError(f"fft_size must be >= num_subcarriers = {self.num_subcarriers}, got {self.fft_size}")
        if self.max_delay_s is not None and not 0 <= self.max_delay_s < math.inf:
            raise ValueError(f"max_delay_s must be finite and >= 0, got {self.max_delay_s}")

    @property
    def num_samples(self) -> int:
        """Samples of a symbol without its prefix."""
        if self.fft_size is not None:
            return self.fft_size
        least = self.num_subcarriers * 8 / 7
        if self.cyclic_prefix_s > 0:
            least = max(least, _SHORTEST_PREFIX / (self.cyclic_prefix_s * self.subcarrier_spacing_hz))
        return 2 ** math.ceil(math.log2(least))

    @property
    def sample_rate_hz(self) -> float:
        """Samples per second."""
        return self.num_samples * self.subcarrier_spacing_hz

    @property
    def prefix_samples(self) -> int:
        """Samples of the prefix, rounded."""
        return round(self.cyclic_prefix_s * self.sample_rate_hz)

    @property
    def filter_reach(self) -> int:
        """Samples of the fractional delay filter to either side; a third of the prefix at most, which must hold it."""
        return min(_LONGEST_FILTER, max(1, self.prefix_samples // 3))

    @property
    def prefix_overhead(self) -> float:
        """Energy with prefix over energy without, for white symbols: >= 1."""
        return 1 + self.prefix_samples / self.num_samples

    @property
    def baseband(self) -> Baseband:
        """Complex: a resource element carries two real symbols."""
        return "complex"

    @property
    def symbol_s(self) -> float:
        """Seconds of a symbol with its prefix."""
        return (self.num_samples + self.prefix_samples) / self.sample_rate_hz

    def num_slots(self, num_symbols: int) -> int:
        """Slots that so many real symbols take."""
        return -(-num_symbols // (2 * self.symbols_per_slot * self.num_subcarriers))

    def seconds(self, num_symbols: int) -> float:
        """Duration of so many real symbols, in whole OFDM symbols."""
        full, rest = divmod(-(-num_symbols // 2), self.symbols_per_slot * self.num_subcarriers)
        in_block = self.symbols_per_slot * self.subcarriers_per_block
        rows = self.symbols_per_slot if rest > in_block else -(-rest // self.subcarriers_per_block)
        return (full * self.symbols_per_slot + rows) * self.symbol_s

    def grid(self, num_symbols: int) -> Grid:
        """The cells, each of subcarriers_per_block subcarriers and symbols_per_slot OFDM symbols."""
        return Grid(
            num_slots=self.num_slots(num_symbols),
            num_frequency_blocks=self.num_subcarriers // self.subcarriers_per_block,
            symbols_per_cell=2 * self.symbols_per_slot * self.subcarriers_per_block,
            slot_s=self.symbols_per_slot * self.symbol_s,
            block_hz=self.subcarriers_per_block * self.subcarrier_spacing_hz,
        )

    def cells(self, layout: tuple[int, ...]) -> Grid:
        """The cells of a layout's symbols; blocks do not matter."""
        return self.grid(sum(layout))

    def on_air_s(self, num_symbols: int, pilot_uses: int) -> float:
        """Duration of so many real symbols and of pilots in OFDM symbols of their own."""
        return self.seconds(num_symbols) + -(-pilot_uses // self.num_subcarriers) * self.symbol_s

    def to_elements(self, x: Tensor) -> Tensor:
        """Put complex symbols [..., n] on resource elements [..., OFDM symbols, N]; the last slot is filled with zeros."""
        per_slot = self.symbols_per_slot * self.num_subcarriers
        x = torch.nn.functional.pad(x, (0, -x.shape[-1] % per_slot))
        cells = x.unflatten(-1, (-1, self.num_subcarriers // self.subcarriers_per_block, *self._cell))
        return cells.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    def from_elements(self, elements: Tensor, num_uses: int) -> Tensor:
        """Read the first `num_uses` complex symbols [..., n] back from resource elements [..., OFDM symbols, N]."""
        rows = elements.unflatten(-2, (-1, self.symbols_per_slot))
        cells = rows.unflatten(-1, (-1, self.subcarriers_per_block)).transpose(-3, -2)
        return cells.flatten(-4)[..., :num_uses]

    @property
    def _cell(self) -> tuple[int, int]:
        return self.symbols_per_slot, self.subcarriers_per_block

    def modulate(self, elements: Tensor) -> Tensor:
        """Turn resource elements [..., OFDM symbols, N] into samples [..., OFDM symbols, prefix + samples]."""
        spectrum = torch.nn.functional.pad(elements, (0, self.num_samples - self.num_subcarriers))
        body = torch.fft.ifft(spectrum.roll(-(self.num_subcarriers // 2), -1), norm="ortho")
        extended = torch.cat([body[..., self.num_samples - self.prefix_samples :], body], dim=-1)
        return extended * self._shift(elements, -self.prefix_samples, self.num_samples)

    def demodulate(self, samples: Tensor, advance: int = 0) -> Tensor:
        """Turn samples [..., OFDM symbols, prefix + samples] into resource elements [..., OFDM symbols, N].

        Args:
            samples: of whole OFDM symbols.
            advance: samples by which the window starts before the end of the prefix, the whole prefix at most; undone in
                the subcarriers' phase.
        """
        advance = min(advance, self.prefix_samples)
        start = self.prefix_samples - advance
        window = samples[..., start : start + self.num_samples]
        window = window * self._shift(samples, -advance, self.num_samples - advance).conj()
        elements = torch.fft.fft(window, norm="ortho").roll(self.num_subcarriers // 2, -1)[..., : self.num_subcarriers]
        if not advance:
            return elements
        bins = torch.arange(self.num_subcarriers, device=samples.device, dtype=torch.float64) - self.num_subcarriers // 2
        turns = bins * advance / self.num_samples
        return elements * torch.polar(torch.ones_like(turns), 2 * math.pi * turns).to(samples.dtype)

    def _shift(self, like: Tensor, start: int, end: int) -> Tensor:
        """Rotation by half a subcarrier where their number is even: the band lies evenly around the carrier."""
        if self.num_subcarriers % 2:
            return torch.ones(end - start, dtype=like.dtype, device=like.device)
        time = torch.arange(start, end, dtype=torch.float64, device=like.device)
        angle = math.pi * time / self.num_samples
        return torch.polar(torch.ones_like(angle), angle).to(like.dtype)

    def taps(self, a: Tensor, tau: Tensor) -> Tensor:
        """Taps of the paths at the sample rate, the first at delay -filter_reach samples: the filter's precursors.

        Fractional delays are windowed sincs. The larger fft_size, the more samples they may have and the closer the response
        within the occupied band is to the exact one; whole delays are exact. A prefix of fewer than six samples cannot hold
        a filter: delays are then interpolated linearly, which has no precursors. Amplitudes are those at the carrier.

        Args:
            a: complex [..., K, N_r, P, T]; tau: real [..., K, P] or [..., K, N_r, P], seconds.

        Returns:
            complex [..., K, N_r, T, L].
        """
        longest = 1 / self.subcarrier_spacing_hz if self.max_delay_s is None else self.max_delay_s
        reach = self.filter_reach
        last = math.ceil(longest * self.sample_rate_hz) + reach
        index = torch.arange(-reach, last + 1, device=tau.device, dtype=torch.float64)
        distance = index - tau.double().unsqueeze(-1) * self.sample_rate_hz
        if reach > 1:
            inside = (1 - (distance / reach).square()).clamp(min=0)
            window = torch.special.i0(_KAISER_BETA * inside.sqrt()) / _KAISER_PEAK
            kernel = torch.sinc(distance) * torch.where(inside > 0, window, 0)  # [..., (N_r,) P, L]
        else:
            kernel = (1 - distance.abs()).clamp(min=0)
        if kernel.ndim < a.ndim:
            kernel = kernel.unsqueeze(-3)
        return a.transpose(-1, -2) @ kernel.to(a.dtype)


def convolve(samples: Tensor, taps: Tensor, symbols_per_slot: int) -> Tensor:
    """Send the devices' OFDM symbols through their taps and add them up, by overlap-add.

    Args:
        samples: complex [..., K, M, n], M OFDM symbols of n samples each.
        taps: complex [..., K, N_r, T, L], constant over symbols_per_slot symbols.
        symbols_per_slot: M / T.

    Returns:
        complex [..., N_r, M n + L - 1], the stream that arrives, the first tap being at delay 0.
    """
    num_symbols, length = samples.shape[-2:]
    num_slots, num_taps = taps.shape[-2:]
    size = 2 ** math.ceil(math.log2(length + num_taps - 1))
    spectra = torch.fft.fft(samples, n=size).unflatten(-2, (num_slots, symbols_per_slot))  # [..., K, T, m, size]
    responses = torch.fft.fft(taps, n=size)  # [..., K, N_r, T, size]
    total = torch.einsum("...ktmf,...krtf->...rtmf", spectra, responses)
    pieces = torch.fft.ifft(total).flatten(-3, -2)[..., : length + num_taps - 1]  # [..., N_r, M, n + L - 1]
    stream = pieces.new_zeros(*pieces.shape[:-2], num_symbols * length + num_taps - 1)
    reach = -(-(length + num_taps - 1) // length)  # OFDM symbols over which a piece extends
    padded = torch.nn.functional.pad(pieces, (0, reach * length - pieces.shape[-1]))
    parts = padded.unflatten(-1, (reach, length))
    out = torch.nn.functional.pad(stream, (0, reach * length))
    for step in range(reach):
        shifted = parts[..., step, :].flatten(-2)
        out = out + torch.nn.functional.pad(shifted, (step * length, out.shape[-1] - step * length - shifted.shape[-1]))
    return out[..., : stream.shape[-1]]
