"""`laser table`: what a paper prints, in Markdown, LaTeX and CSV."""

import csv
import io
import math
import re
import shutil
import subprocess

import pytest
from helpers.sweep_folders import NASTY, write_folder
from helpers.sweep_rows import diverge, fail

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.printed_numbers import decibels, significant, with_ends, with_half_width
from laser_wireless.benchmarks.records import read_csv, write_csv
from laser_wireless.benchmarks.reports.sweep_folder import read_sweep_folder
from laser_wireless.benchmarks.reports.table_forms import comma_separated, latex, markdown
from laser_wireless.benchmarks.reports.tables import Table, answers, results_table, savings_table

CURVES = {"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0], "noiseless": [1.0, 1.0, 0.5]}


def broken(rows):
    return diverge(fail(rows, "laser", [10], every=2), ["z-sgd"], [1])


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.20249, 0.013959, "0.202 \u00b1 0.014"),
        (2.3006, 0.0050, "2.3006 \u00b1 0.0050"),
        (0.2304, 0.1234, "0.23 \u00b1 0.12"),
        (0.5, 0.0996, "0.50 \u00b1 0.10"),  # the half width's digits are those after rounding
        (123.4, 45.6, "123 \u00b1 46"),
        (12345.0, 456.0, "12345 \u00b1 456"),
        (-0.04, 0.21, "\u22120.04 \u00b1 0.21"),
        (0.97, 0.0, "0.970 \u00b1 0.000"),
        (0.20249, math.nan, "0.202"),
        (0.0, math.nan, "0"),
        (math.inf, math.nan, "diverged"),
        (-math.inf, math.nan, "diverged"),
        (math.nan, math.nan, "missing"),
    ],
)
def test_a_mean_has_the_digits_that_its_interval_allows(mean, half, text):
    assert with_half_width(mean, half) == text


def test_decibels_have_a_decimal_or_two():
    assert with_ends(1.226, -2.618, 5.071) == "1.2 [\u22122.6, 5.1]"
    assert with_ends(1.226, 1.118, 1.333) == "1.23 [1.12, 1.33]"
    assert with_ends(-0.01, math.nan, math.nan) == "0.0"
    assert (decibels(4), decibels(10), decibels(0.5)) == ("6", "10", "\u22123")
    assert (significant(1234.5), significant(0.0012345), significant(0.2)) == ("1234", "0.00123", "0.200")


def test_results_and_savings_say_what_the_csv_files_hold(tmp_path):
    found = read_sweep_folder(write_folder(tmp_path / "some", CURVES, change=broken))
    results = results_table(found)
    assert results.head == ["scheme", "0 dB", "10 dB", "20 dB"]
    assert results.rows == [
        ["laser", "3.10 \u00b1 0.25", "missing", "1.10 \u00b1 0.25"],
        ["z-sgd", "diverged", "3.10 \u00b1 0.25", "2.10 \u00b1 0.25"],
    ]
    assert "noise variance 1 per real symbol" in results.caption
    assert "mean and 95 % interval over 3 seeds" in results.caption
    assert "without noise: 0.60 \u00b1 0.25" in results.caption
    savings = savings_table(found)
    assert savings.head == ["target test loss", "scheme", "power needed [dB]", "saved against z-sgd [dB]"]
    assert len(savings.rows) == len(found.savings)
    assert savings.rows[0][2:] == ["not known", "not known: runs failed at P = 10"]
    assert answers(found) == [("laser", "no saving against z-sgd is known: not known: runs failed at P = 10")]


def test_power_beyond_the_budgets_and_its_interval(tmp_path):
    folder = write_folder(tmp_path / "some", CURVES, targets=[3.5, 1.5], powers=True)
    rows = savings_table(read_sweep_folder(folder)).rows
    assert [row[2] for row in rows] == ["below 0", "6.0 [3.5, 8.5]", "16.0 [13.5, 18.5]", "above 20"]
    [(name, text)] = answers(read_sweep_folder(folder))
    assert name == "laser"
    assert text.startswith("no saving against z-sgd is known: ")
    assert "below the lowest budget" in text


def test_a_saving_that_is_known_from_one_side_is_said_so(tmp_path):
    folder = write_folder(tmp_path / "some", CURVES, targets=[2.5, 2.4])
    rows = read_csv(folder / "savings.csv")
    nowhere = {"saving_db": math.nan, "low": 3.21, "high": math.inf, "note": "target not reached"}
    wide = {"saving_db": 4.0, "low": 2.5, "high": math.inf, "note": ""}
    write_csv(folder / "savings.csv", [rows[0] | nowhere, rows[1], rows[2] | wide, rows[3]])
    cells = [row[3] for row in savings_table(read_sweep_folder(folder)).rows]
    assert cells == ["at least 3.2; target not reached", "reference", "4.0 [2.5, \u221e]", "reference"]
    write_csv(folder / "savings.csv", [rows[0] | nowhere | {"low": -math.inf, "high": -1.0}, rows[1]])
    [(_, text)] = answers(read_sweep_folder(folder))
    assert text == "no saving against z-sgd is known: at most \u22121.0; target not reached"


