"""Every file that a run, a sweep or a spectrum study writes, damaged: named and made good, or never read; 100 %."""

import contextlib
import io
import itertools
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from helpers.faults import FLIPS, faults_of, inject

from laser_wireless.benchmarks import fingerprint, run_folder
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_sealed_json
from laser_wireless.benchmarks.sweeps.running import run_sweep
from laser_wireless.benchmarks.sweeps.spectrum import Spectrum, run_spectrum
from laser_wireless.benchmarks.sweeps.sweep import sweep_from
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression import LowRank

CPU = torch.device("cpu")
TASK = Digits(architecture="linear", batch_size=2)
SPEC = {"what": "was asked"}
RUN = TrainingRun(
    task=TASK,
    compressor=LowRank(rank=1),
    uplink=AnalogUplink(
        energy_budget=64.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.2), scale=PreviousScale()
    ),
    num_devices=2,
    num_rounds=3,
    evaluate_every=2,
    checkpoint_seconds=0.0,
)
SPECTRUM = Spectrum(task=TASK, learning_rate=0.05, num_rounds=3, record_every=1, top=2, checkpoint_seconds=0.0)
SWEEP = {
    "task": {"class_path": "Digits", "init_args": {"architecture": "linear", "batch_size": 2}},
    "uplink": "AnalogUplink",
    "schemes": ["z-sgd"],
    "energy_budgets": [10],
    "learning_rates": [0.03],
    "seeds": [0],
    "num_devices": 2,
    "num_rounds": 2,
}
ALL_OR_FEW = [3, pytest.param(FLIPS, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def _disk_that_loses_no_power(monkeypatch):
    """Flushing to the disk takes most of the time of a tiny run, and no fault here depends on it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Killed(BaseException):
    """As a kill: nothing is saved or cleaned up any more."""


def killed_after(rounds):
    def progress(round, row):
        if round == rounds:
            raise Killed

    return progress


def without_environment(result: dict) -> dict:
    return {name: value for name, value in result.items() if name != "environment"}


def train_again(folder: Path) -> tuple[object, str]:
    """All that a repeated run gives and leaves, and what it says."""
    said: list[str] = []
    result = train(RUN, folder, device=CPU, spec=SPEC, tell=said.append)
    assert read_sealed_json(folder / "result.json") == result
    left = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "result.json"}
    return (without_environment(result), left), "\n".join(said)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run stopped in its third round, the same between two checkpoints, and the same finished."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("stopped", "between", "done")}
    with pytest.raises(Killed):
        train(RUN, folders["stopped"], device=CPU, progress=killed_after(3), spec=SPEC)
    shutil.copytree(folders["stopped"], folders["between"], dirs_exist_ok=True)
    (folders["between"] / "checkpoint.pt").unlink()
    train(RUN, folders["done"], device=CPU, spec=SPEC)
    return folders


RECORDS = ("config.yaml", "rounds.csv", "evaluations.csv")
FILES = {
    "stopped": {"checkpoint.pt", "checkpoint.previous.pt", *RECORDS},
    "between": {"checkpoint.previous.pt", *RECORDS},
    "done": {"result.json", *RECORDS},
}
NOT_READ = {  # the checkpoint before a sound one; rows of rounds after the checkpoint, which are computed again
    "stopped": {"checkpoint.previous.pt"},
    "between": {"rounds.csv", "evaluations.csv"},
    "done": set(),
}


@pytest.mark.parametrize("flips", ALL_OR_FEW)
@pytest.mark.parametrize("state", FILES)
def test_a_run_ends_the_same_after_any_fault_and_names_the_file(state, flips, runs, tmp_path):
    assert {path.name for path in runs[state].iterdir()} == FILES[state]
    wrong, counts = inject(runs[state], train_again, tmp_path, NOT_READ[state], faults_of(runs[state], flips=flips))
    assert set(counts.values()) == {8 + flips}
    assert not wrong, "\n".join(wrong)


def test_the_injection_finds_a_reader_that_trusts_its_files(runs, tmp_path):
    """Negative control: a repeated command that takes rounds.csv as it is."""

    def trusting(folder: Path) -> tuple[object, str]:
        return (folder / "rounds.csv").read_bytes(), ""

    wrong, counts = inject(
        runs["done"], trusting, tmp_path, set(RECORDS) | {"result.json"}, faults_of(runs["done"], flips=3)
    )
    assert len(wrong) == counts["rounds.csv"] == 11


@pytest.mark.parametrize("flips", ALL_OR_FEW)
@pytest.mark.parametrize("state", ["stopped", "done"])
def test_a_spectrum_study_ends_the_same_after_any_fault(state, flips, tmp_path, monkeypatch):
    def again(folder: Path) -> tuple[object, str]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            rows = run_spectrum(SPECTRUM, folder, device=CPU)
        assert {path.name for path in folder.rglob("*") if path.is_file()} == {"result.json"}
        return rows, said.getvalue()

    folder = tmp_path / "study"
    if state == "stopped":
        with monkeypatch.context() as patch:
            patch.setattr(run_folder, "write_sealed_json", lambda path, content: killed_after(0)(0, None))
            with pytest.raises(Killed):
                run_spectrum(SPECTRUM, folder, device=CPU)
    else:
        run_spectrum(SPECTRUM, folder, device=CPU)
    not_read = {"checkpoint.previous.pt"}
    wrong, counts = inject(folder, again, tmp_path, not_read, faults_of(folder, flips=flips))
    assert len(counts) == (2 if state == "stopped" else 1)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("flips", ALL_OR_FEW)
def test_a_run_of_a_sweep_ends_the_same_after_any_fault(flips, tmp_path):
    def again(folder: Path) -> tuple[object, str]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            rows = run_sweep(sweep_from(SWEEP), folder, device="cpu", jobs=1)
        left = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.[cy]*")}  # csv and yaml
        return ([without_environment(row) for row in rows], left), said.getvalue()

    run_sweep(sweep_from(SWEEP), tmp_path / "sweep", device="cpu", jobs=1)
    of_one_run = (fault for fault in faults_of(tmp_path / "sweep", flips=flips) if "z-sgd" in fault.file)
    not_read = {"config.yaml"}  # a flip in its checkpoint_seconds asks for nothing else; it is written again all the same
    wrong, counts = inject(tmp_path / "sweep", again, tmp_path, not_read, of_one_run)
    assert len(counts) == 4
    assert not wrong, "\n".join(wrong)


def test_what_a_sweep_reports_is_never_read_back(tmp_path, monkeypatch):
    """Table, savings, pictures, record: all damaged at once, in each way, they are all written again, the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.setattr(
        "laser_wireless.benchmarks.sweeps.report.plot_sweep",
        lambda sweep, curves, rows, path, *more: [path.with_suffix(kind).write_bytes(b"drawn") for kind in (".png", ".pdf")],
    )
    Path("tiny.yaml").write_text(yaml.safe_dump(SWEEP))
    words = ["sweep", "tiny.yaml", "--jobs", "1", "--device", "cpu"]
    assert main(words) == 0
    folder = Path("runs/tiny")
    files = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {path.name for path in files} == {
        *("table.csv", "savings.csv", "environment.json", "sweep.yaml", "sweep.png", "sweep.pdf")
    }
    faults: dict[str, list[bytes]] = {}
    for fault in faults_of(folder):
        faults.setdefault(fault.file, []).append(fault.content)
    for number in range(8 + FLIPS):
        for path in files:
            kinds = faults[path.name]
            path.write_bytes(kinds[number % len(kinds)])
        assert main(words) == 0
        assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files


CALLS = ("open", "replace", "unlink", "mkdir", "rmdir", "fsync")


class Kill:
    """Ends a process, as far as files can tell, before one of its calls to the system; no call gets through afterwards."""

    def __init__(self, monkeypatch, before: int) -> None:
        self.left = before
        for name in CALLS:
            monkeypatch.setattr(os, name, partial(self._call, getattr(os, name)))

    def _call(self, original, *arguments, **options):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return original(*arguments, **options)


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("state", ["fresh", "stopped", "changed"])
def test_a_run_killed_before_any_call_to_the_system_ends_the_same(state, stride, runs, tmp_path, monkeypatch):
    """At every step of saving, of replacing an old result, and of tidying up; and no file is left over."""
    (expected, files), _ = train_again(shutil.copytree(runs["done"], tmp_path / "expected"))
    if state == "changed":  # the result that is there is of other code
        changed = {name: "0" * 64 for name in expected["fingerprint"] if name in fingerprint._own_code()}
        monkeypatch.setattr(fingerprint, "_own_code", lambda: changed)
        expected = expected | {"fingerprint": expected["fingerprint"] | changed}
    for calls in itertools.count(0, stride):
        folder = tmp_path / str(calls)
        folder.mkdir()
        if state != "fresh":
            shutil.copytree(runs["stopped" if state == "stopped" else "done"], folder, dirs_exist_ok=True)
        try:
            with monkeypatch.context() as patch:
                Kill(patch, calls)
                train(RUN, folder, device=CPU, spec=SPEC, tell=lambda line: None)
        except Killed:
            if state == "changed":  # a whole result is there at any moment
                assert read_sealed_json(folder / "result.json")["metrics"] == expected["metrics"]
            found, said = train_again(folder)
            assert found == (expected, files), f"killed before call {calls}"
            assert not any(word in said for word in ("damaged", "not readable", "does not fit")), said
            shutil.rmtree(folder)
        else:
            assert calls > 20
            break
