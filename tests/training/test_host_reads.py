"""No round of any scheme over any family of uplinks waits for the host: proved without a GPU, and watched on one."""

import warnings

import pytest
import torch
from helpers.families import DOWNLINKS, uplink_families
from helpers.models import NUM_CLASSES, NUM_FEATURES, bridge_over, data, loss_of, perceptron, weights
from helpers.schemes import COMPRESSORS
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from laser_wireless.compression import LowRank, Sign
from laser_wireless.training import UplinkBridge

DRAWN_ON_THE_HOST = [compressor for compressor in COMPRESSORS if getattr(compressor, "redraw", False)]
CASES = [
    *((compressor, family, "free") for compressor in (Sign(), LowRank(rank=2)) for family in uplink_families()),
    *((compressor, "awgn", "free") for compressor in COMPRESSORS),
    *((LowRank(rank=2), "memory, previous scale", downlink) for downlink in DOWNLINKS),
]
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def rounds(bridge: UplinkBridge, batches) -> None:
    for x, y in batches:
        bridge.backward(loss_of, x, y)
        bridge.exchange()


class NothingFromTheHost(TorchDispatchMode):
    """Refuses tensors made of numbers of the host, which a GPU would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "lift_fresh" not in str(func), "a tensor was made of numbers of the host"
        return func(*args, **(kwargs or {}))


def bridge_of(model, compressor, family, downlink) -> UplinkBridge:
    options = {"compressor": compressor, "uplink": uplink_families()[family], "downlink": DOWNLINKS[downlink]}
    return bridge_over(model, **options)


def name_of(case) -> str:
    return " ".join(map(str, case))


@pytest.mark.parametrize("case", CASES[len(uplink_families()) :], ids=name_of)  # factors over every family will do
def test_nothing_is_read_on_the_host(case):
    with FakeTensorMode():
        model = nn.Sequential(nn.Linear(NUM_FEATURES, 16), nn.Tanh(), nn.Linear(16, NUM_CLASSES))
        batch = torch.randn(3, 8, NUM_FEATURES), torch.zeros(3, 8, dtype=torch.int64)
        rounds(bridge_of(model, *case), [batch] * 2)


@pytest.mark.parametrize("case", [case for case in CASES if case[0] not in DRAWN_ON_THE_HOST], ids=name_of)
def test_no_round_makes_tensors_of_numbers_of_the_host(case):
    bridge = bridge_of(perceptron(), *case)
    rounds(bridge, [data(round) for round in range(2)])
    with NothingFromTheHost():
        rounds(bridge, [data(round) for round in range(2, 4)])


def test_a_number_of_the_host_would_be_noticed():
    with pytest.raises(AssertionError, match="numbers of the host"), NothingFromTheHost():
        torch.tensor([1.0, 2.0])


def rounds_on_a_gpu(compressor, family, downlink) -> None:
    bridge = bridge_of(perceptron().to("cuda"), compressor, family, downlink)
    batches = [tuple(batch.to("cuda") for batch in data(round)) for round in range(4)]
    rounds(bridge, batches[:2])
    torch.cuda.set_sync_debug_mode("error")
    try:
        rounds(bridge, batches[2:])
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")
    bridge.check()
    assert weights(bridge.model).isfinite().all()


@pytest.mark.parametrize("downlink", DOWNLINKS)
@pytest.mark.parametrize("family", [family for family in uplink_families() if family != "antennas"])
@on_a_gpu
def test_nothing_waits_for_the_gpu(family, downlink):
    for compressor in COMPRESSORS:
        if compressor not in DRAWN_ON_THE_HOST:
            rounds_on_a_gpu(compressor, family, downlink)


@on_a_gpu
def test_the_two_that_wait_are_noticed():
    """The combiner of least error, since torch checks on the host that an eigendecomposition succeeded; redrawn matrices."""
    with pytest.raises(RuntimeError, match="synchronizing"):
        rounds_on_a_gpu(LowRank(rank=2), "antennas", "free")
    with pytest.raises(RuntimeError, match="synchronizing"):
        rounds_on_a_gpu(DRAWN_ON_THE_HOST[0], "awgn", "free")
