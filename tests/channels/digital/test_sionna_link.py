"""The LDPC link: exact without noise, block errors between the finite-blocklength approximation and 1.5 dB from it."""

import math

import pytest
import torch
from helpers.statistical import FALSE_ALARM, seeded
from helpers.uplinks import random_message
from scipy.stats import binom, fisher_exact

from laser_wireless.channels.digital.link_rate import capacity, packet_error_probability
from laser_wireless.channels.digital.quantisation import SparseQuantiser, StochasticQuantiser
from laser_wireless.channels.digital.sionna_link import LdpcLink
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.propagation.sionna_runtime import load_sionna, sionna_draws_from
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.orthogonal_access import DigitalUplink
from laser_wireless.compression import Uncompressed
from laser_wireless.training import UplinkBridge

SHORT = LdpcLink(block_uses=64)


@pytest.fixture(autouse=True)
def _needs_sionna():
    pytest.importorskip("sionna")


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def block_errors(form, snr_db, num, *, seed=0, link=SHORT):
    """How many of `num` code blocks fail."""
    generator = seeded(seed)
    bits = torch.randint(0, 2, (num, form.information), generator=generator).float()
    snr = torch.full((num,), 10 ** (snr_db / 10), dtype=torch.float64)
    return int((link.transmit(bits, snr, form, generator=generator) != bits).any(-1).sum())


def limit(form, uses, snr_db):
    """Block error probability of the best code of this length, by the normal approximation."""
    return packet_error_probability(float64(10 ** (snr_db / 10)), float64(form.information), float64(uses)).item()


@pytest.mark.parametrize("index", [0, 4, 8])
def test_without_noise_every_bit_comes_back(index):
    form = SHORT.formats(64)[1][index]
    assert block_errors(form, 60.0, 8) == 0


def test_much_noise_leaves_nothing():
    form = SHORT.formats(64)[1][2]
    assert block_errors(form, -10.0, 8) == 8


@pytest.mark.parametrize(("uses", "index", "snr_db"), [(64, 1, 0.5), (256, 2, 1.3)])
def test_block_errors_lie_between_the_best_code_and_one_two_db_worse(uses, index, snr_db):
    """QPSK of rate 1/3 and 1/2: k = 43 in n = 128 bits, k = 256 in 512."""
    form, num = LdpcLink(block_uses=uses).formats(uses)[1][index], 120
    errors = block_errors(form, snr_db, num)
    best, worse = limit(form, uses, snr_db), limit(form, uses, snr_db - 1.5)
    assert best < 0.5 * worse
    assert errors >= binom.ppf(1e-6, num, best)
    assert errors <= binom.ppf(1 - 1e-6, num, worse)


def test_block_errors_are_those_of_sionnas_own_chain():
    """Same code, but bits, noise and its convention by Sionna: as many errors as chance allows (Fisher's exact test)."""
    form, snr_db, num = SHORT.formats(64)[1][2], 2.0, 200
    load_sionna()
    from sionna.phy.channel import AWGN
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import BinarySource, Demapper, Mapper
    from sionna.phy.utils import ebnodb2no

    with sionna_draws_from(seeded(8)) as device:
        where = {"precision": "single", "device": device}
        encoder = LDPC5GEncoder(form.information, form.coded, num_bits_per_symbol=2, **where)
        rate = form.information / form.coded
        no = ebnodb2no(snr_db - 10 * math.log10(2 * rate), 2, rate)  # Es = 2 rate Eb
        sent = BinarySource(**where)([num, form.information])
        y = AWGN(**where)(Mapper("qam", 2, **where)(encoder(sent)), no)
        decoded = LDPC5GDecoder(encoder, num_iter=20, **where)(Demapper("app", "qam", 2, **where)(y, no))
    theirs = int((decoded != sent).any(-1).sum())

    def pvalue(ours):
        return fisher_exact([[ours, num - ours], [theirs, num - theirs]]).pvalue

    assert 0.05 * num < theirs < 0.7 * num
    assert pvalue(block_errors(form, snr_db, num)) >= FALSE_ALARM
    assert pvalue(block_errors(form, snr_db - 1.5, num)) < FALSE_ALARM


def test_bits_grow_with_the_snr_and_stay_below_capacity_by_the_gap():
    snr, uses = 10 ** torch.linspace(-2, 4, 200, dtype=torch.float64), float64(1000)
    for link in (LdpcLink(gap_db=0.0), LdpcLink(), SHORT):
        bits = link.bits(snr, uses)
        assert (bits.diff() >= 0).all()
        assert (bits <= uses * capacity(snr / 10 ** (link.gap_db / 10))).all()
        assert bits[0] == 0
        assert bits[-1] > 5000


