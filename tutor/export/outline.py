"""A lesson in one mode, in the order in which a script goes through it.

Setup first, then the phases of the loop, the Report last; what is told between two phases stays
with the one before it. What speaks of another mode's code is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tutor.lesson.model import REPORT, SETUP, Block, Fence, Lesson, Prose, Section


@dataclass(slots=True)
class OutlinePart:
    """One phase, and the sections without code that follow it."""

    name: str
    blocks: tuple[Block, ...]
    notes: list[Section] = field(default_factory=list)

    @property
    def fences(self) -> tuple[Fence, ...]:
        """The phase's code, in order."""
        return tuple(block for block in self.blocks if isinstance(block, Fence))


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole lesson in one mode."""

    opening: tuple[Section, ...]
    """What is told before the first phase."""
    setup: OutlinePart
    """Empty where the lesson has none."""
    loop: tuple[OutlinePart, ...]
    """Each batch's phases; the last has no notes."""
    report: OutlinePart | None
    closing: tuple[Section, ...]
    """What is told after the last phase of the loop, or the Report."""
    gradient: str
    """The phase after which the gradients are as the update uses them."""

    @property
    def codes(self) -> tuple[str, ...]:
        """All code of the mode, a piece for each fence."""
        parts = [self.setup, *self.loop, *([self.report] if self.report else [])]
        return tuple(fence.code for part in parts for fence in part.fences)


def outline(lesson: Lesson, mode: str) -> Outline:
    """The lesson as `mode` goes through it."""
    opening: list[Section] = []
    parts: list[OutlinePart] = []
    for section in lesson.sections:
        if section.phase is None:
            (parts[-1].notes if parts else opening).append(section)
        elif section.fences(mode):
            parts.append(OutlinePart(section.phase, tuple(_of_mode(section, mode))))
    setup = next((p for p in parts if p.name == SETUP), OutlinePart(SETUP, ()))
    report = next((p for p in parts if p.name == REPORT), None)
    loop = tuple(p for p in parts if p.name not in (SETUP, REPORT))
    last = report or loop[-1]
    closing, last.notes = tuple(last.notes), []
    names = [part.name for part in loop]
    return Outline(tuple(opening), setup, loop, report, closing, _gradient_phase(names))


def _gradient_phase(names: list[str]) -> str:
    """As the tutor reads it: Gradient, else what comes before the Update, else the last."""
    if "Gradient" in names:
        return "Gradient"
    return names[max(names.index("Update") - 1, 0)] if "Update" in names else names[-1]


def _of_mode(section: Section, mode: str) -> Iterator[Block]:
    """The blocks of a phase without the other modes' code and the words that lead up to it."""
    blocks = section.blocks
    for index, block in enumerate(blocks):
        if isinstance(block, Prose):
            if _introduces_others(blocks[index + 1 :], mode):
                block = _without_last_paragraph(block)
            if block.markdown:
                yield block
        elif not isinstance(block, Fence) or block.runs_in(mode):
            yield block


def _introduces_others(following: tuple[Block, ...], mode: str) -> bool:
    """Whether what follows is code, but none of this mode."""
    fences = []
    for block in following:
        if not isinstance(block, Fence):
            break
        fences.append(block)
    return bool(fences) and not any(fence.runs_in(mode) for fence in fences)


def _without_last_paragraph(prose: Prose) -> Prose:
    return Prose(prose.markdown.rpartition("\n\n")[0].rstrip(), prose.line)
