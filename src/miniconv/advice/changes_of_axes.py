"""Changes of channels, groups and the axes of operands, the smallest of each kind first.

A change is only proposed here. Whether it makes the call legal is tried by asking the validation itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from miniconv.advice.attempts import Attempt
from miniconv.advice.change import Change, sized
from miniconv.rules import Operand, integer

__all__ = [
    "bias_shape", "channels_last", "channels_near", "flattened", "groups_near", "input_channels", "more_axes",
    "transposed_weight", "weight_axes", "weight_channels",
]  # fmt: skip


def groups_near(a: Attempt) -> Iterator[Change]:
    """Another number of groups, the nearest first; a layer's weight would be another, too."""
    if a.layer and "weight" in a.values:
        return
    given = integer(a.values["groups"]) or 0
    for groups in sorted(range(1, max(1, min(a.channels, 4096)) + 1), key=lambda groups: (abs(groups - given), groups)):
        yield Change({"groups": groups}, f"groups={groups}")


def channels_near(a: Attempt) -> Iterator[Change]:
    """Numbers of channels that divide into the groups, the nearest above."""
    groups = a.values["groups"]
    if "in_channels" in a.values:  # a constructor's
        for name in ("in_channels", "out_channels"):
            if a.values[name] % groups:
                count = -(-a.values[name] // groups) * groups
                yield Change({name: count}, f"{name}={count}")
        return
    lead, rest = a.input.shape[: -1 - a.dims], a.input.shape[len(a.input.shape) - a.dims :]
    channels, out = (-(-count // groups) * groups for count in (a.channels, a.weight.shape[0]))
    input, weight = (*lead, channels, *rest), (out, channels, *a.kernel)
    yield Change({name: a.values[name]._replace(shape=shape) for name, shape in (("input", input), ("weight", weight))})


def weight_channels(a: Attempt) -> Iterator[Change]:
    """A weight whose channels are the input's, split into the groups."""
    first, second = a.weight.shape[:2]
    groups = integer(a.values["groups"]) or 1
    if a.transposed:
        yield sized(a, "weight", (a.channels, second, *a.kernel))
    else:
        out = max(groups, -(-first // groups) * groups)
        yield sized(a, "weight", (out, a.channels // groups, *a.kernel))


def input_channels(a: Attempt) -> Iterator[Change]:
    """An input with as many channels as the weight reads."""
    channels = a.weight.shape[0] if a.transposed else a.weight.shape[1] * a.values["groups"]
    yield sized(a, "input", (*a.input.shape[: -1 - a.dims], channels, *a.size))


def channels_last(a: Attempt) -> Iterator[Change]:
    """An input whose channels stand last, as pictures are stored."""
    rank, dims = len(a.input.shape), a.dims
    if rank not in (dims + 1, dims + 2):
        return
    lead = rank - dims - 1
    order = (*range(lead), rank - 1, *range(lead, rank - 1))
    verb = "transpose" if a.input.kind == "numpy.ndarray" else "permute"
    changed = a.input._replace(shape=tuple(a.input.shape[axis] for axis in order))
    yield Change({"input": changed}, f"input.{verb}({', '.join(map(str, order))})")


def transposed_weight(a: Attempt) -> Iterator[Change]:
    """A weight whose two channel axes are exchanged, as the other kind of convolution has them."""
    shape = a.weight.shape
    if not a.layer and len(shape) > 2 and shape[0] != shape[1]:
        changed = a.weight._replace(shape=(shape[1], shape[0], *shape[2:]))
        yield Change({"weight": changed}, "weight.swapaxes(0, 1)")


def bias_shape(a: Attempt) -> Iterator[Change]:
    """The bias, flat; else one of the right length."""
    bias: Operand = a.values["bias"]
    channels = a.weight.shape[1] * a.values["groups"] if a.transposed else a.weight.shape[0]
    if math.prod(bias.shape) == channels:
        yield Change({"bias": bias._replace(shape=(channels,))}, "bias.reshape(-1)")
    yield sized(a, "bias", (channels,))


def more_axes(a: Attempt) -> Iterator[Change]:
    """An input with the axes that it lacks, or with those too many joined."""
    shape, dims = a.input.shape, a.dims
    numpy = a.input.kind == "numpy.ndarray"

    def reshaped(shape: tuple[int, ...], words: str) -> Change:
        return Change({"input": a.input._replace(shape=shape)}, words)

    if len(shape) == dims + 1:
        yield reshaped((shape[0], 1, *shape[1:]), "input[:, None]" if numpy else "input.unsqueeze(1)")
    if len(shape) < dims + 1:
        lacking = dims + 1 - len(shape)
        nones = ", ".join(["None"] * lacking)
        yield reshaped((1,) * lacking + shape, f"input[{nones}]" if numpy or lacking > 1 else "input.unsqueeze(0)")
    if len(shape) > dims + 2:
        joined = (math.prod(shape[: -1 - dims]), *shape[-1 - dims :])
        yield reshaped(joined, f"input.reshape({', '.join(map(str, joined))})")
        single = [axis for axis, size in enumerate(shape) if size == 1]
        if len(shape) - len(single[:1]) == dims + 2:
            yield reshaped(shape[: single[0]] + shape[single[0] + 1 :], f"input.squeeze({single[0]})")


def flattened(a: Attempt) -> Iterator[Change]:
    """An input whose pictures were made rows of numbers, as square pictures again."""
    if "weight" not in a.values or a.dims == 1 or len(a.input.shape) != 2 or len(a.weight.shape) != a.dims + 2:
        return
    rows, length = a.input.shape
    channels = a.weight.shape[0] if a.transposed else a.weight.shape[1] * (integer(a.values["groups"]) or 1)
    side = round((length / channels) ** (1 / a.dims)) if channels > 0 else 0
    if side > 1 and channels * side**a.dims == length:
        pixels = (channels, *(side,) * a.dims)
        changed = a.input._replace(shape=(rows, *pixels))
        yield Change({"input": changed}, f"input.reshape(-1, {', '.join(map(str, pixels))})")


def weight_axes(a: Attempt) -> Iterator[Change]:
    """A weight with the axes that it lacks: one channel in and out before the kernel, or taps of one cell."""
    shape, needed = a.weight.shape, a.dims + 2
    if len(shape) < needed:
        lacking = needed - len(shape)
        nones = ", ".join(["None"] * lacking)
        yield Change({"weight": a.weight._replace(shape=(1,) * lacking + shape)}, f"weight[{nones}]")
        if lacking == 1:  # a weight of conv1d for conv2d; with fewer axes it is a kernel without its channels
            yield Change({"weight": a.weight._replace(shape=(*shape, 1))}, "weight[..., None]")
    if len(shape) > needed and set(shape[:-needed]) == {1}:
        zeros = ", ".join(["0"] * (len(shape) - needed))
        yield Change({"weight": a.weight._replace(shape=shape[-needed:])}, f"weight[{zeros}]")
    if len(a.input.shape) in (a.dims + 1, a.dims + 2):
        out = shape[-needed] if len(shape) >= needed else 1
        groups = max(1, integer(a.values["groups"]) or 1)
        kernel = ((1,) * a.dims + shape)[-a.dims :]
        yield sized(a, "weight", (a.channels, out, *kernel) if a.transposed else (out, a.channels // groups, *kernel))
