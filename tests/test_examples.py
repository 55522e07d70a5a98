"""What the documentation shows runs as it stands."""

import os
import re
import runpy
import shlex
import signal
import time
from pathlib import Path

import pytest
import torch
from helpers.marked import Marked, assert_nothing_lives_on
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


WITH_PROCESSES = ("distributed", "flower")  # which have tests of their own
ALONE = sorted(path for path in (ROOT / "examples").glob("*.py") if not path.name.startswith(WITH_PROCESSES))


@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.name)
def test_examples_run(path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def transformer(folder: Path) -> Marked:
    """The example over two processes, which torchrun starts again when one of them dies."""
    program = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--max-restarts", "3")
    words = [str(ROOT / "examples" / "distributed_transformer.py"), str(folder / "rounds")]
    return Marked(folder, words, program, {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Weights, the optimiser's moments and the devices' memory after the last step."""
    dcp_to_torch_save(folder / "rounds" / "round-00000040", folder / "all.pt")
    parts = torch.load(folder / "all.pt", weights_only=False)
    memory = {name: row for name, row in parts["uplink"].items() if name.startswith("memory")}
    moments = {f"{p} {name}": value for p, state in parts["optimizer"]["state"].items() for name, value in state.items()}
    return {**parts["model"], **moments, **memory}


@pytest.mark.slow
def test_the_transformer_goes_on_where_a_killed_process_left_it(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir(), torn.mkdir()
    assert transformer(whole).start().wait() == 0
    assert "2 devices, loss 5." in (whole / "log.txt").read_text()
    command = transformer(torn)
    process = command.start()
    while not list(torn.glob("rounds/round-*[05]")):
        assert process.poll() is None, (torn / "log.txt").read_text()
        time.sleep(0.01)
    workers = [
        pid for pid, words in command.alive().items() if b"_transformer.py" in words and b"--max-restarts" not in words
    ]
    os.kill(max(workers), signal.SIGKILL)
    assert process.wait(240) == 0, (torn / "log.txt").read_text()
    assert "failed (exitcode: -9)" in (torn / "log.txt").read_text()
    assert_nothing_lives_on(command)
    expected, found = tensors_of(whole), tensors_of(torn)
    assert len(found) > 60
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_readme_code_runs_from_top_to_bottom(capsys):
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["bridge"].round == 3
    assert "energy_spent" in capsys.readouterr().out
    assert names["uplink"].fading is names["my_fading"]


def test_the_ci_script_runs_the_readmes_test_command():
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    test_command = next(line for line in commands if "pytest" in line)
    assert test_command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_path_that_the_readme_links_exists():
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(linked) > 10
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_every_option_of_the_readmes_commands_is_known(capsys):
    from laser_wireless.benchmarks.cli import main

    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    commands = [line[1:] for line in lines if line[0] == "laser" and "my_module" not in line[-1]]
    assert len(commands) == 8
    for words in commands:
        assert main([*words, "--help"]) == 0
        printed = capsys.readouterr().out
        assert all(word in printed for word in words if word.startswith("--"))
