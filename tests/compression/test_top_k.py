"""Top-K: what is announced is what is sent next, errors included; nothing about the indices is free."""

import math

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import assert_mean

from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import TopK

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
SHAPES = ((4, 5), (1,), (9,))
SIZE = 30
SYMBOLS = 4 * (1 + 5) + 1 + 1 * (1 + 4)  # k (1 + ceil(log2 d)): 4 of 20, the single entry, 1 of 9


def test_symbols_and_bytes_count_the_indices():
    message = TopK(fraction=0.2).encode(random_gradients(3, size=SIZE), begin(TopK(fraction=0.2), SHAPES), round=0)
    assert message.symbols.shape == (3, SYMBOLS)
    assert message.layout == (4, 20, 1, 1, 4)
    assert message.num_bytes == (4 + 1 + 1) * 4 + (20 + 4) / 8


@pytest.mark.parametrize("round", [0, 1, 2, 3])
def test_the_leader_announces_its_largest_entries_among_those_not_sent_now(round):
    gradients, state = random_gradients(3, size=SIZE), begin(TopK(fraction=0.2), SHAPES)
    message = TopK(fraction=0.2).encode(gradients, state, round=round)
    _, after = TopK(fraction=0.2).decode(message.symbols.mean(0), state, round=round)
    leader = gradients[round % 3].abs().clone()
    leader[state.places] = 0
    assert set(after.places[:4].tolist()) == set(leader[:20].topk(4).indices.tolist())
    assert after.places[5].item() == 21 + leader[21:].argmax().item()


def test_only_the_leader_speaks_in_the_index_symbols():
    message = TopK(fraction=0.2).encode(random_gradients(3, size=SIZE), begin(TopK(fraction=0.2), SHAPES), round=1)
    bits = message.symbols[:, 4:24]
    assert bits[1].abs().eq(1).all()
    assert not bits[[0, 2]].any()


def test_first_round_sends_random_entries_of_the_seed():
    places = [begin(TopK(fraction=0.2), SHAPES, seed=seed).places for seed in (0, 0, 1)]
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])


def test_all_entries_without_noise_are_the_plain_mean(device):
    gradients = random_gradients(3, size=SIZE).to(device)
    run = Run(TopK(fraction=1.0), NOISELESS, SHAPES, device=device)
    for _ in range(3):
        step = run.step(gradients)
        torch.testing.assert_close(flat(step.decoded), gradients.mean(0), rtol=1e-12, atol=1e-12)
        assert not step.owed.any()


def test_feedback_sends_large_entries_first():
    """Noiseless, one gradient once: after enough rounds everything has arrived, the large entries before the small."""
    run, gradients = Run(TopK(fraction=0.2), NOISELESS, ((40,),), num_devices=1), random_gradients(1, size=40)
    total = torch.zeros(40, dtype=torch.float64)
    left = []
    for round in range(12):
        total += flat(run.step(gradients if round == 0 else torch.zeros_like(gradients)).decoded)
        left.append((gradients[0] - total).norm().item())
    largest = gradients[0].abs().sort(descending=True).values
    assert left[1] < largest[4:].norm()  # rounds 0 (random) and 1 (the largest 8 left) together
    assert left[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_bit_errors_have_the_probability_of_theory_and_the_round_goes_on():
    """A bit of the leader arrives as +-1 / K in noise tau: wrong with probability Q(1 / (K tau)) = Q(snr)."""
    size, wrong, rounds = 1024, [], 3000
    run = Run(TopK(fraction=16 / 1024), AnalogUplink(energy_budget=160.0 * 2), ((size,),), num_devices=2)
    gradients = random_gradients(2, size=size)
    for _ in range(rounds):
        run.memory = None  # the same gradients again
        before = run.state
        step = run.step(gradients)
        _, announced = TopK(fraction=16 / 1024).decode(step.message.symbols.mean(0), before, round=run.round - 1)
        different = announced.places ^ run.state.places
        wrong.append(((different.unsqueeze(1) >> torch.arange(10)) & 1).double().mean())
        assert run.state.places.max() < size
        assert flat(step.decoded).isfinite().all()
    # half the energy, 160, on 160 bits of amplitude 1, at one leader: amplitude 1 against noise of variance 1
    chance = 0.5 * math.erfc(1 / math.sqrt(2))
    assert_mean(torch.stack(wrong), mean=chance, variance=chance * (1 - chance) / 160)


def test_an_entry_announced_twice_is_averaged():
    compressor, gradients = TopK(fraction=0.5), random_gradients(2, size=6)
    state = begin(compressor, ((6,),))._replace(places=torch.tensor([2, 2, 5]))
    message = compressor.encode(gradients, state, round=0)
    decoded = flat(compressor.decode(message.symbols.mean(0), state, round=0)[0])
    expected = torch.zeros(6, dtype=torch.float64)
    expected[[2, 5]] = gradients.mean(0)[[2, 5]]
    torch.testing.assert_close(decoded, expected)


def test_nothing_received_keeps_the_places():
    state = begin(TopK(fraction=0.2), SHAPES)
    _, after = TopK(fraction=0.2).decode(torch.zeros(SYMBOLS, dtype=torch.float64), state, round=0)
    assert torch.equal(after.places, state.places)


@pytest.mark.parametrize("fraction", [0.0, 2.0, float("nan")])
def test_bad_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\]"):
        TopK(fraction=fraction)
