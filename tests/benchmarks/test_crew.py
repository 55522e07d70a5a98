"""`laser run --processes`: the same run, whatever becomes of its processes; everything is said and told once.

LASER_KILLS=20 python -m pytest -m slow tests/benchmarks/test_crew.py kills that often.
"""

import os
import random
import signal
import time
from contextlib import nullcontext
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers.marked import Marked, assert_nothing_lives_on
from torch import nn

from laser_wireless.benchmarks.assembly import assemble, component
from laser_wireless.benchmarks.cli import _RUN_DEFAULTS, main
from laser_wireless.benchmarks.crew import Crew
from laser_wireless.benchmarks.crew_launch import crew_of
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.records import read_csv, read_json
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.training import load_checkpoint

CPU = torch.device("cpu")
KILLS = int(os.environ.get("LASER_KILLS", "2"))
PATIENCE_S = 30.0
WORDS = [
    *("run", "--device", "cpu", "--task.width", "12", "--compressor", "LowRank", "--compressor.rank", "2"),
    *("--uplink.energy_budget", "64", "--uplink.fading", "Rayleigh", "--uplink.power_control", "TruncatedInversion"),
    *("--num_devices", "5"),
]
SHORT = [*WORDS, "--uplink.scale", "PreviousScale", "--num_rounds", "12", "--evaluate_every", "5"]
LONG = [*WORDS, "--num_rounds", "300", "--evaluate_every", "100", "--checkpoint_seconds", "0.05"]
LISTENER = """
import os

def note(recorded):
    with open("told.txt", "a") as file:
        file.write("".join(f"{os.getpid()} {row['round']}\\n" for row in recorded.rounds))
"""


def in_folder(parent, name):
    folder = parent / name
    folder.mkdir()
    return folder


def spec_of(words):
    """The plain configuration of a command."""
    spec = {slot: component(name, slot) for slot, name in _RUN_DEFAULTS.items()}
    read_options(words[1:], spec, {"device": "auto"}, TrainingRun)
    return spec


def interrupted_after(rounds, run, folder, **more):
    """Train so far; the run saves itself."""

    def progress(round, row):
        if round == rounds:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, folder, device=CPU, progress=progress, **more)
    assert len(read_csv(folder / "rounds.csv")) == rounds


def tables(folder):
    return [read_csv(folder / name) for name in ("rounds.csv", "evaluations.csv")]


