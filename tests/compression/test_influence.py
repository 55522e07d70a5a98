"""Channel influence factor E||g_hat - g||^2 / ||g||^2, measured against the theory of the LASER paper."""

import pytest
import torch
from helpers.schemes import begin
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import LowRank, Uncompressed

M, N = 16, 64
SHAPES = ((M, N),)
NUM_ROUNDS = 20_000


def low_rank_matrix(rank, seed=0):
    """Rank r with r equal singular values: the energy is spread evenly over the components."""
    left = torch.linalg.qr(torch.randn(M, rank, dtype=torch.float64, generator=seeded(seed)))[0]
    right = torch.linalg.qr(torch.randn(N, rank, dtype=torch.float64, generator=seeded(seed + 1)))[0]
    return left @ right.T


def warmed(compressor, matrix, num_devices):
    """Basis after two noiseless rounds on `matrix`: it spans the matrix's own sides, so that factors are lossless."""
    state = begin(compressor, SHAPES)
    for round in range(2):
        message = compressor.encode(matrix.flatten().expand(num_devices, -1).contiguous(), state, round=round)
        _, state = compressor.decode(message.symbols.mean(0), state, round=round)
    return state


def errors(compressor, rank, *, round, snr, num_devices=1, excess=1.0, num_rounds=NUM_ROUNDS):
    """Squared errors [R] over the squared norm, and the symbols that were sent."""
    matrix = low_rank_matrix(rank)
    state = warmed(compressor, matrix, num_devices)
    gradients = matrix.flatten().expand(num_devices, -1).contiguous()
    symbols, layout, share_as, _ = compressor.encode(gradients, state, round=round)
    uplink = AnalogUplink(energy_budget=snr * M * N, noise_variance=excess)
    batch = symbols.expand(num_rounds, *symbols.shape)
    estimates = uplink.aggregate(batch, layout, round=round, streams=Streams(0), share_as=share_as).estimate
    error = []
    for part in estimates.split(2000):
        error.append((decode_many(compressor, part, state, rank, round) - matrix).square().sum((1, 2)))
    return torch.cat(error) / matrix.square().sum()


def decode_many(compressor, estimates, state, rank, round):
    """The decoder's products, batched; `test_batched_decoder_is_the_decoder` compares."""
    if isinstance(compressor, Uncompressed):
        return estimates.view(-1, M, N)
    if compressor.rule == "both":
        left, right = estimates.split([rank * M, rank * N], dim=1)
        return left.view(-1, M, rank) @ right.view(-1, rank, N)
    if round % 2 == 0:
        return state.rows[0] @ estimates.view(-1, rank, N)
    return estimates.view(-1, M, rank) @ state.columns[0].T


@pytest.mark.parametrize("compressor", [Uncompressed(), LowRank(rank=3), LowRank(rank=3, rule="both")], ids=str)
@pytest.mark.parametrize("round", [0, 1])
def test_batched_decoder_is_the_decoder(compressor, round):
    state = warmed(compressor, low_rank_matrix(3), 1)
    symbols = compressor.encode(torch.randn(2, M * N, dtype=torch.float64, generator=seeded(0)), state, round=round).symbols
    for one in symbols:
        (decoded,), _ = compressor.decode(one, state, round=round)
        torch.testing.assert_close(decoded, decode_many(compressor, one[None], state, 3, round)[0])


@pytest.mark.parametrize("snr", [0.05, 2.0])
@pytest.mark.parametrize("num_devices", [1, 4])
def test_uncompressed_is_noise_over_signal(num_devices, snr):
    factor = 1 / (num_devices**2 * snr)
    found = errors(Uncompressed(), 4, round=0, snr=snr, num_devices=num_devices, num_rounds=2000)
    assert_mean(found, mean=factor, variance=2 * factor**2 / (M * N))  # chi-square with mn degrees of freedom


@pytest.mark.parametrize("num_devices", [1, 4])
@pytest.mark.parametrize("round", [0, 1])
@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_alternating_factor_is_a_share_of_the_uncompressed_one(rank, round, num_devices):
    """(r / m) / (K^2 SNR) when the column side is sent, (r / n) / (K^2 SNR) when the row side is."""
    snr = 0.05
    sent, other = (N, M) if round % 2 == 0 else (M, N)
    factor = rank / other / (num_devices**2 * snr)
    found = errors(LowRank(rank=rank), rank, round=round, snr=snr, num_devices=num_devices)
    assert_mean(found, mean=factor, variance=2 * factor**2 / (rank * sent))


def both_factor(rank, snr):
    return 2 * rank * (M + N) / (M * N * snr) + 4 * rank**2 / (M * N * snr**2)


def both_variance(rank, snr):
    """Var of ||E||^2 / ||g||^2, with E = P Z_q + Z_p W, W = Q^T + Z_q, entries of variance q; ||g||^2 = r.

    Given Z_q, ||E||^2 = ||Z_q||^2 + 2 <P Z_q, Z_p W> + ||Z_p W||^2 is a quadratic form in the Gaussian Z_p, of mean
    ||Z_q||^2 + m q tr G and variance 4 q ||Z_q W^T||^2 + 2 m q^2 tr G^2, G = W W^T. The moments of Z_q do the rest.
    """
    q = 2 * rank / (M * N * snr)  # both factors have squared norm r and energy P / 2
    wishart = q**2 * rank * N * (N + rank + 1)  # E tr (Z_q Z_q^T)^2
    within = 4 * q * (q * rank**2 + wishart) + 2 * M * q**2 * (rank + 2 * q * rank * (rank + 1) + 2 * rank * N * q + wishart)
    var_norm = 2 * rank * N * q**2
    between = var_norm * (1 + 2 * M * q) + (M * q) ** 2 * (4 * q * rank + var_norm)
    return (within + between) / rank**2


@pytest.mark.parametrize("snr", [0.05, 1.0])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 6])
def test_both_factors_have_a_quadratic_term(rank, snr):
    found = errors(LowRank(rank=rank, rule="both"), rank, round=0, snr=snr)
    assert_mean(found, mean=both_factor(rank, snr), variance=both_variance(rank, snr))


def test_published_value_of_both_factors():
    """16 x 64 at SNR 0.05 and rank 1: 4.69 against 20 uncompressed, bound 6.56."""
    assert both_factor(1, 0.05) == pytest.approx(4.69, abs=0.005)
    assert pytest.approx(6.56, abs=0.005) == 4 / (M * 0.05) * (1 + 1 / (N * 0.05))
    found = errors(LowRank(rank=1, rule="both"), 1, round=0, snr=0.05)
    assert_mean(found, mean=both_factor(1, 0.05), variance=both_variance(1, 0.05))


@pytest.mark.parametrize("compressor", [Uncompressed(), LowRank(rank=2), LowRank(rank=2, rule="both")], ids=str)
def test_channel_ten_percent_too_noisy_is_noticed(compressor):
    snr = 1.0
    factor, variance = {
        "raw": (1 / snr, 2 / snr**2 / (M * N)),
        "alternating": (2 / M / snr, 2 * (2 / M / snr) ** 2 / (2 * N)),
        "both": (both_factor(2, snr), both_variance(2, snr)),
    }[getattr(compressor, "rule", "raw")]
    found = errors(compressor, 2, round=0, snr=snr, excess=1.1)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(found, mean=factor, variance=variance)
