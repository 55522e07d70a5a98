"""`laser redraw --style ieee1|ieee2`: a sweep's pictures for a paper, and the panel of the power needed."""

import math
import shutil

import pytest
from helpers.readable import assert_readable
from helpers.sweep_folders import many, write_folder
from helpers.sweep_rows import diverge, fail
from matplotlib.figure import Figure
from PIL import Image

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.reports import paper
from laser_wireless.benchmarks.reports.paper import PAPERS, draw_paper
from laser_wireless.benchmarks.reports.sweep_folder import read_sweep_folder
from laser_wireless.benchmarks.sweeps import plots
from laser_wireless.benchmarks.sweeps.plots import plot_sweep
from laser_wireless.benchmarks.sweeps.power_panel import plot_needed_power

CURVES = {"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0], "noiseless": [1.0, 1.0, 0.5]}


def broken(rows):
    return diverge(fail(rows, "laser", [10], every=2), ["z-sgd"], [1])


CASES = {
    "two schemes": {"curves": CURVES},
    "with intervals of the power": {"curves": CURVES, "powers": True},
    "twelve schemes": {"curves": many(12), "powers": True},
    "failed and diverged": {"curves": CURVES, "change": broken},
    "nothing finite": {"curves": CURVES, "change": lambda rows: diverge(rows, tuple(CURVES)), "targets": [2.5]},
    "beyond the budgets": {"curves": CURVES, "targets": [3.5, 2.5, 1.5, 0.5]},
    "long names": {"curves": {name * 8: losses for name, losses in CURVES.items() if name != "noiseless"}},
}


@pytest.mark.parametrize("style", PAPERS)
@pytest.mark.parametrize("case", CASES)
def test_papers_can_be_read(case, style, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(paper, "_save", lambda figure, path: drawn.append(assert_readable(figure) or figure))
    names, _ = draw_paper(read_sweep_folder(write_folder(tmp_path / "some", **CASES[case])), style, ("pdf",))
    assert len(names) == len(drawn) == (1 if PAPERS[style].together else 3)
    assert {figure.get_figwidth() for figure in drawn} == {PAPERS[style].width}


def width_of(picture):
    with Image.open(picture) as image:
        return image.width


def test_files_for_a_paper(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "some", CURVES, targets=[3.5, 2.5])
    before = {path.name for path in folder.iterdir()}
    assert main(["redraw", "some", "--style", "ieee1"]) == 0
    said = capsys.readouterr().out
    assert "for the caption: bars" in said
    assert "mean and 95 % interval over 3 seeds" in said
    assert "triangles: more than the highest, or less than the lowest budget is needed" in said
    names = {f"{name}-ieee1.{kind}" for name in ("curves", "power", "savings") for kind in ("pdf", "png")}
    assert {path.name for path in folder.iterdir()} - before == names
    assert width_of(folder / "curves-ieee1.png") == 3.5 * 600
    first = (folder / "curves-ieee1.pdf").read_bytes()
    assert b"/Type3" not in first
    assert b"STIXGeneral" in first
    assert main(["redraw", "some", "--style", "ieee1", "--formats", "pdf"]) == 0
    assert (folder / "curves-ieee1.pdf").read_bytes() == first
    assert main(["redraw", "some", "--style=ieee2", "--formats=png"]) == 0
    assert width_of(folder / "sweep-ieee2.png") == 7.16 * 600
    assert not (folder / "sweep-ieee2.pdf").exists()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs TeX: apt-get install texlive-latex-recommended")
def test_pgf_is_written_where_there_is_tex(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "some", CURVES)
    assert main(["redraw", "some", "--style", "ieee2", "--formats", "pgf"]) == 0
    assert r"\begin{pgfpicture}" in (folder / "sweep-ieee2.pgf").read_text()


def test_screen_is_the_usual_style(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "some", CURVES)
    assert main(["redraw", "some"]) == 0
    before = (folder / "sweep.png").read_bytes()
    assert main(["redraw", "some", "--style", "screen"]) == 0
    assert (folder / "sweep.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "redraw some --style ieee1 --formats svg",
            "--formats must be of pdf, png, pgf, with commas between them",
        ),
        ("redraw some --style ieee1 --formats pgf", "--formats pgf needs a TeX system"),
        ("redraw some --formats pdf", "--formats needs --style ieee1 or ieee2, got screen"),
        ("redraw some --style ieee3", "nor a file, nor screen, ieee1, ieee2"),
        ("redraw nowhere --style ieee1", "there is no folder nowhere"),
        ("redraw some --style ieee1 --style ieee2", "--style must be given once"),
    ],
)
def test_bad_words_are_named(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paper, "_tex", lambda: None)
    write_folder(tmp_path / "some", CURVES)
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_bands_that_have_no_end_run_to_the_rim(tmp_path):
    found = read_sweep_folder(write_folder(tmp_path / "some", CURVES, powers=True))
    open_rows = [row | {"power_high": math.inf} for row in found.savings if row["scheme"] == "laser"]
    axes = Figure().subplots()
    plot_needed_power(axes, found.sweep, open_rows)
    [top] = {round(axes.get_ylim()[1], 6)}
    band = axes.collections[0].get_paths()[0].vertices
    assert round(band[:, 1].max(), 6) == top
    assert top < 12  # dB: the rim lies near what is finite


@pytest.mark.parametrize("case", CASES)
def test_the_picture_of_a_sweep_has_a_panel_of_powers_where_they_have_intervals(case, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "save", lambda figure, path: figure)
    found = read_sweep_folder(write_folder(tmp_path / "some", **CASES[case]))
    figure = plot_sweep(found.sweep, found.table, found.savings, tmp_path / "picture", "a title")
    has_powers = any(math.isfinite(row.get("power_low", math.nan)) for row in found.savings)
    assert len(figure.axes) == 2 + has_powers
    assert_readable(figure)
