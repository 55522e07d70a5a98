"""What an option may hold, in words: annotations as a user reads them, for messages about values of the wrong kind."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from torch import Tensor

from laser_wireless.channels import Fading, FadingProcess, Paths, PathsProcess

_WORDS = {
    float: "a number",
    int: "an integer",
    bool: "true or false",
    str: "text",
    type(None): "null",
    Fading: "a fading law",
    FadingProcess: "a fading law",
    Paths: "a model of paths",
    PathsProcess: "a model of paths",
}
_MANY = {float: "numbers", int: "integers", bool: "true or false", str: "texts"}


def members_of(hint: Any) -> tuple[Any, ...]:
    """The kinds that a resolved annotation allows: those of a union, one otherwise."""
    if get_origin(hint) is Annotated:
        return members_of(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for member in get_args(hint) for kind in members_of(member))
    return (type(None),) if hint is None else (hint,)


def is_list(kind: Any) -> bool:
    """Whether a kind is a list, tuple or other sequence of entries."""
    return (get_origin(kind) or kind) in (list, tuple, Sequence, Collection, Iterable)


def is_mapping(kind: Any) -> bool:
    """Whether a kind is a dictionary or other mapping."""
    return (get_origin(kind) or kind) in (dict, Mapping, MutableMapping)


def entry_of(kind: Any) -> Any:
    """The annotation of the entries of a list, or of the values of a mapping."""
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis][is_mapping(kind) :]
    return arguments[0] if len(arguments) == 1 else Any


def words_of(hint: Any) -> str:
    """An annotation in words: `float | None` is "a number or null". Tensors are left out: no option can hold one."""
    members = members_of(hint)
    return " or ".join(dict.fromkeys(_words(kind) for kind in members if kind is not Tensor or len(members) == 1))


def _words(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if get_origin(kind) is Literal:
        *others, last = map(repr, get_args(kind))
        return f"{', '.join(others)} or {last}" if others else last
    if get_origin(kind) is Callable or kind is Callable:
        return "a function"
    if is_mapping(kind):
        return "a mapping from names" + ("" if entry_of(kind) is Any else f" to {_many(entry_of(kind))}")
    if is_list(kind):
        return "a list" + ("" if entry_of(kind) is Any else f" of {_many(entry_of(kind))}")
    return getattr(kind, "__name__", None) or str(kind)


def _many(hint: Any) -> str:
    words = [
        _MANY.get(kind) or _words(kind).replace("a list", "lists").replace("a mapping", "mappings")
        for kind in members_of(hint)
    ]
    return " or ".join(dict.fromkeys(words))


def shown(value: Any) -> str:
    """A value as a message names it, as YAML has it and not too long."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
