"""Runs with local steps, weights and an optimiser of their own, from options to results."""

import pytest
import torch

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.optimizers import Adagrad, Adam, AdamW, Sgd
from laser_wireless.benchmarks.side_by_side import Member, train_together
from laser_wireless.benchmarks.sweeps.sweep import cells, run_from, sweep_from
from laser_wireless.benchmarks.tasks import Digits, StdlibText
from laser_wireless.benchmarks.training_run import Trainer, TrainingRun, train
from laser_wireless.channels import AnalogBroadcast, AnalogUplink, DigitalUplink, SampledDevices
from laser_wireless.compression import LowRank, Uncompressed
from laser_wireless.training import LocalSteps, RowsInFile

CPU = torch.device("cpu")


def make_run(**more) -> TrainingRun:
    settings = {"task": Digits(width=12), "compressor": LowRank(rank=2), "uplink": AnalogUplink(energy_budget=64.0)}
    return TrainingRun(**(settings | {"num_devices": 4, "num_rounds": 12, "evaluate_every": 5} | more))


def results_of(result: dict) -> dict:
    return {name: value for name, value in result.items() if name not in ("environment", "fingerprint")}


FEDERATED = {
    "task": Digits(width=12, sharding="dirichlet", alpha=0.3),
    "uplink": AnalogUplink(energy_budget=64.0, participation=SampledDevices(num_sampled=3)),
    "local": LocalSteps(num_steps=2, proximal=0.1, momentum=0.5),
    "weights": "samples",
    "optimizer": Adam(betas=(0.9, 0.99), eps=1e-3),
    "num_rounds": 6,
    "evaluate_every": 2,
    "learning_rate": 0.01,
}


def trained(tmp_path, **options):
    tmp_path.mkdir(exist_ok=True)
    return train(make_run(**options), tmp_path, device=CPU)


def test_a_federated_run_goes_on_to_the_same_result(tmp_path):
    expected = trained(tmp_path / "whole", **FEDERATED)
    (tmp_path / "broken").mkdir()

    def interrupted(round, row):
        if round in (1, 4):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(make_run(**FEDERATED), tmp_path / "broken", device=CPU, progress=interrupted)
    assert results_of(trained(tmp_path / "broken", **FEDERATED)) == results_of(expected)


def test_one_local_step_is_gradient_exchange_to_the_bit(tmp_path):
    found = trained(tmp_path / "steps", local=LocalSteps(num_steps=1, proximal=3.0, momentum=0.9))
    assert results_of(found) == results_of(trained(tmp_path / "gradients"))


@pytest.mark.parametrize(
    "changed",
    [{"local": LocalSteps(num_steps=3)}, {"weights": "samples"}, {"optimizer": Sgd(momentum=0.5)}],
    ids=lambda changed: next(iter(changed)),
)
def test_each_of_them_changes_the_result(tmp_path, changed):
    skewed = {"task": Digits(width=12, sharding="dirichlet", alpha=0.3)}
    plain, other = trained(tmp_path / "plain", **skewed), trained(tmp_path / "other", **skewed, **changed)
    assert plain["metrics"] != other["metrics"]


def test_more_local_steps_learn_more_in_as_many_rounds(tmp_path):
    """Over a channel without noise, from one start, with the base station's SGD without momentum."""
    loss = {}
    for num_steps in (1, 5):
        quiet = {"uplink": AnalogUplink(energy_budget=1.0, noise_variance=0.0), "compressor": Uncompressed()}
        task = Digits(width=24, momentum=0.0, averaging=0.0)
        local = LocalSteps(num_steps=num_steps)
        found = trained(tmp_path / str(num_steps), task=task, local=local, num_rounds=20, learning_rate=0.1, **quiet)
        loss[num_steps] = found["metrics"]["test"]["loss"]
    assert loss[5] < 0.7 * loss[1]


def test_local_steps_see_a_batch_each_and_no_batch_twice():
    trainer = Trainer(make_run(local=LocalSteps(num_steps=3)), CPU)
    asked = []
    batches = trainer.task.batches
    trainer.task.batches = lambda round, *more: (asked.append(round), batches(round, *more))[1]
    for _ in range(2):
        trainer.step()
    assert asked == [0, 1, 2, 3, 4, 5]


def test_weights_are_the_sizes_of_the_shards():
    run = make_run(**FEDERATED)
    trainer = Trainer(run, CPU)
    sizes = run.task.shard_sizes(4, trainer.streams).double()
    assert sizes.std() > 0
    torch.testing.assert_close(torch.tensor(trainer.bridge.weights, dtype=torch.float64), 4 * sizes / sizes.sum())


def test_runs_with_local_steps_are_trained_one_by_one(tmp_path):
    members, told = [], []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        members.append(Member(make_run(**FEDERATED, seed=seed), tmp_path / str(seed)))
    together = train_together(members, device=CPU, tell=told.append)
    assert told == ["runs are trained one by one: devices that take local steps have models of their own"]
    assert results_of(together[1]) == results_of(trained(tmp_path / "alone", **FEDERATED, seed=1))


