"""Run tensor code for its shapes alone: no memory, no arithmetic, no random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_META = torch.device("meta")


class _OnMeta(TorchFunctionMode):
    """Replaces every device by the meta device and drops generators."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = {name: _moved(value) for name, value in (kwargs or {}).items() if name != "generator"}
        return func(*map(_moved, args), **options)


def _moved(value: Any) -> Any:
    return _META if isinstance(value, torch.device) else value


@contextmanager
def weightless() -> Iterator[None]:
    """Within this context every new tensor lies on torch's meta device, whatever device the code asks for.

    Draws ignore their generator. Code that reads a tensor's values fails with an error of torch's.
    """
    with _META, _OnMeta():
        yield
