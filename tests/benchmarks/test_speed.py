"""The speed command runs and its tables are whole; timings are never judged here."""

import csv

import pytest
import torch
from laser_wireless.benchmarks.speed.__main__ import main
from laser_wireless.benchmarks.speed.measure import STAGES, Measurement
from laser_wireless.benchmarks.speed.plain import PlainRound
from laser_wireless.benchmarks.speed.shapes import CASES, QUICK, Case, mlp
from laser_wireless.compression import LowRank


def test_shapes_are_those_of_the_published_models():
    assert CASES["resnet18"].num_parameters == 11_173_962
    assert CASES["gpt2"].num_parameters == 123_980_544
    for name, even, odd in (("resnet18", 135_670, 28_850), ("gpt2", 547_584, 1_089_280)):
        case = CASES[name]
        assert [sum(LowRank(rank=case.rank).layout(case.shapes, round)) for round in (0, 1)] == [even, odd]


def test_quick_run_fills_every_cell(tmp_path, capsys):
    path = tmp_path / "speed.csv"
    main(["--quick", "--device", "cpu", "--threads", "1", "--output", str(path)])
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == list(QUICK)
    for row in rows:
        assert all(row.values())
        times = [float(value) for key, value in row.items() if key.endswith("_ms")]
        assert len(times) == 2 * 2 * (len(STAGES) + 1) + 2 * 2 + 2
        assert all(time > 0 for time in times)
        assert float(row["peak_memory_mib"]) >= 0
        assert {"device", "threads", "torch", "commit", "date"} <= set(row)
    printed = capsys.readouterr().out
    assert printed.count("| mlp-uncompressed |") == 3


def test_floor_counts_the_bytes_that_must_move():
    def floor(rank):
        case = Case(shapes=mlp(8, 16, 4), num_devices=3, rank=rank)
        return Measurement(case=case, stages=([], []), copy=6.0, draw=5.0, plain=[], peak_memory=0).floor

    assert floor(1) == 10  # a copy moves 2 K d numbers in 6 s; (3 K + 1) d take 10 s
    assert floor(None) == 6 + 5


@pytest.mark.parametrize("rank", [1, None])
def test_plain_loop_sends_what_the_devices_ask_for(rank):
    case = Case(shapes=((6, 5), (3,)), num_devices=4, rank=rank)
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
