"""Commands that only ask: where the run stands, its figures, formulas, code, who does what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tutor.lesson.model import SETUP, DisplayFormula, Section
from tutor.plain_mode import exercise_text, spoken_sections
from tutor.plain_mode.action_commands import UnclearCommandError
from tutor.plain_mode.line_writer import Line, LineWriter
from tutor.plain_mode.run_narrator import RunNarrator
from tutor.plain_mode.spoken_prose import sentence, spoken_definition
from tutor.plain_mode.spoken_values import everything, figure
from tutor.session.run_view import RunView
from tutor.session.session import Session


class QuestionCommands:
    """Answers what is asked."""

    def __init__(self, session: Session, voice: LineWriter, teller: RunNarrator) -> None:
        self._session = session
        self._voice = voice
        self._teller = teller
        self._lines: Mapping[str, Callable[[str, RunView], Iterator[Line]]] = {
            "where": self._where,
            "values": self._values,
            "formula": self._formulas,
            "code": self._code,
            "ladder": lambda argument, m: spoken_sections.ladder(m.lesson, m.mode),
            "exercises": self._exercises,
        }

    def answers(self, name: str, argument: str, view: RunView) -> bool:
        """Answer, if the command is a question. Raises UnclearCommandError."""
        if name == "lr" and not argument:
            rate = self._session.learning_rate
            said = f"is {figure(rate)}" if rate else "is not known yet"
            self._voice.say(f"The learning rate {said}.")
        elif name == "read":
            self._read(argument, view)
        elif name in self._lines:
            self._voice.apart(list(self._lines[name](argument, view)))
        else:
            return False
        return True

    def _where(self, argument: str, view: RunView) -> Iterator[Line]:
        frame = view.frame
        yield f"Lesson {view.lesson.slug}, mode {view.mode}, on {view.device}."
        if frame is not None:
            yield spoken_sections.where(frame)
            rate = figure(frame.learning_rate)
            yield f"The learning rate is {rate}. A run goes to epoch {view.goal}."
        if attempt := self._session.attempt:
            yield f"Exercise {attempt.number} of {attempt.count} is on: {attempt.exercise.id}."
            yield from exercise_text.still_to_do(attempt)
        if view.failed is not None:
            yield exercise_text.failure(view.failed, attempt, self._session.controller.lesson)

    def _values(self, argument: str, view: RunView) -> Iterator[Line]:
        if view.frame is None:
            yield "There are no values yet."
        else:
            yield spoken_sections.where(view.frame)
            yield from everything(view.frame)

    def _formulas(self, argument: str, view: RunView) -> Iterator[Line]:
        """Of the phase that is named; else of the one that has run, and of the next."""
        frame = view.frame
        ran, following = (frame.phase or SETUP, frame.next_phase) if frame else (SETUP, SETUP)
        named = self._phase(argument, view) if argument else None
        for section in [named] if named else filter(None, map(view.lesson.phase, (ran, following))):
            said = [line for line in self._formulas_of(section, view) if line]
            yield f"{section.phase}." if said else f"{section.phase} has no formula."
            yield from said

    def _formulas_of(self, section: Section, view: RunView) -> Iterator[Line]:
        values = view.frame.boxed.get(section.phase or "", {}) if view.frame else {}
        is_foreign = spoken_sections.has_symbols(view.lesson)
        for block in section.blocks:
            if isinstance(block, DisplayFormula):
                yield spoken_sections.live(
                    block, values, in_symbols=is_foreign
                ) or spoken_definition(block.latex, in_symbols=is_foreign)

    def _code(self, argument: str, view: RunView) -> Iterator[Line]:
        attempt = self._session.attempt
        if attempt is not None and attempt.wants == "code" and not argument:
            yield from exercise_text.code_of(attempt, view.failed, self._session.controller.lesson)
            return
        phase = view.next_phase or SETUP
        section = self._phase(argument, view) if argument else view.lesson.phase(phase)
        said = (
            list(spoken_sections.code(view.lesson, view.mode, str(section.phase)))
            if section
            else []
        )
        yield from said or [f"No code runs there in the mode {view.mode}."]

    def _exercises(self, argument: str, view: RunView) -> Iterator[Line]:
        return exercise_text.listing(self._session.exercises, self._session.deeds())

    def _read(self, argument: str, view: RunView) -> None:
        if not argument:
            self._teller.read_on(view)
            return
        section = self._phase(argument, view)
        values = view.frame.boxed.get(section.phase or "", {}) if view.frame else {}
        is_foreign = spoken_sections.has_symbols(view.lesson)
        self._voice.apart(
            [
                sentence(section.heading),
                *spoken_sections.before(section, view.mode, in_symbols=is_foreign),
                *spoken_sections.after(section, values, with_words=True, in_symbols=is_foreign),
            ]
        )

    def _phase(self, name: str, view: RunView) -> Section:
        """The first section with this in its heading. Raises UnclearCommandError."""
        named = [s for s in view.lesson.sections if s.heading]
        found = [s for s in named if name.lower() in s.heading.lower()]
        if not found:
            headings = spoken_sections.listed([s.heading for s in named])
            raise UnclearCommandError(f"Nothing here is called {name}; available: {headings}.")
        return found[0]
