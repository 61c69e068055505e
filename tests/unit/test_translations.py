"""The Chinese of the lessons: complete, looked at, and with the same code, formulas and links as the English."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

pofile = pytest.importorskip("babel.messages.pofile")

DOCS = Path(__file__).parents[2] / "docs"
CATALOGUES = DOCS / "locale" / "zh_CN" / "LC_MESSAGES"
PAGES = ["index", *(f"learn/{path.stem}" for path in sorted((DOCS / "learn").glob("*.md")))]
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SPANS = (r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", r"\$[^$]+\$", r"\]\([^)]*\)", r"\{[\w:]+\}(?=`)", r"https?://[^\s)>]+")
_NUMBERS = r"(?<![\w.])\d[\d,]*(?:\.\d+)?"


def messages(page):
    with (CATALOGUES / f"{page}.po").open("rb") as file:
        return pofile.read_po(file, locale="zh_CN")


def spans(text):
    """Code, formulas, links and roles, each with how often it is there."""
    found = Counter()
    for pattern in _SPANS:
        found.update(match[0] for match in re.finditer(pattern, text))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_message_is_translated(page):
    catalogue = messages(page)
    assert not [message.id for message in catalogue if message.id and not message.string]
    assert not [message.id for message in catalogue if message.id and message.fuzzy]
    assert not list(catalogue.obsolete)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_no_prose_is_the_same(page):
    for message in messages(page):
        assert spans(message.string) == spans(message.id), message.id


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_chinese(page):
    for message in messages(page):
        prose = re.sub("|".join(f"(?:{pattern})" for pattern in _SPANS[1:]), "", re.sub(_SPANS[0], "", message.id))
        if len(re.findall(r"[A-Za-z]{2,}", prose)) > 3:
            assert _CHINESE.search(message.string), message.id
        assert not re.search(r"[\u4e00-\u9fff][,;:?!]", message.string), f"half-width punctuation: {message.string}"


def test_there_is_a_catalogue_for_each_page_and_no_other():
    there = {path.relative_to(CATALOGUES).with_suffix("").as_posix() for path in CATALOGUES.rglob("*.po")}
    assert there - {"sphinx"} == set(PAGES)
