"""Waits for the engine's answers, and tells how it goes while that takes long.

The engine speaks from a thread of its own: what it says lies in a queue until whoever typed
a command waits for its answer here.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tutor.errors import EngineError
from tutor.plain_mode.exercise_text import spoken_notice
from tutor.plain_mode.line_writer import LineWriter
from tutor.plain_mode.spoken_values import is_known, said_value
from tutor.protocol.messages import (
    AnyEvent,
    CommandRefused,
    EngineReady,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.session.engine_session import Engine
from tutor.session.session import Session

TICK = 0.5
"""Seconds between two looks at whether it takes too long."""

LONG = 3.0
"""Seconds after which it is said what is waited for."""

PROGRESS = 10.0
"""Seconds between two lines on how far a run has come."""

GIVE_UP = 60.0
"""Seconds without a sign of life after which it is stopped, where nobody can press Ctrl+C."""


class EventListener:
    """Takes in what the engine tells, until nothing more is awaited."""

    def __init__(
        self,
        engine: Engine,
        session: Session,
        voice: LineWriter,
        *,
        is_attended: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_attended`: whether somebody is there to stop what hangs."""
        self._engine = engine
        self._session = session
        self._voice = voice
        self._is_attended = is_attended
        self._clock = clock
        self._events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()
        self._is_coming_back = False
        """The engine's process has ended; another one goes to where the run stood."""
        self._began = self._told = clock()
        self._has_said_what = self._has_given_up = self._is_interrupted = False

    def start(self) -> None:
        """Let the engine begin."""
        self._engine.start(self._events.put)

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Wait until all commands are answered, and `until` is true or the learner stops it.

        Raises EngineError if the engine is gone.
        """
        self._began = self._told = self._clock()
        self._has_said_what = self._has_given_up = self._is_interrupted = False
        with self._ctrl_c_stops():
            while (
                self._session.is_waiting
                or self._is_coming_back
                or not (until() or self._is_interrupted)
            ):
                try:
                    self._hear(self._events.get(timeout=TICK))
                except queue.Empty:
                    self._grow_impatient()
            while not self._events.empty():
                self._hear(self._events.get())

    @contextmanager
    def _ctrl_c_stops(self) -> Iterator[None]:
        """Let Ctrl+C be heard in its turn: it must not break off what an event sets in motion."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are for the main thread alone
            return
        before = signal.signal(signal.SIGINT, lambda *_: self._events.put(None))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _hear(self, event: AnyEvent | None) -> None:
        """Take in an event; None is Ctrl+C."""
        if event is None:
            self._is_interrupted = True
            if self._session.is_waiting:
                self._voice.say("Stopping.")
                self._session.stop()
            return
        is_owed = self._session.receive(event)
        if isinstance(event, ProcessEnded):
            if not event.restarting:
                raise EngineError(event.message)
            self._is_coming_back = True
        elif isinstance(event, FrameShown | CommandRefused | LessonFailed):
            self._is_coming_back = False
        elif isinstance(event, EngineReady) and self._is_coming_back:
            view = self._session.view  # where nothing stood, nothing is taken up again
            self._is_coming_back = view is not None and view.frame is not None
        if is_owed and isinstance(event, FrameShown):
            self._tell_progress(event)
            self._session.frame_painted()

    def _tell_progress(self, event: FrameShown) -> None:
        now = self._clock()
        if now - self._told >= PROGRESS:
            self._told = now
            loss = f", the loss is {said_value(event.frame.loss)}"
            said = loss if is_known(event.frame.loss) else ""
            self._voice.say(f"Epoch {event.frame.at.epoch} of {event.target}{said}.")

    def _grow_impatient(self) -> None:
        waiting = self._session.check_waiting()
        if self._engine.busy_for() > GIVE_UP and not (self._is_attended or self._has_given_up):
            self._has_given_up = self._is_interrupted = True
            self._voice.say(f"No sign of life for {GIVE_UP:.0f} seconds: it is stopped.")
            self._session.stop()
        elif waiting.code and not self._has_said_what and self._clock() - self._began > LONG:
            self._has_said_what = True
            self._voice.say(spoken_notice(waiting))
