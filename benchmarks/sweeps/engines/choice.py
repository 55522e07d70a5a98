"""The engine that a user chose: `--engine NAME`, its arguments after a dot, or the entry `engine` of a YAML file."""

from __future__ import annotations

import difflib
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, build, component, override, resolve
from laser_wireless.benchmarks.fitting import hints_of
from laser_wireless.benchmarks.options import value_of
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.value_words import shown
from laser_wireless.benchmarks.vocabulary import offers

ENGINES = {
    "local": f"{__package__}.local.Local",
    "slurm": f"{__package__}.slurm.Slurm",
    "dask": f"{__package__}.dask.Dask",
}
"""Name -> class."""


def engine_of(content: Spec, given: dict[str, str]) -> Engine:
    """Take the engine out of a file's content and out of the options that were given; the local one if neither names one.

    Raises:
        BadConfiguration: no such engine, an argument that it lacks, a value that it refuses, a missing extra.
    """
    spec: Spec = {"engine": _spec_of(given.pop("engine", content.pop("engine", "local")))}
    for name in [name for name in given if name.startswith("engine.")]:
        path = name.split(".")
        hint = hints_of(resolve(spec["engine"]["class_path"], "engine")).get(path[1], Any)
        override(spec, path, value_of(given.pop(name), hint, name))
    engine: Engine = build(spec["engine"], "engine", Engine)
    if not offers(type(engine), Engine) or not all(hasattr(engine, name) for name in ("cores", "is_here")):
        raise BadConfiguration(f"engine must have at_a_time, where, do, cores and is_here of Engine, got {shown(engine)}")
    return engine


def _spec_of(value: Any) -> Spec:
    name = value.get("class_path") if isinstance(value, dict) else value
    if isinstance(name, str) and name in ENGINES:
        arguments = value.get("init_args") if isinstance(value, dict) else {}
        return component({"class_path": ENGINES[name], "init_args": arguments}, "engine")
    if isinstance(name, str) and "." in name:
        return component(value, "engine")
    near = difflib.get_close_matches(str(name), ENGINES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadConfiguration(
        f"engine must be one of {', '.join(ENGINES)}, or an import path, got {shown(value)}; {hint}"
        "Arguments follow with a dot, such as --engine slurm --engine.partition NAME"
    )
