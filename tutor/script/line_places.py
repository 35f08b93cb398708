"""The places of lines in words: `line 12`; in a notebook `[3]:2`, the cell and its line."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from tutor.lesson.code_checks import parsed
from tutor.lesson.library import is_shipped
from tutor.lesson.model import Fence, Lesson
from tutor.plain import cut_short, one_line
from tutor.python_syntax import FUNCTIONS, first_line, last_line

NOTEBOOK = ".ipynb"
HEADING = "# %% [{}]"
"""The line above the lines of a notebook's cell."""
_HEADING = re.compile(re.escape(HEADING).replace(r"\{\}", r"(\d+)"))
_TYPED = re.compile(r"\[?(\d+)\]?:(\d{1,8})")
_MOST_DIGITS = 9
_LONGEST_QUOTE = 48
"""Characters of a line of code that are quoted."""


class Cell(NamedTuple):
    """A code cell of a notebook in the joined text of all cells."""

    line: int
    """The line of its heading; its own lines follow."""
    label: str
    """The number in brackets beside it in Jupyter."""


@lru_cache(maxsize=8)
def cells_in(path: Path, text: str) -> tuple[Cell, ...]:
    """The cells in a notebook's joined text; empty for any other file."""
    if path.suffix.lower() != NOTEBOOK:
        return ()
    found: dict[str, Cell] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if match := _HEADING.fullmatch(line):
            found.setdefault(match[1], Cell(number, match[1]))
    return tuple(found.values())


def line_in_cell(cells: tuple[Cell, ...], line: int) -> tuple[str, int]:
    """The label of a line's cell, and its number in the cell: 0 for the heading."""
    cell = cells[max(bisect_right(cells, line, key=lambda cell: cell.line), 1) - 1]
    return cell.label, max(line - cell.line, 0)


def place_in_cells(cells: tuple[Cell, ...], line: int) -> str:
    """`[3]:2`; of a cell's heading `[3]`."""
    label, number = line_in_cell(cells, line)
    return f"[{label}]:{number}" if number else f"[{label}]"


def line_at(lesson: Lesson, place: str) -> int | None:
    """The number of the line at a place as you type it: `12`, `[3]:2`, `3:2`; None for others."""
    if place.isdecimal() and len(place) < _MOST_DIGITS:
        return int(place)
    match = _TYPED.fullmatch(place)
    cells = {cell.label: cell.line for cell in cells_in(lesson.path, lesson.source)}
    return cells[match[1]] + int(match[2]) if match and match[1] in cells else None


def short_place(path: Path, text: str, line: int) -> str:
    """A line without its file: `line 12`; in a notebook's text `[3]:2`."""
    cells = cells_in(path, text)
    return place_in_cells(cells, line) if cells else f"line {line}"


def full_place(path: Path, text: str, line: int) -> str:
    """A line with its path: `/home/a/train.py:12`, `/home/a/fit.ipynb [3]:2`."""
    cells = cells_in(path, text)
    return f"{path} {place_in_cells(cells, line)}" if cells else f"{path}:{line}"


def place_in(lesson: Lesson) -> Callable[[int], str]:
    """The name of each line of a lesson's or a script's file, without the file."""
    return partial(short_place, lesson.path, lesson.source)


def step_place(lesson: Lesson, line: int) -> str:
    """The place of a line that is about to run: `line 60`.

    With its function if the loop of the script stands elsewhere: `line 60 in step`.
    """
    loop = lesson.script.line if lesson.script is not None else 0
    around = _functions_around(lesson.source, line)
    is_elsewhere = bool(around) and around != _functions_around(lesson.source, loop)
    return place_in(lesson)(line) + (f" in {one_line(around[-1])}" if is_elsewhere else "")


@lru_cache(maxsize=512)
def _functions_around(source: str, line: int) -> tuple[str, ...]:
    """The functions of a script that a line stands in, the outermost first."""
    functions = (node for node in ast.walk(parsed(source)) if isinstance(node, FUNCTIONS))
    return tuple(f.name for f in functions if first_line(f) <= line <= last_line(f))


def place_in_code(lesson: Lesson) -> Callable[[int], str]:
    """The name of each line of code as its reader finds it.

    The file of a lesson that came with the tutor is not at hand: its line is quoted, with its
    phase. Of another lesson, the file is named.
    """
    if lesson.script is not None:
        return place_in(lesson)
    return partial(_quoted if is_shipped(lesson.path) else _in_named_file, lesson)


def _in_named_file(lesson: Lesson, line: int) -> str:
    return f"line {line} of {one_line(lesson.path.name)}"


def _quoted(lesson: Lesson, line: int) -> str:
    phase, code = lesson.phase_of_line(line), code_at(lesson, line)
    return f"`{one_line(code)}` in {phase}" if phase and code else _in_named_file(lesson, line)


def code_at(lesson: Lesson, line: int | None) -> str:
    """The line of code with this number in the lesson's file, to be quoted; empty if none is."""
    for section in lesson.sections:
        for fence in section.blocks:
            if line and isinstance(fence, Fence) and fence.line <= line:
                rows = fence.code.split("\n")
                if line - fence.line < len(rows):
                    return cut_short(rows[line - fence.line].strip(), _LONGEST_QUOTE)
    return ""


def named_place(path: Path, cells: tuple[Cell, ...], line: int) -> str:
    """A line with the file's name, where there is no cell that tells it: `train.py:12`."""
    return place_in_cells(cells, line) if cells else one_line(f"{path.name}:{line}")
