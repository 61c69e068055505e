"""What a lesson has beside its text: a bar above it, a notebook to download, folded cells' labels in Chinese."""

from __future__ import annotations

import io
import re
from pathlib import Path

import nbformat
from babel.messages.pofile import read_po
from docutils import nodes
from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from sphinx.directives.code import LiteralIncludeReader
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import extract_messages
from translations import CATALOGUES, TRANSLATED

logger = logging.getLogger(__name__)

PROMPTS = {
    "Show a solution": "查看参考答案",
    "Hide the solution": "收起参考答案",
    "Show how the figure is drawn": "查看绘图代码",
    "Hide how the figure is drawn": "收起绘图代码",
}
"""The labels of cells that are folded away; a lesson has no others."""

WORDS_A_MINUTE, LETTERS_A_MINUTE, LINES_A_MINUTE = 200, 400, 40  # English prose; Chinese prose; code
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_FENCE = re.compile(r"^(`{3,}|:{3,})\{(?:py:)?([\w-]+)\}[ ]*(.*?)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"^:([\w-]+):[ ]*(.*)$", re.MULTILINE)


def is_chinese(app):
    """Which of the two sites is being built."""
    return (app.config.language or "").startswith("zh")


# ---- the page -------------------------------------------------------------------------------------------------


def label_in_chinese(app, doctree):
    """The labels of folded cells: no text to gettext, but part of a cell's options."""
    if is_chinese(app):
        for cell in doctree.findall(lambda node: isinstance(node, nodes.Element) and "prompt_show" in node):
            for which in ("prompt_show", "prompt_hide"):
                cell[which] = PROMPTS.get(cell[which], cell[which])


class EverythingIsTranslated(SphinxTransform):
    """Warns where a page and its catalogue are not of the same messages; a warning fails the build."""

    default_priority = 15  # before Sphinx puts the translations in, at 20

    def apply(self):
        page = self.env.docname
        if is_chinese(self.app) and is_translated(page):
            there = {text for node, text in extract_messages(self.document) if not _is_option(node)}
            known = catalogue(page)
            for message in sorted(there - known.keys()):
                logger.warning("no Chinese for %r: make translations", message, location=page)
            for message in sorted(known.keys() - there):
                logger.warning("the page no longer says %r: make translations", message, location=page)


def _is_option(node):
    """Whether it is of the front matter, which Sphinx takes away later, or of a cell, which gettext never sees."""
    return isinstance(node, (nodes.field_name, nodes.image)) or isinstance(node.parent, nodes.field_body)


def is_translated(page):
    """Whether a page is there in Chinese."""
    return any(Path(page).match(pattern) for pattern in TRANSLATED)


def minutes(doctree):
    """How long a page takes to read, from its words and lines of code."""
    code = sum(block.astext().count("\n") + 1 for block in doctree.findall(nodes.literal_block))
    prose = " ".join(text.astext() for text in doctree.findall(nodes.Text) if not _is_code(text))
    letters = len(_CHINESE.findall(prose))
    words = len(_CHINESE.sub(" ", prose).split())
    return max(1, round(words / WORDS_A_MINUTE + letters / LETTERS_A_MINUTE + code / LINES_A_MINUTE))


def _is_code(node):
    return isinstance(node.parent, (nodes.literal_block, nodes.raw)) or (
        node.parent is not None and isinstance(node.parent.parent, nodes.literal_block)
    )


def fill_bar(app, pagename, templatename, context, doctree):
    """What ``_templates/page.html`` shows above each page."""
    chinese = is_chinese(app)
    root = context.get("content_root", "./")
    context["other_language"] = f"{root}../{pagename}.html" if chinese else f"{root}zh/{pagename}.html"
    context["explorer"] = f"{root}explorer.html"
    context["is_chinese"] = chinese
    context["is_translated"] = is_translated(pagename)
    if doctree is not None and pagename.startswith("learn/"):
        context["minutes"] = minutes(doctree)
        context["notebook"] = f"{root}{notebook_path(pagename)}"


class Lessons(SphinxDirective):
    """``lessons``: a list of lessons, each with the question that it answers: lines of ``NN-name: question``."""

    has_content = True

    def run(self):
        items = nodes.enumerated_list(classes=["lessons"])
        for at, line in enumerate(self.content):
            name, _, question = line.partition(": ")
            there = f"learn/{name}" in self.env.found_docs
            text = f"{{doc}}`learn/{name}`" if there else name
            item = nodes.list_item("", *self.parse_text_to_nodes(text, offset=self.content_offset + at))
            item[0]["translatable"] = False  # the title is translated where it stands
            paragraph = nodes.paragraph(question, question)
            self.set_source_info(paragraph)
            items += item
            item += paragraph
        return [items]


# ---- the notebook ---------------------------------------------------------------------------------------------


def notebook_path(pagename):
    """Where a lesson's notebook lies in the site."""
    return f"notebooks/{Path(pagename).name}.ipynb"


def catalogue(pagename):
    """What each message of a page is in Chinese."""
    path = CATALOGUES / f"{pagename}.po"
    messages = read_po(io.BytesIO(path.read_bytes() if path.exists() else b""))
    return {message.id: message.string for message in messages if message.id and message.string and not message.fuzzy}


def notebook(source, translations=None, config=None):
    """A lesson as Jupyter has it: plain Markdown, translated where there are translations, and cells without outputs.

    Args:
        source: the lesson's file.
        translations: by the English message, its Chinese.
        config: Sphinx's, to include code by.
    """
    extensions = {"dollarmath", "colon_fence"}
    book = read_myst_markdown_notebook(source.read_text("utf-8"), config=MdParserConfig(enable_extensions=extensions))
    book.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, cell in enumerate(book.cells, 1):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "markdown":
            cell.source = _plain(_translated(cell.source, translations or {}), source, config)
        elif tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
    book.nbformat, book.nbformat_minor = 4, 5
    nbformat.validate(book)
    return book


def _translated(text, translations):
    """Markdown with each message that stands in it replaced by its translation, the longest first."""
    found = []
    for message in sorted(translations, key=len, reverse=True):
        pattern = r"(?<![^\s|>])" + r"\s+".join(map(re.escape, message.split())) + r"(?![^\s|])"
        text, count = re.subn(pattern, f"\x00{len(found)}\x00", text)
        if count:
            found.append(translations[message])
    return re.sub(r"\x00(\d+)\x00", lambda match: found[int(match[1])], text)


def _plain(text, source, config):
    """MyST without what only Sphinx understands: included code is written out, notes become quotations."""

    def block(match):
        _, name, argument, body = match.groups()
        if name == "literalinclude":
            options = dict(_OPTION.findall(body))
            if "dedent" in options:  # a number, or nothing for as much as there is
                options["dedent"] = int(options["dedent"]) if options["dedent"] else None
            reader = LiteralIncludeReader(str((source.parent / argument).resolve()), options, config)
            return f"```{options.get('language', 'python')}\n{reader.read()[0].rstrip()}\n```"
        body = _OPTION.sub("", body).strip()
        return "\n".join(f"> {line}".rstrip() for line in [f"**{argument}**"] * bool(argument) + body.split("\n"))

    text = _FENCE.sub(block, text)
    text = re.sub(r"\[([^\]]*)\]\(<?explorer:[^)]*\)", r"\1", text)  # a notebook has no such page beside it
    text = re.sub(r"\]\((?![a-z]+:)([\w./-]+)\.md(#[\w-]+)?\)", r"](\1.ipynb)", text)
    return re.sub(r"\{[\w:-]+\}`~?(?:([^`<]*?)\s*<[^`]*>|([^`]*))`", lambda m: m[1] or f"`{m[2]}`", text)


def write_notebooks(app, exception):
    """Every lesson's notebook beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    for pagename in sorted(page for page in app.env.found_docs if page.startswith("learn/")):
        translations = catalogue(pagename) if is_chinese(app) else None
        target = Path(app.outdir) / notebook_path(pagename)
        target.parent.mkdir(exist_ok=True)
        nbformat.write(notebook(Path(app.env.doc2path(pagename)), translations, app.config), target)


def setup(app):
    """Sphinx's entry point."""
    app.connect("doctree-read", label_in_chinese)
    app.add_directive("lessons", Lessons)
    app.add_transform(EverythingIsTranslated)
    app.connect("html-page-context", fill_bar)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True}
