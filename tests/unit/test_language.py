"""Which language a reader is spoken to in."""

from __future__ import annotations

import string

import pytest

from miniconv.advice import words as of_advice
from miniconv.explain import words as of_explain
from miniconv.language import LANGUAGES, language


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "MINICONV_LANG": "en"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "MINICONV_LANG": ""}, "zh"),
        ({"MINICONV_LANG": "zh-CN"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_environment_decides(monkeypatch, environment, expected):
    for name in ("MINICONV_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_what_is_asked_for_comes_first(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "zh")
    assert language("en") == "en"
    with pytest.raises(ValueError, match="one of en, zh, but got 'fr'"):
        language("fr")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize(
    ("words", "name"), [(words, name) for words in (of_advice, of_explain) for name in words.TEXTS]
)
def test_every_text_is_there_in_every_language(words, name):
    texts = words.TEXTS[name]
    assert set(texts) == set(LANGUAGES)
    assert len({frozenset(placeholders(text)) for text in texts.values()}) == 1
    assert all(text.strip() for text in texts.values())
