"""The speed command runs and its tables are whole; timings are never judged here."""

import csv

import pytest
import torch

from laser_wireless.benchmarks.schemes.facts import Facts
from laser_wireless.benchmarks.speed.__main__ import main
from laser_wireless.benchmarks.speed.floor import numbers_moved
from laser_wireless.benchmarks.speed.measure import STAGES, Measurement
from laser_wireless.benchmarks.speed.plain import PlainRound
from laser_wireless.benchmarks.speed.shapes import CASES, QUICK, Case
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    RandomK,
    Sign,
    TopK,
    Uncompressed,
)


def test_shapes_are_those_of_the_published_models():
    assert CASES["resnet18"].num_parameters == 11_173_962
    assert CASES["gpt2"].num_parameters == 123_980_544
    for name, even, odd in (("resnet18", 135_670, 28_850), ("gpt2", 547_584, 1_089_280)):
        case = CASES[name]
        assert [sum(case.compressor.layout(case.shapes, round)) for round in (0, 1)] == [even, odd]


@pytest.mark.slow
def test_quick_run_fills_every_cell(tmp_path, capsys):
    path = tmp_path / "speed.csv"
    main(["--quick", "--device", "cpu", "--threads", "1", "--output", str(path)])
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == list(QUICK)
    for row in rows:
        assert all(row.values())
        times = {key: float(value) for key, value in row.items() if key.endswith("_ms")}
        assert len(times) == 2 * 2 * (len(STAGES) + 1) + 2 * 2 + 2
        assert all(time > 0 for key, time in times.items() if not key.startswith("plain"))
        assert (times["plain_median_ms"] > 0) == (row["case"] in ("mlp", "mlp-uncompressed"))
        assert int(row["num_symbols"]) > 0
        assert float(row["peak_memory_mib"]) >= 0
        assert {"device", "threads", "torch", "commit", "date"} <= set(row)
    printed = capsys.readouterr().out
    assert printed.count("| mlp-uncompressed |") == 3


def test_floor_counts_the_bytes_that_must_move():
    def floor(compressor, num_symbols):
        case = Case(shapes=((10, 10),), num_devices=3, compressor=compressor)
        return Measurement(
            case=case, stages=([], []), copy=6.0, draw=5.0, plain=[], peak_memory=0, num_symbols=num_symbols
        ).floor

    # a copy moves 2 K d = 600 numbers in 6 s, 100 in 1 s; 100 normals take 5 s
    assert floor(LowRank(rank=1), 20) == pytest.approx(10)  # (3 K + 1) d numbers
    assert floor(JacobiLowRank(rank=1), 40) == pytest.approx(10)  # both products in one reading
    assert floor(Uncompressed(), 100) == pytest.approx(6 + 5)
    assert floor(Sign(), 100) == pytest.approx(6 + 5)
    assert floor(RandomK(fraction=0.2), 20) == pytest.approx(1.2 + 1 + 1)
    assert floor(CountSketch(fraction=0.2), 20) == pytest.approx(7 + 2 + 1)
    assert floor(TopK(fraction=0.2), 160) == pytest.approx(1.2 + 2)
    assert floor(GaussianProjection(fraction=0.2), 20) == pytest.approx(3 + 0.6 + 1 + 1)


def test_floor_of_an_unknown_scheme_is_refused():
    class Own(Uncompressed):
        facts = Facts(numbers_moved=lambda scheme, shapes, num_devices, num_symbols: 2 * num_devices * num_symbols)

    class Other:
        pass

    assert numbers_moved(Case(shapes=((2,),), num_devices=1, compressor=Own()), 2) == 4
    with pytest.raises(TypeError, match="the floor of Other is not known"):
        numbers_moved(Case(shapes=((2,),), num_devices=1, compressor=Other()), 2)


def test_schemes_are_named_by_what_was_set():
    named = {name: case.scheme for name, case in CASES.items()}
    assert named["gpt2"] == "LowRank(rank=8)"
    assert named["resnet18"] == "LowRank(rank=4)"
    assert named["mlp-sign"] == "Sign()"
    assert named["mlp-projection"] == "GaussianProjection(projection=hadamard)"


@pytest.mark.parametrize("compressor", [LowRank(rank=1), Uncompressed()], ids=str)
def test_plain_loop_sends_what_the_devices_ask_for(compressor):
    case = Case(shapes=((6, 5), (3,)), num_devices=4, compressor=compressor)
    memory = torch.randn(4, 33, generator=torch.Generator().manual_seed(0))
    asked = memory.mean(0)
    decoded = PlainRound(case, memory, energy_budget=1e12)()
    found = torch.cat([gradient.flatten() for gradient in decoded])
    torch.testing.assert_close(found + memory.mean(0), asked, rtol=1e-4, atol=1e-4)  # delivered and still owed
    assert (memory[:, 30:] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--cases", "vgg"], "vgg"), (["--threads", "0"], "--threads"), (["--output", "speed.txt"], "--output")],
)
def test_bad_options_are_refused_by_name(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["--quick", *arguments])
    assert message in capsys.readouterr().err
