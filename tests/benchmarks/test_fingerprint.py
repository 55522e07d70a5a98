"""A result belongs to the code and data that made it: change them, and the same command computes again and says why."""

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from laser_wireless.benchmarks import fingerprint
from laser_wireless.benchmarks.assembly import component
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.fingerprint import changes, completed, fingerprint_of, plain_form
from laser_wireless.benchmarks.records import read_sealed_json
from laser_wireless.benchmarks.sweeps.sweep import run_from
from laser_wireless.benchmarks.training_run import train
from laser_wireless.channels import Trace
from laser_wireless.compression import LowRank

CPU = torch.device("cpu")
FADING = """
import torch
def my_fading(num_devices, num_rx_antennas, grid, *, round, generator):
    import own_helper.levels as levels
    return levels.LEVEL * torch.ones(num_devices, 1, 1, 1, dtype=torch.complex64)
"""
FROM_FILE = """
import numpy, torch
class Replayed:
    def __init__(self, recording: str):
        self._h = torch.as_tensor(numpy.load(recording), dtype=torch.complex64)
    def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator):
        return self._h[:num_devices].reshape(-1, 1, 1, 1)
def from_constant(num_devices, num_rx_antennas, grid, *, round, generator):
    return Replayed("own_trace.npy")(num_devices, num_rx_antennas, grid, round=round, generator=generator)
"""
RUN = [
    "run",
    "--num_devices",
    "2",
    "--num_rounds",
    "3",
    "--task",
    "digits-linear",
    "--compressor",
    "z-sgd",
    "--device",
    "cpu",
]
FADED = ["--uplink.fading", "Unnormalised", "--uplink.fading.fading"]
RUN += ["--uplink.energy_budget", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with a user's modules; what was imported from it is forgotten at each command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("own_fading.py").write_text(FADING)
    Path("own_replay.py").write_text(FROM_FILE)
    Path("own_helper").mkdir()
    Path("own_helper/__init__.py").write_text("")
    Path("own_helper/levels.py").write_text("LEVEL = 1\n")
    np.save("own_trace.npy", np.array([1.0, 2.0]))
    yield tmp_path
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def command(*words: str) -> int:
    """As in a process of its own: modules are imported afresh."""
    forget()
    return main([*RUN, *words])


def metrics(folder: str | Path = "out") -> dict:
    return read_sealed_json(Path(folder) / "result.json")["metrics"]


CASES = {
    "the function's own module": ("own_fading.my_fading", "own_fading.py", "module own_fading.py changed"),
    "one that it imports when it is called": ("own_fading.my_fading", "own_helper/levels.py", "module own_helper/levels.py"),
    "a file that an argument names": ("own_replay.Replayed", "own_trace.npy", "file own_trace.npy changed"),
    "a file that the module names": ("own_replay.from_constant", "own_trace.npy", "file own_trace.npy changed"),
}


def change(file: str) -> None:
    """Change what a file says, but neither its size nor its time."""
    path = Path(file)
    before = path.stat()
    if path.suffix == ".npy":
        np.save(path, np.array([3.0, 2.0]))
    else:
        path.write_text(path.read_text().replace("LEVEL = 1", "LEVEL = 3").replace("LEVEL *", "LEVEL +"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize(("fading", "file", "said"), CASES.values(), ids=CASES)
def test_a_change_is_named_and_the_result_is_that_of_a_fresh_run(fading, file, said, capsys):
    words = [*FADED, fading, *(["--uplink.fading.fading.recording", "own_trace.npy"] if "Replayed" in fading else [])]
    assert command(*words, "--output", "out") == 0
    before = metrics()
    capsys.readouterr()
    assert command(*words, "--output", "out") == 0
    assert capsys.readouterr().err == ""
    change(file)
    assert command(*words, "--output", "out") == 0
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count(" since the last results were computed") == 1  # and nothing else is blamed
    assert command(*words, "--output", "fresh") == 0
    assert metrics() == metrics("fresh") != before
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(path.name for path in Path("fresh").iterdir())
    capsys.readouterr()
    assert command(*words, "--output", "out") == 0
    assert "laser: " not in capsys.readouterr().err


def test_the_old_result_stays_until_the_new_one_is_whole_and_comes_back_with_the_old_code(monkeypatch, capsys):
    words = [*FADED, "own_fading.my_fading", "--output", "out"]
    old_code = Path("own_fading.py").read_text()
    assert command(*words) == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    change("own_fading.py")
    with monkeypatch.context() as patch:
        patch.setattr("laser_wireless.benchmarks.cli.train", interrupted_training(2))
        assert command(*words) == 130
    assert {path.name: path.read_bytes() for path in Path("out").iterdir() if path.is_file()} == before
    assert Path("out/recomputed/checkpoint.pt").exists()
    Path("own_fading.py").write_text(old_code)
    assert command(*words) == 0
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


def interrupted_training(rounds):
    def training(run, folder, **options):
        def progress(round, row):
            if round == rounds:
                raise KeyboardInterrupt

        return train(run, folder, **options | {"progress": progress})

    return training


def test_a_checkpoint_of_other_code_is_not_continued_and_stays_until_then(monkeypatch, capsys):
    words = [*FADED, "own_fading.my_fading"]
    with monkeypatch.context() as patch:
        patch.setattr("laser_wireless.benchmarks.cli.train", interrupted_training(2))
        assert command(*words, "--output", "out") == 130
        old = Path("out/checkpoint.pt").read_bytes()
        change("own_fading.py")
        assert command(*words, "--output", "out") == 130
        assert "module own_fading.py changed" in capsys.readouterr().err
        assert Path("out/checkpoint.pt").read_bytes() == old
    assert command(*words, "--output", "out") == 0
    assert command(*words, "--output", "fresh") == 0
    assert metrics() == metrics("fresh")
    assert not list(Path("out").glob("**/checkpoint*"))


@pytest.mark.parametrize(
    ("patched", "value", "said"),
    [
        ("torch.__version__", "9.9", f"torch {torch.__version__} -> 9.9"),
        ("numpy.__version__", "9.9", f"numpy {np.__version__} -> 9.9"),
        (
            "laser_wireless.benchmarks.fingerprint._own_code",
            lambda: {"laser_wireless.channels": "0" * 64},
            "channels changed",
        ),
        (
            "laser_wireless.benchmarks.fingerprint._version",
            lambda name: "9.9",
            f"laser-wireless {importlib.metadata.version('laser-wireless')} -> 9.9",
        ),
    ],
)
def test_another_version_is_another_code(patched, value, said, monkeypatch, capsys):
    assert command("--output", "out") == 0
    monkeypatch.setattr(patched, value)
    assert command("--output", "out") == 0
    assert said in capsys.readouterr().err


def test_a_sweep_says_it_once_and_computes_the_runs_it_concerns(capsys):
    words = ["sweep", "--task", "digits-linear", "--schemes", "[z-sgd, signum]", "--energy_budgets", "[1]", "--seeds", "[0]"]
    words += ["--learning_rates", "[0.1]", "--num_devices", "2", "--num_rounds", "2"]
    words += [*FADED, "own_fading.my_fading", "--output", "out", "--jobs", "1", "--device", "cpu"]
    assert main(words) == 0
    results = {path: path.read_bytes() for path in Path("out").glob("runs/*/result.json")}
    assert len(results) == 3
    change("own_fading.py")
    forget()
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().err.count("module own_fading.py changed") == 1
    same = [path.parent.name for path, content in results.items() if path.read_bytes() == content]
    assert [name.split("-")[0] for name in same] == ["noiseless"]  # which knows no fading


def taken(spec: dict) -> dict[str, str]:
    spec = {name: component(entry, name) if isinstance(entry, str) else entry for name, entry in spec.items()}
    return fingerprint_of(run_from(spec), spec, form=1, code=fingerprint.__file__, folder=Path("out"))


def own_uplink(fading: str, **arguments) -> dict:
    own = {"class_path": fading, "init_args": arguments}
    inner = {"class_path": "laser_wireless.channels.Unnormalised", "init_args": {"fading": own}}
    return {"class_path": "laser_wireless.channels.AnalogUplink", "init_args": {"energy_budget": 1.0, "fading": inner}}


OWN = {"task": "digits", "compressor": "laser", "uplink": own_uplink("own_fading.my_fading")}


@pytest.mark.slow
def test_it_is_the_same_in_every_process_whatever_else_is_imported():
    code = (
        "import sys, json; sys.path.insert(0, '.'); import own_replay, sklearn.datasets\n"
        "from laser_wireless.benchmarks.fingerprint import fingerprint_of, __file__ as f; from pathlib import Path\n"
        "from laser_wireless.benchmarks.sweeps.sweep import run_from; spec = json.loads(sys.argv[1])\n"
        "print(json.dumps(fingerprint_of(run_from(spec), spec, form=1, code=f, folder=Path('elsewhere'))))"
    )
    sys.path.insert(0, ".")
    spec = {name: component(entry, name) if isinstance(entry, str) else entry for name, entry in OWN.items()}
    other = subprocess.run([sys.executable, "-c", code, json.dumps(spec)], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == taken(OWN)


def test_only_the_users_modules_and_installed_libraries_count():
    sys.path.insert(0, ".")
    found = taken(OWN)
    assert {part for part in found if part.startswith("module ")} == {
        *("module own_fading.py", "module own_helper/__init__.py", "module own_helper/levels.py")
    }
    assert found["torch"] == torch.__version__
    Path("own_fading.py").write_text(FADING + "    import scipy.stats, os.path, nowhere_to_be_found\n")
    forget()
    assert taken(OWN)["scipy"] == importlib.metadata.version("scipy")


def test_data_files_and_folders_count_by_content_and_the_runs_own_folder_does_not():
    sys.path.insert(0, ".")
    Path("data/set").mkdir(parents=True)
    Path("data/set/train.bin").write_bytes(b"abc")
    Path("own_data.py").write_text(
        "class Fade:\n    def __init__(self, path: str): self.path = path\n    __call__ = print\n"
    )
    spec = OWN | {"uplink": own_uplink("own_data.Fade", path="data")}

    def now() -> dict[str, str]:
        parts = {name: component(entry, name) if isinstance(entry, str) else entry for name, entry in spec.items()}
        return fingerprint_of(run_from(parts), parts, form=1, code=fingerprint.__file__, folder=Path("data/out/run"))

    first = now()
    Path("data/out/run").mkdir(parents=True)
    Path("data/out/run/rounds.csv").write_text("mine")
    assert now() == first
    Path("data/set/train.bin").write_bytes(b"abd")
    assert changes(first, now()) == ["file data changed"]
    Path("data/set/train.bin").rename("data/set/test.bin")
    assert changes(first, now()) == ["file data changed"]


def test_sizes_and_times_stand_for_large_folders(monkeypatch):
    monkeypatch.setattr(fingerprint, "_LARGEST_READ", 2)
    Path("large").mkdir()
    Path("large/a").write_bytes(b"abc")
    status = Path("large/a").stat()
    first = fingerprint._data_digest(Path("large"), Path("out"))
    Path("large/a").write_bytes(b"abd")
    os.utime("large/a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint._data_digest(Path("large"), Path("out")) == first
    os.utime("large/a", ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert fingerprint._data_digest(Path("large"), Path("out")) != first


def test_a_file_that_the_run_itself_writes_is_taken_as_it_is_at_the_end():
    before = {"file traced.npz": "absent", "file other.npz": "absent"}
    Path("traced.npz").write_bytes(b"paths")
    now = completed(before)
    assert now["file other.npz"] == "absent"
    assert now["file traced.npz"] == fingerprint._data_digest(Path("traced.npz"), Path("out"))
    assert changes(before, now) == ["file traced.npz is new"]


def test_changes_are_said_by_their_kind():
    before = {"module a.py": "0" * 64, "module gone.py": "1" * 64, "torch": "2.9.1", "file h.npz": "2" * 64}
    now = {"module a.py": "3" * 64, "module b.py": "4" * 64, "torch": "2.13.0", "file h.npz": "absent"}
    assert changes(before, now) == [
        *("file h.npz is gone", "module a.py changed", "module b.py is new", "module gone.py is no longer used"),
        "torch 2.9.1 -> 2.13.0",
    ]


def test_what_runs_is_what_was_imported_not_what_the_file_says_since():
    sys.path.insert(0, ".")
    first = taken(OWN)
    change("own_fading.py")
    assert taken(OWN) == first  # this process still runs the old text
    forget()
    assert changes(first, taken(OWN)) == ["module own_fading.py changed"]


class Plain:
    def __init__(self, width, data):
        self.width, self._calls, self.data = width, 0, data


def test_plain_forms_tell_objects_apart_by_what_they_do():
    assert plain_form(LowRank(rank=2)) == plain_form(LowRank(rank=2)) != plain_form(LowRank(rank=3))
    assert plain_form(Plain(1, [])) != plain_form(Plain(2, []))
    one, other = Plain(1, []), Plain(1, [])
    other._calls = 5
    assert plain_form(one) == plain_form(other)
    assert plain_form(torch.ones(2)) != plain_form(torch.ones(1, 2)) != plain_form(torch.zeros(1, 2))
    json.dumps(plain_form([torch.ones(()), np.float64(1), 1j, {3, 2}, max, "a".join, Plain, Trace, CPU]))


def test_files_that_a_module_writes_do_not_count():
    """Else a log would make every result one of other data."""
    Path("own_log.py").write_text(
        "import numpy, h5py, pathlib\nLOG, READ = 'a.log', 'b.npy'\nLEVELS = 'levels.csv'\ntable = open(LEVELS)\n"
        "open('c.log', mode='a').write('x')\nopen('d.txt')\nnumpy.save('e.npy', 1)\nnumpy.load('f.npy')\n"
        "OUT = 'g.h5'\nh5py.File(OUT, 'w')\nh5py.File('h.h5', 'r')\npathlib.Path('i.txt').open('ab')\n"
    )
    counted = set(fingerprint._strings(Path("own_log.py")))
    assert counted >= {"b.npy", "levels.csv", "d.txt", "f.npy", "h.h5"}
    assert not counted & {"c.log", "e.npy", "g.h5", "i.txt"}
