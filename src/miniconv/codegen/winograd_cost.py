"""Where Winograd beats the direct path: both costs, counted for one image.

Winograd multiplies less, and moves more: the weights are transformed on every call, input and output are transformed
on the way, and tiles overhang the edges of small images. The costs below are counts times the time of one, fitted to
measured times of 278 problems with 15 kernels and strides (float32, AVX-512, one thread): the ratio of both is within
a quarter of the measured one for nine in ten. The time of one is relative: a multiply-add of two vectors is 1/2.

The choice must not change a bit of an image when it comes in a batch, or on another machine of the same kind: so
neither the batch, nor the threads, nor the strides of the operands are asked. What is weighed is one image alone and an
image of many, who share the transform of the weights and leave no lanes empty: the geometric mean of both gains.
"""

from __future__ import annotations

import math

from miniconv.codegen.winograd_axis import form_of
from miniconv.codegen.winograd_form import lattices_of
from miniconv.problem import ConvProblem

__all__ = ["MANY", "winograd_gain", "worth_it"]

WORTH = 1.05  # times the direct path's speed, as counted; below, the count may err to the wrong side
LANES = 16
MANY = 64  # images

# What one costs. A vector is one of tiles for Winograd, one of outputs for the direct path.
PRODUCT = 0.55  # a place of a vector, an input channel and an output channel: a multiply-add, some while others wait
SUM = 9.6  # of a vector and an output channel: stored, continued, and transformed back
# A transformed weight, once a call, for so many or more of them: they are further away.
WEIGHT = {0: 0.36, 1 << 18: 0.84, 1 << 21: 1.44}
PLACE = 7.1  # of a vector of tiles in one row, and an input channel
CELL = 3.5  # a cell that is new to each tile of that vector, and an input channel
STRIDED = 2.2  # a tile and an input channel, where the cells do not lie one behind another
DIRECT = 0.5  # a tap of a vector, an input channel and an output channel: a multiply-add
DIRECT_WEIGHT = 0.21  # a weight, once a call
DIRECT_OUTPUT = 7.7  # a vector and an output channel
DIRECT_INPUT = {1: 10.8, 2: 31.9}  # a vector of input cells and an input channel, for each stride along a row


def winograd_gain(problem: ConvProblem, images: int = 1) -> float:
    """How many times as fast as the direct path, by count, in a batch of so many images.

    Args:
        problem: one that ``winograd_refusal`` does not refuse; its own batch is not asked.
        images: how many there are.

    >>> round(winograd_gain(ConvProblem.parse("conv2d n1 c64 o64 i56x56 k3x3 p1x1")), 1)
    1.4
    >>> round(winograd_gain(ConvProblem.parse("conv2d n1 c64 o64 i112x112 k3x3 s2x2 p1x1")), 1)
    1.4
    >>> round(winograd_gain(ConvProblem.parse("conv2d n1 c512 o512 i7x7 k3x3 p1x1")), 1)
    0.6
    """
    channels, outputs = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    form = form_of(problem.kernel_size, problem.stride)
    shapes = [
        (-(-lattice.size[0] // form.outputs[0]), -(-lattice.size[1] // form.outputs[1]))
        for lattice in lattices_of(problem)
    ]
    tiles = sum(map(math.prod, shapes))
    vectors = -(-images * tiles // LANES) / images
    rows = sum(height * -(-width // LANES) for height, width in shapes)
    weights = form.places * channels * outputs
    winograd = (
        PRODUCT * form.places * channels * outputs * vectors
        + SUM * form.sums * outputs * vectors
        + max(cost for beyond, cost in WEIGHT.items() if weights >= beyond) * weights / images
        + (PLACE * form.places + CELL * form.rows.step * form.columns.step) * channels * rows
        + STRIDED * channels * tiles * (problem.dilation[1] > 1)
    )
    taps = math.prod(problem.kernel_size)
    stretch = -(-math.prod(problem.output_size) // LANES)
    direct = (
        (DIRECT * taps * channels + DIRECT_OUTPUT) * outputs * stretch
        + DIRECT_WEIGHT * taps * channels * outputs / images
        + DIRECT_INPUT[problem.stride[1]] * channels * math.prod(problem.input_size) / LANES
    )
    return direct / winograd


def worth_it(problem: ConvProblem) -> bool:
    """Whether Winograd is to be chosen; a problem that ``winograd_refusal`` does not refuse."""
    return math.sqrt(winograd_gain(problem) * winograd_gain(problem, MANY)) >= WORTH
