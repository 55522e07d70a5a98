"""YAML, read strictly and by the core schema of YAML 1.2: the same rules for files and for values of options.

`1e3` is a number and `010` is ten; `yes`, `on`, `1:10`, `1_000` and `2026-01-01`, which YAML 1.1 would turn into something
else, are the text that they look like. Keys are text as written. A key that stands twice, an alias inside itself, a
tag, a number beyond the reach of a float, and anything but one document in UTF-8 are refused.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": (r"~|null|Null|NULL|", [*"~nN", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
}
"""Kind of a plain scalar -> how it is written, and how it can begin; the first that fits."""
_MOST_VALUES = 200_000  # that a text may stand for: aliases can multiply without end


class NotYaml(ValueError):
    """A text that is no YAML, or not strictly; the message says where and why, in one line."""


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)


class _Dumper(yaml.SafeDumper):
    """Quotes what this module or a reader of YAML 1.1 would take for something other than text; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, (_pattern, _first) in _CORE.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


def parse_yaml(text: str) -> Any:
    """Read one document into numbers, texts, true, false, None, lists and mappings whose keys are texts.

    Raises:
        NotYaml: see above.
    """
    try:
        node = _Loader(text).get_single_node()
        return None if node is None else _Reading().value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(f"{error.problem or error.context}".split())
        problem = problem.replace("but found another document", "a second document begins; keep one")
        raise NotYaml(_at(mark, problem)) from error
    except ReaderError as error:
        raise NotYaml(f"character {error.position + 1} is {error.character:#04x}, which may not stand in YAML") from error
    except RecursionError as error:
        raise NotYaml("it is nested too deeply") from error


def dump_yaml(content: Any, *, sort_keys: bool = False) -> str:
    """Write plain content such that `parse_yaml` reads the same."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=sort_keys)


class _Reading:
    """Nodes into values, with what must be remembered on the way."""

    def __init__(self) -> None:
        self.inside: list[Node] = []
        self.num_values = 0

    def value(self, node: Node) -> Any:
        self.num_values += 1
        if self.num_values > _MOST_VALUES:
            raise NotYaml(f"its aliases stand for more than {_MOST_VALUES} values; write less")
        if any(outer is node for outer in self.inside):
            raise NotYaml(_at(node.start_mark, "an alias stands inside what it names; write the value out"))
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise NotYaml(_at(node.start_mark, f"the tag {_shown(node.tag)} is not understood; leave it out"))
        self.inside.append(node)
        found = self._mapping(node) if isinstance(node, MappingNode) else [self.value(entry) for entry in node.value]
        self.inside.pop()
        return found

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, entry in node.value:
            if not isinstance(key, ScalarNode):
                raise NotYaml(_at(key.start_mark, "a key must be text, not a list or mapping"))
            if key.value in lines:
                first = f"it stands in line {lines[key.value]} already; keep one of them"
                raise NotYaml(_at(key.start_mark, f"the key {_cut(key.value)} must not stand twice: {first}"))
            lines[key.value] = key.start_mark.line + 1
            if key.value == "<<" and key.style is None:
                merged = self._merged(entry)
            else:
                found[key.value] = self.value(entry)
        return {**merged, **found}

    def _merged(self, node: Node) -> dict[str, Any]:
        """The mappings that `<<` takes over, the first one counting most."""
        value = self.value(node)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise NotYaml(_at(node.start_mark, "<< must name a mapping, or a list of them"))
        return {name: entry for part in reversed(parts) for name, entry in part.items()}


def _scalar(node: ScalarNode) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind not in _CORE or not re.fullmatch(_CORE[kind][0], text):
        raise NotYaml(_at(node.start_mark, f"the tag {_shown(node.tag)} is not understood on {_cut(text)}; leave it out"))
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > 400:
            raise NotYaml(_at(node.start_mark, f"an integer of {len(text)} digits is too long; write fewer"))
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    if text[-1].isalpha():  # .inf and .nan
        return float(text.replace(".", "").lower())
    if math.isinf(float(text)):
        raise NotYaml(_at(node.start_mark, f"{_cut(text)} is beyond the largest float; write .inf if you mean infinity"))
    return float(text)


def _at(mark: Any, problem: str) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _shown(tag: str) -> str:
    return tag.replace(_TAG, "!!")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