def test_blocks_share_the_channel_uses():
    num_blocks, formats = LdpcLink(block_uses=512).formats(1300)
    assert num_blocks == 3
    assert [form.coded for form in formats[:4]] == [2 * 433] * 4
    assert formats[2].information == 433
    assert formats[2].payload == 433 - 24


def test_too_few_channel_uses_carry_nothing():
    assert LdpcLink().bits(float64(math.inf, 1.0), float64(3)).tolist() == [0.0, 0.0]


def test_bits_received_per_channel_use_stay_below_capacity():
    snr_db = 6.0
    snr, uses = float64(*[10 ** (snr_db / 10)] * 20), float64(128)
    link = LdpcLink(block_uses=64, gap_db=1.0)
    bits = link.bits(snr, uses)
    arrived = link.arrivals(snr, bits, uses, generator=seeded(2))
    assert arrived.shape == (20, 2)
    goodput = (arrived.double().mean(-1) * bits / uses).mean()
    assert 0 < goodput < capacity(snr[:1]).item()


def test_silent_devices_send_no_blocks_and_axes_are_kept():
    snr, bits = float64(100, 100, 0).expand(2, 3), float64(40, 0, 40).expand(2, 3)
    arrived = SHORT.arrivals(snr, bits, float64(64), generator=seeded(0))
    assert arrived.squeeze(-1).tolist() == [[True, False, False]] * 2


@pytest.mark.parametrize("quantiser", [StochasticQuantiser(), SparseQuantiser()], ids=str)
def test_lost_blocks_take_their_symbols_with_them(quantiser):
    """1.5 dB from capacity many short blocks fail; what arrives is what was quantised, averaged over those heard."""
    u = random_message(4, (120, 80))
    options = {"energy_budget": 3.7e3, "quantiser": quantiser, "num_channel_uses": 4 * 256}
    reception, whole = (
        DigitalUplink(**options, link=link).aggregate(u, (120, 80), round=1, streams=Streams(4))
        for link in (LdpcLink(block_uses=64, gap_db=0.0), _Flawless(block_uses=64, gap_db=0.0))
    )
    reception.ledger.check()
    assert ((reception.ledger.lost > 0) & (reception.ledger.lost < 1)).any()
    assert (whole.ledger.lost == 0).all()
    kept = reception.decoded == whole.decoded
    assert (reception.decoded[~kept] == 0).all()
    share = torch.stack([piece.double().mean(-1) for piece in kept.split([120, 80], -1)], -1)
    assert (reception.delivered <= share).all()  # a zero may be lost unseen
    heard = (reception.decoded != 0).sum(0)
    every = heard == 4
    assert torch.allclose(reception.estimate[every], reception.decoded.mean(0)[every], atol=1e-6)
    size = torch.tensor([120.0, 80.0], dtype=torch.float64) / 200
    assert torch.allclose(reception.delivered @ size, 1 - reception.ledger.lost)


class _Flawless(LdpcLink):
    """The same formats; every block arrives."""

    def arrivals(self, snr, bits, num_channel_uses, *, generator):
        return torch.ones(*bits.shape, self.formats(int(num_channel_uses))[0], dtype=torch.bool)


def test_same_round_same_errors_and_torch_left_alone():
    u = random_message(2, (60,))
    uplink = DigitalUplink(energy_budget=300.0, link=LdpcLink(block_uses=64, gap_db=1.0), num_channel_uses=256)
    before = torch.get_rng_state()
    first, again = (uplink.aggregate(u, (60,), round=2, streams=Streams(0)).estimate for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def test_training_over_real_code_blocks():
    target = torch.randn(3, 8, 5, generator=seeded(0))
    model = torch.nn.Linear(5, 8, bias=False)
    torch.nn.init.zeros_(model.weight)
    uplink = DigitalUplink(
        energy_budget=1e3,
        fading=Rayleigh(),
        link=LdpcLink(block_uses=64, gap_db=1.5),
        quantiser=SparseQuantiser(),
        num_channel_uses=3 * 128,
    )
    scheme = Uncompressed(error_feedback=True)
    bridge = UplinkBridge(model, num_devices=3, compressor=scheme, uplink=uplink, seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        for k in range(3):
            with bridge.gradients_of(k):
                (0.5 * (model.weight - target[k]).square().sum()).backward()
        bridge.exchange().check()
        optimizer.step()
    left = (model.weight.detach() - target.mean(0)).square().sum()
    assert left < 0.3 * target.mean(0).square().sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_uses": 63}, "block_uses must be an integer from 64 to 1024"),
        ({"gap_db": -1.0}, "gap_db"),
        ({"gap_db": math.nan}, "gap_db"),
        ({"num_iterations": 0}, "num_iterations"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LdpcLink(**options)
