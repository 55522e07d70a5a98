"""Parameters of a scheme: fields that hold what their annotations say, numbers and words alike.

    @dataclass(frozen=True, kw_only=True)
    @checked
    class RandomK:
        fraction: float = 0.01

Booleans are no numbers, whole numbers are numbers, NumPy's scalars become Python's, a `Literal` takes its words alone.
Ranges are up to the scheme's own `__post_init__`, which runs afterwards.
"""

from __future__ import annotations

from dataclasses import fields
from functools import wraps
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")

_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "an integer"),
    float: (Real, "a number"),
}


def checked(cls: type[T]) -> type[T]:
    """Have a dataclass check its fields by their annotations before its own `__post_init__`; stands below `@dataclass`."""
    own = cls.__dict__.get("__post_init__", lambda self: None)

    @wraps(own)
    def __post_init__(self: Any) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            _check(self, field.name, hints[field.name])
        own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return cls


def _check(scheme: Any, name: str, annotation: Any) -> None:
    """Refuse one field that is not what its annotation says.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: a word that is none of those a field may hold.
    """
    value = getattr(scheme, name)
    if isinstance(value, np.generic):
        value = value.item()
        object.__setattr__(scheme, name, value)
    if get_origin(annotation) is Literal:
        words = get_args(annotation)
        if not isinstance(value, str) or value not in words:
            wanted = " or ".join(f'"{word}"' for word in words)
            raise (ValueError if isinstance(value, str) else TypeError)(f"{name} must be {wanted}, got {value!r}")
        return
    kind, noun = _KINDS[annotation]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} must be {noun}, got {value!r}")
