"""fashion-mnist: 70,000 images of clothes, 28 x 28 pixels, from IDX files; or MNIST, or any other set in that format.

Reference: Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from laser_wireless.benchmarks.tasks.idx import read_idx_folder
from laser_wireless.benchmarks.tasks.images import Form, Images, evaluate_classifier, in_parts
from laser_wireless.benchmarks.tasks.sharding import Sharding, check_sharding, shards_of
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
@checked
class FashionMnist:
    """Classify Fashion-MNIST; SGD with momentum at a constant rate, as the paper's image tasks.

    5,000 of the 60,000 training images are held out to choose learning rates; the 10,000 test images only measure.

    Args:
        path: folder with MNIST's four IDX files, plain or with .gz; Debian's package dataset-fashion-mnist puts
            Fashion-MNIST where the default says. MNIST's own files do as well.
        architecture: "linear" (7,850 parameters), "mlp" (two hidden layers with ReLU) or "conv" (two convolutions of
            5 x 5 with max-pooling, one hidden layer; no batch statistics).
        width: of the hidden layers; an MLP of 256 has 269,322 parameters, of 1024 1,863,690. Convolutions have a sixteenth
            and an eighth of it as channels.
        batch_size: images per device and round, drawn without replacement within an epoch of the device's shard.
        validation_size: images held out of the training data; which ones does not depend on the run's seed.
        sharding: "random" (equal shards), "dirichlet" (skewed classes and sizes), "label" (few classes per device) or
            "shared" (every device draws from all images, with replacement).
        alpha: of the Dirichlet sharding, and only of that; small is skewed.
        momentum: of SGD at the base station, after the channel; 0 for a scheme whose devices keep momentum before it.
        weight_decay: on all parameters.
        averaging: decay of the weight average that is evaluated; 0 evaluates the weights themselves.
    """

    path: str = "/usr/share/datasets/fashion-mnist"
    architecture: Literal["linear", "mlp", "conv"] = "mlp"
    width: int = 256
    batch_size: int = 32
    validation_size: int = 5000
    sharding: Sharding = "random"
    alpha: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    averaging: float = 0.99

    def __post_init__(self) -> None:
        check_task(self, "width", "batch_size", "validation_size")
        check_momentum(self.momentum)
        check_sharding(self.sharding, self.alpha)
        if self.architecture == "conv" and self.width < 16:
            raise ValueError(f"width must be >= 16 for architecture conv, got {self.width}")

    def model(self, seed: int) -> nn.Module:
        """Return the classifier, images float [N, 1, H, W] -> scores [N, classes]."""
        form = self._form
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _MODELS[self.architecture](form.shape, form.classes, self.width)

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images float32 [K, batch, 1, H, W] and labels int64 [K, batch]."""
        return self.batches_of(range(num_devices), round, num_devices, streams)

    def batches_of(self, devices: range, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images and labels of some of the devices; see `Streamed`."""
        images = _parts(self)["train"]
        shards = shards_of(self, images.labels, num_devices, streams)
        chosen = shards.batches(devices, round, self.batch_size, streams)
        return self._form.normalised(images.pixels[chosen]), images.labels[chosen]

    def shard_sizes(self, num_devices: int, streams: Streams) -> Tensor:
        """Return how many images each device holds, int64 [K]."""
        return shards_of(self, _parts(self)["train"].labels, num_devices, streams).sizes

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        images, labels = batch
        return cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (cross-entropy, nats) and "accuracy"."""
        return evaluate_classifier(model, _parts(self)[split], self._form)

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return SGD with momentum."""
        return SGD(model.parameters(), lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return 1: the rate is constant."""
        return 1.0

    @property
    def _form(self) -> Form:
        return read_idx_folder(self.path).form


def _linear(shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


def _mlp(shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    hidden = nn.Linear(prod(shape), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, classes))


def _conv(shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    first, second = width // 16, width // 8
    height, length = shape[1] // 4, shape[2] // 4
    stages = (
        *(nn.Conv2d(shape[0], first, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
    )
    hidden = nn.Linear(second * height * length, width), nn.ReLU()
    return nn.Sequential(*stages, nn.Flatten(), *hidden, nn.Linear(width, classes))


_MODELS = {"linear": _linear, "mlp": _mlp, "conv": _conv}


@lru_cache(maxsize=2)
def _held_out(path: str, validation_size: int) -> dict[str, Images]:
    data = read_idx_folder(path)
    return in_parts(data.train, data.test, validation_size)


def _parts(task: FashionMnist) -> dict[str, Images]:
    return _held_out(task.path, task.validation_size)
