"""What miniconv takes and torch does not: padding by sides, 'same_upper' and 'same_lower', more dtypes.

Padding is judged by torch itself: cells put around the input by torch's ``pad``, then torch's convolution without
padding. Small integers make every sum exact, so all comparisons are equality.
"""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch

import miniconv
import miniconv.functional as F
import miniconv.nn as nn
from miniconv import ConvProblem

TORCH = torch.nn.functional
SIZES = {1: [(9,), (8,), (1,)], 2: [(7, 8), (6, 9), (2, 1)], 3: [(5, 6, 4), (4, 3, 5)]}
KERNELS = {1: [(1,), (3,), (4,)], 2: [(1, 2), (3, 4)], 3: [(2, 1, 3), (3, 2, 1)]}
STRIDES = {1: [1, 2, (5,)], 2: [1, (2, 3)], 3: [1, (3, 1, 2)]}
DILATIONS = {1: [1, (2,)], 2: [1, (1, 2)], 3: [1, (2, 1, 1)]}
SIDES = {1: [(2, 0)], 2: [(1, 2), (3, 0)], 3: [(0, 1), (2, 0), (1, 1)]}
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def integers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (torch.arange(torch.Size(shape).numel()).reshape(shape) * 7 % 11 - 5).to(dtype)


def per_axis(value: Any, dims: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def sides_of(word: str, size: Any, kernel: Any, stride: Any, dilation: Any) -> list[tuple[int, int]]:
    """ONNX's rule, by search: the fewest cells by which ceil(size / stride) windows fit, or none."""
    pairs = []
    for i, k, s, d in zip(size, kernel, per_axis(stride, len(size)), per_axis(dilation, len(size))):
        windows = len(range(0, i, s))
        total = next(t for t in itertools.count() if i + t >= (windows - 1) * s + d * (k - 1) + 1)
        sides = (total // 2, total - total // 2)
        pairs.append(sides if word == "same_upper" else sides[::-1])
    return pairs


def border(pairs: Any) -> list[int]:
    return [side for pair in reversed(pairs) for side in pair]


def outcome(function: Any, *leaves: torch.Tensor) -> list[torch.Tensor]:
    """A result and its gradients."""
    leaves = tuple(x.clone().requires_grad_() for x in leaves)
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, integers(*out.shape))]


def assert_equal(got: list[torch.Tensor], expected: list[torch.Tensor], where: Any) -> None:
    for mine, torchs in zip(got, expected, strict=True):
        assert mine.shape == torchs.shape, where
        assert torch.equal(mine, torchs), where


