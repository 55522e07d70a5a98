"""Random streams: separate, repeatable, without collisions."""

import pytest
import torch

from laser_wireless.channels import Streams
from laser_wireless.channels.round import _mix


def draw(streams, stream, round, device="cpu"):
    return torch.randn(8, generator=streams.generator(stream, round, device), device=device).cpu()


def test_no_two_rounds_of_a_stream_share_a_seed():
    streams = Streams(1)
    seeds = {streams.generator("noise", round).initial_seed() for round in range(100_000)}
    assert len(seeds) == 100_000


def test_mixing_is_a_bijection_of_32_bits():
    """Each step (x ^ x >> 13 or 16, multiplication by an odd number) is invertible; here inverted step by step."""

    def unmix(value):
        value = value ^ (value >> 16)
        value = value * pow(0xC2B2AE35, -1, 1 << 32) & 0xFFFFFFFF
        value = value ^ (value >> 13) ^ (value >> 26)
        value = value * pow(0x85EBCA6B, -1, 1 << 32) & 0xFFFFFFFF
        return value ^ (value >> 16)

    assert all(unmix(_mix(value)) == value for value in [0, 1, 2, 0xFFFFFFFF, *range(12345, 1 << 32, 10_000_019)])


def test_streams_rounds_and_seeds_differ(device):
    draws = [
        draw(Streams(seed), stream, round, device)
        for seed in (0, 1)
        for stream in ("noise", "gains", "data")
        for round in (0, 1, 2)
    ]
    for index, one in enumerate(draws):
        assert not any((one == other).any() for other in draws[index + 1 :])


def test_order_of_requests_does_not_matter(device):
    streams = Streams(7)
    noise, gains = draw(streams, "noise", 3, device), draw(streams, "gains", 3, device)
    again = Streams(7)
    assert torch.equal(draw(again, "gains", 3, device), gains)
    assert torch.equal(draw(again, "noise", 3, device), noise)


def test_global_generator_is_left_alone(global_rng_untouched):
    draw(Streams(0), "noise", 0)


def test_seed_fills_all_32_bits():
    """Rounds 0, 1, ... must not give neighbouring or small seeds: each bit is set in about half of them."""
    streams = Streams(0)
    seeds = torch.tensor([streams.generator("noise", round).initial_seed() for round in range(4096)])
    ones = torch.stack([(seeds >> bit & 1).double().mean() for bit in range(32)])
    assert ((ones - 0.5).abs() <= 5.5 * 0.5 / 64).all()  # 5.5 standard deviations, false alarm 32 * 4e-8


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer >= 0"):
        Streams(seed)
