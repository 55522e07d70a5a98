"""What the benchmarks know of each scheme, one file for each; a scheme of somebody else's may bring its own as `facts`."""

from __future__ import annotations

import math
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.schemes import (
    count_sketch,
    gaussian_projection,
    jacobi_low_rank,
    low_rank,
    random_k,
    sign,
    spectral_precoding,
    top_k,
    uncompressed,
)
from laser_wireless.benchmarks.schemes.facts import Facts, Part
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    RandomK,
    Sign,
    SpectralPrecoding,
    TopK,
    Uncompressed,
)

_FACTS: dict[type, Facts] = {
    CountSketch: count_sketch.FACTS,
    GaussianProjection: gaussian_projection.FACTS,
    JacobiLowRank: jacobi_low_rank.FACTS,
    LowRank: low_rank.FACTS,
    RandomK: random_k.FACTS,
    Sign: sign.FACTS,
    SpectralPrecoding: spectral_precoding.FACTS,
    TopK: top_k.FACTS,
    Uncompressed: uncompressed.FACTS,
}


def facts_of(scheme: Any) -> Facts:
    """Facts of a scheme's very class: those here, or its attribute `facts`; nothing is known of any other."""
    kind = type(scheme)
    return _FACTS.get(kind) or vars(kind).get("facts") or Facts()


def influence_of(scheme: Any, block: OneBlock, *, round: int = 0, captured: float = 1.0) -> Influence:
    """Influence factor of a scheme; entries are taken for Gaussian where their law matters (signs, largest entries).

    Args:
        scheme: any compressor.
        block: what is sent.
        round: its parity tells which factor LASER sends.
        captured: fraction of the squared norm in LASER's rank-r approximation.

    Returns:
        the factor; NaN, and why, where there is no closed form.
    """
    form = facts_of(scheme).influence
    if form is None:
        return Influence(math.nan, math.nan, False, "no closed form is known here for this scheme")
    return form(scheme, block, round, captured)


def part_of(scheme: Any, shape: tuple[int, ...], norm: float, *, round: int = 0, captured: float = 1.0) -> Part:
    """What a scheme sends of one parameter, and how it decodes the noise.

    Raises:
        BadConfiguration: a scheme that does not send its parameters in blocks of their own, or of which that is not known.
    """
    form = facts_of(scheme).part
    if form is None:
        known = ", ".join(sorted(kind.__name__ for kind, facts in _FACTS.items() if facts.part is not None))
        raise BadConfiguration(
            f"schemes: noise by parameter is known for {known}, not for {type(scheme).__name__}; "
            "`laser theory influence` may know its factor"
        )
    return form(scheme, shape, norm, round, captured)
