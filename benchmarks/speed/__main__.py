"""How long does a full round take, stage by stage, and how far is that from what memory allows?

python -m laser_wireless.benchmarks.speed
python -m laser_wireless.benchmarks.speed --cases mlp resnet18 --threads 2 --output speed.md
python -m laser_wireless.benchmarks.speed channels     # channels alone, against Sionna and pykaira
python -m laser_wireless.benchmarks.speed runs         # trainings of a sweep, alone and side by side
python -m laser_wireless.benchmarks.speed turns        # rounds of several schemes in turns, for a machine with other work
python -m laser_wireless.benchmarks.speed wire         # bytes and time of a step over processes, beside torch's own hooks
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from laser_wireless.benchmarks.speed import channels, runs, turns, wire
from laser_wireless.benchmarks.speed.facts import facts
from laser_wireless.benchmarks.speed.measure import measure
from laser_wireless.benchmarks.speed.shapes import CASES, QUICK
from laser_wireless.benchmarks.speed.table import to_csv, to_markdown

_DESCRIPTION = """\
Times one round of the uplink as UplinkBridge.exchange runs it: encode (gradients to message), channel (energy,
superposition, noise, ledger), settle (error memory), decode. No data and no model: gradients are random, shapes are
those of real models.

cases (K devices):
{cases}

How to read the result. LowRank sends one factor in even rounds and the other in odd ones, so both are shown, and their
mean. "floor" is the time in which the bytes that must move can move, at the speed of a copy between two buffers of the
same size in the same run; "round / floor" is 1 for a program that cannot be made faster on this machine. "plain" is a
straightforward loop over devices and layers, for LowRank and Uncompressed. Medians tell what to expect; minima are less
disturbed by other work on the machine. Each case runs in a process of its own, whose peak memory above its start is
compared with (K + 6) d numbers of four bytes.

`channels` as the first word times the channels alone, against Sionna and pykaira; `runs` times trainings side by side;
`turns` times rounds of several schemes in turns, for a machine that has other work; `wire` counts what
DistributedDataParallel sends with an uplink as its hook.
"""

_OTHERS = {"channels": channels.main, "runs": runs.main, "turns": turns.main, "wire": wire.main}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases asked for, print the tables, and write them where asked."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and (other := _OTHERS.get(arguments[0])):
        other(arguments[1:])
        return
    options = _options(arguments)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    cases = QUICK if options.quick else CASES
    load = _load()
    known = facts(device, options.threads)
    measurements = {}
    for name in options.cases or cases:
        print(f"{name} ...", file=sys.stderr, flush=True)
        seconds = 0.0 if options.quick else options.seconds
        work = partial(measure, cases[name], device=device, threads=options.threads, seconds=seconds)
        measurements[name] = channels.in_own_process(work)
        known["load average (1 min) before and after"] = f"{load} and {_load()}"
        if options.output:  # case by case, so that none is lost
            write = to_csv if options.output.suffix == ".csv" else to_markdown
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(write(known, measurements))
    print(to_markdown(known, measurements))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    lines = [f"  {name}: {c.scheme}, K = {c.num_devices}, {c.num_parameters:,} parameters" for name, c in CASES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m laser_wireless.benchmarks.speed",
        description=_DESCRIPTION.format(cases="\n".join(lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="of the list above; all of them if left out")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto takes a GPU if there is one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (default: all cores)")
    parser.add_argument("--seconds", type=float, default=5.0, help="about so long is each case timed (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few repetitions: does it run? Not for reading")
    parser.add_argument("--output", type=Path, help="also write the tables here; .md or .csv, by the name's end")
    options = parser.parse_args(arguments)
    cases = QUICK if options.quick else CASES
    if unknown := set(options.cases or ()) - set(cases):
        parser.error(f"--cases must be among {', '.join(cases)}, got {', '.join(sorted(unknown))}")
    if options.threads < 1:
        parser.error(f"--threads must be >= 1, got {options.threads}")
    if options.output and options.output.suffix not in (".md", ".csv"):
        parser.error(f"--output must end in .md or .csv, got {options.output}")
    return options


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
