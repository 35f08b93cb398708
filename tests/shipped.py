"""The lessons that ship, each read and compiled once in a process, however many tests ask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from tutor.lesson.document import read
from tutor.lesson.library import headline
from tutor.lesson.model import DisplayFormula, Lesson
from tutor.protocol.frame import Value
from tutor.training.program import Program, programs_of

FOLDER = Path(__file__).parents[1] / "lessons"

ORIGINALS = tuple(sorted(FOLDER.glob("*.md")))
TRANSLATIONS = tuple(sorted(FOLDER.glob("*/*.md")))

SAMPLE = (
    *("one-weight", "line-through-origin", "sum-or-mean", "twenty-points", "thermometer"),
    *("xor", "momentum", "adam", "mini-batches", "finite-differences"),
)
MODES_OF_SAMPLE = tuple(
    (slug, mode) for slug in SAMPLE for mode in headline(FOLDER / f"{slug}.md").modes
)
"""Lessons, and the modes of each, that have between them all that a run has to carry.

NumPy and tensors, float32 and float64, several parameters, batches and a warm-up, a module,
an optimizer's momentum and Adam's moments, a Report. What is told by looking at the mechanism
from all sides is told of these; that each lesson comes out the same is told of all, elsewhere.
"""


@cache
def lesson(slug: str) -> Lesson:
    """The original."""
    return read_once(FOLDER / f"{slug}.md")


@cache
def read_once(path: Path) -> Lesson:
    """Any lesson file."""
    return read(path)


def formulas(lesson: Lesson) -> list[DisplayFormula]:
    """All formulas that stand on lines of their own."""
    return [b for s in lesson.sections for b in s.blocks if isinstance(b, DisplayFormula)]


@cache
def _compiled(slug: str) -> Mapping[str, Program]:
    return programs_of(lesson(slug))


def programs(slug: str) -> Mapping[str, Program]:
    """The original's programs by mode; they remember of no other test what has taken too long."""
    stopped: dict[str, Value] = {}
    return {mode: replace(one, stopped=stopped) for mode, one in _compiled(slug).items()}
