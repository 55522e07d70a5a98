"""The `laser` command.

    laser run      train once over an uplink
    laser sweep    compare schemes over energy budgets, and say how much power each needs
    laser channel  study a channel without a model, beside its closed forms
    laser ls       runs and sweeps on disk; laser show FOLDER: one in full; laser compare A B: in what two differ
    laser redraw   draw the pictures of finished folders again from their CSV files, without computing
    laser report   a finished sweep as one page for the browser; laser table FOLDER: as tables in Markdown, LaTeX or CSV
    laser check    measure the properties that every part must have, on a part of yours
    laser theory   symbols and megabytes, influence factors, rates and noise, without running anything

`laser COMMAND --help` lists the options of a command and of the components named before --help.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble, component, load_yaml
from laser_wireless.benchmarks.callback_options import build_callbacks, callbacks_of
from laser_wireless.benchmarks.crew_launch import crew_of, follow, is_follower
from laser_wireless.benchmarks.failures import Failed, print_failure, traceback_in
from laser_wireless.benchmarks.options import lay_over, lay_under, own_option, read_options, split_options
from laser_wireless.benchmarks.progress import Progress, shown
from laser_wireless.benchmarks.quiet_end import ends_quietly
from laser_wireless.benchmarks.records import Row, aligned, writable_or_temporary, write_text
from laser_wireless.benchmarks.strict_yaml import dump_yaml
from laser_wireless.benchmarks.training_run import TrainingRun, torch_device, train
from laser_wireless.channels import NoiselessBroadcast

_COMMON = """
  --config FILE      YAML with the same options, nested; options on the command line come after it
  --output FOLDER    where to write [default runs/NAME]
  --device DEVICE    auto, cpu or cuda [default auto]"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 a run failed, 2 bad options."""
    return ends_quietly(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.insert(0, os.getcwd())  # so that my_module.my_fading is found from the working directory
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "sweep": _sweep,
        "channel": _channel,
        "theory": _theory,
        "redraw": _redraw,
        "report": _report,
        "table": _table,
        "ls": partial(_look_back, "ls"),
        "show": partial(_look_back, "show"),
        "compare": partial(_look_back, "compare"),
        "check": _check,
    }
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] not in commands:
        near = difflib.get_close_matches(words[0], commands, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        print(f"laser: {words[0]!r} is not a command; {hint}use {', '.join(commands)} (laser --help)", file=sys.stderr)
        return 2
    try:
        with traceback_in(_output_of(words)):
            return commands[words[0]](words[1:])
    except BadConfiguration as error:
        print(f"laser {words[0]}: {error}", file=sys.stderr)
        return 2
    except Failed as failure:
        print_failure(f"laser {words[0]}", failure)
        return failure.status
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _output_of(words: list[str]) -> Path:
    """Where a traceback goes as long as a command does not know its folder: an option may already import a user's code."""
    parts = [part for word in words for part in word.split("=", 1)]
    return Path(parts[parts.index("--output") + 1] if "--output" in parts[:-1] else "runs")


def _run(words: list[str]) -> int:
    """Train once."""
    spec: Spec = {slot: component(name, slot) for slot, name in _RUN_DEFAULTS.items()}
    own: dict[str, Any] = {"output": None, "device": "auto", "processes": 1}
    given, wants_help = split_options(words)
    content = load_yaml(given.pop("config")) if "config" in given else {}
    listeners = callbacks_of(content, given)
    lay_under(content, spec, own)
    lay_over(given, spec, own, TrainingRun, ["callbacks"])
    if wants_help:
        return _help("run", TrainingRun, spec, _RUN_EXAMPLES, f"{_COMMON}{_PROCESSES}{_CALLBACKS}", listeners)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]
    name = f"{_names(spec['task'])}-{_names(spec['compressor'])}-{digest}".lower()
    folder = Path(own["output"] or Path("runs") / name)
    if is_follower():
        return follow(spec, own["device"])
    with traceback_in(folder):
        run: TrainingRun = assemble(TrainingRun, spec, "")
        place, callbacks = torch_device(own["device"]), build_callbacks(listeners)
        hands = crew_of(own["processes"], spec, own["device"], run.num_devices)
        with hands as crew, Progress(run.num_rounds, "round") as bar:
            _claim(folder)

            def progress(round: int, latest: Row) -> None:
                bar.to(round, f"validation {latest['loss']:.4f}" if latest else "")

            more: dict[str, Any] = {"progress": progress, "spec": spec, "callbacks": callbacks}
            result = train(run, folder, device=place, crew=crew, **more)
    return _print_run(run, result, folder)


