"""Replay measured gains from a file: one array, its axes by name, one line to use it as the uplink's fading.

The file stands for a campaign: 12 devices, sampled at 200 Hz for 2.5 s. Rounds start every 20 ms, so it holds 125 of them.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from laser_wireless.channels import AnalogUplink, Streams, TruncatedInversion
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine
from laser_wireless.channels.propagation.traces import Trace

NUM_DEVICES, NUM_SYMBOLS, NUM_ROUNDS = 8, 256, 125

street = TappedDelayLine(profile="C", delay_spread_s=300e-9, doppler_hz=10.0, round_interval_s=2.5)
times = torch.arange(500, dtype=torch.float64) / 200
paths, _, _ = street.advance(12, 1, times, round=0, generator=torch.Generator().manual_seed(1), state=None)
with tempfile.TemporaryDirectory() as folder:
    file = str(Path(folder) / "campaign.npz")
    np.savez(file, h=1e-4 * paths.sum(2)[:, 0].numpy())  # [device, time], 80 dB of path loss
    places = list(range(NUM_DEVICES))  # of the 12 in the file
    trace = Trace(file=file, axes="device time", sample_rate_hz=200.0, round_interval_s=0.02, devices=places)

uplink = AnalogUplink(energy_budget=1000.0, fading=trace, power_control=TruncatedInversion(threshold=0.1))
messages = torch.randn(NUM_DEVICES, NUM_SYMBOLS, generator=torch.Generator().manual_seed(0))
errors = []
for round in range(NUM_ROUNDS):
    reception = uplink.aggregate(messages, (NUM_SYMBOLS,), round=round, streams=Streams(0))
    errors.append((reception.estimate - messages.mean(0)).square().mean())
mse = torch.stack(errors)
print(f"mean-square error per symbol over {NUM_ROUNDS} rounds: mean {mse.mean():.4f}, worst {mse.max():.4f}")
try:
    uplink.aggregate(messages, (NUM_SYMBOLS,), round=NUM_ROUNDS, streams=Streams(0))
except ValueError as error:
    print(str(error).replace(folder, "folder"))
