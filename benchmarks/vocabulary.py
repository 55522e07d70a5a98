"""The names of code, options and YAML: public classes, and the papers' names as presets of them.

What fits a parameter is read from its annotation: the public classes that offer what its protocol asks for, method by method
and argument by argument, or the classes that it names. A class is public by its family's `__all__`, or because an installed
package brings it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any, NamedTuple, get_args

from laser_wireless import channels, compression, training
from laser_wireless.benchmarks import callbacks, optimizers, tasks
from laser_wireless.benchmarks.fitting import hints_of
from laser_wireless.benchmarks.tasks.task import Task
from laser_wireless.channels import (
    csi,
    digital,
    downlinks,
    energy,
    fading,
    hardware,
    participation,
    power_control,
    propagation,
    receivers,
    scale,
    uplinks,
    waveform,
)
from laser_wireless.channels.contracts import is_protocol
from laser_wireless.training.row_store import RowStore

GROUP = "laser_wireless.parts"
"""Entry-point group by which packages of others bring their parts."""

PRESETS: dict[str, dict[str, Any]] = {
    "laser": {"class_path": "LowRank", "init_args": {"rank": 4}},
    "spectral": {"class_path": "SpectralPrecoding"},
    "ota-lc": {"class_path": "JacobiLowRank", "init_args": {"rank": 4}},
    "z-sgd": {"class_path": "Uncompressed"},
    "signum": {"class_path": "Sign"},
    "obda": {"class_path": "Sign"},
    "efobda": {"class_path": "Sign", "init_args": {"error_feedback": True}},
    "random-k": {"class_path": "RandomK"},
    "sketching": {"class_path": "CountSketch"},
    "a-dsgd": {"class_path": "GaussianProjection"},
    "top-k": {"class_path": "TopK"},
    "digits": {"class_path": "Digits"},
    "digits-linear": {"class_path": "Digits", "init_args": {"architecture": "linear"}},
    "stdlib-text": {"class_path": "StdlibText"},
    "mnist": {"class_path": "Mnist"},
    "fashion-mnist": {"class_path": "FashionMnist"},
    "fashion-mnist-linear": {"class_path": "FashionMnist", "init_args": {"architecture": "linear"}},
    "fashion-mnist-conv": {"class_path": "FashionMnist", "init_args": {"architecture": "conv"}},
    "cifar10": {"class_path": "Cifar", "init_args": {"classes": 10}},
    "cifar100": {"class_path": "Cifar", "init_args": {"classes": 100}},
    "wikitext": {"class_path": "WikiText"},
    "tdl-c": {"class_path": "TappedDelayLine", "init_args": {"profile": "C", "delay_spread_s": 100e-9}},
    "umi": {"class_path": "SionnaCell", "init_args": {"scenario": "umi"}},
}
"""One name -> class and arguments."""

_FAMILIES = (
    csi,
    digital,
    downlinks,
    energy,
    fading,
    hardware,
    participation,
    power_control,
    propagation,
    receivers,
    scale,
    uplinks,
    waveform,
)
_COMMANDS = {
    "task": Task,
    "compressor": compression.Compressor,
    "uplink": channels.Uplink,
    "downlink": channels.Downlink,
    "callbacks": callbacks.Callback,
    "local": training.LocalSteps,
    "optimizer": optimizers.ServerOptimizer,
    "rows": RowStore,
}
"""Parameters of the commands themselves."""


class Part(NamedTuple):
    """A class that can be named.

    path: to import it from. kind: the class. distribution: that brings it, empty for this one.
    """

    path: str
    kind: type
    distribution: str = ""


def _own_parts() -> dict[str, Part]:
    """Public classes with parameters, by name."""
    rooms = [("compression", compression), *(("channels", family) for family in _FAMILIES), ("benchmarks.tasks", tasks)]
    rooms += [("benchmarks.callbacks", callbacks), ("benchmarks.optimizers", optimizers), ("training", training)]
    named = ((room, name, getattr(module, name)) for room, module in rooms for name in module.__all__)
    classes = ((room, name, kind) for room, name, kind in named if inspect.isclass(kind) and is_dataclass(kind))
    return {name: Part(f"laser_wireless.{room}.{name}", kind) for room, name, kind in classes}


def joined(own: Mapping[str, Any]) -> dict[str, Part]:
    """Classes that other distributions bring in the entry-point group `laser_wireless.parts`, by the entry's name.

    What cannot be imported, is no class or has a name that is taken is left out, and said in one line on stderr.
    """
    found: dict[str, Part] = {}
    for entry in entry_points(group=GROUP):
        owner = entry.dist.name if entry.dist else "a distribution without a name"
        try:
            kind = entry.load()
        except Exception as error:  # whatever their module does
            _left_out(owner, entry.name, f"cannot be imported ({type(error).__name__}: {error})")
            continue
        if entry.name in own or entry.name in found:
            _left_out(owner, entry.name, "has a name that is taken; give the entry another")
        elif not inspect.isclass(kind):
            _left_out(owner, entry.name, f"must be a class, got {type(kind).__name__}")
        else:
            found[entry.name] = Part(entry.value.replace(":", "."), kind, owner)
    return found


def _left_out(owner: str, name: str, why: str) -> None:
    print(f"laser: {name} of {owner} is left out: it {why}", file=sys.stderr)


def offers(kind: type, protocol: type) -> bool:
    """Whether a class has a protocol's methods, with the same positional arguments and at least its keyword-only ones."""
    methods = {name: member for name, member in vars(protocol).items() if inspect.isfunction(member)}
    asked = {name: member for name, member in methods.items() if name == "__call__" or not name.startswith("_")}
    return bool(asked) and all(_takes(getattr(kind, name, None), member) for name, member in asked.items())


