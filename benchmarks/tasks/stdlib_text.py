"""stdlib-text: predict the next byte of the source files of the installed Python standard library (no download).

The files are split by a hash of their names, 80 % to train, 10 % to choose learning rates, 10 % to test; so every machine
with one Python version has the same parts.
"""

from __future__ import annotations

import hashlib
import math
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from laser_wireless.benchmarks.tasks.gpt import GPT
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked

_Part = Literal["train", "validation", "test"]
_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3", "pydoc_data"}


@lru_cache(maxsize=1)
def _parts() -> dict[_Part, Tensor]:
    """Bytes of each part, uint8 [N], files in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts: dict[_Part, list[bytes]] = {"train": [], "validation": [], "test": []}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if _SKIPPED & set(name.parts):
            continue
        tenth = hashlib.sha256(name.as_posix().encode()).digest()[0] * 10 // 256
        texts["validation" if tenth == 8 else "test" if tenth == 9 else "train"].append(path.read_bytes())
    if not all(texts.values()):
        raise FileNotFoundError(f"too few source files of the Python standard library under {root}; is it installed as .py?")
    return {part: torch.frombuffer(bytearray(b"\n".join(files)), dtype=torch.uint8) for part, files in texts.items()}


@dataclass(frozen=True, kw_only=True)
@checked
class StdlibText:
    """Model the Python standard library's source text with a small GPT on bytes; AdamW, as the paper's language task.

    Each device samples windows from its own contiguous fraction of the training text.

    Args:
        width: of the residual stream.
        num_layers: transformer blocks.
        num_heads: attention heads; divides width.
        context: bytes that the model sees.
        batch_size: windows per device and round.
        evaluation_windows: windows, evenly spread and fixed, on which a part is evaluated.
        momentum: beta_1 of AdamW at the base station, after the channel; 0 for a scheme whose devices keep momentum before
            it: each entry is then divided by its own rms, and nothing else remembered.
        weight_decay: on matrices only.
        averaging: decay of the weight average that is evaluated; 0 evaluates the weights themselves.
    """

    width: int = 64
    num_layers: int = 2
    num_heads: int = 4
    context: int = 64
    batch_size: int = 8
    evaluation_windows: int = 256
    momentum: float = 0.9
    weight_decay: float = 1e-3
    averaging: float = 0.0

    def __post_init__(self) -> None:
        check_task(self, "width", "num_layers", "num_heads", "context", "batch_size", "evaluation_windows")
        check_momentum(self.momentum)
        if self.width % self.num_heads:
            raise ValueError(f"num_heads must divide width = {self.width}, got {self.num_heads}")

    def model(self, seed: int) -> nn.Module:
        """Return the transformer over 256 byte values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GPT(
                vocabulary=256, width=self.width, num_layers=self.num_layers, num_heads=self.num_heads, context=self.context
            )

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return bytes and next bytes, int64 [K, batch, context] each."""
        text = _parts()["train"]
        share = len(text) // num_devices
        if share <= self.context:
            raise ValueError(f"context must be below the {share} bytes of each device's share, got {self.context}")
        start = torch.randint(
            share - self.context, (num_devices, self.batch_size), generator=streams.generator("data", round)
        )
        start += torch.arange(num_devices).unsqueeze(1) * share
        return self._windows(text, start)

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy of the next byte."""
        seen, following = batch
        return cross_entropy(model(seen).flatten(0, 1), following.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (nats per byte) and "perplexity" on the fixed windows of a part."""
        place = next(model.parameters()).device
        text = _parts()[split]
        start = torch.linspace(0, len(text) - self.context - 1, self.evaluation_windows, dtype=torch.float64).long()
        total = 0.0
        for some in start.split(128):
            total += self.loss(model, *(part.to(place) for part in self._windows(text, some))).item() * len(some)
        loss = total / self.evaluation_windows
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return AdamW (momentum, 0.95), weight decay on matrices only."""
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        others = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return AdamW(groups, lr=learning_rate, betas=(float(self.momentum), 0.95))

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return the published cycle: 2 % linear warm-up from 1/100, then a cosine down to 1/5."""
        warm_up = max(1, num_rounds // 50)
        if round < warm_up:
            return 0.01 + 0.99 * round / warm_up
        progress = (round - warm_up) / max(1, num_rounds - warm_up)
        return 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * progress))

    def _windows(self, text: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        window = text[start.unsqueeze(-1) + torch.arange(self.context + 1)].long()
        return window[..., :-1], window[..., 1:]
