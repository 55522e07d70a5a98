"""Monte-Carlo over SNRs in one call: leading axes of the message broadcast through the whole uplink."""

import torch

from laser_wireless.channels import AnalogUplink, Streams, energy_from_snr, from_db

NUM_DEVICES, NUM_SYMBOLS, NUM_ROUNDS = 8, 256, 200
snr_db = torch.arange(-20, 21, 10)

messages = torch.randn(len(snr_db), NUM_ROUNDS, NUM_DEVICES, NUM_SYMBOLS, generator=torch.Generator().manual_seed(0))
budgets = torch.tensor([energy_from_snr(from_db(float(x)), NUM_SYMBOLS) for x in snr_db])

uplink = AnalogUplink(energy_budget=budgets.view(-1, 1, 1))  # [SNR, round, device]
reception = uplink.aggregate(messages, (NUM_SYMBOLS,), round=0, streams=Streams(0))

error = (reception.estimate - messages.mean(-2)).square().mean((1, 2))
for x, mse in zip(snr_db.tolist(), error.tolist(), strict=True):
    print(f"SNR {x:4d} dB: mean-square error per symbol {mse:.5f}")
