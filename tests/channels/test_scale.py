"""How devices learn the common amplitude: an oracle, or last round's values."""

import math

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import AnalogUplink, OracleScale, PreviousScale, Streams

LAYOUT = (4, 2)
OPTIONS = {"energy_budget": 3.0, "noise_variance": 0.0}


def run(uplink, messages):
    """Receptions of a run of rounds."""
    state, receptions = None, []
    for round, u in enumerate(messages):
        receptions.append(uplink.aggregate(u, LAYOUT, round=round, streams=Streams(0), state=state))
        state = receptions[-1].state
    return receptions


def message(seed=0, num_devices=3):
    return torch.randn(num_devices, 6, dtype=torch.float64, generator=seeded(seed))


def test_oracle_remembers_nothing():
    assert (
        AnalogUplink(**OPTIONS, scale=OracleScale()).aggregate(message(), LAYOUT, round=0, streams=Streams(0)).state is None
    )


def test_first_round_goes_by_the_oracle():
    oracle = AnalogUplink(**OPTIONS).aggregate(message(), LAYOUT, round=0, streams=Streams(0))
    first = AnalogUplink(**OPTIONS, scale=PreviousScale()).aggregate(message(), LAYOUT, round=0, streams=Streams(0))
    assert torch.equal(first.estimate, oracle.estimate)


def test_repeated_message_is_never_clipped():
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale()), [message()] * 3)
    for reception in receptions:
        torch.testing.assert_close(reception.estimate, message().mean(0))
        torch.testing.assert_close(reception.delivered, torch.ones(3, 2, dtype=torch.float64))


def test_message_that_grew_is_clipped_to_the_limit():
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale()), [message(), 2 * message()])
    reception = receptions[1]
    loudest = message().split(LAYOUT, 1)
    for block, delivered in zip(loudest, reception.delivered.T, strict=True):
        norms = block.norm(dim=1)
        expected = (norms.max() / (2 * norms)).clamp(max=1)  # amplitude for norm c_b, each device's need 2 ||u_kb||
        torch.testing.assert_close(delivered, expected)
    torch.testing.assert_close(reception.estimate, reception.delivered_symbols(2 * message()).mean(0))


def test_message_that_shrank_spends_less():
    ledgers = [r.ledger for r in run(AnalogUplink(**OPTIONS, scale=PreviousScale()), [message(), 0.5 * message()])]
    torch.testing.assert_close(ledgers[1].energy_spent, 0.25 * ledgers[0].energy_spent)


def test_backoff_leaves_room_to_grow():
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale(backoff=0.5)), [message(), 2 * message()])
    torch.testing.assert_close(receptions[1].delivered, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(receptions[1].estimate, 2 * message().mean(0))


def test_amplitude_follows_the_budget():
    uplink = AnalogUplink(energy_budget=lambda round: 1.0 + round, noise_variance=0.0, scale=PreviousScale())
    spent = [reception.ledger.energy_spent for reception in run(uplink, [message()] * 2)]
    torch.testing.assert_close(spent[1], 2 * spent[0])


def test_block_that_was_empty_is_silent_for_one_round():
    empty = message()
    empty[:, 4:] = 0
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale()), [empty, message(), message()])
    assert not receptions[1].estimate[4:].any()
    assert not receptions[1].delivered[:, 1].any()
    torch.testing.assert_close(receptions[2].delivered, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(receptions[2].estimate, message().mean(0))


def test_amplitude_follows_the_shares():
    """Energy moves from one block to the other: the round after, the amplitudes in use are those of the new shares."""
    moved = message() * torch.tensor([1.0] * 4 + [8.0] * 2, dtype=torch.float64)
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale()), [message(), moved, moved])
    assert (receptions[1].delivered < 0.99).any()
    torch.testing.assert_close(receptions[2].delivered, torch.ones(3, 2, dtype=torch.float64))


def test_round_without_budget_is_recovered_from():
    uplink = AnalogUplink(energy_budget=lambda round: float(round != 1), noise_variance=0.0, scale=PreviousScale())
    receptions = run(uplink, [message()] * 4)
    assert not receptions[1].estimate.any()
    torch.testing.assert_close(receptions[3].estimate, message().mean(0))


@pytest.mark.parametrize("void_round", [0, 1])
def test_void_round_leaves_no_trace_in_the_scale(void_round):
    messages = [message()] * 5
    messages[void_round] = message().index_fill(0, torch.tensor([2]), math.nan)
    receptions = run(AnalogUplink(**OPTIONS, scale=PreviousScale()), messages)
    assert not receptions[void_round].estimate.any()
    assert all(r.estimate.isfinite().all() and r.delivered.isfinite().all() for r in receptions)
    torch.testing.assert_close(receptions[4].estimate, message().mean(0))


@pytest.mark.parametrize("backoff", [0.0, -1.0, 1.1, math.nan])
def test_impossible_backoff_is_refused(backoff):
    with pytest.raises(ValueError, match="backoff"):
        PreviousScale(backoff=backoff)
