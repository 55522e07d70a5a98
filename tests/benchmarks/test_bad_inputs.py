"""A table of bad inputs, most of them generated from annotations: each is refused in one line that names the option."""

import pytest
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.vocabulary import CLASSES

from tests.helpers import bad_inputs

OPTIONS = {command: list(bad_inputs.bad_options(command, settings)) for command, settings in bad_inputs.COMMANDS.items()}
ARGUMENTS = {word: list(bad_inputs.bad_arguments(word)) for word in CLASSES}
PLACES = list(bad_inputs.bad_places())


@pytest.fixture(autouse=True)
def _in_a_folder_with_good_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    for name, text in bad_inputs.FILES.items():
        (tmp_path / name).write_text(text)


def faults(rows, capsys, folder):
    """What is wrong with how bad inputs are refused: one line for each."""
    before = sorted(folder.rglob("*"))
    found = []
    for words, name in rows:
        line = " ".join(words)
        try:
            status = main(words)
        except BaseException as error:  # what would be a traceback
            found.append(f"{line}: {type(error).__name__}: {error}")
            continue
        said = capsys.readouterr().err
        if status != 2:
            found.append(f"{line}: status {status}, {said!r}")
        elif said.count("\n") != 1 or not said.startswith(f"laser {words[0]}: ") or name not in said or "Traceback" in said:
            found.append(f"{line}: said {said!r}, which should be one line with {name!r}")
        elif sorted(folder.rglob("*")) != before:
            found.append(f"{line}: left files behind")
    return found


@pytest.mark.parametrize("command", OPTIONS, ids=lambda command: f"{command}: {len(OPTIONS[command])} inputs")
def test_options_of_every_command(command, capsys, tmp_path):
    assert faults(OPTIONS[command], capsys, tmp_path) == []


@pytest.mark.parametrize("word", ARGUMENTS, ids=lambda word: f"{word}: {len(ARGUMENTS[word])} inputs")
def test_arguments_of_every_class(word, capsys, tmp_path):
    assert faults(ARGUMENTS[word], capsys, tmp_path) == []


def test_places_of_components(capsys, tmp_path):
    assert faults(PLACES, capsys, tmp_path) == []


def test_the_table_is_large():
    assert sum(map(len, OPTIONS.values())) + sum(map(len, ARGUMENTS.values())) + len(PLACES) >= 300
