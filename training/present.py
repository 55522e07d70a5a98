"""A round in which some devices have nothing to send: clients that were not asked, failed, or answered too late."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from laser_wireless.channels import Attendance, Participation, Uplink


def among(uplink: Uplink, present: Tensor) -> Uplink:
    """Return the uplink for a round of these devices alone.

    The others send nothing and are known to be absent, as by its own participation.

    Args:
        uplink: of all devices.
        present: bool [K], those that have something to send.

    Raises:
        TypeError: an uplink without participation, and somebody is absent.
    """
    if present.all():
        return uplink
    own: Any = uplink
    names = {field.name for field in fields(own)} if is_dataclass(own) else set()
    if "participation" not in names:
        raise TypeError(
            "uplink must be a dataclass with a field participation, so that devices can be absent, got "
            f"{type(uplink).__name__}, and devices {(~present).nonzero().flatten().tolist()} are"
        )
    return replace(own, participation=_Answered(present, own.participation))


@dataclass(frozen=True)
class _Answered:
    """Participation of the devices that are present, if the uplink's own rule has them take part."""

    present: Tensor
    rule: Participation | None

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        present = self.present.to(generator.device)
        if self.rule is None:
            return Attendance(present)
        drawn = self.rule(num_devices, round=round, generator=generator)
        return drawn._replace(present=drawn.present & present)

    def asked(self, num_devices: int, *, round: int, generator: torch.Generator) -> Tensor:
        """Return who is asked, and no more share an uplink's channel uses; see `Sampling`."""
        return self.present.nonzero().flatten().to(generator.device)
