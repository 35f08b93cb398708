"""What the screens look like, at both sizes (snapshots: look at the report when one differs)."""

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tutor.protocol.events import OutputPrinted

from .conftest import LARGE, SMALL, MakeApp, settled
from .fake_engine import FakeEngine

Snap = Callable[..., bool]

both_sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x36"])


def after(*keys: str, do: Callable[[], None] | None = None) -> Callable[[Pilot[None]], Any]:
    """Press the keys, let something happen, and wait until all is painted."""

    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press(*keys)
        if do is not None:
            do()
        await settled(pilot)

    return run


@both_sizes
def test_the_menu(make_app: MakeApp, snap_compare: Snap, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(menu=True), terminal_size=size, run_before=after("down"))


@both_sizes
def test_a_lesson_at_its_start(
    make_app: MakeApp, snap_compare: Snap, size: tuple[int, int]
) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=after())


@both_sizes
def test_a_lesson_after_some_steps(
    make_app: MakeApp, engine: FakeEngine, snap_compare: Snap, size: tuple[int, int]
) -> None:
    keys = ["s", "s", "s", "g", "s", "space", "space"]
    printed = OutputPrinted(text="epoch 4 [done]\n")
    run = after(*keys, do=lambda: engine.tell(printed))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


@both_sizes
def test_a_run_on_its_way(
    make_app: MakeApp, engine: FakeEngine, snap_compare: Snap, size: tuple[int, int]
) -> None:
    run = after("4", "r", do=lambda: engine.advance(12))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


@both_sizes
def test_the_help(make_app: MakeApp, snap_compare: Snap, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=after("question_mark"))


def test_the_ladder_in_a_small_terminal(make_app: MakeApp, snap_compare: Snap) -> None:
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=after("2", "6", "g"))


@both_sizes
def test_a_run_that_has_diverged(
    make_app: MakeApp, snap_compare: Snap, size: tuple[int, int]
) -> None:
    run = after("l", *"1e6", "enter", "j", *"60", "enter")
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


@both_sizes
def test_an_error(
    make_app: MakeApp, engine: FakeEngine, snap_compare: Snap, size: tuple[int, int]
) -> None:
    engine.fails_at = "Loss"
    run = after("space", "2", "space")
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


def test_a_question(make_app: MakeApp, snap_compare: Snap) -> None:
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=after("l", "x", "enter"))


def test_whether_to_trust(make_app: MakeApp, snap_compare: Snap) -> None:
    run = after("down", "down", "enter")
    assert snap_compare(make_app(menu=True), terminal_size=SMALL, run_before=run)


def test_a_terminal_that_is_too_small(make_app: MakeApp, snap_compare: Snap) -> None:
    assert snap_compare(make_app(), terminal_size=(60, 20), run_before=after())


@both_sizes
def test_a_terminal_without_utf_8(
    make_app: MakeApp, snap_compare: Snap, size: tuple[int, int]
) -> None:
    app = make_app(ascii_only=True)
    assert snap_compare(app, terminal_size=size, run_before=after("s", "s", "g", "space"))


def test_no_colour(make_app: MakeApp, snap_compare: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = after("s", "s", "g", "space")
    assert snap_compare(make_app(), terminal_size=LARGE, run_before=run)
