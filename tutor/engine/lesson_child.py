"""The child process of a command: started, asked, interrupted, and told of when it ends.

The child's own side is `command_child`. Whatever a lesson does to it, nothing here waits
longer than it says.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress

from tutor.engine.command_messages import (
    Event,
    LessonStopped,
    PartBegun,
    RequestDone,
    TorchLoaded,
    Wish,
    event_from_line,
    to_line,
)
from tutor.engine.process import DUMP_SECONDS, DUMP_SIGNAL, Process, how_ended, last_place
from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.training import time_limit
from tutor.training.time_limit import VALUE_OF

GRACE = 0.7
"""Seconds in which an interrupt has to be answered, by naming a line; then the child is killed."""

DUMP_PAUSE = 0.1
"""Seconds without another line after which what it has written down is taken as whole."""

LET_GO_SECONDS = 2.0
"""Seconds in which a child that has let go of its pipe may end by itself."""

POLL = 0.5
MOST_WAITING = 1000
"""Events that are read before they are asked for: then the child has to wait."""

MEDDLED = "meddled with the tutor's own pipe, and its process was ended"


class LessonChild:
    """A process that lessons run in, and what it says as a thread reads it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; what it is asked waits until it has loaded. Raises EngineError."""
        self.process = Process(command)
        self.at = PartBegun(1, "")
        """What it has said last that it runs."""
        self.is_gone = False
        """Whether it has said its last word."""
        self._is_loaded = False
        self._is_ended = False
        self._said: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
        threading.Thread(target=self._listen, name="lesson child", daemon=True).start()

    # ── What it is asked and says ───────────────────────────────────────────────────

    def wait_until_loaded(self) -> None:
        """Wait until PyTorch is there. Raises EngineError if the child does not come so far."""
        if self._is_loaded:
            return
        self._is_loaded = isinstance(self.next(None), TorchLoaded)
        if not self._is_loaded:
            self.process.end(POLL)
            why = self.process.last_error() or "it ended without an error message"
            self.end()
            raise EngineError(f"the process that runs lessons could not start: {why}")

    def ask(self, wish: Wish) -> None:
        """Send a wish; what comes of it is told by `next`."""
        self.at = PartBegun(1, "")
        self.process.write(to_line(wish))

    def next(self, seconds: float | None) -> Event | None:
        """The next event; None if the child is gone, or says nothing for so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self.is_gone:
            left = POLL if until is None else min(POLL, until - time.monotonic())
            if left <= 0:
                return None
            try:
                event = self._said.get(timeout=left)
            except queue.Empty:  # perhaps what it has started holds on to its pipe
                self.is_gone = not self.process.is_alive and self._said.empty()
                continue
            self.is_gone = event is None
            if isinstance(event, PartBegun):
                self.at = event
            elif isinstance(event, LessonStopped):
                self.at = PartBegun(event.line, event.what)
            return event
        return None

    def _listen(self) -> None:
        try:
            for line in self.process.lines():
                self._put(event_from_line(line))
        except EngineError:  # no line of ours: whatever comes after it is not to be believed
            self.process.end(0, MEDDLED)
        self.process.close_output()
        self._put(None)

    def _put(self, event: Event | None) -> None:
        while not self._is_ended:
            with suppress(queue.Full):
                self._said.put(event, timeout=POLL)
                return

    # ── Its end ─────────────────────────────────────────────────────────────────────

    def interrupt(self, lesson: Lesson, mode: str = "") -> Iterator[Event]:
        """Have it stop, and say at which line, then end it; what it still says meanwhile."""
        if self._is_loaded and self.process.is_alive:
            self.process.interrupt()
            has_answered = yield from self._last_events(GRACE)
            if not has_answered:
                # It may be in C code, have a handler of its own, or have stopped itself.
                has_answered = yield from self._written_down()
            if not has_answered:
                self._take_place(lesson, mode)
        self.end()

    def _written_down(self) -> Generator[Event, None, bool]:
        """Have it write down its line; what it says until it has, and whether it has answered."""
        before = size = self.process.error_size
        for number in (signal.SIGCONT, DUMP_SIGNAL):
            self.process.signal_all(number)
        until = time.monotonic() + DUMP_SECONDS
        while time.monotonic() < until and not self.is_gone:
            if (yield from self._last_events(DUMP_PAUSE)):
                return True
            last, size = size, self.process.error_size
            if before < last == size:
                break
        return False

    def _last_events(self, seconds: float) -> Generator[Event, None, bool]:
        """Its events until the request is done; returns whether that was in time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            event = self.next(left)
            if event is None:
                break
            yield event
            if isinstance(event, LessonStopped | RequestDone):
                return True
        return False

    def _take_place(self, lesson: Lesson, mode: str = "") -> None:
        """Set `at` to the lesson's line that the child has written down last, if it has."""
        place = last_place(self.process.error_text(), lesson)
        if place is not None and (place.is_expression or not self.at.what.startswith("exercise")):
            mode = mode or self.at.what.split(",")[0]
            self.at = PartBegun(place.line, f"{mode}, {place.what}")

    def how_it_ended(self, lesson: Lesson) -> str:
        """In words, once it is gone, `at` being the place; closing its pipe is an end, too."""
        self.process.end(LET_GO_SECONDS, MEDDLED)
        status = self.process.wait()
        self._take_place(lesson)
        if self.process.fault:
            return self.process.fault
        if status == -time_limit.END_SIGNAL and VALUE_OF in self.at.what:
            return f"{time_limit.NO_END.format(time_limit.SECONDS)}; its process was ended"
        return f"ended its process, which {how_ended(status)}"

    def fault_of_ours(self) -> str:
        """The last line of the traceback that ended the child; "" if the lesson has ended it."""
        is_ours = "Traceback (most recent call last)" in self.process.error_text()
        return self.process.last_error() if is_ours and not self.process.fault else ""

    def end(self) -> None:
        """End it, with all the processes that lessons have started."""
        self._is_ended = True
        self.process.end(0)
