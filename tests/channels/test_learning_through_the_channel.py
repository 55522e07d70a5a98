"""Rules learned by backpropagation through the uplink: better than rules of thumb, never better than the optimum."""

import importlib.util
from pathlib import Path

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import AnalogUplink, Lmmse, MseOptimal, Rapp, Streams
from laser_wireless.channels.power_control.estimation_error import mean_square_error

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRAINING, HELD_OUT = Streams(0), Streams(1)
STANDARD_ERRORS = 5.0


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gain_in_standard_errors(worse, better):
    gain = worse - better
    return gain.mean(-1) / gain.std(-1) * gain.shape[-1] ** 0.5


power = example("learned_power_control")
combiner = example("learned_combiner")


@pytest.fixture(scope="module")
def rule():
    return power.train(60, streams=TRAINING)


@pytest.fixture(scope="module")
def found(rule):
    return power.compare(rule, 1500, training=TRAINING, held_out=HELD_OUT)


def test_learned_power_control_beats_the_tuned_inversion_and_full_power(found):
    for rival in ("truncated inversion, tuned", "full power"):
        assert (power.gain_in_standard_errors(found, rival) > STANDARD_ERRORS).all(), rival


def test_untrained_power_control_does_not_beat_the_tuned_inversion():
    untrained = power.LearnedPower(generator=seeded(0))
    found = power.compare(untrained, 500, training=TRAINING, held_out=HELD_OUT)
    assert (power.gain_in_standard_errors(found, "truncated inversion, tuned") < 0).any()


def test_learned_power_control_is_in_no_round_expected_to_beat_the_optimum(rule, found):
    h, u = power.draw(1500, round=0, streams=HELD_OUT)

    def expected(power_control):
        with torch.no_grad():
            plan = power.uplink_of(power_control).plan(u, (power.NUM_SYMBOLS,), round=0, streams=HELD_OUT, gains=h)
        return mean_square_error(
            plan.arriving,
            plan.message.norms,
            noise_gain=plan.noise_amplitude.square(),
            noise_variance=10 ** (-power.SNR_DB / 10),
            num_symbols=power.NUM_SYMBOLS,
        )

    learned, best = expected(rule), expected(MseOptimal())
    assert (learned >= best * (1 - 1e-6)).all()
    assert (power.gain_in_standard_errors(found, "optimum, knows all") < -STANDARD_ERRORS).all()


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_no_weights_break_the_energy_limit(size):
    rule = power.LearnedPower(generator=seeded(3))
    with torch.no_grad():
        for weights in rule.parameters():
            weights.copy_(size * torch.randn(weights.shape, dtype=weights.dtype, generator=seeded(4)))
    h, u = power.draw(50, round=0, streams=HELD_OUT)
    with torch.no_grad():
        ledger = power.uplink_of(rule).aggregate(u, (power.NUM_SYMBOLS,), round=0, streams=HELD_OUT, gains=h).ledger
    assert (ledger.energy_spent <= ledger.energy_allowed).all()


def test_learned_power_control_sees_nothing_of_other_devices(rule):
    h, u = power.draw(5, round=0, streams=HELD_OUT)
    others_h, others_u = h.clone(), u.clone()
    others_h[:, 1:], others_u[..., 1:, :] = 3 * h[:, 1:], 2 * u[..., 1:, :]
    sent = [
        power.uplink_of(rule).plan(u, (power.NUM_SYMBOLS,), round=0, streams=HELD_OUT, gains=h).design.transceiver
        for h, u in ((h, u), (others_h, others_u))
    ]
    assert torch.equal(sent[0].precoder[..., 0, :], sent[1].precoder[..., 0, :])
    assert not torch.equal(sent[0].scale, sent[1].scale)


def test_learned_power_control_has_the_threshold_structure(rule):
    levels = power.arriving(rule)[2]  # at 10 dB, of devices that could arrive with 0.1, 0.2, ... 1.0
    torch.testing.assert_close(levels[:2], torch.tensor([0.1, 0.2], dtype=torch.float64), rtol=0.1, atol=0)
    assert levels[4:].max() < 1.3 * levels[4:].min()  # what they could arrive with differs by a factor of 2


