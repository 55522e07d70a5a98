"""Words become objects; what does not fit is refused by name."""

import sys
from typing import get_args

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration, build, component, load_yaml, override
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.training_run import TrainingRun
from laser_wireless.benchmarks.vocabulary import CLASSES, PLAIN_WORDS, PRESETS
from laser_wireless.channels import AnalogUplink, LinearEnergy, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.channels.power_control.full_power import ScaleRule
from laser_wireless.compression import LowRank, Uncompressed


def from_options(line: str, **start: str) -> dict:
    spec = {name: component(word, name) for name, word in start.items()}
    read_options(line.split(), spec, {}, TrainingRun)
    return spec


@pytest.mark.parametrize("name", CLASSES)
def test_every_word_of_the_vocabulary_names_a_class(name):
    module, _, attribute = CLASSES[name].rpartition(".")
    assert getattr(__import__(module, fromlist=[attribute]), attribute).__name__ == name


@pytest.mark.parametrize("word", PRESETS)
def test_every_preset_can_be_built(word):
    assert type(build(component(word, "schemes"), "schemes")).__name__ == PRESETS[word]["class_path"]


def test_papers_names_are_presets():
    assert build(component("laser", "compressor"), "compressor") == LowRank(rank=4)
    assert build(component("z-sgd", "compressor"), "compressor") == Uncompressed()


def test_options_reach_nested_components_and_numbers_become_floats():
    spec = from_options(
        "--uplink.energy_budget 16 --uplink.fading Rayleigh --uplink.power_control TruncatedInversion "
        "--uplink.power_control.threshold=2e-1",
        uplink="AnalogUplink",
    )
    uplink = build(spec["uplink"], "uplink")
    assert uplink == AnalogUplink(energy_budget=16.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.2))
    assert isinstance(uplink.energy_budget, float)


def test_a_schedule_is_a_component_with_arguments():
    spec = from_options(
        "--uplink.energy_budget LinearEnergy --uplink.energy_budget.energy_budget 3 --uplink.energy_budget.num_rounds 10",
        uplink="AnalogUplink",
    )
    assert build(spec["uplink"], "uplink").energy_budget == LinearEnergy(energy_budget=3.0, num_rounds=10)


def test_a_budget_per_device_is_a_list():
    spec = from_options("--uplink.energy_budget [1,2.5]", uplink="AnalogUplink")
    assert build(spec["uplink"], "uplink").energy_budget == [1.0, 2.5]


def test_a_plain_function_without_annotations_is_a_component(tmp_path, monkeypatch):
    (tmp_path / "somebodys_channel.py").write_text("def fade(num_devices, antennas, grid, *, round, generator):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = from_options("--uplink.energy_budget 1 --uplink.fading somebodys_channel.fade", uplink="AnalogUplink")
    assert build(spec["uplink"], "uplink").fading.__name__ == "fade"


def test_a_new_class_drops_the_arguments_of_the_old_one():
    spec = {"compressor": component({"class_path": "LowRank", "init_args": {"rank": 7}}, "compressor")}
    read_options(["--compressor", "Uncompressed"], spec, {}, TrainingRun)
    assert build(spec["compressor"], "compressor") == Uncompressed()


def test_options_mean_the_same_in_any_order():
    spec = from_options("--compressor.rank 7 --compressor LowRank", compressor="Uncompressed")
    assert build(spec["compressor"], "compressor") == LowRank(rank=7)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--compressor LowRnk", "LowRnk.*did you mean LowRank"),
        ("--compressor laserr", "'laserr' is not known; did you mean laser"),
        ("--compressor Rayleigh", "Rayleigh does not belong here. It may be CountSketch"),
        ("--compressor.rnk 3", "no argument 'rnk'; did you mean rank"),
        ("--compressor.rank abc", "rank must be an integer, got 'abc'"),
        ("--compressor.rank 0", "rank must be an integer >= 1"),
        ("--compressor.rule bth", "rule must be 'alternating' or 'both', got 'bth'"),
        (
            "--uplink.fading Jakes --uplink.fading.doppler_hz inf",
            r"doppler_hz must be a number or a list of numbers, got 'inf'; YAML writes .inf",
        ),
        ("--uplink.fading 3", "fading must be a fading law or a model of paths, got 3; for example NoFading"),
        ("--uplink.fading [Rayleigh,Rician]", "fading must be one component, got a list of 2"),
        ("--uplink.fading TruncatedInversion", "TruncatedInversion does not belong here. It may be NoFading"),
        ("--uplink.fading Multipath --uplink.fading.paths Rayleigh", r"fading.paths: Rayleigh does not belong here"),
        ("--uplink.link_gain UMiPathLoss", "UMiPathLoss does not belong here. It may be CellGain"),
        ("--uplink.link_gain 3", "link_gain must be a list of numbers or LargeScale or null, got 3; for example CellGain"),
        ("--uplink.num_rx_antennas 1.5", "num_rx_antennas must be an integer, got 1.5"),
        ("--uplink.ofdm 12", "ofdm must be Ofdm or null, got 12"),
        ("--uplink.impairments Clipping", r"must be a list, such as \[Clipping\].*--uplink.impairments.0.ARGUMENT"),
        ("--uplink.noise_variance abc", "noise_variance must be a number, got 'abc'"),
        ("--uplink FskMajorityVote --uplink.csi PilotCsi", "FskMajorityVote has no argument 'csi'"),
        ("--uplink.fading.k_factor 3", "say first which fading"),
        ("--uplink.fading nowhere.fade", "cannot import nowhere.fade"),
        ("--uplink.fading torch.no_such_thing", "cannot import torch.no_such_thing"),
        ("--uplink.energy_budget -3", "energy_budget must be finite and > 0"),
        ("--uplink.coherence blok", "coherence must be 'round', 'block' or 'symbol' or an integer, got 'blok'"),
    ],
)
def test_bad_options_are_refused_by_name(line, message):
    def build_all():
        spec = from_options(line, compressor="LowRank", uplink="AnalogUplink")
        spec["uplink"]["init_args"].setdefault("energy_budget", 1.0)
        return [build(entry, name) for name, entry in spec.items()]

    with pytest.raises(BadConfiguration, match=message):
        build_all()


