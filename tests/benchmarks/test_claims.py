"""Claims of runs: one process at a time has a run, and a dead one's run is taken over, by one."""

import json
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from helpers.turns import step, take_turns

from laser_wireless.benchmarks.sweeps import claims
from laser_wireless.benchmarks.sweeps.claims import Taken, Watch, claimed


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def claims_in(folder):
    return sorted(path.name for path in folder.glob("claim.*"))


def left_by(folder, **words):
    """A claim as another process left it."""
    folder.mkdir()
    content = json.dumps({**claims._this_process(), "claim": "0", "beats": "0", **words})
    (folder / "claim.0").write_text(content)
    return content


def test_a_run_has_one_owner_at_a_time_and_no_file_afterwards(folder):
    with claimed([folder]) as (mine,):
        assert mine is None
        with claimed([folder]) as (theirs,):
            assert isinstance(theirs, Taken)
            assert f"process {os.getpid()} on " in theirs.owner
        assert claims_in(folder) == ["claim.0"]
    assert claims_in(folder) == []
    with claimed([folder]) as (again,):
        assert again is None


def test_several_runs_are_claimed_one_by_one(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    with claimed(folders[1:2]), claimed(folders) as found:
        assert [entry is None for entry in found] == [True, False, True]


@pytest.mark.parametrize(
    "words",
    [{"process": 2**22 + 1, "started": "1"}, {"started": "1"}],
    ids=["no such process", "another one of this number"],
)
def test_the_dead_of_this_machine_are_known_at_once(folder, words):
    left_by(folder, **words)
    assert Watch().owner(folder) is None
    with claimed([folder]) as (mine,):
        assert mine is None
        assert claims_in(folder) == ["claim.0", "claim.1"]
    assert claims_in(folder) == []


@pytest.mark.parametrize("content", [None, "", '{"process": 1', "[]"], ids=["whole", "empty", "cut", "no claim"])
def test_a_claim_of_another_machine_that_does_not_change_is_given_up_after_a_while(folder, monkeypatch, content):
    """Measured on the clock of who looks: how the other's clock stands does not matter."""
    left_by(folder, machine="another", host="far", process=7)
    if content is not None:
        (folder / "claim.0").write_text(content)
    monkeypatch.setattr(claims, "PATIENCE_S", 0.2)
    watch = Watch()
    first = watch.owner(folder)
    assert first.owner == ("process 7 on far" if content is None else "another process")
    with claimed([folder], watch.abandoned) as (taken,):
        assert taken == first
    time.sleep(0.3)
    assert watch.owner(folder) is None
    with claimed([folder], watch.abandoned) as (mine,):
        assert mine is None
    assert claims_in(folder) == []


def test_a_claim_that_changes_is_of_a_living_process(folder, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr(claims, "PATIENCE_S", 0.5)
    monkeypatch.setattr(claims, "_is_dead", lambda words: False)
    watch, contents = Watch(), set()
    with claimed([folder]):
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            contents.add(watch.owner(folder).content)
            time.sleep(0.02)
    assert len(contents) > 5
    assert watch.owner(folder) is None
    assert not watch.abandoned


def test_a_claim_that_was_renewed_after_it_was_given_up_is_not_taken_over(folder, monkeypatch):
    content = left_by(folder, machine="another")
    monkeypatch.setattr(claims, "PATIENCE_S", 0.0)
    watch = Watch()
    while watch.owner(folder) is not None:
        time.sleep(0.01)
    (folder / "claim.0").write_text(content.replace('"beats": "0"', '"beats": "1"'))
    with claimed([folder], watch.abandoned) as (taken,):
        assert isinstance(taken, Taken)


def test_whoever_was_taken_for_dead_leaves_the_claim_of_the_next_one_alone(folder):
    with claimed([folder]) as (mine,):
        assert mine is None
        (folder / "claim.0").write_text("of another")
    assert (folder / "claim.0").read_text() == "of another"


def test_where_nothing_can_be_written_nothing_is_claimed(tmp_path):
    (tmp_path / "file").write_text("")
    with claimed([tmp_path / "file", tmp_path / "no" / "folder"]) as found:
        assert found == [None, None]


def stepwise(function):
    def in_turn(*args, **options):
        step()
        return function(*args, **options)

    return in_turn


@pytest.mark.parametrize("is_left", [False, True], ids=["free", "left by the dead"])
def test_a_run_has_one_owner_in_whatever_order_processes_reach_the_file_system(tmp_path, monkeypatch, is_left):
    """Three of them, one call of the file system at a time, in 500 orders drawn at random."""
    for place, name in [(os, "listdir"), (os, "open"), (Path, "unlink")]:
        monkeypatch.setattr(place, name, stepwise(getattr(place, name)))
    monkeypatch.setattr(claims, "open", stepwise(open), raising=False)
    claims._this_process()  # what it caches is no step
    owners, counts, total = [], Counter(), Counter()

    def want(folder):
        for _ in range(2):
            with claimed([folder]) as (taken,):
                counts[taken is None] += 1
                if taken is None:
                    owners.append(folder)
                    assert len(owners) == 1
                    step()
                    assert owners.pop() == folder

    for number in range(500):
        folder = tmp_path / str(number)
        if is_left:
            left_by(folder, process=2**22 + 1)
        take_turns([partial(want, folder)] * 3, seed=number)
        assert claims_in(folder) == ["claim.0"] * (is_left and not counts[True])
        total += counts
        counts.clear()
    assert min(total[True], total[False]) > 500
