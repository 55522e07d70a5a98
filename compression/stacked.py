"""States of several runs of one scheme as one, along a first axis, so that the runs can be computed together.

A scheme takes part if its state has a field `runs`, the sizes of the leading axes, () for one run: its encode takes
[*runs, K, d], its decode [*runs, S]. What a run gives together with others it gives alone. Any other scheme exchanges run by
run: so does `GaussianProjection`, whose time goes into selecting entries and matrix products of one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def can_stack(state: Any) -> bool:
    """Whether the scheme that this state is of computes several runs together."""
    return "runs" in getattr(state, "_fields", ())


def stack_states(states: Sequence[Any]) -> Any:
    """One state of R runs: tensors [R, ...], and a tuple of R seeds where a scheme draws by itself."""
    first = states[0]
    fields = {name: _stacked([getattr(state, name) for state in states]) for name in _changing(first)}
    return first._replace(**fields, runs=(len(states),))


def unstack_state(state: Any) -> list[Any]:
    """The state of each run, as views."""
    [num_runs] = state.runs
    fields = {name: _unstacked(getattr(state, name), num_runs) for name in _changing(state)}
    return [state._replace(**{name: values[r] for name, values in fields.items()}, runs=()) for r in range(num_runs)]


def _changing(state: Any) -> list[str]:
    """Fields in which runs differ."""
    return [name for name in state._fields if name not in ("shapes", "runs", "own")]


def _stacked(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    if isinstance(values[0], list):
        return [torch.stack(parts) for parts in zip(*values, strict=True)]
    return tuple(values)


def _unstacked(value: Any, num_runs: int) -> list[Any]:
    if isinstance(value, list):
        return [[part[r] for part in value] for r in range(num_runs)]
    return [value[r] for r in range(num_runs)]
