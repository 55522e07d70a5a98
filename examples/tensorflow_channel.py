"""A channel written in TensorFlow, and a predistorter in torch that is trained through it.

The channel saturates each device's amplifier and adds the devices up. Gradients come back from TensorFlow by
tf.GradientTape, so that a cubic predistorter x + c |x|^2 x learns to undo most of the saturation.
"""

import torch

from laser_wireless.channels import AnalogUplink, Streams, TruncatedInversion
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowChannel, TensorFlowFading


def saturating_uplink(x, seed):
    """Amplifiers x / sqrt(1 + |x|^2), then superposition: [num_devices, n] -> [1, n]."""
    gain = tf.math.rsqrt(1 + tf.math.abs(x) ** 2)
    return tf.reduce_sum(x * tf.complex(gain, tf.zeros_like(gain)), axis=0, keepdims=True)


def my_fading(num_devices, num_rx_antennas, num_slots, num_frequency_blocks, seed):
    """Rayleigh fading: complex gains with E|h|^2 = 1."""
    parts = tf.random.stateless_normal((2, num_devices, num_rx_antennas, num_slots, num_frequency_blocks), seed) / 2**0.5
    return tf.complex(parts[0], parts[1])


def main():
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(8, 2000, dtype=torch.complex64, generator=generator)
    channel = TensorFlowChannel(function=saturating_uplink)
    c = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([c], lr=0.05)
    errors = []
    for step in range(60):
        y = channel(x + c * x.abs().square() * x, round=step, generator=generator)
        error = (y - x.sum(0)).abs().square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    print(f"error of the sum {errors[0]:.2e}, with the learned predistorter c = {c.item():.3f} {errors[-1]:.2e}")
    assert errors[-1] < 0.1 * errors[0]

    uplink = AnalogUplink(
        energy_budget=1e4, fading=TensorFlowFading(function=my_fading), power_control=TruncatedInversion(threshold=0.5)
    )
    messages = torch.randn(64, 200, generator=generator)
    summary = uplink.aggregate(messages, (200,), round=0, streams=Streams(0)).ledger.summary()
    print(f"fading drawn in TensorFlow: {summary['active_fraction']:.0%} of the devices send, the others are in a fade")


try:
    import tensorflow as tf
except ModuleNotFoundError:
    print("this example needs TensorFlow: pip install 'laser-wireless[tensorflow]'")
else:
    main()
