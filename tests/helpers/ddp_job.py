"""One process of a DDP training over an uplink that saves itself every few rounds and takes up its last whole checkpoint.

python ddp_job.py RANK WORLD_SIZE STORE FOLDER NUM_ROUNDS
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers.models import data, loss_of, perceptron, weights
from laser_wireless.channels import AnalogUplink, GaussMarkov, PreviousScale, TruncatedInversion
from laser_wireless.compression import LowRank
from laser_wireless.training import UplinkHookState, uplink_hook

SAVE_EVERY = 20


def main(rank: int, world_size: int, store: str, folder: Path, num_rounds: int) -> None:
    """Train to the end; one clear line and status 1 if another process is gone."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    options = {"rank": rank, "world_size": world_size, "timeout": timedelta(seconds=20)}
    dist.init_process_group("gloo", init_method=f"file://{store}", **options)
    model = perceptron()
    ddp = DistributedDataParallel(model)
    channel = {"fading": GaussMarkov(correlation=0.9), "power_control": TruncatedInversion(), "scale": PreviousScale()}
    uplink = UplinkHookState(ddp, compressor=LowRank(rank=2), uplink=AnalogUplink(energy_budget=30.0, **channel))
    ddp.register_comm_hook(uplink, uplink_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    saved = sorted(path.parent for path in folder.glob("round-*/.metadata"))  # written last
    if saved:
        parts = {"model": model.state_dict(), "uplink": uplink}
        dcp.load(parts, checkpoint_id=saved[-1])
        model.load_state_dict(parts["model"])
    for round in range(uplink.bridge.round, num_rounds):
        if round % SAVE_EVERY == 0:
            dcp.save({"model": model.state_dict(), "uplink": uplink}, checkpoint_id=folder / f"round-{round:05d}")
        x, y = data(round, num_devices=world_size)
        optimizer.zero_grad()
        loss_of(ddp, x[rank], y[rank]).backward()
        optimizer.step()
    if rank == 0:
        torch.save(weights(model), folder / "weights.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
    except RuntimeError as error:
        print(str(error).splitlines()[0], flush=True)
        os._exit(1)
