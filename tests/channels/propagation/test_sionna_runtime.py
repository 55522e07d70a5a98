"""Sionna leaves no trace: torch's generators, its own generator and its settings are as they were."""

import importlib
import importlib.metadata
import subprocess
import sys

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels.propagation.sionna_paths import SionnaTdl
from laser_wireless.channels.propagation.sionna_runtime import device_name, load_sionna, sionna_draws_from

TIMES = torch.arange(2, dtype=torch.float64) * 1e-3


@pytest.fixture(scope="module", autouse=True)
def sionna():
    pytest.importorskip("sionna")
    return load_sionna()


def draw(seed=1):
    return SionnaTdl()(3, 2, TIMES, round=0, generator=seeded(seed))[0]


def test_first_import_leaves_the_global_generator_alone():
    program = (
        "import torch; from laser_wireless.channels.propagation.sionna_runtime import load_sionna; torch.manual_seed(3); "
        "load_sionna(); print(torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(3))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_draw_leaves_no_trace(sionna, global_rng_untouched):
    config = sionna.config
    before = config.seed, config.precision, config.device, config.torch_rng("cpu").get_state()
    draw()
    assert (config.seed, config.precision, config.device) == before[:3]
    assert torch.equal(config.torch_rng("cpu").get_state(), before[3])


def test_draws_depend_on_our_generator_alone(sionna):
    first = draw()
    sionna.config.torch_rng("cpu").manual_seed(99)
    assert torch.equal(draw(), first)
    assert not torch.equal(draw(seed=2), first)


def test_our_generator_moves_on():
    generator = seeded(1)
    first, second = (SionnaTdl()(3, 2, TIMES, round=0, generator=generator)[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_sionnas_generator_is_restored_after_an_error(sionna):
    before = sionna.config.torch_rng("cpu").get_state()
    generator = seeded(1)

    def fail_in_the_middle():
        with sionna_draws_from(generator) as device:
            torch.rand(3, generator=sionna.config.torch_rng(device))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    assert torch.equal(sionna.config.torch_rng("cpu").get_state(), before)
    assert torch.equal(torch.rand(1, generator=generator), torch.rand(4, generator=seeded(1))[3:])


def test_sionna_without_the_enclosure_would_be_noticed(sionna):
    before = sionna.config.torch_rng("cpu").get_state()
    sionna.channel.RayleighBlockFading(1, 1, 1, 1, precision="single", device="cpu")(1, 1)
    assert not torch.equal(sionna.config.torch_rng("cpu").get_state(), before)


def test_devices_are_named_with_their_index():
    assert device_name(torch.device("cpu")) == "cpu"
    assert device_name(torch.device("cuda", 1)) == "cuda:1"


@pytest.fixture
def not_yet_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "sionna.phy.channel.tr38901")
    return monkeypatch


def test_missing_sionna_is_named_with_its_remedy(not_yet_loaded):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    not_yet_loaded.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"No module named.*pip install 'sionna-no-rt>=2\.2,<3'"):
        load_sionna()


@pytest.mark.parametrize("version", ["1.2.2", "2.1.0", "3.0.0"])
def test_wrong_version_is_refused(not_yet_loaded, version):
    not_yet_loaded.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(ImportError, match=rf"need Sionna >= 2\.2, < 3, found {version[:3]}: pip install"):
        load_sionna()


def test_sionna_of_no_known_distribution_is_taken_as_it_is(not_yet_loaded):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    not_yet_loaded.setattr(importlib.metadata, "version", unknown)
    not_yet_loaded.setattr(importlib, "import_module", lambda name: name)
    assert load_sionna() == "sionna.phy"
