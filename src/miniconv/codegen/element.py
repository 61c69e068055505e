"""What a kernel computes with: elements, vectors of them, and what is done to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miniconv.codegen.emit import Code, Value
from miniconv.codegen.target import Target

__all__ = ["Element"]


@dataclass(frozen=True)
class Element:
    """What a kernel computes with: an element type, and vectors of it.

    Attributes:
        type: LLVM's name, "float" or "double".
        bytes: its size.
        lanes: elements in a vector.
    """

    type: str
    bytes: int
    lanes: int

    @classmethod
    def of(cls, dtype: str, target: Target) -> Element:
        """The element of float32 or float64 on ``target``."""
        type_, size = {"float32": ("float", 4), "float64": ("double", 8)}[dtype]
        return cls(type_, size, target.lanes(size))

    @property
    def vector(self) -> str:
        """LLVM's name of the vector."""
        return f"<{self.lanes} x {self.type}>"

    def splat(self, code: Code, scalar: str) -> str:
        """A vector of one number."""
        one = code.op(f"insertelement {self.vector} poison, {self.type} {scalar}, i32 0")
        return code.op(f"shufflevector {self.vector} {one}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer")

    def mask(self, code: Code, count: Value) -> str:
        """Which lanes come before ``count``."""
        lanes = f"<{self.lanes} x i64>"
        one = code.op(f"insertelement {lanes} poison, i64 {count}, i32 0")
        limit = code.op(f"shufflevector {lanes} {one}, {lanes} poison, <{self.lanes} x i32> zeroinitializer")
        numbers = ", ".join(f"i64 {lane}" for lane in range(self.lanes))
        return code.op(f"icmp slt {lanes} <{numbers}>, {limit}")

    def load_some(self, code: Code, mask: str, pointer: Value, distance: Value = 0) -> str:
        """The lanes of ``mask``; the memory of the others is not touched."""
        name, at = f"@llvm.masked.load.{self._suffix}.p0", code.at(pointer, distance)
        some = f"<{self.lanes} x i1>"
        code.declare(name, f"{self.vector} {name}(ptr, i32, {some}, {self.vector})")
        return code.op(
            f"call {self.vector} {name}(ptr {at}, i32 {self.bytes}, {some} {mask}, {self.vector} zeroinitializer)"
        )

    def store_some(self, code: Code, mask: str, value: Value, pointer: Value, distance: Value = 0) -> None:
        """Store the lanes of ``mask``."""
        name, at = f"@llvm.masked.store.{self._suffix}.p0", code.at(pointer, distance)
        some = f"<{self.lanes} x i1>"
        code.declare(name, f"void {name}({self.vector}, ptr, i32, {some})")
        code.call(name, f"{self.vector} {value}", f"ptr {at}", f"i32 {self.bytes}", f"{some} {mask}")

    def zeros(self, code: Code, pointer: Value, size: Value) -> None:
        """Zeros in whole vectors, at least ``size`` bytes of them."""
        with code.loop(0, size, self.bytes * self.lanes) as loop:
            code.store(self.vector, "zeroinitializer", pointer, loop.index, self.bytes)

    def interleaved(self, code: Code, *rows: str) -> list[str]:
        """``a[0], b[0], ..., a[1], b[1], ...``: as many vectors as there are."""
        count, lanes = len(rows), self.lanes
        if count > 2 and count % 2 == 0:
            pairs = [self.interleaved(code, *pair) for pair in zip(rows, rows[count // 2 :])]
            return [vector for side in zip(*pairs) for vector in self.interleaved(code, *side)]
        places = [divmod(place, count) for place in range(count * lanes)]  # lane of a row, and which row
        vectors = []
        for begin in range(0, count * lanes, lanes):
            vector = rows[0]
            for number, row in enumerate(rows[1:], 1):
                order = [
                    lane + lanes if at == number else lane if number == 1 and at == 0 else i
                    for i, (lane, at) in enumerate(places[begin : begin + lanes])
                ]
                vector = self.shuffled(code, vector, row, order)
            vectors.append(vector)
        return vectors

    def every_second(self, code: Code, a: str, b: str) -> list[str]:
        """The even lanes of ``a`` and ``b``, and the odd ones."""
        return [self.shuffled(code, a, b, range(first, 2 * self.lanes, 2)) for first in (0, 1)]

    def shuffled(self, code: Code, a: str, b: str, order: Sequence[int]) -> str:
        """A vector of these elements of ``a`` followed by ``b``."""
        numbers = ", ".join(f"i32 {i}" for i in order)
        return code.op(f"shufflevector {self.vector} {a}, {self.vector} {b}, <{self.lanes} x i32> <{numbers}>")

    def transposed(self, code: Code, rows: list[str]) -> list[str]:
        """As many vectors as lanes, columns for rows: blocks of 1, 2, 4 ... lanes change places across the diagonal."""
        rows = list(rows)
        for size in (1 << bit for bit in range(self.lanes.bit_length() - 1)):
            low = [i if not i & size else self.lanes + i - size for i in range(self.lanes)]
            high = [i + size if not i & size else self.lanes + i for i in range(self.lanes)]
            for i in (i for i in range(self.lanes) if not i & size):
                rows[i], rows[i + size] = (self.shuffled(code, rows[i], rows[i + size], order) for order in (low, high))
        return rows

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}f{8 * self.bytes}"

    def multiply_add(self, code: Code, a: str, b: str, c: Value) -> str:
        """``a * b + c``, fused where the processor can."""
        name = f"@llvm.fmuladd.{self._suffix}"
        code.declare(name, f"{self.vector} {name}({self.vector}, {self.vector}, {self.vector})")
        return code.op(f"call {self.vector} {name}({self.vector} {a}, {self.vector} {b}, {self.vector} {c})")
