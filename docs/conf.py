"""The guide: `python -m sphinx -W -b html docs docs/_build/html`, offline; every code cell is executed."""

import functools
import os
import re
import sys
from pathlib import Path
from typing import Any

import laser_wireless

# of the pages' kernels: round_in_forty_lines, and the package that this process documents
_PATHS = [str(Path(__file__).parent), str(Path(laser_wireless.__file__).parent.parent)]
os.environ["PYTHONPATH"] = os.pathsep.join([*_PATHS, *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for `laser`

project = "laser-wireless"
copyright = "the laser-wireless developers"
version = release = laser_wireless.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute", "requirements.txt"]
html_theme = "furo"
html_title = f"laser-wireless {version}"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "special-members": "__call__"}
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ["mystnb.unknown_mime_type", "myst-nb.lexer", "ref.python"]
default_role = "code"


def as_it_reads(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: |h|^2 is no substitution, x * y no emphasis, and an indented formula stays as it stands.

    Lines such as "gains: complex [K], ..." of a named tuple are entries of a list.
    """
    out: list[str] = []
    formula = entry = False
    for before, line in zip(["", *lines], lines, strict=False):
        indented = line.startswith("    ")
        if indented and not formula and not before and _text_stands_above(out):
            out += ["::", ""]
            formula = True
        formula = formula and (indented or not line)
        if formula or line.startswith((":", "..")) or not line:
            entry = False
        elif _ENTRY.match(line):
            out += [] if entry or not before else [""]
            entry, line = True, f"- {line}"
        elif entry or (indented and before and not out[-1].startswith((" ", ":"))):
            line = f"  {line.strip()}" if entry else line.strip()
        out.append(line if formula or line.lstrip().startswith(">>>") else _plain(line))
    lines[:] = out


_ENTRY = re.compile(r"[a-z][a-z_0-9]*(, [a-z][a-z_0-9]*)*: ")


def _plain(line: str) -> str:
    """Escape what reStructuredText would take for markup, outside of code."""
    parts = line.split("`")
    for i in range(0, len(parts), 2):
        text = re.sub(r"(?<!\\)[*|]", r"\\\g<0>", parts[i])  # napoleon has escaped those of its own fields
        parts[i] = text if line.lstrip().startswith(":") else re.sub(r"_(?=\W|$)", r"\_", text)
    return "`".join(parts)


def _text_stands_above(lines: list[str]) -> bool:
    above = next((line for line in reversed(lines) if line), "")
    return bool(above) and not above.startswith((" ", ":", ".."))


def without_fields(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of dataclasses and tuples stand in the docstring of their class already."""
    shown = callable(obj) or isinstance(obj, property | functools.cached_property)
    return None if what == "module" or shown else True


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", without_fields)
    app.connect("autodoc-process-docstring", as_it_reads, priority=900)  # after napoleon
