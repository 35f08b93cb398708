"""What exercises ask of the engine, and how the learner's own run waits meanwhile."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.engine.conftest import Conversation
from tests.training.conftest import PLAIN, lesson_text
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.commands import (
    EvaluateExpressions,
    Examine,
    FindLocalGradients,
    Fork,
    OpenLesson,
    Pause,
    RunTo,
    Seek,
    StepEpoch,
    StepPhase,
)
from tutor.protocol.events import (
    CommandRefused,
    DoctorReportReady,
    ExpressionsEvaluated,
    FrameShown,
    LessonFailed,
    LocalGradientsFound,
)
from tutor.protocol.frame import Frame, Position, Remark, Value
from tutor.training.exercises import with_code

NOISY = {
    "Setup": f"{PLAIN['Setup']}\nimport time\nborn = time.perf_counter_ns()",
    "Predict": "y_pred = torch.nn.functional.dropout(w * x, 0.5) + np.random.rand()",
}
"""`born` tells a run that has waited from one that is replayed: no figure depends on it."""

BEFORE, AFTER = Position(5, 4), Position(9, 1)
"""Of where the learner's run is left."""

OPENED = OpenLesson(lesson=parse(lesson_text(**NOISY), Path("test.md")))


def evaluated(engine: Conversation, *expressions: str) -> ExpressionsEvaluated:
    answer = engine.ask(EvaluateExpressions(expressions=expressions))
    assert isinstance(answer, ExpressionsEvaluated), answer
    return answer


def ask_back(shown: FrameShown) -> OpenLesson:
    """The command that asks for a run just as it was shown."""
    return OpenLesson(
        lesson=OPENED.lesson,
        recipe=shown.recipe,
        epoch=shown.frame.at.epoch,
        step=shown.frame.at.step,
        runs=shown.runs,
    )


def exercise(code: str = "y_pred = 3 * w * torch.randn(3)") -> OpenLesson:
    """Its run has a seed and code of its own."""
    lesson = with_code(OPENED.lesson, OPENED.lesson.modes[0], "Predict", code)
    return OpenLesson(lesson=lesson, seed=9, sets_runs_aside=True)


def test_expressions_are_evaluated_where_the_run_stands(engine: Conversation) -> None:
    engine.open()
    shown = engine.shown(StepEpoch())
    told = evaluated(engine, "losses[-1] == loss", 'gradient["w"]', "mode", "1 / 0")
    assert told.at == shown.frame.at
    truth, gradient, mode, error = told.values
    assert (truth.dtype, truth.data) == ("bool", (1.0,))
    assert gradient == shown.frame.gradients["w"]
    assert (mode.dtype, mode.text) == ("str", shown.frame.mode)
    assert error.text == "ZeroDivisionError: division by zero"
    assert engine.shown(Pause()).frame == shown.frame


def test_a_run_that_is_on_goes_on_after_a_question(engine: Conversation) -> None:
    engine.open()
    number = engine.client.send(RunTo(epoch=10**7))
    engine.wait_for(FrameShown)
    assert evaluated(engine, "len(losses) == epoch").values[0].data == (1.0,)
    engine.wait_for(FrameShown)
    engine.client.send(Pause())
    assert isinstance(engine.answer_to(number), FrameShown)


def test_an_expression_that_never_ends_can_be_stopped(engine: Conversation) -> None:
    engine.open()
    before = engine.shown(StepEpoch())
    number = engine.client.send(
        EvaluateExpressions(expressions=("all(True for _ in iter(int, 1))",))
    )
    engine.client.stop()
    answer = engine.answer_to(number)
    if isinstance(answer, ExpressionsEvaluated):  # the stop came behind its time limit
        assert answer.values[0].why == "too_slow"
    else:
        assert isinstance(answer, FrameShown)
        assert (answer.remarks, answer.frame) == ((Remark("stopped"),), before.frame)


def test_the_doctor_examines_a_second_run(engine: Conversation) -> None:
    engine.open(**NOISY, Reset="")
    before = engine.shown(StepEpoch())
    answer = engine.ask(Examine())
    assert isinstance(answer, DoctorReportReady)
    (finding,) = answer.report.findings
    assert (finding.code, finding.variable) == ("gradients_not_reset", "w")
    assert engine.shown(Pause()).frame == before.frame
    stepped = engine.shown(StepEpoch()).frame
    again = engine.shown(OpenLesson(lesson=lesson_without_reset()))
    assert again.frame.at == Position(0, 0)
    engine.shown(StepEpoch())
    assert engine.shown(StepEpoch()).frame == stepped  # it has drawn none of its random numbers


def lesson_without_reset() -> Lesson:
    return parse(lesson_text(**NOISY, Reset=""), Path("test.md"))


ENDLESS = {
    "Setup": f"{PLAIN['Setup']}\nn = 0",
    "Predict": "n += 1\nwhile n > 2:\n    pass\ny_pred = w * x",
}
"""Its third epoch never ends: the doctor comes to it, the learner has not."""


