"""What a reader must know to repeat a measurement."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import torch

from laser_wireless.benchmarks.records import environment


def facts(device: str, threads: int) -> dict[str, str]:
    """Device, threads, versions, commit and date."""
    found = environment()
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"{found['cpu']}, {os.cpu_count()} cores",
        "threads": str(threads),
        "torch": str(found["torch"]),
        "commit": str(found["commit"]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
