"""The parameters that a bridge carries: those that require gradients when it is built, and what may become of them.

Later they may be frozen (requires_grad_(False)) and unfrozen, renamed, and given other values. Whatever else would leave a
parameter with a gradient that did not pass the channel is refused by name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CarriedParameters:
    """A model's trainable parameters at construction, all of them on one device.

    Args:
        model: any module.

    Attributes:
        parameters: the d numbers that are carried, in the model's order.
        shapes: of the parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not named:
            raise ValueError("model has no parameter that requires a gradient; nothing can be sent")
        if lazy := [name for name, p in named.items() if nn.parameter.is_lazy(p)]:
            raise ValueError(f"parameters must have a shape, got lazy {lazy}; run the model once before building the bridge")
        places = {p.device for p in named.values()}
        if len(places) > 1:
            raise ValueError(f"all parameters must be on one device, got {sorted(map(str, places))}; use model.to(device)")
        if complex_ones := [name for name, p in named.items() if p.is_complex()]:
            raise TypeError(f"parameters must be real, got complex {complex_ones}")
        self._model = model
        self._carried = {id(p): name for name, p in named.items()}
        self.parameters = list(named.values())
        self.shapes = tuple(tuple(p.shape) for p in self.parameters)
        self.device = places.pop()
        self.dtype = torch.float64 if all(p.dtype == torch.float64 for p in self.parameters) else torch.float32
        self._forms = [(p.shape, p.dtype, p.device) for p in self.parameters]

    @property
    def size(self) -> int:
        """d, numbers in all parameters."""
        return sum(p.numel() for p in self.parameters)

    @property
    def names(self) -> list[str]:
        """Of the parameters, as the model calls them now."""
        names = {id(p): name for name, p in self._model.named_parameters()}
        return [names[id(p)] for p in self.parameters]

    @property
    def trainable(self) -> list[bool]:
        """For each parameter whether it requires a gradient now."""
        return [p.requires_grad for p in self.parameters]

    @property
    def trained(self) -> list[nn.Parameter]:
        """Those of the parameters that require a gradient now."""
        return [p for p in self.parameters if p.requires_grad]

    def of_trained(self, rows: list[Tensor]) -> list[Tensor]:
        """Those of one tensor per parameter whose parameter is trained."""
        return [row for row, p in zip(rows, self.parameters, strict=True) if p.requires_grad]

    def frozen(self, rows: list[Tensor]) -> list[Tensor]:
        """Those of one tensor per parameter whose parameter is frozen."""
        return [row for row, p in zip(rows, self.parameters, strict=True) if not p.requires_grad]

    def check(self) -> None:
        """Refuse a model whose parameters are no longer those that are carried; no tensor value is read.

        Raises:
            RuntimeError: a parameter that requires a gradient was not there at construction, or did not require one; one
                that is carried was removed, replaced, or changed in shape, dtype or device; or all are frozen.
        """
        missing = set(self._carried)
        for p in self._model.parameters():
            if id(p) in missing:
                missing.remove(id(p))
            elif p.requires_grad:
                self._refuse_new()
        if missing:
            self._refuse_gone(missing)
        if self._forms != [(p.shape, p.dtype, p.device) for p in self.parameters]:
            self._refuse_changed()
        if not any(self.trainable):
            raise RuntimeError(f"all parameters {self.names} are frozen, nothing can be sent; unfreeze at least one of them")

    def _refuse_new(self) -> None:
        new = [name for name, p in self._model.named_parameters() if p.requires_grad and id(p) not in self._carried]
        raise RuntimeError(
            f"parameters {new} require gradients but are not carried by the bridge: they were unfrozen, added or replaced "
            "after it was built. Freeze them, or build a new bridge while every parameter that will ever train requires "
            "gradients, and freeze some of them afterwards with requires_grad_(False)"
        )

    def _refuse_gone(self, missing: set[int]) -> None:
        gone = [self._carried[key] for key in self._carried if key in missing]
        raise RuntimeError(
            f"parameters {gone} are carried by the bridge but no longer part of the model: removed, or replaced by other "
            "objects. Put them back, give them new values in place (with torch.no_grad(): p.copy_(values)), or build a new "
            "bridge"
        )

    def _refuse_changed(self) -> None:
        for name, p, form in zip(self.names, self.parameters, self._forms, strict=True):
            if (p.shape, p.dtype, p.device) != form:
                raise RuntimeError(
                    f"parameter {name} must stay {_words(*form)}, as it was when the bridge was built, got "
                    f"{_words(p.shape, p.dtype, p.device)}; convert or move the model before building the bridge"
                )


def _words(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> str:
    return f"{dtype} {list(shape)} on {device}"
