"""Every preset can be built at every scale, without data; the published curves that it names are there."""

import pytest

from laser_wireless.benchmarks.assembly import BadConfiguration, load_yaml
from laser_wireless.benchmarks.sweeps.studies import STUDIES, study_of
from laser_wireless.benchmarks.sweeps.study_file import PRESETS, find_study, load_study

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
FIGURES = (
    "cifar10-power",
    "cifar100-power",
    "gpt2-power",
    "mnist-power",
    "rank-study",
    "power-laws",
    "energy-share",
    "communication",
)


def prepared(name, scale):
    content = load_study(find_study(name), scale)
    study = study_of(content)
    return study.prepare({**study.defaults, **content})


def test_there_is_one_preset_for_every_published_figure():
    assert set(FIGURES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_can_be_built_at_full_scale(name):
    assert callable(prepared(name, "full"))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_small_scale_on_built_in_data(name):
    assert callable(prepared(name, "small"))
    content = load_study(find_study(name), "small")
    assert any(word in str(content.get("task", content.get("model"))) for word in ("digits", "stdlib-text"))


@pytest.mark.parametrize("name", [name for name in FIGURES if "power" in name])
def test_the_small_scale_changes_size_and_data_but_neither_schemes_nor_judgement(name):
    full, small = (load_study(find_study(name), scale) for scale in ("full", "small"))
    assert list(full["schemes"]) == list(small["schemes"])
    for key in ("metric", "result", "reference", "num_devices", "figure"):
        assert full.get(key) == small.get(key)


def test_published_curves_are_apart_at_small_scale_only():
    assert "apart" not in load_study(find_study("cifar10-power"), "full")["published"]
    assert load_study(find_study("cifar10-power"), "small")["published"]["apart"] is True
    assert all(entry["apart"] for entry in load_study(find_study("power-laws"), "small")["published"])


def test_a_key_that_is_null_in_small_falls_away(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1\nb: 2\nsmall: {a: null, c: 3}\n")
    assert load_study(str(tmp_path / "x.yaml"), "small") == {"b": 2, "c": 3}
    assert load_study(str(tmp_path / "x.yaml"), "full") == {"a": 1, "b": 2}


def test_a_file_without_a_small_scale_is_refused():
    assert "small" not in load_yaml(find_study("digits"))
    with pytest.raises(BadConfiguration, match="no section 'small'"):
        load_study(find_study("digits"), "small")


def test_an_unknown_study_is_refused():
    with pytest.raises(BadConfiguration, match=f"study must be one of {', '.join(STUDIES)}, got 'powr'"):
        study_of({"study": "powr"})
