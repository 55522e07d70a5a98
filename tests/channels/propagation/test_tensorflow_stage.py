"""Stages written in TensorFlow: shared memory, gradients, equality with torch; errors by name."""

import math
import os
import sys
import types
from importlib.util import find_spec

import pytest
import torch
from helpers.statistical import assert_distributed, seeded

from laser_wireless.channels.power_control.inversion import TruncatedInversion
from laser_wireless.channels.propagation import tensorflow_stage
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowChannel, TensorFlowFading
from laser_wireless.channels.round import Streams
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.uplinks.analog import AnalogUplink

GRID = Grid(num_slots=2, num_frequency_blocks=3, symbols_per_cell=4)
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.fixture(scope="module")
def tf():
    if find_spec("tensorflow") is None:
        pytest.importorskip("tensorflow", reason="extra tensorflow")
    return tensorflow_stage._tensorflow()


def randn(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=seeded(seed))


def send(function, x, *parameters, seed=3):
    channel = TensorFlowChannel(function=function, parameters=parameters)
    return channel(x, round=0, generator=seeded(seed))


def amplified(tf):
    """Superposition of saturating amplifiers, not holomorphic, and its twin in torch."""

    def in_tensorflow(x, seed, h):
        gain = 1 / (1 + 0.1 * tf.math.abs(x) ** 2)
        return tf.einsum("rk,kn->rn", h, x * tf.complex(gain, tf.zeros_like(gain)))

    def in_torch(x, h):
        return torch.einsum("rk,kn->rn", h, x / (1 + 0.1 * x.abs().square()))

    return in_tensorflow, in_torch


def test_channel_and_its_gradients_equal_a_torch_twin(tf):
    in_tensorflow, in_torch = amplified(tf)
    x, h, weights = randn(3, 50).requires_grad_(), randn(2, 3, seed=1).requires_grad_(), randn(2, 50, seed=2)
    found, expected = send(in_tensorflow, x, h), in_torch(x, h)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad((found * weights).abs().square().sum(), (x, h)),
        torch.autograd.grad((expected * weights).abs().square().sum(), (x, h)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_gradcheck_of_a_channel(tf, compiled):
    function = tf.function(amplified(tf)[0]) if compiled else amplified(tf)[0]
    x, h = randn(2, 2).requires_grad_(), randn(1, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, h: send(function, x, h), (x, h))


def test_gradcheck_of_a_fading(tf):
    def fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed, mean):
        shape = (num_devices, num_rx_antennas, num_slots, num_frequency_blocks)
        parts = tf.random.stateless_normal((2, *shape), seed, dtype=tf.float64)
        return mean * tf.complex(parts[0], parts[1])

    def gains(mean):
        return TensorFlowFading(function=fading, parameters=[mean])(2, 1, GRID, round=0, generator=seeded(0))

    assert torch.autograd.gradcheck(gains, randn(2, 1, 1, 1).requires_grad_())


def test_only_what_needs_a_gradient_gets_one_and_unused_inputs_get_zeros(tf):
    x, used, unused = randn(3, 5), randn(1, 3).requires_grad_(), randn(2).requires_grad_()
    y = send(lambda x, seed, used, unused: used @ x, x, used, unused)
    y.abs().sum().backward()
    assert x.grad is None
    assert used.grad.abs().min() > 0
    assert not unused.grad.any()
    assert not send(lambda x, seed: x, x).requires_grad


def test_gradients_can_be_taken_twice_but_not_differentiated(tf):
    x = randn(3, 5).requires_grad_()
    loss = send(lambda x, seed: x * tf.math.conj(x), x).abs().sum()
    once = torch.autograd.grad(loss, x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, x, create_graph=True)[0], once)
    torch.testing.assert_close(once, 2 * x)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.grad(loss, x, create_graph=True)[0].abs().sum().backward()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_shared_both_ways(tf, dtype):
    seen = []

    def function(x, seed):
        seen.extend((x, 2 * x))
        return seen[1]

    x = torch.ones(2, 40, dtype=dtype)
    y = send(function, x)
    assert y.dtype == dtype
    x[0, 0], y[1, 1] = 5, 7
    assert seen[0].numpy()[0, 0] == 5
    assert seen[1].numpy()[1, 1] == 7


