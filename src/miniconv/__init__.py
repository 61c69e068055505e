"""miniconv: PyTorch's convolution rebuilt from scratch in Python.

Three doors: ``miniconv.functional`` and ``miniconv.nn`` in place of torch's, or ``patch`` with nothing changed;
``miniconv.parity`` to judge any convolution and ``audit`` to judge a model's; ``explain``, ``miniconv.reference`` and
``miniconv.algorithms`` to learn from. Importing miniconv imports neither torch nor anything heavy.
"""

from miniconv.audit import audit
from miniconv.explain import explain
from miniconv.patch import patch
from miniconv.problem import ConvProblem, ReceptiveField
from miniconv.receptive_field import receptive_field
from miniconv.settings import config
from miniconv.summary import summary

__all__ = ["ConvProblem", "ReceptiveField", "audit", "config", "explain", "patch", "receptive_field", "summary"]
