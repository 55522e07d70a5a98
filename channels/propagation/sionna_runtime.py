"""Sionna as a guest: imported late, drawing from a generator that is handed to it, leaving no trace.

Importing sionna.phy takes seconds and reseeds torch's global generators; its models draw from one process-wide generator
per device and default to the first GPU. Here the import is enclosed, and a model draws from the caller's generator.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Literal

import torch

_LOCK = threading.RLock()  # Sionna's generators belong to the process
_DISTRIBUTIONS = ("sionna-no-rt", "sionna")  # either one provides sionna.phy
_REMEDY = "pip install 'sionna-no-rt>=2.2,<3'"
SPEC_VERSION: Literal["19.2"] = "19.2"  # release of the tables of 3GPP TR 38.901 unless a model is told another


def load_sionna() -> ModuleType:
    """Import sionna.phy without moving torch's global generators.

    Returns:
        The module sionna.phy; its submodules sionna.phy.channel and sionna.phy.channel.tr38901 are loaded too.

    Raises:
        ImportError: Sionna is missing, does not load, or is not a version 2.2 or later of series 2.
    """
    if "sionna.phy.channel.tr38901" in sys.modules:
        return sys.modules["sionna.phy"]
    with _LOCK, torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # Sionna reseeds each of them
        version = _installed_version()
        if version is not None and not (2, 2) <= version < (3,):
            found = ".".join(map(str, version))
            raise ImportError(f"Sionna's channels need Sionna >= 2.2, < 3, found {found}: {_REMEDY}")
        try:
            importlib.import_module("sionna.phy.channel.tr38901")
            return importlib.import_module("sionna.phy")
        except ImportError as error:
            raise ImportError(f"Sionna's channels need Sionna, which did not load ({error}): {_REMEDY}") from error


def _installed_version() -> tuple[int, ...] | None:
    """Major and minor version of the distribution that provides sionna.phy, None where no distribution is known."""
    for name in _DISTRIBUTIONS:
        try:
            words = importlib.metadata.version(name).split(".")
        except importlib.metadata.PackageNotFoundError:
            continue
        return tuple(int(word) for word in words[:2])
    return None


def device_name(device: torch.device) -> str:
    """Name a device as Sionna does: "cpu" or "cuda:0", always with its index."""
    if device.type == "cuda":
        return f"cuda:{torch.cuda.current_device() if device.index is None else device.index}"
    return device.type


@contextmanager
def sionna_draws_from(generator: torch.Generator) -> Iterator[str]:
    """Let Sionna's models draw from `generator`, which moves on by what they draw; one thread at a time.

    Sionna's own generator and settings, and torch's global generators, are as they were afterwards, whatever happens
    inside.

    Args:
        generator: on the device where the models compute.

    Yields:
        The device's name, for `device=` of Sionna's constructors.
    """
    with _LOCK:
        name = device_name(generator.device)
        theirs = load_sionna().config.torch_rng(name)
        kept = theirs.get_state()
        theirs.set_state(generator.get_state())
        try:
            yield name
        finally:
            generator.set_state(theirs.get_state())
            theirs.set_state(kept)
