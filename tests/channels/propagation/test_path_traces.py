"""Replayed paths: one snapshot for each round, turning with its Doppler shifts."""

import numpy as np
import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels.propagation.traces import PathTrace

RNG = np.random.default_rng(3)


def complex_array(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def path_file(tmp_path, **changed):
    arrays = {"a": complex_array(3, 2, 2, 4), "tau": RNG.uniform(0, 1e-6, (2, 4)), "nu": RNG.uniform(-9, 9, (2, 4))}
    np.savez(tmp_path / "p.npz", **(arrays | changed))
    return str(tmp_path / "p.npz"), arrays | changed


def test_replayed_paths_turn_with_their_doppler_shift(tmp_path):
    file, arrays = path_file(tmp_path)
    trace = PathTrace(file=file, tau_axes="device path", doppler_key="nu", normalize="none", devices=[1, 0])
    times = torch.tensor([0.0, 0.01, 5.0], dtype=torch.float64)
    a, tau = trace(2, 2, times, round=2, generator=seeded(0))
    assert torch.equal(tau, torch.from_numpy(arrays["tau"][[1, 0]]))
    turned = arrays["a"][2][..., None] * np.exp(2j * np.pi * arrays["nu"][:, None, :, None] * times.numpy())
    assert torch.allclose(a, torch.from_numpy(turned[[1, 0]]))
    still = PathTrace(file=file, tau_axes="device path", normalize="none")
    assert torch.equal(still(2, 2, times, round=1, generator=seeded(0))[0][..., 2], torch.from_numpy(arrays["a"][1]))


def test_replayed_paths_have_unit_power(tmp_path):
    file, _ = path_file(tmp_path)
    times = torch.zeros(1, dtype=torch.float64)
    for normalize, axes in (("file", (0, 1, 2)), ("device", (0, 2))):
        trace = PathTrace(file=file, tau_axes="device path", normalize=normalize, at_end="repeat")
        a = torch.stack([trace(2, 2, times, round=round, generator=seeded(0))[0] for round in range(3)])
        power = a.abs().square().sum(-2).squeeze(-1).mean(axes)
        assert torch.allclose(power, torch.ones_like(power))


def test_one_snapshot_of_paths_serves_all_rounds_and_delays_may_differ_between_antennas(tmp_path):
    file, arrays = path_file(tmp_path, a=complex_array(2, 2, 4), tau=RNG.uniform(0, 1e-6, (2, 2, 4)))
    trace = PathTrace(file=file, a_axes="device antenna path", tau_axes="device antenna path", normalize="none")
    a, tau = trace(2, 2, torch.zeros(1, dtype=torch.float64), round=99, generator=seeded(0))
    assert torch.equal(a[..., 0], torch.from_numpy(arrays["a"]))
    assert torch.equal(tau, torch.from_numpy(arrays["tau"]))


def test_bad_path_files_are_refused(tmp_path):
    file, _ = path_file(tmp_path)
    with pytest.raises(ValueError, match=r"p\.npz: tau must fit the amplitudes over round, device, antenna, path"):
        PathTrace(file=file, tau_axes="device antenna")
    with pytest.raises(ValueError, match=r"p\.npz: a must hold real numbers, got complex128"):
        PathTrace(file=file, tau_key="a")
    with pytest.raises(ValueError, match="holds no array 'delay'"):
        PathTrace(file=file, tau_key="delay")
    with pytest.raises(ValueError, match=r"p\.npz ends: it holds 3 rounds, round 3"):
        PathTrace(file=file, tau_axes="device path")(2, 1, torch.zeros(1), round=3, generator=seeded(0))
