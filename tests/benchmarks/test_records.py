"""Records come back to the bit, or are refused by name."""

import math

import numpy as np
import pytest

from laser_wireless.benchmarks.records import aligned, read_csv, read_json, write_csv, write_json

ROWS = [{"name": "a, b", "x": 0.1 + 0.2, "n": 3}, {"name": "c", "x": 1e-300, "n": -1}, {"name": "", "x": math.inf, "n": 0}]


def test_rows_come_back_to_the_bit(tmp_path):
    write_csv(tmp_path / "rows.csv", ROWS)
    assert read_csv(tmp_path / "rows.csv") == ROWS


def test_numbers_of_numpy_are_numbers(tmp_path):
    path = tmp_path / "rows.csv"
    write_csv(path, [{"a": np.float64(0.1), "b": np.int64(3), "c": np.float64("nan")}])
    assert path.read_text() == "a,b,c\n0.1,3,nan\n"


def test_nothing_but_the_target_is_left_behind(tmp_path):
    write_csv(tmp_path / "rows.csv", ROWS)
    write_json(tmp_path / "x.json", {"a": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "x.json"]


@pytest.mark.parametrize("missing", [1, 2, 8, 12])
def test_a_file_that_is_cut_short_is_refused(tmp_path, missing):
    path = tmp_path / "rows.csv"
    write_csv(path, ROWS)
    path.write_text(path.read_text()[:-missing])
    with pytest.raises(ValueError, match=r"rows.csv.* cut short"):
        read_csv(path)


def test_a_row_with_a_missing_cell_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match=r"rows.csv, line 3: cut short"):
        read_csv(path)


def test_rows_of_other_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="all rows must have the columns"):
        write_csv(tmp_path / "rows.csv", [{"a": 1}, {"b": 1}])


@pytest.mark.parametrize("text", ['{"a": 1', "[1]", "\xff"])
def test_unreadable_json_is_refused_with_the_remedy(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"result\.json .*delete it to compute it again"):
        read_json(path)


def test_tables_align_and_round():
    assert aligned([{"scheme": "laser", "x": 0.123456789}]) == "scheme        x\n laser  0.12346"
