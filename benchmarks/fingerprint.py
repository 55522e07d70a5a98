"""What a result follows from: configuration, the user's code, data files, this package's code, versions.

A fingerprint has one entry for each of them, so that two fingerprints say by name what lies between them.

The user's code is every module that a component comes from and every module that those import, lazily or not, as far as it
is neither Python's, nor this package's, nor an installed library's (of which the version counts). Data files are those that
the configuration names, and those that a string in the user's modules names, unless for writing. A file whose name is put
together while the code runs is not seen: give it as an argument. Neither are data from the Hugging Face hub, nor caches.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import platform
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

Fingerprint = dict[str, str]

CONFIGURATION = "configuration"
_FORM = "form of results"
_ABSENT = "absent"
_OWN = ("channels", "compression", "training", "benchmarks.tasks")  # of this package: what decides the numbers of a run
_NO_INFLUENCE = ("checkpoint_seconds",)
_PATH_NAME = re.compile(r"(.*_)?(file|filename|path|folder|dir|directory)s?")
_CACHE_NAME = re.compile(r"(.*_)?cache(_.*)?")
_WRITING_MODE = re.compile(r"[wax][bt]?\+?[bt]?|r[bt]?\+[bt]?")
_WRITING_NAME = re.compile(r"write|save|dump|tofile|^to_")
_LARGEST_READ = 1 << 30  # bytes of a folder; of a larger one sizes and times stand for the content
_SETTLED_SECONDS = 2.0  # after which a file's times tell whether it was written again
_RENAMED = {"sionna": "sionna-no-rt", "tensorflow": "tensorflow-cpu"}  # libraries with a distribution of another name


def fingerprint_of(run: Any, spec: Any = None, *, form: int, code: str, folder: Path) -> Fingerprint:
    """Take the fingerprint of a run that is about to start, or about to be shown.

    Args:
        run: the object that is run, a dataclass of components.
        spec: the plain configuration that it was built from, if it was: names of files may stand only there.
        form: of what is stored; another one is not read.
        code: file of the code that runs it.
        folder: of the run, which is no part of the data even if it lies in a data folder.

    Returns:
        part -> version or digest.
    """
    found = _Found()
    objects, asked = found.plain(run), found.plain(spec)
    configuration = objects if spec is None else asked  # the same words may make other objects in another version
    parts = {CONFIGURATION: _sha256(json.dumps(configuration, sort_keys=True).encode()), _FORM: str(form)}
    sources, libraries = _sources(found.modules)
    strings = []
    for name, file in sources.items():
        inside = "/__init__" if file.stem == "__init__" else ""
        parts[f"module {name.replace('.', '/')}{inside}{file.suffix}"] = _source_digest(name, file)
        strings += [(text, file.parent) for text in _strings(file)]
    for path in found.paths:
        parts[f"file {path}"] = _data_digest(Path(path), folder)
    for text, beside in strings:
        for place in (Path(text), beside / text):
            if os.path.isfile(place):
                parts.setdefault(f"file {text}", _data_digest(place, folder))
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    versions |= {name: _version(name) for name in ("laser-wireless", *sorted(libraries))}
    return parts | versions | _own_code() | _own_file(code)


def completed(fingerprint: Fingerprint) -> Fingerprint:
    """The fingerprint with the files that were not there at the start and have been written by the run itself since."""
    known = {part: part.removeprefix("file ") for part, digest in fingerprint.items() if digest == _ABSENT}
    return fingerprint | {part: _data_digest(Path(path), Path()) for part, path in known.items() if os.path.isfile(path)}


def changes(before: Fingerprint, now: Fingerprint) -> list[str]:
    """What differs, each part in a few words: "module my_fading.py changed", "torch 2.9.1 -> 2.13.0"."""
    said = []
    for part in sorted(before.keys() | now.keys()):
        old, new = before.get(part), now.get(part)
        if old == new:
            continue
        if old is None or new is None:
            said.append(f"{part} {'is new' if old is None else 'is no longer used'}")
        elif _ABSENT in (old, new):
            said.append(f"{part} {'is new' if old == _ABSENT else 'is gone'}")
        else:
            said.append(f"{part} changed" if _is_digest(old) and _is_digest(new) else f"{part} {old} -> {new}")
    return said


def plain_form(value: Any) -> Any:
    """Objects as nested dictionaries, lists, numbers and words: equal where the objects do the same, in every process.

    Of an object that is no dataclass the public attributes that are numbers, words or paths stand for it.
    """
    return _Found().plain(value)


class _Found:
    """The plain form of objects, with the modules and the files that are met on the way."""

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        self.paths: dict[str, None] = {}

    def plain(self, value: Any, name: str = "") -> Any:
        """The plain form of what stands under a name."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str | os.PathLike):
            return self._text(os.fspath(value), name)
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return _numbers(value)
        if isinstance(value, complex | bytes | Enum):
            return repr(value)
        if isinstance(value, dict):
            return {str(key): self.plain(entry, str(key)) for key, entry in value.items() if key not in _NO_INFLUENCE}
        if isinstance(value, list | tuple | set | frozenset):
            entries = [self.plain(entry, name) for entry in value]
            return sorted(entries, key=repr) if isinstance(value, set | frozenset) else entries
        if isinstance(value, functools.partial):
            return [self.plain(part) for part in (value.func, value.args, value.keywords)]
        if inspect.isroutine(value) or inspect.isclass(value):
            owner = getattr(value, "__self__", None)  # of a method
            return [self._where(value), *([] if owner is None or inspect.ismodule(owner) else [self.plain(owner)])]
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value) if field.init and field.name not in _NO_INFLUENCE]
            return [self._where(type(value)), {key: self.plain(getattr(value, key), key) for key in names}]
        public = {key: entry for key, entry in getattr(value, "__dict__", {}).items() if not key.startswith("_")}
        settings = {key: entry for key, entry in public.items() if isinstance(entry, bool | int | float | str | os.PathLike)}
        return [self._where(type(value)), {key: self.plain(entry, key) for key, entry in settings.items()}]

    def _text(self, text: str | bytes, name: str) -> str:
        text = os.fsdecode(text)
        if name == "class_path":
            self.modules[text.rpartition(".")[0]] = None
        elif not _CACHE_NAME.fullmatch(name):
            is_path = bool(_PATH_NAME.fullmatch(name))
            if os.path.isfile(text) or (os.path.isdir(text) and (is_path or os.sep in text)) or (is_path and text):
                self.paths[text] = None
        return text

    def _where(self, thing: Any) -> str:
        module = str(getattr(thing, "__module__", "") or "")
        self.modules[module] = None
        return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _numbers(value: Tensor | np.ndarray | np.generic) -> Any:
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        content = np.ascontiguousarray(value).tobytes()
    return [str(value.dtype), list(value.shape), _sha256(content)]


