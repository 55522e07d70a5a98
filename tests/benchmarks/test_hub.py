"""Data from a folder in every form that it may have; what is absent or damaged is refused by name, and at once."""

import builtins
import http.server
import subprocess
import sys
import threading
import time

import pytest
from helpers.public_data import as_parquet, mnist_splits, text_splits

from laser_wireless.benchmarks.tasks.hub import DataUnavailable, Source, _reachable, hub_file, read_split

datasets = pytest.importorskip("datasets")

COLUMNS = ("image", "label")


def source(path, **more) -> Source:
    return Source(**({"repository": "ylecun/mnist", "path": str(path)} | more))


@pytest.fixture(scope="module")
def splits():
    return mnist_splits(train=30, test=10)


@pytest.fixture
def saved(splits, tmp_path):
    splits.save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    monkeypatch.setattr("laser_wireless.benchmarks.tasks.hub._reachable", lambda address: False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_every_form_of_folder_gives_the_same_rows(splits, saved, tmp_path):
    parquet = as_parquet(splits, tmp_path / "clone" / "mnist").parent
    for split, count in (("train", 30), ("test", 10)):
        expected = splits[split].with_format("arrow")[:].to_pydict()
        for folder in (saved, parquet):
            table = read_split(source(folder), split, COLUMNS)
            assert len(table) == count
            assert table.to_pydict() == expected


def test_several_parquet_files_of_a_split_are_joined_in_order(splits, tmp_path):
    for part in range(3):
        splits["train"].shard(3, part, contiguous=True).to_parquet(tmp_path / f"train-0000{part}-of-00003.parquet")
    found = read_split(source(tmp_path), "train", ("label",))["label"].to_pylist()
    assert found == splits["train"]["label"][:]
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(ValueError, match="2 of 3 files of the split train"):
        read_split(source(tmp_path), "train", COLUMNS)


def test_the_configuration_picks_its_folder_among_several(tmp_path):
    wanted, other = text_splits(40), text_splits(80)
    as_parquet(wanted, tmp_path / "wikitext-103-raw-v1")
    as_parquet(other, tmp_path / "wikitext-2-raw-v1")
    table = read_split(source(tmp_path, configuration="wikitext-103-raw-v1"), "train", ("text",))
    assert table["text"].to_pylist() == wanted["train"]["text"][:]
    with pytest.raises(ValueError, match="several folders hold a split train"):
        read_split(source(tmp_path), "train", ("text",))


def test_other_local_forms_are_left_to_the_library(tmp_path, no_network):
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(f"one {split}\ntwo\n")
    assert read_split(source(tmp_path), "test", ("text",))["text"].to_pylist() == ["one test", "two"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is not a readable copy"):
        read_split(source(tmp_path / "empty"), "train", COLUMNS)


@pytest.mark.parametrize("cut", [0, 1000, -8, -400], ids=lambda cut: f"at {cut}")
def test_truncated_saved_files_are_refused(saved, cut):
    path = next((saved / "train").glob("*.arrow"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"data-00000-of-00001\.arrow is truncated"):
        read_split(source(saved), "train", COLUMNS)


def test_damaged_saved_folders_are_refused(saved):
    (saved / "train" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="is not a readable copy of ylecun/mnist"):
        read_split(source(saved), "train", COLUMNS)
    with pytest.raises(ValueError, match="there is no split validation"):
        read_split(source(saved), "validation", COLUMNS)
    with pytest.raises(ValueError, match="give the folder above"):
        read_split(source(saved / "test"), "test", COLUMNS)


def test_damaged_parquet_and_missing_splits_are_refused(splits, tmp_path):
    folder = as_parquet(splits, tmp_path / "mnist")
    path = folder / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.parquet is damaged"):
        read_split(source(folder), "train", COLUMNS)
    with pytest.raises(ValueError, match="no parquet file is of the split validation"):
        read_split(source(folder), "validation", COLUMNS)


def test_missing_columns_and_empty_splits_are_refused(tmp_path):
    as_parquet(text_splits(40), tmp_path / "text")
    with pytest.raises(ValueError, match=r"columns \['text'\], but not \['image', 'label'\]"):
        read_split(source(tmp_path), "train", COLUMNS)
    as_parquet({"train": datasets.Dataset.from_dict({"text": []})}, tmp_path / "none")
    with pytest.raises(ValueError, match="the split train is empty"):
        read_split(source(tmp_path / "none"), "train", ("text",))


def test_absent_folder_names_the_command_that_fetches_it(tmp_path):
    with pytest.raises(DataUnavailable) as caught:
        read_split(Source(repository="a/b", configuration="c", path=str(tmp_path / "b")), "train", COLUMNS)
    target = str(tmp_path / "b")
    assert f"""load_dataset('a/b', 'c').save_to_disk({target!r})""" in str(caught.value)
    assert f"--task.path {target}" in str(caught.value)


def test_no_network_is_said_within_seconds_and_leaves_the_libraries_as_they_were(no_network):
    import huggingface_hub

    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    started = time.monotonic()
    with pytest.raises(DataUnavailable, match=r"load_dataset\('ylecun/mnist'\).save_to_disk\('data/mnist'\)"):
        read_split(Source(repository="ylecun/mnist"), "train", COLUMNS)
    with pytest.raises(DataUnavailable, match=r"vocab\.json of openai-community/gpt2 is not in the cache.* do this"):
        hub_file("openai-community/gpt2", "vocab.json", otherwise="do this")
    assert time.monotonic() - started < 5
    assert before == (huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)


def test_a_server_that_answers_anything_is_reachable_and_a_closed_port_is_not(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # answers 501
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert _reachable(address)
    thread.join()
    server.server_close()
    assert not _reachable(address)


def test_without_the_package_the_command_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] in ("datasets", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataUnavailable, match=r"needs datasets: pip install 'laser-wireless\[data\]'"):
        read_split(source(tmp_path), "train", COLUMNS)
    with pytest.raises(DataUnavailable, match=r"needs huggingface_hub: pip install 'laser-wireless\[data\]'"):
        hub_file("a/b", "c", otherwise="")


def test_naming_the_tasks_imports_none_of_the_libraries():
    heavy = {"datasets", "huggingface_hub", "pyarrow", "tokenizers"}
    script = f"import sys; import laser_wireless.benchmarks.tasks; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
