"""Regular, editable and wheel installations all give the same package and the `laser` command."""

import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import laser_wireless

ROOT = Path(__file__).resolve().parent.parent
BROWSER = ROOT / "benchmarks" / "reports" / "browser"
PACKAGES = (
    *("channels", "compression", "training", "benchmarks"),
    *(f"channels.{name}" for name in ("uplinks", "downlinks", "fading", "propagation", "power_control", "energy")),
    *(f"channels.{name}" for name in ("csi", "receivers", "hardware", "digital")),
    *(f"benchmarks.{name}" for name in ("tasks", "speed", "theory", "sweeps", "calculations", "channel_views", "reports")),
)

pytestmark = pytest.mark.slow


def checked(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def python(tmp_path):
    """The interpreter of a fresh environment that sees this one's dependencies, but not its installation of the package."""
    checked(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return tmp_path / "env" / "bin" / "python"


@pytest.fixture
def source(tmp_path):
    """A copy of the tracked files, so that building leaves nothing here."""
    copy = tmp_path / "source"
    copy.mkdir()
    names = checked("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, names):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (copy / name).symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


def pip(python: Path, *words: str | Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    checked(sys.executable, "-m", "pip", "--python", python, "install", *options, *words, cwd=python.parent)


def assert_works(python: Path, where: Path, tmp_path: Path) -> None:
    script = "import importlib\n" + "\n".join(
        f"print(importlib.import_module('laser_wireless.{name}').__file__)" for name in PACKAGES
    )
    found = checked(python, "-c", script, cwd=tmp_path).split()
    assert len(found) == len(PACKAGES)
    assert all(Path(path).is_relative_to(where) for path in found), found
    laser = python.parent / "laser"
    assert "laser sweep" in checked(laser, "--help", cwd=tmp_path)
    words = ["channel", "--num_rounds", "10", "--device", "cpu", "--output", "out"]
    assert "mse_theory" in checked(laser, *words, cwd=tmp_path)
    assert (
        "presets are cifar10-power"
        in subprocess.run([laser, "sweep", "absent"], cwd=tmp_path, capture_output=True, text=True).stderr
    )  # the shipped YAML files came along


def test_regular_install(python, source, tmp_path):
    pip(python, source)
    assert_works(python, tmp_path / "env", tmp_path)


def test_editable_install(python, source, tmp_path):
    pip(python, "--editable", source)
    assert_works(python, source, tmp_path)


def test_install_of_the_wheel_built_from_the_source_distribution(python, source, tmp_path):
    checked(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "laser_wireless/py.typed",
        "laser_wireless/__init__.py",
        "laser_wireless/benchmarks/presets/digits.yaml",
        *(f"laser_wireless/benchmarks/reports/browser/{path.name}" for path in BROWSER.iterdir()),
    } <= inside
    assert not [name for name in inside if not name.startswith(("laser_wireless/", "laser_wireless-"))]
    pip(python, wheel)
    assert_works(python, tmp_path / "env", tmp_path)


def test_version_is_that_of_the_package_and_of_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == laser_wireless.__version__ == version("laser-wireless")