def test_channel_that_returns_its_argument_does_not_alias_it(tf):
    x = randn(2, 4)
    y = send(lambda x, seed: x, x)
    assert torch.equal(y, x)
    y.zero_()
    assert x.any()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, 1:],
        lambda x: x.mT.contiguous().mT,
        lambda x: x.flatten()[1:41].view(2, 20),  # contiguous, but eight or sixteen bytes off: TensorFlow would abort
        lambda x: x.conj(),
        lambda x: x.conj().imag,  # lazily negated
        lambda x: x[:1].expand(3, -1),
        lambda x: x[:, :0],
    ],
)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_views_of_any_kind_pass(tf, view, dtype):
    x = view(randn(2, 30, dtype=dtype))
    assert torch.equal(send(lambda x, seed: 2 * x, x), 2 * x)


def test_expanded_and_misaligned_gradients_pass(tf):
    x = randn(2, 30).requires_grad_()
    y = send(lambda x, seed: 2 * x, x)
    (gradient,) = torch.autograd.grad(y.real.sum(), x, retain_graph=True)  # of an expanded 1
    assert (gradient == 2).all()
    weights = randn(61)[1:].view(2, 30)
    (gradient,) = torch.autograd.grad(y, x, weights)
    torch.testing.assert_close(gradient, 2 * weights)


@pytest.mark.parametrize("which", ["input", "output"])
def test_writing_in_place_before_the_backward_pass_is_refused(tf, which):
    x = randn(2, 4).requires_grad_()
    given = x * 1
    y = send(lambda x, seed: tf.math.exp(x), given)
    with torch.no_grad():
        (given if which == "input" else y).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.abs().sum().backward()


def test_tf_variables_count_but_get_no_gradient(tf):
    gain = tf.Variable(3.0, dtype=tf.float64)
    x = randn(2, 4, dtype=torch.float64).requires_grad_()
    y = send(lambda x, seed: gain * x, x)
    torch.testing.assert_close(y, 3 * x)
    y.sum().backward()
    assert (x.grad == 3).all()
    torch.testing.assert_close(send(lambda x, seed: gain * tf.ones([2, 4], tf.float64), x), torch.full_like(x, 3))
    variable = tf.Variable(tf.ones([1, 4]))
    assert (send(lambda x, seed: variable, x) == 1).all()


def rayleigh(tf):
    def my_fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed):
        shape = (num_devices, num_rx_antennas, num_slots, num_frequency_blocks)
        parts = tf.random.stateless_normal((2, *shape), seed) / math.sqrt(2)
        return tf.complex(parts[0], parts[1])

    return my_fading


def test_fading_draws_from_the_generator_alone(tf, global_rng_untouched):
    fading = TensorFlowFading(function=rayleigh(tf))
    generator = seeded(1)
    first, second = (fading(4, 2, GRID, round=0, generator=generator) for _ in range(2))
    assert first.shape == (4, 2, 2, 3)
    assert first.dtype == torch.complex64
    assert not (first == second).any()
    assert torch.equal(fading(4, 2, GRID, round=5, generator=seeded(1)), first)


def test_seeds_of_rounds_give_independent_draws(tf):
    """One gain per round: exponential power over 400 rounds."""
    fading, streams, flat = TensorFlowFading(function=rayleigh(tf)), Streams(0), Grid(num_slots=1, symbols_per_cell=1)
    h = torch.stack([fading(1, 1, flat, round=r, generator=streams.generator("gains", r)) for r in range(400)])
    assert_distributed(h.abs().square(), "expon")
    assert_distributed(h.angle(), "uniform", -math.pi, 2 * math.pi)


