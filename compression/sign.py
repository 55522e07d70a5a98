"""Signum, OBDA and EFOBDA: one sign per entry, decided by majority after the channel.

References: Bernstein, Wang, Azizzadenesheli, Anandkumar, arXiv:1802.04434 (Algorithms 1 and 2, majority vote); over the air:
Makkuva et al., arXiv:2310.13033, and one-bit broadband digital aggregation (OBDA), Zhu, Du, Gunduz, Huang, arXiv:2001.05713.
Error feedback: Karimireddy, Rebjock, Stich, Jaggi, arXiv:1901.09847 (Algorithm 1); of votes over the air (EFOBDA): Liu, Liu,
Zhu, Shi, Zhong, arXiv:2303.11319.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, split_parameters
from laser_wireless.compression.parameters import checked


class SignState(NamedTuple):
    """Nothing changes from round to round."""

    shapes: tuple[tuple[int, ...], ...]
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class Sign:
    """Send signs: S = d real symbols per round, one bit each in a digital message.

    "vote": device k sends s_k = sign(v_k), entries in {-1, 0, 1}, so that a block of d_b symbols has norm sqrt(d_b) whatever
    the gradient's; the receiver decides g_hat = sign(mean_k s_k + noise). Biased. With noise of standard deviation tau on
    the mean, E g_hat = 2 Phi(mean_k s_k / tau) - 1. The size of the gradient is gone: learning rates are those of sign
    descent.

    "mean": device k sends (||v_kb||_1 / d_b) sign(v_kb) for each block b and the receiver takes the mean as it arrives; with
    error feedback, EF-SIGNSGD. The scale travels in the amplitudes; its 32 bits per block are left out of the bits.

    OBDA is rule "vote" without momentum: two signs on a 4-QAM symbol, as a complex baseband carries two real symbols, a
    truncated channel inversion with the same receive amplitude for all who send (`TimeVaryingPrecoding`), and the sign of
    what arrives. EFOBDA is that with error feedback, and a power control that lets weak devices send at full power
    (`MseOptimal`: signs have equal norms). Device k signs V_k, its memory plus its gradient, and keeps
    feedback_strength (V_kb - (||V_kb||_1 / d_b) sign(V_kb)) of each block b: at strength 1 the squared norm of what is kept
    is 1 - ||V_kb||_1^2 / (d_b ||V_kb||^2) of that asked. The size that a device subtracts is its own and in no message, so
    what was decoded and what is kept do not add up to what was asked; a vote counts whole, however weak it arrives.
    Departures: the energy limit, on average in OBDA, is kept in every round; of EFOBDA only the principle is taken, with the
    size of EF-SIGNSGD and the power control of least error in the mean of the signs.

    Difference from the authors' code: in its image tasks energy and noise were scaled by the norm of the raw gradient,
    which broke the energy limit; here, as in its language task, what is measured is what is sent.

    Args:
        momentum: beta; v_k = sum_t beta^(round - t) g_k(t), the momentum of device k up to a factor that the sign does not
            see (Signum); 0 takes the sign of the gradient itself, momentum being left to the optimiser, as published.
        rule: what is sent and how it is decided.
        error_feedback: keep what the scaled sign left out; only without momentum.
        feedback_strength: in (0, 1], fraction of it that is kept, with error_feedback.
    """

    momentum: float = 0.0
    rule: Literal["vote", "mean"] = "vote"
    error_feedback: bool = False
    feedback_strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.error_feedback and self.momentum:
            raise ValueError(
                "error_feedback needs momentum=0: a device's memory holds either its error or its momentum; "
                f"got momentum={self.momentum}"
            )
        if not 0 < self.feedback_strength <= 1:
            raise ValueError(f"feedback_strength must lie in (0, 1], got {self.feedback_strength}")
        if self.feedback_strength != 1 and not self.error_feedback:
            raise ValueError(
                f"feedback_strength is of error_feedback, which is off; got feedback_strength={self.feedback_strength}"
            )

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> SignState:
        """Return the state before round 0."""
        return SignState(check_shapes(shapes))

    def encode(self, gradients: Tensor, state: SignState, *, round: int) -> Message:
        """Return the signs, one block per parameter."""
        check_gradients(gradients, state.shapes, state.runs)
        # 0 NaN is NaN and makes the round invalid; torch.sign alone would hide it as 0
        signs = gradients.sign().add_(gradients, alpha=0)
        if self.rule == "mean":
            _times_size_(signs, gradients, state.shapes)
        layout = tuple(prod(shape) for shape in state.shapes)
        return Message(signs, layout, bits=(1,) * len(layout))

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: SignState, *, round: int) -> None:
        """Subtract what was delivered; a vote that was cast counts whole, however loud, with the device's own size."""
        if self.rule == "vote":
            delivered = delivered.sign()
            _times_size_(delivered, memory, state.shapes)
        memory.sub_(delivered)
        if self.feedback_strength != 1:
            memory.mul_(self.feedback_strength)

    def decode(
        self,
        estimate: Tensor,
        state: SignState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], SignState]:
        """Decide each entry by the sign that arrived, or take the mean of the scaled signs."""
        return split_parameters(estimate.sign() if self.rule == "vote" else estimate, state.shapes), state


def _times_size_(signs: Tensor, values: Tensor, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Multiply the signs of values [..., K, d], in place, by ||v_kb||_1 / d_b of each device and block."""
    for block, sign in zip(split_parameters(values, shapes), split_parameters(signs, shapes), strict=True):
        entries = tuple(range(values.ndim - 1, block.ndim))
        size = block.flatten(values.ndim - 1).abs().mean(-1) if entries else block.abs()
        sign.mul_(size.view(*size.shape, *[1] * len(entries)))
