"""What all tests share: one thread, so that times and sums repeat, and the devices there are."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def deterministic_algorithms():
    """On a GPU sums over a hash are added in any order unless torch is asked not to."""
    torch.use_deterministic_algorithms(torch.cuda.is_available())
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def global_rng_untouched():
    """Fail the test if it moved torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "torch's global generator was used"
