"""Runs computed together are the runs alone: bit for bit here, each with its own streams, budget and state."""

import copy

import pytest
import torch
from torch import nn

from laser_wireless.channels import (
    AlignedInversion,
    AnalogUplink,
    DelayedCsi,
    FullPower,
    Jakes,
    LeastNoiseAllocation,
    LinearEnergy,
    Lmmse,
    MseOptimal,
    PreviousScale,
    Rapp,
    Rayleigh,
    TruncatedInversion,
)
from laser_wireless.channels.downlinks.analog import AnalogBroadcast
from laser_wireless.channels.uplinks.energy_difference import EnergyDifference
from laser_wireless.channels.uplinks.fsk import FskMajorityVote
from laser_wireless.channels.uplinks.stacked import NotStackable
from laser_wireless.compression import CountSketch, JacobiLowRank, LowRank, RandomK, Sign, Uncompressed
from laser_wireless.training import UplinkBridge
from laser_wireless.training.checkpoint import load_checkpoint, save_checkpoint
from laser_wireless.training.side_by_side import SideBySide

R, K, BATCH = 3, 4, 5
SCHEMES = {
    "z-sgd": Uncompressed(),
    "z-sgd with memory": Uncompressed(error_feedback=True),
    "alternating": LowRank(rank=2),
    "jacobi": JacobiLowRank(rank=2, step=0.5),
    "votes kept": Sign(error_feedback=True, feedback_strength=0.9),
    "both": LowRank(rank=2, rule="both"),
    "signs": Sign(),
    "signum": Sign(momentum=0.9),
    "scaled signs": Sign(rule="mean", error_feedback=True),
    "random-k": RandomK(fraction=0.3),
}
CHANNELS = {
    "awgn": {},
    "rayleigh": {"fading": Rayleigh(), "power_control": TruncatedInversion(threshold=0.3), "coherence": "block"},
    "symbols": {"fading": Rayleigh(), "coherence": "symbol", "baseband": "real"},
    "antennas": {"fading": Rayleigh(), "num_rx_antennas": 2, "receiver": Lmmse(), "power_control": MseOptimal()},
    "full power": {"fading": Rayleigh(), "power_control": FullPower(), "allocation": LeastNoiseAllocation()},
    "no noise": {"noise_variance": 0.0},
}


def small_model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 9), nn.Linear(9, 2))


def bridge_of(run, scheme="alternating", channel="awgn", **options):
    budget = options.pop("energy_budget", 10.0 * 4**run)
    uplink = options.pop("uplink", None) or AnalogUplink(energy_budget=budget, **CHANNELS[channel])
    compressor = options.pop("compressor", None) or SCHEMES[scheme]
    return UplinkBridge(small_model(run), num_devices=K, compressor=compressor, uplink=uplink, seed=run, **options)


def batch_of(run, round):
    generator = torch.Generator().manual_seed(100 * run + round)
    return torch.randn(K, BATCH, 1, 6, 6, generator=generator), torch.randint(2, (K, BATCH), generator=generator)


def loss(model, images, labels):
    return nn.functional.cross_entropy(model(images), labels)


def optimizer_of(bridge, run):
    return torch.optim.SGD(bridge.model.parameters(), lr=0.01 * 2**run, momentum=0.9)


def train_alone(run, num_rounds, bridge=None, optimizer=None, **options):
    bridge = bridge or bridge_of(run, **options)
    optimizer, ledgers = optimizer or optimizer_of(bridge, run), []
    for _ in range(num_rounds):
        losses = bridge.backward(loss, *batch_of(run, bridge.round))
        ledgers.append((losses, bridge.exchange()))
        optimizer.step()
    return bridge, ledgers


def train_together(num_rounds, **options):
    bridges = [bridge_of(run, **options) for run in range(R)]
    optimizers = [optimizer_of(bridge, run) for run, bridge in enumerate(bridges)]
    together, ledgers = SideBySide(bridges), []
    for round in range(num_rounds):
        losses = together.backward(loss, [batch_of(run, round) for run in range(R)])
        ledgers.append((losses, together.exchange()))
        for optimizer in optimizers:
            optimizer.step()
    together.part()
    return bridges, optimizers, ledgers


def everything(bridge):
    state = bridge.state_dict()
    return {"model": bridge.model.state_dict(), **{name: state[name] for name in ("round", "seed", "memory", "compressor")}}


def assert_same(found, wanted):
    """Equal bit for bit, nested values too."""
    if isinstance(found, torch.Tensor):
        assert torch.equal(found, wanted)
    elif isinstance(found, dict):
        assert found.keys() == wanted.keys()
        for name in found:
            assert_same(found[name], wanted[name])
    elif isinstance(found, list):
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_beside_others_is_the_run_alone(scheme, channel):
    bridges, _, ledgers = train_together(4, scheme=scheme, channel=channel)
    for run, bridge in enumerate(bridges):
        alone, its = train_alone(run, 4, scheme=scheme, channel=channel)
        assert_same(everything(bridge), everything(alone))
        assert bridge.round == alone.round == 4
        for (losses, of_runs), (its_losses, ledger) in zip(ledgers, its, strict=True):
            assert_same(losses[run], its_losses)
            assert of_runs[run].summary() == ledger.summary()


def test_runs_differ_from_one_another():
    """The control: another seed, budget or rate is another run, and no row is another run's."""
    bridges, _, ledgers = train_together(2)
    for one, other in ((0, 1), (1, 2)):
        assert not torch.equal(bridges[one].memory, bridges[other].memory)
        assert ledgers[1][1][one].energy_spent.mean() < ledgers[1][1][other].energy_spent.mean()


