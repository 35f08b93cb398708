"""A lesson in one mode as a Python script or as a Jupyter notebook, to run without the tutor."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from tutor.errors import FormulaError, Refused
from tutor.export.code import ExportSettings, OutlinePart, ScriptCode, checked, indented
from tutor.formula import draw, draw_inline, parse
from tutor.lesson.markdown import with_inline_math
from tutor.lesson.model import Block, DisplayFormula, Fence, Lesson, Prose, Section
from tutor.plain import one_line, plain

WIDTH = 92
"""Columns that a comment may take."""

CHANGED = (
    "In the tutor, this run was changed while it trained. These changes are not included: this "
    "file trains from the start with the settings below, so its figures differ from that run's."
)

_KEEPS_ITS_LINES = re.compile(r"\s*([-*+>#]\s|\d+[.)]\s|\||`{3}|~{3})|    ", re.MULTILINE)
"""A line of a list, a quote, a table or verbatim text."""


def script(lesson: Lesson, mode: str, settings: ExportSettings | None = None) -> str:
    """The text of the script; it prints what `tutor run --format jsonl` does, line by line.

    Raises Refused if there is no such mode, or the code can't stand in a script.
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
    if code.lesson.workers > 1:
        yield from ("", "dist.destroy_process_group()")


def _docstring(code: ScriptCode) -> Iterator[str]:
    lesson = code.lesson
    yield f'"""{_in_docstring(lesson.title)}, in mode {_in_docstring(code.mode)}.'
    said = [
        lesson.summary,
        "The tutor wrote this script, which runs without it. It prints a line of JSON for each "
        "epoch: the loss, each parameter after the update, and the gradient that the update used.",
        f"Start it on {lesson.workers} ranks: torchrun --nproc-per-node {lesson.workers} FILE.py. "
        "Rank 0 prints its own figures and those of the others."
        if lesson.workers > 1
        else "",
        CHANGED if code.settings.changed else "",
    ]
    for text in filter(None, said):
        yield ""
        yield from textwrap.wrap(_in_docstring(text), WIDTH) or [""]
    yield '"""'


def _in_docstring(text: str) -> str:
    """One safe line that can't end the docstring, nor begin an escape in it."""
    return one_line(text).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _section(section: Section, indent: str = "") -> Iterator[str]:
    """A section without code: nothing but comments."""
    yield from _heading(section.heading, indent)
    yield from _blocks(section.blocks, indent)


def _part(part: OutlinePart, indent: str) -> Iterator[str]:
    """A phase: its text, formulas and code, in the lesson's order."""
    if part.blocks:
        yield from _heading(part.name, indent)
    yield from _blocks(part.blocks, indent)
    for section in part.notes:
        yield from _section(section, indent)


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


_BOXED = re.compile(r"\\boxed\s*\{")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#$~|&!])")
"""Characters that have a meaning in Markdown or in a formula in it."""

_LATEX = {
    **{character: f"\\{character}" for character in "_#$%&{}"},
    **{"\\": r"\backslash{}", "^": r"\wedge{}", "~": r"\sim{}", "<": r"\lt{}", ">": r"\gt{}"},
    " ": r"\ ",
}

THE_LOOP = (
    "## The loop\n\nThe loop runs all phases one after the other, epoch by epoch. It prints a line "
    "for each epoch: the loss, each parameter after the update, and the gradient that the update "
    "used."
)


