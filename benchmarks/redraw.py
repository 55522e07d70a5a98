"""`laser redraw`: the pictures of finished folders again, from the files in them, without computing anything.

    laser redraw FOLDER [FOLDER ...] [--style STYLE] [--formats FORMATS]

A FOLDER is one that `laser sweep` or `laser channel` wrote. Needed are its sweep.yaml or config.yaml and its CSV files, not
its runs/. The same files give the same pictures, byte for byte. Edit the YAML to lay a picture out anew (published, figure).

  --style STYLE      screen: PDF and PNG as the command wrote them; ieee1, ieee2: a sweep for a paper, 3.5 or 7.16 inches
                     wide, in files of their own; or a style of matplotlib's, by name or file [default screen]
  --formats FORMATS  of ieee1 and ieee2: pdf, png, pgf, several with commas; pgf needs a TeX system [default pdf,png]

Examples:
  laser redraw runs/digits
  laser redraw runs/digits --style ieee1 --formats pdf,pgf
  laser redraw runs/* --style paper.mplstyle
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, load_yaml
from laser_wireless.benchmarks.reports.sweep_folder import need, read_sweep_folder, study_name
from laser_wireless.benchmarks.reports.words import folders_and_options
from laser_wireless.benchmarks.sweeps.published import read_published

_SCREEN = "screen"


def redraw(words: list[str]) -> int:
    """Run `laser redraw`; returns the exit status."""
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    folders, given = folders_and_options("redraw", words, {"style": (), "formats": ()})
    if not folders:
        raise BadConfiguration("laser redraw needs a folder, such as runs/digits")
    style = given.get("style", _SCREEN)
    from laser_wireless.benchmarks.reports.paper import PAPERS

    if style in PAPERS:
        _redraw_for_a_paper(folders, style, given.get("formats", "pdf,png"))
        return 0
    if "formats" in given:
        raise BadConfiguration(
            f"--formats needs --style {' or '.join(PAPERS)}, got {style}, which is PDF and PNG; leave it out"
        )
    from matplotlib.style import context

    with ExitStack() as stack:
        try:
            stack.enter_context(context([] if style == _SCREEN else [style]))
        except OSError as error:
            known = ", ".join([_SCREEN, *PAPERS])
            raise BadConfiguration(
                f"--style {style!r} is neither a style of matplotlib's nor a file, nor {known}"
            ) from error
        for folder in folders:
            names = redraw_folder(folder)
            print(f"drawn in {folder}: {', '.join(f'{name}.png, {name}.pdf' for name in names)}")
    return 0


def _redraw_for_a_paper(folders: Sequence[Path], style: str, formats: str) -> None:
    from laser_wireless.benchmarks.reports.paper import check_formats, draw_paper

    kinds = check_formats(formats)
    for folder in folders:
        names, caption = draw_paper(read_sweep_folder(folder), style, kinds)
        print(f"drawn in {folder}: {', '.join(names)}\nfor the caption: {caption}")


def redraw_folder(folder: Path) -> list[str]:
    """Draw the pictures of a folder.

    Returns:
        their names, without ending.

    Raises:
        BadConfiguration: a folder without the files that pictures are drawn from.
        ValueError: a file that is not readable, or does not hold what the picture shows.
    """
    from laser_wireless.benchmarks.channel_views.command import drawn_views, redraw_channel

    if (folder / "sweep.yaml").exists():
        content = load_yaml(str(folder / "sweep.yaml"))
        study = content.pop("study", "power")
        if study not in _STUDIES:
            raise BadConfiguration(f"{folder}: study must be one of {', '.join(_STUDIES)}, got {study!r}")
        need(folder, "table.csv")
        return _STUDIES[study](content, folder, study_name(folder))
    if (folder / "config.yaml").exists() and drawn_views(folder):
        return redraw_channel(load_yaml(str(folder / "config.yaml")), folder)
    raise BadConfiguration(
        f"{folder} holds nothing to draw: a sweep's folder has sweep.yaml and table.csv, a channel's config.yaml and its CSV"
    )


def _power(content: Spec, folder: Path, name: str) -> list[str]:
    from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
    from laser_wireless.benchmarks.sweeps.figures import read_figure
    from laser_wireless.benchmarks.sweeps.report import draw
    from laser_wireless.benchmarks.sweeps.sweep import read_sweep, sweep_alone

    need(folder, "savings.csv")
    sweep = read_sweep(sweep_alone(content))
    shown, apart = read_published(content.get("published"), {*sweep.schemes, NOISELESS})
    return draw(sweep, folder, name, shown, apart, read_figure(content.get("figure"), sweep))


def _spectrum(content: Spec, folder: Path, name: str) -> list[str]:
    from laser_wireless.benchmarks.sweeps.spectrum import Spectrum, draw_spectrum

    shown, apart = read_published(content.get("published"))
    draw_spectrum(content.get("top", Spectrum.top), content.get("memory", Spectrum.memory), folder, name, shown, apart)
    return ["energy"]


def _communication(content: Spec, folder: Path, name: str) -> list[str]:
    from laser_wireless.benchmarks.sweeps.communication_study import draw_communication

    draw_communication(str(content["model"]), folder, name)
    return ["communication"]


_STUDIES: dict[str, Callable[[Spec, Path, str], list[str]]] = {
    "power": _power,
    "spectrum": _spectrum,
    "communication": _communication,
}
