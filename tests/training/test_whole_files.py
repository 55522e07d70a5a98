"""Files beside their target: new, no links, gone with their process; and what a reader learns of damage."""

import fcntl
import os
import secrets
import signal
import subprocess
import sys

import pytest
import torch

from laser_wireless.training import load_checkpoint, save_checkpoint
from laser_wireless.training.checkpoint import remove_leftovers, whole_file


def write(path, content=b"new"):
    with whole_file(path) as file:
        file.write(content)


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from laser_wireless.training.checkpoint import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "result.json"
    assert subprocess.run([sys.executable, "-c", code, str(target)]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("result.json.")
    assert left.name.endswith(".part")
    write(tmp_path / "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]


def test_a_file_that_is_being_written_stays(tmp_path):
    with whole_file(tmp_path / "a.json") as file:
        file.write(b"first")
        file.flush()
        write(tmp_path / "b.json")
        remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    assert (tmp_path / "a.json").read_bytes() == b"first"


def test_leftovers_of_earlier_versions_and_links_go_and_other_files_stay(tmp_path):
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    (tmp_path / "result.json.4711.part").write_text("half")
    (tmp_path / "checkpoint.pt.0123456789abcdef.part").symlink_to(victim)
    (tmp_path / "film.mkv.part").write_text("a download")
    write(tmp_path / "result.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mkv.part", "notes.txt", "result.json"]
    assert victim.read_text() == "mine"


def test_a_link_under_the_name_beside_is_never_written_through(tmp_path, monkeypatch):
    """Even if it appears after leftovers were removed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")

    def token(size):
        (tmp_path / "result.json.0f.part").symlink_to(victim)
        return "0f"

    monkeypatch.setattr(secrets, "token_hex", token)
    with pytest.raises(FileExistsError):
        write(tmp_path / "result.json")
    assert victim.read_text() == "mine"


def test_a_link_in_the_targets_place_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "result.json").symlink_to(victim)
    write(tmp_path / "result.json")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "result.json").is_symlink()


def test_a_leftover_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another process may take a file for a leftover in the moment between creation and lock."""
    original, taken = fcntl.flock, []

    def flock(descriptor, how):
        if not taken:
            taken.extend(tmp_path.iterdir())
            os.unlink(taken[0])
        original(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    write(tmp_path / "result.json")
    assert taken
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_without_locks_nothing_is_removed_and_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *a: (_ for _ in ()).throw(OSError(37, "No locks available")))
    (tmp_path / "a.json.00.part").write_text("perhaps of a living process")
    write(tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.00.part"]


@pytest.mark.parametrize("what", ["flip", "shorter", "longer", "no digest"])
def test_any_change_of_a_checkpoint_is_noticed_before_it_is_read(tmp_path, what, monkeypatch):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"memory": torch.ones(3), "round": 1})
    whole = path.read_bytes()
    changed = {"flip": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "shorter": whole[:-1], "longer": whole + b"\n"}
    path.write_bytes(changed.get(what, whole[:-100]))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(ValueError, match=r"run\.pt is not a readable checkpoint: .* digest.*; delete it"):
        load_checkpoint(path)
