"""The app over a simulated engine, ready to be driven."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import app as textual_app
from textual import pilot as textual_pilot
from textual import screen
from textual._context import active_app
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.pilot import Pilot

from tests.waiting import PATIENCE
from tutor.errors import LessonError
from tutor.lesson.model import Lesson
from tutor.ui.app import TutorApp
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens import editor

from .fake_engine import FakeEngine
from .lessons import HEADLINES, lesson

SMALL, LARGE = (80, 24), (120, 36)

MakeApp = Callable[..., TutorApp]


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark of a test with a `pilot` means."""
    how = "the app that the test drives: what `make_app` takes, and the size of its terminal"
    config.addinivalue_line("markers", f"app(size=SMALL, **options): {how}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, beside the app if it has a `pilot`: that needs no plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(_run(pyfuncitem, {name: pyfuncitem.funcargs[name] for name in names}))
    return True


async def _run(test: pytest.Function, arguments: dict[str, Any]) -> None:
    if "pilot" not in arguments:
        await test.obj(**arguments)
        return
    mark = test.get_closest_marker("app")
    size = {"size": arguments.get("size", SMALL), **(mark.kwargs if mark else {})}["size"]
    async with arguments["pilot"].run_test(size=size) as pilot:
        await test.obj(**{**arguments, "pilot": pilot})


PAINT_SECONDS = 0.001
"""The period of the screen's paints here; elsewhere it is a sixtieth of a second."""

RESIZE_SECONDS = 0.01
"""A little more than Textual waits before it passes on a new size of the terminal."""


async def nothing_to_do(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Let the event loop run until no callback is ready and no paint or resize is due.

    It replaces Textual's `wait_for_idle`, which sleeps until the processor is idle: at least 20 ms
    for each key; on a busy machine up to a second, after which it returns with work left to do.
    """
    loop: Any = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
        due = [when for when in timers if when <= loop.time() + RESIZE_SECONDS]
        if not due or active_app.get()._exit:  # an app that ends lets its timers run, unheard
            return
        await asyncio.sleep(max(due) - loop.time())


@pytest.fixture(autouse=True)
def _wait_by_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_for_screen(self: Pilot[None], timeout: float = 30) -> bool:
        await nothing_to_do()
        return True

    for module in (textual_app, textual_pilot):
        monkeypatch.setattr(module, "wait_for_idle", nothing_to_do)
    monkeypatch.setattr(Pilot, "_wait_for_screen", wait_for_screen)
    monkeypatch.setattr(screen, "UPDATE_PERIOD", PAINT_SECONDS)
    monkeypatch.setattr(editor, "FAST", 0.0)  # such quick keys would pass for a paste


_parse_rules = Stylesheet._parse_rules
_rules: dict[tuple[Any, ...], list[RuleSet]] = {}


@pytest.fixture(autouse=True)
def _parse_each_stylesheet_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process, not in each app."""

    def parsed_rules(sheet: Stylesheet, css: str, read_from: CSSLocation, **more: Any) -> Any:
        key = (css, read_from, *more.values(), *sheet._variables.items())
        if key not in _rules:
            _rules[key] = _parse_rules(sheet, css, read_from, **more)
        return _rules[key]

    monkeypatch.setattr(Stylesheet, "_parse_rules", parsed_rules)


async def come_true(is_so: Callable[[], object]) -> None:
    """Let the app go on until this is so."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, "waited in vain"
        await asyncio.sleep(0.01)


async def settled(pilot: Pilot[None]) -> None:
    """Let the app handle all messages, and those that they cause."""
    await pilot.pause()


def text_of(app: TutorApp, pane: str) -> str:
    """The text of a pane on the current screen."""
    return "\n".join(line.plain for line in app.screen.query_one(f"#{pane}", LinesPane).lines)


def open_lesson(path: Path) -> Lesson:
    """Any of the listed lessons."""
    titles = {h.path: h.title for h in HEADLINES}
    if path not in titles:
        raise LessonError(f"{path}: there is no such file")
    return lesson(path.stem, titles[path])


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def make_app(engine: FakeEngine) -> MakeApp:
    def make(*, first: Lesson | None = None, menu: bool = False, **more: Any) -> TutorApp:
        options = {
            "ascii_only": False,
            "is_trusted": lambda lesson: lesson.slug != "far",
            "trust_lesson": lambda lesson: "",
        }
        chosen = None if menu else first or lesson()
        return TutorApp(engine, HEADLINES, open_lesson, first=chosen, **{**options, **more})

    return make


@pytest.fixture
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> TutorApp:
    """The app as the test's mark `app` says."""
    mark = request.node.get_closest_marker("app")
    options = {**mark.kwargs} if mark else {}
    options.pop("size", None)
    return make_app(**options)


@pytest.fixture
def pilot(app: TutorApp) -> TutorApp:
    """The app, which `pytest_pyfunc_call` starts: the test gets what presses its keys."""
    return app
