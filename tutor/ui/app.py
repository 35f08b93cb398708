"""The app: passes the engine's events on and switches between screens."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from msgspec.structs import replace
from textual import events
from textual.actions import SkipAction
from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.message import Message

from tutor.errors import LessonError
from tutor.lesson.model import Lesson
from tutor.plain import one_line, plain
from tutor.protocol.events import Event
from tutor.session.bookmark import Bookmark, key_of
from tutor.session.journal import Journal
from tutor.session.run_view import Notice, Start
from tutor.ui.lesson_lines import CurriculumProgress
from tutor.ui.lines import after_paint
from tutor.ui.screens.base import SessionObserver, SessionScreen, SizedScreen
from tutor.ui.screens.lesson_list import LessonListScreen, MapScreen, MenuScreen
from tutor.ui.settings import SettingsFile, ThemeName
from tutor.ui.terminal_watch import TerminalWatch, can_be_continued
from tutor.ui.themes import ThemedApp, is_ascii_only
from tutor.wording.notices import error_text

if TYPE_CHECKING:
    from tutor.lesson.library import Headline
    from tutor.session.pending import Engine
    from tutor.session.session import Session
    from tutor.ui.screens.lesson import LessonScreen
    from tutor.ui.screens.lists import DoctorScreen

TROUBLE_SECONDS = 1.0
"""Seconds between two checks of the journal for errors."""


def _is_trusted(lesson: Lesson) -> bool:
    from tutor.lesson import trust  # noqa: PLC0415  loads slowly, and after the first paint

    return trust.is_trusted(lesson)


def _trust(lesson: Lesson) -> str:
    from tutor.lesson import trust  # noqa: PLC0415  as above

    trouble = trust.trust(lesson)
    return error_text(trouble) if trouble is not None else ""


def _lesson_of(
    left: Bookmark,
    curriculum: CurriculumProgress,
    read: Callable[[Path], Lesson | None],
    is_trusted: Callable[[Lesson], bool],
) -> Lesson | None:
    """The lesson of a bookmark, whose file may belong to another tutor that is installed here.

    A learner's own lesson was trusted when it was left; one that is not came with that other
    tutor, and so has its place in this one, too.
    """
    path, listed = curriculum.path_of(left), curriculum.named(left.slug)
    lesson = read(path)
    if lesson and listed and listed.path != path and not is_trusted(lesson):
        return read(listed.path)
    return lesson


class TutorApp(ThemedApp):
    """Menu, map and lesson over one engine."""

    @dataclass
    class EngineSpoke(Message):
        """The engine has sent an event."""

        event: Event

    CSS_PATH = "tutor.tcss"
    TITLE = "tutor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(
        self,
        engine: Engine,
        lessons: Sequence[Headline] | Callable[[], Sequence[Headline]],
        open_lesson: Callable[[Path], Lesson],
        *,
        first: Lesson | Path | None = None,
        first_title: str = "",
        start: Start = Start(),  # noqa: B008 - frozen
        is_trusted: Callable[[Lesson], bool] | None = None,
        trust_lesson: Callable[[Lesson], str] | None = None,
        ascii_only: bool | None = None,
        journal: Journal = Journal(),  # noqa: B008 - keeps nothing, so nothing is shared
        settings: SettingsFile | None = None,
        theme: ThemeName | None = None,
    ) -> None:
        """Prepare the app. Nothing is started before it runs.

        `lessons` may be a function: it is called when the list is first needed. `first` is opened
        at once, else the menu is shown. A path is read after the first paint (if it is no lesson,
        the app ends with status 1 and its words), and its lesson may have to be trusted first; a
        Lesson is taken as it is. It begins as `start` says; `first_title` stands above until then.
        What the learner does is written into `journal`; `theme` goes before that of `settings`.
        """
        if ascii_only is None:
            ascii_only = is_ascii_only(os.environ, bool(sys.flags.utf8_mode))
        super().__init__(settings or SettingsFile(), theme, ascii_only=ascii_only)
        self.animation_level = "none"
        self._engine = engine
        self._open_lesson = open_lesson
        self._first = first
        self._start = start
        self._is_trusted = is_trusted or _is_trusted
        self._trust = trust_lesson or _trust
        self._journal = journal
        self._trouble = Notice()
        self._ascii_only = ascii_only
        self._first_title = one_line(first_title)
        self._curriculum = CurriculumProgress(
            lessons if callable(lessons) else lambda: lessons, journal
        )
        self._menu_screen = MenuScreen(self._curriculum, engine.host)
        self._leave_map = self.action_menu
        self._keys = KeysInOrder(self, self._hand_on)

    @cached_property
    def session(self) -> Session:
        """The session. Its modules load after the menu's first paint."""
        from tutor.session.session import Session  # noqa: PLC0415

        return Session(self._engine, journal=self._journal)

    @cached_property
    def _lesson_screen(self) -> LessonScreen:
        """The lesson screen. Its panes load after the menu's first paint."""
        from tutor.ui.screens.lesson import LessonScreen  # noqa: PLC0415

        self.stylesheet.read(Path(__file__).with_name("lesson.tcss"))
        screen = LessonScreen(self.session, self._ascii_only, self._first_title)
        self.install_screen(screen, "lesson")
        return screen

    @cached_property
    def _map_screen(self) -> MapScreen:
        """The map of lessons, which few learners open."""
        screen = MapScreen(self._curriculum, self._engine.host)
        self.install_screen(screen, "map")
        return screen

    def on_mount(self) -> None:
        """Show the first screen and start the engine."""
        if not self.is_headless:
            TerminalWatch(self, self._engine, self._journal)
        self.app_resume_signal.subscribe(self, self._come_back)
        self.set_interval(TROUBLE_SECONDS, self._tell_trouble)
        self.install_screen(self._menu_screen, "menu")
        if self._first is None:
            self.push_screen("menu")
        else:
            if isinstance(self._first, Lesson):
                self._begin_as_asked(self._first)
            self.push_screen(self._lesson_screen)
        if not isinstance(self._first, Path):
            after_paint(self, self._start_engine)

    def _tell_trouble(self) -> None:
        """Say once that the learner's progress can't be saved."""
        trouble = self._journal.trouble
        if not trouble.code and self.settings.trouble:
            trouble = Notice("text", {"text": self.settings.trouble})
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble.code:
                self.tell(replace(trouble, kind="refused"))

    def _start_engine(self) -> None:
        """Start the engine after the first screen is painted: loading torch would delay it."""
        # A message: nothing else is safe from the engine's thread.
        self._engine.start(lambda event: self.post_message(self.EngineSpoke(event)))

    def on_lines_pane_painted(self) -> None:
        """Read the lesson that the app was started with, now that the empty screen is painted."""
        path, self._first = self._first, None
        if not isinstance(path, Path):
            return
        self._start_engine()
        try:
            lesson = self._open_lesson(path)
        except LessonError as error:
            self.exit(return_code=1, message=plain(error_text(error)))
            return
        self._begin_if_trusted(lesson, self._begin_as_asked)

    def on_unmount(self) -> None:
        """Stop the engine when the app ends."""
        self._engine.close()

    def on_tutor_app_engine_spoke(self, message: EngineSpoke) -> None:
        """Pass the event to the session, update the screen, and ask for the next frame."""
        if not gc.isenabled():  # while the first screen was made
            gc.freeze()
            gc.enable()
        must_report_painted = self.session.receive(message.event)
        for screen in dict.fromkeys((self._lesson_screen, *self.screen_stack)):
            if isinstance(screen, SessionObserver) and screen.is_mounted:
                screen.update_from_session()
        if must_report_painted:
            after_paint(self, self.session.frame_painted)

    # ── Changing screens ────────────────────────────────────────────────────────────

    def on_lesson_list_screen_lesson_chosen(self, message: LessonListScreen.LessonChosen) -> None:
        """Open the chosen lesson at its bookmark; if it is open already, go back to it."""
        view = self.session.view
        begin = self._begin_exercises if message.exercises_only else self._begin_where_left
        if view is None or view.lesson.path != message.headline.path:
            self._open(message.headline, begin)
            return
        self.action_lesson()
        if message.exercises_only and self.session.attempt is None:
            self.session.controller.begin()
            self._lesson_screen.update_from_session()

    def action_menu(self) -> None:
        """Show the menu; a run is paused meanwhile."""
        self._choose_on(self._menu_screen)

    def action_map(self) -> None:
        """Show the map of lessons; a run is paused meanwhile."""
        is_in_lesson = self.screen is self._lesson_screen
        self._leave_map = self.action_lesson if is_in_lesson else self.action_menu
        self._choose_on(self._map_screen)

    def action_leave_map(self) -> None:
        """Go back to the screen from which the map was opened."""
        self._leave_map()

    def _choose_on(self, screen: LessonListScreen) -> None:
        self.session.pause()
        if self.session.view is not None:
            screen.open_slug = self.session.view.lesson.slug
        screen.notice = Notice()
        self.switch_screen(screen)

    def action_lesson(self) -> None:
        """Go back to the open lesson, if there is one."""
        if self.session.view is not None:
            self.switch_screen(self._lesson_screen)
        else:
            self.tell(Notice("no_lesson_open", kind="no_effect"))

    def action_resume(self) -> None:
        """Resume where the learner was last, in any lesson."""
        left, view = self._curriculum.last_bookmark(), self.session.view
        if left is None:
            self.tell(Notice("nothing_left_yet", kind="no_effect"))
        elif view and view.lesson.slug == left.slug and self.session.controller.has_begun:
            self.action_lesson()
        elif lesson := _lesson_of(left, self._curriculum, self._read, self._is_trusted):
            self._begin_if_trusted(lesson, lambda lesson: self.session.resume(lesson, left))

    def on_doctor_screen_explanation_chosen(self, message: DoctorScreen.ExplanationChosen) -> None:
        """Open the lesson that explains a finding of the doctor, at the exercise about it."""
        headline = self._curriculum.named(message.slug)
        if headline is None:
            self.tell(Notice("lesson_not_listed", {"name": message.slug}, "refused"))
            return
        self._open(headline, self._begin_where_left)
        if message.exercise:
            self.session.controller.begin_when_open(message.exercise)

    def action_turn_lesson(self, by: int) -> None:
        """Open the next or the previous lesson at its bookmark."""
        view = self.session.view
        if view is not None and view.lesson.script is not None:
            self.tell(Notice("script_neighbours", kind="no_effect"))
            return
        headline = self._curriculum.beside(view.lesson.path if view else None, by)
        if headline is not None:
            self._open(headline, self._begin_where_left)
        else:
            self.tell(Notice("last_lesson" if by > 0 else "first_lesson", kind="no_effect"))

    # ── Keys and commands ───────────────────────────────────────────────────────────

    async def on_event(self, event: events.Event) -> None:
        """Pass keys on in order; in a terminal that is too small, only q and Ctrl+Z work."""
        screen = self.screen_stack[-1] if self.screen_stack else None
        is_input = isinstance(event, (events.InputEvent, events.Paste))
        if is_input and isinstance(screen, SizedScreen) and screen.is_too_small:
            if isinstance(event, events.Key) and event.key in ("q", "ctrl+q"):
                self.exit()
            elif isinstance(event, events.Key) and event.key == "ctrl+z":
                await self.run_action("suspend_process")
        elif isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._keys.take(event)
        else:
            await super().on_event(event)

    async def _hand_on(self, event: Typed) -> None:
        """Pass a key on; a notice that was for the key before it is cleared."""
        if isinstance(event, events.Key) and isinstance(self.screen, SizedScreen):
            self.screen.clear_notice()
        await super().on_event(event)

    def action_suspend_process(self) -> None:
        """Give the terminal back to the shell, until `fg`; in the editor Ctrl+Z is undo."""
        if hasattr(self.focused, "undo"):
            raise SkipAction
        if can_be_continued():
            super().action_suspend_process()
        else:
            self.tell(Notice("no_shell", kind="no_effect"))

    def _come_back(self, _: object) -> None:
        """Resume after a suspension; the shell has used the screen meanwhile."""
        self._engine.resume()
        self.refresh(repaint=True, layout=True)

    def on_key(self, event: events.Key) -> None:
        """Say that a key does nothing here, if no widget has handled it."""
        is_seen = isinstance(self.screen, SessionScreen | LessonListScreen)
        if is_seen and event.key not in self.active_bindings:
            typed = event.character if event.is_printable and event.character else event.key
            self.tell(Notice("unused_key", {"key": typed}, "no_effect"))

    def action_help(self) -> None:
        """Show all keys of this screen."""
        from tutor.ui.screens.dialogs import HelpScreen  # noqa: PLC0415  after the first paint

        if isinstance(screen := self.screen, SizedScreen):
            self.push_screen(HelpScreen((*screen.commands, *screen.pane_keys)))

    def action_ask(self, what: str) -> None:
        """Ask for a number, a place or a file, and act on it."""
        from tutor.ui.screens.dialogs import ask  # noqa: PLC0415  as above

        if isinstance(screen := self.screen, SessionScreen):
            ask(self, self.session, what, screen.update_from_session)

    # ── Opening a lesson ────────────────────────────────────────────────────────────

    def _open(self, headline: Headline, begin: Callable[[Lesson], None]) -> None:
        """Read a lesson and start it, if the learner trusts it."""
        if headline.fault:
            self.tell(Notice("lesson_fault", {"fault": headline.fault}, "refused"))
        elif (lesson := self._read(headline.path)) is not None:
            self._begin_if_trusted(lesson, begin)

    def _read(self, path: Path) -> Lesson | None:
        """The lesson; None if it can't be read, which is told."""
        try:
            return self._open_lesson(path)
        except LessonError as error:
            self.tell(Notice("text", {"text": error_text(error)}, "refused"))
            return None

    def _begin_if_trusted(self, lesson: Lesson, begin: Callable[[Lesson], None]) -> None:
        if self._is_trusted(lesson):
            self._begin(lesson, begin)
        else:
            from tutor.ui.screens.dialogs import AskTrust  # noqa: PLC0415  as above

            self.push_screen(AskTrust(lesson), lambda yes: self._trusted(lesson, bool(yes), begin))

    def _trusted(self, lesson: Lesson, yes: bool, begin: Callable[[Lesson], None]) -> None:
        if not yes:
            if self.session.view is None:
                self.action_menu()
            self.tell(Notice("not_opened", {"name": lesson.path.name}))
            return
        trouble = self._trust(lesson)
        self._begin(lesson, begin)
        if trouble:  # the lesson runs; only the permission is not saved
            self.session.tell_when_open("text", kind="refused", text=trouble)

    def _begin(self, lesson: Lesson, begin: Callable[[Lesson], None]) -> None:
        begin(lesson)
        if self.screen is not self._lesson_screen:
            self.switch_screen(self._lesson_screen)
        if self._lesson_screen.is_attached:
            self._lesson_screen.update_from_session()

    def _begin_as_asked(self, lesson: Lesson) -> None:
        """Apply the command line's settings to the first lesson only."""
        start, self._start = self._start, Start()
        self.session.open(lesson, start)

    def _begin_where_left(self, lesson: Lesson) -> None:
        """Start at the bookmark; at the beginning without one, or if settings were given."""
        left = self._journal.bookmark_of(key_of(lesson))
        if left is None or self._start != Start():
            self._begin_as_asked(lesson)
        else:
            self.session.resume(lesson, left)

    def _begin_exercises(self, lesson: Lesson) -> None:
        """Begin the first exercise that is not done (the fast track), once the lesson is ready."""
        self._begin_where_left(lesson)
        if (exercise := self.session.controller.exercise()) is not None:
            self.session.controller.begin_when_open(exercise.id)
        else:
            self.tell(Notice("no_exercises", kind="no_effect"))

    def tell(self, notice: Notice) -> None:
        """Show a one-line message on the current screen."""
        if isinstance(self.screen, LessonListScreen):
            self.screen.notice = notice
        else:
            self.session.notice = notice
            self._lesson_screen.update_from_session()
            if isinstance(self.screen, SessionScreen):
                self.screen.update_from_session()


