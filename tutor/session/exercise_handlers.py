"""Which way an exercise goes: one for each kind."""

from __future__ import annotations

from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach, Repair
from tutor.session.answer_handlers import (
    ChooseHandler,
    PredictChoiceHandler,
    PredictHandler,
    SignHandler,
)
from tutor.session.attempt_context import AttemptContext
from tutor.session.be_autograd_handler import BeAutogradHandler
from tutor.session.change_handlers import ReachHandler, RepairHandler

AnyWay = PredictHandler | ReachHandler | RepairHandler | BeAutogradHandler | ChooseHandler


def way_through(exercise: Exercise, desk: AttemptContext) -> AnyWay:
    """The way for an exercise of its kind."""
    match exercise:
        case Predict():
            kinds = {"number": PredictHandler, "sign": SignHandler, "choice": PredictChoiceHandler}
            return kinds[exercise.form](exercise, desk)
        case Reach():
            return ReachHandler(exercise, desk)
        case Repair():
            return RepairHandler(exercise, desk)
        case BeAutograd():
            return BeAutogradHandler(exercise, desk)
        case Choose():
            return ChooseHandler(exercise, desk)
