"""Published curves come with the package, are read by name, and are refused where they do not fit."""

import csv

import pytest

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.sweeps.published import REFERENCE, read_published

CIFAR = {"file": "cifar10-power-accuracy.csv", "series": {"LASER": "laser", "Z-SGD": "z-sgd"}}


def test_series_become_schemes():
    rows, apart = read_published(CIFAR, {"laser", "z-sgd"})
    assert not apart
    assert len(rows) == 20
    values = {(row["scheme"], row["power"]): row["value"] for row in rows}
    assert values["laser", 250] == 0.8851
    assert values["z-sgd", 128000] == 0.9218


def test_several_files_and_columns_in_names():
    entries = [CIFAR, {"file": "w16-rank-study.csv", "series": {"LASER": "r={rank}"}, "apart": True}]
    rows, apart = read_published(entries)
    assert apart
    assert {row["scheme"] for row in rows} == {"laser", "z-sgd", "r=1", "r=2", "r=4", "r=8", "r=16", "r=32"}


def test_series_without_a_value_are_left_out():
    rows, _ = read_published({"file": "talk-communication-cost.csv", "series": {"LASER": "laser", "A-DSGD": "a-dsgd"}})
    assert [(row["scheme"], row["value"]) for row in rows] == [("laser", 3)]


def test_none_is_no_curve():
    assert read_published(None) == ([], False)


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.csv")), ids=lambda path: path.stem)
def test_every_file_that_comes_along_can_be_read(path):
    with path.open(newline="") as file:
        series = {row["series"] for row in csv.DictReader(file)}
    rows, _ = read_published({"file": path.name, "series": dict.fromkeys(series, "x")})
    assert {row["series"] for row in rows} >= series - {"A-DSGD"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("series,power\nLASER,1\n", "mine.csv lacks the columns value"),
        ("series,power,value\n", "mine.csv lacks the columns series, value"),
        ("series,power,value\nLASER,1,high\n", "mine.csv, line 2: the value must be a number, got 'high'"),
        ("series,power,value\nLASER,1\n", "mine.csv, line 2: cut short"),
        ("series,power,value\nLASER,1,2", "mine.csv is cut short"),
        ("series,power,value\nOTHER,1,2\n", "no series 'LASER'; it has OTHER"),
    ],
)
def test_malformed_files_are_refused_by_name(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(BadConfiguration, match=message):
        read_published({"file": "mine.csv", "series": {"LASER": "laser"}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (CIFAR | {"file": "cifar11.csv"}, "no file 'cifar11.csv'; .* cifar10-power-accuracy.csv"),
        (CIFAR | {"series": {"LASER": "lasr"}}, "maps to 'lasr', which is not a scheme here"),
        (CIFAR | {"series": {"LASER": "r={rank}"}}, "names a column that .* does not have"),
        (CIFAR | {"serie": {}}, "did you mean series"),
        ({"file": "cifar10-power-accuracy.csv"}, "needs series"),
        ("cifar10-power-accuracy.csv", "published must be a mapping with file and series"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(value, message):
    with pytest.raises(BadConfiguration, match=message):
        read_published(value, {"laser", "z-sgd"})
