"""`laser check`: which kind of part something is, and what was found of its properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, build, component, override, resolve
from laser_wireless.benchmarks.checks.channel_parts import properties_of_channel_part
from laser_wireless.benchmarks.checks.findings import Finding, all_hold, row_of
from laser_wireless.benchmarks.checks.schemes import properties_of_scheme
from laser_wireless.benchmarks.checks.tasks import properties_of_task
from laser_wireless.benchmarks.options import split_options, value_of
from laser_wireless.benchmarks.records import aligned
from laser_wireless.benchmarks.tasks.task import Task
from laser_wireless.channels import (
    Allocation,
    Csi,
    Fading,
    FadingProcess,
    Impairment,
    Participation,
    Paths,
    PathsProcess,
    PowerControl,
    Receiver,
    Schedule,
    Uplink,
)
from laser_wireless.channels.contracts import fits
from laser_wireless.channels.radio_link import LargeScale
from laser_wireless.channels.uplinks.sample_path import Channel
from laser_wireless.compression import Compressor

KINDS: dict[str, tuple[type, ...]] = {
    "compressor": (Compressor,),
    "task": (Task,),
    "uplink": (Uplink,),
    "receiver": (Receiver,),
    "power_control": (PowerControl,),
    "csi": (Csi,),
    "fading": (FadingProcess, PathsProcess, Fading, Paths),
    "allocation": (Allocation,),
    "impairments": (Impairment,),
    "participation": (Participation,),
    "channel": (Channel,),
    "link_gain": (LargeScale,),
    "energy_budget": (Schedule,),
}
"""What a part may be, by the name of its parameter -> protocols."""

HELP = f"""laser check: The properties that every part must have, measured on a part of yours.

  laser check my_module.my_fading
  laser check my_module.MyFading --k 3
  laser check Rayleigh TruncatedInversion LowRank

A part is a class or function by its import path, or a name of this package. Its arguments follow as options.
What it is shows in its methods; where a function could be of two kinds, say which:

  --as KIND          {", ".join(KINDS)}"""


def check(words: list[str]) -> int:
    """Check parts; returns 0 if all properties hold, 1 if one fails."""
    names = [word for i, word in enumerate(words) if not word.startswith("--") and not (i and words[i - 1].startswith("--"))]
    given, wants_help = split_options([word for word in words if word not in names])
    if wants_help or not names:
        print(HELP)
        return 0 if wants_help else 2
    kind = given.pop("as", None)
    if kind is not None and kind not in KINDS:
        raise BadConfiguration(f"--as must be one of {', '.join(KINDS)}, got {kind!r}")
    if len(names) > 1 and given:
        raise BadConfiguration(f"--{next(iter(given))} could be of any of {', '.join(names)}; check them one by one")
    try:
        fine = [_check_one(name, given, kind) for name in names]
    except BadConfiguration as error:
        raise BadConfiguration(str(error).replace("--part.", "--").removeprefix("part: ")) from error
    return 0 if all(fine) else 1


def _check_one(name: str, given: dict[str, str], kind: str | None) -> bool:
    spec: Spec = {"part": component(name, "part")}
    for option, text in given.items():
        override(spec, ["part", *option.split(".")], value_of(text, Any, option))
    slot, part = _built(spec["part"], kind)
    print(f"{getattr(part, '__name__', None) or part}, as {slot}\n")
    findings = list(_properties(slot, part))
    print(aligned([row_of(finding) for finding in findings]) + "\n")
    return all_hold(findings)


def _built(spec: Spec, kind: str | None) -> tuple[str, Any]:
    """What a part is for, and the part."""
    target = resolve(spec["class_path"], "part")
    if isinstance(target, type):
        part = build(spec, "part")
        wanted = {kind: KINDS[kind]} if kind else KINDS
        fitting = [slot for slot, protocols in wanted.items() if any(fits(part, protocol) for protocol in protocols)]
        if fitting:
            return fitting[0], part
        raise BadConfiguration(f"{spec['class_path']} is none of {', '.join(wanted)}: it lacks their methods")
    slots = [kind] if kind else [slot for slot, protocols in KINDS.items() if any(fits(target, p) for p in protocols)]
    if not slots:
        raise BadConfiguration(f"{spec['class_path']} cannot be called as any of {', '.join(KINDS)}")
    if len(slots) > 1 and not kind:
        raise BadConfiguration(f"{spec['class_path']} could be {' or '.join(slots)}; say which with --as {slots[0]}")
    return slots[0], build(spec, "part", KINDS[slots[0]][-2 if slots[0] == "fading" else 0])


def _properties(slot: str, part: Any) -> Iterator[Finding]:
    if slot == "compressor":
        return properties_of_scheme(part)
    return properties_of_task(part) if slot == "task" else properties_of_channel_part(slot, part)
