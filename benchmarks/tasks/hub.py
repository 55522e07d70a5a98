"""Public data sets, from the Hugging Face hub or from a folder, as Arrow tables.

A folder may be what `save_to_disk` wrote, or hold parquet files named as on the hub (train-00000-of-00001.parquet, at any
depth), or be anything else that `load_dataset` reads locally. This is the only module that imports `datasets`.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # the last bytes of every whole Arrow stream
_PROBE_SECONDS = 4.0


class DataUnavailable(OSError):
    """The data is not here and cannot be fetched; the message holds the command that helps."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set is.

    Args:
        repository: on the hub, such as "ylecun/mnist".
        configuration: of the repository, if it has several.
        path: folder to read instead of the hub.
    """

    repository: str
    configuration: str | None = None
    path: str | None = None

    def absent(self, reason: str) -> DataUnavailable:
        """The error for data that is not here."""
        target = self.path or f"data/{self.repository.split('/')[-1]}"
        names = ", ".join(repr(name) for name in (self.repository, self.configuration) if name)
        return DataUnavailable(
            f"{self.repository} cannot be read: {reason}. On a machine with a network run\n"
            f'  python -c "from datasets import load_dataset; load_dataset({names}).save_to_disk({target!r})"\n'
            f"copy the folder here if it is another machine, and use --task.path {target}"
        )

    def damaged(self, reason: object) -> ValueError:
        """The error for data that is here but cannot be used."""
        return ValueError(f"{self.path or self.repository} is not a readable copy of {self.repository}: {reason}")


def read_split(source: Source, split: str, columns: tuple[str, ...]) -> Any:
    """Return the columns of one split, a pyarrow.Table.

    Raises:
        DataUnavailable: no such folder, no network, or the packages of the extra "data" are not installed.
        ValueError: files are missing, truncated or damaged, or a column is missing; the message says which.
    """
    try:
        import datasets
        import pyarrow
    except ModuleNotFoundError as error:
        raise DataUnavailable(f"{source.repository} needs {error.name}: pip install 'laser-wireless[data]'") from error
    try:
        table = _from_hub(source, split) if source.path is None else _from_folder(source, Path(source.path), split)
    except DataUnavailable:
        raise
    except (OSError, ValueError, KeyError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise source.damaged(error) from error
    if missing := [name for name in columns if name not in table.column_names]:
        raise source.damaged(f"it has the columns {table.column_names}, but not {missing}")
    if not len(table):
        raise source.damaged(f"the split {split} is empty")
    return table.select(list(columns))


def hub_file(repository: str, name: str, *, otherwise: str) -> Path:
    """Return a file of a model repository, from the hub or from its cache on this machine.

    Raises:
        DataUnavailable: it is in neither; the message ends with `otherwise`.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise DataUnavailable(f"{repository} needs {error.name}: pip install 'laser-wireless[data]'") from error
    with _offline_unless_reachable():
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except OSError as error:
            reason = f"{name} of {repository} is not in the cache, and the hub is out of reach"
            raise DataUnavailable(f"{reason}. {otherwise}") from error


def _from_hub(source: Source, split: str) -> Any:
    import datasets

    with _offline_unless_reachable():
        try:
            found = datasets.load_dataset(source.repository, source.configuration, split=split)
        except OSError as error:
            raise source.absent("it is not in the cache, and the hub is out of reach") from error
    return found.with_format("arrow")[:]


@contextmanager
def _offline_unless_reachable() -> Iterator[None]:
    """Without a network the libraries would retry each file for half a minute; look once, and let them use their cache."""
    import datasets
    import huggingface_hub

    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    offline = any(before) or not _reachable(huggingface_hub.constants.ENDPOINT)
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = offline
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _reachable(address: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:  # an answer, if not the one hoped for
        return True
    except OSError:
        return False


def _from_folder(source: Source, folder: Path, split: str) -> Any:
    import datasets

    if not folder.is_dir():
        raise source.absent(f"there is no folder {folder}")
    if (folder / "dataset_dict.json").exists():
        return _saved(folder / split, split)
    if (folder / "state.json").exists():
        raise ValueError("this is one split; give the folder above it, which holds dataset_dict.json")
    if files := sorted(folder.rglob("*.parquet")):
        return _parquet(source, files, split)
    with _offline_unless_reachable():
        return datasets.load_dataset(os.fspath(folder), split=split).with_format("arrow")[:]


def _saved(folder: Path, split: str) -> Any:
    """A split as save_to_disk writes it."""
    import datasets

    if not folder.is_dir():
        raise ValueError(f"there is no split {split}")
    for path in sorted(folder.glob("*.arrow")):
        with open(path, "rb") as file:  # a stream cut between two batches would read as a shorter one
            file.seek(max(0, path.stat().st_size - len(_END_OF_STREAM)))
            if file.read() != _END_OF_STREAM:
                raise ValueError(f"{path} is truncated")
    return datasets.load_from_disk(os.fspath(folder)).with_format("arrow")[:]


def _parquet(source: Source, files: list[Path], split: str) -> Any:
    """A split of parquet files: those of the configuration, named after the split or in a folder of its name."""
    import pyarrow
    import pyarrow.parquet

    own = [path for path in files if source.configuration in path.parts] or files
    named = [path for path in own if re.fullmatch(rf"{split}([-_.].*)?\.parquet", path.name) or path.parent.name == split]
    if not named:
        raise ValueError(f"no parquet file is of the split {split}, there are {[path.name for path in own[:8]]}")
    if len({path.parent for path in named}) > 1:
        raise ValueError(f"several folders hold a split {split}, {sorted(map(str, {p.parent for p in named}))}; name one")
    if (counted := re.search(r"-of-(\d+)\.parquet$", named[0].name)) and int(counted[1]) != len(named):
        raise ValueError(f"{len(named)} of {int(counted[1])} files of the split {split} are there")
    tables = []
    for path in named:
        try:
            tables.append(pyarrow.parquet.ParquetFile(path).read())
        except (OSError, pyarrow.ArrowException) as error:
            raise ValueError(f"{path} is damaged ({error})") from error
    return pyarrow.concat_tables(tables)
