"""Numbers as they stand in print: as many digits as their interval allows, a true minus sign."""

from __future__ import annotations

import math

PLUS_MINUS, MINUS, INFINITY = "\N{PLUS-MINUS SIGN}", "\N{MINUS SIGN}", "\N{INFINITY}"
_OF_INTERVALS, _ALONE = 2, 3  # significant digits of half an interval, and of a number without one
_MOST = 8  # decimals
_NARROW = 0.4  # dB, of an interval that needs two decimals


def with_half_width(mean: float, half: float) -> str:
    """A mean and half its interval, such as "0.203 ± 0.014": two digits of the half width; the mean alone without one."""
    if not math.isfinite(mean):
        return "diverged" if math.isinf(mean) else "missing"
    if not math.isfinite(half):
        return significant(mean)
    decimals = _decimals(half, _OF_INTERVALS) if half else _decimals(mean, _ALONE)
    return f"{fixed(mean, decimals)} {PLUS_MINUS} {fixed(half, decimals)}"


def with_ends(value: float, low: float, high: float) -> str:
    """Decibels with the ends of their interval, such as "1.2 [−2.6, 5.1]": one decimal, two for a narrow interval.

    An interval may be open to a side, such as "1.2 [−2.6, ∞]"; with an end that is not known there is none.
    """
    if math.isnan(low) or math.isnan(high):
        return fixed(value, 1)
    decimals = 2 if high - low < _NARROW else 1
    return f"{fixed(value, decimals)} [{fixed(low, decimals)}, {fixed(high, decimals)}]"


def one_sided(low: float, high: float) -> str:
    """What an interval says that has one finite end, such as "at least 2.5"; empty for another one."""
    if math.isfinite(low) and not math.isfinite(high):
        return f"at least {fixed(low, 1)}"
    return f"at most {fixed(high, 1)}" if math.isfinite(high) and not math.isfinite(low) else ""


def significant(value: float) -> str:
    """A finite number to three significant digits; whole numbers in full."""
    return fixed(value, _decimals(value, _ALONE)) if value else "0"


def fixed(value: float, decimals: int) -> str:
    """A number with these decimals, or the sign of infinity; zero has no sign."""
    if math.isinf(value):
        return INFINITY if value > 0 else MINUS + INFINITY
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def decibels(value: float) -> str:
    """10 log10 of a positive number to one decimal, whole ones without."""
    return fixed(10 * math.log10(value), 1).removesuffix(".0")


def _decimals(value: float, digits: int) -> int:
    """Decimals that show so many significant digits, after rounding to them."""
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))) if value else 0
    return min(_MOST, max(0, digits - 1 - exponent))
