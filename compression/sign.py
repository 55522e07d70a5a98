"""Signum: one sign per entry, decided by majority after the channel.

References: Bernstein, Wang, Azizzadenesheli, Anandkumar, arXiv:1802.04434 (Algorithms 1 and 2, majority vote); over the air:
Makkuva et al., arXiv:2310.13033. Error feedback: Karimireddy, Rebjock, Stich, Jaggi, arXiv:1901.09847 (Algorithm 1).
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

    Difference from the authors' code: in its image tasks energy and noise were scaled by the norm of the raw gradient,
    which broke the energy limit; here, as in its language task, what is measured is what is sent.

    Args:
        momentum: beta; v_k = sum_t beta^(round - t) g_k(t), the momentum of device k up to a factor that the sign does not
            see (Signum); 0 takes the sign of the gradient itself, momentum being left to the optimiser, as published.
        rule: what is sent and how it is decided.
        error_feedback: keep what the scaled sign left out; only with rule "mean" and without momentum.
    """

    momentum: float = 0.0
    rule: Literal["vote", "mean"] = "vote"
    error_feedback: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.error_feedback and (self.rule == "vote" or self.momentum):
            raise ValueError(
                'error_feedback needs rule="mean" and momentum=0: a vote has no size to subtract, and a device\'s memory '
                f"holds either its error or its momentum; got rule={self.rule!r}, momentum={self.momentum}"
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
            for values, sign in zip(
                split_parameters(gradients, state.shapes), split_parameters(signs, state.shapes), strict=True
            ):
                entries = tuple(range(gradients.ndim - 1, values.ndim))
                size = values.flatten(gradients.ndim - 1).abs().mean(-1) if entries else values.abs()
                sign.mul_(size.view(*size.shape, *[1] * len(entries)))
        layout = tuple(prod(shape) for shape in state.shapes)
        return Message(signs, layout, bits=(1,) * len(layout))

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: SignState, *, round: int) -> None:
        """Subtract what was delivered."""
        memory.sub_(delivered)

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