def test_an_answer_tells_how_sure_it_is(tmp_path):
    [(_, text)] = answers(read_sweep_folder(write_folder(tmp_path / "sure", CURVES)))
    assert text == "saves 10.0 dB against z-sgd at 4 of 4 targets; the 95 % interval excludes 0 at all of them"
    folder = write_folder(tmp_path / "unsure", CURVES)
    rows = read_csv(folder / "savings.csv")
    write_csv(folder / "savings.csv", [row | {"low": -1.0} for row in rows])
    [(_, text)] = answers(read_sweep_folder(folder))
    assert text.endswith("every 95 % interval contains 0: not shown to be a saving or a loss")
    [(_, text)] = answers(read_sweep_folder(write_folder(tmp_path / "one", CURVES, targets=[2.5])))
    assert re.fullmatch(r"saves 10\.0\d? \[10\.0\d?, 10\.0\d?\] dB against z-sgd at test loss 2\.5", text)


def test_noise_that_differs_or_is_no_number_is_not_claimed(tmp_path):
    schemes = {"laser": {"compressor": "laser", "uplink": {"noise_variance": 0.5}}, "z-sgd": "z-sgd"}
    found = read_sweep_folder(write_folder(tmp_path / "some", CURVES, schemes=schemes))
    assert "noise as configured for each scheme" in results_table(found).caption


def test_more_columns_are_no_trouble(tmp_path):
    folder = write_folder(tmp_path / "some", CURVES)
    before = results_table(read_sweep_folder(folder)), savings_table(read_sweep_folder(folder))
    for name in ("table.csv", "savings.csv"):
        write_csv(folder / name, [{"new": "x"} | row | {"newer": math.nan} for row in read_csv(folder / name)])
    assert (results_table(read_sweep_folder(folder)), savings_table(read_sweep_folder(folder))) == before


TABLE = Table(
    "some", "Caption with 95 % and _.", ["scheme", "loss [dB]"], [[NASTY, "1.2 [\u22120.1, 2.5]"], ["~^\\{}#", "> 3"]]
)


def test_forms_escape_what_they_would_read():
    text = markdown(TABLE)
    lines = text.splitlines()
    assert lines[2:4] == ["| scheme | loss \\[dB\\] |", "| --- | --- |"]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines[2:])
    assert not re.search(r"(?<!\\)<", text)
    rows = list(csv.reader(io.StringIO(comma_separated(TABLE))))
    assert rows == [TABLE.head, [NASTY, "1.2 [-0.1, 2.5]"], TABLE.rows[1]]
    text = latex(TABLE)
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}\#" in text
    assert r"1.2 {[}$-$0.1, 2.5{]}" in text
    assert r"95 \%" in text
    assert r"\begin{tabular}{lc}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs TeX: apt-get install texlive-latex-recommended")
def test_latex_is_set_without_an_error(tmp_path):
    body = latex(TABLE) + latex(results_table(read_sweep_folder(write_folder(tmp_path / "some", CURVES))))
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_command_prints_the_parts_that_are_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "some", CURVES)
    assert main(["table", "some"]) == 0
    both = capsys.readouterr().out
    assert both.count("\n| --- ") == 2
    assert both.index("| scheme | 0 dB") < both.index("power needed")
    assert main(["table", "some", "--format", "latex", "--part", "savings"]) == 0
    assert capsys.readouterr().out.count(r"\begin{table}") == 1
    assert main(["table", "some", "--format=csv", "--part=results"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "scheme,0 dB,10 dB,20 dB"
    assert main(["table", "--help"]) == 0
    assert "--part PART" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("table nowhere", "there is no folder nowhere"),
        ("table some other", "laser table takes one folder, got 2"),
        ("table --format latex", "laser table takes one folder, got 0"),
        ("table some --format html", "--format must be one of markdown, latex, csv, got 'html'"),
        ("table some --part half", "--part must be one of results, savings, all, got 'half'"),
        ("table some --format", "--format needs a value"),
        ("table some --format csv --format csv", "--format must be given once, got 'csv' already"),
        ("table some --fromat csv", "it has --format and --part; did you mean --format?"),
    ],
)
def test_bad_words_are_named(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
