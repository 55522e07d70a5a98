"""A-DSGD: the projection, what is owed, recovery at its limits and as state evolution predicts."""

import math
from statistics import NormalDist

import pytest
import torch
from helpers.schemes import SHAPES, SIZE, Run, begin, flat, random_gradients
from helpers.statistical import FALSE_ALARM, assert_distributed, assert_mean, seeded
from helpers.uplinks import deep_fades
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, TruncatedInversion
from laser_wireless.compression.gaussian_projection import GaussianProjection, Plan, Whitener, restore_mean
from laser_wireless.compression.state_evolution import state_evolution

KINDS = ("gaussian", "hadamard")
every_kind = pytest.mark.parametrize("kind", KINDS)
SCHEMES = [
    GaussianProjection(projection=kind, **options)
    for kind in KINDS
    for options in (
        {"fraction": 0.3},
        {"fraction": 0.6, "segment_size": 32},
        {"fraction": 0.4, "segment_size": 16, "mean_removal": False, "redraw": True},
    )
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=str)
NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)


def matrix_of(scheme, state):
    """A [s, n] in full, from what the scheme sends of single entries without mean removal."""
    d = sum(math.prod(shape) for shape in state.shapes)
    plan = scheme.plan(d)
    assert plan.num_segments == 1
    symbols = scheme.encode(torch.eye(d, dtype=torch.float64), state, round=0).symbols
    y = symbols.T
    return restore_mean(y) if plan.has_mean else y


def naive_symbols(scheme, gradients, matrix):
    """Selection, segments, projection and mean removal in their plainest form, A [s, n]."""
    plan = scheme.plan(gradients.shape[1])
    rows = []
    for vector in gradients:
        kept = torch.zeros(plan.segment_size * plan.num_segments, dtype=vector.dtype)
        for i in sorted(range(len(vector)), key=lambda i: -abs(vector[i].item()))[: scheme.num_kept(len(vector))]:
            kept[i] = vector[i]
        symbols = []
        for m in range(plan.num_segments):
            y = matrix @ torch.stack([kept[j * plan.num_segments + m] for j in range(plan.segment_size)])
            symbols += [y - y.mean(), y.mean()[None]] if plan.has_mean else [y]
        rows.append(torch.cat(symbols))
    return torch.stack(rows)


@pytest.mark.parametrize("scheme", SCHEMES[:3], ids=str)
def test_message_is_the_one_in_its_plainest_form(scheme):
    gradients, state = random_gradients(3), begin(scheme)
    found = scheme.encode(gradients, state, round=0)
    torch.testing.assert_close(found.symbols, naive_symbols(scheme, gradients, state.projection[0]), rtol=1e-12, atol=1e-12)
    assert found.layout == (found.symbols.shape[1],)


@pytest.mark.parametrize(
    ("scheme", "d", "plan", "num_kept"),
    [
        (GaussianProjection(), 7_850, Plan(1, 7850, 785, True), 392),
        (GaussianProjection(), 8_192, Plan(1, 8192, 819, True), 409),
        (GaussianProjection(), 26_122, Plan(5, 5225, 522, True), 1_306),
        (GaussianProjection(), 123_980_544, Plan(15_137, 8191, 819, True), 6_199_027),
        (GaussianProjection(mean_removal=False), 7_850, Plan(1, 7850, 785, False), 392),
        (GaussianProjection(fraction=0.5, sparsity=9.0), 100, Plan(1, 100, 50, True), 100),
        (GaussianProjection(), 79, Plan(1, 79, 7, False), 3),
        (GaussianProjection(), 1, Plan(1, 1, 1, False), 1),
    ],
)
def test_symbols_are_counted_as_claimed(scheme, d, plan, num_kept):
    """S = M (s + 1), s = max(1, floor(kappa n)), n = ceil(d / M) <= segment_size; k = max(1, floor(kappa sparsity d))."""
    assert scheme.plan(d) == plan
    assert scheme.num_kept(d) == num_kept
    assert plan.num_segments * plan.segment_size >= d
    if d < 10_000:
        message = scheme.encode(torch.ones(2, d), begin(scheme, ((d,),), dtype=torch.float32), round=0)
        assert message.symbols.shape == (2, plan.num_segments * (plan.num_rows + plan.has_mean))


