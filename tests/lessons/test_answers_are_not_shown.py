"""No formula shows the answer of a prediction before it is asked."""

from __future__ import annotations

import pytest

from tests.lessons.runs import answer_to, exercise, names_of, rounds_of, trial_of
from tutor.lesson.exercise import Predict

FULL = "(2 * x.T @ (x @ w - y) / 10)[0]"

HARMLESS: dict[tuple[str, str, str], str] = {
    ("accumulate-and-clip/clipped", "Gradient", FULL): "too short to be clipped",
    ("accumulate-and-clip/clipped", "Gradient", 'gradient["w"][0]'): "the same",
    ("accumulate-and-clip/clipped", "Update", 'gradient_now["w"][0]'): "the same",
    ("accumulate-and-clip/fourth-share", "Gradient", FULL): "not shown until the answer",
    ("before-backward/the-gradient", "Loss", "loss"): "a loss, by chance",
    ("broadcasting/all-right-and-not-0", "Reset", 'gradient_now["w"]'): "a gradient, by chance",
    ("dead-relu/all-zero", "Setup", "w"): "the start of the weight, by chance",
    ("line-through-origin/mean-of-four", "Loss", "loss"): "a loss, by chance",
    ("schedules/rate-in-epoch-3", "Setup", "rates[2]"): "the rate of another schedule",
    ("starting-weights/the-other-twin", "Loss", "loss"): "a loss, by chance",
    ("thermometer/first-answer", "Predict", "x[0]"): "an input, by chance",
    ("thermometer/first-answer", "Setup", "x[0]"): "an input, by chance",
    ("why-activations/one-step-of-x", "Setup", "w1[1, 1]"): "another weight, by chance",
}
"""By exercise, phase and expression: why the box may show the number of the answer."""

NUMBERS = [name for name in names_of(Predict) if exercise(name, Predict).form == "number"]


def shown_answers(name: str) -> set[tuple[str, str, str]]:
    """The boxes with the answer's number before the asked phase, for each question's numbers."""
    trial, found = trial_of(name), set()
    for asked in rounds_of(exercise(name, Predict)):
        before = trial.begin(asked.stage).frame().boxed
        answer = answer_to(trial, asked).data[0]
        if answer.is_integer() and abs(answer) < 10:
            continue  # weights, targets and counts are such numbers everywhere
        for phase, boxes in before.items():
            for expression, value in boxes.items():
                numbers = value.data if value.dtype not in ("str", "text") else ()
                same = any(f"{n:.6g}" == f"{answer:.6g}" for n in numbers)
                if len(numbers) == 1 and same:
                    found.add((name, phase, expression))
    return found


def test_the_list_names_exercises_that_exist() -> None:
    assert {name for name, _, _ in HARMLESS} <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_box_shows_the_answer_before_it_is_asked(name: str) -> None:
    assert shown_answers(name) == {entry for entry in HARMLESS if entry[0] == name}
