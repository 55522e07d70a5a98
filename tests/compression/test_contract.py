"""What every compressor keeps to: shapes, inputs left alone, determinism, finite at any scale, bad input refused."""

from typing import ClassVar

import pytest
import torch
from helpers.schemes import COMPRESSORS, SHAPES, SIZE, Run, begin, flat, random_gradients, tensors_of
from helpers.uplinks import deep_fades, name_of
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression import LowRank, TopK
from laser_wireless.compression.stacked import can_stack, stack_states, unstack_state

every_compressor = pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)


@every_compressor
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("round", [0, 1])
def test_message_is_laid_out_in_blocks(compressor, round, dtype, device):
    gradients = random_gradients(3, dtype=dtype).to(device)
    message = compressor.encode(gradients, begin(compressor, dtype=dtype, device=device), round=round)
    assert message.symbols.shape == (3, sum(message.layout))
    assert (message.symbols.dtype, message.symbols.device.type) == (dtype, device.type)
    assert message.share_as is None or len(message.share_as) == len(message.layout)


@every_compressor
def test_decoded_gradients_have_the_shapes_of_the_parameters(compressor, device):
    step = Run(compressor, NOISELESS, device=device).step(random_gradients(3).to(device))
    assert tuple(tuple(gradient.shape) for gradient in step.decoded) == SHAPES


@every_compressor
def test_encoding_leaves_gradients_state_and_global_rng_alone(compressor, global_rng_untouched):
    gradients, state = random_gradients(3), begin(compressor)
    before = gradients.clone()
    message = compressor.encode(gradients, state, round=0)
    estimate = message.symbols.mean(0)
    copies = [tensor.clone() for tensor in tensors_of(state)]
    compressor.decode(estimate, state, round=0)
    assert torch.equal(gradients, before)
    assert all(torch.equal(a, b) for a, b in zip(copies, tensors_of(state), strict=True))


@every_compressor
def test_same_seed_gives_the_same_run(compressor, device, deterministic_algorithms):
    one, other = (
        [flat(run.step(random_gradients(3, seed=t).to(device)).decoded) for t in range(3)]
        for run in (Run(compressor, AnalogUplink(energy_budget=1.0, fading=Rayleigh()), device=device) for _ in range(2))
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every_compressor
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e30])
def test_any_scale_of_gradients_stays_finite(compressor, scale, device):
    run = Run(compressor, AnalogUplink(energy_budget=100.0), dtype=torch.float32, device=device)
    for round in range(4):
        step = run.step(random_gradients(3, dtype=torch.float32, seed=round).to(device) * scale)
        assert flat(step.decoded).isfinite().all()
        assert step.owed.isfinite().all()
        step.reception.ledger.check()


@every_compressor
def test_gradients_of_zeros_decode_to_zeros(compressor):
    run = Run(compressor, AnalogUplink(energy_budget=1.0))
    for _ in range(3):
        assert not flat(run.step(torch.zeros(3, SIZE, dtype=torch.float64)).decoded).any()


@every_compressor
def test_decoding_into_given_memory_gives_the_same(compressor):
    gradients, state = random_gradients(3), begin(compressor)
    for round in range(2):
        estimate = compressor.encode(gradients, state, round=round).symbols.mean(0)
        fresh, _ = compressor.decode(estimate, state, round=round)
        out = [torch.full(shape, torch.nan, dtype=torch.float64) for shape in SHAPES]
        with torch.no_grad():
            reused, _ = compressor.decode(estimate, state, round=round, out=out)
        assert torch.equal(flat(reused), flat(fresh))


@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if not isinstance(c, TopK)], ids=str)  # its devices differ
def test_one_device_at_a_time_encodes_the_same(compressor):
    gradients, state = random_gradients(3), begin(compressor)
    for round in range(2):
        together = compressor.encode(gradients, state, round=round).symbols
        for k in range(3):
            alone = compressor.encode(gradients[k : k + 1], state, round=round).symbols
            torch.testing.assert_close(alone[0], together[k], rtol=1e-12, atol=1e-12)


