"""Checkpoints that are whole or absent: written beside the target, flushed, then renamed over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside the target that takes its place at the end; a crash leaves the old file or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them; a crash at any moment leaves the old file or the new one."""
    with whole_file(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        ValueError: the file is truncated or is no checkpoint.
        FileNotFoundError: there is none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes may fail anywhere in the unpickler, in any way
        raise ValueError(f"{path} is not a readable checkpoint ({error}); delete it to start this run again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a checkpoint; delete it to start this run again")
    return content


def to_plain(value: Any) -> Any:
    """Turn named tuples into dictionaries, so that torch.load(weights_only=True) accepts them."""
    if hasattr(value, "_asdict"):
        return {name: to_plain(entry) for name, entry in value._asdict().items()}
    return value


def form_of(value: Any) -> Any:
    """Everything about nested values but the numbers in tensors: two states of one form can stand for each other."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return {name: form_of(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [form_of(entry) for entry in value]
    return value


def to_device(value: Any, device: torch.device) -> Any:
    """Move all tensors in nested lists, tuples and dictionaries, copying those that are already there."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {name: to_device(entry, device) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(entry, device) for entry in value)
    return value
