"""A lesson in one mode as a Python script that runs without the tutor.

The lesson's text becomes comments. It is data: no title and no text can end its docstring or its
comment.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from tutor.errors import FormulaError
from tutor.export.code import ExportSettings, OutlinePart, ScriptCode, checked, indented
from tutor.formula import draw, draw_inline, parse
from tutor.lesson.markdown import with_inline_math
from tutor.lesson.model import Block, DisplayFormula, Fence, Lesson, Prose, Section
from tutor.plain import one_line, plain

WIDTH = 92
"""Columns that a comment may take."""

CHANGED = (
    "In the tutor this run was changed on its way. Those changes are not in here: this trains "
    "from the start with the settings below, so its figures are not those of that run."
)

_KEEPS_ITS_LINES = re.compile(r"\s*([-*+>#]\s|\d+[.)]\s|\||`{3}|~{3})|    ", re.MULTILINE)
"""A line of a list, a quote, a table or verbatim text."""


def script(lesson: Lesson, mode: str, settings: ExportSettings | None = None) -> str:
    """The text of the script; it prints what `tutor run --format jsonl` does, line by line.

    Raises UsageError if there is no such mode, RunError if the code can't stand in a script.
    """
    settings = settings or ExportSettings()
    code = ScriptCode(lesson, mode, settings)
    return checked(_lines(code), lesson)


def _lines(code: ScriptCode) -> Iterator[str]:
    outline = code.outline
    yield from _docstring(code)
    yield ""
    yield from code.head()
    yield from ("", "")
    yield code.helper()
    yield ""
    for section in outline.opening:
        yield from _section(section)
    yield from _part(outline.setup, "")
    yield ""
    yield from code.loop(_part)
    for section in outline.closing:
        yield from _section(section)


def _docstring(code: ScriptCode) -> Iterator[str]:
    lesson = code.lesson
    yield f'"""{_in_docstring(lesson.title)}, in mode {_in_docstring(code.mode)}.'
    said = [
        lesson.summary,
        "Made by the tutor, and runs without it. Prints a line of JSON for each epoch: the loss, "
        "each parameter after the update, and the gradient that the update used.",
        CHANGED if code.settings.changed else "",
    ]
    for text in filter(None, said):
        yield ""
        yield from textwrap.wrap(_in_docstring(text), WIDTH) or [""]
    yield '"""'


def _in_docstring(text: str) -> str:
    """One safe line that can't end the docstring, nor begin an escape in it."""
    return one_line(text).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _section(section: Section) -> Iterator[str]:
    """A section without code: nothing but comments."""
    yield from _heading(section.heading, "")
    yield from _blocks(section.blocks, "")


def _part(part: OutlinePart, indent: str) -> Iterator[str]:
    """A phase: its text, formulas and code, in the lesson's order."""
    if part.blocks:
        yield from _heading(part.name, indent)
    yield from _blocks(part.blocks, indent)
    for section in part.notes:
        yield from _heading(section.heading, indent)
        yield from _blocks(section.blocks, indent)


def _heading(heading: str, indent: str) -> Iterator[str]:
    yield ""
    if heading:
        yield f"{indent}# ── {one_line(heading)} ".ljust(WIDTH, "─")


def _blocks(blocks: Iterable[Block], indent: str) -> Iterator[str]:
    before: Block | None = None
    for block in blocks:
        if isinstance(block, Fence):
            yield from indented(block.code, indent)
        elif not isinstance(block, Prose | DisplayFormula):
            continue  # an exercise: a script asks nothing
        else:
            if isinstance(before, Fence):
                yield ""
            elif before is not None:
                yield f"{indent}#"
            yield from _comment(block, indent)
        before = block


def _comment(block: Prose | DisplayFormula, indent: str) -> Iterator[str]:
    if isinstance(block, DisplayFormula):
        lines: Iterable[str] = _formula(block, WIDTH - len(indent) - 4)
    else:
        lines = _wrapped(_with_drawn_formulas(plain(block.markdown)), WIDTH - len(indent) - 2)
    for line in lines:
        yield f"{indent}# {line}".rstrip()


def _formula(block: DisplayFormula, width: int) -> list[str]:
    r"""The formula as a picture, the Python of each \boxed in its place; else its source."""
    try:
        picture = draw(parse(block.latex), {e: e for e in block.boxed}, width=width)
    except FormulaError:
        return plain(block.latex).split("\n")
    return [plain(f"  {row.rstrip()}") for row in picture.rows]


def _with_drawn_formulas(markdown: str) -> str:
    """The prose with each `$…$` drawn on one line."""

    def drawn(latex: str) -> str:
        try:
            return plain(draw_inline(parse(latex)))
        except FormulaError:
            return f"${latex}$"

    return with_inline_math(markdown, drawn)


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Paragraphs filled to the width; lists, quotes, tables and verbatim text line by line."""
    for index, paragraph in enumerate(text.split("\n\n")):
        if index:
            yield ""
        if _KEEPS_ITS_LINES.match(paragraph):
            for line in paragraph.split("\n"):
                yield from _wrap(line, width)
        else:
            yield from _wrap(paragraph, width)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