@pytest.mark.parametrize("padding", ["same_upper", "same_lower", "sides"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_of_tensors_and_arrays(dims: int, padding: str) -> None:
    op = f"conv{dims}d"
    ours, theirs = getattr(F, op), getattr(TORCH, op)
    for size, kernel, stride, dilation, groups, batch in itertools.product(
        SIZES[dims], KERNELS[dims], STRIDES[dims], DILATIONS[dims], (1, 2), ((2,), ())
    ):
        if padding == "sides" and size in ((1,), (2, 1)):
            continue
        x, weight, bias = integers(*batch, 4, *size), integers(6, 4 // groups, *kernel), integers(6)
        pairs = SIDES[dims] if padding == "sides" else sides_of(padding, size, kernel, stride, dilation)
        given = {"padding": tuple(pairs) if padding == "sides" else padding}
        rest = {"stride": stride, "dilation": dilation, "groups": groups}
        got = outcome(lambda *a: ours(*a, **given, **rest), x, weight, bias)  # noqa: B023 - called at once
        expected = outcome(lambda x, *a: theirs(TORCH.pad(x, border(pairs)), *a, **rest), x, weight, bias)  # noqa: B023
        assert_equal(got, expected, (size, kernel, stride, dilation))
        assert torch.equal(ours(x, weight, bias, **given, **rest), expected[0])  # the plain route
        array = ours(x.numpy(), weight.numpy(), bias.numpy(), **given, **rest)
        assert torch.equal(torch.from_numpy(array), expected[0])
        if padding != "sides":
            assert got[0].shape[-dims:] == tuple(-(-i // s) for i, s in zip(size, per_axis(stride, dims)))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_transposed_convolution_is_cut_by_sides(dims: int) -> None:
    op, pairs = f"conv_transpose{dims}d", SIDES[dims]
    for stride, dilation in itertools.product(STRIDES[dims], DILATIONS[dims]):
        x, weight, bias = integers(2, 4, *SIZES[dims][0]), integers(4, 3, *KERNELS[dims][-1]), integers(6)
        rest = {"stride": stride, "dilation": dilation, "groups": 2}
        got = outcome(lambda *a: getattr(F, op)(*a, padding=pairs, **rest), x, weight, bias)  # noqa: B023
        cut = [-side for side in border(pairs)]
        expected = outcome(lambda *a: TORCH.pad(getattr(TORCH, op)(*a, **rest), cut), x, weight, bias)  # noqa: B023
        assert_equal(got, expected, (stride, dilation))
    with pytest.raises(TypeError, match=rf"{op}\(\): argument 'padding' must be tuple of ints, not str"):
        getattr(F, op)(x, weight, bias, padding="same_upper")


@pytest.mark.parametrize("padding", ["same_upper", "same_lower", "sides"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_layers(dims: int, mode: str, padding: str) -> None:
    name, kernel, dilation = f"Conv{dims}d", KERNELS[dims][-1], DILATIONS[dims][-1]
    for stride, lazy in itertools.product(STRIDES[dims][:2], (False, True)):
        given: Any = [list(pair) for pair in SIDES[dims]] if padding == "sides" else padding
        options = {"stride": stride, "padding": given, "dilation": dilation, "padding_mode": mode, "groups": 2}
        layer = nn.__dict__[f"Lazy{name}"](6, kernel, **options) if lazy else getattr(nn, name)(4, 6, kernel, **options)
        layer.double()
        for size in SIZES[dims][:2]:
            x = integers(2, 4, *size)
            if lazy:
                layer(x)
            with torch.no_grad():
                layer.weight.copy_(integers(*layer.weight.shape))
                layer.bias.copy_(integers(6))
            pairs = SIDES[dims] if padding == "sides" else sides_of(padding, size, kernel, stride, dilation)
            rest = {"stride": stride, "dilation": dilation, "groups": 2}
            torchs = getattr(TORCH, name.lower())
            got = outcome(layer, x)
            expected = outcome(
                lambda x: torchs(TORCH.pad(x, border(pairs), MODES[mode]), layer.weight, layer.bias, **rest),  # noqa: B023
                x,
            )
            assert_equal(got, expected, (size, stride))
        assert type(layer) is getattr(nn, name)
        assert layer.padding == (padding if padding != "sides" else tuple(SIDES[dims]))
        assert f", padding={layer.padding}, " in repr(layer)
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(x), layer(x))
        other = getattr(torch.nn, name)(4, 6, kernel, groups=2, dtype=torch.float64)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other.weight, layer.weight)


def test_transposed_layers_are_cut_by_sides() -> None:
    layer = nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=[(2, 0), (0, 1)], dtype=torch.float64)
    whole = torch.nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), dtype=torch.float64)
    whole.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    assert repr(layer) == "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=(2, 3), padding=((2, 0), (0, 1)))"
    assert torch.allclose(layer(x), whole(x)[:, :, 2:, :-1], rtol=0, atol=1e-14)
    assert layer(x, output_size=(10, 17)).shape == (2, 6, 10, 17)
    with pytest.raises(ValueError, match=r"valid sizes range from \[9, 16\] to \[10, 18\]"):
        layer(x, output_size=(11, 17))
    with pytest.raises(ValueError, match="Invalid padding string 'same_upper'"):
        nn.ConvTranspose2d(4, 6, 3, padding="same_upper")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("padding", ["same_upper", "same_lower", ((1, 2), (3, 0))])
def test_every_way_of_recording_a_call(padding: Any) -> None:
    x, weight, bias = integers(3, 2, 7, 8), integers(4, 2, 4, 3), integers(4)
    pairs = sides_of(padding, (7, 8), (4, 3), (1, 2), 1) if isinstance(padding, str) else padding

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return F.conv2d(x, weight, bias, stride=(1, 2), padding=padding)

    def judge(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return TORCH.conv2d(TORCH.pad(x, border(pairs)), weight, bias, stride=(1, 2))

    leaves = [t[:1].clone().requires_grad_() for t in (x,)] + [t.clone().requires_grad_() for t in (weight, bias)]
    assert torch.autograd.gradcheck(call, leaves)
    assert torch.autograd.gradgradcheck(call, leaves)
    expected, tangents = judge(x, weight, bias), [t.flip(0) for t in (x, weight, bias)]
    for got, want in zip(*(torch.func.jvp(f, (x, weight, bias), tuple(tangents)) for f in (call, judge))):
        assert torch.equal(got, want)
    assert torch.equal(torch.func.vmap(call, (0, None, None))(x, weight, bias), expected)
    assert torch.equal(torch.func.vmap(call, (None, 0))(x, torch.stack([weight, -weight]))[1], -judge(x, weight))
    for dynamic in (False, True):
        torch._dynamo.reset()
        compiled = torch.compile(call, fullgraph=True, dynamic=dynamic, backend="aot_eager")
        assert torch.equal(compiled(x, weight, bias), expected)
        leaf = weight.clone().requires_grad_()
        (grad,) = torch.autograd.grad(compiled(x, leaf, bias).sum(), leaf)
        (wanted,) = torch.autograd.grad(judge(x, leaf, bias).sum(), leaf)
        assert torch.equal(grad, wanted)
    assert torch.equal(torch.jit.trace(call, (x, weight, bias))(x, weight, bias), expected)
    program = torch.export.export(nn.Conv2d(2, 4, (4, 3), (1, 2), padding).double(), (x,))
    assert program.module()(x).shape == expected.shape
    assert call(x.to("meta"), weight.to("meta")).shape == expected.shape
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert call(x.float(), weight.float()).dtype is torch.bfloat16


def test_compiled_layers_follow_the_size() -> None:
    """The padding of a strided 'same_upper' depends on the size, which is symbolic here."""
    layer = nn.Conv2d(2, 3, (4, 3), stride=(3, 2), padding="same_upper", padding_mode="replicate")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in ((7, 8), (8, 9), (9, 11), (10, 6)):
        x = torch.randn(2, 2, *size)
        assert torch.equal(compiled(x), layer(x)), size


@pytest.mark.parametrize(
    "padding",
    [((1, 2),), ((1, 2), 3), ((1, 2), (3,)), [[1, 2], [3, 4.0]], ((), ()), ((1, 2),) * 3, ((True, 1), (0, 0))],
)
def test_what_is_not_one_pair_for_each_axis(padding: Any) -> None:
    x, weight = integers(2, 4, 8, 9), integers(6, 4, 3, 3)
    with pytest.raises(TypeError):
        TORCH.conv2d(x, weight, padding=padding)  # never a meaning of torch's own
    for call, name in [
        (lambda: F.conv2d(x, weight, padding=padding), r"conv2d\(\)"),
        (lambda: F.conv2d(x.numpy(), weight.numpy(), padding=padding), r"conv2d\(\)"),
        (lambda: nn.Conv2d(4, 6, 3, padding=padding), r"Conv2d\(\)"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, padding=padding), r"ConvTranspose2d\(\)"),
    ]:
        with pytest.raises(
            TypeError, match=f"^{name}: padding by sides is one pair .low, high. of integers.*got padding"
        ):
            call()


def test_rules_on_the_new_forms() -> None:
    x, weight = integers(2, 4, 8, 9), integers(6, 4, 3, 3)
    with pytest.raises(
        RuntimeError, match=r"negative padding is not supported, but got padding=\(\(1, 2\), \(0, -1\)\)"
    ):
        F.conv2d(x, weight, padding=((1, 2), (0, -1)))
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        F.conv2d(x, weight, padding=((1, 2**63), (0, 0)))
    with pytest.raises(RuntimeError, match="non-positive stride is not supported"):
        F.conv2d(x, weight, padding="same_upper", stride=(1, 0))
    with pytest.raises(RuntimeError, match="stride cannot broadcast to 2 dimensions"):
        F.conv2d(x, weight, padding="same_upper", stride=(1, 1, 1))
    with pytest.raises(RuntimeError, match="Invalid padding string: 'same_left'"):
        F.conv2d(x, weight, padding="same_left")
    with pytest.raises(RuntimeError, match=r"expected input\[2, 3, 8, 9\] to have 4 channels"):
        F.conv2d(x[:, :3], weight, padding=((5, 1), (0, 2)))
    for function in (F.conv2d, TORCH.conv2d):
        with pytest.raises(RuntimeError, match="padding='same' is not supported for strided convolutions"):
            function(x, weight, padding="same", stride=2)
    for module in (nn, torch.nn):
        with pytest.raises(ValueError, match="padding='same' is not supported for strided convolutions"):
            module.Conv2d(4, 6, 3, padding="same", stride=2)


def test_the_problem_is_told_by_its_text() -> None:
    layer = nn.Conv2d(4, 6, (3, 4), stride=(2, 3), padding="same_lower")
    problem = ConvProblem.from_conv(
        miniconv.problem.Operand((2, 4, 9, 10)),
        miniconv.problem.Operand((6, 4, 3, 4)),
        stride=(2, 3),
        padding="same_lower",
    )
    assert str(problem) == "conv2d n2 c4 o6 i9x10 k3x4 s2x3 p1x2:1 float32"
    assert ConvProblem.parse(str(problem)) == problem
    assert problem.output_shape == layer(torch.zeros(2, 4, 9, 10)).shape
    assert "[-1, 6, 5, 4]" in str(miniconv.summary(layer, (4, 9, 10)))


# ---- dtypes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
@pytest.mark.parametrize("op", [f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)])
def test_small_integers_dilated_and_transposed(op: str, dtype: str) -> None:
    dims, transposed, kind = int(op[-2]), "transpose" in op, getattr(torch, dtype)
    x, weight = (t.to(kind) for t in (integers(2, 4, *SIZES[dims][0]) + 5, integers(4, 4, *KERNELS[dims][-1])))
    for dilation in ((1,) if transposed else ()) + (2,):
        with pytest.raises(NotImplementedError):
            getattr(TORCH, op)(x, weight, dilation=dilation)
        got = getattr(F, op)(x, weight, dilation=dilation)
        wide = getattr(TORCH, op)(x.long(), weight.long(), dilation=dilation)
        assert got.dtype is kind
        assert torch.equal(got, wide.to(kind))  # modulo 2^n
        assert torch.equal(torch.from_numpy(getattr(F, op)(x.numpy(), weight.numpy(), dilation=dilation)), got)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_complex32_in_every_padding_mode(dims: int, mode: str) -> None:
    options: Any = {"padding": 1, "padding_mode": mode}
    layer = getattr(nn, f"Conv{dims}d")(4, 6, KERNELS[dims][-1], **options)
    with torch.no_grad():
        layer.weight.copy_(integers(*layer.weight.shape))
        layer.bias.copy_(integers(6))
    wide = copy.deepcopy(layer).to(torch.complex64)
    layer.to(torch.complex32)
    x = torch.complex(integers(2, 4, *SIZES[dims][0]), integers(2, 4, *SIZES[dims][0]).flip(0)).to(torch.complex32)
    other = getattr(torch.nn, f"Conv{dims}d")(4, 6, KERNELS[dims][-1], **options).to(torch.complex32)
    with pytest.raises(NotImplementedError, match="not implemented for 'ComplexHalf'"):
        other(x)
    assert torch.equal(layer(x).to(torch.complex64), wide(x.to(torch.complex64)))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_float16_transposed_is_rounded_once(dims: int) -> None:
    """2048 + 1 + 1 is 2050, but 2048 where every sum is rounded to float16."""
    x = torch.tensor([2048.0, 1.0, 1.0]).reshape(1, 3, *(1,) * dims).half()
    weight = torch.ones(3, 2, *(1,) * dims).half()
    assert getattr(F, f"conv_transpose{dims}d")(x, weight).flatten().tolist() == [2050.0, 2050.0]
