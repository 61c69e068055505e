"""Step 2, second half: classical filters and the four border modes on a real photograph; the contact sheet.

A filter is a convolution with a kernel that somebody thought of: no training. Smoothing kernels sum to 1, so that
brightness stays; edge kernels sum to 0, so that a plain surface gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miniconv import functional as F
from miniconv import nn
from miniconv.demo import Figure
from miniconv.demo.examples import Panel
from miniconv.demo.pictures import as_bytes, gray, photographs, readable

__all__ = ["EDGES", "SMOOTH", "border_modes", "edge", "run", "smooth"]

Array = np.ndarray[Any, Any]


def gaussian(size: int, sigma: float) -> Array:
    """(size, size): the bell curve, summing to 1."""
    bell = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    kernel: Array = np.outer(bell, bell) / bell.sum() ** 2
    return kernel


_PREWITT = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])
_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])

SMOOTH: dict[str, Array] = {
    "mean 7x7": np.full((7, 7), 1 / 49),
    "Gaussian 7x7, sigma 1.5": gaussian(7, 1.5),
    "sharpen 3x3": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
}
"""Kernels that sum to 1: each colour on its own."""

EDGES: dict[str, list[Array]] = {
    "Prewitt, both directions": [_PREWITT, _PREWITT.T],
    "Sobel, both directions": [_SOBEL, _SOBEL.T],
    "Laplacian": [np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])],
}
"""Kernels that sum to 0, on the brightness; two directions are two output channels, and their length is shown."""


def smooth(picture: Array, kernel: Array) -> Array:
    """Each channel convolved with the same kernel: as many groups as channels. Shape stays."""
    channels = len(picture)
    weight = np.broadcast_to(kernel, (channels, 1, *kernel.shape)).astype(picture.dtype)
    return np.asarray(F.conv2d(picture, weight, padding="same", groups=channels))


def edge(picture: Array, kernels: Sequence[Array]) -> Array:
    """The length of the vector of all kernels' results: (1, H, W) to (1, H - 2, W - 2) for 3x3 kernels."""
    weight = np.stack(kernels)[:, None].astype(picture.dtype)
    return np.asarray(np.sqrt((F.conv2d(picture, weight) ** 2).sum(axis=0, keepdims=True)))


def border_modes(picture: Array, size: int) -> dict[str, Array]:
    """A mean over ``size`` x ``size`` in each padding mode of ``nn.Conv2d``: they differ near the border only."""
    results = {}
    for mode in ("zeros", "reflect", "replicate", "circular"):
        layer = nn.Conv2d(3, 3, size, padding=size // 2, groups=3, bias=False, padding_mode=mode)
        with torch.no_grad():
            layer.weight.fill_(1 / size**2)
            results[mode] = layer(torch.from_numpy(picture)).numpy()
    return results


def run(out: Path, examples: Sequence[Sequence[Panel]]) -> list[Figure]:
    """Filter a photograph and draw the contact sheet, with the rows of the examples on top."""
    whole = photographs()[0]
    temple, small = whole[:, 110:310, 90:390], np.ascontiguousarray(whole[:, ::2, ::2])
    brightness = gray(temple)
    smoothed = [Panel("photograph", as_bytes(temple))]
    smoothed += [Panel(name, as_bytes(smooth(temple, kernel).clip(0, 1))) for name, kernel in SMOOTH.items()]
    edges = [Panel("photograph, brightness", as_bytes(brightness))]
    for name, kernels in EDGES.items():
        strength = edge(brightness, kernels)
        # a few very strong edges would leave the others dark
        edges.append(Panel(name, readable(strength.clip(0, np.quantile(strength, 0.99)))))
    borders = [Panel("photograph", as_bytes(small))]
    borders += [Panel(f"padding_mode={mode!r}", as_bytes(x)) for mode, x in border_modes(small, 41).items()]
    _contact_sheet(
        out / "contact-sheet.png",
        {
            "Dark-line detector: three cells of a row, added up (x*255 wraps: 25 becomes 231, 1 is 255)": examples[0],
            "nn.Conv2d(3, 3, 3) with random weights": examples[1],
            "Kernels that sum to 1 keep the brightness: each colour on its own": smoothed,
            "Kernels that sum to 0 find edges: the strength of the change in brightness": edges,
            "Border modes: a mean over 41x41, which reaches 20 pixels past the border": borders,
        },
    )  # fmt: skip
    difference = _largest_difference_from_torch(temple)
    return [Figure("filters against torch's, largest difference", f"{difference:.1e}", difference < 1e-5)]


def _largest_difference_from_torch(picture: Array) -> float:
    """Over all smoothing filters, for numbers from 0 to 1."""
    differences = []
    for kernel in SMOOTH.values():
        weight = torch.tensor(kernel, dtype=torch.float32).expand(3, 1, *kernel.shape)
        expected = torch.nn.functional.conv2d(torch.from_numpy(picture.copy()), weight, padding="same", groups=3)
        differences.append(float(np.abs(smooth(picture, kernel) - expected.numpy()).max()))
    return max(differences)


def _contact_sheet(path: Path, rows: dict[str, Sequence[Panel]]) -> None:
    """Every panel with its title, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    width, titles = 16, 0.8  # inches
    shares = [[panel.pixels.shape[1] / panel.pixels.shape[0] for panel in panels] for panels in rows.values()]
    heights = [titles + width / sum(share) for share in shares]  # panels of a row are equally high
    sheet = Sheet(figsize=(width, sum(heights)), dpi=110, layout="constrained")
    FigureCanvasAgg(sheet)  # no window, whatever the default
    grid = sheet.add_gridspec(len(rows), 1, height_ratios=heights)
    for i, (title, panels) in enumerate(rows.items()):
        part = sheet.add_subfigure(grid[i])
        part.suptitle(title, fontsize=14, fontweight="bold", x=0.005, ha="left")
        for axes, panel in zip(part.subplots(1, len(panels), width_ratios=shares[i]), panels):
            axes.imshow(panel.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(panel.title, fontsize=11)
            axes.set_axis_off()
    sheet.savefig(path)
