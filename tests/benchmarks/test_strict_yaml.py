"""YAML is read by the rules of version 1.2, strictly, and what is written is read back the same, here and by others."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_wireless.benchmarks.strict_yaml import NotYaml, dump_yaml, parse_yaml
from laser_wireless.benchmarks.sweeps.study_file import PRESETS

_WORDS = "1e3 010 1:10 yes on null ~ 0o7 1_000 .inf 2026-01-01 << = # -"
texts = st.sampled_from([*_WORDS.split(" "), "", "- a", "a: b"]) | st.text(st.characters(codec="utf-8"), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(plain)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(content):
    assert parse_yaml(dump_yaml({"key": content})) == {"key": content}
    assert yaml.safe_load(dump_yaml({"key": content})) == {"key": content}


@given(st.text(st.sampled_from("a1.e-_:,[]{}&*!|>'\"#%@<~ \n\t\0\x85\ufeffé"), max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text):
    said = ""
    try:
        parse_yaml(text)
    except NotYaml as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_read_the_same_by_either_version_of_yaml(path):
    assert parse_yaml(path.read_text()) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e3", 1000.0),
        ("-1E-3", -1e-3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.", 1.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("True", True),
        ("yes", "yes"),
        ("1:10", "1:10"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("inf", "inf"),
        ("'3'", "3"),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
        ("", None),
        ("{1e3: a, null: b}", {"1e3": "a", "null": "b"}),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("[&x [1], *x]", [[1], [1]]),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, meant):
    found = parse_yaml(text)
    assert found == meant
    assert type(found) is type(meant)


def test_what_an_alias_stands_for_is_a_copy():
    found = parse_yaml("[&x {a: 1}, *x]")
    found[0]["a"] = 2
    assert found[1] == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1, a: 2}", "line 1, column 8: the key 'a' must not stand twice"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4, column 3: the key 'c' must not stand twice: it stands in line 3"),
        ("&a [*a]", "alias stands inside what it names"),
        ("!!set {a}", "tag !!set is not understood"),
        ("1e999", "beyond the largest float"),
        ("9" * 500, "500 digits"),
        ("a\0", "character 2 is 0x00"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_not_strictly_yaml_is_refused_in_one_line(text, message):
    with pytest.raises(NotYaml, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)
