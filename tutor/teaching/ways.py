"""Which way an exercise goes: one for each kind."""

from __future__ import annotations

from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach, Repair
from tutor.teaching.answering import ChoiceWay, ChooseWay, PredictWay, SignWay
from tutor.teaching.being_autograd import BeAutogradWay
from tutor.teaching.changing import ReachWay, RepairWay
from tutor.teaching.desk import Desk

AnyWay = PredictWay | ReachWay | RepairWay | BeAutogradWay | ChooseWay


def way_through(exercise: Exercise, desk: Desk) -> AnyWay:
    """The way for an exercise of its kind."""
    match exercise:
        case Predict():
            kinds = {"number": PredictWay, "sign": SignWay, "choice": ChoiceWay}
            return kinds[exercise.form](exercise, desk)
        case Reach():
            return ReachWay(exercise, desk)
        case Repair():
            return RepairWay(exercise, desk)
        case BeAutograd():
            return BeAutogradWay(exercise, desk)
        case Choose():
            return ChooseWay(exercise, desk)
