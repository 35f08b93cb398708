"""Lessons proven in a child process, which may print, hang or die: it costs a finding.

The side of who asks. The child (`proof_child`) is started for the first lesson and proves one
after the other; one that has ended, or had to be ended, is started again for the next lesson.
Knows no screen and nothing of what is proven.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from tutor.engine.process import Process, how_ended
from tutor.engine.proof_messages import (
    Answered,
    Begun,
    Done,
    Event,
    Loaded,
    Prove,
    Stopped,
    Told,
    event_from_line,
    to_line,
)
from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.training.finding import Finding

SECONDS = 60.0
"""So long may a lesson go without a sign of life: one phase of one mode, or one exercise."""

GRACE = 1.0
"""Seconds in which an interrupt has to be answered, by naming a line; then the child is killed."""

_POLL = 0.5
_COMMAND = (sys.executable, "-P", "-m", "tutor.engine.proof_child")
_MEDDLED = "meddled with the tutor's own pipe, and its process was ended"


class Proofs:
    """One child process at a time, which is ended with the `with` that this is used in."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = SECONDS) -> None:
        """`command` starts the child; `seconds` may pass without a sign of it."""
        self._command = command
        self._seconds = seconds
        self._child: _Child | None = None
        self._at = Begun(1, "")
        self.answers: tuple[Answered, ...] = ()
        """Of the lesson proven last, if they were asked for."""

    def __enter__(self) -> Proofs:
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
        self._at = Begun(1, "")
        found: list[Finding] = []
        answers: list[Answered] = []
        try:
            self._ask(Prove(lesson, with_answers))
            while not isinstance(event := self._next(self._seconds), Done):
                match event:
                    case Told():
                        path = str(lesson.path)
                        found.append(Finding(path, event.line, event.message, event.is_note))
                    case Answered():
                        answers.append(event)
                    case Stopped() | None:  # interrupted by itself, gone, or in an endless loop
                        found.append(self._end_of(lesson, event))
                        break
        except KeyboardInterrupt:
            self._interrupt()
            raise KeyboardInterrupt(self._where(lesson)) from None
        self.answers = tuple(answers)
        return tuple(found)

    def _where(self, lesson: Lesson) -> str:
        return f"{lesson.path}:{self._at.line}: {self._at.what}" if self._at.what else ""

    def _end_of(self, lesson: Lesson, stopped: Stopped | None) -> Finding:
        """Why nothing more of this lesson is proven."""
        child = self._child
        assert child is not None
        if stopped:
            self._at = Begun(stopped.line, stopped.what)
            how = "raised KeyboardInterrupt"
        elif not child.is_gone:
            self._interrupt()
            how = f"did not come to its end within {self._seconds:g} s"
        else:
            how = child.how_it_ended()
            fault = "" if child.process.fault else child.process.last_error()
            if fault:  # of ours: a lesson's own errors do not get there
                self._end()
                raise EngineError(f"the proof of {lesson.path} broke off: {fault}")
        self._end()
        what = f"{self._at.what} {how}; nothing more of this lesson was proven"
        return Finding(str(lesson.path), self._at.line, what)

    # ── The child ───────────────────────────────────────────────────────────────────

    def _ask(self, wish: Prove) -> None:
        if self._child is not None and self._child.is_gone:
            self._end()  # it died between two lessons, of a thread of one say
        if self._child is None:
            self._start()
        assert self._child is not None
        self._child.process.write(to_line(wish))

    def _start(self) -> None:
        """Raises EngineError."""
        self._child = _Child(self._command)
        self._child.is_loaded = isinstance(self._next(None), Loaded)
        if not self._child.is_loaded:
            self._child.process.end(_POLL)
            why = self._child.process.last_error() or "it ended without a word"
            self._end()
            raise EngineError(f"the process that runs lessons could not start: {why}")

    def _next(self, seconds: float | None) -> Event | None:
        """The next thing that it says; None if it is gone, or says nothing for so long."""
        assert self._child is not None
        event = self._child.next(seconds)
        if isinstance(event, Begun):
            self._at = event
        return event

    def _interrupt(self) -> None:
        """Have it say which line it is at, if it still can; then end it."""
        if self._child is not None and self._child.is_loaded:
            self._child.process.interrupt()
            until = time.monotonic() + GRACE
            while (left := until - time.monotonic()) > 0:
                event = self._next(left)
                if isinstance(event, Stopped):
                    self._at = Begun(event.line, event.what)
                if isinstance(event, Stopped | Done | None):
                    break
        self._end()

    def _end(self) -> None:
        """End it, with all the processes that lessons have started."""
        child, self._child = self._child, None
        if child is not None:
            child.process.end(0)


class _Child:
    """The process, and what it says as a thread reads it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises EngineError if it can't be started."""
        self.process = Process(command)
        self.is_loaded = False
        """Whether it can be interrupted."""
        self.is_gone = False
        """Whether it has said its last word."""
        self._said: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="proofs", daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in self.process.lines():
                self._said.put(event_from_line(line))
        except EngineError:  # no line of ours: whatever comes after it is not to be believed
            self.process.end(0, _MEDDLED)
        self._said.put(None)

    def next(self, seconds: float | None) -> Event | None:
        """The next thing that it says; None if it is gone, or says nothing for so long."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self.is_gone:
            left = _POLL if until is None else min(_POLL, until - time.monotonic())
            if left <= 0:
                return None
            try:
                event = self._said.get(timeout=left)
            except queue.Empty:  # perhaps what it has started holds on to its pipe
                self.is_gone = not self.process.is_alive
                continue
            self.is_gone = event is None
            return event
        return None

    def how_it_ended(self) -> str:
        """In words, once it is gone; one that has but closed its pipe is ended for that."""
        self.process.end(_POLL, _MEDDLED)
        return self.process.fault or f"ended its process, which {how_ended(self.process.wait())}"
