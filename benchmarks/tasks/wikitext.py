"""wikitext: articles of Wikipedia (WikiText-103, raw) and GPT-2 small, as in the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from laser_wireless.benchmarks.tasks.gpt import GPT, GPT2_SMALL
from laser_wireless.benchmarks.tasks.hub import Source, read_split
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.benchmarks.tasks.tokens import Tokens, default_cache, encoded, tokenizer_files
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked

_EVALUATED_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
@checked
class WikiText:
    """Model WikiText-103 with GPT-2 small (123,980,544 parameters) on GPT-2's byte pairs; AdamW on one cycle, as published.

    The paper's run is 4 devices, 20,000 rounds. The learning rate is chosen on the set's own validation articles; perplexity
    is per token, over the fixed windows of a part, where the authors draw windows at random. The model is float32, theirs
    bfloat16; a device's gradient is the mean over its batch, theirs a sum of 3 such means, which AdamW does not notice.

    Args:
        path: folder with the data (save_to_disk, or parquet files as on the hub); none reads Salesforce/wikitext,
            wikitext-103-raw-v1, from the hub.
        tokenizer_path: folder with vocab.json and merges.txt; none reads those of openai-community/gpt2 from the hub.
        cache_path: folder for the encoded text, 0.25 GB; none is laser-wireless in the user's cache folder.
        vocabulary: rows of the embedding, at least the tokeniser's number of tokens.
        width: of the residual stream.
        num_layers: transformer blocks.
        num_heads: attention heads; divides width.
        context: tokens that the model sees.
        dropout: share of embeddings, attention weights and entries of the residual branches that training sets to zero.
        batch_size: windows per device and round.
        sharding: "none" (each device samples from the whole text, as in the paper) or "contiguous" (from its own K-th).
        evaluation_windows: windows, evenly spread and fixed, on which a part is evaluated; none is all, end to end.
        momentum: beta_1 of AdamW at the base station, after the channel; 0 for a scheme whose devices keep momentum before
            it: each entry is then divided by its own rms, and nothing else remembered.
        weight_decay: on the weights of linear layers only, not on embeddings.
        averaging: decay of the weight average that is evaluated; 0 evaluates the weights themselves.
    """

    path: str | None = None
    tokenizer_path: str | None = None
    cache_path: str | None = None
    vocabulary: int = GPT2_SMALL.vocabulary
    width: int = GPT2_SMALL.width
    num_layers: int = GPT2_SMALL.num_layers
    num_heads: int = GPT2_SMALL.num_heads
    context: int = GPT2_SMALL.context
    dropout: float = 0.2
    batch_size: int = 45
    sharding: Literal["none", "contiguous"] = "none"
    evaluation_windows: int | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-3
    averaging: float = 0.0

    def __post_init__(self) -> None:
        check_task(self, "vocabulary", "width", "num_layers", "num_heads", "context", "batch_size")
        check_momentum(self.momentum)
        if self.width % self.num_heads:
            raise ValueError(f"num_heads must divide width = {self.width}, got {self.num_heads}")
        if self.evaluation_windows is not None and self.evaluation_windows < 1:
            raise ValueError(f"evaluation_windows must be >= 1, got {self.evaluation_windows}")
        if self.vocabulary > 2**16:
            raise ValueError(f"vocabulary must be at most 65536, since tokens are kept in two bytes, got {self.vocabulary}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    def model(self, seed: int) -> nn.Module:
        """Return the transformer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GPT(
                vocabulary=self.vocabulary,
                width=self.width,
                num_layers=self.num_layers,
                num_heads=self.num_heads,
                context=self.context,
                dropout=self.dropout,
            )

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens and next tokens, int64 [K, batch, context] each, and seeds int64 [K] of the dropout masks."""
        text = _tokens(self, "train")
        share = len(text) // num_devices if self.sharding == "contiguous" else len(text)
        if share <= self.context:
            raise ValueError(f"context must be below the {share} tokens that a device samples from, got {self.context}")
        start = torch.randint(
            share - self.context, (num_devices, self.batch_size), generator=streams.generator("data", round)
        )
        if self.sharding == "contiguous":
            start += torch.arange(num_devices).unsqueeze(1) * share
        seeds = torch.randint(2**31, (num_devices,), generator=streams.generator("dropout", round))
        return *self._windows(text, start), seeds

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy of the next token."""
        seen, following, *seed = batch
        return cross_entropy(model(seen, *seed).flatten(0, 1), following.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (nats per token) and "perplexity" on the fixed windows of a part, some windows at a time."""
        place = next(model.parameters()).device
        text = _tokens(self, split)
        last = len(text) - self.context - 1
        if last < 0:
            raise ValueError(f"context must be below the {len(text)} tokens of the {split} part, got {self.context}")
        start = torch.arange(0, last + 1, self.context)
        if self.evaluation_windows is not None:
            start = torch.linspace(0, last, self.evaluation_windows, dtype=torch.float64).long()
        total = torch.zeros((), dtype=torch.float64, device=place)
        for some in start.split(_EVALUATED_AT_ONCE):
            total += self.loss(model, *(part.to(place) for part in self._windows(text, some))) * len(some)
        loss = total.item() / len(start)
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return AdamW (momentum, 0.95), weight decay on the weights of linear layers only."""
        decayed = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        known = {id(p) for p in decayed}
        others = [p for p in model.parameters() if id(p) not in known]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return AdamW(groups, lr=learning_rate, betas=(float(self.momentum), 0.95))

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return the published cycle: a cosine from 1/100 up to 1 in 2 % of the rounds, and one down to 1/5 at the last."""
        top, end = 0.02 * num_rounds - 1, num_rounds - 1
        if round <= top:
            return _cosine(0.01, 1.0, round / top if top > 0 else 1.0)
        return _cosine(1.0, 0.2, (round - top) / (end - top))

    def _windows(self, text: Tokens, start: Tensor) -> tuple[Tensor, Tensor]:
        window = torch.from_numpy(text[start.unsqueeze(-1).numpy() + np.arange(self.context + 1)].astype(np.int64))
        return window[..., :-1], window[..., 1:]


def _cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def _tokens(task: WikiText, split: Literal["train", "validation", "test"]) -> Tokens:
    return _encoded(task.path, task.tokenizer_path, task.cache_path, task.vocabulary, split)


@lru_cache(maxsize=3)
def _encoded(path: str | None, tokenizer_path: str | None, cache_path: str | None, vocabulary: int, split: str) -> Tokens:
    source = Source(repository="Salesforce/wikitext", configuration="wikitext-103-raw-v1", path=path)
    rows = read_split(source, split, ("text",))["text"]
    cache = default_cache() if cache_path is None else Path(cache_path)
    return encoded(rows, tokenizer_files(tokenizer_path), vocabulary, cache)
