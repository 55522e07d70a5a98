"""Learn how to split energy over blocks by backpropagation through the uplink, and meet the known optimum.

Blocks of equal norm but unequal length: the least total noise asks for shares proportional to the root of the length
(`LeastNoiseAllocation`), against equal shares by norm (`NormAllocation`).
"""

import torch

from laser_wireless.channels import AnalogUplink, LeastNoiseAllocation, Streams

LAYOUT = (4, 64, 1024)
messages = torch.cat([torch.ones(8, n) / n**0.5 for n in LAYOUT], dim=1)
weights = torch.zeros(len(LAYOUT), dtype=torch.float64, requires_grad=True)

uplink = AnalogUplink(energy_budget=100.0, allocation=lambda norms, sizes, air: weights.softmax(0).unsqueeze(0))
optimizer = torch.optim.Adam([weights], lr=0.05)
noise_energy = torch.tensor(torch.inf)
for step in range(400):
    plan = uplink.plan(messages, LAYOUT, round=step, streams=Streams(0))
    noise_energy = (plan.design.transceiver.scale.squeeze(-2).square() * torch.tensor(LAYOUT)).sum()
    optimizer.zero_grad()
    noise_energy.log().backward()
    optimizer.step()

rule = AnalogUplink(energy_budget=100.0, allocation=LeastNoiseAllocation())
best = rule.plan(messages, LAYOUT, round=0, streams=Streams(0))
optimum = (best.design.transceiver.scale.squeeze(-2).square() * torch.tensor(LAYOUT)).sum()
print("learned shares", [round(share, 3) for share in weights.softmax(0).tolist()])
print(f"noise energy {noise_energy.item():.5f}, optimum {optimum.item():.5f}")
assert noise_energy < 1.001 * optimum
