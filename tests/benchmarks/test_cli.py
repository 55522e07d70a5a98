"""The command as a stranger meets it: help, results, errors."""

import pytest
import yaml

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv, read_json

RUN = ["run", "--num_devices", "4", "--num_rounds", "6", "--task.width", "12", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def test_run_of_the_design_page(tmp_path, capsys):
    words = [
        "--task",
        "digits",
        "--compressor",
        "LowRank",
        "--compressor.rank",
        "4",
        "--uplink.energy_budget",
        "16",
        "--output",
        "out",
    ]
    assert main(["run", *words, *RUN[1:]]) == 0
    printed = capsys.readouterr().out
    assert "LowRank(rank=4" in printed
    assert "of 16 energy spent" in printed
    assert read_json(tmp_path / "out" / "result.json")["status"] == "done"
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["num_rounds"] == 6
    assert len(read_csv(tmp_path / "out" / "rounds.csv")) == 6


def test_running_again_finds_the_result_and_another_configuration_is_refused(capsys):
    words = [*RUN, "--uplink.energy_budget", "16", "--output", "out"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert main([*words, "--seed", "1"]) == 2
    assert "holds a run of another configuration" in capsys.readouterr().err


def test_a_users_fading_function_runs_from_the_working_directory(tmp_path, capsys):
    (tmp_path / "own_fading_a.py").write_text(
        "import torch\n"
        "def my_fading(num_devices, num_rx_antennas, grid, *, round, generator):\n"
        "    return torch.ones(num_devices, 1, 1, 1, dtype=torch.complex64)\n"
    )
    words = ["--uplink.energy_budget", "16", "--uplink.fading", "own_fading_a.my_fading"]
    assert main([*RUN, *words]) == 0
    (tmp_path / "own_fading_b.py").write_text("def my_fading(*a, **k):\n    return 1\n")
    assert main([*RUN, "--uplink.energy_budget", "16", "--uplink.fading", "own_fading_b.my_fading"]) == 1
    assert "must return a torch.Tensor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero ({}.py:2, in my_fading)"),
        ("return undefined", "NameError: name 'undefined' is not defined ({}.py:2, in my_fading)"),
        ("return torch.ones(2) @ torch.ones(3)", "({}.py:2, in my_fading)"),
        ("raise ValueError('mine')", "laser run: ValueError: mine ({}.py:2, in my_fading)"),
    ],
)
def test_an_error_in_a_users_function_names_its_line(body, message, tmp_path, capsys):
    module = f"own_broken_{len(body)}"
    (tmp_path / f"{module}.py").write_text(f"import torch\ndef my_fading(*a, **k): {body}\n")
    assert main([*RUN, "--uplink.energy_budget", "16", "--uplink.fading", f"{module}.my_fading"]) == 1
    assert message.format(module) in capsys.readouterr().err


def test_a_fault_of_the_package_itself_is_not_hidden(monkeypatch, capsys):
    monkeypatch.setattr("laser_wireless.benchmarks.cli.train", lambda *a, **k: {}["status"])
    monkeypatch.setattr("laser_wireless.benchmarks.failures.users_line", lambda error: "")  # it is this file's line
    assert main([*RUN, "--uplink.energy_budget", "16"]) == 1
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "laser run: a fault of laser-wireless itself, please report it: KeyError: 'status'; traceback in"
    )
    assert others[0].startswith("Traceback")
    assert others[-1] == "KeyError: 'status'"


def test_gains_that_are_not_finite_are_said(tmp_path, capsys):
    body = "return torch.full((num_devices, 1, 1, 1), float('nan'), dtype=torch.complex64)"
    text = f"import torch\ndef fade(num_devices, antennas, grid, *, round, generator):\n    {body}\n"
    (tmp_path / "own_nan.py").write_text(text)
    assert main(["channel", "--num_rounds", "5", "--fading", "own_nan.fade"]) == 1
    assert "were not finite in round 0" in capsys.readouterr().err


def test_link_gains_of_a_study_are_a_list_or_a_model(tmp_path):
    words = ["channel", "--num_rounds", "5", "--num_devices", "2", "--fading", "Rayleigh", "--link_gain"]
    assert main([*words, "CellGain", "--output", "model"]) == 0
    assert main([*words, "[1,2]", "--output", "list"]) == 0


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        (
            "run --uplink.power_control FullPower --help",
            ["[default least_error] of", "[default NoFading]", "[chosen: Digits]"],
            ["[optional]"],
        ),
        ("channel --help", ["tdl-c ", "delay_spread_s = 1e-07", "[default SingleAntenna]"], ["a-dsgd", "cifar10"]),
        ("sweep --help", ["a-dsgd", "cifar10", "tdl-c", "--uplink.csi.1.rounds 2"], []),
    ],
)
def test_help_shows_defaults_and_only_words_that_fit(words, said, unsaid, capsys):
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert all(phrase in printed for phrase in said)
    assert not any(phrase in printed for phrase in unsaid)


def test_a_run_in_which_nobody_sends_says_so(capsys):
    words = ["--uplink.energy_budget", "16", "--uplink.fading", "Rayleigh", "--uplink.power_control", "TruncatedInversion"]
    assert main([*RUN, *words, "--uplink.power_control.threshold", "100"]) == 0
    assert "no device sent anything in any round" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main([*RUN, "--uplink.energy_budget", "16", "--output", "taken"]) == 2
    assert "--output taken is a file" in capsys.readouterr().err


