"""--engine and its arguments: named, checked, and refused before anything starts."""

import re
import sys

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.sweeps import expected
from laser_wireless.benchmarks.sweeps.engines.choice import engine_of
from laser_wireless.benchmarks.sweeps.engines.dask import Dask
from laser_wireless.benchmarks.sweeps.engines.local import Local
from laser_wireless.benchmarks.sweeps.engines.slurm import Slurm

FILE = """
task: {class_path: digits, init_args: {width: 8, batch_size: 4}}
schemes: [laser]
energy_budgets: [1, 100]
learning_rates: [0.01, 0.1]
seeds: [0, 1]
num_devices: 2
num_rounds: 4
"""
OWN = """\
class Mine:
    cores, is_here = 1, True
    def __init__(self, *, name: str = "mine"):
        self.name = name
    def at_a_time(self, jobs, place):
        return jobs or 3
    def where(self, count):
        return f"{count} of {self.name}"
    def do(self, works, *, jobs, folder, tick):
        for number, work in enumerate(works):
            tick()
            yield number, work()
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    (tmp_path / "mine.yaml").write_text(FILE)
    (tmp_path / "own_engine.py").write_text(OWN)
    return ["sweep", "mine.yaml", "--device", "cpu", "--output", "out"]


@pytest.mark.parametrize(
    ("content", "given", "engine"),
    [
        ({}, {}, Local()),
        ({"engine": "dask"}, {}, Dask()),
        ({"engine": "dask"}, {"engine": "local"}, Local()),
        ({}, {"engine": "dask", "engine.address": "tcp://10.0.0.1:8786"}, Dask(address="tcp://10.0.0.1:8786")),
        (
            {"engine": {"class_path": "slurm", "init_args": {"partition": "long", "cpus": 2}}},
            {"engine.mem_gb": "1.5", "engine.partition": "1e3", "engine.options": "{qos: low}"},
            Slurm(partition="1e3", cpus=2, mem_gb=1.5, options={"qos": "low"}),
        ),
    ],
)
def test_an_engine_is_taken_out_of_file_and_options(content, given, engine):
    content, given = {**content, "seeds": [0]}, {**given, "seeds": "[1]"}
    assert engine_of(content, given) == engine
    assert (content, given) == ({"seeds": [0]}, {"seeds": "[1]"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"engine": "slurn"},
            "engine must be one of local, slurm, dask, or an import path, got 'slurn'; did you mean slurm",
        ),
        ({"engine": "3"}, "engine must be one of local, slurm, dask"),
        ({"engine": "slurm", "engine.partitions": "a"}, "no argument 'partitions'; did you mean partition"),
        ({"engine.partition": "a"}, "Local has no argument 'partition'. It takes none"),
        ({"engine": "slurm", "engine.time_min": "soon"}, "engine.time_min must be an integer, got 'soon'"),
        ({"engine": "slurm", "engine.time_min": "1"}, "time_min must be >= 2, got 1"),
        ({"engine": "slurm", "engine.mem_gb": "0"}, "mem_gb must be finite and > 0, got 0"),
        ({"engine": "slurm", "engine.cpus": "0"}, "cpus must be >= 1, got 0"),
        ({"engine": "dask", "engine.address": "here"}, "address must be that of a scheduler, such as tcp://"),
        ({"engine": "laser_wireless.compression.LowRank"}, "engine must have at_a_time, where, do, cores and is_here"),
        ({"engine": "no_such.Engine"}, "cannot import no_such.Engine"),
    ],
)
def test_bad_engines_are_refused_by_name(given, message):
    with pytest.raises(BadConfiguration, match=re.escape(message)):
        engine_of({}, given)


@pytest.mark.parametrize(("name", "needs"), [("slurm", "submitit"), ("dask", "distributed")])
def test_a_missing_extra_is_named(words, name, needs, monkeypatch, capsys):
    monkeypatch.setattr(f"laser_wireless.benchmarks.sweeps.engines.{name}.find_spec", lambda module: None)
    assert main([*words, "--engine", name]) == 2
    assert f"engine {name} needs {needs}: pip install 'laser-wireless[{name}]'" in capsys.readouterr().err


def test_slurm_without_its_commands_says_where_to_start(words, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert main([*words, "--engine", "slurm"]) == 1
    assert "engine slurm needs the command sbatch, which is not here; start on a login node" in capsys.readouterr().err


def test_a_study_that_trains_nothing_needs_no_engine(capsys):
    assert main(["sweep", "communication", "--engine", "dask"]) == 2
    assert "--engine is for sweeps over power" in capsys.readouterr().err


def test_help_names_engines_and_the_arguments_of_the_one_chosen(capsys):
    assert main(["sweep", "--help"]) == 0
    found = capsys.readouterr().out
    assert "--engine ENGINE" in found
    assert "\n  --engine.partition\n" not in found
    assert main(["sweep", "--engine", "slurm", "--help"]) == 0
    assert "\n  --engine.partition\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "about 01:12 on 2 processes of this machine, 0.04 core hours"),
        (
            ["--engine", "slurm", "--engine.partition", "long"],
            "about 01:12 on 2 SLURM jobs at a time of long, 0.04 core hours",
        ),
        (["--engine", "slurm", "--engine.cpus", "4"], "about 01:12 on 2 SLURM jobs at a time, 0.16 core hours"),
        (["--engine", "dask"], "about 01:12 on 2 Dask workers of this machine, 0.04 core hours"),
        (["--engine", "own_engine.Mine", "--engine.name", "ours"], "about 01:12 on 2 of ours, 0.04 core hours"),
    ],
)
def test_a_dry_run_says_what_it_takes_by_engine(words, options, said, monkeypatch, capsys):
    monkeypatch.setattr(expected, "_timed", lambda company, place: (len(company), 1.5, 6.0))
    assert main([*words, "--jobs", "2", *options, "--dry-run"]) == 0
    assert said in capsys.readouterr().out  # 12 x (4 x 1.5 + 6) s


def test_an_engine_of_ones_own_computes_a_sweep(words, tmp_path):
    threads = torch.get_num_threads()
    assert main([*words, "--engine", "own_engine.Mine"]) == 0
    torch.set_num_threads(threads)  # a work takes its process for its own
    assert main([*words[:-1], "local", "--jobs", "1"]) == 0
    for name in ("table.csv", "savings.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