def test_runs_with_weights_are_trained_together(tmp_path):
    members, told = [], []
    options = {"task": FEDERATED["task"], "weights": "samples", "uplink": AnalogUplink(energy_budget=9.0), "num_rounds": 4}
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        members.append(Member(make_run(**options, seed=seed), tmp_path / str(seed)))
    together = train_together(members, device=CPU, tell=told.append)
    assert told == []
    assert results_of(together[1]) == results_of(trained(tmp_path / "alone", **options, seed=1))


@pytest.mark.parametrize(
    ("maker", "kind"),
    [
        (Sgd(momentum=0.5, nesterov=True, weight_decay=0.1), torch.optim.SGD),
        (Adam(betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1), torch.optim.Adam),
        (AdamW(betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2), torch.optim.AdamW),
        (Adagrad(eps=1e-3, initial_accumulator_value=0.5, weight_decay=0.1), torch.optim.Adagrad),
    ],
    ids=str,
)
def test_optimisers_are_torchs_with_these_arguments(maker, kind):
    optimizer = maker([torch.nn.Parameter(torch.ones(2))], lr=0.3)
    assert type(optimizer) is kind
    wanted = {**vars(maker), "lr": 0.3}
    assert {name: optimizer.defaults[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sgd(momentum=1.0), r"momentum must lie in \[0, 1\), got 1.0"),
        (lambda: Sgd(nesterov=True), "nesterov needs momentum > 0"),
        (lambda: Sgd(weight_decay=-1.0), "weight_decay must be finite and >= 0, got -1.0"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas must lie in \[0, 1\), got 1.0"),
        (lambda: Adam(eps=0.0), "eps must be finite and > 0, got 0.0"),
        (lambda: AdamW(betas=(-0.1, 0.9)), r"betas must lie in \[0, 1\), got -0.1"),
        (lambda: Adagrad(initial_accumulator_value=-1.0), "initial_accumulator_value must be finite and >= 0"),
    ],
)
def test_bad_optimisers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def half_of_them(parameters, *, lr):
    return torch.optim.SGD(list(parameters)[:1], lr)


def none_at_all(parameters, *, lr):
    return lr


def test_a_function_of_ones_own_is_an_optimiser_and_answers_for_what_it_returns():
    with pytest.raises(ValueError, match=r"optimizer half_of_them\(parameters, lr=...\) must hold all parameters"):
        Trainer(make_run(optimizer=half_of_them), CPU)
    with pytest.raises(TypeError, match=r"optimizer none_at_all\(.*\) must return a torch.optim.Optimizer, got 0.05"):
        Trainer(make_run(optimizer=none_at_all), CPU)


def test_weights_need_a_task_that_says_who_holds_what():
    text = StdlibText(width=16, num_layers=1, context=16, evaluation_windows=8)
    with pytest.raises(ValueError, match=r"weights samples need a task .* shard_sizes.* got StdlibText; use weights equal"):
        Trainer(make_run(task=text, weights="samples"), CPU)


def run_with(tmp_path, *words):
    options = {"task": "digits", "task.width": 8, "num_devices": 4, "num_rounds": 2, "uplink.energy_budget": 9}
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return main(["run", *given, "--output", str(tmp_path / "run"), *words])


