"""CIFAR-10 and CIFAR-100 from folders in the hub's format: augmentation from the streams, schedule, a run that resumes."""

import itertools

import pytest
import torch
from helpers.public_data import as_parquet, cifar_splits
from torch import nn

from laser_wireless.benchmarks.tasks import Cifar, cifar
from laser_wireless.benchmarks.tasks.sharding import deal
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import LowRank

pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    cifar_splits(100).save_to_disk(folder / "cifar100")
    return {10: str(as_parquet(cifar_splits(10), folder / "cifar10")), 100: str(folder / "cifar100")}


def task_of(classes: int, folders: dict[int, str], **more) -> Cifar:
    return Cifar(**({"classes": classes, "path": folders[classes], "validation_size": 12, "batch_size": 3} | more))


@pytest.mark.parametrize("classes", [10, 100])
def test_parts_and_batches_have_the_form_of_the_data(classes, folders, global_rng_untouched):
    task = task_of(classes, folders)
    parts = cifar._parts(task)
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 48, "validation": 12, "test": 20}
    assert max(int(part.labels.max()) for part in parts.values()) > classes // 2
    images, labels = task.batches(2, 4, Streams(0))
    assert images.shape == (4, 3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert labels.shape == (4, 3)
    again, other = (task.batches(2, 4, Streams(seed)) for seed in (0, 1))
    assert torch.equal(images, again[0])
    assert not torch.equal(images, other[0])


def test_augmentation_is_drawn_anew_in_every_round_and_for_every_device(folders):
    """One image a device, shown again and again, comes in many shifts."""
    task = task_of(10, folders, batch_size=3, sharding="dirichlet", alpha=0.01)
    labels = cifar._parts(task)["train"].labels
    shards = deal(labels, 16, task.batch_size, Streams(0), sharding=task.sharding, alpha=task.alpha)
    lonely = int((shards.sizes == 1).nonzero()[0])
    shown = torch.stack([task.batches(round, 16, Streams(0))[0][lonely] for round in range(4)]).flatten(0, 1)
    assert len({image.numpy().tobytes() for image in shown}) >= 10  # of 12; 162 shifts and mirror images


def test_only_cifar100_divides_its_rate_in_the_last_quarter():
    ten, hundred = Cifar().learning_rate_factor, Cifar(classes=100).learning_rate_factor
    assert {ten(round, 3750) for round in range(3750)} == {1.0}
    assert [hundred(round, 5000) for round in (0, 3749, 3750, 4999)] == [1.0, 1.0, 0.1, 0.1]


def test_evaluation_uses_running_statistics_in_chunks(folders):
    task = task_of(10, folders)
    model = task.model(0).eval()
    found = task.evaluate(model, "test")
    assert abs(found["loss"] - 2.3) < 0.7
    assert found == task.evaluate(model, "test")


def small_run(folders: dict[int, str], rounds: int) -> TrainingRun:
    return TrainingRun(
        task=task_of(10, folders, batch_size=2, validation_size=4),
        compressor=LowRank(rank=1),
        uplink=AnalogUplink(energy_budget=1e6),
        num_devices=2,
        num_rounds=rounds,
        learning_rate=0.01,
    )


def test_resnet_trains_over_the_uplink(folders, tmp_path, global_rng_untouched):
    result = train(small_run(folders, rounds=1), tmp_path, device=torch.device("cpu"))
    assert result["status"] == "done"
    assert abs(result["metrics"]["validation"]["loss"] - 2.3) < 1.5


def test_interrupted_run_ends_as_an_unbroken_one_batch_statistics_included(folders, tmp_path, monkeypatch):
    def shallow(classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, classes)
        )

    monkeypatch.setattr(cifar, "ResNet18", shallow)
    run, place = small_run(folders, rounds=6), torch.device("cpu")
    (tmp_path / "whole").mkdir()
    whole = train(run, tmp_path / "whole", device=place)

    def interrupt(round, row):
        if round == 4:
            raise KeyboardInterrupt

    (tmp_path / "broken").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "broken", device=place, progress=interrupt)
    resumed = train(run, tmp_path / "broken", device=place)
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["status"] == "done"


def test_the_other_data_set_is_refused(folders):
    for asked, given in itertools.permutations((10, 100)):
        with pytest.raises(ValueError, match=f"not a readable copy of uoft-cs/cifar{asked}: it has the columns"):
            Cifar(classes=asked, path=folders[given]).evaluate(torch.nn.Identity(), "test")
    with pytest.raises(ValueError, match="classes must be 10 or 100"):
        Cifar(classes=20)
