"""Whatever error a user's code raises, wherever it is called: one line with file and line, the traceback in the folder."""

import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import yaml

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_json

MODULE = '''\
"""A user's task, scheme and channel, one of which fails."""

import torch, warnings
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.channels import AlignedInversion
from laser_wireless.compression import LowRank

SEEDS = [1]


class Odd(Exception):
    def __str__(self):
        raise ValueError("no words")


def generator():
    yield next(iter([]))


def fail(place):
    if place == {place!r} and SEEDS[-1] == 1:
        {statement}  # it fails here


fail("import")


class Task(Digits):
    def model(self, seed):
        SEEDS.append(seed)
        fail("model")
        return super().model(seed)

    def batches(self, round, num_devices, streams):
        fail("batches")
        return super().batches(round, num_devices, streams)

    def loss(self, model, images, labels):
        fail("loss")
        return super().loss(model, images, labels)

    def evaluate(self, model, split):
        fail("evaluate")
        return super().evaluate(model, split)


class Scheme(LowRank):
    def encode(self, gradients, state, *, round):
        fail("encode")
        return super().encode(gradients, state, round=round)

    def decode(self, *args, **kwargs):
        fail("decode")
        return super().decode(*args, **kwargs)


class Fading:
    def __init__(self, spread: float = 1.0):
        fail("construction")

    def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator):
        fail("fading" if round == 0 else "fading later")
        return torch.ones(num_devices, 1, 1, 1, dtype=torch.complex64)


def channel(x, *args, **kwargs):
    fail("channel")
    return x.sum(-2, keepdim=True)


class Control(AlignedInversion):
    def __call__(self, *args, **kwargs):
        fail("control")
        return super().__call__(*args, **kwargs)
'''

STATEMENTS = {
    "AssertionError": "assert SEEDS == 0",
    "ArithmeticError": "raise ArithmeticError('odd sum')",
    "AttributeError": "SEEDS.nothing",
    "BrokenPipeError": "raise BrokenPipeError('a pipe of my own')",
    "ExceptionGroup": "raise ExceptionGroup('several', [ValueError('one')])",
    "FileNotFoundError": "open('/nowhere/to/be/found')",
    "FloatingPointError": "raise FloatingPointError('underflow')",
    "GeneratorExit": "raise GeneratorExit",
    "ImportError": "from torch import no_such_name",
    "IndexError": "torch.ones(2)[3]",
    "KeyError": "{}['missing']",
    "MemoryError": "raise MemoryError",
    "NameError": "undefined",
    "NotImplementedError": "raise NotImplementedError",
    "Odd": "raise Odd",
    "OutOfMemoryError": "raise torch.cuda.OutOfMemoryError('long\\nand\\n' + 1000 * 'wide ')",
    "RecursionError": "fail(place)",
    "RuntimeError": "torch.ones(2) @ torch.ones(3)",
    "StopIteration": "next(iter([]))",
    "SyntaxError": "raise SyntaxError('said late')",
    "SystemExit": "raise SystemExit(0)",
    "TypeError": "len(3)",
    "UserWarning": "warnings.warn('careful', UserWarning)",  # which the tests turn into an error
    "ValueError": "raise ValueError('two\\nlines')",
    "ZeroDivisionError": "1 / 0",
}
FEW = ("ValueError", "SystemExit", "KeyError")  # a bad value, one that would end the command, a look-up
PLACES = ("batches", "channel", "control", "decode", "encode", "evaluate", "fading", "fading later", "loss", "model")
BEFORE = ("import", "construction")  # any run
NUMBERS = count()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))


def module_that_fails(folder, place, kind):
    """Write it under a name of its own; returns the name and the line of the statement."""
    name = f"own_module_{next(NUMBERS)}"
    text = MODULE.replace("{place!r}", repr(place)).replace("{statement}", STATEMENTS[kind])
    (folder / f"{name}.py").write_text(text)
    return name, next(number for number, line in enumerate(text.splitlines(), 1) if "# it fails here" in line)


def words_of(command, module):
    words = f"--uplink.fading {module}.Fading --task {module}.Task --compressor {module}.Scheme --num_devices 2 --seed 1"
    if command == "channel":
        words = f"--fading {module}.Fading --power_control {module}.Control --num_rounds 3 --num_devices 2"
    elif module:
        words += f" --uplink.energy_budget 16 --uplink.power_control {module}.Control --num_rounds 3 --task.width 8"
    return [command, *words.split(), "--device", "cpu", "--output", "out"]


