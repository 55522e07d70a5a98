"""Properties of every part of a channel, measured in rounds of an uplink that has it.

Determinism, inputs and random numbers of others left alone, the energy limit for messages of any scale, finite estimates, no
value read on the host, states that can be saved, gradients; of a fading law also shapes over grids and E|h|^2 = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.benchmarks.checks.findings import Finding, examined
from laser_wireless.channels import (
    AnalogUplink,
    FullPower,
    MseOptimal,
    Ofdm,
    Rayleigh,
    Streams,
    TruncatedInversion,
    Uplink,
    draw_rounds,
)
from laser_wireless.channels.carrier import SingleCarrier

_LAYOUT = (12, 5, 24)
_NUM_DEVICES = 5
_SCALES = (0.0, 1e-20, 1e-3, 1.0, 1e3, 1e15)
_ULPS = 4 * torch.finfo(torch.float64).eps

Measure = Callable[[], tuple[bool | None, str]]


def uplink_with(slot: str, part: Any) -> Uplink:
    """An uplink that has the part in its slot, and around it what lets it be seen."""
    if slot == "uplink":
        return part
    around: dict[str, dict[str, Any]] = {
        "fading": {"power_control": MseOptimal()},
        "receiver": {"num_rx_antennas": 4, "fading": Rayleigh(), "power_control": FullPower()},
        "csi": {"fading": Rayleigh(), "power_control": TruncatedInversion()},
        "channel": {},
    }
    options = {"energy_budget": 10.0, "bandwidth_hz": 1e6, **around.get(slot, {"fading": Rayleigh()})}
    return AnalogUplink(**{**options, slot: [part] if slot in ("impairments", "front_end") else part})


def properties_of_channel_part(slot: str, part: Any) -> Iterator[Finding]:
    """Measure them one by one."""
    measures: dict[str, Measure] = {"gains have the shapes of grids": lambda: _shapes(part)} if slot == "fading" else {}
    if slot == "fading":
        measures["E|h|^2 is 1"] = lambda: _mean_power(part)
    measures |= {
        "equal seeds give equal rounds": lambda: _deterministic(slot, part),
        "torch's own generator is left alone": lambda: _leaves_generator(slot, part),
        "the message is left alone": lambda: _leaves_message(slot, part),
        "no device exceeds its energy": lambda: _energy(slot, part),
        "estimates are finite at any scale": lambda: _finite(slot, part),
        "no value is read on the host": lambda: _host(slot, part),
        "what it remembers can be saved": lambda: _state(slot, part),
        "gradients are finite": lambda: _gradients(slot, part),
    }
    for name, measure in measures.items():
        yield examined(name, measure)


def _messages(scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(_NUM_DEVICES, sum(_LAYOUT), generator=generator)


def _round(slot: str, part: Any, u: Tensor, *, round: int = 0, state: Any = None) -> Any:
    return uplink_with(slot, part).aggregate(u, _LAYOUT, round=round, streams=Streams(1), state=state)


def _shapes(part: Any) -> tuple[bool, str]:
    one_slot, streams, tried = SingleCarrier(bandwidth_hz=1e6), Streams(0), []
    for carrier in (one_slot, replace(one_slot, coherence=6), Ofdm(num_subcarriers=48)):
        for n in (1, 3):
            grid = carrier.cells((640,))
            h = draw_rounds(part, _NUM_DEVICES, grid, num_rounds=2, streams=streams, device="cpu", num_rx_antennas=n)
            tried.append(tuple(h.shape[1:]))
    return True, f"{len(tried)} grids, up to {max(tried, key=math.prod)}"


def _mean_power(part: Any) -> tuple[bool, str]:
    grid = AnalogUplink(energy_budget=1.0, bandwidth_hz=1e6).grid((64,))
    h = draw_rounds(part, 64, grid, num_rounds=400, streams=Streams(3), device="cpu")  # refuses what is not 1
    power = h.abs().double().square().mean((1, 2))
    return True, f"{power.mean():.4f} over 400 rounds of 64 devices, standard error {power.std() / 20:.4f}"


def _deterministic(slot: str, part: Any) -> tuple[bool, str]:
    first, second = (_round(slot, part, _messages()).estimate for _ in range(2))
    return torch.equal(first, second), f"largest difference {(first - second).abs().max():.3g}"


def _leaves_generator(slot: str, part: Any) -> tuple[bool, str]:
    before = torch.random.get_rng_state()
    _round(slot, part, _messages())
    same = torch.equal(before, torch.random.get_rng_state())
    return same, "unchanged" if same else "it drew from torch's global generator: draw from `generator`"


def _leaves_message(slot: str, part: Any) -> tuple[bool, str]:
    u = _messages()
    before = u.clone()
    _round(slot, part, u)
    return torch.equal(u, before), "unchanged" if torch.equal(u, before) else "it wrote into the devices' symbols"


def _energy(slot: str, part: Any) -> tuple[bool, str]:
    worst, state = 0.0, None
    for round in range(30):
        ledger = (reception := _round(slot, part, _messages(_SCALES[round % 6], round), round=round, state=state)).ledger
        state, allowed = reception.state, ledger.energy_allowed
        part_spent = ledger.energy_spent / allowed.masked_fill(allowed == 0, 1)
        worst = max(worst, float(part_spent.max()) if bool((part_spent == part_spent).all()) else math.inf)
    return worst <= 1 + _ULPS, f"at most {worst:.6g} of the budget in 30 rounds"


def _finite(slot: str, part: Any) -> tuple[bool, str]:
    bad = []
    for scale in _SCALES:
        reception = _round(slot, part, _messages(scale))
        if not reception.estimate.isfinite().all() or bool(reception.ledger.faults.any):
            bad.append(f"{scale:g}")
    tried = ", ".join(f"{scale:g}" for scale in _SCALES)
    return not bad, f"not at {', '.join(bad)} of {tried}" if bad else f"messages of scale {tried}"


def _host(slot: str, part: Any) -> tuple[bool | None, str]:
    u = _messages()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            _round(slot, part, u)
    except Exception as error:
        reads = "DataDependent" in type(error).__name__
        return (False if reads else None), " ".join(str(error).split())[:200]
    return True, "a round without values runs"


def _state(slot: str, part: Any) -> tuple[bool | None, str]:
    first = _round(slot, part, _messages())
    if not first.state:
        return None, "it remembers nothing"
    bad = [place for place, value in _leaves(first.state) if not isinstance(value, Tensor)]
    if bad:
        return False, f"{bad[0]} is no tensor"
    return True, f"{sum(1 for _ in _leaves(first.state))} tensors"


def _leaves(state: Any, place: str = "state") -> Iterator[tuple[str, Any]]:
    if isinstance(state, dict):
        for name, value in state.items():
            yield from _leaves(value, f"{place}[{name!r}]")
    else:
        yield place, state


def _gradients(slot: str, part: Any) -> tuple[bool | None, str]:
    u = _messages().requires_grad_()
    estimate = _round(slot, part, u).estimate
    if not estimate.requires_grad:
        return None, "no gradient flows to the message"
    estimate.square().sum().backward()
    assert u.grad is not None
    return bool(u.grad.isfinite().all()), f"largest {u.grad.abs().max():.3g}"
