"""An exercise's expressions are evaluated where the run stands, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
import torch

from tests.training.conftest import shipped
from tutor.lesson.exercise import EXERCISE_NAMES
from tutor.protocol.frame import NONE, Position
from tutor.training.exercises import holds
from tutor.training.loss_and_trail import EpochNumbers
from tutor.training.run import Run

Start = Callable[..., Run]


def number(run: Run, expression: str) -> float:
    (value,) = run.evaluate([expression])
    assert value.size == 1, value
    return value.data[0]


def text(run: Run, expression: str) -> str:
    (value,) = run.evaluate([expression])
    assert value.dtype == "text", value
    return value.text


def test_every_promised_name_is_there_and_means_what_it_says() -> None:
    run = shipped("line-through-origin", "autograd")
    run.step_epoch()
    while run.frame().phase != "Gradient":
        run.step_phase()
    assert all(value.dtype != "text" for value in run.evaluate(EXERCISE_NAMES[:1]))
    assert number(run, "epoch") == 2
    assert number(run, "len(losses)") == 1
    assert number(run, "losses[0]") == 30.0
    assert number(run, 'was["w"]') == pytest.approx(0.3)
    assert number(run, 'gradient["w"]') == pytest.approx(-25.5)
    assert number(run, 'gradient_now["w"]') == pytest.approx(-25.5)
    assert number(run, "learning_rate") == 0.01
    assert run.evaluate(["mode"])[0].text == "autograd"
    assert not holds(run.evaluate(["diverged"])[0])


def test_what_was_stays_while_the_parameter_moves() -> None:
    run = shipped("line-through-origin", "manual")
    run.step_epoch()
    assert number(run, 'was["w"]') == 0.0
    assert number(run, 'was["w"] - learning_rate * gradient["w"] - w') == pytest.approx(0, abs=1e-7)


def test_there_is_no_gradient_before_there_is_one() -> None:
    run = shipped("line-through-origin", "autograd")
    assert run.evaluate(['gradient["w"]', "gradient_now['w']"]) == (NONE, NONE)
    assert text(run, '4 * gradient["w"]').startswith("TypeError: unsupported operand")


def test_only_whole_epochs_up_to_here_count(start: Start) -> None:
    run = start()
    run.run(5)
    run.seek(2)
    assert number(run, "len(losses)") == 2
    run.step_phase()
    assert (number(run, "epoch"), number(run, "len(losses)")) == (3, 2)
    run.back()
    run.seek(0)
    assert number(run, "losses.size + epoch") == 0


def test_losses_that_are_known_only_in_blocks_are_no_numbers() -> None:
    column = EpochNumbers(max_exact=512)
    for i in range(2000):
        column.append(float(i))
    losses = column.until(1900)
    assert len(losses) == 1900
    assert losses[-1] == 1899.0
    assert np.isnan(losses[0])
    assert np.isnan(column.until(3)).all()
    assert len(column.until(3)) == 3


def test_names_are_seen_inside_comprehensions_and_lambdas(start: Start) -> None:
    run = start()
    run.run(3)
    assert holds(run.evaluate(["all(losses[i + 1] < losses[i] for i in range(epoch - 1))"])[0])
    assert number(run, "(lambda: float(w) - was['w'])()") != 0


def test_truth_and_strings_are_told_apart_from_words(start: Start) -> None:
    run = start()
    truth, other, key = run.evaluate(["w > 0", "bool(w < 0)", '"up" if w > 0 else "down"'])
    assert (truth.dtype, truth.data) == ("bool", (1.0,))
    assert (other.dtype, other.data) == ("bool", (0.0,))
    assert (key.dtype, key.text, key.is_number) == ("str", "up", False)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("nobody", "NameError: name 'nobody' is not defined"),
        ("w +", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit()", "SystemExit"),
        ("w @ w", "RuntimeError: "),
    ],
)
def test_an_error_is_words(start: Start, expression: str, words: str) -> None:
    assert text(start(), expression).startswith(words)


def test_evaluating_changes_nothing(start: Start) -> None:
    draw = "y_pred = torch.nn.functional.dropout(w * x, 0.5)"
    run, other = start(Predict=draw), start(Predict=draw)
    seen = []
    for one in (run, other):
        torch.manual_seed(7)
        one.step_phase()
        if one is run:
            run.evaluate(["torch.rand(3)", "np.random.rand()", "(w := 7)", "(w * 2).requires_grad"])
            run.evaluate(["gradient_now.clear()", "was.clear()", "losses.fill(0)"])
        seen.append([one.step_phase() for _ in range(12)])
    assert seen[0] == seen[1]
    assert number(run, "float(w)") == pytest.approx(float(run.frame().values["w"].data[0]))


def test_a_run_that_moves_in_turn_with_another_is_evaluated_with_its_own_numbers(
    start: Start,
) -> None:
    run = start()
    recipe = msgspec.structs.replace(run.recipe, seed=5)
    other = Run.from_recipe(run.programs, recipe, Position(0, 0), generators=run.generators)
    drawn = number(run, "float(torch.rand(()))")
    other.step_epoch()
    assert number(run, "float(torch.rand(()))") == drawn
