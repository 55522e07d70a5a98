"""How far does the channel move a gradient? Influence factors of schemes for one m x n gradient, and against SNR."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from laser_wireless.benchmarks.entries import check_decibels
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.schemes import facts_of, influence_of
from laser_wireless.benchmarks.theory import Influence, OneBlock
from laser_wireless.channels import energy_from_snr, from_db
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import (
    Compressor,
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


def usual_schemes(rank: int) -> dict[str, Compressor]:
    """Every scheme in its published form, LASER of a given rank with one factor and with both."""
    return {
        "z-sgd": Uncompressed(),
        "laser, one factor": LowRank(rank=rank),
        "laser, both factors": LowRank(rank=rank, rule="both"),
        "ota-lc": JacobiLowRank(rank=rank),
        "spectral": SpectralPrecoding(rank=rank, precoding=0.5),
        "signum": Sign(),
        "random-k": RandomK(),
        "sketching": CountSketch(),
        "top-k": TopK(),
        "a-dsgd": GaussianProjection(),
    }


@dataclass(frozen=True, kw_only=True)
@checked
class InfluenceStudy:
    """Channel influence factor lambda = E||g_hat - g||^2 / ||g||^2 of one m x n gradient, scheme by scheme.

    Args:
        m: rows of the gradient.
        n: columns of the gradient; a convolution has in-channels x kernel height x kernel width.
        rank: r of LASER and Ota-LC, where schemes are not named.
        energy_budget: P, energy per device and round over all symbols, in units of noise_variance.
        num_devices: K.
        noise_variance: sigma^2 per real symbol.
        norm_ratio: largest squared norm among the devices' gradients over that of their mean, >= 1.
        captured: fraction of the gradient's squared norm in the rank-r approximation; 1 as in LASER's theory.
        snr_db: list of SNRs P / (m n sigma^2) of the picture, in dB, one device, per entry of the uncompressed gradient.
        schemes: list of names, or a mapping name -> compressor; all schemes if left out.
    """

    m: int = 64
    n: int = 576
    rank: int = 4
    energy_budget: float = 1000.0
    num_devices: int = 16
    noise_variance: float = 1.0
    norm_ratio: float = 1.0
    captured: float = 1.0
    snr_db: list[float] = field(default_factory=lambda: [float(x) for x in range(-40, 21, 5)])
    schemes: Mapping[str, Compressor] | None = None

    def __post_init__(self) -> None:
        _ = self.block
        if self.rank < 1:
            raise ValueError(f"rank must be >= 1, got {self.rank}")
        if not 0 <= self.captured <= 1:
            raise ValueError(f"captured must lie in [0, 1], got {self.captured}")
        check_decibels("snr_db", self.snr_db)

    @property
    def block(self) -> OneBlock:
        """The gradient that is sent."""
        return self.block_at(self.energy_budget)

    def block_at(self, energy_budget: float) -> OneBlock:
        """The same gradient within another budget."""
        return OneBlock(
            m=self.m,
            n=self.n,
            energy_budget=energy_budget,
            num_devices=self.num_devices,
            noise_variance=self.noise_variance,
            norm_ratio=self.norm_ratio,
        )

    def factors(self, block: OneBlock) -> Iterator[tuple[str, Compressor, Influence]]:
        """Name, compressor and factor of each scheme; one of each kind of round where they differ."""
        for name, compressor in (self.schemes or usual_schemes(self.rank)).items():
            even, odd = (influence_of(compressor, block, round=round, captured=self.captured) for round in (0, 1))
            if facts_of(compressor).alternates(compressor) and even != odd:
                yield f"{name}, even rounds", compressor, even
                yield f"{name}, odd rounds", compressor, odd
            else:
                yield name, compressor, even


def influence_table(study: InfluenceStudy) -> list[Row]:
    """Factors at the study's budget.

    Returns:
        rows with scheme, compression and channel (the two parts), influence (their sum), channel_over_z_sgd, paper_bound (on
        the channel part of LASER with both factors; empty for others), form (exact under what `assumes` says, approximate,
        or unknown) and assumes.
    """
    return [
        {
            "scheme": name,
            "compression": factor.compression,
            "channel": factor.channel,
            "influence": factor.total,
            "channel_over_z_sgd": factor.channel / study.block.noise if study.block.noise else math.nan,
            "paper_bound": _bound(study, study.block, compressor),
            "form": "exact" if factor.exact else "approximate" if math.isfinite(factor.total) else "unknown",
            "assumes": factor.assumes,
        }
        for name, compressor, factor in study.factors(study.block)
    ]


def influence_curves(study: InfluenceStudy) -> list[Row]:
    """Factors against SNR: rows with snr_db, energy_budget, scheme, compression, channel, influence, paper_bound."""
    rows: list[Row] = []
    for snr_db in study.snr_db:
        if study.noise_variance == 0:
            raise ValueError("noise_variance must be > 0 for factors against SNR")
        block = study.block_at(energy_from_snr(from_db(snr_db), study.m * study.n, study.noise_variance))
        for name, compressor, factor in study.factors(block):
            rows.append(
                {
                    "snr_db": snr_db,
                    "energy_budget": block.energy_budget,
                    "scheme": name,
                    "compression": factor.compression,
                    "channel": factor.channel,
                    "influence": factor.total,
                    "paper_bound": _bound(study, block, compressor),
                }
            )
    return rows


def _bound(study: InfluenceStudy, block: OneBlock, compressor: Compressor) -> float | str:
    """The paper's bound, where it has one."""
    bound = facts_of(compressor).paper_bound
    found = None if bound is None else bound(compressor, block, study.captured)
    return "" if found is None else found