def assert_same_rounds(found, expected, tolerance=1e-5):
    for rows, wanted in zip(found, expected, strict=True):
        assert len(rows) == len(wanted) > 1
        for row, its_wanted in zip(rows, wanted, strict=True):
            assert row == pytest.approx(its_wanted, rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.mark.slow
def test_two_processes_do_the_run_of_one(tmp_path, monkeypatch, capsys):
    """Five devices, so that one process has three of them; callbacks and the result are the first process's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_listener.py").write_text(LISTENER)
    expected, words = in_folder(tmp_path, "one"), [*SHORT, "--callbacks", "own_listener.note"]
    train(assemble(TrainingRun, spec_of(SHORT), ""), expected, device=CPU)
    assert main([*words, "--processes", "2", "--output", "two"]) == 0
    assert_same_rounds(tables(tmp_path / "two"), tables(expected))
    assert read_json(tmp_path / "two" / "result.json")["environment"]["processes"] == 2
    assert read_json(expected / "result.json")["environment"]["processes"] == 1
    assert (tmp_path / "told.txt").read_text().splitlines() == [f"{os.getpid()} {round}" for round in range(12)]
    assert not dist.is_initialized()
    first = capsys.readouterr().out
    assert main([*words, "--output", "two"]) == 0  # finds the result: nothing of the configuration has changed
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("processes", ["0", "6"])
def test_each_process_holds_a_device(tmp_path, monkeypatch, capsys, processes):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--processes", processes]) == 2
    assert f"--processes must be 1 .. 5: each holds one of 5 devices at least, got {processes}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def group_of_one():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_a_crew_of_one_changes_no_bit_and_its_checkpoints_are_those_of_any_run(tmp_path):
    run, alone = assemble(TrainingRun, spec_of(SHORT), ""), lambda: nullcontext(Crew(5))
    whole, broken = in_folder(tmp_path, "whole"), in_folder(tmp_path, "broken")
    train(run, whole, device=CPU)
    for at, crew in ((4, alone), (7, nullcontext), (9, alone)):
        interrupted_after(at, run, broken, crew=crew)
    train(run, broken, device=CPU, crew=alone)
    assert tables(broken) == tables(whole)


@pytest.mark.usefixtures("group_of_one")
def test_a_model_that_keeps_statistics_of_devices_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match=r"the same in all processes, but 1 \(BatchNorm2d\) keeps statistics .*GroupNorm"):
        Crew(2).air_of(model)
    assert Crew(2).air_of(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False))).num_devices == 2


@pytest.mark.usefixtures("group_of_one")
def test_a_state_of_other_devices_is_refused(tmp_path):
    interrupted_after(4, assemble(TrainingRun, spec_of(SHORT), ""), tmp_path)
    state = load_checkpoint(tmp_path / "checkpoint.pt")["content"]["bridge"]
    with pytest.raises(ValueError, match="state is of 5 devices, this run has 4"):
        Crew(4).own(state)
    state["memory"][0, 0] += 1
    with pytest.raises(ValueError, match="state entry 'memory' must be as it was written"):
        Crew(5).own(state)


@pytest.mark.slow
def test_a_run_goes_on_in_any_number_of_processes(tmp_path):
    """Interrupted after a round it saves itself, with the memory of all devices."""
    spec = spec_of(SHORT)
    run, whole, broken = assemble(TrainingRun, spec, ""), in_folder(tmp_path, "whole"), in_folder(tmp_path, "broken")
    train(run, whole, device=CPU, spec=spec)
    for at, processes in ((3, 2), (5, 3), (7, 1), (9, 3)):
        with crew_of(processes, spec, "cpu", 5) as crew:
            interrupted_after(at, run, broken, spec=spec, crew=crew)
    with crew_of(2, spec, "cpu", 5) as crew:
        result = train(run, broken, device=CPU, spec=spec, crew=crew)
    assert result["environment"]["processes"] == 2
    assert_same_rounds(tables(broken), tables(whole))


def others_of(marked, main):
    return [pid for pid, command in marked.alive().items() if b"spawn_main" in command and pid != main.pid]


def is_under_way(folder, process, since):
    """Wait until a checkpoint is written that was not there; False if the command ends before."""
    path = folder / "checkpoint.pt"
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns > since:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_processes_killed_at_any_moment_all_end_and_the_run_goes_on(tmp_path):
    """With as many processes bit for bit."""
    words = [*LONG, "--processes", "3"]
    assert Marked(tmp_path, [*words, "--output", "whole"]).start().wait() == 0
    chance, hits, victims = random.Random(0), 0, cycle(["other", "first"])
    while hits < KILLS:
        log = tmp_path / "log.txt"
        log.unlink()
        command = Marked(tmp_path, [*words, "--output", "torn"])
        process, since = command.start(), time.time_ns()
        if not is_under_way(tmp_path / "torn", process, since):
            break  # too quick for more kills
        time.sleep(chance.uniform(0, 0.3))
        victim = next(victims)
        os.kill(chance.choice(others_of(command, process)) if victim == "other" else process.pid, signal.SIGKILL)
        began, hits = time.monotonic(), hits + 1
        status = process.wait(PATIENCE_S)
        assert_nothing_lives_on(command, PATIENCE_S - (time.monotonic() - began))
        said = [line for line in log.read_text().splitlines() if "rounds" not in line]
        if victim == "first":
            assert (status, said) == (-signal.SIGKILL, [])
        else:
            assert status == 1
            assert len(said) == 1, said
            assert (
                "ended with signal SIGKILL; is memory short?; the same command goes on from the last checkpoint" in said[0]
            )
    assert hits > 1
    assert Marked(tmp_path, [*words, "--output", "torn"]).start().wait() == 0
    assert tables(tmp_path / "torn") == tables(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.3, 3.0])
def test_processes_killed_before_or_while_they_meet(tmp_path, delay_s):
    command = Marked(tmp_path, [*LONG, "--processes", "3", "--output", "out"])
    process = command.start()
    while not (others := others_of(command, process)):
        time.sleep(0.02)
    time.sleep(delay_s)
    os.kill(others[0], signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 1
    assert "ended with signal SIGKILL" in (tmp_path / "log.txt").read_text()
    assert_nothing_lives_on(command)


SLEEPER = """
import time

def note(recorded):
    open("asleep", "x").close()
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_process_killed_while_the_first_does_something_long_ends_all_in_time(tmp_path):
    (tmp_path / "own_sleeper.py").write_text(SLEEPER)
    command = Marked(tmp_path, [*SHORT, "--processes", "2", "--callbacks", "own_sleeper.note"])
    process = command.start()
    while not (tmp_path / "asleep").exists():
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.02)
    os.kill(others_of(command, process)[0], signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 1
    assert_nothing_lives_on(command)
    assert (tmp_path / "log.txt").read_text().count("laser run: process 1 of 0 .. 1 ended with signal SIGKILL") == 1


@pytest.mark.slow
def test_ctrl_c_from_a_terminal_ends_all_and_the_run_goes_on(tmp_path):
    words = [*LONG, "--processes", "2", "--output", "out"]
    assert Marked(tmp_path, [*LONG, "--processes", "2", "--output", "whole"]).start().wait() == 0
    (tmp_path / "log.txt").unlink()
    command = Marked(tmp_path, words)
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in the background
    process = command.start(start_new_session=True, preexec_fn=heard)
    assert is_under_way(tmp_path / "out", process, 0)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert_nothing_lives_on(command)
    said = (tmp_path / "log.txt").read_text()
    assert said.count("interrupted; the same command goes on from here") == 1
    assert "Traceback" not in said
    assert Marked(tmp_path, words).start().wait() == 0
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


FAULTS = {
    "in all": "raise ValueError('no such gain')",
    "in another": "if rank == 1: raise ValueError('no such gain')",
    "ends another": "if rank == 1: os._exit(5)",
    "diverges": "return float('nan') * torch.ones(num_devices, 1, 1, 1)",
}
SAID = {
    "ends another": "laser run: process 1 of 0 .. 1 ended with exit status 5; the same command goes on from the last",
    "diverges": "diverged after",
}


def own_fading(fault):
    """A module with a fading whose sixth round has a fault."""
    return (
        "import os\nimport torch\nimport torch.distributed as dist\n"
        "def fading(num_devices, num_rx_antennas, grid, *, round, generator):\n"
        "    if dist.is_initialized() and round == 5:\n"
        "        rank = dist.get_rank()\n"
        f"        {fault}\n"
        "    return torch.randn(num_devices, 1, 1, 1, dtype=torch.complex64, generator=generator)\n"
    )


def words_of_own_fading():
    return ["own_faults.fading" if word == "Rayleigh" else word for word in SHORT]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_is_said_once(tmp_path, fault):
    (tmp_path / "own_faults.py").write_text(own_fading(FAULTS[fault]))
    command = Marked(tmp_path, [*words_of_own_fading(), "--processes", "2", "--output", "out"])
    assert command.start().wait() == 1
    assert_nothing_lives_on(command)
    said = [line for line in (tmp_path / "log.txt").read_text().splitlines() if "rounds" not in line or "diverged" in line]
    wanted = SAID.get(fault, "laser run: ValueError: no such gain (own_faults.py:7, in fading); traceback in out/error.txt")
    assert sum(wanted in line for line in said) == 1, said
    assert not any("Traceback" in line for line in said)
    if fault == "diverges":
        assert read_json(tmp_path / "out" / "result.json")["status"] == "diverged"
    else:
        assert len(said) == 1
        assert ("no such gain" in (tmp_path / "out" / "error.txt").read_text()) == (fault != "ends another")


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def rank_of(pid):
    return int(dict(entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if entry)["RANK"])


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_starts_a_run_again_that_lost_a_process(tmp_path, rank):
    program = (*TORCHRUN, "--max-restarts", "3", "-m", "laser_wireless.benchmarks.cli")
    whole, torn = (Marked(tmp_path, [*LONG, "--output", name], program) for name in ("whole", "torn"))
    assert whole.start().wait() == 0
    assert read_json(tmp_path / "whole" / "result.json")["environment"]["processes"] == 2
    process = torn.start()
    assert is_under_way(tmp_path / "torn", process, 0)
    workers = [pid for pid, command in torn.alive().items() if b"cli" in command and b"--standalone" not in command]
    [victim] = [pid for pid in workers if rank_of(pid) == rank]
    os.kill(victim, signal.SIGKILL)
    assert process.wait() == 0, (tmp_path / "log.txt").read_text()
    assert_nothing_lives_on(torn)
    assert "failed (exitcode: -9)" in (tmp_path / "log.txt").read_text()
    assert tables(tmp_path / "torn") == tables(tmp_path / "whole")


@pytest.mark.slow
def test_torchrun_has_the_number_and_an_error_is_said_once(tmp_path):
    program = (*TORCHRUN, "-m", "laser_wireless.benchmarks.cli")
    command = Marked(tmp_path, [*SHORT, "--processes", "3"], program)
    assert command.start().wait() == 1
    refusal = "--processes must be left out under torchrun, which has started 2, got 3"
    assert (tmp_path / "log.txt").read_text().count(refusal) == 1
    assert_nothing_lives_on(command)
    (tmp_path / "own_faults.py").write_text(own_fading(FAULTS["in another"]))
    (tmp_path / "log.txt").unlink()
    command = Marked(tmp_path, [*words_of_own_fading(), "--output", "out"], program)
    assert command.start().wait() == 1
    assert (tmp_path / "log.txt").read_text().count("laser run: ValueError: no such gain (own_faults.py:7, in fading)") == 1
    assert_nothing_lives_on(command)


@pytest.mark.usefixtures("group_of_one")
def test_a_federated_run_in_a_crew_of_one_changes_no_bit(tmp_path):
    words = [*SHORT, "--local", "LocalSteps", "--local.num_steps", "[1,2,1,3,1]", "--weights", "samples"]
    run = assemble(TrainingRun, spec_of(words), "")
    plain, crew = in_folder(tmp_path, "plain"), in_folder(tmp_path, "crew")
    train(run, plain, device=CPU)
    train(run, crew, device=CPU, crew=lambda: nullcontext(Crew(5)))
    assert tables(crew) == tables(plain)


@pytest.mark.usefixtures("group_of_one")
def test_devices_some_at_a_time_are_refused_in_a_crew(tmp_path):
    run = assemble(TrainingRun, spec_of([*SHORT, "--devices_at_once", "2"]), "")
    with pytest.raises(ValueError, match="devices_at_once must be left out in several processes"):
        train(run, tmp_path, device=CPU, crew=lambda: nullcontext(Crew(5)))


@pytest.mark.slow
def test_two_processes_do_the_federated_run_of_one(tmp_path):
    """Local steps, sampled devices (a process may have none of them), weights."""
    words = [*SHORT, "--local", "LocalSteps", "--local.num_steps", "[1,2,1,3,1]", "--weights", "samples"]
    words += ["--uplink.participation", "SampledDevices", "--uplink.participation.num_sampled", "2"]
    for name, more in (("one", []), ("two", ["--processes", "2"])):
        assert main([*words, *more, "--output", str(tmp_path / name)]) == 0
    assert_same_rounds(tables(tmp_path / "two"), tables(tmp_path / "one"))
