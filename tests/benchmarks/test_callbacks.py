"""Callbacks get every row of a run's files once, whatever happens to the run, and change nothing; TensorBoard shows them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from laser_wireless.benchmarks import Callback, Recorded, TensorBoard, TrainingRun, train, training_run
from laser_wireless.benchmarks.callback_options import build_callbacks
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv, read_json
from laser_wireless.benchmarks.side_by_side import Member, train_together
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.channels import AnalogUplink, Rayleigh
from laser_wireless.compression import LowRank, Uncompressed

CPU = torch.device("cpu")
FILES = ("rounds.csv", "evaluations.csv")


def make_run(**more) -> TrainingRun:
    settings = {
        "task": Digits(width=8),
        "compressor": LowRank(rank=2),
        "uplink": AnalogUplink(energy_budget=64.0, fading=Rayleigh()),
        "num_devices": 3,
        "num_rounds": 12,
        "evaluate_every": 5,
    }
    return TrainingRun(**(settings | more))


class Notes:
    """Keeps what it is told, as it counts: rows that are told again take the place of the earlier ones."""

    def __init__(self, fail_at=None):
        self.calls: list[Recorded] = []
        self.rounds, self.evaluations, self.told_again = [], [], 0
        self.fail_at = fail_at

    def __call__(self, recorded):
        if self.fail_at is not None and len(self.calls) == self.fail_at:
            self.fail_at = None
            raise FloatingPointError("mine")
        self.calls.append(recorded)
        self.told_again += sum(row["round"] >= recorded.since for row in self.rounds)
        self.rounds = [row for row in self.rounds if row["round"] < recorded.since] + recorded.rounds
        self.evaluations = [row for row in self.evaluations if row["round"] <= recorded.since] + recorded.evaluations

    def equals(self, folder):
        assert self.rounds == read_csv(folder / "rounds.csv")
        assert self.evaluations == (read_csv(folder / "evaluations.csv") if self.evaluations else [])
        result = {k: v for k, v in read_json(folder / "result.json").items() if k not in ("sha256", "files", "fingerprint")}
        assert self.calls[-1].result == result
        assert all(call.result is None for call in self.calls[:-1])
        return True


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def stop_after(rounds):
    def progress(round, row):
        if round == rounds:
            raise KeyboardInterrupt

    return progress


def test_rows_come_where_they_are_read_anyway(tmp_path):
    notes, run = Notes(), make_run()
    train(run, tmp_path, device=CPU, callbacks=[notes])
    assert notes.equals(tmp_path)
    assert [(call.since, len(call.rounds), len(call.evaluations)) for call in notes.calls] == [
        (0, 5, 1),
        (5, 5, 1),
        (10, 2, 1),
        (12, 0, 0),
    ]
    assert all(call.folder == tmp_path and call.run is run and call.configuration is None for call in notes.calls)


def test_each_run_of_a_company_tells_what_it_would_tell_alone(tmp_path):
    runs = [make_run(seed=seed, learning_rate=rate) for seed, rate in ((0, 0.05), (1, 0.05), (1, 1e30))]
    runs = [replace(run, compressor=Uncompressed()) for run in runs]
    together = [Notes() for _ in runs]
    members = [Member(run, make(tmp_path / f"{i}"), callbacks=[together[i]]) for i, run in enumerate(runs)]
    results = train_together(members, device=CPU)
    assert [result["status"] for result in results] == ["done", "done", "diverged"]
    for i, run in enumerate(runs):
        alone = Notes()
        train(run, make(tmp_path / f"alone {i}"), device=CPU, callbacks=[alone])
        assert together[i].equals(tmp_path / f"{i}")
        calls = [[call[3:6] for call in notes.calls] for notes in (together[i], alone)]
        assert calls[0] == calls[1]


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_nothing_is_told_twice_over_interruptions(checkpoint_seconds, tmp_path):
    notes, run = Notes(), make_run(checkpoint_seconds=checkpoint_seconds)
    for rounds in (1, 5, 8, 11):
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path, device=CPU, progress=stop_after(rounds), callbacks=[notes])
    train(run, tmp_path, device=CPU, callbacks=[notes])
    assert notes.equals(tmp_path)
    assert notes.told_again == 0
    assert sum(len(call.rounds) for call in notes.calls) == 12


def test_what_a_kill_took_is_told_again_and_said(tmp_path, monkeypatch):
    notes, run = Notes(), make_run(checkpoint_seconds=1e9)
    with monkeypatch.context() as patch:
        patch.setattr(training_run.RunInFolder, "cut_off", lambda self: None)  # as if the process were gone
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path, device=CPU, progress=stop_after(7), callbacks=[notes])
    assert not (tmp_path / "checkpoint.pt").exists()
    train(run, tmp_path, device=CPU, callbacks=[notes])
    assert notes.equals(tmp_path)
    assert [call.since for call in notes.calls] == [0, 0, 5, 10, 12]


def test_one_that_joins_later_is_told_from_the_beginning(tmp_path):
    first, second, run = Notes(), Notes(), make_run()

    def early(recorded):
        first(recorded)

    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path, device=CPU, progress=stop_after(8), callbacks=[early])
    train(run, tmp_path, device=CPU, callbacks=[second, early])
    assert first.equals(tmp_path)
    assert second.equals(tmp_path)
    assert first.told_again == second.told_again == 0


@pytest.mark.parametrize(("fail_at", "since"), [(0, [0, 10, 12]), (1, [0, 5, 12]), (2, [0, 5, 10]), (3, [0, 5, 10, 12])])
@pytest.mark.parametrize("together", [False, True])
def test_an_error_in_one_loses_nothing(together, fail_at, since, tmp_path, monkeypatch):
    """Not even of a kind that elsewhere means that a run diverged; the step in which it came is not computed again."""
    monkeypatch.setattr(training_run, "users_line", lambda error: "")
    runs = [make_run(seed=seed, checkpoint_seconds=1e9) for seed in range(2 if together else 1)]
    notes = [Notes(fail_at if i == 0 else None) for i, _ in enumerate(runs)]
    members = [Member(run, make(tmp_path / f"{i}"), callbacks=[notes[i]]) for i, run in enumerate(runs)]
    with pytest.raises(FloatingPointError, match="mine"):
        train_together(members, device=CPU)
    steps, step = [], training_run.Trainer.end_step
    monkeypatch.setattr(training_run.Trainer, "end_step", lambda self, *more: (steps.append(1), step(self, *more)))
    train_together(members, device=CPU)
    assert len(steps) == (12 - min(12, 5 * (fail_at + 1))) * len(runs)
    assert [call.since for call in notes[0].calls] == since
    for i, one in enumerate(notes):
        assert one.equals(tmp_path / f"{i}")
        assert one.told_again == 0


def test_results_do_not_depend_on_them(tmp_path):
    def spoil(recorded):
        for row in (*recorded.rounds, *recorded.evaluations):
            row.clear()
        if recorded.result is not None:
            recorded.result["metrics"]["test"].clear()
        torch.rand(3)

    run = make_run()
    plain, watched = make(tmp_path / "plain"), make(tmp_path / "watched")
    with torch.random.fork_rng():
        assert train(run, watched, device=CPU, callbacks=[spoil, TensorBoard()]) == train(run, plain, device=CPU)
    for name in (*FILES, "result.json"):
        assert (plain / name).read_bytes() == (watched / name).read_bytes()


class Two:
    def __call__(self, round, row):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("callback", "found"),
    [
        (3, "got 3"),
        (lambda: None, r"got .*<lambda>\(\)"),
        (Two(), r"got .*Two\(round, row\)"),
        (TensorBoard, r"got the class .*TensorBoard; make an object of it, TensorBoard\(...\)"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_is_computed(callback, found, tmp_path):
    with pytest.raises(TypeError, match=rf"callbacks\[1\] must be a function of one argument, .*, {found}"):
        train(make_run(), tmp_path, device=CPU, callbacks=[print, callback])
    assert not list(tmp_path.iterdir())


# TensorBoard


def shown_in(folder):
    """What TensorBoard reads: tag -> step -> values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def asked_of(folder):
    """The same, from the run's files."""
    found: dict[str, list] = {}
    for row in read_csv(folder / "rounds.csv"):
        for name, value in row.items():
            tag = "train/loss" if name == "training_loss" else f"ledger/{name}"
            found.setdefault(tag, []).append((row["round"] + 1, float(np.float32(value))))
    for row in read_csv(folder / "evaluations.csv"):
        for name, value in row.items():
            found.setdefault(f"validation/{name}", []).append((row["round"], float(np.float32(value))))
    result = read_json(folder / "result.json")
    for name, value in result["metrics"]["test"].items():
        found[f"test/{name}"] = [(result["rounds"], float(np.float32(value)))]
    return {tag: rows for tag, rows in found.items() if not tag.endswith("/round")}


