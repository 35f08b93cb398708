"""The handler of each kind of exercise."""

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


def handler_for(exercise: Exercise, context: AttemptContext) -> AnyWay:
    """The way for an exercise of its kind."""
    match exercise:
        case Predict():
            kinds = {"number": PredictHandler, "sign": SignHandler, "choice": PredictChoiceHandler}
            return kinds[exercise.form](exercise, context)
        case Reach():
            return ReachHandler(exercise, context)
        case Repair():
            return RepairHandler(exercise, context)
        case BeAutograd():
            return BeAutogradHandler(exercise, context)
        case Choose():
            return ChooseHandler(exercise, context)
