"""What the devices of a process compute in a round, and add to their memory: a gradient, or local steps.

Two ways give the same to float precision: all devices at once (`training.batched`), where the model allows it and they are
small, and one after the other. Devices that the base station does not ask compute nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from laser_wireless.channels import Streams, participation
from laser_wireless.channels.constants import constant
from laser_wireless.channels.round import Round
from laser_wireless.training.batched import Compile, batched_gradients, can_batch
from laser_wireless.training.carried import CarriedParameters
from laser_wireless.training.compiled import as_it_is
from laser_wireless.training.gradient_memory import GradientMemory
from laser_wireless.training.local_steps import LocalSteps

LARGEST_BATCHED = 1 << 23  # numbers; above, the extra [K, d] of the batched path costs more than it saves

Loss = Callable[..., Tensor]


class Received(Protocol):
    """The models that devices hold in a round; an `UplinkBridge` says."""

    def stacked_models(self) -> dict[str, Tensor] | None:
        """Of this process's devices by the parameters' names, [L, *shape] or [1, *shape]; None if all hold the model."""
        ...

    def model_of(self, device_index: int) -> AbstractContextManager[None]:
        """Context in which the model's parameters are those that a device holds."""
        ...


class Work(NamedTuple):
    """What is to be computed in a round.

    loss: loss(model, *batch) -> scalar. steps: for each local step tensors [L, ...], stacked over this process's devices.
    local: how a device goes on. rate: eta.
    num_steps, sizes, factors: of each of the L devices: its steps, its samples in a step (None for all that are given), and
        by what it multiplies what it has found.
    asked: rows of the devices that are asked, int64 [m]; None for all.
    """

    loss: Loss
    steps: Sequence[Sequence[Tensor]]
    local: LocalSteps
    rate: float
    num_steps: Sequence[int]
    sizes: Sequence[int | None]
    factors: Sequence[float]
    asked: Tensor | None


def work_of(
    loss: Loss,
    steps: Sequence[Sequence[Tensor]],
    local: LocalSteps,
    *,
    rate: float,
    devices: range,
    weights: Sequence[float],
    asked: Tensor | None,
) -> Work:
    """The work of some of all K devices, for which `weights` are given and of which `asked` are asked, int64 [m].

    Raises:
        ValueError: another number of steps or devices, or more samples than the data give.
    """
    if len(steps) != local.longest:
        raise ValueError(f"steps must hold the batches of {local.longest} local steps, got {len(steps)}")
    for batch in (batch for step in steps for batch in step):
        if len(batch) != len(devices):
            raise ValueError(
                f"batches must be stacked over the {len(devices)} devices, [num_devices, ...], got {list(batch.shape)}"
            )
    own = slice(devices.start, devices.stop)
    sizes = (local.sizes_of(len(weights)) or (None,) * len(weights))[own]
    _check_sizes(sizes, steps)
    if asked is not None and len(devices) < len(weights):
        asked = asked[(asked >= devices.start) & (asked < devices.stop)] - devices.start
    num_steps, factors = local.steps_of(len(weights))[own], local.factors(weights, rate)[own]
    return Work(loss, steps, local, rate, num_steps, sizes, factors, asked)


def asked_by(uplink: object, num_devices: int, *, round: int, streams: Streams, device: torch.device) -> Tensor | None:
    """Which devices the base station asks in a round, by the uplink's participation if it has any; None for all."""
    rule = getattr(uplink, "participation", None)
    return participation.asked_by(rule, num_devices, Round(round, streams), device)


class _Group(NamedTuple):
    """Devices that do the same: their rows (None for all), steps, and samples of a step (None for all that are given)."""

    rows: Tensor | None
    num_steps: int
    size: int | None


