"""`laser theory` as a stranger types it: tables, files, help, errors."""

import csv
import math

import pytest
import torch

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.records import read_csv


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def table(words, capsys):
    """The rows that a command prints, by their first cell; cells have no spaces but the first."""
    assert main(words) == 0
    lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    columns = lines[0].split()
    rows = [line.rsplit(maxsplit=len(columns) - 1) for line in lines[1:]]
    return {row[0].strip(): dict(zip(columns, row, strict=True)) for row in rows}


def test_published_table_of_megabytes(capsys, tmp_path):
    found = table(["theory", "communication"], capsys)
    assert {name: (float(row["megabytes"]), row["megabytes_published"]) for name, row in found.items()} == {
        "Z-SGD": (495.92, "496"),
        "SIGNUM": (15.498, "15"),
        "RANDOM-K": (99.184, "99"),
        "SKETCHING": (99.184, "99"),
        "A-DSGD": (49.649, "n/a"),
        "LASER, rank 4, both factors": (3.2737, "3"),
        "LASER, rank 8, one factor": (3.2737, "3"),
        "LASER, rank 4, one factor": (1.6753, "n/a"),
    }
    assert all(row["claimed"] == row["symbols"] for row in found.values())
    for row in found.values():  # a published number stands beside what it is a rounding of
        if row["megabytes_published"] != "n/a":
            assert abs(float(row["megabytes"]) - float(row["megabytes_published"])) <= 0.5
    assert not list(tmp_path.iterdir())  # nothing is written unasked


def test_own_model_and_schemes_go_to_a_file(capsys, tmp_path):
    (tmp_path / "own_models_d.py").write_text("import torch\ndef my_model():\n    return torch.nn.Linear(40, 30)\n")
    schemes = "{rank 2: {class_path: LowRank, init_args: {rank: 2, rule: both}}, raw: z-sgd}"
    words = ["theory", "communication", "--model", "own_models_d.my_model", "--schemes", schemes, "--output", "out"]
    assert set(table(words, capsys)) == {"rank 2", "raw"}
    rows = read_csv(tmp_path / "out" / "communication.csv")
    assert [row["symbols"] for row in rows] == [2 * (40 + 30) + 30, 1230]
    assert "LowRank(rank=2" in rows[0]["compressor"]


