"""Laws that a user brings are measured where a run begins: E|h|^2 must be 1."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from laser_wireless.channels.contracts import shown
from laser_wireless.channels.fading.contract import FadingModel, FadingProcess
from laser_wireless.channels.fading.draws import Unnormalised, draw_gains
from laser_wireless.channels.fading.normalisation import mean_power, sample
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowFading
from laser_wireless.channels.round import Streams
from laser_wireless.channels.segments import Grid

_JUDGED: WeakValueDictionary[int, Any] = WeakValueDictionary()  # laws whose E|h|^2 was measured and found to be 1


def check_normalised(
    fading: FadingModel,
    num_devices: int,
    grid: Grid,
    *,
    device: torch.device | str,
    num_rx_antennas: int = 1,
    name: str = "fading",
) -> None:
    """Measure E|h|^2 of a law that the user brings, once for each law; those of this package are 1 by construction.

    The sample has generators of its own, so that no draw of a run shifts. Reads values on the host.

    Raises:
        ValueError: the mean power is not 1, by more than chance allows; see `channels.normalisation`.
    """
    if _is_ours(fading) or _JUDGED.get(id(fading)) is fading:
        return

    def draw(round: int, number: int) -> Tensor:
        generator = Streams(number).generator("normalisation", round, device)
        h, _ = draw_gains(fading, num_devices, grid, round=round, generator=generator, num_rx_antennas=num_rx_antennas)
        return h.abs().double().square().mean((1, 2))

    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(cuda):  # for laws that draw elsewhere
        found = mean_power(*sample(draw, num_devices))
    if not found.is_one:
        decibels = f"{10 * math.log10(found.measured):+.1f} dB" if found.measured > 0 else "no power at all"
        law = getattr(fading, "__name__", None) or shown(fading)
        raise ValueError(
            f"{name} must have E|h|^2 = 1, that of {law} is {found.measured:.4g} ({decibels}; over {found.num_rounds} "
            "rounds): divide h by its root and put a large-scale gain into link_gain, or, if it is meant, write "
            "fading=Unnormalised(fading=...)"
        )
    with suppress(TypeError):  # what cannot be referred to weakly is judged again
        _JUDGED[id(fading)] = fading


def _is_ours(model: Any) -> bool:
    """Whether a model, and every model or function in it, comes with this package; a law within `Unnormalised` may pass."""
    if isinstance(model, Unnormalised):
        return True
    if isinstance(model, partial):  # whoever bound its arguments
        return _is_ours(model.func) and all(map(_is_ours, filter(callable, [*model.args, *model.keywords.values()])))
    if isinstance(model, TensorFlowFading) or not (getattr(model, "__module__", "") or "").startswith("laser_wireless."):
        return False
    parts = [getattr(model, f.name) for f in fields(model)] if is_dataclass(model) else []
    return all(_is_ours(part) for part in parts if callable(part) or isinstance(part, FadingProcess))


def draw_rounds(
    fading: FadingModel,
    num_devices: int,
    grid: Grid,
    *,
    num_rounds: int,
    streams: Streams,
    device: torch.device | str,
    num_rx_antennas: int = 1,
) -> Tensor:
    """Draw the gains of consecutive rounds as one batch, for Monte-Carlo, as `aggregate(gains=...)` takes them.

    Returns:
        h: [num_rounds, K, T F], or [num_rounds, K, N_r, T F] for several receive antennas.

    Raises:
        ValueError: a law whose E|h|^2 is not 1; see `check_normalised`.
    """
    check_normalised(fading, num_devices, grid, device=device, num_rx_antennas=num_rx_antennas)
    drawn, state = [], None
    for round in range(num_rounds):
        generator = streams.generator("gains", round, device)
        h, state = draw_gains(
            fading,
            num_devices,
            grid,
            round=round,
            generator=generator,
            num_rx_antennas=num_rx_antennas,
            state=state,
        )
        drawn.append(h.expand(num_devices, num_rx_antennas, -1))
    gains = torch.stack(drawn)
    return gains.squeeze(-2) if num_rx_antennas == 1 else gains
