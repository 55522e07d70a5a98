"""Distribution of the gains of a law of fading, beside its closed form: envelope, power, phase.

Standard errors are those over independent samples, which are the devices of a round, or those of a run of 50 rounds where
fading continues from round to round.
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
from laser_wireless.benchmarks.channel_views.laws import Envelope, envelope
from laser_wireless.benchmarks.records import Row
from laser_wireless.channels.energy.units import from_db
from laser_wireless.channels.fading.contract import FadingModel, FadingProcess

_RUN = 50  # rounds of a run of fading that continues
_MOST = 1 << 23  # gains that are drawn
_ENVELOPE_BINS, _PHASE_BINS = 50, 36
_POWERS_DB = np.arange(-40.0, 12.5, 0.5)


@dataclass(frozen=True)
class GainsView:
    """Distribution of the gains: which laws, between whom, over how many rounds, and where a fade begins, in dB."""

    fadings: list[FadingModel]
    links: Links
    num_rounds: int
    fade_db: float


def study_gains(
    view: GainsView, device: torch.device, progress: Callable[[list[Any]], Iterable[Any]] = iter
) -> tuple[list[Row], list[Row]]:
    """Draw the gains of each law and compare.

    Returns:
        rows with fading, quantity ("envelope", density of |h| in a bin around x; "power_below" and "power_above", the
        probability that |h|^2 is below or above x in dB; "phase", density in a bin around x in radians), x, simulated,
        standard_error, independent (how many samples it counts) and theory (NaN where not known).
        summary with one row for each law: how many gains and independent samples, mean power, K-factor by moments, and the
        probability of a fade below `fade_db`.
    """
    rows, summary = [], []
    drawn = [_draw(view, fading, device) for fading in progress(view.fadings)]
    reach = max(float(np.quantile(h.abs().flatten()[:100_000].numpy(), 0.9995)) for h in drawn)
    for label, fading, h in zip(labels_of(view.fadings), view.fadings, drawn, strict=True):
        law = envelope(fading)
        rows += [{"fading": label, **row, "independent": len(h)} for row in _rows(h, law, math.ceil(2 * reach) / 2)]
        summary.append({"fading": label, **_summary(h, law, view.fade_db)})
    return rows, summary


def _draw(view: GainsView, fading: FadingModel, device: torch.device) -> Tensor:
    """Gains [independent samples, gains of each], at most eight million."""
    links = view.links
    per_round = links.num_devices * links.num_rx_antennas * links.grid.num_cells
    length = _RUN if isinstance(fading, FadingProcess) else 1
    num_runs = max(1, min(view.num_rounds, _MOST // per_round) // length)
    h = links.draw(fading, runs=range(num_runs), num_rounds=length, device=device)
    return h.transpose(1, 2).flatten(2).flatten(0, 1).cpu()


def k_factor_by_moments(power: Tensor) -> float:
    """Rice's K from the mean and variance of |h|^2: (sqrt(1 - v) / (1 - sqrt(1 - v))), v = Var / mean^2; 0 for v >= 1.

    Reference: Greenstein, Michelson, Erceg, IEEE Communications Letters 3(6), 1999.
    """
    v = (power.var() / power.mean().square()).item()
    root = math.sqrt(max(0.0, 1 - v))
    return root / (1 - root) if root < 1 else math.inf


def _summary(h: Tensor, law: Envelope | None, fade_db: float) -> Row:
    power = h.abs().double().square()
    mean, mean_se = _mean_and_error(power)
    fade, fade_se = _mean_and_error((power < from_db(fade_db)).double())
    known = law is not None and law.k_factor is not None
    return {
        "gains": h.numel(),
        "independent": len(h),
        "mean_power": mean,
        "mean_power_se": mean_se,
        "k_factor_by_moments": k_factor_by_moments(power),
        "k_factor_theory": law.k_factor if law is not None and known else math.nan,
        "in_fade": fade,
        "in_fade_se": fade_se,
        "in_fade_theory": math.nan if law is None else float(1 - law.survival(np.array(from_db(fade_db)))),
    }


def _rows(h: Tensor, law: Envelope | None, reach: float) -> list[Row]:
    edges = np.linspace(0, reach, _ENVELOPE_BINS + 1)
    beyond = np.full(len(edges), math.nan) if law is None else law.survival(edges**2)
    rows = _histogram(h.abs(), "envelope", edges, -np.diff(beyond) / np.diff(edges))
    powers = 10 ** (_POWERS_DB / 10)
    beyond = np.full(len(powers), math.nan) if law is None else law.survival(powers)
    power = h.abs().double().square()
    for quantity, theory in (("power_below", 1 - beyond), ("power_above", beyond)):
        for x_db, x, expected in zip(_POWERS_DB, powers, theory, strict=True):
            inside = power < x if quantity == "power_below" else power >= x
            rows.append(_row(quantity, float(x_db), *_mean_and_error(inside.double()), float(expected)))
    edges = np.linspace(-math.pi, math.pi, _PHASE_BINS + 1)
    uniform = np.full(_PHASE_BINS, math.nan if law is None else 1 / (2 * math.pi))
    return rows + _histogram(h.angle(), "phase", edges, uniform)


def _histogram(values: Tensor, quantity: str, edges: np.ndarray, theory: np.ndarray) -> list[Row]:
    """Density in each bin; theory is its mean over the bin."""
    bins = torch.bucketize(values.double(), torch.from_numpy(edges), right=True) - 1
    rows = []
    for i, expected in enumerate(theory):
        width = float(edges[i + 1] - edges[i])
        share, error = _mean_and_error((bins == i).double())
        rows.append(_row(quantity, float(edges[i] + width / 2), share / width, error / width, float(expected)))
    return rows


def _row(quantity: str, x: float, simulated: float, error: float, theory: float) -> Row:
    return {"quantity": quantity, "x": x, "simulated": simulated, "standard_error": error, "theory": theory}


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of [independent samples, n] and its standard error over the independent samples."""
    means = values.mean(1)
    return means.mean().item(), (means.std() / len(means) ** 0.5).item()
