"""``make translations``: what the pages say goes into the catalogues of the Chinese site, what they do not goes out.

The catalogues are docs/locale/zh_CN/LC_MESSAGES/*.po, one for each page of ``TRANSLATED``. A sentence that has changed
keeps its old translation under the mark ``fuzzy`` until somebody has looked at it: tests/unit/test_translations.py
wants neither an empty nor a fuzzy one.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
LANGUAGE = "zh_CN"
CATALOGUES = HERE / "locale" / LANGUAGE / "LC_MESSAGES"
TRANSLATED = ("index", "learn/*")
"""The pages that are there in Chinese too, as patterns of their names; the others are English in both sites."""


HEADER = r"""# The Chinese of the page of the same name; `make translations` keeps it up to date.
msgid ""
msgstr ""
"Language: zh_CN\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""


def extract(folder):
    """Everything that the pages say, as Sphinx's gettext builder writes it: .pot files; nothing is executed."""
    options = ["-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer", "-q", "-b", "gettext"]
    subprocess.run([sys.executable, "-m", "sphinx", *options, str(HERE), str(folder)], check=True)


def update(template, catalogue):
    """Brings one .po file up to date with one .pot file; gives the messages that wait for a translator."""
    wanted = read_po(io.BytesIO(template.read_bytes()), locale=LANGUAGE)
    known = read_po(io.BytesIO(catalogue.read_bytes() if catalogue.exists() else b""), locale=LANGUAGE)
    known.update(wanted)
    known.obsolete.clear()
    for message in known:
        message.locations, message.auto_comments, message.flags = [], [], message.flags & {"fuzzy"}
    text = io.BytesIO()
    write_po(text, known, width=110, omit_header=True)
    catalogue.parent.mkdir(parents=True, exist_ok=True)
    catalogue.write_text(HEADER + text.getvalue().decode("utf-8").lstrip(), encoding="utf-8")
    return [message for message in known if message.id and (not message.string or message.fuzzy)]


def main():
    """The command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(folder)
        for pattern in TRANSLATED:
            for template in sorted(folder.glob(f"{pattern}.pot")):
                page = template.relative_to(folder).with_suffix("")
                waiting = update(template, CATALOGUES / page.with_suffix(".po"))
                print(f"{page}: {len(waiting) or 'nothing'} to translate")


if __name__ == "__main__":
    main()
