"""Work in several real processes that reach each other through torch.distributed (gloo), results by rank."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def in_processes(work: Callable[..., Any], count: int, *arguments: Any, timeout_s: float = 120.0) -> list[Any]:
    """Run work(rank, *arguments) in so many processes and return what each gave; fails if one of them does."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_process, (work, count, folder, timeout_s, arguments), nprocs=count)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _process(rank: int, work: Callable[..., Any], count: int, folder: str, timeout_s: float, arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count, timeout=timedelta(seconds=timeout_s)
    )
    try:
        torch.save(work(rank, *arguments), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