def test_an_examination_that_never_ends_can_be_stopped(engine: Conversation) -> None:
    engine.open(**ENDLESS)
    before = engine.shown(StepEpoch())
    number = engine.client.send(Examine())
    engine.client.stop()
    answer = engine.answer_to(number)
    if isinstance(answer, DoctorReportReady):  # it was asked to stop before it came so far
        assert not answer.report.is_complete
    else:
        assert isinstance(answer, FrameShown)
        assert answer.frame == before.frame
    assert engine.shown(StepEpoch()).frame.at == Position(2, 5)


def test_the_questions_of_autograd_are_told(engine: Conversation) -> None:
    single = "x = torch.tensor(2.0)\nw = torch.tensor(0.5, requires_grad=True)"
    before = engine.open(Setup=single)
    answer = engine.ask(FindLocalGradients())
    assert isinstance(answer, LocalGradientsFound)
    assert [step.input for step in answer.local.questions] == ["y_pred - 2 * x", "y_pred", "w", "w"]
    after = engine.shown(Pause())
    assert isinstance(before, FrameShown)
    assert after.frame == before.frame


def test_code_that_is_no_python_is_refused_and_costs_nothing(engine: Conversation) -> None:
    engine.ask(OPENED)
    kept = engine.shown(StepEpoch())
    answer = engine.ask(exercise("y_pred = = x"))
    assert isinstance(answer, CommandRefused)
    assert answer.remark == Remark(
        "not_python", {"line": 1, "phase": "Predict", "reason": "invalid syntax"}
    )
    assert engine.shown(ask_back(kept)).frame == kept.frame


# ── The learner's run waits ─────────────────────────────────────────────────────────


def next_frames(engine: Conversation) -> list[Frame]:
    steps = [StepPhase(), StepPhase(), StepEpoch(), StepEpoch(), RunTo(epoch=30)]
    return [engine.shown(command).frame for command in steps]


@pytest.fixture
def left(engine: Conversation) -> FrameShown:
    """The learner has run 20 epochs, kept that run, gone on and then back."""
    engine.ask(OPENED)
    engine.shown(RunTo(epoch=20))
    engine.shown(Fork())
    engine.shown(RunTo(epoch=25))
    return engine.shown(Seek(epoch=7, step=2))


def born(engine: Conversation) -> Value:
    """When the Setup of the open run ran."""
    return evaluated(engine, "born").values[0]


def test_a_run_is_had_again_as_it_was_with_all_that_came_after_it(
    engine: Conversation, left: FrameShown
) -> None:
    was_born = born(engine)
    engine.shown(exercise())
    engine.shown(RunTo(epoch=3))
    back = engine.shown(ask_back(left))
    assert (back.frame, back.recipe, back.runs) == (left.frame, left.recipe, left.runs)
    assert back.last_epoch == 25
    assert born(engine) == was_born


def test_a_replay_knows_of_all_that_the_run_had_come_to_and_of_the_frame_before(
    engine: Conversation, left: FrameShown
) -> None:
    frames = {at: engine.shown(Seek(epoch=at.epoch, step=at.step)).frame for at in (BEFORE, AFTER)}
    engine.open()
    for at, frame in frames.items():
        asked = msgspec.structs.replace(ask_back(left), before=at)
        again = engine.shown(asked)
        assert (again.frame, again.before, again.last_epoch) == (left.frame, frame, 25)
        engine.shown(exercise())
    assert engine.shown(ask_back(left)).before is None


def test_it_draws_the_random_numbers_that_a_replay_draws(
    engine: Conversation, left: FrameShown
) -> None:
    was_born = born(engine)
    engine.shown(exercise())
    engine.shown(StepEpoch())
    engine.shown(ask_back(left))
    restored = next_frames(engine)
    engine.shown(ask_back(left))  # it has moved on: now it is not what is asked for
    assert born(engine) != was_born
    assert next_frames(engine) == restored


def test_it_waits_through_several_exercises_and_through_one_that_fails(
    engine: Conversation, left: FrameShown
) -> None:
    was_born = born(engine)
    engine.shown(exercise())
    engine.shown(exercise("y_pred = w"))
    broken = with_code(OPENED.lesson, OPENED.lesson.modes[0], "Setup", "w = nobody")
    assert isinstance(engine.ask(OpenLesson(lesson=broken, sets_runs_aside=True)), LessonFailed)
    engine.shown(ask_back(left))
    assert born(engine) == was_born


def test_what_is_asked_for_elsewhere_is_replayed(engine: Conversation, left: FrameShown) -> None:
    was_born = born(engine)
    engine.shown(exercise())
    asked = ask_back(left)
    there = engine.shown(OpenLesson(lesson=asked.lesson, recipe=asked.recipe, epoch=7, step=1))
    assert there.frame.at == Position(7, 1)
    assert there.last_epoch == 6
    engine.shown(ask_back(left))
    assert born(engine) != was_born, "the other one has been let go"


def test_another_lesson_lets_it_go(engine: Conversation, left: FrameShown) -> None:
    was_born = born(engine)
    engine.shown(exercise())
    engine.open()
    engine.shown(ask_back(left))
    assert born(engine) != was_born
