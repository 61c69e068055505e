"""summary: the tutorials' table to the digit, and no figure that is not known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import miniconv.nn
from miniconv.problem import ReceptiveField
from miniconv.summary import Summary, summary

BOTH = pytest.mark.parametrize("kind", [torch.nn, miniconv.nn], ids=["torch.nn", "miniconv.nn"])


class MnistNet(nn.Module):
    """The tutorials' network; its pooling is no module, so no hook sees it."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.conv1 = kind.Conv2d(1, 10, kernel_size=5)
        self.conv2 = kind.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = kind.Dropout2d()
        self.fc1 = kind.Linear(320, 50)
        self.fc2 = kind.Linear(50, 10)

    def forward(self, x):
        F = nn.functional
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def fields(table: Summary) -> list[str]:
    return [row.cells()[-1] for row in table.rows]


@BOTH
def test_the_tutorials_table(kind) -> None:
    table = summary(MnistNet(kind), (1, 28, 28))
    assert [row.layer for row in table.rows] == ["Conv2d-1", "Conv2d-2", "Dropout2d-3", "Linear-4", "Linear-5"]
    assert [row.path for row in table.rows] == ["conv1", "conv2", "conv2_drop", "fc1", "fc2"]
    shapes = [list(row.output_shapes[0]) for row in table.rows]
    assert shapes == [[-1, 10, 24, 24], [-1, 20, 8, 8], [-1, 20, 8, 8], [-1, 50], [-1, 10]]
    assert [row.parameters for row in table.rows] == [260, 5020, 0, 16050, 510]
    assert (table.total_parameters, table.trainable_parameters) == (21840, 21840)
    assert [row.multiply_adds for row in table.rows] == [24 * 24 * 10 * 25, 64 * 20 * 250, None, 16000, 500]
    # the pooling between the two convolutions is out of sight: the second field would be wrong
    assert fields(table) == ["5x5", "-", "-", "-", "-"]


def test_the_tutorials_table_as_text() -> None:
    text = str(summary(MnistNet(miniconv.nn), (1, 28, 28)))
    assert text.splitlines()[2:4] == [
        "Conv2d-1     [-1, 10, 24, 24]         260        144,000    5x5",
        "Conv2d-2     [-1, 20, 8, 8]         5,020        320,000      -",
    ]
    assert text.splitlines()[8:] == [
        "Total parameters: 21,840",
        "Trainable parameters: 21,840",
        "Non-trainable parameters: 0",
        "Multiply-adds: 480,500",
        "Input (MB): 0.00",
        "Forward/backward (MB): 0.06",
        "Parameters (MB): 0.08",
        "Total (MB): 0.15",
    ]
    assert repr(summary(nn.Linear(2, 3), (2,))) == str(summary(nn.Linear(2, 3), (2,)))


@BOTH
def test_the_tutorials_counts(kind) -> None:
    table = summary(kind.Conv2d(12, 6, 3), (12, 9, 7))
    assert table.rows[0].parameters == 654
    assert table.rows[0].multiply_adds == 6 * 7 * 5 * 12 * 9
    grouped = summary(kind.Conv2d(12, 6, 3, groups=3), (12, 9, 7))
    assert grouped.rows[0].parameters == 222
    assert grouped.rows[0].multiply_adds == 6 * 7 * 5 * 4 * 9


@BOTH
def test_the_resnet_stem(kind) -> None:
    stem = nn.Sequential(
        kind.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        kind.BatchNorm2d(64),
        kind.ReLU(inplace=True),
        kind.MaxPool2d(3, stride=2, padding=1),
    )
    table = summary(stem, (3, 304, 228))
    shapes = [row.output_shapes[0] for row in table.rows]
    assert shapes == [(-1, 64, 152, 114)] * 3 + [(-1, 64, 76, 57)]
    assert [row.parameters for row in table.rows] == [9408, 128, 0, 0]
    assert fields(table) == ["7x7", "7x7", "7x7", "11x11"]
    assert table.rows[3].receptive_field == (ReceptiveField(11, 4, -5),) * 2


def test_a_dilated_kernel_of_three_covers_five() -> None:
    assert fields(summary(miniconv.nn.Conv2d(1, 1, 3, dilation=2), (1, 9, 9))) == ["5x5"]
    assert fields(summary(miniconv.nn.Conv2d(1, 1, 3, dilation=(2, 3)), (1, 9, 9))) == ["5x7"]


