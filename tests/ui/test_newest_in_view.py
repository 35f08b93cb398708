"""What has just been said of an exercise can be seen, whatever was said before and in any room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tutor.lesson.exercise import Exercise
from tutor.protocol.events import LessonFailed
from tutor.protocol.inspections import LocalGradientQuestion, LocalGradients
from tutor.ui.panes.exercise import PartsPane
from tutor.ui.screens.editor import EditorScreen
from tutor.ui.screens.lesson import LessonScreen

from .conftest import Learner, MakeApp, settled, text_of
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR, with_exercises
from .fake_engine import FakeEngine

ROOMS = pytest.mark.parametrize("size", [(80, 22), (120, 36)])
"""The least room, and the usual one: the texts are longer than the pane in both."""


def words(name: str, count: int) -> str:
    """So many different words, of which the first and the last say what they belong to."""
    return " ".join([f"{name}-begins", *(f"{name}{i}" for i in range(count)), f"{name}-ends."])


def grown(exercise: Exercise) -> Any:
    """The exercise with a long question, hints and explanation."""
    return msgspec.structs.replace(
        exercise,
        ask=words("ask", 94),
        hints=(words("first", 33), words("second", 33)),
        explain=words("because", 44),
    )


class Reader(Learner):
    """The learner, who reads only what is in view."""

    def in_view(self, pane: str = "exercise-text") -> str:
        """What can be seen of a pane, as it is put on the screen."""
        of = self.app.screen.query_one(f"#{pane}", PartsPane)
        assert of.display
        x, y, width, height = of.content_region
        rows = self.app.screen._compositor.render_strips()[y : y + height]
        return "\n".join("".join(s.text for s in row)[x : x + width].rstrip() for row in rows)

    def reads(self, *said: str, pane: str = "exercise-text") -> None:
        shown = self.in_view(pane)
        assert all(word in shown for word in said), shown


At = Callable[..., Any]


@pytest.fixture
def at(make_app: MakeApp, engine: FakeEngine) -> At:
    @asynccontextmanager
    async def run(exercise: Exercise, size: tuple[int, int], *more: Exercise) -> Any:
        app = make_app(first=with_exercises(exercise, *more))
        async with app.run_test(size=size) as pilot:
            await pilot.press("a")
            yield Reader(app, pilot)

    return run


@ROOMS
async def test_of_a_prediction(at: At, size: tuple[int, int]) -> None:
    async with at(grown(PREDICT), size) as reader:
        reader.reads("ask-begins")
        await reader.press("escape", "h")
        reader.reads("Hint 1", "first-begins", "first-ends.")
        await reader.press("h")
        reader.reads("Hint 2", "second-begins", "second-ends.")
        await reader.press("a", *"-120", "enter")
        reader.reads("✗ Not right.", "That is the sum.", "It is:")
        await reader.press("H")
        reader.reads("Solution:", "−30")
        await reader.press("enter")
        reader.reads("And in epoch 2?")
        await reader.press("escape", "H")  # the field goes while it is computed, and comes back
        reader.reads("Solution:", "−25.5")
        await reader.press("a", *"-25.5", "enter")
        reader.reads("✓ Right.", "Because", "divides by N.")


@ROOMS
async def test_of_a_choice(at: At, size: tuple[int, int]) -> None:
    async with at(grown(CHOOSE), size) as reader:
        reader.reads("ask-begins")
        await reader.press("1")
        reader.reads("▶ 1  Not so")
        await reader.press("enter")
        reader.reads("✗ Not yet.", "look again")
        await reader.press("down")
        reader.reads("▶ 2  So")
        await reader.press("enter")
        reader.reads("✓ Right.", "because-begins", "because-ends.")


@ROOMS
async def test_of_a_goal_that_is_reached_before_another_pane(at: At, size: tuple[int, int]) -> None:
    async with at(grown(REACH), size) as reader:
        await reader.press("h", "h")
        reader.reads("second-begins", "second-ends.")
        await reader.press("3", *["]"] * 3, *["s"] * 6)
        reader.reads("✓ Done.", "because-begins", "because-ends.")


@ROOMS
async def test_of_playing_autograd(at: At, engine: FakeEngine, size: tuple[int, int]) -> None:
    step = LocalGradientQuestion(
        asks="local", output="w * x", input="w", values={"x": 3.0}, expected=3.0
    )
    last = LocalGradientQuestion(asks="total", output="", input="w", values={}, expected=6.0)
    engine.local = LocalGradients(steps=(step, last))
    async with at(grown(AUTOGRAD), size) as reader:
        reader.reads("ask-begins")
        await reader.press("4", "enter")
        reader.reads("✗ Not yet.")
        await reader.press("escape", "h", "H")
        reader.reads("Solution: 3")
        await reader.press("a", "3", "enter")
        reader.reads("✓ 3 is right.", "")
        await reader.press("6", "enter")
        reader.reads("✓ Right.", "because-begins", "because-ends.")


@ROOMS
async def test_of_a_repair_whichever_pane_was_in_front(
    at: At, engine: FakeEngine, size: tuple[int, int]
) -> None:
    async with at(grown(REPAIR), size) as reader:
        await reader.press("h", "3", "o", "ctrl+s")
        why = LessonFailed(
            answers=engine.run_number, lesson="", phase="Update", line=1, message="a leaf Variable"
        )
        engine.tell(why)
        await settled(reader.pilot)
        assert "still raises" in text_of(reader.app, "verdict")
        await reader.press("escape", "H")
        reader.reads("Solution:", "w -= learning_rate * w.grad")
        await reader.press("3", "o", "ctrl+s")
        engine.advance(3)
        await settled(reader.pilot)
        assert isinstance(reader.app.screen, LessonScreen)
        reader.reads("✓ Done.", "because-begins", "because-ends.")


@ROOMS
async def test_of_the_hints_in_the_editor(at: At, size: tuple[int, int]) -> None:
    async with at(grown(REPAIR), size) as reader:
        await reader.press("o")
        assert isinstance(reader.app.screen, EditorScreen)
        reader.reads("ask-begins", pane="task")
        await reader.press("ctrl+g")
        reader.reads("Hint 1", "first-begins", pane="task")
        await reader.press("ctrl+g")
        reader.reads("Hint 2", "second-begins", pane="task")


async def test_what_all_fits_is_seen_from_its_title_on(at: At) -> None:
    async with at(PREDICT, (80, 24)) as reader:
        await reader.press("escape", "h", "a", *"-120", "enter")
        reader.reads("Exercise 1 of 1", "✗ Not right.")
        await reader.press("enter")
        reader.reads("Exercise 1 of 1", "And in epoch 2?")


async def test_it_stays_in_view_when_the_window_changes_and_where_the_learner_scrolls_to(
    at: At,
) -> None:
    async with at(grown(PREDICT), (120, 36)) as reader:
        await reader.press("escape", "h")
        for size in ((80, 22), (60, 18), (100, 40), (80, 24)):
            await reader.pilot.resize_terminal(*size)
            if size[0] >= 80:
                reader.reads("first-begins", "first-ends.")
        await reader.press("home")
        reader.reads("ask-begins")
        await reader.press("s")  # refused: nothing is said there
        reader.reads("ask-begins")


async def test_a_text_without_end_is_seen_from_its_beginning(at: At) -> None:
    endless = msgspec.structs.replace(PREDICT, explain=words("because", 300), again=())
    async with at(endless, (80, 24)) as reader:
        await reader.press(*"-30", "enter")
        reader.reads("✓ Right.", "because-begins")