def test_influence_of_the_published_example_and_its_picture(capsys, tmp_path):
    # 16 x 64, one device, SNR 0.05
    words = "theory influence --m 16 --n 64 --rank 1 --energy_budget 51.2 --num_devices 1 --output out"
    found = table(words.split(), capsys)
    assert float(found["z-sgd"]["influence"]) == 20
    both = found["laser, both factors"]
    assert (float(both["channel"]), float(both["paper_bound"])) == (4.6875, 6.5625)
    assert float(found["laser, one factor, even rounds"]["channel"]) == 1.25
    assert (tmp_path / "out" / "influence.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "influence.pdf").read_bytes().startswith(b"%PDF")
    curves = read_csv(tmp_path / "out" / "influence-snr.csv")
    at_zero = {row["scheme"]: row["influence"] for row in curves if row["snr_db"] == 0}
    assert at_zero["z-sgd"] == pytest.approx(1)


def test_a_scheme_without_a_closed_form_says_so(capsys):
    median = "{median: {class_path: CountSketch, init_args: {rows: 3, read: median}}}"
    row = table(["theory", "influence", "--schemes", median], capsys)["median"]
    assert (row["influence"], row["form"]) == ("nan", "unknown")


def test_rates_of_given_factors(capsys):
    words = ["theory", "rates", "--influence", "[3]", "--num_rounds", "[100]"]
    found = table(words, capsys)
    assert float(found["lambda = 3"]["quasiconvex"]) == 0.04
    assert float(found["lambda = 3"]["nonconvex"]) == 0.2
    assert float(found["no channel"]["quasiconvex"]) == 0.01


def test_rates_of_the_schemes_follow_their_factors(capsys):
    found = table(["theory", "rates", "--energy_budget", "10", "--num_rounds", "[1000]"], capsys)
    influence = 64 * 576 / (16**2 * 10)
    assert float(found["z-sgd"]["rounds"]) == pytest.approx(1 + influence, rel=1e-4)
    assert float(found["laser, one factor, even rounds"]["influence"]) == pytest.approx(influence / 16, rel=1e-4)
    assert "signum" not in found  # biased
    bounds = [float(found[name]["nonconvex_bound"]) for name in ("no channel", "laser, both factors", "z-sgd")]
    assert bounds == sorted(bounds)


def test_noise_of_a_model_by_allocation(capsys, tmp_path):
    words = "theory noise --model mnist --energy_budget 100 --schemes z-sgd --output out".replace("z-sgd", "[z-sgd]")
    row = table(words.split(), capsys)["z-sgd"]
    # norms sqrt(7840) and sqrt(10): (sum c) (sum N c) / (K^2 P ||g||^2), and (sum c sqrt(N))^2 = d^2 at the least
    c = [math.sqrt(7840), math.sqrt(10)]
    expected = sum(c) * (7840 * c[0] + 10 * c[1]) / (256 * 100 * 7850)
    assert float(row["norm"]) == pytest.approx(expected, rel=1e-4)
    assert float(row["least_noise"]) == pytest.approx(7850 / (256 * 100), rel=1e-4)
    rows = read_csv(tmp_path / "out" / "noise.csv")
    assert len(rows) == 4 * 2
    assert sum(row["energy_share"] for row in rows if row["allocation"] == "per_block") == pytest.approx(1)


def test_noise_with_norms_from_a_file(capsys, tmp_path):
    (tmp_path / "norms.csv").write_text("name,norm\nweight,3\nbias,1\n")
    words = ["theory", "noise", "--model", "mnist", "--energy_budget", "100", "--schemes", "[z-sgd]", "--norms", "norms.csv"]
    row = table(words, capsys)["z-sgd"]
    assert float(row["norm"]) == pytest.approx((3 + 1) * (3 * 7840 + 10) / (256 * 100 * 10), rel=1e-4)
    (tmp_path / "norms.csv").write_text("name,norm\nweight,3\n")
    assert main(words) == 2
    assert "a column norm with 2 numbers >= 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--help", ["laser theory"]),
        ("theory --help", ["laser theory communication", "laser theory noise"]),
        ("theory", ["laser theory rates"]),
        ("theory communication --help", ["--model", "--output", "signum", "my_module.my_model"]),
        ("theory influence --help", ["--captured", "--energy_budget", "laser theory influence --m 64"]),
        ("theory rates --help", ["--gradient_noise", "--convexity"]),
        ("theory noise --help", ["--norms", "CSV"]),
    ],
)
def test_help_teaches(words, expected, capsys):
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert all(phrase in printed for phrase in expected)
    assert "LinearEnergy" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("theory comunication", "did you mean communication"),
        ("theory communication --modle gpt2", "did you mean --model"),
        ("theory communication --model gpt", "did you mean gpt2"),
        ("theory communication --schemes [lazer]", "did you mean laser"),
        ("theory communication --schemes [Rayleigh]", "must be a compressor"),
        ("theory communication --schemes []", "at least one"),
        ("theory communication --schemes {a:{compressor:laser}}", "schemes.a must be a name, or {class_path: NAME"),
        ("theory communication --model", "needs a value"),
        ("theory influence --m many", "m"),
        ("theory influence --rank 0", "rank must be >= 1"),
        ("theory influence --energy_budget 0", "energy_budget must be finite and > 0"),
        ("theory influence --snr_db []", "snr_db must hold"),
        ("theory influence --captured 2", "captured must lie in"),
        ("theory rates --influence [-1]", "influence[0] must be finite and >= 0"),
        ("theory rates --num_rounds [0]", "num_rounds[0] must be an integer >= 1"),
        ("theory rates --convexity 3", "convexity must be at most"),
        ("theory noise --norms unknown", "there is no file 'unknown'"),
        ("theory noise --num_devices 0", "num_devices must be >= 1"),
        ("theory noise --energy_budget -1", "energy_budget must be finite and > 0"),
        ("theory noise --captured 0", "captured must lie in"),
        ("theory noise --noise_variance -1", "noise_variance must be finite and >= 0"),
        ("theory noise --schemes [a-dsgd]", "not for GaussianProjection"),
    ],
)
def test_errors_name_what_is_wrong_and_change_nothing(words, message, capsys, tmp_path):
    assert main([*words.split(), "--output", "out"] if not words.endswith("--model") else words.split()) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_csv_of_the_influence_table_is_read_by_the_standard_library(tmp_path, capsys):
    assert main(["theory", "influence", "--output", "out"]) == 0
    with open(tmp_path / "out" / "influence.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["form"] for row in rows if row["scheme"] == "laser, both factors"] == ["exact"]
    assert torch.tensor([float(row["influence"]) for row in rows]).isfinite().all()
