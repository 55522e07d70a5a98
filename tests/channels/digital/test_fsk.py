"""Majority vote by FSK: closed form under Rayleigh fading, energies, limits, and training without any channel knowledge."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.fading.correlated import GaussMarkov
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.fsk import FskMajorityVote
from laser_wireless.compression import Sign
from laser_wireless.training import UplinkBridge

ROUND = {"round": 0, "streams": Streams(5)}


def signs(*counts, size):
    """Messages [K, size] of `plus` devices that say 1 and `minus` that say -1."""
    plus, minus = counts
    return torch.cat([torch.ones(plus, size), -torch.ones(minus, size)])


def chance_of_plus(plus, minus, energy, noise_variance):
    return (plus * energy + 2 * noise_variance) / ((plus + minus) * energy + 4 * noise_variance)


@pytest.mark.parametrize(("plus", "minus"), [(1, 0), (3, 1), (2, 2), (1, 4), (0, 1)])
@pytest.mark.parametrize("noise_variance", [0.0, 0.5, 10.0])
def test_vote_under_rayleigh_fading_is_won_as_often_as_the_closed_form_says(plus, minus, noise_variance):
    size = 20_000
    uplink = FskMajorityVote(energy_budget=2.0 * size, noise_variance=noise_variance, fading=Rayleigh(), coherence="symbol")
    won = uplink.aggregate(signs(plus, minus, size=size), (size,), **ROUND).estimate
    assert set(won.unique().tolist()) <= {-1.0, 1.0}
    chance = chance_of_plus(plus, minus, 2.0, noise_variance)
    assert_mean((won == 1).double(), mean=chance, variance=chance * (1 - chance))


def test_vote_with_other_noise_is_noticed():
    size, chance = 20_000, chance_of_plus(3, 1, 2.0, 0.5)
    uplink = FskMajorityVote(energy_budget=2.0 * size, noise_variance=0.8, fading=Rayleigh(), coherence="symbol")
    won = uplink.aggregate(signs(3, 1, size=size), (size,), **ROUND).estimate
    with pytest.raises(AssertionError, match="expected"):
        assert_mean((won == 1).double(), mean=chance, variance=chance * (1 - chance))


def test_closed_form_holds_over_rounds_of_one_gain_each():
    """Each round is one gain per device: one entry per round is an independent sample."""
    rounds = 4_000
    uplink = FskMajorityVote(energy_budget=1.0, noise_variance=0.2, fading=Rayleigh())
    u = signs(2, 1, size=1).expand(rounds, 3, 1)
    gains = torch.randn(rounds, 3, 1, dtype=torch.complex64, generator=seeded(1))
    won = uplink.aggregate(u, (1,), **ROUND, gains=gains).estimate
    chance = chance_of_plus(2, 1, 1.0, 0.2)
    assert_mean((won == 1).double(), mean=chance, variance=chance * (1 - chance))


def test_two_devices_of_equal_strength_and_opposite_votes_win_alike_without_fading():
    size = 20_000
    won = FskMajorityVote(energy_budget=1.0 * size).aggregate(signs(1, 1, size=size), (size,), **ROUND).estimate
    assert_mean((won == 1).double(), mean=0.5, variance=0.25)


def test_phases_of_two_devices_are_independent():
    """|a + b|^2 of two unit waves is 2 + 2 cos(phase difference), arcsine-distributed; noise-free vote against 2 devices."""
    size = 20_000
    stronger = signs(2, 1, size=size)
    budget = [1.0 * size, 1.0 * size, 2.0 * size]  # energies 2 + 2 cos against 2: each wins half the time
    won = FskMajorityVote(energy_budget=budget, noise_variance=0.0).aggregate(stronger, (size,), **ROUND).estimate
    assert_mean((won == 1).double(), mean=0.5, variance=0.25)


def test_one_device_without_noise_is_heard():
    u = torch.tensor([[3.0, -0.1, 1e-30, -1e30, 0.0]])
    reception = FskMajorityVote(energy_budget=1.0, noise_variance=0.0).aggregate(u, (5,), **ROUND)
    assert reception.estimate.tolist() == [1, -1, 1, -1, 0]
    assert reception.ledger.outage.item() == pytest.approx(0.2)


def test_energy_uses_and_seconds():
    u = torch.tensor([[1.0, -2.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    uplink = FskMajorityVote(energy_budget=[8.0, 8.0, 0.0], bandwidth_hz=16.0)
    ledger = uplink.aggregate(u, (4,), **ROUND).ledger
    ledger.check()
    assert ledger.energy_spent.tolist() == [6.0, 0.0, 0.0]
    assert ledger.energy_allowed.tolist() == [8.0, 8.0, 0.0]
    assert ledger.num_channel_uses == 8
    assert ledger.seconds == 0.5
    assert ledger.peak_power.tolist() == [2.0, 0.0, 0.0]
    assert ledger.active_fraction.tolist() == [0.75, 0.0, 0.0]
    assert ledger.outage.item() == 0.25
    assert ledger.known_gains == ledger.side_information == 0


def test_device_without_energy_has_no_vote():
    u = signs(1, 3, size=200)
    uplink = FskMajorityVote(energy_budget=[1.0, 0.0, 0.0, 0.0], noise_variance=0.0)
    reception = uplink.aggregate(u, (200,), **ROUND)
    assert (reception.estimate == 1).all()
    assert torch.equal(reception.delivered_symbols(u), u * torch.tensor([[1.0], [0.0], [0.0], [0.0]]))


def test_small_entries_abstain():
    u = torch.tensor([[10.0, 0.1, -10.0, -0.1]])
    reception = FskMajorityVote(energy_budget=4.0, noise_variance=0.0, abstain_below=0.5).aggregate(u, (4,), **ROUND)
    assert reception.estimate.tolist() == [1, 0, -1, 0]
    assert reception.ledger.energy_spent.item() == 2.0


def test_weak_links_weigh_less():
    u = signs(1, 1, size=5_000)
    uplink = FskMajorityVote(
        energy_budget=5_000.0, noise_variance=0.0, link_gain=[4.0, 1.0], fading=Rayleigh(), coherence="symbol"
    )
    won = uplink.aggregate(u, (5_000,), **ROUND).estimate
    assert_mean((won == 1).double(), mean=0.8, variance=0.16)


def test_noise_decides_where_all_abstain():
    won = FskMajorityVote(energy_budget=1.0).aggregate(torch.zeros(2, 20_000), (20_000,), **ROUND).estimate
    assert_mean((won == 1).double(), mean=0.5, variance=0.25)


@settings(deadline=None, max_examples=40)
@given(
    budget=st.floats(1e-6, 1e12),
    noise_variance=st.floats(0, 1e3),
    size=st.integers(1, 50),
    abstain_below=st.floats(0, 3),
    coherence=st.sampled_from(["round", "symbol"]),
    zeros=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_no_option_spends_more_than_the_budget(budget, noise_variance, size, abstain_below, coherence, zeros, dtype):
    u = torch.randn(3, size, dtype=dtype, generator=seeded(size))
    u = u * (torch.rand(3, size, generator=seeded(1)) >= zeros)
    uplink = FskMajorityVote(
        energy_budget=[budget, budget / 7, 0.0],
        noise_variance=noise_variance,
        fading=Rayleigh(),
        coherence=coherence,
        abstain_below=abstain_below,
    )
    reception = uplink.aggregate(u, (size,), **ROUND)
    reception.ledger.check()
    share = reception.ledger.active_fraction
    assert torch.allclose(reception.ledger.energy_spent, share * reception.ledger.energy_allowed)
    assert (share <= (u != 0).double().mean(-1)).all()


def test_fading_continues_from_round_to_round():
    uplink = FskMajorityVote(energy_budget=1.0, fading=GaussMarkov(correlation=1.0))
    u = signs(2, 1, size=10)
    state = uplink.aggregate(u, (10,), **ROUND).state
    after = uplink.aggregate(u, (10,), round=1, streams=Streams(5), state=state).state
    assert all(torch.equal(after["fading"][name], held) for name, held in state["fading"].items())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_round_with_a_message_that_is_not_finite_is_void(bad):
    u = signs(2, 1, size=4)
    u[1, 2] = bad
    reception = FskMajorityVote(energy_budget=1.0).aggregate(u, (4,), **ROUND)
    assert (reception.estimate == 0).all()
    assert (reception.delivered == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
        reception.ledger.check()


def test_leading_axes_and_noise_along_them():
    u = signs(2, 1, size=6).expand(5, 3, 6)
    uplink = FskMajorityVote(energy_budget=1.0, noise_variance=torch.tensor([0.0, 0.1, 1.0, 2.0, 3.0]))
    reception = uplink.aggregate(u, (6,), **ROUND)
    assert reception.estimate.shape == (5, 6)
    assert reception.ledger.energy_spent.shape == (5, 3)


def test_rounds_repeat_and_leave_torch_alone():
    u, uplink = signs(2, 1, size=100), FskMajorityVote(energy_budget=1.0, fading=Rayleigh())
    before = torch.get_rng_state()
    first = uplink.aggregate(u, (100,), round=3, streams=Streams(1)).estimate
    assert torch.equal(first, uplink.aggregate(u, (100,), round=3, streams=Streams(1)).estimate)
    assert not torch.equal(first, uplink.aggregate(u, (100,), round=4, streams=Streams(1)).estimate)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("coherence", ["round", "symbol"])
def test_nothing_is_read_on_the_host(coherence):
    with FakeTensorMode():
        uplink = FskMajorityVote(energy_budget=1.0, fading=Rayleigh(), coherence=coherence, abstain_below=0.1)
        reception = uplink.aggregate(torch.randn(3, 10), (4, 6), **ROUND)
        assert reception.estimate.shape == (10,)
        assert reception.delivered_symbols(torch.randn(3, 10)).shape == (3, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"energy_budget": 0.0}, ValueError, "energy_budget"),
        ({"noise_variance": -1.0}, ValueError, "noise_variance"),
        ({"noise_variance": math.nan}, ValueError, "noise_variance"),
        ({"fading": 3}, TypeError, "fading must be a function"),
        ({"bandwidth_hz": 0.0}, ValueError, "bandwidth_hz"),
        ({"link_gain": [1.0, -1.0]}, ValueError, "link_gain must hold one finite power gain"),
        ({"abstain_below": -0.1}, ValueError, "abstain_below"),
        ({"abstain_below": math.nan}, ValueError, "abstain_below"),
        ({"coherence": "block"}, ValueError, "coherence"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        FskMajorityVote(**{"energy_budget": 1.0, **options})


@pytest.mark.parametrize(
    ("u", "layout", "options", "error", "message"),
    [
        (torch.ones(2, 4, dtype=torch.int64), (4,), {}, TypeError, "float32 or float64"),
        (torch.ones(4), (4,), {}, ValueError, "num_devices, num_symbols"),
        (torch.ones(2, 4), (3,), {}, ValueError, "layout"),
        (torch.ones(2, 4), (4,), {"energy_budget": [1.0, 1.0, 1.0]}, ValueError, "one for each of the 2 devices"),
        (
            torch.ones(2, 4),
            (4,),
            {"link_gain": [1.0, 1.0, 1.0]},
            ValueError,
            "link_gain must hold one real power gain for each of the 2",
        ),
    ],
)
def test_messages_that_do_not_fit_are_refused(u, layout, options, error, message):
    with pytest.raises(error, match=message):
        FskMajorityVote(**{"energy_budget": 1.0, **options}).aggregate(u, layout, **ROUND)


def test_gains_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"gains must be .* = \[\.\.\., 2, 1\]"):
        FskMajorityVote(energy_budget=1.0).aggregate(torch.ones(2, 4), (4,), **ROUND, gains=torch.ones(3, 1))


def test_training_by_votes_over_rayleigh_fading_without_channel_knowledge():
    model = torch.nn.Linear(6, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    target = torch.linspace(-1, 1, 6)
    uplink = FskMajorityVote(energy_budget=60.0, fading=Rayleigh())
    bridge = UplinkBridge(model, num_devices=7, compressor=Sign(), uplink=uplink, seed=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(30):
        for k in range(7):
            with bridge.gradients_of(k):
                (model.weight[0] - target).square().sum().backward()
        bridge.exchange().check()
        optimizer.step()
    assert (model.weight[0] - target).square().sum().item() < 0.1 * target.square().sum().item()
