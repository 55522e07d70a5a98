"""Whatever stands in a parameter's place by mistake is refused there, in one line that names the parameter."""

import dataclasses
import functools
import importlib
import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.benchmarks.training_run import TrainingRun
from laser_wireless.benchmarks.vocabulary import CLASSES, COMPONENTS, PRESETS
from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    CellGain,
    Clipping,
    DigitalUplink,
    FskMajorityVote,
    Lmmse,
    Multipath,
    NormalSpread,
    Ofdm,
    OracleScale,
    PeakLimited,
    PhaseError,
    PilotCsi,
    Quantiser,
    Rapp,
    Rayleigh,
    Rician,
    TappedDelayLine,
)
from laser_wireless.channels.contracts import check_component, fits, is_protocol
from laser_wireless.channels.fading.contract import Fading, FadingProcess
from laser_wireless.channels.parameters import alternatives, check_value, checked
from laser_wireless.channels.power_control.contract import PowerControl
from laser_wireless.compression import LowRank, Uncompressed
from laser_wireless.training import UplinkBridge


def class_of(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


PARAMETRIC = [*map(class_of, CLASSES.values()), TrainingRun, ChannelStudy]
"""Every class that a user can name, and what a run and a study of a channel take."""


def annotations_of(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


FIELDS = [(cls, name, annotation) for cls in PARAMETRIC for name, annotation in annotations_of(cls).items()]


def some(name: str, annotation: Any) -> Any:
    """A value of the right kind, whatever its range."""
    kind = alternatives(annotation)[0]
    if is_protocol(kind):
        words = [PRESETS.get(word, {"class_path": word})["class_path"] for word in COMPONENTS[name]]
        return next(part for part in map(bare, words) if fits(part, kind))
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in (list, tuple):
        return [some(name, get_args(kind)[0])]
    if kind in (float, int, str, bool):
        return kind(1)
    return len if not inspect.isclass(kind) else object.__new__(kind)


def bare(word: str) -> Any:
    """An object of a class of the vocabulary, without its constructor."""
    return object.__new__(class_of(CLASSES[word]))


def refusal(cls: type, name: str, value: Any) -> Exception | None:
    """What a class says to a value, all its other required parameters being of the right kind."""
    given = {
        field.name: some(field.name, annotations_of(cls)[field.name])
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING and field.name != name
    }
    try:
        cls(**given, **{name: value})
    except Exception as error:
        return error
    return None


def assert_refused(cls: type, name: str, value: Any, error: type = TypeError) -> None:
    found = refusal(cls, name, value)
    assert type(found) is error, (cls, name, value, found)
    assert str(found).startswith(name), found
    assert "\n" not in str(found)


ids = [f"{cls.__name__}.{name}" for cls, name, _ in FIELDS]


@pytest.mark.parametrize(("cls", "name", "annotation"), FIELDS, ids=ids)
def test_no_parameter_takes_what_its_annotation_does_not_say(cls, name, annotation):
    kinds = alternatives(annotation)
    assert_refused(cls, name, object())
    if bool not in kinds:
        assert_refused(cls, name, True)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if words:
        assert_refused(cls, name, "misspelt", ValueError if isinstance(words[0], str) else TypeError)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, name) for cls, name, _ in FIELDS if name in COMPONENTS],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_no_component_is_taken_for_an_object_that_is_a_class_or_lacks_the_methods(cls, name):
    """The parameters of the vocabulary; a new one without a check fails here."""
    kinds = alternatives(annotations_of(cls)[name])
    if all(get_origin(kind) is Literal for kind in kinds):  # a word of the class's own
        return
    single = [kind for kind in kinds if is_protocol(kind)]
    value = Rayleigh if single or Ofdm not in kinds else Ofdm
    assert_refused(cls, name, [value] if not single and any(get_origin(kind) is list for kind in kinds) else value)
    if single:
        assert "Rayleigh" in str(refusal(cls, name, Rayleigh))


def test_these_are_all_the_components():
    named = {name for _, name, _ in FIELDS if name in COMPONENTS}
    assert named == set(COMPONENTS) - {"callbacks"}  # which are given to a command beside what it runs
    assert {"fading", "compressor", "uplink", "downlink", "receiver", "scale", "ofdm", "power_control", "task"} <= named


def test_a_class_that_checks_nothing_is_noticed():
    class Careless:
        fading: Fading

    careful = dataclass(frozen=True, kw_only=True)(checked(type("Careful", (), dict(vars(Careless)))))
    Careless = dataclass(frozen=True, kw_only=True)(Careless)
    with pytest.raises(AssertionError):
        assert_refused(Careless, "fading", object())
    with pytest.raises(AssertionError):
        assert_refused(Careless, "fading", Rayleigh)
    assert_refused(careful, "fading", Rayleigh)


