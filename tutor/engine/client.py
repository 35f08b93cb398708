"""The app's side of the engine: starts the child process, speaks to it, outlives it.

Knows no screen. Events are handed to one callback, from a thread. A child that ends by
itself, or has to be killed because the lesson in it will not stop, is started again and
brought back to where its run stood.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from tutor.engine.messages import (
    AnyCommand,
    AnyEvent,
    Close,
    Ended,
    Open,
    Pause,
    Ready,
    Restart,
    Shown,
    StepPhase,
    Taken,
    event_from_line,
    to_line,
)
from tutor.engine.process import COMMAND, Process, how_ended
from tutor.errors import EngineError

ASK_SECONDS = 0.3
"""So long has a lesson to come to the end of an epoch after a stop."""
INTERRUPT_SECONDS = 0.7
"""So long has it, after that, to give way to an interrupt before its process is killed."""
CLOSE_SECONDS = 0.5
"""So long has a child to end by itself once it is told to, or has let go of its pipe."""


class EngineClient:
    """One child process at a time, and what has been asked of it."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Start the child, which does little until `start` says that the screen stands.

        `command`: how it is started. Raises EngineError if it can't be.
        """
        self._command = command
        self._lock = threading.RLock()
        self._on_event: Callable[[AnyEvent], None] | None = None
        self._number = 0
        self._pending: dict[int, AnyCommand] = {}
        self._last_sign = time.monotonic()
        self._opened: Open | None = None
        self._shown: Shown | None = None
        self._ready = self._closing = False
        self._wished = False
        self._process = Process(self._command)

    # ── What the app calls ──────────────────────────────────────────────────────────

    def start(self, on_event: Callable[[AnyEvent], None]) -> None:
        """Let it load torch, and hand every event to `on_event`, from a thread, from now on."""
        self._on_event = on_event
        self._listen()

    def send(self, command: AnyCommand) -> int:
        """Ask for something; returns the number that its answer will carry. Never blocks."""
        with self._lock:
            command = self._as_possible(command)
            if isinstance(command, Open):
                self._opened, self._shown = command, None
            return self._ask(command)

    def _ask(self, command: AnyCommand) -> int:
        with self._lock:
            self._number += 1
            command = msgspec.structs.replace(command, number=self._number)
            if not isinstance(command, Taken | Close):
                if not self._pending:
                    self._last_sign = time.monotonic()
                self._pending[command.number] = command
            self._write(command)
            return self._number

    def busy_for(self) -> float:
        """Seconds without any sign of the child while an answer is due; 0.0 if none is."""
        with self._lock:
            waiting = self._pending and self._ready
            return time.monotonic() - self._last_sign if waiting else 0.0

    def stop(self) -> None:
        """Break off what runs: by asking, then by an interrupt, then by ending the child."""
        with self._lock:
            if not self._pending or not self._ready:
                return
            due = max(self._pending)
            self.send(Pause())
            process = self._process
        threading.Thread(target=self._insist, args=(process, due), daemon=True).start()

    def suspend(self) -> None:
        """Let the child stand still, with all that a lesson has started in it."""
        self._process.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on. That it was silent meanwhile is no sign that it hangs."""
        self._process.signal_all(signal.SIGCONT)
        with self._lock:
            self._last_sign = time.monotonic()

    def close(self) -> None:
        """End the child, and all that a lesson has started in it."""
        with self._lock:
            self._closing = True
            self._write(Close())
        self._process.end(CLOSE_SECONDS)

    # ── The child ───────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Hear what the child says, once it is told that there is somebody who listens."""
        threading.Thread(target=self._attend, args=(self._process,), daemon=True).start()
        self._write(Taken())

    def _write(self, command: AnyCommand) -> None:
        self._process.write(to_line(command))

    def _attend(self, process: Process) -> None:
        """Have it heard until it ends; then say so, even if another process holds its pipe."""
        reader = threading.Thread(target=self._listen_to, args=(process,), daemon=True)
        reader.start()
        status = process.wait()
        reader.join(CLOSE_SECONDS)
        self._outlive(process, status)

    def _listen_to(self, process: Process) -> None:
        """A child that says what the engine never says is ended: the lesson has spoken for it."""
        fault, patience = "closed the tutor's own pipe", CLOSE_SECONDS
        try:
            for line in process.lines():
                if not self._heard(event_from_line(line), process):
                    return
        except (EngineError, msgspec.DecodeError):
            fault, patience = "wrote into the tutor's own pipe", 0.0
        finally:  # whatever came between: a child that nobody hears is of no use
            process.end(patience, fault)

    def _heard(self, event: AnyEvent, process: Process) -> bool:
        """Pass it on; whether there may be more: nobody speaks for a process that is gone."""
        with self._lock:
            if process is not self._process:
                return False
            self._last_sign = time.monotonic()
            self._pending.pop(event.answers, None)
            if isinstance(event, Shown):
                self._shown = event
            elif isinstance(event, Ready):
                self._ready = True
        self._tell(event)
        return True

    def _tell(self, event: AnyEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)

    # ── When it will not stop, or has ended ─────────────────────────────────────────

    def _insist(self, process: Process, due: int) -> None:
        """Interrupt, then kill, unless the commands up to `due` have been answered."""
        for wait, is_last in ((ASK_SECONDS, False), (INTERRUPT_SECONDS, True)):
            until = time.monotonic() + wait
            while time.monotonic() < until:
                if not self._is_due(process, due):
                    return
                time.sleep(0.02)
            with self._lock:
                if not self._is_due(process, due):
                    return
                self._wished = is_last
                process.kill() if is_last else process.interrupt()

    def _is_due(self, process: Process, due: int) -> bool:
        with self._lock:
            same = process is self._process and process.is_alive
            return same and any(number <= due for number in self._pending)

    def _outlive(self, ended: Process, status: int) -> None:
        """The child is gone: say why, start another, and go to where the run stood."""
        with self._lock:
            if self._closing:
                return
            again, message = self._ready, self._why_ended(ended, status)
            self._pending.clear()
            self._ready = self._wished = False
            if again:
                try:
                    self._process = Process(self._command)
                    self._listen()
                except EngineError as error:
                    again, message = False, str(error)
        self._tell(Ended(message=message, restarting=again))
        if again:
            self._take_up_again()

    def _take_up_again(self) -> None:
        """Ask the new child for the run that the old one held, once: it may die of it too."""
        shown, self._shown = self._shown, None
        if self._opened is None or shown is None:
            return
        at = shown.frame.at
        self._ask(
            msgspec.structs.replace(
                self._opened,
                record=shown.record,
                epoch=at.epoch,
                step=at.step,
                before=None,
                # Their curves are computed anew: a long line is no help on the way down.
                runs=tuple(msgspec.structs.replace(run, curve=None) for run in shown.runs),
            )
        )

    def _why_ended(self, ended: Process, status: int) -> str:
        if not self._ready:
            why = ended.last_error() or "it ended without a word"
            return f"the process that runs lessons could not start: {why}"
        if self._wished:
            return "the lesson would not stop: its process was ended and starts again"
        stepping = any(isinstance(command, StepPhase) for command in self._pending.values())
        during = f" while {self._shown.frame.next_phase} ran" if stepping and self._shown else ""
        return f"the lesson's process {_how_ended(ended, status)}{during}; it starts again"

    def _as_possible(self, command: AnyCommand) -> AnyCommand:
        """A Restart of a lesson that never came up is a new attempt to open it."""
        if isinstance(command, Restart) and self._shown is None and self._opened is not None:
            return self._opened
        return command


def _how_ended(ended: Process, status: int) -> str:
    return f"{ended.fault} and was ended" if ended.fault else how_ended(status)