def test_a_run_that_diverges_says_so(capsys):
    words = ["--uplink.energy_budget", "16", "--learning_rate", "1e30"]
    assert main([*RUN, *words]) == 1
    assert "diverged after" in capsys.readouterr().err


def test_sweep_prints_the_saving_and_draws_the_picture(tmp_path, capsys):
    content = {
        "task": {"class_path": "Digits", "init_args": {"width": 12}},
        "schemes": ["laser", "z-sgd"],
        "energy_budgets": [1, 100, 10000],
        "learning_rates": [0.1],
        "seeds": [0, 1],
        "num_devices": 4,
        "num_rounds": 30,
        "targets": [2.0],
    }
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(content))
    assert main(["sweep", "some.yaml", "--jobs", "1", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "saving against z-sgd" in printed
    assert "least mean validation loss" in printed
    folder = tmp_path / "runs" / "some"
    table = read_csv(folder / "table.csv")
    assert [row["scheme"] for row in table] == ["laser"] * 3 + ["z-sgd"] * 3 + ["noiseless"]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "sweep.pdf").read_bytes().startswith(b"%PDF")
    assert {"target", "saving_db", "low", "high"} <= set(read_csv(folder / "savings.csv")[0])


def test_sweep_dispatches_on_the_study_and_its_scale(tmp_path, capsys):
    assert main(["sweep", "communication", "--scale", "small"]) == 0
    assert "a-dsgd" in capsys.readouterr().out
    assert len(read_csv(tmp_path / "runs" / "communication-small" / "table.csv")) == 6
    words = "sweep energy-share --scale small --num_rounds 4 --record_every 2 --task.width 16 --task.context 8 --device cpu"
    assert main([*words.split(), "--task.batch_size", "2"]) == 0
    folder = tmp_path / "runs" / "energy-share-small"
    assert [row["epoch"] for row in read_csv(folder / "table.csv")] == [1, 2] * 3
    assert yaml.safe_load((folder / "sweep.yaml").read_text())["study"] == "spectrum"
    assert (folder / "energy.png").exists()


@pytest.mark.slow
def test_the_record_of_a_sweep_can_be_run_again(tmp_path):
    words = "--task.width=12 --num_rounds=2 --seeds=[0] --energy_budgets=[1] --learning_rates=[0.1] --jobs=1 --device=cpu"
    schemes = "{r=1: {class_path: LowRank, init_args: {rank: 1}}, r=4: laser}"
    assert (
        main(["sweep", "rank-study", "--scale", "small", "--schemes", schemes, "--published", "null", *words.split()]) == 0
    )
    folder = tmp_path / "runs" / "rank-study-small"
    assert (folder / "figure.png").exists()
    before = (folder / "table.csv").read_bytes()
    assert main(["sweep", str(folder / "sweep.yaml"), "--output", "again"]) == 0
    assert (tmp_path / "again" / "table.csv").read_bytes() == before


def test_channel_writes_rows_and_a_picture(tmp_path, capsys):
    words = "channel --fading Rayleigh --power_control TruncatedInversion --num_rounds 200 --device cpu --output out"
    assert main(words.split()) == 0
    assert "mse_theory" in capsys.readouterr().out
    assert len(read_csv(tmp_path / "out" / "channel.csv")) == 9
    assert (tmp_path / "out" / "channel.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--help", ["laser run", "laser sweep", "laser channel"]),
        ("", ["laser run"]),
        ("run --help", ["--compressor.rank", "--uplink.energy_budget", "z-sgd", "laser run --task digits", "required"]),
        ("run --compressor Uncompressed --help", ["--compressor.error_feedback"]),
        ("run --uplink.fading Rician --help", ["--uplink.fading.k_factor"]),
        ("sweep --help", ["--energy_budgets", "--learning_rates", "--tune", "laser sweep digits.yaml"]),
        ("sweep energy-share --help", ["--record_every", "--layers"]),
        ("channel --help", ["--snr_db", "--power_control", "TruncatedInversion"]),
    ],
)
def test_help_teaches(words, expected, capsys):
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert all(phrase in printed for phrase in expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "'trian' is not a command; use run, sweep, channel"),
        ("run", "AnalogUplink needs energy_budget"),
        ("run --uplink.energy_budget 0", "energy_budget must be finite and > 0"),
        ("run --uplink.energy_budget 1 --num_device 3", "--num_device is not an option here; did you mean --num_devices"),
        ("run --uplink.energy_budget 1 --task digit", "did you mean digits"),
        (
            "run --uplink.energy_budget 1 --compressor [LowRank]",
            "laser run: compressor must be one component, got a list of 1",
        ),
        ("run --uplink.energy_budget", "needs a value"),
        ("sweep nothing.yaml", "no file 'nothing.yaml', and presets are cifar10-power"),
        ("sweep cifar10-power --scale smal", "--scale must be 'full' or 'small', got 'smal'"),
        ("sweep digits --scale small", "no section 'small'"),
        ("sweep cifar10-power --published.file nothing.csv", "no file 'nothing.csv'"),
        ("channel --fading Raleigh", "did you mean Rayleigh"),
        ("channel --num_rounds many", "num_rounds"),
    ],
)
def test_errors_name_what_is_wrong_and_change_nothing(words, message, capsys, tmp_path):
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_noiseless_is_a_channel_and_says_so(capsys):
    assert main(["run", "--compressor", "noiseless"]) == 2
    assert "take z-sgd, with noise_variance 0" in capsys.readouterr().err


def test_sweep_help_names_scales_and_presets(capsys):
    assert main(["sweep", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("--scale", "--jobs", "cifar10-power", "digits-all"))
