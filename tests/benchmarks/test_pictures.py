"""Every picture can be read, whatever its data: ticks, labels, bars, and what is said where there is nothing to draw."""

import math
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from helpers.readable import assert_readable
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from laser_wireless.benchmarks.calculations import plots_theory
from laser_wireless.benchmarks.calculations.plots_theory import plot_influence
from laser_wireless.benchmarks.channel_views import plots as channel_plots
from laser_wireless.benchmarks.channel_views.error import AVERAGED, SIMULATED
from laser_wireless.benchmarks.channel_views.plots import plot_correlation, plot_error, plot_gains, plot_spectrogram
from laser_wireless.benchmarks.channel_views.spectrogram import Spectrogram
from laser_wireless.benchmarks.picture import Series, draw_series, plain, readable
from laser_wireless.benchmarks.sweeps import figures, pareto, plots
from laser_wireless.benchmarks.sweeps.figures import plot_communication, plot_spectrum, read_figure
from laser_wireless.benchmarks.sweeps.pareto import has_front, plot_pareto
from laser_wireless.benchmarks.sweeps.plots import plot_sweep
from laser_wireless.benchmarks.sweeps.sweep import read_sweep

AS_FOUND = {"deadline": None, "derandomize": True, "phases": [Phase.generate]}  # a drawing is too slow to shrink
RANKS = (1, 2, 4, 8, 16, 32)


@pytest.fixture(autouse=True)
def _without_files(monkeypatch, request):
    """Most tests look at the figure alone: writing it takes longer than drawing it."""
    if "of_files" not in request.node.name:
        for module in (plots, figures, pareto, channel_plots, plots_theory):
            monkeypatch.setattr(module, "save", lambda figure, path, **more: figure)


def make_sweep(schemes, budgets, **more):
    content = {
        "task": "digits",
        "uplink": "AnalogUplink",
        "schemes": schemes,
        "energy_budgets": budgets,
        "learning_rates": [0.1],
        "seeds": [0, 1, 2],
    }
    return read_sweep(content | more)


def table_of(curves, half=0.1, metric="loss"):
    """Rows of table.csv; curves: scheme -> {budget: mean}, NaN for a budget whose runs failed; half: relative."""
    return [
        {
            "scheme": scheme,
            "energy_budget": budget,
            "seeds": 3,
            "failed": 3 if math.isnan(mean) else 0,
            f"test_{metric}": mean,
            "half_width_95": half * abs(mean) if math.isfinite(mean) else math.nan,
        }
        for scheme, points in curves.items()
        for budget, mean in points.items()
    ]


def saved_of(targets, values, schemes=("laser", "z-sgd")):
    rows = []
    for target, value in zip(targets, values, strict=True):
        for scheme in schemes:
            saving = 0.0 if scheme == "z-sgd" else value
            note = "reference" if scheme == "z-sgd" else "" if math.isfinite(value) else "not known: runs failed at P = 1"
            ends = {"low": saving - abs(value) / 2, "high": saving + abs(value) / 2}
            rows.append(
                {"target": target, "scheme": scheme, "reference": "z-sgd", "saving_db": saving, **ends, "note": note}
            )
    return rows


@pytest.mark.slow
@settings(max_examples=30, **AS_FOUND)
@given(
    scale=st.sampled_from(["log", "linear"]),
    start=st.floats(-9, 9),
    span=st.floats(0.005, 14),
    sizes=st.tuples(st.floats(3, 8), st.floats(2.5, 5)),
)
def test_axes_over_any_range_have_labels_that_do_not_overlap(scale, start, span, sizes):
    values = 10.0 ** np.linspace(start, start + span, 5)
    figure = Figure(figsize=sizes, layout="constrained")
    axes = figure.subplots()
    axes.plot(values, values[::-1])
    axes.set(xscale=scale, yscale=scale)
    readable(axes)
    assert_readable(figure)


