"""The devices' gradient memory: one row [d] for each device, into which backward adds, and what error feedback keeps.

Backward adds straight into a row: p.grad is a view of it, so that no gradient is ever copied. Every device is entered once a
round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from laser_wireless.compression.message import split_parameters
from laser_wireless.training.carried import CarriedParameters


class GradientMemory:
    """Rows of the devices in this process, and which of them were entered in this round.

    Args:
        carried: the parameters.
        devices: which devices these are, of all: K of them.
        rows: their rows [K, d], where they lie already; zeros if None.

    Attributes:
        rows: float32 or float64 [K, d], between rounds what each device has yet to send.
        broken: what was interrupted half-way, so that the rows are not to be trusted; None if nothing was.
    """

    def __init__(self, carried: CarriedParameters, devices: range, rows: Tensor | None = None) -> None:
        self._carried, self._devices = carried, devices
        if rows is None:
            rows = torch.zeros(len(devices), carried.size, dtype=carried.dtype, device=carried.device)
        self.lie_in(rows)
        self._entered: set[int] = set()
        self.broken: str | None = None

    def lie_in(self, rows: Tensor) -> None:
        """Take rows [K, d] for the devices' own; what they hold is the devices' from now on."""
        self.rows = rows
        self._views = split_parameters(rows, self._carried.shapes)  # [K, *shape]

    @property
    def devices(self) -> range:
        """Whose rows these are."""
        return self._devices

    @property
    def num_entered(self) -> int:
        """Devices that were entered in this round."""
        return len(self._entered)

    def enter(self, device_index: int, round: int) -> None:
        """Count a device in.

        Raises:
            ValueError: no such device.
            RuntimeError: it was entered before in this round.
        """
        if device_index not in self._devices:
            raise ValueError(f"device_index must be {self._devices.start} .. {self._devices.stop - 1}, got {device_index}")
        if device_index in self._entered:
            raise RuntimeError(
                f"device {device_index} was entered twice in round {round}; accumulate its batches within one "
                "gradients_of, and call exchange() once per round"
            )
        self._entered.add(device_index)

    def views_of(self, device_index: int) -> list[Tensor]:
        """The row of a device, one view per parameter."""
        return [view[device_index - self._devices.start] for view in self._views]

    @contextmanager
    def accumulate(self, device_index: int, round: int, factor: float = 1.0) -> Iterator[None]:
        """Within the context p.grad is the device's row, or by itself and added with a factor; see `gradients_of`."""
        parameters = self._carried.parameters
        kept = [p.grad for p in parameters]
        views = self.views_of(device_index)
        straight = [factor == 1 and p.dtype == self._carried.dtype for p in parameters]
        for p, view, is_row in zip(parameters, views, straight, strict=True):
            p.grad = view if is_row else None
        try:
            yield
            self._take(views, straight, factor)
        except BaseException:
            self.broken = f"the gradient of device {device_index} in round {round} was interrupted half-way"
            raise
        finally:
            for p, grad in zip(parameters, kept, strict=True):
                p.grad = grad

    def _take(self, views: Sequence[Tensor], straight: Sequence[bool], factor: float) -> None:
        """Add gradients that are not in the row yet, and refuse rows that were taken away."""
        for p, view, is_row in zip(self._carried.parameters, views, straight, strict=True):
            if p.grad is not None and p.grad is not view:  # by itself, or replaced by zero_grad or a sparse sum
                if is_row:
                    raise RuntimeError(
                        "p.grad was replaced inside gradients_of; call optimizer.zero_grad() outside of it, or not at "
                        "all (exchange() overwrites p.grad)"
                    )
                view.add_(p.grad, alpha=factor)
            elif p.grad is None and is_row:
                raise RuntimeError("p.grad was cleared inside gradients_of; call optimizer.zero_grad() outside of it")

    def add_(self, updates: Sequence[Tensor], rows: Tensor | None = None) -> None:
        """Add what devices found, [m, *shape] for each parameter that is not frozen.

        Args:
            updates: of the devices in these rows.
            rows: int64 [m], none twice; None for all.
        """
        for views, update in zip(self._carried.of_trained(self._views), updates, strict=True):
            if rows is None:
                views.add_(update)
            else:
                views.index_add_(0, rows, update.to(views.dtype))

    def enter_each(self, round: int) -> None:
        """Count all devices in; see `enter`."""
        for device_index in self._devices:
            self.enter(device_index, round)

    def enter_all(self) -> None:
        """Count all devices in: their gradients were added."""
        self._entered = set(self._devices)

    def check_complete(self, round: int) -> None:
        """Refuse a round in which a device is missing.

        Raises:
            RuntimeError: a device was not entered, or something was interrupted half-way.
        """
        if self.broken:
            raise RuntimeError(f"{self.broken}; its memory is not to be trusted, load a state_dict saved before")
        if missing := [k for k in self._devices if k not in self._entered]:
            raise RuntimeError(
                f"round {round} lacks the gradients of devices {missing}: enter gradients_of(k) for each of the "
                f"{len(self._devices)} devices, without a backward pass for one that has nothing to add"
            )

    def begin_round(self) -> None:
        """Nobody was entered yet, and nothing is half done."""
        self._entered.clear()
        self.broken = None

    @contextmanager
    def frozen_set_aside(self, *, keep: bool) -> Iterator[None]:
        """Within the context the rows of frozen parameters are zero; afterwards what they were, if they are to be kept."""
        rows = self._carried.frozen(self._views)
        kept = [row.clone() for row in rows]
        for row in rows:
            row.zero_()
        try:
            yield
        finally:
            if keep:
                for row, values in zip(rows, kept, strict=True):
                    row.copy_(values)
