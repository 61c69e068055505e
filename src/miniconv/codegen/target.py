"""What the code generator must know about a processor: a handful of numbers, and the name that LLVM has for it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RUNS", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A processor to write code for.

    Attributes:
        name: what a person calls it.
        cpu: LLVM's name of the processor; empty for the one that runs this.
        features: LLVM's text of features, added to the processor's own.
        vector_bytes: size of a vector register.
        registers: how many vector registers a tile, its input and one weight may fill.
        l2_bytes: how much packed input may stay near the core.
        triple: LLVM's name of machine and system; empty for the one that runs this.
    """

    name: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    l2_bytes: int = 1 << 20
    triple: str = ""

    def lanes(self, itemsize: int) -> int:
        """How many elements of ``itemsize`` bytes a vector holds."""
        return self.vector_bytes // itemsize


# Those that can be asked for by name. The widest x86 vectors need ",-prefer-256-bit": some processors that have them
# tell LLVM to avoid them. NEON has 32 registers too, but no multiply-add that reads memory: LLVM loads weights ahead,
# and needs three for those, or it moves sums to the stack.
TARGETS = {
    target.name: target
    for target in (
        Target("avx512", "", ",-prefer-256-bit", 64, 32),
        Target("avx2", "haswell", "", 32, 16, 1 << 18),
        Target("x86-64", "x86-64", "", 16, 16, 1 << 18),
        Target("neon", "", "", 16, 29, 1 << 18),
    )
}

# What a processor of each kind can run: its own code, and that of narrower ones of its kind.
RUNS = {
    "avx512": ("avx512", "avx2", "x86-64"),
    "avx2": ("avx2", "x86-64"),
    "x86-64": ("x86-64",),
    "neon": ("neon",),
}
