"""Tokens: the encoding is lossless, the cache is whole or made again, tokenisers that do not fit are refused."""

import json
import sys

import numpy as np
import pytest
from helpers.faults import faults_of, inject
from helpers.public_data import text_splits, write_tokenizer

from laser_wireless.benchmarks.tasks import tokens
from laser_wireless.benchmarks.tasks.hub import DataUnavailable
from laser_wireless.benchmarks.tasks.tokens import default_cache, encoded, tokenizer_files

tokenizers = pytest.importorskip("tokenizers")
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def files(tmp_path):
    return tokenizer_files(str(write_tokenizer(tmp_path / "bpe")))


@pytest.fixture
def rows():
    return text_splits()["train"].with_format("arrow")[:]["text"]


def test_tokens_decode_to_the_text_and_are_mapped_from_the_cache(files, rows, tmp_path):
    found = encoded(rows, files, 320, tmp_path / "cache")
    text = "".join(rows.to_pylist())
    library = tokenizers.ByteLevelBPETokenizer(*map(str, files))
    assert library.decode(found.tolist()) == text
    assert len(found) < len(text) / 2
    assert isinstance(found, np.memmap)
    assert found.dtype == np.uint16
    assert not found.flags.writeable


def test_text_is_tokenised_once_and_a_damaged_cache_again(files, rows, tmp_path, monkeypatch):
    first = np.array(encoded(rows, files, 320, tmp_path / "cache"))
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    for content in (whole[:-2], whole[:40], b"", b"x" * 500):
        path.write_bytes(content)
        assert np.array_equal(encoded(rows, files, 320, tmp_path / "cache"), first)
        assert path.read_bytes() == whole
    monkeypatch.setattr(tokens, "_tokenizer", None)  # not called any more
    assert np.array_equal(encoded(rows, files, 320, tmp_path / "cache"), first)
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_any_fault_of_the_cache_is_named_and_the_text_encoded_again(files, rows, tmp_path, capsys):
    def again(folder):
        found = np.array(encoded(rows, files, 320, folder)).tolist()
        return found, capsys.readouterr().err

    encoded(rows, files, 320, tmp_path / "cache")
    wrong, _ = inject(tmp_path / "cache", again, tmp_path / "scratch", set(), faults_of(tmp_path / "cache"))
    assert not wrong, "\n".join(wrong)


def test_another_text_or_tokeniser_has_a_cache_of_its_own(files, rows, tmp_path):
    other = tokenizer_files(str(write_tokenizer(tmp_path / "other", vocabulary=300)))
    for text, tokenizer in ((rows, files), (rows.slice(1), files), (rows, other)):
        encoded(text, tokenizer, 320, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_interruption_leaves_no_file(files, rows, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoded(rows, files, 320, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_truncated_tokenisers_are_refused(files, rows, tmp_path):
    vocabulary, merges = files
    whole = merges.read_text()
    merges.write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"is merges\.txt truncated"):
        encoded(rows, files, 320, tmp_path)
    merges.write_text(whole)
    vocabulary.write_text(vocabulary.read_text()[:-10])
    with pytest.raises(ValueError, match="bpe holds no usable tokeniser"):
        encoded(rows, files, 320, tmp_path)


def test_vocabulary_must_hold_every_token(files, rows, tmp_path):
    largest = max(json.loads(files[0].read_text()).values())
    with pytest.raises(ValueError, match=f"tokens up to {largest}; vocabulary must be larger, got {largest}"):
        encoded(rows, files, largest, tmp_path)


def test_absent_tokeniser_names_the_command(tmp_path):
    with pytest.raises(DataUnavailable, match=r"there is no .*vocab\.json.*\n.*snapshot_download\('openai-community/gpt2'"):
        tokenizer_files(str(tmp_path))


def test_without_the_package_the_command_is_named(files, rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataUnavailable, match=r"needs tokenizers: pip install 'laser-wireless\[data\]'"):
        encoded(rows, files, 320, tmp_path)


def test_rows_that_are_no_text_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match="a row that is no string: None"):
        encoded(pyarrow.chunked_array([["a", None]]), files, 320, tmp_path)


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "laser-wireless"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "laser-wireless"
