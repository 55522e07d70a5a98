"""`laser report`: the page itself, opened in a browser without a network."""

import json
import math
import re
import shutil

import pytest
from helpers.browser import CHROMIUM, chromium
from helpers.sweep_folders import NASTY, many, write_folder
from helpers.sweep_rows import diverge, fail

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.loading import run_entries
from laser_wireless.benchmarks.picture import style_of
from laser_wireless.benchmarks.records import read_csv, write_csv
from laser_wireless.benchmarks.reports.night_colours import CONTRAST, NIGHT, contrast
from laser_wireless.benchmarks.reports.runs import runs_of
from laser_wireless.benchmarks.reports.sweep_folder import read_sweep_folder

CURVES = {NASTY: [3.0, 2.0, 1.0], "laser": [3.5, 2.2, 0.9], "z-sgd": [4.0, 3.0, 2.0], "noiseless": [1.0, 1.0, 0.5]}
SWEEP = """
task: {class_path: digits, init_args: {width: 8, batch_size: 4}}
schemes: [laser, z-sgd]
energy_budgets: [1, 100]
learning_rates: [0.01, 0.1]
seeds: [0, 1]
num_devices: 2
num_rounds: 6
evaluate_every: 2
"""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


def broken(rows):
    return diverge(fail(rows, "laser", [10], every=2), ["z-sgd"], [1])


def report_of(folder):
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        yield page


def opened(page, file, **window):
    """Open a page, which must ask for nothing but itself and complain of nothing."""
    page.requests.clear()
    page.complaints.clear()
    page.open(file, **window)
    assert page.requests == [file.resolve().as_uri()]
    assert page.complaints == []
    return page


def count(page, selector):
    return page.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def choose(page, figure, place, value):
    """Take another entry of a figure's select, by its place."""
    page.run(
        f"{{ const select = document.querySelectorAll('#{figure} select')[{place}]; select.value = {json.dumps(value)};"
        " select.dispatchEvent(new Event('change')); }"
    )


def search(page, table, words):
    """Type into the field of a table."""
    page.run(
        f"{{ const field = document.querySelector('#{table} input'); field.value = {json.dumps(words)};"
        " field.dispatchEvent(new Event('input')); }"
    )


@needs_browser
def test_every_row_of_the_tables_has_its_point(tmp_path, page):
    folder = write_folder(tmp_path / "broken", CURVES, change=broken)
    opened(page, report_of(folder))
    rows = read_csv(folder / "table.csv")
    noisy = [row for row in rows if row["scheme"] != "noiseless"]
    assert count(page, "#results .point") == len(noisy) == 9
    assert count(page, "#results .chart .point.hollow") == 2  # one budget missing, one diverged
    assert count(page, "#choices tbody tr") == len(rows)
    notes = page.run("document.getElementById('results').innerText")
    assert "a seed diverged" in notes
    assert "runs failed: a missing budget" in notes
    lost = page.run("document.getElementById('power').innerText")
    assert "laser, target 2.87: not known: runs failed at P = 10" in lost
    known = [row for row in read_csv(folder / "savings.csv") if row["power_db"] == row["power_db"]]
    assert count(page, "#power .point") == len(known)
    text = page.run("document.body.innerText")
    assert "3 of 6 runs failed: a missing budget" in text
    assert "The runs are not there" in text
    assert "least mean validation loss" in text
    assert "a <b> cpu" in text
    assert page.complaints == []


@needs_browser
def test_intervals_without_an_end_and_further_columns_of_savings_are_shown(tmp_path, page):
    folder = write_folder(tmp_path / "open", many(2), powers=True)
    rows = [row | {"power_high": math.inf, "spent_db": row["power_db"] - 1} for row in read_csv(folder / "savings.csv")]
    write_csv(folder / "savings.csv", rows)
    opened(page, report_of(folder))
    rim = page.run("document.querySelector('#power .frame').getBBox().y")
    assert page.run("document.querySelector('#power .band').getBBox().y") == rim
    page.run("document.querySelector('#power .chart').focus()")
    page.press("ArrowRight")
    assert ", \u221e]" in page.run("document.querySelector('#power .tip').innerText")
    choose(page, "power", 0, "spent_db")
    assert count(page, "#power .point") == len(rows)
    assert page.complaints == []


