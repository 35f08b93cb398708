"""`tutor` and `tutor LESSON`: the app on its engine."""

from __future__ import annotations

import argparse
import sys

from tutor.engine.client import EngineClient
from tutor.errors import RunError


def open_command(options: argparse.Namespace) -> int:
    """Open the menu, or a lesson. Raises LessonError if that can't be read or trusted."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RunError("the tutor needs a terminal; without one there is `tutor run LESSON`")
    # The child loads torch while we load the screen: that is most of what there is to wait for.
    engine = EngineClient()
    try:
        return _open(engine, options)
    finally:
        engine.close()


def _open(engine: EngineClient, options: argparse.Namespace) -> int:
    from tutor.cli.lessons import trusted_lesson  # noqa: PLC0415 - after the child has started
    from tutor.lesson import document, library  # noqa: PLC0415 - likewise
    from tutor.ui.app import TutorApp  # noqa: PLC0415 - likewise

    first = trusted_lesson(options.lesson, trust_now=options.trust) if options.lesson else None
    app = TutorApp(engine, library.headlines(), document.read, first=first)
    app.run()
    return app.return_code or 0
