"""How many symbols per second pass through a channel, against the least that is possible and against other libraries?

python -m laser_wireless.benchmarks.speed channels
python -m laser_wireless.benchmarks.speed channels --cases awgn ofdm-tdl --num-symbols 1000000 --output speed-channels.md
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from laser_wireless.benchmarks.records import environment
from laser_wireless.benchmarks.speed.channel_cases import CHANNEL_CASES, NUM_DEVICES
from laser_wireless.benchmarks.speed.channel_table import Result, to_markdown
from laser_wireless.benchmarks.speed.contest import OURS, measure_memory, measure_times
from laser_wireless.channels.child_process import end_with

_DESCRIPTION = """\
Times a round of the uplink (energy, power control, channel, noise, estimate, ledger) for K = {num_devices} devices that send
S real symbols each, against the floor, the time to add up the K S symbols once and to draw S normals, and against the
generic blocks of Sionna and pykaira, which do channel and noise only. Peers that are not installed are named and left out.

cases:
{cases}
"""
_LIBRARIES = ("torch", "sionna-no-rt", "sionna", "pykaira")
_MEMORY_PART = 0.5  # of the free memory that a contender may take beside the others' inputs

T = TypeVar("T")


def main(arguments: Sequence[str]) -> None:
    """Run the cases asked for, print the table, and write it where asked."""
    options = _options(arguments)
    load = _load()
    results = []
    for name in options.cases or CHANNEL_CASES:
        results += _measure(name, sorted(options.num_symbols), seconds=options.seconds, threads=options.threads)
    text = to_markdown(_facts(options.threads, f"{load} and {_load()}"), results)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    lines = [f"  {name}: {case.title}" for name, case in CHANNEL_CASES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m laser_wireless.benchmarks.speed channels",
        description=_DESCRIPTION.format(cases="\n".join(lines), num_devices=NUM_DEVICES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", nargs="+", choices=list(CHANNEL_CASES), help="all of them if left out")
    parser.add_argument(
        "--num-symbols", nargs="+", type=int, default=[1_000_000, 10_000_000], metavar="S", help="per device"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="about so long is each case timed (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="also write the table here, Markdown")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be >= 1, got {options.threads}")
    if min(options.num_symbols) < 2:
        parser.error(f"--num-symbols must be >= 2, got {min(options.num_symbols)}")
    return options


def _measure(name: str, sizes: list[int], *, seconds: float, threads: int) -> list[Result]:
    """Memory, then times, of one case, for one size after the other."""
    results: list[Result] = []
    absent: dict[str, str] = {}
    memory: dict[str, int] = {}
    for size in (size for size in sizes if size <= (CHANNEL_CASES[name].largest or size)):
        before, memory = memory, {}
        for contender in (OURS, *CHANNEL_CASES[name].peers):
            print(f"{name}, S = {size:,}: {contender}", file=sys.stderr, flush=True)
            needed = before.get(contender, 0) * size / results[-1].num_symbols if results else 0
            if contender in absent or needed > _MEMORY_PART * _free_memory():
                continue
            try:
                memory[contender] = in_own_process(
                    partial(measure_memory, name, contender, num_symbols=size, threads=threads)
                )
            except ImportError as error:
                absent[contender] = str(error)
        without = [peer for peer in CHANNEL_CASES[name].peers if peer not in memory]
        contest = in_own_process(
            partial(measure_times, name, num_symbols=size, without=without, seconds=seconds, threads=threads)
        )
        too_large = {peer: "too large for this machine" for peer in without if peer not in absent}
        results.append(Result(name=name, num_symbols=size, contest=contest, memory=memory, absent=absent | too_large))
    return results


def in_own_process(work: Callable[[], T]) -> T:
    """Do work in a new process: its memory is that of the work alone."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, initializer=end_with, initargs=(os.getpid(),)) as pool:
        return pool.submit(work).result()


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _facts(threads: int, load: str) -> dict[str, str]:
    """What a reader must know to repeat the run."""
    found = environment()
    return {
        "device": f"{found['cpu']}, {os.cpu_count()} cores",
        "threads": str(threads),
        "versions": ", ".join(_versions()),
        "commit": str(found["commit"]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load average (1 min) before and after": load,
    }


def _versions() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
