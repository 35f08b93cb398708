r"""The corpus of reviewed formulas: LaTeX, picture, one-row form, and words.

In `corpus.txt` an entry is `$ LaTeX`, the picture at 76 columns with `|` before each row, the
one-row form behind `=` and the words behind `"`. After a change of the formulas' drawing,
`python -m tests.formula.corpus` writes the file anew: review the difference by eye.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tutor.formula import inline, layout, parse, words

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
    """What a formula looks and sounds like now."""
    formula = parse(latex)
    rows = layout.draw(formula, width=WIDTH).rows
    picture = "\n".join(row.rstrip() for row in rows)
    return Entry(latex, picture, inline.draw_inline(formula).strip(), words.words(formula))


def entries() -> list[Entry]:
    """All entries of the file."""
    blocks = FILE.read_text("utf-8").split("\n\n")
    return [_entry(block) for block in blocks if block.lstrip().startswith("$")]


def _entry(block: str) -> Entry:
    lines = block.strip("\n").split("\n")
    picture = "\n".join(line[1:] for line in lines if line.startswith("|"))
    return Entry(lines[0][2:], picture, lines[-2][2:], lines[-1][2:])


def _written(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        if not block.lstrip().startswith("$"):
            yield block.strip("\n")
            continue
        entry = made(block.strip("\n").split("\n")[0][2:])
        picture = "\n".join(f"|{row}" for row in entry.picture.split("\n"))
        yield f'$ {entry.latex}\n{picture}\n= {entry.row}\n" {entry.words}'


if __name__ == "__main__":
    FILE.write_text("\n\n".join(_written(FILE.read_text("utf-8"))) + "\n", "utf-8")
