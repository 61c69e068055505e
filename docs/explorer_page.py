"""The explorer as a page of the site, and links that open it in a state: ``[text](<explorer:conv2d c1 o1 i7x7 k3x3>)``.

What follows ``explorer:`` is a problem's text, and perhaps more of the page's address: ``&of=input_grad&at=0.0.2.2``.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from docutils import nodes
from sphinx.util import logging

from miniconv import ConvProblem, explorer

SCHEME = "explorer:"
logger = logging.getLogger(__name__)


def address(state):
    """The page with its state, from what a link says.

    >>> address("conv1d c1 o1 i4 k3&at=0.0.1")
    'explorer.html#p=conv1d+n1+c1+o1+i4+k3+float32&at=0.0.1'
    """
    text, _, rest = state.partition("&")
    if not text:
        return "explorer.html"
    problem = ConvProblem.parse(text)
    return "explorer.html#" + urlencode([("p", str(problem)), *parse_qsl(rest, strict_parsing=bool(rest))])


def resolve(app, doctree, docname):
    """Puts the page's address in place of the scheme, seen from the page that links to it."""
    root = "../" * docname.count("/")
    for link in doctree.findall(nodes.reference):
        if link.get("refuri", "").startswith(SCHEME):
            try:
                link["refuri"] = root + address(unquote(link["refuri"].removeprefix(SCHEME)))
            except (ValueError, RuntimeError) as error:
                logger.warning("a link to the explorer: %s", error, location=docname)


def write(app, exception):
    """The page itself, in the site's language."""
    if exception is None and app.builder.format == "html":
        language = "zh" if (app.config.language or "").startswith("zh") else "en"
        page = explorer.page(language=language)
        (Path(app.outdir) / "explorer.html").write_text(page, encoding="utf-8")


def setup(app):
    """Sphinx's entry point."""
    app.connect("doctree-resolved", resolve)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
