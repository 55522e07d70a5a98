"""Arrays of measured or simulated gains from .npy, .npz, .csv, .mat and HDF5 files, brought into a known order of axes.

The user names the axes of an array in the order of the file. A MATLAB file of version 7.3 is an HDF5 file that holds each
array with its axes reversed; its axes are named in MATLAB's order, as `size` shows them. A .csv file is one array [lines,
columns], see `csv_table`: with axes "time device" its cells are complex; with "time real_imag" it has two columns; with
"time device real_imag" two for each device, real beside imaginary part. A column is an array [lines] under its name.
Whatever cannot be read, or holds values that are not finite, is refused with the name of the file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from laser_wireless.channels.propagation.csv_table import read_table

_WHOLE = (".npy", ".csv")  # hold one array without a name
_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PARTS = (("r", "i"), ("real", "imag"), ("re", "im"))
_DAMAGE = (OSError, EOFError, ValueError, TypeError, IndexError, KeyError, zlib.error, zipfile.BadZipFile)


def read_array(file: str, key: str | None) -> np.ndarray:
    """Read one array.

    Args:
        file: path that ends in .npy, .npz, .csv, .mat, .h5, .hdf5 or .hdf.
        key: name of the array, in HDF5 with its groups ("run1/h"), in .csv of a column; None for the only one of the file,
            for all of a .csv and for .npy, which has no names.

    Raises:
        ImportError: an HDF5 file without h5py.
        ValueError: no such file, another suffix, an unreadable file or a key that it does not hold.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"trace file {file} does not exist; give the path of an .npy, .npz, .csv, .mat or HDF5 file")
    names, load = _reader(path)
    found = _guarded(path, names)
    if key is None and path.suffix in _WHOLE:
        return _guarded(path, lambda: load(None))
    if key is None and len(found) != 1:
        raise ValueError(f"{file} holds {len(found)} arrays, {_listed(found)}; name one by `key`")
    if key is not None and key not in found:
        remedy = "; leave key out" if path.suffix in _WHOLE and not found else ""
        raise ValueError(f"{file} holds no array {key!r}; it holds {_listed(found)}{remedy}")
    return _guarded(path, lambda: load(found[0] if key is None else key))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none at all"


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call `read` and turn what a damaged file raises into an error that names it."""
    from scipy.io.matlab import MatReadError

    try:
        return read()
    except (*_DAMAGE, MatReadError) as error:
        raise ValueError(
            f"{path} cannot be read: it is truncated, damaged or not a {path.suffix} file "
            f"({type(error).__name__}: {error}); copy or write it again"
        ) from error


def _reader(path: Path) -> tuple[Callable[[], list[str]], Callable[[str | None], np.ndarray]]:
    """Two functions: the names of the file's arrays, and one array by its name."""
    if path.suffix == ".npy":
        return lambda: [], lambda key: _npy(path)
    if path.suffix == ".csv":
        table = cache(lambda: read_table(path))
        return lambda: table()[0], lambda key: _column(table(), key)
    if path.suffix == ".npz":
        return lambda: _npz(path, None), lambda key: _npz(path, key)
    if path.suffix == ".mat" and not _is_hdf5(path):
        return lambda: _mat(path, None), lambda key: _mat(path, key)
    if path.suffix in (".mat", *_HDF5_SUFFIXES):
        return lambda: _hdf5(path, None), lambda key: _hdf5(path, key)
    raise ValueError(f"{path} must end in .npy, .npz, .csv, .mat, {', '.join(_HDF5_SUFFIXES)}, which tell its format")


def _is_hdf5(path: Path) -> bool:
    """Whether a .mat file is one of version 7.3, by its header, or plain HDF5."""
    with path.open("rb") as file:
        head = file.read(16)
    return head.startswith((b"MATLAB 7.3", _HDF5_SIGNATURE))


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:  # np.load would take a damaged file for a pickle
        return np.lib.format.read_array(file, allow_pickle=False)


def _column(read: tuple[list[str], np.ndarray], key: str | None) -> np.ndarray:
    names, table = read
    return table if key is None else table[:, names.index(key)]


def _npz(path: Path, key: str | None) -> Any:
    with zipfile.ZipFile(path) as archive:  # np.load would take a damaged file for a pickle
        archive.infolist()
    with np.load(path, allow_pickle=False) as members:
        return list(members.files) if key is None else members[key]


def _mat(path: Path, key: str | None) -> Any:
    import scipy.io

    if key is None:
        return [name for name, _, _ in scipy.io.whosmat(path)]
    return np.asarray(scipy.io.loadmat(path, variable_names=[key])[key])


