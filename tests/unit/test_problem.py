"""ConvProblem: geometry, text form, argument forms, and every rule with its message."""

import itertools

import numpy as np
import pytest

from miniconv.problem import ConvProblem, Operand, ReceptiveField

INPUT, WEIGHT, BIAS = Operand((2, 4, 8, 9)), Operand((6, 4, 3, 3)), Operand((6,))


def conv(input=INPUT, weight=WEIGHT, bias=None, **options):
    return ConvProblem.from_conv(input, weight, bias, **options)


# ---- geometry --------------------------------------------------------------------------------------------------


def brute_force_size(size, kernel, stride, low, high, dilation):
    """How many windows fit, counted one by one."""
    extent = dilation * (kernel - 1) + 1
    return len([o for o in range(0, size + low + high, stride) if o + extent <= size + low + high])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 2), (3, 1)])
def test_output_size_counts_windows(stride, dilation, padding):
    for size, kernel in itertools.product(range(5, 12), range(1, 4)):
        problem = ConvProblem(1, 2, 3, (size,), (kernel,), (stride,), (padding,), (dilation,))
        assert problem.output_size == (brute_force_size(size, kernel, stride, *padding, dilation),)


def brute_force_taps(problem):
    """Taps of all windows that lie inside the input, counted one by one."""
    count = 0
    for position in np.ndindex(*problem.output_size):
        for tap in np.ndindex(*problem.kernel_size):
            index = [
                o * s - low + k * d
                for o, s, (low, _), k, d in zip(position, problem.stride, problem.padding, tap, problem.dilation)
            ]
            count += all(0 <= i < size for i, size in zip(index, problem.input_size))
    return count


@pytest.mark.parametrize(
    "text",
    [
        "conv1d n2 c4 o6 i9 k3 s2 p1 g2",
        "conv2d n3 c4 o6 i7x9 k3x2 s2x3 p2x0:1 d1x2 g2",
        "conv2d c4 o6 i3x4 k5x7 p4x5",
        "conv3d n1 c2 o2 i4x5x6 k1x2x3 s1x2x1 p0x3:1x1",
    ],
)
def test_multiply_adds(text):
    problem = ConvProblem.parse(text)
    pairs = problem.batched_input_shape[0] * problem.out_channels * problem.in_channels // problem.groups
    taps = np.prod(problem.output_size) * np.prod(problem.kernel_size)
    assert problem.multiply_adds == pairs * taps
    assert problem.in_bounds_multiply_adds == pairs * brute_force_taps(problem)
    assert problem.adjoint.in_bounds_multiply_adds == problem.in_bounds_multiply_adds


@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_adjoint_of_adjoint_is_the_problem(size, stride):
    problem = ConvProblem(2, 4, 6, (size, 12), (3, 2), (stride, 2), ((1, 0), (0, 2)), (1, 2), groups=2)
    adjoint = problem.adjoint
    assert adjoint.transposed
    assert adjoint.output_size == problem.input_size
    assert adjoint.weight_shape == problem.weight_shape
    assert adjoint.adjoint == problem


