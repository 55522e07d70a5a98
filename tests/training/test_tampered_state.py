"""A state that is not as it was written, or is another run's, is refused by name and changes nothing."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
from helpers.models import bridge_over, perceptron, train, weights
from torch import Tensor

from laser_wireless.channels import AnalogUplink, DelayedCsi, PilotCsi, PreviousScale, Rayleigh
from laser_wireless.channels.downlinks.analog import AnalogBroadcast
from laser_wireless.channels.downlinks.digital import DigitalBroadcast
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.compression import CountSketch, GaussianProjection, LowRank, RandomK, Sign, TopK, Uncompressed
from laser_wireless.training import load_checkpoint, save_checkpoint
from laser_wireless.training.seal import check_seal, seal

MARKOV = GaussMarkov(correlation=0.9)
EVERYTHING = {
    "uplink": AnalogUplink(
        energy_budget=100.0, fading=MARKOV, scale=PreviousScale(), csi=[PilotCsi(), DelayedCsi(rounds=2)], num_rx_antennas=1
    ),
    "downlink": AnalogBroadcast(energy_budget=300.0, fading=MARKOV),
}
RUNS = {
    "everything": EVERYTHING,
    "digital downlink": {"downlink": DigitalBroadcast(energy_budget=1e5, bits=3)},
    "plain": {},
    **{
        type(scheme).__name__: {"compressor": scheme, "uplink": AnalogUplink(energy_budget=100.0, scale=PreviousScale())}
        for scheme in (Uncompressed(), Sign(), RandomK(), CountSketch(), TopK(), GaussianProjection())
    },
}


def trained(name, rounds=3):
    bridge = bridge_over(perceptron(), **RUNS[name])
    optimizer = train(bridge, range(rounds))
    return bridge, optimizer


def leaves(value, path=()):
    """Paths of everything in nested dictionaries, lists and tuples."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, entry in inner:
        yield (*path, name)
        yield from leaves(entry, (*path, name))


def entry_at(state, path):
    for name in path:
        state = state[name]
    return state


def with_entry(state, path, change):
    """A copy of the state in which the container of `path` was changed by change(container, name)."""
    if len(path) > 1:
        inner = with_entry(state[path[0]], path[1:], change)
        return replaced(state, path[0], inner)
    return change(state, path[0])


def replaced(container, name, value):
    if isinstance(container, dict):
        return {**container, name: value}
    values = list(container)
    values[name] = value
    return type(container)(values)


def removed(container, name):
    if isinstance(container, dict):
        return {key: value for key, value in container.items() if key != name}
    return type(container)(value for place, value in enumerate(container) if place != name)


def corruptions(value):
    """Other values for an entry."""
    if isinstance(value, Tensor):
        first = (0,) * value.ndim
        for number in (math.nan, math.inf, -1.0) if value.is_floating_point() or value.is_complex() else (-1,):
            spoilt = value.clone()
            spoilt[first] = number
            yield spoilt
        nudged = value.clone()
        nudged[first] = nudged[first] + 1
        other = torch.complex128 if value.is_complex() else torch.float16
        yield from (nudged, value.unsqueeze(0), value[..., :-1], value.to(other), value.flatten().tolist(), None)
    elif isinstance(value, bool | str):
        yield from (f"{value} ", None, 3)
    elif isinstance(value, int):
        yield from (value + 1, -1, float(value), True, str(value), None)
    elif value is None:
        yield from (0, {}, torch.zeros(3))
    else:
        yield from (None, 3, [*value, 1] if isinstance(value, list | tuple) else {**value, "more": 1})


def assert_refused(bridge, state):
    """By name, and the bridge goes on as if nothing had been loaded."""
    with pytest.raises(ValueError, match="state") as error:
        bridge.load_state_dict(state)
    return str(error.value)


@pytest.mark.parametrize("name", RUNS)
def test_every_corrupted_entry_is_refused_and_nothing_is_changed(name):
    source, _ = trained(name)
    state = copy.deepcopy(source.state_dict())
    bridge, optimizer = trained(name, rounds=2)
    twin, twins_optimizer = trained(name, rounds=2)
    count = 0
    for path in leaves(state):
        if path[0] in ("seal", "parts") and len(path) > 1 and count % 7:
            count += 1
            continue  # one of seven is enough, they are all alike
        spoilt = [with_entry(state, path, lambda c, n, v=v: replaced(c, n, v)) for v in corruptions(entry_at(state, path))]
        spoilt.append(with_entry(state, path, removed))
        for bad in spoilt:
            message = assert_refused(bridge, bad)
            named = [str(path[0]), "another", "downlink"] if path[0] != "seal" else ["state entry", "seal"]
            assert any(name in message for name in named), (path, message)
            count += 1
    assert count > 50
    for one, its in ((bridge, optimizer), (twin, twins_optimizer)):
        train(one, range(2, 4), optimizer=its)
    assert torch.equal(bridge.memory, twin.memory)
    assert torch.equal(weights(bridge.model), weights(twin.model))


