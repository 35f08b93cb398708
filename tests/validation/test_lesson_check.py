"""What `check` says of a run that doesn't come out the same again, and of formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.conftest import FRONT
from tutor.lesson.model import Fault, Lesson
from tutor.protocol.events import LessonPart
from tutor.validation.lesson_check import check, findings
from tutor.wording.check_findings import check_line, check_message

WATCHING = FRONT.replace("epochs: 10\n", "epochs: 10\nwatch: {z: z}\n")

Write = Callable[..., Lesson]


def told(lesson: Lesson) -> list[str]:
    return [check_message(finding) for finding in check(lesson)]


@pytest.mark.parametrize("more", ["", "batches: 2\n", "warm_up: 1\nbatches: 2\n"])
def test_a_lesson_that_comes_out_the_same_is_proven(write_lesson: Write, more: str) -> None:
    front = WATCHING.replace("epochs", f"{more}epochs")
    assert told(write_lesson(front, Predict="z = torch.rand(2)\ny_pred = w * x")) == []


TWO_LOSSES = FRONT.replace("epochs: 10\n", "epochs: 10\nmodes: [autograd, optimizer]\n")


def test_modes_that_differ_on_purpose_are_not_compared(write_lesson: Write) -> None:
    halves = "```\n```python {}\ny_pred = w * x * {}\n"
    both = halves.format("autograd", 1) + halves.format("optimizer", 2)
    code = {"Predict": "pass\n" + both.rstrip()}
    assert any("autograd" in message for message in told(write_lesson(TWO_LOSSES, **code)))
    apart = TWO_LOSSES.replace("modes:", "comparable: false\nmodes:")
    assert told(write_lesson(apart, **code)) == []


@pytest.mark.parametrize(
    ("tensor", "gradient", "codes"),
    [
        ("torch.tensor(0.5)", "(2 * (y_pred - 2 * x) * x).mean()", []),
        ("torch.tensor(0.5)", "(2 * (y_pred - 2 * x) * x).sum()", ["gradient_differs"]),
        ("torch.tensor(0.5, requires_grad=True)", "(y_pred * x).mean()", ["gradient_missing"]),
    ],
    ids=["right", "wrong", "autograd's"],
)
def test_the_gradient_of_a_tensor_without_autograd_is_the_variable(
    write_lesson: Write, tensor: str, gradient: str, codes: list[str]
) -> None:
    front = FRONT.replace("epochs: 10\n", "epochs: 10\nmodes: [manual]\n")
    code = {
        "Setup": f"x = torch.ones(2)\nw = {tensor}",
        "Gradient": f"dw = {gradient}.detach()",
        "Update": "with torch.no_grad():\n    w -= learning_rate * dw",
        "Reset": "",
    }
    found = [finding.remark.code for finding in check(write_lesson(front, **code))]
    assert [one for one in found if one.startswith("gradient_")] == codes


def test_a_gradient_that_is_not_its_own_is_told_what_to_take_out(write_lesson: Write) -> None:
    front = TWO_LOSSES.replace("modes:", "own_gradient: [optimizer]\nmodes:")
    (message,) = told(write_lesson(front))
    assert message.startswith("mode optimizer: own_gradient names")
    assert message.endswith("take optimizer out of own_gradient")


def test_a_lesson_has_the_name_of_its_file(write_lesson: Write) -> None:
    lesson = write_lesson(
        Setup="import os\nassert os.path.basename(__file__).endswith('.md')\n"
        "x = torch.ones(2)\nw = torch.tensor(0.5, requires_grad=True)"
    )
    assert told(lesson) == []


def test_random_numbers_from_elsewhere_are_found(write_lesson: Write) -> None:
    code = "import os\nz = os.urandom(1)[0] + 256 * os.urandom(1)[0]\ny_pred = w * x"
    differ, back = told(write_lesson(WATCHING, Predict=code))
    assert differ == "mode autograd: two runs differ; take all random numbers from np or torch"
    assert back.startswith("mode autograd: going back to epoch 3, step 5 ")


def test_what_can_not_be_drawn_is_told_without_running_anything(write_lesson: Write) -> None:
    lesson = write_lesson(Predict="1 / 0\n```\n$$\\foo{q}$$\n```python\ny_pred = w * x")
    (warning,) = lesson.warnings
    assert warning.fault == Fault("formula_not_drawable", {"piece": r"\foo{q}"})
    assert lesson.source.split("\n")[warning.line - 1] == r"$$\foo{q}$$"


def test_a_misspelt_name_is_told_once_for_all_modes_where_it_is_written(
    write_lesson: Write,
) -> None:
    front = FRONT.replace(
        "epochs: 10\n",
        "epochs: 10\nmodes: [autograd, model]\nwatch:\n"
        "  half: sum(part / 2 for part in [w])\n  half-life: 0.693 / learning_rat\n",
    )
    code = "y_pred = w * x\n```\n$$\\boxed{y_prd}$$\n```python\n1"
    lesson = write_lesson(front, Predict=code)
    boxed, watched = map(check_line, check(lesson))
    what = "modes autograd, model: half-life has no value: nothing is called `learning_rat`"
    assert watched == f"{lesson.path}:10: {what}; did you mean `learning_rate`?"
    assert "y_prd has no value: nothing is called `y_prd`; did you mean `y_pred`?" in boxed


def test_what_is_proven_next_is_told_before_it_runs(write_lesson: Write) -> None:
    lesson = write_lesson(Update="raise ValueError")
    begun: list[LessonPart] = []
    (finding,) = findings(lesson, begun.append)
    phases = ["Setup", "Predict", "Loss", "Gradient", "Update"]
    assert [(part.mode, part.phase) for part in begun] == [("autograd", p) for p in phases]
    assert begun[-1].line == finding.line