@needs_browser
def test_names_stay_text_whatever_they_hold(tmp_path, page):
    folder = write_folder(tmp_path / "a <i>&amp; b", CURVES)
    opened(page, report_of(folder))
    assert page.run("document.title") == page.run("document.querySelector('h1').textContent") == "a <i>&amp; b"
    assert NASTY in page.run("document.querySelector('.legend').textContent")
    assert count(page, "main b") == 2  # the names of two answers, none of a user's
    assert count(page, "script") == 2
    assert count(page, "main script, main i, main img") == 0


@needs_browser
def test_axes_can_be_chosen_and_schemes_hidden(tmp_path, page):
    folder = write_folder(tmp_path / "some", CURVES)
    opened(page, report_of(folder))
    label = "document.querySelector('#results .chart').parentNode.textContent"
    assert "energy budget P per device and round [dB]" in page.run(label)
    for key, kind, words in (
        ("spent", "log", "energy spent per device and round [dB]"),
        ("snr", "linear", "SNR per real symbol, P / (S \u03c3\u00b2)"),
        ("uses", "log", "channel uses until the end"),
    ):
        choose(page, "results", 2, key)
        choose(page, "results", 3, kind)
        assert words in page.run(label)
        assert count(page, "#results svg .point") - count(page, "#results .legend .point") == 9
    choose(page, "results", 2, "seconds")
    assert count(page, "#results .point") == 0
    assert "without a place on these axes" in page.run("document.getElementById('results').innerText")
    choose(page, "results", 2, "budget")
    page.run("document.querySelector('#results .legend [data-scheme=laser]').click()")
    assert count(page, "#results .point") == count(page, "#power .point") - 2 == 6
    assert page.run("document.querySelector('#power [data-scheme=laser]').getAttribute('aria-pressed')") == "false"
    page.run("document.querySelector('#power .legend [data-scheme=laser]').click()")
    assert count(page, "#results .point") == 9
    assert page.complaints == []


@needs_browser
def test_values_show_under_pointer_and_arrow_keys(tmp_path, page):
    opened(page, report_of(write_folder(tmp_path / "some", CURVES)))
    tip = "document.querySelector('#results .tip')"
    assert page.run(f"{tip}.hidden")
    page.run("document.querySelector('#results .chart').focus()")
    page.press("ArrowRight")
    assert "P = 1 (0 dB)" in page.run(f"{tip}.innerText")
    page.press("Escape")
    assert page.run(f"{tip}.hidden")
    page.run("document.querySelector('#results').scrollIntoView()")
    place = page.run("(({ x, y }) => [x + 4, y + 4])(document.querySelector('#results .point').getBoundingClientRect())")
    page.hover(*place)
    assert "test loss: 3.1 \u00b1 0.25 (95 %)" in page.run(f"{tip}.innerText")


