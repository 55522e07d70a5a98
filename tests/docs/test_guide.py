"""Every code cell of the guide runs as it stands, page by page, in a folder of its own."""

import importlib
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
SLOW = {"sionna", "scheme", "your_paper", "command"}  # Sionna's import, 72 small trainings, a sweep, five processes


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


@pytest.mark.parametrize(
    ("page", "part"), [("fading", "twdp"), ("fading", "Blockage"), ("scheme", "LowFrequencies"), ("your_paper", "rician")]
)
def test_parts_that_the_guide_writes_have_the_properties_of_their_kind(page, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorials" / f"{page}.md").read_text()
    if page == "your_paper":
        module = _files_of(text)
    else:
        module = f"guide_{page}_{part.lower()}"
        cells = [cell for cell in CELL.findall(text) if re.search(rf"^(class|def) {part}\b", cell, re.MULTILINE)]
        Path(f"{module}.py").write_text("import math\nimport torch\n" + "".join(cells))
    assert main(["check", f"{module}.{part}"]) == 0, capsys.readouterr().out
    sys.modules.pop(module, None)


def test_the_guides_task_draws_other_batches_for_another_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = _files_of((DOCS / "tutorials" / "your_paper.md").read_text())
    task = importlib.import_module(module).Images()
    first, again, other = (task.batches(3, 4, channels.Streams(seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(task.model(0).weight, task.model(1).weight)
    sys.modules.pop(module, None)


def _files_of(text):
    """Run the cells that write the tutorial's data and module; the name of the module."""
    names = {}
    for cell in CELL.findall(text)[:2]:
        exec(cell, names)
    return "mine"


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
