"""The client of `tutor check` and `tutor run`, here or over ssh: one command at a time.

`EngineClient` serves the app, answers at once and restarts its child by itself. Here the command
line waits, and a child that has ended is started again for the next command.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from tutor.engine.process import (
    COMMAND,
    LessonProcess,
    Process,
    lost_error,
    on_ctrl_z,
    stop_together,
)
from tutor.errors import CodeRaised, EngineError, Refused, RunError
from tutor.lesson.model import Lesson
from tutor.protocol.commands import FramePainted, LessonCommand, TrainLesson
from tutor.protocol.events import (
    CommandRefused,
    EngineReady,
    Event,
    LessonPart,
    LessonStopped,
    PartBegun,
    ProcessUnfit,
    RunFailed,
)
from tutor.protocol.frame import Remark

if TYPE_CHECKING:
    from tutor.engine.connection import Connection

INTERRUPT_SECONDS = 0.7
"""Seconds in which an interrupt has to be answered, by naming a line; then the child is killed."""

POLL = 0.5
MOST_WAITING = 1000
"""Events that are read before they are asked for: then the child has to wait."""

OnEvent = Callable[[Event], object]


class LessonAborted(RunError):
    """A lesson has ended its process, or had to be ended with it: where and how."""

    def __init__(self, part: LessonPart, how: Remark) -> None:
        super().__init__(part, how)
        self.part, self.how = part, how


class CommandClient:
    """One child process at a time, which is ended with the `with` that this is used in."""

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        connect: Callable[[], Connection] | None = None,
    ) -> None:
        """`command` starts the child. `connect` connects to the machine that it is to run on."""
        self._command, self._connect = command, connect
        self._connection: Connection | None = None
        self._child: _Child | None = None

    def __enter__(self) -> CommandClient:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child, and all that lessons have started in it; then the connection."""
        self._end()
        if self._connection is not None:
            self._connection.close()

    def start(self) -> None:
        """Start the child, if there is none: it loads torch meanwhile. Raises EngineError.

        On another machine it starts with the first command: ssh may ask for a password, and a
        lesson that is not there needs none.
        """
        if self._connect is None:
            self._start()

    def _start(self) -> _Child:
        """The child. Raises EngineError."""
        if self._child is not None and self._child.is_gone:
            self._end()  # it died between two lessons, of a thread of one say
        if self._child is None:
            self._child = _Child(self._new_process())
        return self._child

    def _new_process(self) -> LessonProcess:
        if self._connect is None:
            return Process(self._command)
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.start_process()

    def do(self, command: LessonCommand, on_event: OnEvent, seconds: float | None = None) -> None:
        """Send a command, wait for its end, and hand each of its events to `on_event`.

        Raises LessonAborted, also if nothing comes for so many `seconds`; RunError if the
        command failed; EngineError if the child did; KeyboardInterrupt (Ctrl+C) with
        the LessonPart that ran, None if that is unknown.
        """
        command = msgspec.structs.replace(command, number=1)
        try:
            answer = self._answer(command, on_event, seconds)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._interrupt(command, on_event)) from None
        if isinstance(answer, LessonStopped | CommandRefused):  # by a signal it sent to itself
            self._abort(Remark("interrupted_itself"))
        raise_failure(answer)

    def _answer(self, command: LessonCommand, on_event: OnEvent, seconds: float | None) -> Event:
        """The answer to the command. Raises LessonAborted or EngineError."""
        child = self._start()
        child.ask(command)
        with on_ctrl_z(child.stop_with_us):
            while (event := child.next(seconds)) and not isinstance(event, ProcessUnfit):
                if event.answers:
                    return event
                on_event(event)
        if event is not None:  # the lesson before has left a process unfit for others
            self._end()
            return self._answer(command, on_event, seconds)
        if not child.is_gone:
            self._interrupt(command, lambda _: None)
            self._abort(Remark("too_long", {"seconds": seconds}))
        return self._abort(child.how_ended(command.lesson))

    def _interrupt(self, command: LessonCommand, on_event: OnEvent) -> LessonPart | None:
        """Stop what runs, and end the child; the part that ran, None if it is unknown."""
        child = self._child
        if child is None:
            return None
        mode = command.mode if isinstance(command, TrainLesson) else None
        try:
            child.interrupt(command.lesson, mode or "", on_event)
        finally:  # at a second Ctrl+C at once
            child.process.end(0)
        return child.part if child.part.is_known else None

    def _abort(self, how: Remark) -> Event:
        child = self._child
        assert child is not None
        self._end()
        raise LessonAborted(child.part, how)

    def _end(self) -> None:
        """End the child, with all the processes that lessons have started."""
        child, self._child = self._child, None
        if child is not None:
            child.end()


