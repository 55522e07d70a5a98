"""A 3GPP street-canyon cell: 16 devices, a base station of 4 antennas, near devices louder than far ones.

The topology is drawn in the first round and stays; small-scale fading is drawn afresh in each round. Slow power control,
which removes path loss and shadowing (normalise="device"), is compared with a cell without it (normalise="mean").
"""

import torch

from laser_wireless.channels import AnalogUplink, FullPower, Lmmse, Multipath, Ofdm, SionnaCell, Streams

NUM_DEVICES, NUM_ROUNDS = 16, 5
messages = torch.randn(NUM_DEVICES, 6000, generator=torch.Generator().manual_seed(1))
mean = messages.mean(0)


def run(cell: SionnaCell, energy_budget: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the mean over the rounds of |estimate - mean|^2 / |mean|^2, and the topology."""
    uplink = AnalogUplink(
        energy_budget=energy_budget,
        fading=Multipath(paths=cell),
        ofdm=Ofdm(num_subcarriers=240),
        num_rx_antennas=4,
        power_control=FullPower(),
        receiver=Lmmse(),
    )
    state, error = None, 0.0
    for round in range(NUM_ROUNDS):
        reception = uplink.aggregate(messages, (6000,), round=round, streams=Streams(0), state=state)
        state = reception.state
        error += ((reception.estimate - mean).square().sum() / mean.square().sum()).item() / NUM_ROUNDS
    return error, (state or {})["fading"]


def main() -> None:
    cells = [SionnaCell(scenario="umi", normalise=normalise) for normalise in ("device", "mean")]
    topology = run(cells[0], 1.0)[1]  # the same for every cell, as the seed is
    print("distance in m", topology["positions"][:, :2].norm(dim=-1).round().int().tolist())
    print("indoors      ", topology["indoor"].int().tolist())
    print("link gain, dB", (10 * cells[0].link_gain(topology).log10()).round().int().tolist())
    for energy_budget in (1e3, 1e4, 1e5):
        errors = [run(cell, energy_budget)[0] for cell in cells]
        print(f"energy {energy_budget:.0e}: error with slow power control {errors[0]:.3f}, without {errors[1]:.3f}")
    assert errors[0] < errors[1]


try:
    main()
except ImportError as error:
    print(f"not run: {error}")
