"""Networks as users write them, trained with torch.nn, with miniconv.nn, and under patch(): step by step the same."""

import sys
from pathlib import Path

import pytest
import torch

import miniconv
import miniconv.nn as own_nn

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and steps.py is no test
from steps import Convolutions, compare

STEPS = 3


def lenet(nn):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 10),
    )  # fmt: skip


def resnet(nn):
    class Block(nn.Module):
        def __init__(self, inplanes, planes, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.shortcut = nn.Identity()
            if stride != 1 or inplanes != planes:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
                )

        def forward(self, x):
            out = nn.functional.relu(self.bn1(self.conv1(x)))
            return nn.functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))

    widths = (8, 8, 16, 24, 32)
    layers = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    for stage in range(4):
        layers += [Block(widths[stage], widths[stage + 1], 2 if stage else 1), Block(*widths[stage + 1 :][:1] * 2, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def mobilenet(nn):
    class InvertedResidual(nn.Module):
        def __init__(self, inplanes, planes, stride, expand):
            super().__init__()
            hidden = inplanes * expand
            self.use_shortcut = stride == 1 and inplanes == planes
            self.conv = nn.Sequential(
                nn.Conv2d(inplanes, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
                nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
                nn.ReLU6(inplace=True), nn.Conv2d(hidden, planes, 1, bias=False), nn.BatchNorm2d(planes),
            )  # fmt: skip

        def forward(self, x):
            return x + self.conv(x) if self.use_shortcut else self.conv(x)

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True),
        InvertedResidual(8, 8, 1, 1), InvertedResidual(8, 12, 2, 6), InvertedResidual(12, 12, 1, 6),
        InvertedResidual(12, 16, 2, 6), nn.Conv2d(16, 40, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10),
    )  # fmt: skip


def unet(nn):
    def double(inplanes, planes):
        return nn.Sequential(
            nn.Conv2d(inplanes, planes, 3, padding="same"),
            nn.ReLU(),
            nn.Conv2d(planes, planes, 3, padding=1),
            nn.ReLU(),
        )

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down1, self.down2, self.bottom = double(3, 6), double(6, 10), double(10, 14)
            self.up2, self.merge2 = nn.ConvTranspose2d(14, 10, 2, stride=2), double(20, 10)
            self.up1, self.merge1 = nn.ConvTranspose2d(10, 6, 3, stride=2, padding=1, output_padding=1), double(12, 6)
            self.head = nn.Conv2d(6, 10, 1)

        def forward(self, x):
            one = self.down1(x)
            two = self.down2(nn.functional.max_pool2d(one, 2))
            low = self.bottom(nn.functional.max_pool2d(two, 2))
            two = self.merge2(torch.cat([self.up2(low), two], 1))
            return self.head(self.merge1(torch.cat([self.up1(two), one], 1))).mean((2, 3))

    return UNet()


def wavenet(nn):
    class Layer(nn.Module):
        def __init__(self, dilation):
            super().__init__()
            self.dilation = dilation
            self.filter = nn.Conv1d(12, 12, 2, dilation=dilation)
            self.gate = nn.Conv1d(12, 12, 2, dilation=dilation)
            self.out = nn.Conv1d(12, 12, 1)

        def forward(self, x):
            padded = nn.functional.pad(x, (self.dilation, 0))
            return x + self.out(torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded)))

    layers = [Layer(2**i) for i in range(6)]
    return nn.Sequential(
        nn.Conv1d(1, 12, 1), *layers, nn.ReLU(), nn.Conv1d(12, 10, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )


def cnn3d(nn):
    class CNN3D(nn.Module):
        def __init__(self, channels=4):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv3d(1, 3, 3), nn.Conv3d(3, channels, 3)
            self.pool = nn.MaxPool3d(2)
            self.fc1, self.fc2, self.fc3 = nn.Linear(channels * 6**3, 24), nn.Linear(24, 16), nn.Linear(16, 10)

        def forward(self, x):
            x = self.pool(torch.relu(self.conv1(x)))
            x = self.pool(torch.relu(self.conv2(x)))
            x = torch.relu(self.fc1(x.flatten(1)))
            return self.fc3(torch.relu(self.fc2(x)))

    return CNN3D()


def darts(nn):
    class SepConv(nn.Module):
        def __init__(self, C, kernel_size, padding, dilation=1):
            super().__init__()
            self.op = nn.Sequential(
                nn.ReLU(), nn.Conv2d(C, C, kernel_size, 1, padding, dilation, groups=C, bias=False),
                nn.Conv2d(C, C, 1, bias=False), nn.BatchNorm2d(C, affine=False),
            )  # fmt: skip

        def forward(self, x):
            return self.op(x)

    class Cell(nn.Module):
        def __init__(self, C):
            super().__init__()
            self.stem = nn.Conv2d(3, C, 3, padding=1, bias=False)
            self.sep3, self.sep5 = SepConv(C, 3, 1), SepConv(C, 5, 2)
            self.dil3, self.dil5 = SepConv(C, 3, 2, 2), SepConv(C, 5, 4, 2)
            self.head = nn.Linear(4 * C, 10)

        def forward(self, x):
            s0 = self.stem(x)
            s1 = self.sep3(s0) + s0
            s2 = self.sep5(s0) + self.dil3(s1)
            s3 = self.dil5(s1) + nn.functional.avg_pool2d(s2, 3, 1, 1)
            return self.head(torch.cat([s0, s1, s2, s3], 1).mean((2, 3)))

    return Cell(8)


def digits():
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    return torch.tensor(images[:32]).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels[:32])


def noise(*shape):
    return lambda: (torch.randn(shape, dtype=torch.float64), torch.arange(shape[0]) % 10)


PROGRAMS = {
    "lenet": (lenet, digits),
    "resnet": (resnet, noise(3, 3, 40, 36)),
    "mobilenet": (mobilenet, noise(4, 3, 24, 20)),
    "unet": (unet, noise(2, 3, 16, 20)),
    "wavenet": (wavenet, noise(3, 1, 90)),
    "cnn3d": (cnn3d, noise(2, 1, 30, 30, 30)),
    "darts": (darts, noise(4, 3, 10, 12)),
}


def train(build, data, nn):
    """Loss, output and gradients of every step, then the state at the end: the whole run, from one seed."""
    torch.manual_seed(7)
    x, labels = data()
    model = build(nn).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    seen = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        y = model(x)
        loss = nn.functional.cross_entropy(y, labels)
        loss.backward()
        optimizer.step()
        seen += [loss.detach(), y.detach(), *(p.grad.clone() for p in model.parameters())]
    return model, [*seen, *(value.detach().double() for value in model.state_dict().values())]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    build, data = PROGRAMS[name]
    with Convolutions() as convolutions:
        model, expected = train(build, data, torch.nn)
    assert convolutions.count >= 4 * STEPS

    own, got = train(build, data, own_nn)
    compare(got, expected)
    assert list(own.state_dict()) == list(model.state_dict())
    with Convolutions() as of_torch:
        train(build, data, own_nn)
    assert of_torch.count == 0, "miniconv.nn leaves no convolution to torch"

    with miniconv.patch() as report:
        _, got = train(build, data, torch.nn)
    compare(got, expected)
    assert report.handed_back == {}
    assert sum(report.taken.values()) == convolutions.count
