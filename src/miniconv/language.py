"""In which language a reader is spoken to: English, or Chinese."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

__all__ = ["LANGUAGES", "Texts", "language", "said_of"]

LANGUAGES = ("en", "zh")
"""What there is: English and simplified Chinese."""

Texts = Mapping[str, Mapping[str, str]]
"""Texts by their names, each in every language; the placeholders of the languages agree."""

_WISHES = ("MINICONV_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def language(asked: str | None = None) -> str:
    """The language to speak.

    Args:
        asked: ``"en"`` or ``"zh"``; None asks the environment: MINICONV_LANG, then LC_ALL, LC_MESSAGES and LANG. The
            first that is set decides; a language that is not there means English.

    Returns:
        ``"en"`` or ``"zh"``.

    Raises:
        ValueError: ``asked`` is none of the two.

    >>> language("zh")
    'zh'
    """
    if asked is not None:
        if asked not in LANGUAGES:
            raise ValueError(f"the language is one of {', '.join(LANGUAGES)}, but got {asked!r}")
        return asked
    wish = next((wish for wish in map(os.environ.get, _WISHES) if wish), "en")
    return "zh" if wish.lower().startswith("zh") else "en"


def said_of(texts: Texts, name: str, language: str, /, **values: Any) -> str:
    """One text in one language, its placeholders filled.

    >>> said_of({"terms": {"en": "{count} terms", "zh": "共 {count} 项"}}, "terms", "zh", count=3)
    '共 3 项'
    """
    return texts[name][language].format(**values)
