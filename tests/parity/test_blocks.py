"""The tutorials' blocks: structure, parameter counts, and the same numbers as torch's own layers."""

from __future__ import annotations

import pytest
import torch

import miniconv.nn as nn


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def torch_twin(op: torch.nn.Sequential) -> torch.nn.Sequential:
    """The same Sequential of torch's layers, with the same weights."""
    twins = []
    for layer in op:
        if isinstance(layer, torch.nn.Conv2d):
            options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
            twin = torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, bias=False, **options)
            twin.load_state_dict(layer.state_dict())
            twins.append(twin)
        else:
            twins.append(layer)
    return torch.nn.Sequential(*twins)


BLOCKS = {
    "ConvBNReLU": nn.ConvBNReLU(6, 10, (3, 5), (2, 1), (1, 2)),
    "SepConv": nn.SepConv(6, 10, (3, 5), (2, 1), (1, 2)),
    "DilConv": nn.DilConv(6, 10, (3, 5), (2, 1), (2, 4), 2),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computes_what_torchs_layers_compute(name: str) -> None:
    torch.manual_seed(0)
    block, x = BLOCKS[name].eval(), torch.randn(2, 6, 11, 8)
    out = block(x)
    assert out.shape == (2, 10, 6, 8)
    torch.testing.assert_close(out, torch_twin(block.op)(x), rtol=1e-4, atol=1e-5)


def test_structure() -> None:
    kinds = [[type(layer).__name__ for layer in block.op] for block in BLOCKS.values()]
    assert kinds[0] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds[1] == kinds[2] == ["ReLU", "Conv2d", "Conv2d", "BatchNorm2d"]
    for block in BLOCKS.values():
        for layer in block.op:
            if isinstance(layer, torch.nn.Conv2d):
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is None
            elif isinstance(layer, torch.nn.BatchNorm2d):
                assert layer.eps == 1e-3
                assert layer.num_features == 10
            else:
                assert not layer.inplace
    depthwise = BLOCKS["DilConv"].op[1]
    assert (depthwise.groups, depthwise.dilation, depthwise.stride) == (6, (2, 2), (2, 1))
    assert BLOCKS["SepConv"].op[1].dilation == (1, 1)
    assert BLOCKS["SepConv"].op[2].kernel_size == (1, 1)


def test_affine_is_the_batch_norms() -> None:
    for block in (nn.ConvBNReLU, nn.SepConv):
        assert count(block(6, 10, 3, 1, 1)) - count(block(6, 10, 3, 1, 1, affine=False)) == 2 * 10
    assert count(nn.DilConv(6, 10, 3, 1, 2, 2)) - count(nn.DilConv(6, 10, 3, 1, 2, 2, affine=False)) == 2 * 10


@pytest.mark.parametrize(("k", "C_in", "C_out"), [(3, 16, 32), (5, 12, 7)])
def test_depthwise_separable_against_ordinary(k: int, C_in: int, C_out: int) -> None:
    assert count(nn.ConvBNReLU(C_in, C_out, k, 1, 1, affine=False)) == k * k * C_in * C_out
    assert count(nn.SepConv(C_in, C_out, k, 1, 1, affine=False)) == k * k * C_in + C_in * 1 * 1 * C_out
    # dilation widens the field and costs no parameter
    assert count(nn.DilConv(C_in, C_out, k, 1, 1, 2, affine=False)) == k * k * C_in + C_in * C_out


def test_identity_returns_its_input() -> None:
    x = torch.randn(2, 3)
    assert nn.Identity()(x) is x
    assert nn.Identity(54, unused=True)(x) is x
    assert isinstance(nn.Identity(), torch.nn.Identity)


def reference_basic(block: nn.BasicBlock, x: torch.Tensor, stride: int) -> torch.Tensor:
    """A basic block in torch's functions, with the block's weights."""
    conv = torch.nn.functional.conv2d
    out = torch.relu(block.bn1(conv(x, block.conv1.weight, None, stride, 1)))
    out = block.bn2(conv(out, block.conv2.weight, None, 1, 1))
    if not isinstance(block.downsample, nn.Identity):
        x = block.downsample[1](conv(x, block.downsample[0].weight, None, stride))
    return torch.relu(out + x)


@pytest.mark.parametrize(("C_in", "C_out", "stride"), [(6, 6, 1), (6, 10, 1), (6, 10, 2), (6, 6, 2)])
def test_basic_block(C_in: int, C_out: int, stride: int) -> None:
    torch.manual_seed(1)
    block, x = nn.BasicBlock(C_in, C_out, stride).eval(), torch.randn(2, C_in, 9, 12)
    out = block(x)
    assert out.shape == (2, C_out, -(-9 // stride), -(-12 // stride))
    torch.testing.assert_close(out, reference_basic(block, x, stride), rtol=1e-4, atol=1e-5)
    assert isinstance(block.downsample, nn.Identity) == (C_in == C_out and stride == 1)


def test_bottleneck() -> None:
    torch.manual_seed(2)
    first, later = nn.Bottleneck(6, 4, stride=2).eval(), nn.Bottleneck(16, 4).eval()
    x = torch.randn(2, 6, 9, 12)
    conv = torch.nn.functional.conv2d
    out = torch.relu(first.bn1(conv(x, first.conv1.weight)))
    out = torch.relu(first.bn2(conv(out, first.conv2.weight, None, 2, 1)))
    out = first.bn3(conv(out, first.conv3.weight))
    out = torch.relu(out + first.downsample[1](conv(x, first.downsample[0].weight, None, 2)))
    assert out.shape == (2, 4 * nn.Bottleneck.expansion, 5, 6)
    torch.testing.assert_close(first(x), out, rtol=1e-4, atol=1e-5)
    assert isinstance(later.downsample, nn.Identity)
    assert later(out).shape == out.shape


def test_residual_blocks_have_torchvisions_names() -> None:
    names = set(nn.BasicBlock(4, 6, 2).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "conv2.weight", "downsample.0.weight", "downsample.1.bias"} <= names
    assert "conv3.weight" in nn.Bottleneck(4, 2).state_dict()
    assert not any("downsample" in name for name in nn.BasicBlock(4, 4).state_dict())


@pytest.mark.parametrize("block", [nn.BasicBlock(4, 6, 2), nn.Bottleneck(4, 2, 2), nn.SepConv(4, 6, 3, 2, 1)])
def test_blocks_learn(block: torch.nn.Module) -> None:
    block(torch.randn(2, 4, 7, 10)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())


def test_a_bias_before_batch_norm_changes_nothing_in_training() -> None:
    torch.manual_seed(3)
    x = torch.randn(4, 3, 9, 7)
    norm = torch.nn.BatchNorm2d(5)
    with_bias = nn.Conv2d(3, 5, (3, 2))
    without = nn.Conv2d(3, 5, (3, 2), bias=False)
    with torch.no_grad():
        without.weight.copy_(with_bias.weight)
        with_bias.bias.copy_(torch.tensor([100.0, -3.0, 0.5, 7.0, -40.0]))
    torch.testing.assert_close(norm(with_bias(x)), norm(without(x)), rtol=1e-4, atol=1e-4)


def test_resnet_stem_quarters_the_picture() -> None:
    stem = torch.nn.Sequential(
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ).eval()
    x = torch.zeros(1, 3, 304, 228)
    assert stem[0](x).shape == (1, 64, 152, 114)
    assert stem(x).shape == (1, 64, 76, 57)
