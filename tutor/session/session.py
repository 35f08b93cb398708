"""The learner's actions as commands to the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from tutor.lesson.model import GRADIENT, LARGEST_RATE, Lesson
from tutor.lesson.seeds import own_seed_line
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    DeleteRun,
    Examine,
    Fork,
    Inspect,
    Pause,
    RenameRun,
    Reseed,
    Restart,
    RunTo,
    Seek,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
    WriteSeries,
)
from tutor.protocol.events import Event, FrameShown, InspectionReady, LessonFailed, StoppedAt
from tutor.protocol.frame import EPOCH_END, Position, modes_of, settings_after
from tutor.script.line_places import place_in
from tutor.session.attempt import Attempt, CodePlace
from tutor.session.bookmark import Bookmark, key_of, left_notice, lesson_as_left, script_key
from tutor.session.engine_session import EngineSession
from tutor.session.exercise_controller import ExerciseController
from tutor.session.journal import Journal
from tutor.session.pending import Engine
from tutor.session.run_view import Notice, RunView, Start

RUN_CONTINUES_AFTER = (Switch, SetLearningRate, SetElement, Reseed, RenameRun, DeleteRun)
"""The commands after which a run continues."""


class Session(EngineSession):
    """A learner's commands to one engine, about the run of one lesson at a time."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal = Journal(),  # noqa: B008 - it saves nothing, so nothing is shared
    ) -> None:
        super().__init__(engine, clock)
        self.controller = ExerciseController(self, journal)
        self.journal = journal
        self._previous: Bookmark | None = None
        """The bookmark of the last visit."""
        self._forget_run()

    def _forget_run(self) -> None:
        """Forget everything that belongs to the run that was open."""
        self._offers_more_epochs = False
        self._scrubbed_to: tuple[int | None, int, int] | None = None
        """The opening, epoch and step of the position that was asked for last."""
        self._awaits_graph: tuple[Position, str] | None = None
        """The position and mode where an operation was asked for before the graph was there."""

    @property
    def attempt(self) -> Attempt | None:
        """The attempt at the current exercise; None while none is on."""
        return self.controller.attempt

    @property
    def learning_rate(self) -> float | None:
        """The current learning rate, or the rate that has been asked for since."""
        if (asked := self.unanswered.last(SetLearningRate)) is not None:
            return asked.value
        return self.view.learning_rate if self.view else None

    def check_waiting(self) -> Notice:
        """The command that the learner waits for, if any; code that is silent is stopped."""
        self.controller.stop_if_silent(self.silent_for)
        return self.waiting

    def code_place(self, at: LessonFailed | StoppedAt) -> CodePlace:
        """The place of an error or a stop, as the learner can find it."""
        return self.controller.code_place(at) or super().code_place(at)

    def receive(self, event: Event) -> bool:
        """Handle an event; returns whether a FramePainted is due after the paint."""
        before, attempt = self.view, self.attempt
        command = self.command_of(event)
        must_report_painted = super().receive(event)
        self.controller.receive(event, command)
        if isinstance(event, FrameShown) or self.attempt is not attempt:
            self.controller.save_bookmark()
        if isinstance(event, FrameShown):
            self._seek_scrubbed()
            moved = before is None or before.frame is None or before.frame.at != event.frame.at
            self._offers_more_epochs = self._offers_more_epochs and not moved
            view, has_run = self.view, moved and isinstance(command, RunTo)
            is_script_at_target = view and view.lesson.script and view.is_at_target
            if view and has_run and is_script_at_target and not self.notice.code:
                self._offer_more_epochs(view)  # the script's own code may not name its target
        if isinstance(event, InspectionReady):
            self._step_operation_that_waits()
        return must_report_painted

    # ── Lessons ─────────────────────────────────────────────────────────────────────

    def open(self, lesson: Lesson, start: Start = Start()) -> None:  # noqa: B008 - frozen
        """Begin a lesson; the exercises that were left unfinished are restored."""
        self._forget_run()
        self.controller.forget_lesson()
        bookmark = self.journal.bookmark_of(key_of(lesson))
        if bookmark is None and lesson.script is not None:  # left in another loop, perhaps
            bookmark = self.journal.last_bookmark_of_script(script_key(lesson.path))
        self._previous = bookmark
        self.open_lesson(lesson, start)
        if bookmark is not None and bookmark.fingerprint == lesson.fingerprint():
            self.controller.restore(bookmark)
        if start.exercise:
            self.controller.begin_when_open(start.exercise)
        elif bookmark is not None:
            notice = left_notice(lesson, bookmark)
            if notice.code:
                self.tell_when_open(notice.code, **notice.values)

    def resume_previous(self) -> None:
        """Resume at the bookmark of the last visit."""
        bookmark, self._previous = self._previous, None
        if self.view is None:
            return
        if bookmark is None:
            self.tell("nothing_to_resume", kind="no_effect")
        else:
            self.resume(self.view.lesson, bookmark)

    def resume(self, lesson: Lesson, bookmark: Bookmark) -> None:
        """Resume at a bookmark: the same run at the same position, its forks beside it.

        A script is resumed in the loop, and with the arguments, that it was left in. If the
        file has changed since, it begins anew, under the settings of the bookmark.
        """
        self._forget_run()
        self.controller.forget_lesson()
        lesson, recipe = lesson_as_left(lesson, bookmark), bookmark.recipe
        recipes = [recipe, *(run.recipe for run in bookmark.runs if run.recipe)]
        has_modes = {mode for each in recipes for mode in modes_of(each)} <= {*lesson.modes}
        if bookmark.fingerprint != lesson.fingerprint() or not has_modes:
            self.open_lesson(lesson, Start(*settings_after(recipe.changes, recipe)))
            self.tell_when_open("script_changed" if lesson.script else "lesson_changed")
            return
        before, runs = bookmark.before, bookmark.runs
        self.open_run(lesson, recipe, bookmark.at, runs, bookmark.target_epoch, before=before)
        self.tell_when_open("resumed")
        self.controller.restore(bookmark)
        for exercise in lesson.exercises:
            if exercise.id == bookmark.exercise:
                self.controller.begin_when_open(exercise.id, is_editing=bookmark.is_editing)

    # ── Steps ───────────────────────────────────────────────────────────────────────

    def step_phase(self) -> None:
        """Run the next phase; while a run is on, pause it instead."""
        self._send(Pause() if self.is_running else StepPhase())

    def step_epoch(self) -> None:
        """Run to the end of an epoch; while a run is on, pause it instead."""
        self._send(Pause() if self.is_running else StepEpoch())

    def step_operation(self) -> None:
        """Step one operation of backward inside the Gradient phase; after the last, the phase."""
        view = self.view
        self._awaits_graph = None
        if view is None or view.frame is None or self.is_running:
            self.pause()
            return
        if not self.is_allowed(StepPhase()):
            return
        graph = view.inspections.graph
        if graph is None:  # whether there is one at all is not known yet
            self._awaits_graph = (view.frame.at, view.mode)
            self.tell("reading_graph")
        elif not graph.operations:
            code = "graph_remarks" if graph.remarks else "no_operation"
            self.tell(code, kind="no_effect", remarks=graph.remarks)
        elif view.next_phase != GRADIENT:
            self.tell("not_in_gradient", kind="no_effect")
        elif view.operations < graph.operations:
            self.view = replace(view, operations=view.operations + 1)
            self.notice = Notice()
        else:
            self.step_phase()

    def _step_operation_that_waits(self) -> None:
        """Step the operation that was asked for before the graph was there."""
        view = self.view
        if view is not None and view.frame is not None and view.inspections.graph is not None:
            if self._awaits_graph == (view.frame.at, view.mode):
                self.step_operation()
            self._awaits_graph = None

    def back_phase(self) -> None:
        """Go to the frame before; inside the Gradient phase, to the operation before."""
        view = self.view
        if view is not None and view.operations:
            self.view = replace(view, operations=view.operations - 1)
            return
        self._go_back(BackPhase())

    def back_epoch(self) -> None:
        """Go to where the epoch began."""
        self._go_back(BackEpoch())

    def toggle_run(self) -> None:
        """Run to the target epoch; pause a run; at the target, offer more epochs."""
        view = self.view
        if view is None or self.is_running:
            self.pause()
            return
        target = view.target_epoch
        if view.is_at_target:
            if not self._offers_more_epochs:
                self._offer_more_epochs(view)
                return
            target = view.next_target_epoch
            if not view.is_at_end_of_script_loop:
                self.view = replace(view, target_epoch=target)
        self._offers_more_epochs = False
        self._send(RunTo(epoch=target))

    def _offer_more_epochs(self, view: RunView) -> None:
        """Say that the target epoch is reached, and where the next run goes."""
        code = "script_target_reached" if view.is_at_end_of_script_loop else "target_reached"
        self.tell(code, epoch=view.epoch, further=view.next_target_epoch)
        self._offers_more_epochs = True

    def restart(self) -> None:
        """Begin again; open the lesson again if it has no run."""
        self._restart(Restart())

    def new_seed(self) -> None:
        """Begin again with a new seed."""
        if self._script_accepts(command := Restart(new_seed=True)):
            self._restart(command)

    def open_with_seed(self, seed: int) -> None:
        """Open the lesson again with this seed, and the other settings as they are."""
        view = self.view
        if view is not None and self._script_accepts(Restart(new_seed=True)):
            self.open(view.lesson, Start(view.mode, view.device, self.learning_rate, seed))

    def stop(self) -> None:
        """Stop the command that is running."""
        self._scrubbed_to = None
        super().stop()

    def seek(self, epoch: int, step: int = EPOCH_END) -> None:
        """Go to the end of an epoch, or to after `step` of its steps."""
        self.request(Seek(epoch=epoch, step=step))

    def scrub(self, epoch: int, step: int = EPOCH_END) -> None:
        """Go there when the present Seek is done; only the last position asked for counts."""
        self._scrubbed_to = (self.opening, epoch, step)
        self._seek_scrubbed()

    def _seek_scrubbed(self) -> None:
        if self._scrubbed_to is not None and not self.unanswered.last(Seek):
            (opening, epoch, step), self._scrubbed_to = self._scrubbed_to, None
            if opening == self.opening:
                self.seek(epoch, step)

    # ── Changes ─────────────────────────────────────────────────────────────────────

    def next_mode(self) -> None:
        """Switch to the next gradient mode."""
        _turn_mode(self, 1)

    def previous_mode(self) -> None:
        """Switch to the previous gradient mode."""
        _turn_mode(self, -1)

    def next_device(self) -> None:
        """Switch to the next device; while PyTorch loads, nobody knows which there are."""
        if self.view is None or not self.devices:
            return
        asked = self.unanswered.last_switch("device")
        device = asked.device if asked else self.view.device
        ring = self.devices
        index = ring.index(device) if device in ring else -1
        switch = Switch(device=ring[(index + 1) % len(ring)])
        if switch.device != device:
            self.request(switch)
        elif self._script_accepts(switch):
            self.tell("one_device", kind="no_effect", device=device)

    def raise_learning_rate(self) -> None:
        """Raise the learning rate to the next of 1, 2, 5, 10 …"""
        self._scale_learning_rate(up=True)

    def lower_learning_rate(self) -> None:
        """Lower the learning rate to the previous of 1, 2, 5, 10 …"""
        self._scale_learning_rate(up=False)

    def reseed(self) -> None:
        """Continue with the random numbers of a new seed."""
        self.request(Reseed())

    # ── Runs ────────────────────────────────────────────────────────────────────────

    def fork(self) -> None:
        """Keep this run, and continue with a copy."""
        self.request(Fork())

    def examine(self, *, with_taught: bool = False) -> None:
        """Let the doctor examine the code; the findings will be in `report`."""
        self.pause()
        self.report = None
        self._send(Examine(with_taught=with_taught))

    def write_figures(self, path: Path) -> None:
        """Write the figures so far to a file here, wherever the engine runs."""
        self.request(WriteSeries(path=str(path), is_sent=bool(self.host)))

    # ── Sending ────────────────────────────────────────────────────────────────────

    def request(self, command: Command) -> None:
        """Pause a run and send a command; after a change of a setting the run continues."""
        continues = self.is_running and isinstance(command, RUN_CONTINUES_AFTER)
        run = self.unanswered.last(RunTo) if continues else None
        self.pause()
        self._send(command)
        if run is not None:
            self._send(RunTo(epoch=run.epoch))

    def _send(self, command: Command) -> None:
        """Send a command, if the current exercise allows it."""
        if self.is_allowed(command):
            self.send(command)

    def _script_accepts(self, command: Command) -> bool:
        """Whether the open script, if it is one, takes a command; the notice says why not."""
        return self._is_clear_of(script_refusal(command, self.view))

    def is_allowed(self, command: Command) -> bool:
        """Whether the current exercise allows a command; the notice says why not."""
        return self._is_clear_of(
            script_refusal(command, self.view)
            or comparison_refusal(command, self.view)
            or self.controller.refusal(command)
        )

    def _is_clear_of(self, refusal: Notice | None) -> bool:
        """Whether `refusal` is None; else it is shown as the notice."""
        if refusal is not None:
            self.notice = replace(refusal, kind="refused") if refusal.kind == "info" else refusal
        return refusal is None

    def _go_back(self, command: BackPhase | BackEpoch) -> None:
        at = self.view.frame.at if self.view and self.view.frame else None
        if at is not None and (at.epoch, at.step) == (0, 0) and not self.is_running:
            self.tell("beginning", kind="no_effect")
            return
        self.pause()
        self._send(command)

    def _restart(self, command: Restart) -> None:
        view = self.view
        if view is None:
            return
        if view.frame is None and self.attempt is None:
            self.open(view.lesson, Start(view.mode, view.device))
            return
        self.pause()
        if self.attempt is not None:
            if self.is_allowed(command):
                self.controller.restart(new_seed=command.new_seed)
            return
        self.output.begin_anew()
        self.view = replace(view, target_epoch=view.lesson.epochs[view.mode])
        self._send(command)

    def _scale_learning_rate(self, up: bool) -> None:
        now = self.learning_rate
        if now is None:
            return
        if not now:
            self.tell("rate_unknown", kind="refused")
        elif 1e-12 <= (value := next_of_1_2_5(now, up)) <= LARGEST_RATE:
            self.request(SetLearningRate(value=value))
        else:
            self.tell("rate_stays", kind="refused", rate=now)