def test_tf_function_is_traced_once_over_many_rounds(tf):
    traces = []

    @tf.function
    def my_fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed):
        traces.append(seed)
        return tf.random.stateless_normal((num_devices, 1, num_slots, 1), seed)

    fading = TensorFlowFading(function=my_fading)
    gains = [fading(2, 1, GRID, round=r, generator=seeded(r)) for r in range(5)]
    assert len(traces) == 1
    assert len({h[0, 0, 0, 0].item() for h in gains}) == 5


def test_constant_gains_of_the_users_cannot_be_overwritten(tf):
    constant = tf.ones([1, 1, 1, 1])
    TensorFlowFading(function=lambda *arguments: constant)(2, 1, GRID, round=0, generator=seeded(0)).zero_()
    assert constant.numpy().item() == 1


def test_uplink_fades_by_a_tensorflow_function(tf):
    """The same gains given as a tensor give the same estimate."""
    u = randn(4, 24, dtype=torch.float32)
    options = {"energy_budget": 50.0, "power_control": TruncatedInversion(threshold=0.01)}
    uplink = AnalogUplink(fading=TensorFlowFading(function=rayleigh(tf)), **options)
    found = uplink.aggregate(u, (24,), round=2, streams=Streams(7))
    flat = Grid(num_slots=1, symbols_per_cell=24)
    h = TensorFlowFading(function=rayleigh(tf))(4, 1, flat, round=2, generator=Streams(7).generator("gains", 2))

    def given(num_devices, num_rx_antennas, grid, *, round, generator):
        return h

    expected = AnalogUplink(fading=given, **options).aggregate(u, (24,), round=2, streams=Streams(7))
    assert torch.equal(found.estimate, expected.estimate)
    assert found.ledger.known_gains == 4


def test_uplink_sends_through_a_tensorflow_channel(tf):
    """Superposition alone, without noise, gives the mean of the messages; its gradient is that of the mean."""
    channel = TensorFlowChannel(function=lambda x, seed: tf.reduce_sum(x, axis=-2, keepdims=True))
    uplink = AnalogUplink(energy_budget=50.0, noise_variance=0.0, channel=channel)
    u = randn(4, 21, dtype=torch.float64).requires_grad_()
    estimate = uplink.aggregate(u, (11, 10), round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, u.mean(0), rtol=1e-10, atol=1e-10)
    (gradient,) = torch.autograd.grad(estimate.square().sum(), u)
    torch.testing.assert_close(gradient, 2 * u.mean(0).expand(4, -1) / 4, rtol=1e-8, atol=1e-8)


def test_leading_axes_go_through(tf):
    x = randn(5, 3, 7)
    y = send(lambda x, seed: tf.reduce_sum(x, axis=-2, keepdims=True), x)
    torch.testing.assert_close(y, x.sum(-2, keepdim=True))


def test_import_path_finds_the_function(tf, tmp_path, monkeypatch):
    (tmp_path / "users_channels.py").write_text(
        "import tensorflow as tf\n"
        "def my_channel(x, seed):\n"
        "    return 2 * x\n"
        "def my_fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed):\n"
        "    return tf.ones([1, 1, 1, 1], tf.complex64)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    x = randn(2, 4)
    assert torch.equal(send("users_channels.my_channel", x), 2 * x)
    fading = TensorFlowFading(function="users_channels.my_fading")
    assert fading(2, 1, GRID, round=0, generator=seeded(0)).shape == (1, 1, 1, 1)
    assert fading == TensorFlowFading(function="users_channels.my_fading")
    assert "users_channels.my_fading" in repr(fading)
    with pytest.raises(ImportError, match="module users_channels has no function other"):
        TensorFlowFading(function="users_channels.other")
    with pytest.raises(ImportError, match="users_nothing"):
        TensorFlowChannel(function="users_nothing.my_channel")


def test_import_leaves_the_environment_as_it_was(tf):
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda tf: None, TypeError, r"<lambda> must return a tf\.Tensor, got NoneType"),
        (lambda tf: torch.ones(1, 4), TypeError, r"must return a tf\.Tensor, got Tensor"),
        (
            lambda tf: tf.ones([1, 4], tf.int32),
            TypeError,
            "must return float32, float64, complex64 or complex128, got int32",
        ),
        (lambda tf: tf.ones([1, 4], tf.bfloat16), TypeError, r"got bfloat16; use tf\.complex"),
        (
            lambda tf: tf.ones([1, 3]),
            ValueError,
            r"must return y \[.*, num_rx_antennas, n\] for x \[2, 4\].* \[1, 3\]",
        ),
        (lambda tf: tf.ones([4]), ValueError, r"got \[4\]"),
        (lambda tf: tf.ones([2, 1, 4]), ValueError, r"got \[2, 1, 4\]"),
    ],
)
def test_channel_is_told_what_is_wrong_with_its_result(tf, result, error, message):
    with pytest.raises(error, match=message):
        send(lambda x, seed: result(tf), randn(2, 4))


