"""From text to objects: what a user writes in options or YAML, checked and built.

A component is written as a name (`Rayleigh`, `laser`, `my_module.my_fading`) or with arguments, in YAML

    compressor: {class_path: LowRank, init_args: {rank: 4}}

and as options `--compressor LowRank --compressor.rank 4`. Several in a row are a list of them; options reach one by its
place, `--uplink.impairments '[Rapp, PhaseNoise]' --uplink.impairments.0.smoothness 2`. Both become one nested plain value, a
*spec*, which is what a run records of itself. Arguments are checked and converted by their annotations. A plain function
takes arguments too: those that its place does not pass.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from laser_wireless.benchmarks.bound_function import BoundFunction, settable
from laser_wireless.benchmarks.fitting import Misfit, fit, hints_of
from laser_wireless.benchmarks.strict_yaml import NotYaml, parse_yaml
from laser_wireless.benchmarks.users_code import named_modules, said, users_line
from laser_wireless.benchmarks.value_words import entry_of, is_list, members_of, shown
from laser_wireless.benchmarks.vocabulary import CLASSES, COMPONENTS, PLAIN_WORDS, PRESETS

Spec = dict[str, Any]

_NAMES = {path: name for name, path in CLASSES.items()}


class BadConfiguration(ValueError):
    """A configuration that cannot be built; the message names the place, what was found and the remedy."""


def component(value: Any, place: str) -> Any:
    """Bring a component into its plain form {"class_path": import path, "init_args": {...}}.

    Numbers (an energy budget, say) stay as they are, and so do names that some class takes as they are; in a list each
    entry is brought into its form.

    Raises:
        BadConfiguration: a name that is not known or does not fit the place, or a mapping of another form.
    """
    if isinstance(value, str) and value in PLAIN_WORDS.get(_last_name(place), ()):
        return value
    if isinstance(value, str):
        return _named(value, place)
    if isinstance(value, list):
        return [component(entry, f"{place}[{i}]") for i, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    arguments = value.get("init_args") or {}
    if set(value) - {"class_path", "init_args"} or not isinstance(value.get("class_path"), str):
        raise BadConfiguration(
            f"{place} must be a name, or {{class_path: NAME, init_args: {{...}}}}, got {shown(value)}; "
            f"for example {place}: {{class_path: {_examples(place)[0]}, init_args: {{}}}}"
        )
    if not isinstance(arguments, dict):
        raise BadConfiguration(f"{place}: init_args must be a mapping from names to values, got {shown(arguments)}")
    found = _named(value["class_path"], place)
    for name, entry in arguments.items():
        found["init_args"][name] = component(entry, f"{place}.{name}") if name in COMPONENTS else entry
    return found


def override(spec: Spec, path: Sequence[str], value: Any) -> None:
    """Set one option, such as ["uplink", "fading", "k_factor"], in a nested spec; a new class drops the old arguments."""
    where = spec
    for depth, name in enumerate(path[:-1]):
        inner = where.get(name)
        place = ".".join(path[: depth + 1])
        if isinstance(inner, list) and all(isinstance(entry, dict) for entry in inner):
            where = {str(i): entry for i, entry in enumerate(inner)}
            if path[depth + 1] not in where or depth + 2 == len(path):
                raise BadConfiguration(
                    f"--{'.'.join(path)}: {place} is a list of {len(inner)}; name one of them by its place, for example "
                    f"--{place}.0.ARGUMENT"
                )
            continue
        if inner is None or not isinstance(inner, dict):
            raise BadConfiguration(f"--{'.'.join(path)}: say first which {name}, for example --{place} {_examples(name)[0]}")
        where = inner["init_args"] if "class_path" in inner else inner
    name = path[-1]
    where[name] = component(value, ".".join(path)) if name in COMPONENTS else value


def build(spec: Any, place: str, hint: Any = Any) -> Any:
    """Make the object that a spec describes.

    Args:
        spec: plain, as `component` gives it.
        place: where it stands, for error messages.
        hint: annotation of that place; says what a function is passed there.

    Raises:
        BadConfiguration: an unknown or misspelt argument, a value of the wrong type, or one that the class refuses.
    """
    if isinstance(spec, list):
        inner = next((entry_of(kind) for kind in members_of(hint) if is_list(kind)), hint)
        return [build(entry, f"{place}[{i}]", inner) for i, entry in enumerate(spec)]
    if not isinstance(spec, dict):
        return spec
    target, arguments = resolve(spec["class_path"], place), spec["init_args"]
    if inspect.isclass(target):
        return assemble(target, arguments, place)
    return _function(target, arguments, place, hint)


def _function(function: Any, arguments: Spec, place: str, hint: Any) -> Any:
    """A function, or an object of the user's; with arguments bound, checked like those of a class."""
    parameters = settable(function, hint) if inspect.isfunction(function) else None
    if parameters is None:
        if arguments:
            found = f"{shown(function)} takes no arguments here"
            raise BadConfiguration(
                f"{place}: {found}, got {', '.join(arguments)}; leave them out, or write a function around it"
            )
        return function
    passed = [name for name in arguments if name in inspect.signature(function).parameters and name not in parameters]
    if passed:
        own = ", ".join(parameters) or "none"
        raise BadConfiguration(
            f"{place}: {passed[0]!r} is passed to {function.__name__} in every call and cannot be set; it takes {own}"
        )
    values = _arguments(function, parameters, arguments, place)
    return BoundFunction(function, **values) if values else function


