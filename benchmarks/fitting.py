"""Values by annotations: what a parameter takes is read from its type hint, checked strictly and converted.

float   a number other than NaN; integers are converted. Infinity is left to the class, which says whether it takes it
int     an integer of 64 bits; a whole number such as 1e3 is converted
bool    true or false alone, and nothing else takes these
str     text without control characters; a number is none
list    each entry by itself, named by its place, from 0: energy_budgets[1]
others  an object of the class; where a protocol or function is asked for, no plain value
"""

from __future__ import annotations

import inspect
import math
import types
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from laser_wireless.benchmarks.value_words import entry_of, is_list, is_mapping, members_of, shown, words_of
from laser_wireless.channels.contracts import is_protocol

_LARGEST = 2**63 - 1  # of torch's integers and seeds
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None), types.ModuleType)
_REMEDIES = {"inf": "; YAML writes .inf", "nan": "; YAML writes .nan"}


class Misfit(ValueError):
    """A value of the wrong kind; the message names place, requirement and what was found.

    telling: how much more it says than that the value is of none of the kinds; more for a value that nearly fits.
    """

    def __init__(self, place: str, requirement: str, found: Any, *, nearly: bool = False) -> None:
        remedy = _REMEDIES.get(found.lower().lstrip("+-"), "") if isinstance(found, str) else ""
        super().__init__(f"{place} must be {requirement}, got {shown(found)}{remedy}")
        self.telling = (len(place), nearly)


@cache
def hints_of(target: Any) -> dict[str, Any]:
    """Resolved annotations of the parameters of a class or function; none where they cannot be resolved."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(function)
    except (AttributeError, NameError, TypeError):  # names that exist for type checkers alone, callables of other languages
        return {}


def fit(value: Any, hint: Any, place: str) -> Any:
    """Check a value against a resolved annotation and convert it.

    Args:
        value: plain, or an object.
        hint: such as `float | list[float]`.
        place: where it stands, for messages.

    Raises:
        Misfit: it is of none of the kinds.
    """
    most = Misfit(place, words_of(hint), value)
    for kind in members_of(hint):
        try:
            return _fit(value, kind, place)
        except Misfit as error:  # an entry that does not fit says more than the list that holds it
            most = error if error.telling > most.telling else most
    raise most


def _fit(value: Any, kind: Any, place: str) -> Any:
    rule = _RULES.get(kind)
    if rule is not None:
        return rule(value, place)
    if get_origin(kind) is Literal:
        return _one_of(value, kind, place)
    if is_mapping(kind):
        _refuse_unless(isinstance(value, dict), kind, value, place)
        return {name: fit(entry, entry_of(kind), f"{place}.{name}") for name, entry in value.items()}
    if is_list(kind):
        _refuse_unless(isinstance(value, list | tuple), kind, value, place)
        entries = [fit(entry, entry_of(kind), f"{place}[{i}]") for i, entry in enumerate(value)]
        return tuple(entries) if (get_origin(kind) or kind) is tuple else entries
    if get_origin(kind) is Callable or is_protocol(kind):  # whether it offers the methods, the class says itself
        _refuse_unless(not isinstance(value, _PLAIN), kind, value, place)
    elif isinstance(kind, type) and kind is not object:
        _refuse_unless(isinstance(value, kind), kind, value, place)
    return value


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Misfit(place, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise Misfit(place, "a number within the reach of a float", value, nearly=True) from None


def _integer(value: Any, place: str) -> int:
    whole = isinstance(value, float) and math.isfinite(value) and value.is_integer()
    if isinstance(value, bool) or not (isinstance(value, int) or whole):
        raise Misfit(place, "an integer", value)
    if abs(value) > _LARGEST:
        raise Misfit(place, "an integer of at most 2^63 - 1", value, nearly=True)
    return int(value)


def _truth(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise Misfit(place, "true or false", value)
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        plain = isinstance(value, bool | int | float)
        raise Misfit(place, "text (in YAML, in quotes)" if plain else "text", value, nearly=plain)
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise Misfit(place, "text without control characters", value, nearly=True)
    return value


def _path(value: Any, place: str) -> Path:
    return value if isinstance(value, Path) else Path(_text(value, place))


def _nothing(value: Any, place: str) -> None:
    if value is not None:
        raise Misfit(place, "null", value)


def _anything(value: Any, place: str) -> Any:
    return value


_RULES: dict[Any, Callable[[Any, str], Any]] = {
    float: _number,
    int: _integer,
    bool: _truth,
    str: _text,
    Path: _path,
    type(None): _nothing,
    Any: _anything,
}


def _one_of(value: Any, kind: Any, place: str) -> Any:
    for word in get_args(kind):
        if value == word and isinstance(value, bool) == isinstance(word, bool):
            return word
    raise Misfit(place, words_of(kind), value)


def _refuse_unless(fits: bool, kind: Any, value: Any, place: str) -> None:
    if not fits:
        raise Misfit(place, words_of(kind), value)
