"""The transformer: published size, dropout whose masks are a function of a seed."""

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from torch.func import vmap

from laser_wireless.benchmarks.tasks.gpt import GPT, GPT2_SMALL, _Masks

SIZES = {"vocabulary": 40, "width": 16, "num_layers": 6, "num_heads": 2, "context": 8}


def model_with(dropout: float) -> GPT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPT(**SIZES, dropout=dropout)


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(40, shape, generator=seeded(0))


def test_gpt2_small_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = GPT(**GPT2_SMALL._asdict(), dropout=0.2)
    assert sum(p.numel() for p in model.parameters()) == 123_980_544


def test_no_dropout_needs_no_seed_and_evaluation_ignores_it(global_rng_untouched):
    plain, dropped = model_with(0.0), model_with(0.3).eval()
    assert torch.equal(plain(tokens(2, 8)), dropped(tokens(2, 8)))
    assert torch.equal(plain(tokens(2, 8)), dropped(tokens(2, 8), torch.tensor(5)))


def test_masks_follow_the_seed_alone_and_differ_between_sites(global_rng_untouched):
    model = model_with(0.3)
    one, two, other = (model(tokens(2, 8), torch.tensor(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    masks, x = _Masks(torch.tensor(2**31 - 1)), torch.zeros(500)
    kept = [masks.kept(x, 0.5) for _ in range(40)]  # beyond what 32 bits hold of the sites' keys
    assert len({tuple(mask.tolist()) for mask in kept}) == 40


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_masks_keep_the_right_share_independently(dropout):
    kept = torch.stack([_Masks(torch.tensor(seed)).kept(torch.zeros(1000), dropout) for seed in range(400)])
    p = 1 - dropout
    assert_mean(kept, mean=p, variance=p * (1 - p))
    for one, other in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):  # neighbours in a mask, neighbouring seeds
        assert_mean(((one.double() - p) * (other.double() - p)), mean=0, variance=(p * (1 - p)) ** 2, num_comparisons=2)
    with pytest.raises(AssertionError):
        assert_mean(kept, mean=0.99 * p, variance=p * (1 - p))


def test_devices_batched_get_the_masks_that_they_get_alone():
    model, batch, seeds = model_with(0.3), tokens(3, 2, 8), torch.tensor([3, 9, 2**31 - 1])
    together = vmap(model)(batch, seeds)
    torch.testing.assert_close(together, torch.stack([model(x, s) for x, s in zip(batch, seeds, strict=True)]))


def test_dropout_stands_where_gpt2_has_it():
    """Embeddings, attention weights and both residual branches: 3 masks a block and one before them."""
    model, masks = model_with(0.3), []
    kept = _Masks.kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Masks, "kept", lambda self, x, p: masks.append(x.shape) or kept(self, x, p))
        model(tokens(2, 8), torch.tensor(0))
    branch = torch.Size([2, 8, 16])
    assert masks == [branch] + 6 * [torch.Size([2, 2, 8, 8]), branch, branch]


def test_bad_dropout_and_a_missing_seed_are_refused():
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\)"):
        GPT(**SIZES, dropout=1.0)
    with pytest.raises(ValueError, match="seed must be given in training"):
        model_with(0.1)(tokens(2, 8))
