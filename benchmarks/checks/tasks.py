"""Properties of every task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from laser_wireless.benchmarks.checks.channel_parts import Measure
from laser_wireless.benchmarks.checks.findings import Finding, examined
from laser_wireless.benchmarks.tasks.contract import CheckedTask
from laser_wireless.benchmarks.tasks.task import Split
from laser_wireless.channels import Streams

_NUM_DEVICES = 3


def properties_of_task(task: Any) -> Iterator[Finding]:
    """Measure them one by one."""
    measures: dict[str, Measure] = {
        "a seed fixes the model": lambda: _model(task),
        "streams and round fix the batches": lambda: _batches(task),
        "another seed gives other batches": lambda: _seeds(task),
        "the loss is one number with a gradient": lambda: _loss(task),
        "every part of the data has a loss": lambda: _evaluate(task),
        "the optimiser steps": lambda: _step(task),
    }
    for name, measure in measures.items():
        yield examined(name, measure)


def _model(task: Any) -> tuple[bool, str]:
    first, second = (torch.cat([p.detach().flatten() for p in CheckedTask(task).model(0).parameters()]) for _ in range(2))
    return torch.equal(first, second), f"{len(first):,} parameters"


def _batches(task: Any) -> tuple[bool, str]:
    first, second = (CheckedTask(task).batches(0, _NUM_DEVICES, Streams(0)) for _ in range(2))
    same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    return same, ", ".join(f"{b.dtype} {list(b.shape)}".removeprefix("torch.") for b in first)


def _seeds(task: Any) -> tuple[bool, str]:
    first, other = (CheckedTask(task).batches(0, _NUM_DEVICES, Streams(seed)) for seed in (0, 1))
    differ = any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    return differ, "they differ" if differ else "equal for two seeds: draw from `streams`, or seeds share one order of data"


def _loss(task: Any) -> tuple[bool, str]:
    checked = CheckedTask(task)
    model = checked.model(0)
    loss = checked.loss(model, *(batch[0] for batch in checked.batches(0, _NUM_DEVICES, Streams(0))))
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    return bool(loss.isfinite()) and not missing, f"{loss.item():.4g}" + (f", none for {missing[0]}" if missing else "")


def _evaluate(task: Any) -> tuple[bool, str]:
    checked = CheckedTask(task)
    model = checked.model(0)
    parts: tuple[Split, ...] = ("validation", "test")
    losses = {split: checked.evaluate(model, split)["loss"] for split in parts}
    return True, ", ".join(f"{split} {loss:.4g}" for split, loss in losses.items())


def _step(task: Any) -> tuple[bool, str]:
    checked = CheckedTask(task)
    model = checked.model(0)
    optimizer = checked.optimizer(model, 1e-3)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    checked.loss(model, *(batch[0] for batch in checked.batches(0, _NUM_DEVICES, Streams(0)))).backward()
    optimizer.step()
    moved = (torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm()
    return bool(moved > 0), f"moved by {moved:.3g}"
