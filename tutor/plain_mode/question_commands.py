"""The commands of plain mode that ask about the lesson and its run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tutor.errors import TutorError
from tutor.lesson.model import SETUP, DisplayFormula, Section
from tutor.plain_mode import exercise_text, spoken_inspections, spoken_lesson
from tutor.plain_mode.commands import UnclearCommandError
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.line_writer import Line, LineWriter
from tutor.plain_mode.run_narrator import RunNarrator, all_values
from tutor.plain_mode.spoken_lesson import figure, listed, sentence, spoken_definition
from tutor.protocol.inspections import NoPicture, PictureKind
from tutor.session.run_view import Notice, RunView
from tutor.session.session import FIGURES, NOTEBOOK, SCRIPT, Session, suggested_file, write_lesson
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
    "script": SCRIPT,
    "notebook": NOTEBOOK,
    "figures": FIGURES,
}


class QuestionCommands:
    """The commands that ask about the lesson and its run."""

    def __init__(
        self,
        session: Session,
        writer: LineWriter,
        narrator: RunNarrator,
        listener: EventListener,
    ) -> None:
        self._session = session
        self._writer = writer
        self._narrator = narrator
        self._listener = listener
        self._answers: Mapping[str, Callable[[str, RunView], Iterable[Line]]] = {
            "where": self._where,
            "values": self._values,
            "formula": self._formulas,
            "code": self._code,
            "read": self._read,
            "lr": self._learning_rate,
            "ladder": lambda argument, view: spoken_lesson.ladder(view.lesson, view.mode),
            "exercises": self._exercises,
            "runs": lambda argument, view: spoken_inspections.runs(view.runs),
            "export": self._export,
        }
        self._inspections: Mapping[str, Callable[[str, RunView], Iterable[Line]]] = {
            "compare": self._compare,
            "inside": self._inside,
            "graph": self._graph,
            "plot": self._plot,
        }

    def answers(self, name: str, argument: str, view: RunView) -> bool:
        """Answer, if the command is one of these. Raises UnclearCommandError."""
        if name in ("lr", "runs") and argument:
            return False  # it changes something
        if name in self._inspections and view.frame is None:
            raise UnclearCommandError("The lesson has not begun: there is nothing to look at yet.")
        answer = self._answers.get(name) or self._inspections.get(name)
        if answer is None:
            return False
        self._writer.apart(list(answer(argument, view)))
        return True

    def _learning_rate(self, argument: str, view: RunView) -> Iterator[Line]:
        rate = self._session.learning_rate
        yield f"The learning rate {f'is {figure(rate)}' if rate else 'is not known yet'}."

    def _where(self, argument: str, view: RunView) -> Iterator[Line]:
        frame = view.frame
        yield f"Lesson {view.lesson.slug}, mode {view.mode}, on {view.device}."
        if frame is not None:
            yield spoken_lesson.where(frame)
            rate = figure(frame.learning_rate)
            yield f"The learning rate is {rate}. A run goes to epoch {view.goal}."
        if attempt := self._session.attempt:
            yield f"You are in exercise {attempt.number} of {attempt.count}: {attempt.exercise.id}."
            yield from exercise_text.still_to_do(attempt)
        if view.failed is not None:
            yield exercise_text.failure(view.failed, attempt, self._session.controller.lesson)

    def _values(self, argument: str, view: RunView) -> Iterator[Line]:
        if view.frame is None:
            yield "There are no values yet."
        else:
            yield spoken_lesson.where(view.frame)
            yield from all_values(view.frame)

    def _formulas(self, argument: str, view: RunView) -> Iterator[Line]:
        """The formulas of the named phase, or of the one that has run and the next one."""
        frame = view.frame
        ran, following = (frame.phase or SETUP, frame.next_phase) if frame else (SETUP, SETUP)
        named = self._phase(argument, view) if argument else None
        for section in [named] if named else filter(None, map(view.lesson.phase, (ran, following))):
            said = [line for line in self._formulas_of(section, view) if line]
            yield f"{section.phase}." if said else f"{section.phase} has no formula."
            yield from said

    def _formulas_of(self, section: Section, view: RunView) -> Iterator[Line]:
        values = view.frame.boxed.get(section.phase or "", {}) if view.frame else {}
        is_foreign = spoken_lesson.has_symbols(view.lesson)
        for block in section.blocks:
            if isinstance(block, DisplayFormula):
                yield spoken_lesson.live(block, values, in_symbols=is_foreign) or spoken_definition(
                    block.latex, in_symbols=is_foreign
                )

    def _code(self, argument: str, view: RunView) -> Iterator[Line]:
        attempt = self._session.attempt
        if attempt is not None and attempt.wants == "code" and not argument:
            yield from exercise_text.code_of(attempt, view.failed, self._session.controller.lesson)
            return
        phase = view.next_phase or SETUP
        section = self._phase(argument, view) if argument else view.lesson.phase(phase)
        said = (
            list(spoken_lesson.code(view.lesson, view.mode, str(section.phase))) if section else []
        )
        yield from said or [f"No code runs in this phase in the mode {view.mode}."]

    def _exercises(self, argument: str, view: RunView) -> Iterator[Line]:
        return exercise_text.listing(
            self._session.controller.exercises, self._session.controller.results()
        )

    def _read(self, argument: str, view: RunView) -> Iterator[Line]:
        if not argument:
            self._narrator.read_on(view)
            return
        section = self._phase(argument, view)
        values = view.frame.boxed.get(section.phase or "", {}) if view.frame else {}
        is_foreign = spoken_lesson.has_symbols(view.lesson)
        yield sentence(section.heading)
        yield from spoken_lesson.before(section, view.mode, in_symbols=is_foreign)
        yield from spoken_lesson.after(section, values, with_words=True, in_symbols=is_foreign)

    def _phase(self, name: str, view: RunView) -> Section:
        """The first section with this in its heading. Raises UnclearCommandError."""
        named = [s for s in view.lesson.sections if s.heading]
        found = [s for s in named if name.lower() in s.heading.lower()]
        if not found:
            headings = spoken_lesson.listed([s.heading for s in named])
            raise UnclearCommandError(f"There is no section {name}; available: {headings}.")
        return found[0]

    # ── Inspections ─────────────────────────────────────────────────────────────────────

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
        name = name.strip() or suggested_file(view, suffix)
        try:
            path = parameter_input.read_path(name if name.endswith(suffix) else name + suffix)
            if kind == "figures":
                self._session.write_series(str(path))
                self._listener.wait()
                self._narrator.tell("aside")
                return
            write_lesson(view, path)
        except (ValueError, TutorError) as error:
            raise UnclearCommandError(f"{str(error).rstrip('.')}.") from None
        yield f"Written to {path}"