def raise_failure(answer: Event) -> None:
    """Raise RunError if the answer to a command is that it failed: one with a code, if it has."""
    if isinstance(answer, RunFailed):
        code, values = answer.remark.code, answer.remark.values
        kind = CodeRaised if code in ("lesson_raised", "script_raised") else Refused
        error = RunError(values["text"]) if code == "text" else kind(code, **values)
        if answer.trace:
            error.add_note(answer.trace)
        raise error


class _Child:
    """A process that lessons run in, and its events as a thread reads them."""

    def __init__(self, process: LessonProcess) -> None:
        self.process = process
        self.part = LessonPart()
        """The part of a lesson that it runs."""
        self.is_gone = False
        """Whether its last event has been read."""
        self._is_loaded = self._is_ended = False
        self._halted = 0.0
        """Seconds for which it has been stopped, with this process."""
        self._events: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
        self.process.send(FramePainted())  # there is no screen that would come first
        threading.Thread(target=self._read_on, name="lesson child", daemon=True).start()

    def _read_on(self) -> None:
        for event in self.process.events():
            self._put(event)
        self._put(None)

    def _put(self, event: Event | None) -> None:
        while not self._is_ended:
            with suppress(queue.Full):
                self._events.put(event, timeout=POLL)
                return

    def ask(self, command: LessonCommand) -> None:
        """Send a command once torch is there. Raises EngineError if it never is."""
        if not self._is_loaded:
            self._is_loaded = isinstance(self.next(None), EngineReady)
        if not self._is_loaded:
            self.process.end(POLL)
            self._check_connection()
            why = self.process.last_error()
            self.end()
            raise EngineError("not_started", error=why)
        self.part = LessonPart()
        self.process.send(command)

    def next(self, seconds: float | None) -> Event | None:
        """The next event; None if the child is gone, or sends nothing for `seconds`."""
        until = None if seconds is None else time.monotonic() - self._halted + seconds
        while not self.is_gone:
            left = POLL if until is None else min(POLL, until + self._halted - time.monotonic())
            if left <= 0:
                return None
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:  # perhaps what it has started holds on to its pipe
                self.is_gone = not self.process.is_alive and self._events.empty()
                continue
            self.is_gone = event is None
            if isinstance(event, PartBegun | LessonStopped):
                self.part = event.part
            return event
        return None

    def stop_with_us(self) -> None:
        """Stop this process, and it, until `fg`."""
        since = time.monotonic()
        stop_together(
            partial(self.process.signal_all, signal.SIGSTOP),
            partial(self.process.signal_all, signal.SIGCONT),
        )
        self._halted += time.monotonic() - since

    def interrupt(self, lesson: Lesson, mode: str, on_event: OnEvent) -> None:
        """Stop the child in the part that runs; hand on what it sends meanwhile."""
        if not self._is_loaded or not self.process.is_alive:
            return
        self.process.interrupt()
        if self._has_answered(INTERRUPT_SECONDS + self.process.round_trip, on_event):
            return
        # It may be in C code, have a handler of its own, or have stopped itself.
        self.process.dump_stack()
        if not self._has_answered(0.1, on_event) and not self._find_place(lesson, mode):
            self._has_answered(INTERRUPT_SECONDS, on_event)  # it was leaving the lesson's code

    def _has_answered(self, seconds: float, on_event: OnEvent) -> bool:
        """Whether its answer comes in that time; other events are handed on."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and (event := self.next(left)):
            if event.answers:
                return True
            on_event(event)
        return False

    def _find_place(self, lesson: Lesson, mode: str = "") -> bool:
        """Set `part` to the lesson's line that the child has written down last; whether it has."""
        place = self.process.place(lesson)
        if place is not None and (place.is_expression or not self.part.exercise):
            self.part = LessonPart(
                place.line,
                mode or self.part.mode,
                self.part.exercise,
                phase="" if place.is_expression else place.what,
                expression=place.what if place.is_expression else "",
            )
        return place is not None

    def how_ended(self, lesson: Lesson) -> Remark:
        """How it ended, once it is gone, `part` being the place.

        Raises EngineError if an error of the tutor's own has ended it, or the connection is lost.
        """
        self.process.wait()
        self._check_connection()
        self._find_place(lesson)
        how = self.process.how_ended(self.process.place(lesson))
        if (
            not self.process.end_reason
            and "Traceback (most recent call last)" in self.process.error_text()
        ):
            raise EngineError("failed", path=str(lesson.path), error=self.process.last_error())
        return how

    def _check_connection(self) -> None:
        """Raise EngineError if the connection to the process is lost."""
        if self.process.lost is not None:
            raise lost_error(self.process.lost)

    def end(self) -> None:
        """End it, with all the processes that lessons have started."""
        self._is_ended = True
        self.process.end(0)