@settings(max_examples=15, **AS_FOUND)
@given(offset=st.floats(-1e4, 1e4), span=st.floats(0.01, 1e6))
def test_linear_axes_far_from_zero_can_be_read(offset, span):
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([offset, offset + span], [offset + span, offset])
    readable(axes)
    assert_readable(figure)


def test_the_check_itself_finds_what_it_looks_for():
    def figure_with(change):
        figure = Figure(figsize=(4, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot([1, 2], [3, 4])
        change(figure, axes)
        return figure

    faults = {
        "overlap": lambda figure, axes: axes.set_yticks(np.linspace(3, 4, 60)),
        "fewer than two": lambda figure, axes: axes.set_yticks([3.5]),
        "an empty panel": lambda figure, axes: axes.lines[0].remove() or axes.dataLim.set_points(np.full((2, 2), np.nan)),
        "leaves the picture": lambda figure, axes: figure.set_layout_engine("none") or axes.set_ylabel("a" * 80),
        "title of": lambda figure, axes: (
            figure.set_layout_engine("none") or (figure.suptitle("t", y=0.92) and axes.set_title("u"))
        ),
    }
    assert_readable(figure_with(lambda figure, axes: None))
    for message, change in faults.items():
        with pytest.raises(AssertionError, match=message):
            assert_readable(figure_with(change))


def test_numbers_are_written_so_that_they_differ():
    assert plain([0.1, 0.12, 0.15]) == ["0.1", "0.12", "0.15"]
    assert plain([0, 2.5, 5]) == ["0", "2.5", "5"]
    assert plain([-1, 0]) == ["\N{MINUS SIGN}1", "0"]
    assert plain([1e-4, 1e-3]) == ["$10^{-4}$", "$10^{-3}$"]
    assert plain([100000.5, 100000.6])[0] != plain([100000.5, 100000.6])[1]


LOSSES = {
    "within a tenth": {1: 0.131, 10: 0.13, 100: 0.129},
    "within a decade": {1: 2.3, 10: 0.4, 100: 0.12},
    "five decades, one scheme about to diverge": {1: 3e4, 10: 0.4, 100: 0.12},
    "twelve decades": {1: 1e9, 10: 0.4, 100: 1e-3},
    "diverged at the lowest": {1: math.inf, 10: 0.4, 100: 0.12},
    "failed at the lowest": {1: math.nan, 10: 0.4, 100: 0.12},
    "failed in the middle": {1: 2.0, 10: math.nan, 100: 0.12},
    "diverged everywhere": {1: math.inf, 10: math.inf, 100: math.inf},
    "failed everywhere": {1: math.nan, 10: math.nan, 100: math.nan},
    "one budget": {10: 0.4},
    "a loss of zero": {1: 0.2, 10: 0.1, 100: 0.0},
}


@pytest.mark.parametrize("half", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_a_sweep_can_be_read(losses, half, tmp_path):
    sweep = make_sweep(["laser", "z-sgd"], list(losses))
    curves = {"laser": losses, "z-sgd": {p: 1.2 * loss for p, loss in losses.items()}, "noiseless": {max(losses): 0.1}}
    saved = saved_of([0.5, 0.3], [3.0, -1.0]) if half else saved_of([0.5, 0.3], [math.nan, math.nan])
    assert_readable(plot_sweep(sweep, table_of(curves, half), saved, tmp_path / "sweep", "a title"))


def test_a_sweep_without_anything_finite_says_so(tmp_path):
    sweep = make_sweep(["laser", "z-sgd"], [1, 10])
    everything = {scheme: {1: math.inf, 10: math.inf} for scheme in ("laser", "z-sgd", "noiseless")}
    figure = plot_sweep(sweep, table_of(everything), [], tmp_path / "sweep", "a title")
    assert_readable(figure)
    said = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "every run diverged" in said
    assert "no target is passed" in said


@pytest.mark.parametrize(("metric", "apart", "count"), list(product(["accuracy", "perplexity"], [False, True], [2, 8])))
def test_a_sweep_of_many_schemes_and_published_curves_can_be_read(metric, apart, count, tmp_path):
    names = [f"a scheme {i}" for i in range(count - 1)] + ["z-sgd"]
    sweep = make_sweep(dict.fromkeys(names, "z-sgd"), [0.001, 1, 1000], metric=metric)
    values = {0.001: 0.11, 1: 0.5, 1000: 0.97} if metric == "accuracy" else {0.001: 4e4, 1: 30.0, 1000: 12.0}
    published = [{"scheme": "z-sgd", "power": p, "value": v} for p, v in ((10, values[0.001]), (1e5, values[1000]))]
    table = table_of(dict.fromkeys([*names, "noiseless"], values), 0.05, metric)
    saved = saved_of([0.9, 0.8, 0.7, 0.6], [12.0, 3.0, 4.0, 5.0], names)
    title = "a rather long name of a study: K = 1000, 100000 rounds, candidates chosen on validation, and more than one line"
    assert_readable(plot_sweep(sweep, table, saved, tmp_path / "sweep", title, published, apart))


def test_twenty_targets_have_as_many_labels_as_have_room(tmp_path):
    names = [f"scheme {i}" for i in range(6)] + ["z-sgd"]
    sweep = make_sweep(dict.fromkeys(names, "z-sgd"), [1, 10])
    targets = [round(0.1 + 0.0123 * i, 4) for i in range(20)]
    table = table_of({name: {1: 0.4, 10: 0.1} for name in names})
    assert_readable(plot_sweep(sweep, table, saved_of(targets, [1.0] * 20, names), tmp_path / "sweep", "a title"))


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("num_targets", [1, 3, 9])
def test_what_schemes_need_in_energy_and_channel_uses_can_be_read(count, num_targets, tmp_path):
    names = [f"a scheme {i}" for i in range(count - 1)] + ["z-sgd"]
    rows = [
        {
            "target": 0.1 + 0.01 * t,
            "scheme": name,
            "seeds": 3 + t,
            "power_db": 5.0 + t,
            "power_low": 3.0,
            "power_high": math.inf,
        }
        | {"spent_db": 4.0 + t + i, "channel_uses": 10.0 ** (4 - i % 4), "on_front": "yes" if i < 4 else ""}
        for t in range(num_targets)
        for i, name in enumerate(names)
    ]
    if len(rows) > 2:
        rows[0] |= {"spent_db": math.nan, "channel_uses": math.nan}  # not reached
    assert has_front(rows)
    figure = plot_pareto(make_sweep(dict.fromkeys(names, "z-sgd"), [1, 10]), rows, tmp_path / "pareto", "a title")
    assert_readable(figure)
    assert len(figure.axes) == min(num_targets, 4)


def test_where_all_schemes_use_the_channel_alike_there_is_no_front():
    rows = [{"target": 1.0, "scheme": name, "spent_db": 3.0, "channel_uses": 10.0} for name in ("a", "b")]
    assert not has_front(rows)
    assert not has_front([{"target": 1.0, "scheme": "a"}])  # of an older file


def rank_sweep():
    schemes = {f"r={rank}": {"class_path": "LowRank", "init_args": {"rank": rank}} for rank in RANKS}
    return make_sweep(schemes, [1, 10], metric="accuracy")


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("value", [0.9, math.inf, math.nan])
def test_second_pictures_can_be_read(value, apart, tmp_path):
    sweep = rank_sweep()
    published = [
        {"scheme": f"r={r}", "series": "s", "power": p, "rank": r, "value": 0.9 + r / 1000}
        for r in RANKS
        for p in (1, 50, 4e5)
    ]
    table = table_of({f"r={r}": {1: 0.5 + r / 100, 10: value} for r in RANKS}, 0.2, "accuracy")
    second = read_figure({"kind": "argument", "argument": "rank"}, sweep)
    assert_readable(second.draw(second.rows_of(None, table), published, apart, tmp_path / "figure", "a title"))
    panels = {"up": {"r=1": "r=2", "r=8": "r=2"}, "down": {"r=4": "r=2"}}
    rows = [
        {"panel": panel, "scheme": s, "reference": r, "energy_budget": p, "mean": value - 0.5, "half_width_95": 0.1}
        for panel, pairs in panels.items()
        for s, r in pairs.items()
        for p in (1, 10, 100)
    ]
    second = read_figure({"kind": "difference", "panels": panels}, sweep)
    assert_readable(second.draw(rows, published, apart, tmp_path / "figure", "a title"))


@pytest.mark.parametrize(("seeds", "apart"), [([0], False), ([0, 1], True)])
def test_spectrum_and_communication_can_be_read(seeds, apart, tmp_path):
    layers = ("blocks.0.attention.projection.weight", "blocks.1.weight")
    rows = [
        {"seed": seed, "layer": layer, "epoch": epoch, "share": 0.9 - seed / 50, "average": 0.9 - seed / 100 - epoch / 1000}
        for seed in seeds
        for layer in layers
        for epoch in range(1, 6)
    ]
    theirs = [{"series": "a layer of theirs (64 x 576)", "scheme": layers[0], "epoch": e, "value": 0.4} for e in (1, 150)]
    assert_readable(plot_spectrum(rows, theirs, apart, tmp_path / "energy", "a title"))
    for sizes in ([2.0], [0.001, 3.2, 495.9], [2.0, 2.01]):
        weights = [
            {"scheme": f"scheme {'abc'[i]}", "megabytes": mb, "megabytes_published": mb} for i, mb in enumerate(sizes)
        ]
        assert_readable(plot_communication(weights, tmp_path / "bytes", "a title"))


def channel_rows(mse, silent=0.0, outage=0.0, snrs=(-20.0, 0.0, 20.0), case="TruncatedInversion", error=0.1, **more):
    return [
        {
            "case": case,
            "snr_db": snr,
            "mse": value,
            "mse_se": error * value,
            "mse_given_gains": value,
            "mse_theory": value,
            "silent": silent,
            "silent_low": silent / 2,
            "silent_high": min(1.0, 1.5 * silent) or 0.003,
            "silent_theory": silent,
            "outage": outage,
            "outage_low": outage / 2,
            "outage_high": min(1.0, 2 * outage) or 0.003,
            "outage_theory": silent**16,
            "energy_spent": 0.3,
            "energy_spent_se": 0.01,
            "energy_spent_largest": 1.0,
            "independent": 1000,
            "closed_form": AVERAGED,
            **more,
        }
        for snr, value in zip(snrs, mse, strict=True)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        channel_rows([3.0, 0.1, 0.01]),
        channel_rows([3.0, 2.9, 2.8], silent=0.1),
        channel_rows([1e6, 1.0, 1e-6], silent=0.99, outage=0.8),
        channel_rows([1.0, 0.1, 0.01], silent=1.0, outage=1.0),
        channel_rows([1.0, 0.1, 0.01], silent_theory=math.nan, outage_theory=math.nan, closed_form=SIMULATED),
        channel_rows([3.0], silent=0.1, snrs=[0.0], mse_theory=math.inf),
        channel_rows([0.0, 0.0, 0.0]),
        [
            row
            for i in range(9)
            for row in channel_rows([3.0 * i + 1, 0.1, 0.01], silent=0.1 * (i % 2), case=f"case {i}, N_r = 16")
        ],
    ],
)
def test_errors_and_silence_of_a_channel_can_be_read(rows, tmp_path):
    assert_readable(plot_error(rows, tmp_path / "channel", "Rayleigh, K = 16, one gain per device and round"))


def test_what_was_never_seen_is_an_upper_bound_and_not_a_zero(tmp_path):
    figure = plot_error(channel_rows([3.0, 0.1, 0.01], silent=0.1), tmp_path / "channel", "a title")
    silence = figure.axes[1]
    assert silence.get_yscale() == "log"
    [bound] = [line for line in silence.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert list(bound.get_ydata()) == [0.003] * 3
    assert "none seen: 95 % upper bound" in [text.get_text() for text in silence.get_legend().get_texts()]
    assert all(value > 0 for line in silence.lines for value in line.get_ydata() if not math.isnan(value))


@pytest.mark.parametrize("power", [1e-5, 0.1, 1.0])
def test_gains_can_be_read(power, tmp_path):
    rows = []
    for quantity, grid in (
        ("envelope", np.linspace(0.03, 3, 20)),
        ("power_below", np.arange(-40, 12.5, 2)),
        ("power_above", np.arange(-40, 12.5, 2)),
        ("phase", np.linspace(-3, 3, 12)),
    ):
        rows += [
            {"fading": f, "quantity": quantity, "x": x, "simulated": power, "standard_error": power / 10, "theory": power}
            | {"independent": 100}
            for f in ("Rayleigh", "SionnaTdl (profile = C, delay_spread = 300 ns)")
            for x in grid
        ]
    assert_readable(plot_gains(rows, tmp_path / "gains", "Rayleigh: 100 independent samples", -10.0))


def test_gains_that_never_change_can_be_read(tmp_path):
    rows = [
        {"fading": "NoFading", "quantity": quantity, "x": x, "simulated": float(x >= 0), "standard_error": 0.0}
        | {"independent": 100, "theory": math.nan}
        for quantity in ("envelope", "power_below", "power_above", "phase")
        for x in np.linspace(-3, 3, 9)
    ]
    assert_readable(plot_gains(rows, tmp_path / "gains", "a title", -10.0))


@pytest.mark.parametrize("step", [1e-9, 1e-3, 1.0, 3e5])
@pytest.mark.parametrize("axes", [["round"], ["slot", "frequency"]])
def test_correlations_can_be_read(axes, step, tmp_path):
    rows = [
        {"fading": f, "axis": axis, "lag": lag, "offset": lag * step, "unit": "Hz" if axis == "frequency" else "s"}
        | {"real": 0.9**lag, "real_se": 0.05, "imag": 0.0, "imag_se": 0.05, "theory_real": 0.9**lag, "theory_imag": 0.0}
        | {"links": 16}
        for axis in axes
        for f in ("Jakes (doppler = 50 Hz)", "GaussMarkov")
        for lag in range(13)
    ]
    assert_readable(plot_correlation(rows, tmp_path / "correlation", "a title"))


@pytest.mark.parametrize("error", [0.1, 2.0, math.nan])
def test_a_spectrogram_can_be_read(error, tmp_path):
    delays = np.linspace(0, 3e-6, 30)
    picture = Spectrogram(
        times_s=np.linspace(0, 0.14, 20),
        frequencies_hz=np.linspace(-9e6, 9e6, 16),
        power_db=np.random.default_rng(0).normal(0, 8, (20, 16)),
        delays_s=delays,
        dopplers_hz=np.linspace(-180, 180, 11),
        spreading_db=np.linspace(-90, 0, 330).reshape(30, 11),
        profile=[
            {"delay_s": d, "power": math.exp(-d * 1e6), "standard_error": error, "theory": math.exp(-d * 1e6), "devices": 4}
            for d in delays
        ],
    )
    assert_readable(plot_spectrogram(picture, tmp_path / "spectrogram", "TappedDelayLine (profile = C)"))


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e12, math.nan])
def test_influence_can_be_read(factor, tmp_path):
    rows = [
        {
            "snr_db": snr,
            "scheme": f"scheme {i}",
            "channel": factor * 10 ** (-snr / 10),
            "influence": factor,
            "paper_bound": "",
        }
        for i in range(10)
        for snr in (-40.0, 0.0, 20.0)
    ]
    assert_readable(plot_influence(rows, tmp_path / "influence", "64 x 576 gradient, rank 4, K = 16"))


def test_bars_that_reach_zero_on_a_log_axis_run_to_the_rim_and_do_not_stretch_it():
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    draw_series(axes, [Series([1, 2], [1.0, 0.1], [0.5, -0.4], [1.5, 0.6])], logarithmic=True)
    readable(axes)
    bottom = axes.get_ylim()[0]
    assert 0.02 < bottom < 0.1
    ends = [segment[:, 1].min() for segment in axes.containers[0].lines[2][0].get_segments()]
    assert ends[0] == pytest.approx(0.5)
    assert 0 < ends[1] < bottom
    assert_readable(figure)


def test_every_bar_is_a_95_percent_interval_and_the_picture_says_so(tmp_path):
    sweep = make_sweep(["laser", "z-sgd"], [1, 10])
    table = table_of({"laser": {1: 2.0, 10: 1.0}, "z-sgd": {1: 3.0, 10: 2.0}, "noiseless": {10: 0.5}}, 0.25)
    figure = plot_sweep(sweep, table, saved_of([1.5], [2.0]), tmp_path / "sweep", "a title")
    bars = [segment[:, 1] for box in figure.axes[0].containers for segment in box.lines[2][0].get_segments()]
    assert [bar.tolist() for bar in bars] == [[1.5, 2.5], [0.75, 1.25], [2.25, 3.75], [1.5, 2.5]]
    assert all("95 % interval over 3 seeds" in axes.get_title() for axes in figure.axes)
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    [line] = [name for name in names if "no noise" in name]
    assert all(word in line for word in ("tuned on the same grid", "finite run", "no bound"))
    [band] = [patch for patch in figure.axes[0].patches if patch.get_alpha() == 0.12]
    assert band.get_extents().transformed(figure.axes[0].transData.inverted()).intervaly == pytest.approx((0.375, 0.625))


def test_a_table_without_half_widths_gives_the_same_bytes_of_files(tmp_path):
    table = table_of({"z-sgd": {1: 3.0, 10: 2.0}}, 0.25)
    old = [
        {name: value for name, value in row.items() if name not in ("half_width_95", "failed")}
        | {"standard_error": row["half_width_95"] / 4.302652729749462}
        for row in table
    ]
    sweep = make_sweep(["z-sgd"], [1, 10])
    plot_sweep(sweep, table, [], tmp_path / "new", "a title")
    plot_sweep(sweep, old, [], tmp_path / "old", "a title")
    assert (tmp_path / "new.png").read_bytes() == (tmp_path / "old.png").read_bytes()


def test_a_missing_budget_breaks_the_line_and_is_marked(tmp_path):
    sweep = make_sweep(["laser", "z-sgd"], [1, 10, 100])
    table = table_of({"laser": {1: 2.0, 10: math.nan, 100: 0.5}, "z-sgd": {1: 3.0, 10: math.inf, 100: 0.6}})
    figure = plot_sweep(sweep, table, [], tmp_path / "sweep", "a title")
    axes = figure.axes[0]
    assert all(np.isnan(box.lines[0].get_ydata()[1]) for box in axes.containers)
    marks = {line.get_marker() for line in axes.lines if list(line.get_xdata()) == [10.0]}
    assert marks == {"s", "x"}
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any("runs failed: a missing budget" in name for name in names)
    assert any("diverged at every candidate" in name for name in names)


@pytest.mark.slow
def test_pictures_are_the_same_to_the_byte_in_another_process(tmp_path):
    code = (
        "from matplotlib.figure import Figure; from pathlib import Path; import sys\n"
        "from laser_wireless.benchmarks.picture import save, readable, headline\n"
        "f = Figure(layout='constrained'); headline(f, 'a title µ'); a = f.subplots()\n"
        "a.plot([1, 2], [1e-3, 4]); readable(a); save(f, Path(sys.argv[1]))\n"
    )
    for name in ("1", "2"):
        variables = os.environ | {"PYTHONHASHSEED": name, "TZ": f"UTC+{name}"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=variables)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()