@every_kind
def test_sparse_gradients_with_one_support_are_recovered_without_noise(kind):
    """Six segments' worth of 1,000 entries, 5 % of them not zero, the same ones at every device; half as many symbols."""
    scheme = GaussianProjection(fraction=0.5, sparsity=0.1, segment_size=1024, projection=kind, iterations=50)
    gradients = random_gradients(3, size=6_000)
    gradients[:, torch.randperm(6_000, generator=seeded(3))[300:]] = 0
    step = Run(scheme, NOISELESS, ((6_000,),)).step(gradients)
    error = (step.decoded[0] - gradients.mean(0)).norm() / gradients.mean(0).norm()
    assert error < 1e-6
    assert not step.owed.any()


@every_kind
@pytest.mark.parametrize("mean_removal", [False, True])
def test_decoding_error_is_the_one_that_state_evolution_predicts(kind, mean_removal):
    """103 independent segments of 1,024 entries, a tenth of them Gaussian, half as many symbols; prior learned."""
    num_segments, n, fraction, density, noise_variance = 103, 1024, 0.5, 0.1, 0.02
    d = num_segments * n
    scheme = GaussianProjection(
        fraction=fraction, sparsity=density / fraction, segment_size=n, projection=kind, mean_removal=mean_removal
    )
    gradients = random_gradients(1, size=d, dtype=torch.float32)
    gradients[:, torch.randperm(d, generator=seeded(1))[scheme.num_kept(d) :]] = 0
    state = begin(scheme, ((d,),), num_devices=1, dtype=torch.float32)
    symbols = scheme.encode(gradients, state, round=0).symbols[0]
    estimate = symbols + noise_variance**0.5 * torch.randn(symbols.shape, generator=seeded(2))
    level = torch.tensor([noise_variance], dtype=torch.float64)
    (found,), _ = scheme.decode(estimate, state, round=0, noise_variance=level)
    errors = (found - gradients[0]).view(n, num_segments).square().mean(0).double()

    def predicted(noise):
        return state_evolution(
            fraction=fraction, noise_variance=noise, rho=density, orthogonal=kind == "hadamard", iterations=15
        ).mse[-1]

    spread = (errors.std() / errors.mean()).item()  # of one segment; squared, the bias of a finite one
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / 2) * spread / num_segments**0.5 + spread**2
    assert abs(errors.mean().item() / predicted(noise_variance) - 1) <= bound
    assert abs(errors.mean().item() / predicted(1.5 * noise_variance) - 1) > bound


@every_scheme
@pytest.mark.parametrize(
    "uplink",
    [
        NOISELESS,
        AnalogUplink(energy_budget=3.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.8)),
        AnalogUplink(energy_budget=3.0, fading=deep_fades, coherence=6, power_control=TruncatedInversion(threshold=0.3)),
        AnalogUplink(energy_budget=3.0, scale=PreviousScale()),
        AnalogUplink(energy_budget=[1.0, 0.0, 2.0]),
    ],
    ids=["heard", "faded", "faded in parts", "clipped", "without budget"],
)
def test_memory_and_what_was_delivered_add_up_to_what_was_asked(scheme, uplink):
    """What is owed of a kept entry is the part of its segment's symbols that did not arrive; all of any other entry."""
    run = Run(scheme, uplink)
    plan = scheme.plan(SIZE)
    for round in range(3):
        step = run.step(random_gradients(3, seed=round) * (1 + round))
        sent = step.message.symbols.view(3, plan.num_segments, -1)
        arrived = step.reception.delivered_symbols(step.message.symbols).view_as(sent)
        share = (arrived * sent).sum(2) / sent.square().sum(2).clamp(min=1e-300)
        kept = step.asked.abs() >= step.asked.abs().sort(1, descending=True).values[:, [scheme.num_kept(SIZE) - 1]]
        delivered = step.asked * kept * share[:, torch.arange(SIZE) % plan.num_segments]
        torch.testing.assert_close(step.owed + delivered, step.asked, rtol=1e-12, atol=1e-12)
        assert torch.equal(step.owed[~kept], step.asked[~kept])
        if uplink is NOISELESS:
            assert not step.owed[kept].any()


