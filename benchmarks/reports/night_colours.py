"""Colours on a dark ground: those of the pictures, mixed with white until they are seen (contrast after WCAG 2)."""

from __future__ import annotations

from collections.abc import Sequence

NIGHT = "#16191e"
"""The ground of the page by night, as in its style."""

CONTRAST = 4.5
"""The least contrast of a curve with the ground."""


def by_night(colour: str) -> str:
    """The colour, as "#rrggbb", with as little white as it needs for the contrast."""
    for share in range(0, 101, 5):
        mixed = [round(channel + (255 - channel) * share / 100) for channel in _channels(colour)]
        if contrast(mixed, _channels(NIGHT)) >= CONTRAST:
            break
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """Of two colours of sRGB with channels of 0 to 255, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def _luminance(channels: Sequence[int]) -> float:
    parts = [channel / 255 for channel in channels]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
