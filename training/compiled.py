"""Functions through torch.compile, each compiled once: quicker rounds after the first, with other last digits."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch


class NotCompiled(ValueError):
    """torch.compile does not take this function here; the message says why."""


class Compiler:
    """Compiles functions and keeps them by their names.

    Called with a name and a function, it returns what torch.compile makes of the function that came first under that name;
    so a name must stand for one function, whatever the arguments. For shapes that are new a function is compiled anew.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Callable[..., Any]] = {}

    def __call__(self, name: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the compiled function of a name."""
        if name not in self._made:
            self._made[name] = _told(torch.compile(function, dynamic=False))
        return self._made[name]


def compiler(wanted: bool) -> Callable[[Hashable, Callable[..., Any]], Callable[..., Any]]:
    """A compiler of its own, or what leaves functions as they are."""
    return Compiler() if wanted else as_it_is


def as_it_is(name: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
    """In place of a `Compiler`: the function itself."""
    return function


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which says where compiling failed instead of looking like an error of the model.

    Raises:
        NotCompiled: there is no compiler for this device, or the function is none that torch.compile takes.
    """

    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                [first, *_] = str(error).splitlines() or [type(error).__name__]
                raise NotCompiled(
                    f"the model cannot be compiled here ({first[:200]}); a CPU needs a C++ compiler such as g++; or leave "
                    "compiled out"
                ) from error
            raise

    return called
