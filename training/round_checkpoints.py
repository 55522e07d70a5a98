"""Checkpoints of a DDP training over an uplink: for each a folder of torch.distributed.checkpoint, whole or not there.

    round = load_last_round(folder, model=model, optimizer=optimizer, uplink=uplink)      # 0 if there is none
    save_round(folder, model=model, optimizer=optimizer, uplink=uplink)                   # every so many rounds

Every process calls both. So a script that torchrun starts again after a process died goes on from its last whole checkpoint,
also with another number of processes for as many devices.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import load, save  # type: ignore[attr-defined]
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from laser_wireless.training.checkpoint import sync_folder
from laser_wireless.training.ddp import UplinkHookState

_NAME = re.compile(r"round-(\d{8,})")
_KEPT = 2  # checkpoints


def save_round(folder: Path, *, model: DistributedDataParallel, optimizer: Optimizer, uplink: UplinkHookState) -> None:
    """Write FOLDER/round-NNNNNNNN, whole or not at all, and remove all but the last two; one that is there stays.

    Args:
        folder: that all processes reach; made if need be.
        model, optimizer, uplink: between two rounds.

    Raises:
        FloatingPointError, RuntimeError: as `UplinkBridge.state_dict`.
    """
    whole = folder / f"round-{uplink.bridge.round:08d}"
    part = whole.with_suffix(".part")
    uplink.check()
    if uplink.air.first_says(whole.exists()):
        return
    is_first = uplink.air.rank == 0
    if is_first:
        shutil.rmtree(part, ignore_errors=True)  # of a process that died; the others wait for the plan of this one
        folder.mkdir(parents=True, exist_ok=True)
    save(_parts(model, optimizer, uplink), checkpoint_id=part)
    if is_first:  # it returns once all have written
        os.replace(part, whole)
        sync_folder(folder)
        for old in _rounds_in(folder)[:-_KEPT]:
            shutil.rmtree(old)


def load_last_round(folder: Path, *, model: DistributedDataParallel, optimizer: Optimizer, uplink: UplinkHookState) -> int:
    """Take up the last whole checkpoint in a folder, if there is one.

    Returns:
        rounds done: 0 if there is no checkpoint.

    Raises:
        ValueError: it is of another run, or of another number of devices.
    """
    found = uplink.air.first_says([path.name for path in _rounds_in(folder)[-1:]])
    if found:
        parts = _parts(model, optimizer, uplink)
        load(parts, checkpoint_id=folder / found[0])
        set_state_dict(model, optimizer, model_state_dict=parts["model"], optim_state_dict=parts["optimizer"])
    return uplink.bridge.round


def _parts(model: DistributedDataParallel, optimizer: Optimizer, uplink: UplinkHookState) -> dict[str, Any]:
    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "uplink": uplink}


def _rounds_in(folder: Path) -> list[Path]:
    """Whole checkpoints, the last one last."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("round-")))
