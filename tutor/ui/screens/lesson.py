"""The lesson screen: composes the panes, and passes keys to the session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import var
from textual.widget import Widget

from tutor.lesson.exercise import Exercise, Repair
from tutor.progress import ExerciseResult
from tutor.protocol.commands import Command, Examine, Inspect
from tutor.session.attempt import Attempt
from tutor.session.printed_text import PrintedText
from tutor.session.run_view import RunView
from tutor.session.session import Session
from tutor.ui import exercise_lines as lines_of
from tutor.ui.bars import ErrorBar, Footer, Header, StatusBar, Timeline
from tutor.ui.commands import (
    CODE_COMMANDS,
    EXERCISE_COMMANDS,
    EXERCISE_PANE_COMMANDS,
    FIELD_COMMANDS,
    GRAPH_COMMANDS,
    LESSON_COMMANDS,
    PANE_COMMANDS,
    TIMELINE_COMMANDS,
    AppCommand,
    bindings,
)
from tutor.ui.lines import LinesPane
from tutor.ui.panes.code import CodePane, LadderPane, OutputPane
from tutor.ui.panes.exercise import ExercisePane, ExerciseText
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.graph import GraphPane
from tutor.ui.panes.numbers import NumbersPane
from tutor.ui.panes.plot import PlotPane
from tutor.ui.screens.base import PaneLayoutScreen, pane_beside


class LessonScreen(PaneLayoutScreen):
    """Formula, code, numbers, plot, output, ladder and graph of one run, and its exercises."""

    ALL_COMMANDS = (*LESSON_COMMANDS, *EXERCISE_COMMANDS, *PANE_COMMANDS)
    PANE_KEYS = (*CODE_COMMANDS, *GRAPH_COMMANDS, *EXERCISE_PANE_COMMANDS, *TIMELINE_COMMANDS)
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(ALL_COMMANDS),
        # Not a handler of the key: the field that it leads to would get it as well.
        Binding("enter", "screen.exercise(False)", show=False),
    ]
    AUTO_FOCUS = "#formula"

    printed: var[PrintedText] = var(PrintedText)
    results: var[Mapping[str, ExerciseResult]] = var(dict)
    """The learner's best result in each exercise."""

    def __init__(self, session: Session, ascii_only: bool, heading: str = "") -> None:
        """`heading` is the title to show until a lesson is open."""
        super().__init__(session)
        self._heading = heading
        self._ascii = ascii_only
        self._left_from: tuple[int, int] | None = None
        """The position of the run when the timeline was opened."""

    def parts(self) -> Iterable[Widget]:
        """Header, panes, timeline, status and footer; all bind to this screen's attributes."""
        view = LessonScreen.view
        header = Header(id="header", host=self.session.host, heading=self._heading)
        yield header.data_bind(view)
        attempt, results = LessonScreen.attempt, LessonScreen.results
        yield ErrorBar(id="error").data_bind(view, attempt)
        with Container(id="panes"):
            formula = FormulaPane(id="formula", ascii_only=self._ascii)
            yield formula.data_bind(view, attempt, results)
            yield CodePane(id="code").data_bind(view, attempt)
            yield GraphPane(id="graph").data_bind(view, attempt)
            yield NumbersPane(id="numbers").data_bind(view)
            yield PlotPane(id="plot", ascii_only=self._ascii).data_bind(view, attempt)
            yield OutputPane(id="output").data_bind(view, LessonScreen.printed)
            yield LadderPane(id="ladder").data_bind(view)
            exercise = ExercisePane(id="exercise", ascii_only=self._ascii)
            yield exercise.data_bind(view, attempt, results)
        yield Timeline(id="timeline").data_bind(view)
        status = StatusBar(id="status")
        yield status.data_bind(view, LessonScreen.notice, LessonScreen.waiting)
        yield Footer(LESSON_COMMANDS, id="footer")

    def update_from_session(self) -> None:
        """Take over the session's state, as soon as the panes are there."""
        if not self.query(ExercisePane):
            return
        self.printed = self.session.output.here
        lesson, attempt = self.view and self.view.lesson, self.attempt
        super().update_from_session()
        footer = self.query_one(Footer)
        footer.left_out = self.left_out(may_reconnect=self.session.lost is not None)
        if self.attempt is not attempt or (self.view and self.view.lesson) is not lesson:
            self.results = self.session.controller.results()
            keys = _first_keys(self.attempt, self.session.controller.exercises)
            footer.first = tuple(keys)

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_session(self, name: str) -> None:
        """Let the session run a command; `space` first pages through the text up to it."""
        is_at_rest = self.attempt is None and not self.session.is_running
        is_step = name == "step_phase" and is_at_rest and not self.query_one(Timeline).display
        if not (is_step and self.query_one(FormulaPane).page_to_next_phase()):
            super().action_session(name)

    @property
    def focus_chain(self) -> list[Widget]:
        """The widgets that tab visits; not an exercise's text while its field is open."""
        chain, text = super().focus_chain, self.query_one(ExerciseText)
        passes_by = lines_of.asks_to_type(self.attempt) and self.focused is not text
        return [widget for widget in chain if not (passes_by and widget is text)]

    def action_operation(self) -> None:
        """Run one operation of backward and show it in the graph."""
        if not self.query_one("#graph").display:
            self.action_show("graph")
        self.session.step_operation()
        self.update_from_session()

    def action_turn_plot(self, by: int) -> None:
        """Show another plot."""
        plot = self.query_one(PlotPane)
        if plot.display:
            plot.turn(by)
        self.action_show("plot")

    def action_turn_difference(self) -> None:
        """Show the code of another mode, phase by phase."""
        if self.is_script:
            self.tell_no_effect("script_compare")
            return
        self.query_one(CodePane).turn_difference()
        self.action_show("code")

    def action_runs(self) -> None:
        """Open the list of runs."""
        from tutor.ui.screens.lists import RunsScreen  # noqa: PLC0415  after the first paint

        if self.session.view is not None:
            self.session.pause()
            self.app.push_screen(RunsScreen(self.session))

    def action_compare(self) -> None:
        """Open the comparison of all modes."""
        from tutor.ui.screens.compare import CompareScreen  # noqa: PLC0415  as above

        if self.session.view is not None and self._may_ask(Inspect(compare=True)):
            self.app.push_screen(CompareScreen(self.session))

    def action_doctor(self) -> None:
        """Open the list of mistakes in the code."""
        from tutor.ui.screens.lists import DoctorScreen  # noqa: PLC0415  as above

        if self.session.view is not None and self._may_ask(Examine()):
            self.session.pause()
            self.app.push_screen(DoctorScreen(self.session), lambda _: self.update_from_session())

    def _may_ask(self, command: Command) -> bool:
        """Whether the engine can be asked, and the exercise does not ask for what it answers."""
        may_ask = self.session.is_connected() and self.session.is_allowed(command)
        self.update_from_session()
        return may_ask

    def action_stop(self) -> None:
        """Leave the timeline, or stop what is running."""
        if self.query_one(Timeline).display:
            self.query_one(Timeline).action_leave(False)
        else:
            self.action_session("stop")
            is_idle = self.session.notice.code == "nothing_running"
            if is_idle and self.query_one(ExercisePane).is_typing:
                self.tell_no_effect("nothing_running_in_field")  # q types a letter there

    def action_reconnect(self) -> None:
        """Connect again to the machine that the engine was on."""
        from tutor.ui.terminal_watch import reconnect  # noqa: PLC0415  as above

        reconnect(self.app, self.session)
        self.update_from_session()

    # ── Exercises ───────────────────────────────────────────────────────────────────

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Show the introduction when another lesson begins."""
        is_other = old is not None and new is not None and old.lesson.slug != new.lesson.slug
        if is_other or (old is None and self.is_script):
            self._shown, self._before = {}, {}
            self._place_panes()
            self.focus_text()

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """Show an exercise that begins or is done; after it, restore the layout."""
        if (old and old.exercise.id) == (new and new.exercise.id):
            is_done = old and new and new.state == "done" != old.state
            if is_done and not self.query_one(ExercisePane).display:
                self._bring("exercise")
                self._keep_focus_in_view()
            return
        if old is None:
            self._before = dict(self._shown)
        self.query_one(Timeline).display, self._left_from = False, None  # it belongs to another run
        self.set_class(new is not None, "-exercising")
        self._shown = dict(self._before)
        if new is None:
            self._place_panes()
            self.query_one("#formula").focus()
            return
        self._bring(pane_beside(new, self._groups, self._before))
        self.action_show("exercise")
        if new.is_editing and self.is_current:
            self.action_edit()

    def action_exercise(self, may_begin: bool = True) -> None:
        """Begin the next exercise, go to its field or code, or continue after an answer."""
        attempt, pane = self.session.attempt, self.query_one(ExercisePane)
        if attempt is None:
            if may_begin and self.is_script:
                self.tell_no_effect("script_exercises")
            elif may_begin:
                self.action_controller("begin")
            else:
                self.tell_no_effect("unused_key", key="enter")
        elif attempt.state in ("wrong", "done") and pane.display:
            if not pane.has_focus_within_it:
                self.action_show("exercise")  # the next question is answered there
            self.action_controller("go_on")
        else:
            was_shown = pane.display
            self.action_show("exercise")
            if was_shown and attempt.state == "asking":
                self._act_on_question(attempt)

    def _act_on_question(self, attempt: Attempt) -> None:
        """Open the code that is asked for; say what else the question in view needs."""
        if attempt.wants.is_edited:
            self.action_edit()
        elif attempt.wants.is_picked:
            self.tell_no_effect("nothing_chosen")
        elif not attempt.wants.is_typed:
            self.tell_no_effect("goal_missed" if attempt.is_missed else "goal_not_reached")

    def action_exercises(self) -> None:
        """Open the list of exercises."""
        from tutor.ui.screens.lists import ExercisesScreen  # noqa: PLC0415  as above

        if self.is_script:
            self.tell_no_effect("script_exercises")
        elif self.session.view is not None:
            self.session.pause()
            exercises = ExercisesScreen(self.session, self._ascii)
            self.app.push_screen(exercises, lambda _: self.update_from_session())

    def action_of_exercise(self, name: str) -> None:
        """Let the session run a command of the exercise, with the exercise pane in view."""
        if self.session.attempt is None:
            self.tell_no_effect("script_exercises" if self.is_script else "no_exercise_on")
        else:
            if not self.query_one(ExercisePane).display:
                self.action_show("exercise")
                self.query_one(ExercisePane).leave_field()
            self.action_controller(name)

    def action_edit(self) -> None:
        """Open the editor for the code of a repair."""
        from tutor.ui.screens.editor import EditorScreen  # noqa: PLC0415  as above

        attempt = self.session.attempt
        exercise = attempt.exercise if attempt else None
        if attempt is None or not isinstance(exercise, Repair):
            self.tell_no_effect("script_exercises" if self.is_script else "no_repair_on")
        elif attempt.state == "done":
            self.action_show("exercise")
        else:
            screen = EditorScreen(self.session, exercise, self._ascii)
            self.app.push_screen(screen, lambda _: self.update_from_session())

    def action_leave(self) -> None:
        """Leave the answer's field, then the exercise; stop what is running first."""
        pane = self.query_one(ExercisePane)
        if self.query_one(Timeline).display:
            self.action_stop()
        elif pane.is_typing:
            pane.leave_field()
        elif self.session.attempt is None or self.session.is_running or self.waiting:
            self.action_stop()
        elif not pane.has_focus_within_it:
            self.action_show("exercise")
            pane.leave_field()
        else:
            self.session.controller.leave()
            self.session.tell_when_open("own_run_back")
            self.update_from_session()

    def on_exercise_text_answered(self, message: ExerciseText.Answered) -> None:
        """Let the session check the answer."""
        self.session.controller.answer(message.text)
        self.update_from_session()

    def on_exercise_pane_typed(self, message: ExercisePane.Typed) -> None:
        """Let the session save the typed text, so that the learner can resume later."""
        self.session.controller.keep_typed(message.text)
        if self.notice != self.session.notice:
            self.update_from_session()

    def on_exercise_text_answered_nothing(self) -> None:
        """Ask for an answer."""
        attempt = self.session.attempt
        is_typed = attempt is not None and attempt.wants.is_typed
        self.tell_no_effect("empty_answer" if is_typed else "nothing_chosen")

    def on_exercise_text_went_on(self, message: ExerciseText.WentOn) -> None:
        """Act as the key `a` does."""
        self.action_exercise()

    def on_exercise_pane_typing_changed(self, message: ExercisePane.TypingChanged) -> None:
        """Update the footer: while the learner types, it shows no letter keys."""
        self.query_one(Footer).only = FIELD_COMMANDS if message.is_typing else ()

    # ── The timeline ────────────────────────────────────────────────────────────────

    def action_timeline(self) -> None:
        """Open the timeline; if it is open, stay at its position."""
        timeline, view = self.query_one(Timeline), self.session.view
        if timeline.display:
            timeline.action_leave(True)
        elif view is not None and view.frame is not None:
            self.session.pause()
            self._left_from = (view.frame.at.epoch, view.frame.at.step)
            timeline.display = True
            timeline.focus()

    def on_timeline_moved(self, message: Timeline.Moved) -> None:
        """Go to that epoch, as fast as the run can be replayed."""
        self.session.scrub(message.epoch)
        self.update_from_session()

    def on_timeline_phase_moved(self, message: Timeline.PhaseMoved) -> None:
        """Go one phase forward or back."""
        self.action_session("step_phase" if message.forward else "back_phase")

    def on_timeline_left(self, message: Timeline.Left) -> None:
        """Close the timeline; unless the learner stays, return to the position before it."""
        self.query_one(Timeline).display = False
        self.focus_text()
        if not message.stay and self._left_from is not None:
            self.session.scrub(*self._left_from)
        self._left_from = None
        self.update_from_session()

    # ── Requests of the panes ───────────────────────────────────────────────────────

    def on_lines_pane_inspects(self, message: LinesPane.Inspects) -> None:
        """Ask the engine for what a pane needs besides the frames."""
        self.session.inspect(**message.changes)


def _first_keys(attempt: Attempt | None, exercises: Sequence[Exercise]) -> Iterator[AppCommand]:
    """The exercise keys that work now, with `a` labelled by its action."""
    labels = {"wrong": "ask again", "done": "go on"}
    if attempt is not None and attempt.wants.is_answer:
        labels["asking"] = "answer"
    for command in EXERCISE_COMMANDS:
        if command.name == "exercise":
            if attempt is not None:
                yield replace(command, label=labels.get(attempt.state, "exercise"))
            elif exercises:
                yield command
        elif attempt is not None and _is_of_use(command.name, attempt):
            yield command


def _is_of_use(command: str, attempt: Attempt) -> bool:
    if attempt.state == "done":
        return command not in ("edit", "hint", "show_solution", "skip")
    is_of_use = {
        "edit": attempt.wants.is_edited,
        "hint": attempt.hints_left > 0,
        "show_solution": attempt.may_see_solution and not attempt.is_solution_shown,
    }
    return is_of_use.get(command, True)