@pytest.mark.parametrize(("cls", "name", "annotation"), FIELDS, ids=ids)
def test_every_word_of_the_vocabulary_fits_its_place(cls, name, annotation):
    protocols = [kind for kind in alternatives(annotation) if is_protocol(kind)]
    inner = [part for kind in alternatives(annotation) if get_origin(kind) is list for part in get_args(kind)]
    protocols += [kind for part in inner for kind in alternatives(part) if is_protocol(kind)]
    if not protocols:
        return
    for word in COMPONENTS.get(name, ()):
        part = bare(PRESETS.get(word, {"class_path": word})["class_path"])
        assert any(fits(part, protocol) for protocol in protocols), word


class Halfway:
    """A receiver that was never finished."""

    alternations = 0
    mean_of = "all"

    def beam(self, h, air):
        return h


def short(num_devices, grid):
    return torch.ones(1, 1, 1, 1)


ASKED = [
    (
        lambda: AnalogUplink(energy_budget=1.0, fading=Rayleigh),
        r"^fading must be an object, got the class Rayleigh; write fading=Rayleigh\(\)$",
    ),
    (
        lambda: AnalogUplink(energy_budget=1.0, impairments=[Rapp]),
        r"^impairments\[0\] .* write impairments\[0\]=Rapp\(saturation_db=\.\.\.\)$",
    ),
    (lambda: AnalogUplink(energy_budget=1.0, ofdm=Ofdm), r"^ofdm .* write ofdm=Ofdm\(\)$"),
    (lambda: AnalogUplink(energy_budget=1.0, ofdm="ofdm"), r"^ofdm must be an Ofdm or None, got 'ofdm'$"),
    (lambda: AnalogUplink(energy_budget=1.0, scale=OracleScale), r"^scale .* write scale=OracleScale\(\)$"),
    (
        lambda: AnalogUplink(energy_budget=1.0, receiver=Halfway()),
        r"^receiver must have a method combine\(arriving, beam, transceiver, power, noise_.*; Halfway has none$",
    ),
    (
        lambda: AnalogUplink(energy_budget=1.0, fading=short),
        r"^fading must be callable as \(num_devices, num_rx_antennas, grid, \*, round, generator\) -> Tensor; that of short "
        r"takes \(num_devices, grid\)$",
    ),
    (
        lambda: AnalogUplink(energy_budget=1.0, power_control=None),
        r"^power_control must be a function \(h, norms, energy, noise_variance, \*, ",
    ),
    (lambda: AnalogUplink(energy_budget=1.0, csi=[PilotCsi(), 3]), r"^csi\[1\] must be a function \(h, \*, energy"),
    (lambda: AnalogUplink(energy_budget=1.0, link_gain=CellGain), r"write link_gain=CellGain\(\)$"),
    (
        lambda: AnalogUplink(energy_budget=True),
        r"^energy_budget must be a number, a list of numbers, a tensor or a function \(round\) -> float \| Seq.*, got True$",
    ),
    (lambda: AnalogUplink(energy_budget=[1.0, True]), r"^energy_budget\[1\] must be a number, got True$"),
    (
        lambda: DigitalUplink(energy_budget=1.0, link=object()),
        r"^link must have a method bits\(snr, num_channel_uses\) -> Tensor; object has none$",
    ),
    (
        lambda: FskMajorityVote(energy_budget=1.0, fading="Rayleigh"),
        r"^fading must be a function .* or an object with a method advance\(",
    ),
    (
        lambda: AnalogBroadcast(energy_budget=1.0, allocation=lambda norms: norms),
        r"^allocation must be callable as \(norms, block_sizes, air\)",
    ),
    (lambda: PeakLimited(power_control=3), r"^power_control must be a function"),
    (lambda: Multipath(paths=TappedDelayLine), r"^paths .* write paths=TappedDelayLine\(\)$"),
    (lambda: Rician(k_factor="4"), r"^k_factor must be a number, got '4'$"),
    (lambda: PhaseError(rad=np.ones(3)), r"^rad must be a number, .*; use \.tolist\(\)$"),
    (lambda: LowRank(rank=True), r"^rank must be an integer, got True$"),
    (lambda: LowRank(error_feedback=1), r"^error_feedback must be true or false, got 1$"),
]


@pytest.mark.parametrize(("build", "message"), ASKED)
def test_one_line_says_what_is_missing_and_how_to_mend_it(build, message):
    with pytest.raises(TypeError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressor": LowRank}, r"write compressor=LowRank\(\)"),
        ({"compressor": Rayleigh()}, r"compressor must have a method init\(shapes, num_devices, \*, device, dtype, seed\)"),
        ({"uplink": AnalogUplink}, r"write uplink=AnalogUplink\(energy_budget=\.\.\.\)"),
        ({"uplink": Rayleigh()}, r"uplink must have a method aggregate\(symbols, layout, \*, round, streams, air=\.\.\., "),
        ({"uplink": None}, "uplink must have a method aggregate.*; None has none"),
        ({"downlink": AnalogBroadcast}, r"write downlink=AnalogBroadcast\(energy_budget=\.\.\.\)"),
        ({"downlink": AnalogUplink(energy_budget=1.0)}, r"downlink must have a method broadcast\(values, layout"),
        ({"model": torch.nn.Linear}, r"model must be an object, got the class Linear; write model=Linear\(\.\.\., \.\.\.\)"),
        ({"model": 3}, "model must be a Module, got 3"),
        ({"num_devices": True}, "num_devices must be an integer"),
    ],
)
def test_bridge_refuses_what_cannot_carry_its_gradients(options, message):
    sound = {
        "model": torch.nn.Linear(2, 1),
        "num_devices": 2,
        "compressor": Uncompressed(),
        "uplink": AnalogUplink(energy_budget=1.0),
    }
    with pytest.raises(TypeError, match=message):
        UplinkBridge(**(sound | options))


