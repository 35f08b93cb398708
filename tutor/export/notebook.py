r"""A lesson in one mode as a Jupyter notebook (nbformat 4.5) that runs without the tutor.

Prose, formulas and the code of each phase are Markdown cells. The code cells are the preparations,
the Setup and the loop with all phases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from tutor.export.code import ExportSettings, OutlinePart, ScriptCode, checked, indented
from tutor.export.script import CHANGED
from tutor.lesson.model import Block, DisplayFormula, Fence, Lesson, Prose, Section
from tutor.plain import one_line

_BOXED = re.compile(r"\\boxed\s*\{")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#$~|&!])")
"""Characters that have a meaning in Markdown or in a formula in it."""

_LATEX = {
    **{character: f"\\{character}" for character in "_#$%&{}"},
    **{"\\": r"\backslash{}", "^": r"\wedge{}", "~": r"\sim{}", "<": r"\lt{}", ">": r"\gt{}"},
    " ": r"\ ",
}

THE_LOOP = (
    "## The loop\n\nAll phases, one after the other, epoch by epoch. A line for each epoch: the "
    "loss, each parameter after the update, and the gradient that the update used."
)


def notebook(lesson: Lesson, mode: str, settings: ExportSettings | None = None) -> str:
    """The notebook's JSON; run from top to bottom it prints what the script prints.

    Raises UsageError if there is no such mode, RunError if the code can't stand in it.
    """
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
