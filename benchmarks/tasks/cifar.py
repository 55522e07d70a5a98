"""cifar10, cifar100: 60,000 photographs, 32 x 32 pixels, and a ResNet-18, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from laser_wireless.benchmarks.tasks.hub import Source
from laser_wireless.benchmarks.tasks.images import Form, Images, cropped_and_flipped, evaluate_classifier, image_parts
from laser_wireless.benchmarks.tasks.resnet import ResNet18
from laser_wireless.benchmarks.tasks.sharding import Sharding, check_sharding, shards_of
from laser_wireless.benchmarks.tasks.task import Split, check_momentum, check_task
from laser_wireless.channels import Streams
from laser_wireless.channels.parameters import checked

_FORMS = {
    classes: Form(
        image="img",
        label=label,
        classes=classes,
        shape=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.2010),  # as in the authors' code, for both sets
    )
    for classes, label in ((10, "label"), (100, "fine_label"))
}


@dataclass(frozen=True, kw_only=True)
@checked
class Cifar:
    """Classify CIFAR-10 or CIFAR-100 with a ResNet-18 of 11,173,962 or 11,220,132 parameters; SGD with momentum.

    The paper's runs are 16 devices, 150 epochs (10 classes) or 200 (100). Training images are shifted by up to 4 pixels and
    mirrored at random. Here 5,000 of the 50,000 training images are held out to choose learning rates, and an epoch's last
    batch, smaller than the others, is left out: 21 rounds an epoch instead of 25.

    All devices share one model, so the running statistics of batch normalisation, which evaluation uses, are updated by
    all devices in turn, K times a round; the authors keep one set per worker and evaluate with that of worker 0. Gradients
    do not depend on them.

    Args:
        classes: 10 (CIFAR-10, constant rate) or 100 (CIFAR-100, a tenth of the rate in the last quarter of the run).
        path: folder with the data (save_to_disk, or parquet files as on the hub); none reads uoft-cs/cifar10 or
            uoft-cs/cifar100 from the hub.
        batch_size: images per device and round, drawn without replacement within an epoch of the device's shard.
        validation_size: images held out of the training data; which ones does not depend on the run's seed.
        sharding: "random" (equal shards), "dirichlet" (skewed classes and sizes), "label" (few classes per device) or
            "shared" (every device draws from all images, with replacement).
        alpha: of the Dirichlet sharding, and only of that; small is skewed.
        momentum: of SGD at the base station, after the channel; 0 for a scheme whose devices keep momentum before it.
        weight_decay: on all parameters.
        averaging: decay of the average of weights and statistics that is evaluated; 0 evaluates the weights themselves.
    """

    classes: Literal[10, 100] = 10
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
        """Return the ResNet-18, images float [N, 3, 32, 32] -> scores [N, classes]."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ResNet18(classes=self.classes)

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return images float32 [K, batch, 3, 32, 32], shifted and mirrored, and labels int64 [K, batch]."""
        images = _parts(self)["train"]
        shards = shards_of(self, images.labels, num_devices, streams)
        chosen = shards.batches(range(num_devices), round, self.batch_size, streams)
        pixels = cropped_and_flipped(images.pixels[chosen], 4, streams.generator("augment", round))
        return _FORMS[self.classes].normalised(pixels), images.labels[chosen]

    def shard_sizes(self, num_devices: int, streams: Streams) -> Tensor:
        """Return how many images each device holds, int64 [K]."""
        return shards_of(self, _parts(self)["train"].labels, num_devices, streams).sizes

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        images, labels = batch
        return cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return "loss" (cross-entropy, nats) and "accuracy"."""
        return evaluate_classifier(model, _parts(self)[split], _FORMS[self.classes])

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return SGD with momentum."""
        return SGD(model.parameters(), lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return 1, and 1/10 in the last quarter of a run with 100 classes (epoch 150 of 200)."""
        return 0.1 if self.classes == 100 and 4 * round >= 3 * num_rounds else 1.0


def _parts(task: Cifar) -> dict[str, Images]:
    source = Source(repository=f"uoft-cs/cifar{task.classes}", path=task.path)
    return image_parts(source, _FORMS[task.classes], task.validation_size)
