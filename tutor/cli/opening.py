"""`tutor` and `tutor LESSON`: the app with its engine."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tutor.cli.output import warn
from tutor.engine.client import EngineClient
from tutor.errors import RunError, UsageError
from tutor.session.progress_writer import ProgressWriter

DUMB = ("dumb", "unknown")
"""Values of TERM for a terminal that can't move its cursor."""


def open_command(options: argparse.Namespace) -> int:
    """Open the menu, or a lesson. Raises LessonError, RunError or UsageError."""
    if options.plain:
        from tutor.cli.plain_mode import plain_command  # noqa: PLC0415 - another front end

        return plain_command(options)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if options.lesson:
            from tutor.lesson.library import find  # noqa: PLC0415 - as below

            find(options.lesson, options.lang)  # a wrong name is reported first
        raise RunError("the tutor needs a terminal; without one there is `tutor --plain LESSON`")
    if os.environ.get("TERM") in DUMB:
        raise RunError(
            f"the screen needs a terminal that can move its cursor, and TERM={os.environ['TERM']} "
            "says that this one can't; `tutor --plain LESSON` needs none"
        )
    gc.disable()  # all that is loaded stays; the app enables it at the engine's first event
    engine, progress_writer = EngineClient(terminal=_terminal_path()), ProgressWriter()
    try:
        return _open(engine, progress_writer, options)
    finally:
        gc.enable()
        progress_writer.close()
        engine.close()
        if progress_writer.trouble:
            warn(progress_writer.trouble)


def _terminal_path() -> str:
    """The path of the terminal; empty if the system has none, as in some containers."""
    try:
        return os.ttyname(sys.stdout.fileno())
    except OSError:
        return ""


def _open(
    engine: EngineClient, progress_writer: ProgressWriter, options: argparse.Namespace
) -> int:
    from tutor.lesson import cache, library  # noqa: PLC0415 - the child loads its own meanwhile
    from tutor.session.run_view import Start  # noqa: PLC0415 - likewise
    from tutor.ui.app import TutorApp  # noqa: PLC0415 - likewise
    from tutor.ui.settings import SettingsFile, settings_file  # noqa: PLC0415 - likewise

    path = library.find(options.lesson, options.lang) if options.lesson else None
    headline = cache.headline(path) if path else None
    check_mode(options.mode, headline.modes if headline else ())
    if path and options.trust:
        _trust(path)
    settings = SettingsFile(settings_file())
    app = TutorApp(
        engine,
        partial(cache.headlines, options.lang),
        cache.read,
        first=path,
        first_title=headline.title if headline else "",
        start=Start(options.mode, options.device, options.learning_rate, options.seed),
        journal=progress_writer,
        settings=settings,
        theme=options.theme,
    )
    app.run(mouse=settings.settings.mouse if options.mouse is None else options.mouse)
    return app.return_code or 0


def _trust(path: Path) -> None:
    from tutor.cli.lessons import trusted_lesson  # noqa: PLC0415 - loads the Markdown parser

    trusted_lesson(str(path), trust_now=True)


def check_mode(mode: str | None, modes: Sequence[str]) -> None:
    """Raise UsageError if the lesson is known to have no such mode."""
    if mode and modes and mode not in modes:
        raise UsageError(f"no mode {mode!r} in this lesson; available: {', '.join(modes)}")
