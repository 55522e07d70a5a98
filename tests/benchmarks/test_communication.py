"""Symbols and bytes of a message: counted from the compressor, equal to the closed form, and as published."""

import math
from functools import cache

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.calculations.communication import (
    claimed_symbols,
    communication_table,
    count,
    published_schemes,
)
from laser_wireless.benchmarks.calculations.model_shapes import MODELS, model_shapes, shapes_of
from laser_wireless.benchmarks.calculations.weightless import weightless
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    Message,
    RandomK,
    Sign,
    SpectralPrecoding,
    TopK,
    Uncompressed,
)

SCHEMES = [
    Uncompressed(),
    LowRank(rank=4),
    LowRank(rank=8),
    LowRank(rank=4, rule="both"),
    LowRank(rank=40, rule="both"),
    JacobiLowRank(rank=4),
    JacobiLowRank(rank=40),
    Sign(),
    SpectralPrecoding(),
    RandomK(fraction=0.2),
    RandomK(fraction=0.29),
    CountSketch(fraction=0.2),
    CountSketch(fraction=0.2, rows=3),
    TopK(fraction=0.01),
    GaussianProjection(fraction=0.1),
    GaussianProjection(fraction=0.1, mean_removal=False, projection="hadamard"),
]


class Quantised(Uncompressed):
    """A user's scheme: two bits an entry, and no closed form."""

    def encode(self, gradients, state, *, round):
        message = super().encode(gradients, state, round=round)
        return Message(message.symbols, message.layout, None, (2,) * len(message.layout))


class Miscounted(Uncompressed):
    def encode(self, gradients, state, *, round):
        return Message(gradients, (1,))


@cache
def counted(compressor, model):
    """Real symbols of an even and of an odd round."""
    lengths = count(compressor, MODELS[model])
    assert all(length.num_bytes == 4 * length.num_symbols for length in lengths) or isinstance(compressor, Sign | TopK)
    return tuple(length.num_symbols for length in lengths)


@pytest.mark.parametrize("model", ["gpt2", "resnet18", "mnist"])
@pytest.mark.parametrize("compressor", SCHEMES, ids=str)
def test_closed_form_is_what_the_compressor_sends(compressor, model):
    assert counted(compressor, model) == tuple(claimed_symbols(compressor, MODELS[model], round) for round in (0, 1))


@pytest.mark.parametrize(
    ("model", "rank", "expected"),
    [
        ("resnet18", 4, (135_670, 28_850, 154_910)),
        ("resnet18", 8, (261_730, 48_090, 300_210)),
        ("resnet18-100", 4, (135_760, 29_300, 155_360)),
        ("gpt2", 4, (283_392, 554_240, 818_432)),
        ("mnist", 4, (3_146, 50, 3_186)),
    ],
)
def test_counts_of_the_reference(model, rank, expected):
    one, both = counted(LowRank(rank=rank), model), counted(LowRank(rank=rank, rule="both"), model)
    assert (*one, *both) == (*expected, expected[-1])


@pytest.mark.parametrize(
    ("model", "fraction", "expected"),
    [("gpt2", 0.2, 24_796_074), ("resnet18", 0.2, 2_234_762), ("resnet18-100", 0.2, 2_243_996), ("mnist", 0.1, 785)],
)
def test_counts_of_the_reference_for_a_share_of_the_entries(model, fraction, expected):
    assert counted(CountSketch(fraction=fraction), model) == (expected, expected)
    assert claimed_symbols(RandomK(fraction=fraction), MODELS[model], 0) == expected


def test_published_megabytes_of_gpt2():
    rows = {row["scheme"]: row for row in communication_table(MODELS["gpt2"], published_schemes())}
    assert {name: round(row["megabytes"], 2) for name, row in rows.items()} == {
        "Z-SGD": 495.92,
        "SIGNUM": 15.5,
        "RANDOM-K": 99.18,
        "SKETCHING": 99.18,
        "A-DSGD": 49.65,
        "LASER, rank 4, both factors": 3.27,
        "LASER, rank 8, one factor": 3.27,
        "LASER, rank 4, one factor": 1.68,
    }
    assert [round(rows[name]["times_less"]) for name in ("SIGNUM", "RANDOM-K", "SKETCHING")] == [32, 5, 5]
    assert rows["LASER, rank 4, both factors"]["times_less"] == pytest.approx(151, abs=0.6)
    assert all(row["symbols"] == row["claimed"] for row in rows.values())


def test_bits_of_a_users_scheme_are_counted():
    (row,) = communication_table(((8, 5), (3,)), {"mine": Quantised()})
    assert row["megabytes"] == 43 * 2 / 8 / 1e6
    assert row["times_less"] == 16
    assert row["claimed"] == ""


def test_layout_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="a layout of 1 for 43 symbols"):
        count(Miscounted(), ((8, 5), (3,)))


@pytest.mark.parametrize("compressor", SCHEMES, ids=str)
def test_count_is_the_length_of_a_real_message(compressor):
    shapes = ((30, 7, 3), (30,), (9, 40), ())
    state = compressor.init(shapes, 1, device=torch.device("cpu"), dtype=torch.float32, seed=0)
    gradients = torch.randn(1, sum(map(math.prod, shapes)), generator=seeded(0))
    for round, length in enumerate(count(compressor, shapes)):
        message = compressor.encode(gradients, state, round=round)
        assert length == (message.symbols.shape[1], message.num_bytes, len(message.layout))


@pytest.mark.usefixtures("global_rng_untouched")
def test_weightless_tensors_have_no_memory_and_no_values():
    with weightless():
        x = torch.randn(1 << 40, device=torch.device("cpu"), generator=seeded(0)).to(torch.device("cpu"))
        assert torch.arange(3).device.type == "meta"
        with pytest.raises((RuntimeError, NotImplementedError)):
            x.sum().item()
    assert x.shape == (1 << 40,)
    assert torch.arange(3).device.type == "cpu"


@pytest.mark.usefixtures("global_rng_untouched")
def test_names_stand_for_the_models_that_are_trained():
    assert {name: sum(map(math.prod, shapes)) for name, shapes in MODELS.items()} == {
        "gpt2": 123_980_544,
        "resnet18": 11_173_962,
        "resnet18-100": 11_220_132,
        "mnist": 7_850,
        "digits": 85_002,
    }
    assert model_shapes("digits") == shapes_of(Digits().model(0))


@pytest.mark.usefixtures("global_rng_untouched")
def test_any_model_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "own_models_c.py").write_text(
        "import torch\n"
        "def large():\n    return torch.nn.Linear(100_000, 100_000)\n"
        "def nothing():\n    return torch.nn.Tanh()\n"
        "def picky(width):\n    return torch.nn.Linear(width, width)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_shapes("own_models_c.large") == ((100_000, 100_000), (100_000,))
    with pytest.raises(BadConfiguration, match="with trainable parameters"):
        model_shapes("own_models_c.nothing")
    with pytest.raises(BadConfiguration, match=r"picky\(\) failed"):
        model_shapes("own_models_c.picky")
    with pytest.raises(BadConfiguration, match="did you mean gpt2"):
        model_shapes("gpt-2")
    with pytest.raises(BadConfiguration, match="cannot import"):
        model_shapes("own_models_c.absent")
