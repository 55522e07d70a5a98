"""digits: 1,797 images of handwritten digits, 8 x 8 pixels, bundled with scikit-learn (no download).

The task of the quick experiments: 1,077 images to train, 360 to choose learning rates, 360 to test, stratified and fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from laser_wireless.benchmarks.tasks.sharding import Sharding, check_sharding, shards_of
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked


@lru_cache(maxsize=1)
def _parts() -> dict[str, tuple[Tensor, Tensor]]:
    """Images float32 [N, 64] in [-1, 1] and labels int64 [N] of each part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    rest, test, rest_labels, test_labels = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    train, held, train_labels, held_labels = train_test_split(
        rest, rest_labels, test_size=360, stratify=rest_labels, random_state=0
    )
    arrays = {"train": (train, train_labels), "validation": (held, held_labels), "test": (test, test_labels)}
    return {
        name: (torch.tensor(x / 8 - 1, dtype=torch.float32), torch.tensor(y, dtype=torch.int64))
        for name, (x, y) in arrays.items()
    }


@dataclass(frozen=True, kw_only=True)
@checked
class Digits:
    """Classify handwritten digits (scikit-learn's 8 x 8 images); SGD with momentum, as the paper's image tasks.

    Args:
        architecture: "mlp" (two hidden layers with ReLU) or "linear".
        width: of the hidden layers; 256 gives 85,002 parameters, 1024 gives 1,126,410.
        batch_size: images per device and round, drawn without replacement within an epoch of the device's shard.
        sharding: "random" (equal shards), "dirichlet" (skewed classes and sizes), "label" (few classes per device) or
            "shared" (every device draws from all images, with replacement).
        alpha: of the Dirichlet sharding, and only of that; small is skewed.
        momentum: of SGD at the base station, after the channel; 0 for a scheme whose devices keep momentum before it.
        weight_decay: on all parameters.
        averaging: decay of the weight average that is evaluated; 0 evaluates the weights themselves.
    """

    architecture: Literal["mlp", "linear"] = "mlp"
    width: int = 256
    batch_size: int = 16
    sharding: Sharding = "random"
    alpha: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    averaging: float = 0.99

    def __post_init__(self) -> None:
        check_task(self, "width", "batch_size")
        check_momentum(self.momentum)
        check_sharding(self.sharding, self.alpha)

    def model(self, seed: int) -> nn.Module:
        """Return the classifier, 64 -> 10."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.architecture == "linear":
                return nn.Linear(64, 10)
            return nn.Sequential(
                nn.Linear(64, self.width), nn.ReLU(), nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 10)
            )

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images float32 [K, batch, 64] and labels int64 [K, batch]."""
        return self.batches_of(range(num_devices), round, num_devices, streams)

    def batches_of(self, devices: range, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images and labels of some of the devices; see `Streamed`."""
        images, labels = _parts()["train"]
        shards = shards_of(self, labels, num_devices, streams)
        chosen = shards.batches(devices, round, self.batch_size, streams)
        return images[chosen], labels[chosen]

    def shard_sizes(self, num_devices: int, streams: Streams) -> Tensor:
        """Return how many images each device holds, int64 [K]."""
        return shards_of(self, _parts()["train"][1], num_devices, streams).sizes

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        images, labels = batch
        return cross_entropy(model(images), labels)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (cross-entropy, nats) and "accuracy"."""
        place = next(model.parameters()).device
        images, labels = (part.to(place) for part in _parts()[split])
        scores = model(images)
        return {
            "loss": cross_entropy(scores, labels).item(),
            "accuracy": (scores.argmax(1) == labels).double().mean().item(),
        }

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return SGD with momentum."""
        return SGD(model.parameters(), lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return 1: the rate is constant."""
        return 1.0
