"""What several files of tests share: a browser, and the explorer in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and browser.py is no test
from browser import PROGRAM, Browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab of a headless Chromium."""
    if PROGRAM is None:
        pytest.skip("no browser is installed")
    tab = Browser(tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()


@pytest.fixture
def shown(tab, tmp_path):
    """Opens an explorer; in the end nothing may have been complained of or asked for."""
    from miniconv.explorer import page

    def show(*operands, hash_="", query="?lang=en", width=1280, dark=False, **options):
        (tmp_path / "page.html").write_text(page(*operands, **options), encoding="utf-8")
        tab.screen(width, dark=dark)
        tab.open((tmp_path / "page.html").as_uri() + query + hash_)
        return tab

    tab.requested.clear()
    yield show
    assert tab.errors == []
    assert {re.sub("[:,].*", "", address) for address in tab.requested} <= {"file", "about", "data"}
