"""Lessons checked in a child process, which may print, hang or die: that costs a finding.

This is the parent's side. The child (`command_child`) is started for the first lesson and checks
one after the other. If it has ended, or had to be ended, it is started again for the next lesson.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from tutor.engine.command_messages import (
    AnswerComputed,
    CheckLesson,
    FindingReported,
    LessonStopped,
    RequestDone,
)
from tutor.engine.lesson_child import LessonChild
from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.validation.finding import Finding

SECONDS = 60.0
"""So long may a lesson go without a sign of life: one phase of one mode, or one exercise."""

_COMMAND = (sys.executable, "-P", "-m", "tutor.engine.command_child")


class LessonChecker:
    """One child process at a time, which is ended with the `with` that this is used in."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = SECONDS) -> None:
        """`command` starts the child; `seconds` may pass without a sign of it."""
        self._command = command
        self._seconds = seconds
        self._child: LessonChild | None = None
        self.answers: tuple[AnswerComputed, ...] = ()
        """Of the lesson proven last, if they were asked for."""

    def __enter__(self) -> LessonChecker:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child, and all that lessons have started in it."""
        self._end()

    def prove(self, lesson: Lesson, *, with_answers: bool = False) -> tuple[Finding, ...]:
        """All that is wrong with a lesson, what it did to its process included.

        Raises EngineError if there is no process to prove it in; KeyboardInterrupt (Ctrl+C),
        its text saying what was being proven.
        """
        found: list[Finding] = []
        answers: list[AnswerComputed] = []
        try:
            child = self._ask(CheckLesson(lesson, with_answers))
            while not isinstance(event := child.next(self._seconds), RequestDone):
                match event:
                    case FindingReported():
                        path = str(lesson.path)
                        found.append(Finding(path, event.line, event.message, event.is_note))
                    case AnswerComputed():
                        answers.append(event)
                    case (
                        LessonStopped() | None
                    ):  # interrupted by itself, gone, or in an endless loop
                        found.append(self._end_of(lesson, child, event))
                        break
            if isinstance(event, RequestDone) and event.is_spent:
                self._end()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped(lesson)) from None
        self.answers = tuple(answers)
        return tuple(found)

    def _stopped(self, lesson: Lesson) -> str:
        """Stop what runs, by Ctrl+C; where that was."""
        child = self._child
        if child is None:
            return ""
        try:
            for _ in child.interrupt(lesson):
                continue
        finally:  # at a second Ctrl+C at once
            self._end()
        return f"{lesson.path}:{child.at.line}: {child.at.what}" if child.at.what else ""

    def _end_of(self, lesson: Lesson, child: LessonChild, stopped: LessonStopped | None) -> Finding:
        """Why nothing more of this lesson is proven."""
        if stopped:
            how = "raised KeyboardInterrupt"
        elif not child.is_gone:
            self._stopped(lesson)
            how = f"did not come to its end within {self._seconds:g} s"
        else:
            how = child.how_it_ended(lesson)
            diagnostic = child.fault_of_ours()
            if diagnostic:  # a lesson's own errors do not get there
                self._end()
                raise EngineError(f"the proof of {lesson.path} broke off: {diagnostic}")
        self._end()
        what = f"{child.at.what} {how}; nothing more of this lesson was proven"
        return Finding(str(lesson.path), child.at.line, what)

    # ── The child ───────────────────────────────────────────────────────────────────

    def _ask(self, wish: CheckLesson) -> LessonChild:
        """The child, started if there is none, with this wish. Raises EngineError."""
        if self._child is not None and self._child.is_gone:
            self._end()  # it died between two lessons, of a thread of one say
        if self._child is None:
            self._child = LessonChild(self._command)
        self._child.wait_until_loaded()
        self._child.ask(wish)
        return self._child

    def _end(self) -> None:
        """End it, with all the processes that lessons have started."""
        child, self._child = self._child, None
        if child is not None:
            child.end()
