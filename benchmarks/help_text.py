"""Help that teaches: every option of a command, of the components chosen, and of those that could be."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping
from typing import Any

from docstring_parser import parse

from laser_wireless.benchmarks.assembly import Spec, resolve
from laser_wireless.benchmarks.bound_function import settable
from laser_wireless.benchmarks.fitting import hints_of
from laser_wireless.benchmarks.vocabulary import BROUGHT_BY, COMPONENTS, PLAIN_WORDS, PRESETS

_WIDTH = 110


def options_of(
    target: Callable[..., Any],
    prefix: str = "",
    components: bool = True,
    chosen: Spec | None = None,
    parameters: Mapping[str, inspect.Parameter] | None = None,
) -> str:
    """One entry per argument of a class or function: option, default, what its docstring says.

    Args:
        target: the class or function.
        prefix: of its options.
        components: whether an option that can name a component, here or elsewhere, says which.
        chosen: the configuration so far, which says what is taken where no default is.
        parameters: those that can be set; all of them if None.
    """
    described = {entry.arg_name: entry.description or "" for entry in parse(target.__doc__ or "").params}
    lines = []
    for name, parameter in (inspect.signature(target).parameters if parameters is None else parameters).items():
        default = _default(target, name)
        named = components and name in COMPONENTS and not (isinstance(default, str) and default in PLAIN_WORDS.get(name, ()))
        names = f" ({', '.join(map(_labelled, COMPONENTS[name]))} or an import path)" if named else ""
        stands = "required" if parameter.default is parameter.empty else "optional"
        if isinstance(default, int | float | str | bool | list | tuple | dict | None) and stands == "optional":
            stands = f"default {default}"
        elif dataclasses.is_dataclass(default):
            stands = f"default {type(default).__name__}"
        taken = (chosen or {}).get(name)
        if isinstance(taken, dict) and "class_path" in taken:
            stands = f"chosen: {taken['class_path'].rsplit('.', 1)[-1]}"
        text = " ".join(f"[{stands}]{names} {described.get(name, '')}".split())
        lines.append(f"  --{prefix}{name}\n{textwrap.fill(text, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)}")
    return "\n".join(lines)


def _default(target: Callable[..., Any], name: str) -> Any:
    """The default of an argument, made if a dataclass makes it anew for each object."""
    default = inspect.signature(target).parameters[name].default
    for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if field.name == name and field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return default


def places(target: Callable[..., Any]) -> set[str]:
    """The parameters that can name a component, of a class and of the uplinks if it has one."""
    names = set(inspect.signature(target).parameters) & set(COMPONENTS)
    names |= {"compressor"} if "schemes" in inspect.signature(target).parameters else set()
    return names | {"fading"} if "uplink" in names else names


def chosen_components(spec: Spec, owner: Callable[..., Any], prefix: str = "") -> str:
    """The options of every component that a configuration, of the arguments of its owner, names."""
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
            elif inspect.isfunction(target):
                own = settable(target, hints_of(owner).get(name.split(".")[0], Any))
                parts += [options_of(target, f"{prefix}{name}.", parameters=own)] if own else []
            inner = chosen_components(entry["init_args"], target, f"{prefix}{name}.")
            parts += [inner] if inner else []
    return "\n\n".join(parts)


def presets(places: Collection[str]) -> str:
    """The names that stand for a class and its arguments, of those that fit one of the places."""
    return "\n".join(
        f"  {name:14} {value['class_path']} {_arguments(value.get('init_args', {}))}".rstrip()
        for name, value in PRESETS.items()
        if any(name in COMPONENTS[place] or value["class_path"] in COMPONENTS[place] for place in places)
    )


def _arguments(arguments: Spec) -> str:
    return ", ".join(f"{name} = {value}" for name, value in arguments.items())


def _labelled(name: str) -> str:
    """A name, and who brings it if it is not this package."""
    return f"{name} [{BROUGHT_BY[name]}]" if name in BROUGHT_BY else name
