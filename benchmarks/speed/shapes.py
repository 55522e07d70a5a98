"""Which parameters do the timed models have? Shapes only; no model is built and no data is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from math import prod

from laser_wireless.benchmarks.schemes import facts_of
from laser_wireless.compression import (
    Compressor,
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    RandomK,
    Sign,
    SpectralPrecoding,
    TopK,
    Uncompressed,
)

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
        compressor: the scheme.
    """

    shapes: Shapes
    num_devices: int
    compressor: Compressor

    @property
    def num_parameters(self) -> int:
        """d."""
        return sum(map(prod, self.shapes))

    @property
    def scheme(self) -> str:
        """As in the table: the class and what was set."""
        cls, always = type(self.compressor), facts_of(self.compressor).named_by
        settings = {f.name: getattr(self.compressor, f.name) for f in fields(self.compressor)}  # type: ignore[arg-type]
        chosen = {name: value for name, value in settings.items() if name in always or value != getattr(cls, name, None)}
        return f"{cls.__name__}({', '.join(f'{name}={value}' for name, value in chosen.items())})"


_SCHEMES: dict[str, Compressor] = {
    "": LowRank(rank=4),
    "-uncompressed": Uncompressed(),
    "-jacobi": JacobiLowRank(rank=4),
    "-equal": SpectralPrecoding(),
    "-spectral": SpectralPrecoding(rank=4, precoding=0.5),
    "-sign": Sign(),
    "-random-k": RandomK(),
    "-sketch": CountSketch(),
    "-top-k": TopK(),
    "-projection": GaussianProjection(projection="hadamard"),
}
"""End of a case's name -> its scheme, at the published sizes; the projection is the quick one, so that GPT-2 ends soon."""


def _cases(name: str, shapes: Shapes, num_devices: int, schemes: dict[str, Compressor]) -> dict[str, Case]:
    return {
        f"{name}{end}": Case(shapes=shapes, num_devices=num_devices, compressor=compressor)
        for end, compressor in schemes.items()
    }


CASES = {
    **_cases("mlp", mlp(64, 128, 10), 16, _SCHEMES),
    **_cases("resnet18", resnet18(), 16, _SCHEMES),
    **_cases("gpt2", gpt2(), 4, _SCHEMES | {"": LowRank(rank=8), "-spectral": SpectralPrecoding(precoding=0.5)}),
}

QUICK = _cases("mlp", mlp(8, 16, 4), 3, {"": LowRank(rank=1), "-uncompressed": Uncompressed(), "-sketch": CountSketch()})
