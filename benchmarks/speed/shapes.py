"""Which parameters do the timed models have? Shapes only; no model is built and no data is read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

Shapes = tuple[tuple[int, ...], ...]


def resnet18(num_classes: int = 10) -> Shapes:
    """ResNet-18 in its CIFAR form (3x3 stem): 11,173,962 parameters with 10 classes."""
    shapes: list[tuple[int, ...]] = [(64, 3, 3, 3), (64,), (64,)]
    before = 64
    for width in (64, 128, 256, 512):
        for _ in range(2):
            shapes += [(width, before, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            if before != width:
                shapes += [(width, before, 1, 1), (width,), (width,)]
            before = width
    return (*shapes, (num_classes, before), (num_classes,))


def gpt2(num_layers: int = 12, width: int = 768, vocabulary: int = 50_304, context: int = 512) -> Shapes:
    """GPT-2 without biases, embeddings tied: 123,980,544 parameters in its small size."""
    shapes: list[tuple[int, ...]] = [(vocabulary, width), (context, width)]
    for _ in range(num_layers):
        shapes += [(width,), (3 * width, width), (width, width), (width,), (4 * width, width), (width, 4 * width)]
    return (*shapes, (width,))


def mlp(*widths: int) -> Shapes:
    """Fully connected layers with biases."""
    return tuple(shape for before, after in pairwise(widths) for shape in ((after, before), (after,)))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table: a model's shapes, K devices, and a scheme.

    Args:
        shapes: of the parameters.
        num_devices: K.
        rank: of LowRank; None for Uncompressed (Z-SGD).
    """

    shapes: Shapes
    num_devices: int
    rank: int | None

    @property
    def num_parameters(self) -> int:
        """d."""
        return sum(map(prod, self.shapes))

    @property
    def scheme(self) -> str:
        """As in the table."""
        return "Uncompressed" if self.rank is None else f"LowRank(rank={self.rank})"


CASES = {
    "mlp": Case(shapes=mlp(64, 128, 10), num_devices=16, rank=4),
    "mlp-uncompressed": Case(shapes=mlp(64, 128, 10), num_devices=16, rank=None),
    "resnet18": Case(shapes=resnet18(), num_devices=16, rank=4),
    "resnet18-uncompressed": Case(shapes=resnet18(), num_devices=16, rank=None),
    "gpt2": Case(shapes=gpt2(), num_devices=4, rank=8),
    "gpt2-uncompressed": Case(shapes=gpt2(), num_devices=4, rank=None),
}

QUICK = {
    "mlp": Case(shapes=mlp(8, 16, 4), num_devices=3, rank=1),
    "mlp-uncompressed": Case(shapes=mlp(8, 16, 4), num_devices=3, rank=None),
}
