"""Checks of lists in the settings of a study: every entry is looked at by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from laser_wireless.benchmarks.value_words import shown

LARGEST_DB = 300.0
"""Of a ratio: far beyond any use, and within the reach of single precision."""


def check_each(name: str, values: Sequence[Any], requirement: str, fits: Callable[[Any], bool]) -> None:
    """Refuse a list by its first entry that does not fit.

    Raises:
        ValueError: names the entry by its place, from 0.
    """
    for place, value in enumerate(values):
        if not fits(value):
            raise ValueError(f"{name}[{place}] must be {requirement}, got {shown(value)}")


def check_some(name: str, values: Sequence[Any]) -> None:
    """Refuse a list that is empty or holds an entry twice.

    Raises:
        ValueError: names the list.
    """
    if not values or len(set(map(str, values))) != len(values):
        raise ValueError(f"{name} must hold at least one entry and none twice, got {shown(list(values))}")


def check_grid(name: str, values: Sequence[float]) -> None:
    """Refuse a list that is not finite, > 0 and ascending, without an entry twice.

    Raises:
        ValueError: names the list, or its first entry that does not fit.
    """
    check_some(name, values)
    check_each(name, values, "finite and > 0", lambda value: 0 < value < math.inf)
    if sorted(values) != list(values):
        raise ValueError(f"{name} must be > 0 and ascending, got {shown(list(values))}")


def check_decibels(name: str, values: Sequence[float]) -> None:
    """Refuse a list of ratios in dB that is empty, or beyond what floats can tell.

    Raises:
        ValueError: names the list, or its first entry that does not fit.
    """
    if not values:
        raise ValueError(f"{name} must hold at least one value")
    check_each(name, values, f"finite and within {LARGEST_DB:g} dB of 0", lambda value: abs(value) <= LARGEST_DB)
