"""Replayed traces: the file's numbers arrive in the right places, whatever the format, and bad files are refused by name."""

import pickle
import sys

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from helpers.statistical import seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.benchmarks.assembly import BadConfiguration, build
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.traces import PathTrace, Trace
from laser_wireless.channels.segments import Grid

RNG = np.random.default_rng(3)
ONE_SLOT = Grid(num_slots=1, symbols_per_cell=4)


def complex_array(*shape, dtype=np.complex128):
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)


def write_npz(path, h):
    np.savez(path, h=h)


def write_compressed(path, h):
    np.savez_compressed(path, h=h)


def write_mat(path, h):
    scipy.io.savemat(path, {"h": h}, do_compression=True)


def write_hdf5(path, h):
    with h5py.File(path, "w") as file:
        file["h"] = h


def write_mat_73(path, h):
    """As MATLAB does: a header of 512 bytes, then HDF5 with reversed axes and {real, imag} compounds."""
    compound = np.zeros(h.T.shape, dtype=[("real", np.float64), ("imag", np.float64)])
    compound["real"], compound["imag"] = h.T.real, h.T.imag
    with h5py.File(path, "w", userblock_size=512) as file:
        file["h"] = compound
        file["#refs#/x"] = np.zeros(1)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


FORMATS = {
    "npz": ("h.npz", write_npz),
    "npz compressed": ("h.npz", write_compressed),
    "mat 5": ("h.mat", write_mat),
    "mat 7.3": ("h.mat", write_mat_73),
    "HDF5": ("h.h5", write_hdf5),
}


def draw(trace, num_devices=2, num_rx_antennas=1, grid=ONE_SLOT, *, round=0):
    return trace(num_devices, num_rx_antennas, grid, round=round, generator=seeded(0))


