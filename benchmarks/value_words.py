"""What an option may hold, in words: annotations as a user reads them, for messages about values of the wrong kind."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

from laser_wireless.benchmarks.vocabulary import COMPONENTS

_KINDS = (
    (r"\b(?:torch\.)?Tensor\b \| | \| (?:torch\.)?Tensor\b", ""),  # which no option can hold
    (r"(?:typing\.)?Literal\[([^\]]*)\]", r"\1"),
    (r"(?:collections\.abc\.)?Callable\[.*\]", "a function"),
    (r"\bLargeScale\b", "a function"),
    (r"\b(?:list|Sequence)\[float\]|\btuple\[float, \.\.\.\]", "a list of numbers"),
    (r"\b(?:list|Sequence)\[int\]|\btuple\[int, \.\.\.\]", "a list of integers"),
    (r"\b(?:list|Sequence)\[str\]|\btuple\[str, \.\.\.\]", "a list of words"),
    (r"\bfloat\b", "a number"),
    (r"\bint\b", "an integer"),
    (r"\bbool\b", "true or false"),
    (r"\bstr\b", "a word"),
    (r"\bNone\b", "null"),
    (r" \| ", " or "),
)


def kind_in_words(target: Callable[..., Any], name: str) -> str:
    """What a parameter takes, in words, from its annotation: `float | None` is "a number or null"."""
    annotation = inspect.signature(target).parameters[name].annotation
    names = vars(sys.modules[target.__module__])
    parts = [str(annotation)] if "[" in str(annotation) else str(annotation).split(" | ")
    for place, part in enumerate(parts):
        if part in names and not inspect.isclass(names[part]):  # an alias: say what it stands for
            parts[place] = str(names[part]).replace("'", '"')
    text = " | ".join(parts)
    for pattern, words in _KINDS:
        text = re.sub(pattern, words, text)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)


def misfit(target: Callable[..., Any], values: dict[str, Any], error: Exception) -> str:
    """Say which value is of the wrong kind, and what it should be.

    Args:
        target: the class or function whose arguments they are.
        values: by name of the argument.
        error: of the parser, which names the argument.
    """
    found = re.search(r'key "(\w+)', str(error))
    name = found.group(1) if found else ""
    if name not in values:
        return " ".join(str(error).split())
    infinite = isinstance(values[name], str) and values[name].lower().lstrip("+-") in ("inf", "nan")
    remedy = f"; for example {', '.join(COMPONENTS[name][:3])}" if name in COMPONENTS else ""
    remedy = "; YAML writes .inf and .nan" if infinite else remedy
    return f"{name} must be {kind_in_words(target, name)}, got {values[name]!r}{remedy}"
