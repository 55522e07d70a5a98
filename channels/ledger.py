"""The ledger: what a round cost, kept as tensors on the device until somebody reads it.

Energies are in units in which the receiver's noise has variance sigma^2 per real symbol; peak power and PAPR are those
of real symbols (in-phase and quadrature counted apart, before a precoder turns their phase), so that they follow from the
message alone; on the sample path, those of the samples' real and imaginary parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def check(self) -> None:
        """Read the flags and raise if the round was void or broke the energy limit.

        Raises:
            FloatingPointError: a device's message or gain was not finite. Nothing was sent: the estimate is zero and
                error memory kept what it held.
            ValueError: a device spent more than its budget, which only a power control of the user's own can do.
        """
        raise_if_nonfinite(self.nonfinite, self.round)
        excess = self.energy_spent > self.energy_allowed
        if excess.any():
            devices = excess.reshape(-1, excess.shape[-1]).any(0).nonzero().flatten().tolist()
            raise ValueError(
                f"devices {devices} spent up to {self.energy_spent.max():.6g} in round {self.round}, more than their "
                f"energy_budget of {self.energy_allowed.min():.6g}: the power_control must return precoders b with "
                "sum |b u|^2 <= energy in each block"
            )

    def summary(self) -> dict[str, float]:
        """Read the ledger: one number per column, means over devices (and leading axes), the peak as a maximum.

        Raises:
            FloatingPointError, ValueError: see `check`.
        """
        self.check()
        columns = torch.stack(
            [
                self.energy_spent.mean(),
                self.energy_spent.max(),
                self.energy_allowed.mean(),
                self.peak_power.max(),
                self.papr.max(),
                self.active_fraction.mean(),
                self.outage.mean(),
                _mean_or_nan(self.bits, self.outage),
                _mean_or_nan(self.lost, self.outage),
            ]
        ).tolist()  # one read for all
        energies = ("energy_spent", "max_energy_spent", "energy_allowed", "peak_power", "papr")
        names = (*energies, "active_fraction", "outage", "bits", "lost")
        return {
            **dict(zip(names, columns, strict=True)),
            "num_symbols": self.num_symbols,
            "num_channel_uses": self.num_channel_uses,
            "seconds": float("nan") if self.seconds is None else float(self.seconds),
            "side_information": self.side_information,
            "known_gains": self.known_gains,
            "feedback_bits": self.feedback_bits,
        }


def _mean_or_nan(values: Tensor | None, like: Tensor) -> Tensor:
    return torch.full_like(like.mean(), torch.nan) if values is None else values.mean()


def raise_if_nonfinite(nonfinite: Tensor, round: int) -> None:
    """Raise FloatingPointError naming the devices flagged in bool [..., K]."""
    if nonfinite.any():
        devices = nonfinite.reshape(-1, nonfinite.shape[-1]).any(0).nonzero().flatten().tolist()
        raise FloatingPointError(
            f"the messages or gains of devices {devices} were not finite in round {round}: NaN or infinite. "
            "The round was void (nothing sent, decoded gradient zero). Go back to the last checkpoint and lower the "
            "learning rate, or look for the loss or the fading model that produced it"
        )