@every_scheme
def test_without_error_feedback_nothing_is_owed(scheme):
    forgetful = GaussianProjection(error_feedback=False, projection=scheme.projection)
    assert not Run(forgetful, NOISELESS).step(random_gradients(3)).owed.any()


@every_kind
def test_ties_do_not_keep_more_entries_than_claimed(kind):
    scheme = GaussianProjection(fraction=0.5, projection=kind)
    step = Run(scheme, NOISELESS).step(torch.ones(3, SIZE, dtype=torch.float64))
    assert (step.owed == 0).sum(1).tolist() == [scheme.num_kept(SIZE)] * 3


@every_scheme
def test_one_device_at_a_time_encodes_the_same(scheme):
    gradients, state = random_gradients(3), begin(scheme)
    together = scheme.encode(gradients, state, round=0).symbols
    for k in range(3):
        alone = scheme.encode(gradients[k : k + 1], state, round=0).symbols
        torch.testing.assert_close(alone[0], together[k], rtol=1e-12, atol=1e-12)


def test_large_models_go_in_pieces_with_the_same_result(monkeypatch):
    scheme = SCHEMES[1]
    whole = Run(scheme, NOISELESS).step(random_gradients(3))
    monkeypatch.setattr("laser_wireless.compression.gaussian_projection._DENSE", SIZE)
    pieces = Run(scheme, NOISELESS).step(random_gradients(3))
    torch.testing.assert_close(pieces.message.symbols, whole.message.symbols, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pieces.owed, whole.owed, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr("laser_wireless.compression.gaussian_projection._COLUMNS", 32)  # a prior for each segment
    assert flat(Run(scheme, NOISELESS).step(random_gradients(3)).decoded).isfinite().all()


@every_scheme
def test_same_seed_gives_the_same_run_and_another_seed_another(scheme, global_rng_untouched):
    one, same, other = (
        flat(Run(scheme, AnalogUplink(energy_budget=1e4), seed=seed).step(random_gradients(3)).decoded) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@every_kind
def test_redrawn_projection_depends_on_seed_and_round_alone(kind):
    fixed, redrawn = (GaussianProjection(fraction=0.5, projection=kind, redraw=redraw) for redraw in (False, True))
    estimate = torch.ones(fixed.plan(SIZE).symbols_per_segment, dtype=torch.float64)
    state = begin(fixed)
    assert fixed.decode(estimate, state, round=0)[1] is state
    states = [begin(redrawn)]
    for round in range(2):
        states.append(redrawn.decode(estimate, states[-1], round=round)[1])
    late = redrawn.decode(2 * estimate, states[0], round=1)[1]
    assert torch.equal(late.projection[-1], states[2].projection[-1])
    assert not torch.equal(states[1].projection[-1], states[2].projection[-1])
    assert not torch.equal(states[0].projection[-1], states[1].projection[-1])


def test_entries_of_the_gaussian_projection_have_variance_one_over_s():
    (matrix,) = begin(GaussianProjection(), ((4000,),)).projection
    assert matrix.shape == (400, 4000)
    assert_mean(matrix, mean=0, variance=1 / 400)
    assert_mean(matrix.square(), mean=1 / 400, variance=2 / 400**2)
    assert_distributed(matrix[:50] * 20, "norm")
    with pytest.raises(AssertionError):
        assert_mean(1.02 * matrix.square(), mean=1 / 400, variance=2 / 400**2)


def test_hadamard_projection_has_orthogonal_rows_and_unit_columns():
    scheme = GaussianProjection(fraction=0.25, sparsity=4.0, projection="hadamard")
    matrix = matrix_of(scheme, begin(scheme, ((64,),)))
    assert matrix.shape == (16, 64)
    torch.testing.assert_close(matrix @ matrix.T, 4 * torch.eye(16, dtype=torch.float64))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, 0.25))
    ordered = GaussianProjection(fraction=1.0, sparsity=1.0, projection="hadamard", mean_removal=False)
    square = matrix_of(ordered, begin(ordered, ((32,),)))
    torch.testing.assert_close(square.T @ square, torch.eye(32, dtype=torch.float64))


