"""Words of a command that takes folders and a few options of its own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from laser_wireless.benchmarks.assembly import BadConfiguration


def folders_and_options(
    command: str, words: Sequence[str], options: Mapping[str, Sequence[str]]
) -> tuple[list[Path], dict[str, str]]:
    """Tell folders and options apart.

    Args:
        command: name, for messages.
        words: after the command.
        options: name -> values that it may have; any text where there is none.

    Returns:
        the folders, and the options that were given by name.

    Raises:
        BadConfiguration: another option, one without a value or given twice, a value that it may not have.
    """
    rest = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    folders: list[Path] = []
    given: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        name = word.removeprefix("--")
        if not word.startswith("-"):
            folders.append(Path(word))
            continue
        if name not in options or not word.startswith("--"):
            near = difflib.get_close_matches(name, options, n=1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            has = f"it has {' and '.join(f'--{option}' for option in options)}" if options else "it takes folders alone"
            raise BadConfiguration(f"{word!r} is not an option of laser {command}; {has}{hint}")
        if not rest:
            raise BadConfiguration(f"{word} needs a value")
        if name in given:
            raise BadConfiguration(f"{word} must be given once, got {given[name]!r} already; leave one of them out")
        given[name] = rest.pop(0)
        if options[name] and given[name] not in options[name]:
            raise BadConfiguration(f"{word} must be one of {', '.join(options[name])}, got {given[name]!r}")
    return folders, given
