"""Where does the channel's noise go? Noise on each parameter of a model, by scheme and by allocation of the energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.calculations.model_shapes import model_shapes
from laser_wireless.benchmarks.records import Row, read_csv
from laser_wireless.benchmarks.schemes import facts_of, part_of
from laser_wireless.benchmarks.schemes.facts import Part
from laser_wireless.benchmarks.theory import block_noise
from laser_wireless.channels import Allocation, LeastNoiseAllocation, NormAllocation, UniformAllocation
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import Compressor, CountSketch, JacobiLowRank, LowRank, RandomK, Sign, TopK, Uncompressed

ALLOCATIONS: dict[str, Allocation] = {
    "norm": NormAllocation(),
    "least_noise": LeastNoiseAllocation(),
    "per_block": UniformAllocation(),
    "per_symbol": UniformAllocation(per_symbol=True),
}
"""As published; least total noise on the message; the same energy for each block; the same for each symbol."""


@dataclass(frozen=True, kw_only=True)
@checked
class NoiseStudy:
    """Noise energy that the channel leaves on each parameter of a model, over the parameter's own gradient energy.

    All devices have gradients of equal norms; the entries of a gradient are taken for Gaussian where their law matters.

    Args:
        model: gpt2, resnet18, resnet18-100, mnist, digits, or the import path of a function that returns a torch module.
        energy_budget: P, energy per device and round over all symbols.
        num_devices: K.
        noise_variance: sigma^2 per real symbol.
        norms: gradient norms of the parameters: "entries" (every entry has the same variance), "parameters" (every
            parameter has the same norm), or a CSV file with a column norm, one row for each parameter in the model's order.
        captured: fraction of a gradient's squared norm in LASER's rank-r approximation.
        schemes: list of names, or a mapping name -> compressor.
    """

    model: str = "resnet18"
    energy_budget: float = 1000.0
    num_devices: int = 16
    noise_variance: float = 1.0
    norms: str = "entries"
    captured: float = 1.0
    schemes: Mapping[str, Compressor] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.energy_budget < math.inf:
            raise ValueError(f"energy_budget must be finite and > 0, got {self.energy_budget}")
        if self.num_devices < 1:
            raise ValueError(f"num_devices must be >= 1, got {self.num_devices}")
        if not 0 <= self.noise_variance < math.inf:
            raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {self.noise_variance}")
        if not 0 < self.captured <= 1:
            raise ValueError(f"captured must lie in (0, 1], got {self.captured}")


def usual_noise_schemes() -> dict[str, Compressor]:
    """Every scheme that sends its parameters in blocks of their own, in its published form."""
    return {
        "z-sgd": Uncompressed(),
        "laser, one factor": LowRank(rank=4),
        "laser, both factors": LowRank(rank=4, rule="both"),
        "ota-lc": JacobiLowRank(rank=4),
        "signum": Sign(),
        "random-k": RandomK(),
        "sketching": CountSketch(),
        "top-k": TopK(),
    }


def noise_table(study: NoiseStudy) -> list[Row]:
    """Noise on every parameter, for each scheme, kind of round and allocation.

    Returns:
        rows with scheme, round ("even" or "odd" where the kinds of round differ, else "all"), allocation, parameter (its
        number), shape, symbols, energy_share (of the budget), noise (energy on the decoded parameter), signal (energy of
        the gradient; for a vote, of the signs) and noise_over_signal.
    """
    shapes = model_shapes(study.model)
    norms = parameter_norms(study.norms, shapes)
    rows: list[Row] = []
    for name, compressor in (study.schemes or usual_noise_schemes()).items():
        kinds = facts_of(compressor).alternates(compressor)
        for round, kind in ((0, "even"), (1, "odd")) if kinds else ((0, "all"),):
            parts = [
                part_of(compressor, tuple(shape), norm, round=round, captured=study.captured)
                for shape, norm in zip(shapes, norms, strict=True)
            ]
            for word, allocation in ALLOCATIONS.items():
                head = {"scheme": name, "round": kind, "allocation": word}
                rows += [{**head, **row} for row in _by_parameter(study, parts, shapes, allocation)]
    return rows


def noise_totals(rows: Sequence[Row]) -> list[Row]:
    """Noise of the whole model over its signal, one row for each scheme and kind of round, one column per allocation.

    Further columns: noisiest (shape of the parameter with the most noise over signal under the published allocation), its
    noise_over_signal, and its fraction of the energy.
    """
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault((row["scheme"], row["round"]), {}).setdefault(row["allocation"], []).append(row)
    table = []
    for (scheme, round), by_allocation in groups.items():
        totals = {
            word: sum(row["noise"] for row in mine) / sum(row["signal"] for row in mine)
            for word, mine in by_allocation.items()
        }
        worst = max(by_allocation["norm"], key=lambda row: row["noise_over_signal"])
        table.append(
            {
                "scheme": scheme,
                "round": round,
                **totals,
                "noisiest": worst["shape"],
                "its_noise": worst["noise_over_signal"],
                "its_energy": worst["energy_share"],
            }
        )
    return table


def parameter_norms(source: str, shapes: Sequence[tuple[int, ...]]) -> list[float]:
    """Gradient norms of the parameters, as `NoiseStudy` takes them.

    Raises:
        BadConfiguration: a file that cannot be read, or does not fit the model.
    """
    if source == "entries":
        return [math.sqrt(math.prod(shape)) for shape in shapes]
    if source == "parameters":
        return [1.0] * len(shapes)
    if not Path(source).exists():
        raise BadConfiguration(f'norms must be "entries", "parameters" or a CSV file, and there is no file {source!r}')
    try:
        found = [row.get("norm") for row in read_csv(Path(source))]
    except (ValueError, OSError) as error:
        raise BadConfiguration(f"norms: {error}") from error
    norms = [float(value) for value in found if isinstance(value, int | float) and 0 <= value < math.inf]
    if len(norms) != len(found) or len(norms) != len(shapes):
        raise BadConfiguration(
            f"norms: {source} must have a column norm with {len(shapes)} numbers >= 0, one for each parameter of the model, "
            f"got {len(norms)} in {len(found)} rows"
        )
    return norms


def _by_parameter(
    study: NoiseStudy, parts: Sequence[Part], shapes: Sequence[tuple[int, ...]], allocation: Allocation
) -> list[Row]:
    sizes = [size for part in parts for size in part.sizes]
    norms = torch.tensor([norm for part in parts for norm in part.norms], dtype=torch.float64)
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.sizes))
    found = block_noise(
        norms.expand(study.num_devices, -1),
        sizes,
        allocation,
        energy_budget=study.energy_budget,
        noise_variance=study.noise_variance,
        share_as=[start + other for start, part in zip(starts, parts, strict=False) for other in part.share_as],
    )
    variances, shares = found.variance.tolist(), found.share.tolist()
    rows: list[Row] = []
    for number, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        mine = slice(starts[number], starts[number + 1])
        noise = part.noise(variances[mine])
        rows.append(
            {
                "parameter": number,
                "shape": "x".join(map(str, shape)) or "scalar",
                "symbols": sum(part.sizes),
                "energy_share": sum(shares[mine]),
                "noise": noise,
                "signal": part.signal,
                "noise_over_signal": noise / part.signal if part.signal else math.nan,
            }
        )
    return rows
