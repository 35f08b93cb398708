"""The conversation with the engine: commands that wait for an answer, and the run view so far.

All of it runs in the app's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from tutor.errors import EngineError, RunError
from tutor.lesson.model import Lesson
from tutor.protocol.commands import (
    Command,
    FramePainted,
    Inspect,
    OpenLesson,
    Pause,
    ReadingCommand,
    Restart,
    RunTo,
    WriteSeries,
)
from tutor.protocol.events import (
    CommandRefused,
    DoctorReportReady,
    EngineReady,
    Event,
    FrameShown,
    InspectionReady,
    LessonFailed,
    OutputPrinted,
    ProcessEnded,
    SeekAdvanced,
    SeriesWritten,
    StoppedAt,
)
from tutor.protocol.frame import (
    Frame,
    Position,
    Remark,
    RunRecipe,
    devices_of,
    on_cpu,
    settings_after,
)
from tutor.protocol.inspections import DoctorReport, RunInfo
from tutor.session.attempt import CodePlace, file_place
from tutor.session.bookmark import UnfinishedRun
from tutor.session.pending import Engine, UnansweredCommands, running_notice
from tutor.session.printed_text import RunOutput
from tutor.session.run_view import Inspections, Notice, NoticeKind, RunView, Start

MOST_UNANSWERED = 12
"""The most commands that wait for an answer: then further keys are dropped."""

NOTICE_SECONDS = 1.0
"""Seconds after which the learner is told that something still runs."""


class EngineSession:
    """The conversation with one engine: commands that wait for an answer, and the view so far."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self.host = engine.host
        """The machine that the engine runs on; empty for this one."""
        self._clock = clock
        self.unanswered = UnansweredCommands()
        self.opening: int | None = None
        """The number of the command that opened the run."""
        self._stopped_until = 0
        """The number of the last command that the learner has stopped; 0 if there is none."""
        self._heard_at = clock()
        self._ended_with: ProcessEnded | None = None
        """The end of the last process, until the next process has come to its place."""
        self.lost: ProcessEnded | None = None
        """The loss of the connection to the host, while it is lost."""
        self._notice_when_open: Notice | None = None
        self._seeking: SeekAdvanced | None = None
        self.wanted = Inspect()
        """The inspections that the panes show."""
        self.devices: tuple[str, ...] = ()
        self.view: RunView | None = None
        self.recipe: RunRecipe | None = None
        """The recipe of the run in the view."""
        self.notice = Notice()
        self.output = RunOutput()
        self.report: DoctorReport | None = None
        """The doctor's last report on the open lesson."""

    # ── Commands ──────────────────────────────────────────────────────────────────────

    def open_lesson(self, lesson: Lesson, start: Start) -> None:
        """Begin a lesson; events of the one before are ignored from now on."""
        self._leave_run()
        mode = start.mode if start.mode in lesson.modes else lesson.modes[0]
        self.output = RunOutput()
        self.view = RunView(lesson, mode, start.device, lesson.epochs[mode])
        self.opening = self.send(
            OpenLesson(
                lesson=lesson,
                mode=mode,
                device=start.device,
                learning_rate=start.learning_rate,
                seed=start.seed,
            )
        )
        self._reset_inspections()

    def open_run(
        self,
        lesson: Lesson,
        recipe: RunRecipe,
        at: Position,
        runs: tuple[RunInfo, ...] = (),
        target_epoch: int = 0,
        *,
        before: Frame | Position | None = None,
        sets_runs_aside: bool = False,
    ) -> int | None:
        """Go to a position in the run of a recipe; returns the number of the command.

        `before` is the frame to compare with, or its place in that run. `sets_runs_aside`: as
        in OpenLesson.
        """
        self._leave_run()
        self.output.change_run(sets_runs_aside=sets_runs_aside)
        mode, *_ = settings_after(recipe.changes, recipe)
        target_epoch = max(target_epoch, lesson.epochs[mode], at.epoch)
        known = before if isinstance(before, Frame) else None
        self.view = RunView(lesson, mode, recipe.device, target_epoch, before=known)
        self.opening = self.send(
            OpenLesson(
                lesson=lesson,
                recipe=recipe,
                epoch=at.epoch,
                step=at.step,
                before=before if isinstance(before, Position) else None,
                runs=runs,
                sets_runs_aside=sets_runs_aside,
            )
        )
        self._reset_inspections()
        return self.opening

    def _leave_run(self) -> None:
        """Forget all that belongs to the present run: another one is opened."""
        if self.is_running:
            self._engine.send(Pause())
        self.unanswered.clear()
        self.notice = Notice()
        self._notice_when_open = None
        self.report = None

    def _reset_inspections(self) -> None:
        """Inspect no name and no other run: nobody knows yet which ones this run has."""
        self.wanted = replace(self.wanted, then="", name="")
        self.send(self.wanted)

    def send(self, command: Command) -> int | None:
        """Send a command, unless no lesson is open or too many wait; returns its number."""
        if self.view is None:
            return None
        is_never_refused = isinstance(command, OpenLesson | Pause | ReadingCommand)
        if self.host and self.unanswered.is_key_repeated_enough(command):
            return None
        if len(self.unanswered) >= MOST_UNANSWERED and not is_never_refused:
            self.notice = Notice("busy", kind="refused")
            return None
        number = self._engine.send(command)
        self.unanswered[number] = command
        return number

    def inspect(self, **changes: object) -> None:
        """Change the inspections that are computed; the names are the fields of `Inspect`."""
        wanted: Inspect = replace(self.wanted, **changes)
        if wanted != self.wanted:
            self.wanted = wanted
            self.send(wanted)

    def pause(self) -> None:
        """Pause a run if one is on."""
        if self.is_running:
            self.send(Pause())

    def frame_painted(self) -> None:
        """Ask for the next frame of a run: the last one has been painted."""
        self._engine.send(FramePainted())

    def stop(self) -> None:
        """Stop whatever runs."""
        if self.unanswered:
            self._stopped_until = max(self.unanswered)
            self._engine.stop()
        elif self.is_connected():
            self.tell("nothing_running", kind="no_effect")

    def tell(self, code: str, *, kind: NoticeKind = "info", **values: object) -> None:
        """Show a notice to the learner."""
        self.notice = Notice(code, values, kind)

    def tell_when_open(self, code: str, *, kind: NoticeKind = "info", **values: object) -> None:
        """Show a notice as soon as the run that is being opened is there."""
        self._notice_when_open = Notice(code, values, kind)

    def is_connected(self) -> bool:
        """Whether the engine can be asked for something; the learner is told if it can't."""
        if self.lost is not None:
            self.tell("lost", kind="failed", **self.lost.remark.values)
        return self.lost is None

    def reconnect(self) -> None:
        """Connect again after the connection was lost; may ask at the terminal, and blocks."""
        if self.lost is None:
            self.tell("not_lost" if self.host else "not_remote", kind="no_effect")
            return
        try:
            self._engine.reconnect()
        except EngineError as error:
            self.tell("not_connected", kind="refused", reason=Remark.of(error))
        except KeyboardInterrupt:
            self.is_connected()
        else:
            self._ended_with, self.lost, self.devices = self.lost, None, ()
            self.tell("connected", host=self.host)

    # ── State ───────────────────────────────────────────

    @property
    def is_running(self) -> bool:
        """Whether a run is on, or asked for, and has not been paused since."""
        return isinstance(self.unanswered.last(RunTo, Pause), RunTo)

    @property
    def is_waiting(self) -> bool:
        """Whether a command is still unanswered."""
        return bool(self.unanswered)

    @property
    def silent_for(self) -> float:
        """Seconds without a sign of the engine while an answer is due; 0 if none is."""
        if not self.unanswered:
            return 0.0
        return min(self._engine.busy_for(), self._clock() - self._heard_at)

    @property
    def waiting(self) -> Notice:
        """The command that the learner waits for; empty if there is none."""
        if self.view is not None and not self.devices:
            return Notice("loading")
        if self.unanswered and min(self.unanswered) <= self._stopped_until:
            is_script = self.view is not None and self.view.lesson.script is not None
            return Notice("stopping_script" if is_script else "stopping")
        seeking = self._seeking
        if seeking is not None and self.unanswered:
            left = {"seconds_left": seeking.seconds_left}
            return Notice("seeking", {"epoch": seeking.epoch, "target": seeking.target, **left})
        seconds = self.silent_for
        if seconds < NOTICE_SECONDS:
            return Notice()
        phase = self.view.next_phase if self.view else None
        code, values = running_notice(self.unanswered.oldest(), phase)
        return Notice(code, {**values, "seconds": seconds})

    # ── Events ─────────────────────────────────────────────────────────────────────

    def command_of(self, event: Event) -> Command | None:
        """The command that an event answers; None if no command waits for it."""
        return self.unanswered.get(event.answers)

    def receive(self, event: Event) -> bool:
        """Handle an event; returns whether a FramePainted is due after the paint."""
        self._heard_at = self._clock()
        command = self.unanswered.pop(event.answers, None)
        must_report_painted = (
            isinstance(event, FrameShown) and event.answers == 0 and event.target is not None
        )
        match event:
            case EngineReady():
                self.devices = event.devices
                if self._ended_with:  # a new process, without the inspections
                    self.send(self.wanted)
            case _ if event.opening not in (0, self.opening):  # of another lesson
                pass
            case ProcessEnded():
                self._process_ended(event)
            case FrameShown():
                self._show(event, command)
            case InspectionReady():
                self.view = self.view and _inspected(self.view, event)
            case SeekAdvanced():
                self._seeking = event
            case DoctorReportReady():
                self.report = event.report
            case SeriesWritten() if isinstance(command, WriteSeries):
                self.notice = _series_written(event.text, command)
            case CommandRefused():
                self._refused(event, command)
            case LessonFailed():
                self._lesson_failed(event)
            case OutputPrinted():
                self.output.add(event.text, event.left_out)
        return must_report_painted

    def _refused(self, event: CommandRefused, command: Command | None) -> None:
        if not self.is_connected():
            return
        failed = self.view.failed if self.view is not None and self.view.frame is None else None
        if event.stopped is not None:
            self._stopped(event.stopped, is_undone=False)
        elif failed is not None and not isinstance(command, OpenLesson):  # there is no run
            self.tell("phase_failed", kind="failed", place=self.code_place(failed))
        elif not isinstance(command, Inspect):  # which the learner has not asked for
            remarks, can_restart = (event.remark,), event.can_restart
            self.tell("engine_remarks", kind="refused", remarks=remarks, can_restart=can_restart)
        if (
            isinstance(command, OpenLesson)
            and not command.sets_runs_aside
            and event.answers > self._stopped_until
        ):
            _open_as_closely_as_possible(self, command, event.remark)

    def _stopped(self, at: StoppedAt, *, is_undone: bool) -> None:
        kind: NoticeKind = "info" if is_undone else "refused"
        place = self.code_place(at)
        self.tell("stopped", kind=kind, place=place, is_undone=is_undone)

    def code_place(self, at: LessonFailed | StoppedAt) -> CodePlace:
        """The place of an error or a stop, as the learner can find it."""
        return file_place(self.view.lesson if self.view else None, at)

    def _show(self, event: FrameShown, command: Command | None) -> None:
        view = self.view
        if view is None:
            return
        self.recipe = event.recipe
        self.output.follow(event, command)
        is_same_place = _place_mode_device(view.frame) == _place_mode_device(event.frame)
        # An answer without news: to an Inspect, or to a Pause (also one that a stop sent).
        is_echo = is_same_place and (command is None or isinstance(command, Inspect | Pause))
        known = {run.name for run in view.runs}
        self.view = replace(
            view,
            mode=event.frame.mode,
            device=event.frame.device,
            target_epoch=_target_epoch(view, event.frame),
            frame=event.frame,
            before=_before(view, event, command, is_same_place),
            curve=event.curve or view.curve,
            diverged_at=event.diverged_at,
            changes=event.recipe.changes,
            last_epoch=event.last_epoch,
            target=event.target,
            rate=event.rate,
            seconds_left=event.seconds_left,
            failed=view.failed if is_echo else None,
            runs=event.runs,
            operations=view.operations if is_same_place else 0,
        )
        self._seeking = None
        self._set_notice(event, is_echo)
        self._choose_run_to_compare(event, known)

    def _set_notice(self, event: FrameShown, is_echo: bool) -> None:
        if self._ended_with:
            epoch = event.frame.at.epoch
            if self._ended_with.restarting:
                self.tell("back_at", kind="failed", reason=self._ended_with, epoch=epoch)
            else:
                self.tell("connected_at", host=self.host, epoch=epoch)
            self._ended_with = None
        elif self._notice_when_open is not None and not is_echo:
            self.notice, self._notice_when_open = self._notice_when_open, None
        elif event.stopped is not None:
            self._stopped(event.stopped, is_undone=True)
        elif remarks := tuple(each for each in event.remarks if each.code != "script_ended"):
            self.tell("engine_remarks", remarks=remarks, can_restart=False)
        elif not is_echo:
            self.notice = Notice()

    def _choose_run_to_compare(self, event: FrameShown, known: set[str]) -> None:
        """Compare with the run that was just left, or with another if that one is gone."""
        others = [run.name for run in event.runs if not run.is_current]
        is_new_one = any(run.is_current and run.name not in known for run in event.runs)
        if (is_new_one or self.wanted.then not in others) and (others or self.wanted.then):
            self.inspect(then=others[-1] if others else "")

    def _lesson_failed(self, event: LessonFailed) -> None:
        if self.view is not None:
            self.view = replace(self.view, failed=event, target=None)
        self.tell("phase_failed", kind="failed", place=self.code_place(event))

    def _process_ended(self, event: ProcessEnded) -> None:
        self.unanswered.clear()
        self._seeking = None
        if event.remark.code == "connection_lost":
            self.lost = event
            self.is_connected()
        else:
            self.tell("process_ended", kind="failed", event=event)
        self._ended_with = event if event.restarting else None
        if self.view is not None:
            self.view = replace(self.view, target=None)


