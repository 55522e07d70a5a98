"""Ray tracing: free space against Friis, a street, files that are refused, and what is said where it cannot work."""

import math
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.propagation import ray_tracer, ray_tracing
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.paths import draw_paths
from laser_wireless.channels.propagation.ray_tracing import RayTraced, Scene, load_traced, trace_scene
from laser_wireless.channels.segments import Grid

C = 299_792_458.0
NOW = torch.zeros(1, dtype=torch.float64)
FREE_SPACE = Scene(name="empty", base_station=[0.0, 0.0, 10.0], positions=[[50.0, 0.0, 1.5], [0.0, 80.0, 1.5]])


@pytest.fixture(scope="module")
def free_space(tmp_path_factory):
    pytest.importorskip("sionna.rt", exc_type=ImportError)
    file = str(tmp_path_factory.mktemp("rays") / "empty.npz")
    trace_scene(FREE_SPACE, num_devices=2, num_rx_antennas=3, file=file)
    return file


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    pytest.importorskip("sionna.rt", exc_type=ImportError)
    file = str(tmp_path_factory.mktemp("rays") / "street.npz")
    trace_scene(Scene(num_rays=20_000, max_depth=2), num_devices=4, num_rx_antennas=2, file=file)
    return file


def test_free_space_follows_friis(free_space):
    """|a| = wavelength / (4 pi d), its phase that of the way, tau = d / c."""
    traced = load_traced(free_space)
    assert traced.a.shape == (2, 3, 1)
    distance = (traced.positions - torch.tensor([0.0, 0.0, 10.0])).norm(dim=-1)
    wavelength = C / 3.5e9
    expected = (wavelength / (4 * math.pi * distance)).float()
    torch.testing.assert_close(traced.a.abs(), expected.reshape(-1, 1, 1).expand(-1, 3, 1), rtol=1e-3, atol=0)
    torch.testing.assert_close(traced.tau[:, 0], distance / C, rtol=1e-5, atol=0)
    middle = traced.a[:, 1, 0] * torch.polar(torch.ones(2), (2 * math.pi * (distance / wavelength % 1)).float())
    assert middle.angle().abs().max() < 0.05
    unit = (torch.tensor([0.0, 0.0, 10.0]) - traced.positions) / distance[:, None]
    torch.testing.assert_close(traced.direction[:, 0].double(), unit, atol=1e-5, rtol=0)


def test_antennas_stand_half_a_wavelength_apart_across_the_yaw(free_space):
    steps = load_traced(free_space).a[:, 1:, 0] / load_traced(free_space).a[:, :-1, 0]
    across = 80 / math.hypot(80, 8.5)
    assert steps[0].angle().abs().max() < 1e-3  # broadside
    torch.testing.assert_close((steps[1].angle() / math.pi).abs(), torch.full((2,), across), atol=5e-3, rtol=0)


def test_street_gives_every_device_paths(street):
    model = RayTraced(file=street)
    traced = load_traced(street)
    assert (model.link_gain(4, 2) > 10**-13).all()
    present = (traced.a != 0).any(1)
    assert (present[:, 1:] <= present[:, :-1]).all()  # fillers last, paths by their delay
    assert (traced.tau.diff(dim=-1)[present[:, 1:]] >= 0).all()
    assert traced.a.shape[2] > 1
    assert ((traced.positions[:, :2] - torch.tensor([-33.0, 0.0])).norm(dim=-1) < 210).all()
    h = Multipath(paths=model)(4, 2, Grid(num_slots=1, symbols_per_cell=2), round=0, generator=seeded(1))
    assert h.shape == (4, 2, 1, 1)


def test_a_file_that_exists_is_not_traced_again(free_space, monkeypatch):
    monkeypatch.setattr(ray_tracing, "trace_scene", None)
    assert RayTraced(file=free_space, scene=FREE_SPACE).traced(2, 3).a.shape == (2, 3, 1)


# pure torch from here on: a file that a test writes itself


