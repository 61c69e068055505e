"""Receptive fields against the support of the gradient: what an output's derivative reaches is what it sees."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import miniconv.nn as mnn
from miniconv import cli, receptive_field
from miniconv.nn import BasicBlock, Bottleneck


class Sum(nn.Module):
    """Branches, added up."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        first, *others = (branch(x) for branch in self.branches)
        for other in others:
            first = first + other
        return first


class Concat(Sum):
    """Branches, their channels side by side."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Excited(nn.Module):
    """Channels scaled by what a global average says."""

    def __init__(self, channels):
        super().__init__()
        self.inner, self.scale = nn.Conv2d(channels, channels, 3, padding=1), nn.Linear(channels, channels)

    def forward(self, x):
        x = self.inner(x)
        return x * self.scale(x.mean((2, 3)))[:, :, None, None]


class ChannelsLast(nn.Module):
    """A linear layer and a norm over the channels, which come last meanwhile, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, (7, 5), padding=(3, 2), groups=4)
        self.linear, self.norm = nn.Linear(4, 8), nn.LayerNorm(4)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return self.linear(y).permute(0, 3, 1, 2)[:, :4] + x


class Sliced(nn.Module):
    """Every second pixel from an offset, by indexing; and a border by hand."""

    def forward(self, x):
        return nn.functional.pad(x, (1, 2, 3, 0))[:, :, 1::2, 2:-1:3]


class Bare(nn.Module):
    """A bare function of a tensor as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class UNet(nn.Module):
    """Down, up, and a skip connection across."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.bottom = nn.Conv2d(2, 2, 3, padding=1)
        self.up = nn.ConvTranspose2d(2, 2, 2, stride=2)
        self.last = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x):
        return self.last(torch.cat([x, self.up(self.bottom(self.down(x)))], 1))


def inception():
    """Four branches, as in GoogLeNet."""
    return Concat(
        nn.Conv2d(2, 1, 1),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1)),
        nn.Sequential(nn.Conv2d(2, 1, 1), nn.Conv2d(1, 1, (5, 7), padding=(2, 3))),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(2, 1, 1)),
    )


def chain(*layers):
    """One after another."""
    return nn.Sequential(*layers)


C, B, T, UP = nn.Conv2d, mnn.Conv2d, nn.ConvTranspose2d, nn.Upsample