def assert_said(printed, module, line, kind, traceback_file):
    """One line that names kind, file and line; the traceback is where it says."""
    assert "Traceback" not in printed
    lines = [text for text in printed.splitlines() if not re.match(r"\d+ of \d+ ", text)]
    assert len(lines) == 1, printed
    assert f"{module}.py:{line}" in lines[0]
    assert kind in lines[0]
    assert len(lines[0]) < 700
    assert str(traceback_file) in lines[0]
    kept = traceback_file.read_text()
    assert f'{module}.py", line {line}' in kept
    assert kind in kept


def fails(tmp_path, capsys, command, place, kind):
    module, line = module_that_fails(tmp_path, place, kind)
    words = words_of(command, module)
    if place == "channel":
        words = [word for word in words if word not in ("--uplink.fading", f"{module}.Fading")]
        words += ["--uplink.channel", f"{module}.channel"]
    assert main(words) == (2 if place in BEFORE else 1)
    assert_said(capsys.readouterr().err, module, line, kind, Path("out", "error.txt"))


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.parametrize("place", ["import", "fading later"])
def test_any_error_at_import_and_in_a_run(place, kind, tmp_path, capsys):
    fails(tmp_path, capsys, "run", place, kind)


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("place", [*PLACES, "construction"])
def test_errors_at_any_place_of_a_run(place, kind, tmp_path, capsys):
    fails(tmp_path, capsys, "run", place, kind)


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("place", ["import", "construction", "fading", "fading later", "control"])
def test_errors_at_any_place_of_a_channel_study(place, kind, tmp_path, capsys):
    fails(tmp_path, capsys, "channel", place, kind)


def sweep_of(module, **changes):
    """Two schemes, of which one has the user's parts, at two seeds, of which one fails."""
    fading = {"class_path": f"{module}.Fading", "init_args": {"spread": 2.0}}
    mine = {"compressor": f"{module}.Scheme", "uplink": {"fading": fading, "power_control": f"{module}.Control"}}
    return {
        "task": {"class_path": f"{module}.Task", "init_args": {"width": 8}},
        "schemes": {"mine": mine, "z-sgd": "z-sgd"},
        "energy_budgets": [10],
        "learning_rates": [0.1],
        "seeds": [0, 1],
        "num_devices": 2,
        "num_rounds": 3,
    } | changes


def run_a_sweep(content, folder, *words):
    (folder / "some.yaml").write_text(yaml.safe_dump(content))
    return main(["sweep", "some.yaml", "--device", "cpu", "--output", "out", *words])


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        pytest.param(place, kind, marks=[] if (place, kind) == ("loss", FEW[1]) else [pytest.mark.slow])
        for place in PLACES
        for kind in FEW[1:]
        if place != "channel"
    ],
)
def test_a_sweep_goes_on_with_its_other_runs(place, kind, tmp_path, capsys):
    module, line = module_that_fails(tmp_path, place, kind)
    assert run_a_sweep(sweep_of(module), tmp_path, "--jobs", "1") == 1
    of_a_scheme = place in ("encode", "decode", "control", "fading", "fading later")
    failed = [path for path in (tmp_path / "out" / "runs").iterdir() if (path / "error.txt").exists()]
    assert len(failed) == (1 if of_a_scheme else 3)  # the scheme's, or that of every scheme, at seed 1
    done = [path for path in (tmp_path / "out" / "runs").iterdir() if (path / "result.json").exists()]
    assert len(done) == 6 - len(failed)
    assert all(read_json(path / "result.json")["status"] == "done" for path in done)
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    for path in failed:
        assert f"{module}.py:{line}" in printed
        assert f'{module}.py", line {line}' in (path / "error.txt").read_text()


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("place", BEFORE)
def test_a_sweep_of_parts_that_cannot_be_made_runs_nothing(place, kind, tmp_path, capsys):
    module, line = module_that_fails(tmp_path, place, kind)
    assert run_a_sweep(sweep_of(module), tmp_path) == 2
    assert_said(capsys.readouterr().err, module, line, kind, Path("out", "error.txt"))
    assert not (tmp_path / "out" / "runs").exists()