def _takes(method: Any, wanted: Any) -> bool:
    if not inspect.isfunction(method):
        return False
    theirs, asked = (list(inspect.signature(function).parameters.values())[1:] for function in (method, wanted))
    own = {p.name: p for p in theirs}
    keywords = {p.name for p in asked if p.kind is p.KEYWORD_ONLY}
    more = [p for p in theirs if p.kind is p.KEYWORD_ONLY and p.name not in keywords]
    return (
        [p.name for p in theirs if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        == [p.name for p in asked if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        and keywords <= set(own)
        and all(p.default is not p.empty for p in more)
    )


def _serve(annotation: Any, parts: Mapping[str, Part]) -> list[str]:
    """Names that fit an annotation; empty where it asks for no part."""
    found: list[str] = []
    for kind in _kinds(annotation):
        if is_protocol(kind):
            found += [name for name, (_, cls, _) in parts.items() if offers(cls, kind)]
        else:
            found += [name for name, (_, cls, _) in parts.items() if cls is kind]
    return found


def _kinds(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    if inner:
        for entry in inner:
            yield from _kinds(entry)
    elif inspect.isclass(annotation):
        yield annotation


def _slots(parts: Mapping[str, Part]) -> dict[str, tuple[str, ...]]:
    """Parameters that take a part, by name over all classes -> names that fit, those of defaults first."""
    found: dict[str, list[str]] = {name: _serve(protocol, parts) for name, protocol in _COMMANDS.items()}
    for _, kind, _ in parts.values():
        hints = hints_of(kind) if is_dataclass(kind) else {}
        for f in fields(kind) if hints else ():
            if names := _serve(hints[f.name], parts):
                default = [] if f.default_factory is MISSING else [type(f.default_factory()).__name__]
                found[f.name] = [name for name in default if name in names] + found.get(f.name, []) + names
    presets = {name: preset["class_path"] for name, preset in PRESETS.items()}
    with_presets = {
        slot: [*names, *(preset for preset, kind in presets.items() if kind in names)] for slot, names in found.items()
    }
    return {slot: tuple(dict.fromkeys(names)) for slot, names in with_presets.items()}


_PARTS = _own_parts()
_PARTS |= joined(_PARTS)
CLASSES: dict[str, str] = {name: part.path for name, part in _PARTS.items()}
"""Class name -> import path."""

COMPONENTS: dict[str, tuple[str, ...]] = _slots(_PARTS)
"""Parameters that take an object or a function, wherever they stand -> the names that fit."""

BROUGHT_BY: dict[str, str] = {name: part.distribution for name, part in _PARTS.items() if part.distribution}
"""Class name -> the distribution of somebody else's that brings it."""

PLAIN_WORDS: dict[str, tuple[str, ...]] = {"scale": ("least_error", "unit_sum")}
"""Parameters that hold a component in one class and a name of its own in another -> those names."""