def saved(tmp_path, **arrays):
    path = tmp_path / "h.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_gains(tmp_path, name):
    file, write = FORMATS[name]
    h = complex_array(5, 3, 2)
    write(tmp_path / file, h)
    trace = Trace(file=str(tmp_path / file), axes="time device antenna", normalize="none")
    for round in range(5):
        assert torch.equal(draw(trace, 3, 2, round=round)[:, :, 0, 0], torch.from_numpy(h[round]))


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_is_refused_by_name(tmp_path, name):
    file, write = FORMATS[name]
    write(tmp_path / file, complex_array(50, 4))
    whole = (tmp_path / file).read_bytes()
    for length in (0, 1, 3, 7, 40, 200, 600, len(whole) // 2, len(whole) - 1):
        (tmp_path / file).write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{file} cannot be read: it is truncated, damaged or not a .* file"):
            Trace(file=str(tmp_path / file), axes="time device")


def write_npy(path, h):
    np.save(path, h)


def write_csv_of_numpy(path, h):
    np.savetxt(path, h, delimiter=",", header="gains of two devices")


def write_csv_of_matlab(path, h):
    """As writematrix does."""
    path.write_text("".join(",".join(f"{x.real!r}{x.imag:+.17g}i" for x in row) + "\n" for row in h.tolist()))


def write_csv_of_pairs(path, h):
    np.savetxt(path, h.view(np.float64), delimiter=";", fmt="%.17g", header="re0;im0;re1;im1", comments="")


TABLES = {
    "npy": ("h.npy", write_npy, "time device"),
    "csv of NumPy": ("h.csv", write_csv_of_numpy, "time device"),
    "csv of MATLAB": ("h.csv", write_csv_of_matlab, "time device"),
    "csv of pairs": ("h.csv", write_csv_of_pairs, "time device real_imag"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_file_without_names_holds_one_array(tmp_path, name):
    file, write, axes = TABLES[name]
    h = complex_array(5, 2)
    h[1, 1], h[2, 0] = -1e-30 + 3e20j, complex(-0.0, 2.0)
    write(tmp_path / file, h)
    trace = Trace(file=str(tmp_path / file), axes=axes, normalize="none")
    for round in range(5):
        assert torch.equal(draw(trace, 2, round=round)[:, 0, 0, 0], torch.from_numpy(h[round]))


@pytest.mark.parametrize("name", TABLES)
def test_a_truncated_table_is_refused_by_name(tmp_path, name):
    """A text after its first lines, which say how wide it is; one cut in the last number of a pair cannot be told apart."""
    file, write, axes = TABLES[name]
    write(tmp_path / file, complex_array(20, 2))
    whole = (tmp_path / file).read_bytes()
    first = 0 if file == "h.npy" else len(b"".join(whole.splitlines(keepends=True)[:2]))
    for length in range(first, len(whole), 7):
        rest = whole[:length]
        cut = rest.rsplit(b"\n", 1)[-1]
        if file == "h.csv" and (not cut.strip() or whole[length : length + 1] == b"\n" or cut.count(b";") == 3):
            continue
        (tmp_path / file).write_bytes(rest)
        with pytest.raises(ValueError, match=rf"{file}( cannot be read: it is truncated, damaged or not a .* file|: .*)"):
            Trace(file=str(tmp_path / file), axes=axes)


def test_npy_of_many_axes_keeps_its_precision(tmp_path):
    for dtype in (np.complex64, np.complex128):
        np.save(tmp_path / "h.npy", complex_array(4, 3, 2, 5, dtype=dtype))
        trace = Trace(file=str(tmp_path / "h.npy"), axes="round device antenna frequency")
        assert trace._gains.dtype == dtype


def test_columns_of_a_csv_are_arrays_by_their_names(tmp_path):
    (tmp_path / "h.csv").write_text('time,"real",imag\n0,1.5,-2\n1,0.25,4e-1\n')
    trace = Trace(file=str(tmp_path / "h.csv"), axes="time", key=["real", "imag"], normalize="none")
    assert draw(trace, 1, round=1).item() == 0.25 + 0.4j
    with pytest.raises(ValueError, match=r"h\.csv holds no array 'phase'; it holds time, real, imag"):
        Trace(file=str(tmp_path / "h.csv"), axes="time", key=["real", "phase"])


BAD_TABLES = {
    "empty": ("", "it holds no numbers"),
    "only comments": ("# a\n\n# b\n", "it holds no numbers"),
    "only names": ("re,im\n", r"it holds names, \['re', 'im'\], and no numbers"),
    "ragged": ("1j,2j\n3j\n", r"line 2 must have 2 cells, as the first has, got 1"),
    "word": ("1j,2j\n3j,nothing\n", r"line 2, column 2 must be a complex number, like the first cell, got 'nothing'"),
    "cut": ("1+1j,2+1j\n3+1j,4.2\n", r"line 2, column 2 must be a complex number, like the first cell, got '4.2'"),
    "mixed": ("1,2\n3,4j\n", r"line 2, column 2 must be a real number, like the first cell, got '4j'"),
    "real": ("1,2\n3,4\n", r"gains must be complex, got float64"),
    "decimal commas": ("1,5;2,5\n1,0;1,0\n", r"it holds names|must be"),
    "not finite": ("nan+1j,2j\n3j,4j\n", r"1 of 4 values are not finite, the first at time 0, device 0"),
    "other bytes": (b"\xff\xfe\x00\x01", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_csv_that_is_no_table_of_gains_is_refused(tmp_path, name):
    content, message = BAD_TABLES[name]
    (tmp_path / "h.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"h\.csv.*{message}"):
        Trace(file=str(tmp_path / "h.csv"), axes="time device")


@pytest.mark.parametrize("content", [{"h": 1}, [1j, None], "text"], ids=str)
def test_npy_of_objects_is_refused(tmp_path, content):
    np.save(tmp_path / "h.npy", np.array(content, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"h\.npy cannot be read.*Object arrays cannot be loaded"):
        Trace(file=str(tmp_path / "h.npy"), axes="time")


def test_npy_has_no_names(tmp_path):
    np.save(tmp_path / "h.npy", complex_array(4, 2))
    with pytest.raises(ValueError, match=r"h\.npy holds no array 'h'; it holds none at all; leave key out"):
        Trace(file=str(tmp_path / "h.npy"), axes="time device", key="h")
    np.savez(tmp_path / "g.npz", h=np.ones(3))
    (tmp_path / "g.npz").rename(tmp_path / "g.npy")
    with pytest.raises(ValueError, match=r"g\.npy cannot be read"):
        Trace(file=str(tmp_path / "g.npy"), axes="time")


def test_a_damaged_byte_is_refused(tmp_path):
    file = tmp_path / "h.npz"
    write_npz(file, complex_array(50, 4))
    damaged = bytearray(file.read_bytes())
    damaged[1000] ^= 0xFF
    file.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"h\.npz cannot be read.*CRC"):
        Trace(file=str(file), axes="time device")


def test_parts_may_be_stored_in_two_arrays_one_axis_or_a_compound(tmp_path):
    h = complex_array(4, 2)
    compound = np.zeros(h.shape, dtype=[("re", np.float64), ("im", np.float64)])
    compound["re"], compound["im"] = h.real, h.imag
    file = saved(tmp_path, re=h.real, im=h.imag, both=np.stack([h.real, h.imag]), compound=compound)
    options = [
        {"axes": "time device", "key": ["re", "im"]},
        {"axes": ["real_imag", "time", "device"], "key": "both"},
        {"axes": "time, device", "key": "compound"},
    ]
    for option in options:
        trace = Trace(file=file, normalize="none", **option)
        assert torch.equal(draw(trace, round=3).flatten(), torch.from_numpy(h[3]))


def test_axes_come_in_any_order_and_precision_follows_the_file(tmp_path):
    h = complex_array(2, 1, 3, 4, 5, dtype=np.complex64)  # antenna, -, frequency, device, round
    trace = Trace(file=saved(tmp_path, h=h), axes="antenna _ frequency device round", normalize="none")
    grid = Grid(num_slots=2, num_frequency_blocks=3, symbols_per_cell=1)
    found = draw(trace, 4, 2, grid, round=1)
    assert found.dtype == torch.complex64
    assert found.shape == (4, 2, 1, 3)
    assert torch.equal(found[:, :, 0], torch.from_numpy(h[:, 0, :, :, 1].transpose(2, 0, 1).copy()))


def test_without_a_sample_rate_samples_are_slots_and_rounds_follow_each_other(tmp_path):
    h = complex_array(6, 1)
    trace = Trace(file=saved(tmp_path, h=h), axes="time device", normalize="none")
    grid = Grid(num_slots=2, symbols_per_cell=1)
    for round in range(3):
        assert torch.equal(
            draw(trace, 1, grid=grid, round=round).flatten(), torch.from_numpy(h[2 * round : 2 * round + 2, 0])
        )
    with pytest.raises(
        ValueError, match=r"h\.npz ends: round 3 needs time samples up to 7, it holds 0 to 5, enough for 3 rounds"
    ):
        draw(trace, 1, grid=grid, round=3)


def test_a_linear_ramp_is_interpolated_exactly(tmp_path):
    """h = (t + 10) + j f on samples is the same function between them."""
    t, f = np.arange(40)[:, None] / 100.0, (np.arange(9) - 4) * 15e3
    file = saved(tmp_path, h=t + 10 + 1j * f)
    options = {"sample_rate_hz": 100.0, "round_interval_s": 0.05, "frequency_step_hz": 15e3}
    trace = Trace(file=file, axes="time frequency", normalize="none", **options)
    grid = Grid(num_slots=3, num_frequency_blocks=4, symbols_per_cell=1, slot_s=0.0013, block_hz=20e3)
    found = draw(trace, 1, grid=grid, round=2)[0, 0]
    seconds = 0.1 + 0.0013 * torch.arange(3, dtype=torch.float64)
    hertz = (torch.arange(4, dtype=torch.float64) - 1.5) * 20e3
    expected = torch.complex((seconds + 10)[:, None].expand(3, 4), hertz.expand(3, 4))
    assert torch.allclose(found, expected, rtol=1e-12)
    nearest = Trace(file=file, axes="time frequency", normalize="none", interpolation="nearest", **options)
    expected = torch.complex(torch.full((3, 4), 10.1), torch.tensor([-30e3, -15e3, 15e3, 30e3]).expand(3, 4))
    assert torch.allclose(draw(nearest, 1, grid=grid, round=2)[0, 0], expected.to(torch.complex128))


def test_the_error_at_the_end_counts_whole_rounds(tmp_path):
    file = saved(tmp_path, h=complex_array(101, 1))  # one second
    trace = Trace(file=file, axes="time device", sample_rate_hz=100.0, round_interval_s=0.3)
    grid = Grid(num_slots=2, symbols_per_cell=1, slot_s=0.2)
    draw(trace, 1, grid=grid, round=2)  # 0.6 and 0.8 s
    with pytest.raises(ValueError, match="round 3 needs time samples up to 110, it holds 0 to 100, enough for 3 rounds"):
        draw(trace, 1, grid=grid, round=3)


@pytest.mark.parametrize(
    ("at_end", "expected"), [("repeat", [0, 1, 2, 3, 0, 1, 2, 3, 0]), ("reflect", [0, 1, 2, 3, 2, 1, 0, 1, 2])]
)
@pytest.mark.parametrize("axes", ["round device", "time device"])
def test_looping(tmp_path, axes, at_end, expected):
    h = complex_array(4, 1)
    trace = Trace(file=saved(tmp_path, h=h), axes=axes, at_end=at_end, normalize="none")
    found = [draw(trace, 1, round=round).item() for round in range(9)]
    assert found == h[expected, 0].tolist()


def test_repeating_interpolates_from_the_last_sample_to_the_first(tmp_path):
    options = {"axes": "time", "sample_rate_hz": 1.0, "round_interval_s": 0.5, "normalize": "none"}
    file = saved(tmp_path, h=np.array([1, 3, 5]) + 0j)
    repeat, reflect = (Trace(file=file, at_end=end, **options) for end in ("repeat", "reflect"))
    assert [draw(repeat, 1, round=r).item().real for r in range(7)] == [1, 2, 3, 4, 5, 3, 1]
    assert [draw(reflect, 1, round=r).item().real for r in range(7)] == [1, 2, 3, 4, 5, 4, 3]


def test_a_single_sample_may_be_reflected(tmp_path):
    trace = Trace(file=saved(tmp_path, h=np.ones((1, 1)) + 0j), axes="time device", at_end="reflect")
    assert draw(trace, 1, round=7).item() == 1


def test_normalisation_makes_the_mean_power_one(tmp_path):
    h = complex_array(50, 3) * np.array([1e-4, 1e-5, 1e-3])
    file = saved(tmp_path, h=h)
    power = {}
    for normalize in ("file", "device", "none"):
        trace = Trace(file=file, axes="time device", normalize=normalize)
        gains = torch.stack([draw(trace, 3, round=round).flatten() for round in range(50)])
        power[normalize] = gains.abs().square().mean(0)
    raw = torch.from_numpy(h).abs().square().mean(0)
    assert torch.allclose(power["none"], raw)
    assert torch.allclose(power["device"], torch.ones(3, dtype=torch.float64))
    assert torch.allclose(power["file"], raw / raw.mean())


def test_devices_are_chosen_and_shuffled(tmp_path):
    h = np.arange(1, 9)[None] + 0j
    file = saved(tmp_path, h=h)
    options = {"file": file, "axes": "round device", "normalize": "none"}
    assert draw(Trace(**options, devices=[6, 2, 4])).flatten().tolist() == [7, 3]
    first, again, other = (draw(Trace(**options, shuffle_seed=seed), 8).flatten().tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(x.real for x in first) == list(range(1, 9))
    assert {x.real for x in draw(Trace(**options, devices=[5, 2], shuffle_seed=1)).flatten().tolist()} == {6, 3}


def test_a_trace_drives_the_uplink_and_draws_nothing(tmp_path, global_rng_untouched):
    trace = Trace(file=saved(tmp_path, h=complex_array(3, 4)), axes="round device")
    generator = seeded(5)
    before = generator.get_state()
    trace(4, 1, ONE_SLOT, round=0, generator=generator)
    assert torch.equal(generator.get_state(), before)
    uplink = AnalogUplink(energy_budget=1e6, fading=trace)
    u = torch.randn(4, 6, generator=seeded(1))
    estimate = uplink.aggregate(u, (6,), round=2, streams=Streams(0)).estimate
    assert torch.allclose(estimate, u.mean(0), atol=0.05)


def test_a_trace_is_built_from_plain_options(tmp_path):
    h = complex_array(4, 2)
    file = saved(tmp_path, g=h, re=h.real, im=h.imag)
    for key in ("g", ["re", "im"]):
        options = {"file": file, "axes": "time device", "key": key, "at_end": "repeat", "devices": [1, 0]}
        trace = build({"class_path": "laser_wireless.channels.propagation.traces.Trace", "init_args": options}, "fading")
        expected = torch.from_numpy(h[1, ::-1].copy()) / np.sqrt(np.mean(np.abs(h) ** 2))
        torch.testing.assert_close(draw(trace, round=5).flatten(), expected)
    with pytest.raises(BadConfiguration, match=r"fading: Trace: trace file missing\.npz does not exist"):
        build(
            {
                "class_path": "laser_wireless.channels.propagation.traces.Trace",
                "init_args": {"file": "missing.npz", "axes": "time"},
            },
            "fading",
        )


def test_a_pickled_trace_carries_no_data(tmp_path):
    trace = Trace(file=saved(tmp_path, h=complex_array(500, 4)), axes="round device")
    packed = pickle.dumps(trace)
    assert len(packed) < 1000
    assert torch.equal(draw(pickle.loads(packed), 4, round=7), draw(trace, 4, round=7))
    assert pickle.loads(packed) == trace


def test_replay_reads_nothing_back(tmp_path):
    file = saved(tmp_path, h=complex_array(20, 2))
    traces = [
        Trace(file=file, axes="time device"),
        Trace(file=file, axes="time device", sample_rate_hz=10.0, round_interval_s=0.25),
    ]
    np.savez(tmp_path / "paths.npz", a=complex_array(5, 2, 1, 3), tau=np.ones((5, 2, 3)), nu=np.ones((5, 2, 3)))
    paths = PathTrace(file=str(tmp_path / "paths.npz"), doppler_key="nu")
    grid = Grid(num_slots=2, num_frequency_blocks=2, symbols_per_cell=1, slot_s=1e-3, block_hz=1e3)
    with FakeTensorMode():
        for trace in (*traces, Multipath(paths=paths)):
            for round in range(2):
                assert draw(trace, grid=grid, round=round).shape[:2] == (2, 1)


def trace_of(**options):
    """A trace of `h` with shape [2, 3] unless another is given."""
    return lambda tmp_path: Trace(**({"file": saved(tmp_path, h=complex_array(2, 3)), "axes": "time device"} | options))


BAD = {
    "axes 2": (trace_of(axes="time"), r"h\.npz: axes must name each of the 2 axes of shape \(2, 3\), got \['time'\]"),
    "axes unknown": (trace_of(axes="time user"), r"axes must be named round, time, .* got 'user'"),
    "axes twice": (trace_of(axes="time time"), "axes must name time once"),
    "axes _": (trace_of(axes="time _"), r'h\.npz: an axis named "_" must have length 1, got 3'),
    "key": (trace_of(key="g"), r"h\.npz holds no array 'g'; it holds h"),
    "keys": (trace_of(key=["h", "h", "h"]), "key must be one name, or two"),
    "key parts": (trace_of(key=["h", "h"]), r"real and imaginary part must be real arrays of one shape, got h complex128"),
    "part axis": (trace_of(axes="time real_imag"), r"axis real_imag must have length 2 and hold real numbers, got 3 of"),
    "at_end": (trace_of(at_end="loop"), 'at_end must be "error", "repeat" or "reflect", got .loop.'),
    "normalize": (trace_of(normalize="antenna"), 'normalize must be "file", "device" or "none"'),
    "interpolation": (trace_of(interpolation="cubic"), 'interpolation must be "linear" or "nearest"'),
    "rate": (trace_of(sample_rate_hz=float("nan")), "sample_rate_hz must be finite and > 0, got nan"),
    "rate alone": (trace_of(sample_rate_hz=1.0), "round_interval_s must be given with sample_rate_hz"),
    "rate of rounds": (trace_of(axes="round device", sample_rate_hz=1.0), "sample_rate_hz belongs to an axis named time"),
    "interval alone": (trace_of(round_interval_s=1.0), "round_interval_s belongs to a time axis with sample_rate_hz"),
    "step alone": (trace_of(frequency_step_hz=1.0), "frequency_step_hz belongs to an axis named frequency"),
    "devices": (trace_of(devices=[0, 3]), "devices must be distinct numbers from 0 to 2"),
    "devices twice": (trace_of(devices=[0, 0]), "devices must be distinct"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(tmp_path, name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        build(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan)])
def test_values_that_are_not_finite_are_refused_with_their_place(tmp_path, bad):
    h = complex_array(4, 3)
    h[2, 1] = h[3, 0] = bad
    with pytest.raises(ValueError, match=r"h\.npz: 2 of 12 values are not finite, the first at time 2, device 1"):
        Trace(file=saved(tmp_path, h=h), axes="time device")


def test_gains_without_power_are_refused(tmp_path):
    h = complex_array(4, 3)
    h[:, 1] = 0
    file = saved(tmp_path, h=h)
    with pytest.raises(ValueError, match=r"h\.npz: devices \[1\] has no power and cannot be normalised"):
        Trace(file=file, axes="time device", normalize="device")
    with pytest.raises(ValueError, match="the file has no power"):
        Trace(file=saved(tmp_path, h=0 * h), axes="time device")


def test_unusable_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.npz does not exist"):
        Trace(file=str(tmp_path / "missing.npz"), axes="time")
    (tmp_path / "h.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"h\.txt must end in \.npy, \.npz, \.csv, \.mat, \.h5"):
        Trace(file=str(tmp_path / "h.txt"), axes="time")
    with pytest.raises(ValueError, match="gains must be complex, got float64; store h \\+ 0j"):
        Trace(file=saved(tmp_path, h=np.ones(3)), axes="time")
    with pytest.raises(ValueError, match=r"the array is empty, of shape \(0, 2\)"):
        Trace(file=saved(tmp_path, h=np.ones((0, 2)) + 0j), axes="time device")
    with pytest.raises(ValueError, match="holds 2 arrays, g, h; name one by `key`"):
        Trace(file=saved(tmp_path, g=np.ones(3), h=np.ones(3)), axes="time")
    with pytest.raises(ValueError, match=r"cannot be read.*pickle"):
        Trace(file=saved(tmp_path, h=np.array([object()])), axes="time")


def test_too_much_asked_of_a_trace_is_refused(tmp_path):
    file = saved(tmp_path, h=complex_array(4, 3))
    trace = Trace(file=file, axes="round device")
    with pytest.raises(ValueError, match=r"h\.npz serves 3 devices, 4 were asked for"):
        draw(trace, 4)
    with pytest.raises(ValueError, match="holds 1 receive antennas, 2 were asked for; name an axis antenna"):
        draw(trace, 3, 2)
    with pytest.raises(ValueError, match=r"h\.npz ends: it holds 4 rounds, round 4 \(counted from 0\) was asked for"):
        draw(trace, 3, round=4)
    wide = Grid(num_slots=1, num_frequency_blocks=5, symbols_per_cell=1, block_hz=1e3)
    with pytest.raises(ValueError, match="holds 3 frequencies, the grid has 5 blocks; give frequency_step_hz"):
        draw(Trace(file=file, axes="round frequency"), 1, grid=wide)
    with pytest.raises(ValueError, match="spans 1500 Hz, the centres of the grid's blocks 4000 Hz"):
        draw(Trace(file=file, axes="round frequency", frequency_step_hz=500.0), 1, grid=wide)
    sampled = Trace(file=file, axes="time device", sample_rate_hz=1.0, round_interval_s=1.0)
    with pytest.raises(ValueError, match="give the grid its slot_s"):
        draw(sampled, 3, grid=Grid(num_slots=2, symbols_per_cell=1))


def test_missing_h5py_names_the_remedy(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "h.h5", complex_array(2, 2))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"h\.h5 is an HDF5 file and needs h5py: pip install h5py"):
        Trace(file=str(tmp_path / "h.h5"), axes="time device")


def test_arrays_in_groups_are_named_by_their_path(tmp_path):
    h = complex_array(3, 2)
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["run1/h"], file["run2/h"] = h, 2 * h
    trace = Trace(file=str(tmp_path / "h.h5"), axes="round device", key="run2/h", normalize="none")
    assert torch.equal(draw(trace).flatten(), torch.from_numpy(2 * h[0]))


def test_a_trace_of_more_devices_says_which_are_meant(tmp_path):
    """50 devices in the file, 16 at the uplink: which, must be said."""
    file = saved(tmp_path, h=complex_array(4, 50))
    np.savez(tmp_path / "paths.npz", a=complex_array(4, 50, 1, 3), tau=np.ones((4, 50, 3)))
    paths = str(tmp_path / "paths.npz")
    message = r"npz holds 50 devices, 16 were asked for: say in `devices` which 16 of 0 to 49, or let shuffle_seed choose"
    uplink = AnalogUplink(energy_budget=1.0, fading=Trace(file=file, axes="round device"))
    with pytest.raises(ValueError, match=message):
        uplink.aggregate(torch.ones(16, 2), (2,), round=0, streams=Streams(0))
    with pytest.raises(ValueError, match=message):
        Multipath(paths=PathTrace(file=paths))(16, 1, ONE_SLOT, round=0, generator=seeded(0))
    last = list(range(34, 50))
    chosen = draw(Trace(file=file, axes="round device", devices=last), 16)
    assert torch.equal(chosen, draw(Trace(file=file, axes="round device"), 50)[34:])
    assert draw(Trace(file=file, axes="round device", shuffle_seed=3), 16).shape[0] == 16
    assert Multipath(paths=PathTrace(file=paths, devices=last))(16, 1, ONE_SLOT, round=0, generator=seeded(0)).shape[0] == 16
