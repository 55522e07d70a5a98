"""Runs computed together are the runs alone: bit for bit here, each with its own streams, budget and state."""

from itertools import pairwise

import pytest
import torch
from helpers.uplinks import name_of
from hypothesis import given, settings
from hypothesis import strategies as st
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
    SampledDevices,
    TruncatedInversion,
    UnequalEnergy,
)
from laser_wireless.channels.downlinks.analog import AnalogBroadcast
from laser_wireless.channels.round import StackedStreams
from laser_wireless.channels.uplinks.energy_difference import EnergyDifference
from laser_wireless.channels.uplinks.fsk import FskMajorityVote
from laser_wireless.channels.uplinks.stacked import NotStackable
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    RandomK,
    Sign,
    SpectralPrecoding,
    TopK,
    Uncompressed,
)
from laser_wireless.training import UplinkBridge, side_by_side
from laser_wireless.training.batched import stacked_gradients
from laser_wireless.training.checkpoint import load_checkpoint, save_checkpoint
from laser_wireless.training.side_by_side import SideBySide

R, K, BATCH = 3, 8, 3
SCHEMES = {
    "z-sgd": Uncompressed(),
    "z-sgd with memory": Uncompressed(error_feedback=True),
    "alternating": LowRank(rank=2),
    "jacobi": JacobiLowRank(rank=2, step=0.5),
    "equal norms": SpectralPrecoding(),
    "spectral": SpectralPrecoding(precoding=0.5),
    "spectral in part": SpectralPrecoding(rank=3, momentum=0.0, precoding=0.5),
    "votes kept": Sign(error_feedback=True, feedback_strength=0.9),
    "both": LowRank(rank=2, rule="both"),
    "signs": Sign(),
    "signum": Sign(momentum=0.9),
    "scaled signs": Sign(rule="mean", error_feedback=True),
    "random-k": RandomK(fraction=0.3),
    "sketch": CountSketch(fraction=0.3),
    "sketch of five rows": CountSketch(fraction=0.9, rows=5, divide_by_count=True, error_feedback=True),
    "median": CountSketch(fraction=0.6, rows=3, read="median"),
    "top-k": TopK(fraction=0.2),
    "a-dsgd": GaussianProjection(fraction=0.3, iterations=4),
}
APART = ("a-dsgd",)  # whose exchange is run by run
CHANNELS = {
    "awgn": {},
    "rayleigh": {"fading": Rayleigh(), "power_control": TruncatedInversion(threshold=0.3), "coherence": "block"},
    "symbols": {"fading": Rayleigh(), "coherence": "symbol", "baseband": "real"},
    "antennas": {"fading": Rayleigh(), "num_rx_antennas": 2, "receiver": Lmmse(), "power_control": MseOptimal()},
    "full power": {"fading": Rayleigh(), "power_control": FullPower(), "allocation": LeastNoiseAllocation()},
    "no noise": {"noise_variance": 0.0},
}
ROUNDED = ("antennas",)  # channels whose products round by their place


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


def train_together(num_rounds, halves=None, **options):
    bridges = [bridge_of(run, **options) for run in range(R)]
    optimizers = [optimizer_of(bridge, run) for run, bridge in enumerate(bridges)]
    together, ledgers = SideBySide(bridges), []
    before = list(together.halves_together)
    for round in range(num_rounds):
        losses = together.backward(loss, [batch_of(run, round) for run in range(R)])
        ledgers.append((losses, together.exchange()))
        for optimizer in optimizers:
            optimizer.step()
    together.part()
    assert together.halves_together == (before if halves is None else halves)
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
    halves = ["gradients"] if scheme in APART or channel in ROUNDED else ["gradients", "exchange"]
    assert_each_is_the_run_alone(*train_together(4, halves, scheme=scheme, channel=channel), scheme=scheme, channel=channel)


def assert_each_is_the_run_alone(bridges, _, ledgers, **options):
    for run, bridge in enumerate(bridges):
        alone, its = train_alone(run, len(ledgers), **options)
        assert_same(everything(bridge), everything(alone))
        assert bridge.round == alone.round == len(ledgers)
        for (losses, of_runs), (its_losses, ledger) in zip(ledgers, its, strict=True):
            assert_same(losses[run], its_losses)
            assert of_runs[run].summary() == ledger.summary()


