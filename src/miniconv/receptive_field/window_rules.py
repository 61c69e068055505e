"""The rules of operators that slide something over the picture: windows, interpolations, borders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from miniconv.receptive_field.axis import Steps, Unfollowed, scatter, window
from miniconv.receptive_field.call import Call, along_last, per_axis
from miniconv.receptive_field.state import State

__all__ = ["WINDOW_RULES"]


def _convolution(call: Call) -> State:
    """A convolution, ordinary or transposed; miniconv's operator writes padding as low and high sides in turn."""
    state, given = call.state("input"), call.given
    kernel = list(given["weight"].shape[2:])
    dims = len(kernel)
    padding = list(given["padding"])[::2] if call.name.startswith("miniconv") else given["padding"]
    make = scatter if given["transposed"] else window
    options = (per_axis(value, dims) for value in (given["stride"], padding, given["dilation"]))
    state = state.reduced([len(state.axes) - dims - 1], "one")  # the channels
    return along_last(call, state, [make(*axis) for axis in zip(kernel, *options)]).widened(call.shape)


def _pooling(call: Call) -> State:
    """Pooling with windows."""
    given, dims = call.given, int(call.name.partition("pool")[2][0])
    kernel = per_axis(given["kernel_size"], dims)
    stride = per_axis(given["stride"] or kernel, dims)
    rest = (per_axis(given.get(name, default), dims) for name, default in (("padding", 0), ("dilation", 1)))
    return along_last(call, call.state(), [window(*axis) for axis in zip(kernel, stride, *rest)])


def _adaptive(call: Call) -> State:
    """Pooling to a size: output o averages the inputs from floor(o * n / m) to ceil((o + 1) * n / m) - 1."""
    state = call.state()
    dims = int(call.name.partition("pool")[2][0])
    first = len(state.axes) - dims
    for at in range(first, len(state.axes)):
        size, wanted = state.shape[at], call.shape[at]
        if wanted == 1:
            state = state.reduced([at], "one")
            continue
        ratio = Fraction(size, wanted)
        taps = [range(math.floor(o * ratio), math.ceil((o + 1) * ratio)) for o in range(ratio.denominator)]
        state = state.moved(at, Steps(ratio.numerator, tuple(map(tuple, taps))), wanted)
    return state


def _upsampling(call: Call) -> State:
    """Interpolation: nearest, linear, cubic; the positions are those of torch's documentation."""
    state, given = call.state(), call.given
    kind, dims = call.name.removeprefix("aten::upsample_").rstrip("123d"), int(call.name[-2])
    factors = [given.get(name) for name in ("scales_d", "scales_h", "scales_w")][-dims:]
    factors = [given["scales"]] if dims == 1 and given.get("scales") else factors
    factors = list(given["scale_factors"]) if given.get("scale_factors") else factors
    first = len(state.axes) - dims
    for at, factor in enumerate(factors, first):
        size, wanted = state.shape[at], call.shape[at]
        ends = bool(given.get("align_corners")) and wanted > 1
        ratio = Fraction(size - 1, wanted - 1) if ends else Fraction(size, wanted)
        if factor and not ends:
            ratio = 1 / Fraction(factor)
        if ratio.denominator > 1000 or ratio == 0:
            raise Unfollowed(f"interpolation from {size} to {wanted} positions by a factor of {factor}")
        shift = Fraction(0) if ends or kind == "nearest" else (ratio - 1) / 2
        taps = tuple(_interpolated(kind, o * ratio + shift) for o in range(ratio.denominator))
        state = state.moved(at, Steps(ratio.numerator, taps), wanted)
    return state


def _interpolated(kind: str, place: Fraction) -> tuple[int, ...]:
    """The positions that a value at ``place`` is interpolated from, those with weight 0 left out."""
    below = math.floor(place)
    if kind == "nearest" or place == below:
        return (below,)
    reach = {"linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}
    if kind not in reach:
        raise Unfollowed(f"interpolation {kind}")
    return tuple(range(below + 1 - reach[kind], below + 1 + reach[kind]))


def _padding(call: Call) -> State:
    """A border around the picture: of zeros, or of cells that lie inside anyway."""
    state, pairs = call.state(), call.given.get("pad", call.given.get("padding"))
    assert pairs is not None
    for back, low in enumerate(pairs[::2], 1):
        at = len(state.axes) - back
        state = state.moved(at, Steps(1, ((-low,),)), call.shape[at])
    return state


def _shuffled(call: Call) -> State:
    """Channels laid out as pixels, or the reverse."""
    up = call.name == "aten::pixel_shuffle"
    state, factor = call.state(), call.given["upscale_factor" if up else "downscale_factor"]
    steps = Steps(1, ((0,),) * factor) if up else window(factor, factor)
    return along_last(call, state.reduced([-3], "one"), [steps, steps]).widened(call.shape)


_INTERPOLATIONS = ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
_AXES = (1, 2, 3)

WINDOW_RULES: Mapping[str, Callable[[Call], State]] = {
    **dict.fromkeys(("aten::convolution", "aten::_convolution", "miniconv::convolution"), _convolution),
    **{f"aten::{kind}_pool{d}d": _pooling for kind in ("max", "avg") for d in _AXES},
    **{f"aten::max_pool{d}d_with_indices": _pooling for d in _AXES},
    **{f"aten::{kind}_pool{d}d": _adaptive for kind in ("adaptive_max", "adaptive_avg") for d in _AXES},
    **{f"aten::_adaptive_avg_pool{d}d": _adaptive for d in _AXES},
    **{f"aten::upsample_{kind}": _upsampling for kind in _INTERPOLATIONS},
    "aten::constant_pad_nd": _padding,
    **{f"aten::{kind}_pad{d}d": _padding for kind in ("reflection", "replication") for d in _AXES},
    **dict.fromkeys(("aten::pixel_shuffle", "aten::pixel_unshuffle"), _shuffled),
}
"""What each operator does."""
