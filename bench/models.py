"""Three networks out of ``torch.nn``, with random weights: the shapes of published ones, written anew.

ResNet-50: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016 (with the stride on the 3x3).
MobileNetV2: Sandler, Howard, Zhu, Zhmoginov, Chen, "Inverted residuals and linear bottlenecks", 2018.
U-Net: Ronneberger, Fischer, Brox, "Convolutional networks for biomedical image segmentation", 2015 (with padded
convolutions and batch norm, so that sizes stay even).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """A convolution that keeps the size (up to the stride), batch norm, and a ReLU."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), *([nn.ReLU(inplace=True)] if act else []))


class Residual(nn.Module):
    """body(x) + shortcut(x), with or without a ReLU behind."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, relu: bool) -> None:
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, relu

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y.relu_() if self.relu else y


def bottleneck(c_in: int, width: int, stride: int) -> Residual:
    """1x1 to ``width``, 3x3, 1x1 to four times as many channels."""
    body = nn.Sequential(
        conv_bn(c_in, width, 1), conv_bn(width, width, 3, stride), conv_bn(width, 4 * width, 1, act=False)
    )
    same = stride == 1 and c_in == 4 * width
    return Residual(body, nn.Identity() if same else conv_bn(c_in, 4 * width, 1, stride, act=False), relu=True)


def resnet50() -> nn.Sequential:
    """53 convolutions; for inputs (N, 3, 224, 224)."""
    blocks: list[nn.Module] = [conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, depth) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for block in range(depth):
            blocks.append(bottleneck(channels, width, stride=2 if stage and not block else 1))
            channels = 4 * width
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def inverted_residual(c_in: int, c_out: int, stride: int, expand: int) -> nn.Module:
    """1x1 to ``expand`` times as many channels, depthwise 3x3, 1x1 down without a ReLU."""
    hidden = c_in * expand
    first = [] if expand == 1 else [conv_bn(c_in, hidden, 1)]
    body = nn.Sequential(*first, conv_bn(hidden, hidden, 3, stride, hidden), conv_bn(hidden, c_out, 1, act=False))
    return Residual(body, nn.Identity(), relu=False) if stride == 1 and c_in == c_out else body


def mobilenetv2() -> nn.Sequential:
    """52 convolutions, 17 of them depthwise; for inputs (N, 3, 224, 224)."""
    blocks: list[nn.Module] = [conv_bn(3, 32, 3, 2)]
    channels = 32
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, out, depth, stride in stages:
        for block in range(depth):
            blocks.append(inverted_residual(channels, out, stride if block == 0 else 1, expand))
            channels = out
    head = (conv_bn(channels, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))
    return nn.Sequential(*blocks, *head)


def _double(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(c_in, c_out, 3), conv_bn(c_out, c_out, 3))


class UNet(nn.Module):
    """Four levels down, four up by transposed convolutions, each joined with its level; for (N, 3, 16 a, 16 b)."""

    def __init__(self, width: int = 64, classes: int = 21) -> None:
        super().__init__()
        widths = [width << level for level in range(5)]
        self.down = nn.ModuleList([_double(a, b) for a, b in zip([3, *widths], widths)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1]])
        self.join = nn.ModuleList([_double(2 * w, w) for w in widths[-2::-1]])
        self.head = nn.Conv2d(width, classes, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """A score for each class and pixel."""
        levels = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            levels.append(x)
        for up, join, skip in zip(self.up, self.join, levels[-2::-1]):
            x = join(torch.cat([skip, up(x)], 1))
        scores: Tensor = self.head(x)
        return scores


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet50": (resnet50, (3, 224, 224)),
    "mobilenetv2": (mobilenetv2, (3, 224, 224)),
    "unet": (UNet, (3, 192, 256)),
}
"""By name: the maker, and the shape of one input."""