def test_runs_differ_from_one_another():
    """The control: another seed, budget or rate is another run, and no row is another run's."""
    bridges, _, ledgers = train_together(2)
    for one, other in ((0, 1), (1, 2)):
        assert not torch.equal(bridges[one].memory, bridges[other].memory)
        assert ledgers[1][1][one].energy_spent.mean() < ledgers[1][1][other].energy_spent.mean()


@pytest.mark.parametrize("scheme", ["alternating", "random-k", "signum", "sketch", "top-k"])
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


@pytest.mark.parametrize("scheme", ["alternating", "signum", "z-sgd"])
def test_weights_and_unequal_budgets_of_each_run(scheme):
    def options(run):
        budgets = UnequalEnergy(energy_budget=10.0, ratios=tuple(range(1, K + 1)))
        return {"scheme": scheme, "weights": [1.0 + run * k for k in range(K)], "energy_budget": budgets}

    bridges = [bridge_of(run, **options(run)) for run in range(R)]
    optimizers, together = [optimizer_of(bridge, run) for run, bridge in enumerate(bridges)], SideBySide(bridges)
    for round in range(3):
        together.backward(loss, [batch_of(run, round) for run in range(R)])
        together.exchange()
        for optimizer in optimizers:
            optimizer.step()
    together.part()
    assert together.halves_together == ["gradients", "exchange"]
    for run in range(R):
        assert_same(everything(bridges[run]), everything(train_alone(run, 3, **options(run))[0]))


def test_devices_that_are_asked_train_run_by_run():
    uplink = AnalogUplink(energy_budget=9.0, participation=SampledDevices(num_sampled=2))
    with pytest.raises(NotStackable, match="the base station asks some of the devices only"):
        SideBySide([bridge_of(run, uplink=uplink) for run in range(R)])


def own_power(h, norms, energy, noise_variance, *, agreement):
    return AlignedInversion()(h, norms, energy, noise_variance, agreement=agreement)


@pytest.mark.parametrize(
    "options",
    [
        {"uplink": EnergyDifference(energy_budget=9.0)},
        {"uplink": FskMajorityVote(energy_budget=9.0), "scheme": "signs"},
        {"uplink": AnalogUplink(energy_budget=9.0, fading=Jakes(doppler_hz=5, round_interval_s=0.01))},
        {"uplink": AnalogUplink(energy_budget=9.0, fading=Rayleigh(), csi=DelayedCsi(rounds=1))},
        {"uplink": AnalogUplink(energy_budget=9.0, scale=PreviousScale())},
        {"uplink": AnalogUplink(energy_budget=9.0, impairments=[Rapp(saturation_db=6.0)])},
        {"uplink": AnalogUplink(energy_budget=9.0, link_gain=[2.0**-k for k in range(K)])},
        {"uplink": AnalogUplink(energy_budget=9.0, power_control=own_power)},
    ],
    ids=lambda options: name_of(options["uplink"]),
)
def test_uplinks_that_take_one_run_exchange_run_by_run(options):
    assert_each_is_the_run_alone(*train_together(4, ["gradients"], **options), **options)


def test_uplinks_that_differ_in_more_than_their_budget_exchange_run_by_run():
    bridges = [bridge_of(0), bridge_of(1, channel="no noise")]
    together = SideBySide(bridges)
    assert together.halves_together == ["gradients"]
    for _ in range(2):
        together.backward(loss, [batch_of(run, together.round) for run in range(2)])
        together.exchange()
        for run, bridge in enumerate(bridges):
            optimizer_of(bridge, run).step()
    for bridge, channel in zip(bridges, ("awgn", "no noise"), strict=True):
        alone = bridge_of(bridge.streams.seed, channel=channel)
        for _ in range(2):
            alone.backward(loss, *batch_of(bridge.streams.seed, alone.round))
            alone.exchange()
            optimizer_of(alone, bridge.streams.seed).step()
        assert_same(everything(bridge), everything(alone))


def test_errors_on_the_downlink_leave_nothing_to_share_and_nothing_changes():
    bridges = [bridge_of(run, downlink=AnalogBroadcast(energy_budget=9.0)) for run in range(2)]
    before = [bridge.memory for bridge in bridges]
    with pytest.raises(NotStackable, match="errors on the downlink"):
        SideBySide(bridges)
    assert all(bridge.memory is rows for bridge, rows in zip(bridges, before, strict=True))