def next_of_1_2_5(value: float, up: bool) -> float:
    """The next greater (or lesser) of … 0.1, 0.2, 0.5, 1, 2, 5, 10 …"""
    steps = [float(f"{digit}e{power}") for power in range(-14, 8) for digit in (1, 2, 5)]
    if up:
        return next((s for s in steps if s > value * (1 + 1e-6)), steps[-1])
    return next((s for s in reversed(steps) if s < value * (1 - 1e-6)), steps[0])


def script_refusal(command: Command, view: RunView | None) -> Notice | None:
    """The reason why a script does not take a command; None if it does, and for a lesson."""
    if view is None or view.lesson.script is None:
        return None
    match command:
        case Switch(mode=str()):
            return Notice("one_mode", {"mode": view.mode})
        case Switch():
            return Notice("script_device", {"name": view.device})
        case Restart(new_seed=True) | Reseed():
            line = own_seed_line(view.lesson.source)
            return Notice("script_seed", {"place": place_in(view.lesson)(line)}) if line else None
        case StepPhase() | StepEpoch() | RunTo() if view.frame is not None and view.frame.is_over:
            return Notice("script_over")
    return None


def comparison_refusal(command: Command, view: RunView | None) -> Notice | None:
    """The reason why there are no modes to compare, if that is asked for; else None."""
    if view is None or view.lesson.comparable or not isinstance(command, Inspect):
        return None
    code = "no_comparison" if view.lesson.script is None else "script_compare"
    return Notice(code, kind="no_effect") if command.compare else None


