"""Exercises without a screen: what is asked, what counts as an answer, what is said to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import pytest

from tests.session.driven import Driven, Notebook
from tests.ui.exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR, WORKED, with_exercises
from tests.ui.fake_engine import FakeEngine
from tutor.lesson.exercise import EXERCISE_KINDS, Exercise, Form, Setting, Stage, StartPlace, Wrong
from tutor.progress import ExerciseResult
from tutor.protocol.commands import (
    Command,
    FindLocalGradients,
    Inspect,
    OpenLesson,
    SetLearningRate,
    StepPhase,
)
from tutor.protocol.events import CommandRefused, Event, LessonFailed, ProcessEnded, StoppedAt
from tutor.protocol.frame import Element, Position, Remark
from tutor.protocol.inspections import GradientFlow, LocalGradientQuestion, LocalGradients
from tutor.session.attempt import Attempt, CodePlace, Reply, Wants, may_show_plots
from tutor.session.exercise_controller import HANDLERS
from tutor.session.journal import Draft, next_to_do
from tutor.session.run_view import Notice
from tutor.session.task_handlers import REPAIR_SECONDS
from tutor.wording import notices
from tutor.wording.feedback import question_markdown, reply_markdown, solution_markdown
from tutor.wording.goals import goal_words

SIGN = msgspec.structs.replace(PREDICT, id="sign", form="sign", wrong=())
PICK = msgspec.structs.replace(
    PREDICT,
    id="pick",
    form="choice",
    wrong=(),
    choices={"up": "It rises", "down": "It falls"},
    answer='"up" if gradient["w"] < 0 else "down"',
)


OWN_LINE = CodePlace("Update", 1, is_own=True)


class Learner(Driven):
    """A session and whoever types at it."""

    def __init__(self, *exercises: Exercise, engine: FakeEngine | None = None) -> None:
        self.notebook, self.lesson = Notebook(), with_exercises(*exercises)
        super().__init__(engine or FakeEngine(), self.lesson, journal=self.notebook)

    def begins(self, id: str | None = None) -> Attempt:
        self.does("begin", id)
        return self.attempt

    def says(self, text: str) -> Attempt:
        self.does("answer", text)
        return self.attempt

    def does(self, wish: str, *args: object) -> Attempt | None:
        owner = self.session if hasattr(self.session, wish) else self.session.controller
        getattr(owner, wish)(*args)
        return self.session.attempt

    def hears(self, event: Event) -> None:
        self.engine.tell(event)
        self.hear()

    @property
    def attempt(self) -> Attempt:
        assert self.session.attempt is not None
        return self.session.attempt


def at(*exercises: Exercise, id: str | None = None, engine: FakeEngine | None = None) -> Learner:
    """A learner at the first of these exercises, or at the one with this id."""
    learner = Learner(*exercises, engine=engine)
    learner.begins(id)
    return learner


def results_of(learner: Learner) -> list[ExerciseResult]:
    return [result for _, result in learner.notebook.results]


def test_a_prediction_is_asked_before_its_phase_and_checked_by_running_it() -> None:
    learner = Learner(PREDICT)
    begun = learner.begins()
    assert (begun.state, begun.ask, learner.at) == ("asking", PREDICT.ask, Position(1, 2))
    keys = ("step_phase", "step_epoch", "toggle_run", "next_mode", "raise_learning_rate", "examine")
    for wish in keys:
        learner.does(wish)
        assert (learner.at, learner.notice.kind) == (Position(1, 2), "refused"), wish
    learner.does("back_epoch")
    assert learner.at == Position(0, 0), "a look back is allowed"
    done = learner.says("-30")
    assert (done.state, done.explain) == ("done", PREDICT.explain)
    assert learner.at == Position(1, 3)
    assert results_of(learner) == ["tried", "done"]


def test_what_would_show_the_answer_waits_for_it() -> None:
    """The comparison shows the gradients, a plot also where the next update leads."""
    learner = at(PREDICT, WORKED)
    for exercise, may_plot in ((PREDICT, True), (WORKED, False)):
        learner.begins(exercise.id)
        view = learner.session.view
        assert view is not None
        assert may_show_plots(learner.attempt, view) is may_plot
        assert not learner.session.is_allowed(Inspect(compare=True))
        assert learner.session.is_allowed(Inspect(graph=True))
        done = learner.says("-30" if exercise is PREDICT else "0.3")
        assert done.state == "done"
        assert may_show_plots(done, view)
        assert learner.session.is_allowed(Inspect(compare=True))


def test_an_exercise_can_be_named_by_its_number() -> None:
    assert at(PREDICT, REACH, id="2").attempt.exercise is REACH
    learner = Learner(PREDICT, REACH)
    learner.does("begin", "3")
    assert learner.notice.code == "unknown_exercise"


def test_after_a_wrong_answer_the_question_comes_with_other_numbers_each_time() -> None:
    learner = at(PREDICT)
    asked = learner.says("about *thirty*")
    assert (asked.state, asked.tries) == ("asking", 0), "what can't be read is no try"
    assert r"\*thirty\*" in reply_markdown(asked)
    places = [learner.at]
    for _ in range(3):
        learner.says("7")
        again = learner.does("go_on")
        assert again is not None
        assert again.state == "asking"
        places.append(learner.at)
    assert [place.epoch for place in places] == [1, 2, 1, 2]
    assert learner.attempt.ask == "And in epoch 2?"
    assert learner.says("-25.5").state == "done"


def test_what_an_again_says_itself_belongs_to_its_round_alone() -> None:
    own = msgspec.structs.replace(
        PREDICT.again[0],
        hints=("Look at epoch 2.",),
        explain="Epoch 2 is nearer.",
        wrong=(Wrong('gradient["w"] + 1', "One too many."),),
    )
    learner = Learner(msgspec.structs.replace(PREDICT, again=(own,)))
    learner.begins()
    learner.does("hint")
    wrong = learner.says("-120")
    assert reply_markdown(wrong) == "You said: −120.\n\nThat is the sum.\n\nThe answer is: −30."
    assert not wrong.explain
    assert learner.attempt.hints == PREDICT.hints[:1]
    learner.does("go_on")
    assert (learner.attempt.hints, learner.attempt.hints_left) == (own.hints, 0)
    assert "One too many." in reply_markdown(learner.says("-24.5"))
    learner.does("go_on")
    assert learner.attempt.hints == PREDICT.hints[:1]
    learner.says("7")
    learner.does("go_on")
    assert learner.says("-25.5").explain == own.explain


@pytest.mark.parametrize(
    ("exercise", "right", "wrong"), [(SIGN, "-", "+"), (PICK, "1", "2"), (CHOOSE, "2", "1")]
)
def test_signs_and_choices_are_judged_too(exercise: Exercise, right: str, wrong: str) -> None:
    learner = at(exercise)
    assert learner.says(wrong).state in ("wrong", "asking")
    learner.begins()
    assert learner.says(right).state == "done"


def test_a_condition_is_looked_at_wherever_the_run_comes_to_rest() -> None:
    learner = Learner(REACH)
    begun = learner.begins()
    (mark,) = goal_words(begun.marks)[0]
    assert (begun.is_met, mark.what, mark.stands) == (False, "loss", "none yet")
    assert mark.wanted == "below 10"
    learner.does("step_epoch")
    (mark,) = goal_words(learner.attempt.marks)[0]
    assert (learner.attempt.is_met, mark.stands, mark.holds) == (False, "30", False)
    learner.does("request", SetLearningRate(value=0.1))
    for _ in range(5):
        learner.does("step_epoch")
    assert (learner.attempt.state, learner.attempt.is_met) == ("done", True)


FAR_GOAL = msgspec.structs.replace(REACH, condition="loss < -1")


@pytest.mark.parametrize("gives_up", ["restart", "back_phase", "back_epoch", "raise_learning_rate"])
def test_a_run_to_a_goal_is_a_try_once_it_is_given_up(gives_up: str) -> None:
    learner = at(FAR_GOAL)
    learner.does("step_phase")
    learner.does(gives_up)
    learner.does("show_solution")
    assert learner.notice.code == "goal_solution_locked", "no epoch has run"
    for _ in range(3):
        learner.does("step_epoch")
    assert learner.attempt.tries == 0
    for _ in range(2):
        learner.does(gives_up)
        assert learner.attempt.tries == 1, "once for each run"
    learner.does("show_solution")
    assert learner.attempt.is_solution_shown


def test_a_goal_of_the_first_epochs_is_missed_once_they_are_over() -> None:
    learner = at(msgspec.structs.replace(REACH, condition="epoch < 2 and loss < 0"))
    for is_missed in (False, True, True):
        learner.does("step_epoch")
        assert learner.attempt.is_missed is is_missed
    learner.does("restart")
    assert not learner.attempt.is_missed


def test_only_what_may_be_changed_can_be_changed() -> None:
    learner = at(REACH)
    learner.does("next_mode")
    fixed = {"change": "mode", "allowed": REACH.may}
    assert learner.notice == Notice("change_is_fixed", fixed, "refused")
    assert learner.engine.at.mode == "autograd"
    learner.does("request", SetLearningRate(value=0.02))
    learner.does("step_epoch")
    learner.does("restart")
    rate = learner.engine.at.learning_rate
    assert (rate, learner.at) == (0.02, Position(0, 0)), "it was reached for, and so is kept"


def test_code_is_edited_until_it_runs_from_the_start_and_does_what_it_should() -> None:
    learner = Learner(REPAIR)
    assert learner.begins().code == REPAIR.code
    before = len(learner.engine.sent)
    learner.does("edit", "w -= 1\nif w\n")
    assert reply_markdown(learner.attempt).startswith("Line 2 is not Python")
    assert len(learner.engine.sent) == before, "it is not run"
    learner.does("edit", "exit()\n")
    learner.hears(ProcessEnded(remark=Remark("exited", {"status": 0}), restarting=True))
    ended = "The process exited with status 0; it starts again"
    assert reply_markdown(learner.attempt) == f"`{ended}`"
    assert (learner.attempt.state, learner.attempt.code) == ("asking", "exit()\n")
    learner.does("edit", "w -= learning_rate * w.grad\n")
    assert learner.attempt.state == "judging"
    learner.engine.advance(3)
    assert learner.attempt.state == "done"
    update = learner.sent(OpenLesson)[-1].lesson.phase("Update")
    assert [f.code for f in update.fences("autograd")] == ["w -= learning_rate * w.grad\n"]
    assert "learning_rate * dw" in update.fences("manual")[0].code


def test_code_that_runs_and_does_not_do_it_is_told_the_figures_it_ends_with() -> None:
    far = msgspec.structs.replace(REPAIR, condition="abs(w - 20) < 1e-3 and w < 9")
    learner = at(far)
    learner.does("edit", "w -= learning_rate * w.grad\n")
    learner.engine.advance(3)
    weight = learner.engine.at.weight(3)
    assert reply_markdown(learner.attempt).endswith(
        f"does not yet do what it should: w is {weight:.6g}, should be within 0.001 of 20."
    )


FOREIGN = "import os; os.system('touch hacked')\n"


def opened_code(engine: FakeEngine) -> list[str]:
    """The code of the phase to be fixed, each time that a run was opened."""
    lessons = [c.lesson for c in engine.sent if isinstance(c, OpenLesson)]
    sections = filter(None, (lesson.phase(REPAIR.phase) for lesson in lessons))
    return [f.code for section in sections for f in section.fences("autograd")]


def at_foreign_code() -> Learner:
    learner = Learner(REPAIR)
    learner.notebook.drafts[REPAIR.id] = Draft(FOREIGN, is_own=False)
    learner.begins()
    return learner


def test_code_from_elsewhere_is_shown_and_never_run_unasked() -> None:
    learner = at_foreign_code()
    assert (learner.attempt.code, learner.attempt.is_from_elsewhere) == (FOREIGN, True)
    assert learner.attempt.reply == Reply("code_from_elsewhere")
    learner.does("edit", FOREIGN)
    learner.does("edit", FOREIGN + "w -= 1\n")  # what is made of it is from elsewhere, too
    learner.does("restart")
    learner.hears(ProcessEnded(remark=Remark("exited", {"status": 0}), restarting=True))
    learner.does("leave")
    learner.begins()
    assert not any("hacked" in code for code in opened_code(learner.engine))
    kept = learner.notebook.drafts[REPAIR.id]
    assert kept == Draft(FOREIGN + "w -= 1\n", is_own=False)


def test_code_from_elsewhere_runs_once_the_learner_has_agreed_to_it() -> None:
    learner = at_foreign_code()
    before = len(learner.engine.sent)
    learner.does("edit", REPAIR.code)
    assert len(learner.engine.sent) > before, "the code as given runs unasked"
    learner.does("agree_to", FOREIGN)
    assert FOREIGN in opened_code(learner.engine)
    assert learner.notebook.drafts[REPAIR.id] == Draft(FOREIGN, is_own=True)


def test_a_backward_pass_asks_one_number_after_the_other(engine: FakeEngine) -> None:
    flows = (GradientFlow("w * x", (2.0,), (3.0,)),)
    steps = (
        LocalGradientQuestion(
            asks="local", output="w * x", input="w", values={"x": 3.0}, expected=3.0
        ),
        LocalGradientQuestion(asks="total", output="", input="w", flows=flows, expected=6.0),
    )
    engine.local = LocalGradients(questions=steps)
    learner = Learner(AUTOGRAD, engine=engine)
    begun = learner.begins()
    assert (begun.question_number, begun.question_count) == (1, 2)
    assert (begun.ask, begun.asked_of) == (AUTOGRAD.ask, steps[0])
    assert learner.says("2").question_number == 1
    asked = learner.says("3")
    assert (asked.question_number, asked.asked_of) == (2, steps[1])
    assert question_markdown(asked) == (
        "What is the gradient of the loss with respect to `w`?  (`gradient with respect to w * x` "
        "= 2, `local gradient of w * x with respect to w` = 3)"
    )
    assert learner.says("6").state == "done"
    assert isinstance(engine.sent[-1], StepPhase)


class SlowToFind(FakeEngine):
    """Local gradients take it long, and so does what comes after."""

    def send(self, command: Command) -> int:
        self.holds = self.holds or isinstance(command, FindLocalGradients)
        return super().send(command)


def test_a_backward_pass_takes_no_answer_before_its_question_is_there() -> None:
    engine = SlowToFind()
    question = LocalGradientQuestion(asks="local", output="y", input="w", values={}, expected=3.0)
    engine.local = LocalGradients(questions=(question, question))
    learner = Learner(AUTOGRAD, engine=engine)
    assert learner.begins().state == "opening"
    engine.release()
    assert (learner.attempt.state, learner.attempt.asked_of) == ("asking", question)


def solution_of(learner: Learner) -> Mapping[str, Any]:
    assert learner.attempt.solution is not None
    return learner.attempt.solution.values


def test_every_form_of_a_prediction_is_a_sort_of_answer() -> None:
    assert {Wants(form).is_answer for form in get_args(Form)} == {True}


def test_every_kind_has_a_handler_and_words() -> None:
    assert {*HANDLERS} == {*EXERCISE_KINDS.values()}
    assert set(notices.KIND_WORDS) == set(EXERCISE_KINDS)


def test_hints_come_one_at_a_time_and_the_solution_only_after_a_try() -> None:
    learner = at(CHOOSE)
    learner.does("show_solution")
    assert not learner.attempt.is_solution_shown
    for shown in (CHOOSE.hints[:1], CHOOSE.hints, CHOOSE.hints):
        learner.does("hint")
        assert learner.attempt.hints == shown
    assert learner.notice == Notice("no_more_hints", kind="no_effect")
    learner.says("1")
    learner.does("show_solution")
    assert learner.notice == Notice(), "what was said of hints goes with the solution"
    assert solution_markdown(learner.attempt) == "So"
    assert solution_of(learner)["number"] == 2
    assert results_of(learner) == ["hinted", "hinted", "tried", "shown"]


def test_a_working_is_that_of_the_question_asked_again_wherever_the_run_stands() -> None:
    again = msgspec.structs.replace(
        WORKED.again[0], stage=Stage(mode="autograd", at=StartPlace(2, "Update"))
    )
    learner = at(msgspec.structs.replace(WORKED, again=(again,)))
    learner.says("1")
    learner.does("step_epoch")  # what holds there is no part of it
    learner.does("show_solution")
    found = solution_of(learner)
    assert [value.data for value in found["working"]] == [(0.0,), (0.01,), (-30.0,)]
    assert found["value"].data == (pytest.approx(0.3),)
    asked = learner.does("go_on")
    assert asked is not None
    assert asked.solution is None
    place = learner.at
    learner.does("back_epoch")
    learner.does("show_solution")
    assert [value.data for value in solution_of(learner)["working"]] == [
        (pytest.approx(0.3),), (0.01,), (pytest.approx(-25.5),),
    ]  # fmt: skip
    assert (learner.attempt.state, learner.at) == ("asking", place)


def test_a_solution_is_not_seen_before_it_can_be_typed() -> None:
    learner = at(PREDICT)
    learner.says("1")
    learner.does("go_on")
    session = learner.session
    session.controller.show_solution()
    while learner._events:
        session.receive(learner._events.popleft())
        assert session.attempt is not None
        assert session.attempt.state == "asking" or not session.attempt.is_solution_shown
    assert solution_markdown(learner.attempt) == "−25.5", "found by running and going back"
    assert (learner.attempt.state, learner.at) == ("asking", Position(2, 2))


def test_leaving_brings_the_learners_own_run_back() -> None:
    learner = Learner(PREDICT)
    learner.does("request", SetLearningRate(value=0.02))
    learner.does("seek", 7, 3)
    recipe = learner.session.recipe
    learner.begins()
    learner.does("leave")
    assert (learner.at, learner.session.recipe) == (Position(7, 3), recipe)
    assert learner.session.attempt is None


def test_an_exercise_wished_for_too_early_waits_for_the_run_it_has_to_keep() -> None:
    learner = Learner(PREDICT, CHOOSE)
    learner.does("seek", 5)
    learner.begins()
    left = learner.notebook.places[-1]
    learner.does("leave")
    for wish in (("open", learner.lesson), ("resume", learner.lesson, left), ("step_epoch",)):
        learner.engine.holds = True
        learner.does(*wish)
        assert learner.does("begin", "first") is None
        learner.engine.release()
        assert learner.attempt.exercise.id == "first"
        own = learner.session.controller.set_aside
        assert own is not None
        learner.does("skip")
        assert learner.attempt.exercise.id == "choose"
        learner.does("leave")
        assert (learner.at, learner.session.recipe) == (own.run.at, own.run.recipe)
    assert learner.at.epoch == 6


def test_a_lesson_that_does_not_come_to_stand_begins_no_exercise_later() -> None:
    learner = Learner(PREDICT)
    learner.engine.holds = True
    learner.does("open", learner.lesson)
    learner.does("begin")
    for number, command in enumerate(learner.engine.sent, 1):
        if isinstance(command, OpenLesson | Inspect):
            learner.session.receive(CommandRefused(remark=Remark("stopped"), answers=number))
    learner.engine.release()
    assert learner.does("restart") is None


def test_what_is_known_is_skipped_and_the_next_one_asked() -> None:
    """After the last it is told which are still open."""
    learner = at(PREDICT, REACH, CHOOSE)
    learner.does("skip")
    assert learner.attempt.exercise is REACH
    learner.begins("choose")
    learner.says("2")
    assert learner.does("go_on") is None
    assert learner.notice == Notice("last_exercise", {"to_do": [2], "skipped": [1]})
    assert learner.notebook.results_of("line") == {"first": "skipped", "choose": "done"}


def test_what_is_done_is_not_skipped() -> None:
    learner = at(CHOOSE, PREDICT)
    learner.says("2")
    learner.does("leave")
    learner.begins("choose")
    learner.does("skip")
    assert learner.attempt.exercise is PREDICT
    assert learner.notebook.results_of("line") == {"choose": "done"}
    assert learner.notice.code != "exercise_skipped"


def test_the_same_choice_is_no_other_try() -> None:
    learner = at(CHOOSE)
    assert learner.says("1").tries == 1
    assert learner.says("1").tries == 1
    assert learner.notice == Notice("same_choice", kind="no_effect")
    assert learner.says("2").state == "done"


def test_a_skip_can_be_taken_back_and_is_told_of_until_then() -> None:
    learner = at(PREDICT, CHOOSE)
    learner.does("skip")
    skipped = {"number": 1, "is_typing": False, "is_last": False, "to_do": [2], "skipped": [1]}
    assert learner.notice == Notice("exercise_skipped", skipped)
    learner.says("2")
    learner.does("go_on")
    assert learner.notice.values["skipped"] == [1]
    assert learner.begins().exercise is PREDICT  # all else is done
    learner.does("leave")
    assert learner.does("unskip").exercise is PREDICT
    assert learner.notebook.results_of("line") == {"choose": "done"}
    learner.does("unskip")
    assert learner.notice == Notice("none_skipped", kind="no_effect")


def test_the_skip_taken_back_is_that_of_the_exercise_that_is_on_else_the_last() -> None:
    learner = at(PREDICT, REACH, CHOOSE)
    learner.does("skip")
    learner.does("skip")
    assert learner.does("unskip").exercise is REACH
    learner.does("skip")
    learner.begins("first")
    assert learner.does("unskip").exercise is PREDICT
    assert learner.notebook.results_of("line") == {"reach": "skipped"}


def test_what_a_begins_is_open_else_skipped_else_the_first() -> None:
    every = (PREDICT, REACH, REPAIR)
    first, second, third = (exercise.id for exercise in every)
    assert next_to_do(every, {}) is PREDICT
    assert next_to_do(every, {first: "done"}) is REACH
    assert next_to_do(every, {first: "done", second: "skipped"}) is REPAIR
    assert next_to_do(every, {first: "done", second: "skipped", third: "done"}) is REACH
    assert next_to_do(every, dict.fromkeys((first, second, third), "done")) is None


def test_where_the_lesson_stands_is_written_down_not_where_the_exercise_does() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.begins()
    last = learner.notebook.places[-1]
    assert (last.at.epoch, last.exercise) == (5, "first")
    learner.does("leave")
    assert learner.notebook.places[-1].exercise == ""


def test_opening_a_lesson_tells_where_it_was_left_and_forgets_it_not() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.notebook.bookmark_of = lambda lesson: learner.notebook.places[-1]  # type: ignore[method-assign]
    kept = len(learner.notebook.places)
    learner.session.open(learner.lesson)
    assert learner.notice == Notice("left_in_epoch", {"epoch": 5})
    assert len(learner.notebook.places) == kept
    learner.does("resume_previous")
    assert learner.at.epoch == 5
    changed = msgspec.structs.replace(learner.notebook.places[-1], fingerprint="other")
    learner.session.resume(learner.lesson, changed)
    assert (learner.at, learner.notice) == (Position(0, 0), Notice("lesson_changed"))


def test_a_new_seed_keeps_the_values_that_the_exercise_begins_with() -> None:
    stage = Stage(mode="autograd", settings=(Setting("w", (), 3.0),))
    learner = Learner(msgspec.structs.replace(REACH, stage=stage, may=("seed",)))
    learner.begins()
    learner.does("new_seed")
    opened = learner.sent(OpenLesson)[-1]
    assert opened.recipe is not None
    assert opened.recipe.seed
    assert [change.element for change in opened.recipe.changes] == [Element("w", (), 3.0)]


def test_who_comes_back_to_an_exercise_finds_it_as_it_was_left() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.begins()
    learner.does("hint")
    learner.says("7")
    left = learner.notebook.places[-1]
    learner.does("leave")
    back = learner.begins()
    assert (back.ask, back.tries, back.hints) == ("And in epoch 2?", 1, PREDICT.hints[:1])
    other = Learner(PREDICT)
    other.session.resume(other.lesson, left)
    resumed = other.attempt
    assert (resumed.ask, resumed.tries, resumed.hints) == ("And in epoch 2?", 1, PREDICT.hints[:1])
    assert (resumed.exercise.id, other.at) == ("first", Position(2, 2))
    other.does("leave")
    assert other.at.epoch == 5


def test_an_error_is_told_in_full_unless_it_is_the_one_to_be_fixed() -> None:
    learner = at(REPAIR)
    replies = []
    for phase, line, message in (
        ("Update", 2, "NameError: v"),
        ("Predict", 20, "NameError: x"),
        ("Loss", 31, "a leaf Variable that requires"),
    ):
        learner.does("edit", "v += 1\n")
        number = learner.engine.run_number
        learner.hears(
            LessonFailed(
                answers=number,
                lesson="",
                phase=phase,
                line=line,
                error=Remark("text", {"text": message}),
            )
        )
        replies.append(reply_markdown(learner.attempt))
    assert replies == [
        "Line 2 of your code: `NameError: v`",
        "Predict, at `y_pred = w * x`: `NameError: x`",
        "Loss, at `loss = ((y_pred - y) ** 2).mean()`, still raises this error.",
    ]


def test_in_an_exercise_the_line_of_a_file_that_is_not_seen_is_quoted() -> None:
    learner = at(PREDICT)
    learner.engine.fails_at = "Gradient"
    code = "loss = ((y_pred - y) ** 2).mean()"
    assert reply_markdown(learner.says("1")).startswith(f"Loss, at `{code}`: `ZeroDivisionError")
    place = CodePlace("Loss", 31, code)
    assert learner.notice == Notice("phase_failed", {"place": place}, "failed")
    learner.hears(learner.engine.shown(stopped=StoppedAt("Loss", 31)))
    assert learner.notice == Notice("stopped", {"place": place, "is_undone": True})


def test_of_endless_code_it_is_told_who_stopped_it() -> None:
    learner = at(REPAIR)
    learner.does("edit", "while True: pass\n")
    learner.hears(learner.engine.shown(learner.engine.run_number, stopped=StoppedAt("Update", 1)))
    assert learner.attempt.reply == Reply("stopped", {"place": OWN_LINE, "after": None})
    assert learner.notice == Notice(), "once is enough"
    for stopped, where in (
        (StoppedAt("Update", 2), "line 2 of your code"),
        (StoppedAt("Predict", 20), "Predict, at `y_pred = w * x`,"),
    ):
        learner.does("edit", "while True: pass\n")
        learner.session.controller.stop_if_silent(REPAIR_SECONDS + 1)
        learner.hears(learner.engine.shown(learner.engine.run_number, stopped=stopped))
        assert learner.attempt.was_stopped
        told = f"The tutor stopped it after 10 s: {where} was still running."
        assert reply_markdown(learner.attempt) == told


def test_code_that_is_stopped_before_the_run_stands_leaves_no_empty_line() -> None:
    learner = at(REPAIR)
    learner.engine.holds = True
    learner.does("edit", "while True: pass\n")
    stopped = CommandRefused(remark=Remark("stopped"), stopped=StoppedAt("Update", 1))
    number = opening_of(learner.engine)
    learner.hears(msgspec.structs.replace(stopped, answers=number, opening=number))
    assert learner.attempt.reply == Reply("stopped", {"place": OWN_LINE, "after": None})
    where = {"place": OWN_LINE, "is_undone": False}
    assert learner.notice == Notice("stopped", where, "refused")
    learner.does("restart")
    number = opening_of(learner.engine)
    learner.engine.tell(msgspec.structs.replace(stopped, answers=number, opening=number))
    learner.engine.release()
    assert learner.notice == Notice("code_as_given")


def opening_of(engine: FakeEngine) -> int:
    """The number of the last Open."""
    return max(n for n, command in enumerate(engine.sent, 1) if isinstance(command, OpenLesson))


def test_a_repair_that_was_done_begins_broken_again() -> None:
    """Before it was done, a draft is there again."""
    learner = at(REPAIR)
    learner.does("keep_draft", "# half\n")
    learner.does("leave")
    assert learner.begins().code == "# half\n"
    learner.does("edit", REPAIR.solution_code)
    learner.engine.advance(3)
    learner.does("leave")
    assert learner.begins().code == REPAIR.code
