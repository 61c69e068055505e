"""How the site is built: `make docs`; every warning is an error."""

from __future__ import annotations

import re
import sys
from importlib import import_module, metadata
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.transforms import SphinxTransform

sys.path.insert(0, str(Path(__file__).parent))  # names_table and its neighbours

project = "miniconv"
author = "The miniconv authors"
copyright = author
release = metadata.version("miniconv")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode",
    "names_table", "results_tables", "lessons", "explorer_page", "chinese_search",
]  # fmt: skip
exclude_patterns = ["_build", "jupyter_execute"]
locale_dirs = ["locale"]
gettext_compact = False
gettext_location = False
html_theme = "furo"
html_math_renderer = "mathml"
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
html_title = f"miniconv {release}"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_favicon = "_static/window.svg"
html_css_files = ["site.css"]

# Lessons run at every build, so that no number in them can be out of date.
# `make docs` empties the cache first; the site in Chinese, built second, takes from it what the one in English ran.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "executed")
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto", "explorer"]

default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Array": "Array", "Tensor": "Tensor"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Numerics", "Cost", "Shape", "Source"]


def escape_markup(app, what, name, obj, options, lines):
    """Docstrings write (N, C_in, *input_size) and |x| as mathematics does; to Sphinx both would be markup."""
    in_example = in_math = False
    for at, line in enumerate(lines):
        bare = line.strip()
        in_example = bare.startswith(">>>") or (in_example and bool(bare))
        in_math = bare.startswith(".. math::") or (in_math and (not bare or line.startswith("    ")))
        in_formula = what == "module" and line.startswith("    ")
        if in_example or in_math or in_formula or bare.startswith(".."):
            continue
        pieces = re.split(r"(``.*?``|:\w+:`.*?`|`[^`]*`)", line)
        # the even pieces lie outside of code; a `**name` of Napoleon's own comes escaped already
        pieces[::2] = [re.sub(r"(?<![\\*])([*|])(?=[\w(])|(?<=\w)(\|)", r"\\\1\2", piece) for piece in pieces[::2]]
        lines[at] = "".join(pieces)
    if what in ("attribute", "data", "property"):
        lines[0] = f": {lines[0]}"  # an empty type, else Napoleon takes what stands before a colon for one


def show_formulas_as_written(app, what, name, obj, options, lines):
    """What a module's docstring indents is a formula, line by line; to Sphinx it would be a quotation."""
    if what == "module":
        for at in range(len(lines) - 1, 1, -1):
            if lines[at].startswith("    ") and not lines[at - 1].strip() and lines[at - 2][:1] not in ("", " ", "-"):
                lines[at:at] = ["::", ""]


def is_noise(app, what, name, obj, skip, options):
    """Python itself documents a named tuple's fields as "Alias for field number 0"; the class says it better."""
    return skip or (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")


def is_handed_through(app, what, name, obj, skip, options):
    """torch's own objects are torch's to document: the page of names says which they are."""
    own = getattr(import_module(app.env.temp_data["autodoc:module"]), "OWN", None) if what == "module" else None
    return True if own is not None and name not in (*own, "OWN") else None


def write_math(writer, node):
    """A formula as MathML, which browsers draw by themselves: the site works without a network."""
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if block else "inline")
    writer.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


class FormulasStay(SphinxTransform):
    """Formulas that stand alone read the same in every language: they are no message for translators."""

    default_priority = 5  # before Sphinx marks what is to be translated, at 10

    def apply(self):
        for formula in self.document.findall(nodes.math_block):
            formula["translatable"] = False


def setup(app):
    """Sphinx's entry point."""
    app.add_transform(FormulasStay)
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("autodoc-skip-member", is_handed_through, priority=400)
    app.connect("autodoc-skip-member", is_noise)
    app.connect("autodoc-process-docstring", show_formulas_as_written, priority=400)
    app.connect("autodoc-process-docstring", escape_markup, priority=400)  # before Napoleon adds markup of its own
