"""Devices that are computed some at a time give what all at once give; memory does not grow with their number."""

import copy
import subprocess
import sys

import pytest
import torch
from helpers.families import uplink_families
from helpers.models import NUM_FEATURES, bridge_over, build, data, gradients, loss_of, perceptron, weights
from helpers.schemes import COMPRESSORS
from torch import nn

from laser_wireless.channels import AnalogUplink, DigitalUplink, PreviousScale, Rayleigh, SampledDevices
from laser_wireless.compression import LowRank, Sign, Uncompressed
from laser_wireless.training import LocalSteps, RowsInFile, RowsInMemory, StreamedBridge
from laser_wireless.training.checkpoint import load_checkpoint, save_checkpoint

K, NUM_ROUNDS = 5, 3
LASER = LowRank(rank=2)
RAYLEIGH = uplink_families()["rayleigh blocks"]
SAMPLED = ("ofdm samples", "hardware")
SEGMENTED = [name for name, uplink in uplink_families().items() if isinstance(uplink, AnalogUplink) and name not in SAMPLED]


def keeps(compressor):
    return bool(compressor.error_feedback or compressor.momentum)


def streamed_over(model, *, compressor=LASER, uplink=RAYLEIGH, at_once=2, rows=None, **options):
    if rows is None and keeps(compressor):
        rows = RowsInMemory(dtype="float64")
    return StreamedBridge(model, num_devices=K, compressor=compressor, uplink=uplink, at_once=at_once, rows=rows, **options)


def batches_of(round, num_steps=1):
    """The batches of some devices in a local step."""

    def batches(devices, step):
        x, y = data(num_steps * round + step, num_devices=K)
        return x[devices.start : devices.stop].double(), y[devices.start : devices.stop]

    return batches


