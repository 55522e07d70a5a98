"""Names of components for legends, titles and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from laser_wireless.channels.propagation.multipath import Multipath

_LONG = 28  # characters that a legend has room for
_TELLING = ("profile", "scenario")  # arguments that are told whatever their value


def label_of(component: Any) -> str:
    """Class name with the arguments that matter: required or changed ones, a table's name, a single number other than 0."""
    if isinstance(component, Multipath):
        return label_of(component.paths)
    if not is_dataclass(component) or isinstance(component, type):
        return getattr(component, "__name__", None) or type(component).__name__
    values = [(entry, getattr(component, entry.name)) for entry in fields(component) if entry.init]
    numbers = [entry for entry, value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    told = [
        _written(entry.name, value)
        for entry, value in values
        if isinstance(value, str | int | float)
        and (entry.name in _TELLING or value != entry.default or (value and entry in numbers and len(numbers) == 1))
    ]
    name = type(component).__name__
    return f"{name} ({', '.join(told)})" if told else name


def labels_of(components: Sequence[Any]) -> list[str]:
    """One label for each, without long arguments where class names alone tell them apart; numbered where nothing does."""
    names = [label_of(component) for component in components]
    short = [name.split(" (")[0] for name in names]
    if len(short) > 1 and len(set(short)) == len(short) and max(map(len, names)) > _LONG:
        return short
    return [f"{name}, {i + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def unit_of(largest: float, unit: str) -> tuple[float, str]:
    """Factor and unit, of seconds or hertz, in which numbers up to `largest` are easy to read."""
    prefixes = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
    first = 3 if unit == "s" else 0
    scale, prefix = next(((scale, prefix) for scale, prefix in prefixes[first:] if largest >= scale), (1.0, ""))
    return 1 / scale, prefix + unit


def _written(name: str, value: str | int | float) -> str:
    if name.endswith("_m_s"):
        return f"{name[:-4]} = {value} m/s"
    stem, _, suffix = name.rpartition("_")
    unit = {"s": "s", "hz": "Hz"}.get(suffix)
    if isinstance(value, str | bool):
        return f"{name} = {value}"
    if unit is None or not stem:
        return f"{name} = {value:g}"
    factor, unit = unit_of(value, unit)
    return f"{stem} = {value * factor:g} {unit}"
