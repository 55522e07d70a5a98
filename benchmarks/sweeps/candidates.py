"""The schemes of a sweep, and what each may choose among on validation data: learning rates and its own arguments.

Every scheme has the same number of learning rates. Its own arguments come on top (`tune`), in every combination; how many
candidates a scheme had stands in the table, since more of them are an advantage.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, component

NOISELESS = "noiseless"
DEFAULT = "default"

Grids = Sequence[float] | Mapping[str, Sequence[float]]
"""Learning rates: for all schemes, or by scheme."""

Tuned = Mapping[str, Mapping[str, Sequence[Any]]]
"""Scheme -> argument -> values."""


@dataclass(frozen=True)
class Scheme:
    """A scheme of a sweep: its compressor, and its uplink where that is not the sweep's own."""

    compressor: Spec
    uplink: Spec


@dataclass(frozen=True)
class Candidate:
    """What a scheme may choose: a learning rate, and arguments of its compressor."""

    learning_rate: float
    arguments: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The arguments in one word, such as "rank=4"; empty if there are none to choose."""
        return " ".join(f"{name}={value}" for name, value in self.arguments.items())


def read_schemes(value: Any, uplink: Spec) -> dict[str, Scheme]:
    """Read the `schemes` of a YAML file.

    Args:
        value: a list of words; or a mapping from names to a word, to {class_path, init_args}, or to {compressor: one of
            these, uplink: arguments that differ from the sweep's, or another uplink as {class_path, init_args}}. The
            word "noiseless" is dropped: that line is always drawn.
        uplink: of the sweep, in its full form.

    Raises:
        BadConfiguration: another form, unknown words, or a scheme of its own under the name "noiseless".
    """
    if isinstance(value, list):
        value = {str(word): word for word in value}
    if not isinstance(value, dict):
        raise BadConfiguration(f"schemes must be a list of words or a mapping name -> compressor, got {value!r}")
    if value.get(NOISELESS, NOISELESS) != NOISELESS:
        raise BadConfiguration(f"schemes must not use the name {NOISELESS!r}: the noiseless line is always drawn")
    return {str(name): _scheme(str(name), entry, uplink) for name, entry in value.items() if name != NOISELESS}


def _scheme(name: str, entry: Any, uplink: Spec) -> Scheme:
    place = f"schemes.{name}"
    if not isinstance(entry, dict) or "class_path" in entry:
        return Scheme(component(entry, place), uplink)
    if "compressor" not in entry or set(entry) - {"compressor", "uplink"}:
        raise BadConfiguration(f"{place} must be a name, {{class_path, init_args}} or {{compressor, uplink}}, got {entry!r}")
    changes = entry.get("uplink") or {}
    if not isinstance(changes, dict):
        raise BadConfiguration(
            f"{place}.uplink must be a mapping of arguments, or {{class_path, init_args}}, got {changes!r}"
        )
    return Scheme(component(entry["compressor"], f"{place}.compressor"), _merged(uplink, changes, f"{place}.uplink"))


def _merged(uplink: Spec, changes: Spec, place: str) -> Spec:
    """The sweep's uplink with some arguments changed; another class takes nothing over."""
    if "class_path" in changes:
        return dict(component(changes, place))
    changed = component({"class_path": uplink["class_path"], "init_args": changes}, place)
    return {**deepcopy(uplink), "init_args": {**deepcopy(uplink["init_args"]), **changed["init_args"]}}


def grid_of(learning_rates: Grids, scheme: str) -> list[float]:
    """The learning rates that a scheme may choose among."""
    if isinstance(learning_rates, Mapping):
        return list(learning_rates[scheme] if scheme in learning_rates else learning_rates[DEFAULT])
    return list(learning_rates)


def candidates_of(
    learning_rates: Grids,
    tune: Tuned,
    scheme: str,
) -> list[Candidate]:
    """All that a scheme may choose among: learning rates, each with every combination of its tuned arguments."""
    own = tune.get(scheme, {})
    combinations = [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]
    return [Candidate(rate, arguments) for rate in grid_of(learning_rates, scheme) for arguments in combinations]


def check_grids(
    learning_rates: Grids,
    tune: Tuned,
    schemes: Iterable[str],
) -> None:
    """Refuse grids that are empty, disordered, of unequal length, or for nobody.

    Raises:
        ValueError: see above; the message names the scheme.
    """
    names = list(schemes)
    if isinstance(learning_rates, Mapping):
        _check_names("learning_rates", learning_rates, [*names, NOISELESS, DEFAULT])
        missing = [name for name in (*names, NOISELESS) if name not in learning_rates]
        if missing and DEFAULT not in learning_rates:
            raise ValueError(f"learning_rates must have an entry for {', '.join(missing)}, or one named {DEFAULT!r}")
    grids = {name: grid_of(learning_rates, name) for name in (*names, NOISELESS)}
    for grid in grids.values():
        if not grid or len(set(grid)) != len(grid):
            raise ValueError(f"learning_rates must hold at least one entry and none twice, got {grid}")
        if not min(grid) > 0 or sorted(grid) != grid:
            raise ValueError(f"learning_rates must be > 0 and ascending, got {grid}")
    counts = {name: len(grid) for name, grid in grids.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"learning_rates must give every scheme the same number of rates to choose among, got {counts}")
    _check_names("tune", tune, names)
    for name, arguments in tune.items():
        for argument, values in arguments.items():
            if not values or len(set(map(str, values))) != len(values):
                raise ValueError(f"tune.{name}.{argument} must hold at least one value and none twice, got {list(values)}")


def _check_names(place: str, found: Iterable[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{place} names {name!r}, which is none of {', '.join(known)}{hint}")