# ── Files that the learner names ────────────────────────────────────────────────────

SCRIPT, NOTEBOOK, FIGURES = ".py", ".ipynb", ".csv"


def suggested_file(view: RunView, suffix: str = SCRIPT) -> str:
    """A name, in the folder where the tutor was started, that no file has yet."""
    from tutor.export import free_path  # noqa: PLC0415  lazy: the first paint comes before

    slug = view.lesson.slug
    name = slug if view.lesson.script is None else Path(slug).stem
    return free_path(Path(), name, view.mode, suffix).name


def write_lesson(view: RunView, path: Path) -> Path:
    """Write the lesson as a script or a notebook. Raises Refused."""
    from tutor import export  # noqa: PLC0415  lazy, as above
    from tutor.export.code import ExportSettings  # noqa: PLC0415
    from tutor.export.formats import notebook, script  # noqa: PLC0415

    made = notebook if path.suffix == NOTEBOOK else script
    frame = view.frame
    settings = ExportSettings(
        device=view.device,
        learning_rate=frame.learning_rate if frame else None,
        epochs=max(view.target_epoch, view.last_epoch),
        seed=frame.seed if frame else 0,
        changed=bool(view.changes),
    )
    return export.write(made(view.lesson, view.mode, settings), path)


def _turn_mode(session: Session, by: int) -> None:
    """Switch to another mode of the lesson, in their order."""
    if session.view is None:
        return
    modes = session.view.lesson.modes
    if len(modes) == 1:
        session.tell("one_mode", kind="no_effect", mode=modes[0])
        return
    asked = session.unanswered.last_switch("mode")
    mode = (asked.mode if asked else None) or session.view.mode
    session.request(Switch(mode=modes[(modes.index(mode) + by) % len(modes)]))
