"""Pictures: what a study draws, and with what it refuses to."""

import math

import pytest
from matplotlib.axes import Axes

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.sweeps.choices import Point
from laser_wireless.benchmarks.sweeps.figures import plot_communication, plot_spectrum, read_figure
from laser_wireless.benchmarks.sweeps.plots import plot_sweep, style_of
from laser_wireless.benchmarks.sweeps.sweep import sweep_from

SWEEP = sweep_from(
    {
        "task": "digits",
        "uplink": "AnalogUplink",
        "schemes": {f"r={rank}": {"class_path": "LowRank", "init_args": {"rank": rank}} for rank in (1, 2, 4, 8, 16, 32)},
        "energy_budgets": [1, 10],
        "learning_rates": [0.1],
        "seeds": [0, 1],
        "metric": "accuracy",
    }
)
CURVES = {
    name: [Point(name, p, 0.1, "", "", 1, {0: 0.8, 1: 0.8 + p / 100}, [], True) for p in (1, 10)] for name in SWEEP.schemes
}
TABLE = [
    {"scheme": name, "energy_budget": p, "test_accuracy": 0.8, "half_width_95": 0.1, "failed": 0}
    for name in SWEEP.schemes
    for p in (1, 10)
]
PUBLISHED = [
    {"series": "LASER", "scheme": f"r={rank}", "power": p, "rank": rank, "value": 0.9} for rank in (1, 4) for p in (1, 50)
]


def is_drawn(path) -> bool:
    png, pdf = path.with_suffix(".png"), path.with_suffix(".pdf")
    return png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    "figure",
    [{"kind": "argument", "argument": "rank"}, {"kind": "difference", "panels": {"a": {"r=1": "r=2"}, "b": {"r=4": "r=2"}}}],
)
def test_published_layouts_are_drawn(figure, apart, tmp_path):
    second = read_figure(figure, SWEEP)
    second.draw(second.rows_of(CURVES, TABLE), PUBLISHED, apart, tmp_path / "figure", "title")
    assert is_drawn(tmp_path / "figure")


@pytest.mark.parametrize("apart", [True, False])
def test_a_sweep_is_drawn_with_published_curves(apart, tmp_path):
    plot_sweep(SWEEP, TABLE, [], tmp_path / "sweep", "title", PUBLISHED, apart)
    assert is_drawn(tmp_path / "sweep")


def test_the_saving_of_a_single_seed_is_drawn_without_a_bar(monkeypatch, tmp_path):
    drawn = []
    original = Axes.errorbar
    monkeypatch.setattr(
        Axes, "errorbar", lambda axes, x, *rest, **more: drawn.append(list(x)) or original(axes, x, *rest, **more)
    )
    row = {
        "target": 0.9,
        "scheme": "r=1",
        "saving_db": 2.0,
        "low": math.nan,
        "high": math.nan,
        "note": "one seed: no interval",
    }
    plot_sweep(SWEEP, [], [row, row | {"scheme": "r=32", "note": "reference"}], tmp_path / "sweep", "title")
    assert len(drawn) == 1


def test_differences_are_seed_by_seed_and_break_at_a_missing_budget():
    lost = Point("r=2", 10, math.nan, "", "", 1, {}, [], True, 3, 6)
    curves = CURVES | {"r=1": [Point("r=1", 1, 0.1, "", "", 1, {0: 0.5, 1: 0.7}, [], True), CURVES["r=1"][1]]}
    curves |= {"r=2": [CURVES["r=2"][0], lost]}
    rows = read_figure({"kind": "difference", "panels": {"a": {"r=1": "r=2"}}}, SWEEP).rows_of(curves, TABLE)
    assert [row["energy_budget"] for row in rows] == [1, 10]
    assert rows[0]["mean"] == pytest.approx((0.5 - 0.8 + 0.7 - 0.81) / 2)
    assert rows[0]["half_width_95"] == pytest.approx(12.706204736432095 * 0.19 / 2)
    assert math.isnan(rows[1]["mean"])


def test_differences_cannot_be_drawn_from_a_table_alone():
    second = read_figure({"kind": "difference", "panels": {"a": {"r=1": "r=2"}}}, SWEEP)
    with pytest.raises(ValueError, match=r"figure.csv is not there, .* run the sweep again"):
        second.rows_of(None, TABLE)


def test_nine_schemes_have_nine_styles():
    assert len({tuple(style_of(number).values()) for number in range(9)}) == 9
    assert len({style_of(number)["color"] for number in range(9)}) == 9


def test_no_two_of_forty_curves_look_alike():
    assert len({tuple(style_of(number).values()) for number in range(40)}) == 40


def test_spectrum_and_communication_are_drawn(tmp_path):
    rows = [{"seed": 0, "layer": "a", "epoch": epoch, "share": 0.5, "average": 0.5} for epoch in (1, 2)]
    theirs = [{"series": "b", "scheme": "a", "epoch": 1, "value": 0.4}]
    plot_spectrum(rows, theirs, False, tmp_path / "energy", "title")
    plot_communication([{"scheme": "a", "megabytes": 2.0, "megabytes_published": ""}], tmp_path / "bytes", "title")
    assert is_drawn(tmp_path / "energy")
    assert is_drawn(tmp_path / "bytes")


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("rank", "figure must be a mapping"),
        ({"kind": "pie"}, "kind"),
        ({"kind": "argument", "argument": "rnk"}, "the scheme 'r=1' sets no number 'rnk'"),
        ({"kind": "difference"}, "figure.panels must name schemes"),
        ({"kind": "difference", "panels": {"a": {"r=1": "r=3"}}}, "figure.panels must name schemes .* got r=3"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(figure, message):
    with pytest.raises(BadConfiguration, match=message):
        read_figure(figure, SWEEP)