def test_same_padding_puts_the_odd_cell_last():
    problem = conv(weight=Operand((6, 4, 2, 3)), padding="same", dilation=(1, 2))
    assert problem.padding == ((0, 1), (2, 2))
    assert problem.output_size == (8, 9)
    assert conv(padding="valid").padding == ((0, 0), (0, 0))
    assert conv(padding=b"same").padding == conv(padding="same").padding == ((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("word", "size", "kernel", "stride", "dilation", "pairs"),
    [
        ("same_upper", (5, 6), (3, 4), (1, 1), (1, 1), ((1, 1), (1, 2))),
        ("same_lower", (5, 6), (3, 4), (1, 1), (1, 1), ((1, 1), (2, 1))),
        ("same_upper", (5, 6), (3, 3), (2, 2), (1, 2), ((1, 1), (1, 2))),
        ("same_lower", (5, 6), (3, 3), (2, 2), (1, 2), ((1, 1), (2, 1))),
        ("same_upper", (5, 6), (1, 2), (3, 5), (4, 1), ((0, 0), (0, 1))),
        ("same_lower", (5, 6), (1, 2), (3, 5), (4, 1), ((0, 0), (1, 0))),
    ],
)
def test_same_by_size(word, size, kernel, stride, dilation, pairs):
    operands = Operand((2, 4, *size)), Operand((6, 4, *kernel))
    problem = conv(*operands, stride=stride, dilation=dilation, padding=word)
    assert problem.padding == pairs
    assert problem.output_size == tuple(-(-i // s) for i, s in zip(size, stride))
    assert problem == conv(*operands, stride=stride, dilation=dilation, padding=pairs)
    assert problem == conv(*operands, stride=stride, dilation=dilation, padding=[list(pair) for pair in pairs])
    assert ConvProblem.parse(str(problem)) == problem


def test_worked_examples_of_the_tutorials():
    assert ConvProblem(1, 12, 6, (9, 9), (3, 3), bias=True).parameters == 654
    assert ConvProblem(1, 12, 6, (9, 9), (3, 3), groups=3, bias=True).parameters == 222
    assert ConvProblem(1, 12, 6, (9, 9), (3, 3), groups=3).weight_shape == (6, 4, 3, 3)
    assert ConvProblem.parse("conv2d n1 c3 o64 i304x228 k7x7 s2 p3").output_size == (152, 114)
    assert ConvProblem(1, 1, 1, (9, 9), (3, 3), dilation=(2, 2)).effective_kernel == (5, 5)


def test_receptive_field():
    two_3x3 = [ConvProblem(1, 1, 1, (20, 20), (3, 3), padding=((1, 1), (1, 1)))] * 2
    assert ConvProblem.receptive_field_of_stack(two_3x3) == (ReceptiveField(5, 1, -2),) * 2
    dilated = ConvProblem(1, 1, 1, (20, 20), (3, 5), (2, 1), dilation=(2, 3))
    assert dilated.receptive_field == (ReceptiveField(5, 2, 0), ReceptiveField(13, 1, 0))
    # VGG-16's five stages before their fully connected layers: Araujo et al. give 212
    field = ReceptiveField()
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            field = field.through(3, 1, 1)
        field = field.through(2, 2)
    assert field.size == 212
    with pytest.raises(ValueError, match="ordinary convolutions"):
        ConvProblem.receptive_field_of_stack([dilated.adjoint])
    with pytest.raises(ValueError, match="one or more"):
        ConvProblem.receptive_field_of_stack([])


def test_receptive_field_is_what_an_output_sees():
    """Every input index that the definition multiplies for output 3 of a stack of two, against the formula."""
    first = ConvProblem(1, 1, 1, (40,), (3,), (2,), ((1, 0),), (2,))
    second = ConvProblem(1, 1, 1, (first.output_size[0],), (2,), (3,), ((2, 2),))
    seen = set()
    for tap2 in range(2):
        middle = 3 * 3 - 2 + tap2
        seen |= {middle * 2 - 1 + 2 * tap1 for tap1 in range(3)}
    (field,) = ConvProblem.receptive_field_of_stack([first, second])
    assert (min(seen), max(seen)) == (field.start + 3 * field.stride, field.start + 3 * field.stride + field.size - 1)


# ---- text ------------------------------------------------------------------------------------------------------


def test_text_round_trips():
    count = 0
    for batch, padding, dims, transposed, dtype in itertools.product(
        (None, 0, 3), ((0, 0), (1, 1), (0, 2)), (1, 2, 3), (False, True), ("float32", "int8")
    ):
        problem = ConvProblem(
            batch, 4, 6, (9, 8, 7)[:dims], (3, 2, 1)[:dims], (2, 1, 3)[:dims], (padding, (1, 0), (0, 0))[:dims],
            (1, 2, 3)[:dims], 2, (1, 0, 0)[:dims] if transposed else (), transposed, padding == (1, 1), dtype,
            "channels_last" if dims == 2 else "contiguous",
        )  # fmt: skip
        assert ConvProblem.parse(str(problem)) == problem
        assert hash(ConvProblem.parse(str(problem))) == hash(problem)
        count += 1
    assert count == 108


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool2d n1", "begins with"),
        ("", "begins with"),
        ("conv2d n1 c3 o4 i8 k3 p1:2:3", "not a word"),
        ("conv2d n1 c3 o4 i8x8", r"kernel_size \(as in k3\) missing"),
        ("conv2d n1 n2 c3 o4 i8 k3", "batch is given twice"),
        ("conv2d n1 c3 o4 i8x8x8 k3", "input_size needs one number or 2"),
        ("conv2d n1x2 c3 o4 i8 k3", "batch is one number"),
        ("conv2d n1 c3 o4 i8 k3 s1:2", "not a word"),
        ("conv2d n1 c3 o4 i8 k3 float31", "not a word"),
        ("conv2d n1 c3 o4 i8 k3 p-1", "not a word"),
    ],
)
def test_text_that_is_no_problem(text, message):
    with pytest.raises(ValueError, match=message):
        ConvProblem.parse(text)


# ---- the strict core -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input_size": ()}, RuntimeError, "1, 2 or 3 spatial dimensions"),
        ({"dtype": "bool"}, NotImplementedError, "not implemented for 'bool'"),
        ({"memory_format": "nhwc"}, RuntimeError, "memory_format is one of"),
        ({"output_padding": (1, 0)}, RuntimeError, "needs a transposed convolution"),
        ({"groups": 3}, RuntimeError, "divisible by groups"),
        ({"groups": 0}, RuntimeError, "non-positive groups"),
        ({"batch": -1}, RuntimeError, "cannot be negative"),
        ({"stride": (1,)}, RuntimeError, "stride needs 2 values"),
    ],
)
def test_the_dataclass_itself_validates(change, error, message):
    fields = {"batch": 1, "in_channels": 4, "out_channels": 6, "input_size": (8, 9), "kernel_size": (3, 3)}
    with pytest.raises(error, match=message):
        ConvProblem(**fields | change)


