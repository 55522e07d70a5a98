"""What is known of a scheme is one file; of a scheme of one's own nothing is guessed, and what it brings is used."""

import math
from dataclasses import dataclass

import pytest

from laser_wireless import compression
from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.calculations.communication import communication_table
from laser_wireless.benchmarks.calculations.influence_study import InfluenceStudy, influence_table
from laser_wireless.benchmarks.calculations.noise_study import NoiseStudy, noise_table
from laser_wireless.benchmarks.schemes import facts_of, influence_of, part_of
from laser_wireless.benchmarks.schemes.facts import Facts, one_block
from laser_wireless.benchmarks.theory import OneBlock
from laser_wireless.benchmarks.theory.one_block import Influence
from laser_wireless.benchmarks.vocabulary import COMPONENTS
from laser_wireless.compression import Message, Uncompressed

SHAPES = ((8, 5), (3,))


@dataclass(frozen=True, kw_only=True)
class Half(Uncompressed):
    """The first half of every message, of which nothing is known."""

    def encode(self, gradients, state, *, round):
        half = gradients[:, : gradients.shape[1] // 2]
        return Message(half, (half.shape[1],))


@dataclass(frozen=True, kw_only=True)
class KnownHalf(Half):
    """The same, with facts."""

    facts = Facts(
        symbols=lambda scheme, shapes, round: sum(map(math.prod, shapes)) // 2,
        influence=lambda scheme, block, round, captured: Influence(0.5, 0.25, True, "half of it"),
        part=lambda scheme, shape, norm, round, captured: one_block(math.prod(shape) // 2 or 1, norm),
    )


def test_every_scheme_of_the_package_has_its_facts():
    schemes = [getattr(compression, name) for name in COMPONENTS["compressor"] if hasattr(compression, name)]
    assert len(schemes) == 9
    for kind in schemes:
        facts = facts_of(object.__new__(kind))
        assert facts.symbols is not None
        assert facts.influence is not None
        assert facts.numbers_moved is not None


def test_a_subclass_is_another_scheme():
    assert facts_of(Uncompressed()).symbols is not None
    assert facts_of(Half()).symbols is None
    assert facts_of(KnownHalf()).symbols is not None


def test_what_is_not_known_is_said():
    (row,) = communication_table(SHAPES, {"half": Half()})
    assert row["symbols"] == 21
    assert row["claimed"] == ""
    found = influence_of(Half(), OneBlock(m=4, n=4, energy_budget=1.0, num_devices=2))
    assert math.isnan(found.total)
    assert "no closed form is known here" in found.assumes
    with pytest.raises(BadConfiguration, match=r"noise by parameter is known for CountSketch, .*, not for Half"):
        part_of(Half(), (4, 4), 1.0)


def test_what_a_scheme_brings_is_used():
    (row,) = communication_table(SHAPES, {"half": KnownHalf()})
    assert row["claimed"] == row["symbols"] == 21
    (row,) = influence_table(
        InfluenceStudy(m=4, n=4, rank=1, energy_budget=1.0, num_devices=2, schemes={"half": KnownHalf()})
    )
    assert (row["compression"], row["channel"], row["paper_bound"]) == (0.5, 0.25, "")
    rows = noise_table(NoiseStudy(model="digits", energy_budget=1.0, num_devices=2, schemes={"half": KnownHalf()}))
    assert {row["round"] for row in rows} == {"all"}
