"""From words to objects: what a user writes in options or YAML, checked and built.

A component is written as a word (`Rayleigh`, `laser`, `my_module.my_fading`) or with arguments, in YAML

    compressor: {class_path: LowRank, init_args: {rank: 4}}

and as options `--compressor LowRank --compressor.rank 4`. Several in a row are a list of them; options reach one by its
place, `--uplink.impairments '[Rapp, PhaseNoise]' --uplink.impairments.0.smoothness 2`. Both become one nested plain value, a
*spec*, which is what a run records of itself. Classes are checked and converted by their annotations; a function is taken as
it is.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from laser_wireless.benchmarks.value_words import misfit
from laser_wireless.benchmarks.vocabulary import CLASSES, COMPONENTS, PLAIN_WORDS, PRESETS

Spec = dict[str, Any]


class BadConfiguration(ValueError):
    """A configuration that cannot be built; the message names the place, what was found and the remedy."""


def component(value: Any, place: str) -> Any:
    """Bring a component into its plain form {"class_path": import path, "init_args": {...}}.

    Numbers (an energy budget, say) stay as they are, and so do words that some class takes as they are; in a list each
    entry is brought into its form.

    Raises:
        BadConfiguration: a word that is not known or does not fit the place, or a mapping of another form.
    """
    if isinstance(value, str) and value in PLAIN_WORDS.get(_last_name(place), ()):
        return value
    if isinstance(value, str):
        return _word(value, place)
    if isinstance(value, list):
        return [component(entry, f"{place}[{i}]") for i, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if set(value) - {"class_path", "init_args"} or not isinstance(value.get("class_path"), str):
        raise BadConfiguration(
            f"{place} must be a name, or {{class_path: NAME, init_args: {{...}}}}, got {value!r}; "
            f"for example {place}: {{class_path: {_examples(place)[0]}, init_args: {{}}}}"
        )
    found = _word(value["class_path"], place)
    for name, entry in (value.get("init_args") or {}).items():
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


def build(spec: Any, place: str) -> Any:
    """Make the object that a spec describes.

    Raises:
        BadConfiguration: an unknown or misspelt argument, a value of the wrong type, or one that the class refuses.
    """
    if isinstance(spec, list):
        return [build(entry, f"{place}[{i}]") for i, entry in enumerate(spec)]
    if not isinstance(spec, dict):
        return spec
    target = resolve(spec["class_path"], place)
    arguments = spec["init_args"]
    if not inspect.isclass(target):
        if arguments:
            raise BadConfiguration(f"{place}: {spec['class_path']} is a function and takes no arguments, got {arguments}")
        return target
    return assemble(target, arguments, place, f"{place}.")


def assemble(target: Callable[..., Any], arguments: Spec, place: str, prefix: str = "") -> Any:
    """Call a class or function with plain arguments and with components, which are built first.

    Args:
        target: what to call.
        arguments: its arguments, components as specs.
        place: where it stands, for error messages.
        prefix: of the places of its components.
    """
    _check_names(target, arguments, place)
    given = [name for name, entry in arguments.items() if name in COMPONENTS and _holds_components(entry)]
    for name in given:
        _check_number(target, name, arguments[name], f"{prefix}{name}")
    inner = {name: build(arguments[name], f"{prefix}{name}") for name in given}
    return call(target, {name: entry for name, entry in arguments.items() if name not in inner}, place, inner)


def _holds_components(entry: Any) -> bool:
    return isinstance(entry, dict) or (isinstance(entry, list) and any(isinstance(part, dict) for part in entry))


def _check_number(target: Callable[..., Any], name: str, entry: Any, place: str) -> None:
    """Refuse a list of components where one is wanted, and one where a list is wanted, by the annotation."""
    annotation = str(inspect.signature(target).parameters[name].annotation)
    if isinstance(entry, list) and "list[" not in annotation and annotation[:1].isupper():
        raise BadConfiguration(f"{place} must be one component, got a list of {len(entry)}")
    if isinstance(entry, dict) and annotation.startswith("list[") and " | " not in annotation:
        word = entry["class_path"].rsplit(".", 1)[-1]
        raise BadConfiguration(
            f"{place} must be a list, such as [{word}]; as options, --{place} '[{word}]' and --{place}.0.ARGUMENT"
        )


def _check_names(target: Callable[..., Any], arguments: Spec, place: str) -> None:
    known = inspect.signature(target).parameters
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else "."
            raise BadConfiguration(
                f"{place}: {target.__name__} has no argument {name!r}{hint} It takes {', '.join(known) or 'none'}"
            )


def call(target: Callable[..., Any], plain: Spec, place: str, inner: Spec) -> Any:
    """Call a class or function with plain arguments, checked against its annotations, and built ones."""
    _check_names(target, plain, place)
    known = inspect.signature(target).parameters
    missing = [n for n, p in known.items() if p.default is p.empty and n not in plain and n not in inner]
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    skipped: set[str | int] = {name for name in known if name not in plain}
    if inspect.isclass(target):
        parser.add_class_arguments(target, None, skip=skipped)
    else:
        parser.add_function_arguments(target, None, skip=skipped)
    try:
        values = parser.parse_object(plain).as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        raise BadConfiguration(f"{place}: {target.__name__}: {misfit(target, plain, error)}") from error
    if missing and all(known[name].kind is not inspect.Parameter.VAR_KEYWORD for name in missing):
        raise BadConfiguration(f"{place}: {target.__name__} needs {', '.join(missing)}")
    try:
        return target(**values, **inner)
    except (ImportError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        owner = "" if reason.startswith(target.__name__) else f"{target.__name__}: "
        raise BadConfiguration(f"{place}: {owner}{reason}") from error


def load_yaml(path: str) -> Spec:
    """Read a configuration file.

    Raises:
        BadConfiguration: it does not exist, is no YAML, or holds no mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadConfiguration(f"{path} must hold a mapping of options, got {type(content).__name__}")
    return content


def _word(word: str, place: str) -> Spec:
    """The spec of a class name, a preset or an import path."""
    if word == "noiseless":
        raise BadConfiguration(
            f"{place}: noiseless is the scheme z-sgd over a channel without noise: take z-sgd, with noise_variance 0 in the "
            "uplink; a sweep always draws it"
        )
    name, kind = _last_name(place), PRESETS.get(word, {"class_path": word})["class_path"]
    fitting = [PRESETS.get(known, {"class_path": known})["class_path"] for known in COMPONENTS.get(name, ())]
    if fitting and kind in CLASSES and kind not in fitting:
        raise BadConfiguration(f"{place}: {word} does not belong here. {_choice(place)}")
    if word in PRESETS:
        preset = deepcopy(PRESETS[word])
        return component({**preset, "class_path": CLASSES[preset["class_path"]]}, place)
    if word in CLASSES:
        return {"class_path": CLASSES[word], "init_args": {}}
    if "." in word and all(part.isidentifier() for part in word.split(".")):
        return {"class_path": word, "init_args": {}}
    presets = [word for word, preset in PRESETS.items() if not fitting or preset["class_path"] in fitting]
    near = difflib.get_close_matches(word, dict.fromkeys([*COMPONENTS.get(name, CLASSES), *presets]), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise BadConfiguration(f"{place}: {word!r} is not known{hint} {_choice(place)}")


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
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadConfiguration(f"{place}: cannot import {path} ({error}); is its folder the working directory?") from error
