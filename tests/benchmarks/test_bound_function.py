"""A plain function takes arguments of its own from options, as a class does."""

import pickle
import subprocess
import sys

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration, assemble, component
from laser_wireless.benchmarks.bound_function import BoundFunction
from laser_wireless.benchmarks.channel_views.labels import labels_of
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.records import read_json
from laser_wireless.benchmarks.strict_yaml import parse_yaml
from laser_wireless.channels import AnalogUplink, Streams

MODULE = '''
import torch

def fading(num_devices, antennas, grid, *, round, generator, k: float = 1.0, depth: int = 0, word="a"):
    """Of mine.

    Args:
        k: amplitude, linear.
    """
    return k * torch.ones(num_devices, antennas, 1, 1, dtype=torch.complex64)

def needy(num_devices, num_rx_antennas, grid, *, round, generator, k):
    return k * torch.ones(num_devices, 1, 1, 1, dtype=torch.complex64)

def anything(*args, **kwargs):
    return kwargs["k"] * torch.ones(args[0], 1, 1, 1, dtype=torch.complex64)

def paths(num_devices, num_rx_antennas, times, *, round, generator, k: float = 1.0):
    a = k * torch.ones(num_devices, num_rx_antennas, 1, len(times), dtype=torch.complex64)
    return a, torch.zeros(num_devices, 1)

def budget(round, base: float, slope: float = 0.0):
    return base + slope * round

def stage(x, radio, *, generators, factor: float):
    return factor * x

def wrong(num_devices, num_rx_antennas, grid, *, round, generator, k: float = 1.0):
    return k
'''


@pytest.fixture(autouse=True)
def _with_a_module_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_functions.py").write_text(MODULE)


def uplink(line):
    spec = {"uplink": component({"class_path": "AnalogUplink", "init_args": {"energy_budget": 4.0}}, "uplink")}
    read_options(line.replace("own.", "own_functions.").split(), spec, {}, lambda uplink: uplink)
    return assemble(lambda uplink: uplink, spec, "")


def gains(fading):
    return fading(3, 1, None, round=0, generator=torch.Generator())


def test_arguments_are_bound_and_the_rest_is_left_to_the_uplink():
    fading = uplink("--uplink.fading own.fading --uplink.fading.k 3 --uplink.fading.depth 2e0").fading
    assert fading.keywords == {"k": 3.0, "depth": 2}
    assert [type(value) for value in fading.keywords.values()] == [float, int]
    assert torch.equal(gains(fading), torch.full((3, 1, 1, 1), 3 + 0j))


def test_a_function_without_arguments_stays_the_function_itself():
    assert type(uplink("--uplink.fading own.fading").fading).__name__ == "function"


def test_it_names_itself_in_representations_labels_and_errors():
    made = uplink("--uplink.fading own.fading --uplink.fading.k 3")
    assert repr(made) == "AnalogUplink(energy_budget=4.0, fading=fading(k=3.0))"
    assert labels_of([made.fading, uplink("--uplink.fading own.fading --uplink.fading.k 2").fading]) == [
        "fading(k=3.0)",
        "fading(k=2.0)",
    ]
    wrong = uplink("--uplink.fading own.wrong --uplink.fading.k 2")
    with pytest.raises(TypeError, match=r"fading wrong\(k=2.0\) must return a torch.Tensor"):
        wrong.aggregate(torch.ones(2, 4), (4,), round=0, streams=Streams(0))


def test_it_reaches_another_process():
    fading = uplink("--uplink.fading own.fading --uplink.fading.k 3").fading
    again = pickle.loads(pickle.dumps(fading))
    assert isinstance(again, BoundFunction)
    assert (repr(again), again.keywords) == ("fading(k=3.0)", {"k": 3.0})
    assert torch.equal(gains(again), gains(fading))


def test_schedules_stages_and_paths_take_arguments_too():
    made = uplink("--uplink.energy_budget own.budget --uplink.energy_budget.base 2 --uplink.energy_budget.slope 0.5")
    assert made.energy_budget(4) == 4.0
    made = uplink("--uplink.impairments [own.stage] --uplink.impairments.0.factor 2")
    assert torch.equal(made.impairments[0](torch.ones(2), None, generators=None), torch.full((2,), 2.0))
    made = uplink("--uplink.fading own.paths --uplink.fading.k 2")
    streams, message = Streams(0), torch.ones(2, 4)
    assert isinstance(made, AnalogUplink)
    assert made.aggregate(message, (4,), round=0, streams=streams).estimate.isfinite().all()


def test_a_function_of_any_arguments_takes_them():
    assert uplink("--uplink.fading own.anything --uplink.fading.k 2").fading.keywords == {"k": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("own.fading --uplink.fading.kk 3", "uplink.fading: fading has no argument 'kk'; did you mean k"),
        ("own.fading --uplink.fading.k abc", "uplink.fading.k must be a number, got 'abc'"),
        ("own.fading --uplink.fading.k .nan", "uplink.fading.k must be a number, got nan"),
        ("own.fading --uplink.fading.depth 1.5", "uplink.fading.depth must be an integer, got 1.5"),
        ("own.fading --uplink.fading.depth true", "uplink.fading.depth must be an integer, got true"),
        ("own.fading --uplink.fading.round 1", "'round' is passed to fading in every call and cannot be set; it takes k"),
        ("own.fading --uplink.fading.antennas 1", "'antennas' is passed to fading in every call"),
        ("own.fading --uplink.fading.generator 1", "'generator' is passed to fading in every call"),
        ("own.needy", "uplink.fading: needy needs k"),
        ("own.fading.k", "cannot import own_functions.fading.k"),
        ("torch.rand --uplink.fading.size 3", "takes no arguments here, got size"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(line, message):
    with pytest.raises(BadConfiguration, match=message):
        uplink(f"--uplink.fading {line}")


def test_help_lists_what_can_be_set_and_nothing_else(capsys):
    assert main(["channel", "--fading", "own_functions.fading", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--fading.k\n      [default 1.0] amplitude, linear." in printed
    assert "--fading.depth" in printed
    assert "--fading.round\n" not in printed
    assert "--fading.antennas" not in printed


WORDS = "--num_devices 2 --num_rounds 1 --task.width 4 --device cpu --uplink.fading own_functions.needy --uplink.fading.k -1"


def test_a_run_takes_and_records_them(tmp_path, capsys):
    assert main(["run", "--uplink.energy_budget", "4", *WORDS.split(), "--output", "out"]) == 0
    assert parse_yaml((tmp_path / "out" / "config.yaml").read_text())["uplink"]["init_args"]["fading"] == {
        "class_path": "own_functions.needy",
        "init_args": {"k": -1},
    }


@pytest.mark.slow
def test_a_sweep_takes_them_in_processes_of_its_own(tmp_path):
    sweep = "task: digits\nschemes: [laser, z-sgd]\nenergy_budgets: [1]\nlearning_rates: [0.1]\nseeds: [0]\n"
    (tmp_path / "some.yaml").write_text(sweep)
    words = ["sweep", "some.yaml", "--jobs", "2", *WORDS.split(), "--output", "swept"]
    subprocess.run([sys.executable, "-m", "laser_wireless.benchmarks.cli", *words], cwd=tmp_path, check=True)
    results = sorted((tmp_path / "swept" / "runs").glob("*/result.json"))
    assert [read_json(path)["status"] for path in results] == ["done"] * 3