def test_training_repeats_and_leaves_the_global_generator_alone(global_rng_untouched):
    for once, again in zip(*(power.train(2, streams=Streams(5)).parameters() for _ in range(2)), strict=True):
        assert torch.equal(once, again)
    once, again = (combiner.train(0.2, 2, streams=Streams(5)) for _ in range(2))
    assert torch.equal(once.log_loading, again.log_loading)


@pytest.mark.parametrize("nmse", [0.1, 0.3])
def test_learned_combiner_matches_the_optimum_and_beats_the_one_that_trusts_its_estimate(nmse):
    receiver = combiner.train(nmse, 40, streams=TRAINING)
    found = combiner.compare(receiver, nmse, 1500, held_out=HELD_OUT)
    naive, learned, optimum = found.values()
    assert gain_in_standard_errors(naive, learned) > STANDARD_ERRORS
    assert learned.mean() < 1.03 * optimum.mean()
    assert receiver.log_shrink.exp().item() == pytest.approx(1 / (1 + nmse), rel=0.1)


@pytest.mark.parametrize(("shrink", "loading"), [(1.2, 1.0), (0.85, 1.0), (1.0, 2.0), (1.0, 0.5)])
def test_known_optimum_of_the_combiner_is_one(shrink, loading):
    nmse = 0.3
    other = combiner.LoadedLmmse(shrink=shrink / (1 + nmse), loading=loading * nmse / (1 + nmse))
    found = combiner.compare(other, nmse, 3000, held_out=HELD_OUT)
    assert gain_in_standard_errors(found["learned"], found["optimum, knows the NMSE"]) > 3


def test_combiner_without_loading_is_lmmse():
    bare = combiner.LoadedLmmse(loading=1e-30)
    with torch.no_grad():
        found = [combiner.errors(r, 0.2, 20, round=0, streams=HELD_OUT) for r in (bare, Lmmse())]
    assert torch.equal(*found)


class Predistorter(torch.nn.Module):
    """A stage x (1 + c r^4), r^2 = |x|^2 over the allowed mean power: `Rapp` of smoothness 2 lacks first a part of r^4."""

    def __init__(self, num_devices):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(num_devices, 1))

    def forward(self, x, radio, *, generators):
        drive = x.abs().square() / radio.mean_power.to(x.real.dtype)
        return x * (1 + self.weights * drive.square())


def amplifiers(x, radio, *, generators):
    """Two devices with a strong amplifier, two with a weak one."""
    strong, weak = (Rapp(saturation_db=level)(x, radio, generators=generators) for level in (12.0, 6.0))
    return torch.cat([strong[..., :2, :], weak[..., 2:, :]], dim=-2)


def distortion(predistorter, *, round, streams):
    """Error of the mean behind saturating amplifiers over the energy of the mean, and the ledger."""
    u = torch.randn(20, 4, 64, generator=streams.generator("messages", round))
    uplink = AnalogUplink(energy_budget=64.0, noise_variance=1e-4, impairments=[predistorter, amplifiers])
    reception = uplink.aggregate(u, (64,), round=round, streams=streams)
    return (reception.estimate - u.mean(-2)).square().mean() / u.mean(-2).square().mean(), reception.ledger


def test_predistortion_is_learned_through_amplifiers_and_keeps_the_energy_limit():
    predistorter = Predistorter(4)
    optimizer = torch.optim.Adam(predistorter.parameters(), lr=0.005)
    with torch.no_grad():
        before, _ = distortion(predistorter, round=0, streams=HELD_OUT)
    for step in range(60):
        loss, _ = distortion(predistorter, round=step, streams=TRAINING)
        optimizer.zero_grad()
        loss.log().backward()
        optimizer.step()
    with torch.no_grad():
        after, ledger = distortion(predistorter, round=0, streams=HELD_OUT)
    assert after < before / 3
    assert (ledger.energy_spent <= ledger.energy_allowed).all()
    assert predistorter.weights[2:].min() > 0.01  # weak amplifiers need some, 1 / (4 saturation^4) = 0.016 for small r
    assert predistorter.weights[:2].abs().max() < 0.005  # strong ones next to none, 0.001
