"""Quantisers: a real message of S symbols becomes exactly as many bits as a device may send.

The allowance differs from device to device and is a tensor, so that levels and masks are tensor arithmetic. Everything a
receiver needs is counted: scales, positions of entries, one value per entry. Only a pseudo-random choice of entries is free,
since both sides draw it from the run's seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked

_EXPONENT_BITS = 8  # of a scale: magnitudes 2^-126 to 2^127, and 0
_SMALLEST, _LARGEST = 2.0**-126, 2.0**127


class Quantised(NamedTuple):
    """Messages as the receiver reads them if every bit arrives.

    values: like the symbols, [..., K, S].
    bits: float64 [..., K], whole numbers, never above the allowance.
    sent: bool [..., K, B], blocks for which the device's bits sufficed.
    widths: uint8 [..., K, S], bits spent on the value of each symbol; the other bits are scales and positions.
    variance: float64 [..., K, B], of the values' error per symbol, as far as a receiver knows it; None if it does not.
    """

    values: Tensor
    bits: Tensor
    sent: Tensor
    widths: Tensor
    variance: Tensor | None


class Quantiser(Protocol):
    """Turns messages into bits and back."""

    def __call__(self, symbols: Tensor, layout: tuple[int, ...], bits: Tensor, *, generator: torch.Generator) -> Quantised:
        """Quantise each device's message.

        Args:
            symbols: float32 or float64 [..., K, S].
            layout: symbols of each block.
            bits: float64 [..., K], whole numbers, finite, allowed to each device.
            generator: of the random choices that sender and receiver share, and of the dither.
        """
        ...


class _Block(NamedTuple):
    """One block of a quantised message: as in `Quantised`, with one entry per device."""

    values: Tensor
    bits: Tensor
    sent: Tensor
    widths: Tensor
    variance: Tensor | None


@dataclass(frozen=True, kw_only=True)
@checked
class StochasticQuantiser:
    """Unbiased: random rounding to 2^b levels between -c and c, c the largest magnitude of the block.

    As QSGD (Alistarh et al., arXiv:1610.02132) with the largest magnitude in place of the norm. An entry between two levels
    a step D = 2 c / (2^b - 1) apart is rounded up with probability f, its distance from the lower one in steps: error
    variance D^2 f (1 - f). With fewer than least_bits per entry, m entries of N are chosen at random and multiplied by
    N / m: error variance (N / m) (u^2 + D^2 f (1 - f)) - u^2. For schemes without error feedback: with it, an error that
    may be larger than the message would grow.

    `Quantised.variance` puts 1/6 for f (1 - f) and the decoded values' mean square for u^2.

    Args:
        per: one scale for each "block" of the message, or for the whole "message". Blocks share the bits by their sizes,
            each its scale first where bits are enough for every entry.
        scale_bits: of a scale, 8 of them for its exponent; rounded up, so that no entry exceeds it.
        least_bits: of an entry that is sent.
        max_bits: of an entry; more are not used, so that an error of c 2^-max_bits remains at any energy.
    """

    per: Literal["block", "message"] = "block"
    scale_bits: int = 16
    least_bits: int = 2
    max_bits: int = 16

    def __post_init__(self) -> None:
        _check(self.scale_bits, self.max_bits, least=self.least_bits)

    def __call__(self, symbols: Tensor, layout: tuple[int, ...], bits: Tensor, *, generator: torch.Generator) -> Quantised:
        """Quantise each device's message; see `Quantiser`."""
        return _by_blocks(self._block, self.per, symbols, layout, bits, generator, self.scale_bits, self.least_bits)

    def _block(self, u: Tensor, allowance: Tensor, generator: torch.Generator) -> _Block:
        size = u.shape[-1]
        payload = (allowance - self.scale_bits).clamp(min=0)
        width = (payload / size).floor().clamp(self.least_bits, self.max_bits)
        count = (payload / width).floor().clamp(max=size)
        sent = count > 0

        levels = width.exp2() - 1
        scale = rounded_scale(u.abs().amax(-1), self.scale_bits, up=True)
        zero = scale == 0
        unit = u / scale.masked_fill(zero, 1).to(u.dtype).unsqueeze(-1)
        steps = levels.to(u.dtype).unsqueeze(-1)
        place = torch.minimum(((unit + 1) / 2 * steps).clamp(min=0), steps)
        dither = torch.rand(u.shape, dtype=u.dtype, device=u.device, generator=generator)
        level = torch.minimum((place + dither).floor(), steps)
        growth = size / count.masked_fill(~sent, 1)
        amplitude = (scale * growth).to(u.dtype).unsqueeze(-1)
        chosen = _random_subset(count, size, generator)
        values = torch.where(chosen, (2 * level / steps - 1) * amplitude, 0)

        step = 2 * scale / levels
        power = (values.double().square().mean(-1) / growth - step.square() / 6).clamp(min=0)
        variance = growth * step.square() / 6 + (growth - 1) * power
        widths = chosen * width.to(torch.uint8).unsqueeze(-1)
        return _Block(values, (self.scale_bits + count * width) * sent, sent, widths, variance * sent)


