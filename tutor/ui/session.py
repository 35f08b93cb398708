"""The conversation with the engine: what the learner wishes goes down, what is so comes up.

Knows the messages, and nothing of widgets: the screen calls its methods and shows what
it holds. All of it runs in the app's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from tutor.engine.messages import (
    AnyCommand,
    AnyEvent,
    BackEpoch,
    BackPhase,
    Ended,
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
    Taken,
)
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.training.frame import Frame, Position
from tutor.ui.digits import next_of_1_2_5, setting
from tutor.ui.engine_port import Engine
from tutor.ui.moment import Moment, Notice, Start
from tutor.ui.printed import PrintedText

KNOWN_DEVICES = ("cpu", "cuda", "mps")
"""What `d` asks for in turn where there is only one device: the refusal teaches the rest."""

QUEUE = 12
"""Unanswered commands at which further keys are dropped: nobody wants 200 steps queued up."""

PATIENCE = 1.0
"""Seconds after which the learner is told that something still runs."""

Kind = TypeVar("Kind", bound=AnyCommand)


class Session:
    """One learner's talk with one engine, about one lesson at a time."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._unanswered: dict[int, AnyCommand] = {}
        self._opening: int | None = None
        self._heard_at = clock()
        self._offered_to_go_on = False
        self._ended_with = ""
        self._begun_on_cpu = ""
        self._looked_at = 0
        self.devices: tuple[str, ...] = ()
        self.moment: Moment | None = None
        self.notice = Notice()
        self.printed = PrintedText()

    # ── What the learner wishes ─────────────────────────────────────────────────────

    def open(self, lesson: Lesson, start: Start = Start()) -> None:  # noqa: B008 - frozen
        """Begin a lesson; what is still said of the one before is no longer heard."""
        if self.is_running:
            self._engine.send(Pause())
        mode = start.mode if start.mode in lesson.modes else lesson.modes[0]
        self._unanswered.clear()
        self.printed = PrintedText()
        self.moment = Moment(lesson, mode, start.device, lesson.epochs[mode])
        self.notice = Notice()
        self._begun_on_cpu = ""
        self._offered_to_go_on = False
        self._opening = self._send(
            Open(
                lesson=lesson,
                mode=mode,
                device=start.device,
                learning_rate=start.learning_rate,
                seed=start.seed,
            )
        )
        self._send_look()

    def step_phase(self) -> None:
        """Run the next phase; while a run is on, pause it instead."""
        self._step(StepPhase())

    def step_epoch(self) -> None:
        """Run to the end of an epoch; while a run is on, pause it instead."""
        self._step(StepEpoch())

    def back_phase(self) -> None:
        """Go to the frame before."""
        self._break_run_off()
        self._send(BackPhase())

    def back_epoch(self) -> None:
        """Go to where the epoch began."""
        self._break_run_off()
        self._send(BackEpoch())

    def toggle_run(self) -> None:
        """Run to the goal; pause if a run is on; at the goal, offer to go on."""
        moment = self.moment
        if moment is None:
            return
        if self.is_running:
            self._send(Pause())
            return
        frame = moment.frame
        if frame and (frame.at.epoch, frame.at.step) >= (moment.goal, frame.steps):
            further = frame.at.epoch + moment.lesson.epochs[frame.mode]
            if not self._offered_to_go_on:
                self.notice = Notice(
                    f"Epoch {frame.at.epoch} is reached · r again goes on to {further}", "told"
                )
                self._offered_to_go_on = True
                return
            self.moment = moment = replace(moment, goal=further)
        self._offered_to_go_on = False
        self._send(RunTo(epoch=moment.goal))

    def pause(self) -> None:
        """Pause a run if one is on."""
        self._break_run_off()

    def restart(self) -> None:
        """Begin again; where the lesson never came to stand, open it again."""
        moment = self.moment
        if moment is None:
            return
        if moment.frame is None:
            self.open(moment.lesson, Start(moment.mode, moment.device))
            return
        self._break_run_off()
        self.printed = PrintedText()
        self.moment = replace(moment, goal=moment.lesson.epochs[moment.mode])
        self._send(Restart())

    def next_mode(self) -> None:
        """Let the next rung of the ladder compute the gradient."""
        self._turn_mode(1)

    def previous_mode(self) -> None:
        """Let the rung before compute the gradient."""
        self._turn_mode(-1)

    def next_device(self) -> None:
        """Go on with the next device there is, or hear which there are."""
        if self.moment is None:
            return
        wished = self._last(Switch, lambda c: c.device is not None)
        device = (wished.device if wished else None) or self.moment.device
        ring = self.devices if len(self.devices) > 1 else KNOWN_DEVICES
        index = ring.index(device) if device in ring else -1
        self._in_mid_run(Switch(device=ring[(index + 1) % len(ring)]))

    def raise_learning_rate(self) -> None:
        """To the next of 1, 2, 5, 10 …"""
        self._scale_learning_rate(up=True)

    def lower_learning_rate(self) -> None:
        """To the one before of 1, 2, 5, 10 …"""
        self._scale_learning_rate(up=False)

    def set_learning_rate(self, value: float) -> None:
        """Go on with this learning rate."""
        self._in_mid_run(SetLearningRate(value=value))

    def seek(self, epoch: int) -> None:
        """Go to the end of an epoch."""
        self._break_run_off()
        self._send(Seek(epoch=epoch))

    def look(self, columns: int) -> None:
        """Say how many columns the plot has; 0 if it can't be seen."""
        if columns != self._looked_at:
            self._looked_at = columns
            if self.moment is not None:
                self._send_look()

    def taken(self) -> None:
        """The last frame of a run has been painted: the next may come."""
        self._engine.send(Taken())

    def stop(self) -> None:
        """Break off whatever runs."""
        if self._unanswered:
            self.notice = Notice("Stopping …", "told")
            self._engine.stop()
        else:
            self.notice = Notice("Nothing is running · q quits", "told")

    # ── What is so ──────────────────────────────────────────────────────────────────

    @property
    def is_running(self) -> bool:
        """Whether a run is on, or asked for, and has not been paused since."""
        commands = [c for c in self._unanswered.values() if isinstance(c, RunTo | Pause)]
        return bool(commands) and isinstance(commands[-1], RunTo)

    @property
    def learning_rate(self) -> float | None:
        """The one in force, or the one that has been asked for since."""
        wished = self._last(SetLearningRate)
        if wished is not None:
            return wished.value
        if self.moment is None:
            return None
        if self.moment.frame is not None:
            return self.moment.frame.learning_rate
        return self.moment.lesson.learning_rate[self.moment.mode]

    def waiting_line(self) -> str:
        """What the learner is waiting for, in words; empty while there is nothing to wait for."""
        if self.moment is not None and not self.devices:
            return "loading PyTorch …"
        waited = min(self._engine.busy_for(), self._clock() - self._heard_at)
        if not self._unanswered or waited < PATIENCE:
            return ""
        oldest = next(iter(self._unanswered.values()))
        return f"{self._name(oldest)} is still running ({waited:.0f} s) · x stops it"

    def receive(self, event: AnyEvent) -> bool:
        """Take in what the engine tells; whether a Taken is owed once it is painted."""
        self._heard_at = self._clock()
        command = self._unanswered.pop(event.answers, None)
        owed = isinstance(event, Shown) and event.answers == 0 and event.target is not None
        match event:
            case Ready():
                self.devices = event.devices
            case Ended():
                self._ended(event)
            case _ if self._is_of_another_lesson(event):
                pass
            case Shown():
                self._shown(event, command)
            case Refused():
                self.notice = Notice(one_line(event.message), "refused")
                if isinstance(command, Open) and command.device != "cpu":
                    self._open_on_cpu(command)
            case Failed():
                self._failed(event)
            case Printed():
                self.printed = self.printed.followed_by(event.text, event.left_out)
        return owed

    # ── How ─────────────────────────────────────────────────────────────────────────

    def _is_of_another_lesson(self, event: AnyEvent) -> bool:
        if self._opening is None:
            return False
        if event.answers == self._opening:
            self._opening = None
            return False
        return not isinstance(event, Printed)

    def _open_on_cpu(self, refused: Open) -> None:
        """The device asked for at the start is not there: begin all the same, and say so."""
        moment, said = self.moment, self.notice.text
        if moment is None:
            return
        start = Start(refused.mode, "cpu", refused.learning_rate, refused.seed)
        self.open(moment.lesson, start)
        self._begun_on_cpu = f"{said} · it begins on the CPU"

    def _shown(self, event: Shown, command: AnyCommand | None) -> None:
        moment = self.moment
        if moment is None:
            return
        is_same_place = _place(moment.frame) == _place(event.frame)
        # An answer that tells nothing new: to a Look, or to a Pause (ours, or a stop's).
        is_echo = is_same_place and (command is None or isinstance(command, Look | Pause))
        goal = moment.goal
        if event.frame.mode != moment.mode and moment.goal == moment.lesson.epochs[moment.mode]:
            goal = moment.lesson.epochs[event.frame.mode]
        self.moment = replace(
            moment,
            mode=event.frame.mode,
            device=event.frame.device,
            goal=max(goal, event.target or 0, event.frame.at.epoch),
            frame=event.frame,
            before=self._before(moment, command, is_same_place),
            curve=event.curve or moment.curve,
            diverged_at=event.diverged_at,
            changes=event.record.changes,
            target=event.target,
            rate=event.rate,
            failed=moment.failed if is_echo else None,
        )
        if not is_echo and event.target is None:
            self._offered_to_go_on = False
        if self._ended_with:
            back = f"{self._ended_with} · back at epoch {event.frame.at.epoch}"
            self.notice, self._ended_with = Notice(back, "failed"), ""
        elif self._begun_on_cpu and not is_echo:
            self.notice, self._begun_on_cpu = Notice(self._begun_on_cpu, "refused"), ""
        elif event.note or not is_echo:
            self.notice = Notice(one_line(event.note), "told" if event.note else "quiet")

    def _before(
        self, moment: Moment, command: AnyCommand | None, is_same_place: bool
    ) -> Frame | None:
        """What to compare with: nothing after a new start."""
        if isinstance(command, Restart):
            return None
        return moment.before if is_same_place else moment.frame

    def _failed(self, event: Failed) -> None:
        if self.moment is not None:
            self.moment = replace(self.moment, failed=event, target=None)
        where = f", line {event.line}" if event.line else ""
        self.notice = Notice(f"{event.phase} failed{where} · R starts again", "failed")

    def _ended(self, event: Ended) -> None:
        self._unanswered.clear()
        self._opening = None
        self.notice = Notice(one_line(event.message), "failed")
        self._ended_with = self.notice.text if event.restarting else ""
        if self.moment is not None:
            self.moment = replace(self.moment, target=None)

    def _step(self, command: StepPhase | StepEpoch) -> None:
        if self.is_running:
            self._send(Pause())
        else:
            self._send(command)

    def _turn_mode(self, by: int) -> None:
        if self.moment is None:
            return
        modes = self.moment.lesson.modes
        if len(modes) == 1:
            self.notice = Notice(f"This lesson has one gradient mode: {modes[0]}", "told")
            return
        wished = self._last(Switch, lambda c: c.mode is not None)
        mode = (wished.mode if wished else None) or self.moment.mode
        self._in_mid_run(Switch(mode=modes[(modes.index(mode) + by) % len(modes)]))

    def _scale_learning_rate(self, up: bool) -> None:
        now = self.learning_rate
        if now is None:
            return
        value = next_of_1_2_5(now, up)
        if not 1e-12 <= value <= 1e6:
            self.notice = Notice(f"The learning rate stays at {setting(now)}", "refused")
            return
        self._in_mid_run(SetLearningRate(value=value))

    def _in_mid_run(self, command: AnyCommand) -> None:
        """Do it between two epochs, and let the run go on."""
        run = self._last(RunTo) if self.is_running else None
        self._break_run_off()
        self._send(command)
        if run is not None:
            self._send(RunTo(epoch=run.epoch))

    def _break_run_off(self) -> None:
        if self.is_running:
            self._send(Pause())

    def _send_look(self) -> None:
        self._send(Look(columns=self._looked_at))

    def _send(self, command: AnyCommand) -> int | None:
        if self.moment is None:
            return None
        if len(self._unanswered) >= QUEUE and not isinstance(command, Open | Pause | Look):
            self.notice = Notice("Still busy with the keys before · x stops", "refused")
            return None
        number_ = self._engine.send(command)
        self._unanswered[number_] = command
        return number_

    def _last(self, kind: type[Kind], such: Callable[[Kind], bool] = lambda _: True) -> Kind | None:
        """The last unanswered command of a kind: what the learner has asked for already."""
        commands = reversed(self._unanswered.values())
        return next((c for c in commands if isinstance(c, kind) and such(c)), None)

    def _name(self, command: AnyCommand) -> str:
        match command:
            case StepPhase():
                return (self.moment and self.moment.next_phase) or "The phase"
            case Open() | Restart() | Switch():
                return "Setup"
            case Seek():
                return f"The way to epoch {command.epoch}"
            case _:
                return "The epoch"


def _place(frame: Frame | None) -> tuple[Position, str, str] | None:
    return (frame.at, frame.mode, frame.device) if frame else None
