"""Importing the channels loads torch and nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ["sionna", "tensorflow", "matplotlib", "sklearn", "scipy", "datasets"]


def loaded_by(statement):
    program = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["channels", "compression", "training"])
def test_package_is_light(package):
    assert loaded_by(f"import laser_wireless.{package}") <= loaded_by("import torch")


def test_heavy_import_is_noticed():
    assert "scipy" in loaded_by("import scipy")
