"""Step 4: a small network learns to read real handwritten digits, once with miniconv's layers, once with torch's.

Both start from the same seed, hence from the same weights, and see the same batches in the same order. Their losses
then differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv import functional as F
from miniconv import nn
from miniconv.demo import Figure
from miniconv.demo.progress import progress

__all__ = ["DigitNet", "Training", "load", "run", "train"]

Array = np.ndarray[Any, Any]

EPOCHS, BATCH, RATE, MOMENTUM, SEED = 8, 32, 0.03, 0.9, 0


class DigitNet(torch.nn.Module):
    """Two convolutions, one pooling, two linear layers; ``kind`` is where the layers come from.

    Args:
        kind: ``miniconv.nn`` or ``torch.nn``.
    """

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.conv1 = kind.Conv2d(1, 8, 3, padding=1)
        self.conv2 = kind.Conv2d(8, 16, 3, padding=1)
        self.fc1 = kind.Linear(16 * 4 * 4, 32)
        self.fc2 = kind.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logarithms of the ten probabilities: (N, 1, 8, 8) to (N, 10)."""
        x = F.relu(self.conv1(images))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        result: torch.Tensor = F.log_softmax(self.fc2(x), dim=1)
        return result


class Digits(NamedTuple):
    """Images (N, 1, 8, 8), float32 from 0 to 1, and their labels, in two parts."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


class Training(NamedTuple):
    """What the step found: lines of the table, and what the next step compares itself with."""

    figures: list[Figure]
    test_images: Array
    predictions: Array


def load() -> Digits:
    """scikit-learn's 1,797 digits (UCI ML repository), a quarter of them kept for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.25, random_state=SEED, stratify=labels)
    return Digits(parts[0], parts[2], parts[1], parts[3])


def train(kind: Any, digits: Digits, epochs: int, report: Callable[[int, int], None]) -> tuple[DigitNet, list[float]]:
    """A network trained by stochastic gradient descent, and the loss of every batch."""
    torch.manual_seed(SEED)
    net = DigitNet(kind)
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    order = np.random.default_rng(SEED)
    images, labels = torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels)
    losses: list[float] = []
    for epoch in range(1, epochs + 1):
        whole = len(images) // BATCH * BATCH  # the few images left over differ from epoch to epoch
        for batch in order.permutation(len(images))[:whole].reshape(-1, BATCH):
            optimiser.zero_grad()
            loss = F.nll_loss(net(images[batch]), labels[batch])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        report(epoch, epochs)
    return net, losses


def run(out: Path, epochs: int = EPOCHS) -> Training:
    """Train twice, compare, draw the losses, save the weights."""
    digits = load()
    nets, losses, accuracies = {}, {}, {}
    for name, kind in (("miniconv.nn", nn), ("torch.nn", torch.nn)):
        with progress(f"training with {name}", "epochs") as report:
            nets[name], losses[name] = train(kind, digits, epochs, report)
        accuracies[name] = float((_predict(nets[name], digits.test_images) == digits.test_labels).mean())
    mine, torchs = nets.values()
    difference = max(float((a - b).detach().abs().max()) for a, b in zip(mine.parameters(), torchs.parameters()))
    _plot(out / "training.png", losses)
    np.savez(out / "digits-weights.npz", **{name: x.numpy() for name, x in mine.state_dict().items()})
    # the weights cross over to torch's layers, which say what the next step must find
    torchs.load_state_dict(mine.state_dict())
    figures = [Figure(f"test accuracy, {name}", f"{100 * a:.1f} %", a > 0.95) for name, a in accuracies.items()]
    figures += [
        Figure("last loss, both", " and ".join(f"{curve[-1]:.6f}" for curve in losses.values())),
        Figure("largest difference of any weight at the end", f"{difference:.1e}", difference < 1e-2),
    ]
    return Training(figures, digits.test_images, _predict(torchs, digits.test_images))


def _predict(net: torch.nn.Module, images: Array) -> Array:
    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(images)).argmax(dim=1).numpy())


def _plot(path: Path, losses: dict[str, list[float]]) -> None:
    """Both losses above, how far they are apart below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(9, 6.5), dpi=110, layout="constrained")
    FigureCanvasAgg(plot)  # no window, whatever the default
    above, below = plot.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    styles = ({"linewidth": 5, "color": "#f4a259"}, {"linewidth": 1.2, "color": "#1d3557"})
    for (name, curve), style in zip(losses.items(), styles):
        above.semilogy(curve, label=name, **style)
    above.set_title("A small CNN on scikit-learn's digits: one seed, two libraries")
    above.set_ylabel("loss of the batch")
    above.legend()
    mine, torchs = map(np.array, losses.values())
    below.semilogy(np.abs(mine - torchs), ".", markersize=4, color="#1d3557")
    below.set_ylabel("difference of the losses")
    below.set_xlabel("batch (where there is no dot, the losses are equal)")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    plot.savefig(path)
