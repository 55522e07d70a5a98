"""Symbols per round of published models, counted from their shapes against the reference's table."""

import math

import pytest

from laser_wireless.benchmarks.speed.shapes import gpt2, mlp, resnet18
from laser_wireless.compression import LowRank


def counts(shapes, rank):
    """Real symbols when the column side is sent, when the row side is, and for both factors."""
    alternating, both = LowRank(rank=rank), LowRank(rank=rank, rule="both")
    return tuple(sum(scheme.layout(shapes, round)) for scheme, round in ((alternating, 0), (alternating, 1), (both, 0)))


@pytest.mark.parametrize(
    ("shapes", "num_parameters"),
    [
        (resnet18(10), 11_173_962),
        (resnet18(100), 11_220_132),
        (gpt2(), 123_980_544),
        (mlp(784, 10), 7_850),
    ],
    ids=["resnet18-10", "resnet18-100", "gpt2", "mnist"],
)
def test_models_have_their_published_size(shapes, num_parameters):
    assert sum(map(math.prod, shapes)) == num_parameters


@pytest.mark.parametrize(
    ("shapes", "rank", "expected"),
    [
        (resnet18(10), 4, (135_670, 28_850, 154_910)),
        (resnet18(10), 8, (261_730, 48_090, 300_210)),
        (resnet18(100), 4, (135_760, 29_300, 155_360)),
        (resnet18(100), 8, (261_820, 48_900, 301_020)),
        (gpt2(), 4, (283_392, 554_240, 818_432)),
        (gpt2(), 8, (547_584, 1_089_280, 1_617_664)),
        (mlp(784, 10), 4, (3_146, 50, 3_186)),
        (mlp(784, 10), 8, (6_282, 90, 6_362)),
    ],
)
def test_messages_have_their_published_length(shapes, rank, expected):
    assert counts(shapes, rank) == expected


def test_matrix_whose_factors_are_not_shorter_goes_raw():
    assert LowRank(rank=2).matrix_of((4, 4)) is None  # 2 (4 + 4) = 16 numbers
    assert LowRank(rank=2).matrix_of((4, 5)) == (4, 5, 2)
    assert LowRank(rank=99).matrix_of((64, 3, 3, 3)) is None
    assert LowRank(rank=16).matrix_of((10, 512)) is None


@pytest.mark.parametrize("shape", [(), (7,), (1, 9), (9, 1), (1, 1)])
def test_vectors_and_thin_matrices_go_raw(shape):
    assert LowRank(rank=1).matrix_of(shape) is None
