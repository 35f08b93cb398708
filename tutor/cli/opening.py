"""`tutor` and `tutor LESSON`: the app on its engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tutor.engine.client import EngineClient
from tutor.errors import RunError, UsageError
from tutor.lesson.model import Lesson


def open_command(options: argparse.Namespace) -> int:
    """Open the menu, or a lesson. Raises LessonError if there is none of that name."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RunError("the tutor needs a terminal; without one there is `tutor run LESSON`")
    # The child loads torch while we load the screen: that is most of what there is to wait for.
    engine = EngineClient()
    try:
        return _open(engine, options)
    finally:
        engine.close()


def _open(engine: EngineClient, options: argparse.Namespace) -> int:
    from tutor.lesson import library  # noqa: PLC0415 - after the child has started
    from tutor.ui.app import TutorApp  # noqa: PLC0415 - likewise
    from tutor.ui.moment import Start  # noqa: PLC0415 - likewise

    start = Start(options.mode, options.device, options.learning_rate, options.seed)
    path = library.find(options.lesson) if options.lesson else None
    if path and options.mode:
        _check_mode(options.mode, library.headline(path).modes)
    if path and options.trust:
        from tutor.cli.lessons import trusted_lesson  # noqa: PLC0415 - loads the Markdown parser

        trusted_lesson(str(path), trust_now=True)
    app = TutorApp(engine, library.headlines, _read, first=path, start=start)
    app.run()
    return app.return_code or 0


def _check_mode(mode: str, modes: Sequence[str]) -> None:
    if modes and mode not in modes:
        raise UsageError(f"no mode {mode!r} in this lesson; there is {', '.join(modes)}")


def _read(path: Path) -> Lesson:
    """Read a lesson file; the parser is loaded only now, after the first paint."""
    from tutor.lesson.document import read  # noqa: PLC0415

    return read(path)