# ---- torch's rules, torch's words ------------------------------------------------------------------------------

RULES = [
    # 1: integer padding only
    ({"bias": Operand((6,), "float64")}, "Input type (float) and bias type (double) should be the same"),
    # 2
    (
        {"input": Operand((8, 8))},
        "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [8, 8]",
    ),
    # 3
    ({"weight": Operand((3, 3))}, "weight should have at least three dimensions"),
    # 4
    ({"groups": 0}, "non-positive groups is not supported"),
    # 5
    (
        {"stride": (1, 1, 1)},
        "expected stride to be a single integer value or a list of 2 values to match the convolution dimensions, "
        "but got stride=[1, 1, 1]",
    ),
    (
        {"padding": (1, 2, 3)},
        "expected padding to be a single integer value or a list of 2 values to match the convolution dimensions, "
        "but got padding=[1, 2, 3]",
    ),
    (
        {"weight": Operand((6, 4, 3))},
        "expected stride to be a single integer value or a list of 1 values to match the convolution dimensions, "
        "but got stride=[1, 1]",
    ),
    # 6
    ({"padding": -1, "stride": -1}, "negative padding is not supported"),
    ({"stride": 0}, "non-positive stride is not supported"),
    ({"dilation": -1}, "dilation should be greater than zero"),
    # 7, 8
    (
        {"groups": 8},
        "Given groups=8, expected weight to be at least 8 at dimension 0, but got weight of size [6, 4, 3, 3] instead",
    ),
    (
        {"groups": 4},
        "Given groups=4, expected weight to be divisible by 4 at dimension 0, but got weight of size [[6, 4, 3, 3]] "
        "instead",
    ),
    # 9, before the kernel's fit and the bias's size
    (
        {"input": Operand((2, 3, 2, 9)), "bias": Operand((5,))},
        "Given groups=1, weight of size [6, 4, 3, 3], expected input[2, 3, 2, 9] to have 4 channels, but got 3 "
        "channels instead",
    ),
    (
        {"input": Operand((3, 8, 9)), "weight": Operand((6, 4, 3, 2)), "padding": "same"},
        "Given groups=1, weight of size [6, 4, 3, 2], expected input[1, 3, 8, 10] to have 4 channels, but got 3 "
        "channels instead",
    ),
    # 10
    (
        {"bias": Operand((5,))},
        "Given weight of size [6, 4, 3, 3], expected bias to be 1-dimensional with 6 elements, but got bias of size "
        "[5] instead",
    ),
    # 11
    (
        {"input": Operand((2, 4, 2, 9))},
        "Calculated padded input size per channel: (2 x 9). Kernel size: (3 x 3). Kernel size can't be greater than "
        "actual input size",
    ),
    ({"padding": 2**62}, f"Given padding={2**62} at dimension 0 , expected padding to be at most {2**62 - 1}"),
    # 12, 13
    (
        {"input": Operand((1, 4, 0, 8)), "padding": 2},
        "Only zero batch or zero channel inputs are supported, but got input shape: [1, 4, 0, 8]",
    ),
    (
        {"weight": Operand((6, 4, 0, 3))},
        "kernel size should be greater than zero, but got kernel_height: 0 kernel_width: 3",
    ),
    ({"dilation": 0}, "dilation should be greater than zero, but got [0, 0]"),
    # dtypes come last
    ({"weight": Operand((6, 4, 3, 3), "float64")}, "expected scalar type Float but found Double"),
    # padding as text
    ({"padding": "SAME"}, "Invalid padding string: 'SAME'"),
    ({"padding": "same", "weight": Operand((6, 4))}, "weight should have at least three dimensions"),
    (
        {"padding": "same", "weight": Operand((6, 4, 3))},
        "Expected 3-dimensional input for 3-dimensional weight[6, 4, 3], but got 4-dimensional input of size "
        "[2, 4, 8, 9] instead",
    ),
    ({"padding": "same", "stride": (1, 1, 1)}, "stride cannot broadcast to 2 dimensions"),
    ({"padding": "same", "dilation": (1, 1, 1)}, "dilation cannot broadcast to 2 dimensions"),
    ({"padding": "same", "stride": 2}, "padding='same' is not supported for strided convolutions"),
    ({"padding": "same", "dilation": -1}, "negative padding is not supported"),
    ({"padding": "same_left"}, "Invalid padding string: 'same_left'"),
    ({"padding": "same_upper", "stride": (1, 0)}, "non-positive stride is not supported"),
    ({"padding": "same_lower", "stride": (1, 1, 1)}, "stride cannot broadcast to 2 dimensions"),
    ({"padding": "same_lower", "dilation": -1}, "dilation should be greater than zero"),
    # padding by sides
    ({"padding": ((1, -2), (0, 0))}, "negative padding is not supported, but got padding=((1, -2), (0, 0))"),
    (
        {"padding": ((1, 2), (0, 3)), "input": Operand((2, 3, 8, 9))},
        "Given groups=1, weight of size [6, 4, 3, 3], expected input[2, 3, 8, 9] to have 4 channels, but got 3 "
        "channels instead",
    ),
    (
        {"padding": ((0, 0), (0, 2)), "weight": Operand((6, 4, 9, 12))},
        "Calculated padded input size per channel: (8 x 11). Kernel size: (9 x 12). Kernel size can't be greater than "
        "actual input size",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), RULES, ids=[m[:50] for _, m in RULES])
