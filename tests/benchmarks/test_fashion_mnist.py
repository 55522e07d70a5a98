"""Fashion-MNIST from IDX files: the format, its faults by name, fixed parts, three models, a run end to end."""

import gzip
import struct
from pathlib import Path

import pytest
import torch

from laser_wireless.benchmarks import cli
from laser_wireless.benchmarks.records import read_csv, read_json
from laser_wireless.benchmarks.tasks import FashionMnist, fashion_mnist
from laser_wireless.benchmarks.tasks.hub import DataUnavailable
from laser_wireless.benchmarks.tasks.idx import read_idx_folder
from laser_wireless.channels import Streams

TRAIN, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DEBIAN = Path(FashionMnist().path)


def idx(values):
    """The bytes of an IDX file, written apart from the reader."""
    axes = values.shape
    return b"\x00\x00\x08" + bytes([len(axes)]) + b"".join(struct.pack(">I", n) for n in axes) + values.numpy().tobytes()


def data(count, seed, classes=4, size=12):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count, dtype=torch.uint8) % classes
    noise = torch.randint(100, (count, size, size), generator=generator, dtype=torch.uint8)
    noise[torch.arange(count), labels.long()] += 150  # a bright row tells the class
    return noise, labels


@pytest.fixture
def folder(tmp_path):
    """Half of the files compressed."""
    (images, labels), (test, test_labels) = data(120, 0), data(40, 1)
    (tmp_path / f"{TRAIN}.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / TRAIN_LABELS).write_bytes(idx(labels))
    (tmp_path / TEST).write_bytes(idx(test))
    (tmp_path / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(idx(test_labels)))
    return tmp_path


def test_files_are_read_as_they_were_written(folder):
    found = read_idx_folder(str(folder))
    for part, count, seed in ((found.train, 120, 0), (found.test, 40, 1)):
        images, labels = data(count, seed)
        assert torch.equal(part.pixels, images.unsqueeze(1))
        assert torch.equal(part.labels, labels.long())
    assert (found.form.classes, found.form.shape) == (4, (1, 12, 12))
    normalised = found.form.normalised(found.train.pixels)
    assert abs(normalised.mean().item()) < 1e-5
    assert normalised.double().var(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_parts_are_fixed_and_disjoint(folder):
    task = FashionMnist(path=str(folder), validation_size=30)
    parts = fashion_mnist._parts(task)
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 90, "validation": 30, "test": 40}
    rows = [row.numpy().tobytes() for name in ("train", "validation") for row in parts[name].pixels]
    assert len(set(rows)) == 120
    known = {row.numpy().tobytes(): label for row, label in zip(*data(120, 0), strict=True)}
    for name in ("train", "validation"):
        assert [known[row.numpy().tobytes()] for row in parts[name].pixels[:, 0]] == parts[name].labels.tolist()


@pytest.mark.parametrize(("architecture", "width", "count"), [("linear", 256, 580), ("mlp", 8, 1268), ("conv", 32, 1572)])
def test_models_follow_the_seed_and_learn_something(architecture, width, count, folder, global_rng_untouched):
    task = FashionMnist(path=str(folder), architecture=architecture, width=width, validation_size=30, batch_size=10)
    one, again, other = task.model(0), task.model(0), task.model(1)
    assert sum(p.numel() for p in one.parameters()) == count
    assert all(map(torch.equal, one.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    optimizer, before = task.optimizer(one, 0.02), task.evaluate(one, "test")
    for round in range(60):
        images, labels = task.batches(round, 2, Streams(0))
        assert (images.shape, labels.shape) == ((2, 10, 1, 12, 12), (2, 10))
        optimizer.zero_grad()
        (task.loss(one, images[0], labels[0]) + task.loss(one, images[1], labels[1])).backward()
        optimizer.step()
    after = task.evaluate(one, "test")
    assert after["loss"] < before["loss"] - 0.5
    assert after["accuracy"] > 0.8 > before["accuracy"]


def damage(folder, kind):
    path = folder / TEST
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut short": content[:-1],
            "longer": content + b"0",
            "empty": b"",
            "magic": b"\x89PNG" + content[4:],
            "head only": content[:9],
            "size": idx(data(40, 1, size=11)[0]),
        }.get(kind, content)
    )
    images = folder / f"{TRAIN}.gz"
    if kind == "labels":
        (folder / TRAIN_LABELS).write_bytes(idx(data(119, 0)[1]))
    elif kind == "broken gzip":
        images.write_bytes(images.read_bytes()[:-20])
    elif kind == "classes":
        (folder / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(idx(data(40, 1)[1] + 9)))
    elif kind == "one value":
        images.write_bytes(gzip.compress(idx(torch.full((120, 12, 12), 7, dtype=torch.uint8))))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short", r"t10k-images.* must hold 40 x 12 x 12 bytes after its head, at least one, got 5759; it is cut short"),
        ("longer", "got 5761"),
        ("empty", "got an empty file"),
        ("magic", "begins with 00 00 08 03, got 89 50 4e 47"),
        ("head only", "begins with 00 00 08 03"),
        ("labels", "holds 120 images, train-labels-idx1-ubyte 119 labels"),
        ("size", r"one size, got \[12, 12\] and \[11, 11\]"),
        ("broken gzip", r"train-images-idx3-ubyte.gz is not readable"),
        ("classes", "among those to train with, 0 to 3, got 12"),
        ("one value", "all pixels of the training images have one value"),
    ],
)
def test_damaged_files_are_named(kind, message, folder):
    damage(folder, kind)
    with pytest.raises(ValueError, match=message):
        read_idx_folder(str(folder))


