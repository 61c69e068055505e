"""What a layer that is refused teaches: the same as its function's call, in the words of the layer's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from miniconv.functional._refusals import is_handed_on

if TYPE_CHECKING:
    from miniconv.advice import Attempt

__all__ = ["teach_call", "teach_construction"]


def teach_construction(
    error: Exception, name: str, op: str, options: Mapping[str, Any], check: Callable[..., object]
) -> None:
    """Add a note to a constructor's refusal.

    Args:
        error: the refusal.
        name: the layer's class.
        op: the layer's function.
        options: the constructor's arguments by name.
        check: raises the refusal for an object with these arguments as attributes, one value for each axis.
    """
    from miniconv.advice import Attempt, teach

    per_axis = ("kernel_size", "stride", "padding", "dilation", "output_padding")
    likeness = type(name, (SimpleNamespace,), {})

    def checked(values: Mapping[str, Any]) -> None:
        spread = {n: (v,) * int(op[-2]) if n in per_axis and isinstance(v, int) else v for n, v in values.items()}
        check(likeness(**spread, transposed=op.startswith("conv_transpose")))

    teach(error, lambda: Attempt(op, options, checked, layer=True))


def teach_call(error: Exception, layer: Any, input: Any, output_size: Sequence[int] | None = None) -> None:
    """Add a note to the refusal of a layer's call; to none of a compiler's.

    Args:
        error: the refusal.
        layer: the layer.
        input: what it was called with.
        output_size: likewise, of a transposed layer.
    """
    if is_handed_on((input,)):
        return
    from miniconv.advice import teach

    teach(error, lambda: _of_layer(layer, input, output_size))


def _of_layer(layer: Any, input: torch.Tensor, output_size: Sequence[int] | None) -> Attempt:
    """The call of a layer as an attempt."""
    from miniconv.advice import of_call
    from miniconv.arrays import describe

    names = ("stride", "padding", *(("output_padding",) if layer.transposed else ()), "dilation", "groups")
    operands = [describe(x) for x in (input, layer.weight, layer.bias) if x is not None]
    attempt = replace(of_call(layer.op, operands, {name: getattr(layer, name) for name in names}), layer=True)
    if output_size is not None:
        sizes = layer._output_sizes(input)
        return replace(
            attempt,
            values={**attempt.values, "output_size": tuple(output_size), "sizes": sizes},
            check=lambda values: layer._extra(input, list(values["output_size"])),
        )
    if layer.padding_mode == "zeros":
        return attempt
    return replace(
        attempt,
        values={**attempt.values, "padding_mode": layer.padding_mode},
        check=lambda values: _padded_then_called(attempt, values),
    )


def _padded_then_called(attempt: Attempt, values: Mapping[str, Any]) -> None:
    """The rules of a border that the layer fills, then those of its function on the padded input."""
    from miniconv.functional._padding import check_mode

    options = dict(values)
    mode = options.pop("padding_mode")
    if mode != "zeros":
        input = values["input"]
        pairs = replace(attempt, values=options).padding
        check_mode(SimpleNamespace(shape=input.shape, ndim=len(input.shape)), pairs, mode)
        lead = input.shape[: len(input.shape) - len(pairs)]
        size = (i + low + high for i, (low, high) in zip(input.shape[len(lead) :], pairs))
        options |= {"input": input._replace(shape=(*lead, *size)), "padding": 0}
    attempt.check(options)
