"""A convolution as it is written in torch, read as a problem: a function's call, or a layer's.

    F.conv2d(x[1, 3, 8, 9], w[4, 3, 3, 3], stride=2, padding=1)
    nn.Conv2d(3, 4, 3, stride=2, padding=1)(x[1, 3, 8, 9])

A tensor is a name, whatever it is, with its shape in brackets. Nothing is evaluated: arguments are literals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from miniconv import advice
from miniconv.advice import of_call, teach
from miniconv.problem import ConvProblem, Operand

__all__ = ["is_torch_text", "parse_either", "parse_torch"]

_CALL = {
    False: ("stride", "padding", "dilation", "groups"),
    True: ("stride", "padding", "output_padding", "groups", "dilation"),
}
_LAYER = {
    False: (*_CALL[False], "bias", "padding_mode"),
    True: ("stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode"),
}
_SIZES = ("in_channels", "out_channels", "kernel_size")
_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


def is_torch_text(text: str) -> bool:
    """Whether a text is meant as a call.

    >>> is_torch_text("F.conv1d(x[1, 4], w[1, 1, 3])"), is_torch_text("conv1d c1 o1 i4 k3")
    (True, False)
    """
    return "(" in text


def parse_either(text: str, language: str | None = None) -> tuple[ConvProblem, str]:
    """The problem that a call or a problem's own text states, and its padding mode.

    Raises:
        ValueError: the text is neither.
        TypeError, ValueError, RuntimeError, NotImplementedError: torch refuses it; with a note.

    >>> str(parse_either("nn.Conv1d(1, 1, 3, bias=False)(x[1, 4])")[0]), str(parse_either("conv1d c1 o1 i4 k3")[0])
    ('conv1d c1 o1 i4 k3 float32', 'conv1d c1 o1 i4 k3 float32')
    """
    return parse_torch(text, language) if is_torch_text(text) else (advice.parse(text, language), "zeros")


def parse_torch(text: str, language: str | None = None) -> tuple[ConvProblem, str]:
    """The problem that a call states, and its padding mode.

    Args:
        text: as in the module's description.
        language: of the notes on a refusal.

    Raises:
        ValueError: the text is no such call.
        TypeError, ValueError, RuntimeError, NotImplementedError: torch refuses the call; with a note.

    >>> problem, mode = parse_torch("nn.Conv2d(3, 4, 3, padding='same', groups=1)(x[3, 8, 9])")
    >>> str(problem), mode
    ('conv2d c3 o4 i8x9 k3x3 p1x1 bias float32', 'zeros')
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no Python: {error.msg}") from None
    if not isinstance(call, ast.Call):
        raise ValueError(f"{text!r} is no call")
    is_layer = isinstance(call.func, ast.Call)
    op, operands, options = _layer(call, call.func) if isinstance(call.func, ast.Call) else _function(call)
    mode = options.pop("padding_mode", "zeros")
    transposed = op.startswith("conv_transpose")
    given = {name: default for name, default in _DEFAULTS.items() if transposed or name != "output_padding"}
    attempt = replace(of_call(op, operands, {**given, **options}), layer=is_layer)
    try:
        problem: ConvProblem = attempt.check(attempt.values)  # type: ignore[assignment]  # what of_call's check gives
    except (TypeError, ValueError, RuntimeError) as error:
        teach(error, lambda: attempt, language)
        raise
    return problem, mode


def _function(call: ast.Call) -> tuple[str, list[Operand], dict[str, Any]]:
    """The operator, operands and options of a function's call."""
    op = _name(call.func)
    if layer := re.fullmatch(r"Conv(?:Transpose)?([123])d", op):
        shape = ", ".join("NC" + "DHW"[-int(layer[1]) :])
        raise ValueError(f"a layer needs its input, written with its shape: {ast.unparse(call)}(x[{shape}])")
    if not re.fullmatch(r"conv(_transpose)?[123]d", op):
        raise ValueError(f"a call is one of conv1d ... conv_transpose3d, or of a layer on an input, but got {op}")
    named = _arguments(call, ("input", "weight", "bias", *_CALL["transpose" in op]))
    if missing := [name for name in ("input", "weight") if name not in named]:
        raise ValueError(f"{op}() lacks {', '.join(missing)}")
    operands = [named.pop(name) for name in ("input", "weight", "bias") if name in named]
    tensors = [_tensor(node) for node in operands if not (isinstance(node, ast.Constant) and node.value is None)]
    return op, tensors, {name: _literal(node) for name, node in named.items()}


def _layer(call: ast.Call, made: ast.Call) -> tuple[str, list[Operand], dict[str, Any]]:
    """The operator, operands and options of a layer's call; its parameters are those that it would make."""
    match = re.fullmatch(r"Conv(Transpose)?([123])d", _name(made.func))
    if match is None or len(call.args) != 1:
        raise ValueError(f"a layer is one of Conv1d ... ConvTranspose3d, on one input, but got {ast.unparse(call)}")
    dims, transposed = int(match[2]), match[1] is not None
    options = {name: _literal(node) for name, node in _arguments(made, (*_SIZES, *_LAYER[transposed])).items()}
    if missing := [name for name in _SIZES if name not in options]:
        raise ValueError(f"{_name(made.func)}() lacks {', '.join(missing)}")
    channels, out, kernel = (options.pop(name) for name in _SIZES)
    groups = options.get("groups", 1)
    if not isinstance(groups, int) or groups < 1 or channels % groups or out % groups:
        raise ValueError(f"in_channels {channels} and out_channels {out} cannot be split into {groups} equal groups")
    taps = tuple(kernel) if isinstance(kernel, (tuple, list)) else (kernel,) * dims
    shape = (channels, out // groups, *taps) if transposed else (out, channels // groups, *taps)
    bias = [Operand((out,))] if options.pop("bias", True) else []
    op = f"conv{'_transpose' if transposed else ''}{dims}d"
    return op, [_tensor(call.args[0]), Operand(shape), *bias], options


def _name(node: ast.expr) -> str:
    """``conv2d`` of ``torch.nn.functional.conv2d``."""
    return ast.unparse(node).rpartition(".")[2]


def _arguments(call: ast.Call, names: Sequence[str]) -> dict[str, ast.expr]:
    """The arguments by name."""
    if len(call.args) > len(names):
        raise ValueError(f"{_name(call.func)}() takes at most {len(names)} arguments, but got {len(call.args)}")
    named: dict[str, ast.expr] = dict(zip(names, call.args))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg not in names or keyword.arg in named:
            raise ValueError(f"{_name(call.func)}() has no argument {keyword.arg!r}, or has it twice")
        named[keyword.arg] = keyword.value
    return named


def _tensor(node: ast.expr) -> Operand:
    """``x[1, 3, 8, 9]``: a tensor of that shape."""
    shape = _literal(node.slice) if isinstance(node, ast.Subscript) else None
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"a tensor is written with its shape, as x[1, 3, 8, 9], but got {ast.unparse(node)}")
    return Operand(shape)


def _literal(node: ast.expr) -> Any:
    """A value that is written out."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"arguments are numbers, tuples or words, but got {ast.unparse(node)}") from None