def test_fields_are_what_a_gradient_reaches() -> None:
    net = nn.Sequential(
        miniconv.nn.Conv2d(1, 2, (3, 2), stride=(2, 1)),
        nn.AvgPool2d((2, 3), stride=(1, 2)),
        nn.ReLU(),
        miniconv.nn.Conv2d(2, 1, 3, dilation=(1, 2), padding="valid"),
    )
    x = torch.rand(1, 1, 41, 43, requires_grad=True)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    net(x)[0, 0, 0, 0].backward()
    reached = x.grad[0, 0].nonzero().amax(dim=0) + 1
    assert fields(summary(net, (1, 41, 43)))[-1] == "x".join(map(str, reached.tolist()))


@pytest.mark.parametrize(
    ("net", "size", "expected"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), nn.Conv1d(3, 4, 5)), (2, 40), ["3", "4", "12"]),
        (nn.Sequential(nn.Conv3d(1, 2, (1, 2, 3)), nn.AvgPool3d(2)), (1, 6, 7, 8), ["1x2x3", "2x3x4"]),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding="same", dilation=2), nn.Tanh()), (1, 7, 8), ["5x5", "5x5"]),
        (nn.Conv2d(1, 2, 3, padding=(1, 2), padding_mode="circular"), (1, 7, 8), ["3x3"]),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1)), (1, 9, 8), ["3x3", "-", "-"]),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2)), (1, 9, 8), ["3x3", "-"]),
        (nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.Conv2d(2, 2, 3)), (1, 9, 8), ["-", "-"]),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)), (1, 9, 8), ["3x3", "-"]),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)), (1, 9, 8), ["3x3", "-"]),
        (nn.Sequential(nn.Conv2d(9, 2, 3), nn.MaxPool2d(2)), (9, 9, 8), ["3x3", "4x4"]),
        (nn.MaxPool2d(2), (9, 8), ["-"]),  # taken for 1 channel without a batch
        (nn.MaxPool2d(2, return_indices=True), (2, 9, 8), ["2x2"]),
    ],
)  # fmt: skip
def test_fields_that_are_known_and_fields_that_are_not(net, size, expected) -> None:
    assert fields(summary(net, size)) == expected


class Branches(nn.Module):
    """Two paths that meet, the second time inside the tensor that a layer returned."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(2, 2, k, padding=k // 2) for k in (3, 5, 3))

    def forward(self, x):
        x = self.conv1(x)
        out = self.conv2(x)
        out += x
        return self.conv3(out)


def test_where_paths_meet_the_field_is_unknown() -> None:
    assert fields(summary(Branches(), (2, 9, 8))) == ["3x3", "7x7", "-"]


class Strange(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).mean(dim=3, keepdim=True)


def test_a_layer_with_a_forward_of_its_own_is_unknown() -> None:
    table = summary(nn.Sequential(Strange(1, 2, 3), nn.ReLU()), (1, 9, 8))
    assert fields(table) == ["-", "-"]
    assert table.rows[0].multiply_adds is None
    patched = nn.Conv2d(1, 2, 3)
    patched.forward = lambda x: x
    assert fields(summary(patched, (1, 9, 8))) == ["-"]


def test_a_hook_that_replaces_the_output_ends_the_field() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    net[0].register_forward_hook(lambda module, args, output: output.flip(2))
    assert fields(summary(net, (1, 9, 8))) == ["3x3", "-"]


class Caught(nn.Module):
    """Goes on after a layer that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bad, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(7, 1, 5), nn.Conv2d(2, 1, 3)

    def forward(self, x):
        x = self.first(x)
        try:
            self.bad(x)
        except RuntimeError:
            x = self.last(x)
        return x


def test_a_failure_that_the_model_catches() -> None:
    table = summary(Caught(), (1, 9, 8))
    assert fields(table) == ["3x3", "5x5"]
    assert table.total_parameters - sum(row.parameters for row in table.rows) == 7 * 25 + 1
    assert f"Parameters in no row: {7 * 25 + 1}" in str(table)


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.picture, self.words = nn.Conv2d(3, 4, 3), nn.Embedding(10, 5)
        self.lstm = nn.LSTM(5, 6, batch_first=True)

    def forward(self, picture, words):
        return {"picture": self.picture(input=picture), "words": self.lstm(self.words(words))}


