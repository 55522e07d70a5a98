"""Devices in several processes decode what devices in one process decode: every scheme, every family of uplinks."""

import pytest
import torch
from helpers.families import DOWNLINKS, uplink_families
from helpers.models import bridge_over, data, gradients, loss_of, perceptron
from helpers.processes import in_processes
from helpers.schemes import COMPRESSORS

from laser_wireless.channels import AnalogUplink, DigitalUplink, EnergyDifference, FskMajorityVote, LocalAir, Streams
from laser_wireless.compression import LowRank, Sign, Uncompressed
from laser_wireless.training import ProcessAir

COUNTS = (1, 1, 2)  # devices of each process
NUM_DEVICES, NUM_ROUNDS = sum(COUNTS), 3  # rounds enough for each process to lead one of TopK
CASES = [
    *((LowRank(rank=2), family, "free") for family in uplink_families()),
    *((compressor, "rayleigh blocks", "free") for compressor in COMPRESSORS[::2]),
    *((LowRank(rank=2), "memory, previous scale", downlink) for downlink in DOWNLINKS),
]
MORE = [
    *((Sign(), family, "free") for family in uplink_families()),
    *((compressor, "rayleigh blocks", "free") for compressor in COMPRESSORS[1::2]),
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


class Ranges:
    """An uplink of a user's own that says that it superposes: the middle between each symbol's extremes, and their mean."""

    superposes = True

    def __init__(self):
        self.rows = []

    def aggregate(self, symbols, layout, *, round, streams, air, state=None, share_as=None):
        self.rows.append(len(symbols))
        middle = (air.min(symbols, -2) + air.max(symbols, -2)).squeeze(-2) / 2
        everybody = AnalogUplink(energy_budget=1e9, noise_variance=0.0)
        return everybody.aggregate(symbols, layout, round=round, streams=streams, air=air)._replace(estimate=middle)


class Gathered(Ranges):
    """The same that says nothing of it: all messages are in this process."""

    superposes = False

    def aggregate(self, symbols, layout, **options):
        return super().aggregate(symbols, layout, **({"air": LocalAir()} | options))


HEAR_EACH = [DigitalUplink(energy_budget=1.0, num_channel_uses=100), EnergyDifference(energy_budget=1.0)]
HEAR_EACH += [FskMajorityVote(energy_budget=1.0)]


def decoded_over(uplink, air):
    bridge = bridge_over(perceptron(), num_devices=NUM_DEVICES, air=air, uplink=uplink, compressor=Uncompressed())
    x, y = (batch[bridge.devices.start : bridge.devices.stop] for batch in data(0, num_devices=NUM_DEVICES))
    bridge.backward(loss_of, x, y)
    bridge.exchange()
    return gradients(bridge.model), uplink.rows


def refusals(air):
    """What uplinks say that hear each device by itself."""
    said = []
    for uplink in HEAR_EACH:
        try:
            uplink.aggregate(torch.ones(len(air.devices), 4), (4,), round=0, streams=Streams(0), air=air)
        except TypeError as error:
            said.append(str(error))
    return said


def carried_to_the_first(air):
    """Rows of all devices in the first process, given back to each; a word of the first; a number of it."""
    own = torch.arange(12.0).view(NUM_DEVICES, 3)[air.devices.start : air.devices.stop]
    whole = air.collected(own)
    back = air.dealt(None if whole is None else -whole, like=own)
    return whole, bool(torch.equal(back, -own)), air.first_says(f"from {air.rank}"), air.first_decides(air.rank + 7)


def all_rounds(rank, cases):
    air = ProcessAir(COUNTS[rank])
    beside = carried_to_the_first(air), refusals(air), decoded_over(Ranges(), air), decoded_over(Gathered(), air)
    return [*(rounds_of(case, air) for case in cases), beside]


@pytest.fixture(scope="module")
def found():
    return in_processes(all_rounds, len(COUNTS), CASES)


@pytest.fixture(scope="module")
def more():
    return in_processes(all_rounds, len(COUNTS), MORE)


def name_of(case):
    return " ".join(map(str, case))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_processes_decode_what_one_process_decodes(case, found):
    assert_decoded(case, [per_rank[CASES.index(case)] for per_rank in found])


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE, ids=name_of)
def test_more_of_what_processes_decode(case, more):
    assert_decoded(case, [per_rank[MORE.index(case)] for per_rank in more])


def assert_decoded(case, of_ranks):
    """The processes' rounds are those of one process."""
    for round, (gradient, energy, memory) in enumerate(rounds_of(case)):
        ranks = [of_rank[round] for of_rank in of_ranks]
        assert all(torch.equal(rank[0], ranks[0][0]) for rank in ranks)  # replicas stay replicas, to the bit
        torch.testing.assert_close(ranks[0][0], gradient, rtol=1e-6, atol=1e-8)  # float32 losses
        torch.testing.assert_close(ranks[0][1], energy, rtol=1e-6, atol=0)
        torch.testing.assert_close(torch.cat([rank[2] for rank in ranks]), memory, rtol=1e-6, atol=1e-8)


def test_rows_come_to_the_first_process_and_back(found):
    for rank, (whole, is_back, word, number) in enumerate(per_rank[-1][0] for per_rank in found):
        assert (whole is None) == (rank > 0)
        assert whole is None or torch.equal(whole, torch.arange(12.0).view(NUM_DEVICES, 3))
        assert (is_back, word, number) == (True, "from 0", 7)


def test_an_uplink_that_hears_each_device_refuses_an_air_over_processes(found):
    for per_rank, count in zip(found, COUNTS, strict=True):
        said = per_rank[-1][1]
        assert len(said) == len(HEAR_EACH)
        wanted = (
            f"air must be a LocalAir, since this uplink hears each device by itself, got ProcessAir({count} of 4 devices)"
        )
        assert all(line.startswith(wanted) for line in said)


def test_an_uplink_of_ones_own_superposes_if_it_says_so_and_is_given_all_messages_else(found):
    expected, _ = decoded_over(Gathered(), None)
    for per_rank, count in zip(found, COUNTS, strict=True):
        (superposed, own_rows), (gathered, rows) = per_rank[-1][2:]
        assert (own_rows, rows) == ([count], [NUM_DEVICES])
        torch.testing.assert_close(superposed, expected, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(gathered, expected, rtol=1e-6, atol=1e-8)
