"""Spectrum study: which share of a gradient's energy lies in its few largest singular directions, along a training?

One device trains without channel. At each record the gradient matrix of the last mini-batch of a layer is decomposed, and
the share of squared singular values in the top r is kept. The curve is the bias-corrected moving average over the records
so far, a_t / (1 - b^t) with a_t = b a_(t-1) + (1 - b) share_t and b = 0.99 as published: a slowly forgetting mean.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.entries import check_each, check_some
from laser_wireless.benchmarks.fingerprint import fingerprint_of, plain_form
from laser_wireless.benchmarks.progress import shown
from laser_wireless.benchmarks.records import Row, aligned, environment, read_csv, write_csv, write_json
from laser_wireless.benchmarks.run_folder import RunFolder
from laser_wireless.benchmarks.sweeps.figures import plot_spectrum
from laser_wireless.benchmarks.tasks import Task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked

_RESULT_FORM = 2  # of result.json: grows when its content does


@dataclass(frozen=True, kw_only=True)
@checked
class Spectrum:
    """What to train, and where to look.

    Args:
        task: data, model and optimiser.
        learning_rate: of the task's optimiser.
        num_rounds: optimiser steps.
        record_every: steps between records (an epoch, as published).
        layers: names of parameters of two or more dimensions; the first, the central and the last but one of the model if
            empty.
        top: r, singular values that count.
        memory: b of the moving average, in [0, 1).
        seeds: of the runs.
        checkpoint_seconds: seconds between checkpoints of a run; infinite for none.
    """

    task: Task
    learning_rate: float
    num_rounds: int
    record_every: int
    layers: list[str] = field(default_factory=list)
    top: int = 8
    memory: float = 0.99
    seeds: list[int] = field(default_factory=lambda: [0])
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name in ("num_rounds", "record_every", "top"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.record_every > self.num_rounds:
            raise ValueError(f"record_every must be at most num_rounds = {self.num_rounds}, got {self.record_every}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be finite and > 0, got {self.learning_rate}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be in [0, 1), got {self.memory}")
        check_some("seeds", self.seeds)
        check_each("seeds", self.seeds, "an integer >= 0", lambda seed: seed >= 0)
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}")

    def check_layers(self) -> list[str]:
        """Names of the layers to look at.

        Raises:
            BadConfiguration: the model has no such matrix.
        """
        model = self.task.model(0)
        matrices = [name for name, p in model.named_parameters() if p.ndim >= 2]
        for name in self.layers:
            if name not in matrices:
                near = difflib.get_close_matches(name, matrices, n=3, cutoff=0.4)
                hint = f"did you mean {' or '.join(near)}? " if near else ""
                raise BadConfiguration(f"layers: the model has no matrix {name!r}; {hint}It has {', '.join(matrices)}")
        hidden = matrices[:-1] or matrices
        return list(self.layers) or list(dict.fromkeys([hidden[0], hidden[len(hidden) // 2], hidden[-1]]))


def top_share(gradient: Tensor, top: int) -> float:
    """Share of the squared singular values in the largest `top`, of a gradient seen as [first axis, all others]; 0 for 0."""
    squared = torch.linalg.svdvals(gradient.detach().flatten(1).double()).square()
    total = squared.sum()
    return (squared[:top].sum() / total).item() if total > 0 else 0.0


def moving_average(values: Sequence[float], memory: float) -> list[float]:
    """Bias-corrected exponential averages of the values so far."""
    averages, state = [], 0.0
    for count, value in enumerate(values, start=1):
        state = memory * state + (1 - memory) * value
        averages.append(state / (1 - memory**count))
    return averages


def run_spectrum(settings: Spectrum, root: Path, *, device: torch.device) -> list[Row]:
    """Train what is not trained yet, seed by seed; a run that was cut off goes on from its checkpoint.

    Returns:
        rows with seed, epoch (records so far), round, training_loss, layer, share and average.

    Raises:
        ValueError: a training left the finite numbers, or a file is not readable.
    """
    layers = settings.check_layers()
    rows: list[Row] = []
    for seed in settings.seeds:
        alone = replace(settings, layers=layers, seeds=[seed], memory=0.0)  # which is a matter of the rows, not of the run
        records = _records(alone, root, device)
        for layer in layers:
            averages = moving_average([record[layer] for record in records], settings.memory)
            for epoch, (record, average) in enumerate(zip(records, averages, strict=True), start=1):
                row: Row = {"seed": seed, "epoch": epoch, "round": record["round"], "training_loss": record["training_loss"]}
                rows.append(row | {"layer": layer, "share": record[layer], "average": average})
    return rows


def _folder(settings: Spectrum, root: Path) -> Path:
    """Named after what determines the records of one seed."""
    key = json.dumps(plain_form(settings), sort_keys=True)
    return root / "runs" / f"seed{settings.seeds[0]}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def _check_result(result: Row) -> None:
    """Refuse what is no result of one training.

    Raises:
        ValueError, TypeError, KeyError: see above.
    """
    rows = result["records"]
    if not rows or not all(math.isfinite(value) for row in rows for value in row.values()):
        raise ValueError("records must hold at least one row of numbers")


def _records(settings: Spectrum, root: Path, device: torch.device) -> list[Row]:
    """One training: {"round", "training_loss", layer: share, ...} at each record."""
    folder, seed = _folder(settings, root), settings.seeds[0]
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint = fingerprint_of(settings, form=_RESULT_FORM, code=__file__, folder=folder)
    files = RunFolder(folder, fingerprint, _check_result)
    if (found := files.finished()) is not None:
        return list(found["records"])
    model, optimizer, records, start = _taken_up(settings, files, device)
    streams, saved = Streams(seed), time.monotonic()
    for round in shown(range(start, settings.num_rounds), "round", done=start):
        loss = _step(settings, model, optimizer, streams, round, device)
        if (round + 1) % settings.record_every == 0:
            if not math.isfinite(value := loss.item()):
                raise ValueError(f"the training loss of round {round} is {value}: lower learning_rate")
            shares = {name: top_share(_gradient(model, name), settings.top) for name in settings.layers}
            records.append({"round": round + 1, "training_loss": value, **shares})
        if time.monotonic() - saved >= settings.checkpoint_seconds:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            files.save({**state, "records": records, "round": round + 1}, {})
            saved = time.monotonic()
    files.finish({"records": records, "environment": environment()}, {})
    return records


def _taken_up(
    settings: Spectrum, files: RunFolder, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer, list[Row], int]:
    """Model, optimiser, records and round at the last sound checkpoint that fits, or at the start."""
    for state in files.states():
        model, optimizer = _start(settings, device)
        try:
            model.load_state_dict(state.content["model"])
            optimizer.load_state_dict(state.content["optimizer"])
            records, round = list(state.content["records"]), state.content["round"]
            if not 0 <= round <= settings.num_rounds or len(records) != round // settings.record_every:
                raise ValueError(f"it is of round {round} and holds {len(records)} records")
        except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
            files.refuse(state, error)
            continue
        return model, optimizer, records, round
    return *_start(settings, device), [], 0


def _start(settings: Spectrum, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = settings.task.model(settings.seeds[0]).to(device)
    return model, settings.task.optimizer(model, settings.learning_rate)


def _step(
    settings: Spectrum,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    streams: Streams,
    round: int,
    device: torch.device,
) -> Tensor:
    """One step of the one device; what the model itself draws (dropout) is fixed by seed and round."""
    batch = [part[0].to(device) for part in settings.task.batches(round, 1, streams)]
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * settings.task.learning_rate_factor(round, settings.num_rounds)
    optimizer.zero_grad()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(streams.generator("model", round).initial_seed())
        loss = settings.task.loss(model, *batch)
        loss.backward()
    optimizer.step()
    return loss.detach()


def _gradient(model: nn.Module, name: str) -> Tensor:
    gradient = model.get_parameter(name).grad
    assert gradient is not None, name
    return gradient


def report_spectrum(
    settings: Spectrum, rows: list[Row], folder: Path, name: str, published: Sequence[Row], apart: bool
) -> int:
    """Print and write table and picture; returns 0."""
    write_csv(folder / "table.csv", rows)
    write_json(folder / "environment.json", {"study": name, **environment()})
    draw_spectrum(settings.top, settings.memory, folder, name, published, apart)
    last = max(row["epoch"] for row in rows)
    shown = {epoch for epoch in (1, 2, 5, 10, 20, 50, 100, 150, last) if epoch <= last}
    print(aligned([row for row in rows if row["epoch"] in shown]))
    print(
        f"\nshare: of the last mini-batch's gradient; average: over the epochs so far\nwritten to {folder}: table.csv, ",
        end="",
    )
    print("energy.png, energy.pdf, runs/")
    return 0


def draw_spectrum(top: int, memory: float, folder: Path, name: str, published: Sequence[Row], apart: bool) -> None:
    """Draw the picture from the table in the folder."""
    title = f"{name}: share of the top {top} squared singular values, moving average {memory:g}"
    plot_spectrum(read_csv(folder / "table.csv"), published, apart, folder / "energy", title)
