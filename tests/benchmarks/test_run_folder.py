"""A run's folder: shown where it cannot be written, and never believed where it was tampered with."""

import errno
import json
import math
import os
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv, read_sealed_json, write_json, write_sealed_json
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogUplink, PreviousScale
from laser_wireless.compression import LowRank
from laser_wireless.training import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
RUN = TrainingRun(
    task=Digits(architecture="linear", batch_size=2),
    compressor=LowRank(rank=1),
    uplink=AnalogUplink(energy_budget=64.0, scale=PreviousScale()),
    num_devices=2,
    num_rounds=6,
    evaluate_every=2,
    checkpoint_seconds=0.0,
)
WORDS = ["--task", "digits-linear", "--num_devices", "2", "--num_rounds", "3", "--device", "cpu", "--output", "out"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def forbid_writing(monkeypatch, beneath: Path) -> None:
    """As on a file system that is mounted for reading, for root as well."""

    def refuse(original, path, *arguments, **options):
        reading = original.__name__ == "open" and not (arguments and arguments[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not reading and isinstance(path, str | Path) and Path(path).resolve().is_relative_to(beneath):
            known = original.__name__ == "mkdir" and Path(path).exists()
            raise OSError(*((errno.EEXIST, "File exists") if known else (errno.EROFS, "Read-only file system")), str(path))
        return original(path, *arguments, **options)

    for name in ("open", "replace", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(os, name, partial(refuse, getattr(os, name)))
    for place in ("builtins.open", "io.open"):
        monkeypatch.setattr(place, partial(_for_reading, beneath, open))


def _for_reading(beneath, original, path, mode="r", *arguments, **options):
    if isinstance(path, str | Path) and set(mode) & set("wax+") and Path(path).resolve().is_relative_to(beneath):
        raise OSError(errno.EROFS, "Read-only file system", str(path))
    return original(path, mode, *arguments, **options)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_run_in_a_folder_that_cannot_be_written_is_shown(tmp_path, monkeypatch, capsys):
    words = ["run", "--uplink.energy_budget", "16", *WORDS]
    assert main(words) == 0
    shown = capsys.readouterr().out
    before = contents(tmp_path)
    forbid_writing(monkeypatch, tmp_path)
    with pytest.raises(OSError, match="Read-only file system"):
        (tmp_path / "out" / "probe").write_text("")
    assert main(words) == 0
    assert capsys.readouterr().out == shown
    assert contents(tmp_path) == before


def test_a_run_that_is_not_finished_says_at_once_that_its_folder_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("laser_wireless.benchmarks.training_run.Trainer.step", None)
    forbid_writing(monkeypatch, tmp_path)
    assert main(["run", "--uplink.energy_budget", "16", *WORDS]) == 1
    assert "Read-only file system" in capsys.readouterr().err


def test_a_finished_sweep_in_a_folder_that_cannot_be_written_is_shown_and_drawn_elsewhere(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.chdir(kept)
    words = [
        "sweep",
        *WORDS,
        "--schemes",
        "[z-sgd]",
        "--energy_budgets",
        "[1]",
        "--seeds",
        "[0]",
        "--learning_rates",
        "[0.1]",
    ]
    words += ["--jobs", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    before = contents(kept)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with monkeypatch.context() as patch:
        forbid_writing(patch, kept)
        assert main(words) == 0
    printed = capsys.readouterr()
    (elsewhere,) = (tmp_path / "temporary").iterdir()
    assert f"out cannot be written (Read-only file system); what is made of its runs goes to {elsewhere}" in printed.err
    assert printed.out == shown.replace("written to out", f"written to {elsewhere}")
    assert (elsewhere / "table.csv").read_bytes() == (kept / "out" / "table.csv").read_bytes()
    assert contents(kept) == before


def without_loss(result: dict) -> dict:
    return result | {"metrics": {"validation": {}, "test": {}}}


FORGERIES = {
    "nothing": lambda result: {},
    "no metrics": lambda result: {name: value for name, value in result.items() if name != "metrics"},
    "no loss": without_loss,
    "unknown status": lambda result: result | {"status": "fine"},
    "NaN": lambda result: result | {"metrics": {part: {"loss": math.nan} for part in ("validation", "test")}},
    "infinite and done": lambda result: result | {"metrics": {part: {"loss": math.inf} for part in ("validation", "test")}},
    "a word for a number": lambda result: result | {"metrics": {part: {"loss": "0.1"} for part in ("validation", "test")}},
    "no best": lambda result: result | {"best": None},
    "rounds": lambda result: result | {"rounds": -1},
    "no means": lambda result: result | {"mean_per_round": {}},
    "no fingerprint": lambda result: result | {"fingerprint": None},
}


@pytest.mark.parametrize("write", [write_json, write_sealed_json], ids=["without digest", "with digest"])
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_what_is_no_result_is_named_and_computed_again(forge, write, tmp_path):
    said: list[str] = []
    expected = train(RUN, tmp_path, device=CPU)
    write(tmp_path / "result.json", forge(expected))
    assert train(RUN, tmp_path, device=CPU, tell=said.append) == expected
    assert str(tmp_path / "result.json") in said[0]
    assert read_sealed_json(tmp_path / "result.json") == expected


def test_a_result_of_an_earlier_version_stays_until_there_is_a_new_one(tmp_path):
    """One without digests; its configuration is known from config.yaml alone."""
    spec = {"some": "options"}
    expected = train(RUN, tmp_path, device=CPU, spec=spec)
    write_json(tmp_path / "result.json", {"status": "done", "metrics": {}})
    old = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path, device=CPU, spec=spec, progress=interrupted_after(3), tell=lambda line: None)
    assert {path: content for path, content in contents(tmp_path).items() if path.parent == tmp_path} == old
    with pytest.raises(ValueError, match=r"another configuration \(.*config\.yaml\)"):
        train(RUN, tmp_path, device=CPU, spec={"other": "options"}, tell=lambda line: None)
    assert train(RUN, tmp_path, device=CPU, spec=spec, tell=lambda line: None) == expected
    assert sorted(path.name for path in contents(tmp_path)) == [
        "config.yaml",
        "evaluations.csv",
        "result.json",
        "rounds.csv",
    ]


def interrupted_after(rounds):
    def progress(round, row):
        if round == rounds:
            raise KeyboardInterrupt

    return progress


def shifted(content: dict, by: int) -> None:
    content["content"]["bridge"]["round"] += by


TAMPERING = {
    "a round of -1": lambda content: content["content"]["bridge"].update(round=-1),
    "a later round": partial(shifted, by=1),
    "an earlier round": partial(shifted, by=-1),
    "a round too many": lambda content: content["records"].update({"rounds.csv": content["records"]["rounds.csv"] * 2}),
    "NaN in the memory": lambda content: content["content"]["bridge"]["memory"].fill_(math.nan),
    "another scale": lambda content: content["content"]["bridge"]["parts"].update({"uplink's scale": "OracleScale()"}),
    "a state of another scale": lambda content: content["content"]["bridge"]["uplink"].update(scale=None),
    "a memory of another shape": lambda content: content["content"]["bridge"].update(memory=torch.zeros(3)),
    "no model": lambda content: content["content"].pop("model"),
    "a word for the model": lambda content: content["content"].update(model="weights"),
    "no optimiser's state": lambda content: content["content"].update(optimizer={}),
    "no records": lambda content: content.pop("records"),
    "no fingerprint": lambda content: content.update(fingerprint="none"),
    "code": lambda content: content["content"].update(best=torch.nn.Linear(1, 1)),
}


@pytest.mark.parametrize("tamper", TAMPERING.values(), ids=TAMPERING)
def test_a_tampered_checkpoint_is_refused_by_name_though_its_digest_is_right(tamper, tmp_path):
    """The run goes on from the checkpoint before it, to the same result."""
    said: list[str] = []
    (tmp_path / "whole").mkdir()
    expected = train(RUN, tmp_path / "whole", device=CPU)
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(RUN, folder, device=CPU, progress=interrupted_after(4))
    content = load_checkpoint(folder / "checkpoint.pt")
    tamper(content)
    save_checkpoint(folder / "checkpoint.pt", content)
    rounds: list[int] = []
    found = train(RUN, folder, device=CPU, tell=said.append, progress=lambda round, row: rounds.append(round))
    assert {**found, "environment": 0} == {**expected, "environment": 0}
    assert [str(folder / "checkpoint.pt") in line for line in said] == [True]
    assert "weights_only" not in said[0]
    assert rounds == [4, 5, 6]  # from the third, which checkpoint.previous.pt holds
    assert sorted(path.name for path in folder.iterdir()) == ["evaluations.csv", "result.json", "rounds.csv"]


def test_records_that_were_deleted_are_not_missed_and_json_is_plain(tmp_path):
    expected = train(RUN, tmp_path, device=CPU)
    (tmp_path / "rounds.csv").unlink()
    assert train(RUN, tmp_path, device=CPU) == expected
    assert len(read_csv(tmp_path / "evaluations.csv")) == 3
    assert set(json.loads((tmp_path / "result.json").read_text())) == {*expected, "sha256"}


ASKED = {"task": {"class_path": "a.B", "init_args": {"width": 3}}, "num_rounds": 6, "checkpoint_seconds": 0.0}


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (yaml.safe_dump(ASKED), False),
        (yaml.safe_dump(ASKED | {"checkpoint_seconds": 9.0}), False),
        (yaml.safe_dump(ASKED, sort_keys=False, indent=8), False),
        (yaml.safe_dump(ASKED)[:-30] + "\x00", True),
        ("", True),
    ],
    ids=["same", "other seconds", "other form", "damaged", "empty"],
)
def test_a_claimed_folder_without_any_state_is_taken_up(before, named, tmp_path):
    """As left by a run that was killed before its first checkpoint."""
    said: list[str] = []
    (tmp_path / "config.yaml").write_text(before)
    train(RUN, tmp_path, device=CPU, spec=ASKED, tell=said.append)
    assert [line.split(" ")[0] for line in said] == ([str(tmp_path / "config.yaml")] if named else [])
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == ASKED


def test_a_folder_claimed_by_another_configuration_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(ASKED | {"num_rounds": 7}))
    with pytest.raises(ValueError, match=r"holds a run of another configuration \(.*config\.yaml\); give another --output"):
        train(RUN, tmp_path, device=CPU, spec=ASKED)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["num_rounds"] == 7
