"""A lesson's Markdown as lines to be said: formulas in words, code as it is written.

Knows markdown-it's tokens; nothing of what a lesson is. Markup that has no words is said as
its source: prose is never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from tutor import formula
from tutor.aloud.voice import Code, Line, in_words
from tutor.aloud.wrapping import is_wide
from tutor.errors import FormulaError
from tutor.formula.model import Formula
from tutor.formula.words import definition, words
from tutor.lesson.markdown import MATH, parser
from tutor.plain import plain

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@cache
def _parser() -> MarkdownIt:
    return parser()


def spoken_prose(markdown: str) -> list[Line]:
    """The paragraphs, a line for each; so are the items of a list and the rows of a table."""
    lines: list[Line] = []
    cells: list[str] | None = None
    numbers: list[int | None] = []
    mark = ""
    for token in _parser().parse(plain(markdown)):
        match token.type:
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1))
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                mark = "" if number is None else f"{number}. "
                numbers[-1] = None if number is None else number + 1
            case "tr_open":
                cells = []
            case "tr_close" if cells is not None:
                lines.append("; ".join(cells))
                cells = None
            case "inline" if cells is not None:
                cells.append(_inline(token))
            case "inline":
                lines += (mark + _inline(token)).split("\n")
                mark = ""
            case "fence" | "code_block":
                lines.append(Code(token.content))
            case "math_block":
                lines.append(spoken_formula(token.content))
            case "html_block":
                lines.append(token.content.strip())
    return lines


def spoken_line(markdown: str) -> str:
    """Short Markdown as one line."""
    said = (line.text if isinstance(line, Code) else line for line in spoken_prose(markdown))
    return " ".join(" ".join(said).split())


def _inline(token: Token) -> str:
    said: list[str] = []
    for child in token.children or []:
        match child.type:
            case "softbreak":
                said.append(" ")
            case "hardbreak":
                said.append("\n")
            case kind if kind in MATH:
                said.append(spoken_formula(child.content, is_inline=True))
            case "text":
                said.append(in_words(child.content))
            case _ if child.nesting == 0:
                said.append(child.content)
    return "".join(said)


def spoken_formula(
    latex: str, values: Mapping[str, str] | None = None, *, is_inline: bool = False
) -> str:
    """A formula in words; one of its own is a sentence. `values`: those of its live boxes."""
    try:
        said = words(formula.parse(latex), values)
    except FormulaError:  # the lesson's check has told it; what was written is still something
        return latex
    return said if is_inline else sentence(said)


def spoken_definition(latex: str) -> str:
    """What a formula says before its values are there; empty if it says nothing else."""
    try:
        parsed: Formula = formula.parse(latex)
    except FormulaError:
        return latex
    return sentence(definition(parsed))


_BEGINNERS = frozenset(["the", "there", "this", "as", "by", "in", "it", "no", "nothing", "left"])
"""Words that begin a sentence and are no names of the lesson's."""

_ENDED = re.compile(r"(?:[.?!:]|[。？！：…][”’」』）》\"']*)\Z")
"""A sentence with an end of its own; in Chinese a closing mark may stand behind it."""


def sentence(text: str) -> str:
    """A text with a full stop, unless it has an end of its own, and a large first letter."""
    first = text.partition(" ")[0]
    text = text[0].upper() + text[1:] if first in _BEGINNERS else text
    if not text or _ENDED.search(text):
        return text
    return f"{text}。" if is_wide(text[-1]) else f"{text}."