def _hdf5(path: Path, key: str | None) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path} is an HDF5 file and needs h5py: pip install h5py") from error

    with h5py.File(path, "r") as members:
        if key is not None:
            array = np.asarray(members[key][()])
            return array.T if path.suffix == ".mat" else array
        names: list[str] = []
        members.visititems(lambda name, member: names.append(name) if isinstance(member, h5py.Dataset) else None)
    return [name for name in names if not name.startswith("#")]  # MATLAB keeps references under #refs#


def read_complex(file: str, key: str | Sequence[str] | None, axes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Read gains and the names of their axes.

    Complex numbers may be stored as such, as a compound of real and imaginary part, as two arrays (two keys), or along an
    axis of length 2 named "real_imag".

    Returns:
        array: complex64 or complex128, as precise as the file.
        axes: without "real_imag".

    Raises:
        ValueError: real numbers without imaginary part, parts that do not match, axes that do not fit the array.
    """
    if key is not None and not isinstance(key, str):
        if len(key) != 2:
            raise ValueError(f"key must be one name, or two for real and imaginary part, got {list(key)}")
        real, imaginary = (read_array(file, name) for name in key)
        if real.shape != imaginary.shape or real.dtype.kind not in "fiu" or imaginary.dtype.kind not in "fiu":
            raise ValueError(
                f"{file}: real and imaginary part must be real arrays of one shape, got {key[0]} {real.dtype} {real.shape} "
                f"and {key[1]} {imaginary.dtype} {imaginary.shape}"
            )
        return real + 1j * imaginary, list(axes)
    array, axes = read_array(file, key), list(axes)
    if file.endswith(".csv") and len(axes) == array.ndim + 1 and axes[-1:] == ["real_imag"] and array.shape[-1] % 2 == 0:
        array = array.reshape(*array.shape[:-1], -1, 2)
    for parts in _PARTS:
        if array.dtype.names == parts:
            array = array[parts[0]] + 1j * array[parts[1]]
    if "real_imag" in axes:
        check_axes(file, array, axes)
        last = axes.index("real_imag")
        if array.shape[last] != 2 or array.dtype.kind not in "fiu":
            raise ValueError(
                f"{file}: axis real_imag must have length 2 and hold real numbers, got {array.shape[last]} of {array.dtype}"
            )
        axes.remove("real_imag")
        return array.take(0, last) + 1j * array.take(1, last), axes
    if array.dtype.kind != "c":
        raise ValueError(
            f"{file}: gains must be complex, got {array.dtype}; store h + 0j, name an axis of length 2 real_imag, or give "
            "two keys, of the real and the imaginary part"
        )
    return array, axes


def check_axes(file: str, array: np.ndarray, axes: Sequence[str]) -> None:
    """Refuse names that are not one for each axis of the array."""
    if len(axes) != array.ndim:
        raise ValueError(f"{file}: axes must name each of the {array.ndim} axes of shape {array.shape}, got {list(axes)}")


def arrange(file: str, array: np.ndarray, axes: Sequence[str], order: Sequence[str]) -> np.ndarray:
    """Bring an array into the order of axes `order`, with length 1 where it lacks one.

    Axes of length 1 that mean nothing are named "_".

    Raises:
        ValueError: the names do not fit the array, or it holds values that are not finite, or none.
    """
    check_axes(file, array, axes)
    for name, size in zip(axes, array.shape, strict=True):
        if name == "_" and size != 1:
            raise ValueError(f'{file}: an axis named "_" must have length 1, got {size} in shape {array.shape}')
    if array.size == 0:
        raise ValueError(f"{file}: the array is empty, of shape {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        first = np.unravel_index(int(finite.argmin()), array.shape)
        place = ", ".join(f"{name} {index}" for name, index in zip(axes, first, strict=True))
        raise ValueError(
            f"{file}: {array.size - int(finite.sum())} of {array.size} values are not finite, the first at {place} "
            "(counted from 0); fill or cut them out of the file"
        )
    array = array.reshape([size for name, size in zip(axes, array.shape, strict=True) if name != "_"])
    named = [name for name in axes if name != "_"]
    array = array.transpose([named.index(name) for name in order if name in named])
    return array.reshape([array.shape[[n for n in order if n in named].index(m)] if m in named else 1 for m in order])


def split_axes(axes: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """Names from "time device", "time, device" or a list.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    names = axes.replace(",", " ").split() if isinstance(axes, str) else list(axes)
    for name in names:
        if name not in (*known, "_"):
            raise ValueError(f'axes must be named {", ".join(known)} or "_" (length 1, left out), got {name!r}')
        if name != "_" and names.count(name) > 1:
            raise ValueError(f"axes must name {name} once, got {names}")
    return names
