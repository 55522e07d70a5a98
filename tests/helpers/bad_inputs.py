"""Bad inputs, generated from the annotations of what takes them: for every option, values that none of its kinds takes.

What a kind takes is said here a second time, as a short list of texts that it never takes, and not by the code under test.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import torch

from laser_wireless.benchmarks.calculations.influence_study import InfluenceStudy
from laser_wireless.benchmarks.calculations.noise_study import NoiseStudy
from laser_wireless.benchmarks.calculations.rate_study import RateStudy
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.sweeps.communication_study import Communication as CommunicationStudy
from laser_wireless.benchmarks.sweeps.spectrum import Spectrum
from laser_wireless.benchmarks.sweeps.sweep import Sweep
from laser_wireless.benchmarks.theory_command import Communication
from laser_wireless.benchmarks.training_run import TrainingRun
from laser_wireless.benchmarks.vocabulary import CLASSES, COMPONENTS

HUGE = "99999999999999999999"
SWEEP = (
    "task: {class_path: Digits, init_args: {width: 12}}\nschemes: [laser, z-sgd]\nenergy_budgets: [1, 100]\n"
    "learning_rates: [0.1]\nseeds: [0]\n"
)
SPECTRUM = "study: spectrum\ntask: digits\nlearning_rate: 0.1\nnum_rounds: 4\nrecord_every: 2\n"
COMMUNICATION = "study: communication\nmodel: mnist\nschemes: [z-sgd]\n"
FILES = {"sweep.yaml": SWEEP, "spectrum.yaml": SPECTRUM, "communication.yaml": COMMUNICATION}

COMMANDS: dict[str, type] = {
    "run --uplink.energy_budget 1": TrainingRun,
    "sweep sweep.yaml": Sweep,
    "sweep spectrum.yaml": Spectrum,
    "sweep communication.yaml": CommunicationStudy,
    "channel": ChannelStudy,
    "theory communication": Communication,
    "theory influence": InfluenceStudy,
    "theory rates": RateStudy,
    "theory noise": NoiseStudy,
}
"""Command with good options -> the class whose arguments are its options."""

PLACES: dict[str, str] = {
    "task": "run --task {}",
    "compressor": "run --compressor {}",
    "uplink": "run --uplink {}",
    "local": "run --uplink.energy_budget 1 --local {}",
    "optimizer": "run --uplink.energy_budget 1 --optimizer {}",
    "rows": "run --uplink.energy_budget 1 --devices_at_once 2 --rows {}",
    "downlink": "run --uplink.energy_budget 1 --downlink {}",
    "fading": "channel --fading {}",
    "paths": "channel --fading Multipath --fading.paths {}",
    "scene": "channel --fading RayTraced --fading.scene {}",
    "law": "channel --fading CorrelatedLaw --fading.law {}",
    "process": "channel --fading CorrelatedLaw --fading.process {}",
    "link_gain": "channel --link_gain {}",
    "path_loss": "channel --link_gain CellGain --link_gain.path_loss {}",
    "placement": "channel --link_gain CellGain --link_gain.placement {}",
    "csi": "channel --csi {}",
    "receiver_csi": "channel --receiver_csi {}",
    "participation": "run --uplink.participation {}",
    "power_control": "channel --power_control {}",
    "receiver": "channel --receiver {}",
    "impairments": "channel --impairments [{}]",
    "front_end": "run --uplink.front_end [{}]",
    "rad": "channel --impairments [PhaseError] --impairments.0.rad {}",
    "channel": "run --uplink.channel {}",
    "ofdm": "channel --ofdm {}",
    "link": "run --uplink DigitalUplink --uplink.link {}",
    "quantiser": "run --uplink DigitalUplink --uplink.quantiser {}",
    "allocation": "run --uplink.allocation {}",
    "scale": "run --uplink.scale {}",
    "energy_budget": "run --uplink.energy_budget {}",
    "callbacks": "run --uplink.energy_budget 1 --callbacks [{}]",
}
"""Parameter that takes a component -> options that put one there."""

EXAMPLES: dict[str, dict[str, Any]] = {
    "AnalogUplink": {"energy_budget": 1.0},
    "DigitalUplink": {"energy_budget": 1.0},
    "EnergyDifference": {"energy_budget": 1.0},
    "FskMajorityVote": {"energy_budget": 1.0},
    "GaussMarkov": {"correlation": 0.5},
    "Jakes": {"doppler_hz": 5.0, "round_interval_s": 0.01},
    "CorrelatedLaw": {"law": "Nakagami", "process": {"class_path": "GaussMarkov", "init_args": {"correlation": 0.5}}},
    "Multipath": {"paths": "tdl-c"},
    "Unnormalised": {"fading": "Rayleigh"},
    "TappedDelayLine": {"profile": "C", "delay_spread_s": 1e-7},
    "Distances": {"distances_m": [1.0]},
    "Positions": {"positions_m": [[1.0, 2.0]]},
    "NoisyCsi": {"nmse": 0.1},
    "RandomDropout": {"drop_probability": 0.1},
    "SampledDevices": {"num_sampled": 2},
    "Stragglers": {"extra_s": 1.0},
    "PhaseError": {"rad": 0.1},
    "CarrierFrequencyOffset": {"hz": 1.0},
    "PhaseNoise": {"linewidth_hz": 1.0},
    "TimingOffset": {"samples": 1.0},
    "Rapp": {"saturation_db": 3.0},
    "Saleh": {"saturation_db": 3.0},
    "Clipping": {"saturation_db": 3.0},
    "Quantiser": {"bits": 4},
    "OtherCells": {"powers": [1.0]},
    "BarrageJammer": {"power": 1.0},
    "PulsedJammer": {"power": 1.0},
    "ToneJammer": {"power": 1.0},
    "BernoulliGaussianNoise": {"noise_variance": 1.0},
    "MiddletonNoise": {"noise_variance": 1.0},
    "NormalSpread": {"std": 0.1},
    "UniformSpread": {"low": 0.1, "high": 0.2},
    "AnalogBroadcast": {"energy_budget": 1.0},
    "DigitalBroadcast": {"energy_budget": 1.0},
    "LinearEnergy": {"energy_budget": 1.0, "num_rounds": 12},
    "StepEnergy": {"energy_budget": 1.0, "num_rounds": 12},
    "UnequalEnergy": {"energy_budget": 1.0, "ratios": (1.0, 2.0)},
}
"""Class -> arguments that it cannot do without."""
NEEDS_MORE = ("RayTraced", "SionnaPaths", "PathTrace", "Trace", "TensorFlowFading", "TensorFlowChannel")
"""Classes that read a file, or need an extra."""


class BadInput(NamedTuple):
    """One line for `laser`, and the name that its refusal must hold."""

    words: list[str]
    name: str


def bad_options(command: str, settings: type) -> Iterator[BadInput]:
    """For every option of a command: values of the wrong kind; and names that are no option."""
    hints = get_type_hints(settings)
    names = list(inspect.signature(settings).parameters)
    for name in names:
        schemes = {"schemes": ["3", "[Rayleigh]", "[3]", "{a: 3}", "{a: null}", "[lasr]"]}
        for text in schemes.get(name) or bad_texts(hints[name], name):
            if name != "uplink" or not command.startswith("run"):  # whose energy budget the command has set
                yield BadInput([*command.split(), f"--{name}={text}"], name)
    for name in (names[-1] + "s", "no_such_option", "Output", ".", ""):
        yield BadInput([*command.split(), f"--{name}", "1"], name)
    yield BadInput([*command.split(), f"--{names[0]}"], names[0])
    yield BadInput([*command.split(), f"--{names[0]}", "null", f"--{names[0]}", "null"], names[0])


def bad_arguments(word: str) -> Iterator[BadInput]:
    """For every argument of a class: values of the wrong kind; and a name that it does not have."""
    place = next((place for place, words in COMPONENTS.items() if word in words and place in PLACES), "task")
    line = PLACES[place].format(word).split()
    option = line[-2] + (".0" if line[-1].startswith("[") else "")
    target = getattr(__import__(CLASSES[word].rpartition(".")[0], fromlist=[word]), word)
    hints = get_type_hints(target.__init__)
    for name in inspect.signature(target).parameters:
        for text in bad_texts(hints[name], name):
            yield BadInput([*line, f"{option}.{name}={text}"], name)
    yield BadInput([*line, f"{option}.no_such_argument", "1"], "no_such_argument")


def bad_places() -> Iterator[BadInput]:
    """For every place of a component: values that are none, classes of another place, and words that are misspelt."""
    for place, line in PLACES.items():
        option = line.format("X").split()
        stranger = "LowRank" if place != "compressor" else "Rayleigh"
        texts = [f"{stranger}", f"{COMPONENTS[place][0]}x", "{class_path: 3}", "{a: 1}", "[Rayleigh", "{class_path: [1]}"]
        texts += [f"{{class_path: {COMPONENTS[place][-1]}, init_args: {value}}}" for value in ("abc", "[1]", "3")]
        texts += ["no.such.module", "os.nothing", "..", CLASSES[stranger]]
        for text in texts:
            yield BadInput([*option[:-1], option[-1].replace("X", text)], option[-2].strip("-").split(".")[-1])


def bad_texts(hint: Any, name: str) -> list[str]:
    """Texts, as YAML writes them, that no kind of an annotation takes."""
    kinds = kinds_of(hint)
    lists = [_bad_for(kind) for kind in kinds if kind is not torch.Tensor]
    common = [text for text in lists[0] if all(text in other for other in lists[1:])]
    return [text for text in common if not (name in COMPONENTS and text == "abc" and str in kinds)]


_SCALARS = ("abc", "3", "1.5", "true", "null", ".nan", ".inf", HUGE)
_ALL = (*_SCALARS, "{a: 1}", "[]", "[1, .nan]", "[1, true]", "[[abc]]", "{a: b: c}")


def _bad_for(kind: Any) -> list[str]:
    taken: dict[Any, tuple[str, ...]] = {
        float: ("3", "1.5", ".inf", HUGE),
        int: ("3",),
        bool: ("true",),
        str: _ALL,  # text is taken as it stands
        type(None): ("null",),
        Any: _ALL[:-1],
    }
    if kind in taken:
        good = taken[kind]
    elif get_origin(kind) in (list, tuple) or str(get_origin(kind)).endswith("Sequence'>"):
        entry = set(get_args(kind)) - {Ellipsis}
        good = ("[]", "[[abc]]") if entry == {list[str]} else ("[]",)
    elif str(get_origin(kind)).split(".")[-1].lower().startswith(("dict", "mapping")) or get_origin(kind) is dict:
        good = ("{a: 1}",)
    else:
        good = ()  # a choice, or a component: none of these texts
    return [text for text in _ALL if text not in good]


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The kinds that an annotation allows."""
    if get_origin(hint) is Literal:
        return (hint,)
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return tuple(kind for member in get_args(hint) for kind in kinds_of(member))
    return (hint,)


def bad_values(hint: Any) -> list[Any]:
    """Python values that no kind of an annotation takes; beside the texts, what only Python can pass."""
    kinds = [kind for kind in kinds_of(hint) if kind is not torch.Tensor]
    taken: dict[Any, Any] = {
        float: lambda value: type(value) in (int, float) and value == value,
        int: lambda value: type(value) is int,
        bool: lambda value: type(value) is bool,
        str: lambda value: type(value) is str,
        type(None): lambda value: value is None,
        Any: lambda value: True,
        dict: lambda value: type(value) is dict,
    }
    values = ["abc", 3, 1.5, 16.0, True, None, math.nan, {"a": 1}, [math.nan], [True, 1]]
    return [value for value in values if not any(taken.get(get_origin(kind) or kind, _never)(value) for kind in kinds)]


def _never(value: Any) -> bool:
    return False
