"""IDX files, the format of MNIST and its relatives: big-endian sizes, then bytes; plain or compressed by gzip.

    magic   0, 0, 8 (bytes), number of axes
    sizes   one 32-bit number for each axis
    values  the last axis fastest

Reference: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from laser_wireless.benchmarks.tasks.hub import DataUnavailable
from laser_wireless.benchmarks.tasks.images import Form, Images

_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class IdxImages(NamedTuple):
    """A data set: what its images look like, those to train with, and those to test with."""

    form: Form
    train: Images
    test: Images


@lru_cache(maxsize=2)
def read_idx_folder(folder: str) -> IdxImages:
    """Read the four files of a folder; names are MNIST's, with or without ".gz".

    Mean and deviation are those of all pixels of the training images; there are as many classes as the largest label says.

    Raises:
        DataUnavailable: a file is not there.
        ValueError: a file is no IDX file, is cut short or damaged, or files do not fit together.
    """
    parts = {}
    for part, (images, labels) in _NAMES.items():
        pixels, classes = (_values(_file(Path(folder), name), axes) for name, axes in ((images, 3), (labels, 1)))
        if len(pixels) != len(classes):
            raise ValueError(f"{folder}: {images} holds {len(pixels)} images, {labels} {len(classes)} labels")
        parts[part] = Images(pixels.unsqueeze(1), classes.long())
    train, test = parts["train"], parts["test"]
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        sizes = " and ".join(str(list(part.pixels.shape[2:])) for part in (train, test))
        raise ValueError(f"{folder}: images to train and to test with must have one size, got {sizes}")
    num_classes = int(train.labels.max()) + 1
    if (found := int(test.labels.max())) >= num_classes:
        raise ValueError(
            f"{folder}: labels to test with must be among those to train with, 0 to {num_classes - 1}, got {found}"
        )
    levels = train.pixels.flatten().bincount(minlength=256).double()  # exact, whatever the number of images
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = float((levels * values).sum() / levels.sum())
    deviation = math.sqrt(float((levels * (values - mean).square()).sum() / levels.sum()))
    if deviation == 0:
        raise ValueError(f"{folder}: all pixels of the training images have one value, there is nothing to learn")
    height, width = train.pixels.shape[2:]
    form = Form("images", "labels", num_classes, (1, height, width), (mean,), (deviation,))
    return IdxImages(form, train, test)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataUnavailable(
        f"there is no {folder / name}, plain or with .gz; give a folder with MNIST's four files (--task.path FOLDER). "
        "Debian has Fashion-MNIST: apt install dataset-fashion-mnist"
    )


def _values(path: Path, axes: int) -> Tensor:
    """The content of an IDX file of bytes: uint8 with so many axes."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not readable: {error}") from error
    start = 4 + 4 * axes
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) < start:
        raise ValueError(
            f"{path} must be an IDX file of bytes with {axes} axes, which begins with 00 00 08 {axes:02x}, got "
            f"{content[:4].hex(' ') or 'an empty file'}"
        )
    sizes = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(sizes) or not math.prod(sizes):
        raise ValueError(
            f"{path} must hold {' x '.join(map(str, sizes))} bytes after its head, at least one, got "
            f"{len(content) - start}; it is cut short or damaged"
        )
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy())
