"""Keys that arrive in one piece after one that opens something are done where it has opened."""

from __future__ import annotations

from typing import Any, cast

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input, TextArea

from tests import waiting
from tutor.protocol.commands import RenameRun, Seek, SetElement, SetLearningRate, StepPhase
from tutor.protocol.frame import Element
from tutor.ui.app import MOST_SECONDS, KeysInOrder, Typed
from tutor.ui.bars import Field
from tutor.ui.screens.editor import CodeArea
from tutor.ui.screens.lesson import LessonScreen

from .conftest import Learner, come_true
from .exercises import PREDICT, REPAIR, with_exercises

NAMES = {
    **{"/": "slash", ".": "full_stop", " ": "space", ":": "colon"},
    **{"\r": "enter", "\x1b": "escape", "\x7f": "backspace", "\t": "tab"},
}
DONE = (SetLearningRate, SetElement, Seek, RenameRun, StepPhase)


def at_once(app: App[None], text: str) -> None:
    """As a terminal hands them on whose line was slow."""
    for character in text:
        app.post_message(events.Key(NAMES.get(character, character), character))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a key may take long: it is not given up."""
    monkeypatch.setattr("tutor.ui.app.MOST_SECONDS", waiting.PATIENCE)


async def acted(learner: Learner) -> None:
    """Wait until every key has been handled."""
    await learner.settle()
    await come_true(lambda: not learner.app._keys.is_under_way)
    await learner.settle()


@pytest.mark.usefixtures("patient")
@pytest.mark.app(menu=True)
async def test_words_after_the_slash_find_a_lesson_enter_opens_it_and_the_next_key_acts_there(
    learner: Learner,
) -> None:
    at_once(learner.app, "/xor\r ")
    await acted(learner)
    assert learner.sees("XOR with a hidden layer", "header")
    assert learner.engine.sent[-1] == StepPhase()


@pytest.mark.usefixtures("patient")
async def test_answers_are_typed_into_the_dialogs_that_their_keys_open(learner: Learner) -> None:
    at_once(learner.app, "l0.5\re\x1bw1.5\rj2\rfFnx\r\x1bl0")
    learner.app.post_message(events.Paste(".2"))
    at_once(learner.app, "5\r ")
    await acted(learner)
    assert isinstance(learner.app.screen, LessonScreen)
    assert [c for c in learner.engine.sent if isinstance(c, DONE)] == [
        SetLearningRate(value=0.5),
        SetElement(element=Element("w", (), 1.5)),
        Seek(epoch=2),
        RenameRun(name="A", new="x"),
        SetLearningRate(value=0.25),
        StepPhase(),
    ]


@pytest.mark.usefixtures("patient")
@pytest.mark.app(first=with_exercises(PREDICT, REPAIR))
async def test_an_answer_is_typed_into_the_field_of_its_exercise_and_code_into_the_editor(
    learner: Learner,
) -> None:
    at_once(learner.app, "a0.5")
    await acted(learner)
    assert learner.app.screen.query_one("#exercise-answer", Input).value == "0.5"
    at_once(learner.app, "\x1bkopq")
    await acted(learner)
    assert learner.app.screen.query_one(TextArea).text.startswith("pq")


class Forgetful:
    """An app whose queue loses what is put into it."""

    screen_stack = ()

    def call_later(self, *_: object) -> bool:
        return True


async def test_a_key_whose_end_is_never_told_keeps_the_others_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed: list[Typed] = []

    async def hand_on(typed: Typed) -> None:
        handed.append(typed)

    keys = KeysInOrder(cast("App[Any]", Forgetful()), hand_on)
    first, second, third = (events.Key(letter, letter) for letter in "abc")
    now = 100.0
    monkeypatch.setattr("tutor.ui.app.time.monotonic", lambda: now)
    await keys.take(first)
    await keys.take(second)
    assert handed == [first]
    now += MOST_SECONDS + 1
    await keys.take(third)
    assert handed == [first, second]


class Fields(App[None]):
    def compose(self) -> ComposeResult:
        yield Field()
        yield CodeArea("", id="code")


async def test_numbers_and_code_can_be_corrected_while_they_are_typed() -> None:
    app = Fields()
    async with app.run_test() as pilot:
        at_once(app, "01\x7f2")
        app.post_message(events.Key("left", None))
        at_once(app, "5")
        await pilot.pause()
        assert app.query_one(Field).value == "052"
        app.query_one(CodeArea).focus()
        await pilot.pause()
        at_once(app, "if w:\rxy\x7f\tz")
        await pilot.pause()
        assert app.query_one(CodeArea).text == "if w:\n    x   z"
