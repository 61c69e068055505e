"""Search in Chinese without a dictionary: what is indexed, and what is looked for, are pairs of neighbouring letters.

Sphinx cuts Chinese into words with a package of its own, and its page then looks for the whole query as one word.
"""

from __future__ import annotations

import re

from sphinx.search.zh import SearchChinese

_CHINESE = re.compile(r"[\u4e00-\u9fff]+")


def pairs(text):
    """Each run of Chinese letters as its pairs, and its letters one by one.

    >>> pairs("a 卷积核")
    ['卷积', '积核', '卷', '积', '核']
    """
    runs = _CHINESE.findall(text)
    return [run[at : at + 2] for run in runs for at in range(len(run) - 1)] + [letter for run in runs for letter in run]


class Pairs(SearchChinese):
    """Chinese for Sphinx's index and for its page."""

    language_name = "English"  # of the stemmer that the page loads, for the Latin words
    js_splitter_code = r"""
function splitQuery(query) {
  const words = [];
  for (const part of query.match(/[\u4e00-\u9fff]+|[\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu) ?? []) {
    for (const run of part.match(/[\u4e00-\u9fff]+|[^\u4e00-\u9fff]+/gu)) {
      if (/[^\u4e00-\u9fff]/.test(run) || run.length < 2) words.push(run);
      else for (let at = 0; at + 2 <= run.length; at += 1) words.push(run.slice(at, at + 2));
    }
  }
  return words;
}
"""

    def split(self, input):
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        return pairs(input) + latin

    def word_filter(self, stemmed_word):
        return bool(_CHINESE.match(stemmed_word)) or super().word_filter(stemmed_word)


def setup(app):
    """Sphinx's entry point."""
    app.add_search_language(Pairs)
    return {"parallel_read_safe": True}