@pytest.mark.parametrize("kill", [False, True])
def test_tensorboard_shows_what_the_files_hold(kill, tmp_path, monkeypatch):
    run = make_run(checkpoint_seconds=0.0 if kill else 1e9)
    with monkeypatch.context() as patch:
        if kill:  # from the second checkpoint on none is written
            saves = iter(range(100))
            write = training_run.RunInFolder._write
            patch.setattr(training_run.RunInFolder, "_write", lambda self: write(self) if next(saves) < 2 else None)
        for rounds in (7, 11):
            with pytest.raises(KeyboardInterrupt):
                train(run, tmp_path, device=CPU, progress=stop_after(rounds), callbacks=[TensorBoard()])
    train(run, tmp_path, device=CPU, callbacks=[TensorBoard()])
    assert shown_in(tmp_path) == asked_of(tmp_path)
    assert {"train/loss", "ledger/energy_spent", "validation/loss", "validation/accuracy", "test/loss"} <= set(
        asked_of(tmp_path)
    )


def test_tensorboard_does_not_load_tensorflow():
    code = (
        "import sys\nfrom laser_wireless.benchmarks.callbacks import tensorboard\n"
        "with tensorboard._without_tensorflow():\n    import torch.utils.tensorboard\n"
        "assert not {'tensorflow', 'tensorboard.compat.notf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tensorboard_holds_the_configuration(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = {"compressor": {"class_path": "a.LowRank", "init_args": {"rank": 2}}, "learning_rate": 0.05, "seed": 0}
    train(make_run(), tmp_path, device=CPU, spec=spec, callbacks=[TensorBoard()])
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    [event] = found.Tensors("configuration/text_summary")
    assert yaml.safe_load(event.tensor_proto.string_val[0].decode().strip("`").removeprefix("yaml\n")) == spec
    start = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert all(name.encode() in start for name in ("compressor", "LowRank", "compressor.rank", "learning_rate"))


def test_a_run_that_diverged_is_shown_without_test_metrics(tmp_path):
    train(make_run(learning_rate=1e30), tmp_path, device=CPU, callbacks=[TensorBoard()])
    assert not any(tag.startswith("test/") for tag in shown_in(tmp_path))


# The command

WORDS = "run --uplink.energy_budget 16 --num_devices 2 --num_rounds 6 --evaluate_every 2 --task.width 8 --device cpu"
RUN = WORDS.split()


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    return tmp_path


def module_in(folder, name, body):
    (folder / f"{name}.py").write_text(f"import json, pathlib\nfrom laser_wireless.benchmarks import Recorded\n{body}")
    return name


WRITES = '''
def mine(recorded: Recorded, *, file: str = "told.jsonl") -> None:
    """Write rows to a file."""
    with open(recorded.folder / file, "a") as out:
        for row in recorded.rounds:
            out.write(json.dumps(row) + "\\n")


class Counter:
    def __init__(self, *, start: int = 0) -> None:
        self.count = start

    def __call__(self, recorded: Recorded) -> None:
        self.count += len(recorded.rounds)
        (recorded.folder / "count").write_text(str(self.count))
'''


def rows_told(folder, name="told.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_run_takes_a_list_with_arguments_and_its_name_does_not_depend_on_it(in_a_folder, capsys):
    name = module_in(in_a_folder, "own_callbacks_a", WRITES)
    words = ["--callbacks", f"[TensorBoard, {name}.mine, {name}.Counter]", "--callbacks.1.file", "rows"]
    assert main([*RUN, *words, "--callbacks.2.start", "100"]) == 0
    [folder] = (in_a_folder / "runs").iterdir()
    assert rows_told(folder, "rows") == read_csv(folder / "rounds.csv")
    assert (folder / "count").read_text() == "106"
    assert shown_in(folder) == asked_of(folder)
    assert "callbacks" not in (folder / "config.yaml").read_text()
    capsys.readouterr()
    assert main([*RUN, "--callbacks", f"{name}.mine"]) == 0
    assert "laser: callbacks are told nothing of a run that is done already" in capsys.readouterr().err
    assert [folder] == list((in_a_folder / "runs").iterdir())
    assert not (folder / "told.jsonl").exists()  # of a run that is done nothing is told
    (in_a_folder / "with.yaml").write_text(yaml.safe_dump({"callbacks": f"{name}.mine", "seed": 1}))
    assert main([*RUN, "--config", "with.yaml", "--output", "out"]) == 0
    assert rows_told(in_a_folder / "out") == read_csv(in_a_folder / "out" / "rounds.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--callbacks Tensorboard", "callbacks[0]: 'Tensorboard' is not known; did you mean TensorBoard"),
        ("--callbacks [TensorBoard,3]", "callbacks[1] must be a name, such as TensorBoard or my_module.my_callback, got 3"),
        ("--callbacks own_callbacks_b.number", "callbacks[0] must be a function of one argument"),
        ("--callbacks own_callbacks_b.two", "callbacks[0]: two needs row; give --callbacks.0.row"),
        ("--callbacks own_callbacks_b.none", "callbacks[0] must be a function of one argument"),
        ("--callbacks own_callbacks_b.missing", "cannot import own_callbacks_b.missing"),
        ("--callbacks own_callbacks_b.Broken", "(own_callbacks_b.py:7, in __init__)"),
        ("--callbacks TensorBoard --callbacks.0.folder x", "TensorBoard has no argument 'folder'"),
        ("--callbacks.0.file x", "--callbacks.0.file: say first which"),
        ("--callbacks LowRank", "LowRank does not belong here"),
        ("--callback TensorBoard", "did you mean --callbacks"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_bad_ones_are_named_before_anything_is_computed(command, words, message, in_a_folder, capsys):
    body = "number = 3\ndef two(recorded, row): pass\ndef none(): pass\nclass Broken:\n    def __init__(self): 1 / 0\n"
    module_in(in_a_folder, "own_callbacks_b", body)
    sys.modules.pop("own_callbacks_b", None)
    start = RUN if command == "run" else ["sweep", "digits", "--device", "cpu"]
    assert main([*start, *words.split(), "--output", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not list((in_a_folder / "out").glob("r*"))


def test_without_the_extra_the_remedy_is_named(in_a_folder, monkeypatch, capsys):
    monkeypatch.setattr("laser_wireless.benchmarks.callbacks.tensorboard.find_spec", lambda name: None)
    assert main([*RUN, "--callbacks", "TensorBoard", "--output", "out"]) == 2
    assert "TensorBoard needs tensorboard: pip install 'laser-wireless[tensorboard]'" in capsys.readouterr().err
    assert not (in_a_folder / "out").exists()


FAILS = """
def mine(recorded):
    if recorded.since == 4:
        raise KeyError("mine")  # line 6
"""


def test_an_error_amid_a_run_names_its_line_and_the_run_goes_on(in_a_folder, capsys):
    name = module_in(in_a_folder, "own_callbacks_c", FAILS)
    assert main([*RUN, "--callbacks", f"{name}.mine", "--output", "out"]) == 1
    assert f"laser run: KeyError: 'mine' ({name}.py:6, in mine); traceback in out/error.txt" in capsys.readouterr().err
    assert f'{name}.py", line 6' in Path("out/error.txt").read_text()
    assert len(read_csv(Path("out/rounds.csv"))) == 6
    assert main([*RUN, "--output", "out"]) == 0
    assert main([*RUN, "--output", "whole"]) == 0
    for file in FILES:
        assert Path("out", file).read_bytes() == Path("whole", file).read_bytes()


SWEEP = {
    "task": {"class_path": "Digits", "init_args": {"width": 8}},
    "schemes": ["z-sgd"],
    "energy_budgets": [10, 1000],
    "learning_rates": [0.1],
    "seeds": [0, 1],
    "num_devices": 2,
    "num_rounds": 4,
    "evaluate_every": 2,
}


@pytest.mark.parametrize(
    "engine", ["--jobs 1", *(pytest.param(e, marks=pytest.mark.slow) for e in ("--jobs 2", "--jobs 2 --engine dask"))]
)
def test_a_sweep_makes_them_for_each_run(engine, in_a_folder, capsys):
    name = module_in(in_a_folder, f"own_callbacks_d{len(engine)}", WRITES)
    (in_a_folder / "some.yaml").write_text(yaml.safe_dump(SWEEP | {"callbacks": [f"{name}.mine", f"{name}.Counter"]}))
    words = ["sweep", "some.yaml", "--device", "cpu", *engine.split(), "--output", "out"]
    assert main([*words, "--callbacks.1.start", "100"]) == 0
    folders = list((in_a_folder / "out" / "runs").iterdir())
    assert len(folders) == 6
    for folder in folders:
        assert rows_told(folder) == read_csv(folder / "rounds.csv")
        assert (folder / "count").read_text() == "104"
    assert "callbacks" not in (in_a_folder / "out" / "sweep.yaml").read_text()
    (in_a_folder / "plain.yaml").write_text(yaml.safe_dump(SWEEP))
    assert main(["sweep", "plain.yaml", "--device", "cpu", "--jobs", "1", "--output", "plain"]) == 0
    assert {folder.name for folder in (in_a_folder / "plain" / "runs").iterdir()} == {folder.name for folder in folders}
    assert Path("plain/table.csv").read_bytes() == Path("out/table.csv").read_bytes()


def test_a_sweep_goes_on_with_the_runs_of_which_none_fails(in_a_folder, capsys):
    body = "\ndef mine(recorded):\n    if recorded.configuration['seed'] == 1:\n        raise ValueError('mine')\n"
    name = module_in(in_a_folder, "own_callbacks_e", body)
    (in_a_folder / "some.yaml").write_text(yaml.safe_dump(SWEEP))
    words = ["sweep", "some.yaml", "--device", "cpu", "--jobs", "1", "--output", "out"]
    assert main([*words, "--callbacks", f"{name}.mine"]) == 1
    assert f"ValueError: mine ({name}.py:6, in mine)" in capsys.readouterr().err
    done = [folder for folder in Path("out/runs").iterdir() if (folder / "result.json").exists()]
    assert sorted(folder.name.partition("seed")[2][0] for folder in done) == ["0", "0", "0"]
    assert main(words) == 0


def test_a_study_without_runs_has_none_to_tell_of(in_a_folder, capsys):
    assert main(["sweep", "communication", "--callbacks", "TensorBoard"]) == 2
    assert "--callbacks is for sweeps over power" in capsys.readouterr().err


def test_help_shows_their_arguments(in_a_folder, capsys):
    name = module_in(in_a_folder, "own_callbacks_f", WRITES)
    assert main([*RUN, "--callbacks", f"[{name}.mine]", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "mine (--callbacks.0): Write rows to a file." in printed
    assert "--callbacks.0.file" in printed
    assert "--callbacks.0.recorded" not in printed


def test_a_function_is_one_for_type_checkers():
    def mine(news: Recorded) -> None:
        raise NotImplementedError

    callback: Callback = mine
    assert build_callbacks([]) == []
    assert callback is mine
