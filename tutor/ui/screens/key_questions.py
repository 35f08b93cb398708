"""The questions that keys of the lesson screen ask, and the action on each answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from textual.app import App

from tutor.errors import TutorError
from tutor.session import file_export, parameter_input
from tutor.session.session import Session
from tutor.ui.screens.dialogs import Ask, Question, learning_rate_question, place_question

T = TypeVar("T")


def ask(app: App[None], session: Session, what: str, done: Callable[[], None]) -> None:
    """Ask for `what` (lr, place, value or file), let the session act on it, and call `done`."""
    view = session.view
    if view is None:
        return
    if what == "lr":
        _put(app, learning_rate_question(session.learning_rate), session.set_learning_rate, done)
    elif what == "place":
        question = place_question(view.epoch, view.lesson.steps(view.mode))
        _put(app, question, lambda place: session.seek(*place), done)
    elif what == "file":
        words = "Write this lesson to a file (.py script, .ipynb notebook, .csv figures so far):"
        given = file_export.suggestion(view)
        asked_for = Question(words, file_export.read_path, given)
        _put(app, asked_for, lambda path: _write(session, path), done)
    elif view.frame is not None and view.frame.values:
        now = view.frame.values
        asked = Question(
            parameter_input.question(now), lambda text: parameter_input.read(text, now)
        )
        _put(app, asked, session.set_element, done)


def _write(session: Session, path: Path) -> None:
    view = session.view
    if path.suffix == file_export.FIGURES:
        session.write_series(str(path))
    elif view is not None:
        try:
            file_export.write(view, path)
        except TutorError as error:
            session.engine_session.tell(str(error), "refused")
            return
        session.engine_session.tell(f"Written to {path}")


def _put(
    app: App[None], question: Question[T], act: Callable[[T], object], done: Callable[[], None]
) -> None:
    def answered(answer: T | None) -> None:
        if answer is not None:
            act(answer)
        done()

    app.push_screen(Ask(question), answered)
