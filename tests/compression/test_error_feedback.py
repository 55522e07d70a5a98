"""Conservation: memory before + gradient = delivered + memory after, for every device in every round."""

import pytest
import torch
from helpers.schemes import COMPRESSORS, SIZE, Run, flat, random_gradients
from helpers.uplinks import deep_fades, name_of

from laser_wireless.channels import AnalogUplink, NoFading, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression import GaussianProjection, Sign

WITH_MEMORY = [compressor for compressor in COMPRESSORS if compressor.error_feedback]
VOTE = Sign(error_feedback=True)  # the size that it subtracts is its own, in no message
READ_BACK = [c for c in WITH_MEMORY if not isinstance(c, GaussianProjection) and c != VOTE]  # AMP: its selection counts


def everybody_out(num_devices, num_rx_antennas, grid, *, round, generator):
    """An outage of everybody, every second round."""
    return torch.full((num_devices, 1, 1, 1), float(round % 2), dtype=torch.complex64, device=generator.device)


SILENCES = {
    "heard": AnalogUplink(energy_budget=3.0, fading=NoFading()),
    "faded": AnalogUplink(energy_budget=3.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.8)),
    "faded by symbol": AnalogUplink(
        energy_budget=3.0, fading=deep_fades, coherence="symbol", power_control=TruncatedInversion(threshold=0.3)
    ),
    "clipped": AnalogUplink(energy_budget=3.0, scale=PreviousScale()),
    "clipped and faded": AnalogUplink(
        energy_budget=3.0, fading=Rayleigh(), scale=PreviousScale(), power_control=TruncatedInversion(threshold=0.5)
    ),
    "nobody": AnalogUplink(energy_budget=3.0, fading=everybody_out),
    "without budget": AnalogUplink(energy_budget=[1.0, 0.0, 2.0]),
}


def decoded_by_each(step, compressor, state, round):
    """What each device's own delivered symbols decode to, by the receiver's decoder."""
    delivered = step.reception.delivered_symbols(step.message.symbols)
    return torch.stack([flat(compressor.decode(row, state, round=round)[0]) for row in delivered])


@pytest.mark.parametrize("compressor", READ_BACK, ids=str)
@pytest.mark.parametrize("silence", SILENCES)
def test_nothing_is_lost(silence, compressor, device):
    run = Run(compressor, SILENCES[silence], device=device)
    seen_owed = False
    for round in range(5):
        state = run.state
        gradients = random_gradients(3, seed=round).to(device) * (1 + round)  # growing, so that devices are clipped
        before = torch.zeros_like(gradients) if run.memory is None else run.memory.clone()
        step = run.step(gradients)
        sent = decoded_by_each(step, compressor, state, round)
        torch.testing.assert_close(before + gradients, sent + step.owed, rtol=1e-12, atol=1e-12)
        seen_owed |= bool(step.owed.any())
    assert seen_owed or (compressor in COMPRESSORS[:2] and silence == "heard")


@pytest.mark.parametrize("compressor", WITH_MEMORY, ids=str)
def test_outage_of_everybody_keeps_everything(compressor):
    step = Run(compressor, SILENCES["nobody"]).step(random_gradients(3))
    assert torch.equal(step.owed, step.asked)
    assert not flat(step.decoded).any()


@pytest.mark.parametrize("compressor", WITH_MEMORY, ids=str)
def test_void_round_keeps_what_the_other_devices_owe(compressor):
    gradients = random_gradients(3)
    gradients[1, 7] = torch.nan
    step = Run(compressor, SILENCES["heard"]).step(gradients)
    assert torch.equal(step.owed[[0, 2]], step.asked[[0, 2]])
    assert not flat(step.decoded).any()
    assert step.reception.ledger.nonfinite.tolist() == [False, True, False]


def test_noise_never_enters_the_memory():
    loud, quiet = (
        Run(COMPRESSORS[3], AnalogUplink(energy_budget=1.0, noise_variance=variance)).step(random_gradients(3)).owed
        for variance in (100.0, 0.0)
    )
    assert torch.equal(loud, quiet)


@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if not c.error_feedback], ids=name_of)
def test_without_error_feedback_nothing_is_owed(compressor):
    step = Run(compressor, SILENCES["faded"]).step(random_gradients(3))
    assert torch.equal(step.owed, compressor.momentum * step.asked)


def test_mean_of_what_was_delivered_and_owed_is_the_mean_asked():
    """Over a whole noiseless run: sum of decoded gradients + mean memory = sum of mean gradients."""
    run = Run(COMPRESSORS[2], AnalogUplink(energy_budget=1.0, noise_variance=0.0))
    total, decoded = torch.zeros(SIZE, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.float64)
    for round in range(10):
        gradients = random_gradients(3, seed=round)
        total += gradients.mean(0)
        decoded += flat(run.step(gradients).decoded)
    torch.testing.assert_close(decoded + run.memory.mean(0), total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("compressor", READ_BACK, ids=str)
def test_one_device_without_noise_is_a_wire(compressor):
    """What one device asked is what the receiver decoded, and what is still owed."""
    run = Run(compressor, AnalogUplink(energy_budget=1.0, noise_variance=0.0), num_devices=1)
    for round in range(3):
        step = run.step(random_gradients(1, seed=round))
        torch.testing.assert_close(flat(step.decoded) + step.owed[0], step.asked[0], rtol=1e-12, atol=1e-12)
        assert 0.999 < step.reception.ledger.energy_spent.item() <= 1.0
