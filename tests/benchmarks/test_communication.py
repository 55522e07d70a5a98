"""Symbols and bytes of a message: counted from the compressor, equal to the closed form, and as published."""

import math

import pytest
from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.communication import claimed_symbols, communication_table, count
from laser_wireless.benchmarks.model_shapes import MODELS, model_shapes, shapes_of
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.compression import LowRank, Message, Uncompressed

SCHEMES = [
    Uncompressed(),
    LowRank(rank=4),
    LowRank(rank=8),
    LowRank(rank=4, rule="both"),
    LowRank(rank=40, rule="both"),
]


class Quantised(Uncompressed):
    """A user's scheme: two bits an entry, and no closed form."""

    def encode(self, gradients, state, *, round):
        message = super().encode(gradients, state, round=round)
        return Message(message.symbols, message.layout, None, (2,) * len(message.layout))


class Miscounted(Uncompressed):
    def encode(self, gradients, state, *, round):
        return Message(gradients, (1,))


@pytest.mark.parametrize("model", ["gpt2", "resnet18", "mnist"])
@pytest.mark.parametrize("compressor", SCHEMES, ids=str)
def test_closed_form_is_what_the_compressor_sends(compressor, model):
    for round in (0, 1, 2):
        assert count(compressor, MODELS[model], round).num_symbols == claimed_symbols(compressor, MODELS[model], round)


@pytest.mark.parametrize(
    ("model", "rank", "expected"),
    [
        ("resnet18", 4, (135_670, 28_850, 154_910)),
        ("resnet18", 8, (261_730, 48_090, 300_210)),
        ("resnet18-100", 4, (135_760, 29_300, 155_360)),
        ("gpt2", 8, (547_584, 1_089_280, 1_617_664)),
        ("mnist", 4, (3_146, 50, 3_186)),
    ],
)
def test_counts_of_the_reference(model, rank, expected):
    one, both = LowRank(rank=rank), LowRank(rank=rank, rule="both")
    counted = (count(one, MODELS[model], 0), count(one, MODELS[model], 1), count(both, MODELS[model], 0))
    assert tuple(length.num_symbols for length in counted) == expected
    assert [length.num_bytes for length in counted] == [4 * symbols for symbols in expected]


def test_published_megabytes_of_gpt2():
    rows = communication_table(
        MODELS["gpt2"],
        {"raw": Uncompressed(), "both": LowRank(rank=4, rule="both"), "eight": LowRank(rank=8), "four": LowRank(rank=4)},
    )
    assert [round(row["megabytes"], 2) for row in rows] == [495.92, 3.27, 3.27, 1.68]
    assert rows[1]["times_less"] == pytest.approx(151, abs=0.6)
    assert all(row["symbols"] == row["claimed"] for row in rows)


def test_bits_of_a_users_scheme_are_counted():
    (row,) = communication_table(((8, 5), (3,)), {"mine": Quantised()})
    assert row["megabytes"] == 43 * 2 / 8 / 1e6
    assert row["times_less"] == 16
    assert row["claimed"] == ""


def test_layout_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="a layout of 1 for 43 symbols"):
        count(Miscounted(), ((8, 5), (3,)), 0)


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