@every_compressor
@pytest.mark.parametrize("coherence", ["round", "symbol"])
def test_no_host_reads(compressor, coherence):
    """On fake tensors, which have no values; more channels are in tests/channels/test_no_host_reads.py."""
    uplink = AnalogUplink(
        energy_budget=1.0,
        fading=deep_fades,
        power_control=TruncatedInversion(),
        scale=PreviousScale(),
        coherence=coherence,
    )
    with FakeTensorMode():
        run = Run(compressor, uplink, dtype=torch.float32)
        for _ in range(2):
            run.step(torch.randn(3, SIZE))


@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if can_stack(begin(c))], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_runs_at_once_are_each_alone(compressor, dtype):
    exact = not isinstance(compressor, LowRank)  # small products of it are rounded by how many there are
    states = [begin(compressor, dtype=dtype, seed=seed) for seed in range(3)]
    stacked = stack_states(states)
    for round in range(3):
        asked = torch.stack([random_gradients(3, dtype=dtype, seed=10 * round + run) for run in range(3)])
        message = compressor.encode(asked, stacked, round=round)
        memory, delivered = asked.clone(), message.symbols / 2
        compressor.subtract_(memory, message.symbols, delivered, stacked, round=round)
        decoded, stacked = compressor.decode(message.symbols.mean(-2), stacked, round=round)
        for run, state in enumerate(states):
            its, its_memory = compressor.encode(asked[run], state, round=round), asked[run].clone()
            compressor.subtract_(its_memory, its.symbols, its.symbols / 2, state, round=round)
            its_decoded, states[run] = compressor.decode(message.symbols[run].mean(-2), state, round=round)
            found = [message.symbols[run], memory[run], *(gradient[run] for gradient in decoded)]
            found += tensors_of(unstack_state(stacked)[run])
            for one, other in zip(found, [its.symbols, its_memory, *its_decoded, *tensors_of(states[run])], strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0 if exact else 1e4 * torch.finfo(dtype).eps)
    assert not torch.equal(message.symbols[0], message.symbols[1])


@every_compressor
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_gradients_of_another_type_are_refused(compressor, dtype):
    with pytest.raises(TypeError, match="gradients must be float32 or float64"):
        compressor.encode(torch.ones(3, SIZE, dtype=dtype), begin(compressor), round=0)


@every_compressor
@pytest.mark.parametrize("shape", [(SIZE,), (3, SIZE + 1), (1, 3, SIZE)])
def test_gradients_of_another_shape_are_refused(compressor, shape):
    with pytest.raises(ValueError, match=rf"gradients must be \[num_devices, {SIZE}\]"):
        compressor.encode(torch.ones(shape), begin(compressor), round=0)


@every_compressor
@pytest.mark.parametrize(("shapes", "message"), [((), "at least one parameter"), (((3, 0), (2,)), "at least one entry")])
def test_models_without_anything_to_send_are_refused(compressor, shapes, message):
    with pytest.raises(ValueError, match=message):
        begin(compressor, shapes)


@every_compressor
def test_readable_repr(compressor):
    assert name_of(compressor).startswith(type(compressor).__name__ + "(")


class RecordingGenerator(torch.Generator):
    """Notes the seeds that it is given."""

    seeds: ClassVar[list[int]] = []

    def manual_seed(self, seed):
        self.seeds.append(seed)
        return super().manual_seed(seed)


@every_compressor
def test_runs_seed_is_mixed_before_it_seeds_anything(compressor, monkeypatch):
    """What a user draws after torch.manual_seed(seed) are not the scheme's numbers, nor the channel's."""
    monkeypatch.setattr(torch, "Generator", RecordingGenerator)
    monkeypatch.setattr(RecordingGenerator, "seeds", [])
    run = Run(compressor, AnalogUplink(energy_budget=1.0, fading=Rayleigh()), seed=20_000)
    for _ in range(2):
        run.step(random_gradients(3, seed=7))
    assert RecordingGenerator.seeds
    assert 20_000 not in RecordingGenerator.seeds
