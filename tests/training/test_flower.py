"""Flower's strategies over an uplink: without noise they are themselves; who fails is absent; metrics hold the ledger."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from laser_wireless.channels import AnalogUplink, Rayleigh, TruncatedInversion
from laser_wireless.compression import TopK, Uncompressed

ROOT = Path(__file__).resolve().parent.parent.parent


def test_without_flower_the_module_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "flwr"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flwr", None)
    monkeypatch.delitem(sys.modules, "laser_wireless.training.flower", raising=False)
    with pytest.raises(ImportError, match=r"flower needs Flower 1.42 or later: pip install 'laser-wireless\[flower\]'"):
        importlib.import_module("laser_wireless.training.flower")


@pytest.fixture
def fl(monkeypatch):
    """What the tests need of Flower."""
    pytest.importorskip("flwr", reason="extra flower")
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    from flwr import app, clientapp, serverapp
    from helpers.flower_grid import LocalGrid

    from laser_wireless.training.flower import UplinkStrategy

    return types.SimpleNamespace(
        app=app, ClientApp=clientapp.ClientApp, Grid=LocalGrid, over=UplinkStrategy, **vars(serverapp.strategy)
    )


NOISELESS = AnalogUplink(energy_budget=10.0, noise_variance=0.0)
NODES = (70, 30, 50, 20)
EXAMPLES = (10, 20, 30, 40)
START = {"weight": np.arange(12.0).reshape(3, 4), "bias": np.ones(3)}


def moved(fl, *, failing=(), metrics=lambda partition, server_round: {}, change=None):
    """Clients that move the model by a step drawn from their partition and the round."""
    app = fl.ClientApp()

    @app.train()
    def train(message, context):
        partition, server_round = context.node_config["partition-id"], message.content["config"]["server-round"]
        if (partition, server_round) in failing:
            raise OSError("out of power")
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        for name, step in step_of(partition, server_round).items():
            arrays[name] = arrays[name] - step
        if change is not None:
            change(partition, arrays)
        measured = {"num-examples": EXAMPLES[partition], "partition-id": partition, **metrics(partition, server_round)}
        record = fl.app.ArrayRecord({name: fl.app.Array(np.asarray(array)) for name, array in arrays.items()})
        content = {"arrays": record, "metrics": fl.app.MetricRecord(measured)}
        return fl.app.Message(content=fl.app.RecordDict(content), reply_to=message)

    return app


def step_of(partition, server_round):
    draws = np.random.default_rng([partition, server_round])
    return {name: draws.normal(size=array.shape) for name, array in START.items()}


def trained(fl, strategy, *, rounds=2, nodes=NODES, start=START, **options):
    grid = fl.Grid(moved(fl, **options), nodes)
    initial = fl.app.ArrayRecord({name: fl.app.Array(np.asarray(array)) for name, array in start.items()})
    result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=rounds)
    return result, {name: array.numpy() for name, array in result.arrays.items()}


def wrapped(fl, strategy=None, *, compressor=None, uplink=NOISELESS, **options):
    strategy = strategy or fl.FedAvg(fraction_evaluate=0.0)
    options = {"num_devices": 4, "device_key": "partition-id", **options}
    return fl.over(strategy, compressor=compressor or Uncompressed(), uplink=uplink, **options)


def furthest(found, expected):
    assert found.keys() == expected.keys()
    return max(np.abs(found[name] - expected[name]).max() for name in expected)


RULES = {
    "FedAvg": {},
    "FedProx": {"proximal_mu": 0.1},
    "FedAvgM": {"server_momentum": 0.9},
    "FedAdam": {"eta": 0.1},
    "FedYogi": {"eta": 0.1},
}


@pytest.mark.parametrize("name", RULES)
def test_without_noise_a_strategy_is_itself(fl, name):
    def strategy():
        return getattr(fl, name)(fraction_evaluate=0.0, **RULES[name])

    _, expected = trained(fl, strategy())
    _, found = trained(fl, wrapped(fl, strategy()))
    bound = 1e-10  # numbers up to 12, eps 2e-16, and Adam's division by tau = 1e-3
    assert furthest(found, expected) < bound
    _, noisy = trained(fl, wrapped(fl, strategy(), uplink=AnalogUplink(energy_budget=10.0, noise_variance=1e-6)))
    assert furthest(noisy, expected) > 1000 * bound


def test_single_precision_stays_single(fl):
    start = {name: array.astype(np.float32) for name, array in START.items()}

    def to_single(partition, arrays):
        for name in START:
            arrays[name] = arrays[name].astype(np.float32)

    _, expected = trained(fl, fl.FedAvg(fraction_evaluate=0.0), start=start, change=to_single)
    _, found = trained(fl, wrapped(fl), start=start, change=to_single)
    assert all(array.dtype == np.float32 for array in found.values())
    assert furthest(found, expected) < 20 * 12 * np.finfo(np.float32).eps  # some roundings of numbers up to 12 a round


def test_the_mean_is_weighted_by_examples(fl):
    _, found = trained(fl, wrapped(fl), rounds=1)
    steps = [step_of(k, 1) for k in range(4)]
    weighted = {
        name: START[name] - sum(n * step[name] for n, step in zip(EXAMPLES, steps, strict=True)) / 100 for name in START
    }
    plain = {name: START[name] - sum(step[name] for step in steps) / 4 for name in START}
    assert furthest(found, weighted) < 1e-12
    assert furthest(found, plain) > 0.01


def test_a_client_that_fails_is_absent_and_keeps_its_memory(fl):
    strategy = wrapped(fl, compressor=TopK(fraction=0.2))
    result, _ = trained(fl, strategy, rounds=1)
    before = strategy.bridge.memory.clone()
    assert before[2].norm() > 0
    result, _ = trained(fl, strategy, rounds=1, failing={(2, 1)})
    assert torch.equal(strategy.bridge.memory[2], before[2])
    assert not torch.equal(strategy.bridge.memory[1], before[1])
    assert strategy.ledgers[1].energy_spent[2] == 0
    assert result.train_metrics_clientapp[1]["uplink.answered"] == 3


def test_the_mean_is_of_those_who_answer(fl):
    failing = {(1, 1), (3, 2)}
    result, found = trained(fl, wrapped(fl), failing=failing)
    _, expected = trained(fl, fl.FedAvg(fraction_evaluate=0.0), failing=failing)
    assert furthest(found, expected) < 1e-12
    assert [metrics["uplink.answered"] for metrics in result.train_metrics_clientapp.values()] == [3, 3]


def test_clients_that_were_not_asked_are_absent(fl):
    strategy = wrapped(fl, fl.FedAvg(fraction_train=0.5, fraction_evaluate=0.0))
    trained(fl, strategy, rounds=3)
    for ledger in strategy.ledgers.values():
        assert (ledger.energy_spent > 0).sum() == 2


def test_a_round_without_answers_changes_nothing(fl):
    everybody = {(k, 2) for k in range(4)}
    strategy = wrapped(fl)
    _, once = trained(fl, strategy, rounds=1)
    result, found = trained(fl, strategy := wrapped(fl), rounds=2, failing=everybody)
    assert furthest(found, once) == 0
    assert list(result.train_metrics_clientapp) == list(strategy.ledgers) == [1]
    assert strategy.bridge.round == 1


def test_what_was_sent_and_what_is_kept_are_what_was_asked(fl):
    strategy = wrapped(fl, compressor=TopK(fraction=0.2))
    _, found = trained(fl, strategy, rounds=3)
    kept = strategy.bridge.memory.mean(0)  # of messages 4 w_k (theta - theta_k)
    assert kept.norm() > 0.1
    asked = {name: sum(n / 100 * step_of(k, t)[name] for k, n in enumerate(EXAMPLES) for t in (1, 2, 3)) for name in START}
    sizes = [array.size for array in START.values()]
    for (name, start), residual in zip(START.items(), kept.split(sizes), strict=True):
        sent = start - found[name]
        np.testing.assert_allclose(sent + residual.view(start.shape).numpy(), asked[name], atol=1e-12)


def test_no_client_spends_more_than_its_budget_and_the_metrics_say_what(fl):
    budgets = [10.0, 20.0, 5.0, 1.0]
    uplink = AnalogUplink(energy_budget=budgets, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.3))
    strategy = wrapped(fl, uplink=uplink)
    result, _ = trained(fl, strategy, rounds=5)
    spent = torch.stack([ledger.energy_spent for ledger in strategy.ledgers.values()])
    assert (spent <= torch.tensor(budgets)).all()
    assert (spent / torch.tensor(budgets)).max() > 0.99  # the weakest link's
    for number, metrics in result.train_metrics_clientapp.items():
        assert metrics["uplink.energy_spent"] == pytest.approx(spent[number - 1].mean().item())
        assert metrics["uplink.num_symbols"] == 15


def test_the_number_that_a_client_states_fixes_its_gains(fl):
    uplink = AnalogUplink(energy_budget=10.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.3))
    _, first = trained(fl, wrapped(fl, uplink=uplink))
    _, again = trained(fl, wrapped(fl, uplink=uplink), nodes=(1, 2, 3, 4))
    assert furthest(first, again) == 0
    _, by_node = trained(fl, wrapped(fl, uplink=uplink, device_key=None))
    assert furthest(first, by_node) > 0.01


def test_counts_and_free_arrays_go_around_the_uplink(fl):
    start = {**START, "running_var": np.full(3, 1e-3), "num_batches_tracked": np.array(3)}

    def counted(partition, arrays):
        arrays["running_var"] = arrays["running_var"] + partition
        arrays["num_batches_tracked"] = arrays["num_batches_tracked"] + 2

    uplink = AnalogUplink(energy_budget=10.0)
    strategy = wrapped(fl, uplink=uplink, free=["*running_*"])
    result, found = trained(fl, strategy, rounds=1, start=start, change=counted)
    np.testing.assert_allclose(found["running_var"], 1e-3 + np.average(range(4), weights=EXAMPLES))
    assert found["num_batches_tracked"] == 5
    assert result.train_metrics_clientapp[1]["uplink.free_numbers"] == 4
    assert strategy.ledgers[1].num_symbols == 15
    _, sent = trained(fl, strategy := wrapped(fl, uplink=uplink), rounds=1, start=start, change=counted)
    assert strategy.ledgers[1].num_symbols == 18
    assert np.abs(sent["running_var"] - found["running_var"]).max() > 1e-3


def test_a_client_without_a_finite_model_ends_the_run(fl):
    def diverged(partition, arrays):
        arrays["bias"] = arrays["bias"] * np.nan if partition == 2 else arrays["bias"]

    with pytest.raises(FloatingPointError, match=r"devices \[2\] were not finite in round 0"):
        trained(fl, wrapped(fl), change=diverged)


@pytest.mark.parametrize("name", ["Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg"])
def test_strategies_that_compare_clients_are_refused(fl, name):
    with pytest.raises(ValueError, match=f"must aggregate by a weighted mean, got {name}.*only their sum arrives"):
        wrapped(fl, getattr(fl, name)())


def test_clipping_belongs_around_the_uplink(fl):
    clip = fl.DifferentialPrivacyServerSideFixedClipping
    with pytest.raises(ValueError, match=r"wrap it around, DifferentialPrivacyServerSideFixedClipping\(UplinkStrategy"):
        wrapped(fl, clip(fl.FedAvg(), 0.0, 0.1, 4))
    _, expected = trained(fl, clip(fl.FedAvg(fraction_evaluate=0.0), 0.0, 0.1, 4))
    _, found = trained(fl, clip(wrapped(fl), 0.0, 0.1, 4))
    assert furthest(found, expected) < 1e-12
    assert furthest(found, START) < 0.3


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"num_devices": 0}, ValueError, "num_devices must be an integer >= 1, got 0"),
        ({"num_devices": 3}, ValueError, r"must have a device number 0 .. 2, got 3; have the clients"),
        ({"num_devices": 3, "device_key": None}, ValueError, r"got 3; set num_devices to the number of nodes"),
        (
            {"device_key": "place"},
            ValueError,
            r"got None; have the clients return metrics with 'place', or leave device_key",
        ),
        ({"device_key": "num-examples"}, ValueError, r"got 40; have the clients"),
        ({"device_key": "same"}, ValueError, r"same must differ from client to client, got 4 answers of devices \[1\]"),
        ({"free": ["*"]}, ValueError, r"free leaves no array of \['bias', 'weight'\] to be sent"),
        ({"free": "*"}, TypeError, "free must be"),
        ({"strategy": "FedAvg"}, TypeError, "strategy must be"),
        ({"compressor": 3}, TypeError, "compressor must have a method init"),
        ({"uplink": 3}, TypeError, "uplink must have a method aggregate"),
    ],
)
def test_bad_options_are_refused(fl, options, error, says):
    with pytest.raises(error, match=says):
        trained(fl, wrapped(fl, **options), metrics=lambda partition, server_round: {"same": 1})


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda k, arrays: arrays.pop("bias"), ValueError, "must return the arrays that it was sent"),
        (lambda k, arrays: arrays.update(bias=np.ones(2)), ValueError, "must return the arrays that it was sent"),
        (lambda k, arrays: arrays.update(bias=arrays["bias"] * 1j), TypeError, "arrays must be real, got complex 'bias'"),
    ],
    ids=["name", "shape", "complex"],
)
def test_bad_arrays_are_refused(fl, change, error, says):
    with pytest.raises(error, match=says):
        trained(fl, wrapped(fl), change=change)


@pytest.mark.parametrize("number", [0, -1, float("nan")])
def test_weights_without_a_sum_are_refused(fl, number):
    with pytest.raises(ValueError, match="num-examples of the clients must be >= 0, finite and not all 0"):
        trained(fl, wrapped(fl), metrics=lambda partition, server_round: {"num-examples": number})


def test_the_summary_names_the_parts(fl, caplog):
    import logging

    monitored = logging.getLogger("flwr")
    monitored.addHandler(caplog.handler)
    wrapped(fl).summary()
    monitored.removeHandler(caplog.handler)
    assert "Uplink of 4 devices" in caplog.text
    assert "Uncompressed(" in caplog.text
    assert "Fraction: train (1.00)" in caplog.text


@pytest.mark.slow
def test_flowers_own_simulation(fl, tmp_path):
    """Its engine, Ray: FedAvg, and FedAvg over an uplink without noise, of four clients that learn digits."""
    words = [sys.executable, str(ROOT / "tests" / "helpers" / "flower_simulation.py"), str(tmp_path / "found.npz")]
    subprocess.run(words, check=True, timeout=300, capture_output=True, text=True)
    found = np.load(tmp_path / "found.npz")
    eps = np.finfo(np.float32).eps
    for name in ("weight", "bias"):
        scale = np.abs(found[f"plain/{name}"]).max()
        assert np.abs(found[f"uplink/{name}"] - found[f"plain/{name}"]).max() < 50 * eps * scale
        assert np.abs(found[f"noisy/{name}"] - found[f"plain/{name}"]).max() > 1000 * eps * scale
    assert found["accuracy"] > 0.7


@pytest.mark.slow
def test_the_example_learns(fl):
    words = [sys.executable, str(ROOT / "examples" / "flower_digits.py")]
    found = subprocess.run(words, check=True, timeout=300, capture_output=True, text=True).stdout
    rows = [line.split() for line in found.splitlines()]
    [last] = [row for row in rows if row[:1] == ["10"]]
    assert float(last[1]) > 0.7
