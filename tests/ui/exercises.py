"""A lesson with an exercise of each kind, built by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from tutor.lesson.exercise import (
    Again,
    Backpropagate,
    Choice,
    Choose,
    Exercise,
    Predict,
    Reach,
    Repair,
    Solution,
    Stage,
    StartPlace,
    Symptom,
    Wrong,
)
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Value
from tutor.session.goal_progress import ComparisonState, goal_of

from .lessons import lesson, section

BEFORE_GRADIENT = Stage(mode="autograd", at=StartPlace(1, "Gradient"))
COMMON: dict[str, Any] = {
    "line": 1,
    "lines": {},
    "hints": ("Look at $w$.", "Think."),
    "explain": "Because the mean divides by $N$.",
}

PREDICT = Predict(
    id="first",
    ask="What is the gradient of $w$, with [bold]w[/bold] = 0?",
    stage=BEFORE_GRADIENT,
    answer='gradient["w"]',
    wrong=(Wrong('4 * gradient["w"]', "That is the sum."),),
    again=(
        Again(
            Stage(mode="autograd", at=StartPlace(2, "Gradient")),
            "And in epoch 2?",
            hints=COMMON["hints"],
            explain=COMMON["explain"],
            wrong=(Wrong('4 * gradient["w"]', "That is the sum."),),
        ),
    ),
    **COMMON,
)
WORKED = msgspec.structs.replace(
    PREDICT,
    id="worked",
    stage=Stage(mode="autograd", at=StartPlace(1, "Update")),
    answer="w",
    working='w - learning_rate * gradient["w"]',
)
REACH = Reach(
    id="reach",
    ask="Get the loss below 10.",
    stage=Stage(mode="autograd"),
    condition="loss is not None and loss < 10",
    may=("learning_rate",),
    solution=Solution(epochs=5, learning_rate=0.05),
    **COMMON,
)
REPAIR = Repair(
    id="fix",
    ask="The update goes the wrong way.",
    stage=Stage(mode="autograd"),
    phase="Update",
    code="w += learning_rate * w.grad\n",
    solution_code="w -= learning_rate * w.grad\n",
    symptom=Symptom(error="a leaf Variable"),
    condition="loss < 25",
    epochs=3,
    **COMMON,
)
AUTOGRAD = Backpropagate(id="be", ask="Be autograd.", stage=BEFORE_GRADIENT, **COMMON)
CHOOSE = Choose(
    id="choose",
    ask="Why?",
    stage=Stage(mode="autograd"),
    choices=(Choice("Not so", reply="No: look again."), Choice("So", is_right=True)),
    **COMMON,
)


def comparison_state(condition: str, is_met: bool, *values: float) -> ComparisonState:
    """The state of a condition's first comparison: its value now, and the target."""
    numbers = [Value((x,), (), "float64") for x in values]
    return goal_of(condition).ways[0][0].state([Value((float(is_met),), (), "bool"), *numbers])


def with_exercises(*exercises: Exercise) -> Lesson:
    """The lesson by hand, with these at its end."""
    base = lesson()
    return msgspec.structs.replace(base, sections=(*base.sections, section("", 60, *exercises)))
