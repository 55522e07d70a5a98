"""A plain function with arguments of its own, such as `my_fading(..., *, round, generator, k=3.0)`, as a component.

What the protocol of its place passes (the first arguments by position, others by name) is left to the protocol; the
rest can be set like the arguments of a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, get_args, get_origin

from laser_wireless.benchmarks.value_words import entry_of, is_list, members_of
from laser_wireless.channels.contracts import is_protocol

Parameters = dict[str, inspect.Parameter]


class BoundFunction(partial[Any]):
    """A function with some arguments bound, which calls itself by its name and by what is bound."""

    @property
    def __name__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self.keywords.items())
        return f"{self.func.__name__}({bound})"

    def __repr__(self) -> str:
        return self.__name__


def settable(function: Callable[..., Any], hint: Any) -> Parameters:
    """The parameters of a function that its place does not pass; those without a default must be given.

    Where a place does not say what it passes, every parameter may be set and none must be.

    Args:
        function: a component.
        hint: annotation of the place where it stands.
    """
    known = inspect.signature(function).parameters
    shapes = _shapes(hint)
    if not shapes:
        return {name: p if p.default is not p.empty else p.replace(kind=p.VAR_KEYWORD) for name, p in known.items()}
    names = {name for _, passed in shapes for name in passed}
    by_position = [name for name, p in known.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names.update(by_position[: max(number for number, _ in shapes)])
    return {name: parameter for name, parameter in known.items() if name not in names}


def _shapes(hint: Any) -> list[tuple[int, set[str]]]:
    """Of each way in which a place may call a function: how many arguments are passed by position, and which by name."""
    shapes: list[tuple[int, set[str]]] = []
    for kind in members_of(hint):
        if is_list(kind):
            shapes += _shapes(entry_of(kind))
        elif get_origin(kind) is Callable and isinstance(get_args(kind)[0], list):
            shapes.append((len(get_args(kind)[0]), set()))
        elif is_protocol(kind) and "__call__" in vars(kind):
            asked = list(inspect.signature(vars(kind)["__call__"]).parameters.values())[1:]
            names = {parameter.name for parameter in asked if parameter.kind is parameter.KEYWORD_ONLY}
            shapes.append((len(asked) - len(names), names))
    return shapes
