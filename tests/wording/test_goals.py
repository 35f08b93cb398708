"""How near a run is to a condition: what is compared, in words, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from tutor.protocol.frame import Value
from tutor.session.goal_progress import goal_of
from tutor.wording.goals import GoalWords, goal_words

LOSSES = np.array([26.0, 4.0, 0.0031])
NAMES = {
    "losses": LOSSES,
    "epoch": 3,
    "w": np.array(1.5),
    "gradient": {"w": np.array([0.5])},
    "learning_rate": 0.01,
    "mode": "manual",
    "diverged": False,
    "np": np,
}


def value(expression: str) -> Value:
    """As the engine evaluates it."""
    try:
        found = eval(expression, dict(NAMES))
    except (ValueError, IndexError, KeyError, NameError, TypeError) as error:
        return Value((), (), "text", str(error))
    if isinstance(found, str):
        return Value((), (), "str", found)
    is_truth = isinstance(found, bool | np.bool_)
    return Value((float(found),), (), "bool" if is_truth else "float64")


def marks(condition: str) -> tuple[tuple[GoalWords, ...], ...]:
    goal = goal_of(condition)
    return goal_words(goal.marks([value(expression) for expression in goal.expressions]))


def said(mark: GoalWords) -> str:
    return f"{'+' if mark.holds else '-'} {mark.what}: {mark.stands}{mark.should_be}"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("losses[:10].min() < 1e-6",
         "- lowest loss of epochs 1 to 10: 0.0031, should be below 1e−6"),
        ("losses[-20:].max() <= 30", "+ highest loss of the last 20 epochs: 26, at most 30"),
        ("losses[-1] > 1e6", "- loss of the last epoch: 0.0031, should be above 1e6"),
        ("losses[1] > losses[0]",
         "- loss of epoch 2: 4, should be above loss of epoch 1 (now 26)"),
        ("losses[9] > losses[0]",
         "- loss of epoch 10: none yet, should be above loss of epoch 1 (now 26)"),
        ("losses[-1] < 0.1 * losses[0]",
         "+ loss of the last epoch: 0.0031, below 0.1 × loss of epoch 1 (now 2.6)"),
        ("abs(losses - 16).max() == 0",
         "- largest distance of the losses from 16: 15.9969, should be exactly 0"),
        ("len(losses) == 100", "- epochs so far: 3, should be exactly 100"),
        ("len(losses) == 3", "+ epochs so far: 3"),
        ("abs((w * 5 + 1).item() - 10) < 0.001",
         "- w × 5 + 1: 8.5, should be within 0.001 of 10"),
        ("abs(w * (5 - 1)) < 9", "+ w × (5 − 1): 6, within 9 of 0"),
        ("abs(float(w)) > 2", "- size of w: 1.5, should be above 2"),
        ('float(gradient["w"][0]) == 0', "- gradient of w[0]: 0.5, should be exactly 0"),
        ('abs(learning_rate * gradient["w"].item() - float(np.sum([w, w, w, w]))) < 1e-3 * epoch',
         "- learning rate × gradient of w: 0.005, should be within 0.003 of 6 (as of now)"),
        ("0.05 <= learning_rate", "- learning rate: 0.01, should be at least 0.05"),
        ('mode == "float32"', "- mode: manual, should be float32"),
        ("diverged", "- the run has diverged: not yet"),
        ("not diverged", "+ the run has not diverged: yes"),
        ("1 < w < 2", "+ w: 1.5, above 1"),
        ('not gradient["w"].any()', "- gradient of w is 0 everywhere: not yet"),
        ("bool(((losses > 0.1) & (losses < 7)).any())",
         "+ one of the losses is above 0.1 and below 7: yes"),
        ("np.allclose(w, [[0.1, 0.3]], atol=1e-6)", "- w is close to [[0.1, 0.3]]: not yet"),
        ("all(loss < 9 for loss in losses)", "- each of the losses is below 9: not yet"),
        ("all(0.5 < float(loss.std()) < 2 for loss in losses)",
         "- standard deviation of loss is above 0.5 and below 2 for each of the losses: not yet"),
        ("abs(np.diff(losses[-2:])).max() < 5",
         "+ largest change in loss of the last 2 epochs: 3.9969, below 5"),
        ('float(abs(gradient["w"][:1]).max()) < 0.1',
         "- highest size of gradient of w[:1]: 0.5, should be below 0.1"),
        ("float((losses @ losses + 1).max()) < 1",
         "- highest (the losses @ the losses + 1): 693, should be below 1"),
    ],
)  # fmt: skip
def test_a_comparison_is_told_in_words_with_what_it_is_now(condition: str, words: str) -> None:
    assert said(marks(condition)[0][0]) == words


def test_a_comparison_of_three_is_two() -> None:
    assert [mark.wanted for mark in marks("1 < w < 2")[0]] == ["above 1", "below 2"]


@pytest.mark.parametrize(
    ("condition", "whats"),
    [
        ("len(losses) >= 1 and losses[-1] < 1", ["loss of the last epoch"]),
        ("len(losses) >= 3 and losses[1] < 1 and losses[2] > 1",
         ["loss of epoch 2", "loss of epoch 3"]),
        ("len(losses) >= 20 and losses[-20:].max() < 1",
         ["epochs so far", "highest loss of the last 20 epochs"]),
        ('len(losses) >= 1 and gradient["w"] is not None and float(gradient["w"]) == 0',
         ["epochs so far", "gradient of w"]),
    ],
)  # fmt: skip
def test_what_only_guards_another_comparison_is_left_out(condition: str, whats: list[str]) -> None:
    assert [mark.what for mark in marks(condition)[0]] == whats


def test_each_alternative_has_its_comparisons() -> None:
    found = marks("(epoch == 1 and abs(w - 2) < 1) or (len(losses) >= 2 and losses[1] < 1)")
    assert [[mark.what for mark in way] for way in found] == [["epoch", "w"], ["loss of epoch 2"]]
    assert [[mark.holds for mark in way] for way in found] == [[False, True], [False]]


def test_long_python_is_never_shown() -> None:
    assert marks("bool((losses[1:] <= losses[:-1]).all())") == ()
    first, rest = marks("w < 2 and bool((losses[1:] <= losses[:-1]).all())")[0]
    assert (first.what, rest.holds) == ("w", True)
    assert said(rest) == "+ the rest of what is asked: yes"


def test_what_a_goal_says_holds_wherever_python_says_so() -> None:
    for condition in ("w < 2", "w >= 1.5", "w != 1.5", "abs(w - 1) <= 0.5", "2 > w"):
        assert marks(condition)[0][0].holds is bool(eval(condition, dict(NAMES)))


@pytest.mark.parametrize(
    ("condition", "missed_after"),
    [
        ("len(losses) >= 1 and losses[:10].min() < 1e-6", 10),
        ("len(losses) >= 3 and losses[1] < 1e-10 and losses[2] > 1", 2),
        ("len(losses) == 2 and losses[-1] < 1", 2),
        ("epoch <= 1 and w > 9", 1),
        ("epoch == 1 or losses[0] < 1", 1),
        ("losses[-20:].max() < 1e-9", None),
        ("losses[2:].min() < -1", None),
        ("losses[-1] < -1", None),
        ("abs(losses - 16).max() < 1", None),
        ("losses[1] < w", None),
        ("epoch == 1 or w > 9", None),
    ],
)
def test_a_goal_is_missed_once_nothing_that_it_reads_can_change(
    condition: str, missed_after: int | None
) -> None:
    goal = goal_of(condition)
    found = goal.marks([value(expression) for expression in goal.expressions])
    missed = [epochs for epochs in range(100) if goal.is_missed(found, epochs)]
    assert missed == ([] if missed_after is None else list(range(missed_after, 100)))