def assemble(target: Callable[..., Any], arguments: Spec, place: str) -> Any:
    """Call a class or function with plain arguments and with components, which are built first.

    Args:
        target: what to call.
        arguments: its arguments, components as specs.
        place: where it stands, for error messages; empty for the options of a command themselves.
    """
    hints, inner = hints_of(target), {}
    _check_names(target.__name__, inspect.signature(target).parameters, arguments, place)
    for name, entry in arguments.items():
        if name in COMPONENTS and _holds_components(entry):
            hint = hints.get(name, Any)
            _check_number(entry, hint, _inside(place, name))
            inner[name] = build(entry, _inside(place, name), hint)
    return call(target, {**arguments, **inner}, place)


def call(target: Callable[..., Any], arguments: Spec, place: str) -> Any:
    """Call a class or function with arguments, plain or built, checked against its annotations.

    Raises:
        BadConfiguration: see `build`.
    """
    values = _arguments(target, inspect.signature(target).parameters, arguments, place)
    try:
        return target(**values)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's class raises
        told, own = isinstance(error, ImportError | OSError | TypeError | ValueError), users_line(error)
        if not (told or own or isinstance(error, ArithmeticError | RuntimeError)):
            raise  # a fault of this package's
        reason = " ".join(str(error).split()) if told and not own else f"{said(error)}{own}"
        owner = "" if reason.startswith(target.__name__) or not place else f"{target.__name__}: "
        raise BadConfiguration(f"{_head(place)}{owner}{reason}") from error


def _arguments(target: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], given: Spec, place: str) -> Spec:
    """Arguments of a class or function, checked and converted."""
    _check_names(target.__name__, parameters, given, place)
    hints = hints_of(target)
    values = {name: _fitted(entry, hints.get(name, Any), _inside(place, name)) for name, entry in given.items()}
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given and p.kind not in various]
    if missing:
        options = ", ".join("--" + _inside(place, name).replace("[", ".").replace("]", "") for name in missing)
        raise BadConfiguration(f"{_head(place)}{target.__name__} needs {', '.join(missing)}; give {options}")
    return values


def _fitted(value: Any, hint: Any, place: str) -> Any:
    """A value that fits its annotation, or a message with a remedy."""
    try:
        return fit(value, hint, place)
    except Misfit as error:
        names = COMPONENTS.get(_last_name(place), ())[:3]
        example = f"[{', '.join(names)}]" if all(map(is_list, members_of(hint))) else ", ".join(names)
        raise BadConfiguration(f"{error}{f'; for example {example}' if names else ''}") from error


