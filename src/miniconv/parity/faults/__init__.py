"""What may be wrong with a convolution: plausible faults as data, each with what it would have computed.

``FAULTS`` lists them. Reading the files: ``forms`` (what a hypothesis is, and the ways to state one), then the
hypotheses by what is confused: ``operands`` (bias, taps, channels, groups), ``parameters`` (stride, padding, dilation,
output padding), ``places`` (memory), ``arithmetic`` (precision, special numbers, gradients).
"""

from __future__ import annotations

from miniconv.parity.faults import arithmetic, operands, parameters, places
from miniconv.parity.faults.forms import Array, Fault, Setting, exact_part

__all__ = ["FAULTS", "Array", "Fault", "Setting", "exact_part"]

FAULTS: tuple[Fault, ...] = (*operands.ROWS, *parameters.ROWS, *arithmetic.ROWS, *places.ROWS)
"""Every hypothesis. Where nothing tells two of them apart, the earlier is named first."""
