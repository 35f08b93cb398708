"""An exercise is passed by doing what it asks, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lessons.cheats import cheats
from tests.lessons.runs import exercise, names_of, passes, trial_of
from tutor.lesson.exercise import Reach, Repair
from tutor.protocol.frame import Element
from tutor.training.exercises import holds
from tutor.training.run import Run

Way = Callable[[Run], object]


def is_met(where: str, *ways: Way) -> bool:
    trial = trial_of(where)
    assert isinstance(trial.exercise, Reach)
    run = trial.begin(trial.exercise.stage)
    for way in ways:
        way(run)
    return holds(*run.evaluate([trial.exercise.condition]))


def epochs(count: int) -> Way:
    return lambda run: run.run(count)


def rate(number: float) -> Way:
    return lambda run: run.set(learning_rate=number)


def put(name: str, number: float) -> Way:
    return lambda run: run.set(element=Element(name, (), number))


def test_the_steps_are_as_long_only_once_one_is_made_with_the_new_rate() -> None:
    goal = "sum-or-mean/same-steps"
    assert not is_met(goal, epochs(1), rate(0.04))
    assert is_met(goal, epochs(1), rate(0.04), epochs(1))
    assert is_met(goal, rate(0.04), epochs(1))


def test_a_true_zero_is_made_and_not_waited_for() -> None:
    goal = "before-backward/a-true-zero"
    assert not is_met(goal, epochs(30))
    assert not is_met(goal, epochs(1), put("w", 3))
    assert is_met(goal, put("w", 3), epochs(1))


def test_a_slope_of_zero_is_found_and_not_waited_for() -> None:
    goal = "finite-differences/nothing-left"
    assert not is_met(goal, epochs(30))
    assert not is_met(goal, put("h", -1e-9), epochs(1), put("h", 0.1))
    assert is_met(goal, put("h", 1e-9), epochs(1))


def test_a_rate_beyond_the_border_is_used_and_not_only_named() -> None:
    goal = "momentum/beyond-the-old-border"
    assert not is_met(goal, epochs(150), rate(0.05))
    assert is_met(goal, rate(0.05), epochs(150))


@pytest.mark.parametrize("where", names_of(Reach))
def test_a_goal_is_not_reached_by_waiting(where: str) -> None:
    solution = exercise(where, Reach).solution
    assert not is_met(where, epochs(4 * solution.epochs + 50))


@pytest.mark.parametrize("where", names_of(Reach))
def test_a_goal_is_not_reached_by_a_change_that_no_epoch_has_used(where: str) -> None:
    goal = exercise(where, Reach)
    # That these epochs suffice after the change is what `tutor check` says.
    assert not is_met(where, epochs(goal.solution.epochs), solution_of(goal))


def solution_of(exercise: Reach) -> Way:
    """All that the solution changes."""

    def change(run: Run) -> None:
        solution = exercise.solution
        if solution.mode is not None:
            run.switch(mode=solution.mode)
            run.restart()
        if solution.seed is not None:
            run.restart(seed=solution.seed)
        if solution.learning_rate is not None:
            run.set(learning_rate=solution.learning_rate)
        for setting in solution.settings:
            run.set(element=Element(setting.parameter, setting.index, setting.value))

    return change


@pytest.mark.parametrize(("number", "is_the_border"), [(0.25, True), (0.2499, False)])
def test_only_the_border_itself_makes_the_weight_bounce(number: float, is_the_border: bool) -> None:
    goal = "border-of-divergence/bounce"
    assert is_met(goal, rate(number), epochs(10)) is is_the_border


def test_a_dead_unit_is_trained_and_not_set_to_its_goal() -> None:
    goal = "dead-relu/raise-the-dead"
    assert not is_met(goal, epochs(5), put("w", 1), put("b", 0), epochs(5))
    assert not is_met(goal, put("w", 1), put("b", 0), epochs(5))
    assert is_met(goal, epochs(5), put("w", 0.5), epochs(150))


def put_at(name: str, *numbers: float) -> Way:
    """The first elements of a vector are set."""

    def change(run: Run) -> None:
        for index, number in enumerate(numbers):
            run.set(element=Element(name, (index,), number))

    return change


def test_adams_first_step_goes_past_both_goals_and_no_other_way_counts() -> None:
    goal = "adam/past-both-goals"
    assert not is_met(goal, epochs(1), put_at("w", 3.05, 0.25))
    assert not is_met(goal, epochs(5), put_at("w", 2.95, 0.15), epochs(1))
    assert not is_met(goal, rate(4), epochs(1))
    assert not is_met(goal, put_at("w", 2.95), epochs(1))
    assert not is_met(goal, put_at("w", 2.89, 0.15), epochs(1))
    assert not is_met(goal, put_at("w", 3, 0.2), epochs(1))
    assert is_met(goal, put_at("w", 2.99, 0.12), epochs(1))
    assert is_met(goal, put_at("w", 3.02, 0.29), epochs(1))


def test_a_flower_is_surely_wrong_by_the_biases_that_an_epoch_used() -> None:
    goal = "cross-entropy/sure-and-wrong"
    assert not is_met(goal, epochs(1), put_at("b", 0, 6))
    assert not is_met(goal, put_at("b", -6), epochs(1))
    assert not is_met(goal, put_at("b", 0, 4), epochs(1))
    assert not is_met(goal, put_at("b", 6), epochs(1))
    assert not is_met(goal, rate(20), epochs(30))
    assert is_met(goal, put_at("b", -7, 0, -7), epochs(1))
    assert is_met(goal, put_at("b", 0, 60), epochs(1))


def test_in_xor_both_units_are_inactive_from_the_start_and_for_all_samples() -> None:
    goal = "xor/only-one-learns"  # the first epoch is the warm-up, epoch 0
    assert not is_met(goal, epochs(2), put_at("b1", -0.5, -0.5))
    assert not is_met(goal, epochs(1), put_at("b1", -0.5, -0.5), epochs(1))
    assert not is_met(goal, put_at("b1", -0.25, -0.25), epochs(2))
    assert not is_met(goal, put_at("b1", -0.5), epochs(2))
    assert is_met(goal, put_at("b1", -0.35, -0.45), epochs(2))


UGLY_AND_RIGHT = {("backward-twice/twice-as-fast", "error caught")}
"""The first `backward()` has run when the second raises: the gradient is as it should be."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", names_of(Repair))
def test_a_repair_is_not_passed_by_making_its_end_come_out(where: str) -> None:
    tried = dict(cheats(trial_of(where), exercise(where, Repair)))
    assert len(tried) > 10
    passed = {label for label, code in tried.items() if passes(where, code)}
    assert {label for label in passed if (where, label) not in UGLY_AND_RIGHT} == set()
