"""Who goes on finds all as it was left: the frame before, the goal, and what was half done."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.ui.exercises import AUTOGRAD, PREDICT, REACH, REPAIR
from tests.ui.fake_engine import FakeEngine
from tutor.lesson.exercise import Exercise
from tutor.protocol.commands import Command, OpenLesson, SetLearningRate
from tutor.protocol.events import CommandRefused, LessonFailed, SeekAdvanced
from tutor.protocol.frame import Change, Frame, Position, Remark, devices_of
from tutor.protocol.inspections import LocalGradientQuestion, LocalGradients
from tutor.session.bookmark import Bookmark, unpacked
from tutor.session.run_view import Notice
from tutor.session.session import Session

from .driven import current_attempt
from .test_exercise_controller import Learner, at


def resumed(left: Bookmark, *exercises: Exercise, engine: FakeEngine | None = None) -> Learner:
    """Somebody at another machine, who goes on at this bookmark."""
    other = Learner(*exercises, engine=engine)
    other.session.resume(other.lesson, left)
    other.hear()
    return other


def gone_on(learner: Learner, engine: FakeEngine | None = None) -> Learner:
    """Somebody at another machine, who goes on where the learner was last."""
    return resumed(learner.notebook.places[-1], *learner.lesson.exercises, engine=engine)


def frames_of(learner: Learner) -> tuple[Frame | None, Frame | None]:
    view = learner.view
    return view.before, view.frame


@pytest.mark.parametrize(
    "walk",
    [
        ["step_phase", "step_phase"],
        ["step_epoch", "step_epoch"],
        ["step_epoch", "step_phase", "back_phase"],
        ["step_epoch", "step_epoch", "back_epoch"],
    ],
)
def test_what_was_compared_is_compared_again(walk: list[str]) -> None:
    learner = Learner(PREDICT)
    for wish in walk:
        learner.does(wish)
    assert learner.view.before is not None
    frames = frames_of(learner)
    assert frames_of(gone_on(learner)) == frames
    learner.begins()
    other = gone_on(learner)
    for after_an_exercise in (learner, other):
        after_an_exercise.does("leave")
        assert frames_of(after_an_exercise) == frames


def left_by(learner: Learner) -> Bookmark:
    learner.does("step_epoch")
    learner.does("leave")
    held = learner.session.controller.own_run
    assert held is not None
    return held.bookmark()


def test_a_place_where_this_run_has_never_been_is_not_asked_for() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.does("step_phase")
    held = learner.session.controller.own_run
    assert held is not None
    assert held.bookmark().before == Position(5, 5)
    cut = tuple(msgspec.structs.replace(run, furthest=Position(4, 1)) for run in held.run.runs)
    # As after a change in the past:
    shorter = msgspec.structs.replace(held, run=msgspec.structs.replace(held.run, runs=cut))
    assert shorter.bookmark().before is None


def test_a_goal_beyond_the_lessons_own_stays() -> None:
    learner = Learner(PREDICT)
    own = learner.view.target_epoch
    learner.does("seek", own)
    learner.does("toggle_run")
    learner.does("toggle_run")
    learner.engine.advance(1)
    assert learner.view.target_epoch == 2 * own
    assert gone_on(learner).view.target_epoch == 2 * own


def test_what_is_typed_stays_until_it_is_answered() -> None:
    learner = at(PREDICT)
    for text in ("-", "-2", "-2x"):
        learner.does("keep_typed", text)
    assert gone_on(learner).attempt.typed == "-2x"
    assert learner.says("-2x").typed == "", "it is submitted, and half typed no more"
    learner.does("leave")
    assert learner.begins().typed == ""
    assert learner.says("-2").state == "wrong"
    assert (learner.attempt.typed, current_attempt(learner.notebook.places[-1]).typed) == ("", "")
    assert gone_on(learner).attempt.typed == ""


def step(name: str, expected: float) -> LocalGradientQuestion:
    return LocalGradientQuestion(asks="local", output="y", input=name, values={}, expected=expected)


def test_who_plays_autograd_goes_on_at_the_same_question(engine: FakeEngine) -> None:
    engine.local = LocalGradients(questions=(step("w", 3.0), step("b", 6.0)))
    learner = at(AUTOGRAD, engine=engine)
    learner.says("2")
    assert current_attempt(learner.notebook.places[-1]).tries == 1, (
        "a wrong answer is counted at once"
    )
    asked = learner.says("3").asked_of
    other = FakeEngine()
    other.local = engine.local
    resumed = gone_on(learner, other).attempt
    assert (resumed.question_number, resumed.question_count) == (2, 2)
    assert (resumed.ask, resumed.asked_of) == (AUTOGRAD.ask, asked)
    other.local = LocalGradients(questions=engine.local.questions[:1])
    assert gone_on(learner, other).attempt.question_number == 1, "there is no second one here"


def test_the_round_of_a_prediction_is_kept_whether_it_is_on_or_was_left() -> None:
    learner = at(PREDICT, REPAIR, id="first")
    learner.says("7")
    asked = learner.does("go_on")
    assert asked is not None
    assert asked.ask == "And in epoch 2?"
    assert gone_on(learner).attempt.ask == asked.ask
    learner.begins("fix")
    assert gone_on(learner).begins("first").ask == asked.ask
    learner.does("leave")
    other = Learner(*learner.lesson.exercises)
    other.notebook.bookmark_of = lambda lesson: learner.notebook.places[-1]  # type: ignore[method-assign]
    other.session.open(other.lesson)
    other.hear()
    again = other.begins("first")
    assert (again.ask, again.tries) == (asked.ask, 1), "where it begins anew, too"
    kept = gone_on(other).notebook.places[-1]
    assert kept.exercise == "first"
    assert {attempt.exercise for attempt in kept.unfinished} == {"first", "fix"}


def test_the_run_of_a_goal_is_kept_whether_it_is_on_or_was_left() -> None:
    learner = at(REACH, PREDICT, id="reach")
    learner.does("request", SetLearningRate(value=0.011))
    for _ in range(3):
        learner.does("step_epoch")
    at_goal, kept = learner.at, learner.session.recipe
    assert kept is not None
    learner.does("leave")
    for again in (learner, gone_on(learner)):
        attempt = again.begins("reach")
        opened = again.sent(OpenLesson)[-1]
        assert (opened.recipe, again.at) == (kept, at_goal)
        assert (attempt.state, attempt.is_met, attempt.run) == ("asking", False, None)
    here = gone_on(learner)
    assert (here.attempt.exercise, here.at) == (REACH, at_goal), "where it was on, too"
    here.does("restart")
    assert here.at == Position(0, 0)


def test_a_goals_run_that_can_not_be_opened_here_begins_anew() -> None:
    learner = at(REACH)
    learner.does("step_epoch")
    learner.does("leave")
    other = Learner(REACH)
    other.engine.refuses_recipes = "there is no cuda here"
    left = msgspec.structs.replace(learner.notebook.places[-1], at=Position(0, 0))
    other.session.controller.restore(left)
    assert other.begins().run is None
    refused, begun = other.sent(OpenLesson)[-2:]
    assert (refused.epoch, begun.epoch) == (1, 0)


@pytest.mark.parametrize(
    "no_run",
    [
        CommandRefused(remark=Remark("not_python", {"line": 1, "phase": "Update"})),
        LessonFailed(
            lesson="line",
            phase="Update",
            line=1,
            error=Remark("text", {"text": "NameError: name 'v'"}),
        ),
    ],
)
def test_beside_code_that_was_left_half_fixed_runs_the_code_as_it_was_given(
    no_run: CommandRefused | LessonFailed,
) -> None:
    learner = at(REPAIR)
    learner.does("keep_draft", "v -=\n")
    learner.does("leave")
    learner.engine.holds = True
    learner.session.controller.begin()
    number = next(i for i, c in enumerate(learner.engine.sent, 1) if is_open_with(c, "v -="))
    learner.engine.tell(msgspec.structs.replace(no_run, answers=number))
    learner.engine.release()
    learner.hear()
    assert is_open_with(learner.sent(OpenLesson)[-1], "w += learning_rate")
    assert learner.attempt.code == "v -=\n"
    assert (learner.attempt.state, learner.attempt.reply) == ("asking", None)
    assert learner.view.frame is not None


def is_open_with(command: Command, code: str) -> bool:
    update = command.lesson.phase("Update") if isinstance(command, OpenLesson) else None
    fences = update.fences("autograd") if update else ()
    return bool(fences) and "\n".join(fence.code for fence in fences).startswith(code)


def test_a_long_way_to_where_it_was_left_is_named() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.engine.holds, learner.engine.busy = True, 2.0
    seconds = [0.0]
    session = Session(learner.engine, clock=lambda: seconds[0])
    session.devices = ("cpu",)
    session.resume(learner.lesson, learner.notebook.places[-1])
    seconds[0] = 2.0
    assert session.check_waiting() == Notice("run_to_runs", {"epoch": 5, "seconds": 2.0})
    learner.session.back_epoch()
    values = {"epoch": 2, "target": 4, "seconds_left": 12.0}
    learner.session.receive(SeekAdvanced(**values))
    assert learner.session.check_waiting() == Notice("seeking", values), "a long way back"


def test_a_place_that_an_older_tutor_has_left_can_be_gone_on_with() -> None:
    learner = Learner(PREDICT)
    learner.does("seek", 5)
    learner.begins()
    kept: dict[str, Any] = msgspec.to_builtins(learner.notebook.places[-1])
    for new in ("before", "goal", "is_editing", "halfway"):
        del kept[new]
    old = unpacked(msgspec.msgpack.encode(kept | {"tries": 2, "hints": 0}))
    assert old is not None
    learner.notebook.save_bookmark(old)
    other = gone_on(learner)
    assert (other.attempt.exercise, other.attempt.tries) == (PREDICT, 2)
    assert other.at == learner.at
    other.does("leave")
    assert (other.at.epoch, other.view.before) == (5, None)


def test_a_place_in_a_mode_that_the_lesson_does_not_have_begins_anew() -> None:
    left = left_by(Learner(PREDICT))
    unknown = msgspec.structs.replace(left.recipe, mode="no")
    other = resumed(msgspec.structs.replace(left, recipe=unknown), PREDICT)
    assert other.frame.mode == other.lesson.modes[0]


@pytest.mark.parametrize("changed", [False, True], ids=["from the start", "in mid-run"])
def test_a_place_on_a_device_that_is_not_here_is_computed_on_the_cpu(changed: bool) -> None:
    left = left_by(Learner(PREDICT))
    change = Change(Position(0, 0), device="cuda")
    on_cuda = {"changes": (change,)} if changed else {"device": "cuda"}
    recipe = msgspec.structs.replace(left.recipe, **on_cuda)  # type: ignore[arg-type]
    other = resumed(msgspec.structs.replace(left, recipe=recipe), PREDICT)
    assert other.at == left.at
    assert other.session.recipe is not None
    assert devices_of(other.session.recipe) == {"cpu"}
    assert other.notice.code == "replayed_on_cpu"
    reason = Remark("text", {"text": "there is no cuda here"})
    assert other.notice.values["reason"] == reason


def test_a_place_that_can_not_be_had_again_begins_anew_and_says_why(engine: FakeEngine) -> None:
    left = left_by(Learner(PREDICT))
    engine.refuses_recipes = "there is no parameter v"
    other = resumed(left, PREDICT, engine=engine)
    assert other.at == Position(0, 0)
    assert other.notice.code == "begins_anew"
    reason = Remark("text", {"text": "there is no parameter v"})
    assert other.notice.values["reason"] == reason
    engine.holds = True
    other.session.resume(other.lesson, left)
    other.session.stop()
    engine.release()
    other.hear()
    assert other.sent(OpenLesson)[-1].recipe is not None, (
        "what is stopped is not opened in another way"
    )
