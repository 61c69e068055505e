"""What lies on the way of every call, compiled too: functions of Python's whose bodies are machine code.

The smallest convolution takes a tenth of a microsecond. ``ctypes`` needs twenty times as long to turn its arguments
into an array and to find out how a function wants them; asking a tensor for its shape, its strides and its dtype takes
three times as long. Both are a few instructions for whoever may read the structures themselves, so these functions do:
they call Python's stable interface in C, and for tensors DLPack's table of functions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from miniconv.codegen.emit import Code
from miniconv.codegen.jit import compile_code, host
from miniconv.codegen.kernels import CONTEXT

__all__ = ["MOST_AXES", "RECORD", "STACK_BYTES", "entry", "looker"]

# What is the same in all calls of one work: addresses and sizes, 64 bits each.
RECORD = {name: index for index, name in enumerate(("stage", "units", "program", "kernels", "bias", "bias_step"))}
_ARGUMENTS = ("record", "input", "weight", "bias", "output")
STACK_BYTES = 3584  # a page and more would have to be asked for, on some systems

MOST_AXES = 5
MOST_TENSORS = 3
# DLTensor, the structure of DLPack's that describes a tensor: bytes from its beginning, and in all.
_DEVICE, _KIND, _SHAPE, _STRIDES, _TENSOR_BYTES = 8, 16, 24, 32, 48
_CPU = 1
# DLPackExchangeAPI: its major version, and the place of ``dltensor_from_py_object_no_sync``.
_DLPACK, _DESCRIBE = 1, 5

_FASTCALL = 0x0080  # METH_FASTCALL: an array of arguments, and how many they are


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    ]


_METHODS: list[_Method] = []  # kept for ever: what Python makes of one points into it


@lru_cache(maxsize=1)
def entry() -> Callable[..., int]:
    """``enter(record, input, weight, bias, output, scratch)``: runs all units of the record's stage; gives 0.

    All are addresses; ``bias`` is 0 where there is none, and then the record's own is taken. Without ``scratch`` there
    are ``STACK_BYTES`` of it. Other Python threads run while the stage does.
    """
    code = Code()
    with code.function("enter", "ptr", "ptr", "i64", result="ptr") as (_, arguments, count):
        stack = code.op(f"alloca [{STACK_BYTES} x i8], align 64")
        place = code.op("alloca i64")
        code.store("i64", code.op(f"ptrtoint ptr {stack} to i64"), place)
        with code.when(code.test("sgt", count, len(_ARGUMENTS))):
            code.store("i64", _number(code, code.load("ptr", arguments, 8 * len(_ARGUMENTS))), place)
        scratch_at = code.load("i64", place)
        a = {name: _number(code, code.load("ptr", arguments, 8 * i)) for i, name in enumerate(_ARGUMENTS)}
        r = code.words(code.pointer(a["record"]), RECORD)
        given = code.test("ne", a["bias"], 0)
        values = {
            "program": r["program"],
            "input": a["input"],
            "weight": a["weight"],
            "bias": code.op(f"select i1 {given}, i64 {a['bias']}, i64 {r['bias']}"),
            "bias_step": code.op(f"select i1 {given}, i64 {r['bias_step']}, i64 0"),
            "output": a["output"],
            "kernels": r["kernels"],
            "shared": scratch_at,
        }
        context = code.op(f"alloca [{len(CONTEXT)} x i64]")
        for name, index in CONTEXT.items():
            code.store("i64", values[name], context, 8 * index)
        scratch, stage = code.pointer(scratch_at), code.pointer(r["stage"])
        thread = code.op(f"call ptr {_python(code, 'PyEval_SaveThread')}()")
        code.call(stage, f"ptr {context}", "i64 0", f"i64 {r['units']}", f"ptr {scratch}")
        code.call(_python(code, "PyEval_RestoreThread"), f"ptr {thread}")
        zero = code.op(f"call ptr {_python(code, 'PyLong_FromLongLong')}(i64 0)")
        code.do(f"ret ptr {zero}")
    enter: Callable[..., int] = _function("enter", code)
    return enter


@lru_cache(maxsize=1)
def looker(capsule: Any) -> Callable[..., bytes]:
    """``look(*tensors)``: dtype, shape and strides of each, one behind another; nothing if one has no memory here.

    Args:
        capsule: ``__dlpack_c_exchange_api__`` of the tensors' type. What is looked at must be of that type or derived.

    ``look`` takes at most three tensors. It gives no bytes where one has more than five axes, lies on another device or
    has no strides, and none at all if DLPack's version is another one. Whether a tensor is to be negated or conjugated
    as it is read, DLPack does not say.
    """
    find = ctypes.pythonapi.PyCapsule_GetPointer
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = find(capsule, b"dlpack_exchange_api")
    if ctypes.c_uint32.from_address(table).value != _DLPACK:
        return lambda *tensors: b""
    describe = (ctypes.c_int64 * (_DESCRIBE + 1)).from_address(table)[_DESCRIBE]
    code = Code()
    with code.function("look", "ptr", "ptr", "i64", result="ptr") as (_, tensors, count):
        tensor = code.op(f"alloca [{_TENSOR_BYTES // 8} x i64]")
        key = code.op(f"alloca [{MOST_TENSORS * (1 + 2 * MOST_AXES)} x i64]")
        state = code.op("alloca [1 x i64]")  # bytes of the key so far; negative if there is none
        code.store("i64", 0, state)
        with code.loop(0, count) as loop:
            x = code.load("ptr", code.at(tensors, code.mul(loop.index, 8)))
            failed = code.op(f"call i32 {code.pointer(describe)}(ptr {x}, ptr {tensor})")
            device = code.load("i32", tensor, _DEVICE, 4)
            axes = code.op(f"sext i32 {code.load('i32', tensor, _KIND, 4)} to i64")
            here = code.op(f"icmp eq i32 {device}, {_CPU}")
            few = code.test("ule", axes, MOST_AXES)
            strided = code.op(f"icmp ne ptr {code.load('ptr', tensor, _STRIDES)}, null")
            fine = code.op(f"and i1 {here}, {few}")
            fine = code.op(f"and i1 {fine}, {strided}")
            fine = code.op(f"and i1 {fine}, {code.op(f'icmp eq i32 {failed}, 0')}")
            with code.when(code.negated(fine)):
                code.store("i64", -(1 << 32), state)
            length = code.load("i64", state)
            with code.when(code.test("sge", length, 0)):
                place = code.at(key, length)
                code.store("i64", code.load("i64", tensor, _KIND), place)
                shape, strides = (code.load("ptr", tensor, at) for at in (_SHAPE, _STRIDES))
                with code.loop(0, axes) as axis:
                    word = code.mul(axis.index, 8)
                    pair = code.at(place, code.mul(axis.index, 16))
                    code.store("i64", code.load("i64", code.at(shape, word)), pair, 8)
                    code.store("i64", code.load("i64", code.at(strides, word)), pair, 16)
                code.store("i64", code.add(code.add(length, 8), code.mul(axes, 16)), state)
        length = code.load("i64", state)
        with code.when(code.test("slt", length, 0)):
            code.call(_python(code, "PyErr_Clear"))
        length = code.clamp(length, 0, 8 * MOST_TENSORS * (1 + 2 * MOST_AXES))
        make = _python(code, "PyBytes_FromStringAndSize")
        result = code.op(f"call ptr {make}(ptr {key}, i64 {length})")
        code.do(f"ret ptr {result}")
    look: Callable[..., bytes] = _function("look", code)
    return look


def _number(code: Code, value: str) -> str:
    """A number of Python's that fits into 64 bits."""
    return code.op(f"call i64 {_python(code, 'PyLong_AsLongLong')}(ptr {value})")


def _python(code: Code, name: str) -> str:
    """A function of Python's own."""
    return code.pointer(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0)


def _function(name: str, code: Code) -> Any:
    """A compiled function, to be called from Python."""
    address = compile_code(code, host()).get_function_address(name)
    method = _Method(name.encode(), address, _FASTCALL, None)
    _METHODS.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.POINTER(_Method), ctypes.c_void_p, ctypes.c_void_p)
    return make(method, None, None)
