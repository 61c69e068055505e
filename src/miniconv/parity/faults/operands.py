"""Faults of operands: bias, taps, channels and groups that are lost, repeated or in another order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from miniconv.parity.cases import Case
from miniconv.parity.data import Values
from miniconv.parity.faults.forms import (
    Array,
    Fault,
    Fits,
    Setting,
    agrees,
    any_of,
    exact_part,
    ones_like,
    other_operands,
    other_result,
)

__all__ = ["ROWS"]


def _weights(change: Callable[[Case, Array], Iterable[Array]]) -> Fits:
    """Other weights."""
    return other_operands(lambda s: (s.values._replace(weight=w) for w in change(s.case, s.values.weight)))


def _biases(change: Callable[[Setting, Array], Iterable[Array]]) -> Fits:
    """Another bias."""

    def changed(setting: Setting) -> Iterator[Values]:
        bias = setting.values.bias
        if bias is not None:
            yield from (setting.values._replace(bias=other) for other in change(setting, bias))

    return other_operands(changed)


def _flipped(case: Case, weight: Array) -> Iterator[Array]:
    """The kernel back to front on every axis, or on some."""
    axes = range(2, weight.ndim)
    for count in range(len(axes), 0, -1):
        yield from (np.flip(weight, chosen) for chosen in itertools.combinations(axes, count))


def _turned(case: Case, weight: Array) -> Iterator[Array]:
    """The kernel's axes in another order, as far as its shape allows."""
    for order in itertools.permutations(range(2, weight.ndim)):
        turned = weight.transpose(0, 1, *order)
        if turned.shape == weight.shape:
            yield turned


def _without(at: Callable[[Array], list[Any]]) -> Callable[[Case, Array], Iterator[Array]]:
    """Weights without some of their elements."""

    def change(case: Case, weight: Array) -> Iterator[Array]:
        for index in at(weight):
            less = weight.copy()
            less[index] = 0
            yield less

    return change


def _corner_taps(weight: Array) -> list[Any]:
    """The first and the last tap of every kernel."""
    dims = weight.ndim - 2
    return [(..., *(end,) * dims) for end in (-1, 0)]


def _edge_slices(weight: Array) -> list[Any]:
    """The first and the last row, column ... of every kernel."""
    places = itertools.product(range(2, weight.ndim), (-1, 0))
    return [(*(slice(None),) * axis, end) for axis, end in places if weight.shape[axis] > 1]


def _edge_channels(weight: Array) -> list[Any]:
    """The first and the last channel of both axes."""
    return [(slice(None), -1), (slice(None), 0), (-1,), (0,)]


def _misread(case: Case, weight: Array) -> Iterator[Array]:
    """The weight's memory read as if its axes stood in another order, channels exchanged or last."""
    axes = list(range(2, weight.ndim))
    for order in (
        [1, 0, *axes],
        [0, *axes, 1],
        [*axes, 1, 0],
        [*axes, 0, 1],
        [0, weight.ndim - 1, *range(1, weight.ndim - 1)],
    ):
        yield weight.transpose(order).reshape(weight.shape)


def _orders(channels: int, groups: int) -> list[Array]:
    """Channels counted with the group second, and back."""
    if groups < 2 or channels % groups:
        return []
    order = np.arange(channels).reshape(groups, -1).T.reshape(-1)
    return [order, np.argsort(order)]