MODELS = {
    "one": (C(1, 1, (3, 5), (2, 1), (1, 0), (2, 3)), (1, 23, 29)),
    "chain": (chain(C(1, 2, 3), nn.ReLU(), C(2, 2, (5, 3), (2, 3)), C(2, 1, 3)), (1, 41, 47)),
    "padded": (chain(*(C(1, 1, 3, (1, 2), (1, 0)) for _ in range(3))), (1, 31, 53)),
    "dilated": (chain(*(C(1, 1, 3, dilation=d, padding=d) for d in (1, 2, 4))), (1, 33, 35)),
    "holes": (chain(C(1, 1, 2, dilation=(3, 4)), C(1, 1, 2, stride=(3, 2), dilation=(5, 1))), (1, 40, 41)),
    "pooled": (
        chain(C(1, 2, 5), nn.AvgPool2d(2), nn.ReLU(inplace=True), C(2, 1, (5, 3)), nn.AvgPool2d((3, 2), (1, 2), 1)),
        (1, 44, 38),
    ),
    "residual": (chain(BasicBlock(2, 4, stride=2), BasicBlock(4, 4)), (2, 37, 43)),
    "bottleneck": (chain(C(2, 8, 7, 2, 3), Bottleneck(8, 2), Bottleneck(8, 4, stride=2)), (2, 71, 79)),
    "inception": (chain(inception(), nn.AvgPool2d(2), C(5, 2, 3, padding=1), inception()), (2, 40, 46)),
    "cross": (Sum(C(1, 1, (5, 1), padding=(2, 0)), C(1, 1, (1, 7), padding=(0, 3))), (1, 17, 19)),
    "transposed": (chain(C(1, 2, 3, 2, 1), T(2, 1, (4, 3), (2, 3), (1, 0))), (1, 21, 19)),
    "transposed with gaps": (T(1, 1, (2, 3), (3, 2), dilation=(1, 2), output_padding=1), (1, 9, 8)),
    "u-net": (UNet(), (1, 24, 28)),
    "upsampled": (chain(C(1, 1, 3), UP(scale_factor=2), C(1, 1, 2)), (1, 14, 17)),
    "bilinear": (chain(C(1, 1, 3), UP(scale_factor=(2, 3), mode="bilinear")), (1, 14, 17)),
    "bilinear to the ends": (UP(size=(17, 33), mode="bilinear", align_corners=True), (1, 9, 9)),
    "bicubic": (UP(scale_factor=2, mode="bicubic"), (1, 13, 11)),
    "nearest by 3/2": (UP(size=(21, 30)), (1, 14, 12)),
    "adaptive": (chain(C(1, 1, 3, padding=1), nn.AdaptiveAvgPool2d((5, 4))), (1, 22, 19)),
    "global": (chain(C(1, 2, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)), (1, 14, 17)),
    "linear": (chain(C(1, 1, 1, 3), nn.Flatten(), nn.Linear(20, 2)), (1, 14, 11)),
    "excited": (Excited(3), (3, 9, 11)),
    "channels last": (chain(C(1, 4, 3, 2), ChannelsLast(), ChannelsLast()), (1, 41, 39)),
    "sliced": (chain(Sliced(), C(1, 1, 2)), (1, 19, 26)),
    "shuffled": (chain(C(1, 4, 3), nn.PixelShuffle(2), C(1, 1, 3), nn.PixelUnshuffle(2)), (1, 14, 13)),
    "grouped": (chain(B(4, 4, 3, groups=4, padding="same"), B(4, 6, 1), B(6, 6, (3, 5), 2, groups=3)), (4, 22, 25)),
    "miniconv": (
        chain(B(1, 2, 3, 2, 1), mnn.BatchNorm2d(2), mnn.AvgPool2d(3, 2, 1), mnn.ConvTranspose2d(2, 1, 3, 2)),
        (1, 33, 39),
    ),
    "reflected": (C(1, 1, (3, 5), padding=(1, 2), padding_mode="reflect"), (1, 13, 15)),
    "group norm": (chain(C(1, 4, 3), nn.GroupNorm(2, 4)), (1, 9, 8)),
    "instance norm": (chain(C(1, 2, 3, 2), nn.InstanceNorm2d(2)), (1, 9, 11)),
    "response norm": (chain(C(1, 4, 3), nn.LocalResponseNorm(3), C(4, 1, 2)), (1, 9, 11)),
    "channel softmax": (chain(C(1, 3, 3), nn.Softmax(1), C(3, 2, (1, 2))), (1, 9, 11)),
    "row softmax": (chain(C(1, 2, 3), nn.Softmax(3), C(2, 2, 1)), (1, 9, 11)),
    "one column": (chain(C(1, 2, 3), Bare(lambda x: x[:, :, :, 2]), nn.Conv1d(2, 1, 2)), (1, 9, 11)),
    "columns averaged": (chain(C(1, 2, 3), Bare(lambda x: x.mean(2, keepdim=True).squeeze(2))), (1, 9, 11)),
    "halves": (chain(C(1, 4, 3), Bare(lambda x: torch.stack(x.chunk(2, 1)).sum(0)), C(2, 1, 2)), (1, 9, 11)),
    "gated": (chain(C(1, 4, 3), nn.GLU(1), C(2, 1, 2)), (1, 9, 11)),
    "weights on the left": (
        chain(
            nn.Conv1d(1, 3, 3),
            Bare(lambda x: torch.arange(1.0, 7).double().reshape(2, 3) @ x[0]),
            Bare(lambda x: x[None]),
        ),
        (1, 12),
    ),
    "channels flattened": (
        chain(C(2, 4, 3), Bare(lambda x: x.unflatten(1, (2, 2)).flatten(1, 2)), C(4, 1, 2)),
        (2, 9, 11),
    ),
    "turned": (
        chain(C(1, 2, (3, 1)), Bare(lambda x: x.transpose(2, 3)), C(2, 1, (1, 4)), Bare(lambda x: x.mT)),
        (1, 9, 11),
    ),
    "one axis": (chain(nn.Conv1d(2, 3, 5, 2, 2), nn.AvgPool1d(2), nn.ConvTranspose1d(3, 1, 3, 2)), (2, 57)),
    "three axes": (chain(nn.Conv3d(1, 1, (1, 3, 2), (1, 2, 1)), nn.AvgPool3d((2, 1, 2))), (1, 7, 13, 11)),
}
"""Each model with the size of its input."""

WINDOWS = ("one", "chain", "padded", "dilated", "pooled", "residual", "inception", "cross", "one axis", "reflected")
"""Those whose fields are moved by whole pixels."""


