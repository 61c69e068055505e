"""conv1d, conv3d and the transposed convolutions against torch: values, gradients, shapes, strides, errors.

On small integers every order of summation is exact, so all comparisons are equality. Full products over batch, groups,
kernel, stride, padding and dilation (and output padding); dtypes in turn.
"""

import itertools

import pytest
import torch

import miniconv.functional as F

# torch says once a process that a lopsided 'same' may cost it a copy
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")

TORCH = torch.nn.functional
SIZES = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}
KERNELS = {1: [(1,), (3,), (4,)], 2: [(1, 1), (3, 2)], 3: [(1, 1, 1), (2, 3, 1)]}
STRIDES = {1: [1, (2,), 3], 2: [1, (2, 3)], 3: [1, (2, 1, 3)]}
PADDINGS = {1: [0, (2,)], 2: [0, (1, 2)], 3: [0, (1, 0, 2)]}
DILATIONS = {1: [1, (2,)], 2: [1, (1, 2)], 3: [1, (2, 1, 1)]}
CHANNELS = {1: (4, 6, 1), 2: (4, 6, 2), "depthwise": (3, 3, 3), "multiplier": (3, 6, 3)}
DTYPES = [torch.float32, torch.float64, torch.int64, torch.bfloat16, torch.complex128]


