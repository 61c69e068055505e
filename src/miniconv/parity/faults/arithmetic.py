"""Faults of arithmetic: precision, rounding, special numbers, and gradients of a right output."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from miniconv.dtypes import DTYPES
from miniconv.parity.bounds import gamma
from miniconv.parity.cases import COMPLEX_DTYPES, INTEGER_DTYPES
from miniconv.parity.data import Values
from miniconv.parity.faults.forms import (
    Array,
    Fault,
    Fits,
    Setting,
    agrees,
    exact_part,
    ones_like,
    other_operands,
    other_result,
)
from miniconv.parity.verdict import round_to

__all__ = ["ROWS"]

Map = Callable[[Array], Array]


# ---- precision ------------------------------------------------------------------------------------------------


def _to_bits(array: Array, bits: int, how: str) -> Array:
    """``array`` with only ``bits`` significant bits: to nearest even, away from zero, or cut off."""
    if np.iscomplexobj(array):
        return _to_bits(array.real, bits, how) + 1j * _to_bits(array.imag, bits, how)
    mantissa, exponent = np.frexp(array)
    scaled = np.ldexp(mantissa, bits)
    nudge = np.copysign(0.5, scaled) * (how == "away")
    kept = np.rint(scaled) if how == "even" else np.trunc(scaled + nudge)
    result: Array = np.ldexp(kept, exponent - bits)
    return result


def _narrow_operands(bits: int) -> Fits:
    """Input and weight rounded to so many bits before they are multiplied."""

    def change(setting: Setting) -> Iterator[Values]:
        values = setting.values
        if setting.case.dtype not in INTEGER_DTYPES:
            for how in ("even", "away", "cut"):
                input, weight = (_to_bits(array, bits, how) for array in (values.input, values.weight))
                yield values._replace(input=input, weight=weight)

    return other_operands(change)


def _in_float32(setting: Setting, part: str, got: Array) -> bool:
    """A wide result that is one of float32."""
    case = setting.case
    narrow = {"float64": "float32", "complex128": "complex64"}.get(case.dtype)
    if narrow is None or not np.array_equal(got.astype(narrow), got, equal_nan=True):
        return False
    values = Values(*(None if x is None else x.astype(narrow).astype(x.dtype) for x in setting.values))  # type: ignore[arg-type]  # only the bias may be None, and it stays so
    changed = Setting(replace(case, dtype=narrow, data="random"), values)
    return agrees(changed, part, got, exact_part(changed, part))


def _in_float64(setting: Setting, part: str, got: Array) -> bool:
    """Integers summed as float64 and cast back, the largest beyond what an integer holds."""
    if setting.case.dtype != "int64" or part != "output":
        return False
    values = Values(*(None if x is None else x.astype(np.float64) for x in setting.values))  # type: ignore[arg-type]  # only the bias may be None, and it stays so
    exact = exact_part(Setting(replace(setting.case, dtype="float64", data="random"), values), part)
    if exact is None or exact.high[0].shape != got.shape:
        return False
    error = gamma(exact.terms, 2.0**-53) * exact.magnitude()[0] + 1
    outside = abs(exact.high[0]) + error >= 2.0**63
    ends = np.isin(got, (np.iinfo(np.int64).min, np.iinfo(np.int64).max))
    return bool(np.where(outside, ends, abs(got - exact.high[0]) <= error).all())


def _narrower_integers(setting: Setting, part: str, got: Array) -> bool:
    """Integers wrapped, or held at the ends, in a narrower dtype than the result's."""
    exact = exact_part(setting, part) if setting.case.dtype in INTEGER_DTYPES else None
    if exact is None or exact.high[0].shape != got.shape:
        return False
    wide = exact.high[0].astype(np.int64)
    return any(np.array_equal(wide.astype(narrow).astype(np.int64), got) for narrow in ("int8", "int16", "int32"))


def _summed_narrowly(setting: Setting, part: str, got: Array) -> bool:
    """A narrow result whose sums were rounded on the way."""
    if setting.case.dtype not in ("float16", "bfloat16") or setting.kind not in ("direct", "rounded_on_the_way"):
        return False
    loose = setting._replace(case=replace(setting.case, data="random"), kind="rounded_on_the_way")
    return agrees(loose, "output", got, exact_part(loose, part)) if part == "output" else False


def _cut_off(setting: Setting, part: str, got: Array) -> bool:
    """A narrow result rounded towards zero at the end, or away from it in a tie."""
    dtype = setting.case.dtype
    exact = exact_part(setting, part) if dtype in ("float16", "bfloat16") else None
    if exact is None or exact.high[0].shape != got.shape:
        return False
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    return any(np.array_equal(_to_bits(exact.high[0], bits, how), got, equal_nan=True) for how in ("cut", "away"))


def _twice_rounded(dtype: str) -> Fits:
    """The result passed through a narrower dtype."""

    def fits(setting: Setting, part: str, got: Array) -> bool:
        if setting.case.dtype not in ("float32", "float64") or dtype == setting.case.dtype:
            return False
        exact = exact_part(setting, part)
        return exact is not None and exact.high[0].shape == got.shape and np.array_equal(
            round_to(dtype, exact.high)[0], got, equal_nan=True
        )  # fmt: skip

    return fits