@pytest.mark.parametrize("shape", [[2], [3, 1, 2, 3], [2, 2, 2, 3], [2, 1, 1, 2]])
def test_fading_is_told_what_is_wrong_with_its_shape(tf, shape):
    with pytest.raises(ValueError, match=r"must return gains of shape .* = \[2, 1, 2, 3\]"):
        TensorFlowFading(function=lambda *arguments: tf.ones(shape))(2, 1, GRID, round=0, generator=seeded(0))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.ones(2, 4, dtype=torch.bfloat16), TypeError, r"takes float32, .* got torch\.bfloat16; convert"),
        (torch.ones(2, 4, dtype=torch.int64), TypeError, r"got torch\.int64"),
        (torch.ones(2, 4, device="meta"), TypeError, r"takes tensors on the CPU, got meta; use \.cpu\(\)"),
        (torch.ones(4), ValueError, r"x must be \[\.\.\., num_devices, n\], got shape \[4\]"),
    ],
)
def test_symbols_that_cannot_cross_are_refused(tf, x, error, message):
    with pytest.raises(error, match=message):
        send(lambda x, seed: x, x)


def test_parameter_that_is_no_tensor_is_refused(tf):
    with pytest.raises(TypeError, match=r"parameters\[0\] must be a tensor, got 1\.0"):
        send(lambda x, seed, gain: x, randn(2, 4), 1.0)


def test_error_of_the_users_function_is_shown(tf):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        send(lambda x, seed: tf.matmul(x, x), randn(2, 4))


@pytest.mark.parametrize("stage", [TensorFlowFading, TensorFlowChannel])
def test_missing_extra_is_named(stage, monkeypatch):
    monkeypatch.setattr(tensorflow_stage, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"{stage.__name__} needs TensorFlow: pip install 'laser-wireless\[tensorflow\]'"):
        stage(function=print)


@pytest.mark.parametrize("stage", [TensorFlowFading, TensorFlowChannel])
@pytest.mark.parametrize("distribution", ["tensorflow-cpu", "tensorflow"])
def test_version_that_aborts_is_refused_before_it_is_loaded(stage, distribution, monkeypatch):
    def version(name):
        if name != distribution:
            raise tensorflow_stage.metadata.PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(tensorflow_stage, "find_spec", lambda name: name)
    monkeypatch.setattr(tensorflow_stage.metadata, "version", version)
    with pytest.raises(ImportError, match=r"TensorFlow 2\.21\.0 cannot be used here: .* aborts the process"):
        stage(function=print)


def test_version_that_aborts_is_refused_wherever_it_came_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(__version__="2.21.1"))
    with pytest.raises(ImportError, match=r"TensorFlow 2\.21\.1 cannot be used"):
        tensorflow_stage._tensorflow.__wrapped__()


@pytest.mark.parametrize("stage", [TensorFlowFading, TensorFlowChannel])
def test_function_of_another_kind_is_refused(stage, monkeypatch):
    monkeypatch.setattr(tensorflow_stage, "find_spec", lambda name: name)
    with pytest.raises(TypeError, match="function must be a word or a function, got 3"):
        stage(function=3)
    for path in ("my_fading", "my_module.", ""):
        with pytest.raises(ValueError, match=r'path such as "my_module\.my_function"'):
            stage(function=path)
