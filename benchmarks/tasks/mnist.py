"""mnist: 70,000 images of handwritten digits, 28 x 28 pixels, and one linear layer, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from laser_wireless.benchmarks.tasks.hub import Source
from laser_wireless.benchmarks.tasks.images import Form, Images, evaluate_classifier, image_parts
from laser_wireless.benchmarks.tasks.sharding import Sharding, check_sharding, shards_of
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked

_FORM = Form(image="image", label="label", classes=10, shape=(1, 28, 28), mean=(0.1307,), deviation=(0.3081,))


@dataclass(frozen=True, kw_only=True)
@checked
class Mnist:
    """Classify MNIST with one linear layer of 7,850 parameters; SGD with momentum at a constant rate, as in the paper.

    The paper's run is 16 devices, 50 epochs. Here 5,000 of the 60,000 training images are held out to choose learning rates,
    and an epoch's last batch, smaller than the others, is left out: 26 rounds an epoch instead of 30.

    Args:
        path: folder with the data (save_to_disk, or parquet files as on the hub); none reads ylecun/mnist from the hub.
        batch_size: images per device and round, drawn without replacement within an epoch of the device's shard.
        validation_size: images held out of the training data; which ones does not depend on the run's seed.
        sharding: "random" (equal shards), "dirichlet" (skewed classes and sizes), "label" (few classes per device) or
            "shared" (every device draws from all images, with replacement).
        alpha: of the Dirichlet sharding, and only of that; small is skewed.
        momentum: of SGD at the base station, after the channel; 0 for a scheme whose devices keep momentum before it.
        weight_decay: on all parameters.
        averaging: decay of the weight average that is evaluated; 0 evaluates the weights themselves.
    """

    path: str | None = None
    batch_size: int = 128
    validation_size: int = 5000
    sharding: Sharding = "random"
    alpha: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    averaging: float = 0.99

    def __post_init__(self) -> None:
        check_task(self, "batch_size", "validation_size")
        check_momentum(self.momentum)
        check_sharding(self.sharding, self.alpha)

    def model(self, seed: int) -> nn.Module:
        """Return the classifier, images float [N, 1, 28, 28] -> scores [N, 10]."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images float32 [K, batch, 1, 28, 28] and labels int64 [K, batch]."""
        return self.batches_of(range(num_devices), round, num_devices, streams)

    def batches_of(self, devices: range, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images and labels of some of the devices; see `Streamed`."""
        images = _parts(self)["train"]
        shards = shards_of(self, images.labels, num_devices, streams)
        chosen = shards.batches(devices, round, self.batch_size, streams)
        return _FORM.normalised(images.pixels[chosen]), images.labels[chosen]

    def shard_sizes(self, num_devices: int, streams: Streams) -> Tensor:
        """Return how many images each device holds, int64 [K]."""
        return shards_of(self, _parts(self)["train"].labels, num_devices, streams).sizes

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        images, labels = batch
        return cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (cross-entropy, nats) and "accuracy"."""
        return evaluate_classifier(model, _parts(self)[split], _FORM)

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return SGD with momentum."""
        return SGD(model.parameters(), lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return 1: the rate is constant."""
        return 1.0


def _parts(task: Mnist) -> dict[str, Images]:
    return image_parts(Source(repository="ylecun/mnist", path=task.path), _FORM, task.validation_size)
