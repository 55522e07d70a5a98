"""`laser theory`: what is known without running anything.

    laser theory communication   real symbols and megabytes per round, counted for any model and scheme
    laser theory influence       how far channel and compression move a gradient, by scheme
    laser theory rates           what that costs in rounds
    laser theory noise           noise on each parameter of a model, under each allocation of the energy

Tables go to the terminal, and as CSV into the folder given by --output. `laser theory SUBCOMMAND --help` lists its options.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, call
from laser_wireless.benchmarks.calculations.communication import communication_table, published_megabytes, published_schemes
from laser_wireless.benchmarks.calculations.influence_study import InfluenceStudy, influence_curves, influence_table
from laser_wireless.benchmarks.calculations.model_shapes import model_shapes
from laser_wireless.benchmarks.calculations.noise_study import NoiseStudy, noise_table, noise_totals
from laser_wireless.benchmarks.calculations.rate_study import RateStudy, rate_table
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.records import Row, aligned, write_csv
from laser_wireless.benchmarks.sweeps.candidates import read_compressors
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import Compressor

_COMMON = """
  --config FILE
      YAML with the same options; options on the command line come after it
  --output FOLDER
      where to write tables as CSV, and the picture; nothing is written if left out"""


class _Answer(NamedTuple):
    """What a subcommand says: tables by file name, the one to print, a remark, and a picture."""

    tables: dict[str, list[Row]]
    shown: list[Row]
    remark: str
    draw: Callable[[Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
@checked
class Communication:
    """Real symbols and megabytes that one device sends per round, counted by running each scheme's own encoder.

    Args:
        model: gpt2, resnet18, resnet18-100, mnist, digits, or the import path of a function that returns a torch module,
            such as my_module.my_model; only its shapes are used.
        schemes: list of names, or a mapping name -> compressor; if left out those of the published table, LASER in three
            readings of what it sends.
    """

    model: str = "gpt2"
    schemes: Mapping[str, Compressor] | None = None


def theory(words: list[str]) -> int:
    """Run `laser theory`; returns the exit status."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    name = words[0]
    if name not in _SUBCOMMANDS:
        near = difflib.get_close_matches(name, _SUBCOMMANDS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise BadConfiguration(f"{name!r} is not a subcommand; {hint}use {', '.join(_SUBCOMMANDS)} (laser theory --help)")
    settings_class, answer, examples = _SUBCOMMANDS[name]
    spec: Spec = {}
    own: dict[str, Any] = {"output": None}
    if read_options(words[1:], spec, own, settings_class):
        return _help(name, settings_class, examples)
    made = {"schemes": _schemes(spec["schemes"])} if spec.get("schemes") is not None else {}
    said: _Answer = answer(call(settings_class, {**spec, **made}, ""))
    print(aligned([{name: "-" if cell == "" else cell for name, cell in row.items()} for row in said.shown]))
    print(f"\n{said.remark}")
    if own["output"] is not None:
        folder = Path(str(own["output"]))
        folder.mkdir(parents=True, exist_ok=True)
        for file, rows in said.tables.items():
            write_csv(folder / file, rows)
        if said.draw:
            said.draw(folder)
        print(f"written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _schemes(value: Any) -> dict[str, Compressor]:
    """The compressors that a list or mapping names."""
    made = read_compressors(value)
    if not made:
        raise BadConfiguration("schemes must name at least one")
    return made


def _communication(settings: Communication) -> _Answer:
    rows = communication_table(model_shapes(settings.model), settings.schemes or published_schemes())
    if settings.model == "gpt2" and settings.schemes is None:
        published = published_megabytes()
        rows = [{**row, "megabytes_published": published.get(row["scheme"], "n/a")} for row in rows]
    remark = (
        "one device and round; symbols: mean of even and odd rounds, counted; claimed: the closed form\n"
        "megabytes: 10^6 bytes, 4 for a real number, 1/8 for a sign or a bit of an index; times_less: against raw gradients"
    )
    if "megabytes_published" in rows[0]:
        remark += "\nmegabytes_published: slides of Makkuva et al., LASER's for rank 4, both factors, or rank 8, one factor"
    shown = [{name: cell for name, cell in row.items() if name != "compressor"} for row in rows]
    return _Answer({"communication.csv": rows}, shown, remark)


def _influence(settings: InfluenceStudy) -> _Answer:
    rows, curves = influence_table(settings), influence_curves(settings)
    shown = [{name: cell for name, cell in row.items() if name != "assumes"} for row in rows]
    grounds: dict[str, list[str]] = {}
    for row in rows:
        grounds.setdefault(row["assumes"], []).append(row["scheme"])
    remark = "\n".join(
        [
            f"SNR = P / (m n sigma^2) = {settings.block.snr:.5g}; influence: E||error||^2 / ||g||^2 = compression + channel",
            "paper_bound: (4 r / (m K^2 SNR)) (1 + r / (n K^2 SNR)), m the smaller side, on LASER with both factors",
            *(f"assumes {ground}: {'; '.join(schemes)}" for ground, schemes in grounds.items()),
        ]
    )
    title = f"{settings.m} x {settings.n} gradient, rank {settings.rank}, K = {settings.num_devices}"

    def draw(folder: Path) -> None:
        from laser_wireless.benchmarks.calculations.plots_theory import plot_influence

        plot_influence(curves, folder / "influence", title)

    return _Answer({"influence.csv": rows, "influence-snr.csv": curves}, shown, remark, draw)


def _rates(settings: RateStudy) -> _Answer:
    rows = rate_table(settings)
    remark = (
        "quasiconvex (1 + lambda) / T and nonconvex sqrt((1 + lambda) / T): published orders, without constants and\n"
        "logarithms; _bound: upper bounds with the constants given, at the best constant step, on f - f_* and on the mean\n"
        "of ||grad f||^2; rounds: times as many as without a channel, where the noise dominates"
    )
    return _Answer({"rates.csv": rows}, rows, remark)


def _noise(settings: NoiseStudy) -> _Answer:
    rows = noise_table(settings)
    remark = (
        "norm (as published), least_noise (of the message's symbols), per_block, per_symbol (equal shares): noise energy\n"
        "of the whole model over its gradient's, by allocation of the energy\n"
        "noisiest: shape of the parameter with the most noise over signal under the published allocation (norm)\n"
        "signum: noise on the mean of signs before the vote, over the energy of signs"
    )
    return _Answer({"noise.csv": rows}, noise_totals(rows), remark)


def _help(name: str, settings_class: type, examples: str) -> int:
    from laser_wireless.benchmarks import help_text

    headline = (settings_class.__doc__ or "").split("\n")[0]
    print(f"laser theory {name}: {headline}\n\nExamples:\n{examples}\n\nOptions:{_COMMON}")
    print(help_text.options_of(settings_class, components=False))
    print(f"\nNames of schemes:\n{help_text.presets(['compressor'])}")
    return 0


_SUBCOMMANDS: dict[str, tuple[type, Callable[[Any], _Answer], str]] = {
    "communication": (
        Communication,
        _communication,
        """  laser theory communication
  laser theory communication --model resnet18 --schemes '[z-sgd, laser, signum, top-k]'
  laser theory communication --model my_module.my_model \\
      --schemes '{rank 8: {class_path: LowRank, init_args: {rank: 8, rule: both}}, raw: z-sgd}' --output tables""",
    ),
    "influence": (
        InfluenceStudy,
        _influence,
        """  laser theory influence --m 64 --n 576 --rank 4 --energy_budget 1000 --num_devices 16 --output influence
  laser theory influence --captured 0.8 --schemes '[laser, z-sgd, random-k]'""",
    ),
    "rates": (
        RateStudy,
        _rates,
        """  laser theory rates --influence '[0.5, 4.7, 20]' --num_rounds '[1000, 100000]'
  laser theory rates --m 64 --n 576 --energy_budget 10 --num_devices 16 --gradient_noise 0.1""",
    ),
    "noise": (
        NoiseStudy,
        _noise,
        """  laser theory noise --model resnet18 --energy_budget 1000 --num_devices 16
  laser theory noise --model gpt2 --energy_budget 160000 --num_devices 4 --norms my_norms.csv --output noise""",
    ),
}
