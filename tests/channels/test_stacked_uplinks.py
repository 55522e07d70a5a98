"""Messages of several runs over one uplink are received as each alone, bit for bit, whatever their sizes."""

import pytest
import torch
from helpers.statistical import seeded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.channels.round import StackedStreams
from laser_wireless.channels.uplinks import medium
from laser_wireless.channels.uplinks.stacked import stack_uplinks


def received(num_runs, num_devices, layout, dtype):
    """Estimates of the runs together and alone, [R, S] each."""
    uplinks = [AnalogUplink(energy_budget=4.0 * 2**run) for run in range(num_runs)]
    streams = tuple(Streams(run) for run in range(num_runs))
    u = torch.randn(num_runs, num_devices, sum(layout), dtype=dtype, generator=seeded(1))
    together = stack_uplinks(uplinks).aggregate(u, layout, round=1, streams=StackedStreams(streams))
    alone = [
        uplink.aggregate(rows.clone(), layout, round=1, streams=its)
        for uplink, rows, its in zip(uplinks, u, streams, strict=True)
    ]
    assert torch.equal(together.ledger.energy_spent, torch.stack([one.ledger.energy_spent for one in alone]))
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
