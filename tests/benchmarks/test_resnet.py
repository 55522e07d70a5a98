"""ResNet-18 for small images: parameters as published, resolution, batch statistics."""

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.benchmarks.tasks.resnet import ResNet18


@pytest.mark.parametrize(("classes", "parameters"), [(10, 11_173_962), (100, 11_220_132)])
def test_parameters_are_those_of_the_paper(classes, parameters):
    with torch.device("meta"):
        model = ResNet18(classes=classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_image_reaches_the_last_stage_at_an_eighth_of_its_size_and_every_parameter_gets_a_gradient():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet18(classes=7)
    images = torch.randn(2, 3, 16, 16, generator=seeded(0))
    assert model.blocks(torch.zeros(1, 64, 16, 16)).shape == (1, 512, 2, 2)
    scores = model(images)
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_evaluation_uses_running_statistics_and_training_those_of_the_batch():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet18(classes=3)
    images = torch.randn(4, 3, 8, 8, generator=seeded(1))
    together = model.eval()(images)
    torch.testing.assert_close(torch.cat([model(image.unsqueeze(0)) for image in images]), together)
    before = model.norm.running_mean.clone()
    model.train()(images)
    mean = model.stem(images).mean((0, 2, 3))
    torch.testing.assert_close(model.norm.running_mean, 0.9 * before + 0.1 * mean)
