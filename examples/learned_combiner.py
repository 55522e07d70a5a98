"""Learn how far a receiver may trust its channel estimate, by backpropagation through the uplink, and meet the optimum.

h_est = h + e: an LMMSE combiner that takes h_est for h nulls devices which are not where it looks. Best is to shrink it
and to count its error as noise: h = c h_est + e' with c = 1 / (1 + nmse), and e' of variance c nmse is independent of h_est.
The learned combiner is not told the NMSE; it finds both factors from the errors of the mean. 0 dB is as good as saying zero.
"""

import math

import torch

from laser_wireless.channels import AnalogUplink, FullPower, Lmmse, MaximumRatio, NoCsi, NoisyCsi, Streams

NUM_DEVICES, NUM_ANTENNAS, NUM_SYMBOLS, SNR_DB = 8, 8, 16, 15.0


class LoadedLmmse(torch.nn.Module):
    """LMMSE for gains `shrink` h_est and for more noise: `loading` times what all devices send together."""

    alternations = 0
    mean_of = "all"

    def __init__(self, *, shrink=1.0, loading=0.01):
        super().__init__()
        self.log_shrink = torch.nn.Parameter(torch.tensor(math.log(shrink), dtype=torch.float64))
        self.log_loading = torch.nn.Parameter(torch.tensor(math.log(loading), dtype=torch.float64))  # stays > 0

    def beam(self, h, air):
        """Without CSI at the devices the first beam changes nothing."""
        return MaximumRatio().beam(h, air)

    def combine(self, arriving, beam, transceiver, power, noise_variance, air):
        """Choose w; a receiver is any object with these two methods and the two names above."""
        sent = air.sum(transceiver.precoder.abs().square() * power, dim=-2)[..., 0, 0]  # energy per real symbol
        noise = noise_variance + self.log_loading.exp() * sent
        return Lmmse().combine(self.log_shrink.exp() * arriving, beam, transceiver, power, noise, air)


def errors(receiver, nmse, num_rounds, *, round, streams):
    """Squared error of the estimated mean in each round [num_rounds], over the mean energy of that mean."""
    shape = (num_rounds, NUM_DEVICES, NUM_ANTENNAS, 1)
    h = torch.randn(shape, dtype=torch.complex64, generator=streams.generator("gains", round))
    u = torch.randn(num_rounds, NUM_DEVICES, NUM_SYMBOLS, generator=streams.generator("messages", round))
    uplink = AnalogUplink(
        energy_budget=NUM_SYMBOLS,
        noise_variance=10 ** (-SNR_DB / 10),
        num_rx_antennas=NUM_ANTENNAS,
        csi=NoCsi(),
        receiver_csi=NoisyCsi(nmse=nmse),
        power_control=FullPower(phase=False),
        receiver=receiver,
    )
    estimate = uplink.aggregate(u, (NUM_SYMBOLS,), round=round, streams=streams, gains=h).estimate
    mean = u.mean(-2)
    return (estimate - mean).square().sum(-1) / mean.square().sum(-1).mean()


def train(nmse, num_steps, *, streams):
    """Start at a combiner that all but trusts its estimate; fresh rounds in every step."""
    receiver = LoadedLmmse()
    optimizer = torch.optim.Adam(receiver.parameters(), lr=0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        loss = errors(receiver, nmse, 64, round=step, streams=streams).mean().log()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return receiver


def compare(receiver, nmse, num_rounds, *, held_out):
    """Errors [num_rounds] of three combiners on the same held-out channels, messages and noise."""
    optimum = LoadedLmmse(shrink=1 / (1 + nmse), loading=nmse / (1 + nmse))
    rules = {"LMMSE that trusts h_est": Lmmse(), "learned": receiver, "optimum, knows the NMSE": optimum}
    with torch.no_grad():
        return {name: errors(rule, nmse, num_rounds, round=0, streams=held_out) for name, rule in rules.items()}


def main():
    for nmse in (0.1, 0.3):
        receiver = train(nmse, 80, streams=Streams(0))
        found = compare(receiver, nmse, 4000, held_out=Streams(1))
        shrink, loading = receiver.log_shrink.exp().item(), receiver.log_loading.exp().item()
        print(f"NMSE {nmse}: learned shrink {shrink:.3f} and loading {loading:.3f}, ", end="")
        print(f"best {1 / (1 + nmse):.3f} and {nmse / (1 + nmse):.3f}; MSE in dB, standard error")
        for name, error in found.items():
            mse, deviation = error.mean().item(), error.std().item() / len(error) ** 0.5
            print(f"  {name:24s} {10 * math.log10(mse):6.2f} +-{10 / math.log(10) * deviation / mse:.2f}")
        excess = found["learned"].mean() / found["optimum, knows the NMSE"].mean() - 1
        print(f"  the learned combiner is within {100 * excess.item():.1f} % of the optimum")


if __name__ == "__main__":
    main()
