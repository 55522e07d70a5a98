"""`laser redraw`: the pictures of finished folders again, from the files in them, without computing anything.

    laser redraw FOLDER [FOLDER ...] [--style STYLE]

A FOLDER is one that `laser sweep` or `laser channel` wrote. Needed are its sweep.yaml or config.yaml and its CSV files, not
its runs/. The same files give the same pictures, byte for byte. Edit the YAML to lay a picture out anew (published, figure).

  --style STYLE      a style of matplotlib's, by name or file: fonts, sizes, lines, grids [default: your matplotlibrc's]

Examples:
  laser redraw runs/digits
  laser redraw runs/* --style paper.mplstyle
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, load_yaml
from laser_wireless.benchmarks.records import read_json
from laser_wireless.benchmarks.sweeps.published import read_published


def redraw(words: list[str]) -> int:
    """Run `laser redraw`; returns the exit status."""
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    folders, style = _read(words)
    from matplotlib.style import context

    with ExitStack() as stack:
        try:
            stack.enter_context(context(style))
        except OSError as error:
            raise BadConfiguration(f"--style {style[0]!r} is neither a style of matplotlib's nor a file") from error
        for folder in folders:
            names = redraw_folder(folder)
            print(f"drawn in {folder}: {', '.join(f'{name}.png, {name}.pdf' for name in names)}")
    return 0


def _read(words: list[str]) -> tuple[list[Path], list[str]]:
    """Folders and style of the command line."""
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    style: list[str] = []
    if "--style" in words:
        place = words.index("--style")
        if place + 1 == len(words):
            raise BadConfiguration("--style needs a value")
        style = [words[place + 1]]
        words = words[:place] + words[place + 2 :]
    for word in words:
        if word.startswith("-"):
            raise BadConfiguration(f"{word!r} is not an option of laser redraw; it has --style")
    if not words:
        raise BadConfiguration("laser redraw needs a folder, such as runs/digits")
    return [Path(word) for word in words], style


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
        _check(folder, "table.csv")
        return _STUDIES[study](content, folder, _name(folder))
    if (folder / "config.yaml").exists() and drawn_views(folder):
        return redraw_channel(load_yaml(str(folder / "config.yaml")), folder)
    raise BadConfiguration(
        f"{folder} holds nothing to draw: a sweep's folder has sweep.yaml and table.csv, a channel's config.yaml and its CSV"
    )


def _check(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).exists():
            raise BadConfiguration(
                f"{folder} has no {name}: the sweep has not ended; the same laser sweep goes on from there"
            )


def _name(folder: Path) -> str:
    """The study's name in titles."""
    file = folder / "environment.json"
    return str(read_json(file).get("study", folder.resolve().name)) if file.exists() else folder.resolve().name


def _power(content: Spec, folder: Path, name: str) -> list[str]:
    from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
    from laser_wireless.benchmarks.sweeps.figures import read_figure
    from laser_wireless.benchmarks.sweeps.report import draw
    from laser_wireless.benchmarks.sweeps.sweep import read_sweep, sweep_alone

    _check(folder, "savings.csv")
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
