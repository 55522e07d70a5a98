"""Channels written in TensorFlow as stages of the uplink (extra `tensorflow`).

A user's function computes the gains h of a round, or the whole channel x -> y, in TensorFlow on the CPU. Tensors cross by
DLPack without copies, gradients by tf.GradientTape: both frameworks call conj(dL/dz) the gradient of a complex number.
TensorFlow computes on the host at once: the stage leaves torch's queue, and fake or traced tensors cannot pass.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid

_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
_ALIGNMENT = 64  # bytes; TensorFlow aborts the process on tensors of another address
_NO_PARAMETERS: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class TensorFlowFading:
    """Gains drawn by a TensorFlow function; a `Fading` like any other.

        def my_fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed, *parameters):
            shape = (num_devices, num_rx_antennas, num_slots, num_frequency_blocks)
            parts = tf.random.stateless_normal((2, *shape), seed) / 2**0.5
            return tf.complex(parts[0], parts[1])    # axes of length 1 are broadcast; E|h|^2 = 1

    `seed` is an int32 tensor [2] for tf.random.stateless_*, drawn from the round's generator. Being a tensor, it does not
    make a tf.function trace anew in each round. Gradients flow to `parameters`, of first order only; tf.Variables are
    used as they are, without gradients. Gains for a CUDA device are copied there.

    Args:
        function: the function, or where to import it from, such as "my_module.my_fading".
        parameters: torch tensors on the CPU, handed to the function as TensorFlow tensors after the seed.
    """

    function: str | Callable[..., Any]
    parameters: Sequence[Tensor] = field(default=_NO_PARAMETERS, compare=False)

    def __post_init__(self) -> None:
        _check_function("TensorFlowFading", self.function)

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex, broadcastable to [num_devices, num_rx_antennas, T, F].

        Raises:
            TypeError: the function returned no tensor, or not one of complex or real floating-point numbers.
            ValueError: the gains do not broadcast to that shape.
        """
        function = resolve(self.function)
        sizes = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        seed = _seed(generator)

        def gains(*parameters: Any) -> Any:
            return function(*sizes, seed, *parameters)

        h = _through_tensorflow(gains, self.parameters, name_of(self.function))
        if h.ndim != 4 or any(found not in (1, size) for found, size in zip(h.shape, sizes, strict=True)):
            raise ValueError(
                f"TensorFlow function {name_of(self.function)} must return gains of shape [num_devices, num_rx_antennas, "
                f"num_slots, num_frequency_blocks] = {list(sizes)} (axes of length 1 are broadcast), got {list(h.shape)}"
            )
        return h.to(generator.device, copy=True)  # a constant of the user's must not be written to


@dataclass(frozen=True, kw_only=True)
@checked
class TensorFlowChannel:
    """A whole channel as a TensorFlow function, from what the devices send to what the antennas hear, before noise.

        def my_channel(x, seed, *parameters):    # x [..., num_devices, n] -> y [..., num_rx_antennas, n]
            return tf.reduce_sum(x, axis=-2, keepdims=True)

    `seed` is an int32 tensor [2] for tf.random.stateless_*. Gradients flow to x and to `parameters`, of first order only;
    tf.Variables are used as they are, without gradients. What TensorFlow returns shares memory with y, and x with what
    the function gets: changing one in place before the backward pass is refused there.

    Args:
        function: the function, or where to import it from, such as "my_module.my_channel".
        parameters: torch tensors on the CPU, handed to the function as TensorFlow tensors after the seed.
    """

    function: str | Callable[..., Any]
    parameters: Sequence[Tensor] = field(default=_NO_PARAMETERS, compare=False)

    def __post_init__(self) -> None:
        _check_function("TensorFlowChannel", self.function)

    def __call__(self, x: Tensor, *, round: int, generator: torch.Generator) -> Tensor:
        """Send x through the channel.

        Args:
            x: float32, float64, complex64 or complex128 [..., num_devices, n], transmitted symbols, on the CPU.
            round: 0, 1, ...
            generator: of the round's draws.

        Returns:
            y: [..., num_rx_antennas, n], of the dtype that the function gives it.

        Raises:
            TypeError: x or what the function returned is of another dtype, or x is not on the CPU.
            ValueError: y has other leading axes or another length than x.
        """
        if x.ndim < 2:
            raise ValueError(f"x must be [..., num_devices, n], got shape {list(x.shape)}")
        function = resolve(self.function)
        seed = _seed(generator)

        def received(symbols: Any, *parameters: Any) -> Any:
            return function(symbols, seed, *parameters)

        y = _through_tensorflow(received, (x, *self.parameters), name_of(self.function))
        if y.ndim != x.ndim or y.shape[:-2] != x.shape[:-2] or y.shape[-1] != x.shape[-1]:
            raise ValueError(
                f"TensorFlow function {name_of(self.function)} must return y [..., num_rx_antennas, n] for x "
                f"{list(x.shape)} [..., num_devices, n], got {list(y.shape)}"
            )
        return y


