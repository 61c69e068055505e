"""The convolution as torch sees it: three bilinear operators, registered under ``torch.ops.miniconv``.

    y  = convolution(x, w)
    gx = convolution_input_grad(g, w)
    gw = convolution_weight_grad(g, x)

They are the three faces of one number, the sum of g * (x conv w), which is linear in each of x, w and g: leave one of
the three open, and the operator fills it from the other two. So they are closed under differentiation, and every
order, direction and batching rule follows from two short texts: ``_derivatives`` and ``_batching``. ``_operators``
defines the operators and says what they are on real, fake and meta tensors; ``_call`` is the way in from a function,
and ``_plain`` the shorter one of calls that nobody transforms.

Beside them stands ``average_``, which batch norm keeps its running statistics with.
"""

from __future__ import annotations

from miniconv.torch_ops import _batching as _batching  # registers the operators' batching rule
from miniconv.torch_ops import _derivatives as _derivatives  # registers their derivatives
from miniconv.torch_ops._averages import average_
from miniconv.torch_ops._call import call, convolution, convolution_input_grad, convolution_weight_grad
from miniconv.torch_ops._plain import is_plain, plain

__all__ = [
    "average_",
    "call",
    "convolution",
    "convolution_input_grad",
    "convolution_weight_grad",
    "is_plain",
    "plain",
]
