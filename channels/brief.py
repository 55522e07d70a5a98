"""Options written briefly: as far as they are not the default."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from inspect import isfunction
from typing import Any

from torch import Tensor


def brief(options: Any) -> str:
    """A dataclass as its constructor would be written: only what differs from the default, functions by their names."""
    shown = [f"{f.name}={_shown(getattr(options, f.name))}" for f in fields(options) if not _is_default(options, f)]
    return f"{type(options).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    return value.__name__ if isfunction(value) else repr(value)


def _is_default(options: Any, field: Field[Any]) -> bool:
    value = getattr(options, field.name)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return value is default or (type(value) is type(default) and not isinstance(value, Tensor) and bool(value == default))
