"""The app over a simulated engine, ready to be driven."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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
from textual.widgets import Input

from tests.waiting import PATIENCE
from tutor.errors import LessonError
from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.protocol.events import Event
from tutor.session.attempt import Attempt
from tutor.ui.app import TutorApp
from tutor.ui.lines import LinesPane
from tutor.ui.screens import editor
from tutor.ui.screens.editor import CodeArea

from .exercises import with_exercises
from .fake_engine import FakeEngine
from .lessons import HEADLINES, lesson

SMALL, LARGE = (80, 24), (120, 36)

MakeApp = Callable[..., TutorApp]


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marks of tests mean."""
    how = "the app that the learner drives: what `make_app` takes, size, first keys"
    config.addinivalue_line("markers", f"app(size=SMALL, keys=(), **options): {how}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, beside the app of its `learner`: that needs no plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(_run(pyfuncitem, {name: pyfuncitem.funcargs[name] for name in names}))
    return True


async def _run(test: pytest.Function, arguments: dict[str, Any]) -> None:
    app = arguments.get("learner")
    if app is None:
        await test.obj(**arguments)
        return
    mark = test.get_closest_marker("app")
    options = {"size": arguments.get("size", SMALL), "keys": (), **(mark.kwargs if mark else {})}
    async with at_screen(app, options["size"]) as learner:
        await learner.press(*options["keys"])
        await test.obj(**{**arguments, "learner": learner})


class Learner:
    """The learner at the screen, with its app."""

    def __init__(self, app: TutorApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.session = app, pilot, app.session
        assert isinstance(app._engine, FakeEngine)
        self.engine = app._engine

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def resize(self, *sizes: tuple[int, int]) -> None:
        for size in sizes:
            await self.pilot.resize_terminal(*size)

    async def settle(self) -> None:
        """Let the app handle all messages, and those that they cause."""
        await self.pilot.pause()

    async def hears(self, event: Event) -> None:
        """The engine sends an event."""
        self.engine.tell(event)
        await self.settle()

    def text(self, pane: str) -> str:
        """The text of a pane on the current screen."""
        return "\n".join(line.plain for line in self.pane(pane).lines)

    def sees(self, words: str, where: str = "exercise-text") -> bool:
        return words in self.text(where)

    def pane(self, id: str) -> LinesPane:
        return self.app.screen.query_one(f"#{id}", LinesPane)

    def shows(self, id: str) -> bool:
        """Whether a part of the screen is in view."""
        return self.app.screen.query_one(f"#{id}").display

    @property
    def focused(self) -> str | None:
        """The part of the screen that has the focus."""
        return self.app.focused and self.app.focused.id

    @property
    def attempt(self) -> Attempt:
        assert self.session.attempt is not None
        return self.session.attempt

    @property
    def field(self) -> Input:
        return self.app.screen.query_one("#exercise-answer", Input)

    @property
    def area(self) -> CodeArea:
        return self.app.screen.query_one("#editor", CodeArea)


@asynccontextmanager
async def at_screen(app: TutorApp, size: tuple[int, int] = SMALL) -> AsyncIterator[Learner]:
    """The learner at the screen of this app, which runs meanwhile."""
    async with app.run_test(size=size) as pilot:
        yield Learner(app, pilot)


def doing(*exercises: Exercise, keys: Sequence[str] = ("a",), **more: Any) -> pytest.MarkDecorator:
    """The mark of a test whose learner has these exercises, and has pressed these keys."""
    return pytest.mark.app(first=with_exercises(*exercises), keys=keys, **more)


NEVER = 1e9
"""The period of the screen's own paints here: `nothing_to_do` paints instead."""

RESIZE_SECONDS = 0.01
"""A little more than Textual waits before it passes on a new size of the terminal."""


async def nothing_to_do(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Let the event loop run until no callback is ready and no paint or resize is due.

    It replaces Textual's `wait_for_idle`, which sleeps until the processor is idle: at least 20 ms
    for each key; on a busy machine up to a second, after which it returns with work left to do.
    What has changed is painted once, when no callback is ready.
    """
    loop: Any = asyncio.get_running_loop()
    app = active_app.get()
    while True:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        if app._exit:  # it lets its timers run, unheard
            return
        if waiting := [one for one in app.screen_stack if one._update_timer._active.is_set()]:
            for one in waiting:
                with one._context():
                    one._on_timer_update()
            continue
        timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
        due = [when for when in timers if when <= loop.time() + RESIZE_SECONDS]
        if not due:
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
    monkeypatch.setattr(screen, "UPDATE_PERIOD", NEVER)
    monkeypatch.setattr(editor, "PASTE_SECONDS", 0.0)  # such quick keys would pass for a paste


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
        await nothing_to_do()


def open_lesson(path: Path) -> Lesson:
    """Any of the listed lessons."""
    titles = {h.path: h.title for h in HEADLINES}
    if path not in titles:
        raise LessonError(f"{path}: there is no such file")
    return lesson(path.stem, titles[path])


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> FakeEngine:
    """A simulated engine, or another class of it that a test's parameter names."""
    kind: type[FakeEngine] = getattr(request, "param", FakeEngine)
    return kind()


@pytest.fixture
def make_app(engine: FakeEngine) -> MakeApp:
    def make(
        *,
        first: Lesson | Path | None = None,
        menu: bool = False,
        lessons: Any = HEADLINES,
        opened: Callable[[Path], Lesson] = open_lesson,
        **more: Any,
    ) -> TutorApp:
        options = {
            "ascii_only": False,
            "is_trusted": lambda lesson: lesson.slug != "far",
            "trust_lesson": lambda lesson: "",
        }
        chosen = None if menu else first or lesson()
        return TutorApp(engine, lessons, opened, first=chosen, **{**options, **more})

    return make


@pytest.fixture
def learner(request: pytest.FixtureRequest, make_app: MakeApp) -> TutorApp:
    """The app as the test's mark `app` says, which `pytest_pyfunc_call` starts.

    The test gets a Learner at its screen.
    """
    mark = request.node.get_closest_marker("app")
    options = {**mark.kwargs} if mark else {}
    return make_app(**{name: options[name] for name in options if name not in ("size", "keys")})
