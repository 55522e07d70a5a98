"""A resumed run is the unbroken run, bit for bit."""

import copy

import pytest
import torch
from helpers.models import bridge_over, build, perceptron, train, weights
from torch import nn

from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression import LowRank, Uncompressed
from laser_wireless.training import load_checkpoint, save_checkpoint

UPLINKS = [
    AnalogUplink(energy_budget=10.0),
    AnalogUplink(
        energy_budget=10.0, fading=Rayleigh(), power_control=TruncatedInversion(), scale=PreviousScale(), coherence="symbol"
    ),
]
COMPRESSORS = [Uncompressed(), LowRank(rank=1), LowRank(rank=2, rule="both")]


@pytest.mark.parametrize("uplink", UPLINKS, ids=["gaussian", "faded"])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
@pytest.mark.parametrize("broken_at", [0, 3, 4])  # even and odd rounds send different factors
def test_resumed_run_equals_the_unbroken_one(broken_at, compressor, uplink, tmp_path, device):
    options = {"compressor": compressor, "uplink": uplink}
    unbroken = bridge_over(perceptron().to(device), **options)
    train(unbroken, range(7))

    first = bridge_over(perceptron().to(device), **options)
    optimizer = train(first, range(broken_at))
    path = tmp_path / "run.pt"
    parts = {"bridge": first, "model": first.model, "optimizer": optimizer}
    save_checkpoint(path, {name: part.state_dict() for name, part in parts.items()})

    second = bridge_over(build(*copy.deepcopy(list(perceptron())), seed=9).to(device), **options)
    optimizer = torch.optim.SGD(second.model.parameters(), lr=0.1, momentum=0.9)
    content = load_checkpoint(path)
    second.load_state_dict(content["bridge"])
    second.model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    train(second, range(broken_at, 7), optimizer=optimizer)

    assert torch.equal(weights(second.model), weights(unbroken.model))
    assert torch.equal(second.memory, unbroken.memory)


def test_another_seed_gives_another_run():
    one, other = (bridge_over(perceptron(), seed=seed) for seed in (0, 1))
    train(one, range(2))
    train(other, range(2))
    assert (weights(one.model) - weights(other.model)).abs().max() > 1e-4


def test_loaded_state_is_a_copy():
    bridge, other = bridge_over(perceptron()), bridge_over(perceptron())
    train(bridge, range(1))
    state = bridge.state_dict()
    other.load_state_dict(state)
    memory = bridge.memory.clone()
    train(other, range(1, 3))
    assert torch.equal(bridge.memory, memory)


def test_checkpoint_leaves_no_other_file(tmp_path):
    save_checkpoint(tmp_path / "run.pt", {"round": 1})
    save_checkpoint(tmp_path / "run.pt", {"round": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    assert load_checkpoint(tmp_path / "run.pt") == {"round": 2}


def test_failed_write_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"round": 1})
    with pytest.raises(AttributeError, match="lambda"):
        save_checkpoint(path, {"round": lambda: 2})
    assert load_checkpoint(path) == {"round": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


def test_truncated_checkpoint_is_refused_at_any_length(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"memory": torch.ones(3), "round": 1})
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"run\.pt is not a readable checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x02.", b"PK\x03\x04garbage", b"{}"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt is not a readable checkpoint"):
        load_checkpoint(path)


def test_file_with_something_else_inside_is_refused(tmp_path):
    save_checkpoint(tmp_path / "run.pt", [1, 2])
    with pytest.raises(ValueError, match="it holds a list in place of a dictionary"):
        load_checkpoint(tmp_path / "run.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    save_checkpoint(tmp_path / "run.pt", {"model": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="not a readable checkpoint") as error:
        load_checkpoint(tmp_path / "run.pt")
    assert "weights_only" not in str(error.value)  # torch advises to run what the file holds