def rounds_of(bridge, rounds=range(NUM_ROUNDS), local=None):
    """Gradients and energies of some rounds."""
    local = local or LocalSteps()
    found = []
    for round in rounds:
        if isinstance(bridge, StreamedBridge):
            losses, ledger = bridge.exchange(loss_of, batches_of(round, local.longest), local, learning_rate=0.1)
        else:
            steps = [batches_of(round, local.longest)(range(K), step) for step in range(local.longest)]
            losses, ledger = bridge.local_updates(loss_of, steps, local, learning_rate=0.1), bridge.exchange()
        found.append((gradients(bridge.model), ledger.energy_spent.clone(), ledger.peak_power.clone(), losses))
        torch.optim.SGD(bridge.model.parameters(), lr=0.01).step()
    bridge.check()
    return found


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("compressor", "at_once"),
    [*((one, 2) for one in COMPRESSORS), *((LASER, n) for n in (1, 5)), (Uncompressed(), 5)],
    ids=str,
)
def test_every_scheme_gives_what_it_gives_at_once(compressor, at_once):
    whole = bridge_over(perceptron().double(), num_devices=K, compressor=compressor, uplink=RAYLEIGH)
    some = streamed_over(perceptron().double(), compressor=compressor, at_once=at_once)
    assert_same(rounds_of(some), rounds_of(whole))
    if keeps(compressor):
        torch.testing.assert_close(some.state_dict()["memory"], whole.memory, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", SEGMENTED)
def test_every_uplink_of_segments_gives_what_it_gives_at_once(family):
    uplink = uplink_families()[family]
    whole = bridge_over(perceptron().double(), num_devices=K, uplink=uplink)
    some = streamed_over(perceptron().double(), uplink=uplink)
    assert_same(rounds_of(some), rounds_of(whole))


def test_another_round_would_be_noticed():
    found = rounds_of(streamed_over(perceptron().double()), range(1, 4))
    with pytest.raises(AssertionError):
        assert_same(found, rounds_of(bridge_over(perceptron().double(), num_devices=K, uplink=RAYLEIGH)))


@pytest.mark.parametrize("compressor", [LowRank(rank=2), Uncompressed()], ids=str)
def test_local_steps_weights_and_sampling(compressor):
    uplink = AnalogUplink(energy_budget=50.0, fading=Rayleigh(), participation=SampledDevices(num_sampled=3))
    local = LocalSteps(num_steps=(1, 3, 2, 2, 1), proximal=0.1, normalised=True)
    options = {"compressor": compressor, "uplink": uplink, "weights": (1, 2, 3, 4, 5)}
    whole = bridge_over(perceptron().double(), num_devices=K, **options)
    some = streamed_over(perceptron().double(), **options)
    assert_same(rounds_of(some, local=local), rounds_of(whole, local=local))


def test_devices_one_by_one_where_the_model_cannot_be_batched():
    whole = bridge_over(perceptron().double(), num_devices=K, uplink=RAYLEIGH)
    some = streamed_over(perceptron().double())
    some._may_batch = False
    assert_same(rounds_of(some), rounds_of(whole))


def test_frozen_parameters_keep_their_rows():
    whole, some = bridge_over(perceptron().double(), num_devices=K, uplink=RAYLEIGH), streamed_over(perceptron().double())
    for bridge in (whole, some):
        rounds_of(bridge, range(1))
        bridge.model[0].weight.requires_grad_(False)
    before = some.state_dict()["memory"].clone()
    some.exchange(loss_of, batches_of(1))
    whole.backward(loss_of, *batches_of(1)(range(K), 0))
    whole.exchange()
    size = whole.model[0].weight.numel()
    after = some.state_dict()["memory"]
    assert torch.equal(after[:, :size], before[:, :size])
    torch.testing.assert_close(after, whole.memory, rtol=1e-5, atol=1e-7)
    assert some.model[0].weight.grad is None


@pytest.mark.parametrize("rows", [RowsInMemory(), RowsInFile(), RowsInFile(dtype="bfloat16")], ids=str)
def test_rows_take_what_they_are_made_for(rows, tmp_path):
    kept = rows(7, 33)
    assert not kept.whole().any()
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(7, 33, generator=generator)
    for devices in (range(4, 7), range(0, 4)):
        kept.write(devices, values[devices.start : devices.stop])
    expected = values.to(getattr(torch, rows.dtype)).float()
    out = torch.empty(3, 33)
    kept.read(range(2, 5), out)
    assert torch.equal(out, expected[2:5])
    assert torch.equal(kept.whole().float(), expected)


def test_rounded_rows_lose_what_they_say():
    """Of what is left, at most 2^-8 of every entry, and as much of what was encoded."""
    exact, rounded = (streamed_over(perceptron(), rows=RowsInFile(dtype=dtype)) for dtype in ("float32", "bfloat16"))
    for bridge in (exact, rounded):
        bridge.exchange(loss_of, lambda devices, step: _some(devices))
    found, wanted = rounded.state_dict()["memory"].float(), exact.state_dict()["memory"]
    assert (found - wanted).abs().max() <= 2.0**-7 * wanted.abs().max()
    assert not torch.equal(found, wanted)


def _some(devices):
    return tuple(batch[devices.start : devices.stop] for batch in data(0, num_devices=K))


@pytest.mark.parametrize("rows", [RowsInMemory(dtype="float64"), RowsInFile(dtype="float64"), RowsInFile(dtype="bfloat16")])
def test_resumed_from_a_file_it_goes_on_to_the_bit(rows, tmp_path):
    uplink = AnalogUplink(energy_budget=50.0, fading=Rayleigh(), scale=PreviousScale())
    whole, first, second = (streamed_over(perceptron().double(), uplink=uplink, rows=rows) for _ in range(3))
    expected = rounds_of(whole, range(6))
    rounds_of(first, range(3))
    save_checkpoint(tmp_path / "state.pt", {"bridge": first.state_dict(), "model": first.model.state_dict()})
    rounds_of(first, range(3, 5))  # goes on, so that its rows are others by now
    state = load_checkpoint(tmp_path / "state.pt")
    second.model.load_state_dict(state["model"])
    second.load_state_dict(state["bridge"])
    for ours, theirs in zip(rounds_of(second, range(3, 6)), expected[3:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(weights(second.model), weights(whole.model))


def test_state_of_another_run_is_refused_and_nothing_changes():
    bridge = streamed_over(perceptron().double())
    rounds_of(bridge, range(2))
    before = copy.deepcopy(bridge.state_dict())
    for other in (
        streamed_over(perceptron().double(), seed=1),
        streamed_over(perceptron().double(), compressor=Sign(error_feedback=True)),
    ):
        with pytest.raises(ValueError, match="state is of"):
            bridge.load_state_dict(other.state_dict())
    assert torch.equal(bridge.state_dict()["memory"], before["memory"])
    bridge.load_state_dict(before)


@pytest.mark.parametrize("family", SAMPLED)
def test_uplinks_that_hear_every_sample_are_refused(family):
    with pytest.raises(ValueError, match=r"messages in parts need gains that are constant over segments"):
        rounds_of(streamed_over(perceptron().double(), uplink=uplink_families()[family]))


def test_digital_uplinks_are_refused():
    with pytest.raises(TypeError, match="uplink"):
        streamed_over(perceptron(), uplink=DigitalUplink(energy_budget=10.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressor": LowRank(rank=1)}, r"rows must be given, such as RowsInFile\(\)"),
        ({"compressor": Sign(momentum=0.9)}, r"rows must be given, such as RowsInFile\(\)"),
        ({"compressor": Uncompressed(), "rows": RowsInMemory()}, "rows must be left out for a scheme that keeps no memory"),
        ({"compressor": Uncompressed(), "at_once": 0}, "at_once must be an integer >= 1, got 0"),
        ({"compressor": Uncompressed(), "num_devices": 0}, "num_devices must be an integer >= 1, got 0"),
        (
            {"compressor": Uncompressed(), "weights": (1.0,)},
            "weights must hold a finite number >= 0 for each of the 5",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StreamedBridge(perceptron(), **({"num_devices": K, "uplink": AnalogUplink(energy_budget=1.0)} | options))


def test_rows_without_room_are_refused(tmp_path):
    with pytest.raises(OSError, match=r"rows of 1000000000 devices take .* GiB free; name another folder"):
        RowsInFile(folder=str(tmp_path))(10**9, 10**6)
    with pytest.raises(OSError, match=r"folder of RowsInFile must be there and writable, got .*nowhere"):
        RowsInFile(folder=str(tmp_path / "nowhere"))(2, 2)


def test_messages_that_change_between_measuring_and_sending_are_refused():
    torch.manual_seed(0)
    model = build(nn.Linear(NUM_FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, 4))
    bridge = StreamedBridge(
        model, num_devices=K, compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=1.0), at_once=2
    )
    with pytest.raises(RuntimeError, match="must be the same when they are measured and when they are sent"):
        bridge.exchange(loss_of, lambda devices, step: _some(devices))
    assert bridge.round == 0
    model.eval()
    bridge.exchange(loss_of, lambda devices, step: _some(devices))


def test_error_amid_the_devices_is_said_until_a_sound_state_is_loaded():
    bridge = streamed_over(perceptron().double())
    rounds_of(bridge, range(1))
    sound = copy.deepcopy(bridge.state_dict())

    def failing(devices, step):
        if devices.start >= 4:
            raise KeyError("a batch without labels")
        return batches_of(1)(devices, step)

    with pytest.raises(KeyError):
        bridge.exchange(loss_of, failing)
    for attempt in (lambda: bridge.exchange(loss_of, batches_of(1)), bridge.state_dict):
        with pytest.raises(RuntimeError, match="round 1 was interrupted half-way"):
            attempt()
    bridge.load_state_dict(sound)
    whole = rounds_of(streamed_over(perceptron().double()), range(2))
    assert all(torch.equal(a, b) for a, b in zip(rounds_of(bridge, range(1, 2))[0][:1], whole[1][:1], strict=True))


def test_gradients_that_are_not_finite_leave_the_rows_as_they_were():
    bridge = streamed_over(perceptron().double())
    rounds_of(bridge, range(1))

    def broken(devices, step):
        x, y = batches_of(1)(devices, step)
        return (x * torch.nan if devices.start == 2 else x), y

    bridge.exchange(loss_of, broken)
    assert not gradients(bridge.model).any()
    with pytest.raises(FloatingPointError, match=r"devices \[2, 3\] were not finite in round 1"):
        bridge.check()


PEAK = """
import resource, sys, torch
from torch import nn
from laser_wireless.channels import AnalogUplink, Rayleigh, TruncatedInversion
from laser_wireless.compression import Uncompressed
from laser_wireless.training import StreamedBridge
K = int(sys.argv[1])
torch.set_num_threads(1)
uplink = AnalogUplink(energy_budget=1.0, fading=Rayleigh(), power_control=TruncatedInversion())
bridge = StreamedBridge(nn.Linear(500, 40), num_devices=K, compressor=Uncompressed(), uplink=uplink, at_once=32)
x = torch.randn(4, 500)
bridge.exchange(lambda model, x: model(x).square().mean(), lambda devices, step: [x.expand(len(devices), 4, 500)])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_devices():
    """20,000 devices, whose gradients would take 1.5 GiB, in at most 40 MiB more than 200."""
    peaks = [
        float(subprocess.run([sys.executable, "-c", PEAK, str(count)], capture_output=True, text=True, check=True).stdout)
        for count in (200, 20_000)
    ]
    assert peaks[1] < peaks[0] + 40