def rounded_gradients(monkeypatch, first_round):
    """The gradients of several runs are off by the last digit of one number, from a round on."""
    calls = []

    def fault(*arguments):
        gradients, losses = stacked_gradients(*arguments)
        calls.append(1)
        if len(calls) > first_round:
            number = gradients[0][0].view(-1)[:1]
            number.copy_(number.nextafter(number + 1))
        return gradients, losses

    monkeypatch.setattr(side_by_side, "stacked_gradients", fault)


def rounded_exchange(monkeypatch, what):
    """What several runs decode, keep or know after an exchange is off by the last digit of one number."""

    def fault(runs, compressor, round, out):
        reception, decoded, state = exchanged(runs, compressor, round, out)
        if isinstance(runs.streams, StackedStreams):
            number = {
                "gradients": decoded[0],
                "memory": runs.rows,
                "state": state.columns[0],
                "ledger": reception.ledger.energy_spent,
            }[what][1].view(-1)[:1]
            number.copy_(number.nextafter(number + 1))
        return reception, decoded, state

    exchanged = side_by_side._exchanged
    monkeypatch.setattr(side_by_side, "_exchanged", fault)


@pytest.mark.parametrize("first_round", [0, 1])
def test_gradients_that_round_otherwise_are_computed_run_by_run(first_round, monkeypatch):
    rounded_gradients(monkeypatch, first_round)
    assert_each_is_the_run_alone(*train_together(4, ["exchange"]))


@pytest.mark.parametrize("what", ["gradients", "memory", "state", "ledger"])
def test_an_exchange_that_rounds_otherwise_is_computed_run_by_run(what, monkeypatch):
    rounded_exchange(monkeypatch, what)
    bridges = train_together(4, ["gradients"])
    monkeypatch.undo()
    assert_each_is_the_run_alone(*bridges)


@pytest.mark.parametrize(("first_round", "part"), [(0, "exchange"), (1, "gradients")])
def test_where_both_round_otherwise_each_goes_on_by_itself(first_round, part, monkeypatch):
    rounded_gradients(monkeypatch, first_round)
    if part == "exchange":
        rounded_exchange(monkeypatch, "memory")
    bridges = [bridge_of(run, scheme="alternating" if part == "exchange" else "a-dsgd") for run in range(R)]
    together = SideBySide(bridges)

    def go():
        for _ in range(2):
            together.backward(loss, [batch_of(run, together.round) for run in range(R)])
            together.exchange()

    with pytest.raises(NotStackable, match="rounds the"):
        go()
    assert together.round == first_round
    assert all(bridge.gradient_memory.broken is None for bridge in bridges)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    scheme=st.sampled_from([name for name in SCHEMES if name not in APART]),
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=3),
    num_devices=st.integers(1, 5) | st.just(8),
    num_runs=st.integers(2, 4),
    channel=st.sampled_from(list(CHANNELS)),
)
def test_runs_of_any_size_are_those_alone(scheme, sizes, num_devices, num_runs, channel):
    """Lengths that fill no vector register, rows that begin anywhere in memory: together or not, nothing differs."""

    def bridges():
        uplinks = [AnalogUplink(energy_budget=10.0 * 4**run, **CHANNELS[channel]) for run in range(num_runs)]
        made = []
        for run, uplink in enumerate(uplinks):
            torch.manual_seed(run)
            model = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise([*sizes, 3])))
            made.append(UplinkBridge(model, num_devices=num_devices, compressor=SCHEMES[scheme], uplink=uplink, seed=run))
        return made

    ours, alone = bridges(), bridges()
    try:
        together = SideBySide(ours)
        for round in range(3):
            x = torch.randn(num_runs, num_devices, 2, sizes[0], generator=torch.Generator().manual_seed(round))
            for run, bridge in enumerate(alone):
                bridge.backward(squared, x[run])
                bridge.exchange()
            together.backward(squared, x.unsqueeze(1))
            together.exchange()
            step_all([*ours, *alone])
    except NotStackable:
        return  # neither half
    together.part()
    for run in range(num_runs):
        assert_same(everything(ours[run]), everything(alone[run]))


def squared(model, x):
    return model(x).square().mean()


@torch.no_grad()
def step_all(bridges):
    for bridge in bridges:
        for p in bridge.model.parameters():
            p.sub_(p.grad, alpha=0.01)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: bridge_of(1, scheme="z-sgd"), "compressors differ"),
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
