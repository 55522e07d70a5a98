"""A GPU computes what the CPU does: the same draws of the scheme, the same arithmetic to rounding; skipped without one."""

import pytest
import torch
from helpers.schemes import COMPRESSORS, Run, flat, random_gradients

from laser_wireless.channels import AnalogUplink, LeastNoiseAllocation
from laser_wireless.compression import CountSketch, RandomK

DRAWN_IN_PLACE = (CountSketch, RandomK)  # a CPU and a GPU draw other numbers from one seed
NOISELESS = AnalogUplink(energy_budget=10.0, noise_variance=0.0, allocation=LeastNoiseAllocation())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if not isinstance(c, DRAWN_IN_PLACE)], ids=str)
def test_decoded_gradients_agree(compressor):
    here, there = Run(compressor, NOISELESS), Run(compressor, NOISELESS, device="cuda")
    for round in range(3):
        gradients = random_gradients(3, seed=round)
        one, other = here.step(gradients), there.step(gradients.to("cuda"))
        torch.testing.assert_close(flat(other.decoded).cpu(), flat(one.decoded), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(
            other.reception.ledger.energy_spent.cpu(), one.reception.ledger.energy_spent, rtol=1e-9, atol=0
        )
