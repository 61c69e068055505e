"""The targets that have a name: torch and its backends, miniconv, and each of miniconv's algorithms."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from miniconv.algorithms import ALGORITHMS
from miniconv.algorithms.fft import BOUND_CONSTANT
from miniconv.arrays import describe
from miniconv.codegen import unavailable_reason
from miniconv.parity.cases import OPS
from miniconv.parity.targets.capabilities import Capabilities
from miniconv.parity.targets.target import TORCH, Target, Unsupported, family
from miniconv.plan import plan
from miniconv.problem import ConvProblem
from miniconv.settings import config

__all__ = ["NAMES"]


def _miniconv() -> Target:
    """miniconv as its users call it."""
    return family(importlib.import_module("miniconv.functional"), importlib.import_module("miniconv.nn"))


def _of_torch(name: str, around: Callable[[Any], Any], within: Callable[[], AbstractContextManager[Any]]) -> Target:
    """torch, its operands changed by ``around`` and its call made ``within``."""

    def function(op: str) -> Callable[..., Any]:
        own = getattr(torch.nn.functional, op)

        def called(input: torch.Tensor, weight: torch.Tensor, *rest: Any, **options: Any) -> Any:
            with within():
                return own(around(input), around(weight), *rest, **options)

        return called

    functions = {op: function(op) for op in OPS}
    return replace(TORCH, function=functions, module=None, name=name, level="shapes")  # a backend has its own texts


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` with its channels side by side, if it is a batch of images or volumes."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=formats[tensor.ndim]) if tensor.ndim in formats else tensor


# NaN and Inf fill a whole tile, and meet the zeros that a kernel is dilated by
_CLAIMS = dict.fromkeys(("winograd_f2", "winograd_f4", "dilation_zeros"), "data integers, random")


def _algorithm(name: str) -> Target:
    """One of miniconv's algorithms, the forward pass alone; what it cannot compute it refuses with its reason."""

    def function(op: str) -> Callable[..., Any]:
        state = ConvProblem.from_conv_transpose if "transpose" in op else ConvProblem.from_conv

        def called(*operands: torch.Tensor, **options: Any) -> Any:
            missing = unavailable_reason() if name == "engine" else None
            problem = state(*map(describe, operands), **options, dims=int(op[-2]))
            reason = missing or plan(problem).refused.get(name)
            if reason is not None:
                raise Unsupported(reason)
            try:
                with config(reproducible=True):  # the engine's plain sums, which keep the direct bound
                    return plan(problem, name)(*operands)
            except ValueError as error:  # the problem is legal, so it is the numbers: the FFT takes no infinite ones
                raise Unsupported(str(error)) from error

        return called

    bound = ALGORITHMS[name].bound if name in ALGORITHMS else "direct"
    return Target(
        {op: function(op) for op in OPS}, name=name, bound=bound, fft_constant=BOUND_CONSTANT, gradients=False,
        layout=False, level="shapes", capabilities=Capabilities.parse(_CLAIMS.get(name, "")),
    )  # fmt: skip


@contextmanager
def without_onednn() -> Iterator[None]:
    """torch's own loops.

    ``torch.backends.mkldnn.flags`` sets TF32 too, at which torch warns; as an error, that leaves oneDNN switched off.
    """
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


NAMES: Mapping[str, Callable[[], Target]] = {
    "miniconv": _miniconv,
    "torch": lambda: TORCH,
    "torch:native": partial(_of_torch, "torch:native", lambda x: x, without_onednn),
    "torch:channels_last": partial(_of_torch, "torch:channels_last", _channels_last, nullcontext),
    "engine": partial(_algorithm, "engine"),
    **{name: partial(_algorithm, name) for name in ALGORITHMS},
}
"""The targets by their names. ``torch:native`` is torch without oneDNN; the algorithms keep the bounds that they
state."""