def notebook(lesson: Lesson, mode: str, settings: ExportSettings | None = None) -> str:
    """The notebook's JSON; run from top to bottom it prints what the script prints.

    Raises Refused if there is no such mode, or the code can't stand in it.
    """
    if lesson.workers > 1:
        raise Refused("no_notebook_of_ranks", slug=lesson.slug, ranks=lesson.workers)
    code = ScriptCode(lesson, mode, settings or ExportSettings())
    names = (f"cell-{number}" for number in count(1))
    cells = [{"id": next(names), **cell} for cell in _cells(code)]
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": python, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cells(code: ScriptCode) -> Iterator[dict[str, Any]]:
    outline, lesson = code.outline, code.lesson
    yield _markdown(_title(code))
    yield from _sections(outline.opening)
    yield _code([*code.head(), "", "", code.helper().rstrip()], lesson)
    yield from _setup(outline.setup, lesson)
    for part in (*outline.loop, *([outline.report] if outline.report else [])):
        yield _markdown(_text(f"## {part.name}", part.blocks))
        yield from _sections(part.notes)
    yield _markdown(THE_LOOP)
    yield _code(code.loop(_phase), lesson)
    yield from _sections(outline.closing)


def _title(code: ScriptCode) -> str:
    lesson = code.lesson
    title = f"# {_as_text(lesson.title)}, in mode {_as_text(code.mode)}"
    return "\n\n".join(
        [title, _as_text(lesson.summary), *([f"*{CHANGED}*"] if code.settings.changed else [])]
    )


def _setup(part: OutlinePart, lesson: Lesson) -> Iterator[dict[str, Any]]:
    """The Setup's code cells, between the cells of its text."""
    heading, said, run = f"## {part.name}", list[Block](), list[str]()
    for block in part.blocks:
        if isinstance(block, Fence):
            if said or not run:
                yield from _code_cell(run, lesson)
                run = []
                yield _markdown(_text(heading, said))
                heading, said = "", []
            run += block.code.rstrip("\n").split("\n")
        else:
            said.append(block)
    yield from _code_cell(run, lesson)
    if said:
        yield _markdown(_text(heading, said))
    yield from _sections(part.notes)


def _code_cell(lines: list[str], lesson: Lesson) -> Iterator[dict[str, Any]]:
    if lines:
        yield _code(lines, lesson)


def _sections(sections: Iterable[Section]) -> Iterator[dict[str, Any]]:
    for section in sections:
        heading = f"## {section.heading}" if section.heading else ""
        yield _markdown(_text(heading, section.blocks))


def _phase(part: OutlinePart, indent: str) -> Iterator[str]:
    """A phase in the loop: its name and its code."""
    yield f"{indent}# {part.name}"
    for fence in part.fences:
        yield from indented(fence.code, indent)


# ── Markdown ────────────────────────────────────────────────────────────────────────


def _text(heading: str, blocks: Iterable[Block]) -> str:
    return "\n\n".join(filter(None, [heading, *map(_block, blocks)]))


def _block(block: Block) -> str:
    if isinstance(block, DisplayFormula):
        return f"$$\n{legible(block.latex)}\n$$"
    if isinstance(block, Fence):
        runs = re.findall("`+", block.code)
        fence = "`" * max(3, 1 + max(map(len, runs), default=0))
        return f"{fence}python\n{block.code.rstrip()}\n{fence}"
    if isinstance(block, Prose):
        return block.markdown
    return f"**To think about.** {block.ask}"


def _as_text(text: str) -> str:
    """Text with its Markdown characters escaped."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def legible(latex: str) -> str:
    r"""The formula with the code in each `\boxed{…}` escaped for LaTeX."""
    found = _BOXED.search(latex)
    if found is None:
        return latex
    end = _closing_brace(latex, found.end())
    expression = " ".join(latex[found.end() : end].split())
    spelled = "".join(_LATEX.get(character, character) for character in expression)
    return f"{latex[: found.start()]}\\boxed{{\\mathtt{{{spelled}}}}}{legible(latex[end + 1 :])}"


def _closing_brace(latex: str, start: int) -> int:
    """Index of the brace that closes the group that begins at `start`."""
    depth = 1
    for index in range(start, len(latex)):
        depth += {"{": 1, "}": -1}.get(latex[index], 0)
        if not depth:
            return index
    return len(latex)


# ── Cells ───────────────────────────────────────────────────────────────────────────


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(lines: Iterable[str], lesson: Lesson) -> dict[str, Any]:
    source = checked(lines, lesson).rstrip("\n")
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
