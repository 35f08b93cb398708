"""Waits for the engine's answers, and reports progress while a command takes long.

The engine's client calls from a thread of its own: a queue keeps its events until the thread
that reads commands takes them here.
"""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from tutor.engine.process import on_ctrl_z, stop_together
from tutor.errors import EngineError
from tutor.plain_mode.exercise_text import spoken_notice
from tutor.plain_mode.spoken_lesson import is_known, spoken_value
from tutor.plain_mode.spoken_text import LineWriter
from tutor.protocol.events import (
    CommandRefused,
    EngineReady,
    Event,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.session.pending import Engine
from tutor.session.session import Session
from tutor.wording.engine_remarks import process_end
from tutor.wording.number_format import speed, time_left

TICK = 0.5
"""Seconds between two checks for a command that takes long."""

LONG = 3.0
"""Seconds after which the running command is named."""

PROGRESS = 10.0
"""Seconds between two lines on the progress of a run."""

GIVE_UP = 60.0
"""Seconds without an event after which a command is stopped if nobody can press Ctrl+C."""


_Signal: TypeAlias = Literal["ctrl+c", "ctrl+z"]


class EventListener:
    """Passes the engine's events to the session until all commands are answered."""

    def __init__(
        self,
        engine: Engine,
        session: Session,
        writer: LineWriter,
        *,
        is_attended: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_attended`: somebody can press Ctrl+C."""
        self._engine = engine
        self._session = session
        self._writer = writer
        self._is_attended = is_attended
        self._clock = clock
        self._events: queue.SimpleQueue[Event | _Signal] = queue.SimpleQueue()
        self.is_coming_back = False
        """Whether the engine's process has ended, and a new one replays the run."""
        self._began = self._last_progress = clock()
        self._has_named_command = self._has_given_up = self._is_interrupted = False

    def start(self) -> None:
        """Start the engine."""
        self._engine.start(self._events.put)

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Wait until all commands are answered, and `until` is true or the learner stops it.

        Raises EngineError if the engine is gone.
        """
        self._began = self._last_progress = self._clock()
        self._has_named_command = self._has_given_up = self._is_interrupted = False
        with self._ctrl_c_stops(), on_ctrl_z(lambda: self._events.put("ctrl+z")):
            while (
                self._session.is_waiting
                or self.is_coming_back
                or not (until() or self._is_interrupted)
            ):
                try:
                    self._hear(self._events.get(timeout=TICK))
                except queue.Empty:
                    self._on_silence()
            self._hear_waiting()
        self._hear_waiting()  # Ctrl+C since then is not meant for the next command

    def _hear_waiting(self) -> None:
        while not self._events.empty():
            self._hear(self._events.get())

    @contextmanager
    def _ctrl_c_stops(self) -> Iterator[None]:
        """Queue Ctrl+C like an event, so that it interrupts no event halfway."""
        before = signal.signal(signal.SIGINT, lambda *_: self._events.put("ctrl+c"))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _handle_signal(self, key: _Signal) -> None:
        if key == "ctrl+z":
            stop_together(self._engine.suspend, self._engine.resume)
            return
        self._is_interrupted = True
        if self._session.is_waiting:
            self._writer.say("Stopping.")
            self._session.stop()

    def _hear(self, event: Event | _Signal) -> None:
        """Handle an event, or the signal of a key."""
        if isinstance(event, str):
            self._handle_signal(event)
            return
        must_report_painted = self._session.receive(event)
        if isinstance(event, ProcessEnded):
            if not event.restarting and not (self._session.lost and self._is_attended):
                raise EngineError("text", text=process_end(event))
            self.is_coming_back = event.restarting
        elif isinstance(event, FrameShown | CommandRefused | LessonFailed):
            self.is_coming_back = False
        elif isinstance(event, EngineReady) and self.is_coming_back:
            view = self._session.view  # without a frame there is nothing to replay
            self.is_coming_back = view is not None and view.frame is not None
        if must_report_painted and isinstance(event, FrameShown):
            self._tell_progress(event)
            self._session.frame_painted()

    def _tell_progress(self, event: FrameShown) -> None:
        now = self._clock()
        if now - self._last_progress >= PROGRESS:
            self._last_progress = now
            self._has_named_command = True  # this line says what runs
            loss = f", the loss is {spoken_value(event.frame.loss)}"
            said = loss if is_known(event.frame.loss) else ""
            known = filter(None, (speed(event.rate, " per "), time_left(event.seconds_left)))
            said += "".join(f", {one}" for one in known)
            self._writer.say(f"Epoch {event.frame.at.epoch} of {event.target}{said}.")

    def _on_silence(self) -> None:
        waiting = self._session.check_waiting()
        if self._engine.busy_for() > GIVE_UP and not (self._is_attended or self._has_given_up):
            self._has_given_up = self._is_interrupted = True
            self._writer.say(f"No answer for {GIVE_UP:.0f} seconds: the command is stopped.")
            self._session.stop()
        elif waiting.code and not self._has_named_command and self._clock() - self._began > LONG:
            self._has_named_command = True
            self._writer.say(spoken_notice(waiting))
