"""Models by name, for what needs only their parameters' shapes: no weights are allocated and no data is read."""

from __future__ import annotations

import difflib

import torch
from torch import nn

from laser_wireless.benchmarks.assembly import BadConfiguration, resolve
from laser_wireless.benchmarks.speed.shapes import Shapes, gpt2, mlp, resnet18

MODELS: dict[str, Shapes] = {
    "gpt2": gpt2(),
    "resnet18": resnet18(10),
    "resnet18-100": resnet18(100),
    "mnist": mlp(784, 10),
    "digits": mlp(64, 256, 256, 10),
}
"""Name -> shapes of the trainable parameters: GPT-2 small without biases, ResNet-18 for CIFAR-10 and CIFAR-100, one linear
layer 784 -> 10, and the classifier of the task `digits`."""


def shapes_of(model: nn.Module) -> Shapes:
    """Shapes of a model's trainable parameters, tied ones once, in its own order."""
    return tuple(tuple(parameter.shape) for parameter in model.parameters() if parameter.requires_grad)


def model_shapes(name: str) -> Shapes:
    """Shapes of a model by its name, or by the import path of a class or function that makes one.

    The function is called without arguments on torch's meta device: it costs no memory, and draws no weights.

    Args:
        name: one of `MODELS`, or module.function.

    Raises:
        BadConfiguration: an unknown name, or a function that does not return a module with trainable parameters.
    """
    if name in MODELS:
        return MODELS[name]
    if "." not in str(name):
        near = difflib.get_close_matches(str(name), MODELS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise BadConfiguration(
            f"model: {name!r} is not known; {hint}It may be {', '.join(MODELS)}, or the import path of a function that "
            "returns a torch.nn.Module, such as my_module.my_model"
        )
    make = resolve(name, "model")
    try:
        with torch.device("meta"):
            model = make()
    except (TypeError, ValueError, NotImplementedError) as error:
        raise BadConfiguration(
            f"model: {name}() failed on torch's meta device ({error}); it must need no arguments and load no weights"
        ) from error
    if not isinstance(model, nn.Module) or not (shapes := shapes_of(model)):
        raise BadConfiguration(f"model: {name}() must return a torch.nn.Module with trainable parameters, got {model!r}")
    return shapes