def test_rules(arguments, message):
    with pytest.raises(RuntimeError) as caught:
        conv(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", ["bool", "uint16", "float8_e5m2"])
def test_dtypes_that_are_not_convolved(dtype):
    with pytest.raises(NotImplementedError, match='"slow_conv2d_cpu" not implemented for '):
        conv(Operand(INPUT.shape, dtype), Operand(WEIGHT.shape, dtype))


def test_empty_batches_are_not_asked_for_their_dtypes():
    assert conv(Operand((0, 4, 8, 9)), Operand(WEIGHT.shape, "float64")).output_shape == (0, 6, 6, 7)
    assert conv(Operand((2, 0, 8, 9)), Operand((6, 0, 3, 3))).output_shape == (2, 0, 6, 7)


TRANSPOSED_RULES = [
    (
        {"input": Operand((1, 3, 8, 8))},
        "Given transposed=1, weight of size [4, 6, 3, 3], expected input[1, 3, 8, 8] to have 4 channels, but got 3 "
        "channels instead",
    ),
    (
        {"bias": Operand((5,))},
        "Given transposed=1, weight of size [4, 6, 3, 3], expected bias to be 1-dimensional with 6 elements, but got "
        "bias of size [5] instead",
    ),
    ({"output_padding": -1}, "negative output_padding is not supported"),
    (
        {"output_padding": 1},
        "output padding must be smaller than either stride or dilation, but got output_padding_height: 1 "
        "output_padding_width: 1 stride_height: 1 stride_width: 1 dilation_height: 1 dilation_width: 1",
    ),
    (
        {"input": Operand((1, 4, 1, 1)), "weight": Operand((4, 6, 2, 2)), "padding": 1},
        "Given input size per channel: (1 x 1). Calculated output size per channel: (0 x 0). Output size is too small",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), TRANSPOSED_RULES, ids=[m[:40] for _, m in TRANSPOSED_RULES])
def test_rules_of_transposed(arguments, message):
    with pytest.raises(RuntimeError) as caught:
        ConvProblem.from_conv_transpose(**{"input": INPUT, "weight": Operand((4, 6, 3, 3))} | arguments)
    assert str(caught.value) == message


# ---- argument forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [2, np.int8(2), np.int64(2), (2,), [2], [2, 2], (np.int32(2), 2)])
def test_integers_in_every_form(form):
    assert conv(stride=form).stride == (2, 2)


def test_a_bool_counts_only_behind_the_first_place():
    assert conv(stride=(2, True)).stride == (2, 1)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"stride": 1.0}, "stride=float"),
        ({"stride": None}, "stride=NoneType"),
        ({"stride": True}, "stride=bool"),
        ({"stride": np.bool_(True)}, "stride=numpy.bool"),
        ({"stride": range(1, 3)}, "stride=range"),
        ({"stride": np.array([2, 1])}, "stride=numpy.ndarray"),
        ({"stride": (1.0, 1)}, "stride=tuple"),
        ({"groups": (1,)}, "groups=tuple"),
        ({"stride": 1.0, "dilation": 1.0}, "dilation=float, stride=float"),
    ],
)
def test_arguments_of_the_wrong_type(options, got):
    with pytest.raises(TypeError) as caught:
        conv(**options)
    first = str(caught.value).splitlines()[0]
    assert first == (
        f"conv2d() received an invalid combination of arguments - got (Tensor, Tensor, {got}), but expected one of:"
    )


def test_an_element_of_the_wrong_type():
    with pytest.raises(
        TypeError, match=r'argument .stride. failed to unpack the object at pos 2 with error "type must'
    ):
        conv(stride=(1, 1.0))


def test_integers_beyond_64_bits():
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        conv(stride=2**63)
    with pytest.raises(TypeError, match='at pos 1 with error "Overflow when unpacking long long'):
        conv(stride=(2**63, 1))
    assert conv(stride=2**62).output_size == (1, 1)
