"""What each dtype is called, accumulates in and rounds to: one table, no branches elsewhere.

A dtype is its name, a string (``"float32"``): NumPy and torch agree on the names, and a string needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPES", "DType"]


@dataclass(frozen=True)
class DType:
    """One row of the table.

    Attributes:
        name: NumPy's and torch's common name.
        compute: name of the dtype that sums are accumulated in; the result is rounded once to ``name``.
        kind: ``"float"``, ``"complex"``, ``"int"`` or ``"object"`` (exact Python numbers such as ``Fraction``).
        unit_roundoff: u of the dtype, half the spacing of the numbers around 1; 0 where arithmetic is exact.
        smallest_subnormal: the smallest positive number; 0 where arithmetic is exact.
        cpp_name: how torch's messages spell it in ``Input type (float) and bias type (double)``.
        scalar_name: how torch's messages spell it in ``expected scalar type Float``.
    """

    name: str
    compute: str
    kind: str
    unit_roundoff: float
    smallest_subnormal: float
    cpp_name: str
    scalar_name: str


def _rows() -> dict[str, DType]:
    half, bfloat, single, double = 2.0**-24, 2.0**-133, 2.0**-149, 2.0**-1074  # smallest subnormals
    rows = [
        DType("float16", "float32", "float", 2.0**-11, half, "c10::Half", "Half"),
        DType("bfloat16", "float32", "float", 2.0**-8, bfloat, "c10::BFloat16", "BFloat16"),
        DType("float32", "float32", "float", 2.0**-24, single, "float", "Float"),
        DType("float64", "float64", "float", 2.0**-53, double, "double", "Double"),
        DType("complex32", "complex64", "complex", 2.0**-11, half, "c10::complex<c10::Half>", "ComplexHalf"),
        DType("complex64", "complex64", "complex", 2.0**-24, single, "c10::complex<float>", "ComplexFloat"),
        DType("complex128", "complex128", "complex", 2.0**-53, double, "c10::complex<double>", "ComplexDouble"),
        DType("uint8", "uint8", "int", 0.0, 0.0, "unsigned char", "Byte"),
        DType("int8", "int8", "int", 0.0, 0.0, "signed char", "Char"),
        DType("int16", "int16", "int", 0.0, 0.0, "short int", "Short"),
        DType("int32", "int32", "int", 0.0, 0.0, "int", "Int"),
        DType("int64", "int64", "int", 0.0, 0.0, "long int", "Long"),
        DType("object", "object", "object", 0.0, 0.0, "object", "Object"),
    ]
    return {row.name: row for row in rows}


DTYPES = _rows()
"""Every dtype that a convolution computes in, by name. Anything else is refused."""
