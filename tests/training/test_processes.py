"""Devices in several processes decode what devices in one process decode: every scheme, every family of uplinks."""

import pytest
import torch
from helpers.families import DOWNLINKS, uplink_families
from helpers.models import bridge_over, data, gradients, loss_of, perceptron
from helpers.processes import in_processes
from helpers.schemes import COMPRESSORS

from laser_wireless.compression import LowRank, Sign
from laser_wireless.training import ProcessAir

COUNTS = (1, 1, 2)  # devices of each process
NUM_DEVICES, NUM_ROUNDS = sum(COUNTS), 3  # rounds enough for each process to lead one of TopK
CASES = [
    *((compressor, family, "free") for compressor in (LowRank(rank=2), Sign()) for family in uplink_families()),
    *((compressor, "rayleigh blocks", "free") for compressor in COMPRESSORS),
    *((LowRank(rank=2), "memory, previous scale", downlink) for downlink in DOWNLINKS),
]


def rounds_of(case, air=None):
    """Gradients, energies and memory after each round, in float64."""
    compressor, family, downlink = case
    model = perceptron().double()
    options = {"compressor": compressor, "uplink": uplink_families()[family], "downlink": DOWNLINKS[downlink]}
    bridge = bridge_over(model, num_devices=NUM_DEVICES, air=air, **options)
    found = []
    for round in range(NUM_ROUNDS):
        x, y = (batch[bridge.devices.start : bridge.devices.stop] for batch in data(round, num_devices=NUM_DEVICES))
        bridge.backward(loss_of, x.double(), y)
        ledger = bridge.exchange()
        found.append((gradients(model), ledger.energy_spent.clone(), bridge.memory.clone()))
        torch.optim.SGD(model.parameters(), lr=0.01).step()
    bridge.check()
    return found


def all_rounds(rank):
    air = ProcessAir(COUNTS[rank])
    return [rounds_of(case, air) for case in CASES]


@pytest.fixture(scope="module")
def found():
    return in_processes(all_rounds, len(COUNTS))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_processes_decode_what_one_process_decodes(case, found):
    of_ranks = [per_rank[CASES.index(case)] for per_rank in found]
    for round, (gradient, energy, memory) in enumerate(rounds_of(case)):
        ranks = [of_rank[round] for of_rank in of_ranks]
        assert all(torch.equal(rank[0], ranks[0][0]) for rank in ranks)  # replicas stay replicas, to the bit
        torch.testing.assert_close(ranks[0][0], gradient, rtol=1e-6, atol=1e-8)  # float32 losses
        torch.testing.assert_close(ranks[0][1], energy, rtol=1e-6, atol=0)
        torch.testing.assert_close(torch.cat([rank[2] for rank in ranks]), memory, rtol=1e-6, atol=1e-8)
