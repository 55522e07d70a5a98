"""What the documentation shows runs as it stands."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_transformer_trains_over_processes():
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = ROOT / "examples" / "distributed_transformer.py"
    found = subprocess.run([sys.executable, *words, str(path)], capture_output=True, text=True, timeout=120, check=True)
    assert "2 devices, loss 5." in found.stdout


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
