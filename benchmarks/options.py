"""Options of the command line, laid over YAML: --NAME VALUE, dots for what lies inside, values by YAML's rules."""

from __future__ import annotations

from typing import Any

import yaml
from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, load_yaml, override


def read_options(words: list[str], spec: Spec, own: dict[str, Any]) -> bool:
    """Put options into a nested spec.

    Args:
        words: of the command line, after the command.
        spec: filled in place; `--config FILE` first, then the other options in their order.
        own: options of the command itself, with their defaults; filled in place.

    Returns:
        whether help is asked for.

    Raises:
        BadConfiguration: a word that is no option, an option without a value, an unknown component.
    """
    pairs: list[tuple[str, Any]] = []
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") and "=" in word else [word])]
    wants_help = "--help" in words or "-h" in words
    words = [word for word in words if word not in ("--help", "-h")]
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        if not name.startswith("--"):
            raise BadConfiguration(f"{name!r} is not an option; options are --NAME VALUE")
        if value is None or (value.startswith("--") and not wants_help):
            raise BadConfiguration(f"{name} needs a value")
        pairs.append((name[2:], _scalar(value)))
    for name, value in pairs:
        if name == "config":
            for key, entry in load_yaml(str(value)).items():
                override(spec, [key], entry)
    for name, value in pairs:
        if name in own:
            own[name] = value
        elif name != "config":
            override(spec, name.split("."), value)
    return wants_help


def _scalar(text: str) -> Any:
    """A number, list or word, by YAML's rules, 1e3 and 1e-3 being numbers."""
    try:
        return float(text) if "e" in text.lower() and not text.lower().startswith(("e", "inf")) else yaml.safe_load(text)
    except ValueError:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{text!r} is not a value: {error}") from error
