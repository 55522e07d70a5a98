"""The schemes of a sweep, and what each may choose among on validation data: learning rates and its own arguments.

Every scheme has the same number of learning rates. Its own arguments come on top (`tune`), in every combination; how many
candidates a scheme had stands in the table, since more of them are an advantage.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, build, component
from laser_wireless.benchmarks.entries import check_grid, check_some
from laser_wireless.benchmarks.value_words import shown
from laser_wireless.benchmarks.vocabulary import COMPONENTS
from laser_wireless.channels.contracts import fits
from laser_wireless.compression import Compressor

NOISELESS = "noiseless"
DEFAULT = "default"
_LONGEST_NAME = 100

Grids = Sequence[float] | Mapping[str, Sequence[float]]
"""Learning rates: for all schemes, or by scheme."""

TRAINING = ("local", "weights", "optimizer")
"""Arguments of a run that a sweep and each of its schemes may give; see `TrainingRun`."""

Tuned = Mapping[str, Mapping[str, Sequence[Any]]]
"""Scheme -> argument -> values."""


@dataclass(frozen=True)
class Scheme:
    """A scheme of a sweep: its compressor, and the sweep's uplink and task with what the scheme changes in them.

    training: local, weights and optimizer, of those that the scheme does not share with the sweep.
    """

    compressor: Spec
    uplink: Spec
    task: Spec
    training: Spec = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """What a scheme may choose: a learning rate, and arguments of its compressor."""

    learning_rate: float
    arguments: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The arguments in short, such as "rank=4"; empty if there are none to choose."""
        return " ".join(f"{name}={value}" for name, value in self.arguments.items())


def read_schemes(value: Any, uplink: Spec, task: Spec) -> dict[str, Scheme]:
    """Read the `schemes` of a YAML file.

    Args:
        value: a list of names; or a mapping from names to the name of a component, to {class_path, init_args}, or to
            {compressor: one of these, uplink: arguments that differ from the sweep's, or another uplink as {class_path,
            init_args}, task: the same, but of the sweep's class, local, weights, optimizer: in place of the sweep's}. The
            name "noiseless" is dropped: that line is always drawn.
        uplink: of the sweep, in its full form.
        task: of the sweep, in its full form.

    Raises:
        BadConfiguration: another form, unknown names, or a scheme of its own under the name "noiseless".
    """
    return {name: _scheme(name, entry, uplink, task) for name, entry in _entries(value).items()}


def read_compressors(value: Any) -> dict[str, Compressor]:
    """Read and build schemes where nothing is trained: in the forms of `read_schemes`, without an uplink or a task.

    Raises:
        BadConfiguration: see `read_schemes` and `build_compressor`.
    """
    return {name: build_compressor(_one(entry, f"schemes.{name}"), name) for name, entry in _entries(value).items()}


def _entries(value: Any) -> dict[str, Any]:
    """What a YAML file says of each scheme, under its name."""
    if isinstance(value, list):
        value = _named_after_themselves(value)
    if not isinstance(value, dict):
        raise BadConfiguration(f"schemes must be a list of names or a mapping name -> compressor, got {shown(value)}")
    for name in value:
        _check_scheme_name(name)
    if value.get(NOISELESS, NOISELESS) != NOISELESS:
        raise BadConfiguration(f"schemes must not use the name {NOISELESS!r}: the noiseless line is always drawn")
    return {name: entry for name, entry in value.items() if name != NOISELESS}


def build_compressor(spec: Spec, name: str) -> Compressor:
    """Build the compressor of the scheme of a name.

    Raises:
        BadConfiguration: arguments that it does not take, or no compressor; the message names the scheme.
    """
    place = f"schemes.{name}"
    made: Compressor = build(spec, place)
    if not fits(made, Compressor):
        names = ", ".join(COMPONENTS["compressor"][:3])
        raise BadConfiguration(f"{place} must be a compressor, such as {names}, got {shown(made)}")
    return made


