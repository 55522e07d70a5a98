"""Weights of the devices in the mean, such as the sizes of their data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from laser_wireless.channels.contracts import shown


def mean_weights(weights: Sequence[float] | None, num_devices: int) -> tuple[float, ...]:
    """Weights with mean 1 in the ratios of those given; all 1 if None.

    Raises:
        ValueError: another number of them, a negative one, or all 0.
    """
    if weights is None:
        return (1.0,) * num_devices
    values = [float(weight) for weight in weights]
    if len(values) != num_devices or not all(0 <= value < math.inf for value in values) or not any(values):
        raise ValueError(
            f"weights must hold a finite number >= 0 for each of the {num_devices} devices, not all 0, got {shown(values)}"
        )
    total = math.fsum(values)
    return tuple(num_devices * value / total for value in values)
