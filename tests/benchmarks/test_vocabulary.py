"""What fits a parameter is read from annotations; the names are the public classes of the families."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from laser_wireless.benchmarks import vocabulary
from laser_wireless.benchmarks.vocabulary import CLASSES, COMPONENTS, Part, offers
from laser_wireless.channels import Allocation, Fading, Grid, Participation, Paths, fading, hardware, power_control
from laser_wireless.channels.radio_link import LargeScale


@dataclass(frozen=True, kw_only=True)
class Law:
    spread: float = 1.0

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator, k: int = 3
    ) -> Tensor:
        return torch.ones(1, 1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class OwnLink:
    fading: Fading
    extra: list[Fading] | None = None
    number: float = 1.0


def test_a_new_law_serves_where_its_protocol_is_asked_for():
    own = vocabulary._own_parts()
    parts = {**own, "Law": Part("mine.Law", Law), "OwnLink": Part("mine.OwnLink", OwnLink)}
    slots = vocabulary._slots(parts)
    assert "Law" in slots["fading"]
    assert slots["extra"] == tuple(name for name in slots["extra"] if offers(parts[name].kind, Fading))
    assert "number" not in slots
    assert "Law" not in slots["power_control"]


@pytest.mark.parametrize("protocol", [Paths, Allocation, Participation, LargeScale])
def test_another_signature_is_another_part(protocol):
    assert offers(Law, Fading)
    assert not offers(Law, protocol)


@pytest.mark.parametrize("family", [fading, hardware, power_control])
def test_every_part_of_a_family_can_be_named_and_has_a_place(family):
    placed = {name for names in COMPONENTS.values() for name in names}
    assert set(family.__all__) <= set(CLASSES)
    assert set(family.__all__) <= placed


def test_the_default_of_a_parameter_is_named_first():
    assert COMPONENTS["fading"][0] == "NoFading"
    assert COMPONENTS["power_control"][0] == "AlignedInversion"
    assert COMPONENTS["receiver"][0] == "SingleAntenna"
