"""How long does a scheme's round take beside another's, on a machine that has other work too?

python -m laser_wireless.benchmarks.speed turns --cases resnet18 resnet18-equal resnet18-spectral
python -m laser_wireless.benchmarks.speed turns --cases gpt2 gpt2-equal --turns 20 --output speed-turns.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from laser_wireless.benchmarks.speed.channels import in_own_process
from laser_wireless.benchmarks.speed.contest import ratios
from laser_wireless.benchmarks.speed.facts import facts
from laser_wireless.benchmarks.speed.growing import GrowingTable
from laser_wireless.benchmarks.speed.measure import STAGES, Clock, Rounds
from laser_wireless.benchmarks.speed.shapes import CASES, Case

_DESCRIPTION = """\
Times rounds of several schemes on one model's shapes, in one process and on one memory. A turn is an even and an odd round
of each case, so that a disturbance meets them alike; the first case is the one that the others are compared with, turn by
turn.

How to read the result: "ms" is the time of a round, mean of even and odd ones, median over the turns, and so are its stages;
"times" is that time over the first case's in the same turn, median [quartiles] over the turns, and "CPU" the same of CPU
time, which other work on the machine changes least.
"""
_COLUMNS = ("case", "scheme", "K", "d", "turns", "ms", *STAGES, "times", "CPU")

Turns = dict[str, list[tuple[float, tuple[float, ...]]]]
"""By case, in each turn: CPU seconds of a round, and seconds of its stages."""


def main(arguments: Sequence[str]) -> None:
    """Let the cases take turns; print the table, and write it where asked."""
    options = _options(arguments)
    cases, known = {name: CASES[name] for name in options.cases}, facts("cpu", options.threads)
    found = in_own_process(partial(measure_turns, cases, threads=options.threads, turns=options.turns))
    table = GrowingTable(known, _COLUMNS, options.output)
    table.add(_rows(cases, found))


def measure_turns(cases: dict[str, Case], *, threads: int, turns: int) -> Turns:
    """Time `turns` turns after one to warm up; the cases' models have the same shapes."""
    torch.set_num_threads(threads)
    first = next(iter(cases.values()))
    memory = torch.randn(first.num_devices, first.num_parameters)
    steps = {name: Rounds(case, memory, Clock(memory.device)) for name, case in cases.items()}
    found: Turns = {name: [] for name in cases}
    with torch.no_grad():
        for turn in range(1 + turns):
            for name, step in steps.items():
                start = time.process_time()
                even, odd = step(), step()
                spent = (time.process_time() - start) / 2
                if turn:
                    found[name].append((spent, tuple((a + b) / 2 for a, b in zip(even, odd, strict=True))))
    return found


def _rows(cases: dict[str, Case], found: Turns) -> list[list[str]]:
    first = found[next(iter(cases))]
    rows = []
    for name, case in cases.items():
        own = found[name]
        wall, first_wall = ([sum(stages) for _, stages in turns] for turns in (own, first))
        cpu, first_cpu = ([spent for spent, _ in turns] for turns in (own, first))
        cells = [name, case.scheme, str(case.num_devices), f"{case.num_parameters:,}", str(len(own)), _ms(wall)]
        cells += [_ms([stages[i] for _, stages in own]) for i in range(len(STAGES))]
        rows.append([*cells, _times(wall, first_wall), _times(cpu, first_cpu)])
    return rows


def _ms(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:,.3g}" if median(seconds) < 1 else f"{median(seconds) * 1e3:,.0f}"


def _times(own: list[float], first: list[float]) -> str:
    low, middle, high = ratios(own, first)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m laser_wireless.benchmarks.speed turns",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=["mlp", "mlp-equal"], metavar="NAME", help=f"of {', '.join(CASES)}"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=30, help="that are timed (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write the table here, Markdown")
    options = parser.parse_args(arguments)
    for name, least in (("threads", 1), ("turns", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be >= {least}, got {getattr(options, name)}")
    if len({(CASES[name].shapes, CASES[name].num_devices) for name in options.cases}) > 1:
        parser.error(f"--cases must be of one model, such as mlp and mlp-equal, got {', '.join(options.cases)}")
    return options
