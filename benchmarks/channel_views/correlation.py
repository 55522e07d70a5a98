"""Correlation of the gains over time and over frequency, beside closed forms.

    R(tau) = E[h(t + tau) h*(t)],    R(df) = E[h(f + df) h*(f)]

Each link of a device, in a run of its own, is one independent sample: its product is averaged over its times, frequencies
and antennas, and means and standard errors are taken over the links.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laser_wireless.benchmarks.channel_views.draws import Links
from laser_wireless.benchmarks.channel_views.labels import labels_of
from laser_wireless.benchmarks.channel_views.laws import (
    delay_profile,
    frequency_correlation,
    interval_of_rounds,
    time_correlation,
)
from laser_wireless.benchmarks.records import Row
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.segments import Grid

_LEVEL = 0.5  # of |R|, at which coherence ends


@dataclass(frozen=True)
class CorrelationView:
    """Correlation of the gains: which laws, between whom, over how many links at least and up to which lag."""

    fadings: list[FadingModel]
    links: Links
    num_links: int
    num_lags: int


def study_correlation(
    view: CorrelationView, device: torch.device, progress: Callable[[list[Any]], Iterable[Any]] = iter
) -> tuple[list[Row], list[Row]]:
    """Estimate the correlation of each law: over the slots of an OFDM grid and its blocks, or else over rounds.

    Returns:
        rows with fading, axis ("round", "slot" or "frequency"), lag (a whole number), offset (seconds or hertz; the lag
        where they are not known), unit, real and imag with their standard errors, theory_real and theory_imag (NaN where
        not known), and links (how many independent samples there are).
        summary with one row for each law: links, coherence time and bandwidth (|R| = 0.5), simulated and in theory, and the
        rms delay spread. A coherence is 0 if it is shorter than one lag, inf if longer than the last one.
    """
    fadings, grid = view.fadings, view.links.grid
    num_runs = max(2, -(-view.num_links // view.links.num_devices))
    work = [(number, run) for number in range(len(fadings)) for run in range(num_runs)]
    products: list[list[dict[str, Tensor]]] = [[] for _ in fadings]
    for number, run in progress(work):
        products[number].append(_products(view, fadings[number], run, device))
    rows: list[Row] = []
    summary = []
    for label, fading, found in zip(labels_of(fadings), fadings, products, strict=True):
        mine = [row for axis in found[0] for row in _rows(torch.cat([p[axis] for p in found]), axis, fading, grid)]
        rows += [{"fading": label, **row} for row in mine]
        profile = delay_profile(fading)
        summary.append(
            {
                "fading": label,
                "links": num_runs * view.links.num_devices,
                **{name: value for axis in found[0] for name, value in _coherence(mine, axis).items()},
                "rms_delay_spread_s": math.nan if profile is None else profile.spread,
            }
        )
    return rows, summary


def _products(view: CorrelationView, fading: FadingModel, run: int, device: torch.device) -> dict[str, Tensor]:
    """Products of each link at each lag, complex128 [K, lags], for each axis of the grid."""
    grid = view.links.grid
    num_rounds = 1 if grid.num_slots > 1 else 2 * view.num_lags
    h = view.links.draw(fading, runs=range(run, run + 1), num_rounds=num_rounds, device=device)[0]
    cells = h.expand(*h.shape[:-1], grid.num_cells).unflatten(-1, (grid.num_slots, grid.num_frequency_blocks))
    cells = cells.permute(1, 2, 0, 3, 4).flatten(2, 3).cpu()  # [K, N_r, times, F]
    axes = {"slot" if grid.num_slots > 1 else "round": -2}
    if grid.num_frequency_blocks > 1:
        axes["frequency"] = -1
    return {axis: _lagged(cells, dim, view.num_lags) for axis, dim in axes.items()}


def _lagged(h: Tensor, dim: int, num_lags: int) -> Tensor:
    """Mean of h(. + lag) h*(.) along `dim` and over all but the first axis: complex128 [K, lags]."""
    size = h.shape[dim]
    found = []
    for lag in range(min(num_lags, size - 1) + 1):
        later, earlier = h.narrow(dim, lag, size - lag), h.narrow(dim, 0, size - lag)
        found.append((later * earlier.conj()).to(torch.complex128).flatten(1).mean(1))
    return torch.stack(found, dim=-1)


def _rows(products: Tensor, axis: str, fading: FadingModel, grid: Grid) -> list[Row]:
    num_links, num_lags = products.shape
    lags = np.arange(num_lags, dtype=float)
    mean = products.mean(0)
    errors = [part.std(0) / num_links**0.5 for part in (products.real, products.imag)]
    if axis == "frequency":
        theory = frequency_correlation(fading, lags, grid.block_hz or 0.0)
        step, unit = grid.block_hz, "Hz"
    else:
        nothing = np.zeros(num_lags)
        rounds, slots = (lags, nothing) if axis == "round" else (nothing, lags)
        theory = time_correlation(fading, grid, rounds, slots)
        step, unit = (grid.slot_s if axis == "slot" else interval_of_rounds(fading)), "s"
    expected = np.full(num_lags, math.nan * 1j + math.nan) if theory is None else theory
    return [
        {
            "axis": axis,
            "lag": lag,
            "offset": float(lag) if step is None else lag * step,
            "unit": axis if step is None else unit,
            "real": mean[lag].real.item(),
            "real_se": errors[0][lag].item(),
            "imag": mean[lag].imag.item(),
            "imag_se": errors[1][lag].item(),
            "theory_real": float(expected[lag].real),
            "theory_imag": float(expected[lag].imag),
            "links": num_links,
        }
        for lag in range(num_lags)
    ]


def _coherence(rows: list[Row], axis: str) -> Row:
    """Where |R| falls to one half, simulated and in theory, with the unit in the name."""
    mine = [row for row in rows if row["axis"] == axis]
    offsets = np.array([row["offset"] for row in mine])
    unit = {"s": "_s", "Hz": "_hz"}.get(mine[0]["unit"], "_" + axis + "s")
    name = ("coherence_bandwidth" if axis == "frequency" else "coherence_time") + unit
    found = np.hypot([row["real"] for row in mine], [row["imag"] for row in mine])
    theory = np.hypot([row["theory_real"] for row in mine], [row["theory_imag"] for row in mine])
    return {name: first_below(offsets, found), f"{name[: -len(unit)]}_theory": first_below(offsets, theory)}


def first_below(offsets: np.ndarray, size: np.ndarray) -> float:
    """Where |R| first falls below one half, interpolated; 0 within the first lag, inf if it never does, NaN for NaN."""
    if np.isnan(size).any():
        return math.nan
    below = np.flatnonzero(size < _LEVEL)
    if not len(below):
        return math.inf
    if below[0] <= 1:
        return 0.0
    i = below[0]
    share = (size[i - 1] - _LEVEL) / (size[i - 1] - size[i])
    return float(offsets[i - 1] + share * (offsets[i] - offsets[i - 1]))
