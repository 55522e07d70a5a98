"""Help that teaches: every option of a command, of the components chosen, and of those that could be."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from docstring_parser import parse
from laser_wireless.benchmarks.assembly import Spec, resolve
from laser_wireless.benchmarks.vocabulary import COMPONENTS, PRESETS

_WIDTH = 110


def options_of(target: Callable[..., Any], prefix: str = "", components: bool = True) -> str:
    """One entry per argument of a class or function: option, default, what its docstring says.

    Args:
        target: the class or function.
        prefix: of its options.
        components: whether an option that can name a component, here or elsewhere, says which.
    """
    described = {entry.arg_name: entry.description or "" for entry in parse(target.__doc__ or "").params}
    lines = []
    for name, parameter in inspect.signature(target).parameters.items():
        words = f" ({', '.join(COMPONENTS[name])} or an import path)" if components and name in COMPONENTS else ""
        default = parameter.default
        if default is parameter.empty:
            stands = "required"
        elif isinstance(default, int | float | str | bool | list | tuple | None):
            stands = f"default {default}"
        else:
            stands = "optional"
        text = " ".join(f"[{stands}]{words} {described.get(name, '')}".split())
        lines.append(f"  --{prefix}{name}\n{textwrap.fill(text, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)}")
    return "\n".join(lines)


def chosen_components(spec: Spec, prefix: str = "") -> str:
    """The options of every component that a configuration names."""
    parts = []
    entries = [(name, entry) for name, entry in spec.items() if not isinstance(entry, list)]
    lists = [(name, entry) for name, entry in spec.items() if isinstance(entry, list)]
    entries += [(f"{name}.{i}", part) for name, entry in lists for i, part in enumerate(entry)]
    for name, entry in entries:
        if isinstance(entry, dict) and "class_path" in entry:
            target = resolve(entry["class_path"], f"{prefix}{name}")
            headline = (inspect.getdoc(target) or "").split("\n")[0]
            parts.append(f"{target.__name__} (--{prefix}{name}): {headline}")
            if inspect.isclass(target) and inspect.signature(target).parameters:
                parts.append(options_of(target, f"{prefix}{name}."))
            inner = chosen_components(entry["init_args"], f"{prefix}{name}.")
            parts += [inner] if inner else []
    return "\n\n".join(parts)


def presets(place: str | None = None) -> str:
    """The words that stand for a class and its arguments; of all components, or of those that fit one place."""
    return "\n".join(
        f"  {word:14} {value['class_path']} {value.get('init_args', '')}"
        for word, value in PRESETS.items()
        if place is None or value["class_path"] in COMPONENTS[place]
    )