@dataclass(frozen=True, kw_only=True)
@checked
class SparseQuantiser:
    """Biased, never further from the message than zero is: for schemes with error feedback.

    With few bits, the m largest entries are sent by position and sign: ceil(log2 (N choose m)) + m bits, m as large as
    allowed; in the manner of D-DSGD (Amiri, Gunduz, arXiv:1901.00844, section III), which sends one sign only. With N bits
    every entry is sent by its sign if that leaves less error. With 2 N bits and more, every entry is rounded to the
    nearest of 2^b - 1 levels, clipped at 0.6 b root mean squares below 8 bits, near the optimum for normal entries. In
    each case the receiver multiplies the codes c by the scale that leaves the least error, <u, c> / <c, c>. The error is
    not noise of known variance: `Quantised.variance` is None. Entries are sorted, which takes most of the time.

    Args:
        per: one scale and one choice of entries for each "block" of the message, or for the whole "message". Blocks share
            the bits as with `StochasticQuantiser`.
        scale_bits: of a scale, 8 of them for its exponent; one more bit per block tells signs of all entries from signs
            of some.
        max_bits: of an entry.
    """

    per: Literal["block", "message"] = "block"
    scale_bits: int = 16
    max_bits: int = 16

    def __post_init__(self) -> None:
        _check(self.scale_bits, self.max_bits, least=1)

    def __call__(self, symbols: Tensor, layout: tuple[int, ...], bits: Tensor, *, generator: torch.Generator) -> Quantised:
        """Quantise each device's message; see `Quantiser`."""
        return _by_blocks(self._block, self.per, symbols, layout, bits, generator, self.scale_bits + 1, 2)

    def _block(self, u: Tensor, allowance: Tensor, generator: torch.Generator) -> _Block:
        size = u.shape[-1]
        payload = (allowance - self.scale_bits - 1).clamp(min=0)
        peak = u.abs().amax(-1, keepdim=True)
        unit = u / peak.masked_fill(peak == 0, 1)

        width = (payload / size).floor().clamp(max=self.max_bits)  # of each entry, if all are sent
        fine = width >= 2
        count = most_signs(payload, size)  # entries that can be sent by position and sign
        largest, better = _largest(unit, count)
        dense = fine | ((payload >= size) & ~better)
        chosen = largest | dense.unsqueeze(-1)
        signs = torch.where(unit >= 0, 1, -1).to(u.dtype) * chosen
        codes = torch.where(fine.unsqueeze(-1), _nearest_levels(unit, width.unsqueeze(-1)), signs)

        energy = codes.double().square().sum(-1)
        best = (unit.double() * codes).sum(-1) / energy.masked_fill(energy == 0, 1)
        scale = rounded_scale(best * peak.squeeze(-1), self.scale_bits, up=False)
        each = torch.where(fine, width, 1)
        positions = torch.where(dense, 0, log2_binomial(size, count).ceil())
        number = torch.where(dense, size, count)
        sent = number > 0
        used = (self.scale_bits + 1 + positions + number * each) * sent
        values = codes * scale.to(u.dtype).unsqueeze(-1)
        return _Block(values, used, sent, chosen * each.to(torch.uint8).unsqueeze(-1), None)