def _regrouped(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """A part's channels in the order of another layout of the groups."""
    case = setting.case
    axis = 1 if part == "weight_grad" or case.batch is None else 2
    channels = {"output": case.out_channels, "input_grad": case.in_channels, "weight_grad": case.weight_shape[0]}
    for order in _orders(channels.get(part, 0), case.groups):
        yield lambda array, order=order: array.take(order, axis)  # type: ignore[misc]  # mypy knows no default in a lambda


def _regrouped_weights(case: Case, weight: Array) -> Iterator[Array]:
    """The weight's first axis likewise."""
    yield from (weight[order] for order in _orders(len(weight), case.groups))


def _regrouped_inputs(setting: Setting) -> Iterator[Values]:
    """The input's channels likewise."""
    axis = 0 if setting.case.batch is None else 1
    for order in _orders(setting.case.in_channels, setting.case.groups):
        yield setting.values._replace(input=setting.values.input.take(order, axis))


def _read_interleaved(setting: Setting, part: str, got: Array) -> bool:
    """Output channel c reads the input channels of group c % groups, or of another order of that kind."""
    case, values = setting.case, setting.values
    if part != "output" or case.transposed or got.shape != case.output_shape:
        return False
    for order in _orders(case.out_channels, case.groups):
        bias = None if values.bias is None else values.bias[order]
        moved = setting._replace(values=values._replace(weight=values.weight[order], bias=bias))
        if agrees(moved, part, got.take(order, 0 if case.batch is None else 1), exact_part(moved, part)):
            return True
    return False


def _first_group(setting: Setting) -> Iterator[Values]:
    """Every group reads the channels of the first."""
    case, x = setting.case, setting.values.input
    if case.groups > 1:
        axis = 0 if case.batch is None else 1
        order = np.tile(np.arange(case.in_channels // case.groups), case.groups)
        yield setting.values._replace(input=x.take(order, axis))


def _reordered(setting: Setting, bias: Array) -> Iterator[Array]:
    """The bias with the group second, backwards, or its first number for every channel."""
    yield from (bias[order] for order in _orders(len(bias), setting.case.groups))
    yield from (np.flip(bias), np.full_like(bias, bias[0]))


def _bias_of(setting: Setting, part: str) -> Array | None:
    """The bias in a shape that broadcasts over an output of real numbers; None elsewhere."""
    bias = setting.values.bias
    if part != "output" or bias is None or np.iscomplexobj(bias):
        return None
    return bias.reshape(-1, *(1,) * len(setting.case.input_size))


def _bias_multiplied(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """The sum times the bias."""
    bias = _bias_of(setting, part)
    if bias is not None:
        yield lambda array: (array - bias) * bias


def _bias_by_image(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """To every channel of an image the number of the bias that has the image's place."""
    bias, batch = _bias_of(setting, part), setting.case.batch
    if bias is not None and batch is not None and batch <= len(bias):
        yield lambda array: array - bias + bias[:batch, None]


def _mixed(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """The result of (channels, images, ...) taken for one of (images, channels, ...), the bias added afterwards."""
    if part == "output" and setting.case.batch is not None:
        bias = _bias_of(setting, part)
        offset = np.zeros(1) if bias is None else bias
        yield lambda array: np.swapaxes(array - offset, 1, 2).reshape(array.shape) + offset


def _bias_where_reached(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """The bias of a transposed output only where a tap falls."""
    bias, counts = setting.values.bias, ones_like(setting)
    if part == "output" and setting.case.transposed and bias is not None and counts is not None:
        spread = np.broadcast_to(bias.reshape(-1, *(1,) * len(setting.case.input_size)), counts.shape)
        lost = np.where(counts > 0, 0, spread)
        parts = np.stack([lost.real, lost.imag]) if np.iscomplexobj(lost) else lost[None]
        yield lambda array: array - parts


ROWS = (
    Fault("missing_bias", "the bias is not added", _biases(lambda s, b: [0 * b])),
    Fault("bias_twice", "the bias is added twice", _biases(lambda s, b: [2 * b])),
    Fault("flipped_kernel", "the kernel is flipped: a true convolution, not a cross-correlation", _weights(_flipped)),
    Fault("turned_kernel", "the kernel's axes are exchanged", _weights(_turned)),
    Fault("dropped_tap", "the first or the last tap is left out", _weights(_without(_corner_taps))),
    Fault("dropped_slice", "the first or the last row of taps is left out", _weights(_without(_edge_slices))),
    Fault("dropped_channel", "the first or the last channel is left out", _weights(_without(_edge_channels))),
    Fault(
        "channel_order",
        "the channels within a group are in reverse order",
        _weights(lambda case, w: [np.flip(w, 1), np.flip(w, 0)]),
    ),
    Fault(
        "group_order",
        "channels are assigned to groups in another order",
        any_of(
            other_result(_regrouped), _weights(_regrouped_weights), other_operands(_regrouped_inputs), _read_interleaved
        ),
    ),
    Fault("first_group_for_all", "every group reads the first group's channels", other_operands(_first_group)),
    Fault("bias_order", "the bias is in another order than the output's channels", _biases(_reordered)),
    Fault(
        "bias_per_group",
        "the bias is added once for every group or channel",
        _biases(lambda s, b: [b * s.case.groups, b * s.case.in_channels, b * (s.case.in_channels // s.case.groups)]),
    ),
    Fault("bias_multiplied", "the sums are multiplied by the bias", other_result(_bias_multiplied)),
    Fault(
        "bias_by_image", "the bias is taken by the image's number, not by the channel's", other_result(_bias_by_image)
    ),
    Fault("images_and_channels_mixed", "images and channels of the result change places", other_result(_mixed)),
    Fault("bias_only_where_reached", "cells that no tap reaches lack the bias", other_result(_bias_where_reached)),
    Fault("weight_layout", "the weight's axes are read in another order than they lie in memory", _weights(_misread)),
)
"""The likelier ones first."""
