"""No device ever spends more than its budget, whatever is sent over whichever channel, and the ledger says what it spent."""

import pytest
import torch
from helpers.schemes import COMPRESSORS
from helpers.statistical import seeded
from helpers.uplinks import ALLOCATIONS, BASEBANDS, COHERENCES, FADINGS, POWER_CONTROLS, SCALES, energies_on_air, rising
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laser_wireless.channels import (
    AnalogUplink,
    LinearEnergy,
    OracleScale,
    Rayleigh,
    StepEnergy,
    Streams,
    TruncatedInversion,
    UnequalEnergy,
)

NUM_ROUNDS = 3
RULES = ["alternating", "both", "raw"]
SCHEDULES = [rising, LinearEnergy(energy_budget=5.0, num_rounds=NUM_ROUNDS), StepEnergy(energy_budget=5.0, num_rounds=3)]
EXPONENTS = [-45, -38, -30, -3, 0, 3, 30]  # the first two are subnormal in float32
LEVELS = [-30, 0, 20]  # under PreviousScale a larger jump of scale makes noise that float32 cannot hold


def unequal(ratios):
    """Budgets in these ratios."""
    return UnequalEnergy(energy_budget=5.0, ratios=tuple(ratios))


@st.composite
def uplinks(draw, num_devices):
    """Any combination of the uplink's options."""
    positive = st.sampled_from([1e-6, 0.3, 1.0, 1e6])
    per_device = st.lists(positive | st.just(0.0), min_size=num_devices, max_size=num_devices).filter(any)
    return AnalogUplink(
        energy_budget=draw(
            positive | per_device | per_device.map(torch.tensor) | st.sampled_from(SCHEDULES) | per_device.map(unequal)
        ),
        noise_variance=draw(st.sampled_from([0.0, 1.0])),
        fading=draw(st.sampled_from(FADINGS)),
        power_control=draw(st.sampled_from(POWER_CONTROLS)),
        allocation=draw(st.sampled_from(ALLOCATIONS)),
        scale=draw(st.sampled_from(SCALES)),
        coherence=draw(st.sampled_from(COHERENCES)),
        baseband=draw(st.sampled_from(BASEBANDS)),
    )


@st.composite
def runs(draw):
    """An uplink, a layout and what the devices send in each round."""
    num_devices = draw(st.integers(1, 4))
    uplink = draw(uplinks(num_devices))
    layout = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = seeded(draw(st.integers(0, 1000)))
    level = draw(st.sampled_from(LEVELS))
    exponents = EXPONENTS if isinstance(uplink.scale, OracleScale) else [level - 3, level, level + 3]
    rounds = []
    for _ in range(NUM_ROUNDS):
        u = torch.randn(num_devices, sum(layout), dtype=torch.float64, generator=generator)
        scales = [draw(st.sampled_from(exponents)) for _ in layout]
        blocks = torch.cat([torch.full((n,), 10.0**e, dtype=torch.float64) for n, e in zip(layout, scales, strict=True)])
        u = u * blocks
        for start in draw(st.lists(st.integers(0, len(layout) - 1), max_size=2)):  # blocks that nobody has
            u[:, sum(layout[:start]) : sum(layout[: start + 1])] = 0
        if draw(st.booleans()):
            u[0] = 0  # a device with nothing to say
        rounds.append(u.to(dtype))
    return uplink, layout, rounds


def assert_limits_kept(uplink, layout, u, plan, ledger, estimate):
    energy = energies_on_air(uplink, u, plan)
    assert (energy <= ledger.energy_allowed).all(), f"spent {energy}, allowed {ledger.energy_allowed}"
    assert (ledger.energy_spent <= ledger.energy_allowed).all()
    torch.testing.assert_close(ledger.energy_spent, energy.expand(ledger.energy_spent.shape), rtol=1e-5, atol=0)
    assert estimate.isfinite().all()
    ledger.check()


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs())
def test_no_device_spends_more_than_its_budget(run):
    uplink, layout, rounds = run
    streams, state = Streams(0), None
    for round, u in enumerate(rounds):
        plan = uplink.plan(u, layout, round=round, streams=streams, state=state)
        reception = uplink.aggregate(u, layout, round=round, streams=streams, state=state)
        assert_limits_kept(uplink, layout, u, plan, reception.ledger, reception.estimate)
        state = reception.state


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(uplink=uplinks(3), compressor=st.sampled_from(COMPRESSORS), seed=st.integers(0, 99))
def test_compressed_messages_keep_to_the_budget(uplink, compressor, seed):
    shapes = ((6, 9), (5,), (4, 3, 2), ())
    state = compressor.init(shapes, 3, device=torch.device("cpu"), dtype=torch.float32, seed=0)
    streams, scale = Streams(0), None
    for round in range(NUM_ROUNDS):
        gradients = torch.randn(3, 54 + 5 + 24 + 1, generator=seeded(seed + round)) * 10.0 ** (4 * round - 4)
        u, layout, share_as, _ = compressor.encode(gradients, state, round=round)
        plan = uplink.plan(u, layout, round=round, streams=streams, state=scale, share_as=share_as)
        reception = uplink.aggregate(u, layout, round=round, streams=streams, state=scale, share_as=share_as)
        assert_limits_kept(uplink, layout, u, plan, reception.ledger, reception.estimate)
        scale = reception.state
        decoded, state = compressor.decode(reception.estimate, state, round=round)
        assert all(gradient.isfinite().all() for gradient in decoded)


@pytest.mark.parametrize("coherence", ["round", "symbol", 1000])
@pytest.mark.parametrize("level", [1.0, 0.7, 0.1, 0.611, 1e-7, -0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("differentiable", [False, True])
def test_long_constant_message_keeps_to_the_budget(level, dtype, differentiable, coherence, device):
    """Equal addends round the same way each time: the worst case for a sum, whose order depends on the path taken."""
    u = torch.full((2, (1 << 17) + 1), level, dtype=dtype, device=device)
    u[:, 0] = 1
    u.requires_grad_(differentiable)
    uplink = AnalogUplink(energy_budget=1.0, coherence=coherence, fading=Rayleigh(), power_control=TruncatedInversion())
    plan = uplink.plan(u, (u.shape[1],), round=1, streams=Streams(0))
    reception = uplink.aggregate(u, (u.shape[1],), round=1, streams=Streams(0))
    assert_limits_kept(uplink, (u.shape[1],), u, plan, reception.ledger, reception.estimate)


def test_oracle_spends_the_whole_budget_of_the_loudest_device(device):
    u = torch.tensor([[1.0, 2.0, 2.0], [0.5, 1.0, 1.0]], device=device)
    ledger = AnalogUplink(energy_budget=7.0).aggregate(u, (3,), round=0, streams=Streams(0)).ledger
    torch.testing.assert_close(ledger.energy_spent.cpu(), torch.tensor([7.0, 1.75], dtype=torch.float64), rtol=1e-5, atol=0)


def test_the_check_notices_a_budget_overrun():
    u = torch.randn(2, 4, generator=seeded(0))
    uplink = AnalogUplink(energy_budget=1.0)
    louder = AnalogUplink(energy_budget=1.1)
    plan = louder.plan(u, (4,), round=0, streams=Streams(0))
    reception = uplink.aggregate(u, (4,), round=0, streams=Streams(0))
    with pytest.raises(AssertionError, match="spent"):
        assert_limits_kept(uplink, (4,), u, plan, reception.ledger, reception.estimate)
