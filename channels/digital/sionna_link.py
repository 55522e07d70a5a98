"""A real link: QAM and the 5G LDPC code of Sionna, with its decoding errors.

Code blocks of up to block_uses complex channel uses carry k information bits, 24 of them a checksum, as n = m uses coded
bits in symbols of 2^m-QAM of unit energy. The receiver knows the gain; what is left of it is an SNR per channel use.
Decoding takes about 7 s of CPU time per Mbit: for small models only. Unlike the formulas of `link_rate`, this link reads
tensor values on the host in every round, since each format has a decoder of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.sionna_runtime import device_name, load_sionna

_CHECKSUM = 24  # bits, as CRC24A
_SHORTEST, _LONGEST = 25, 8448  # information bits of a code block
_AT_ONCE = 256  # code blocks decoded together
_HIGHEST_SNR = 1e7  # a demapper divides by the noise
_MODULATIONS = (
    (2, 1 / 5),
    (2, 1 / 3),
    (2, 1 / 2),
    (2, 2 / 3),
    (4, 1 / 2),
    (4, 2 / 3),
    (6, 2 / 3),
    (6, 4 / 5),
    (8, 3 / 4),
    (8, 0.85),
)


class Format(NamedTuple):
    """A modulation and a code: m bits per symbol, k information bits in n coded bits, SNR from which it is used."""

    bits_per_symbol: int
    information: int
    coded: int
    threshold: float

    @property
    def payload(self) -> int:
        """Information bits without the checksum."""
        return self.information - _CHECKSUM


@dataclass(frozen=True, kw_only=True)
@checked
class LdpcLink:
    """QPSK to 256-QAM with the LDPC code of 3GPP TS 38.212, rates 1/5 to 0.85, decoded by belief propagation.

    A device's channel uses are cut into C equal code blocks of one format, the fastest whose k / uses lies below
    log2(1 + snr / gap). A block whose decoded bits differ from those sent is lost, as if the checksum, which is paid for,
    told so without fail. What is coded are random bits in place of the message's: the code is linear and, as in 5G, bits
    are scrambled, so that errors do not depend on them.

    Args:
        block_uses: most complex channel uses of a code block; long blocks come closer to capacity.
        gap_db: >= 0, SNR beyond capacity's that a format is given. At 512 channel uses a block error rate of 1 % takes 1.9
            dB with QPSK of rate 1/2, 2.6 to 3 dB with 256-QAM, measured; shorter blocks take more.
        num_iterations: of the decoder.
    """

    block_uses: int = 512
    gap_db: float = 3.0
    num_iterations: int = 20

    def __post_init__(self) -> None:
        if not 64 <= self.block_uses <= 1024:
            raise ValueError(f"block_uses must be an integer from 64 to 1024 channel uses, got {self.block_uses}")
        if not 0 <= self.gap_db < math.inf:
            raise ValueError(f"gap_db must be finite and >= 0 (SNR beyond capacity's, in dB), got {self.gap_db}")
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations must be an integer >= 1, got {self.num_iterations}")

    def formats(self, num_channel_uses: int) -> tuple[int, list[Format]]:
        """Code blocks C of a device with so many channel uses, and the formats for them, slowest first."""
        num_blocks = max(1, -(-num_channel_uses // self.block_uses))
        uses = num_channel_uses // num_blocks
        formats = []
        for bits_per_symbol, rate in _MODULATIONS:
            coded = bits_per_symbol * uses
            information = math.ceil(rate * coded - 1e-9)
            if _SHORTEST <= information <= _LONGEST:
                threshold = 10 ** (self.gap_db / 10) * (2 ** (information / uses) - 1)
                formats.append(Format(bits_per_symbol, information, coded, threshold))
        return num_blocks, formats

    def bits(self, snr: Tensor, num_channel_uses: Tensor) -> Tensor:
        """Return the payload of the fastest format that the SNR carries, 0 if none; see `Link`."""
        num_blocks, formats = self.formats(_whole(num_channel_uses))
        payloads = constant([0, *(num_blocks * f.payload for f in formats)], dtype=torch.float64, device=snr.device)
        thresholds = constant([f.threshold for f in formats], dtype=torch.float64, device=snr.device)
        return payloads[torch.bucketize(snr, thresholds, right=True)]

    def arrivals(self, snr: Tensor, bits: Tensor, num_channel_uses: Tensor, *, generator: torch.Generator) -> Tensor:
        """Send every device's code blocks and tell which were decoded; see `Link`."""
        num_blocks, formats = self.formats(_whole(num_channel_uses))
        snr, bits = torch.broadcast_tensors(snr, bits)
        arrived = torch.zeros(*bits.shape, num_blocks, dtype=torch.bool, device=bits.device)
        slower = 0
        for form in formats:
            mine = (bits > slower) & (bits <= num_blocks * form.payload)
            slower = num_blocks * form.payload
            each = snr[mine].repeat_interleave(num_blocks)
            if not len(each):
                continue
            shape = (len(each), form.information)
            sent = torch.randint(0, 2, shape, dtype=torch.float32, device=each.device, generator=generator)
            decoded = self.transmit(sent, each, form, generator=generator)
            arrived[mine] = (decoded == sent).all(-1).view(-1, num_blocks)
        return arrived

    def transmit(self, information: Tensor, snr: Tensor, form: Format, *, generator: torch.Generator) -> Tensor:
        """Encode, modulate, add noise, demodulate and decode.

        Args:
            information: float32 [num, k], bits 0 and 1, the checksum's among them.
            snr: real [num], energy of a symbol over that of its complex noise.
            form: from `formats`.
            generator: draws the noise.

        Returns:
            float32 [num, k], the decoder's bits.
        """
        name = device_name(information.device)
        encode, decode, to_symbols, to_llr = _chain(form, self.num_iterations, name)
        pieces = []
        for bits, ratio in zip(information.split(_AT_ONCE), snr.split(_AT_ONCE), strict=True):
            x = to_symbols(encode(bits))
            no = ratio.clamp(1 / _HIGHEST_SNR, _HIGHEST_SNR).reciprocal().float().unsqueeze(-1).expand(x.shape)
            n = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
            pieces.append(decode(to_llr(x + n * no.sqrt(), no.contiguous())))
        return torch.cat(pieces)


@lru_cache(maxsize=64)
def _chain(form: Format, num_iterations: int, device: str) -> tuple[Any, Any, Any, Any]:
    """Encoder, decoder, mapper and demapper of a format; kept, since the code's graph takes time to build."""
    load_sionna()
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import Demapper, Mapper

    m, where = form.bits_per_symbol, {"precision": "single", "device": device}
    encoder = LDPC5GEncoder(form.information, form.coded, num_bits_per_symbol=m, check_input=False, **where)
    decoder = LDPC5GDecoder(encoder, num_iter=num_iterations, hard_out=True, **where)
    return encoder, decoder, Mapper("qam", m, **where), Demapper("app", "qam", m, **where)


def _whole(num_channel_uses: Tensor) -> int:
    """Channel uses of each device, the same for all."""
    return int(num_channel_uses.max())