def test_options_of_the_command(tmp_path, capsys):
    words = "--local LocalSteps --local.num_steps [1,2,1,3] --optimizer AdamW --optimizer.betas [0.8,0.9] --weights samples"
    assert run_with(tmp_path, *words.split()) == 0
    assert "written to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--local.num_steps", "2"], "say first which local, for example --local LocalSteps"),
        (["--local", "LocalStep"], "'LocalStep' is not known; did you mean LocalSteps?"),
        (
            ["--local", "LocalSteps", "--local.num_step", "2"],
            "no argument 'num_step'; did you mean num_steps",
        ),
        (["--local", "LocalSteps", "--local.num_steps", "0"], "num_steps must be integers >= 1, got"),
        (["--optimizer", "adam"], "'adam' is not known; did you mean Adam"),
        (["--weights", "sample"], "weights must be 'equal' or 'samples'"),
    ],
)
def test_misspelt_options_are_refused(tmp_path, capsys, words, message):
    assert run_with(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


SWEEP = {
    "task": {"class_path": "Digits", "init_args": {"width": 8}},
    "uplink": "AnalogUplink",
    "schemes": {
        "gradients": "laser",
        "fedavg": {"compressor": "laser", "local": {"class_path": "LocalSteps", "init_args": {"num_steps": 3}}},
        "adam": {"compressor": "laser", "optimizer": "Adam", "weights": "equal"},
    },
    "weights": "samples",
    "energy_budgets": [1, 10],
    "learning_rates": [0.1],
    "seeds": [0],
}


def test_schemes_of_a_sweep_may_train_otherwise():
    sweep = sweep_from(SWEEP)
    runs = {name: run_from(next(cells(sweep, name)).spec) for name in [*sweep.schemes, "noiseless"]}
    assert [run.local for run in runs.values()] == [None, LocalSteps(num_steps=3), None, None]
    assert [run.weights for run in runs.values()] == ["samples", "samples", "equal", "samples"]
    assert [run.optimizer for run in runs.values()] == [None, None, Adam(), None]
    assert all(run.compressor == LowRank(rank=4) for name, run in runs.items() if name != "noiseless")


def test_what_does_not_fit_a_scheme_is_refused_before_the_sweep():
    bad = {"compressor": "laser", "local": {"class_path": "LocalSteps", "init_args": {"num_steps": 0}}}
    with pytest.raises(BadConfiguration, match="num_steps must be integers >= 1"):
        sweep_from({**SWEEP, "schemes": {"bad": bad}})
    with pytest.raises(BadConfiguration, match=r"schemes\.odd must be a name"):
        sweep_from({**SWEEP, "schemes": {"odd": {"compressor": "laser", "locally": 3}}})


STREAMED = {"devices_at_once": 3, "task": Digits(width=12), "num_rounds": 4, "evaluate_every": 2}


@pytest.mark.parametrize("compressor", [LowRank(rank=2), Uncompressed()], ids=str)
@pytest.mark.parametrize("federated", [False, True])
def test_devices_some_at_a_time_give_the_same_run(tmp_path, compressor, federated):
    options = {**(FEDERATED if federated else {}), **STREAMED, "compressor": compressor}
    found, whole = trained(tmp_path / "some", **options), trained(tmp_path / "all", **{**options, "devices_at_once": None})
    for part in ("validation", "test"):
        assert found["metrics"][part]["loss"] == pytest.approx(whole["metrics"][part]["loss"], rel=1e-4)
    assert found["mean_per_round"] == pytest.approx(whole["mean_per_round"], rel=1e-4)


@pytest.mark.parametrize("rows", [None, RowsInFile(dtype="bfloat16")], ids=str)
def test_a_streamed_run_goes_on_to_the_same_result(tmp_path, rows):
    options = {**STREAMED, "rows": rows, "checkpoint_seconds": 0.0}
    expected = trained(tmp_path / "whole", **options)
    (tmp_path / "broken").mkdir()

    def interrupted(round, row):
        if round in (1, 3):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(make_run(**options), tmp_path / "broken", device=CPU, progress=interrupted)
    assert results_of(trained(tmp_path / "broken", **options)) == results_of(expected)


class Whole(Digits):
    """A task that only gives out the batches of all devices."""

    batches_of = None

    def batches(self, round, num_devices, streams):
        return Digits.batches_of(self, range(num_devices), round, num_devices, streams)


def test_a_task_that_does_not_stream_gives_the_same(tmp_path):
    whole = trained(tmp_path / "whole", **{**STREAMED, "task": Whole(width=12)})
    assert results_of(whole) == results_of(trained(tmp_path / "streamed", **STREAMED))


def test_streamed_runs_are_trained_one_by_one(tmp_path):
    members = []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        members.append(Member(make_run(**STREAMED, seed=seed), tmp_path / str(seed)))
    together = train_together(members, device=CPU)
    assert results_of(together[1]) == results_of(trained(tmp_path / "alone", **STREAMED, seed=1))


@pytest.mark.parametrize("more", [{}, {"devices_at_once": 2}, {"local": LocalSteps(num_steps=2)}], ids=str)
def test_bfloat16_trains_nearly_as_well(tmp_path, more):
    """8 significant bits in forward and backward pass: other numbers, nearly the same loss; weights stay float32."""
    options = {"task": Digits(width=24), "learning_rate": 0.05, "num_rounds": 30, **more}
    exact, rough = (trained(tmp_path / p, **options, precision=p) for p in ("float32", "bfloat16"))
    losses = [found["metrics"]["test"]["loss"] for found in (exact, rough)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    trainer = Trainer(make_run(**options, precision="bfloat16"), CPU)
    trainer.step()
    assert {p.grad.dtype for p in trainer.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": RowsInFile()}, "rows must be given with devices_at_once and only then"),
        ({"devices_at_once": 0}, "devices_at_once must be >= 1 or None, got 0"),
        (
            {"devices_at_once": 2, "uplink": DigitalUplink(energy_budget=1.0)},
            "devices_at_once needs an AnalogUplink, got Dig",
        ),
        ({"devices_at_once": 2, "downlink": AnalogBroadcast(energy_budget=1.0)}, "needs a downlink without errors"),
        ({"precision": "float16"}, "precision must be"),
    ],
)
def test_what_cannot_be_streamed_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_run(**options)
