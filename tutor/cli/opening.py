"""`tutor` and `tutor LESSON`: the app with its engine; with --plain, the lesson as lines."""

from __future__ import annotations

import argparse
import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tutor.cli.terminal import names_script, say_connecting, terminal_path, warn
from tutor.engine.client import EngineClient
from tutor.errors import LessonFileError, RunError
from tutor.lesson import library
from tutor.lesson.languages import LANGUAGES, ORIGINAL
from tutor.lesson.model import Lesson, ScriptOptions, check_mode
from tutor.session.journal import Journal
from tutor.session.progress_writer import ProgressWriter

if TYPE_CHECKING:
    from tutor.session.run_view import Start

DUMB = ("dumb", "unknown")
"""Values of TERM for a terminal that can't move its cursor."""


def engine_command(options: argparse.Namespace) -> None:
    """Serve a tutor at the other end of ssh."""
    from tutor.engine import far_end  # noqa: PLC0415 - nothing else needs it

    far_end.serve()


def open_command(options: argparse.Namespace) -> int | None:
    """Open the menu, or a lesson. Raises LessonError, RunError, UsageError or EngineError."""
    if options.plain:
        _open_plain(options)
        return None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if options.lesson and not names_script(options.lesson):
            library.find(options.lesson, options.lang)  # a wrong name is reported first
        raise RunError("the tutor needs a terminal; without one there is `tutor --plain LESSON`")
    if os.environ.get("TERM") in DUMB:
        raise RunError(
            f"the screen needs a terminal that can move its cursor, but TERM={os.environ['TERM']} "
            "says that this one can't; `tutor --plain LESSON` needs none"
        )
    if options.on and options.lesson and not names_script(options.lesson):
        library.find(options.lesson, options.lang)  # before ssh asks for a password
    gc.disable()  # all that is loaded stays; the app enables it at the engine's first event
    with _engine_and_progress(options.on or "", terminal_path()) as (engine, progress_writer):
        try:
            return _open_app(engine, progress_writer, options)
        finally:
            gc.enable()


torchrun_command = open_command


@contextmanager
def _engine_and_progress(
    host: str, terminal: str = ""
) -> Iterator[tuple[EngineClient, ProgressWriter]]:
    """The engine, and the writer of the progress file: both are closed at the end."""
    if host:
        say_connecting(host)
    engine, progress_writer = EngineClient(terminal=terminal, host=host), ProgressWriter()
    try:
        yield engine, progress_writer
    finally:
        progress_writer.close()
        engine.close()
        if progress_writer.trouble.code:
            from tutor.wording.notices import notice_text  # noqa: PLC0415 - seldom needed

            warn(notice_text(progress_writer.trouble, {}))


def _open_app(
    engine: EngineClient, progress_writer: ProgressWriter, options: argparse.Namespace
) -> int:
    from tutor.lesson import cache  # noqa: PLC0415 - the child loads its own meanwhile
    from tutor.ui.app import TutorApp  # noqa: PLC0415 - likewise
    from tutor.ui.settings import SettingsFile, settings_file  # noqa: PLC0415 - likewise

    path, title, read = _first(options, progress_writer)
    settings = SettingsFile(settings_file())
    app = TutorApp(
        engine,
        partial(cache.headlines, options.lang),
        read,
        first=path,
        first_title=title,
        start=_start_of(options),
        journal=progress_writer,
        settings=settings,
        theme=options.theme,
    )
    app.run(mouse=settings.settings.mouse if options.mouse is None else options.mouse)
    return app.return_code or 0


def _start_of(options: argparse.Namespace) -> Start:
    """The start of a lesson or a script, in the app and in plain mode."""
    from tutor.session.run_view import Start  # noqa: PLC0415 - the child loads its own meanwhile

    return Start(
        options.mode, options.device, options.learning_rate, options.seed, options.exercise
    )