def integers(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(1, 4, shape, generator=generator) * (torch.randint(0, 2, shape, generator=generator) * 2 - 1)
    return values.to(dtype)


def operands(op, dims, batch, groups, kernel, dtype):
    c_in, c_out, g = CHANNELS[groups]
    input_shape = ((batch,) if batch is not None else ()) + (c_in, *SIZES[dims])
    weight_shape = (c_in, c_out // g, *kernel) if "transpose" in op else (c_out, c_in // g, *kernel)
    shapes = (input_shape, weight_shape, (c_out,))
    return [integers(shape, dtype, seed) for seed, shape in enumerate(shapes)], g


def outcome(function, tensors, options):
    """What a call gives: output and gradients, or the type and first line of an error."""
    leaves = [t.clone().requires_grad_(not t.dtype.is_complex and t.is_floating_point()) for t in tensors]
    try:
        output = function(*leaves, **options)
    except Exception as error:  # its type and text are compared
        return type(error).__name__, str(error).splitlines()[0]
    if not output.requires_grad:
        return (output,)
    grad = integers(output.shape, output.dtype, 9)
    return (output.detach(), *torch.autograd.grad(output, leaves, grad))


def assert_same(ours, theirs, where):
    if ours[0] == "RuntimeError" and ours[1].endswith("Output size is too small") and not isinstance(theirs[0], str):
        assert 0 in theirs[0].shape, where  # oneDNN returns an empty output where torch's other backends refuse it
        return
    if isinstance(theirs[0], str) or isinstance(ours[0], str):
        assert ours == theirs, where
        return
    for mine, torchs in zip(ours, theirs, strict=True):
        assert mine.dtype == torchs.dtype, where
        assert mine.shape == torchs.shape, where
        assert mine.stride() == torchs.stride() or not mine.numel(), where
        assert torch.equal(mine, torchs), where


@pytest.mark.parametrize("groups", CHANNELS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", ["conv1d", "conv2d", "conv3d"])
def test_ordinary(op, dtype, groups):
    dims = int(op[4])
    paddings = [*PADDINGS[dims], "same", "valid"]
    count = 0
    for batch, kernel, stride, padding, dilation in itertools.product(
        (None, 0, 1, 3), KERNELS[dims], STRIDES[dims], paddings, DILATIONS[dims]
    ):
        tensors, g = operands(op, dims, batch, groups, kernel, dtype)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": g}
        ours = outcome(getattr(F, op), tensors, options)
        assert_same(ours, outcome(getattr(TORCH, op), tensors, options), (op, batch, kernel, options))
        count += 1
    assert count == {1: 288, 2: 128, 3: 128}[dims]


@pytest.mark.parametrize("groups", CHANNELS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"])
def test_transposed(op, dtype, groups):
    dims = int(op[-2])
    count = 0
    for batch, kernel, stride, padding, dilation, extra in itertools.product(
        (None, 0, 1, 3), KERNELS[dims], STRIDES[dims], PADDINGS[dims], DILATIONS[dims], (0, 1)
    ):
        tensors, g = operands(op, dims, batch, groups, kernel, dtype)
        # on one axis alone, so that both legal and illegal combinations come up
        output_padding = (*(0,) * (dims - 1), extra)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
        ours = outcome(getattr(F, op), tensors, options | {"groups": g})
        theirs = outcome(getattr(TORCH, op), tensors, options | {"groups": g})
        assert_same(ours, theirs, (op, batch, kernel, options))
        count += 1
    assert count == {1: 288, 2: 128, 3: 128}[dims]


BASE = {
    "conv1d": ((2, 4, 9), (6, 4, 3)),
    "conv3d": ((2, 4, 5, 6, 7), (6, 4, 2, 3, 1)),
    "conv_transpose1d": ((2, 4, 9), (4, 6, 3)),
    "conv_transpose2d": ((2, 4, 5, 6), (4, 6, 3, 2)),
    "conv_transpose3d": ((2, 4, 3, 4, 5), (4, 6, 2, 3, 1)),
}
# what is passed in place of (input shape, weight shape, bias shape), and options
ERRORS = [
    {"input": (3, 3)},
    {"input": (2, 2, 2, 2, 2, 2)},
    {"input": (2, 3)},
    {"weight": (6, 4)},
    {"channels": 3},
    {"bias": (5,)},
    {"bias": (6, 1)},
    {"groups": 0},
    {"groups": -1},
    {"groups": 3},
    {"groups": 8},
    {"groups": 1.0},
    {"groups": None},
    {"stride": 0},
    {"stride": -1, "padding": -1},
    {"stride": (1, 1, 1, 1)},
    {"stride": ()},
    {"stride": 1.0},
    {"stride": None},
    {"stride": True},
    {"stride": (1.0,)},
    {"stride": 2**63},
    {"padding": -1},
    {"padding": (1, 1, 1, 1)},
    {"padding": 2**62},
    {"dilation": -1},
    {"dilation": (1, 1, 1, 1)},
    {"dilation": 1.0},
    {"empty": "spatial"},
    {"empty": "kernel"},
    {"dilation": 0},
    {"dtype": "bool"},
    {"weight_dtype": torch.float32},
    {"padding": "same", "stride": 2, "only": "ordinary"},
    {"padding": "SAME", "only": "ordinary"},
    {"padding": "same", "only": "transposed"},
    {"kernel": 99, "only": "ordinary"},
    {"padding": 50, "only": "transposed"},
    {"output_padding": 1, "only": "transposed"},
    {"output_padding": -1, "only": "transposed"},
    {"output_padding": 1.0, "only": "transposed"},
    {"output_padding": (1, 1, 1, 1), "only": "transposed"},
]


@pytest.mark.parametrize("op", BASE)
@pytest.mark.parametrize("change", ERRORS, ids=str)
def test_errors(op, change):
    change = dict(change)
    if change.pop("only", None) == ("ordinary" if "transpose" in op else "transposed"):
        pytest.skip("a rule of the other kind")
    input, weight = (list(shape) for shape in BASE[op])
    dtype = torch.bool if change.pop("dtype", "") == "bool" else torch.float64
    input[1] = change.pop("channels", 4)
    empty = change.pop("empty", "")
    if empty == "kernel" and op == "conv_transpose3d":
        pytest.skip("torch has a text of its own for this operator alone")
    if empty:
        (input if empty == "spatial" else weight)[-1] = 0
    if empty == "spatial" and "transpose" not in op:
        change["padding"] = 2
    weight[2] = change.pop("kernel", weight[2])
    # float64 and one image: torch's own backend, whose texts are the ones documented
    input = torch.ones(change.pop("input", (1, *input[1:]))).to(dtype)
    weight_dtype = change.pop("weight_dtype", dtype)
    weight = torch.ones(change.pop("weight", weight)).to(weight_dtype)
    bias = torch.ones(change.pop("bias", 6)).to(dtype) if "bias" in change else None
    ours = outcome_of_error(getattr(F, op), (input, weight, bias), change)
    assert ours == outcome_of_error(getattr(TORCH, op), (input, weight, bias), change)


def outcome_of_error(function, tensors, options):
    """Type and first line of the error; with a bias only where there is one, as a caller would write it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - type and text are compared
        function(*(t for t in tensors if t is not None), **options)
    return type(caught.value).__name__, str(caught.value).splitlines()[0]
