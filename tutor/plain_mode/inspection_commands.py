"""The commands that look at a run in other ways: compare, inside, graph, plot, runs and export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tutor.errors import TutorError
from tutor.plain_mode import spoken_inspections
from tutor.plain_mode.commands import UnclearCommandError
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.line_writer import Line, LineWriter, in_words
from tutor.plain_mode.spoken_sections import listed
from tutor.protocol.inspections import NoPicture, PictureKind
from tutor.session import file_export
from tutor.session.run_view import Notice, RunView
from tutor.session.session import Session
from tutor.wording import parameter_input

CURVE_COLUMNS = 2000
"""Epochs of a loss curve that are told exactly; of a longer run, so many parts."""

NOT_LOOKING: Mapping[str, object] = {
    "columns": 0, "picture": None, "name": "", "graph": False, "compare": False
}  # fmt: skip
"""The engine computes nothing besides the run: all of it costs time."""

PLOTS: Mapping[str, PictureKind] = {"data": "data", "slope": "landscape", "plane": "plane"}
"""By the typed name: the picture that the engine computes."""

SUFFIXES = {
    "script": file_export.SCRIPT,
    "notebook": file_export.NOTEBOOK,
    "figures": file_export.FIGURES,
}


class InspectionCommands:
    """Asks the engine for one inspection, waits for it, and tells it in words."""

    def __init__(self, session: Session, writer: LineWriter, listener: EventListener) -> None:
        self._session = session
        self._writer = writer
        self._listener = listener
        self._answers: Mapping[str, Callable[[str, RunView], Iterable[Line]]] = {
            "compare": self._compare,
            "inside": self._inside,
            "graph": self._graph,
            "plot": self._plot,
            "runs": lambda argument, view: spoken_inspections.runs(view.runs),
            "export": self._export,
        }

    def answers(self, name: str, argument: str, view: RunView) -> bool:
        """Tell what was asked for, if the command is one of these. Raises UnclearCommandError."""
        if name not in self._answers or (name == "runs" and argument):
            return False
        if view.frame is None:
            raise UnclearCommandError("The lesson has not begun: there is nothing to look at yet.")
        lines = self._answers[name](argument, view)
        self._writer.apart([in_words(line) if isinstance(line, str) else line for line in lines])
        return True

    def _inspected(self, part: str, **look: object) -> RunView:
        """The view with a new inspection of this kind. Raises UnclearCommandError if none came."""
        session, before = self._session, self._part(part)
        session.inspect(**look)
        try:
            self._listener.wait(lambda: self._part(part) is not before)
        finally:
            session.inspect(**NOT_LOOKING)
            self._listener.wait()
            session.notice = Notice()  # the engine repeats the last one with each answer
        if session.view is None or self._part(part) is before:
            raise UnclearCommandError(
                "It was not computed. Type the command once more to try again."
            )
        return session.view

    def _part(self, name: str) -> object:
        return getattr(self._session.view.inspections, name) if self._session.view else None

    def _compare(self, argument: str, view: RunView) -> Iterable[Line]:
        if not view.lesson.comparable:
            raise UnclearCommandError("Each mode is a run of its own here: nothing to compare.")
        view = self._inspected("comparison", compare=True)
        found = view.inspections.comparison
        return spoken_inspections.comparison(found, view) if found else ()

    def _inside(self, argument: str, view: RunView) -> Iterable[Line]:
        if not argument:
            example = next(iter(view.frame.values), "loss") if view.frame else "loss"
            raise UnclearCommandError(
                f"Inside what? Type inside and a name, like inside {example}."
            )
        facts = self._inspected("facts", name=argument).inspections.facts
        return spoken_inspections.variable(facts) if facts else ()

    def _graph(self, argument: str, view: RunView) -> Iterable[Line]:
        view = self._inspected("graph", graph=True)
        found, frame, attempt = view.inspections.graph, view.frame, self._session.attempt
        if found is None or frame is None:
            return ()
        asked = attempt.asked_of if attempt else None
        return spoken_inspections.graph(found, view.lesson, frame, asked)

    def _plot(self, argument: str, view: RunView) -> Iterable[Line]:
        name = argument.lower()
        if name and name not in ("loss", *PLOTS):
            names = listed(["loss", *PLOTS])
            raise UnclearCommandError(f"There is no plot {argument}; available: {names}.")
        if name in ("", "loss"):
            yield from self._loss()
        for kind in [name] if name in PLOTS else PLOTS if not name else ():
            found = self._inspected("picture", picture=PLOTS[kind]).inspections.picture
            if found is not None and (name or not isinstance(found, NoPicture)):
                yield from spoken_inspections.picture(found)

    def _loss(self) -> Iterable[Line]:
        self._session.inspect(columns=CURVE_COLUMNS)
        self._listener.wait()
        view = self._session.view
        yield from spoken_inspections.loss_curve(view.curve if view else None)
        self._session.inspect(columns=0)
        self._listener.wait()
        self._session.notice = Notice()

    def _export(self, argument: str, view: RunView) -> Iterable[Line]:
        """Write a script or a notebook at once; the figures are the engine's to write."""
        kind, _, name = argument.partition(" ")
        if kind not in SUFFIXES:
            raise UnclearCommandError("Type export, then script, notebook or figures, then a file.")
        suffix = SUFFIXES[kind]
        if Path(name).suffix in {*SUFFIXES.values()} - {suffix}:
            raise UnclearCommandError(f"The name of a {kind} file ends in {suffix}.")
        name = name.strip() or file_export.suggestion(view, suffix)
        try:
            path = parameter_input.read_path(name if name.endswith(suffix) else name + suffix)
            if kind == "figures":
                self._session.write_series(str(path))
                self._listener.wait()
                return
            file_export.write(view, path)
        except (ValueError, TutorError) as error:
            raise UnclearCommandError(f"{str(error).rstrip('.')}.") from None
        yield f"Written to {path}"
