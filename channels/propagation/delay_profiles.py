"""Power delay profiles: how the power of a link is spread over delays tau_p, in units of the delay spread.

A profile holds scattered paths of mean power p_i and, at the delay of its first path, perhaps a line of sight; all powers
add up to 1. The tables are those of 3GPP TR 38.901 (V19.2.0), Tables 7.7.2-1 to 7.7.2-5, delays normalised to a root
mean square spread of 1 (of D, 0.994) and powers in decibels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_DELAYS = {
    "A": (
        *(0.0, 0.3819, 0.4025, 0.5868, 0.4610, 0.5375, 0.6708, 0.5750, 0.7618, 1.5375, 1.8978, 2.2242, 2.1718),
        *(2.4942, 2.5119, 3.0582, 4.0810, 4.4579, 4.5695, 4.7966, 5.0066, 5.3043, 9.6586),
    ),
    "B": (
        *(0.0, 0.1072, 0.2155, 0.2095, 0.2870, 0.2986, 0.3752, 0.5055, 0.3681, 0.3697, 0.5700, 0.5283, 1.1021),
        *(1.2756, 1.5474, 1.7842, 2.0169, 2.8294, 3.0219, 3.6187, 4.1067, 4.2790, 4.7834),
    ),
    "C": (
        *(0.0, 0.2099, 0.2219, 0.2329, 0.2176, 0.6366, 0.6448, 0.6560, 0.6584, 0.7935, 0.8213, 0.9336, 1.2285),
        *(1.3083, 2.1704, 2.7105, 4.2589, 4.6003, 5.4902, 5.6077, 6.3065, 6.6374, 7.0427, 8.6523),
    ),
    "D": (0.0, 0.035, 0.612, 1.363, 1.405, 1.804, 2.596, 1.775, 4.042, 7.937, 9.424, 9.708, 12.525),
    "E": (
        *(0.0, 0.5133, 0.5440, 0.5630, 0.5440, 0.7112, 1.9092, 1.9293, 1.9589, 2.6426, 3.7136, 5.4524, 12.0034),
        20.6519,
    ),
}
_POWERS_DB = {
    "A": (
        *(-13.4, 0.0, -2.2, -4.0, -6.0, -8.2, -9.9, -10.5, -7.5, -15.9, -6.6, -16.7, -12.4),
        *(-15.2, -10.8, -11.3, -12.7, -16.2, -18.3, -18.9, -16.6, -19.9, -29.7),
    ),
    "B": (
        *(0.0, -2.2, -4.0, -3.2, -9.8, -1.2, -3.4, -5.2, -7.6, -3.0, -8.9, -9.0, -4.8),
        *(-5.7, -7.5, -1.9, -7.6, -12.2, -9.8, -11.4, -14.9, -9.2, -11.3),
    ),
    "C": (
        *(-4.4, -1.2, -3.5, -5.2, -2.5, 0.0, -2.2, -3.9, -7.4, -7.1, -10.7, -11.1, -5.1),
        *(-6.8, -8.7, -13.2, -13.9, -13.9, -15.8, -17.1, -16.0, -15.7, -21.6, -22.8),
    ),
    "D": (-13.5, -18.8, -21.0, -22.8, -17.9, -20.1, -21.9, -22.9, -27.8, -23.6, -24.8, -30.0, -27.7),
    "E": (-22.03, -15.8, -18.1, -19.8, -22.9, -22.4, -18.6, -20.8, -22.6, -22.3, -25.6, -20.2, -29.8, -29.2),
}
_LINE_OF_SIGHT_DB = {"D": -0.2, "E": -0.03}
_NUM_EXPONENTIAL = 32


@dataclass(frozen=True, kw_only=True)
class DelayProfile:
    """Mean powers of paths at given delays; `from_table`, `exponential` and `from_decibels` make one.

    Args:
        delays: of each path, P numbers >= 0.
        powers: of the scattered part of each path, linear, P numbers.
        line_of_sight: power of the direct wave, which arrives with the first path; all powers add up to 1.
    """

    delays: tuple[float, ...]
    powers: tuple[float, ...]
    line_of_sight: float = 0.0

    @property
    def spread(self) -> float:
        """Root mean square delay spread, in the unit of the delays."""
        weighted = [(self.line_of_sight, self.delays[0]), *zip(self.powers, self.delays, strict=True)]
        mean = sum(power * delay for power, delay in weighted)
        return math.sqrt(sum(power * (delay - mean) ** 2 for power, delay in weighted))

    def scaled(self, factor: float) -> DelayProfile:
        """The same powers at delays times `factor`."""
        delays = tuple(delay * factor for delay in self.delays)
        return DelayProfile(delays=delays, powers=self.powers, line_of_sight=self.line_of_sight)

    def with_k_factor(self, k_factor: float) -> DelayProfile:
        """The line of sight carries k / (k + 1) of the power and the scattered paths the rest, in the same proportions."""
        scattered = sum(self.powers) * (k_factor + 1)
        powers = tuple(power / scattered for power in self.powers)
        return DelayProfile(delays=self.delays, powers=powers, line_of_sight=k_factor / (k_factor + 1))


def from_decibels(
    delays: tuple[float, ...], powers_db: tuple[float, ...], *, line_of_sight_db: float | None = None
) -> DelayProfile:
    """A profile of given delays and powers in decibels, scaled to total power 1."""
    direct = 0.0 if line_of_sight_db is None else 10 ** (line_of_sight_db / 10)
    powers = [10 ** (power / 10) for power in powers_db]
    total = direct + sum(powers)
    return DelayProfile(delays=tuple(delays), powers=tuple(power / total for power in powers), line_of_sight=direct / total)


def from_table(name: str) -> DelayProfile:
    """TDL-A to TDL-E of 3GPP TR 38.901, delays in units of the delay spread. A, B, C have no line of sight; D, E do."""
    return from_decibels(_DELAYS[name], _POWERS_DB[name], line_of_sight_db=_LINE_OF_SIGHT_DB.get(name))


def exponential() -> DelayProfile:
    """Exponential profile of delay spread 1, p(tau) = e^{-tau}, as 32 paths of equal power at its quantiles.

    Its frequency correlation 1 / (1 + j 2 pi f) is met within 0.06 up to 2 pi f = 6.
    """
    delays = tuple(-math.log1p(-(i + 0.5) / _NUM_EXPONENTIAL) for i in range(_NUM_EXPONENTIAL))
    profile = DelayProfile(delays=delays, powers=(1 / _NUM_EXPONENTIAL,) * _NUM_EXPONENTIAL)
    return profile.scaled(1 / profile.spread)
