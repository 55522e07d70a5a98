"""Type checkers follow the package: in a user's script they find the errors that were planted there, and no others."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tests" / "typing" / "users_script.py"
PLANTED = {number for number, line in enumerate(SCRIPT.read_text().splitlines(), 1) if line.endswith("# error")}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["pyright"]], ids=["mypy", "pyright"])
def test_planted_errors_are_found_and_no_others(checker):
    done = subprocess.run([sys.executable, "-m", *checker, str(SCRIPT)], cwd=ROOT, capture_output=True, text=True)
    found = {int(number) for number in re.findall(r"users_script\.py:(\d+).*error", done.stdout)}
    assert len(PLANTED) == 6
    assert found == PLANTED, done.stdout + done.stderr
