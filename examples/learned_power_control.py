"""Learn a power control by backpropagation through the uplink: each device sees nothing but its own gain and message.

A network sets the amplitude of a device from its |h|, the norm of its message, its budget and the noise. Its rivals know
more: the inversions what the weakest device in use can afford, `MseOptimal`, which nothing can beat, all gains and norms.
Rayleigh fading, messages of unequal size. MSE is relative to the energy of the mean: 0 dB is as good as saying zero.
"""

import math

import torch

from laser_wireless.channels import (
    AnalogUplink,
    FullPower,
    MseOptimal,
    RegularisedInversion,
    Streams,
    Transceiver,
    TruncatedInversion,
)
from laser_wireless.channels.power_control.estimation_error import delivered_share, least_error_scale

NUM_DEVICES, NUM_SYMBOLS = 10, 16
SNR_DB = torch.tensor([[0.0], [5.0], [10.0], [15.0]], dtype=torch.float64)  # a leading axis, before that of the rounds
CHOICES = [0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5]  # of |h|^2, for the inversions
INVERSIONS = {
    "truncated inversion, tuned": [TruncatedInversion(threshold=x) for x in CHOICES],
    "regularised, tuned": [RegularisedInversion(regulariser=x) for x in CHOICES],
}


class LearnedPower(torch.nn.Module):
    """Send a share in (0, 1) of the amplitude that the energy allows, with the phase undone."""

    def __init__(self, *, generator, width=32):
        super().__init__()
        draw = torch.randn(5, width, dtype=torch.float64, generator=generator)
        self.inner = torch.nn.Parameter(draw[:3])
        self.shift = torch.nn.Parameter(draw[3])
        self.outer = torch.nn.Parameter(0.1 * draw[4])

    def forward(self, h, norms, energy, noise_variance, *, agreement):
        """Choose precoders and scale, as any power control does, here for one block with one gain: B = G = 1."""
        noise_energy = noise_variance[..., None, None] * NUM_SYMBOLS
        gain = h.to(torch.complex128)
        seen = torch.broadcast_tensors(gain.abs().log(), norms.log(), (energy / noise_energy).log() / 2)
        hidden = torch.tanh(torch.stack(seen, dim=-1) @ self.inner + self.shift)
        share = torch.sigmoid(2 + hidden @ self.outer)  # below 1, so no device can break its limit
        b = share * energy.sqrt() / norms * gain.conj() / gain.abs()
        scale = least_error_scale(gain * b, norms, noise_energy, agreement.air)  # of a receiver that knows what arrives
        delivered = delivered_share(scale * gain * b, NUM_DEVICES)
        return Transceiver(b, scale, delivered, torch.ones_like(delivered, dtype=torch.bool))


def draw(num_rounds, *, round, streams):
    """Gains [num_rounds, K, 1] and messages [SNR, num_rounds, K, S], the same at every SNR."""
    h = torch.randn(num_rounds, NUM_DEVICES, 1, dtype=torch.complex64, generator=streams.generator("gains", round))
    generator = streams.generator("messages", round)
    size = torch.exp2(2 * torch.rand(num_rounds, NUM_DEVICES, 1, generator=generator) - 1)  # from 1/2 to 2
    u = size * torch.randn(num_rounds, NUM_DEVICES, NUM_SYMBOLS, generator=generator)
    return h, u.expand(len(SNR_DB), -1, -1, -1)


def uplink_of(power_control):
    return AnalogUplink(energy_budget=NUM_SYMBOLS, noise_variance=10 ** (-SNR_DB / 10), power_control=power_control)


def errors(power_control, h, u, *, round, streams):
    """Squared error of the estimated mean in each round [SNR, num_rounds], over the mean energy of that mean."""
    uplink = uplink_of(power_control)
    estimate = uplink.aggregate(u, (NUM_SYMBOLS,), round=round, streams=streams, gains=h).estimate
    mean = u.mean(-2)
    return (estimate - mean).square().sum(-1) / mean.square().sum(-1).mean()


def train(num_steps, *, streams):
    """Lower the MSE in dB, mean over the SNRs, on fresh channels, messages and noise in every step."""
    rule = LearnedPower(generator=streams.generator("weights", 0))
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        h, u = draw(64, round=step, streams=streams)
        loss = errors(rule, h, u, round=step, streams=streams).mean(1).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return rule


def compare(rule, num_rounds, *, training, held_out):
    """Errors [SNR, num_rounds] of five rules on the same held-out channels, messages and noise."""
    found = {}
    with torch.no_grad():
        h, u = draw(num_rounds, round=0, streams=training)
        new_h, new_u = draw(num_rounds, round=0, streams=held_out)
        for name, family in INVERSIONS.items():
            mse = torch.stack([errors(rival, h, u, round=0, streams=training).mean(1) for rival in family])
            held = torch.stack([errors(rival, new_h, new_u, round=0, streams=held_out) for rival in family])
            found[name] = held[mse.argmin(0), torch.arange(len(SNR_DB))]  # the best on training channels, for each SNR
        for name, other in {"full power": FullPower(), "learned": rule, "optimum, knows all": MseOptimal()}.items():
            found[name] = errors(other, new_h, new_u, round=0, streams=held_out)
    return found


def gain_in_standard_errors(found, name):
    """By how much the learned rule is better, float64 [SNR]; paired, as both met the same rounds."""
    gain = found[name] - found["learned"]
    return gain.mean(1) / gain.std(1) * gain.shape[1] ** 0.5


def arriving(rule):
    """Amplitude [SNR, K] at which devices arrive that could arrive with 0.1, 0.2, ..., 1.0."""
    h = torch.linspace(0.1, 1, NUM_DEVICES).unsqueeze(1)
    u = torch.ones(len(SNR_DB), 1, NUM_DEVICES, NUM_SYMBOLS)  # of the energy of the budget
    with torch.no_grad():
        plan = uplink_of(rule).plan(u, (NUM_SYMBOLS,), round=0, streams=Streams(0), gains=h)
    return (plan.gains[..., 0, :] * plan.design.transceiver.precoder).abs().squeeze(-1).squeeze(1)


def main():
    rule = train(300, streams=Streams(0))
    found = compare(rule, 4000, training=Streams(0), held_out=Streams(1))
    print("MSE in dB, standard error  ", *(f"   SNR {snr:2.0f} dB " for snr in SNR_DB.flatten().tolist()))
    for name, error in found.items():
        mse = error.mean(1)
        deviation = 10 / math.log(10) * error.std(1) / error.shape[1] ** 0.5 / mse  # of the decibels
        pairs = zip((10 * mse.log10()).tolist(), deviation.tolist(), strict=True)
        print(f"{name:26s}", *(f"{decibels:8.2f} +-{d:.2f}" for decibels, d in pairs))
    print("gain of the learned rule in standard errors of the paired difference:")
    for name in INVERSIONS:
        print(f"  over {name:26s}", *(f"{z:5.0f}" for z in gain_in_standard_errors(found, name).tolist()))
    print("one's own gain is enough to beat both inversions, but where noise is low it pays to know the weakest device")
    levels = " ".join(f"{level:.2f}" for level in arriving(rule)[2].tolist())
    print(f"at 10 dB, devices that could arrive with 0.1, 0.2, ... 1.0 arrive with {levels}:")
    print("full power in a fade and one level above, the structure of the optimum, was learned from errors alone")


if __name__ == "__main__":
    main()
