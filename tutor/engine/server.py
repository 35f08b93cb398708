"""The child's side of the protocol: carries out commands on the runs, and sends events."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import msgspec
import torch

from tutor.engine.child import Capture, Inbox, ProcessLock
from tutor.engine.open_runs import (
    Inspector,
    RunProgress,
    RunsSetAside,
    apply_command,
    open_runs,
    target_of,
)
from tutor.engine.process_state import CleanProcess, ProcessState, end_other_processes
from tutor.errors import Refused, RunError
from tutor.protocol.commands import (
    CheckLesson,
    Command,
    EvaluateExpressions,
    Examine,
    FindLocalGradients,
    Inspect,
    InspectScript,
    LessonCommand,
    OpenLesson,
    Restart,
    RunTo,
    Seek,
    TrainLesson,
    WriteSeries,
)
from tutor.protocol.events import (
    CommandRefused,
    EngineReady,
    Event,
    FrameShown,
    LessonFailed,
    OutputPrinted,
    ProcessUnfit,
    SeekAdvanced,
    SeriesWritten,
    StoppedAt,
)
from tutor.protocol.frame import EPOCH_END, Frame, Remark
from tutor.protocol.messages import to_line
from tutor.training import devices
from tutor.training.lesson_error import LessonRaised
from tutor.training.runs import Runs
from tutor.training.time_limit import blocked

if TYPE_CHECKING:
    from tutor.training.rank_group import ProcessRanks

FRAME_SECONDS = 0.1
"""The pause between two frames while a run is on: ten a second move well enough, and every
frame that the app paints takes a core away from the training."""

SEEK_REPORT_SECONDS = 0.5
"""Seconds after which a long replay is reported."""

_STOPPED, _LOST = Remark("stopped"), Remark("device_lost")

_DURING_A_RUN = (Inspect, EvaluateExpressions)
"""Commands that are done in the middle of a run, which then continues.