def resolve(function: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, imported if its path is given.

    Raises:
        ImportError: there is no such module or function.
        ValueError: the text is no path.
    """
    return _imported(function) if isinstance(function, str) else function


@lru_cache(maxsize=64)
def _imported(path: str) -> Callable[..., Any]:
    module_name, _, name = path.rpartition(".")
    if not module_name or not name:
        raise ValueError(f'function must be callable or a path such as "my_module.my_function", got {path!r}')
    _tensorflow()
    found = getattr(importlib.import_module(module_name), name, None)
    if not callable(found):
        raise ImportError(f"module {module_name} has no function {name}; is {path!r} spelt right?")
    return found


def name_of(function: str | Callable[..., Any]) -> str:
    """What error messages call a function."""
    return function if isinstance(function, str) else getattr(function, "__name__", repr(function))


def _check_function(owner: str, function: str | Callable[..., Any]) -> None:
    if find_spec("tensorflow") is None:
        raise ImportError(f"{owner} needs TensorFlow: pip install 'laser-wireless[tensorflow]'")
    _refuse_broken(_installed_version())
    resolve(function)


@lru_cache(maxsize=1)
def _tensorflow() -> Any:
    """Import TensorFlow, quietly, unless it is a version known to break.

    Raises:
        ImportError: it is 2.21.
    """
    if "tensorflow" not in sys.modules:
        _refuse_broken(_installed_version())
    silent = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    if silent:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # read once, on import
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensorflow = importlib.import_module("tensorflow")
    finally:
        if silent:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    _refuse_broken(tensorflow.__version__)
    return tensorflow


def _installed_version() -> str:
    """What pip knows of it, without importing; empty if nothing."""
    for distribution in ("tensorflow-cpu", "tensorflow"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _refuse_broken(version: str) -> None:
    if version.startswith("2.21."):
        raise ImportError(
            f"TensorFlow {version} cannot be used here: loaded before Sionna's ray tracer it aborts the process, and it "
            "asks for an h5py older than Sionna's. Use 2.20 or 2.22 and later: pip install 'laser-wireless[tensorflow]'"
        )


def _seed(generator: torch.Generator) -> Any:
    """Two numbers for tf.random.stateless_*: int32 tensor [2]."""
    drawn = torch.randint(2**31 - 1, (2,), dtype=torch.int32, device=generator.device, generator=generator)
    return _to_tensorflow(drawn.cpu())


def _to_tensorflow(tensor: Tensor) -> Any:
    """Share a tensor's memory with TensorFlow; copied only where it is strided, lazily conjugated or badly aligned."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if plain.data_ptr() % _ALIGNMENT:
        plain = plain.clone()
    return _tensorflow().experimental.dlpack.from_dlpack(plain.__dlpack__())


def _to_torch(tensor: Any) -> Tensor:
    """Share a TensorFlow tensor's memory with torch."""
    return torch.utils.dlpack.from_dlpack(_tensorflow().experimental.dlpack.to_dlpack(tensor))


def _through_tensorflow(function: Callable[..., Any], tensors: Sequence[Tensor], name: str) -> Tensor:
    """Apply a TensorFlow function of tensors, with gradients."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.dtype not in _DTYPES:
            found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(
                f"TensorFlow function {name} takes float32, float64, complex64 or complex128 tensors, got {found}; convert "
                "with .float() or .to(torch.complex64)"
            )
        if tensor.device.type != "cpu":
            raise TypeError(f"TensorFlow function {name} takes tensors on the CPU, got {tensor.device}; use .cpu()")
    return _TensorFlowFunction.apply(function, name, *tensors)


class _TensorFlowFunction(torch.autograd.Function):
    """y = function(*tensors) in TensorFlow, recorded on a tape that torch's graph keeps."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], name: str, *tensors: Tensor) -> Tensor:
        tf = _tensorflow()
        with tf.device("CPU:0"), tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            inputs = [_to_tensorflow(tensor) for tensor in tensors]
            for given, needed in zip(inputs, ctx.needs_input_grad[2:], strict=True):
                if needed:
                    tape.watch(given)
            output = function(*inputs)
        y = _checked(output, name)
        if any(y.data_ptr() == tensor.data_ptr() for tensor in tensors):  # the function gave its argument back
            y = y.clone()
        ctx.tape, ctx.inputs, ctx.output = tape, inputs, output
        ctx.save_for_backward(y, *tensors)  # the tape knows nothing of torch's writing in place; this notices it
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # refuses values that were changed in place
        tf = _tensorflow()
        wanted = [given for given, needed in zip(ctx.inputs, ctx.needs_input_grad[2:], strict=True) if needed]
        with tf.device("CPU:0"):
            found = ctx.tape.gradient(
                ctx.output,
                wanted,
                output_gradients=_to_tensorflow(gradient),
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            gradients = iter([_to_torch(tf.convert_to_tensor(entry)) for entry in found])
        return None, None, *(next(gradients) if needed else None for needed in ctx.needs_input_grad[2:])


def _checked(output: Any, name: str) -> Tensor:
    """What a user's function returned, as a torch tensor of a dtype that the uplink knows."""
    if isinstance(output, _tensorflow().Variable):
        output = output.value()
    if not _tensorflow().is_tensor(output):
        raise TypeError(f"TensorFlow function {name} must return a tf.Tensor, got {type(output).__name__}")
    if output.dtype.name not in [str(dtype).removeprefix("torch.") for dtype in _DTYPES]:
        raise TypeError(
            f"TensorFlow function {name} must return float32, float64, complex64 or complex128, got {output.dtype.name}; "
            "use tf.complex"
        )
    return _to_torch(output)
