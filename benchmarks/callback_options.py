"""Callbacks that a user names: `--callbacks '[TensorBoard, my_module.mine]'`, or the entry `callbacks` of a YAML file.

They are no part of a run's configuration: what is computed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, build, component, override
from laser_wireless.benchmarks.callbacks import Callback
from laser_wireless.benchmarks.callbacks.audience import check_callbacks
from laser_wireless.benchmarks.options import hint_at, value_of
from laser_wireless.benchmarks.value_words import shown

_NAME = "callbacks"


def callbacks_of(content: Spec, given: dict[str, str]) -> list[Spec]:
    """Take the callbacks out of a file's content and out of the options that were given; none if neither names one.

    Raises:
        BadConfiguration: an unknown name, or something else than names.
    """
    value = content.pop(_NAME, None)
    if _NAME in given:
        value = value_of(given.pop(_NAME), list[Callback], _NAME)
    found = component([] if value is None else value if isinstance(value, list) else [value], _NAME)
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise BadConfiguration(
                f"{_NAME}[{place}] must be a name, such as TensorBoard or my_module.my_callback, got {shown(entry)}"
            )
    spec: Spec = {_NAME: found}
    for name in [name for name in given if name.startswith(f"{_NAME}.")]:
        path = name.split(".")
        if not found:
            raise BadConfiguration(f"--{name}: say first which, for example --{_NAME} '[my_module.my_callback]'")
        override(spec, path, value_of(given.pop(name), hint_at(path, spec, Callback), name))
    return found


def build_callbacks(specs: Sequence[Spec]) -> list[Callback]:
    """Make the callbacks of one run.

    Raises:
        BadConfiguration: one that cannot be imported or made, needs what is not installed, or is no callback.
    """
    callbacks: list[Callback] = build(list(specs), _NAME, list[Callback])
    try:
        check_callbacks(callbacks)
    except TypeError as error:
        raise BadConfiguration(str(error)) from error
    return callbacks