def _series_written(text: str, command: WriteSeries) -> Notice:
    """The notice of a file that has been written; one from another machine is written now."""
    try:
        if command.is_sent:
            from tutor.export import new_file  # noqa: PLC0415 - after the first paint

            with new_file(Path(command.path)) as file:
                file.write(text)
    except RunError as error:
        return Notice(
            "engine_remarks", {"remarks": (Remark.of(error),), "can_restart": False}, "refused"
        )
    return Notice("written", {"path": command.path})


def _inspected(view: RunView, event: InspectionReady) -> RunView:
    """The view with new inspections, unless they are of another position."""
    if event.runs is not None:
        view = replace(view, runs=event.runs)
    if view.frame is None or event.at != view.frame.at:
        return view
    parts = {name: getattr(event, name) for name in Inspections.__struct_fields__}
    fresh = {name: part for name, part in parts.items() if part is not None}
    return replace(view, inspections=replace(view.inspections, **fresh))


def _open_as_closely_as_possible(
    session: EngineSession, refused: OpenLesson, reason: Remark
) -> None:
    """Say why a lesson can't be opened as asked, and open it as closely as possible."""
    view = session.view
    if view is None:
        return
    recipe = refused.recipe
    if recipe is None:
        if refused.device != "cpu":
            start = Start(refused.mode, "cpu", refused.learning_rate, refused.seed)
            session.open_lesson(view.lesson, start)
            session.tell_when_open("on_cpu", kind="refused", reason=reason)
        return
    moved = on_cpu(recipe)
    if moved != recipe and not set(devices_of(recipe)) <= set(session.devices):
        at = Position(refused.epoch, refused.step)
        runs = tuple(
            replace(run, device="cpu", recipe=run.recipe and on_cpu(run.recipe))
            for run in refused.runs
        )
        session.open_run(view.lesson, moved, at, runs, view.target_epoch, before=refused.before)
        session.tell_when_open("replayed_on_cpu", kind="refused", reason=reason)
        return
    mode, _, rate, seed = settings_after(recipe.changes, recipe)
    session.open_lesson(view.lesson, Start(mode, "cpu", rate, seed))
    session.tell_when_open("begins_anew", kind="refused", reason=reason)


def _target_epoch(view: RunView, frame: Frame) -> int:
    """The target, which follows the lesson's own for the mode unless the learner went beyond it."""
    if frame.mode != view.mode and view.target_epoch == view.lesson.epochs[view.mode]:
        return view.lesson.epochs[frame.mode]
    return view.target_epoch


def _before(
    view: RunView, event: FrameShown, command: Command | None, is_same_place: bool
) -> Frame | None:
    """The frame to compare with; None after a new start."""
    if isinstance(command, Restart):
        return None
    if view.frame is None:  # a run is resumed
        return event.before or view.before
    return view.before if is_same_place else view.frame


def _place_mode_device(frame: Frame | None) -> tuple[Position, str, str] | None:
    return (frame.at, frame.mode, frame.device) if frame else None


def unfinished_run(engine_session: EngineSession) -> UnfinishedRun | None:
    """The present run, to be resumed later; None while there is none."""
    view, recipe = engine_session.view, engine_session.recipe
    if view is None or view.frame is None or recipe is None:
        return None
    runs = tuple(replace(run, curve=None) for run in view.runs)
    return UnfinishedRun(recipe=recipe, at=view.frame.at, runs=runs, target_epoch=view.target_epoch)
