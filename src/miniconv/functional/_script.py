"""What torch.jit.script is told about miniconv's functions and modules.

It looks for ``__prepare_scriptable__`` on whatever it is about to compile; an attribute of a function costs a call
nothing.
"""

from __future__ import annotations

from typing import NoReturn

__all__ = ["refuse_script"]


def refuse_script(name: str) -> NoReturn:
    """One clear error in place of whatever torch.jit.script would first stumble over."""
    raise RuntimeError(
        f"torch.jit.script cannot compile miniconv's {name}; use torch.compile, torch.export or torch.jit.trace"
    )
