"""How long does the same round take when it is written as plainly as possible: a loop over devices and layers?

The peer of the table, for LowRank's alternating rule and Uncompressed over the Gaussian channel with the papers' scaling.
It keeps no ledger and is not safe against zero blocks, outages or extreme scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser_wireless.benchmarks.schemes import facts_of
from laser_wireless.benchmarks.speed.shapes import Case
from laser_wireless.compression.message import split_parameters


class PlainRound:
    """One round after another, in place on memory [K, d].

    Args:
        case: shapes, and LowRank or Uncompressed.
        memory: float32 [K, d], what the devices ask to send.
        energy_budget: P of each device; the noise has variance 1.
    """

    def __init__(self, case: Case, memory: Tensor, *, energy_budget: float) -> None:
        self.energy_budget, self.round = energy_budget, 0
        self.generator = torch.Generator(memory.device).manual_seed(0)
        self.layers = [split_parameters(row, case.shapes) for row in memory]  # [K][layers]
        self.bases: dict[int, tuple[Tensor, Tensor]] = {}  # of row and column side, for each compressed layer
        for i, v in enumerate(self.layers[0]):
            if factors := facts_of(case.compressor).factors(case.compressor, tuple(v.shape)):
                m, n, r = factors
                self.bases[i] = self._random_basis(v, m, r), self._random_basis(v, n, r)

    def __call__(self) -> list[Tensor]:
        """Encode, send, settle and decode; returns the decoded gradients."""
        even = self.round % 2 == 0
        messages = [[self._encode(v, i, even) for i, v in enumerate(layers)] for layers in self.layers]  # [K][layers]
        norms = torch.stack([torch.stack([u.norm() for u in message]) for message in messages])  # [K, layers]
        shares = (norms / norms.sum(1, keepdim=True)).mean(0)
        decoded = []
        for i in range(len(self.layers[0])):
            received = self._send([message[i] for message in messages], norms[:, i], shares[i])
            gradient = self._settle_and_decode(i, [message[i] for message in messages], received, even)
            decoded.append(gradient.view(self.layers[0][i].shape))
        self.round += 1
        return decoded

    def _random_basis(self, like: Tensor, side: int, r: int) -> Tensor:
        return torch.linalg.qr(torch.randn(side, r, device=like.device, generator=self.generator))[0]

    def _encode(self, v: Tensor, i: int, even: bool) -> Tensor:
        if i not in self.bases:
            return v
        row, column = self.bases[i]
        return row.T @ v.flatten(1) if even else v.flatten(1) @ column

    def _send(self, messages: list[Tensor], norms: Tensor, share: Tensor) -> Tensor:
        total = torch.zeros_like(messages[0])
        for u in messages:
            total += u
        amplitude = (share * self.energy_budget).sqrt() / norms.max()
        noise = torch.randn(total.shape, device=total.device, generator=self.generator)
        return (total + noise / amplitude) / len(messages)

    def _settle_and_decode(self, i: int, messages: list[Tensor], received: Tensor, even: bool) -> Tensor:
        if i not in self.bases:
            for layers in self.layers:
                layers[i].zero_()
            return received
        row, column = self.bases[i]
        for layers, u in zip(self.layers, messages, strict=True):
            left, right = (row, u) if even else (u, column.T)
            layers[i].flatten(1).addmm_(left, right, alpha=-1)
        if even:
            self.bases[i] = row, torch.linalg.qr(received.T)[0]
            return row @ received
        self.bases[i] = torch.linalg.qr(received)[0], column
        return received @ column.T
