"""What a check found: one line for each property, with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Finding(NamedTuple):
    """A property: whether it holds (None: not tried), and what was measured or why it was not tried."""

    property: str
    holds: bool | None
    found: str


def examined(name: str, measure: Callable[[], tuple[bool | None, str]]) -> Finding:
    """Measure one property; an error of the part is a finding, not an end."""
    try:
        return Finding(name, *measure())
    except Exception as error:  # whatever a part does
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def row_of(finding: Finding) -> dict[str, str]:
    """A line of the table."""
    verdict = {True: "holds", False: "FAILS", None: "not tried"}[finding.holds]
    return {"property": finding.property, "": verdict, "found": finding.found}


def all_hold(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.holds is not False for finding in findings)
