"""Image classification data: decoded and checked once, held as bytes, normalised batch by batch."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from laser_wireless.benchmarks.tasks.hub import Source, read_split

_EVALUATED_AT_ONCE = 500


class Form(NamedTuple):
    """What the images of a data set look like.

    Args:
        image: column of the encoded images.
        label: column of the classes.
        classes: number of classes.
        shape: of an image, (channels, height, width); one channel is grey, three are RGB.
        mean: of each channel, of values in [0, 1].
        deviation: by which each channel is divided.
    """

    image: str
    label: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return float32 like pixels uint8 [..., C, H, W]."""
        levels = torch.tensor([self.mean, self.deviation], dtype=torch.float32, device=pixels.device)
        mean, deviation = 255 * levels[..., None, None]
        return pixels.float().sub_(mean).div_(deviation)


class Images(NamedTuple):
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    pixels: Tensor
    labels: Tensor


@lru_cache(maxsize=2)
def image_parts(source: Source, form: Form, validation_size: int) -> dict[str, Images]:
    """Return "train", "validation" and "test".

    The validation part is a random choice from the training data, the same in every run.

    Raises:
        DataUnavailable: the data is not here.
        ValueError: it is damaged, of another form, or no larger than the validation part.
    """
    known, test = (_read(source, form, split) for split in ("train", "test"))
    return in_parts(known, test, validation_size)


def in_parts(known: Images, test: Images, validation_size: int) -> dict[str, Images]:
    """Hold some of the training images out; see `image_parts`.

    Raises:
        ValueError: there are no more images than are to be held out.
    """
    if not 0 < validation_size < len(known.labels):
        raise ValueError(f"validation_size must be above 0 and below the {len(known.labels)} images, got {validation_size}")
    order = torch.randperm(len(known.labels), generator=torch.Generator().manual_seed(0))
    held, rest = order[:validation_size], order[validation_size:]
    return {
        "train": Images(known.pixels[rest], known.labels[rest]),
        "validation": Images(known.pixels[held], known.labels[held]),
        "test": test,
    }


def cropped_and_flipped(pixels: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to `padding` pixels in both directions, black coming in, and mirror every other one, at random.

    Args:
        pixels: uint8 [..., C, H, W].
        padding: largest shift; all shifts are equally likely.
        generator: draws shifts and mirror images, independently for each image; on the CPU.

    Returns:
        uint8 [..., C, H, W].
    """
    *batch, channels, height, width = pixels.shape
    images = pad(pixels.reshape(-1, channels, height, width), 4 * [padding])
    count = len(images)
    shift = torch.randint(2 * padding + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.where(mirrored, torch.arange(width - 1, -1, -1), torch.arange(width))
    places = rows.unsqueeze(2) * images.shape[-1] + columns.unsqueeze(1)  # [count, H, W]
    found = images.flatten(2).gather(2, places.view(count, 1, -1).expand(-1, channels, -1))
    return found.view(*batch, channels, height, width)


@torch.no_grad()
def evaluate_classifier(model: nn.Module, images: Images, form: Form) -> dict[str, float]:
    """Return "loss" (mean cross-entropy, nats) and "accuracy", some hundred images at a time.

    Args:
        model: in evaluation mode; takes images float32 [N, C, H, W].
        images: a part of the data.
        form: normalises them.
    """
    place = next(model.parameters()).device
    loss = torch.zeros((), dtype=torch.float64, device=place)
    correct = torch.zeros((), dtype=torch.int64, device=place)
    for pixels, labels in zip(*(part.split(_EVALUATED_AT_ONCE) for part in images), strict=True):
        labels = labels.to(place)
        scores = model(form.normalised(pixels.to(place)))
        loss += cross_entropy(scores, labels, reduction="sum")
        correct += (scores.argmax(1) == labels).sum()
    return {"loss": loss.item() / len(images.labels), "accuracy": correct.item() / len(images.labels)}


def _read(source: Source, form: Form, split: str) -> Images:
    table = read_split(source, split, (form.image, form.label))
    return Images(_decoded(source, form, split, table[form.image]), _labels(source, form, split, table[form.label]))


def _labels(source: Source, form: Form, split: str, column: Any) -> Tensor:
    found = column.to_pylist()
    if bad := [label for label in found if not isinstance(label, int) or not 0 <= label < form.classes]:
        raise source.damaged(f"{form.label} of {split} must be 0 .. {form.classes - 1}, got {bad[0]!r}")
    return torch.tensor(found, dtype=torch.int64)


def _decoded(source: Source, form: Form, split: str, column: Any) -> Tensor:
    """Pixels uint8 [N, C, H, W] of a column of encoded images, as `datasets` stores them."""
    import numpy as np
    import PIL.Image

    channels, height, width = form.shape
    mode = "L" if channels == 1 else "RGB"
    pixels = np.empty((len(column), height, width, channels), dtype=np.uint8)
    for row, entry in enumerate(column):
        name = f"{form.image} {row} of {split}"
        stored = entry.as_py()
        content = stored.get("bytes") if isinstance(stored, dict) else None
        if not content:
            raise source.damaged(f"{name} has no encoded bytes")
        try:
            with PIL.Image.open(io.BytesIO(content)) as image:
                image.load()
                if (image.mode, image.size) != (mode, (width, height)):
                    raise source.damaged(f"{name} must be {width} x {height} {mode}, got {image.size} {image.mode}")
                pixels[row] = np.asarray(image).reshape(height, width, channels)
        except (OSError, SyntaxError) as error:  # PIL's words for damaged files
            raise source.damaged(f"{name} cannot be decoded ({error})") from error
    return torch.from_numpy(pixels).movedim(-1, 1).contiguous()
