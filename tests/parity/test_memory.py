"""Whose memory it is: a convolution leaves its operands resizable, and its results are torch's, and no views."""

from contextlib import nullcontext

import pytest
import torch

import miniconv
import miniconv.functional as own

DTYPES = (torch.float32, torch.bfloat16, torch.complex64)


def convolve(F, transposed, dims, dtype, channels_last, recorded):
    """Operands, output and, where a graph is recorded, gradients, of tensors that own their memory."""
    torch.manual_seed(1)
    input = torch.randn(2, 4, *(5, 6, 7)[:dims]).to(dtype)
    weight, bias = torch.randn(4, 4, *(3, 2, 2)[:dims]).to(dtype), torch.randn(4).to(dtype)
    if channels_last:
        input = input.to(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[input.dim()])
    operands = [input, weight, bias]
    for x in operands:
        x.requires_grad_(recorded)
    output = getattr(F, f"conv{'_transpose' * transposed}{dims}d")(*operands)
    if recorded:
        output.real.sum().backward()
    return [*operands, output, *(x.grad for x in operands if recorded)]


@pytest.mark.parametrize("door", ["functional", "patch"])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("transposed", "dims", "channels_last"), [(t, d, c) for t in (0, 1) for d in (1, 2, 3) for c in (0, 1) if d - c]
)
def test_resizable_and_no_view(door, recorded, dtype, transposed, dims, channels_last):
    case = (transposed, dims, dtype, channels_last, recorded)
    expected = convolve(torch.nn.functional, *case)
    with miniconv.patch() if door == "patch" else nullcontext():
        got = convolve(torch.nn.functional if door == "patch" else own, *case)
    for ours, theirs in zip(got, expected, strict=True):
        assert theirs.untyped_storage().resizable()
        assert ours.untyped_storage().resizable()
        assert (ours._is_view(), ours.stride()) == (theirs._is_view(), theirs.stride())


def test_memory_given_back_and_taken_again():
    """What FSDP does to a gathered weight, and people to an activation that they can work out again."""
    weight, input = torch.ones(3, 2, 3, 2), torch.ones(1, 2, 5, 6)
    output = own.conv2d(input, weight)
    for x in (weight, output):
        size = x.untyped_storage().nbytes()
        x.untyped_storage().resize_(0)
        x.untyped_storage().resize_(size)
        x.fill_(2)
    assert torch.equal(own.conv2d(input, weight), torch.full((1, 3, 3, 5), 24.0))
    assert torch.cat([weight, weight], out=output.resize_(0)).shape == (6, 2, 3, 2)
