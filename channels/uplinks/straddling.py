"""Channel uses that two segments share: in-phase the last symbol of one, in quadrature the first of the next.

On a complex baseband x = b_1 u_I + j b_2 u_Q, with the precoders of two blocks where a block has odd length. The receiver
reads u_I with the combiner of its block, w_1, and u_Q with w_2, so that what leaks from one into the other is

    - Im(w_1^H h b_2) u_Q into the estimate of u_I,    Im(w_2^H h b_1) u_I into that of u_Q

Elsewhere both symbols of a channel use have one precoder and one combiner, and each symbol's own product does.

The energy of such a channel use is |b_1|^2 u_I^2 + |b_2|^2 u_Q^2 + 2 u_I u_Q Im(b_1 conj(b_2)): where the two precoders have
different phases, as they do for a beam of each block's own, it is not the sum of the two symbols' energies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser_wireless.channels.segments import Segments


def shared_symbols(symbols: Tensor, segments: Segments) -> Tensor:
    """Of symbols [..., K, S] those in phase, then those in quadrature, of the n shared channel uses: [..., K, 2 n]."""
    _, places = segments.straddled_like(symbols)
    return torch.cat([symbols[..., places], symbols[..., places + 1]], dim=-1)


def leakage(segments: Segments, gains: Tensor, precoder: Tensor, combiner: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """What the estimate lacks if each symbol leaks by the product of its own segment.

    Args:
        segments: of the message.
        gains: complex, broadcastable to [..., K, N_r, G].
        precoder: real or complex, broadcastable to [..., K, G].
        combiner: w, real or complex, broadcastable to [..., N_r, G].
        shared: real [..., K, 2 n], see `shared_symbols`.

    Returns:
        places: int64 [2 n], of the symbols of n shared channel uses.
        values: like the symbols, [..., 2 n], to be added to the estimate there.
    """
    first, places = segments.straddled_like(shared)  # [n] segments, [n] symbols
    u_i, u_q = shared.chunk(2, dim=-1)
    h = _of(gains, first)  # a block's border lies within a cell
    b1, b2 = _of(precoder, first), _of(precoder, first + 1)
    w1, w2 = _of(combiner, first).conj().unsqueeze(-3), _of(combiner, first + 1).conj().unsqueeze(-3)
    heard1, heard2 = (w1 * h).sum(-2), (w2 * h).sum(-2)  # [..., K, n]
    into_i = (((heard2 - heard1) * b2).imag.to(shared.dtype) * u_q).sum(-2)
    into_q = (((heard2 - heard1) * b1).imag.to(shared.dtype) * u_i).sum(-2)
    return torch.cat([places, places + 1]), torch.cat([into_i, into_q], dim=-1)


def cross_energy(segments: Segments, precoder: Tensor, shared: Tensor) -> Tensor:
    """Energy of shared channel uses beyond that of their two symbols: 2 u_I u_Q Im(b_1 conj(b_2)), summed, of either sign.

    Args:
        segments: of the message.
        precoder: complex, broadcastable to [..., K, G].
        shared: real [..., K, 2 n], see `shared_symbols`.

    Returns:
        float64 [..., K].
    """
    first, _ = segments.straddled_like(shared)
    u_i, u_q = shared.double().chunk(2, dim=-1)
    b1, b2 = _of(precoder, first), _of(precoder, first + 1)
    return (2 * (b1 * u_i * (b2 * u_q).conj()).imag).sum(-1)


def _of(values: Tensor, segments: Tensor) -> Tensor:
    return values if values.shape[-1] == 1 else values[..., segments]
