"""An exercise is not met by who does not do what it asks, and is met by who does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import shipped
from tutor.lesson.exercise import Exercise, Reach, Repair
from tutor.training.answers import holds
from tutor.training.bench import Bench
from tutor.training.frame import Element
from tutor.training.run import Run

Way = Callable[[Run], object]


def bench_of(slug: str, name: str) -> Bench:
    exercise: Exercise = next(e for e in shipped.lesson(slug).exercises if e.id == name)
    return Bench(shipped.lesson(slug), shipped.programs(slug), exercise)


def is_met(slug: str, name: str, *ways: Way) -> bool:
    bench = bench_of(slug, name)
    assert isinstance(bench.exercise, Reach)
    run = bench.begin(bench.exercise.stage)
    for way in ways:
        way(run)
    return holds(*run.evaluate([bench.exercise.condition]))


def is_mended(slug: str, name: str, old: str, new: str) -> bool:
    """Whether it counts as mended with this much of the solution changed."""
    bench = bench_of(slug, name)
    assert isinstance(bench.exercise, Repair)
    code = bench.exercise.solution_code.replace(old, new)
    assert not old or code != bench.exercise.solution_code
    run = bench.from_the_start(bench.exercise.stage, bench.exercise.epochs, code)
    return holds(*run.evaluate([bench.exercise.condition]))


def epochs(count: int) -> Way:
    return lambda run: run.run(count)


def rate(number: float) -> Way:
    return lambda run: run.set(learning_rate=number)


def put(name: str, number: float) -> Way:
    return lambda run: run.set(element=Element(name, (), number))


def test_the_steps_are_as_long_only_once_one_is_made_with_the_new_rate() -> None:
    goal = ("sum-or-mean", "same-steps")
    assert not is_met(*goal, epochs(1), rate(0.04))
    assert is_met(*goal, epochs(1), rate(0.04), epochs(1))
    assert is_met(*goal, rate(0.04), epochs(1))


def test_a_true_zero_is_made_and_not_waited_for() -> None:
    goal = ("before-backward", "a-true-zero")
    assert not is_met(*goal, epochs(30))
    assert not is_met(*goal, epochs(1), put("w", 3))
    assert is_met(*goal, put("w", 3), epochs(1))


def test_a_slope_of_zero_is_found_and_not_waited_for() -> None:
    goal = ("finite-differences", "nothing-left")
    assert not is_met(*goal, epochs(30))
    assert not is_met(*goal, put("h", -1e-9), epochs(1), put("h", 0.1))
    assert is_met(*goal, put("h", 1e-9), epochs(1))


def test_a_rate_beyond_the_border_is_used_and_not_only_named() -> None:
    goal = ("momentum", "beyond-the-old-border")
    assert not is_met(*goal, epochs(150), rate(0.05))
    assert is_met(*goal, rate(0.05), epochs(150))


SHORT_CUTS = [
    ("before-backward", "looked-too-early", "step = -learning_rate * w.grad", "step = 0"),
    ("backward-twice", "water-that-stays", "total = total + loss.item()", "total = 0"),
    ("leaf-in-place", "no-negative-price", "w.clamp_(min=0)", "pass"),
    ("mini-batches", "shuffled-apart", "x[chosen], y[chosen]", "x[2*batch:][:2], y[2*batch:][:2]"),
    ("cross-entropy", "target-type", "-log(p[each, target.long()])", "((1 - p[each, y]) ** 2)"),
    (
        "logistic",
        "logits-in-the-wrong-place",
        "torch.nn.functional.binary_cross_entropy(p, y)",
        "((p - y) ** 2).mean()",
    ),
    (
        "twenty-points",
        "a-borrowed-rate",
        "(2 * x * (y_pred - y)).mean()",
        "(2 * (y_pred - y)).mean()",
    ),
    ("adam", "no-correction", "m_hat = m / (1 - 0.9**t)", "m = m_hat = w.grad"),
]


@pytest.mark.parametrize(("slug", "name", "old", "new"), SHORT_CUTS)
def test_what_is_only_left_out_is_not_mended(slug: str, name: str, old: str, new: str) -> None:
    assert not is_mended(slug, name, old, new)
    assert is_mended(slug, name, "", "")
