"""Holds the Run, does what commands ask, and tells what happened.

Knows no screen; knows nothing of the app but its messages, and nothing of how they come
and go but an inbox and a stream.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import torch

from tutor.engine.capture import Capture
from tutor.engine.inbox import Inbox
from tutor.engine.limits import limit_memory
from tutor.engine.messages import (
    AnyCommand,
    BackEpoch,
    BackPhase,
    Event,
    Failed,
    Look,
    Open,
    Pause,
    Printed,
    Ready,
    Refused,
    Restart,
    RunTo,
    Seek,
    SetLearningRate,
    Shown,
    StepEpoch,
    StepPhase,
    Switch,
    to_line,
)
from tutor.errors import RunError
from tutor.training import devices
from tutor.training.frame import Frame, Position
from tutor.training.loop import LessonRaised
from tutor.training.program import programs_of
from tutor.training.run import Run

FRAME_SECONDS = 0.1
"""At most so often is a frame sent while a run is on: ten a second move well enough, and every
frame that the app paints takes a core away from the training."""


@dataclass(slots=True)
class Server:
    """The run that is open, and what each command does to it."""

    inbox: Inbox
    out: BinaryIO
    capture: Capture
    run: Run | None = None
    opened: Open | None = None
    columns: int = 0
    target: int | None = None
    """The epoch that a run is on its way to; None while nothing runs."""
    rate: float = 0.0

    def serve(self) -> None:
        """Do one command after the other, for ever."""
        self.send(Ready(torch=str(torch.__version__), devices=devices.available()))
        self.handle(self.inbox.next())
        # The first lesson stands: now there is time for what its next mode will need.
        threading.Thread(target=_load_optimizers, name="load optimizers", daemon=True).start()
        while True:
            self.handle(self.inbox.next())

    def handle(self, command: AnyCommand) -> None:
        """Do what one command asks, and answer it."""
        try:
            with _interruptible():
                self._do(command)
        except LessonRaised as error:
            self._tell_raised(error, command.number)
        except RunError as error:
            self.send(Refused(message=str(error), answers=command.number))
        except KeyboardInterrupt:
            self._take_up_again(command.number)

    def send(self, event: Event) -> None:
        """Tell the app; first, whatever the lesson has printed until now."""
        text, left_out = self.capture.take()
        if text or left_out:
            self._write(Printed(text=text, left_out=left_out))
        self._write(event)

    def _write(self, event: Event) -> None:
        self.out.write(to_line(event))
        self.out.flush()

    # ── Commands ────────────────────────────────────────────────────────────────────

    def _do(self, command: AnyCommand) -> None:
        if isinstance(command, Open):
            self._open(command)
        elif isinstance(command, Look):
            self.columns = command.columns
        elif isinstance(command, Restart) and self.run is None and self.opened is not None:
            self._open(self.opened)
        elif self.run is None:
            raise RunError("no lesson is open")
        elif isinstance(command, RunTo) or (
            isinstance(command, Seek) and command.epoch > self.run.furthest
        ):
            self._run_to(self.run, command.epoch, command.number)
            return
        else:
            _act(self.run, command)
        if self.run is None:  # a Look before the first lesson: there is nothing to show
            raise RunError("no lesson is open")
        self._show(answers=command.number)

    def _open(self, command: Open) -> None:
        self.run, self.opened, self.rate = None, command, 0.0
        # A lesson that asks gets no answer. (Python's exit() closes what was here before.)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        programs = programs_of(command.lesson)
        record = command.record
        limit_memory(record.device if record else command.device)
        if record is None:
            start = (command.mode, command.device, command.learning_rate, command.seed)
            self.run = Run(programs, *start, quiet=self.capture.muted)
        else:
            to = Position(command.epoch, command.step if command.step is not None else 2**62)
            self.run = Run.from_record(programs, record, to, self.capture.muted)

    def _run_to(self, run: Run, epoch: int, number: int) -> None:
        """Train until `epoch`, or until a command comes that can't be done on the way."""
        started, first = time.perf_counter(), run.at.epoch
        self.target, self.inbox.taken = epoch, True
        try:
            self._train(run, epoch, started, first)
        finally:
            self.target = None
        self._show(answers=number)

    def _train(self, run: Run, epoch: int, started: float, first: int) -> None:
        diverged = run.frame().diverged
        while run.at.epoch < epoch or not run.at_end:
            if not self._done_on_the_way():
                break
            frame = run.run_to(epoch, self._slice_over(time.perf_counter() + FRAME_SECONDS))
            self.rate = (run.at.epoch - first) / (time.perf_counter() - started)
            if self.inbox.taken and run.at.epoch < epoch:
                self._show(frame=frame)
            if frame.diverged and not diverged:
                break  # once: who wants to see more of it runs on

    def _slice_over(self, deadline: float) -> Callable[[], bool]:
        """Whether it is time to look up: for a command, or for a frame if the app waits for one."""
        inbox, clock = self.inbox, time.perf_counter

        def over() -> bool:
            return bool(inbox) or (clock() > deadline and inbox.taken)

        return over

    def _done_on_the_way(self) -> bool:
        """Do the commands that wait, as long as they let a run go on."""
        while self.inbox:
            if not isinstance(self.inbox.peek(), Look | Switch | SetLearningRate):
                return False
            self.handle(self.inbox.next())
        return True

    # ── Telling ─────────────────────────────────────────────────────────────────────

    def _show(
        self,
        answers: int = 0,
        frame: Frame | None = None,
        note: str = "",
    ) -> None:
        run = self.run
        assert run is not None
        if not answers and self.target is not None:
            self.inbox.taken = False
        frame = frame or run.frame()
        self.send(
            Shown(
                answers=answers,
                frame=frame,
                diverged_at=run.diverged_at if frame.diverged else None,
                record=run.record,
                curve=run.curve(self.columns) if self.columns else None,
                furthest=run.furthest,
                target=self.target,
                rate=self.rate if self.target is not None else 0.0,
                note=note or run.note,
            )
        )

    def _tell_raised(self, error: LessonRaised, answers: int) -> None:
        """The frame that the run went back to, and what the lesson raised."""
        where = f"{error.phase}, line {error.line}," if error.line else error.phase
        if error.stopped and self.run is not None:
            self._show(answers, note=f"stopped: {where} was still running; back to before it")
            return
        if error.stopped:
            self.send(Refused(message=f"stopped: {where} was still running", answers=answers))
            return
        if self.run is not None:
            self._show()
        self.send(
            Failed(
                answers=answers,
                lesson=error.lesson,
                phase=error.phase,
                line=error.line,
                message=error.message,
            )
        )

    def _take_up_again(self, answers: int) -> None:
        """The learner's stop came between two statements of ours: build the run anew."""
        run = self.run
        if run is None:
            self.send(Refused(message="stopped", answers=answers))
            return
        self.run = Run.from_record(run.programs, run.record, run.at, self.capture.muted)
        self._show(answers, note="stopped")


def _act(run: Run, command: AnyCommand) -> None:
    """The commands that are one call of the run each."""
    acts: dict[type, Callable[[], object]] = {
        StepPhase: run.step_phase,
        StepEpoch: run.step_epoch,
        BackPhase: run.back,
        BackEpoch: run.back_epoch,
        Restart: run.restart,
        Pause: run.frame,
    }
    if isinstance(command, Switch):
        limit_memory(command.device or run.device_wanted)
        try:
            run.switch(mode=command.mode, device=command.device)
        finally:
            limit_memory(run.device_wanted)
    elif isinstance(command, SetLearningRate):
        run.set(learning_rate=command.value)
    elif isinstance(command, Seek):
        run.seek(command.epoch)
    else:
        acts[type(command)]()


def _load_optimizers() -> None:
    """Make an optimizer: the first of a process loads some 800 modules, for over a second."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, SIGINT (the learner's wish to stop) raises KeyboardInterrupt; else nothing."""
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, outside)