def _largest(unit: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The `count` entries largest in magnitude, and whether their signs alone say more than the signs of all.

    m signs with one size leave ||u||^2 - (sum of the m magnitudes)^2 / m.

    Args:
        unit: real [..., N].
        count: m, float64 [...], whole numbers.

    Returns:
        largest: bool [..., N]. better: bool [...].
    """
    size = unit.shape[-1]
    magnitudes = unit.abs()
    order = torch.argsort(magnitudes, dim=-1, descending=True, stable=True)
    in_order = torch.arange(size, device=unit.device) < count.unsqueeze(-1)
    largest = torch.zeros_like(in_order).scatter(-1, order, in_order)
    some, every = (magnitudes * largest).double().sum(-1), magnitudes.double().sum(-1)
    return largest, some.square() / count.clamp(min=1) > every.square() / size


def _nearest_levels(unit: Tensor, width: Tensor) -> Tensor:
    """Round numbers in [-1, 1] to whole multiples of a step, 2^(b-1) - 1 at most to either side.

    Args:
        unit: real [..., N], the largest magnitude being 1.
        width: b, float64 [..., 1]; 2 or more where the result is used.
    """
    levels = ((width - 1).exp2() - 1).clamp(min=1).to(unit.dtype)
    rms = unit.double().square().mean(-1, keepdim=True).sqrt()
    loading = torch.where(width >= 8, 1, (0.6 * width * rms).clamp(max=1)).to(unit.dtype)
    rounded = (unit / loading.masked_fill(loading == 0, 1) * levels).round()
    return torch.maximum(torch.minimum(rounded, levels), -levels)


def rounded_scale(value: Tensor, scale_bits: int, *, up: bool) -> Tensor:
    """Round numbers >= 0 to 8 bits of exponent and scale_bits - 8 of mantissa: float64.

    Outside 2^-126 .. 2^127 they become the nearest of these two; 0 stays 0.

    Args:
        value: real, any shape.
        scale_bits: 8 or more.
        up: never below the value (but for one above 2^127); otherwise to the nearest.
    """
    within = value.double().clamp(_SMALLEST, _LARGEST)
    mantissa, exponent = torch.frexp(within)  # in [1/2, 1): the first bit is always set
    fraction = scale_bits - _EXPONENT_BITS + 1
    steps = mantissa * 2**fraction
    whole = steps.ceil() if up else steps.round()
    return (whole * (exponent - fraction).double().exp2()).masked_fill(value == 0, 0)


def log2_binomial(size: int, count: Tensor) -> Tensor:
    """log2 (size choose count): float64, bits that name a subset."""
    total = torch.full_like(count, size)
    natural = (total + 1).lgamma() - (count + 1).lgamma() - (total - count + 1).lgamma()
    return (natural / math.log(2)).clamp(min=0)


def most_signs(payload: Tensor, size: int) -> Tensor:
    """Largest m <= 2 size / 3 with ceil(log2 (size choose m)) + m <= payload: float64, like payload.

    Beyond 2 size / 3 the cost of m signs and their positions falls again. Found by halving, in tensors.
    """
    low = torch.zeros_like(payload)
    high = torch.full_like(payload, (2 * size) // 3 if size > 1 else 1)
    for _ in range(size.bit_length() + 1):
        middle = ((low + high + 1) / 2).floor()
        fits = log2_binomial(size, middle).ceil() + middle <= payload
        low, high = torch.where(fits, middle, low), torch.where(fits, high, torch.maximum(middle - 1, low))
    return low


def _random_subset(count: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Exactly count [...] of `size` entries, each equally likely: bool [..., size].

    One permutation for all, entered at an independent point by each: subsets of two devices are independent entry by entry.
    """
    start = torch.rand(count.shape, dtype=torch.float64, device=count.device, generator=generator).mul(size).floor()
    place = torch.randperm(size, device=count.device, generator=generator)
    return (place + start.long().unsqueeze(-1)) % size < count.unsqueeze(-1)


def _by_blocks(
    rule: Callable[[Tensor, Tensor, torch.Generator], _Block],
    per: str,
    symbols: Tensor,
    layout: tuple[int, ...],
    bits: Tensor,
    generator: torch.Generator,
    header: int,
    least_bits: int,
) -> Quantised:
    """Quantise block after block, each with its fraction of the bits: whole numbers that sum to the allowance.

    Shares go by size; once least_bits for every entry remain beside a header for each block, headers are given out first, so
    that small blocks are sent as well.
    """
    bits = bits.expand(symbols.shape[:-1])
    if per == "message":
        whole = rule(symbols, bits, generator)
        spread = whole.sent.unsqueeze(-1).expand(*whole.sent.shape, len(layout))
        variance = None if whole.variance is None else whole.variance.unsqueeze(-1).expand(spread.shape)
        return Quantised(whole.values, whole.bits, spread, whole.widths, variance)
    num_symbols = symbols.shape[-1]
    own = torch.where(bits >= len(layout) * header + num_symbols * least_bits, header, 0)
    shared = bits - len(layout) * own
    blocks, end, before = [], 0, torch.zeros_like(bits)
    for u in torch.split_with_sizes(symbols, list(layout), -1):
        end += u.shape[-1]
        until = (shared * (end / num_symbols)).floor()
        blocks.append(rule(u, until - before + own, generator))
        before = until
    variances = [block.variance for block in blocks if block.variance is not None]
    return Quantised(
        torch.cat([block.values for block in blocks], -1),
        torch.stack([block.bits for block in blocks]).sum(0),
        torch.stack([block.sent for block in blocks], -1),
        torch.cat([block.widths for block in blocks], -1),
        torch.stack(variances, -1) if variances else None,
    )


def _check(scale_bits: int, max_bits: int, *, least: int) -> None:
    if not _EXPONENT_BITS <= scale_bits <= 32:
        raise ValueError(f"scale_bits must be an integer from {_EXPONENT_BITS} to 32, got {scale_bits}")
    if not 1 <= least <= max_bits <= 24:
        raise ValueError(
            f"bits of an entry must be integers with 1 <= least_bits <= max_bits <= 24, got {least} and {max_bits}"
        )
