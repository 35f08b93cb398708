"""What has just been said of an exercise can be seen, whatever was said before and in any room."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tutor.lesson.exercise import Exercise
from tutor.protocol.events import LessonFailed
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import LocalGradientQuestion, LocalGradients
from tutor.ui.screens.lesson import LessonScreen

from .conftest import LARGE, SMALL, Learner, doing
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR

LEAST = (80, 22)
"""The least room. The texts are longer than the pane, in a large terminal, too."""
ROOMS = pytest.mark.parametrize("size", [LEAST, LARGE])


def words(name: str, count: int) -> str:
    """So many different words, of which the first and the last say what they belong to."""
    return " ".join([f"{name}-begins", *(f"{name}{i}" for i in range(count)), f"{name}-ends."])


def at_long(exercise: Exercise, **more: Any) -> pytest.MarkDecorator:
    """The mark of a test at this exercise with a long question, hints and explanation."""
    hints = (words("first", 33), words("second", 33))
    grown = msgspec.structs.replace(
        exercise, ask=words("ask", 94), hints=hints, explain=words("because", 44)
    )
    return doing(grown, **more)


def reads(learner: Learner, *said: str, pane: str = "exercise-text") -> None:
    """The learner, who reads only what is in view, finds these words there."""
    of = learner.pane(pane)
    assert of.display
    x, y, width, height = of.content_region
    rows = learner.app.screen._compositor.render_strips()[y : y + height]
    shown = "\n".join("".join(s.text for s in row)[x : x + width].rstrip() for row in rows)
    assert all(word in shown for word in said), shown


@ROOMS
@at_long(PREDICT)
async def test_of_a_prediction(learner: Learner, size: tuple[int, int]) -> None:
    reads(learner, "ask-begins")
    await learner.press("escape", "h")
    reads(learner, "Hint 1", "first-begins", "first-ends.")
    await learner.press("h")
    reads(learner, "Hint 2", "second-begins", "second-ends.")
    await learner.press("a", *"-120", "enter")
    reads(learner, "✗ Not right.", "That is the sum.", "The answer is:")
    await learner.press("H")
    reads(learner, "Solution:", "−30")
    await learner.press("enter")
    reads(learner, "And in epoch 2?")
    await learner.press("escape", "H")  # the field goes while it is computed, and comes back
    reads(learner, "Solution:", "−25.5")
    await learner.press("a", *"-25.5", "enter")
    reads(learner, "✓ Right.", "Because", "divides by N.")


@at_long(CHOOSE, size=LEAST)
async def test_of_a_choice(learner: Learner) -> None:
    reads(learner, "ask-begins")
    await learner.press("1")
    reads(learner, "▶ 1  Not so")
    await learner.press("enter")
    reads(learner, "✗ Not right.", "look again")
    await learner.press("down")
    reads(learner, "▶ 2  So")
    await learner.press("enter")
    reads(learner, "✓ Right.", "because-begins", "because-ends.")


@ROOMS
@at_long(REACH)
async def test_of_a_goal_that_is_reached_before_another_pane(
    learner: Learner, size: tuple[int, int]
) -> None:
    await learner.press("h", "h")
    reads(learner, "second-begins", "second-ends.")
    await learner.press("3", *["]"] * 3, *["s"] * 6)
    reads(learner, "✓ Done.", "because-begins", "because-ends.")


@at_long(AUTOGRAD, size=LEAST, keys=())
async def test_of_playing_autograd(learner: Learner) -> None:
    step = LocalGradientQuestion(
        asks="local", output="w * x", input="w", values={"x": 3.0}, expected=3.0
    )
    last = LocalGradientQuestion(asks="total", output="", input="w", values={}, expected=6.0)
    learner.engine.local = LocalGradients(questions=(step, last))
    await learner.press("a")
    reads(learner, "ask-begins")
    await learner.press("4", "enter")
    reads(learner, "✗ Not right.")
    await learner.press("escape", "h", "H")
    reads(learner, "Solution: 3")
    await learner.press("a", "3", "enter")
    reads(learner, "✓ 3 is right.")
    await learner.press("6", "enter")
    reads(learner, "✓ Right.", "because-begins", "because-ends.")


@at_long(REPAIR, size=LEAST, keys=["a", "o"])
async def test_of_the_hints_in_the_editor(learner: Learner) -> None:
    reads(learner, "ask-begins", pane="task")
    for hint, begins in (("Hint 1", "first-begins"), ("Hint 2", "second-begins")):
        await learner.press("ctrl+g")
        reads(learner, hint, begins, pane="task")


@ROOMS
@at_long(REPAIR, keys=["a", "h", "3", "o", "ctrl+s"])
async def test_of_a_repair_whichever_pane_was_in_front(
    learner: Learner, size: tuple[int, int]
) -> None:
    number, message = learner.engine.run_number, "a leaf Variable"
    await learner.hears(
        LessonFailed(
            answers=number,
            lesson="",
            phase="Update",
            line=1,
            error=Remark("text", {"text": message}),
        )
    )
    assert learner.sees("still raises", "verdict")
    await learner.press("escape", "H")
    reads(learner, "Solution:", "w -= learning_rate * w.grad")
    await learner.press("3", "o", "ctrl+s")
    learner.engine.advance(3)
    await learner.settle()
    assert isinstance(learner.app.screen, LessonScreen)
    reads(learner, "✓ Done.", "because-begins", "because-ends.")


@doing(PREDICT, keys=["a", "escape", "h", "a", *"-120", "enter"])
async def test_what_all_fits_is_seen_from_its_title_on(learner: Learner) -> None:
    reads(learner, "Exercise 1 of 1", "✗ Not right.")
    await learner.press("enter")
    reads(learner, "Exercise 1 of 1", "And in epoch 2?")


@at_long(PREDICT, size=LARGE, keys=["a", "escape", "h"])
async def test_it_stays_in_view_when_the_window_changes_and_where_the_learner_scrolls_to(
    learner: Learner,
) -> None:
    for size in (LEAST, (60, 18), (100, 40)):
        await learner.resize(size)
        if size[0] >= 80:
            reads(learner, "first-begins", "first-ends.")
    await learner.resize(SMALL)
    await learner.press("home")
    reads(learner, "ask-begins")
    await learner.press("s")  # refused: nothing is said there
    reads(learner, "ask-begins")


@doing(
    msgspec.structs.replace(PREDICT, explain=words("because", 300), again=()),
    keys=["a", *"-30", "enter"],
)
async def test_a_text_without_end_is_seen_from_its_beginning(learner: Learner) -> None:
    reads(learner, "✓ Right.", "because-begins")
