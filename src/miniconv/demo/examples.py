"""Step 2, first half: examples of the tutorials that the project grew from, on their numbers and on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv import functional as F
from miniconv import nn
from miniconv.demo import Figure
from miniconv.demo.pictures import as_bytes, photographs, readable, save

__all__ = ["Examples", "Panel", "run"]

Array = np.ndarray[Any, Any]

LINES = np.array(
    [
        [[1, 4, 1, 4, 5], [0, 5, 3, 2, 1], [21, 25, 25, 23, 26], [5, 2, 5, 2, 5], [4, 9, 3, 0, 7]],
        [[2, 2, 2, 7, 2], [0, 0, 6, 3, 0], [24, 25, 25, 23, 27], [0, 1, 1, 1, 5], [0, 2, 0, 2, 2]],
        [[2, 2, 2, 1, 0], [7, 2, 4, 3, 1], [24, 23, 28, 23, 24], [0, 0, 2, 2, 5], [5, 2, 4, 5, 2]],
    ],
    dtype=np.float32,
)
"""(3, 5, 5): a picture with one horizontal line."""

LINE_KERNEL = np.array([[[[0, 0, 0], [1, 1, 1], [0, 0, 0]]] * 3], dtype=np.float32)
"""(1, 3, 3, 3): three cells of a row, in every channel."""

LAYER_INPUT = np.array(
    [
        [231, 120, 111, 34, 45], [100, 85, 23, 200, 111], [31, 45, 100, 103, 220], [5, 5, 5, 5, 5],
        [54, 89, 103, 150, 67],
        [12, 58, 52, 87, 100], [200, 140, 86, 23, 10], [60, 75, 45, 30, 7], [155, 155, 155, 155, 155],
        [0, 122, 0, 0, 12],
        [12, 12, 12, 11, 10], [67, 12, 45, 23, 1], [56, 12, 5, 10, 8], [0, 0, 0, 0, 0],
        [5, 12, 34, 56, 12],
    ],
    dtype=np.float32,
).reshape(3, 5, 5)  # fmt: skip
"""(3, 5, 5): the input of the layer."""


class Panel(NamedTuple):
    """One picture of the contact sheet: its title and its bytes."""

    title: str
    pixels: Array


class Examples(NamedTuple):
    """What the examples found: lines of the table, and two rows of the contact sheet."""

    figures: list[Figure]
    panels: list[list[Panel]]


def run(out: Path) -> Examples:
    """Both examples, each on the tutorials' numbers and on a photograph."""
    temple, flower = photographs()

    lines = F.conv2d(LINES, LINE_KERNEL, None, stride=1, padding=0)
    print(f"dark lines: 3x5x5 input, 1x3x3x3 kernel, result {lines.shape}\n{lines[0]}")
    line_photo = F.conv2d(temple, LINE_KERNEL)
    line_panels = _panels(out, "", LINES, lines, temple, line_photo)
    # sums of small integers are exact in float32, whatever the order
    expected = torch.nn.functional.conv2d(torch.from_numpy(LINES), torch.from_numpy(LINE_KERNEL)).numpy()
    same_lines = np.array_equal(lines, expected)

    torch.manual_seed(0)
    layer = nn.Conv2d(3, 3, kernel_size=3, stride=1, padding=0)
    torch.manual_seed(0)
    torch_layer = torch.nn.Conv2d(3, 3, kernel_size=3, stride=1, padding=0)
    with torch.no_grad():
        result, flower_result = (layer(torch.from_numpy(x)).numpy() for x in (LAYER_INPUT, flower))
        difference = max(
            float(np.abs(mine - torch_layer(torch.from_numpy(x)).numpy()).max() / np.abs(mine).max())
            for x, mine in ((LAYER_INPUT, result), (flower, flower_result))
        )
    bias = layer.state_dict()["bias"].numpy()
    print(f"\n{layer}: weight {tuple(layer.weight.shape)}, bias {bias}, result\n{result}")
    layer_panels = _panels(out, "layer-", LAYER_INPUT, result, flower, flower_result)

    figures = [
        Figure("dark lines equal to torch's", "yes" if same_lines else "no", same_lines),
        Figure("nn.Conv2d against torch's, relative", f"{difference:.1e}", difference < 1e-5),
    ]
    return Examples(figures, [line_panels, layer_panels])


def _panels(out: Path, prefix: str, before: Array, after: Array, photo: Array, photo_after: Array) -> list[Panel]:
    """Save the pictures of one example, and hand them over for the contact sheet."""
    save(out / f"{prefix}original.png", as_bytes(before))
    save(out / f"{prefix}convoluted.png", as_bytes(after))
    save(out / f"{prefix}original-readable.png", readable(before), at_least=300)
    save(out / f"{prefix}convoluted-readable.png", readable(after), at_least=300)
    save(out / f"{prefix}photo-original.png", as_bytes(photo))
    save(out / f"{prefix}photo-convoluted.png", readable(photo_after))
    return [
        Panel("input, x*255 as bytes", as_bytes(before)),
        Panel("input, normalised", readable(before)),
        Panel("result, x*255 as bytes", as_bytes(after)),
        Panel("result, normalised", readable(after)),
        Panel("photograph", as_bytes(photo)),
        Panel("its result, normalised", readable(photo_after)),
    ]
