"""``patch``: torch's own convolutions computed by miniconv, without a changed line in the program.

While a ``with miniconv.patch():`` lasts, every convolution that torch would compute on the CPU, and every gradient of
one, is computed by miniconv's plan. torch itself stays above: autograd, vmap, autocast, tracing and the compilers hand
their convolutions down to one place, and that place is what is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from miniconv.patch.report import Report

__all__ = ["KINDS", "Report", "patch"]

KINDS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""What ``only`` can name."""


def patch(only: str | Iterable[str] | None = None) -> AbstractContextManager[Report]:
    """Route torch's convolutions on the CPU through miniconv for as long as the context lasts.

    Process-wide: functions, modules, ``padding="same"``, transposed convolutions, double backward, forward mode, vmap,
    traced programs, autocast, checkpoints, inference mode, ``torch.compile``, and other threads. What miniconv refuses
    or torch would reject goes to torch's own kernel, and is counted with its reason. Contexts may be nested, and may
    overlap in several threads: a convolution is taken if any open one names its kind, and counted in all of them. As
    a decorator, ``patch()`` opens a context for each call.

    Where threads convolve, enter the first one before they start if you can: it writes to torch's table of kernels,
    which torch does not guard against readers. While miniconv's kernels stand there, every entry, nested or in another
    thread, only switches, and so does the last exit while other Python threads live: torch's kernels then answer
    behind one more Python call. The last exit that finds no other thread takes miniconv's out of the table again.

    Not taken, as they do not pass that place: tensors in MKLDNN layout (``to_mkldnn``), ``torch.mkldnn_convolution``,
    quantized tensors, ``torch.conv_tbc``, graphs already frozen by inductor or rewritten by
    ``torch.jit.optimize_for_inference``, other devices, processes that are spawned. They go on as without ``patch``.
    ``miniconv.functional`` and ``miniconv.nn`` go to the plan by themselves. None of these is counted. A complex
    ``aten::convolution_backward`` is handed back: torch states complex gradients in real parts, which are taken, and
    refuses them here.

    Args:
        only: one name out of ``KINDS`` or several; None takes every kind.

    Returns:
        A context manager; its ``as`` is a ``Report`` that goes on counting until the exit.

    Raises:
        ValueError: ``only`` names something else.
        ImportError: at entry: torch is not installed.
        RuntimeError: at entry: torch is too old to give out its kernels (``torch.library.get_kernel``).

    Numerics:
        Those of ``miniconv.functional``; the bias gradient is a sum in the compute dtype, rounded once.

    Cost:
        Some microseconds a call more than the plan's own.

    >>> import torch
    >>> with patch() as report:
    ...     y = torch.nn.Conv2d(3, 8, 3, dtype=torch.float64)(torch.ones(1, 3, 9, 9, dtype=torch.float64)).sum()
    ...     y.backward()
    >>> report.taken
    {'conv2d': 1, 'conv2d backward': 1}
    """
    kinds = KINDS if only is None else (only,) if isinstance(only, str) else tuple(only)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"only names some of {', '.join(KINDS)}, but got {', '.join(map(repr, unknown))}")
    return _patched(frozenset(kinds))


@contextmanager
def _patched(kinds: frozenset[str]) -> Iterator[Report]:
    """One context: a report that the kernels write to while it is open."""
    try:
        from miniconv.patch import kernels
    except ImportError as error:
        raise ImportError("miniconv.patch needs torch (pip install 'miniconv[torch]')") from error
    report = Report(kinds)
    kernels.open_report(report)
    try:
        yield report
    finally:
        kernels.close_report(report)
