"""Closed forms: what schemes and channels do on average, against which simulations are checked."""

from laser_wireless.benchmarks.theory.block_noise import BlockNoise, block_noise
from laser_wireless.benchmarks.theory.influence import (
    both_factors,
    bound_of_the_paper,
    count_sketch,
    one_factor,
    random_k,
    uncompressed,
)
from laser_wireless.benchmarks.theory.inversion import inversion_mse, inversion_threshold, silence, survival
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.benchmarks.theory.power_control import expected_mse
from laser_wireless.benchmarks.theory.rates import (
    Problem,
    nonconvex_bound,
    nonconvex_rate,
    quasiconvex_bound,
    quasiconvex_rate,
)
from laser_wireless.benchmarks.theory.receivers import receiver_mse
from laser_wireless.benchmarks.theory.signs import sign_mean, sign_vote
from laser_wireless.benchmarks.theory.sparse import gaussian_projection, index_error, top_k

__all__ = [
    "BlockNoise",
    "Influence",
    "OneBlock",
    "Problem",
    "block_noise",
    "both_factors",
    "bound_of_the_paper",
    "count_sketch",
    "expected_mse",
    "gaussian_projection",
    "index_error",
    "inversion_mse",
    "inversion_threshold",
    "nonconvex_bound",
    "nonconvex_rate",
    "one_factor",
    "quasiconvex_bound",
    "quasiconvex_rate",
    "random_k",
    "receiver_mse",
    "sign_mean",
    "sign_vote",
    "silence",
    "survival",
    "top_k",
    "uncompressed",
]
