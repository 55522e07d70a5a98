"""Components: what an object or function must offer to stand where a protocol is asked for, said where it is entered.

A component fits if it has every method of the protocol, callable the way the protocol's are: positional parameters by
position, keyword-only ones by name. Its names for positional parameters are its own. Types of arguments and results are
not looked at; what cannot be inspected (built-in functions, `*args`) is taken on trust.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Protocol

from numpy import ndarray
from torch import Tensor

_MISSING = object()
_MOST_MORE = 8  # positional arguments, where a protocol leaves their number open


def is_protocol(annotation: Any) -> bool:
    """Whether an annotation is a `typing.Protocol`."""
    return inspect.isclass(annotation) and getattr(annotation, "_is_protocol", False)


def check_component(name: str, value: Any, *protocols: type) -> None:
    """Refuse what is none of the protocols.

    Args:
        name: of the parameter, for the message.
        value: what was given for it.
        protocols: of which one must fit.

    Raises:
        TypeError: a class instead of an object, a method that is missing or cannot be called as the protocol says, a
            Sionna model that nobody wrapped, or anything else.
    """
    if not any(fits(value, protocol) for protocol in protocols):
        raise TypeError(f"{name} {_complaint(name, value, protocols)}")


def fits(value: Any, protocol: type) -> bool:
    """Whether a component offers what the protocol asks for."""
    return not inspect.isclass(value) and not _is_of_sionna(value) and not any(_gaps(value, protocol))


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a word, a tensor or a collection of such: no component at all."""
    return value is None or isinstance(value, bool | int | float | str | list | tuple | dict | Tensor | ndarray)


def instance_of(name: str, kind: type) -> str:
    """How to write an instance of a class as an argument: `fading=Rayleigh()`, with the arguments that it needs."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return f"{name}={kind.__name__}(...)"
    needed = [
        f"{p.name}=..." if p.kind is p.KEYWORD_ONLY else "..."
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return f"{name}={kind.__name__}({', '.join(needed)})"


def described(protocol: type) -> str:
    """A protocol in words: a function and its signature, or an object and its methods."""
    members = _members(protocol)
    if "__call__" in members:
        return f"a function {_signature_of(members['__call__'])}"
    methods = [name for name, member in members.items() if inspect.isfunction(member)]
    if len(methods) == 1:
        return f"an object with a method {methods[0]}{_signature_of(members[methods[0]])}"
    return f"an object with the methods {', '.join(methods)}"


def shown(value: Any) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _complaint(name: str, value: Any, protocols: tuple[type, ...]) -> str:
    """What is wrong with a value that fits none of the protocols: the words after its name."""
    wanted = " or ".join(map(described, protocols))
    if _is_of_sionna(value):
        kind = (value if inspect.isclass(value) else type(value)).__name__
        return f"must be {wanted}, got Sionna's {kind}; a channel model of Sionna goes in as fading=SionnaPaths(model=...)"
    if inspect.isclass(value):
        return f"must be an object, got the class {value.__name__}; write {instance_of(name, value)}"
    for protocol in sorted(protocols, key=lambda protocol: "__call__" in _members(protocol)):
        begun = any(getattr(value, member, _MISSING) is not _MISSING for member in _members(protocol))
        if begun or (len(protocols) == 1 and "__call__" not in _members(protocol)):
            return next(filter(None, _gaps(value, protocol)))
    return f"must be {wanted}, got {shown(value)}"


def _gaps(value: Any, protocol: type) -> list[str]:
    """For each member of the protocol, what the value lacks; empty where it lacks nothing."""
    return [_gap(value, name, member) for name, member in _members(protocol).items()]


def _gap(value: Any, name: str, member: Any) -> str:
    found = getattr(value, name, _MISSING)
    owner = shown(value) if is_plain(value) else getattr(value, "__name__", None) or type(value).__name__
    if not inspect.isfunction(member):
        return f"must have an attribute {name}{member}, which {owner} lacks" if found is _MISSING else ""
    wanted = _signature_of(member)
    if not callable(found):
        what = f"be callable as {wanted}" if name == "__call__" else f"have a method {name}{wanted}"
        return f"must {what}; {owner} {'is not' if name == '__call__' else 'has none'}"
    taken = _signature(value if name == "__call__" else found)
    if taken is None or _can_be_called(taken, member):
        return ""
    what = "be callable as " if name == "__call__" else f"have a method {name}"
    return f"must {what}{wanted}; that of {owner} takes {_plain(taken)}"


def _can_be_called(taken: inspect.Signature, member: Any) -> bool:
    parameters = list(inspect.signature(member).parameters.values())[1:]  # without self
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    by_place = [None for p in parameters if p.kind not in (inspect.Parameter.KEYWORD_ONLY, *variadic)]
    more = _MOST_MORE if any(p.kind is p.VAR_POSITIONAL for p in parameters) else 0  # `*batch` may be any number
    return any(_binds(taken, [*by_place, *[None] * number], named) for number in range(more + 1))


def _binds(taken: inspect.Signature, by_place: list[None], named: dict[str, None]) -> bool:
    try:
        taken.bind(*by_place, **named)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=256)
def _members(protocol: type) -> dict[str, Any]:
    """Methods of a protocol, as functions, and its attributes, each with what kind it is of in brackets."""
    members: dict[str, Any] = {}
    for base in reversed(protocol.__mro__):
        if not is_protocol(base) or base is Protocol:
            continue
        for name, annotation in inspect.get_annotations(base).items():
            members[name] = f" ({annotation})"
        for name, member in vars(base).items():
            if isinstance(member, property):
                members[name] = f" ({inspect.signature(member.fget).return_annotation})" if member.fget else ""
            elif inspect.isfunction(member) and (name == "__call__" or not name.startswith("_")):
                members[name] = member
    return dict(sorted(members.items(), key=lambda item: not inspect.isfunction(item[1])))  # methods before attributes


def _signature_of(method: Any) -> str:
    """Names of a protocol's method and what it returns: `(num_devices, *, generator) -> Tensor`."""
    signature = inspect.signature(method)
    rest = signature.replace(parameters=list(signature.parameters.values())[1:])
    returns = signature.return_annotation
    return _plain(rest) + ("" if returns is signature.empty else f" -> {returns}")


def _plain(signature: inspect.Signature) -> str:
    """A signature's names alone; what may be left out ends in `=...`."""
    parts: list[str] = []
    by_name = False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not by_name:
            parts.append("*")
        by_name = by_name or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        parts.append(f"{stars}{p.name}" + ("" if p.default is p.empty else "=..."))
    return f"({', '.join(parts)})"


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # a callable of another language
        return None


def _is_of_sionna(value: Any) -> bool:
    """Whether an object or class is Sionna's, or a channel model derived from one of Sionna's; nothing is imported."""
    bases = [base.__module__ for base in (value if inspect.isclass(value) else type(value)).__mro__]
    return bases[0].split(".")[0] == "sionna" or any(base.startswith("sionna.phy.channel") for base in bases)