@pytest.mark.parametrize("name", [f"{TRAIN}.gz", TRAIN_LABELS, TEST, f"{TEST_LABELS}.gz"])
def test_missing_files_are_named_with_the_remedy(name, folder):
    (folder / name).unlink()
    with pytest.raises(
        DataUnavailable, match=rf"there is no .*{name.removesuffix('.gz')}.*apt install dataset-fashion-mnist"
    ):
        read_idx_folder(str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "resnet"}, "architecture"),
        ({"architecture": "conv", "width": 8}, "width must be >= 16 for architecture conv, got 8"),
        ({"validation_size": 0}, "validation_size must be >= 1, got 0"),
        ({"sharding": "dirichlet"}, "alpha must be given"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FashionMnist(**options)


def test_a_run_end_to_end_and_again_when_the_data_changed(folder, tmp_path, capsys):
    words = (
        f"run --task fashion-mnist-linear --task.path {folder} --task.validation_size 30 --task.batch_size 5 --num_devices 2"
    )
    more = f"--uplink.energy_budget 50 --num_rounds 20 --device cpu --output {tmp_path / 'out'}"
    assert cli.main([*words.split(), *more.split()]) == 0
    first = read_json(tmp_path / "out" / "result.json")["metrics"]
    assert first["test"]["accuracy"] > 0.5
    (folder / TEST).write_bytes(idx(data(40, 2)[0]))
    read_idx_folder.cache_clear()
    fashion_mnist._held_out.cache_clear()
    assert cli.main([*words.split(), *more.split()]) == 0
    assert "changed" in capsys.readouterr().err
    assert read_json(tmp_path / "out" / "result.json")["metrics"]["test"] != first["test"]


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_files():
    found = read_idx_folder(str(DEBIAN))
    assert (found.train.pixels.shape, found.test.pixels.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert found.train.labels.bincount().tolist() == [6000] * 10
    assert (round(found.form.mean[0], 4), round(found.form.deviation[0], 4)) == (0.2860, 0.3530)  # as usually given


@pytest.mark.slow
def test_a_sweep_whose_model_follows_from_the_data(folder, tmp_path):
    """The table counts the messages of a model that no process of the command has built before."""
    read_idx_folder.cache_clear()
    words = f"sweep --task fashion-mnist-linear --task.path {folder} --task.validation_size 30 --task.batch_size 5"
    more = "--schemes [z-sgd] --energy_budgets [10,100] --learning_rates [0.1] --seeds [0] --num_devices 2 --num_rounds 2"
    place = f"--jobs 2 --device cpu --output {tmp_path / 'out'}"
    assert cli.main([*words.split(), *more.split(), *place.split()]) == 0
    assert read_csv(tmp_path / "out" / "table.csv")[0]["num_bytes_per_round"] == 4 * 580