@every_kind
@pytest.mark.parametrize("d", [1, 5, 64, 100])
def test_without_compression_and_noise_a_small_vector_comes_back(kind, d):
    """As many symbols as (padded) entries: orthogonal rows give the vector itself, up to the padding that is not sent."""
    scheme = GaussianProjection(fraction=1.0, sparsity=1.0, projection=kind, mean_removal=False, iterations=100)
    gradients = random_gradients(2, size=d)
    decoded = Run(scheme, NOISELESS, ((d,),), num_devices=2).step(gradients).decoded[0]
    assert decoded.isfinite().all()
    if kind == "hadamard" and d in (1, 64):
        torch.testing.assert_close(decoded, gradients.mean(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("s", [8, 21])
def test_noise_is_white_once_the_mean_is_restored_and_whitened(s):
    """Exactly: the map from the noise on s + 1 symbols to the measurements has covariance I / norm^2."""
    plan = Plan(1, 100, s, True)
    received = torch.eye(s + 1, dtype=torch.float64)
    ones, eye = torch.full((s, s), 1 / s, dtype=torch.float64), torch.eye(s, dtype=torch.float64)
    restored = restore_mean(received)
    torch.testing.assert_close(restored @ restored.T, eye - ones + s * ones)  # s along the ones, 1 elsewhere
    white = Whitener(plan)
    torch.testing.assert_close(white(restored) @ white(restored).T, eye / white.norm**2)
    columns = white(eye)  # independent entries of variance 1/s keep a squared norm of 1
    torch.testing.assert_close(columns.square().sum() / s, torch.tensor(1.0, dtype=torch.float64))


def test_mean_removal_is_undone_exactly_without_noise():
    with_mean, without = (GaussianProjection(fraction=0.3, mean_removal=removal) for removal in (True, False))
    gradients = random_gradients(3)
    centred = with_mean.encode(gradients, begin(with_mean), round=0).symbols
    plain = without.encode(gradients, begin(without), round=0).symbols
    torch.testing.assert_close(centred[:, :-1].sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(restore_mean(centred.T).T, plain, rtol=1e-12, atol=1e-12)


@every_kind
@pytest.mark.parametrize("shapes", [((),), ((1,), (1,)), ((3,), (5,))], ids=str)
def test_tiny_models_are_served(kind, shapes):
    run = Run(GaussianProjection(projection=kind), AnalogUplink(energy_budget=100.0), shapes)
    for round in range(3):
        step = run.step(random_gradients(3, size=sum(map(math.prod, shapes)), seed=round))
        assert tuple(tuple(gradient.shape) for gradient in step.decoded) == shapes
        assert flat(step.decoded).isfinite().all()


@every_scheme
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e30])
def test_any_scale_of_gradients_stays_finite(scheme, scale):
    run = Run(scheme, AnalogUplink(energy_budget=100.0), dtype=torch.float32)
    for round in range(3):
        step = run.step(random_gradients(3, dtype=torch.float32, seed=round) * scale)
        assert flat(step.decoded).isfinite().all()
        assert step.owed.isfinite().all()
        assert scale or not flat(step.decoded).any()


@every_kind
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_decoded_gradients_scale_with_the_devices(kind, scale):
    scheme = GaussianProjection(fraction=0.6, projection=kind)
    one, other = (
        flat(Run(scheme, NOISELESS).step(random_gradients(3) * factor).decoded) / factor for factor in (1.0, scale)
    )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@every_kind
def test_less_energy_than_the_noise_has_decodes_to_zeros(kind):
    scheme = GaussianProjection(fraction=0.6, projection=kind)
    state = begin(scheme)
    estimate = 0.5 * torch.randn(scheme.plan(SIZE).symbols_per_segment, dtype=torch.float64, generator=seeded(0))
    assert not flat(scheme.decode(estimate, state, round=0, noise_variance=torch.ones(1, dtype=torch.float64))[0]).any()
    assert flat(scheme.decode(estimate, state, round=0, noise_variance=torch.full((1,), 0.01))[0]).any()


def test_void_round_keeps_what_the_other_devices_owe():
    gradients = random_gradients(3)
    gradients[1, 7] = torch.nan
    step = Run(SCHEMES[0], AnalogUplink(energy_budget=3.0)).step(gradients)
    assert torch.equal(step.owed[[0, 2]], step.asked[[0, 2]])
    assert not flat(step.decoded).any()


@every_scheme
def test_no_host_reads(scheme):
    uplink = AnalogUplink(energy_budget=1.0, fading=deep_fades, power_control=TruncatedInversion(), scale=PreviousScale())
    with FakeTensorMode():
        run = Run(scheme, uplink, dtype=torch.float32)
        for _ in range(2):
            run.step(torch.randn(3, SIZE))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"fraction": 0.0}, "fraction"),
        ({"fraction": 1.1}, "fraction"),
        ({"fraction": math.nan}, "fraction"),
        ({"sparsity": 0.0}, "sparsity"),
        ({"sparsity": math.inf}, "sparsity"),
        ({"segment_size": 0}, "segment_size"),
        ({"iterations": 0}, "iterations"),
        ({"projection": "gauss"}, "projection"),
    ],
)
def test_impossible_arguments_are_refused(wrong, name):
    with pytest.raises(ValueError, match=name):
        GaussianProjection(**wrong)


