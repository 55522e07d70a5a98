"""The kinds of study that `laser sweep` runs, by the entry `study` of a YAML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble, component
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.sweeps.published import read_published
from laser_wireless.benchmarks.training_run import Device, torch_device
from laser_wireless.benchmarks.value_words import shown


class Place(NamedTuple):
    """Where a study writes and computes: folder, name in titles, torch device by its name, processes (0: one per core).

    reports: where tables and pictures go: the folder, unless it cannot be written. engine: computes the runs of a sweep.
    callbacks: specs of those that are told what its runs record.
    """

    folder: Path
    name: str
    device: Device
    jobs: int
    reports: Path
    engine: Engine
    callbacks: list[Spec]


class Study(NamedTuple):
    """A kind of study.

    entry: its entry in a YAML file, {} for a study that needs none.
    defaults: components that stand without being named.
    settings: the class whose arguments its YAML gives.
    others: what its YAML may hold beside them.
    prepare: checks the plain content and returns what is left to do, which returns the exit status.
    expect: says what that would take, given content, folder, device, jobs and engine; None where it is not known.
    """

    entry: Spec
    defaults: dict[str, str]
    settings: Callable[..., Any]
    others: tuple[str, ...]
    prepare: Callable[[Spec], Callable[[Place], int]]
    expect: Callable[[Spec, Path, Device, int, Engine], int] | None = None


def study_of(spec: Spec) -> Study:
    """Take the entry `study` out of a plain configuration; "power" if there is none.

    Raises:
        BadConfiguration: no such study.
    """
    name = spec.pop("study", "power")
    if not isinstance(name, str) or name not in STUDIES:
        raise BadConfiguration(f"study must be one of {', '.join(STUDIES)}, got {shown(name)}")
    return STUDIES[name]()


def _power() -> Study:
    from laser_wireless.benchmarks.sweeps import sweep as sweeps
    from laser_wireless.benchmarks.sweeps.search import read_search

    def expect(spec: Spec, folder: Path, device: Device, jobs: int, engine: Engine) -> int:
        from laser_wireless.benchmarks.sweeps import expected

        sweep = sweeps.sweep_from(sweeps.sweep_alone(spec))
        status = expected.expect(sweep, folder, device=device, jobs=jobs, engine=engine)
        if (search := read_search(spec.get("search"))) is not None:
            print(
                "search: this is the whole grid; the search takes about a third of it, and then as many runs as "
                f"intervals of {search.width_db:g} dB need, {search.max_runs} in all at most"
            )
        return status

    return Study({}, {"uplink": "AnalogUplink"}, sweeps.Sweep, sweeps.BESIDE, _prepare_power, expect)


def _prepare_power(spec: Spec) -> Callable[[Place], int]:
    from laser_wireless.benchmarks.sweeps import sweep as sweeps
    from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
    from laser_wireless.benchmarks.sweeps.figures import read_figure
    from laser_wireless.benchmarks.sweeps.report import report
    from laser_wireless.benchmarks.sweeps.running import run_sweep
    from laser_wireless.benchmarks.sweeps.search import read_search, search_sweep

    sweep = sweeps.sweep_from(sweeps.sweep_alone(spec))
    shown, apart = read_published(spec.get("published"), {*sweep.schemes, NOISELESS})
    draw, search = read_figure(spec.get("figure"), sweep), read_search(spec.get("search"))
    if search is not None and draw is not None:
        raise BadConfiguration("search must not be given beside figure, which needs the whole grid; leave one of them out")

    def run(place: Place) -> int:
        where: dict[str, Any] = {"device": place.device, "jobs": place.jobs, "engine": place.engine}
        where["callbacks"] = place.callbacks
        if search is None:
            rows = run_sweep(sweep, place.folder, **where)
            return report(sweep, rows, place.reports, place.name, shown, apart, draw)
        found = search_sweep(sweep, search, place.folder, **where)
        status = report(found.sweep, found.rows, place.reports, place.name, shown, apart)
        print(f"search: {len(found.rows)} runs; {found.remark}")
        return status

    return run


def _spectrum() -> Study:
    from laser_wireless.benchmarks.sweeps.spectrum import Spectrum, report_spectrum, run_spectrum

    def prepare(spec: Spec) -> Callable[[Place], int]:
        content = dict(spec)
        shown, apart = read_published(content.pop("published", None))
        if "task" in content:
            content["task"] = component(content["task"], "task")
        settings: Spectrum = assemble(Spectrum, content, "")
        settings.check_layers()

        def run(place: Place) -> int:
            rows = run_spectrum(settings, place.folder, device=torch_device(place.device))
            return report_spectrum(settings, rows, place.reports, place.name, shown, apart)

        return run

    return Study({"study": "spectrum"}, {}, Spectrum, ("published",), prepare)


def _communication() -> Study:
    from laser_wireless.benchmarks.sweeps.communication_study import Communication, communication_from, report_communication

    def prepare(spec: Spec) -> Callable[[Place], int]:
        content = dict(spec)
        published = content.pop("published", None)
        settings = communication_from(content)
        shown, _ = read_published(published, set(settings.schemes))
        return lambda place: report_communication(settings, place.reports, place.name, shown)

    return Study({"study": "communication"}, {}, Communication, ("published",), prepare)


STUDIES: dict[str, Callable[[], Study]] = {"power": _power, "spectrum": _spectrum, "communication": _communication}
"""Name -> study, imported when it is asked for.

power: schemes over energy budgets. spectrum: how much of a gradient's energy lies in a few directions. communication: what
a message weighs.
"""
