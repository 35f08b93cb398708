"""The predictions of all lessons: their answers, their retries and how they are worked out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

import pytest

from tests import shipped
from tests.lessons.runs import exercise, names_of, rounds_of, trial_of
from tutor.digits import FORMULA_DIGITS
from tutor.lesson.exercise import Predict
from tutor.lesson.model import DisplayFormula
from tutor.protocol.frame import Value
from tutor.training.exercises import expected_text
from tutor.wording.number_format import trimmed

Boxes: TypeAlias = Mapping[str, Mapping[str, Value]]
"""By phase and expression, the value in each box."""

FULL = "(2 * x.T @ (x @ w - y) / 10)[0]"
ALL_FOUR = "(2 * x_all * (w.item() * x_all - y_all)).mean()"

HARMLESS: dict[tuple[str, str, str], str] = {
    ("accumulate-and-clip/clipped", "Gradient", FULL): "too short to be clipped",
    ("accumulate-and-clip/clipped", "Gradient", 'gradient["w"][0]'): "the same",
    ("accumulate-and-clip/clipped", "Update", 'gradient_now["w"][0]'): "the same",
    ("before-backward/the-gradient", "Loss", "loss"): "a loss, by chance",
    ("broadcasting/all-right-and-not-0", "Reset", 'gradient_now["w"]'): "a gradient, by chance",
    ("dead-relu/all-zero", "Setup", "w"): "the start of the weight, by chance",
    ("line-through-origin/mean-of-four", "Loss", "loss"): "a loss, by chance",
    ("schedules/rate-in-epoch-3", "Setup", "rates[2]"): "the rate of another schedule",
    ("starting-weights/the-other-twin", "Loss", "loss"): "a loss, by chance",
    ("thermometer/first-answer", "Predict", "x[0]"): "an input, by chance",
    ("thermometer/first-answer", "Setup", "x[0]"): "an input, by chance",
    ("two-workers/after-all-reduce", "Synchronize", ALL_FOUR): "not shown until the answer",
    ("why-activations/one-step-of-x", "Setup", "w1[1, 1]"): "another weight, by chance",
}
"""By exercise, phase and expression: why the box may show the number of the answer."""

WITHOUT: dict[str, str] = {
    "overwritten/count-the-changes": "it is counted, not calculated",
    "registered/how-many": "it is counted, not calculated",
    "vanishing/slope": "the question gives the output that the phase is yet to compute",
}
"""By lesson and exercise: the reason why there is no working."""

NUMBERS = [name for name in names_of(Predict) if exercise(name, Predict).form == "number"]


@cache
def asked_of(name: str) -> tuple[tuple[Predict, Boxes, Boxes, Value], ...]:
    """Each question in turn, the boxes before the asked phase and after it, and the answer."""
    trial, found = trial_of(name), []
    for asked in rounds_of(exercise(name, Predict)):
        run = trial.begin(asked.stage)
        before, after = run.frame().boxed, run.step_phase().boxed
        (answer,) = run.evaluate([asked.answer])
        found.append((asked, before, after, answer))
    return tuple(found)


def shown_answers(name: str) -> set[tuple[str, str, str]]:
    """The boxes with the answer's number before the asked phase, for each question's numbers."""
    found = set()
    for _, before, _, value in asked_of(name):
        answer = f"{value.data[0]:.6g}"  # without the last bits, which differ between CPUs
        if len(answer.removeprefix("-")) == 1:
            continue  # weights, targets and counts are such numbers everywhere
        for phase, boxes in before.items():
            for expression, value in boxes.items():
                numbers = value.data if value.dtype not in ("str", "text") else ()
                same = any(f"{n:.6g}" == answer for n in numbers)
                if len(numbers) == 1 and same:
                    found.add((name, phase, expression))
    return found


def test_the_list_names_exercises_that_exist() -> None:
    assert {name for name, _, _ in HARMLESS} <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_box_shows_the_answer_before_it_is_asked(name: str) -> None:
    assert shown_answers(name) == {entry for entry in HARMLESS if entry[0] == name}


@pytest.mark.parametrize("name", NUMBERS)
def test_no_box_above_an_exercise_shows_its_answer_once_its_phase_has_run(name: str) -> None:
    """In the learner's own run: an exercise with other numbers than the lesson's is not in it."""
    asked = exercise(name, Predict)
    sections = shipped.lesson(name.partition("/")[0]).sections
    section = next(one for one in sections if asked in one.blocks)
    if asked.stage.settings or asked.stage.learning_rate or section.phase != asked.stage.at.phase:
        return
    above = section.blocks[: section.blocks.index(asked)]
    boxed = {e for block in above if isinstance(block, DisplayFormula) for e in block.boxed}
    _, _, values, answer = asked_of(name)[0]
    assert {e for e in boxed if is_same(values[section.phase or ""][e], answer)} == set()


def is_same(box: Value, answer: Value) -> bool:
    """Whether a box has the answer's number, as it is written in a formula."""
    return [trimmed(x, FORMULA_DIGITS) for x in box.data] == [
        trimmed(x, FORMULA_DIGITS) for x in answer.data
    ]


def test_a_number_is_worked_out_or_there_is_a_reason() -> None:
    assert {name for name in NUMBERS if not exercise(name, Predict).working} == set(WITHOUT)


def test_what_will_come_may_stand_anywhere_among_the_choices() -> None:
    places = []
    for where in names_of(Predict):
        asked = exercise(where, Predict)
        if asked.choices:
            places.append([*asked.choices].index(asked_of(where)[0][-1].text))
    assert max(Counter(places).values()) <= len(places) / 2


@pytest.mark.parametrize("where", names_of(Predict))
def test_a_retry_asks_something_else_than_what_was_just_answered(where: str) -> None:
    """Another question, or the same one in a place where its answer is another."""
    asked = [(one.ask, expected_text(one, answer)) for one, _, _, answer in asked_of(where)]
    assert len(set(asked)) == len(asked) > 1
    assert len({answer for _, answer in asked}) > 1