def _named_after_themselves(names: list[Any]) -> dict[str, Any]:
    for place, name in enumerate(names):
        if not isinstance(name, str) or name in names[:place]:
            raise BadConfiguration(
                f"schemes[{place}] must be a name that stands once, such as laser, got {shown(name)}; "
                "a mapping name -> compressor gives names of your own"
            )
    return {name: name for name in names}


def _check_scheme_name(name: Any) -> None:
    """Refuse a name that could not be told from others in tables, legends and folders."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise BadConfiguration(
            f"schemes must have names of 1 to {_LONGEST_NAME} printable characters, not spaces alone, got {shown(name)}"
        )


def _scheme(name: str, entry: Any, uplink: Spec, task: Spec) -> Scheme:
    place = f"schemes.{name}"
    if not isinstance(entry, dict) or "class_path" in entry:
        return Scheme(_one(entry, place), uplink, task)
    if "compressor" not in entry or set(entry) - {"compressor", "uplink", "task", *TRAINING}:
        raise BadConfiguration(
            f"{place} must be a name, {{class_path, init_args}} or {{compressor, uplink, task, {', '.join(TRAINING)}}}, got "
            f"{shown(entry)}"
        )
    compressor = _one(entry["compressor"], f"{place}.compressor")
    its_task = _merged(task, entry.get("task") or {}, f"{place}.task")
    if its_task["class_path"] != task["class_path"]:
        own, other = (spec["class_path"].rsplit(".", 1)[-1] for spec in (task, its_task))
        raise BadConfiguration(
            f"{place}.task must be the sweep's {own}, for curves of different tasks cannot be compared, got {other}; "
            f"give arguments of {own} that differ, such as task: {{averaging: 0}}, or a sweep of its own"
        )
    own = {name: entry[name] for name in TRAINING if name in entry}
    own = {name: component(its, f"{place}.{name}") if name in COMPONENTS else its for name, its in own.items()}
    return Scheme(compressor, _merged(uplink, entry.get("uplink") or {}, f"{place}.uplink"), its_task, own)


def _one(entry: Any, place: str) -> Spec:
    """The spec of a compressor."""
    found = component(entry, place)
    if not isinstance(found, dict):
        raise BadConfiguration(f"{place} must be one compressor, such as laser or LowRank, got {shown(entry)}")
    return found


def _merged(own: Spec, changes: Any, place: str) -> Spec:
    """The sweep's own uplink or task with some arguments changed; what names its class takes nothing over."""
    if not isinstance(changes, dict):
        raise BadConfiguration(f"{place} must be a mapping of arguments, or {{class_path, init_args}}, got {shown(changes)}")
    if "class_path" in changes:
        return dict(component(changes, place))
    changed = component({"class_path": own["class_path"], "init_args": changes}, place)
    return {**deepcopy(own), "init_args": {**deepcopy(own["init_args"]), **changed["init_args"]}}


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
    combinations = combinations_of(tune, scheme)
    return [Candidate(rate, arguments) for rate in grid_of(learning_rates, scheme) for arguments in combinations]


def combinations_of(tune: Tuned, scheme: str) -> list[dict[str, Any]]:
    """Every combination of a scheme's tuned arguments; one without any if none are."""
    own = tune.get(scheme, {})
    return [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]


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
    for name, grid in grids.items():
        named = isinstance(learning_rates, Mapping)
        check_grid(f"learning_rates.{name if name in learning_rates else DEFAULT}" if named else "learning_rates", grid)
    counts = {name: len(grid) for name, grid in grids.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"learning_rates must give every scheme the same number of rates to choose among, got {counts}")
    _check_names("tune", tune, names)
    for name, arguments in tune.items():
        for argument, values in arguments.items():
            check_some(f"tune.{name}.{argument}", values)


def _check_names(place: str, found: Iterable[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{place} names {name!r}, which is none of {', '.join(known)}{hint}")