@pytest.mark.parametrize("name", RUNS)
def test_state_as_it_was_written_is_taken(name, tmp_path):
    """Negative control of the test above, through a file."""
    source, _ = trained(name)
    save_checkpoint(tmp_path / "run.pt", source.state_dict())
    bridge, _ = trained(name, rounds=0)
    bridge.load_state_dict(load_checkpoint(tmp_path / "run.pt"))
    assert bridge.round == 3
    assert torch.equal(bridge.memory, source.memory)
    assert seal(bridge.state_dict()) == seal(source.state_dict())


@pytest.mark.parametrize("round", [-1, 2, 4, True, 3.0, "3", None])
def test_another_round_is_refused(round):
    bridge, _ = trained("plain")
    assert "round" in assert_refused(bridge, {**bridge.state_dict(), "round": round})


def test_nan_in_the_memory_is_refused_though_it_was_written_so():
    bridge, _ = trained("plain")
    bridge.memory[1, 5] = math.nan
    assert "finite memory" in assert_refused(bridge, bridge.state_dict())


def test_state_that_training_went_on_to_change_is_refused():
    bridge, optimizer = trained("plain")
    state = bridge.state_dict()
    kept = copy.deepcopy(state)
    train(bridge, range(3, 4), optimizer=optimizer)
    assert "copy.deepcopy" in assert_refused(bridge, state)
    bridge.load_state_dict(kept)
    assert bridge.round == 3


@dataclass(frozen=True)
class Mine:
    """Fading of a user's own."""

    turn_rad: float = 0.0

    def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator):
        h = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
        return torch.exp(torch.tensor(1j * self.turn_rad)) * h


def flat(num_devices, num_rx_antennas, grid, *, round, generator):
    return torch.ones(1, 1, 1, 1)


def over(**options):
    return {"uplink": AnalogUplink(energy_budget=100.0, **options)}


OTHERS = {
    "scale": (over(scale=PreviousScale()), over(), r"another uplink's scale, PreviousScale\(backoff=1.0\), than .*Oracle"),
    "backoff": (over(scale=PreviousScale()), over(scale=PreviousScale(backoff=0.5)), "another uplink's scale"),
    "no scale": (over(), over(scale=PreviousScale()), "another uplink's scale, OracleScale"),
    "fading": (over(fading=MARKOV), over(fading=Jakes(doppler_hz=5.0, round_interval_s=0.1)), "GaussMarkov, than .* Jakes"),
    "fading without memory": (over(), over(fading=MARKOV), "another uplink's fading, NoFading, than this bridge's, GaussM"),
    "own fading": (over(fading=flat), over(fading=Mine()), "another uplink's fading, flat, than this bridge's, Mine"),
    "delay": (over(csi=DelayedCsi(rounds=2)), over(csi=DelayedCsi(rounds=3)), r"another uplink's csi, DelayedCsi\(rounds=2"),
    "side": (over(csi=DelayedCsi()), over(receiver_csi=DelayedCsi()), "another uplink's csi"),
    "rule": (
        {"compressor": LowRank(rank=2)},
        {"compressor": LowRank(rank=2, rule="both")},
        "another compressor, .*alternat",
    ),
    "error feedback": ({"compressor": TopK()}, {"compressor": TopK(error_feedback=False)}, "another compressor, TopK"),
    "downlink": (
        {"downlink": AnalogBroadcast(energy_budget=300.0)},
        {"downlink": DigitalBroadcast(energy_budget=300.0)},
        "another downlink, AnalogBroadcast, than this bridge's, DigitalBroadcast",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_state_of_other_parts_is_refused(name):
    theirs, mine, message = OTHERS[name]
    source, bridge = bridge_over(perceptron(), **theirs), bridge_over(perceptron(), **mine)
    train(source, range(2))
    with pytest.raises(ValueError, match=message):
        bridge.load_state_dict(copy.deepcopy(source.state_dict()))
    assert bridge.round == 0


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (over(fading=Mine()), over(fading=Mine(turn_rad=0.5))),
        (over(), {"uplink": AnalogUplink(energy_budget=5.0)}),
        (over(csi=lambda h, **known: None), over(csi=lambda h, **known: None)),
    ],
    ids=["fading's parameter", "another power", "functions of one name"],
)
def test_what_has_no_state_may_change_while_a_run_rests(theirs, mine):
    source, bridge = bridge_over(perceptron(), **theirs), bridge_over(perceptron(), **mine)
    bridge.load_state_dict(copy.deepcopy(source.state_dict()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64, torch.bool])
@pytest.mark.parametrize("size", [1, 5, (1 << 20) + 3])
def test_seal_finds_a_change_of_any_one_number_and_an_exchange_of_two(dtype, size, device):
    values = torch.arange(1, size + 1, device=device).remainder(251).to(dtype)
    texts = seal({"x": values})
    check_seal({"x": values.clone()}, texts)
    for place in {0, size // 2, size - 1}:
        changed = values.clone()
        changed[place] = 0 if values[place] else 1
        with pytest.raises(ValueError, match="state entry 'x' must be as it was written"):
            check_seal({"x": changed}, texts)
    if size > 1 and dtype != torch.bool:
        with pytest.raises(ValueError, match="'x'"):
            check_seal({"x": values.flip(0)}, texts)


def test_seal_is_the_same_on_every_device(device):
    values = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    assert seal({"x": values.to(device)}) == seal({"x": values})
    assert seal({"x": values.T}) != seal({"x": values})
