"""Parameters: a frozen dataclass whose fields hold what their annotations say, checked when it is made.

    @dataclass(frozen=True, kw_only=True)
    @checked
    class Rician:
        k_factor: float = 4.0

Booleans are no numbers, whole numbers are numbers, NumPy's scalars become Python's. A `Literal` takes its words alone, a
`Protocol` what offers its methods (see `channels.contracts`). Ranges are up to the class's own `__post_init__`, which runs
afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

from laser_wireless.channels.contracts import check_component, described, fits, instance_of, is_plain, is_protocol, shown

T = TypeVar("T")

_PLAIN = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a word",
    NoneType: "None",
    Tensor: "a tensor",
}


def checked(cls: type[T]) -> type[T]:
    """Have a dataclass check its fields by their annotations before its own `__post_init__`; stands below `@dataclass`."""
    own = cls.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        check_fields(self)
        if own is not None:
            own(self)

    cls.__post_init__ = wraps(own)(__post_init__) if own else __post_init__  # type: ignore[attr-defined]
    return cls


def check_fields(parameters: Any) -> None:
    """Refuse a field that is not what its annotation says, and bring NumPy's scalars into Python's numbers.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: a word that is none of those a field may hold.
    """
    kind: type = type(parameters)
    for name, annotation in _fields(kind).items():
        value = getattr(parameters, name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(parameters, name, value)
        check_value(name, value, annotation)


def check_value(name: str, value: Any, annotation: Any) -> None:
    """Refuse a value that is not what an annotation says.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: a word that is none of those named.
    """
    kinds = alternatives(annotation)
    if isinstance(value, np.ndarray) and value.ndim and Tensor in kinds:  # where tensors will do, so will arrays
        value = value.tolist()
    if not any(_is(value, kind) for kind in kinds):
        _refuse(name, value, kinds)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The kinds that a union names; one alone for anything else."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for entry in get_args(annotation) for kind in alternatives(entry))
    return (annotation,)


@lru_cache(maxsize=256)
def _fields(cls: type) -> dict[str, Any]:
    """Annotations of a dataclass's fields, resolved."""
    hints = get_type_hints(cls)
    return {name: hints[name] for name in cls.__dataclass_fields__ if get_origin(hints[name]) is not ClassVar}  # type: ignore[attr-defined]


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of one kind.

    Raises:
        NotImplementedError: a kind of annotation that nobody has taught this function.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if kind in (None, NoneType):
        return value is None
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in arguments)
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        return _is_number(value, kind)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and _are(value, origin, arguments)
    if origin is Callable or kind is Callable:
        return callable(value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(_fits_one(entry, arguments[1]) for entry in value.values())
    if is_protocol(kind):
        return fits(value, kind)
    if inspect.isclass(kind) and origin is None:
        return isinstance(value, kind)
    raise NotImplementedError(f"no check for values annotated {kind!r}")


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, Tensor):  # a number that is learned
        return kind is float and value.ndim == 0 and value.is_floating_point()
    return not isinstance(value, bool) and isinstance(value, Integral if kind is int else Real)


def _are(values: Sequence[Any], origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return len(values) == len(arguments) and all(map(_fits_one, values, arguments))
    return all(_fits_one(value, arguments[0]) for value in values)


def _fits_one(value: Any, annotation: Any) -> bool:
    return any(_is(value, kind) for kind in alternatives(annotation))


def _refuse(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    """Say what is wrong with a value that is none of the kinds."""
    if isinstance(value, list | tuple):
        for kind in kinds:
            if get_origin(kind) in (list, tuple, Sequence) and (inner := get_args(kind)):
                for place, entry in enumerate(value):
                    check_value(f"{name}[{place}]", entry, inner[0])
    for kind in kinds if isinstance(value, Mapping) else ():
        if get_origin(kind) in (dict, Mapping):
            for key, entry in value.items():
                check_value(f"{name}.{key}", entry, get_args(kind)[1])
    protocols = [kind for kind in kinds if is_protocol(kind)]
    if protocols and (len(protocols) == len(kinds) or not is_plain(value)):
        check_component(name, value, *protocols)
    classes = [kind for kind in kinds if inspect.isclass(kind) and get_origin(kind) is None]
    if inspect.isclass(value) and any(issubclass(value, kind) for kind in classes):
        raise TypeError(f"{name} must be an object, got the class {value.__name__}; write {instance_of(name, value)}")
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    error = ValueError if type(value) in map(type, words) else TypeError
    remedy = "; use .tolist()" if isinstance(value, np.ndarray) else ""
    raise error(f"{name} must be {_in_words(kinds)}, got {shown(value)}{remedy}")


def _in_words(kinds: tuple[Any, ...]) -> str:
    words = list(dict.fromkeys(word for kind in kinds for word in _words(kind)))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(kind: Any) -> list[str]:
    """A kind as a user reads it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [f'"{word}"' if isinstance(word, str) else repr(word) for word in arguments]
    if origin in (list, tuple, Sequence):
        inner = [_in_words(alternatives(entry)) for entry in arguments if entry is not Ellipsis]
        return [f"a list of {_plural(inner[0])}" if len(inner) == 1 else f"({', '.join(inner)})"]
    if is_protocol(kind):
        return [described(kind)]
    if origin is Callable or kind is Callable:
        return ["a function"]
    name = getattr(kind, "__name__", str(kind))
    return [_PLAIN.get(kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"]


def _plural(words: str) -> str:
    """`a number` -> `numbers`, `a function (x)` -> `functions (x)`."""
    article, noun, *rest = words.split(" ")
    return " ".join([f"{noun}s", *rest]) if article in ("a", "an") else words
