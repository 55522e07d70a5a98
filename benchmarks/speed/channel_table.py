"""What did the channels' contest find, as a table to read?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from laser_wireless.benchmarks.speed.channel_cases import CHANNEL_CASES, NUM_DEVICES
from laser_wireless.benchmarks.speed.contest import OURS, Contest, ratios

_METHOD = f"""\
K = {NUM_DEVICES} devices send S real symbols each, float32. All contenders of a case take turns, round by round, in one
process; "ms" is CPU time, median (minimum). Ratios are taken round by round: median (lower to upper quartile). The floor is
one pass over the K S symbols (torch.sum) and S normals drawn. "laser" is a whole round: energy, power control, channel,
noise, estimate, ledger; in OFDM its gains hold for a resource block and a slot. Peers do channel and noise only, on symbols
already in their layout; Sionna OFDM gives each resource element a gain of its own, pykaira each user noise of its own.
"their / laser" below 1 means that the peer is quicker. Symbols per second count all K S real symbols, at the median. Memory
is the peak above the symbols, in a process of its own, the result of 4 S bytes included.
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case at one size; memory in bytes by contender, peers that did not run and why."""

    name: str
    num_symbols: int
    contest: Contest
    memory: Mapping[str, int]
    absent: Mapping[str, str]


def to_markdown(facts: Mapping[str, str], results: Sequence[Result]) -> str:
    """The facts of the run, how it was done, and a row for each contender."""
    header = [
        "case",
        "S",
        "contender",
        "ms",
        "floor ms",
        "time / floor",
        "their / laser",
        "symbols / s",
        "wall ms",
        "memory MiB",
    ]
    rows = [row for result in results for row in _rows(result)]
    lines = ["# Channels: symbols per second, against the floor and against other libraries", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    lines += ["", *_METHOD.splitlines(), ""]
    lines += [f"- {name}: {case.title}" for name, case in CHANNEL_CASES.items() if name in {r.name for r in results}]
    lines += ["", *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))]
    return "\n".join(lines) + "\n"


def _rows(result: Result) -> list[list[str]]:
    contest = result.contest
    rows = []
    for name in contest.contenders:
        cpu = contest.cpu[name]
        rows.append(
            [
                result.name,
                f"{result.num_symbols:,}",
                name,
                f"{_number(1e3 * median(cpu))} ({_number(1e3 * min(cpu))})",
                f"{_number(1e3 * median(contest.floor))} ({_number(1e3 * min(contest.floor))})",
                _spread(ratios(cpu, contest.floor)),
                "" if name == OURS else _spread(ratios(cpu, contest.cpu[OURS])),
                f"{NUM_DEVICES * result.num_symbols / median(cpu):.2g}",
                _number(1e3 * median(contest.wall[name])),
                _number(result.memory[name] / 2**20),
            ]
        )
    for name, why in {**result.absent, **contest.absent}.items():
        rows.append([result.name, f"{result.num_symbols:,}", name, f"not run: {why}", *[""] * 6])
    return rows


def _spread(quartiles: tuple[float, float, float]) -> str:
    first, middle, last = quartiles
    return f"{_number(middle)} ({_number(first)} to {_number(last)})"


def _number(value: float) -> str:
    """Three significant digits, without exponent."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"