def test_a_module_that_is_not_python_is_said_with_its_line(tmp_path, capsys):
    (tmp_path / "own_syntax.py").write_text("import torch\n\ndef my_fading(:\n    pass\n")
    words = ["run", "--uplink.energy_budget", "16", "--uplink.fading", "own_syntax.my_fading", "--output", "out"]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert "laser run: uplink.fading: importing own_syntax.my_fading failed (SyntaxError: invalid syntax" in printed
    assert "(own_syntax.py:3)); traceback in out/error.txt" in printed
    assert "def my_fading(:" in (tmp_path / "out" / "error.txt").read_text()


def test_the_file_is_gone_once_the_run_is_done(tmp_path):
    module, _ = module_that_fails(tmp_path, "fading later", "KeyError")
    assert main(words_of("run", module)) == 1
    path = tmp_path / f"{module}.py"
    path.write_text(path.read_text().replace("{}['missing']", "pass"))
    sys.modules.pop(module)
    assert main(words_of("run", module)) == 0
    assert not (tmp_path / "out" / "error.txt").exists()


def test_an_installed_module_is_the_users_if_the_configuration_names_it(tmp_path, monkeypatch, capsys):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    monkeypatch.syspath_prepend(installed)
    module, line = module_that_fails(installed, "fading", "KeyError")
    assert main(words_of("run", module)) == 1
    assert f"site-packages/{module}.py:{line}, in fail)" in capsys.readouterr().err


def test_an_interruption_stays_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(STATEMENTS, "interruption", "raise KeyboardInterrupt")
    for place in ("import", "construction", "loss"):
        module, _ = module_that_fails(tmp_path, place, "interruption")
        assert main(words_of("run", module)) == 130
        assert capsys.readouterr().err == "\ninterrupted; the same command goes on from here\n"
        assert not (tmp_path / "out" / "error.txt").exists()


def test_a_traceback_that_cannot_be_written_hides_nothing(tmp_path, capsys):
    module, line = module_that_fails(tmp_path, "fading", "KeyError")
    (tmp_path / "out" / "error.txt").mkdir(parents=True)
    assert main(words_of("run", module)) == 1
    printed = capsys.readouterr().err
    assert f"KeyError: 'missing' ({module}.py:{line}, in fail); its traceback cannot be written: IsADirectory" in printed


def test_a_module_that_an_option_imports_is_said_too(tmp_path, capsys):
    """Before the command knows its folder."""
    module, line = module_that_fails(tmp_path, "import", "KeyError")
    for words, folder in (([], "runs"), (["--output=mine"], "mine")):
        assert main(["run", "--task", f"{module}.Task", "--task.width", "8", *words, "--uplink.energy_budget", "1"]) == 2
        assert_said(capsys.readouterr().err, module, line, "KeyError", Path(folder, "error.txt"))


def test_theory_says_where_a_users_model_fails(tmp_path, capsys):
    (tmp_path / "own_model.py").write_text("def my_model():\n    return {}['layers']\n")
    assert main(["theory", "communication", "--model", "own_model.my_model", "--output", "out"]) == 1
    assert "KeyError: 'layers' (own_model.py:2, in my_model); traceback in out/error.txt" in capsys.readouterr().err


SCHEMES = """\
import os, warnings
from laser_wireless.compression import LowRank

class Warns(LowRank):
    def encode(self, *args, **kwargs):
        warnings.warn("careful")

class Leaves(LowRank):
    def encode(self, *args, **kwargs):
        os._exit(0)
"""
SWEEP = [sys.executable, "-m", "laser_wireless.benchmarks.cli", "sweep", "some.yaml", "--device", "cpu", "--output", "out"]


@pytest.mark.slow
def test_processes_fail_one_run_at_a_time(tmp_path):
    (tmp_path / "own_schemes.py").write_text(SCHEMES)
    schemes = {name: f"own_schemes.{name}" for name in ("Warns", "Leaves")}
    content = sweep_of("", task="digits", schemes=schemes | {"z-sgd": "z-sgd"}, seeds=[0])
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(content))
    strict = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([*SWEEP, "--jobs", "2"], cwd=tmp_path, env=strict, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for reason in (
        "UserWarning: careful (own_schemes.py:6, in encode); traceback in out/runs/Warns-",
        "its process ended with exit status 0, 2 times; the run is out/runs/Leaves-",
    ):
        assert f"failed: {reason}" in done.stderr
    assert "4 of 4 runs" in done.stderr
    assert "2 failed" in done.stderr
    finished = {path.parent.name.split("-P")[0] for path in (tmp_path / "out" / "runs").glob("*/result.json")}
    assert finished == {"z-sgd", "noiseless"}
