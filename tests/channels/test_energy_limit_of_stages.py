"""The energy limit with antennas, knowledge, large-scale gains, absences and OFDM, in any combination, for any message."""

import torch
from helpers.schemes import COMPRESSORS
from helpers.statistical import seeded
from helpers.uplinks import FADINGS, POWER_CONTROLS, SCALES, energies_on_air
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laser_wireless.channels import (
    AnalogUplink,
    DelayedCsi,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    GaussMarkov,
    Jakes,
    Lmmse,
    MaximumRatio,
    Multipath,
    Nakagami,
    NoCsi,
    NoisyCsi,
    Ofdm,
    PerfectCsi,
    PilotCsi,
    PreviousScale,
    QuantisedCsi,
    RandomDropout,
    Rapp,
    SparseQuantiser,
    StochasticQuantiser,
    Streams,
    TappedDelayLine,
    ZeroForcing,
)
from laser_wireless.channels.uplinks.medium import SegmentMedium

NUM_ROUNDS = 2
KNOWLEDGE = [
    PerfectCsi(),
    NoCsi(),
    NoisyCsi(nmse=0.3),
    PilotCsi(energy_fraction=0.3),
    [PilotCsi(), DelayedCsi()],
    QuantisedCsi(),
]
PATHS = Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=1e-6))
WAVES = [
    None,
    Ofdm(num_subcarriers=4, symbols_per_slot=2, subcarriers_per_block=2),
    Ofdm(num_subcarriers=4, symbols_per_slot=1, subcarriers_per_block=4, time_domain=True),
]
RECEIVERS = [Lmmse(), Lmmse(alternations=2), ZeroForcing(), MaximumRatio(), MaximumRatio(direction="dominant")]
EXPONENTS = [-30, -3, 0, 3, 30]


@st.composite
def uplinks(draw, num_devices):
    """An analog uplink with any stages that go together."""
    ofdm = draw(st.sampled_from(WAVES))
    fadings = [*FADINGS, Nakagami(m=0.7), GaussMarkov(correlation=0.9), Jakes(doppler_hz=2.0, round_interval_s=0.1)]
    num_rx_antennas = draw(st.sampled_from([1, 1, 3]))
    options = {} if num_rx_antennas == 1 else {"receiver": draw(st.sampled_from(RECEIVERS))}
    gains = st.lists(st.sampled_from([0.0, 1e-9, 1.0, 1e3]), min_size=num_devices, max_size=num_devices).filter(any)
    return AnalogUplink(
        energy_budget=draw(st.sampled_from([1e-6, 1.0, 1e6])),
        noise_variance=draw(st.sampled_from([0.0, 1.0])),
        fading=draw(st.sampled_from(fadings if ofdm is None else [*fadings, PATHS])),
        link_gain=draw(st.none() | gains),
        num_rx_antennas=num_rx_antennas,
        csi=draw(st.sampled_from(KNOWLEDGE)),
        receiver_csi=draw(st.sampled_from(KNOWLEDGE)),
        participation=draw(st.none() | st.just(RandomDropout(drop_probability=0.5))),
        power_control=draw(st.sampled_from(POWER_CONTROLS)),
        scale=draw(st.sampled_from(SCALES)),
        impairments=draw(st.sampled_from([[], [], [Rapp(saturation_db=0.0)]])),
        ofdm=ofdm,
        **options,
    )


@st.composite
def messages(draw, num_devices, layout):
    """Blocks of any scale, some of them empty."""
    u = torch.randn(num_devices, sum(layout), dtype=torch.float64, generator=seeded(draw(st.integers(0, 1000))))
    scales = [draw(st.sampled_from(EXPONENTS)) for _ in layout]
    u = u * torch.cat([torch.full((n,), 10.0**e, dtype=torch.float64) for n, e in zip(layout, scales, strict=True)])
    if draw(st.booleans()):
        u[0] = 0
    return u.to(draw(st.sampled_from([torch.float32, torch.float64])))


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_stage_lets_a_device_spend_more_than_its_budget(data):
    num_devices = data.draw(st.integers(1, 4))
    layout = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    uplink = data.draw(uplinks(num_devices))
    u = data.draw(messages(num_devices, layout))
    streams, state = Streams(0), None
    for round in range(NUM_ROUNDS):
        plan = uplink.plan(u, layout, round=round, streams=streams, state=state)
        reception = uplink.aggregate(u, layout, round=round, streams=streams, state=state)
        ledger, state = reception.ledger, reception.state
        assert (ledger.energy_spent <= ledger.energy_allowed).all()
        assert reception.estimate.isfinite().all()
        assert reception.delivered.isfinite().all()
        ledger.check()
        if isinstance(uplink.medium, SegmentMedium):
            on_air = energies_on_air(uplink, u, plan) * uplink.carrier.prefix_overhead
            pilots = 0 if plan.known.pilot_energy is None else plan.known.pilot_energy
            assert (on_air + pilots <= ledger.energy_allowed).all()
            expected = (on_air + pilots).expand(ledger.energy_spent.shape)
            torch.testing.assert_close(ledger.energy_spent, expected, rtol=1e-5, atol=0)


OTHERS = [
    DigitalUplink(energy_budget=3.0, fading=Nakagami(m=0.6), num_channel_uses=60),
    DigitalUplink(
        energy_budget=3.0, fixed_rate=2.0, fading=Nakagami(m=0.6), quantiser=SparseQuantiser(), num_channel_uses=60
    ),
    DigitalUplink(energy_budget=[3.0, 0.0, 1.0], quantiser=StochasticQuantiser(), num_channel_uses=300),
    FskMajorityVote(energy_budget=3.0),
    EnergyDifference(energy_budget=[3.0, 0.0, 1.0], fading=Nakagami(m=0.6), num_chips=2, coherence="symbol"),
    EnergyDifference(energy_budget=3.0, link_gain=[1.0, 0.1, 5.0], scale=PreviousScale()),
]


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(uplink=st.sampled_from(OTHERS), compressor=st.sampled_from(COMPRESSORS), seed=st.integers(0, 99))
def test_other_uplinks_keep_to_the_budget_with_every_scheme(uplink, compressor, seed):
    shapes = ((6, 9), (5,), (4, 3, 2), ())
    state = compressor.init(shapes, 3, device=torch.device("cpu"), dtype=torch.float32, seed=0)
    streams, kept = Streams(0), None
    for round in range(NUM_ROUNDS):
        gradients = torch.randn(3, 54 + 5 + 24 + 1, generator=seeded(seed + round)) * 10.0 ** (4 * round - 4)
        u, layout, share_as, _ = compressor.encode(gradients, state, round=round)
        reception = uplink.aggregate(u, layout, round=round, streams=streams, state=kept, share_as=share_as)
        assert (reception.ledger.energy_spent <= reception.ledger.energy_allowed).all()
        reception.ledger.check()
        kept = reception.state
        decoded, state = compressor.decode(reception.estimate, state, round=round)
        assert all(gradient.isfinite().all() for gradient in decoded)


def test_the_check_notices_energy_that_the_prefix_takes():
    """Without its share for the prefix, a waveform would overrun."""
    uplink = AnalogUplink(energy_budget=1.0, ofdm=WAVES[1])
    u = torch.ones(1, 8)
    plan = uplink.plan(u, (8,), round=0, streams=Streams(0))
    assert energies_on_air(uplink, u, plan).item() < 0.95
    assert 0.999 < energies_on_air(uplink, u, plan).item() * uplink.carrier.prefix_overhead <= 1
