"""The directive ``names-table``: which public name of a module of torch is built here, read off the modules."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from sphinx.util.docutils import SphinxDirective


def origin(ours: ModuleType, theirs: ModuleType, name: str) -> str:
    """Who builds ``ours.name``, in a word or two."""
    if name not in ours.OWN:
        assert getattr(ours, name) is getattr(theirs, name)
        return "torch's own"
    if not hasattr(theirs, name):
        return "miniconv; torch has no such name"
    arrays_only = getattr(ours, name).__module__ == "miniconv.functional._plain"
    return "miniconv for arrays; tensors go to torch's own" if arrays_only else "miniconv"


def rows(ours: ModuleType, theirs: ModuleType) -> list[tuple[str, str]]:
    """Every function and class that ``from ours import *`` gives, but for what torch imports for its own use."""
    home = theirs.__name__
    listed = []
    for name in sorted(ours.__all__, key=lambda name: (name.lower(), name)):
        value = getattr(ours, name)
        imported = isinstance(value, type) and not value.__module__.startswith((home, "miniconv"))
        if callable(value) and not imported and not (isinstance(value, ModuleType) or value.__module__ == "typing"):
            listed.append((name, origin(ours, theirs, name)))
    return listed


class NamesTable(SphinxDirective):
    """``.. names-table:: miniconv.functional torch.nn.functional``."""

    required_arguments = 2

    def run(self) -> list:
        ours, theirs = map(import_module, self.arguments)
        listed = rows(ours, theirs)
        here = sum(name in ours.OWN for name, _ in listed)
        lines = [f"{here} of {len(listed)} are built here.", "", ".. list-table::", "   :header-rows: 1", ""]
        lines += ["   * - name", "     - built by"]
        for name, who in listed:
            link = f":py:obj:`~{ours.__name__}.{name}`" if name in ours.OWN else f"``{name}``"
            lines += [f"   * - {link}", f"     - {who}"]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Sphinx's entry point."""
    app.add_directive("names-table", NamesTable)
    return {"parallel_read_safe": True}
