"""A table of bad inputs, most of them generated from annotations: each is refused in one line that names the option."""

import inspect
import math
from typing import get_type_hints

import pytest

from laser_wireless.benchmarks.assembly import BadConfiguration, build, component, resolve
from laser_wireless.benchmarks.calculations.influence_study import InfluenceStudy
from laser_wireless.benchmarks.calculations.noise_study import NoiseStudy
from laser_wireless.benchmarks.calculations.rate_study import RateStudy
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.sweeps.candidates import Scheme
from laser_wireless.benchmarks.sweeps.spectrum import Spectrum
from laser_wireless.benchmarks.sweeps.sweep import Sweep
from laser_wireless.benchmarks.tasks import Cifar, Digits, Mnist, StdlibText, WikiText
from laser_wireless.benchmarks.theory_command import Communication
from laser_wireless.benchmarks.training_run import TrainingRun
from laser_wireless.benchmarks.vocabulary import CLASSES
from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import LowRank
from tests.helpers import bad_inputs, bad_lines

OPTIONS = {command: list(bad_inputs.bad_options(command, settings)) for command, settings in bad_inputs.COMMANDS.items()}
ARGUMENTS = {word: list(bad_inputs.bad_arguments(word)) for word in CLASSES}
PLACES = list(bad_inputs.bad_places())


@pytest.fixture(autouse=True)
def _in_a_folder_with_good_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    for name, text in bad_inputs.FILES.items():
        (tmp_path / name).write_text(text)


def faults(rows, capsys, folder):
    """What is wrong with how bad inputs are refused: one line for each."""
    before = sorted(folder.rglob("*"))
    found = []
    for words, name in rows:
        line = " ".join(words)
        try:
            status = main(words)
        except BaseException as error:  # what would be a traceback
            found.append(f"{line}: {type(error).__name__}: {error}")
            continue
        said = capsys.readouterr().err
        if status != 2:
            found.append(f"{line}: status {status}, {said!r}")
        elif said.count("\n") != 1 or not said.startswith(f"laser {words[0]}: ") or name not in said or "Traceback" in said:
            found.append(f"{line}: said {said!r}, which should be one line with {name!r}")
        elif sorted(folder.rglob("*")) != before:
            found.append(f"{line}: left files behind")
    return found


@pytest.mark.parametrize("command", OPTIONS, ids=lambda command: f"{command}: {len(OPTIONS[command])} inputs")
def test_options_of_every_command(command, capsys, tmp_path):
    assert faults(OPTIONS[command], capsys, tmp_path) == []


@pytest.mark.parametrize("word", ARGUMENTS, ids=lambda word: f"{word}: {len(ARGUMENTS[word])} inputs")
def test_arguments_of_every_class(word, capsys, tmp_path):
    assert faults(ARGUMENTS[word], capsys, tmp_path) == []


def test_places_of_components(capsys, tmp_path):
    assert faults(PLACES, capsys, tmp_path) == []


def test_the_table_is_large():
    assert sum(map(len, OPTIONS.values())) + sum(map(len, ARGUMENTS.values())) + len(PLACES) >= 300


def test_lines_that_a_stranger_may_type(capsys, tmp_path):
    rows = []
    for line, name in bad_lines.LINES:
        words = line.split(maxsplit=3) if " {" in line or '"' in line else line.split()
        budget = words[0] == "run" and "--uplink.energy_budget" not in words
        rows.append(bad_inputs.BadInput([*words[:1], *(["--uplink.energy_budget=1"] if budget else []), *words[1:]], name))
    assert faults(rows, capsys, tmp_path) == []


@pytest.mark.parametrize("command", ["run --uplink.energy_budget 1 --config", "sweep"])
def test_files_with_faults(command, capsys, tmp_path):
    found = []
    for content, name in bad_lines.DOCUMENTS:
        (tmp_path / "some.yaml").write_bytes(content)
        wanted = name if command != "sweep" or "line" in name or "some.yaml" in name else ""
        found += faults([bad_inputs.BadInput([*command.split(), "some.yaml"], wanted)], capsys, tmp_path)
    assert found == []


SETTINGS = {
    TrainingRun: {"task": Digits(), "compressor": LowRank(), "uplink": AnalogUplink(energy_budget=1.0)},
    Sweep: {
        "task": {},
        "uplink": {},
        "schemes": {"laser": Scheme({}, {}, {})},
        "energy_budgets": [1.0],
        "learning_rates": [0.1],
        "seeds": [0],
    },
    Spectrum: {"task": Digits(), "learning_rate": 0.1, "num_rounds": 4, "record_every": 2},
    **{study: {} for study in (ChannelStudy, Communication, InfluenceStudy, RateStudy, NoiseStudy)},
    **{task: {} for task in (Cifar, Digits, Mnist, StdlibText, WikiText)},
}


def faults_in_python(cls, good):
    """What is wrong with how a class refuses values of the wrong kind, made in Python; and how many there were."""
    found, count = [], 0
    hints = get_type_hints(cls.__init__)
    for name in inspect.signature(cls).parameters:
        for value in bad_inputs.bad_values(hints[name]):
            count += 1
            try:
                cls(**good | {name: value})
                found.append(f"{name} = {value!r}: taken")
            except (TypeError, ValueError) as error:
                if name not in str(error) or "\n" in str(error):
                    found.append(f"{name} = {value!r}: {error}")
    return found, count


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_settings_made_in_python_are_checked_as_those_of_the_command(settings):
    found, count = faults_in_python(settings, SETTINGS[settings])
    assert found == []
    assert count > 0


def test_components_made_in_python_are_checked_as_those_of_the_command():
    total = 0
    for word in set(CLASSES) - set(bad_inputs.NEEDS_MORE):
        example = bad_inputs.EXAMPLES.get(word, {})
        made = build(component({"class_path": word, "init_args": example}, "here"), "here")
        found, count = faults_in_python(type(made), {name: getattr(made, name) for name in example})
        assert (word, found) == (word, [])
        total += count
    assert total > 2000


@pytest.mark.parametrize("word", [word for word in CLASSES if word not in bad_inputs.NEEDS_MORE])
def test_numbers_out_of_range_are_refused_by_name_or_taken(word):
    cls = resolve(CLASSES[word], word)
    hints = get_type_hints(cls.__init__)
    found = []
    for name in inspect.signature(cls).parameters:
        if not {float, int} & set(bad_inputs.kinds_of(hints[name])):
            continue
        for value in (-1, 0, math.inf, -math.inf, 1e308, 2**63 - 1, 1 - 2**63):
            spec = {"class_path": word, "init_args": bad_inputs.EXAMPLES.get(word, {}) | {name: value}}
            try:
                build(component(spec, "here"), "here")
                if value in (math.inf, -math.inf) and (word, name, value) not in INFINITE:
                    found.append(f"{name} = {value}: taken")
            except BadConfiguration as error:
                said = str(error)  # may name another argument, which the number makes impossible
                if "\n" in said or not said.startswith("here") or not any(other in said for other in hints):
                    found.append(f"{name} = {value}: {error}")
    assert found == []


INFINITE = {
    ("TappedDelayLine", "round_interval_s", math.inf),
    ("Scene", "min_gain_db", -math.inf),
    ("Scene", "max_distance_m", math.inf),
    ("Stragglers", "deadline_s", math.inf),
}
"""Class, argument and value for which infinity means something."""
