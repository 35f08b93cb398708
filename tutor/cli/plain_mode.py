"""`tutor --plain LESSON`: the lesson as a stream of lines, with commands from the input."""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from io import TextIOWrapper
from typing import TextIO

from tutor.cli.lessons import trusted_lesson
from tutor.cli.opening import check_mode
from tutor.cli.output import warn
from tutor.engine.client import EngineClient
from tutor.errors import LessonError
from tutor.lesson import library
from tutor.lesson.library import LANGUAGES, ORIGINAL
from tutor.plain_mode.command_reader import CommandReader, LessonSource
from tutor.session.progress_writer import ProgressWriter
from tutor.session.run_view import Start


def plain_command(options: argparse.Namespace) -> int:
    """Open a lesson as lines of text. Raises LessonError, UsageError or EngineError."""
    options.lang = _readable(options.lang)
    _check_lesson(options)
    for stream in (sys.stdin, sys.stdout):
        _replace_unknown_characters(stream)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    engine, progress_writer = EngineClient(), ProgressWriter()
    try:
        reader = CommandReader(
            engine,
            progress_writer,
            LessonSource(
                partial(trusted_lesson, trust_now=options.trust, language=options.lang),
                partial(library.headlines, options.lang),
            ),
            sys.stdin,
            sys.stdout,
            width=width,
            is_attended=sys.stdin.isatty(),
        )
        start = Start(options.mode, options.device, options.learning_rate, options.seed)
        reader.read(options.lesson, start)
    finally:
        engine.close()
        progress_writer.close()
        if progress_writer.trouble:
            warn(progress_writer.trouble)
    return 0


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


def _check_lesson(options: argparse.Namespace) -> None:
    """Raise LessonError or UsageError if the lesson or its mode is not there."""
    if not options.lesson:
        return
    headline = library.headline(library.find(options.lesson, options.lang))
    if headline.diagnostic:
        raise LessonError(headline.diagnostic)
    check_mode(options.mode, headline.modes)


def _replace_unknown_characters(stream: TextIO) -> None:
    """Have a stream write `?` for characters that its encoding lacks, instead of raising."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")
