"""ResNet-18 in the form used for 32 x 32 images: a 3 x 3 stem and no pooling before the last layer.

He et al. (2016), arXiv:1512.03385: four stages of two basic blocks, 64 to 512 channels, each stage but the first at half the
resolution of the one before. 11,173,962 parameters for 10 classes, 11,220,132 for 100.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu


class ResNet18(nn.Module):
    """Classifier of images [..., 3, H, W] with H and W divisible by 8.

    Batch normalisation couples the images of a batch. When one model serves many devices in turn, each device's batch is
    normalised by its own statistics, and the running ones, used in evaluation, are those of all devices' batches one after
    another, the last ones weighing most.

    Args:
        classes: number of scores.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(64)
        blocks: list[nn.Module] = []
        channels = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [_Block(channels, width, stride), _Block(width, width, 1)]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores float [N, classes] for images float [N, 3, H, W]."""
        features = self.blocks(relu(self.norm(self.stem(images))))
        return self.head(features.mean((-2, -1)))


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(self.first_norm(self.first(x)))
        return relu(self.second_norm(self.second(inner)) + self.shortcut(x))