@pytest.mark.parametrize("scheme", ["alternating", "random-k", "signum"])
def test_a_run_goes_on_by_itself_and_from_what_was_saved(scheme, tmp_path):
    bridges, optimizers, _ = train_together(3, scheme=scheme)
    alone, _ = train_alone(1, 6, scheme=scheme)
    saved = {"bridge": bridges[1].state_dict(), "model": bridges[1].model.state_dict(), "sgd": optimizers[1].state_dict()}
    save_checkpoint(tmp_path / "one.pt", saved)
    assert (tmp_path / "one.pt").stat().st_size < 3 * bridges[1].memory.nbytes + 60_000  # one run of three, not all
    train_alone(1, 3, bridges[1], optimizers[1])
    assert_same(everything(bridges[1]), everything(alone))

    fresh = bridge_of(1, scheme=scheme)
    optimizer = optimizer_of(fresh, 1)
    loaded = load_checkpoint(tmp_path / "one.pt")
    fresh.load_state_dict(loaded["bridge"])
    fresh.model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["sgd"])
    train_alone(1, 3, fresh, optimizer)
    assert_same(everything(fresh), everything(alone))


def test_runs_that_leave_do_not_disturb_the_others():
    bridges, optimizers, _ = train_together(2)
    rest = SideBySide(bridges[1:])
    for round in (2, 3):
        rest.backward(loss, [batch_of(run, round) for run in (1, 2)])
        rest.exchange()
        for optimizer in optimizers[1:]:
            optimizer.step()
    rest.part()
    for run in (1, 2):
        assert_same(everything(bridges[run]), everything(train_alone(run, 4)[0]))


def test_a_run_that_is_not_finite_is_named_and_leaves_the_others_alone():
    bridges = [bridge_of(run) for run in range(R)]
    together = SideBySide(bridges)
    batches = [batch_of(run, 0) for run in range(R)]
    batches[1][0][2] = torch.nan
    together.backward(loss, batches)
    ledgers = together.exchange()
    together.part()
    with pytest.raises(FloatingPointError, match=r"devices \[2\] were not finite in round 0"):
        bridges[1].check()
    with pytest.raises(FloatingPointError, match="round 0"):
        ledgers[1].summary()
    for run in (0, 2):
        bridges[run].check()
        alone, _ = train_alone(run, 1)
        assert_same(bridges[run].memory, alone.memory)
        assert_same([p.grad for p in bridges[run].model.parameters()], [p.grad for p in alone.model.parameters()])


def test_budgets_that_change_over_the_rounds():
    def schedule(run):
        return LinearEnergy(energy_budget=30.0 * (run + 1), num_rounds=3)

    bridges = [bridge_of(run, energy_budget=schedule(run)) for run in range(R)]
    together = SideBySide(bridges)
    for round in range(3):
        together.backward(loss, [batch_of(run, round) for run in range(R)])
        for run, ledger in enumerate(together.exchange()):
            assert ledger.energy_allowed.unique().tolist() == [pytest.approx(schedule(run)(round))]


def own_power(h, norms, energy, noise_variance, *, agreement):
    return AlignedInversion()(h, norms, energy, noise_variance, agreement=agreement)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressor": CountSketch()}, "CountSketch encodes one run at a time"),
        ({"uplink": EnergyDifference(energy_budget=1.0)}, "EnergyDifference carries one run at a time"),
        ({"uplink": FskMajorityVote(energy_budget=1.0), "scheme": "signs"}, "FskMajorityVote carries one run at a time"),
        ({"downlink": AnalogBroadcast(energy_budget=9.0)}, "errors on the downlink"),
        ({"uplink": AnalogUplink(energy_budget=1.0, fading=Jakes(doppler_hz=5, round_interval_s=0.01))}, "remembers"),
        ({"uplink": AnalogUplink(energy_budget=1.0, csi=DelayedCsi(rounds=1))}, "knowledge of the gains"),
        ({"uplink": AnalogUplink(energy_budget=1.0, scale=PreviousScale())}, "scale that is remembered"),
        ({"uplink": AnalogUplink(energy_budget=1.0, impairments=[Rapp(saturation_db=6.0)])}, "impairments"),
        ({"uplink": AnalogUplink(energy_budget=1.0, link_gain=[1.0] * K)}, "link gains"),
        ({"uplink": AnalogUplink(energy_budget=1.0, power_control=own_power)}, "of one's own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_computed_together_says_why_and_changes_nothing(options, message):
    bridges = [bridge_of(run, **copy.copy(options)) for run in range(2)]
    before = [bridge.memory for bridge in bridges]
    with pytest.raises(NotStackable, match=message):
        SideBySide(bridges)
    assert all(bridge.memory is rows for bridge, rows in zip(bridges, before, strict=True))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: bridge_of(1, scheme="z-sgd"), "compressors differ"),
        (lambda: bridge_of(1, channel="no noise"), "uplinks differ in noise_variance"),
        (lambda: train_alone(1, 1)[0], "rounds differ"),
        (
            lambda: UplinkBridge(nn.Linear(3, 2), num_devices=K, compressor=LowRank(rank=2), uplink=bridge_of(0).uplink),
            "models",
        ),
        (
            lambda: UplinkBridge(small_model(1), num_devices=2, compressor=LowRank(rank=2), uplink=bridge_of(0).uplink),
            "numbers of devices differ",
        ),
    ],
)
def test_runs_that_differ_in_more_than_values_are_refused(other, message):
    with pytest.raises(NotStackable, match=message):
        SideBySide([bridge_of(0), other()])
