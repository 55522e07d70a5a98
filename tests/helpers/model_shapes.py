"""Parameter shapes of published models, for counting symbols; no model is built."""

from __future__ import annotations

Shapes = tuple[tuple[int, ...], ...]


def resnet18_shapes(num_classes: int = 10) -> Shapes:
    """ResNet-18 in its CIFAR form: a 3 x 3 stem, four stages of two basic blocks, batch normalisation."""
    shapes: list[tuple[int, ...]] = [(64, 3, 3, 3), (64,), (64,)]
    width = 64
    for out in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(out, width, 3, 3), (out,), (out,), (out, out, 3, 3), (out,), (out,)]
            if block == 0 and out != width:
                shapes += [(out, width, 1, 1), (out,), (out,)]
            width = out
    return (*shapes, (num_classes, 512), (num_classes,))


def gpt2_shapes(vocabulary: int = 50_304, context: int = 512, width: int = 768, num_layers: int = 12) -> Shapes:
    """GPT-2 small without biases, tied embeddings, normalisation weights only."""
    block = [(width,), (3 * width, width), (width, width), (width,), (4 * width, width), (width, 4 * width)]
    return ((vocabulary, width), (context, width), *(block * num_layers), (width,))


def mnist_shapes() -> Shapes:
    """One linear layer 784 -> 10."""
    return ((10, 784), (10,))
