"""A seal for a saved state: one short text for each entry, by which a changed, missing or foreign entry is found by name.

A tensor's text holds its dtype, its shape and a checksum of its bits. It finds accidents (a damaged file, entries of two
states mixed, a view that training went on to change), it is no protection against intent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_PIECE = 1 << 24  # numbers that are brought to the host at a time


def seal(state: dict[str, Any]) -> dict[str, str]:
    """One text for each entry of nested dictionaries, lists and tuples, by its path ("compressor.rows.0")."""
    return {path: _text(value) for path, value in _entries("", state)}


def check_seal(state: dict[str, Any], texts: Any) -> None:
    """Refuse a state that is not the one that was sealed.

    Raises:
        ValueError: an entry was changed, is missing, or was not there; it is named.
    """
    if not isinstance(texts, dict):
        raise ValueError(f"state entry 'seal' must be a dictionary, as it was written, got {type(texts).__name__}")
    found = seal(state)
    for path in (*found, *(path for path in texts if path not in found)):
        if found.get(path) != texts.get(path):
            raise ValueError(
                f"state entry {path!r} must be as it was written, {texts.get(path, 'absent')}, got "
                f"{found.get(path, 'none')}; load the state as it was saved (a state that is kept in memory while training "
                "goes on must be a copy: copy.deepcopy(bridge.state_dict()))"
            )


def _entries(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every container and what it holds, by path."""
    if path:
        yield path, value
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, entry in named:
        yield from _entries(f"{path}.{name}" if path else str(name), entry)


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)} of checksum {_checksum(value)}"
    if isinstance(value, dict):
        return f"dict of {sorted(map(str, value))}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)


def _checksum(values: Tensor) -> str:
    """Of the bits in the order of the entries; on the host, piece by piece."""
    plain = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    digest = hashlib.sha256()
    for piece in plain.detach().contiguous().view(-1).split(_PIECE):
        digest.update(piece.cpu().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
