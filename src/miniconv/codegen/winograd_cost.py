"""Where Winograd beats the direct path: both costs, counted for one image.

Winograd multiplies less, and moves more: the weights are transformed on every call, input and output are transformed
on the way, and tiles overhang the edges of small images. The costs below are counts times the time of one, fitted to
measured times of 50 single images (float32, AVX-512, one thread): the ratio of both is within a fifth of the measured
one for nine in ten. The time of one is relative: a multiply-add of two vectors is 1/2.

The choice must not change a bit of an image when it comes in a batch, or on another machine of the same kind: so
neither the batch, nor the threads, nor the strides of the operands are asked. What is weighed is one image alone and an
image of many, who share the transform of the weights and leave no lanes empty: the geometric mean of both gains.
"""

from __future__ import annotations

import math

from miniconv.codegen.winograd_form import OUT, PLACES, lattices_of
from miniconv.problem import ConvProblem

__all__ = ["MANY", "winograd_gain", "worth_it"]

WORTH = 1.1  # times the direct path's speed, as counted; below, the count may err to the wrong side
LANES = 16
MANY = 64  # images

# What one costs.
PRODUCT = 8.0  # a vector of tiles, an input channel and an output channel: 16 multiply-adds
# An input channel and an output channel, once a call, for so many transformed weights or more: they are further away.
WEIGHT = {0: 5.0, 1 << 18: 12.0, 1 << 21: 25.0}
INPUT = 70.0  # a vector of tiles in one row, and an input channel
STRIDED = 2.2  # a tile and an input channel, where the cells do not lie one behind another
OUTPUT = 28.0  # a vector of tiles and an output channel
DIRECT = 4.0  # a vector of outputs, an input channel and an output channel: 9 multiply-adds, some while others wait
DIRECT_INPUT = 3.5  # a vector of outputs and an input channel


def winograd_gain(problem: ConvProblem, images: int = 1) -> float:
    """How many times as fast as the direct path, by count, in a batch of so many images.

    Args:
        problem: one that ``winograd_refusal`` does not refuse; its own batch is not asked.
        images: how many there are.

    >>> round(winograd_gain(ConvProblem.parse("conv2d n1 c64 o64 i56x56 k3x3 p1x1")), 1)
    1.7
    >>> round(winograd_gain(ConvProblem.parse("conv2d n1 c512 o512 i7x7 k3x3 p1x1")), 1)
    0.5
    """
    channels, outputs = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    shapes = [[-(-size // OUT) for size in lattice.size] for lattice in lattices_of(problem)]
    tiles = sum(map(math.prod, shapes))
    vectors = -(-images * tiles // LANES) / images
    rows = sum(height * -(-width // LANES) for height, width in shapes)
    weight = max(cost for beyond, cost in WEIGHT.items() if PLACES * channels * outputs > beyond)
    winograd = (
        PRODUCT * channels * outputs * vectors
        + weight * channels * outputs / images
        + INPUT * channels * rows
        + STRIDED * channels * tiles * (problem.dilation[1] > 1)
        + OUTPUT * outputs * vectors
    )
    height, width = problem.output_size
    stretch = -(-height * width // LANES)
    return (DIRECT * outputs + DIRECT_INPUT) * channels * stretch / winograd


def worth_it(problem: ConvProblem) -> bool:
    """Whether Winograd is to be chosen; a problem that ``winograd_refusal`` does not refuse."""
    return math.sqrt(winograd_gain(problem) * winograd_gain(problem, MANY)) >= WORTH
