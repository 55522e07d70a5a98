"""Receivers of several antennas: exactness, optimality, the explicit channel, joint design, singular channels."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.transceivers import LOCAL, Instance, explicit_errors, in_two_processes, joint_design, one_segment
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.power_control.full_power import FullPower
from laser_wireless.channels.power_control.inversion import AlignedInversion, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal
from laser_wireless.channels.receivers.contract import delivered_by
from laser_wireless.channels.receivers.least_error import Lmmse, ZeroForcing
from laser_wireless.channels.receivers.maximum_ratio import MaximumRatio
from laser_wireless.channels.receivers.single_antenna import SingleAntenna
from laser_wireless.channels.segments import Grid, Segments

BLIND = FullPower(phase=False)
RECEIVERS = [MaximumRatio(), MaximumRatio(direction="dominant"), ZeroForcing(), Lmmse(), Lmmse(alternations=2)]
RULES = [BLIND, FullPower(), AlignedInversion(), TruncatedInversion(threshold=0.5), MseOptimal()]
NUM_USES = 50_000


def instance(num_instances, num_devices, num_rx_antennas, *, decades=0.3, seed=0, noise=None):
    """Rayleigh gains [R, K, N_r, 1] with path gains, norms, energies and noise spread over decades."""
    generator = seeded(seed)

    def spread(*size):
        return 10 ** (decades * torch.randn(size, dtype=torch.float64, generator=generator))

    shape = (num_instances, num_devices, num_rx_antennas, 1)
    h = torch.randn(shape, dtype=torch.complex128, generator=generator) * spread(num_instances, num_devices, 1, 1)
    of_device = (num_instances, num_devices, 1)
    noise_variance = spread(num_instances) if noise is None else torch.full((num_instances,), noise, dtype=torch.float64)
    return Instance(h, spread(*of_device), spread(*of_device), noise_variance, one_segment(6))


def explicit(receiver, rule, *, noise=2.0, excess=1.0):
    """Errors of the explicit channel and the closed form for one symbol."""
    case = instance(1, 3, 4, seed=3, noise=noise)
    link = joint_design(receiver, rule, case)
    errors = explicit_errors(
        case.h[0, :, :, 0],
        link.transceiver.precoder[0, :, 0],
        link.combiner[0, :, 0],
        case.norms[0, :, 0].square() / 6,
        excess * case.noise_variance.item(),
        num_uses=NUM_USES,
    )
    return errors, link.error.item() / 6


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_closed_form_is_the_error_of_the_explicit_channel(receiver, rule):
    errors, mse = explicit(receiver, rule)
    assert_mean(errors.square(), mean=mse, variance=2 * mse**2)
    assert_mean(errors, mean=0, variance=mse)


@pytest.mark.parametrize(
    ("receiver", "rule", "noise"),
    [(MaximumRatio(), AlignedInversion(), 2.0), (ZeroForcing(), BLIND, 0.02), (Lmmse(), BLIND, 0.02)],
    ids=str,
)
def test_channel_with_twice_the_noise_is_noticed(receiver, rule, noise):
    """Where noise is most of the error: cross terms for the one, shrinking for the other would hide it."""
    errors, mse = explicit(receiver, rule, noise=noise, excess=2.0)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(errors.square(), mean=mse, variance=2 * mse**2)


@pytest.mark.parametrize(("num_devices", "num_rx_antennas"), [(1, 4), (4, 1), (4, 3), (3, 8)])
@pytest.mark.parametrize("rule", [BLIND, TruncatedInversion(threshold=0.5)], ids=str)
def test_lmmse_is_never_worse_than_another_receiver(rule, num_devices, num_rx_antennas):
    """For the same precoders: all receivers here see the same beam, of the dominant direction."""
    case = instance(3000, num_devices, num_rx_antennas, decades=1.0)
    least = joint_design(Lmmse(), rule, case).error
    for other in (MaximumRatio(direction="dominant"), ZeroForcing()):
        error = joint_design(other, rule, case).error
        assert (least <= error * (1 + 1e-9)).all(), other
        assert min(num_devices, num_rx_antennas) == 1 or (least < 0.99 * error).double().mean() > 0.1
    blind = joint_design(MaximumRatio(), BLIND, case).error
    assert (joint_design(Lmmse(), BLIND, case).error <= blind * (1 + 1e-9)).all()


def test_lmmse_is_the_textbook_inverse():
    case = instance(1, 3, 4)
    link = joint_design(Lmmse(), BLIND, case)
    a, p = link.arriving[0, :, :, 0].numpy(), (case.norms[0, :, 0].square() / 6).numpy()
    covariance = sum(p[k] * np.outer(a[k], a[k].conj()) for k in range(3)) + case.noise_variance.item() * np.eye(4)
    expected = np.linalg.solve(covariance, (p[:, None] * a).sum(0) / 3)
    np.testing.assert_allclose(link.combiner[0, :, 0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("num_rx_antennas", [3, 7])
def test_zero_forcing_without_noise_is_exact(num_rx_antennas):
    case = instance(1000, 3, num_rx_antennas, noise=0.0)
    link = joint_design(ZeroForcing(), BLIND, case)
    torch.testing.assert_close(link.coefficients, torch.full_like(link.coefficients, 1 / 3), rtol=0, atol=1e-6)
    assert (link.error < 1e-10 * case.norms.square().sum(1)).all()


def test_zero_forcing_takes_the_least_norm():
    case = instance(1, 2, 5)
    link = joint_design(ZeroForcing(), BLIND, case)
    matrix = link.arriving[0, :, :, 0].numpy()  # constraints w^H a_k = 1/2
    expected = np.linalg.lstsq(matrix.conj(), np.full(2, 0.5), rcond=None)[0]
    np.testing.assert_allclose(link.combiner[0, :, 0].numpy(), expected, rtol=1e-9)


def test_zero_forcing_with_too_few_antennas_has_the_least_bias():
    case = instance(1, 5, 2)
    link = joint_design(ZeroForcing(), BLIND, case)
    a, size = link.arriving[0, :, :, 0].numpy(), case.norms[0].numpy()
    expected = np.linalg.lstsq(size * a.conj(), size[:, 0] / 5, rcond=None)[0]
    np.testing.assert_allclose(link.combiner[0, :, 0].numpy(), expected, rtol=1e-9)


def test_zero_forcing_means_over_the_active_devices():
    case = instance(300, 4, 6)
    link = joint_design(ZeroForcing(), TruncatedInversion(threshold=0.5), case)
    active = link.transceiver.active.double()
    share = active / active.sum(1, keepdim=True).clamp(min=1)
    assert 0 < active.mean() < 1
    torch.testing.assert_close(link.coefficients, share.to(torch.complex128), rtol=0, atol=1e-6)
    delivered = delivered_by(ZeroForcing(), link.combiner, link.arriving, link.transceiver, air=LOCAL)
    torch.testing.assert_close(delivered, active, rtol=0, atol=1e-5)


@pytest.mark.parametrize("receiver", [MaximumRatio(), Lmmse()], ids=str)
def test_delivered_is_what_the_combiner_lets_through(receiver):
    link = joint_design(receiver, BLIND, instance(200, 3, 4))
    delivered = delivered_by(receiver, link.combiner, link.arriving, link.transceiver, air=LOCAL)
    torch.testing.assert_close(delivered, (3 * link.coefficients.real).clamp(0, 1))


@pytest.mark.parametrize("num_rx_antennas", [2, 6])
def test_each_round_of_joint_design_lowers_the_error(num_rx_antennas):
    case = instance(500, 4, num_rx_antennas, decades=0.5)
    errors = [joint_design(Lmmse(), MseOptimal(), case, alternations=a).error for a in range(6)]
    for before, after in pairwise(errors):
        assert (after <= before * (1 + 1e-9)).all()
    assert (errors[-1] < 0.9 * errors[0]).double().mean() > 0.03
    torch.testing.assert_close(joint_design(Lmmse(alternations=5), MseOptimal(), case).error, errors[5])


def test_an_alternation_that_forgets_the_combiner_is_noticed():
    """Zero forcing after the same power control is no descent: some error rises."""
    case = instance(500, 4, 6, decades=0.5)
    before, after = (joint_design(ZeroForcing(), MseOptimal(), case, alternations=a).error for a in (0, 1))
    assert not (after <= before * (1 + 1e-9)).all()


def test_antennas_harden_the_channel_of_blind_devices():
    errors = [
        joint_design(MaximumRatio(), BLIND, instance(400, 4, n, decades=0.0, noise=0.01)).error.mean() for n in (4, 16, 64)
    ]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 0.4 * errors[1]


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_beams_have_unit_norm(receiver):
    v = receiver.beam(instance(20, 3, 4).h, LOCAL)
    torch.testing.assert_close(torch.linalg.vector_norm(v, dim=-2), torch.ones(20, 1, dtype=torch.float64))


def test_beams_point_where_they_say():
    h = instance(20, 3, 4).h
    covariance = torch.einsum("rkng,rkmg->rnm", h, h.conj())
    strongest = torch.linalg.eigvalsh(covariance)[:, -1]
    v = MaximumRatio(direction="dominant").beam(h, LOCAL)[..., 0]
    reached = torch.einsum("rn,rnm,rm->r", v.conj(), covariance, v).real
    torch.testing.assert_close(reached, strongest)
    total, v = h.sum(1), MaximumRatio().beam(h, LOCAL)
    torch.testing.assert_close((v.conj() * total).sum(-2).real, torch.linalg.vector_norm(total, dim=-2))


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_no_gains_leave_the_first_antenna(receiver):
    v = receiver.beam(torch.zeros(2, 3, 1, dtype=torch.complex64), LOCAL)
    assert v.flatten().tolist() == [1, 0, 0]


def test_gains_that_cancel_leave_the_first_antenna():
    h = torch.tensor([[[1.0], [2.0]], [[-1.0], [-2.0]]])
    assert MaximumRatio().beam(h, LOCAL).flatten().tolist() == [1, 0]


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
@pytest.mark.parametrize("case", ["equal", "one dead", "all dead", "silent", "rank one"])
def test_singular_channels_give_finite_combiners(case, receiver, noise):
    link = instance(8, 3, 4, noise=noise)
    h, norms = link.h.clone(), link.norms.clone()
    if case == "equal":
        h[:] = h[:, :1]
    elif case == "one dead":
        h[:, 1] = 0
    elif case == "all dead":
        h.zero_()
    elif case == "rank one":
        h[:, :, 1:] = 0
    else:
        norms.zero_()
    for rule in RULES:
        found = joint_design(receiver, rule, link._replace(h=h, norms=norms))
        assert found.combiner.isfinite().all()
        assert found.error.isfinite().all()
        assert case != "all dead" or not found.combiner.any()


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_all_is_finite_at_extreme_scales(receiver):
    generator = seeded(0)
    values = torch.tensor([0.0, 1e-30, 1.0, 1e30], dtype=torch.float64)

    def pick(*size):
        return values[torch.randint(4, size, generator=generator)]

    h = torch.randn(500, 3, 2, 1, dtype=torch.complex128, generator=generator) * pick(500, 3, 2, 1)
    case = Instance(h, pick(500, 3, 1), pick(500, 3, 1), pick(500), one_segment(6))
    for rule in RULES:
        found = joint_design(receiver, rule, case)
        assert found.combiner.isfinite().all(), rule
        assert found.coefficients.isfinite().all(), rule


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_scale_of_messages_and_gains_only_scales_the_combiner(receiver):
    """u 1e10 times louder at 1e10 times the amplitude of noise, energy to match: the same c."""
    case = instance(20, 3, 4)
    loud = case._replace(
        norms=case.norms * 1e10, energy=case.energy * 1e20, noise_variance=case.noise_variance * 1e20, h=case.h
    )
    for rule in RULES:
        torch.testing.assert_close(joint_design(receiver, rule, loud).coefficients, joint_design(receiver, rule, case)[0])


def test_one_antenna_is_the_scale_of_the_power_control():
    case = instance(10, 3, 1)
    for rule in RULES:
        link = joint_design(SingleAntenna(), rule, case)
        torch.testing.assert_close(link.combiner.real, link.transceiver.scale.squeeze(-2).unsqueeze(-2), rtol=0, atol=0)
        delivered = delivered_by(SingleAntenna(), link.combiner, link.arriving, link.transceiver, air=LOCAL)
        assert delivered is link.transceiver.delivered


def test_real_gains_give_real_combiners():
    h = torch.tensor([[[1.0], [0.5]], [[0.2], [2.0]]])
    ones = torch.ones(2, 1, dtype=torch.float64)
    for receiver in RECEIVERS:
        link = joint_design(receiver, BLIND, Instance(h, ones, ones, torch.tensor(0.1, dtype=torch.float64), one_segment(6)))
        assert not link.combiner.is_complex()
        assert link.combiner.shape == (2, 1)


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_receivers_need_nothing_but_the_air(receiver):
    case = instance(10, 4, 3)
    together = joint_design(receiver, MseOptimal(), case)

    def run(devices, air):
        part = case._replace(**{name: getattr(case, name)[:, devices] for name in ("h", "norms", "energy")})
        return joint_design(receiver, MseOptimal(), part, air=air)

    for half in in_two_processes(run, 4):
        torch.testing.assert_close(half.combiner, together.combiner)
        torch.testing.assert_close(half.error, together.error)


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_gradients_match_finite_differences(receiver):
    case = instance(1, 2, 3, seed=4)
    inputs = [value.clone().requires_grad_() for value in case[:4]]

    def run(*values):
        link = joint_design(receiver, MseOptimal(), Instance(*values, case.segments))
        return link.combiner.abs(), link.error

    assert torch.autograd.gradcheck(run, inputs, atol=1e-6)


@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_receivers_read_no_value(receiver):
    segments = Segments((5, 3), Grid(num_slots=1, symbols_per_cell=8))
    with FakeTensorMode():
        h, norms = torch.randn(4, 3, 2, dtype=torch.complex64), torch.rand(4, 2, dtype=torch.float64)
        case = Instance(h, norms, torch.rand(1, 2, dtype=torch.float64), torch.rand((), dtype=torch.float64), segments)
        assert joint_design(receiver, MseOptimal(), case).combiner.shape == (3, 2)


def test_one_antenna_refuses_the_gains_of_two():
    with pytest.raises(ValueError, match=r"one antenna, \[\.\.\., num_devices, 1, G\], got \[3, 2, 1\]"):
        SingleAntenna().beam(torch.ones(3, 2, 1), LOCAL)


def test_impossible_alternations_are_refused():
    with pytest.raises(ValueError, match="alternations must be an integer >= 0"):
        Lmmse(alternations=-1)


def test_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="direction must be"):
        MaximumRatio(direction="up")
