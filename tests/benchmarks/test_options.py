"""Options are understood as they are written: numbers by the rules of YAML 1.2, text as it stands."""

import math

import pytest

from laser_wireless.benchmarks.assembly import assemble, component, load_yaml
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.sweeps.sweep import sweep_from
from laser_wireless.benchmarks.training_run import TrainingRun
from tests.helpers import bad_inputs


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


@pytest.mark.parametrize(
    ("option", "text", "meant"),
    [
        ("num_rounds", "1e3", 1000),
        ("num_rounds", "010", 10),
        ("num_rounds", "+5", 5),
        ("num_rounds", "0x10", 16),
        ("num_rounds", "0o17", 15),
        ("num_rounds", "16.0", 16),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("learning_rate", "1e-3", 1e-3),
        ("learning_rate", ".5", 0.5),
        ("learning_rate", "5.", 5.0),
        ("learning_rate", "1", 1.0),
        ("checkpoint_seconds", ".inf", math.inf),
        ("task.width", "1E2", 100),
        ("task.alpha", "null", None),
        ("task.architecture", "linear", "linear"),
        ("compressor.error_feedback", "False", False),
        ("compressor.rank", "7", 7),
    ],
)
def test_what_is_understood_is_what_is_written(option, text, meant):
    spec = {name: component(word, name) for name, word in {"task": "Digits", "compressor": "LowRank"}.items()}
    spec["uplink"] = component({"class_path": "AnalogUplink", "init_args": {"energy_budget": 1}}, "uplink")
    read_options([f"--{option}", text], spec, {}, TrainingRun)
    found = assemble(TrainingRun, spec, "")
    for name in option.split("."):
        found = getattr(found, name)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(
    "text", ["1e3", "010", "1:10", "true", "null and void", "[a]", "{a: b: c}", "it's", '"', "a b", "é"]
)
def test_text_is_taken_as_it_stands(text, tmp_path):
    own = {"output": None}
    read_options(
        ["--output", text, f"--fading.file={text}"], spec := {"fading": component("Trace", "fading")}, own, ChannelStudy
    )
    assert (own["output"], spec["fading"]["init_args"]["file"]) == (text, text)


def test_an_output_named_like_a_number_is_a_folder_of_that_name(tmp_path, capsys):
    words = ["run", "--uplink.energy_budget", "1", "--num_rounds", "1", "--task.width", "4", "--num_devices", "2"]
    assert main([*words, "--output", "1e3", "--device", "cpu"]) == 0
    assert (tmp_path / "1e3" / "result.json").exists()


def test_options_of_the_command_may_stand_in_its_file(tmp_path, capsys):
    text = "uplink: {class_path: AnalogUplink, init_args: {energy_budget: 1}}\nnum_rounds: 1\nnum_devices: 2\n"
    (tmp_path / "some.yaml").write_text(
        text + "task: {class_path: digits, init_args: {width: 4}}\noutput: there\ndevice: cpu\n"
    )
    assert main(["run", "--config", "some.yaml"]) == 0
    assert (tmp_path / "there" / "result.json").exists()


@pytest.mark.parametrize(
    "names", [["a b", "a_b"], ["..", "."], ["A", "a"], ["1e3", "1000"], ["null", "~"], ["a/b", "a\\b"], ["é"]]
)
def test_names_of_schemes_stay_as_they_are_written(names, tmp_path):
    (tmp_path / "named.yaml").write_text(
        bad_inputs.SWEEP.replace("[laser, z-sgd]", "{" + ", ".join(f"{name}: laser" for name in names) + "}")
    )
    sweep = sweep_from({"uplink": "AnalogUplink", **load_yaml("named.yaml")})
    assert list(sweep.schemes) == names
