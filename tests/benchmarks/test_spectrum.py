"""Energy shares are those of the singular values; a study that is cut off goes on to the same rows."""

import pytest
import torch

from laser_wireless.benchmarks import run_folder
from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.sweeps import spectrum
from laser_wireless.benchmarks.sweeps.spectrum import Spectrum, moving_average, run_spectrum, top_share
from laser_wireless.benchmarks.tasks import Digits

CPU = torch.device("cpu")


def make(**more) -> Spectrum:
    settings = {"task": Digits(width=12), "learning_rate": 0.05, "num_rounds": 12, "record_every": 3, "top": 2}
    return Spectrum(**(settings | more))


def test_share_of_a_matrix_with_known_singular_values():
    q, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    gradient = (q * torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0, 0.0])).reshape(6, 2, 3)  # columns q_j s_j, seen as 6 x 6
    assert top_share(gradient, 1) == pytest.approx(16 / 30)
    assert top_share(gradient, 2) == pytest.approx(25 / 30)
    assert top_share(gradient, 8) == pytest.approx(1.0)
    assert top_share(torch.zeros(3, 3), 2) == 0.0


def test_average_is_the_published_one_by_hand():
    assert moving_average([1.0, 0.0, 4.0], 0.5) == pytest.approx([1.0, 1 / 3, (0.25 * 0.5 + 0.5 * 4) / 0.875])
    assert moving_average([0.7] * 5, 0.99) == pytest.approx([0.7] * 5)
    assert moving_average([1.0, 2.0], 0.0) == [1.0, 2.0]


def test_the_share_is_that_of_the_last_mini_batch(tmp_path):
    rows = run_spectrum(make(num_rounds=1, record_every=1, layers=["2.weight"]), tmp_path, device=CPU)
    task = Digits(width=12)
    model = task.model(0)
    task.loss(model, *(part[0] for part in task.batches(0, 1, spectrum.Streams(0)))).backward()
    singular = torch.linalg.svdvals(model.get_parameter("2.weight").grad.double()).square()
    assert rows[0]["share"] == pytest.approx((singular[:2].sum() / singular.sum()).item(), rel=1e-6)


def test_a_study_cut_off_after_any_checkpoint_gives_the_same_rows(tmp_path, monkeypatch):
    expected = run_spectrum(make(seeds=[0, 1]), tmp_path / "whole", device=CPU)
    assert len(expected) == 2 * 2 * 4
    original = run_folder.save_checkpoint
    for _ in range(3):

        def save_and_die(path, content):
            original(path, content)
            raise KeyboardInterrupt

        monkeypatch.setattr(run_folder, "save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run_spectrum(make(seeds=[0, 1], checkpoint_seconds=0.0), tmp_path / "broken", device=CPU)
    monkeypatch.setattr(run_folder, "save_checkpoint", original)
    assert run_spectrum(make(seeds=[0, 1]), tmp_path / "broken", device=CPU) == expected
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"result.json"}


def test_layers_are_hidden_ones_unless_named():
    assert make().check_layers() == ["0.weight", "2.weight"]
    with pytest.raises(BadConfiguration, match=r"no matrix '2.wieght'; did you mean 2.weight"):
        make(layers=["2.wieght"]).check_layers()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_rounds", 0),
        ("record_every", 13),
        ("top", 0),
        ("learning_rate", float("nan")),
        ("memory", 1.0),
        ("seeds", []),
        ("seeds", [1, 1]),
    ],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


def test_a_training_that_leaves_the_finite_numbers_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"training loss of round .* lower learning_rate"):
        run_spectrum(make(learning_rate=1e30), tmp_path, device=CPU)
