"""One run of a model under hooks: what each layer received and returned, as rows of the table.

A receptive field travels with the tensors. The model's inputs have the field of one element; a layer whose window is
known (convolution, pooling) or that works element by element takes its input's field and hands its output the next
one; everything else hands on none. A tensor that ``forward`` itself computed, or wrote into, has none either: the
table then says ``-``, which means unknown, and never a number that might be wrong.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miniconv.problem import ReceptiveField
from miniconv.summary.layers import Fields, first_tensor, layers_of, multiply_adds, problem_of, tensors_in, through
from miniconv.summary.table import Row

if TYPE_CHECKING:
    import torch

__all__ = ["Recorder", "bytes_of"]


class Recorder:
    """One run of a model: the rows so far, and the receptive field of every tensor that has one."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        self.inputs = inputs
        self.rows: list[Row] = []
        self._counted: set[int] = set()  # parameters, by id
        # by id, because tensors compare element by element; the version tells whether one was written into since
        self._fields: dict[int, tuple[weakref.ref[torch.Tensor], int, Fields]] = {}
        self._entering: list[tuple[torch.nn.Module, Fields | None]] = []
        for x in inputs:
            self._attach(x, (ReceptiveField(),) * (x.ndim - 2))

    def run(self, model: torch.nn.Module) -> None:
        """Run the model once with hooks around its layers, and leave it as it was."""
        training = {module: module.training for module in model.modules()}
        handles: list[torch.utils.hooks.RemovableHandle] = []
        try:
            for path, layer in layers_of(model):
                handles.append(layer.register_forward_pre_hook(self._before, with_kwargs=True))
                # first of the hooks: a hook of the model's own may replace the output, which then has no field
                after = self._after(path)
                handles.append(layer.register_forward_hook(after, prepend=True, with_kwargs=True))
            # not model.eval(), which a model may override
            for module in training:
                module.training = False
            model(*self.inputs)
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in training.items():
                module.training = mode

    def _before(self, layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
        """Note the field of the layer's input before the layer can write into it."""
        self._entering.append((layer, self._field_of(first_tensor(args, kwargs))))

    def _after(self, path: str) -> Any:
        """The hook that writes the row of one run."""

        def hook(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            entered, entering = self._entering.pop()
            while entered is not layer:  # that one raised, and the model caught it
                entered, entering = self._entering.pop()
            problem = problem_of(layer, first_tensor(args, kwargs))
            field = through(layer, problem, entering)
            tensors = list(tensors_in(output))
            if field is not None and tensors and output is tensors[0]:
                self._attach(output, field)
            own = {id(p): p.numel() for p in layer.parameters()}
            self.rows.append(
                Row(
                    layer=f"{type(layer).__name__}-{len(self.rows) + 1}",
                    path=path,
                    output_shapes=tuple((-1, *x.shape[1:]) if x.shape[:1] == (1,) else tuple(x.shape) for x in tensors),
                    parameters=sum(count for key, count in own.items() if key not in self._counted),
                    reused=not self._counted.isdisjoint(own),
                    multiply_adds=multiply_adds(layer, problem, tensors),
                    receptive_field=field,
                    output_bytes=sum(map(bytes_of, tensors)),
                )
            )
            self._counted.update(own)

        return hook

    def _attach(self, x: torch.Tensor, fields: Fields) -> None:
        if fields:
            self._fields[id(x)] = (weakref.ref(x), x._version, fields)

    def _field_of(self, x: torch.Tensor | None) -> Fields | None:
        """The field of a tensor that nobody has written into since a layer returned it."""
        if x is None or id(x) not in self._fields:
            return None
        same, version, fields = self._fields[id(x)]
        return fields if same() is x and x._version == version else None


def bytes_of(x: torch.Tensor) -> int:
    """Memory of the elements of ``x``."""
    return x.numel() * x.element_size()
