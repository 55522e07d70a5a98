"""A package of somebody else's that brings a fading law and a scheme: installed, named in commands, shown in help."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THEIRS = ROOT / "tests" / "third_party" / "their-parts"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def laser(tmp_path_factory):
    """Runs `laser` in a fresh environment that has their package beside this one."""
    folder = tmp_path_factory.mktemp("theirs")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    site = next((folder / "env").glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{ROOT / 'src'}\n{sysconfig.get_paths()['purelib']}\n")
    python, copy = folder / "env" / "bin" / "python", folder / "their-parts"
    copy.mkdir()
    for file in THEIRS.glob("*.*"):
        (copy / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, copy], check=True, capture_output=True)

    def run(*words, cwd=folder):
        code = "import sys; from laser_wireless.benchmarks.cli import main; raise SystemExit(main(sys.argv[1:]))"
        return subprocess.run([python, "-c", code, *words], cwd=cwd, capture_output=True, text=True)

    return run


def test_their_law_is_named_and_used(laser):
    words = "channel --fading TwoRay --fading.tilt 0.3 --num_rounds 20 --device cpu --output a"
    done = laser(*words.split())
    assert done.returncode == 0, done.stderr
    assert "mse" in done.stdout
    shown = laser("channel", "--fading", "TwoRay", "--help").stdout
    assert "TwoRay [their-parts]" in shown
    assert "--fading.tilt" in shown


def test_their_scheme_trains(laser):
    words = "run --compressor EveryOther --uplink.energy_budget 4 --num_rounds 3 --num_devices 2 --device cpu --output b"
    done = laser(*words.split())
    assert done.returncode == 0, done.stderr
    assert "EveryOther [their-parts]" in laser("run", "--help").stdout


def test_entries_that_cannot_be_used_are_said_and_break_nothing(laser):
    done = laser("channel", "--fading", "Rayleigh", "--num_rounds", "20", "--device", "cpu", "--output", "c")
    assert done.returncode == 0, done.stderr
    assert "laser: Rayleigh of their-parts is left out: it has a name that is taken" in done.stderr
    assert "laser: Gone of their-parts is left out: it cannot be imported" in done.stderr
    assert "Rayleigh()" in done.stdout or "Rayleigh" in done.stdout


@pytest.mark.parametrize("part", ["TwoRay", "EveryOther", "their_parts.TwoRay"])
def test_their_parts_are_checked_by_name(laser, part):
    done = laser("check", part)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILS" not in done.stdout
