"""A transformer of Hugging Face's on the text of Python's own library, each process a device on a TDL-C channel under OFDM.

    torchrun --nproc_per_node 3 examples/distributed_transformer.py
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --nproc_per_node 3 --max-restarts 3 examples/distributed_transformer.py FOLDER

The training loop is that of any DistributedDataParallel model; the uplink is the five lines between the rulers. With a
folder it saves itself every few steps: when a process dies, torchrun starts all again, and they go on from the last
checkpoint (the variable keeps them from looking for the dead ones). Needs the package transformers; the model's weights are
random, nothing is downloaded.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from transformers import GPT2Config, GPT2LMHeadModel

from laser_wireless.channels import AnalogUplink, Multipath, Ofdm, TappedDelayLine, TruncatedInversion
from laser_wireless.compression import LowRank
from laser_wireless.training import UplinkHookState, load_last_round, save_round, uplink_hook

CONTEXT, BATCH, NUM_STEPS, SAVE_EVERY = 32, 8, 40, 5
folder = Path(sys.argv[1]) if sys.argv[1:] else None

os.environ.setdefault("MASTER_ADDR", "localhost")  # so that it also runs by itself, as one device
os.environ.setdefault("MASTER_PORT", "29555")
dist.init_process_group("gloo", rank=int(os.environ.get("RANK", 0)), world_size=int(os.environ.get("WORLD_SIZE", 1)))
rank = dist.get_rank()

with open(argparse.__file__, encoding="utf-8") as source:
    text = torch.frombuffer(bytearray(source.read().encode()), dtype=torch.uint8).long()
torch.manual_seed(0)
config = GPT2Config(
    vocab_size=256, n_positions=CONTEXT, n_embd=64, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=None
)
network = GPT2LMHeadModel(config)
model = DistributedDataParallel(network)
# ------------------------------------------------------------------------------------------------------------------------
fading = Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=300e-9, doppler_hz=10.0, round_interval_s=0.01))
channel = AnalogUplink(energy_budget=3e4, fading=fading, ofdm=Ofdm(num_subcarriers=72), power_control=TruncatedInversion())
uplink = UplinkHookState(model, compressor=LowRank(rank=4), uplink=channel)
model.register_comm_hook(uplink, uplink_hook)
# ------------------------------------------------------------------------------------------------------------------------
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.0, 0.95))  # momentum after an error memory costs power
first_step = load_last_round(folder, model=model, optimizer=optimizer, uplink=uplink) if folder else 0
losses = []
for step in range(first_step, NUM_STEPS):
    torch.manual_seed(step * dist.get_world_size() + rank)  # of data and dropout: the same after a restart
    start = torch.randint(len(text) - CONTEXT, (BATCH, 1))
    tokens = text[start + torch.arange(CONTEXT)]
    loss = model(input_ids=tokens, labels=tokens).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if folder and (step + 1) % SAVE_EVERY == 0:
        save_round(folder, model=model, optimizer=optimizer, uplink=uplink)
uplink.check()
if rank == 0 and uplink.ledger is not None:
    account = uplink.ledger.summary()
    print(f"{dist.get_world_size()} devices, loss {losses[0]:.2f} -> {sum(losses[-10:]) / len(losses[-10:]):.2f}")
    print(
        f"a round: {account['num_symbols']} symbols for {sum(p.numel() for p in network.parameters()):,} parameters, ",
        end="",
    )
    print(f"{account['active_fraction']:.0%} of devices heard, {account['seconds']:.2g} s on the air")
assert first_step or sum(losses[-10:]) / 10 < losses[0] - 1
dist.destroy_process_group()