def positive(model):
    """The model with positive weights in float64, so that nothing cancels and no rectifier closes."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data = parameter.data.abs() + 0.1
    return model.double().eval()


def support(model, size, place, sizes):
    """For each axis, the input positions that the derivative of the output at ``place`` reaches."""
    x = torch.rand(1, *size, dtype=torch.float64, requires_grad=True)
    y = model(x)
    place = place if y.ndim == len(size) + 1 else [o for o, n in zip(place, sizes) if n > 1]  # an axis may be gone
    y = y[(0, slice(None), *place)] if place else y[0]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    reached = gradient[0].abs().sum(0) > 0
    axes = range(reached.ndim)
    others = [tuple(a for a in axes if a != axis) for axis in axes]
    return [np.flatnonzero(reached.numpy().any(axis=other)).tolist() for other in others]


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_reaches_what_the_field_says(name):
    model, size = MODELS[name]
    model = positive(model)
    row = receptive_field(model, size).output
    assert row.fields is not None, row.reason
    middle = row.middle
    for move in (0, 1, 2):  # neighbours have other patterns, where there is more than one
        place = tuple(min(o + move, n - 1) for o, n in zip(middle, row.size))
        seen = [field.positions(o) for field, o in zip(row.fields, place)]
        assert seen == support(model, size, place, row.size), place


@pytest.mark.parametrize("name", WINDOWS)
def test_at_the_border_nothing_is_seen_that_the_field_leaves_out(name):
    model, size = MODELS[name]
    model = positive(model)
    row = receptive_field(model, size).output
    for place in (tuple(0 for _ in row.size), tuple(n - 1 for n in row.size)):
        for field, o, reached in zip(row.fields, place, support(model, size, place, row.size)):
            assert set(reached) <= set(field.positions(o))


def test_max_pooling_is_as_average_pooling():
    for make in (nn, mnn):
        for dims in (1, 2, 3):
            windows = (3, 2, 1)
            layers = [getattr(make, f"{kind}Pool{dims}d")(*windows) for kind in ("Max", "Avg")]
            size = (2, 13, 15, 11)[: dims + 1]
            fields = [receptive_field(layer, size).output.fields for layer in layers]
            assert fields[0] == fields[1]
            assert {(f.size, f.stride, f.start) for f in fields[0]} == {(3, 2, -1)}


def vgg16():
    """Simonyan and Zisserman 2015, configuration D, up to the last pooling."""
    layers, channels = [], 1
    for width in (2, 2, "M", 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M"):
        layers += [nn.MaxPool2d(2)] if width == "M" else [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = channels if width == "M" else width
    return nn.Sequential(*layers)


def alexnet():
    """The single-tower AlexNet, up to its last pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 1, 11, 4), nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 5, padding=2), nn.MaxPool2d(3, 2),
        nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(3, 2),
    )  # fmt: skip


@pytest.mark.parametrize(("make", "size", "stride"), [(vgg16, 212, 32), (alexnet, 195, 32)])
def test_the_papers_table(make, size, stride):
    """Araujo et al. 2019: VGG-16 sees 212 pixels, AlexNet 195."""
    for field in receptive_field(make(), (1, 224, 230)).output.fields:
        assert (field.size, field.stride) == (size, stride)


def test_the_summary_agrees():
    from miniconv import summary

    model, size = MODELS["pooled"]
    fields, rows = receptive_field(model, size), summary(model, size, dtype=next(model.parameters()).dtype).rows
    for row, known in zip(fields.rows, rows, strict=True):
        assert [(f.size, f.stride, f.start) for f in row.fields] == list(known.receptive_field)


class Attention(nn.Module):
    """Two heads over all positions, by torch's function or by hand."""

    def __init__(self, by_hand=False):
        super().__init__()
        self.qkv, self.by_hand = nn.Linear(4, 12), by_hand

    def forward(self, x):
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        if self.by_hand:
            y = (q @ k.transpose(2, 3)).softmax(3) @ v
        else:
            y = nn.functional.scaled_dot_product_attention(q, k, v)
        return y.transpose(2, 3).reshape(x.shape)


def test_attention_sees_everything():
    row = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3), Attention()), (3, 8, 9)).output
    assert [(field.whole, field.size) for field in row.fields] == [(True, 8), (True, 9)]


class WritesIntoView(nn.Module):
    def forward(self, x):
        canvas = torch.zeros(x.shape)
        canvas[:, :, 1:] = x[:, :, :-1]
        return canvas


class Mismatched(nn.Module):
    """Two branches of other strides and the same size."""

    def forward(self, x):
        return x[:, :, :4] + x[:, :, ::2]


