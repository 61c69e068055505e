"""miniconv: PyTorch's convolution rebuilt from scratch in Python."""

from miniconv.problem import ConvProblem

__all__ = ["ConvProblem"]