def _first(
    options: argparse.Namespace, journal: Journal
) -> tuple[Path | None, str, Callable[[Path], Lesson]]:
    """The path and title of what opens first, if anything does, and what reads a path."""
    from tutor.lesson import cache  # noqa: PLC0415 - the child loads its own meanwhile

    if names_script(options.lesson):
        return _first_script(options, journal)
    path = library.find(options.lesson, options.lang) if options.lesson else None
    headline = cache.headline(path) if path else None
    check_mode(options.mode, headline.modes if headline else ())
    if path and options.trust:
        from tutor.cli.lessons import trusted_lesson  # noqa: PLC0415 - loads the Markdown parser

        trusted_lesson(str(path), trust_now=True)
    return path, headline.title if headline else "", partial(_read, options=_for_scripts(options))


def _first_script(
    options: argparse.Namespace, journal: Journal
) -> tuple[Path, str, Callable[[Path], Lesson]]:
    from tutor.cli.scripts import chosen_lesson, script_lesson  # noqa: PLC0415 - loads the parser

    choose = script_lesson if options.trust else chosen_lesson
    script = choose(options, journal)
    check_mode(options.mode, script.modes)

    def read(path: Path) -> Lesson:
        known = script.script if path == script.path else None
        return _read(path, known or _for_scripts(options))

    return script.path, script.title, read


def _for_scripts(options: argparse.Namespace) -> ScriptOptions:
    """The options of a script that the command line does not name, but a bookmark may."""
    return ScriptOptions(modules={} if options.on else None)  # `read_lesson` fills them


def _read(path: Path, options: ScriptOptions) -> Lesson:
    """The lesson in a file, or a script as it is now. Raises LessonError."""
    from tutor.lesson import cache  # noqa: PLC0415 - as above

    if not names_script(path.name):
        return cache.read(path)
    from tutor.cli.scripts import read_lesson  # noqa: PLC0415 - loads the parser

    return read_lesson(path, options)


def _open_plain(options: argparse.Namespace) -> None:
    """Open a lesson as a stream of lines, with commands from standard input."""
    from tutor import plain_mode  # noqa: PLC0415 - no app needs it
    from tutor.cli.lessons import trusted_lesson  # noqa: PLC0415 - loads the Markdown parser

    options.lang = _readable(options.lang)
    for stream in (sys.stdin, sys.stdout):
        _replace_unknown_characters(stream)
    script: Lesson | None = None

    def read(name: str) -> Lesson:
        if script is not None and name == options.lesson:
            return script
        return trusted_lesson(name, trust_now=options.trust, language=options.lang)

    source = plain_mode.LessonSource(read, partial(library.headlines, options.lang))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if options.lesson and not names_script(options.lesson):
        headline = library.headline(library.find(options.lesson, options.lang))
        if headline.fault:
            raise LessonFileError(headline.fault.code, **headline.fault.values)
        check_mode(options.mode, headline.modes)
    with _engine_and_progress(options.on or "") as (engine, progress_writer):
        if names_script(options.lesson):
            from tutor.cli.scripts import script_lesson  # noqa: PLC0415 - as above

            script = script_lesson(options, progress_writer)
            check_mode(options.mode, script.modes)
        reader = plain_mode.CommandReader(
            engine,
            progress_writer,
            source,
            sys.stdin,
            sys.stdout,
            width=width,
            is_attended=sys.stdin.isatty(),
        )
        reader.read(options.lesson, _start_of(options))


def _readable(language: str) -> str:
    """The language, or the original where standard output has no characters for it."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        LANGUAGES[language].encode(encoding)
    except UnicodeEncodeError:
        warn(
            f"standard output is in {encoding}, which has no characters for the language "
            f"{language}: the lesson is read in {LANGUAGES[ORIGINAL]}. LC_ALL=C.UTF-8 helps "
            "where the terminal can show them"
        )
        return ORIGINAL
    return language


def _replace_unknown_characters(stream: TextIO) -> None:
    """Let a stream write `?` for characters that its encoding lacks, instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
