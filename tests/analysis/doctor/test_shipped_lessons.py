"""The doctor over the shipped lessons: silent, but for the mistakes that they are about."""

from __future__ import annotations

import pytest

from tests import shipped as lessons
from tutor.analysis.doctor.examination import TAUGHT, examine
from tutor.lesson.exercise import Repair
from tutor.protocol.frame import RunRecipe
from tutor.protocol.inspections import DoctorReport
from tutor.training.devices import use_one_thread
from tutor.training.exercises import start_of


def report_on(slug: str, mode: str) -> DoctorReport:
    """What the doctor says of a shipped lesson in one mode, the mistakes that it teaches too."""
    programs = dict(lessons.programs(slug))
    recipe = RunRecipe(mode, "cpu", programs[mode].learning_rate, 0)
    lesson = lessons.lesson(slug)
    return examine(lesson, recipe, programs=programs, epochs=2, with_taught=True)


def test_no_rule_fires_but_where_the_lesson_teaches_the_mistake() -> None:
    use_one_thread()
    found = {}
    for path in lessons.ORIGINALS:
        for mode in lessons.read_once(path).modes:
            report = report_on(path.stem, mode)
            assert not report.failed, (path.stem, mode)
            if codes := {finding.code for finding in report.findings}:
                found[path.stem, mode] = codes
    assert found == {place: set(codes) for place, codes in TAUGHT.items()}


def test_what_is_taught_is_counted_and_left_out() -> None:
    report = examine(lessons.lesson("forgotten-zero"), RunRecipe("autograd", "cpu", 0.25, 0))
    assert (report.findings, report.taught) == ((), 1)


REPRODUCED = {
    ("broadcasting", "lost-dimension"): "broadcast_in_loss",
    ("line-through-origin", "squeezed"): "broadcast_in_loss",
    ("lost-leaf", "a-new-w"): "lost_leaf",
    ("lost-leaf", "a-plain-w"): "lost_leaf",
    ("registered", "register-it"): "tensor_not_registered",
    ("registered", "nothing-moves"): "optimizer_holds_old_tensors",
    ("cross-entropy", "softmax-twice"): "softmax_before_cross_entropy",
    ("forgotten-zero", "the-missing-line"): "gradients_not_reset",
    ("logistic", "logits-in-the-wrong-place"): "not_probabilities",
    ("schedules", "two-steps"): "scheduler_first",
    ("train-and-eval", "no-way-back"): "trained_in_evaluation_mode",
    ("train-and-eval", "two-answers"): "evaluated_in_training_mode",
    ("where-nan-is-born", "log-after"): "first_gradient_not_finite",
    ("where-nan-is-born", "mask-after"): "first_gradient_not_finite",
}
"""Exercises whose code makes a mistake that a rule finds."""


@pytest.mark.parametrize(("slug", "exercise"), REPRODUCED)
def test_exercises_reproduce_what_the_doctor_finds(slug: str, exercise: str) -> None:
    lesson = lessons.lesson(slug)
    repair = next(one for one in lesson.exercises if one.id == exercise)
    assert isinstance(repair, Repair)
    faulty, fixed = start_of(lesson, repair), start_of(lesson, repair, code=repair.solution_code)
    found, rest = (
        {f.code for f in examine(one.lesson, one.recipe, epochs=2, with_taught=True).findings}
        for one in (faulty, fixed)
    )
    assert found == {REPRODUCED[slug, exercise]}
    assert not rest
