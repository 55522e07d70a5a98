"""The hook of DistributedDataParallel against the bridge in one process: whatever DDP does with buckets and passes."""

import re

import pytest
import torch
import torch.distributed.checkpoint as dcp
from helpers.models import NUM_CLASSES, NUM_FEATURES, bridge_over, build, data, loss_of, perceptron, weights
from helpers.processes import in_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    DigitalUplink,
    GaussMarkov,
    LeastNoiseAllocation,
    PreviousScale,
    Rayleigh,
    TruncatedInversion,
)
from laser_wireless.compression import LowRank, Sign, TopK
from laser_wireless.training import ProcessAir, UplinkHookState, UplinkState, uplink_hook

COUNTS = (2, 1)  # devices of each process, unless a case says otherwise
NUM_ROUNDS = 5
FADED = {"fading": GaussMarkov(correlation=0.9), "power_control": TruncatedInversion(), "scale": PreviousScale()}


class Branches(nn.Module):
    """A parameter that no loss needs, and one that only some batches need."""

    def __init__(self):
        super().__init__()
        self.body, self.unused, self.extra = (
            build(nn.Linear(NUM_FEATURES, 16), nn.Tanh(), nn.Linear(16, NUM_CLASSES)),
            nn.Parameter(torch.ones(3)),
            nn.Parameter(torch.ones(NUM_CLASSES)),
        )

    def forward(self, x):
        out = self.body(x)
        return out + self.extra if x[0, 0] > 0 else out


CASES = {
    "plain": {},
    "one number per bucket": {"ddp": {"bucket_cap_mb": 1e-6}},
    "static graph": {"ddp": {"static_graph": True}, "counts": (1, 1)},
    "views of buckets": {"ddp": {"gradient_as_bucket_view": True}},
    "unused parameters": {"model": Branches, "ddp": {"find_unused_parameters": True}},
    "micro-batches": {"micro": True},
    "clipped before": {"clip": "before"},
    "clipped after": {"clip": "after"},
    "all blocks by energy": {"uplink": AnalogUplink(energy_budget=30.0, allocation=LeastNoiseAllocation())},
    "memory": {"uplink": AnalogUplink(energy_budget=30.0, **FADED)},
    "digital": {"uplink": DigitalUplink(energy_budget=30.0, fading=Rayleigh(), num_channel_uses=2000)},
    "top-k": {"compressor": TopK(fraction=0.2)},
    "signs": {"compressor": Sign(momentum=0.9)},
    "downlink": {"downlink": AnalogBroadcast(energy_budget=1e4)},
}


def clip_in_backward(model):
    for p in model.parameters():
        p.register_hook(lambda g: g.clamp(-0.01, 0.01))


def parts_of(x, y, case):
    """The batch, or its micro-batches with the weight of each."""
    return [(x, y, 1.0)] if not case.get("micro") else [(x[:3], y[:3], 3 / 8), (x[3:], y[3:], 5 / 8)]


def step(model, case, optimizer):
    if case.get("clip") == "after":
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
    optimizer.step()


def leave_unused_alone(model, x):
    """DDP gives no gradient to a parameter that no device has used; the bridge gives it what the receiver decoded."""
    if isinstance(model, Branches):
        model.unused.grad = None
        if not (x[:, 0, 0] > 0).any():
            model.extra.grad = None


def counts_of(case):
    return case.get("counts", COUNTS)


def options_of(case):
    return {
        "compressor": case.get("compressor", LowRank(rank=2)),
        "uplink": case.get("uplink", AnalogUplink(energy_budget=30.0)),
        "downlink": case.get("downlink"),
    }


def in_one_process(case):
    model = case.get("model", perceptron)()
    if case.get("clip") == "before":
        clip_in_backward(model)
    num_devices = sum(counts_of(case))
    bridge = bridge_over(model, num_devices=num_devices, **options_of(case))
    optimizer, found = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), []
    for round in range(NUM_ROUNDS):
        x, y = data(round, num_devices=num_devices)
        for k in range(num_devices):
            with bridge.gradients_of(k):
                for inputs, targets, weight in parts_of(x[k], y[k], case):
                    (weight * loss_of(model, inputs, targets)).backward()
        ledger = bridge.exchange()
        leave_unused_alone(model, x)
        step(model, case, optimizer)
        found.append((weights(model), ledger.energy_spent.clone()))
    return found


def wrapped(model, case, rank, **more):
    ddp = DistributedDataParallel(model, **case.get("ddp", {}))
    state = UplinkHookState(ddp, num_local_devices=counts_of(case)[rank], **options_of(case), **more)
    ddp.register_comm_hook(state, uplink_hook)
    return ddp, state


