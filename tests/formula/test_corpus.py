r"""The corpus of reviewed formulas: LaTeX, picture, one-row form, and words.

In `corpus.txt` an entry is `$ LaTeX`, the picture at 76 columns with `|` before each row, the
one-row form behind `=` where it is not the picture, and the words behind `"`. After a change of
the formulas' drawing, `python -m tests.formula.test_corpus` writes the file anew: review the
difference by eye.

A formula is worth an entry if it has a command, or a combination, that no other entry has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tutor.formula import inline, parse, words
from tutor.formula.picture import draw as draw_picture

FILE = Path(__file__).parent / "corpus.txt"
WIDTH = 76


@dataclass(frozen=True)
class Entry:
    """One formula, and what was found right."""

    latex: str
    picture: str
    row: str
    words: str


def made(latex: str) -> Entry:
    """The entry of a formula as it is drawn and spoken now."""
    formula = parse(latex)
    rows = draw_picture(formula, None, WIDTH, ascii=False).rows
    picture = "\n".join(row.rstrip() for row in rows)
    return Entry(latex, picture, inline.draw_inline(formula).strip(), words.words(formula))


def entries() -> list[Entry]:
    """All entries of the file."""
    blocks = FILE.read_text("utf-8").split("\n\n")
    return [_entry(block) for block in blocks if block.lstrip().startswith("$")]


def _entry(block: str) -> Entry:
    lines = block.strip("\n").split("\n")
    picture = "\n".join(line[1:] for line in lines if line.startswith("|"))
    row = lines[-2][2:] if lines[-2].startswith("=") else picture
    return Entry(lines[0][2:], picture, row, lines[-1][2:])


def _written(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        if not block.lstrip().startswith("$"):
            yield block.strip("\n")
            continue
        entry = made(block.strip("\n").split("\n")[0][2:])
        picture = "\n".join(f"|{row}" for row in entry.picture.split("\n"))
        row = "" if entry.row == entry.picture else f"= {entry.row}\n"
        yield f'$ {entry.latex}\n{picture}\n{row}" {entry.words}'


CORPUS = entries()


def test_each_formula_is_drawn_completely_and_stands_there_once():
    assert len(CORPUS) > 200
    assert len({entry.latex for entry in CORPUS}) == len(CORPUS)
    assert not [entry.latex for entry in CORPUS if parse(entry.latex).unsupported]


def test_each_formula_looks_and_sounds_as_reviewed():
    for entry in CORPUS:
        assert made(entry.latex) == entry


def test_no_sign_is_said_by_a_name_that_is_not_in_words():
    for entry in CORPUS:
        own_words = "".join(re.findall(r"\\text\{([^}]*)\}", entry.latex))
        assert all(c.isascii() or c in own_words for c in entry.words), entry.latex
        assert "full stop" not in entry.words
        assert unicodedata.name("⟨").lower() not in entry.words


if __name__ == "__main__":
    FILE.write_text("\n\n".join(_written(FILE.read_text("utf-8"))) + "\n", "utf-8")