def _holds_components(entry: Any) -> bool:
    return isinstance(entry, dict) or (isinstance(entry, list) and any(isinstance(part, dict) for part in entry))


def _check_number(entry: Any, hint: Any, place: str) -> None:
    """Refuse a list of components where one is wanted, and one where a list is wanted, before they are built."""
    lists = [is_list(kind) for kind in members_of(hint)]
    if isinstance(entry, list) and hint is not Any and not any(lists):
        raise BadConfiguration(f"{place} must be one component, got a list of {len(entry)}; name one, without brackets")
    if isinstance(entry, dict) and all(lists):
        word = entry["class_path"].rsplit(".", 1)[-1]
        raise BadConfiguration(
            f"{place} must be a list, such as [{word}]; as options, --{place} '[{word}]' and --{place}.0.ARGUMENT"
        )


def _check_names(owner: str, known: Mapping[str, inspect.Parameter], given: Iterable[str], place: str) -> None:
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else "."
            raise BadConfiguration(
                f"{_head(place)}{owner} has no argument {shown(name)}{hint} It takes {', '.join(known) or 'none'}"
            )


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _head(place: str) -> str:
    return f"{place}: " if place else ""


def load_yaml(path: str) -> Spec:
    """Read a configuration file.

    Raises:
        BadConfiguration: it does not exist, is no YAML in UTF-8, or holds no mapping.
    """
    try:
        content = parse_yaml(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfiguration(f"{path} is not text in UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    except NotYaml as error:
        raise BadConfiguration(f"{path} is not YAML as it is read here: {error}") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else shown(content)
        raise BadConfiguration(f"{path} must hold a mapping of options, such as num_devices: 16, got {found}")
    return content


def _named(name: str, place: str) -> Spec:
    """The spec of a class name, a preset or an import path."""
    if name == "noiseless":
        raise BadConfiguration(
            f"{place}: noiseless is the scheme z-sgd over a channel without noise: take z-sgd, with noise_variance 0 in the "
            "uplink; a sweep always draws it"
        )
    name = _NAMES.get(name, name)
    slot, kind = _last_name(place), PRESETS.get(name, {"class_path": name})["class_path"]
    fitting = [PRESETS.get(known, {"class_path": known})["class_path"] for known in COMPONENTS.get(slot, ())]
    if fitting and kind in CLASSES and kind not in fitting:
        raise BadConfiguration(f"{place}: {name} does not belong here. {_choice(place)}")
    if name in PRESETS:
        preset = deepcopy(PRESETS[name])
        return component({**preset, "class_path": CLASSES[preset["class_path"]]}, place)
    if name in CLASSES:
        return {"class_path": CLASSES[name], "init_args": {}}
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        return {"class_path": name, "init_args": {}}
    presets = [preset_name for preset_name, preset in PRESETS.items() if not fitting or preset["class_path"] in fitting]
    near = difflib.get_close_matches(name, dict.fromkeys([*COMPONENTS.get(slot, CLASSES), *presets]), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise BadConfiguration(f"{place}: {name!r} is not known{hint} {_choice(place)}")


def _choice(place: str) -> str:
    return f"It may be {', '.join(_examples(place))}, or an import path such as my_module.my_function"


def _last_name(place: str) -> str:
    return place.rsplit(".", 1)[-1].split("[")[0]


def _examples(place: str) -> tuple[str, ...]:
    return COMPONENTS.get(_last_name(place), (*CLASSES, *PRESETS))


def resolve(path: str, place: str) -> Any:
    """Import a class or function.

    Raises:
        BadConfiguration: there is none.
    """
    module, _, name = path.rpartition(".")
    if module.split(".")[0] != "laser_wireless":
        named_modules.add(module)
    try:
        return getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's module does while it is imported
        own = "" if module in sys.modules else users_line(error)  # it is there and lacks the name
        if own or not isinstance(error, ImportError | AttributeError):
            raise BadConfiguration(f"{place}: importing {path} failed ({said(error)}{own})") from error
        reason = " ".join(str(error).split())
        raise BadConfiguration(f"{place}: cannot import {path} ({reason}); is its folder the working directory?") from error
