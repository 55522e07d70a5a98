"""The ledger: what a round cost, kept as tensors on the device until somebody reads it.

Energies are in units in which the receiver's noise has variance sigma^2 per real symbol; peak power and PAPR are those
of real symbols (in-phase and quadrature counted apart, before a precoder turns their phase), so that they follow from the
message alone; on the sample path, those of the samples' real and imaginary parts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Faults(NamedTuple):
    """What made a round invalid: flags on the device, which nobody reads before `raise_if_any`.

    Of several runs that are computed together all have a first axis, and `of_runs` gives those of each.

    round: int64 [], the round that they are of.
    nonfinite: bool [K], devices whose message or gain was NaN or infinite, or too large for its energy to be a number.
    unsettled: bool [], the power control or the receiver found no finite setting; nothing was sent.
    overflow: bool [], the receiver's estimate was not finite; the energy was spent.
    """

    round: Tensor
    nonfinite: Tensor
    unsettled: Tensor
    overflow: Tensor

    @property
    def any(self) -> Tensor:
        """bool [], whether the round was invalid."""
        return self.nonfinite.any(-1) | self.unsettled | self.overflow

    def or_else(self, later: Faults) -> Faults:
        """These, or those of a later round if this one was valid: a run need keep no more than its first invalid round."""
        bad = self.any
        return Faults(
            torch.where(bad, self.round, later.round),
            torch.where(bad.unsqueeze(-1), self.nonfinite, later.nonfinite),
            torch.where(bad, self.unsettled, later.unsettled),
            torch.where(bad, self.overflow, later.overflow),
        )

    def of_runs(self) -> list[Faults]:
        """Those of each run."""
        return [Faults(*flags) for flags in zip(*(flag.unbind(0) for flag in self), strict=True)]

    def raise_if_any(self) -> None:
        """Read the flags.

        Raises:
            FloatingPointError: the round was invalid; the message says which one, why, and what to do.
        """
        if not self.any:
            return
        round, devices = int(self.round), self.nonfinite.nonzero().flatten().tolist()
        if devices:
            what = f"the messages or gains of devices {devices} were not finite in round {round}: NaN, infinite or too large"
            after = "Nothing was sent, the decoded gradient is zero and error memory keeps what it held"
        elif self.unsettled:
            what = f"the power control or the receiver found no finite setting in round {round}"
            after = "Nothing was sent, the decoded gradient is zero and error memory keeps what it held"
        else:
            what = f"the receiver's estimate was not finite in round {round}: it left the range of its dtype"
            after = "The energy was spent, the decoded gradient is zero and error memory keeps what it held"
        raise FloatingPointError(
            f"{what}. {after}. Go back to the last checkpoint and lower the learning rate, use float64, or look for the "
            "loss, the fading model or the power control that produced it"
        )


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Account of one round.

    Args:
        round: 0, 1, ...
        num_symbols: S, real symbols sent by each device.
        num_channel_uses: S on a real baseband, ceil(S / 2) on a complex one.
        seconds: on the air and waiting for devices; None if no time is known.
        energy_spent: float64 [..., K], sum over symbols of |x_k|^2.
        energy_allowed: float64 [..., K], the budget; energy_spent never exceeds it.
        peak_power: float64 [..., K], largest |x|^2 of one real symbol.
        papr: float64 [..., K], peak_power over energy_spent / S, linear; 0 for a silent device.
        active_fraction: float64 [..., K], part of the symbols that the device sent (1 without truncation).
        outage: float64 [...], part of the symbols that no device sent; the estimate is 0 there.
        side_information: real numbers known to all without being paid for (two per block: amplitude and share).
        known_gains: complex gains known to their transmitters without being paid for.
        feedback_bits: bits told to each device so that it knows its gains.
        bits: float64 [..., K], bits that each device sent over a digital uplink; None over an analog one.
        lost: float64 [..., K], part of its message that was sent and lost; None over an analog uplink.
        nonfinite: bool [..., K], devices whose message or gain was NaN or infinite.
        unsettled: bool [...], rounds in which the power control or the receiver found no finite setting; never if None.
        overflow: bool [...], rounds whose estimate was not finite: it is zero, though the energy was spent; never if None.
    """

    round: int
    num_symbols: int
    num_channel_uses: int
    seconds: float | Tensor | None
    energy_spent: Tensor
    energy_allowed: Tensor
    peak_power: Tensor
    papr: Tensor
    active_fraction: Tensor
    outage: Tensor
    side_information: int
    known_gains: int
    nonfinite: Tensor
    feedback_bits: int = 0
    bits: Tensor | None = None
    lost: Tensor | None = None
    unsettled: Tensor | None = None
    overflow: Tensor | None = None

    @property
    def faults(self) -> Faults:
        """What made the round invalid, over all leading axes."""
        nonfinite = self.nonfinite.reshape(-1, self.nonfinite.shape[-1]).any(0)
        never = torch.zeros((), dtype=torch.bool, device=nonfinite.device)
        flags = (never if flag is None else flag.any() for flag in (self.unsettled, self.overflow))
        return Faults(torch.full_like(never, self.round, dtype=torch.int64), nonfinite, *flags)

    @property
    def faults_of_runs(self) -> Faults:
        """What made the round invalid, for each run along the first axis."""
        never = torch.zeros_like(self.nonfinite[:, 0])
        flags = (never if flag is None else flag for flag in (self.unsettled, self.overflow))
        return Faults(torch.full_like(never, self.round, dtype=torch.int64), self.nonfinite, *flags)

    def of_runs(self) -> list[Ledger]:
        """The ledger of each run along the first axis, as views."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        rows = zip(*(value.unbind(0) for value in tensors.values()), strict=True)
        return [replace(self, **dict(zip(tensors, row, strict=True))) for row in rows]

    def check(self) -> None:
        """Read the flags and raise if the round was invalid or broke the energy limit.

        Raises:
            FloatingPointError: a device's message or gain, the transceiver's settings or the estimate were not finite: the
                estimate is zero and error memory kept what it held.
            ValueError: a device spent more than its budget, which only a power control of the user's own can do.
        """
        self.faults.raise_if_any()
        excess = ~(self.energy_spent <= self.energy_allowed)  # NaN is no proof of thrift
        if excess.any():
            devices = excess.reshape(-1, excess.shape[-1]).any(0).nonzero().flatten().tolist()
            raise ValueError(
                f"devices {devices} spent up to {self.energy_spent.max():.6g} in round {self.round}, more than their "
                f"energy_budget of {self.energy_allowed.min():.6g}: the power_control must return precoders b with "
                "sum |b u|^2 <= energy in each block"
            )

    def summary(self) -> dict[str, float]:
        """Read the ledger: one number per column, means over devices (and leading axes), the peak as a maximum.

        What does not apply is left out: `bits` and `lost` of an analog uplink, `seconds` where no time is known.

        Raises:
            FloatingPointError, ValueError: see `check`.
        """
        self.check()
        columns = {
            "energy_spent": self.energy_spent.mean(),
            "max_energy_spent": self.energy_spent.max(),
            "energy_allowed": self.energy_allowed.mean(),
            "peak_power": self.peak_power.max(),
            "papr": self.papr.max(),
            "active_fraction": self.active_fraction.mean(),
            "outage": self.outage.mean(),
        }
        columns |= {} if self.bits is None else {"bits": self.bits.mean()}
        columns |= {} if self.lost is None else {"lost": self.lost.mean()}
        read = torch.stack(list(columns.values())).tolist()  # one read for all
        summary = dict(zip(columns, read, strict=True))
        summary |= {"num_symbols": self.num_symbols, "num_channel_uses": self.num_channel_uses}
        summary |= {} if self.seconds is None else {"seconds": float(self.seconds)}
        return summary | {
            "side_information": self.side_information,
            "known_gains": self.known_gains,
            "feedback_bits": self.feedback_bits,
        }
