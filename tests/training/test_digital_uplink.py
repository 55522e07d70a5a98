"""Training over a digital uplink: schemes with and without error feedback, packets lost, and what stays in memory."""

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels.digital.quantisation import SparseQuantiser, StochasticQuantiser
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.uplinks.orthogonal_access import DigitalUplink
from laser_wireless.compression import LowRank, Sign, Uncompressed
from laser_wireless.training import UplinkBridge

SCHEMES = [
    (LowRank(rank=1), SparseQuantiser(per="message"), "all"),
    (LowRank(rank=1), SparseQuantiser(), "all"),
    (LowRank(rank=1, error_feedback=False), StochasticQuantiser(), "received"),
    (Uncompressed(), StochasticQuantiser(), "received"),
    (Uncompressed(error_feedback=True), SparseQuantiser(), "received"),
    (Sign(), SparseQuantiser(), "received"),
]


@pytest.mark.parametrize(("compressor", "quantiser", "mean_over"), SCHEMES, ids=str)
@pytest.mark.parametrize("rate", [None, 1.5])
def test_training_over_a_digital_uplink(rate, compressor, quantiser, mean_over):
    """Least squares with devices that disagree; at the fixed rate 37 % of the packets are lost."""
    target = torch.randn(3, 8, 5, generator=seeded(0))
    model = torch.nn.Linear(5, 8, bias=False)
    torch.nn.init.zeros_(model.weight)
    uplink = DigitalUplink(
        energy_budget=400.0,
        fading=Rayleigh(),
        quantiser=quantiser,
        fixed_rate=rate,
        mean_over=mean_over,
        num_channel_uses=150,
    )
    bridge = UplinkBridge(model, num_devices=3, compressor=compressor, uplink=uplink, seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)

    def distance():
        return (model.weight.detach() - target.mean(0)).square().sum().item()

    before = distance()
    for _ in range(60):
        for k in range(3):
            with bridge.gradients_of(k):
                (0.5 * (model.weight - target[k]).square().sum()).backward()
        bridge.exchange().check()
        optimizer.step()
    assert distance() < 0.4 * before


def test_memory_keeps_what_was_not_decoded():
    target = torch.randn(2, 6, 6, generator=seeded(0))
    model = torch.nn.Linear(6, 6, bias=False)
    torch.nn.init.zeros_(model.weight)
    uplink = DigitalUplink(energy_budget=[5e3, 0.0], quantiser=SparseQuantiser())
    compressor = Uncompressed(error_feedback=True)
    bridge = UplinkBridge(model, num_devices=2, compressor=compressor, uplink=uplink)
    asked = []
    for k in range(2):
        with bridge.gradients_of(k):
            (model.weight * target[k]).sum().backward()
        asked.append(bridge.memory[k].clone())
    bridge.exchange().check()
    decoded = model.weight.grad.flatten()  # of device 0 alone
    assert decoded.abs().max() > 0
    assert torch.equal(bridge.memory[1], asked[1])
    assert torch.allclose(bridge.memory[0] + decoded, asked[0], atol=1e-6)
