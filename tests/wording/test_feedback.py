"""Feedback, questions and solutions in words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.session.test_exercise_controller import PICK, SIGN
from tests.ui.exercises import PREDICT, REPAIR, comparison_state
from tutor.lesson.exercise import Exercise, Predict, Repair
from tutor.protocol.frame import Value
from tutor.protocol.inspections import GradientFlow, LocalGradientQuestion
from tutor.session.attempt import Attempt, Reply, Wants
from tutor.session.goal_progress import ComparisonState
from tutor.wording import feedback
from tutor.wording.feedback import reply_markdown


def test_a_local_gradient_is_asked_for_with_all_else_held_fixed() -> None:
    values = {"a": 2.0, "b": 3.0, "y": 6.0}
    step = LocalGradientQuestion(asks="local", output="a * b", input="a", values=values, expected=3)
    asked = feedback.local_question(step)
    assert asked.startswith(
        "Here `y` = `a * b`. How fast does `y` change with `a`, the rest held fixed?  (`a` = 2,"
    )
    alone = replace(step, output="a + 1", values={"a": 2.0, "b": 3.0})
    assert feedback.local_question(alone).startswith(
        "Here `b` = `a + 1`. How fast does `b` change with `a`?  (`a` = "
    )


def test_what_has_no_name_is_given_a_letter_that_the_lesson_does_not_use() -> None:
    values = {"(u - y)[3]": 2.0, "((u - y) ** 2)[3]": 4.0}
    step = LocalGradientQuestion(
        asks="local",
        output="((u - y) ** 2)[3]",
        input="(u - y)[3]",
        values=values,
        expected=4.0,
    )
    assert feedback.local_question(step) == (
        "Here `v` = `(u - y)[3]` and `p` = `((u - y) ** 2)[3]`. "
        "How fast does `p` change with `v`?  (`v` = 2, `p` = 4)"
    )
    assert "to `v`" in feedback.local_help(step)
    assert "out `p` again" in feedback.local_help(step)


def test_the_solution_of_a_gradient_of_the_loss_shows_how_it_is_worked_out() -> None:
    flows = (GradientFlow("a", (2.0, -1.0), (3.0, 4.0)),)
    step = LocalGradientQuestion(asks="total", output="", input="w", flows=flows, expected=2.0)
    assert feedback.local_solution(step) == r"$2 \cdot 3 + (-1) \cdot 4 = 2$"
    assert feedback.local_solution(replace(step, asks="local")) == "2"


def test_a_question_that_adds_up_names_what_flows_together() -> None:
    flows = (
        GradientFlow("h * x", (2.0,), (3.0,)),
        GradientFlow("h * x", (2.0,), (5.0,)),
        GradientFlow("sum", (1.0, 1.0), (3.0, 4.0)),
    )
    step = LocalGradientQuestion(asks="total", output="", input="h", flows=flows, expected=23.0)
    asked = feedback.local_question(step)
    assert "(`gradient with respect to h * x` = 2, `local gradient of h * x with " in asked
    assert "`local gradient of h * x with respect to h (2)` = 5" in asked
    assert "`local gradient of sum with respect to h` = (3, 4))" in asked


def misses(*states: ComparisonState, of: Repair = REPAIR) -> str:
    reply = Reply("fix_misses", {"epochs": 5, "marks": (states,)})
    return reply_markdown(Attempt(of, 1, 1, "asking", Wants.CODE, "", reply=reply))


def test_code_that_misses_its_condition_hears_figures_and_no_formula_that_gives_it_away() -> None:
    formula = "w - was['w'] + 0.01 * gradient['w']"
    whats = ("w", formula, "losses[1] / losses[0]", "bias", "losses[-1]")
    told = misses(*(comparison_state(f"{what} < 2", False, 3, 2) for what in whats))
    assert "w is 3, should be below 2; bias is 3, should be below 2." in told
    assert "w before" not in told
    assert "loss of" not in told
    only_formula = comparison_state(f"{formula} < 2", False, 3, 2)
    assert misses(only_formula).endswith("it should. Not right yet: the step of `w`.")
    only_ratio = comparison_state("losses[1] / losses[0] < 2", False, 3, 2)
    assert misses(only_ratio).endswith("it should. Not right yet: the losses.")


def test_code_that_misses_a_condition_without_figures_hears_that_condition() -> None:
    fact = comparison_state("isinstance(shown, float)", False)
    assert misses(fact).endswith("it should. Not true yet: `isinstance(shown, float)`.")
    raised = replace(fact, error="NameError: no shown")
    assert misses(raised).endswith(": `isinstance(shown, float)` (`NameError: no shown`).")


def test_a_condition_that_contains_code_to_be_found_is_not_shown() -> None:
    fact = comparison_state("isinstance(shown, float)", False)
    solution = comparison_state("torch.equal(shown, y[chosen])", False)
    repair = replace(REPAIR, code="shown = y", solution_code="shown = y[chosen]")
    assert misses(solution, of=repair).endswith("what it should. Not right yet: `shown`.")
    assert misses(solution, fact, of=repair).endswith(": `isinstance(shown, float)`.")
    assert "y[chosen]" in misses(solution)


@pytest.mark.parametrize(
    ("exercise", "right"),
    [
        (SIGN, "negative"),
        (PICK, "It rises"),
        (replace(PREDICT, answer='gradient["w"] if True else 12345678'), "−30"),
    ],
)
def test_a_solution_does_not_show_the_expression_that_checks_it(
    exercise: Exercise, right: str
) -> None:
    assert isinstance(exercise, Predict)
    text = "up" if exercise.form == "choice" else ""
    assert feedback.solution(exercise, Value(() if text else (-30.0,), text=text)) == right


@pytest.mark.parametrize(
    ("numbers", "right", "shown"),
    [
        ((0.0, 0.002, -3260.4), 6.5208, r"$0 - 0.002 \cdot (-3260.4) = 6.5208$"),
        ((1 / 3, 5e-4, 1.0), 1 / 3 - 5e-4, r"$0.33333 - 0.0005 \cdot 1 = 0.33283$"),
        ((0.0, 1e-5, -2.0), 2e-5, r"$0 - 1 \cdot 10^{-5} \cdot (-2) = 2 \cdot 10^{-5}$"),
        ((2 / 3, 0.5, 1 / 3), 0.5, r"$0.66667 - 0.5 \cdot 0.33333 \approx 0.5$"),
    ],
)
def test_the_solution_of_a_number_shows_its_working(
    numbers: tuple[float, ...], right: float, shown: str
) -> None:
    worked = replace(PREDICT, working='w - learning_rate * gradient["w"]')
    leaves = [Value((number,), (), "float32") for number in numbers]
    assert feedback.solution(worked, Value((right,)), leaves) == shown


@pytest.mark.parametrize("x", [5e-4, 0.0512348, 1 / 3, 123456.0])
def test_an_answer_is_written_with_the_digits_of_its_working(x: float) -> None:
    worked = replace(PREDICT, working="w * 1")
    shown = feedback.answer(PREDICT, Value((x,)))
    assert feedback.solution(worked, Value((x,)), [Value((x,))]).endswith(f"= {shown}$")


def test_without_numbers_for_its_working_the_solution_is_the_value() -> None:
    worked = replace(PREDICT, working="1 / w")
    for leaves in ((), [Value((), (), "text", "NameError")], [Value((0.0,))]):
        assert feedback.solution(worked, Value((-30.0,)), leaves) == "−30"
