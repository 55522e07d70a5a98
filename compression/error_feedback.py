"""Error feedback: what was asked and not delivered is the residual, asked again in the next round.

For every device and round, exactly: memory before + gradient = delivered + memory after. What counts as delivered is what
the device's own symbols decode to without noise, as far as they were sent: a device that was silent in a fade, or clipped,
owes the rest. Noise never enters: no device can tell it from the others' messages.
Reference: Seide et al. (2014); Karimireddy et al., arXiv:1901.09847.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from laser_wireless.compression.message import Compressor


def settle_(
    memory: Tensor,
    symbols: Tensor,
    delivered: Callable[[Tensor], Tensor],
    compressor: Compressor,
    state: Any,
    *,
    round: int,
) -> None:
    """Leave in memory [K, d] what each device still owes after a round; in place.

    Without error feedback there is no residual: the memory is cleared, or fades to the scheme's momentum.

    Args:
        memory: what was asked, memory and gradient together.
        symbols: [K, S], what the devices sent.
        delivered: gives the part of the symbols that reached the estimate.
        compressor: the scheme that encoded them.
        state: its state at encoding.
        round: 0, 1, ...
    """
    if compressor.error_feedback:
        compressor.subtract_(memory, symbols, delivered(symbols), state, round=round)
    elif compressor.momentum:
        memory.mul_(compressor.momentum)
    else:
        memory.zero_()