@needs_browser
@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("number", [2, 12])
def test_no_page_is_wider_than_its_window(number, width, tmp_path, page):
    folder = write_folder(tmp_path / "some", many(number), powers=True)
    for dark in (False, True):
        opened(page, report_of(folder), width=width, dark=dark)
        assert page.run("document.documentElement.scrollWidth") <= width
        page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.run("document.documentElement.scrollWidth") <= width
    assert count(page, "#power .band") == number
    page.open(folder / "report.html", width=1000)
    page.call("Emulation.setDeviceMetricsOverride", width=600, height=900, deviceScaleFactor=1, mobile=False)
    settled = "new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(end))))"
    page.run(settled)
    assert page.run("document.querySelector('#results .chart').getBoundingClientRect().right") <= 600


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A sweep with its runs."""
    root = tmp_path_factory.mktemp("computed")
    (root / "mine.yaml").write_text(SWEEP)
    words = ["--device", "cpu", "--jobs", "1", "--output", str(root / "sweep")]
    assert main(["sweep", str(root / "mine.yaml"), *words]) == 0
    return root / "sweep"


def test_runs_in_any_order_make_one_curve_for_each_scheme_and_budget(computed, monkeypatch):
    found = read_sweep_folder(computed)
    ordered = runs_of(found)
    by_seed = sorted(run_entries(computed), key=lambda entry: entry.known["seed"])
    monkeypatch.setattr("laser_wireless.benchmarks.reports.runs.run_entries", lambda path: by_seed)
    keys = [(curve["scheme"], curve["budget"], curve["quantity"]) for curve in runs_of(found).curves]
    assert len(set(keys)) == len(keys) == len(ordered.curves)


@needs_browser
def test_runs_can_be_filtered_and_sorted_and_converge(computed, page):
    opened(page, report_of(computed))
    assert count(page, "#runs tbody tr") == 20
    choose(page, "runs", 0, "=laser")
    assert count(page, "#runs tbody tr") == 8
    choose(page, "runs", 1, "=100")
    assert count(page, "#runs tbody tr") == 4
    page.run(
        "{ const i = document.querySelector('#runs input'); i.value = 'seed1 lr0.1'; i.dispatchEvent(new Event('input')); }"
    )
    assert count(page, "#runs tbody tr") == 1
    assert "1 of 20 rows" in page.run("document.getElementById('runs').innerText")
    for place, value in ((0, ""), (1, "")):
        choose(page, "runs", place, value)
    search(page, "runs", "")
    header = "[...document.querySelectorAll('#runs th')].find((th) => th.textContent === 'test loss')"
    column = "[...document.querySelectorAll('#runs tbody tr')].map((tr) => tr.children[8].textContent).map(Number)"
    for order, reverse in (("ascending", False), ("descending", True)):
        page.run(f"{header}.querySelector('button').click()")
        assert page.run(f"{header}.getAttribute('aria-sort')") == order
        found = page.run(column)
        assert found == sorted(found, reverse=reverse)
    assert count(page, "#convergence .point") == 3 * 3  # two schemes at a budget and the noiseless one, three looks each
    choose(page, "convergence", 1, "training loss")
    assert count(page, "#convergence .point") == 3 * 6
    lines = "[...document.querySelectorAll('svg .line, svg .level')].map((line) => getComputedStyle(line).fill)"
    assert set(page.run(lines)) == {"none"}
    assert page.complaints == []


def data_of(file):
    text = file.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)[1])


def test_runs_are_told_by_what_they_became(computed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(computed, folder)
    rows = data_of(report_of(folder))["runs"]
    assert {row["status"] for row in rows} == {"done"}
    assert sum(row["chosen"] == "yes" for row in rows) == 10
    (folder / "runs" / rows[0]["folder"] / "result.json").unlink()
    (folder / "runs" / rows[1]["folder"] / "result.json").unlink()
    (folder / "runs" / rows[1]["folder"] / "error.txt").write_text("it raised")
    data = data_of(report_of(folder))
    assert [row["status"] for row in data["runs"][:3]] == ["not done", "failed", "done"]
    assert data["runs"][1]["reason"] == f"see {rows[1]['folder']}/error.txt"
    assert data["remarks"][-1].startswith("1 of 20 runs are not there")


def test_convergence_is_that_of_the_chosen_runs(computed):
    data = data_of(report_of(computed))
    [row] = [row for row in read_csv(computed / "table.csv") if (row["scheme"], row["energy_budget"]) == ("laser", 100)]
    mine = [c for c in data["convergence"] if (c["scheme"], c["budget"]) == ("laser", 100)]
    loss, training = (next(c for c in mine if c["quantity"] == name) for name in ("validation loss", "training loss"))
    assert loss["round"] == [2, 4, 6]
    assert loss["mean"][-1] == pytest.approx(row["validation_loss"], rel=1e-5)
    assert loss["energy"][-1] == pytest.approx(6 * row["energy_spent_per_round"], rel=1e-5)
    assert loss["uses"][-1] == pytest.approx(6 * row["num_channel_uses_per_round"], rel=1e-5)
    assert training["round"] == [1, 2, 3, 4, 5, 6]
    [point] = [p for p in data["points"] if (p["scheme"], p["budget"]) == ("laser", 100)]
    assert point["snr"] == pytest.approx(100 / int(row["num_symbols_per_round"]), rel=1e-5)  # sigma^2 = 1
    assert point["seconds"] == "nan"


def test_time_on_the_air_is_that_of_the_ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    words = ["--uplink.bandwidth_hz", "1000", "--device", "cpu", "--jobs", "1", "--output", "timed"]
    assert main(["sweep", "mine.yaml", *words]) == 0
    data = data_of(report_of(tmp_path / "timed"))
    for point in data["points"]:
        if point["scheme"] != "noiseless":  # its uplink has no bandwidth
            assert point["seconds"] == pytest.approx(point["uses"] / 1000, rel=1e-4)


def test_schemes_that_the_configuration_no_longer_names_are_shown_too(tmp_path):
    folder = write_folder(tmp_path / "some", many(3))
    content = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(content.replace("scheme 1: laser", "renamed: laser"))
    data = data_of(report_of(folder))
    assert [scheme["name"] for scheme in data["schemes"]] == ["scheme 0", "renamed", "z-sgd", "scheme 1"]
    assert {point["scheme"] for point in data["points"]} == {"scheme 0", "scheme 1", "z-sgd", "noiseless"}


@pytest.mark.parametrize("name", ["digits", "power-laws-small", "digits-channels"])
def test_committed_results_have_a_page_without_their_runs(name, tmp_path, capsys):
    from laser_wireless.benchmarks.sweeps.published import REFERENCE

    folder = tmp_path / name
    shutil.copytree(REFERENCE.parent / "results" / name, folder)
    data = data_of(report_of(folder))
    assert "there is no runs/" in capsys.readouterr().out
    assert len(data["points"]) == len(read_csv(folder / "table.csv"))
    assert data["runs"] is None
    assert len(data["answers"]) == len(data["schemes"]) - 1
    assert (folder / "report.html").stat().st_size < 150_000


def test_colours_are_those_of_the_pictures_and_seen_by_night(tmp_path):
    folder = write_folder(tmp_path / "some", many(12))
    schemes = data_of(report_of(folder))["schemes"]
    looks = [style_of(number) for number in range(12)]
    assert [(scheme["colour"], scheme["marker"]) for scheme in schemes] == [
        (look["color"], look["marker"]) for look in looks
    ]
    ground = [int(NIGHT[place : place + 2], 16) for place in (1, 3, 5)]
    assert f"--ground: {NIGHT}" in (folder / "report.html").read_text(encoding="utf-8")
    for scheme in schemes:
        dark = [int(scheme["dark"][place : place + 2], 16) for place in (1, 3, 5)]
        assert contrast(dark, ground) >= CONTRAST
    assert contrast([0, 0, 0], [255, 255, 255]) == 21


def test_the_page_names_no_address(tmp_path):
    text = report_of(write_folder(tmp_path / "some", CURVES)).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, asked for by nobody
    assert not re.search(r"<link|<img|@import|src=|url\(", text)


def test_folders_and_words_that_are_none_of_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "good", CURVES)
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    shutil.copy("good/sweep.yaml", "begun")
    write_folder(tmp_path / "other", CURVES)
    (tmp_path / "other" / "sweep.yaml").write_text("study: communication\nmodel: digits\n")
    for words, message in (
        ("report nowhere", "there is no folder nowhere"),
        ("report empty", "empty is no sweep: it has no sweep.yaml"),
        ("report begun", "begun has no table.csv: the sweep has not ended; the same laser sweep goes on from there"),
        ("report other", "must be of a sweep over power, got the study 'communication'"),
        ("report good --open yes", "'--open' is not an option of laser report; it takes folders alone"),
    ):
        assert main(words.split()) == 2
        assert message in capsys.readouterr().err
    assert main(["report", "--help"]) == 0
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("table.csv", "test_loss", "loss", "table.csv lacks the column test_loss"),
        ("table.csv", "3.2", "much", "line 2, test_loss: must be a number, got 'much"),
        ("savings.csv", "power_db", "power", "savings.csv lacks the column power_db"),
        ("environment.json", "{", "[", "environment.json is not readable"),
    ],
)
def test_damaged_files_are_named(file, old, new, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "some", {"laser": [3.1, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    path = folder / file
    path.write_text(path.read_text().replace(old, new, 1))
    assert main(["report", "some"]) == 1
    assert message in capsys.readouterr().err
