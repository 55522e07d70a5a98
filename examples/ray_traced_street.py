"""A street traced by Sionna RT: trace once into a small file, then simulate from the file in pure torch.

Needs the extra `rt`; without it the example says so and ends. Whoever is given the file needs neither Sionna nor LLVM.
"""

import tempfile
from pathlib import Path

import torch

from laser_wireless.channels import AnalogUplink, Multipath, Ofdm, RayTraced, Scene, Streams, TruncatedInversion

NUM_DEVICES, NUM_ANTENNAS = 8, 1
messages = torch.randn(NUM_DEVICES, 4000, generator=torch.Generator().manual_seed(1))


def main(file: str) -> None:
    street = RayTraced(file=file, scene=Scene(name="simple_street_canyon", num_rays=20_000), speed_m_s=1.5)
    traced = street.traced(NUM_DEVICES, NUM_ANTENNAS)
    print(f"{Path(file).stat().st_size} bytes hold up to {traced.a.shape[-1]} paths of {NUM_DEVICES} devices")
    print("link gain, dB", (10 * street.link_gain(NUM_DEVICES, NUM_ANTENNAS).log10()).round().int().tolist())
    uplink = AnalogUplink(
        energy_budget=1e6,
        fading=Multipath(paths=RayTraced(file=file, speed_m_s=1.5)),
        ofdm=Ofdm(num_subcarriers=240),
        power_control=TruncatedInversion(threshold=0.1),
    )
    state = None
    for round in range(3):
        reception = uplink.aggregate(messages, (4000,), round=round, streams=Streams(0), state=state)
        state = reception.state
        delivered = reception.delivered.mean().item()
        error = (reception.estimate - messages.mean(0)).square().mean() / messages.mean(0).square().mean()
        print(f"round {round}: {delivered:.0%} of the amplitude delivered, relative error {error.item():.3f}")


with tempfile.TemporaryDirectory() as folder:
    try:
        main(str(Path(folder) / "street.npz"))
    except ImportError as error:
        print(f"not run: {error}")
