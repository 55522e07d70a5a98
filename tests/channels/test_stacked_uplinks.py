"""Messages of several runs over one uplink are received as each alone, bit for bit, whatever their sizes."""

import pytest
import torch
from helpers.statistical import seeded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laser_wireless.channels import (
    AnalogUplink,
    FullPower,
    LeastNoiseAllocation,
    Lmmse,
    MseOptimal,
    OpenLoop,
    Rayleigh,
    Streams,
    TruncatedInversion,
)
from laser_wireless.channels.round import StackedStreams
from laser_wireless.channels.uplinks import medium
from laser_wireless.channels.uplinks.stacked import NotStackable, stack_uplinks

CONTROLS = {
    "truncated": TruncatedInversion(threshold=0.5),
    "full": FullPower(),
    "full, one sum": FullPower(scale="unit_sum"),
    "least error": MseOptimal(),
    "open loop": OpenLoop(),
}


def received(num_runs, num_devices, layout, dtype, **options):
    """Estimates of the runs together and alone, [R, S] each."""
    uplinks = [AnalogUplink(energy_budget=4.0 * 2**run, **options) for run in range(num_runs)]
    streams = tuple(Streams(run) for run in range(num_runs))
    u = torch.randn(num_runs, num_devices, sum(layout), dtype=dtype, generator=seeded(1))
    together = stack_uplinks(uplinks, num_devices).aggregate(u, layout, round=1, streams=StackedStreams(streams))
    alone = [
        uplink.aggregate(rows.clone(), layout, round=1, streams=its)
        for uplink, rows, its in zip(uplinks, u, streams, strict=True)
    ]
    for its, one in zip(together.ledger.of_runs(), alone, strict=True):
        accounts = [vars(ledger) for ledger in (its, one.ledger)]
        assert accounts[0].keys() == accounts[1].keys()
        for name, value in accounts[0].items():
            other = accounts[1][name]
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    assert torch.equal(together.noise_variance, torch.stack([one.noise_variance for one in alone]))
    delivered = [one.delivered_symbols(rows) for one, rows in zip(alone, u, strict=True)]
    assert torch.equal(together.delivered_symbols(u), torch.stack(delivered))
    return together.estimate, torch.stack([one.estimate for one in alone])


@settings(max_examples=80, deadline=None)
@given(
    num_runs=st.integers(2, 5),
    num_devices=st.integers(1, 33),
    layout=st.lists(st.integers(1, 40) | st.integers(1, 4000), min_size=1, max_size=5).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@example(num_runs=8, num_devices=16, layout=(1638, 25, 3276, 25, 256, 2), dtype=torch.float32)  # random-k of the digits
def test_several_runs_are_received_as_each_alone(num_runs, num_devices, layout, dtype):
    together, alone = received(num_runs, num_devices, layout, dtype)
    assert torch.equal(together, alone)


@settings(max_examples=100, deadline=None)
@given(
    num_runs=st.integers(2, 7),
    num_devices=st.sampled_from([8, 16, 24]),
    layout=st.lists(st.integers(1, 40), min_size=1, max_size=5).map(tuple),
    control=st.sampled_from(list(CONTROLS)),
    coherence=st.sampled_from(["round", "block", "symbol"]),
    is_shared_out=st.booleans(),
)
def test_over_fading_too_where_gains_fill_vectors(num_runs, num_devices, layout, control, coherence, is_shared_out):
    options = {"fading": Rayleigh(), "power_control": CONTROLS[control], "coherence": coherence}
    if is_shared_out:
        options["allocation"] = LeastNoiseAllocation()
    if coherence == "symbol":
        options["baseband"] = "real"
    together, alone = received(num_runs, num_devices, layout, torch.float32, **options)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("options", [{"num_devices": 2}, {"num_devices": 8, "num_rx_antennas": 2, "receiver": Lmmse()}])
def test_where_they_do_not_each_run_is_received_by_itself(options):
    with pytest.raises(NotStackable, match="not divisible by 8"):
        received(2, layout=(4, 20), dtype=torch.float32, fading=Rayleigh(), **options)


def test_a_last_digit_of_one_run_is_seen(monkeypatch):
    """The control: one run's symbols off by the last digit change what it receives, and no other."""

    def moved(values):
        for number, run in enumerate(values):
            yield run.nextafter(run + 1) if number == 1 else run

    monkeypatch.setattr(medium, "by_run", moved)
    together, alone = received(3, 4, (700, 33), torch.float32)
    assert [torch.equal(one, other) for one, other in zip(together, alone, strict=True)] == [True, False, True]


@pytest.mark.parametrize("layout", [(5222,), (7, 53)])
def test_runs_differ(layout):
    together, _ = received(2, 4, layout, torch.float32)
    assert not torch.equal(together[0], together[1])