def _sources(names: Iterable[str]) -> tuple[dict[str, Path], set[str]]:
    """Files of the user's modules among the names and all that they import, and the libraries that they use."""
    waiting, sources, libraries = list(names), dict[str, Path](), set[str]()
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top == "laser_wireless":
            libraries |= {library for library in _RENAMED if library in name}  # adapters are named after what they adapt
        if not name or name in sources or top == "laser_wireless" or top in libraries:
            continue
        file = _file_of(top)
        if file is not None and _is_installed(file):
            libraries |= {top} - set(sys.stdlib_module_names)
            continue
        file = _file_of(name)
        waiting += [name.rpartition(".")[0]]  # importing a.b runs a
        if file is not None:
            sources[name] = file
            waiting += _imports(file, name)
    return dict(sorted(sources.items())), libraries


def _file_of(name: str) -> Path | None:
    """The file of a module; none if there is no such module, or it is built in, or typed in."""
    module = sys.modules.get(name)
    if module is not None:
        found = getattr(module, "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):
            return None
        found = spec.origin if spec is not None and spec.has_location else None
    return Path(found) if found and os.path.isfile(found) else None


@functools.cache
def _libraries() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_installed(file: Path) -> bool:
    folders = {"site-packages", "dist-packages"}  # of every environment there is
    return bool(folders.intersection(file.parts)) or any(file.is_relative_to(library) for library in _libraries())


def _tree(file: Path) -> ast.AST:
    """The syntax of a module; empty if it has none, as a compiled one."""
    if file.suffix != ".py":
        return ast.Module([], [])
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _imports(file: Path, name: str) -> Iterator[str]:
    """Names that a module imports anywhere; some of them may be no modules."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _strings(file: Path) -> Iterator[str]:
    """Strings in a module, but for those from which something is written: a log grows without changing any result."""
    tree = _tree(file)
    writing = [part for call in ast.walk(tree) if isinstance(call, ast.Call) and _writes(call) for part in ast.walk(call)]
    names = {part.id for part in writing if isinstance(part, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id in names for to in node.targets):
            writing += ast.walk(node)
    written = set(map(id, writing))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value and id(node) not in written:
            yield node.value


def _writes(call: ast.Call) -> bool:
    """Whether a call writes a file, by its name, or by its mode if it opens one."""
    name = str(getattr(call.func, "attr", getattr(call.func, "id", "")))
    arguments = (*call.args, *(keyword.value for keyword in call.keywords))
    modes = [entry.value for entry in arguments if isinstance(entry, ast.Constant)]
    if name in ("open", "File", "memmap"):
        return any(isinstance(mode, str) and _WRITING_MODE.fullmatch(mode) for mode in modes)
    return bool(_WRITING_NAME.search(name))


_imported: WeakKeyDictionary[ModuleType, str] = WeakKeyDictionary()


def _source_digest(name: str, file: Path) -> str:
    """Digest of a module's source; of one that this process has imported, as it was when first seen: that is what runs."""
    module = sys.modules.get(name)
    if module is None:
        return _file_digest(file)
    if module not in _imported:
        _imported[module] = _file_digest(file)
    return _imported[module]


@functools.cache
def _own_code() -> Fingerprint:
    """Digests of this package's folders, once in a process: what is imported stays."""
    parts = {}
    for name in _OWN:
        root = Path(str(importlib.import_module(f"laser_wireless.{name}").__file__)).parent
        digests = [(str(file.relative_to(root)), _file_digest(file)) for file in sorted(root.rglob("*.py"))]
        parts[f"laser_wireless.{name}"] = _sha256(json.dumps(digests).encode())
    return parts


@functools.cache
def _own_file(code: str) -> Fingerprint:
    return {f"laser_wireless.benchmarks.{Path(code).stem}": _file_digest(Path(code))}


@functools.cache
def _version(library: str) -> str:
    for name in (library, _RENAMED.get(library, library)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    known = importlib.metadata.packages_distributions().get(library)
    return importlib.metadata.version(known[0]) if known else "unknown"


def _data_digest(path: Path, folder: Path) -> str:
    """Digest of a file's content, or of all names in a folder with their contents."""
    if os.path.isfile(path):
        return _file_digest(path)
    if not os.path.isdir(path):
        return _ABSENT
    files = sorted(_files_in(path, folder.resolve()))
    contents = sum(file.stat().st_size for file in files) <= _LARGEST_READ
    entries = [[str(file.relative_to(path)), _file_digest(file) if contents else _times(file)] for file in files]
    return _sha256(json.dumps(entries).encode())


def _files_in(root: Path, apart: Path) -> Iterator[Path]:
    """All files beneath a folder, without hidden ones, compiled ones, and the branch in which a run writes."""
    for where, folders, names in os.walk(root):
        inside = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        folders[:] = [name for name in inside if not apart.is_relative_to(Path(where, name).resolve())]
        yield from (Path(where, name) for name in names if not name.startswith(".") and os.path.isfile(Path(where, name)))


def _times(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


_known: dict[tuple[str, int, int, int, int], str] = {}


def _file_digest(file: Path) -> str:
    """SHA-256 of a file; one that has rested for a while is read once in a process."""
    status = file.stat()
    key = (str(file.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key in _known:
        return _known[key]
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
        _known[key] = digest
    return digest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_digest(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", text))