@pytest.mark.parametrize(
    ("gradients", "error"), [(torch.ones(3, SIZE + 1), ValueError), (torch.ones(3, SIZE).half(), TypeError)]
)
def test_wrong_gradients_are_refused(gradients, error):
    with pytest.raises(error, match="gradients must be"):
        SCHEMES[0].encode(gradients, begin(SCHEMES[0]), round=0)


def test_decoded_gradients_have_the_shapes_of_the_parameters():
    decoded = Run(SCHEMES[1], NOISELESS).step(random_gradients(3)).decoded
    assert tuple(tuple(gradient.shape) for gradient in decoded) == SHAPES


def normal(d, generator):
    return torch.randn(d, generator=generator)


def sparse_normal(d, generator):
    return (torch.rand(d, generator=generator) < 0.05) * normal(d, generator)


@pytest.mark.parametrize(("kind", "num_seeds"), [("gaussian", 1), ("hadamard", 4)])
@pytest.mark.parametrize(("draw", "missed"), [(normal, 0.85), (sparse_normal, 0.53)], ids=["its input", "sparse source"])
def test_docstring_says_what_recovery_misses_of_each_source(draw, missed, kind, num_seeds):
    """At the authors' sizes, without noise, of the energy of the k entries that are kept."""
    scheme, d = GaussianProjection(projection=kind), 1 << 16
    found = []
    for seed in range(num_seeds):
        vectors = draw(d, seeded(seed)).unsqueeze(0)
        state = scheme.init(((d,),), 1, device=torch.device("cpu"), dtype=vectors.dtype, seed=seed)
        symbols = scheme.encode(vectors, state, round=0).symbols[0]
        (decoded,), _ = scheme.decode(symbols, state, round=0, noise_variance=torch.zeros(1, dtype=torch.float64))
        index = vectors.abs().topk(scheme.num_kept(d)).indices
        kept = torch.zeros_like(vectors).scatter(1, index, vectors.gather(1, index))[0]
        found.append(((decoded - kept).square().sum() / kept.square().sum()).item())
    assert sum(found) / num_seeds == pytest.approx(missed, abs=0.04)
    assert str(missed) in GaussianProjection.__doc__
