"""``audit``: every convolution of a model, computed by one implementation and held against the exact result.

    report = audit(model, torch.rand(1, 3, 224, 224), left="miniconv", right="torch")

The model runs twice: once with every convolution computed by the right implementation, once by the left, which is the
one that is audited. Nothing else differs between the two passes. In the left pass, each convolution is also worked out
exactly on the very input that it got. So two errors are told apart: what a layer adds by itself (*local*), and what was
in its input already (*inherited*). Reading the files: ``calls`` (interception), ``implementations`` (what a name
means), ``expected`` (the exact result), ``judge`` (one layer), ``report``, ``table``, ``page``, ``loading`` (a model
and its input from the command line).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from miniconv.audit.implementations import Implementation
    from miniconv.audit.judge import Side
    from miniconv.audit.report import AuditReport, Layer

__all__ = ["AuditError", "AuditReport", "Implementation", "Layer", "Side", "audit"]

_HOMES = {"Implementation": "implementations", "Layer": "report", "AuditReport": "report", "Side": "judge"}


class AuditError(Exception):
    """There is nothing to judge: the model does not run, or no convolution ran; the text says what is the matter."""


def __getattr__(name: str) -> Any:
    """The other public names, imported when first asked for: they need torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def audit(
    model: torch.nn.Module,
    inputs: Any,
    *,
    left: str | Callable[..., Any] | Implementation = "miniconv",
    right: str | Callable[..., Any] | Implementation = "torch",
    sample: int | None = None,
    training: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Judge every convolution of a model, layers and bare calls alike, on its actual input.

    Seen is what torch hands to ``aten::convolution``, and miniconv's own: functions, modules, padding words and modes,
    transposed convolutions, traced and scripted models; a compiled model runs uncompiled. Not seen are quantized and
    MKLDNN tensors and ``conv_tbc``. No gradient is recorded. Modes, buffers, random state and hooks are as before
    afterwards, whatever happens; parameters that are not initialised yet (lazy modules) are by then.

    Args:
        model: any module whose parameters have data.
        inputs: what it is called with: a tensor, or a tuple of arguments, or a dict of named ones. Every pass gets
            copies.
        left: the implementation that is audited: ``"torch"``, ``"miniconv"``, ``"engine"`` or the name of an
            algorithm, ``"package.module:function"``, each with variants behind it such as ``":channels_last"``,
            ``":bfloat16"``, ``":float64"``; or a function with the signature of ``torch.nn.functional.conv2d``. A
            variant changes what the convolution is handed and changes the result back.
        right: what it is compared with, likewise.
        sample: how many elements of each layer are summed in double-double; None: of float64 layers all, or 256 if
            the layer has more than two million multiply-adds.
        training: False runs the model in evaluation mode; True in training mode, with the same random numbers in both
            passes.
        seed: of torch's random numbers in each pass.
        progress: called after each convolution of the left pass with how many are done and how many there are.

    Returns:
        The report; ``report.passed`` says whether the left is within its bound in every layer.

    Raises:
        AuditError: the model does not run, or no convolution ran.
        ValueError: an implementation is unknown.
        TypeError: the model is none.

    Numerics:
        The exact result is a float64 sum, whose own error (gamma_(L+2) * S, u = 2^-53) is added to the bound; of
        float64 layers it is a double-double sum, of all elements or a sample. See ``miniconv.parity.bounds``.

    Cost:
        A layer is run twice by the left implementation and three times by the right, and once more in float64 with
        twice the multiply-adds; memory for the inputs and outputs of all convolutions.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, (3, 2)), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1))
    >>> report = audit(net, torch.ones(1, 3, 9, 7), left="torch:bfloat16", right="torch")
    >>> [(layer.name, layer.left.verdict, layer.left.bits < 12) for layer in report.layers]
    [('0', 'WITHIN_BOUND', True), ('2', 'WITHIN_BOUND', True)]
    """
    from miniconv.audit.implementations import find
    from miniconv.audit.passes import Audit

    return Audit(model, inputs, find(left), find(right), sample, training, seed, progress).report()
