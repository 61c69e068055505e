"""Judges a convolution by files of ``miniconv parity export``, with NumPy alone."""

import json
import sys
from pathlib import Path

import numpy as np


def conv2d(input, weight, bias, stride, padding, dilation, groups):
    """The function that is judged: yours stands here. A slow one, tap by tap."""
    n, c_in, *size = input.shape
    c_out, _, *kernel = weight.shape
    padded = np.pad(input, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    out = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, p, d, k, s in zip(size, padding, dilation, kernel, stride)]
    x = padded.reshape(n, groups, c_in // groups, *padded.shape[2:])
    w = weight.reshape(groups, c_out // groups, c_in // groups, *kernel)
    y = np.zeros((n, groups, c_out // groups, *out), input.dtype)
    for row, column in np.ndindex(*kernel):
        rows = slice(row * dilation[0], row * dilation[0] + (out[0] - 1) * stride[0] + 1, stride[0])
        columns = slice(column * dilation[1], column * dilation[1] + (out[1] - 1) * stride[1] + 1, stride[1])
        y += np.einsum("ngchw,goc->ngohw", x[..., rows, columns], w[..., row, column])
    y = y.reshape(n, c_out, *out)
    return y if bias is None else y + bias[:, None, None]


def is_right(got, part, arrays):
    """Whether every element is the nearest number to the exact result, or within what is allowed of it."""
    want = arrays[part]
    if got.shape != want.shape:
        return False
    with np.errstate(all="ignore"):
        if want.dtype.kind == "c":  # the two parts of a complex number are judged one by one
            halves = [{name: getattr(array, half) for name, array in arrays.items()} for half in ("real", "imag")]
            return all(is_right(getattr(got, half), part, of) for half, of in zip(("real", "imag"), halves))
        right = (got == want) | ((got != got) & (want != want))
        if f"{part}_allowed" in arrays:
            error = abs((got.astype(float) - arrays[f"{part}_exact"]) - arrays.get(f"{part}_exact_low", 0))
            right |= np.isfinite(want) & (error <= arrays[f"{part}_allowed"])
        return bool(right.all())


def judge(folder, function):
    """Prints each case of a folder that is wrong; returns how many are right, wrong and passed over."""
    counts = {"right": 0, "wrong": 0, "passed over": 0}
    for row in json.loads((folder / "index.json").read_text())["cases"]:
        beyond_me = [
            row["file"] is None, row["padding_mode"] != "zeros", isinstance(row["arguments"]["padding"], str),
            len(row["operands"]["input"]["shape"]) == 3, row["dtype"] in ("float16", "bfloat16", "complex32"),
        ]  # fmt: skip
        if any(beyond_me):
            counts["passed over"] += 1
            continue
        with np.load(folder / row["file"]) as file:
            arrays = dict(file)
        got = function(arrays["input"], arrays["weight"], arrays.get("bias"), **row["arguments"])
        right = is_right(got, "output", arrays)
        counts["right" if right else "wrong"] += 1
        if not right:
            print("wrong:", row["case"])
    return counts


if __name__ == "__main__":
    print(judge(Path(sys.argv[1]), conv2d))
