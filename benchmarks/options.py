"""Options of the command line, laid over YAML: --NAME VALUE, dots for what lies inside.

Values are read as YAML is (`strict_yaml`), but an option that holds text, by its annotation, takes its value as it stands:
`--output 1e3` is a folder of that name. Options may come in any order: a component before its arguments, all after --config.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, load_yaml, override, resolve
from laser_wireless.benchmarks.fitting import Misfit, fit, hints_of
from laser_wireless.benchmarks.strict_yaml import NotYaml, parse_yaml
from laser_wireless.benchmarks.training_run import Device
from laser_wireless.benchmarks.value_words import is_list, members_of, shown


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """Options of the commands themselves, beside what they run.

    Args:
        config: YAML with the same options, nested.
        output: folder to write to.
        device: where to compute.
        jobs: processes at a time; 0 for one per core.
        processes: that hold the devices of one run.
        scale: of a sweep's file.
    """

    config: str = ""
    output: str | None = None
    device: Device = "auto"
    jobs: int = 0
    processes: int = 1
    scale: Literal["full", "small"] = "full"


def read_options(words: list[str], spec: Spec, own: dict[str, Any], settings: Callable[..., Any]) -> bool:
    """Put options into a nested spec.

    Args:
        words: of the command line, after the command.
        spec: filled in place; `--config FILE` first, then the other options, components before what lies inside them.
        own: options of the command itself (names of `CommandOptions`), with their defaults; filled in place.
        settings: the class whose arguments the spec gives.

    Returns:
        whether help is asked for.

    Raises:
        BadConfiguration: a word that is no option, an option without a value or given twice, an unknown component.
    """
    given, wants_help = split_options(words)
    lay_over(given, spec, own, settings)
    return wants_help


def split_options(words: list[str]) -> tuple[dict[str, str], bool]:
    """Options by name, each with the text given for it; and whether help is asked for.

    Raises:
        BadConfiguration: a word that is no option, an option without a value or given twice.
    """
    wants_help = "--help" in words or "-h" in words
    rest = [word for word in words if word not in ("--help", "-h")]
    given: dict[str, str] = {}
    while rest:
        name, joined, value = rest.pop(0).partition("=")
        if not name.startswith("--") or not all(name[2:].split(".")):
            raise BadConfiguration(f"{shown(name)} is not an option; options are --NAME VALUE")
        if not joined and (not rest or rest[0].startswith("--")):
            if wants_help:
                continue
            raise BadConfiguration(f"{name} needs a value")
        if name[2:] in given:
            raise BadConfiguration(f"{name} must be given once, got {shown(given[name[2:]])} already; leave one of them out")
        given[name[2:]] = value if joined else rest.pop(0)
    return given, wants_help


def lay_over(
    given: dict[str, str], spec: Spec, own: dict[str, Any], settings: Callable[..., Any], others: Iterable[str] = ()
) -> None:
    """Put options, by name, into a nested spec; see `read_options`. `others` are names that the spec takes beside them."""
    if "config" in given:
        lay_under(load_yaml(given["config"]), spec, own)
    for name, text in sorted(given.items(), key=lambda pair: pair[0].count(".")):
        path = name.split(".")
        if name in own:
            own[name] = own_option(name, value_of(text, hints_of(CommandOptions)[name], name))
        elif name != "config":
            _check_first(path[0], [*inspect.signature(settings).parameters, *others, *own, "config"])
            override(spec, path, value_of(text, hint_at(path, spec, settings), name))


def lay_under(content: Spec, spec: Spec, own: dict[str, Any]) -> None:
    """Put the content of a file into a nested spec, and options of the command itself where they belong."""
    for name, entry in content.items():
        if name in own:
            own[name] = own_option(name, entry)
        else:
            override(spec, [name], entry)


def own_option(name: str, value: Any) -> Any:
    """The value of an option of the command itself, checked.

    Raises:
        BadConfiguration: of another kind, or out of its range.
    """
    try:
        fitted = fit(value, hints_of(CommandOptions)[name], f"--{name}")
    except Misfit as error:
        raise BadConfiguration(str(error)) from error
    if isinstance(fitted, int) and fitted < 0:
        raise BadConfiguration(f"--{name} must be an integer >= 0, got {fitted}")
    if fitted == "":
        raise BadConfiguration(f"--{name} must not be empty; leave it out or name one")
    return fitted


def value_of(text: str, hint: Any, name: str) -> Any:
    """What a text on the command line says: the text itself where the annotation asks for one, a value of YAML elsewhere.

    Raises:
        BadConfiguration: the text is no YAML.
    """
    kinds = [kind for kind in members_of(hint) if not is_list(kind)]
    takes_text, takes_null = str in kinds, type(None) in kinds
    if (
        takes_text
        and not (takes_null and text in ("null", "~"))
        and not (len(kinds) < len(members_of(hint)) and text[:1] == "[")
    ):
        return text
    try:
        return parse_yaml(text)
    except NotYaml as error:
        raise BadConfiguration(f"--{name}: {shown(text)} is not a value: {error}") from error


def hint_at(path: list[str], spec: Spec, settings: Callable[..., Any]) -> Any:
    """The annotation of an option, by the components that the spec names so far."""
    target, where = settings, spec
    for name in path[:-1]:
        inner: Any = where.get(name) if isinstance(where, dict) else None
        where = dict(zip(map(str, range(len(inner))), inner, strict=True)) if isinstance(inner, list) else inner
        if isinstance(where, dict) and "class_path" in where:
            target, where = resolve(where["class_path"], ".".join(path[:-1])), where.get("init_args", {})
    return hints_of(target).get(path[-1], Any)


def _check_first(name: str, known: list[str]) -> None:
    """Refuse an option that neither the command nor its settings know."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
        hint = f"did you mean --{' or --'.join(near)}? " if near else ""
        raise BadConfiguration(f"--{name} is not an option here; {hint}There are --{', --'.join(known)}")