class DeviceTraining:
    """Devices of a process, all of one model.

    Args:
        model: in which they train; its buffers, such as statistics of batch normalisation, are common to them.
        carried: its parameters.
        memory: takes what they find.
        received: the models that they start from.
        compiled: makes of what is computed something quicker; see `training.compiled`.

    Attributes:
        may_batch: False once the model turned out not to allow it.
    """

    def __init__(
        self,
        model: nn.Module,
        carried: CarriedParameters,
        memory: GradientMemory,
        received: Received,
        compiled: Compile = as_it_is,
    ) -> None:
        self._model, self._carried, self._memory, self._received = model, carried, memory, received
        self._compiled = compiled
        self._first, self.may_batch = memory.devices.start, True

    @property
    def is_batched(self) -> bool:
        """Whether all devices are computed at once."""
        return self.may_batch and self._memory.rows.numel() <= LARGEST_BATCHED and can_batch(self._model)

    def __call__(self, work: Work, round: int) -> Tensor:
        """Compute and add to the memory; returns losses [m] of the devices that were asked, in their first step."""
        if self.is_batched:
            groups, copies = list(_groups(work, self._carried.device)), self._received.stacked_models()
            try:
                found = [self._of_group(work, group, copies) for group in groups]
            except RuntimeError:  # no batching rule, or a random draw: one by one, from now on
                self.may_batch = False
            else:
                return self._add(work, groups, found, round)
        return self._one_by_one(work, round)

    def _add(self, work: Work, groups: list[_Group], found: list[tuple[list[Tensor], Tensor]], round: int) -> Tensor:
        """Add what the groups found to the memory, once all is there; the losses of the devices that were asked."""
        self._memory.enter_each(round)
        for group, (updates, _) in zip(groups, found, strict=True):
            self._memory.add_(_scaled(updates, work, group), group.rows)
        if not found:
            return torch.zeros(0, device=self._carried.device)
        if len(found) == 1:
            return found[0][1]
        losses = torch.cat([its for _, its in found])[torch.cat([_known(group.rows) for group in groups]).argsort()]
        return _rows(losses, work.asked)

    def _of_group(self, work: Work, group: _Group, copies: dict[str, Tensor] | None) -> tuple[list[Tensor], Tensor]:
        """u of the devices of a group, [m, *shape] for each trainable parameter, and the losses [m] of their first step."""
        local, trainable = work.local, self._carried.trainable
        names = [name for name, wanted in zip(self._carried.names, trainable, strict=True) if wanted]
        held = None
        if copies is not None:
            held = {name: copy if len(copy) == 1 else _rows(copy, group.rows) for name, copy in copies.items()}
        origin = held or {name: p.detach().unsqueeze(0) for name, p in zip(names, self._carried.trained, strict=True)}
        updates: list[Tensor] = []
        velocity: list[Tensor] = []
        first_losses = torch.empty(0)
        for number, batches in enumerate(work.steps[: group.num_steps]):
            data = [
                _rows(batch, group.rows)[:, : group.size] if group.size else _rows(batch, group.rows) for batch in batches
            ]
            here = _displaced(origin, names, updates, work.rate) if updates else held
            gradients, losses = batched_gradients(self._model, names, work.loss, data, here, compiled=self._compiled)
            if number == 0:
                updates, first_losses = gradients, losses
                velocity = [g.clone() for g in gradients] if local.momentum and group.num_steps > 1 else []
                continue
            _advance_(updates, velocity, gradients, local, work.rate)
        return updates, first_losses

    def _one_by_one(self, work: Work, round: int) -> Tensor:
        asked = set(range(len(self._memory.rows)) if work.asked is None else work.asked.tolist())
        losses = []
        for row, (num_steps, size) in enumerate(zip(work.num_steps, work.sizes, strict=True)):
            if row not in asked:
                self._memory.enter(self._first + row, round)
                continue
            batches = [[batch[row][:size] for batch in step] for step in work.steps[:num_steps]]
            losses.append(self._of_device(work, self._first + row, batches, round))
        return torch.stack(losses) if losses else torch.zeros(0, device=self._carried.device)

    def _of_device(self, work: Work, device_index: int, batches: list[list[Tensor]], round: int) -> Tensor:
        factor = work.factors[device_index - self._first]
        if len(batches) == 1:
            self._memory.enter(device_index, round)
            with self._memory.accumulate(device_index, round, factor), self._received.model_of(device_index):
                loss = self._compiled(work.loss, work.loss)(self._model, *batches[0])
                loss.backward()
            return loss.detach()
        with self._received.model_of(device_index), _where_they_were(self._carried.trained):
            updates, loss = self._walked(work, batches)
        self._memory.enter(device_index, round)
        for view, update in zip(self._carried.of_trained(self._memory.views_of(device_index)), updates, strict=True):
            view.add_(update, alpha=factor)
        return loss

    def _walked(self, work: Work, batches: list[list[Tensor]]) -> tuple[list[Tensor], Tensor]:
        """u and the loss of the first step of a device whose model is in place; moves the parameters."""
        parameters = self._carried.trained
        origin = [p.data for p in parameters]
        updates: list[Tensor] = []
        velocity: list[Tensor] = []
        losses = []
        for number, batch in enumerate(batches):
            for p, start, u in zip(parameters, origin, updates, strict=False):
                p.data = (start.to(u.dtype) - work.rate * u).to(p.dtype)
            for p in parameters:
                p.grad = None
            loss = self._compiled(work.loss, work.loss)(self._model, *batch)
            loss.backward()
            losses.append(loss.detach())
            with torch.no_grad():
                gradients = [
                    torch.zeros_like(p, dtype=self._carried.dtype) if p.grad is None else p.grad.to(self._carried.dtype)
                    for p in parameters
                ]
                if number == 0:
                    updates, velocity = [g.clone() for g in gradients], [g.clone() for g in gradients]
                else:
                    _advance_(updates, velocity, gradients, work.local, work.rate)
        return updates, losses[0]