Before a change, the app sends a Pause, and after it another RunTo (`Session.request`).
"""


@dataclass(slots=True)
class Server:
    """The runs that are open, and what each command does to them."""

    inbox: Inbox
    out: BinaryIO
    capture: Capture
    inspector: Inspector = field(init=False)
    runs: Runs | None = None
    opened: OpenLesson | None = None
    opening: int = 0
    """The number of the OpenLesson that the events are marked with."""
    set_aside: RunsSetAside | None = None
    """The lesson's runs, while an exercise has a run of its own."""
    progress: RunProgress | None = None
    """The progress of a RunTo, while it is on."""
    writing: ProcessLock = field(default_factory=ProcessLock)
    """Held while a line is written: a script's output is sent by the thread that reads it."""
    clean: CleanProcess | None = None
    """The process before the first lesson; None until one is opened."""

    def __post_init__(self) -> None:
        """Compute inspections without showing what the lesson prints in them."""
        self.inspector = Inspector(self.capture.muted)

    def serve(self) -> None:
        """Do one command after the other, forever; compute inspections while there is none."""
        self.send(EngineReady(torch=str(torch.__version__), devices=devices.available()))
        while True:
            self.handle(self.inbox.next())
            self.inspect()

    def handle(self, command: Command) -> None:
        """Carry out one command, and answer it."""
        before = ProcessState.now()
        try:
            with self.inbox.interrupts.raised(self._has_command):
                self._do(command)
        except LessonRaised as error:
            before.restore()  # the run went back to then
            self._report_error(error, command.number)
            if devices.is_lost(error.__cause__):
                self._ask_for_another_process(_LOST)
        except RunError as error:
            remark, can_restart = Remark.of(error), self.runs is None and self.opened is not None
            self.send(
                CommandRefused(remark=remark, can_restart=can_restart, answers=command.number)
            )
        except KeyboardInterrupt:
            before.restore()
            self._rebuild(command.number)

    def inspect(self) -> None:
        """Send the inspections that the app wants, as long as no command waits."""
        if self.runs is None or self.inbox:
            return
        before = ProcessState.now()
        try:
            with self.inbox.interrupts.raised():
                for ready in self.inspector.all(self.runs, self._has_command):
                    self.send(ready)
        except KeyboardInterrupt:
            before.restore()
            return  # it took too long: the command that came meanwhile is done first
        except RunError:
            return  # this inspection is not shown; the runs are as they were

    def send(self, event: Event) -> None:
        """Send an event; first, whatever the lesson has printed until now."""
        text, left_out = self.capture.take()
        if text or left_out:
            self._write(OutputPrinted(text=text, left_out=left_out))
        self._write(event)

    def _write(self, event: Event) -> None:
        line = to_line(msgspec.structs.replace(event, opening=self.opening))
        with self.writing(), blocked(signal.SIGINT):  # it would leave half a line in a full pipe
            self.out.write(line)
            self.out.flush()

    def _has_command(self) -> bool:
        return bool(self.inbox)

    # ── Commands ────────────────────────────────────────────────────────────────────

    def _do(self, command: Command) -> None:
        """Carry out a command; each case answers it."""
        if isinstance(command, Inspect):
            self.inspector.wanted = command
        match command:
            case CheckLesson() | TrainLesson() | InspectScript():
                self._run_lesson(command)
            case OpenLesson():
                self._show(command.number, before=self._open(command))
            case Restart() if self.runs is None and self.opened is not None:
                self._open(self.opened)
                self._show(command.number)
            case _ if (runs := self.runs) is not None:
                self._do_with(runs, command)
            case _:
                raise Refused("no_lesson_open")

    def _do_with(self, runs: Runs, command: Command) -> None:
        """Carry out a command on the open runs; each case answers it."""
        match command:
            case Inspect():
                self._show(command.number)
            case EvaluateExpressions() | FindLocalGradients() | Examine():
                pause = self.inbox.has_pause
                self.send(self.inspector.answer(self.opened, runs.current, command, pause))
            case WriteSeries():
                self._write_series(runs, command)
            case Seek():
                self._seek(runs, command)
            case RunTo(epoch=epoch):
                runs.remarks = ()
                self._train_to(runs, epoch)
                self._show(command.number)
            case _:
                self._step_or_change(runs, command)

    def _step_or_change(self, runs: Runs, command: Command) -> None:
        """Carry out a command that is one step, or one change, of the runs."""
        runs.remarks = ()
        not_undone = self._begin_clean() if isinstance(command, Restart) else None
        until = self._progress(runs, target_of(command, runs.current))
        frame = apply_command(runs, command, until)
        if not_undone:
            runs.remarks = runs.remarks or (not_undone,)
        self._show(command.number, frame)

    def _open(self, command: OpenLesson) -> Frame | None:
        """Open the run that the command describes; returns the frame before, if it asks for one."""
        self.opening = command.opening
        resumed, self.set_aside = self.set_aside, None
        if command.sets_runs_aside:
            self.set_aside, resumed = resumed or _aside(self.opened, self.runs), None
        elif resumed is not None and not resumed.is_asked_by(command):
            resumed = None
        opened = self.opened
        self._close()
        # The lesson itself, or an exercise in it, keeps the ranks that are running.
        is_same = opened is not None and opened.lesson.path == command.lesson.path
        if ranks := _ranks():
            ranks.end(unless_size=command.lesson.workers if is_same else 0)
        self.opened = command
        not_undone = self._begin_clean()
        if not_undone and resumed is None and self.set_aside is None:
            self._ask_for_another_process(not_undone)
        if resumed is not None:
            self.runs = resumed.resume()
            return None
        self.runs, before = open_runs(command, self.capture.muted)
        return before

    def _close(self) -> None:
        """Close the open lesson."""
        if self.runs is not None and self.set_aside is None:
            with self.capture.muted():
                self.runs.close()
        self.runs = self.opened = None
        self.inspector.forget()

    def _run_lesson(self, command: LessonCommand) -> None:
        from tutor.engine.lesson_commands import run_lesson  # noqa: PLC0415  no lesson is open

        self._close()
        if ranks := _ranks():
            ranks.end()
        if not_undone := self._begin_clean():
            self._ask_for_another_process(not_undone)
        if command.lesson.script is None:
            run_lesson(command, self.send, self.capture)
            return
        with self.capture.passed_on(
            lambda text, is_error: self._write(OutputPrinted(text=text, is_error=is_error))
        ):
            run_lesson(command, self.send, self.capture)

    def _ask_for_another_process(self, reason: Remark) -> NoReturn:
        """End this one, which is not fit for a lesson: the app opens the lesson in another."""
        self.send(ProcessUnfit(reason=reason))
        os._exit(0)

    def _begin_clean(self) -> Remark | None:
        """Undo what the lesson before has done to the process, and end what it has started.

        Returns what can't be undone.
        """
        not_undone = None
        if self.clean is None:
            self.clean = CleanProcess()
        else:
            not_undone = self.clean.restore()
        if ranks := _ranks():
            ranks.clean()
        self.capture.renew()
        if self.set_aside is None:  # else its processes may be needed again
            end_other_processes()
        return not_undone if devices.free_memory() else _LOST

    def _write_series(self, runs: Runs, command: WriteSeries) -> None:
        from tutor.training.series import series_text, write_series  # noqa: PLC0415  rarely wanted

        run, how = runs.current, (self._has_command, self.capture.muted)
        text = series_text(run, *how) if command.is_sent else ""
        if not (text or (not command.is_sent and write_series(run, Path(command.path), *how))):
            raise Refused("not_written", path=command.path)
        self.send(SeriesWritten(path=command.path, text=text, answers=command.number))

    # ── Long replays and training ───────────────────────────────────────────────────

    def _seek(self, runs: Runs, command: Seek) -> None:
        """Go to a position: by replay within the run so far, beyond it by training."""
        run, epoch, step = runs.current, command.epoch, command.step
        runs.remarks = ()
        whole = epoch if step == EPOCH_END else epoch - 1
        if whole > run.last_epoch and not self._train_to(runs, whole):
            self._show(answers=command.number)
            return
        into = 1.0 if step == EPOCH_END else step / max(run.loop.steps, step, 1)
        run.seek(epoch, step, self._progress(runs, max(epoch - 1 + into, 0.0)))
        self._show(answers=command.number)

    def _progress(self, runs: Runs, target: float) -> Callable[[], bool]:
        """Whether the learner stops a long replay; reports meanwhile how far it is.

        `target`: the epochs that will have run at its end, with a part of one.
        """
        begun = reported = time.perf_counter()
        progress = RunProgress(target)

        def is_stopped() -> bool:
            nonlocal reported
            now, run = time.perf_counter(), runs.current
            progress.advance(run.epochs_done)
            if now - begun > SEEK_REPORT_SECONDS and now - reported > FRAME_SECONDS:
                reported = now
                epochs = {"epoch": run.at.epoch, "target": math.ceil(target)}
                self._write(SeekAdvanced(**epochs, seconds_left=progress.seconds_left))
            return self.inbox.has_pause()

        return is_stopped

    def _train_to(self, runs: Runs, epoch: int) -> bool:
        """Train to the end of an epoch, or until a command comes that can't be done on the way.

        Returns whether the run came there.
        """
        self.inbox.has_painted = True
        self.progress = RunProgress(epoch)
        try:
            self._train(runs, epoch, self.progress)
        finally:
            self.progress = None
        return runs.current.at.epoch >= epoch and runs.current.at_end

    def _train(self, runs: Runs, epoch: int, progress: RunProgress) -> None:
        progress.advance(runs.current.epochs_done)
        diverged = runs.current.frame().diverged
        while (run := runs.current).at.epoch < epoch or not run.at_end:
            if not self._do_waiting():
                break
            run = runs.current  # a stop in the middle of a command has built it anew
            frame = run.run_to(epoch, _slice_over(self.inbox, time.perf_counter() + FRAME_SECONDS))
            progress.advance(run.epochs_done)
            if self.inbox.has_painted and run.at.epoch < epoch:
                self._show(frame=frame)
                for ready in self.inspector.glance(runs, self._has_command):
                    self.send(ready)
            if frame.is_over or (frame.diverged and not diverged):
                break  # once: the learner may run on

    def _do_waiting(self) -> bool:
        """Do the commands that wait, as long as a run may continue after them."""
        while self.inbox:
            if not isinstance(self.inbox.peek(), _DURING_A_RUN):
                return False
            self.handle(self.inbox.next())
        return True

    # ── Events ──────────────────────────────────────────────────────────────────────

    def _show(
        self,
        answers: int = 0,
        frame: Frame | None = None,
        remarks: tuple[Remark, ...] = (),
        before: Frame | None = None,
        stopped: StoppedAt | None = None,
    ) -> None:
        runs = self.runs
        assert runs is not None
        progress = self.progress
        if not answers and progress is not None:
            self.inbox.has_painted = False
        run, columns = runs.current, self.inspector.wanted.columns
        frame = frame or run.frame()
        self.send(
            FrameShown(
                answers=answers,
                frame=frame,
                before=before,
                diverged_at=run.diverged_at if frame.diverged else None,
                recipe=run.recipe,
                curve=run.curve(columns) if columns else None,
                last_epoch=run.last_epoch,
                target=int(progress.target) if progress else None,
                rate=progress.rate if progress else 0.0,
                seconds_left=progress.seconds_left if progress else None,
                printed=self.capture.unheard if run.has_run_again else None,
                remarks=remarks or runs.remarks or run.remarks,
                stopped=stopped,
                runs=runs.infos(columns),
            )
        )
        run.has_run_again = False

    def _report_error(self, error: LessonRaised, answers: int) -> None:
        """The frame that the run went back to, and what the lesson raised."""
        if error.stopped:
            stopped = StoppedAt(error.phase, error.line)
            if self.runs is not None:
                self._show(answers, stopped=stopped)
            else:
                self.send(CommandRefused(remark=_STOPPED, stopped=stopped, answers=answers))
            return
        if self.runs is not None and not devices.is_lost(error.__cause__):
            self._show()
        self.send(
            LessonFailed(
                answers=answers,
                lesson=error.lesson,
                phase=error.phase,
                line=error.line,
                error=error.error,
            )
        )

    def _rebuild(self, answers: int) -> None:
        """The learner's stop came between two statements of ours: build the run anew."""
        runs = self.runs
        if runs is None:
            self.send(CommandRefused(remark=_STOPPED, answers=answers))
            return
        runs.rebuild_all()
        self._show(answers, remarks=(_STOPPED,))


def _ranks() -> ProcessRanks | None:
    """The other ranks of this process, once a lesson on several has loaded their module."""
    module = sys.modules.get("tutor.training.rank_group")
    return module.RANKS if module else None


def _slice_over(inbox: Inbox, deadline: float) -> Callable[[], bool]:
    """Whether it is time to look for a command, or to send a frame that the app waits for."""
    clock = time.perf_counter
    return lambda: bool(inbox) or (clock() > deadline and inbox.has_painted)


def _aside(opened: OpenLesson | None, runs: Runs | None) -> RunsSetAside | None:
    """The open runs, set aside; None if no lesson is open."""
    return None if runs is None or opened is None else RunsSetAside.pause(opened.lesson, runs)