# ── Keys in order ───────────────────────────────────────────────────────────────────

Typed: TypeAlias = events.Key | events.Paste

LEAST_ROUNDS = 2
"""The fewest rounds through the queues: one for the key, one for the messages it causes."""
MOST_ROUNDS = 8
"""The limit of rounds for widgets that keep moving the focus."""
MOST_SECONDS = 2.0
"""The most seconds that a key waits for the one before: `q` must work whatever hangs."""


class KeysInOrder:
    """A queue that hands keys on to an app in the order in which they came.

    A slow line bundles keys: those that arrive together are handled one after the other, also by an
    input field that one of them opens.
    """

    def __init__(self, app: App[Any], hand_on: Callable[[Typed], Awaitable[None]]) -> None:
        """`hand_on` gives a key to the focused widget; it is called in the app's own task."""
        self._app = app
        self._hand_on = hand_on
        self._waiting: deque[Typed] = deque()
        self.is_under_way = False
        """Whether a key waits for another, or is not done."""
        self._since = 0.0

    async def take(self, typed: Typed) -> None:
        """Pass a key on: now, or when the keys before it are done."""
        self._waiting.append(typed)
        if not self.is_under_way or time.monotonic() > self._since + MOST_SECONDS:
            await self._next()

    async def _next(self) -> None:
        self.is_under_way = bool(self._waiting)
        if self._waiting:
            self._since = time.monotonic()
            node = self._focus()
            await self._hand_on(self._waiting.popleft())
            self._go_round(node, 1)

    def _focus(self) -> DOMNode:
        """The widget that would be given a key now."""
        stack = self._app.screen_stack
        return (stack[-1].focused or stack[-1]) if stack else self._app

    def _go_round(self, node: DOMNode, count: int) -> None:
        """Wait for the message queues of a widget, then of its ancestors, then of the app."""

        async def came_back() -> None:
            focus = self._focus()
            if count >= MOST_ROUNDS or (count >= LEAST_ROUNDS and focus is node):
                await self._next()
            else:
                self._go_round(focus, count + 1)

        def climb(at: DOMNode | None) -> None:
            while at is not None and at is not self._app:
                around = at.parent
                if at.call_later(climb, around):
                    return
                at = around  # it is being closed
            self._app.call_later(came_back)

        climb(node)
