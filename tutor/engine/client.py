"""The app's side of the engine: starts the child process, speaks to it, outlives it.

Knows no screen. Events are handed to one callback, from a thread. A child that ends by
itself, or has to be killed because the lesson in it will not stop, is started again and
brought back to where its run stood.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO

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
from tutor.errors import EngineError

ASK_SECONDS = 0.3
"""So long has a lesson to come to the end of an epoch after a stop."""
INTERRUPT_SECONDS = 0.7
"""So long has it, after that, to give way to an interrupt before its process is killed."""

_COMMAND_LINE = [sys.executable, "-P", "-m", "tutor.engine.child"]


class EngineClient:
    """One child process at a time, and what has been asked of it."""

    def __init__(self) -> None:
        """Start the child, which does little until `start` says that the screen stands.

        Raises EngineError if it can't be started.
        """
        self._lock = threading.RLock()
        self._on_event: Callable[[AnyEvent], None] | None = None
        self._number = 0
        self._pending: dict[int, AnyCommand] = {}
        self._last_sign = time.monotonic()
        self._opened: Open | None = None
        self._shown: Shown | None = None
        self._ready = self._closing = False
        self._wished = False
        self._start_child()

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
            child = self._child
        threading.Thread(target=self._insist, args=(child, due), daemon=True).start()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._closing = True
            child = self._child
            self._write(Close())
        try:
            child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait()

    # ── The child ───────────────────────────────────────────────────────────────────

    def _start_child(self) -> None:
        # It lives as long as the child, which writes to it until torch is loaded.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # A session of its own: the terminal's signals are for the app alone.
            self._child = subprocess.Popen(
                _COMMAND_LINE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"the process that runs lessons can't be started: {error}") from error

    def _listen(self) -> None:
        """Hear what the child says, once it is told that there is somebody who listens."""
        threading.Thread(target=self._listen_to, args=(self._child,), daemon=True).start()
        self._write(Taken())

    def _write(self, command: AnyCommand) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(to_line(command))
            self._child.stdin.flush()
        except BrokenPipeError:  # it has just ended: the listener finds out and says so
            return

    def _listen_to(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                self._heard(event_from_line(line))
        child.wait()
        if not self._closing:
            self._outlive(child)

    def _heard(self, event: AnyEvent) -> None:
        with self._lock:
            self._last_sign = time.monotonic()
            self._pending.pop(event.answers, None)
            if isinstance(event, Shown):
                self._shown = event
            elif isinstance(event, Ready):
                self._ready = True
        self._tell(event)

    def _tell(self, event: AnyEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)

    # ── When it will not stop, or has ended ─────────────────────────────────────────

    def _insist(self, child: subprocess.Popen[bytes], due: int) -> None:
        """Interrupt, then kill, unless the commands up to `due` have been answered."""
        for wait, act in ((ASK_SECONDS, signal.SIGINT), (INTERRUPT_SECONDS, signal.SIGKILL)):
            until = time.monotonic() + wait
            while time.monotonic() < until:
                if not self._is_due(child, due):
                    return
                time.sleep(0.02)
            with self._lock:
                if not self._is_due(child, due):
                    return
                self._wished = act == signal.SIGKILL
                _signal(child, act)

    def _is_due(self, child: subprocess.Popen[bytes], due: int) -> bool:
        with self._lock:
            same = child is self._child and child.poll() is None
            return same and any(number <= due for number in self._pending)

    def _outlive(self, ended: subprocess.Popen[bytes]) -> None:
        """The child is gone: say why, start another, and go to where the run stood."""
        with self._lock:
            again, message = self._ready, self._why_ended(ended)
            self._pending.clear()
            self._ready = self._wished = False
            if again:
                try:
                    self._start_child()
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

    def _why_ended(self, ended: subprocess.Popen[bytes]) -> str:
        if not self._ready:
            return f"the process that runs lessons could not start: {self._last_error()}"
        if self._wished:
            return "the lesson would not stop: its process was ended and starts again"
        code = ended.returncode
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with status {code}"
        stepping = any(isinstance(command, StepPhase) for command in self._pending.values())
        during = f" while {self._shown.frame.next_phase} ran" if stepping and self._shown else ""
        return f"the lesson's process {how}{during}; it starts again"

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its process ended without a word"

    def _as_possible(self, command: AnyCommand) -> AnyCommand:
        """A Restart of a lesson that never came up is a new attempt to open it."""
        if isinstance(command, Restart) and self._shown is None and self._opened is not None:
            return self._opened
        return command


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Signal the child; kill it with all the processes that the lesson has started."""
    try:
        if number == signal.SIGKILL:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
    except ProcessLookupError:  # it has just ended by itself
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
