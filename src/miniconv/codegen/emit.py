"""Writes the text of LLVM IR: values, memory, loops and conditions. What is computed is said in ``kernels``.

A value is its IR text: a name such as ``%7``, or a number. Integers are 64 bits wide, and arithmetic on two known
numbers is done here. Distances are bytes, so a pointer is advanced by ``at``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Code", "Loop"]

Value = str | int


class Loop:
    """A loop while its body is written: ``index``, and ``values`` that are carried from one turn to the next.

    The body assigns ``next``; after the loop, ``values`` are the last ones.
    """

    def __init__(self, index: str, values: list[str]) -> None:
        self.index, self.values, self.next = index, values, list[Value](values)


class Code:
    """The text of a module, written line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._declared: dict[str, str] = {}
        self._names = 0
        self._block = ""

    def text(self) -> str:
        """The module."""
        return "\n".join([*self._declared.values(), *self._lines, ""])

    @contextmanager
    def function(self, name: str, *arguments: str, internal: bool = False, result: str = "void") -> Iterator[list[str]]:
        """A function; ``arguments`` are types, and what is yielded are their values.

        Its body ends with a ``ret`` of its own if it has a result, which is a type.
        """
        values = [f"%a{i}" for i in range(len(arguments))]
        # the kernels never hand the same memory to two arguments of which one is written
        texts = (f"{t}{' noalias' * (t == 'ptr')} {value}" for t, value in zip(arguments, values))
        linkage = "internal " if internal else ""
        self._lines.append(f"define {linkage}{result} @{name}({', '.join(texts)}) nounwind {{")
        self._label("entry")
        yield values
        self._lines += ["  ret void"] * (result == "void") + ["}", ""]

    def declare(self, name: str, declaration: str) -> str:
        """Note an outside function; its name."""
        self._declared[name] = f"declare {declaration}"
        return name

    def op(self, text: str) -> str:
        """A new value: the result of an instruction."""
        self._names += 1
        self._lines.append(f"  %v{self._names} = {text}")
        return f"%v{self._names}"

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self._lines.append(f"  {text}")

    def call(self, function: Value, *arguments: str) -> None:
        """Call a function without a result; every argument with its type."""
        self.do(f"call void {function}({', '.join(arguments)})")

    def add(self, a: Value, b: Value) -> Value:
        """``a + b``."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return a if b == 0 else b if a == 0 else self.op(f"add i64 {a}, {b}")

    def sub(self, a: Value, b: Value) -> Value:
        """``a - b``."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.op(f"sub i64 {a}, {b}")

    def mul(self, a: Value, b: Value) -> Value:
        """``a * b``."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return a if b == 1 else b if a == 1 else self.op(f"mul i64 {a}, {b}")

    def divided(self, a: Value, b: Value) -> str:
        """``a // b`` of numbers that are not negative."""
        return self.op(f"udiv i64 {a}, {b}")

    def rest(self, a: Value, b: Value) -> str:
        """``a % b`` of numbers that are not negative."""
        return self.op(f"urem i64 {a}, {b}")

    def least(self, a: Value, b: Value) -> str:
        """``min(a, b)``."""
        return self.op(f"call i64 @{self.declare('llvm.smin.i64', 'i64 @llvm.smin.i64(i64, i64)')}(i64 {a}, i64 {b})")

    def clamp(self, a: Value, low: Value, high: Value) -> str:
        """``min(max(a, low), high)``."""
        name = self.declare("llvm.smax.i64", "i64 @llvm.smax.i64(i64, i64)")
        return self.least(self.op(f"call i64 @{name}(i64 {a}, i64 {low})"), high)

    def test(self, relation: str, a: Value, b: Value) -> str:
        """Whether ``a relation b``; the relation in LLVM's letters (slt, eq, ...)."""
        return self.op(f"icmp {relation} i64 {a}, {b}")

    def at(self, pointer: Value, distance: Value) -> str:
        """The pointer so many bytes further."""
        return str(pointer) if distance == 0 else self.op(f"getelementptr i8, ptr {pointer}, i64 {distance}")

    def load(self, type_: str, pointer: Value, distance: Value = 0, align: int = 8) -> str:
        """What lies there."""
        return self.op(f"load {type_}, ptr {self.at(pointer, distance)}, align {align}")

    def store(self, type_: str, value: Value, pointer: Value, distance: Value = 0, align: int = 8) -> None:
        """Put it there."""
        self.do(f"store {type_} {value}, ptr {self.at(pointer, distance)}, align {align}")

    def prefetch(self, pointer: Value) -> None:
        """Bring what lies there near, soon; the address may be anything."""
        name = self.declare("@llvm.prefetch.p0", "void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.call(name, f"ptr {pointer}", "i32 0", "i32 3", "i32 1")  # to read, as near as can be, data

    def pointer(self, address: Value) -> str:
        """The memory at an address."""
        return self.op(f"inttoptr i64 {address} to ptr")

    def table(self, program: str, word: Value, index: Value = 0, fields: dict[str, int] | None = None) -> str:
        """The table that begins with that word of the program, or one of its records."""
        return self.at(program, self.mul(self.add(word, self.mul(index, len(fields or ()))), 8))

    def words(self, pointer: Value, fields: dict[str, int]) -> dict[str, str]:
        """A record of 64-bit integers, each loaded."""
        return {name: self.load("i64", pointer, 8 * index) for name, index in fields.items()}

    @contextmanager
    def loop(
        self, start: Value, stop: Value, step: Value = 1, carried: Sequence[tuple[str, Value]] = ()
    ) -> Iterator[Loop]:
        """``for index in range(start, stop, step)``, not at all if the range is empty."""
        self._names += 1
        head, body, done = (f"{part}{self._names}" for part in ("head", "body", "done"))
        before = self._block
        loop = Loop(f"%i{self._names}", [f"%c{self._names}.{i}" for i in range(len(carried))])
        self._jump(head)
        here = len(self._lines)
        self._lines += [""] * (1 + len(carried))  # the phis: what they become is known when the body is
        self._branch(self.test("slt", loop.index, stop), body, done)
        self._label(body)
        yield loop
        following = self.op(f"add i64 {loop.index}, {step}")
        phis: list[tuple[str, str, Value, Value]] = [("i64", loop.index, start, following)]
        phis += [(t, name, first, last) for (t, first), name, last in zip(carried, loop.values, loop.next)]
        for i, (type_, name, first, last) in enumerate(phis):
            self._lines[here + i] = f"  {name} = phi {type_} [{first}, %{before}], [{last}, %{self._block}]"
        self.do(f"br label %{head}")
        self._label(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """``if condition:``."""
        self._names += 1
        then, done = f"then{self._names}", f"end{self._names}"
        self._branch(condition, then, done)
        self._label(then)
        yield
        self._jump(done)

    def negated(self, condition: str) -> str:
        """``not condition``."""
        return self.op(f"xor i1 {condition}, true")

    def _branch(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def _jump(self, label: str) -> None:
        self.do(f"br label %{label}")
        self._label(label)

    def _label(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label
