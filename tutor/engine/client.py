"""The app's side of the engine: starts the child process, speaks to it, outlives it.

Events are handed to one callback, from a thread. A child that ends by itself, or has to be killed
because the lesson in it will not stop, is started again and brought back to where its run stood.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tutor.engine.process import COMMAND, LastPlace, LessonProcess, Process
from tutor.errors import EngineError
from tutor.protocol.commands import (
    Command,
    EndProcess,
    FramePainted,
    OpenLesson,
    Pause,
    Restart,
    StepPhase,
)
from tutor.protocol.events import (
    CommandRefused,
    EngineReady,
    Event,
    FrameShown,
    ProcessEnded,
    ProcessUnfit,
)
from tutor.protocol.frame import Remark
from tutor.script.line_places import place_in

if TYPE_CHECKING:
    from tutor.engine.connection import Connection

ASK_SECONDS = 0.3
"""Seconds that a lesson has to come to the end of an epoch after a stop."""
ASK_SECONDS_OF_SCRIPT = 5.0
"""The same for a script that has come to the end of a phase before: a batch may take seconds.

An interrupt within a batch would make a long epoch run again. A second stop interrupts at once.
"""
INTERRUPT_SECONDS = 0.7
"""Seconds that it then has to give way to an interrupt before its process is killed."""
INTERRUPT_SECONDS_OF_RANKS = 20.0
"""The same for a lesson on several ranks: the other ranks are started anew, and load PyTorch."""
CLOSE_SECONDS = 0.5
"""Seconds that a child has to end by itself once it should."""

BACK_OFF = (0.0, 1.0, 4.0)
"""Seconds before a process that ended by itself is started again: the 1st time, the 2nd, the 3rd.

