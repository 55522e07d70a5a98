"""WikiText from a folder in the hub's format: windows of the text, the published cycle and decay, a run that resumes."""

import math

import numpy as np
import pytest
import torch
from helpers.public_data import as_parquet, text_splits, write_tokenizer
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from laser_wireless.benchmarks.tasks import WikiText, wikitext
from laser_wireless.benchmarks.training_run import TrainingRun, train
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import LowRank

pytest.importorskip("datasets")
pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    as_parquet(text_splits(), folder / "wikitext" / "wikitext-103-raw-v1")
    write_tokenizer(folder / "gpt2")
    return {
        "path": str(folder / "wikitext"),
        "tokenizer_path": str(folder / "gpt2"),
        "cache_path": str(folder / "cache"),
    }


@pytest.fixture
def small(places):
    def make(**more) -> WikiText:
        sizes = {"vocabulary": 320, "width": 16, "num_layers": 2, "num_heads": 2, "context": 12, "batch_size": 3}
        return WikiText(**(places | sizes | more))

    return make


def test_defaults_are_gpt2_small_as_published():
    with torch.device("meta"):
        task = WikiText()
        model = task.model(0)
    assert sum(p.numel() for p in model.parameters()) == 123_980_544
    assert (task.dropout, task.weight_decay, task.averaging) == (0.2, 1e-3, 0.0)


def test_windows_are_text_and_its_next_tokens(small, global_rng_untouched):
    task = small()
    seen, following, seeds = task.batches(1, 4, Streams(0))
    assert seen.shape == following.shape == (4, 3, 12)
    assert torch.equal(seen[..., 1:], following[..., :-1])
    assert len(seeds.unique()) == 4
    text = np.array(wikitext._tokens(task, "train")).tobytes()
    assert all(window.numpy().astype(np.uint16).tobytes() in text for window in seen.flatten(0, 1))
    again, other = (task.batches(1, 4, Streams(seed)) for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip((seen, following, seeds), again, strict=True))
    assert not torch.equal(seen, other[0])
    assert not torch.equal(seeds, other[2])


def test_devices_sample_the_whole_text_or_their_own_part(small, monkeypatch):
    text = np.arange(400, dtype=np.uint16)
    monkeypatch.setattr(wikitext, "_tokens", lambda task, split: text)
    for sharding, lowest, highest in (("none", [0] * 4, [399] * 4), ("contiguous", [0, 100, 200, 300], [99, 199, 299, 399])):
        task = small(sharding=sharding, batch_size=2000)
        seen, following, _ = task.batches(0, 4, Streams(0))
        assert seen.amin((1, 2)).tolist() == lowest
        assert (following.amax((1, 2)) <= torch.tensor(highest)).all()
        assert (following.amax((1, 2)) >= torch.tensor(highest) - 1).all()  # the window that ends with the part's last token


def test_perplexity_is_over_the_whole_part_or_evenly_spread_windows(small):
    task = small()
    model = task.model(0).eval()
    found = task.evaluate(model, "test")
    text = torch.from_numpy(np.array(wikitext._tokens(task, "test")).astype(np.int64))
    count = (len(text) - 1) // 12
    losses = [task.loss(model, text[None, 12 * i : 12 * i + 12], text[None, 12 * i + 1 : 12 * i + 13]) for i in range(count)]
    assert found["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert abs(found["loss"] - math.log(320)) < 0.7
    fewer = small(evaluation_windows=2).evaluate(model, "test")
    ends = [text[None, :13], text[None, -13:]]
    expected = torch.stack([task.loss(model, window[:, :-1], window[:, 1:]) for window in ends]).mean()
    assert fewer["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_cycle_is_that_of_torchs_scheduler_with_the_authors_settings():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    cycle = OneCycleLR(optimizer, max_lr=1.0, total_steps=400, pct_start=0.02, div_factor=1e2, final_div_factor=0.05)
    factor = WikiText().learning_rate_factor
    for round in range(400):
        assert factor(round, 400) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        if round < 399:
            optimizer.step()
            cycle.step()
    assert factor(0, 20000) == pytest.approx(0.01)
    assert factor(399, 20000) == 1.0
    assert factor(19999, 20000) == pytest.approx(0.2)
    assert all(0 < factor(round, rounds) <= 1 for rounds in (1, 2, 7, 50, 51) for round in range(rounds))


def test_weight_decay_is_on_the_linear_layers_alone(small):
    model = small().model(0)
    decayed, others = small().optimizer(model, 1e-3).param_groups
    linear = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    assert {id(p) for p in decayed["params"]} == {id(p) for p in linear}
    assert len(linear) == 8
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert (decayed["weight_decay"], others["weight_decay"]) == (1e-3, 0.0)
    assert decayed["betas"] == others["betas"] == (0.9, 0.95)


def test_interrupted_run_ends_as_an_unbroken_one_dropout_included(small, tmp_path, global_rng_untouched):
    run = TrainingRun(
        task=small(evaluation_windows=16),
        compressor=LowRank(rank=2),
        uplink=AnalogUplink(energy_budget=1e4),
        num_devices=3,
        num_rounds=30,
        learning_rate=0.02,
    )
    place = torch.device("cpu")
    (tmp_path / "whole").mkdir()
    whole = train(run, tmp_path / "whole", device=place)
    assert whole["metrics"]["test"]["loss"] < math.log(320) - 1

    def interrupt(round, row):
        if round == 7:
            raise KeyboardInterrupt

    (tmp_path / "broken").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "broken", device=place, progress=interrupt)
    assert train(run, tmp_path / "broken", device=place)["metrics"] == whole["metrics"]


def test_what_does_not_fit_is_refused(small):
    for bad, message in (
        ({"width": 15}, "num_heads must divide width"),
        ({"evaluation_windows": 0}, "evaluation_windows must be >= 1"),
        ({"vocabulary": 70_000}, "vocabulary must be at most 65536"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
        ({"sharding": "label"}, 'sharding must be "none" or "contiguous"'),
    ):
        with pytest.raises(ValueError, match=message):
            small(**bad)
    long = small(context=10**6)
    with pytest.raises(ValueError, match=r"context must be below the \d+ tokens that a device samples from"):
        long.batches(0, 4, Streams(0))
    with pytest.raises(ValueError, match="tokens of the test part"):
        long.evaluate(small().model(0), "test")
