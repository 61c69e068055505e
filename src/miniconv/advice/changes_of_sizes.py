"""Changes of the numbers that stand for each axis, the smallest of each kind first.

A change is only proposed here. Whether it makes the call legal is tried by asking the validation itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from miniconv.advice.attempts import Attempt
from miniconv.advice.change import Change, option, padding_of, sized
from miniconv.padding_forms import same_by_size

__all__ = [
    "dilation_down", "extra_down", "extra_up", "input_up", "kernel_down", "kernel_up", "least_values",
    "output_size_near", "padding_down", "padding_up", "padding_within", "same_by_numbers", "same_upper",
    "stride_one", "stride_up",
]  # fmt: skip


def _kernel(a: Attempt, kernel: Sequence[int]) -> Change:
    """A kernel of another size."""
    return sized(a, "weight", (*a.weight.shape[:2], *kernel))


def _lacking(a: Attempt) -> list[int]:
    """On each axis, how many cells of input a window lacks; of a transposed convolution, cells of output."""
    axes = zip(a.size, a.padding, a.kernel, a.per_axis("dilation"), a.per_axis("stride"), a.per_axis("output_padding"))
    if a.transposed:
        least = 0 if 0 in a.input.shape[: -a.dims] else 1
        return [max(0, least - ((i - 1) * s - sum(pair) + d * (k - 1) + extra + 1)) for i, pair, k, d, s, extra in axes]
    return [max(0, d * (k - 1) + 1 - i - sum(pair)) for i, pair, k, d, _, _ in axes]


def padding_up(a: Attempt) -> Iterator[Change]:
    """More padding; as much on both sides, unless the caller gave the sides."""
    equal = all(low == high for low, high in a.padding)
    pairs = []
    for (low, high), lacking in zip(a.padding, _lacking(a)):
        half = -(-lacking // 2)
        pairs.append((low + half, high + (half if equal else lacking - half)))
    yield padding_of(pairs)


def padding_down(a: Attempt) -> Iterator[Change]:
    """Less cut off a transposed output; as much on both sides, unless the caller gave the sides."""
    equal = all(low == high for low, high in a.padding)
    pairs = []
    for (low, high), lacking in zip(a.padding, _lacking(a)):
        half = -(-lacking // 2)
        pairs.append((low - half, high - (half if equal else lacking - half)))
    if all(min(pair) >= 0 for pair in pairs):
        yield padding_of(pairs)


def padding_within(a: Attempt) -> Iterator[Change]:
    """Padding that the mode can fill."""
    beyond = {"reflect": -1, "circular": 0}.get(a.values.get("padding_mode", ""))
    if beyond is not None:
        yield padding_of([(min(low, i + beyond), min(high, i + beyond)) for (low, high), i in zip(a.padding, a.size)])


def dilation_down(a: Attempt) -> Iterator[Change]:
    """Less dilation on the axes whose window does not fit."""
    numbers = [
        d if not lacking or k < 2 else max(1, (i + sum(pair) - 1) // (k - 1))
        for d, k, i, pair, lacking in zip(a.per_axis("dilation"), a.kernel, a.size, a.padding, _lacking(a))
    ]
    if numbers != a.per_axis("dilation"):
        yield option("dilation", numbers)


def kernel_down(a: Attempt) -> Iterator[Change]:
    """A smaller kernel on the axes where it does not fit."""
    yield _kernel(
        a,
        [
            k if not lacking else max(1, (i + sum(pair) - 1) // max(1, d) + 1)
            for k, d, i, pair, lacking in zip(a.kernel, a.per_axis("dilation"), a.size, a.padding, _lacking(a))
        ],
    )


def kernel_up(a: Attempt) -> Iterator[Change]:
    """A larger kernel: where it has no cell, or where a transposed output is too small."""
    lacking = _lacking(a) if a.transposed else [0] * a.dims
    yield _kernel(a, [max(1, k + -(-n // max(1, d))) for k, d, n in zip(a.kernel, a.per_axis("dilation"), lacking)])


def input_up(a: Attempt) -> Iterator[Change]:
    """A larger input, with at least one cell on every axis."""
    lead = a.input.shape[: len(a.input.shape) - a.dims]
    steps = a.per_axis("stride") if a.transposed else [1] * a.dims
    yield sized(a, "input", (*lead, *(max(1, i + -(-n // s)) for i, n, s in zip(a.size, _lacking(a), steps))))


def extra_down(a: Attempt) -> Iterator[Change]:
    """output_padding below the stride or the dilation."""
    limits = map(max, a.per_axis("stride"), a.per_axis("dilation"))
    yield option("output_padding", [min(p, m - 1) for p, m in zip(a.per_axis("output_padding"), limits)])


def extra_up(a: Attempt) -> Iterator[Change]:
    """More output_padding, where a transposed output is too small."""
    yield option("output_padding", [p + n for p, n in zip(a.per_axis("output_padding"), _lacking(a))])


def stride_up(a: Attempt) -> Iterator[Change]:
    """A stride above the output_padding."""
    axes = zip(a.per_axis("stride"), a.per_axis("dilation"), a.per_axis("output_padding"))
    yield option("stride", [s if p < max(s, d) else p + 1 for s, d, p in axes])


def least_values(a: Attempt) -> Iterator[Change]:
    """Each option that is below what it may be, raised to it."""
    for name, least in (("padding", 0), ("output_padding", 0), ("stride", 1), ("dilation", 1)):
        if name == "padding" and not isinstance(a.values[name], (str, bytes)):
            if any(min(pair) < 0 for pair in a.padding):
                yield padding_of([(max(0, low), max(0, high)) for low, high in a.padding])
        elif name != "padding" and any(number < least for number in a.per_axis(name)):
            yield option(name, [max(least, number) for number in a.per_axis(name)])


def stride_one(a: Attempt) -> Iterator[Change]:
    """No stride."""
    yield option("stride", [1] * a.dims)


def same_by_numbers(a: Attempt) -> Iterator[Change]:
    """As much padding on both sides as gives ceil(input / stride) cells, or, without an input, half of 'same'."""
    kernel, dilation = a.kernel, a.per_axis("dilation")
    if "input" in a.values:
        strides = [max(1, s) for s in a.per_axis("stride")]
        totals = [low + high for low, high in same_by_size("same_upper", a.size, kernel, strides, dilation)]
    else:
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    yield option("padding", [-(-total // 2) for total in totals])


def same_upper(a: Attempt) -> Iterator[Change]:
    """ONNX's word, which has a meaning for every stride."""
    yield Change({"padding": "same_upper"}, "padding='same_upper'")


def output_size_near(a: Attempt) -> Iterator[Change]:
    """The nearest size that can be chosen."""
    given = tuple(a.values["output_size"])
    wanted = given[-a.dims :] if len(given) >= a.dims else (given * a.dims)[: a.dims]
    low, high = a.values["sizes"]
    chosen = tuple(min(max(size, least), most) for size, least, most in zip(wanted, low, high))
    yield Change({"output_size": chosen}, f"output_size={chosen}")