The 4th time it is not started again until the learner says so.
"""
LONG_ENOUGH = 60.0
"""Seconds that a process has to live for its end to count as the first one."""


class EngineClient:
    """One child process at a time, and the commands that wait for its answers."""

    def __init__(
        self, command: Sequence[str] = COMMAND, terminal: str = "", host: str = ""
    ) -> None:
        """Start the child, which does little until `start`.

        `command`: how it is started. `terminal`: the path of the terminal that the app fills, if
        it fills one. With a `host` it runs there, over ssh, which may ask at the
        terminal now. Raises EngineError if the child can't be started, and what Connection does.
        """
        self._command, self._terminal = command, terminal
        self.host = host
        """The machine that the child runs on; empty for this one."""
        self._connection = self._connect()
        self._lock = threading.RLock()
        self._on_event: Callable[[Event], object] | None = None
        self._number = 0
        self._pending: dict[int, Command] = {}
        self._last_sign = time.monotonic()
        self._opened: OpenLesson | None = None
        self._shown: FrameShown | None = None
        self._ready = self._closing = False
        self._is_killed = False
        """Whether the learner's stop has ended the process."""
        self._stopping: tuple[LessonProcess, int, threading.Event] | None = None
        """The last stop: the process, the last command that it was for, whether it is at once."""
        self._spent: Remark | None = None
        """Why a lesson's process can't have another lesson, where that is so."""
        self._ends = 0
        """How often in succession the process has ended early without being stopped."""
        self._retried = 0
        """The opening that was tried again without having come to a frame."""
        self._has_given_up = False
        self._started = time.monotonic()
        self._process = self._new_process()

    # ── Calls of the app ────────────────────────────────────────────────────────────

    def start(self, on_event: Callable[[Event], object]) -> None:
        """Let the child load torch; hand every event to `on_event`, from a thread, from now on."""
        self._on_event = on_event
        self._attach()

    def send(self, command: Command) -> int:
        """Send a command; returns the number that its answer will carry. Never blocks."""
        with self._lock:
            command = self._possible(command)
            self._number += 1
            if isinstance(command, OpenLesson):
                opening = command.opening or self._number
                command = msgspec.structs.replace(command, opening=opening)
                self._opened, self._shown = command, None
            if self._has_given_up and not self._start_again(command):
                return self._refuse(self._number)
            return self._ask(command, self._number)

    def _ask(self, command: Command, number: int) -> int:
        with self._lock:
            command = msgspec.structs.replace(command, number=number)
            if not isinstance(command, FramePainted | EndProcess):
                if not self._pending:
                    self._last_sign = time.monotonic()
                self._pending[command.number] = command
            self._process.send(command)
            return number

    def _start_again(self, command: Command) -> bool:
        """Start a process after too many ends, as opening a lesson does; returns whether it has."""
        if not isinstance(command, OpenLesson) or self._lost:
            return False
        try:
            self._start_process()
        except EngineError:
            return False
        self._has_given_up, self._ends = False, 0
        return True

    def _opening(self) -> int:
        return self._opened.opening if self._opened else 0

    def _refuse(self, number: int) -> int:
        """Answer a command that no process can do: from a thread, as all answers come."""
        remark, can_restart = self._lost or Remark("no_process"), self._lost is None
        refused = CommandRefused(
            remark=remark, can_restart=can_restart, answers=number, opening=self._opening()
        )
        threading.Thread(target=self._report, args=(refused,), daemon=True).start()
        return number

    def _start_process(self) -> None:
        """Start the child process. Raises EngineError."""
        self._process = self._new_process()
        self._started = time.monotonic()
        self._attach()

    def busy_for(self) -> float:
        """Seconds without any sign of the child while an answer is due; 0.0 if none is."""
        with self._lock:
            waiting = self._pending and self._ready
            return time.monotonic() - self._last_sign if waiting else 0.0

    def stop(self) -> None:
        """Stop what runs: by asking, then by an interrupt, then by ending the child."""
        with self._lock:
            if not self._pending or not self._ready:
                return
            if (before := self._stopping) and self._is_waiting(*before[:2]):
                before[2].set()
                return
            self._stopping = arguments = self._process, max(self._pending), threading.Event()
            self.send(Pause())
        threading.Thread(target=self._force_stop, args=arguments, daemon=True).start()

    def suspend(self) -> None:
        """Halt the child, and all processes that a lesson has started in it."""
        self._process.set_on_screen(False)
        self._process.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the child continue. That it was silent meanwhile is no sign that it hangs."""
        self._process.signal_all(signal.SIGCONT)
        self._process.set_on_screen(self._terminal != "")
        with self._lock:
            self._last_sign = time.monotonic()

    def close(self) -> None:
        """End the child, and all that a lesson has started in it."""
        with self._lock:
            self._closing = True
            self._process.send(EndProcess())
        self._process.set_on_screen(False)
        self._process.end(CLOSE_SECONDS)
        if self._connection is not None:
            self._connection.close()

    # ── The far end ─────────────────────────────────────────────────────────────────

    @property
    def _lost(self) -> Remark | None:
        return self._connection.lost if self._connection is not None else None

    def _connect(self) -> Connection | None:
        if not self.host:
            return None
        from tutor.engine.connection import Connection  # noqa: PLC0415 - seldom needed

        return Connection(self.host, self._terminal)

    def _new_process(self) -> LessonProcess:
        if self._connection is not None:
            return self._connection.start_process()
        return Process(self._command, self._terminal)

    def reconnect(self) -> None:
        """After the connection is lost: make another one, and go to where the run stood.

        ssh may ask at the terminal meanwhile. Raises what Connection does.
        """
        if self._connection is None or not self._has_given_up:
            return
        another = self._connect()
        self._connection.close()
        with self._lock:
            self._connection = another
            self._has_given_up, self._ends, self._retried = False, 0, 0
            self._restart(self._reopening())

    # ── The child ───────────────────────────────────────────────────────────────────

    def _attach(self) -> None:
        """Read the child's events, and let it load torch."""
        threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()
        self._process.send(FramePainted())

    def _follow(self, process: LessonProcess) -> None:
        process.follow(lambda event: self._pass_on(event, process))
        self._handle_end(process)

    def _pass_on(self, event: Event, process: LessonProcess) -> None:
        """Hand an event on, unless another process has taken the place of the one it is from."""
        with self._lock:
            if process is not self._process:
                return
            self._last_sign = time.monotonic()
            if isinstance(event, ProcessUnfit):
                self._spent = event.reason
                process.kill()
                return
            self._pending.pop(event.answers, None)
            if isinstance(event, FrameShown):
                if self._opened is not None and event.opening == self._opened.opening:
                    self._shown = event
            elif isinstance(event, EngineReady):
                self._ready = True
        self._report(event)

    def _report(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    # ── A child that does not stop, or has ended ────────────────────────────────────

    def _force_stop(self, process: LessonProcess, due: int, at_once: threading.Event) -> None:
        """Interrupt, then kill, unless the commands up to `due` have been answered."""
        ask, give_way = _patience(self._opened, is_begun=self._shown is not None)
        for wait, is_last in ((ask, False), (give_way, True)):
            until = time.monotonic() + wait + process.round_trip
            while time.monotonic() < until and (is_last or not at_once.is_set()):
                if not self._is_waiting(process, due):
                    return
                time.sleep(0.02)
            with self._lock:
                if not self._is_waiting(process, due):
                    return
                self._is_killed = is_last
                if not is_last:
                    process.interrupt()
            if is_last:
                process.dump_stack()
                process.kill()

    def _is_waiting(self, process: LessonProcess, due: int) -> bool:
        with self._lock:
            same = process is self._process and process.is_alive
            return same and any(number <= due for number in self._pending)

    def _handle_end(self, ended: LessonProcess) -> None:
        """Report why the child has ended, start another, and go to where the run stood."""
        with self._lock:
            if self._closing:
                return
            place = ended.place(self._opened.lesson) if self._opened else None
            remark = self._why_ended(ended, place)
            self._count_end()
            is_lost = ended.lost is not None
            again = self._ready and self._ends <= len(BACK_OFF) and not is_lost
            if place is not None and place.is_expression:  # else it would end the next one, too
                self._leave_out(place.what)
            reopen = self._reopening() if again else None
            can_restart = self._ready and not again and not is_lost
            can_restart |= again and self._opened is not None and reopen is None
            self._pending.clear()
            self._has_given_up = is_lost or (self._ready and not again)
            self._ready = self._is_killed = False
            self._spent = None
        self._report(
            ProcessEnded(
                remark=remark, restarting=again, can_restart=can_restart, opening=self._opening()
            )
        )
        if again:
            time.sleep(BACK_OFF[max(self._ends - 1, 0)])
            self._restart(reopen)

    def _leave_out(self, label: str) -> None:
        """Leave out the expression with this label when the lesson is opened again."""
        if (opened := self._opened) is not None and label not in opened.without:
            without = (*opened.without, label)
            self._opened = msgspec.structs.replace(opened, without=without)

    def _count_end(self) -> None:
        if self._is_killed or self._spent:
            self._ends = 0
        elif time.monotonic() - self._started > LONG_ENOUGH:
            self._ends = 1
        else:
            self._ends += 1

    def _restart(self, reopen: OpenLesson | None) -> None:
        """Start another child, and send again the commands that came after the last one's end."""
        with self._lock:
            if self._closing:
                return
            waiting = tuple(self._pending.values())
            try:
                self._start_process()
            except EngineError as error:
                self._has_given_up = True
                opening = self._opening()
                self._report(
                    ProcessEnded(remark=Remark.of(error), restarting=False, opening=opening)
                )
                return
            if reopen is not None and not any(isinstance(c, OpenLesson) for c in waiting):
                self._number += 1
                self._ask(reopen, self._number)
            for command in waiting:
                self._process.send(command)

    def _reopening(self) -> OpenLesson | None:
        """The command that leads back to the run's position; None if that has failed before.

        An opening that never came to a frame is tried once more: another lesson may have been
        what ended the process.
        """
        shown, opened, self._shown = self._shown, self._opened, None
        if opened is None or (shown is None and self._retried == opened.opening):
            return None
        self._retried = opened.opening
        if shown is None:
            return opened
        at = shown.frame.at
        return msgspec.structs.replace(
            opened,
            recipe=shown.recipe,
            epoch=at.epoch,
            step=at.step,
            before=None,
            # Their curves are computed anew: a long line is no help on the way down.
            runs=tuple(msgspec.structs.replace(run, curve=None) for run in shown.runs),
        )

    def _why_ended(self, ended: LessonProcess, place: LastPlace | None) -> Remark:
        if ended.lost is not None:
            return ended.lost
        if not self._ready:
            return Remark("not_started", {"error": ended.last_error()})
        if self._spent:
            return Remark("ended_unclean", {"reason": self._spent})
        where: dict[str, Any] = {}
        if place is not None and self._opened is not None:
            of_line = place_in(self._opened.lesson)(place.line)
            where = {**msgspec.structs.asdict(place), "place": of_line}
        if self._is_killed:
            return Remark("did_not_stop" if where else "lesson_did_not_stop", where)
        how = ended.how_ended(place)
        if how.code == "no_end":
            return Remark("no_end", {**where, **how.values})
        stepping = any(isinstance(command, StepPhase) for command in self._pending.values())
        phase = self._shown.frame.next_phase if stepping and self._shown else ""
        return Remark(how.code, {**how.values, "phase": phase})

    def _possible(self, command: Command) -> Command:
        """A Restart of a lesson that never came up is a new attempt to open it."""
        is_gone = self._shown is None or (self._has_given_up and not self._lost)
        if isinstance(command, Restart) and is_gone and self._opened is not None:
            return self._opened
        return command


def _patience(opened: OpenLesson | None, *, is_begun: bool) -> tuple[float, float]:
    """The seconds to come to the end of an epoch, and then to give way to an interrupt."""
    lesson = opened.lesson if opened is not None else None
    is_script = lesson is not None and lesson.script is not None
    has_ranks = lesson is not None and lesson.workers > 1
    return (
        ASK_SECONDS_OF_SCRIPT if is_script and is_begun else ASK_SECONDS,
        INTERRUPT_SECONDS_OF_RANKS if has_ranks else INTERRUPT_SECONDS,
    )
