"""MNIST from a folder in the hub's format: fixed parts, the paper's model, a run end to end."""

import pytest
import torch
from helpers.public_data import as_parquet, mnist_splits

from laser_wireless.benchmarks import cli
from laser_wireless.benchmarks.records import read_json
from laser_wireless.benchmarks.tasks import Mnist, mnist
from laser_wireless.channels import Streams

pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(as_parquet(mnist_splits(), tmp_path_factory.mktemp("data") / "mnist"))


@pytest.fixture
def task(folder):
    return Mnist(path=folder, validation_size=30, batch_size=5)


def test_model_has_the_published_parameters_and_follows_the_seed(task, global_rng_untouched):
    one, again, other = task.model(0), task.model(0), task.model(1)
    assert sum(p.numel() for p in one.parameters()) == 7850
    assert torch.equal(one[1].weight, again[1].weight)
    assert not torch.equal(one[1].weight, other[1].weight)


def test_parts_are_fixed_and_disjoint(task):
    parts = mnist._parts(task)
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 90, "validation": 30, "test": 40}
    rows = [row.numpy().tobytes() for name in ("train", "validation") for row in parts[name].pixels]
    assert len(set(rows)) == 120
    expected = mnist_splits()["train"]
    known = {row.tobytes(): label for row, label in zip(map(_array, expected["image"]), expected["label"], strict=True)}
    for name in ("train", "validation"):
        assert [known[row.numpy().tobytes()] for row in parts[name].pixels[:, 0]] == parts[name].labels.tolist()


def _array(image):
    import numpy as np

    return np.asarray(image)


def test_batches_follow_the_seed_and_are_normalised(task, global_rng_untouched):
    images, labels = task.batches(3, 4, Streams(0))
    assert images.shape == (4, 5, 1, 28, 28)
    assert labels.shape == (4, 5)
    again, other = (task.batches(3, 4, Streams(seed))[0] for seed in (0, 1))
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    values = (images * 0.3081 + 0.1307) * 255
    torch.testing.assert_close(values, values.round().clamp(0, 255), atol=1e-3, rtol=0)


def test_skewed_shards_give_batches_of_the_same_form(folder):
    for sharding, alpha in (("dirichlet", 0.1), ("label", None)):
        task = Mnist(path=folder, validation_size=30, batch_size=5, sharding=sharding, alpha=alpha)
        assert task.batches(40, 4, Streams(0))[0].shape == (4, 5, 1, 28, 28)


def test_evaluation_starts_near_chance(task):
    found = task.evaluate(task.model(0), "validation")
    assert abs(found["loss"] - 2.3) < 0.7
    assert found == task.evaluate(task.model(0), "validation")


def test_run_from_the_command_line_learns(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--task", "mnist", "--task.path", folder, "--task.validation_size", "30", "--task.batch_size", "5"]
    run = ["--num_devices", "4", "--num_rounds", "40", "--device", "cpu", "--uplink.energy_budget", "1e4", "--output", "out"]
    assert cli.main(["run", *words, *run, "--learning_rate", "0.003"]) == 0
    result = read_json(tmp_path / "out" / "result.json")
    assert result["metrics"]["test"]["accuracy"] >= 0.4  # brightness tells the class; chance is 0.1


def test_absent_data_is_one_clear_line_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--task", "mnist", "--task.path", "data/mnist", "--uplink.energy_budget", "1"]
    assert cli.main(["run", *words, "--num_devices", "2"]) == 1
    assert "load_dataset('ylecun/mnist').save_to_disk('data/mnist')" in capsys.readouterr().err


def test_bad_sizes_are_refused(folder):
    for size in (120, 500):
        with pytest.raises(ValueError, match="validation_size must be above 0 and below the 120 images"):
            Mnist(path=folder, validation_size=size).evaluate(torch.nn.Identity(), "test")
    with pytest.raises(ValueError, match="validation_size must be >= 1"):
        Mnist(validation_size=0)
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        Mnist(batch_size=0)
    with pytest.raises(ValueError, match="alpha must be given"):
        Mnist(sharding="dirichlet")