def _print_run(run: TrainingRun, result: Row, folder: Path) -> int:
    """Print what came of a run; its exit status."""
    down = "" if isinstance(run.downlink, NoiselessBroadcast) else f"\nand {run.downlink}"
    print(f"{run.compressor}\nover {run.uplink}{down}\n")
    if result["status"] == "diverged":
        print(f"diverged after {result['rounds']} rounds: {result['reason']}", file=sys.stderr)
        return 1
    print(aligned([{"part": part, **metrics} for part, metrics in result["metrics"].items()]))
    mean = result["mean_per_round"]
    print(
        f"\nper round and device: {mean['energy_spent']:.6g} of {mean['energy_allowed']:.6g} energy spent, "
        f"{mean['num_symbols']:g} real symbols, {mean['num_channel_uses']:g} channel uses"
    )
    if not mean["energy_spent"] > 0:
        print(
            "no device sent anything in any round: look at budget, gains, power control and participation", file=sys.stderr
        )
    print(f"written to {folder}")
    return 0


def _names(spec: Any) -> str:
    """The names of the components that a spec holds, without their modules."""
    entries = spec if isinstance(spec, list) else [spec]
    return "+".join(str(e["class_path"] if isinstance(e, dict) else e).rsplit(".", 1)[-1] for e in entries)