@pytest.fixture
def written(tmp_path):
    """Two devices, two antennas, two paths and a filler, the second device without its second path."""
    a = np.array([[[3, 1j, 0], [3j, 1, 0]], [[0.1, 0, 0], [0.1, 0, 0]]], dtype=np.complex64) * 1e-4
    tau = np.array([[2e-7, 5e-7, 0], [3e-7, 0, 0]])
    direction = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0]], [[-1, 0, 0], [0, 0, 0], [0, 0, 0]]], dtype=np.float32)
    scene = Scene(name="empty", base_station=[0.0, 0.0, 0.0], positions=[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    file = tmp_path / "paths.npz"
    request = ray_tracing.json.dumps(scene.request(2, 2))
    np.savez(file, a=a, tau=tau, direction=direction, positions=np.array(scene.positions), request=request)
    return str(file)


def draw(model, times=NOW, round=0, state=None):
    return draw_paths(model, 2, 2, times, round=round, generator=seeded(round), state=state)


def test_gains_are_normalised_as_asked(written):
    gain = RayTraced(file=written).link_gain(2, 2)
    torch.testing.assert_close(gain, torch.tensor([10e-8, 1e-10]))
    for normalise, expected in {"none": gain, "device": torch.ones(2), "mean": gain / gain.mean()}.items():
        a = draw(RayTraced(file=written, normalise=normalise))[0]
        torch.testing.assert_close(a.abs().square().sum((2, 3)).mean(1), expected)


def test_delays_count_from_the_first_path_or_from_transmission(written):
    excess = draw(RayTraced(file=written))[1]
    absolute = draw(RayTraced(file=written, delays="absolute"))[1]
    torch.testing.assert_close(excess, torch.tensor([[0, 3e-7, 0], [0, 0, 0]], dtype=torch.float64))
    torch.testing.assert_close(absolute, torch.tensor([[2e-7, 5e-7, 0], [3e-7, 0, 0]], dtype=torch.float64))


def test_phases_turn_from_round_to_round_as_asked(written, global_rng_untouched):
    def turns(phase):
        model = RayTraced(file=written, phase=phase)
        (first, _, state), (second, _, _) = draw(model), draw(model, round=1)
        assert state["velocities"].shape == (2, 3)
        torch.testing.assert_close(first.abs(), second.abs())
        return (second / first)[0, :, :2, 0]

    torch.testing.assert_close(turns("fixed"), torch.ones(2, 2, dtype=torch.complex64))
    common = turns("device")
    torch.testing.assert_close(common, common[0, 0].expand(2, 2))
    each = turns("path")
    torch.testing.assert_close(each[0], each[1])  # equal at the antennas: angles stay
    assert (each[0, 0] - each[0, 1]).abs() > 0.01


def test_phases_of_the_paths_are_uniform_and_the_mean_power_one(written):
    model = RayTraced(file=written)
    h = torch.stack([draw(model, round=round)[0] for round in range(1500)])[:, 0, 0, :, 0]
    assert_distributed(h[:, 0].angle(), "uniform", -math.pi, 2 * math.pi)
    power = h.sum(1).abs().square()  # 0.9 + 0.1 + 2 sqrt(0.09) cos
    assert_mean(power, mean=1, variance=2 * 0.09)


def test_motion_turns_a_path_by_its_doppler_shift(written):
    times = torch.tensor([0.0, 2e-3], dtype=torch.float64)
    model = RayTraced(file=written, phase="fixed", speed_m_s=10.0)
    a, _, state = draw(model, times)
    assert state["velocities"].norm(dim=-1).tolist() == pytest.approx([10.0, 10.0])
    state = {"velocities": torch.tensor([[10.0, 3.0, 0.0], [10.0, 0.0, 0.0]])}
    a, _, after = draw(model, times, state=state)
    turns = (a[:, 0, :, 1] / a[:, 0, :, 0]).angle() / (2 * math.pi)
    hertz = 3.5e9 / C
    expected = torch.tensor([10 * hertz * 2e-3, 3 * hertz * 2e-3])
    torch.testing.assert_close(turns[0, :2], expected, atol=1e-5, rtol=0)
    assert turns[1, 0].item() == pytest.approx(-10 * hertz * 2e-3, abs=1e-5)
    assert after is state


def test_a_round_reads_no_value_on_the_host(written):
    model = RayTraced(file=written, normalise="mean", speed_m_s=1.0)
    model.traced(2, 2)  # the file is read once
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = None
        for round in range(2):
            a, tau, state = model.advance(2, 2, torch.zeros(5), round=round, generator=seeded(round), state=state)
    assert a.shape == (2, 2, 3, 5)
    assert tau.shape == (2, 3)


def test_file_of_other_numbers_or_another_scene_is_refused(written):
    with pytest.raises(ValueError, match=r"paths\.npz was traced for 2 devices and 2 antennas, not 3 and 2"):
        RayTraced(file=written).traced(3, 2)
    other = Scene(name="munich", max_depth=1)
    with pytest.raises(ValueError, match=r"paths\.npz was traced from another scene \(name, .*max_depth"):
        RayTraced(file=written, scene=other).traced(2, 2)


def test_missing_file_without_a_scene_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist; give a scene"):
        RayTraced(file=str(tmp_path / "none.npz")).traced(1, 1)


def test_truncated_or_foreign_file_is_refused_by_name(written, tmp_path):
    with open(written, "rb") as file:
        content = file.read()
    for name, wrong in {"short.npz": content[:-200], "half.npz": content[: len(content) // 2], "text.npz": b"hello"}.items():
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(ValueError, match=f"{name} is not a complete file of traced paths"):
            load_traced(str(tmp_path / name))
    np.savez(tmp_path / "other.npz", h=np.ones(3))
    with pytest.raises(ValueError, match=r"other\.npz is not a complete file"):
        load_traced(str(tmp_path / "other.npz"))
    with np.load(written) as right:
        arrays = dict(right)
    np.savez(tmp_path / "ragged.npz", **{**arrays, "tau": arrays["tau"][:1]})
    with pytest.raises(ValueError, match=r"ragged\.npz holds arrays that do not fit each other"):
        load_traced(str(tmp_path / "ragged.npz"))


# where tracing cannot work


def fake_drjit(monkeypatch, version):
    drjit = types.ModuleType("drjit")
    drjit.JitBackend = types.SimpleNamespace(CUDA=0)
    drjit.has_backend = lambda backend: False
    drjit.detail = types.SimpleNamespace(llvm_version=lambda: version)
    monkeypatch.setitem(sys.modules, "drjit", drjit)


@pytest.mark.parametrize(
    ("version", "found"), [((15, 0, 6), r"15\.0\.6"), ((16, 0, 6), r"16\.0\.6"), ((-1, -1, -1), "none")]
)
def test_llvm_that_would_abort_is_refused(monkeypatch, version, found):
    fake_drjit(monkeypatch, version)
    monkeypatch.setitem(sys.modules, "sionna.rt", None)
    with pytest.raises(
        ImportError, match=f"needs LLVM >= 17, found {found}: apt-get install libllvm19, .*DRJIT_LIBLLVM_PATH"
    ):
        ray_tracer.load_tracer()


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "drjit", None)
    with pytest.raises(ImportError, match=r"needs Sionna RT: pip install 'laser-wireless\[rt\]'"):
        ray_tracer.load_tracer()
    fake_drjit(monkeypatch, (19, 1, 7))
    monkeypatch.setitem(sys.modules, "sionna.rt", None)
    with pytest.raises(ImportError, match=r"did not load .*pip install 'laser-wireless\[rt\]'"):
        ray_tracer.load_tracer()


def ended(code, stderr):
    return lambda command, **options: subprocess.CompletedProcess(command, code, "", stderr)


@pytest.mark.parametrize(
    ("code", "stderr", "error", "message"),
    [
        (-6, "LLVM ERROR: Cannot select: fmaximum", RuntimeError, "code -6: LLVM ERROR.*apt-get install libllvm19"),
        (1, "", RuntimeError, "code 1: no message"),
        (3, 'warning\n["ImportError", "needs LLVM"]', ImportError, "needs LLVM"),
        (3, '["ValueError", "no path"]', ValueError, "no path"),
    ],
)
def test_end_of_the_tracer_is_told(monkeypatch, tmp_path, code, stderr, error, message):
    monkeypatch.setattr(subprocess, "run", ended(code, stderr))
    with pytest.raises(error, match=message):
        RayTraced(file=str(tmp_path / "x.npz"), scene=FREE_SPACE).traced(2, 1)
    assert list(tmp_path.iterdir()) == []


def test_tracer_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    def endless(command, *, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", endless)
    with pytest.raises(RuntimeError, match="took longer than timeout_s = 2"):
        trace_scene(FREE_SPACE, num_devices=2, num_rx_antennas=1, file=str(tmp_path / "x.npz"), timeout_s=2)


KILLED = """\
from pathlib import Path
from laser_wireless.channels.propagation import ray_tracing
ray_tracing.ray_tracer.__file__ = "tracer.py"
scene = ray_tracing.Scene(name="empty", base_station=[0, 0, 10], positions=[[9, 0, 1]])
ray_tracing.trace_scene(scene, num_devices=1, num_rx_antennas=1, file="traced/paths.npz")
"""
TRACER = """\
import json, os, sys, time
assert json.load(open(sys.argv[1]))["num_devices"] == 1
open("pid.part", "w").write(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(60)
"""


def test_a_killed_run_leaves_neither_a_tracer_nor_a_file(tmp_path):
    for name, text in (("parent", KILLED), ("tracer", TRACER)):
        (tmp_path / f"{name}.py").write_text(text)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment)
    while not (tmp_path / "pid").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    tracer = Path("/proc", (tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while tracer.exists() and (tracer / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the tracer outlives the run that asked for it"
        time.sleep(0.05)
    assert [*(tmp_path / "traced").iterdir(), *temporary.iterdir()] == []


class FakeTracer:
    """As much of sionna.rt as `trace` touches before it solves."""

    PlanarArray = Transmitter = Receiver = staticmethod(lambda *args, **options: None)
    scene = types.SimpleNamespace(street="street.xml", files="module")

    @staticmethod
    def load_scene(name=None):
        return types.SimpleNamespace(add=lambda thing: None)


def trace_with(monkeypatch, heard, **changes):
    a = np.array(heard, dtype=np.complex64).reshape(-1, 1, 1)
    found = {"a": a, "tau": np.zeros((len(a), 1)), "direction": np.zeros((len(a), 1, 3))}
    monkeypatch.setattr(ray_tracer, "load_tracer", lambda: FakeTracer)
    monkeypatch.setattr(ray_tracer, "_solve", lambda rt, scene, request: found)
    monkeypatch.setattr(
        ray_tracer, "_covered_positions", lambda rt, scene, request, count: [[k, 0, 0] for k in range(count)]
    )
    return ray_tracer.trace({**FREE_SPACE.request(2, 1), **changes})


def test_devices_without_a_path_are_named_or_left_out(monkeypatch):
    with pytest.raises(ValueError, match=r"devices \[1\] have no path to the base station; move them or raise max_depth"):
        trace_with(monkeypatch, [1, 0])
    sampled = trace_with(monkeypatch, [0, 1, 2, 3], positions=None)
    assert sampled["positions"][:, 0].tolist() == [1, 2]
    assert sampled["a"].flatten().tolist() == [1, 2]
    with pytest.raises(ValueError, match="only 1 of 2 sampled positions have a path"):
        trace_with(monkeypatch, [0, 1, 0, 0], positions=None)


def test_unknown_scene_is_refused_with_the_known_ones(monkeypatch):
    with pytest.raises(ValueError, match=r"or one of \['street'\], got 'nowhere'"):
        trace_with(monkeypatch, [1, 1], name="nowhere")


def test_number_of_positions_must_be_that_of_the_devices(tmp_path):
    with pytest.raises(ValueError, match="positions must hold 3 devices, got 2"):
        trace_scene(FREE_SPACE, num_devices=3, num_rx_antennas=1, file=str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Scene(carrier_hz=0.0), "carrier_hz"),
        (lambda: Scene(name="florence"), "base_station must be given for scene 'florence'"),
        (lambda: Scene(base_station=[0.0, 1.0]), "base_station must be finite x, y, z"),
        (lambda: Scene(positions=[[0.0, 1.0, math.nan]]), "positions must be finite x, y, z"),
        (lambda: Scene(name="empty", base_station=[0.0, 0.0, 1.0]), "positions must be given in an empty scene"),
        (lambda: Scene(max_depth=-1), "max_depth"),
        (lambda: Scene(num_rays=0), "num_rays"),
        (lambda: Scene(min_distance_m=300.0), "min_distance_m < max_distance_m"),
        (lambda: Scene(bs_pattern="omni"), "bs_pattern must be "),
        (lambda: RayTraced(file="x", normalise="all"), "normalise must be "),
        (lambda: RayTraced(file="x", phase="random"), "phase must be "),
        (lambda: RayTraced(file="x", delays="none"), "delays must be "),
        (lambda: RayTraced(file="x", speed_m_s=math.nan), "speed_m_s"),
    ],
)
def test_bad_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
