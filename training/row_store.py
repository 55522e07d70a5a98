"""Where the memory of many devices lies: rows of d numbers that are brought in some at a time.

In bfloat16 a row takes half the room. What a device has yet to send is then rounded to 8 significant bits after each round:
of every entry at most 2^-8 of it is lost or added, which error feedback does not know of.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked

RowDtype = Literal["float32", "float64", "bfloat16"]


class Rows(Protocol):
    """Rows [K, d], 0 at first."""

    def read(self, devices: range, out: Tensor) -> None:
        """Write the rows of devices over `out` [len(devices), d], in its dtype."""
        ...

    def write(self, devices: range, rows: Tensor) -> None:
        """Keep rows [len(devices), d] for devices."""
        ...

    def whole(self) -> Tensor:
        """All rows [K, d]; of a file a view, of which only what is touched comes into memory."""
        ...


class RowStore(Protocol):
    """Makes room for rows."""

    def __call__(self, num_devices: int, size: int, /) -> Rows:
        """Return rows [num_devices, size] of zeros."""
        ...


@dataclass(frozen=True, kw_only=True)
@checked
class RowsInMemory:
    """Rows in the memory of the host, whatever computes them.

    Args:
        dtype: of the rows.
    """

    dtype: RowDtype = "float32"

    def __call__(self, num_devices: int, size: int) -> Rows:
        """Return rows of zeros; see `RowStore`."""
        return _Kept(torch.zeros(num_devices, size, dtype=getattr(torch, self.dtype)))


@dataclass(frozen=True, kw_only=True)
@checked
class RowsInFile:
    """Rows in a file without a name, which is gone with the process; a checkpoint holds a copy of it.

    Args:
        dtype: of the rows.
        folder: of the file; the system's for temporary files if None.
    """

    dtype: RowDtype = "float32"
    folder: str | None = None

    def __call__(self, num_devices: int, size: int) -> Rows:
        """Return rows of zeros; see `RowStore`.

        Raises:
            OSError: the folder is not there, cannot be written, or has no room.
        """
        dtype = getattr(torch, self.dtype)
        needed, folder = num_devices * size * dtype.itemsize, self.folder or tempfile.gettempdir()
        try:
            free = shutil.disk_usage(folder).free
            descriptor, name = tempfile.mkstemp(dir=folder, prefix="laser-rows-")
        except OSError as error:
            raise OSError(f"folder of RowsInFile must be there and writable, got {folder} ({error.strerror})") from error
        os.unlink(name)
        if needed > free:
            os.close(descriptor)
            raise OSError(
                f"rows of {num_devices} devices take {needed / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB "
                "free; name another folder, or take dtype bfloat16"
            )
        os.truncate(descriptor, needed)
        return _InFile(descriptor, num_devices, size, dtype)


class _Kept:
    """Rows of a tensor on the host."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def read(self, devices: range, out: Tensor) -> None:
        out.copy_(self._rows[devices.start : devices.stop])

    def write(self, devices: range, rows: Tensor) -> None:
        self._rows[devices.start : devices.stop] = rows.to(self._rows.device)

    def whole(self) -> Tensor:
        return self._rows


class _InFile:
    """Rows of a file, read and written as bytes: what lies in it never counts as memory of the process."""

    def __init__(self, descriptor: int, num_devices: int, size: int, dtype: torch.dtype) -> None:
        self._descriptor, self._shape, self._dtype = descriptor, (num_devices, size), dtype
        self._row_bytes = size * dtype.itemsize
        weakref.finalize(self, os.close, descriptor)

    def read(self, devices: range, out: Tensor) -> None:
        rows = torch.empty(len(devices), self._shape[1], dtype=self._dtype)
        room, place = _bytes_of(rows), devices.start * self._row_bytes
        while room:
            count = os.preadv(self._descriptor, [room], place)
            if not count:
                raise OSError("the file of the devices' rows has become shorter")
            room, place = room[count:], place + count
        out.copy_(rows)

    def write(self, devices: range, rows: Tensor) -> None:
        room, place = _bytes_of(rows.to("cpu", self._dtype).contiguous()), devices.start * self._row_bytes
        while room:
            count = os.pwritev(self._descriptor, [room], place)
            room, place = room[count:], place + count

    def whole(self) -> Tensor:
        number = self._shape[0] * self._shape[1]
        path = f"/proc/self/fd/{self._descriptor}"
        return torch.from_file(path, shared=True, size=number, dtype=self._dtype).view(self._shape)


def _bytes_of(rows: Tensor) -> memoryview:
    """The memory of a tensor of the host."""
    return rows.detach().view(torch.uint8).numpy().data.cast("B")
