"""Images: shifted and mirrored as torch would one by one, evaluated in chunks as at once, damage refused by name."""

import io

import PIL.Image
import pytest
import torch
from helpers.statistical import assert_mean, seeded
from torch import nn
from torch.nn.functional import cross_entropy, pad

from laser_wireless.benchmarks.tasks import images
from laser_wireless.benchmarks.tasks.hub import Source
from laser_wireless.benchmarks.tasks.images import Form, Images, cropped_and_flipped, evaluate_classifier, image_parts

FORM = Form(image="image", label="label", classes=3, shape=(3, 4, 5), mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.6, 0.7))
SOURCE = Source(repository="some/images")


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=seeded(0))


def test_normalisation_of_each_channel():
    x = pixels(2, 5, 3, 4, 5)
    expected = [(x[:, :, c].double() / 255 - FORM.mean[c]) / FORM.deviation[c] for c in range(3)]
    torch.testing.assert_close(FORM.normalised(x), torch.stack(expected, dim=2).float())


def test_shifted_and_mirrored_images_are_crops_of_the_padded_ones():
    x = pixels(2, 8, 3, 6, 6)
    found = cropped_and_flipped(x, 2, seeded(1))
    draws = seeded(1)
    shift, mirrored = torch.randint(5, (2, 16), generator=draws), torch.rand(16, generator=draws) < 0.5
    for image, crop, row, column, flip in zip(x.flatten(0, 1), found.flatten(0, 1), *shift.tolist(), mirrored, strict=True):
        expected = pad(image, (2, 2, 2, 2))[:, row : row + 6, column : column + 6]
        assert torch.equal(crop, expected.flip(-1) if flip else expected)


def test_shifts_are_uniform_and_half_of_the_images_are_mirrored(global_rng_untouched):
    dot = torch.zeros(40_000, 1, 9, 9, dtype=torch.uint8)
    dot[:, 0, 4, 4] = 1
    found = cropped_and_flipped(dot, 4, seeded(2))[:, 0]
    assert (found.sum((1, 2)) == 1).all()  # never shifted out
    row, column = found.sum(2).argmax(1), found.sum(1).argmax(1)
    for place in (row, column):
        assert_mean(place.double(), mean=4, variance=60 / 9, num_comparisons=2)  # uniform over 0 .. 8
    corner = torch.zeros(40_000, 1, 9, 9, dtype=torch.uint8)
    corner[:, 0, 4, 1] = 1
    left = cropped_and_flipped(corner, 0, seeded(3))[:, 0, 4, 1]
    assert_mean(left.double(), mean=0.5, variance=0.25)
    with pytest.raises(AssertionError):
        assert_mean(left.double(), mean=0.45, variance=0.25)


def test_evaluation_in_chunks_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(images, "_EVALUATED_AT_ONCE", 7)
    part = Images(pixels(31, 3, 4, 5), torch.randint(3, (31,), generator=seeded(1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(60, 3))
    found = evaluate_classifier(model, part, FORM)
    scores = model(FORM.normalised(part.pixels))
    assert found["loss"] == pytest.approx(cross_entropy(scores, part.labels).item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == part.labels).double().mean().item())


def encoded(size: tuple[int, int] = (5, 4), mode: str = "RGB") -> dict[str, bytes | None]:
    file = io.BytesIO()
    PIL.Image.new(mode, size).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (encoded(size=(4, 4)), 0, r"image 2 of train must be 5 x 4 RGB, got \(4, 4\) RGB"),
        (encoded(mode="L"), 0, r"image 2 of train must be 5 x 4 RGB, got \(5, 4\) L"),
        ({"bytes": encoded()["bytes"][:40], "path": None}, 0, "image 2 of train cannot be decoded"),
        ({"bytes": None, "path": "gone.png"}, 0, "image 2 of train has no encoded bytes"),
        (encoded(), 3, "label of train must be 0 .. 2, got 3"),
        (encoded(), -1, "label of train must be 0 .. 2, got -1"),
        (encoded(), None, "label of train must be 0 .. 2, got None"),
    ],
    ids=["size", "mode", "truncated", "no bytes", "large label", "negative label", "no label"],
)
def test_damaged_rows_are_refused_by_name(image, label, message, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    rows = {"image": [encoded(), encoded(), image], "label": [0, 1, label]}
    monkeypatch.setattr(images, "read_split", lambda source, split, columns: pyarrow.table(rows))
    with pytest.raises(ValueError, match=f"some/images is not a readable copy of some/images: {message}"):
        image_parts(SOURCE, FORM, 1)
