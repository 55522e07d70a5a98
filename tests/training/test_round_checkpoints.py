"""Checkpoints of a DDP training: whole or not there, the last two, and the same training from there on."""

import pytest
import torch
import torch.distributed as dist
from helpers.models import data, loss_of, perceptron, weights
from torch.nn.parallel import DistributedDataParallel

from laser_wireless.channels import AnalogUplink, GaussMarkov, PreviousScale, TruncatedInversion
from laser_wireless.compression import LowRank
from laser_wireless.training import UplinkHookState, load_last_round, round_checkpoints, save_round, uplink_hook

CHANNEL = {"fading": GaussMarkov(correlation=0.9), "power_control": TruncatedInversion(), "scale": PreviousScale()}


@pytest.fixture(autouse=True)
def _group_of_one():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def training(**more):
    model = DistributedDataParallel(perceptron())
    options = {"compressor": LowRank(rank=2), "uplink": AnalogUplink(energy_budget=30.0, **CHANNEL), **more}
    uplink = UplinkHookState(model, **options)
    model.register_comm_hook(uplink, uplink_hook)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=0.01), "uplink": uplink}


def rounds(parts, until):
    while (round := parts["uplink"].bridge.round) < until:
        x, y = data(round, num_devices=1)
        parts["optimizer"].zero_grad()
        loss_of(parts["model"], x[0], y[0]).backward()
        parts["optimizer"].step()
    return weights(parts["model"])


def test_a_training_goes_on_from_its_last_whole_checkpoint(tmp_path):
    folder = tmp_path / "new"
    unbroken, again = training(), training()
    assert load_last_round(folder, **unbroken) == 0
    for until in (2, 4, 6):
        rounds(unbroken, until)
        save_round(folder, **unbroken)
        save_round(folder, **unbroken)  # it is there, and stays
    assert sorted(path.name for path in folder.iterdir()) == ["round-00000004", "round-00000006"]
    (folder / "round-00000008.part").mkdir()  # of a process that was killed
    assert load_last_round(folder, **again) == 6
    assert torch.equal(weights(again["model"]), weights(unbroken["model"]))
    assert torch.equal(rounds(again, 8), rounds(unbroken, 8))
    save_round(folder, **again)
    assert sorted(path.name for path in folder.iterdir()) == ["round-00000006", "round-00000008"]


def test_a_checkpoint_cut_off_while_it_is_written_is_none(tmp_path, monkeypatch):
    parts = training()
    rounds(parts, 2)
    save_round(tmp_path, **parts)
    rounds(parts, 4)
    write = round_checkpoints.save

    def cut_off(*arguments, **options):
        write(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(round_checkpoints, "save", cut_off)
        with pytest.raises(KeyboardInterrupt):
            save_round(tmp_path, **parts)
    assert (tmp_path / "round-00000004.part").exists()
    assert load_last_round(tmp_path, **training()) == 2
    save_round(tmp_path, **parts)
    assert load_last_round(tmp_path, **training()) == 4


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    parts = training()
    rounds(parts, 1)
    save_round(tmp_path, **parts)
    with pytest.raises(Exception, match="state is of seed 0, this bridge has seed 1"):
        load_last_round(tmp_path, **training(seed=1))