def rounds_of(ddp, state, optimizer, case, rounds):
    found = []
    for round in rounds:
        x, y = data(round, num_devices=state.bridge.num_devices)
        optimizer.zero_grad()
        for k in state.devices:
            with state.gradients_of(k):
                *first, last = parts_of(x[k], y[k], case)
                for inputs, targets, weight in first:
                    with ddp.no_sync():
                        (weight * loss_of(ddp, inputs, targets)).backward()
                inputs, targets, weight = last
                (weight * loss_of(ddp, inputs, targets)).backward()
        step(ddp.module, case, optimizer)
        found.append((weights(ddp.module), state.ledger.energy_spent.clone()))
    return found


def over_ddp(rank):
    found = {}
    for name, case in CASES.items():
        model = case.get("model", perceptron)()
        if case.get("clip") == "before":
            clip_in_backward(model)
        ddp, state = wrapped(model, case, rank)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        found[name] = rounds_of(ddp, state, optimizer, case, range(NUM_ROUNDS))
        state.check()
    return found


@pytest.fixture(scope="module")
def found():
    return in_processes(over_ddp, len(COUNTS))


@pytest.mark.parametrize("name", CASES)
def test_ddp_trains_what_the_bridge_trains(name, found):
    ranks = [per_rank[name] for per_rank in found]
    for round, (expected, energy) in enumerate(in_one_process(CASES[name])):
        assert torch.equal(ranks[0][round][0], ranks[1][round][0])  # replicas stay replicas, to the bit
        torch.testing.assert_close(ranks[0][round][0], expected, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(ranks[0][round][1], energy, rtol=1e-3, atol=0)


def resumed(rank, counts, folder, stop):
    """Train to a round, save, and go on; or take up what was saved, and go on."""
    case = {"uplink": AnalogUplink(energy_budget=30.0, **FADED), "counts": counts}
    model = perceptron()
    ddp, state = wrapped(model, case, rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if stop:
        rounds_of(ddp, state, optimizer, case, range(stop))
    parts = {"model": model.state_dict(), "uplink": state}
    if stop:
        dcp.save(parts, checkpoint_id=folder)
        torch.save(optimizer.state_dict(), f"{folder}/optimizer{rank}.pt")
    else:
        dcp.load(parts, checkpoint_id=folder)
        model.load_state_dict(parts["model"])
        optimizer.load_state_dict(torch.load(f"{folder}/optimizer0.pt"))
    return rounds_of(ddp, state, optimizer, case, range(state.bridge.round, NUM_ROUNDS))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A folder with a checkpoint of round 3, and what came after it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    return folder, in_processes(resumed, 2, (2, 1), folder, 3)[0]


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (1, 1, 1), (3,)])
def test_a_checkpoint_is_taken_up_by_any_number_of_processes(counts, unbroken):
    folder, rounds = unbroken
    again = in_processes(resumed, len(counts), counts, folder, 0)
    for (expected, energy), *others in zip(rounds, *again, strict=True):
        for found, its_energy in others:
            if counts == (2, 1):
                assert torch.equal(found, expected)
                assert torch.equal(its_energy, energy)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def refused(rank, name):
    module = perceptron()
    model = DistributedDataParallel(module, static_graph=name == "static graph")
    options = options_of({})
    try:
        if name == "no DDP":
            UplinkHookState(module, **options)
        elif name == "static graph":
            UplinkHookState(model, num_local_devices=2, **options)
        elif name == "seeds":
            UplinkHookState(model, seed=rank, **options)
        elif name == "no devices":
            UplinkHookState(model, num_local_devices=0, **options)
        else:
            UplinkHookState(model, **options).load_state_dict({"num_devices": 7})
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


REFUSED = {
    "no DDP": "model must be a DistributedDataParallel, got Sequential; wrap it first",
    "static graph": "num_local_devices must be 1 with DDP's static_graph=True",
    "seeds": r"seed must be the same in every process, got \[0, 1\]",
    "no devices": "num_local_devices must be an integer >= 1, got 0",
    "other devices": "state is of 7 devices, this run has 2 in all processes together",
}


def all_refused(rank):
    return {name: refused(rank, name) for name in REFUSED}


@pytest.mark.slow
def test_what_cannot_be_is_refused():
    for found in in_processes(all_refused, 2):
        for name, message in REFUSED.items():
            assert re.match(message, found[name]), found[name]


def test_without_a_process_group_it_says_what_to_do():
    with pytest.raises(RuntimeError, match="there is no process group: call torch"):
        ProcessAir(1)


def test_the_name_as_in_torchs_own_hooks():
    assert UplinkState is UplinkHookState
