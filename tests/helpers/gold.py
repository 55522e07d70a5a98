"""Every number of many rounds, to compare two states of the code bit for bit.

    python tests/helpers/gold.py write gold.pt      # on the commit before a change
    python tests/helpers/gold.py compare gold.pt    # on the commit after it

Estimates, ledgers, what was delivered, noise levels and states, over the products of `helpers.uplinks`, the options of
`helpers.any_uplink`, digital uplinks and downlinks; three rounds each. Run both on one machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hypothesis import HealthCheck, Phase, given, settings

from helpers.any_uplink import rounds
from helpers.uplinks import (
    ALLOCATIONS,
    BASEBANDS,
    COHERENCES,
    FADINGS,
    POWER_CONTROLS,
    SCALES,
    name_of,
    random_message,
)
from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    CellGain,
    DigitalBroadcast,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    GaussMarkov,
    Lmmse,
    MaximumRatio,
    RandomDropout,
    Rayleigh,
    SparseQuantiser,
    Streams,
    ZeroForcing,
)

LAYOUT = (8, 5, 12)
NUM_ANY = 400


def numbers_of(value: Any) -> Any:
    """Plain dictionaries of tensors and numbers, of any result."""
    if isinstance(value, Tensor | int | float | str | bool | None):
        return value.detach().clone() if isinstance(value, Tensor) else value
    if isinstance(value, list):
        return [numbers_of(entry) for entry in value]
    if hasattr(value, "to_plain"):
        return numbers_of(value.to_plain())
    if isinstance(value, dict):
        return {str(name): plain for name, entry in value.items() if (plain := numbers_of(entry)) not in ({}, None)}
    if hasattr(value, "_asdict"):
        return {name: numbers_of(entry) for name, entry in value._asdict().items() if name != "segments"}
    return {f.name: numbers_of(getattr(value, f.name)) for f in fields(value)}


def run(uplink: Any, symbols: Tensor, layout: tuple[int, ...], **options: Any) -> list[Any]:
    """Three rounds in a row."""
    state, found = None, []
    for round in range(3):
        reception = uplink.aggregate(symbols * (1 + round / 7), layout, round=round, state=state, **options)
        state = reception.state
        delivered = reception.delivered_symbols(symbols)
        found.append({**numbers_of(reception), "delivered symbols": delivered.detach().clone()})
    return found


def products() -> Iterator[tuple[str, Any]]:
    """Uplinks from lists of options."""
    options: dict[str, Any] = {"energy_budget": 2.0, "noise_variance": 0.3}
    for fading, control, coherence, baseband in product(FADINGS, POWER_CONTROLS, COHERENCES, BASEBANDS):
        chosen = {"fading": fading, "power_control": control, "coherence": coherence, "baseband": baseband}
        name = " ".join(name_of(option) for option in chosen.values())
        yield name, AnalogUplink(**options, **chosen)
    for allocation, scale, baseband in product(ALLOCATIONS, SCALES, BASEBANDS):
        chosen = {"allocation": allocation, "scale": scale, "baseband": baseband}
        yield " ".join(name_of(option) for option in chosen.values()), AnalogUplink(**options, **chosen)
    for receiver, control, coherence in product(
        (Lmmse(alternations=2), ZeroForcing(), MaximumRatio()), POWER_CONTROLS, ("round", "block", 6)
    ):
        chosen = {"receiver": receiver, "power_control": control, "coherence": coherence}
        name = " ".join(name_of(option) for option in chosen.values())
        yield name, AnalogUplink(num_rx_antennas=3, fading=Rayleigh(), **options, **chosen)
    for fading in (*FADINGS, GaussMarkov(correlation=0.9)):
        for extra in ({}, {"link_gain": CellGain()}, {"num_rx_antennas": 2}):
            yield f"digital {name_of(fading)} {extra}", DigitalUplink(**options, fading=fading, num_channel_uses=64, **extra)
        sparse = DigitalUplink(**options, fading=fading, quantiser=SparseQuantiser(), fixed_rate=0.5, num_channel_uses=64)
        yield f"digital sparse {name_of(fading)}", sparse
        for coherence in ("round", "symbol"):
            yield f"fsk {name_of(fading)} {coherence}", FskMajorityVote(**options, fading=fading, coherence=coherence)
        for coherence, scale in product(("round", "chip", "symbol"), SCALES):
            chosen = {"fading": fading, "coherence": coherence, "scale": scale}
            name = " ".join(name_of(option) for option in chosen.values())
            yield f"energy difference {name}", EnergyDifference(**options, **chosen, num_chips=2)
    attendance = RandomDropout(drop_probability=0.5)
    yield "dropout", AnalogUplink(**options, participation=attendance, link_gain=[0.5, 1.0, 2.0, 0.1], bandwidth_hz=1e3)


def broadcasts() -> Iterator[tuple[str, Any]]:
    """Broadcasts of three rounds."""
    for fading in FADINGS:
        for downlink in (
            AnalogBroadcast(energy_budget=30.0, fading=fading, bandwidth_hz=1e3),
            DigitalBroadcast(energy_budget=300.0, fading=fading, symbols_per_parameter=3.0),
        ):
            values = random_message(1, LAYOUT)[0]
            held, state, found = torch.zeros_like(values).unsqueeze(0), None, []
            for round in range(3):
                options = {"num_devices": 4, "round": round, "streams": Streams(3), "held": held, "state": state}
                delivery = downlink.broadcast(values + round, LAYOUT, **options)
                held = delivery.received if isinstance(downlink, AnalogBroadcast) else delivery.received[:1]
                state = delivery.state
                found.append(numbers_of(delivery))
            yield f"{type(downlink).__name__} {name_of(fading)}", found


def long_messages() -> Iterator[tuple[str, Any]]:
    """Messages of the sizes for which quick kernels are taken."""
    for size, coherence, fading, dtype in product(
        (70_001, 300_000), ("round", "block", "symbol", 336), (FADINGS[0], Rayleigh()), (torch.float32, torch.float64)
    ):
        layout = (size // 3, size // 2, size - size // 3 - size // 2)
        uplink = AnalogUplink(energy_budget=50.0, fading=fading, coherence=coherence)
        yield (
            f"long {size} {coherence} {name_of(fading)} {dtype}",
            run(uplink, random_message(3, layout, dtype=dtype), layout, streams=Streams(1)),
        )


def any_rounds() -> Iterator[tuple[str, Any]]:
    """Options drawn together, the same in every call."""
    found: list[tuple[str, Any]] = []

    @settings(
        max_examples=NUM_ANY,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=rounds(2))
    def draw(case: Any) -> None:
        u = case.messages
        found.append((repr(case), run(case.uplink, u, case.layout, streams=Streams(case.seed), gains=case.gains)))

    draw()
    yield from found


def all_numbers() -> dict[str, Any]:
    """Everything, by name."""
    found = dict(any_rounds())
    for name, uplink in products():
        for dtype in (torch.float32, torch.float64):
            u = random_message(4, LAYOUT, dtype=dtype)
            found[f"{name} {dtype}"] = run(uplink, u, LAYOUT, streams=Streams(5))
    u = torch.stack([random_message(4, LAYOUT, seed=seed) for seed in range(3)])
    batched = AnalogUplink(energy_budget=2.0, noise_variance=torch.tensor([0.0, 0.5, 1.0]), fading=Rayleigh())
    found["batched"] = run(batched, u, LAYOUT, streams=Streams(5), share_as=(0, 0, 2))
    return found | dict(broadcasts()) | dict(long_messages())


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where two results differ: in a bit, a dtype or a shape."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            if name in before and name in after:
                yield from differences(before[name], after[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}: only {'before' if name in before else 'after'}"
    elif isinstance(before, list) and isinstance(after, list):
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{place}[{i}]")
    elif isinstance(before, Tensor) and isinstance(after, Tensor):
        if before.dtype != after.dtype or before.shape != after.shape:
            yield f"{place}: {before.dtype} {list(before.shape)} -> {after.dtype} {list(after.shape)}"
        elif not torch.equal(before.nan_to_num(7.25), after.nan_to_num(7.25)):
            yield f"{place}: {(before - after).abs().max()} of {before.abs().max()}"
    elif before != after and not (before != before and after != after):
        yield f"{place}: {before} -> {after}"


def main(action: str, path: str) -> int:
    """Write or compare."""
    torch.set_num_threads(1)
    found = numbers_of(all_numbers())
    if action == "write":
        torch.save(found, path)
        print(f"{len(found)} cases written")
        return 0
    before = numbers_of(torch.load(path, weights_only=False))
    unequal = list(differences(before, found))
    print(*(line[-300:] for line in unequal[:40]), sep="\n")
    print(f"{len(before)} cases, {len(unequal)} differences")
    return 1 if unequal else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