def _overlaps_averaged(setting: Setting, part: str, got: Array) -> bool:
    """The sum over taps of a transposed output divided by their number."""
    exact, counts = exact_part(setting, part), ones_like(setting)
    if part != "output" or not setting.case.transposed or exact is None or counts is None:
        return False
    if exact.high.shape[0] != 1 or exact.high[0].shape != got.shape:
        return False
    channels = max(1, setting.case.in_channels // setting.case.groups)
    bias = 0.0 if setting.values.bias is None else setting.values.bias.reshape(-1, *(1,) * len(setting.case.input_size))
    averaged = (exact.high[0] - bias) / np.maximum(counts / channels, 1) + bias
    unit = DTYPES[setting.case.dtype].unit_roundoff
    error = gamma(exact.terms, DTYPES[DTYPES[setting.case.dtype].compute].unit_roundoff or 2.0**-53)
    allowed = 4 * error * exact.magnitude()[0] + unit * abs(averaged)
    return bool((abs(got - averaged) <= allowed).all())


# ---- special numbers ------------------------------------------------------------------------------------------


def _without_nan(setting: Setting, part: str) -> Iterator[Map]:
    """NaN replaced by zero in the result."""
    if setting.case.data == "specials":
        yield lambda array: np.where(np.isnan(array), 0, array)


def _flushed(setting: Setting) -> Iterator[Values]:
    """Subnormal operands taken for zero."""
    normal = {"float64": 2.0**-1022, "complex128": 2.0**-1022, "float16": 2.0**-14}.get(setting.case.dtype, 2.0**-126)
    values = setting.values
    flushed = {
        name: np.where(abs(x) < normal, 0 * x, x) for name, x in (("input", values.input), ("weight", values.weight))
    }
    yield values._replace(**flushed)
    yield values._replace(input=flushed["input"])
    yield values._replace(weight=flushed["weight"])


# ---- gradients ------------------------------------------------------------------------------------------------


def _scaled(setting: Setting, part: str) -> Iterator[Map]:
    """A multiple: doubled, halved, negated, divided by the batch or by the number of positions."""
    batch = setting.case.batch or 1
    positions = max(1, math.prod(setting.case.output_size))
    halves = () if setting.case.dtype in INTEGER_DTYPES else (0.5,)  # an integer half would be none
    yield from (partial(_times, factor=factor) for factor in (2.0, -1.0, *halves))
    numbers = {batch, positions, batch * positions} - {1} if part != "output" else ()
    for number in numbers:
        yield from (
            partial(_times, factor=number),
            partial(_times, factor=1 / number),
            partial(_divided, number=number),
        )


def _divided(array: Array, number: int) -> Array:
    """A quotient; rounded otherwise than the product with the reciprocal."""
    result: Array = array / number if array.dtype.kind in "fc" else array // number
    return result


def _times(array: Array, factor: float) -> Array:
    """A multiple, in the array's own dtype."""
    result: Array = array * np.asarray(factor).astype(array.dtype)
    return result


def _flipped_gradient(setting: Setting, part: str) -> Iterator[Map]:
    """A weight gradient back to front."""
    if part == "weight_grad":
        dims = len(setting.case.kernel_size)
        for count in range(1, dims + 1):
            yield from (partial(np.flip, axis=chosen) for chosen in itertools.combinations(range(-dims, 0), count))


def _of_one_image(setting: Setting, part: str, got: Array) -> bool:
    """A gradient of the weight or the bias that only the first, or the last, image took part in."""
    if part not in ("weight_grad", "bias_grad") or not setting.case.batch or setting.case.batch < 2:
        return False
    for chosen in (0, -1):
        grad = np.zeros_like(setting.values.grad)
        grad[chosen] = setting.values.grad[chosen]
        one = setting._replace(values=setting.values._replace(grad=grad))
        if agrees(one, part, got, exact_part(one, part)):
            return True
    return False


def _not_conjugated(setting: Setting, part: str, got: Array) -> bool:
    """A complex gradient without the conjugate."""
    if setting.case.dtype not in COMPLEX_DTYPES or part not in ("input_grad", "weight_grad"):
        return False
    values = setting.values
    plain = setting._replace(values=values._replace(input=values.input.conj(), weight=values.weight.conj()))
    return agrees(plain, part, got, exact_part(plain, part))


ROWS = (
    Fault("overlaps_averaged", "overlapping taps are averaged, not summed", _overlaps_averaged),
    Fault("computed_in_float32", "the result is computed in float32", _in_float32),
    Fault("computed_in_float64", "64-bit integers are computed in float64", _in_float64),
    Fault("narrower_integers", "integers wrap in a narrower dtype than the result's", _narrower_integers),
    Fault("result_in_float16", "the result is rounded to float16 on its way out", _twice_rounded("float16")),
    Fault("result_in_bfloat16", "the result is rounded to bfloat16 on its way out", _twice_rounded("bfloat16")),
    Fault("operands_in_tf32", "the operands are rounded to 11 bits, as in TF32", _narrow_operands(11)),
    Fault("operands_in_bfloat16", "the operands are rounded to 8 bits, as in bfloat16", _narrow_operands(8)),
    Fault("nan_dropped", "NaN is replaced by zero", other_result(_without_nan)),
    Fault("subnormals_flushed", "subnormal numbers are taken for zero", other_operands(_flushed)),
    Fault("wrong_rounding", "the result is not rounded to the nearest even number", _cut_off),
    Fault("sums_rounded_on_the_way", "sums are rounded to the narrow dtype before they are complete", _summed_narrowly),
    Fault("gradient_of_one_image", "only one image takes part in the gradient", _of_one_image),
    Fault("gradient_flipped", "the weight gradient is flipped", other_result(_flipped_gradient)),
    Fault("gradient_not_conjugated", "the factor of a complex gradient is not conjugated", _not_conjugated),
    Fault("scaled", "the numbers are a multiple of the right ones", other_result(_scaled)),
)
"""The likelier ones first."""