def law(num_devices, num_rx_antennas, grid, *, round, generator):
    return Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)


class Learned(torch.nn.Module):
    def forward(self, h, norms, energy, noise_variance, *, agreement):
        raise NotImplementedError


class Chatty:
    def law(self, k, n, g, *, round, generator, volume=3):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("value", "protocol"),
    [
        (law, Fading),
        (lambda *args, **kwargs: None, Fading),
        (lambda a, b, c, **rest: None, Fading),
        (functools.partial(law), Fading),
        (Chatty().law, Fading),
        (TappedDelayLine(profile="C", delay_spread_s=1e-7), FadingProcess),
        (Learned(), PowerControl),
        (torch.add, PowerControl),  # a function without a signature
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_what_can_be_called_as_asked_fits(value, protocol):
    check_component("part", value, protocol)


@pytest.mark.parametrize(
    "value",
    [
        lambda k, n: None,
        lambda k, n, g, *, round: None,
        lambda k, n, g, *, round, generator, needed: None,
        lambda k, n, g, extra, *, round, generator: None,
        functools.partial(law, 3),
    ],
)
def test_what_cannot_be_called_as_asked_does_not_fit(value):
    assert not fits(value, Fading)


def of_sionna(name: str, module: str, *bases: type) -> Any:
    return type(name, bases, {"__module__": module, "__call__": lambda self, *args, **kwargs: None})()


TDL = of_sionna("TDL", "sionna.phy.channel.tr38901.tdl")
MINE = of_sionna("Mine", "my_models", type(TDL))


@pytest.mark.parametrize("model", [TDL, MINE, type(TDL)], ids=["sionna", "derived", "class"])
@pytest.mark.parametrize("name", ["fading", "channel"])
def test_a_model_of_sionna_is_told_how_to_get_in(name, model):
    with pytest.raises(TypeError, match=rf"^{name} must be .* goes in as fading=SionnaPaths\(model=\.\.\.\)$"):
        AnalogUplink(energy_budget=1.0, **{name: model})
    with pytest.raises(TypeError, match=r"fading=SionnaPaths\(model=\.\.\.\)"):
        Multipath(paths=model)


def test_a_law_of_the_users_own_in_sionnas_clothes_fits():
    block = of_sionna("MyLaw", "my_models", type(of_sionna("Block", "sionna.phy.block")))
    check_component("fading", block, Fading)


def test_numpy_scalars_become_plain_numbers():
    uplink = AnalogUplink(energy_budget=np.float32(2), coherence=np.int64(2), num_rx_antennas=np.int64(2), receiver=Lmmse())
    assert (uplink.energy_budget, uplink.coherence, uplink.num_rx_antennas) == (2.0, 2, 2)
    assert type(uplink.coherence) is int
    assert type(LowRank(rank=np.int64(3)).rank) is int
    assert Rician(k_factor=np.float64(2)) == Rician(k_factor=2)


def test_numbers_of_every_honest_kind_are_taken():
    assert Clipping(saturation_db=3).saturation_db == 3
    assert PhaseError(rad=(0, 1.5)).rad == (0, 1.5)
    assert PhaseError(rad=NormalSpread(std=1)).rad == NormalSpread(std=1)
    assert AnalogUplink(energy_budget=np.array([1.0, 2.0])).energy_budget.tolist() == [1.0, 2.0]
    learned = torch.tensor(4.0, requires_grad=True)
    assert Rician(k_factor=learned).k_factor is learned


def test_an_annotation_that_nobody_can_check_is_no_silent_pass():
    with pytest.raises(NotImplementedError, match="no check for values annotated"):
        check_value("odd", {1}, set[int])


def test_class_variables_are_no_parameters():
    @dataclass(frozen=True, kw_only=True)
    @checked
    class Constant:
        number: int = 1
        fixed: ClassVar[float] = 0.0

    assert Constant(number=2).number == 2


def test_own_checks_come_after_the_kinds():
    with pytest.raises(ValueError, match="bits must be an integer from 1 to 24"):
        Quantiser(bits=25)
    with pytest.raises(TypeError, match="bits must be an integer, got True"):
        Quantiser(bits=True)
    with pytest.raises(ValueError, match="width must be >= 1"):
        Digits(width=0)
    with pytest.raises(ValueError, match=r'architecture must be "mlp" or "linear", got .cnn.'):
        Digits(architecture="cnn")