class Rolled(nn.Module):
    def forward(self, x):
        return x.roll(1, 2)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (WritesIntoView(), "aten::copy_ writes into memory that another tensor shares"),
        (Mismatched(), "mismatched strides meet: one moves by 1 from an output to the next, the other by 2"),
        (Rolled(), "aten::roll is not followed"),
        (nn.Sequential(nn.Unfold(2)), "aten::im2col is not followed"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), Attention(by_hand=True)), "a matrix product of two tensors that both see"),
    ],
)
def test_what_is_not_followed_is_said(model, reason):
    net = nn.Sequential(nn.Conv2d(1, 1, 1), model, nn.ReLU())
    fields = receptive_field(net, (1, 8, 9))
    assert fields.output.fields is None
    assert fields["0"].fields is not None
    assert reason in fields.output.reason
    assert reason in str(fields)
    assert reason in fields["2"].reason
    with pytest.raises(ValueError, match="is not known"):
        fields.draw(layers=["2"])


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    receptive_field(model, (1, 8, 9))
    assert (model.training, model[1].training, model[2].training) == (True, False, True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_as_json_and_as_figures():
    model, size = MODELS["u-net"]
    fields = receptive_field(model.float(), size)
    document = json.loads(fields.to_json())
    assert document["input_size"] == [24, 28]
    assert [row["path"] for row in document["rows"]] == ["down", "bottom", "up", "last"]
    assert document["rows"][2]["fields"][0] == {
        "size": 7, "stride": 1, "start": -3, "centre": 0.0, "whole": False, "has_holes": False, "period": 2,
    }  # fmt: skip
    assert fields["down"].at(3, 0) == ((5, 7), (0, 1))
    with pytest.raises(KeyError, match="there are down, bottom"):
        fields["nowhere"]
    with pytest.raises(TypeError, match="input_size is a size"):
        receptive_field(model, (24,))


def test_drawn_over_a_picture():
    model, size = MODELS["chain"]
    fields = receptive_field(model.float(), size)
    picture = np.random.default_rng(0).random(size)
    drawing = fields.draw(picture, layers=["0", "3"], at=(2, 1))
    assert drawing.svg() == fields.draw(picture, layers=["0", "3"], at=(2, 1)).svg()
    (y1, y2), (x1, x2) = fields["3"].at(2, 1)
    scale = 420 / 47
    frames = [s for s in drawing.scene.shapes if type(s).__name__ == "Rect" and s.stroke == "group1"]
    (frame,) = frames
    image = next(s for s in drawing.scene.shapes if type(s).__name__ == "Image")
    assert [frame.x - image.x, frame.y - image.y, frame.width, frame.height] == pytest.approx(
        [x1 * scale, y1 * scale, (x2 - x1 + 1) * scale, (y2 - y1 + 1) * scale]
    )
    assert f"field {fields['3'].fields[0].size}x{fields['3'].fields[1].size}" in drawing.description
    assert "感受野" in fields.draw(language="zh").svg()
    with pytest.raises(ValueError, match="the picture has shape"):
        fields.draw(picture[:, 1:])
    with pytest.raises(ValueError, match="positions, and none at"):
        fields.draw(at=(99, 0))
    with pytest.raises(ValueError, match="one or two axes"):
        receptive_field(nn.Conv3d(1, 1, 2), (1, 3, 4, 5)).draw()
    line = receptive_field(nn.Conv1d(1, 1, 3, padding=1), (1, 20)).draw(np.arange(20.0), at=(0,))
    assert "leaves the picture" in line.description


MODEL = """
import torch

def factory():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 1, (5, 3)))

def rolled():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Unfold(2))
"""


def test_the_command(tmp_path, capsys):
    (tmp_path / "model.py").write_text(MODEL)
    name = f"{tmp_path / 'model.py'}:factory"
    assert cli.main(["receptive-field", name, "--input", "3x32x40"]) == 0
    printed = capsys.readouterr().out
    assert "Conv2d-2" in printed
    assert "11x7" in printed
    np.save(tmp_path / "p.npy", np.random.default_rng(0).random((3, 32, 40)))
    out, png = tmp_path / "x.svg", tmp_path / "x.png"
    words = ["--json", "--svg", str(out), "--png", str(png), "--layer", "0", "--layer", "1", "--at", "1,2"]
    assert cli.main(["receptive-field", name, "--input", "3x32x40", *words, "--picture", str(tmp_path / "p.npy")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [field["size"] for field in document["output"]["fields"]] == [11, 7]
    assert "<image" in out.read_text(encoding="utf-8")
    assert cli.main(["receptive-field", name, "--input", "3x32x40", "--svg", str(out), "--picture", str(png)]) == 0
    assert cli.main(["receptive-field", name.replace("factory", "rolled"), "--input", "3x8x9"]) == 1
    assert "aten::im2col is not followed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.py:f"], "there is no file"),
        (["torch.nn:ReLU", "--input", "3"], "an input is such as"),
        (["torch.nn:ReLU", "--input", "3x4x5", "--svg", "x.svg", "--layer", "no"], "there are ReLU-1"),
        (["torch.nn:ReLU", "--input", "3x4x5", "--svg", "x.jpg"], r".svg, .png or .gif"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, capsys):
    assert cli.main(["receptive-field", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("miniconv receptive-field: ")
    assert said in error
