"""Text as tokens of GPT-2's byte-pair encoding, encoded once and kept in a cache that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laser_wireless.benchmarks.progress import Progress
from laser_wireless.benchmarks.tasks.hub import DataUnavailable, hub_file
from laser_wireless.training.checkpoint import broken_seal, sealed_file

Tokens = npt.NDArray[np.uint16]

_REPOSITORY = "openai-community/gpt2"
_FILES = ("vocab.json", "merges.txt")
_ROWS_TOGETHER, _PIECES_AT_ONCE = 200, 64
_LAYOUT = b"rows joined by 200, uint16"  # of the cache; a change makes old files unused


def tokenizer_files(path: str | None) -> tuple[Path, Path]:
    """Return vocab.json and merges.txt in a folder, or GPT-2's from the hub.

    Raises:
        DataUnavailable: they are not there; the message holds the command that fetches them.
    """
    target = path or "data/gpt2"
    help = (
        "On a machine with a network run\n"
        '  python -c "from huggingface_hub import snapshot_download; '
        f'snapshot_download({_REPOSITORY!r}, allow_patterns={list(_FILES)}, local_dir={target!r})"\n'
        f"copy the folder here if it is another machine, and use --task.tokenizer_path {target}"
    )
    if path is None:
        vocabulary, merges = (hub_file(_REPOSITORY, name, otherwise=help) for name in _FILES)
        return vocabulary, merges
    vocabulary, merges = (Path(path) / name for name in _FILES)
    for file in (vocabulary, merges):
        if not file.is_file():
            raise DataUnavailable(f"there is no {file}. {help}")
    return vocabulary, merges


def encoded(rows: Any, files: tuple[Path, Path], vocabulary: int, cache: Path) -> Tokens:
    """Return the tokens of a text, memory-mapped from the cache, where they are written first if they are not there.

    The file is named after everything that it follows from: the text, the tokeniser, the layout. A damaged one is replaced.
    200 rows are encoded together, end to end; no token reaches from one such piece into the next, and none is added between.

    Args:
        rows: pyarrow.ChunkedArray of strings.
        files: vocab.json and merges.txt of the tokeniser.
        vocabulary: tokens must be below it.
        cache: folder, made if need be.

    Raises:
        DataUnavailable: the package `tokenizers` is missing.
        ValueError: a damaged tokeniser, one of more tokens than the vocabulary, or text that is none.
    """
    key = hashlib.sha256(_LAYOUT)
    for file in files:
        key.update(hashlib.sha256(file.read_bytes()).digest())
    for piece in _pieces(rows):
        key.update(piece.encode())
    path = cache / f"tokens-{key.hexdigest()[:32]}.npy"
    if (found := _cached(path)) is not None:
        return found
    tokenizer = _tokenizer(files, vocabulary)
    parts = []
    pieces = _pieces(rows)
    with Progress(-(-len(rows) // _ROWS_TOGETHER), "piece of text", done=0) as bar:
        while some := list(islice(pieces, _PIECES_AT_ONCE)):
            parts += [np.array(encoding.ids, dtype=np.uint16) for encoding in tokenizer.encode_batch_fast(some)]
            bar.to(len(parts), "turned into tokens")
    cache.mkdir(parents=True, exist_ok=True)
    with sealed_file(path) as target:
        np.save(target, np.concatenate(parts))
    found = _cached(path)
    assert found is not None
    return found


def default_cache() -> Path:
    """Return the user's cache folder for this package."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laser-wireless"


def _cached(path: Path) -> Tokens | None:
    """The tokens in a file; none if there is no such file, or no whole one."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        reason = broken_seal(file)
    if reason:
        print(f"{path} is damaged: {reason}; the text is encoded again", file=sys.stderr)
        return None
    found = np.load(path, mmap_mode="r")
    return found if found.dtype == np.uint16 and found.ndim == 1 else None


def _pieces(rows: Any) -> Iterator[str]:
    """The text, some rows at a time."""
    for start in range(0, len(rows), _ROWS_TOGETHER):
        some = rows.slice(start, _ROWS_TOGETHER).to_pylist()
        if bad := [row for row in some if not isinstance(row, str)]:
            raise ValueError(f"the text has a row that is no string: {bad[0]!r}")
        yield "".join(some)


def _tokenizer(files: tuple[Path, Path], vocabulary: int) -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise DataUnavailable(f"the tokeniser needs {error.name}: pip install 'laser-wireless[data]'") from error
    folder = files[0].parent
    try:
        known = json.loads(files[0].read_text(encoding="utf-8"))
        lines = files[1].read_text(encoding="utf-8").splitlines()
        made = {"".join(line.split(" ")) for line in lines if not line.startswith("#version")}
        unmade = [token for token in known if len(token) > 1 and token not in made and token[0] + token[-1] != "<>"]
        if unmade:  # the library would go on with coarser text
            raise ValueError(f"no merge makes the token {unmade[0]!r} of vocab.json; is merges.txt truncated?")
        if max(known.values()) >= vocabulary:
            raise ValueError(f"it has tokens up to {max(known.values())}; vocabulary must be larger, got {vocabulary}")
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*map(str, files)))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    except Exception as error:  # the library raises the bare class
        raise ValueError(f"{folder} holds no usable tokeniser: {error}") from error
    return tokenizer
