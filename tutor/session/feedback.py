"""Feedback to an answer as a code and its parameters, and the places in code that it names.

`tutor.wording` makes the sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tutor.lesson.exercise import Exercise, Repair
from tutor.lesson.model import Fence, Lesson
from tutor.protocol.messages import (
    AnyEvent,
    CommandRefused,
    FrameShown,
    LessonFailed,
    ProcessEnded,
    StoppedAt,
)

LONGEST_LINE = 48
"""Characters of a line of code that are quoted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to an answer: a code and its parameters."""

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodePlace:
    """A line of a lesson's code, as the learner can find it."""

    phase: str
    line: int | None = None
    """In the lesson's file; in the editor where the code is the learner's own."""
    code: str = ""
    """The line itself, to be quoted in an exercise: the file is not in view there."""
    is_own: bool = False
    """Whether it is the code that the learner fixes."""

    @property
    def is_in_file(self) -> bool:
        """Whether the line's number in the file says where it is."""
        return bool(self.line) and not self.is_own and not self.code


def code_place(exercise: Exercise, lesson: Lesson, at: LessonFailed | StoppedAt) -> CodePlace:
    """The place in an exercise's code; `lesson` is as its file has it."""
    if is_own(exercise, at.phase):
        return CodePlace(at.phase, at.line, is_own=True)
    code = code_at(lesson, at.line)
    return CodePlace(at.phase, at.line if code else None, code)


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


def reason(event: AnyEvent) -> Reply:
    """The reason why a command was not done."""
    match event:
        case LessonFailed(phase=phase, message=message):
            return Reply("code_failed", {"place": CodePlace(phase), "message": message})
        case ProcessEnded(message=message):
            return Reply("process_ended", {"message": message})
        case CommandRefused(message=text) | FrameShown(note=text) if text:
            return Reply("refused", {"message": text})
    return Reply("not_done")