def _claim(folder: Path) -> None:
    """Make a folder for a run, unless it is there; whose it is, the training finds out."""
    if folder.exists() and not folder.is_dir():
        raise BadConfiguration(f"--output {folder} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _sweep(words: list[str]) -> int:
    """Compare schemes, or run another study of a YAML file."""
    from laser_wireless.benchmarks.sweeps.engines.choice import engine_of
    from laser_wireless.benchmarks.sweeps.engines.local import LOCAL
    from laser_wireless.benchmarks.sweeps.studies import Place, study_of
    from laser_wireless.benchmarks.sweeps.study_file import find_study, load_study

    own: dict[str, Any] = {"output": None, "device": "auto", "jobs": 0}
    name, file, content = "sweep", "", {}
    only_expect = _DRY_RUN in words
    searches, words = _without_value([word for word in words if word != _DRY_RUN], _SEARCH)
    if words and not words[0].startswith("-"):
        file, words = words[0], words[1:]
    given, wants_help = split_options(words)
    if file and "config" in given:
        raise BadConfiguration(f"--config must not be given beside the file {file!r}; name one of them")
    file, scale = given.pop("config", file), own_option("scale", given.pop("scale", "full"))
    if file:
        path = find_study(file)
        name, content = Path(path).stem, load_study(path, scale)
    study, engine, listeners = study_of(content), engine_of(content, given), callbacks_of(content, given)
    spec: Spec = {slot: component(name, slot) for slot, name in study.defaults.items()}
    lay_under(content, spec, own)
    if searches:
        spec.setdefault("search", {})
    lay_over(given, spec, own, study.settings, [*study.others, "scale", "engine", "callbacks"])
    if wants_help:
        return _help_of_sweep(study.settings, spec, engine, listeners)
    if study.expect is None:
        _refuse({"--engine": engine != LOCAL, "--callbacks": bool(listeners), _DRY_RUN: only_expect})
    name = name if scale == "full" else f"{name}-{scale}"
    folder = Path(own["output"] or Path("runs") / name)
    if only_expect and study.expect is not None:
        return study.expect(spec, folder, own["device"], own["jobs"], engine)
    with traceback_in(folder):
        build_callbacks(listeners)  # refuse now what would fail in every run
        go = study.prepare(spec)
        folder.mkdir(parents=True, exist_ok=True)
        reports = writable_or_temporary(folder)
        write_text(reports / "sweep.yaml", dump_yaml({**study.entry, **spec}))
        return go(Place(folder, name, own["device"], own["jobs"], reports, engine, listeners))


def _help_of_sweep(settings: Callable[..., Any], spec: Spec, engine: object, listeners: list[Spec]) -> int:
    """Print what can be set of a study, of the engine and of the callbacks that were chosen."""
    from laser_wireless.benchmarks.sweeps.study_file import preset_names

    examples = f"{_SWEEP_EXAMPLES}\n\nPresets, by name: {preset_names()}"
    own_options = f"{_COMMON}{_SWEEP_OWN}{_CALLBACKS}{_engine_options(engine)}"
    return _help("sweep", settings, spec, examples, own_options, listeners)


def _refuse(given: dict[str, bool]) -> None:
    """Refuse options, by whether they were given, that a study other than over power has no use for."""
    for option in (option for option, is_given in given.items() if is_given):
        raise BadConfiguration(f"{option} is for sweeps over power; this study computes nothing, or one run only")


def _without_value(words: list[str], option: str) -> tuple[bool, list[str]]:
    """Whether an option stands among words without a value, and the words without it."""
    places = [i for i, word in enumerate(words) if word == option and not (words[i + 1 :] and words[i + 1][0] != "-")]
    return bool(places), [word for i, word in enumerate(words) if i not in places]


def _channel(words: list[str]) -> int:
    """Study a channel."""
    from laser_wireless.benchmarks.channel_views.command import show_channel
    from laser_wireless.benchmarks.channel_views.study import ChannelStudy

    spec: Spec = {"fading": component("NoFading", "fading"), "power_control": component("AlignedInversion", "power_control")}
    own: dict[str, Any] = {"output": None, "device": "auto"}
    if read_options(words, spec, own, ChannelStudy):
        return _help("channel", ChannelStudy, spec, _CHANNEL_EXAMPLES)
    view = str(spec.get("view", "error"))
    parts = [_names(spec["fading"]), *([_names(spec["power_control"])] if view in ("error", "all") else [])]
    parts += [] if view == "error" else [view]
    folder = Path(own["output"] or Path("runs") / f"channel-{'-'.join(parts)}".lower())
    with traceback_in(folder):
        settings: ChannelStudy = assemble(ChannelStudy, spec, "")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", dump_yaml(spec, sort_keys=True))
        show_channel(settings, folder, torch_device(own["device"]), partial(shown, unit="case"))
    return 0


def _theory(words: list[str]) -> int:
    """Say what is known without running anything."""
    from laser_wireless.benchmarks.theory_command import theory

    return theory(words)


def _redraw(words: list[str]) -> int:
    """Draw finished folders again."""
    from laser_wireless.benchmarks.redraw import redraw

    return redraw(words)


def _report(words: list[str]) -> int:
    """Make pages of finished sweeps."""
    from laser_wireless.benchmarks.reports.page_command import report

    return report(words)


def _table(words: list[str]) -> int:
    """Print a finished sweep as tables."""
    from laser_wireless.benchmarks.reports.table_command import table

    return table(words)


def _look_back(command: str, words: list[str]) -> int:
    """Show what is on disk."""
    from laser_wireless.benchmarks.look_back import look_back

    return look_back(command, words)


def _check(words: list[str]) -> int:
    """Measure the properties that every part must have."""
    from laser_wireless.benchmarks.checks.command import check

    return check(words)


def _engine_options(engine: object) -> str:
    """What can be set of the engine that was chosen, after what can be set of the command."""
    from laser_wireless.benchmarks import help_text

    options = help_text.options_of(type(engine), "engine.", components=False)
    return f"\n{options}" if options else ""


def _help(
    command: str, target: Callable[..., Any], spec: Spec, examples: str, own: str = _COMMON, listeners: Sequence[Spec] = ()
) -> int:
    from laser_wireless.benchmarks import help_text

    print(f"laser {command}: {(target.__doc__ or '').split(chr(10))[0]}\n\nExamples:\n{examples}\n\n{_HOW}\n\nOptions:{own}")
    print(help_text.options_of(target, chosen=spec))
    of_callbacks = help_text.chosen_components({"callbacks": list(listeners)}, train)
    chosen = "\n\n".join(filter(None, [help_text.chosen_components(spec, target), of_callbacks]))
    print(f"\n{chosen}\n" if chosen else "")
    print(f"Names that stand for a class with arguments:\n{help_text.presets(help_text.places(target))}")
    return 0


_HOW = """An option that takes a component takes its name; the component's own arguments follow with a dot.
A list of components is written '[NAME, NAME]'; each is reached by its place, from 0.
Name a component before --help to see its arguments:
  --uplink.fading Rician --uplink.fading.k_factor 10
  --uplink.csi '[PilotCsi, DelayedCsi]' --uplink.csi.1.rounds 2
  --uplink.impairments '[Rapp, PhaseNoise]' --uplink.impairments.0.saturation_db 6 --help"""
_CALLBACKS = """
  --callbacks NAMES  who is told what a run records, as it is recorded: TensorBoard, a function of yours such as
                     my_module.mine, or a list of them '[TensorBoard, my_module.mine]' [default none]"""
_PROCESSES = """
  --processes N      hold the devices in so many processes, num_devices at most; a run may go on with another number
                     [default 1]"""
_DRY_RUN, _SEARCH = "--dry-run", "--search"
_SWEEP_OWN = """
  --scale SCALE      full, or small: the same experiment on built-in data, where the file has it [default full]
  --jobs N           processes at a time; 0 for one per core, one in all on a GPU; of SLURM 20 jobs [default 0]
  --engine ENGINE    who computes the runs: local, slurm or dask; name it before --help to see its arguments [default local]
  --dry-run          say how many runs there are and how long they would take; nothing is written
  --search           in place of the whole grid: rates by descent and halving, budgets by bisection, seeds where they count,
                     until each saving is known to --search.width_db [1] dB, or after --search.max_runs [2000] runs;
                     --search.resolution_db [6.5], --search.max_seeds [64], --search.every_budget [false],
                     --search.fixed_rates [false]. `--search null` trains the grid of a file that has a search"""
_RUN_DEFAULTS = {"task": "digits", "compressor": "laser", "uplink": "AnalogUplink"}
_RUN_EXAMPLES = """  laser run --task digits --compressor LowRank --compressor.rank 4 --uplink.energy_budget 16
  laser run --compressor z-sgd --uplink.energy_budget 100 --uplink.fading Rayleigh \\
            --uplink.power_control TruncatedInversion --uplink.power_control.threshold 0.2
  laser run --uplink.energy_budget 16 --uplink.fading my_module.my_fading
  laser run --uplink.energy_budget 16 --callbacks '[TensorBoard, my_module.mine]'"""
_SWEEP_EXAMPLES = """  laser sweep digits.yaml
  laser sweep digits --dry-run
  laser sweep digits --search --search.width_db 2 --targets '[0.2]'
  laser sweep cifar10-power --scale small
  laser sweep digits --callbacks TensorBoard
  laser sweep digits --engine slurm --engine.partition long --engine.time_min 120 --jobs 50
  laser sweep digits.yaml --uplink.fading my_module.my_fading --seeds '[0, 1, 2, 3, 4]' --output runs/mine"""
_CHANNEL_EXAMPLES = """  laser channel --fading Rayleigh --power_control TruncatedInversion
  laser channel --fading Rician --fading.k_factor 10 --power_control TruncatedInversion --power_control.threshold 0.05
  laser channel --fading Rayleigh --power_control '[TruncatedInversion, MseOptimal]' --power_control.0.threshold 0.2
  laser channel --fading Rayleigh --power_control FullPower --power_control.phase false \\
                --receiver '[MaximumRatio, Lmmse]' --num_rx_antennas '[4, 16]'
  laser channel --view gains --fading '[Rayleigh, Rician, Nakagami]'
  laser channel --view correlation --fading Jakes --fading.doppler_hz 50 --fading.round_interval_s 1e-3
  laser channel --view spectrogram --ofdm Ofdm --fading Multipath --fading.paths TappedDelayLine --fading.paths.profile C \\
                --fading.paths.delay_spread_s 300e-9 --fading.paths.doppler_hz 100 --fading.paths.round_interval_s 1"""


if __name__ == "__main__":
    raise SystemExit(main())
