"""Z-SGD: the mean of the gradients plus the channel's noise, per parameter."""

import torch
from helpers.schemes import Run, flat, random_gradients
from helpers.statistical import assert_mean

from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import Uncompressed


def test_without_noise_it_is_the_mean_gradient(device):
    gradients = random_gradients(3).to(device)
    step = Run(Uncompressed(), AnalogUplink(energy_budget=1.0, noise_variance=0.0), device=device).step(gradients)
    torch.testing.assert_close(flat(step.decoded), gradients.mean(0), rtol=1e-12, atol=1e-12)


def test_message_is_the_gradient_itself():
    gradients = random_gradients(3)
    step = Run(Uncompressed(), AnalogUplink(energy_budget=1.0)).step(gradients)
    assert torch.equal(step.message.symbols, gradients)
    assert step.message.layout == (54, 5, 24, 1, 24)


def test_noise_of_a_block_is_its_largest_norm_over_the_root_of_its_energy():
    """tau_b = max_k ||g_kb|| / (K sqrt(P_b)), measured on one long block of two."""
    size = 40_000
    gradients = random_gradients(2, size=size + 10)
    step = Run(Uncompressed(), AnalogUplink(energy_budget=8.0), ((size,), (10,)), num_devices=2).step(gradients)
    norms = torch.stack([gradients[:, :size].norm(dim=1), gradients[:, size:].norm(dim=1)], dim=1)
    share = (norms / norms.sum(1, keepdim=True)).mean(0)[0]
    tau = (norms[:, 0].max() / (2 * (8.0 * share).sqrt())).item()
    noise = step.decoded[0] - gradients[:, :size].mean(0)
    assert_mean(noise / tau, mean=0, variance=1)
    assert_mean((noise / tau).square(), mean=1, variance=2)
