"""What a round runs through: the package's files that are entered and the switches that are met, counted by tracing.

    python tests/helpers/round_trace.py    # a flat AWGN round, and the bridge's exchange around it

A switch is an `if`, a conditional expression, a `match` or a filter of a comprehension; each counts once, wherever it leads.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import laser_wireless.channels

PACKAGE = Path(laser_wireless.channels.__file__).resolve().parent.parent


class Course(NamedTuple):
    """files: names below the package, as they are entered. switches: (file, line) of each."""

    files: tuple[str, ...]
    switches: frozenset[tuple[str, int]]


def course_of(action: Callable[[], Any]) -> Course:
    """Trace an action."""
    lines: dict[str, set[int]] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if "laser_wireless" not in frame.f_globals.get("__name__", "") or name.startswith("<"):  # <string>: of a dataclass
            return None
        met = lines.setdefault(str(Path(name).resolve()), set())
        met.add(frame.f_lineno)

        def follow(frame: FrameType, event: str, argument: Any) -> Any:
            met.add(frame.f_lineno)
            return follow

        return follow

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        action()
    finally:
        sys.settrace(before)
    switches = {(name, line) for name, met in lines.items() for line in _switches(name) if line in met}
    return Course(tuple(_short(name) for name in lines), frozenset((_short(name), line) for name, line in switches))


@cache
def _switches(name: str) -> tuple[int, ...]:
    """The lines at which a file's switches are decided."""
    decided = []
    for node in ast.walk(ast.parse(Path(name).read_text())):
        if isinstance(node, ast.If | ast.IfExp):
            decided.append(node.test.lineno)
        elif isinstance(node, ast.Match):
            decided.append(node.lineno)
        elif isinstance(node, ast.comprehension):
            decided += [test.lineno for test in node.ifs]
    return tuple(decided)


def _short(name: str) -> str:
    path = Path(name)
    return str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name


def flat_round() -> Callable[[], Any]:
    """A round of `AnalogUplink` over the Gaussian channel, one round behind it."""
    import torch

    from laser_wireless.channels import AnalogUplink, Streams

    uplink, streams, messages = AnalogUplink(energy_budget=10.0), Streams(0), torch.ones(4, 60)
    uplink.aggregate(messages, (60,), round=0, streams=streams)
    return lambda: uplink.aggregate(messages, (60,), round=1, streams=streams)


def flat_exchange() -> Callable[[], Any]:
    """The same behind a bridge, with LASER's messages."""
    import torch

    from laser_wireless.channels import AnalogUplink
    from laser_wireless.compression import LowRank
    from laser_wireless.training import UplinkBridge

    model = torch.nn.Linear(8, 4)
    uplink = AnalogUplink(energy_budget=10.0)
    bridge = UplinkBridge(model, num_devices=2, compressor=LowRank(rank=2), uplink=uplink, seed=0)

    def gradients() -> None:
        for device in range(2):
            with bridge.gradients_of(device):
                model(torch.ones(3, 8)).square().sum().backward()

    gradients()
    bridge.exchange()
    gradients()
    return bridge.exchange


if __name__ == "__main__":
    for action in (flat_round, flat_exchange):
        course = course_of(action())
        for name in course.files:
            print(f"{sum(file == name for file, _ in course.switches):4d}  {name}")
        print(f"{len(course.switches):4d}  switches in {len(course.files)} files: {action.__doc__}\n")
