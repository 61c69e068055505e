"""The built site: its links, its notebooks, and every kind of page in a real browser, in both languages."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
LESSONS = sorted(path.stem for path in (ROOT / "docs" / "learn").glob("*.md"))
PAGES = ["index", *(f"learn/{name}" for name in LESSONS), "reference/names", "results/support", "results/speed"]
LANGUAGES = {"en": "", "zh": "zh/"}

pytestmark = pytest.mark.skipif(not (SITE / "zh" / "index.html").exists(), reason="the site is not built: make docs")


# ---- links ----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.nameless = [], {"", "top"}, 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.ids.add(has.get("id", ""))
        if tag == "link" and has.get("rel") == "canonical":
            return
        self.links += [has[name] for name in ("href", "src") if has.get(name)]
        self.nameless += tag == "img" and not has.get("alt")


@functools.cache
def page(path):
    return Page(path)


def has(path, fragment):
    """Whether a page has such a place; the explorer's state is none, and is opened below."""
    return path.name == "explorer.html" or unquote(fragment) in page(path).ids


def broken(path):
    """Every link of a page that leads nowhere in the site, or is no address."""
    for link in page(path).links:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"):
            if not re.fullmatch(r"[\w.-]+\.\w+", parts.netloc):
                yield link
        elif (
            parts.scheme not in ("data", "mailto") and "_modules" not in path.parts
        ):  # Sphinx's links back from sources
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (target.suffix == ".html" and not has(target, parts.fragment)):
                yield link


@pytest.mark.parametrize("language", LANGUAGES)
def test_links_lead_somewhere(language):
    pages = [path for path in SITE.rglob("*.html") if (path.relative_to(SITE).parts[0] == "zh") == (language == "zh")]
    assert len(pages) > 50
    assert {str(path.relative_to(SITE)): links for path in pages if (links := sorted(set(broken(path))))} == {}


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_pictures_of_lessons_have_words(language, name):
    assert not page(SITE / LANGUAGES[language] / "learn" / f"{name}.html").nameless


# ---- notebooks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notebook_is_plain(language, name):
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.read(SITE / LANGUAGES[language] / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(book)
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert not re.search(r"^[`:]{3,}\{|\{[\w:-]+\}`|\]\(<?explorer:|\.md[)#]", prose, re.MULTILINE)
    assert bool(re.search(r"[\u4e00-\u9fff]", prose)) == (language == "zh")
    if language == "zh":
        english = [
            line for line in re.sub(r"```.*?```|\$\$.*?\$\$", "", prose, flags=re.DOTALL).splitlines() if len(line) > 60
        ]
        assert [line for line in english if not re.search(r"[\u4e00-\u9fff]", line)] == []
    assert any(cell.cell_type == "code" for cell in book.cells)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notebook_runs(language):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    book = nbformat.read(SITE / LANGUAGES[language] / "notebooks" / f"{LESSONS[0]}.ipynb", as_version=4)
    done = nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    said = [output.data["text/plain"] for cell in done.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("All 24 calls are right." in text for text in said)


# ---- in a browser ---------------------------------------------------------------------------------------------


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves the site and writes no log."""

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def address():
    """The site, as a server gives it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(tab):
    """The tab that files of tests share, with nothing noted yet."""
    tab.errors.clear()
    tab.requested.clear()
    return tab


def quiet(browser, address):
    """Nothing was said on the console, and nothing asked for elsewhere."""
    theirs = "Changed to "  # the theme says on the console which colours it has chosen
    assert [said for said in browser.errors if theirs not in said] == []
    assert [url for url in browser.requested if not url.startswith((address, "about:", "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_fit(browser, address, language, width):
    for name in PAGES:
        browser.screen(width)
        browser.open(f"{address}{LANGUAGES[language]}{name}.html")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert browser.run("document.documentElement.lang.slice(0, 2)") == language
    quiet(browser, address)


@pytest.mark.parametrize("name", ["index", f"learn/{LESSONS[0]}", "reference/names", "search", "genindex"])
def test_the_language_can_be_switched(browser, address, name):
    browser.screen(1280)
    browser.open(f"{address}{name}.html")
    there = browser.run("document.querySelector('.page-bar .language').href")
    assert there == f"{address}zh/{name}.html"
    browser.open(there)
    assert browser.run("document.documentElement.lang.slice(0, 2)") == "zh"
    assert browser.run("document.querySelector('.page-bar .language').href") == f"{address}{name}.html"
    english_only = browser.run("document.querySelector('.page-bar').textContent.includes('本页只有英文版')")
    assert english_only == (not name.startswith(("index", "learn/")))
    quiet(browser, address)


@pytest.mark.parametrize("language", LANGUAGES)
def test_dark_mode(browser, address, language):
    def lightness():
        colour = browser.run("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    seen = {}
    for dark in (False, True):
        browser.screen(1280, dark=dark)
        browser.open(f"{address}{LANGUAGES[language]}learn/{LESSONS[0]}.html")
        browser.run("localStorage.clear()")
        browser.open(f"{address}{LANGUAGES[language]}learn/{LESSONS[0]}.html")
        seen[dark] = lightness()
    assert seen[False] > 200
    assert seen[True] < 60
    browser.run("document.querySelector('.theme-toggle-content .theme-toggle').click()")
    assert lightness() > 200  # against the system's dark, light comes first
    browser.run("localStorage.clear()")
    quiet(browser, address)


@pytest.mark.parametrize(
    ("language", "query", "found"),
    [
        ("en", "window kernel", LESSONS[0]),
        ("zh", "卷积核", LESSONS[0]),
        ("zh", "互相关", LESSONS[0]),
        ("zh", "kernel", ""),
    ],
)
def test_search(browser, address, language, query, found):
    browser.screen(1280)
    browser.open(f"{address}{LANGUAGES[language]}search.html?q={query}")
    results = "Array.from(document.querySelectorAll('#search-results ul.search a'), link => link.href)"
    ready = (
        f"new Promise(done => {{const poll = () => {results}.length ? done({results}) : setTimeout(poll, 50); poll()}})"
    )
    links = browser.run(f"Promise.race([{ready}, new Promise(done => setTimeout(() => done([]), 10000))])")
    assert any(found in link for link in links)
    quiet(browser, address)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_into_the_explorer_opens_its_state(browser, address, language):
    links = {}
    for path in (
        SITE / LANGUAGES[language] / "index.html",
        *sorted((SITE / LANGUAGES[language] / "learn").glob("*.html")),
    ):
        links.update((urlsplit(link).fragment, path.name) for link in page(path).links if "explorer.html" in link)
    assert len(links) > 4
    browser.screen(1280)
    for fragment, name in links.items():
        browser.open(f"{address}{LANGUAGES[language]}explorer.html#{fragment}")
        assert browser.run("document.querySelectorAll('svg').length > 0"), (name, fragment)
        if fragment:
            wanted = unquote(fragment).partition("&")[0].replace("+", " ").removeprefix("p=")
            shown = browser.run("new URLSearchParams(location.hash.slice(1)).get('p')")
            assert shown.replace(" n1 ", " ") == wanted.replace(" n1 ", " "), (name, fragment)
    assert browser.run("document.documentElement.lang.slice(0, 2)") == language
    quiet(browser, address)