@torch.no_grad()
def _advance_(
    updates: list[Tensor], velocity: list[Tensor], gradients: Sequence[Tensor], local: LocalSteps, rate: float
) -> None:
    """Take a further step: v = m v + g - mu eta u, u += v; in place."""
    for place, gradient in enumerate(gradients):
        if local.proximal:
            gradient.sub_(updates[place], alpha=local.proximal * rate)
        if local.momentum:
            gradient = velocity[place].mul_(local.momentum).add_(gradient)
        updates[place].add_(gradient)


def _displaced(origin: dict[str, Tensor], names: list[str], updates: list[Tensor], rate: float) -> dict[str, Tensor]:
    """theta - eta u for the parameters that move, [m, *shape] each, the others as they are held."""
    m = len(updates[0])
    resting = {name: copy.expand(m, *copy.shape[1:]) for name, copy in origin.items()}
    return resting | {name: origin[name] - rate * u for name, u in zip(names, updates, strict=True)}


def _groups(work: Work, device: torch.device) -> Iterator[_Group]:
    """The devices by what they do: those asked if all do the same, else all, since who is asked is not read."""
    kinds: dict[tuple[int, int | None], list[int]] = {}
    for row, kind in enumerate(zip(work.num_steps, work.sizes, strict=True)):
        kinds.setdefault(kind, []).append(row)
    if len(kinds) == 1:
        [kind] = kinds
        if work.asked is None or len(work.asked):  # of the devices of a process perhaps none
            yield _Group(work.asked, *kind)
        return
    for kind, rows in kinds.items():
        yield _Group(constant(tuple(rows), dtype=torch.int64, device=device), *kind)


def _check_sizes(sizes: Sequence[int | None], steps: Sequence[Sequence[Tensor]]) -> None:
    wanted = max((size for size in sizes if size is not None), default=0)
    given = min(batch.shape[1] if batch.ndim > 1 else 1 for step in steps for batch in step)
    if wanted > given:
        raise ValueError(
            f"batch_sizes must be at most the {given} samples that the data give a device in a step, got {wanted}; give the "
            "task a larger batch_size"
        )


def _scaled(updates: list[Tensor], work: Work, group: _Group) -> list[Tensor]:
    """K p_k u_k; 0 for devices that were not asked."""
    like = updates[0]
    if group.rows is not work.asked and work.asked is not None:
        silent = torch.ones(len(work.factors), dtype=torch.bool, device=like.device).index_fill(0, work.asked, False)
        quiet = _rows(silent, group.rows)
        updates = [u.masked_fill(quiet.view(-1, *[1] * (u.ndim - 1)), 0) for u in updates]
    if all(factor == 1 for factor in work.factors):
        return updates
    factors = _rows(constant(tuple(work.factors), dtype=like.dtype, device=like.device), group.rows)
    return [u.mul_(factors.view(-1, *[1] * (u.ndim - 1))) for u in updates]


def _known(rows: Tensor | None) -> Tensor:
    if rows is None:
        raise AssertionError("several groups have rows each")
    return rows


def _rows(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values.index_select(0, rows)


@contextmanager
def _where_they_were(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within the context parameters may be given other values and gradients; afterwards they have their own again."""
    kept = [(p.data, p.grad) for p in parameters]
    try:
        yield
    finally:
        for p, (data, grad) in zip(parameters, kept, strict=True):
            p.data, p.grad = data, grad
