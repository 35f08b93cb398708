"""Exercises without a screen: what is asked, what counts as an answer, what is said to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.session.driven import Driven
from tests.ui.exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR, WORKED, with_exercises
from tests.ui.fake_engine import FakeEngine
from tutor.lesson.exercise import EXERCISE_KINDS, Exercise, Setting, Stage, StartPlace, Wrong
from tutor.progress.records import ExerciseResult
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
from tutor.protocol.inspections import LocalGradientQuestion, LocalGradients
from tutor.session.attempt import Attempt, CodePlace, Reply
from tutor.session.journal import Bookmark, Draft, Journal, next_to_do
from tutor.session.kind_handlers import HANDLERS, REPAIR_SECONDS
from tutor.session.run_view import Notice
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


class Notebook(Journal):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.results: list[tuple[str, ExerciseResult]] = []
        self.drafts: dict[str, Draft] = {}
        self.places: list[Bookmark] = []

    def record_result(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        self.results.append((exercise, result))

    def save_bookmark(self, bookmark: Bookmark) -> None:
        self.places.append(bookmark)

    def save_draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        self.drafts[exercise] = draft

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        return self.drafts.get(exercise)

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        counted = ("done", "skipped", "unskipped")
        found = {e: result for e, result in self.results if result in counted}
        return {e: result for e, result in found.items() if result != "unskipped"}


class Learner(Driven):
    """A session and whoever types at it."""

    def __init__(self, engine: FakeEngine, *exercises: Exercise) -> None:
        self.notebook, self.lesson = Notebook(), with_exercises(*exercises)
        super().__init__(engine, self.lesson, journal=self.notebook)

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


def at(engine: FakeEngine, *exercises: Exercise, id: str | None = None) -> Learner:
    """A learner at the first of these exercises, or at the one with this id."""
    learner = Learner(engine, *exercises)
    learner.begins(id)
    return learner


def results_of(learner: Learner) -> list[ExerciseResult]:
    return [result for _, result in learner.notebook.results]


def test_a_prediction_is_asked_before_its_phase_and_checked_by_running_it(
    engine: FakeEngine,
) -> None:
    learner = Learner(engine, PREDICT)
    begun = learner.begins()
    assert (begun.state, begun.ask, learner.at) == (
        "asking",
        PREDICT.ask,
        Position(1, 2),
    )
    done = learner.says("-30")
    assert (done.state, done.explain) == ("done", PREDICT.explain)
    assert learner.at == Position(1, 3)
    assert results_of(learner) == ["tried", "done"]


def test_an_exercise_can_be_named_by_its_number(engine: FakeEngine) -> None:
    assert at(engine, PREDICT, REACH, id="2").attempt.exercise is REACH
    learner = Learner(engine, PREDICT, REACH)
    learner.does("begin", "3")
    assert learner.notice.code == "unknown_exercise"


def test_a_wrong_number_is_told_what_came_out_and_which_mistake_it_is(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    wrong = learner.says("-120")
    assert wrong.state == "wrong"
    assert reply_markdown(wrong) == "You said: −120. That is the sum. It is: −30."
    assert not wrong.explain


def test_after_a_wrong_answer_the_question_comes_with_other_numbers_each_time(
    engine: FakeEngine,
) -> None:
    learner = at(engine, PREDICT)
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


def test_what_an_again_says_itself_belongs_to_its_round_alone(engine: FakeEngine) -> None:
    own = msgspec.structs.replace(
        PREDICT.again[0],
        hints=("Look at epoch 2.",),
        explain="Epoch 2 is nearer.",
        wrong=(Wrong('gradient["w"] + 1', "One too many."),),
    )
    learner = Learner(engine, msgspec.structs.replace(PREDICT, again=(own,)))
    learner.begins()
    learner.does("hint")
    assert "That is the sum." in reply_markdown(learner.says("-120"))
    assert learner.attempt.hints == PREDICT.hints[:1]
    learner.does("go_on")
    assert (learner.attempt.hints, learner.attempt.hints_left) == (own.hints, 0)
    assert "One too many." in reply_markdown(learner.says("-24.5"))
    learner.does("go_on")
    assert learner.attempt.hints == PREDICT.hints[:1]
    learner.says("7")
    learner.does("go_on")
    assert learner.says("-25.5").explain == own.explain


def test_what_can_not_be_read_is_no_try(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    asked = learner.says("about *thirty*")
    assert (asked.state, asked.tries) == ("asking", 0)
    assert r"\*thirty\*" in reply_markdown(asked)


@pytest.mark.parametrize(
    ("exercise", "right", "wrong"), [(SIGN, "-", "+"), (PICK, "1", "2"), (CHOOSE, "2", "1")]
)
def test_signs_and_choices_are_judged_too(
    engine: FakeEngine, exercise: Exercise, right: str, wrong: str
) -> None:
    learner = at(engine, exercise)
    assert learner.says(wrong).state in ("wrong", "asking")
    learner.begins()
    assert learner.says(right).state == "done"


def test_the_run_can_not_be_stepped_past_an_open_question(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    for wish in ("step_phase", "step_epoch", "toggle_run", "next_mode", "raise_learning_rate"):
        learner.does(wish)
        assert learner.at == Position(1, 2)
        assert learner.notice.kind == "refused"


def test_who_went_back_to_look_answers_at_the_place_of_the_question(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    learner.does("back_epoch")
    assert learner.at == Position(0, 0)
    assert learner.says("-30").state == "done"
    assert learner.at == Position(1, 3)


def test_a_condition_is_looked_at_wherever_the_run_comes_to_rest(engine: FakeEngine) -> None:
    learner = Learner(engine, REACH)
    assert learner.begins().is_met is False
    learner.does("step_epoch")
    assert learner.attempt.is_met is False
    learner.does("request", SetLearningRate(value=0.1))
    for _ in range(5):
        learner.does("step_epoch")
    assert (learner.attempt.state, learner.attempt.is_met) == ("done", True)


def test_of_a_condition_it_is_told_how_near_the_run_is(engine: FakeEngine) -> None:
    learner = Learner(engine, REACH)
    (mark,) = goal_words(learner.begins().marks)[0]
    assert (mark.what, mark.stands, mark.wanted) == ("loss", "none yet", "below 10")
    learner.does("step_epoch")
    (mark,) = goal_words(learner.attempt.marks)[0]
    assert (mark.stands, mark.holds) == ("30", False)


def test_only_what_may_be_changed_can_be_changed(engine: FakeEngine) -> None:
    learner = at(engine, REACH)
    learner.does("next_mode")
    fixed = {"change": "mode", "allowed": REACH.may}
    assert learner.notice == Notice("change_is_fixed", fixed, "refused")
    assert engine.at.mode == "autograd"


def test_starting_again_keeps_the_learning_rate_that_was_reached_for(engine: FakeEngine) -> None:
    learner = at(engine, REACH)
    learner.does("request", SetLearningRate(value=0.02))
    learner.does("step_epoch")
    learner.does("restart")
    assert (engine.at.learning_rate, learner.at) == (0.02, Position(0, 0))


def test_fixed_code_is_run_from_the_start_and_has_to_do_what_it_should(
    engine: FakeEngine,
) -> None:
    learner = Learner(engine, REPAIR)
    assert learner.begins().code == REPAIR.code
    learner.does("edit", "w -= learning_rate * w.grad\n")
    assert learner.attempt.state == "judging"
    engine.advance(3)
    assert learner.attempt.state == "done"
    opened = learner.sent(OpenLesson)[-1]
    update = opened.lesson.phase("Update")
    assert update is not None
    assert [f.code for f in update.fences("autograd")] == ["w -= learning_rate * w.grad\n"]
    assert "learning_rate * dw" in update.fences("manual")[0].code


def test_code_that_runs_and_does_not_do_it_is_told_the_figures_it_ends_with(
    engine: FakeEngine,
) -> None:
    far = msgspec.structs.replace(REPAIR, condition="abs(w - 20) < 1e-3 and w < 9")
    learner = at(engine, far)
    learner.does("edit", "w -= learning_rate * w.grad\n")
    engine.advance(3)
    weight = engine.at.weight(3)
    assert reply_markdown(learner.attempt).endswith(
        f"does not yet do what it should: w is {weight:.6g}, should be within 0.001 of 20."
    )


def test_code_that_is_not_python_is_told_by_its_line_and_not_run(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    before = len(engine.sent)
    learner.does("edit", "w -= 1\nif w\n")
    assert reply_markdown(learner.attempt).startswith("Line 2 is not Python")
    assert len(engine.sent) == before


def test_code_that_ends_its_process_is_told_and_can_be_edited_further(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    learner.does("edit", "exit()\n")
    learner.hears(ProcessEnded(note=Remark("exited", {"status": 0}), restarting=True))
    ended = "The process exited with status 0; it starts again"
    assert reply_markdown(learner.attempt) == f"`{ended}`"
    assert (learner.attempt.state, learner.attempt.code) == ("asking", "exit()\n")


def test_a_draft_is_there_again_when_the_exercise_is_begun_anew(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    learner.does("keep_draft", "# half\n")
    learner.does("leave")
    assert learner.begins().code == "# half\n"


FOREIGN = "import os; os.system('touch hacked')\n"


def opened_code(engine: FakeEngine) -> list[str]:
    """The code of the phase to be fixed, each time that a run was opened."""
    lessons = [c.lesson for c in engine.sent if isinstance(c, OpenLesson)]
    sections = filter(None, (lesson.phase(REPAIR.phase) for lesson in lessons))
    return [f.code for section in sections for f in section.fences("autograd")]


def at_foreign_code(engine: FakeEngine) -> Learner:
    learner = Learner(engine, REPAIR)
    learner.notebook.drafts[REPAIR.id] = Draft(FOREIGN, is_own=False)
    learner.begins()
    return learner


def test_code_from_elsewhere_is_shown_and_never_run_unasked(engine: FakeEngine) -> None:
    learner = at_foreign_code(engine)
    assert (learner.attempt.code, learner.attempt.is_from_elsewhere) == (FOREIGN, True)
    assert learner.attempt.reply == Reply("code_from_elsewhere")
    learner.does("edit", FOREIGN)
    learner.does("edit", FOREIGN + "w -= 1\n")  # what is made of it is from elsewhere, too
    learner.does("restart")
    learner.hears(ProcessEnded(note=Remark("exited", {"status": 0}), restarting=True))
    learner.does("leave")
    learner.begins()
    assert not any("hacked" in code for code in opened_code(engine))
    kept = learner.notebook.drafts[REPAIR.id]
    assert kept == Draft(FOREIGN + "w -= 1\n", is_own=False)


def test_code_from_elsewhere_runs_once_the_learner_has_agreed_to_it(engine: FakeEngine) -> None:
    learner = at_foreign_code(engine)
    learner.does("agree_to", FOREIGN)
    assert FOREIGN in opened_code(engine)
    assert learner.notebook.drafts[REPAIR.id] == Draft(FOREIGN, is_own=True)


def test_the_code_as_given_runs_whatever_came_from_elsewhere(engine: FakeEngine) -> None:
    learner = at_foreign_code(engine)
    before = len(engine.sent)
    learner.does("edit", REPAIR.code)
    assert len(engine.sent) > before


def test_be_autograd_asks_one_number_after_the_other(engine: FakeEngine) -> None:
    steps = (
        LocalGradientQuestion(
            asks="local", output="w * x", input="w", values={"x": 3.0}, expected=3.0
        ),
        LocalGradientQuestion(
            asks="total", output="", input="w", values={"of w * x": 2.0}, expected=6.0
        ),
    )
    engine.local = LocalGradients(steps=steps)
    learner = Learner(engine, AUTOGRAD)
    begun = learner.begins()
    assert (begun.step, begun.steps) == (1, 2)
    assert (begun.ask, begun.asked_of) == (AUTOGRAD.ask, steps[0])
    assert learner.says("2").step == 1
    asked = learner.says("3")
    assert (asked.step, asked.asked_of) == (2, steps[1])
    assert question_markdown(asked) == (
        "What is the gradient of the loss with respect to `w`?  (`of w * x` = 2)"
    )
    assert learner.says("6").state == "done"
    assert isinstance(engine.sent[-1], StepPhase)


class SlowToFind(FakeEngine):
    """Local gradients take it long, and so does what comes after."""

    def send(self, command: Command) -> int:
        self.holds = self.holds or isinstance(command, FindLocalGradients)
        return super().send(command)


def test_be_autograd_takes_no_answer_before_its_question_is_there() -> None:
    engine = SlowToFind()
    question = LocalGradientQuestion(asks="local", output="y", input="w", values={}, expected=3.0)
    engine.local = LocalGradients(steps=(question, question))
    learner = Learner(engine, AUTOGRAD)
    assert learner.begins().state == "opening"
    engine.release()
    assert (learner.attempt.state, learner.attempt.asked_of) == ("asking", question)


def solution_of(learner: Learner) -> Mapping[str, Any]:
    assert learner.attempt.solution is not None
    return learner.attempt.solution.values


def test_every_kind_has_a_handler_and_words() -> None:
    assert {*HANDLERS} == {*EXERCISE_KINDS.values()}
    assert set(notices.KIND_WORDS) == set(EXERCISE_KINDS)


def test_hints_come_one_at_a_time_and_the_solution_only_after_a_try(engine: FakeEngine) -> None:
    learner = at(engine, CHOOSE)
    learner.does("show_solution")
    assert not learner.attempt.is_solution_shown
    for shown in (CHOOSE.hints[:1], CHOOSE.hints, CHOOSE.hints):
        learner.does("hint")
        assert learner.attempt.hints == shown
    learner.says("1")
    learner.does("show_solution")
    assert solution_markdown(learner.attempt) == "So"
    assert solution_of(learner)["number"] == 2
    assert results_of(learner) == ["hinted", "hinted", "tried", "shown"]


def test_the_solution_of_a_prediction_is_found_by_running_and_going_back(
    engine: FakeEngine,
) -> None:
    learner = at(engine, PREDICT)
    learner.says("1")
    learner.does("go_on")
    learner.does("show_solution")
    assert solution_markdown(learner.attempt) == "−25.5"
    assert (learner.attempt.state, learner.at) == ("asking", Position(2, 2))


def test_the_solution_shows_the_numbers_that_were_there_before_the_phase(
    engine: FakeEngine,
) -> None:
    learner = at(engine, WORKED)
    learner.says("1")
    learner.does("step_epoch")  # what holds there is no part of it
    learner.does("show_solution")
    found = solution_of(learner)
    assert [value.data for value in found["working"]] == [(0.0,), (0.01,), (-30.0,)]
    assert found["value"].data == (pytest.approx(0.3),)


def test_a_working_is_that_of_the_question_asked_again_wherever_the_run_stands(
    engine: FakeEngine,
) -> None:
    again = msgspec.structs.replace(
        WORKED.again[0], stage=Stage(mode="autograd", at=StartPlace(2, "Update"))
    )
    learner = at(engine, msgspec.structs.replace(WORKED, again=(again,)))
    learner.says("1")
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


def test_a_solution_is_not_seen_before_it_can_be_typed(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    learner.says("1")
    learner.does("go_on")
    session = learner.session
    session.controller.show_solution()
    while learner._events:
        session.receive(learner._events.popleft())
        assert session.attempt is not None
        assert session.attempt.state == "asking" or not session.attempt.is_solution_shown
    assert learner.attempt.is_solution_shown


def test_leaving_brings_the_learners_own_run_back(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("request", SetLearningRate(value=0.02))
    learner.does("seek", 7, 3)
    record = learner.session.recipe
    learner.begins()
    learner.does("leave")
    assert (learner.at, learner.session.recipe) == (Position(7, 3), record)
    assert learner.session.attempt is None


def test_an_exercise_wished_for_too_early_waits_for_the_run_it_has_to_keep(
    engine: FakeEngine,
) -> None:
    learner = Learner(engine, PREDICT, CHOOSE)
    learner.does("seek", 5)
    learner.begins()
    left = learner.notebook.places[-1]
    learner.does("leave")
    for wish in (("open", learner.lesson), ("resume", learner.lesson, left), ("step_epoch",)):
        engine.holds = True
        learner.does(*wish)
        assert learner.does("begin", "first") is None
        engine.release()
        assert learner.attempt.exercise.id == "first"
        own = learner.session.controller.paused
        assert own is not None
        learner.does("skip")
        assert learner.attempt.exercise.id == "choose"
        learner.does("leave")
        assert (learner.at, learner.session.recipe) == (own.at, own.recipe)
    assert learner.at.epoch == 6


def test_a_lesson_that_does_not_come_to_stand_begins_no_exercise_later(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    engine.holds = True
    learner.does("open", learner.lesson)
    learner.does("begin")
    for number, command in enumerate(engine.sent, 1):
        if isinstance(command, OpenLesson | Inspect):
            learner.session.receive(CommandRefused(note=Remark("stopped"), answers=number))
    engine.release()
    assert learner.does("restart") is None


def test_what_is_known_is_skipped_and_the_next_one_asked(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT, CHOOSE)
    learner.does("skip")
    assert learner.attempt.exercise is CHOOSE
    learner.says("2")
    assert learner.does("go_on") is None
    assert learner.notice == Notice("last_exercise", {"left": [], "skipped": [1]})
    assert learner.notebook.results_of("line") == {"first": "skipped", "choose": "done"}


def test_a_skip_can_be_taken_back_and_is_told_of_until_then(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT, CHOOSE)
    learner.does("skip")
    skipped = {"number": 1, "is_typing": False, "is_last": False, "left": [2], "skipped": [1]}
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


def test_the_skip_taken_back_is_that_of_the_exercise_that_is_on_else_the_last(
    engine: FakeEngine,
) -> None:
    learner = at(engine, PREDICT, REACH, CHOOSE)
    learner.does("skip")
    learner.does("skip")
    assert learner.does("unskip").exercise is REACH
    learner.does("skip")
    learner.begins("first")
    assert learner.does("unskip").exercise is PREDICT
    assert learner.notebook.results_of("line") == {"reach": "skipped"}


def test_what_a_begins_is_open_else_skipped_else_the_first() -> None:
    every = ("one", "two", "three")
    assert next_to_do(every, {"one": "done"}) == "two"
    assert next_to_do(every, {"one": "done", "two": "skipped"}) == "three"
    assert next_to_do(every, {"one": "done", "two": "skipped", "three": "done"}) == "two"
    assert next_to_do(every, dict.fromkeys(every, "done")) is None


def test_after_the_last_it_is_told_which_are_still_open(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT, REACH, CHOOSE, id="choose")
    learner.says("2")
    learner.does("go_on")
    assert learner.notice == Notice("last_exercise", {"left": [1, 2], "skipped": []})


def test_where_the_lesson_stands_is_written_down_not_where_the_exercise_does(
    engine: FakeEngine,
) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("seek", 5)
    learner.begins()
    last = learner.notebook.places[-1]
    assert (last.at.epoch, last.exercise) == (5, "first")


def test_a_lesson_is_taken_up_where_it_was_left_with_its_exercise(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("seek", 5)
    learner.begins()
    left = learner.notebook.places[-1]
    other = Learner(FakeEngine(), PREDICT)
    other.session.resume(other.lesson, left)
    other.hear()
    assert other.attempt.exercise is not None
    assert (other.attempt.exercise.id, other.at) == ("first", Position(1, 2))
    other.does("leave")
    assert other.at.epoch == 5


def test_a_lesson_that_has_changed_since_begins_anew_and_says_so(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("seek", 5)
    left = msgspec.structs.replace(learner.notebook.places[-1], fingerprint="other")
    learner.session.resume(learner.lesson, left)
    learner.hear()
    assert learner.at == Position(0, 0)
    assert learner.notice == Notice("lesson_changed")


def test_opening_a_lesson_tells_where_it_was_left_and_forgets_it_not(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("seek", 5)
    learner.notebook.bookmark_of = lambda lesson: learner.notebook.places[-1]  # type: ignore[method-assign]
    kept = len(learner.notebook.places)
    learner.session.open(learner.lesson)
    learner.hear()
    assert learner.notice == Notice("left_in_epoch", {"epoch": 5})
    assert len(learner.notebook.places) == kept
    learner.does("resume_previous")
    assert learner.at.epoch == 5


def test_a_new_seed_keeps_the_values_that_the_exercise_begins_with(engine: FakeEngine) -> None:
    stage = Stage(mode="autograd", settings=(Setting("w", (), 3.0),))
    learner = Learner(engine, msgspec.structs.replace(REACH, stage=stage, may=("seed",)))
    learner.begins()
    learner.does("new_seed")
    opened = learner.sent(OpenLesson)[-1]
    assert opened.record is not None
    assert opened.record.seed
    assert [change.element for change in opened.record.changes] == [Element("w", (), 3.0)]


def test_who_comes_back_to_an_exercise_finds_it_as_it_was_left(engine: FakeEngine) -> None:
    learner = Learner(engine, PREDICT)
    learner.does("seek", 5)
    learner.begins()
    learner.does("hint")
    learner.says("7")
    left = learner.notebook.places[-1]
    learner.does("leave")
    back = learner.begins()
    assert (back.ask, back.tries, back.hints) == ("And in epoch 2?", 1, PREDICT.hints[:1])
    other = Learner(FakeEngine(), PREDICT)
    other.session.resume(other.lesson, left)
    other.hear()
    resumed = other.attempt
    assert (resumed.ask, resumed.tries, resumed.hints) == ("And in epoch 2?", 1, PREDICT.hints[:1])


def test_code_that_was_stopped_is_told_to_have_been_stopped(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    learner.does("edit", "while True: pass\n")
    learner.hears(engine.shown(engine.run_number, stopped=StoppedAt("Update", 1)))
    assert learner.attempt.was_stopped
    assert learner.attempt.reply == Reply("stopped", {"place": OWN_LINE, "after": None})
    assert learner.notice == Notice(), "once is enough"


def test_an_error_is_told_in_full_unless_it_is_the_one_to_be_fixed(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    replies = []
    for phase, line, message in (
        ("Update", 2, "NameError: v"),
        ("Predict", 20, "NameError: x"),
        ("Loss", 31, "a leaf Variable that requires"),
    ):
        learner.does("edit", "v += 1\n")
        learner.hears(LessonFailed(answers=engine.run_number, lesson="", phase=phase, line=line,
                                   message=message))  # fmt: skip
        replies.append(reply_markdown(learner.attempt))
    assert replies == [
        "Line 2 of your code: `NameError: v`",
        "Predict, at `y_pred = w * x`: `NameError: x`",
        "Loss, at `loss = ((y_pred - y) ** 2).mean()`, still raises this error.",
    ]


def test_in_an_exercise_the_line_of_a_file_that_is_not_seen_is_quoted(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    engine.fails_at = "Gradient"
    code = "loss = ((y_pred - y) ** 2).mean()"
    assert reply_markdown(learner.says("1")).startswith(f"Loss, at `{code}`: `ZeroDivisionError")
    place = CodePlace("Loss", 31, code)
    assert learner.notice == Notice("phase_failed", {"place": place}, "failed")
    learner.hears(engine.shown(stopped=StoppedAt("Loss", 31)))
    assert learner.notice == Notice("stopped", {"place": place, "is_undone": True})


def test_of_endless_code_it_is_told_who_stopped_it(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    for stopped, where in (
        (StoppedAt("Update", 2), "line 2 of your code"),
        (StoppedAt("Predict", 20), "Predict, at `y_pred = w * x`,"),
    ):
        learner.does("edit", "while True: pass\n")
        learner.session.controller.stop_if_silent(REPAIR_SECONDS + 1)
        learner.hears(engine.shown(engine.run_number, stopped=stopped))
        assert learner.attempt.was_stopped
        told = f"The tutor stopped it after 10 s: {where} was still running."
        assert reply_markdown(learner.attempt) == told


def test_code_that_is_stopped_before_the_run_stands_leaves_no_empty_line(
    engine: FakeEngine,
) -> None:
    learner = at(engine, REPAIR)
    engine.holds = True
    learner.does("edit", "while True: pass\n")
    stopped = CommandRefused(note=Remark("stopped"), stopped=StoppedAt("Update", 1))
    number = opening_of(engine)
    learner.hears(msgspec.structs.replace(stopped, answers=number, opening=number))
    assert learner.attempt.reply == Reply("stopped", {"place": OWN_LINE, "after": None})
    where = {"place": OWN_LINE, "is_undone": False}
    assert learner.notice == Notice("stopped", where, "refused")
    learner.does("restart")
    number = opening_of(engine)
    engine.tell(msgspec.structs.replace(stopped, answers=number, opening=number))
    engine.release()
    assert learner.notice == Notice("code_as_given")


def opening_of(engine: FakeEngine) -> int:
    """The number of the last Open."""
    return max(n for n, command in enumerate(engine.sent, 1) if isinstance(command, OpenLesson))


def test_what_was_said_of_hints_goes_with_the_solution(engine: FakeEngine) -> None:
    learner = at(engine, CHOOSE)
    learner.says("1")
    for _ in range(3):
        learner.does("hint")
    assert learner.notice == Notice("no_more_hints", kind="no_effect")
    learner.does("show_solution")
    assert learner.notice == Notice()


def test_a_repair_that_was_done_begins_broken_again(engine: FakeEngine) -> None:
    learner = at(engine, REPAIR)
    learner.does("edit", REPAIR.solution_code)
    engine.advance(3)
    learner.does("leave")
    assert learner.begins().code == REPAIR.code


def test_after_an_exercise_it_is_written_down_that_none_is_on(engine: FakeEngine) -> None:
    learner = at(engine, PREDICT)
    learner.does("leave")
    assert learner.notebook.places[-1].exercise == ""