def test_what_is_missing_is_named():
    with pytest.raises(BadConfiguration, match="AnalogUplink needs energy_budget"):
        build(component("AnalogUplink", "uplink"), "uplink")


def test_arguments_for_a_function_of_another_language_are_refused():
    with pytest.raises(BadConfiguration, match=r"method rand .* takes no arguments here, got size"):
        build({"class_path": "torch.rand", "init_args": {"size": 3}}, "fading")
    assert build({"class_path": "torch.rand", "init_args": {}}, "fading") is torch.rand


@pytest.mark.parametrize("words", [["rank", "4"], ["--rank"], ["--rank", "--device"]])
def test_words_that_are_no_options_are_refused(words):
    with pytest.raises(BadConfiguration, match=r"not an option|needs a value"):
        read_options(words, {}, {}, TrainingRun)


@pytest.mark.parametrize("form", [{"class": "LowRank"}, {"class_path": 3}, {"class_path": "LowRank", "args": {}}])
def test_components_of_another_form_are_refused(form):
    with pytest.raises(BadConfiguration, match=r"must be a name, or"):
        component(form, "compressor")


def test_options_come_after_the_file_whatever_their_order(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("compressor: {class_path: LowRank, init_args: {rank: 2}}\nnum_rounds: 7\n")
    spec: dict = {}
    assert not read_options(["--num_rounds", "9", "--config", str(path)], spec, {}, TrainingRun)
    assert spec["num_rounds"] == 9
    assert build(spec["compressor"], "compressor") == LowRank(rank=2)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [1", "is not YAML"), ("- 1", "must hold a mapping"), ("", "got nothing")]
)
def test_files_that_are_no_configuration_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadConfiguration, match=message):
        load_yaml(str(path))
    with pytest.raises(BadConfiguration, match="cannot be read"):
        load_yaml(str(tmp_path / "absent.yaml"))


def test_override_keeps_what_it_does_not_name():
    spec = {"uplink": component({"class_path": "AnalogUplink", "init_args": {"noise_variance": 2.0}}, "uplink")}
    override(spec, ["uplink", "energy_budget"], 4.0)
    assert build(spec["uplink"], "uplink") == AnalogUplink(energy_budget=4.0, noise_variance=2.0)


@pytest.mark.parametrize("control", ["FullPower", "OpenLoop"])
def test_a_word_of_the_class_itself_is_no_component(control):
    line = f"--uplink.energy_budget 1 --uplink.scale PreviousScale --uplink.power_control {control}"
    spec = from_options(f"{line} --uplink.power_control.scale unit_sum", uplink="AnalogUplink")
    uplink = build(spec["uplink"], "uplink")
    assert (uplink.scale, uplink.power_control.scale) == (PreviousScale(), "unit_sum")


def test_words_of_a_class_itself_are_those_of_its_annotation():
    assert {"scale": get_args(ScaleRule)} == PLAIN_WORDS


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    spec = {"class_path": "TensorFlowFading", "init_args": {"function": "torch.rand"}}
    with pytest.raises(
        BadConfiguration, match=r"^fading: TensorFlowFading needs TensorFlow: pip install '.*\[tensorflow\]'"
    ):
        build(component(spec, "fading"), "fading")
