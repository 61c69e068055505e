"""Arrays as pictures: bytes as torchvision makes them, and bytes that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["as_bytes", "gray", "photographs", "readable", "save"]

Array = np.ndarray[Any, Any]


def as_bytes(picture: Array) -> Array:
    """Bytes as torchvision's ``ToPILImage`` makes them: times 255, fraction cut off, wrapped modulo 256.

    Meant for numbers from 0 to 1. Others wrap: 25 becomes 231. Integers are taken as they are, modulo 256.

    Args:
        picture: (C, H, W), C = 1 or 3.

    Returns:
        (H, W) or (H, W, 3), uint8.
    """
    if picture.dtype.kind == "f":
        picture = picture * picture.dtype.type(255)
    wrapped = picture.astype(np.int64).astype(np.uint8)
    return wrapped[0] if len(wrapped) == 1 else wrapped.transpose(1, 2, 0)


def readable(picture: Array) -> Array:
    """Bytes from 0 for the smallest number to 255 for the largest; shape as ``as_bytes``."""
    low, high = float(picture.min()), float(picture.max())
    return as_bytes((picture.astype(np.float64) - low) / ((high - low) or 1.0))


def save(path: Path, pixels: Array, at_least: int = 0) -> None:
    """Write a PNG; each pixel becomes a square, so that both sides have ``at_least`` that many."""
    times = max(1, -(-at_least // min(pixels.shape[:2])))
    Image.fromarray(pixels.repeat(times, axis=0).repeat(times, axis=1)).save(path)


def photographs() -> list[Array]:
    """The two photographs that scikit-learn ships, (3, 427, 640), float32 from 0 to 1: a temple and a flower."""
    from sklearn.datasets import load_sample_images

    pictures = [np.asarray(picture, np.float32) / 255 for picture in load_sample_images().images]
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)) for picture in pictures]


def gray(picture: Array) -> Array:
    """(3, H, W) to (1, H, W): the brightness of ITU-R BT.601, which PIL uses too."""
    weights = np.array([0.299, 0.587, 0.114], picture.dtype)
    return np.tensordot(weights, picture, axes=1)[None]
