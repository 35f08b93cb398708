"""Where in its code a run failed or hung, in words for who is at an exercise.

There the lesson's file is not before the learner's eyes, so that its line numbers say nothing:
the line itself is quoted. Code that the learner edits has the numbers of the editor.
"""

from __future__ import annotations

import re

from tutor.lesson.exercise import Exercise, Repair
from tutor.lesson.model import Fence, Lesson
from tutor.protocol.messages import AnyEvent, CommandRefused, FrameShown

LONGEST_LINE = 48
"""Characters of a line of code that are quoted."""

_STOPPED = re.compile(r"stopped: (?P<phase>.+?)(?:, line (?P<line>\d+))?,? was still running")


def is_own(exercise: Exercise, phase: str) -> bool:
    """Whether the code of this phase is what the learner fixes."""
    return isinstance(exercise, Repair) and exercise.phase == phase


def code_at(lesson: Lesson, line: int | None) -> str:
    """The line of code with this number in the lesson's file; empty if there is none."""
    for section in lesson.sections:
        for fence in section.blocks:
            if line and isinstance(fence, Fence) and fence.line <= line:
                rows = fence.code.split("\n")
                if line - fence.line < len(rows):
                    return _shortened(rows[line - fence.line].strip())
    return ""


def _shortened(code: str) -> str:
    return code if len(code) <= LONGEST_LINE else code[: LONGEST_LINE - 1].rstrip() + "…"


def stopped_in(event: AnyEvent) -> tuple[str, int | None] | None:
    """Phase and line of what was still running when it was stopped; None if nothing was."""
    match event:
        case FrameShown(note=told) | CommandRefused(message=told):
            found = _STOPPED.match(told)
        case _:
            return None
    if found is None:
        return None
    return found["phase"], int(found["line"]) if found["line"] else None
