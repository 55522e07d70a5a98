"""Every code cell of the guide runs as it stands, page by page, in a folder of its own."""

import re
import shlex
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot
import pytest
import torch

from laser_wireless import channels
from laser_wireless.benchmarks.cli import main

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
CELL = re.compile(r"^```(?:\{code-cell\} )?python\n(?::tags:.*\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(page for page in DOCS.rglob("*.md") if CELL.search(page.read_text()) and "_build" not in page.parts)
SLOW = {"sionna", "your_paper", "command"}  # Sionna's import, a sweep, five processes


def test_the_guide_has_its_tutorials():
    names = {page.stem for page in PAGES}
    assert {
        "first_round",
        "your_paper",
        "conventions",
        "fading",
        "sionna",
        "power_control",
        "digital",
        "learned",
        "scheme",
    } <= names


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in SLOW else []) for p in PAGES]
)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    matplotlib.use("Agg")
    state, names = torch.random.get_rng_state(), {"__name__": "guide"}
    try:
        for number, cell in enumerate(CELL.findall(page.read_text())):
            exec(compile(cell, f"{page.name}, cell {number}", "exec"), names)
    finally:
        torch.random.set_rng_state(state)
        matplotlib.pyplot.close("all")
        sys.modules.pop("mine", None)


def test_the_reference_names_every_part():
    page = (DOCS / "reference" / "channels.md").read_text()
    families = {name: module for name, module in vars(channels).items() if f"laser_wireless.channels.{name}\n" in page}
    named = {part for module in families.values() for part in module.__all__} | set(re.findall(r":: (\w+)$", page, re.M))
    assert set(channels.__all__) == named


def test_every_option_of_the_guides_commands_is_known(capsys):
    texts = [page.read_text() for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    typed = "".join(block for text in texts for block in SHELL.findall(text))
    lines = [shlex.split(line, comments=True) for line in typed.splitlines()]
    commands = [line[1:] for line in lines if line[:1] == ["laser"] and not {"<", "..."} & set(line)]
    assert len(commands) >= 10
    for words in commands:
        assert main([*words, "--help"]) == 0, words
        printed = capsys.readouterr().out
        assert all(word in printed for word in words if word.startswith("--")), words