def test_several_inputs_and_outputs() -> None:
    table = summary(TwoInTwoOut(), [(3, 9, 8), (7,)], dtype=[torch.float32, torch.int64])
    assert table.rows[0].output_shapes == ((-1, 4, 7, 6),)
    assert table.rows[0].cells()[-1] == "3x3"
    assert table.rows[1].output_shapes == ((-1, 7, 5),)
    assert table.rows[2].output_shapes == ((-1, 7, 6), (-1, 1, 6), (-1, 1, 6))
    assert table.input_bytes == 3 * 9 * 8 * 4 + 7 * 8


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.frozen = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return self.frozen(self.conv(self.conv(x)))


def test_a_layer_used_twice_counts_once() -> None:
    table = summary(Reused(), (2, 9, 8))
    assert [row.cells()[2] for row in table.rows] == ["38", "reused", "6"]
    assert [row.layer for row in table.rows] == ["Conv2d-1", "Conv2d-2", "Conv2d-3"]
    assert (table.total_parameters, table.trainable_parameters) == (44, 38)
    assert fields(table) == ["3x3", "5x5", "5x5"]
    assert table.multiply_adds == 2 * 7 * 6 * 18 + 2 * 5 * 4 * 18 + 2 * 5 * 4 * 2


def test_tied_parameters_count_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    table = summary(nn.Sequential(first, second), (4,))
    assert [row.cells()[2] for row in table.rows] == ["20", "4 + reused"]
    assert table.total_parameters == 24


def test_a_parametrised_layer_is_one_row() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3))
    table = summary(nn.Sequential(conv, nn.ReLU()), (2, 9, 8))
    assert [row.layer for row in table.rows] == ["ParametrizedConv2d-1", "ReLU-2"]
    assert table.rows[0].parameters == table.total_parameters == 3 * 2 * 9 + 3 + 3
    assert fields(table) == ["3x3", "3x3"]


@BOTH
def test_transposed_layers_have_their_multiply_adds(kind) -> None:
    table = summary(kind.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2, output_padding=1), (4, 5, 7))
    assert table.rows[0].multiply_adds == 4 * 5 * 7 * 3 * 6


def test_the_blocks() -> None:
    table = summary(nn.Sequential(miniconv.nn.SepConv(4, 6, 3, 1, 1), miniconv.nn.BasicBlock(6, 8, 2)), (4, 9, 8))
    names = [row.layer.partition("-")[0] for row in table.rows]
    assert names[:4] == ["ReLU", "Conv2d", "Conv2d", "BatchNorm2d"]
    assert fields(table)[:4] == ["1x1", "3x3", "3x3", "3x3"]
    assert fields(table)[4] == "5x5"
    assert "-" in fields(table)
    assert table.total_parameters == sum(row.parameters for row in table.rows)


def test_other_dtypes_take_their_own_memory() -> None:
    table = summary(nn.Conv2d(2, 3, 3).double(), (2, 9, 8))
    assert table.input_bytes == 2 * 9 * 8 * 8
    assert table.forward_backward_bytes == 2 * 3 * 7 * 6 * 8
    assert table.parameter_bytes == 57 * 8


def test_a_lazy_layer_is_shown_as_what_it_became() -> None:
    assert summary(nn.LazyConv2d(3, 2), (4, 6, 5)).rows[0].layer == "Conv2d-1"


def hooks_of(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 28, 28)])
def test_the_model_is_as_before_even_after_an_error(size) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[2].eval()
    state, random_state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    if size[0] == 3:
        with pytest.raises(RuntimeError, match="channels"):
            summary(net, size)
    else:
        summary(net, size)
    assert [m.training for m in net.modules()] == [True, True, True, False]
    assert hooks_of(net) == 0
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_inside_inference_mode() -> None:
    with torch.inference_mode():
        assert fields(summary(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(inplace=True)), (1, 5, 6))) == ["3x3", "3x3"]


@pytest.mark.parametrize("size", [5, (), "28", (1, 2.5), [(1, 2), 3]])
def test_a_size_that_is_none(size) -> None:
    with pytest.raises(TypeError):
        summary(nn.ReLU(), size)


def test_one_dtype_for_each_input() -> None:
    with pytest.raises(TypeError, match="one dtype for each input is needed, but got 2 for 1"):
        summary(nn.ReLU(), (3,), dtype=[torch.float32, torch.int64])
