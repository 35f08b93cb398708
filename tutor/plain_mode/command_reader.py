"""Reads commands line by line, has each done, and hears its answer before the next is read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from tutor.errors import LessonError
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.model import Lesson
from tutor.plain_mode import command_table, exercise_text
from tutor.plain_mode.commands import ActionCommands, QuestionCommands, UnclearCommandError, times
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.inspection_commands import InspectionCommands
from tutor.plain_mode.line_writer import LineWriter
from tutor.plain_mode.run_narrator import RunNarrator
from tutor.plain_mode.spoken_prose import following, sentence, spoken_line
from tutor.session.engine_session import Engine
from tutor.session.journal import Journal
from tutor.session.run_view import Start
from tutor.session.session import Session

if TYPE_CHECKING:
    from tutor.lesson.library import Headline


@dataclass(frozen=True, slots=True)
class LessonSource:
    """Where lessons come from."""

    open: Callable[[str], Lesson]
    """By a slug or a path; raises LessonError."""
    headlines: Callable[[], Sequence[Headline]]


class CommandReader:
    """One listener at a lesson, from the first line to the last."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        shelf: LessonSource,
        lines: TextIO,
        out: TextIO,
        *,
        width: int | None = None,
        is_attended: bool = False,
    ) -> None:
        """`lines` are the commands; where they are typed (`is_attended`), they are asked for."""
        self._session = Session(engine, journal=journal)
        self._journal = journal
        self._shelf = shelf
        self._lines = lines
        self._is_attended = is_attended
        self._voice = LineWriter(out, width)
        self._listener = EventListener(engine, self._session, self._voice, is_attended=is_attended)
        self._teller = RunNarrator(self._session, self._voice)
        self._asking = QuestionCommands(self._session, self._voice, self._teller)
        self._looking = InspectionCommands(self._session, self._voice, self._listener)
        self._doing = ActionCommands(self._session, self._more_lines)
        self._trouble = ""

    def read(self, name: str | None, start: Start) -> None:
        """Open a lesson, and do what is typed until the lines end or say so.

        Without a name the first line is to say one. Raises LessonError if the lesson that was
        named can't be opened, EngineError if the process that runs lessons is gone.
        """
        lesson = self._shelf.open(name) if name is not None else None
        self._listener.start()
        if lesson is not None:
            self._open(lesson, start)
        else:
            self._list_lessons()
        while (line := self._next_line()) is not None:
            if not self._do(line, start):
                break

    # ── Lines ───────────────────────────────────────────────────────────────────────────

    def _next_line(self) -> str | None:
        """The next command; None at the end. Ctrl+C twice is the end, too."""
        self._voice.gap()
        if self._is_attended:
            self._voice.prompt()
        try:
            line = self._lines.readline()
        except KeyboardInterrupt:
            self._voice.answered()
            self._voice.gap()
            self._voice.say("Press Ctrl+C once more, or type quit, to leave.")
            if self._is_attended:
                self._voice.prompt()
            line = self._lines.readline()
        if self._is_attended:
            self._voice.answered()
        return line.rstrip("\n") if line else None

    def _more_lines(self) -> Iterator[str]:
        """The lines up to one with a single dot. The end before it is an EOFError."""
        self._voice.say("Type the code, line by line; a line with a single dot ends it.")
        try:
            while (line := self._lines.readline()).strip() != ".":
                if not line:
                    raise EOFError
                yield line.rstrip("\n")
        except KeyboardInterrupt:  # whoever asked for the lines knows what is to become of them
            self._voice.answered()
            self._voice.gap()
            raise

    # ── Commands ────────────────────────────────────────────────────────────────────────

    def _do(self, line: str, start: Start) -> bool:
        """Do what a line says; whether to go on."""
        line = unicodedata.normalize("NFKC", line) if not _names_a_file(line) else line
        found = command_table.read(line)
        if found is not None and found[0].name == "quit":
            return False
        rows = self._voice.rows
        try:
            self._carry_out(line, found, start)
        except UnclearCommandError as error:
            self._voice.say(str(error))
        except LessonError as error:
            why = _ELSEWHERE.sub("", str(error)).replace("`", "")
            self._voice.say(f"{sentence(why)} Type lessons for their names.")
        if self._voice.rows == rows:
            self._teller.nothing_new()
        return True

    def _carry_out(
        self, line: str, found: tuple[command_table.TypedCommand, str] | None, start: Start
    ) -> None:
        view, attempt = self._session.view, self._session.attempt
        name, argument = (found[0].name, found[1]) if found else ("", "")
        if found and argument and not found[0].argument:
            raise UnclearCommandError(f"{name} takes nothing after it: type it alone.")
        if attempt is not None and exercise_text.is_answer(line, attempt, is_command=bool(found)):
            self._act("answer", line.strip())
        elif name == "help":
            self._voice.apart(command_table.help_lines(argument))
        elif name == "lessons":
            self._list_lessons()
        elif name == "open":
            self._open(self._shelf.open(self._chosen(argument)), start)
        elif view is None:
            self._open(self._shelf.open(self._chosen(line.strip())), start)
        elif not name and attempt is not None and exercise_text.is_number(line):
            raise UnclearCommandError(exercise_text.HOW[attempt.wants])
        elif not name:
            self._voice.say(_unknown(line))
        elif self._looking.answers(name, argument, view):
            self._teller.tell("aside")
        elif not self._asking.answers(name, argument, view):
            self._act(name, argument)

    def _act(self, name: str, argument: str) -> None:
        """Do it, as often as is wished; of steps each is told, of the rest what came of all."""
        is_repeated = name in ("next", "back", "back-epoch")
        count = times(name, argument) if is_repeated else 1
        for left in reversed(range(count)):
            kind = self._doing.do(name, "" if is_repeated else argument)
            self._listener.wait()
            is_last = not left or self._session.notice.kind in ("refused", "failed")
            if is_last or name == "next":
                self._teller.tell(kind)
            if is_last:
                break
        self._tell_trouble()

    def _tell_trouble(self) -> None:
        """Say that no progress is saved, where that is so."""
        trouble = self._journal.trouble
        if trouble and trouble != self._trouble:
            self._voice.say(sentence(trouble))
        self._trouble = trouble

    # ── Lessons ─────────────────────────────────────────────────────────────────────────

    def _open(self, lesson: Lesson, start: Start) -> None:
        """Begin a lesson; what the command line asked for holds for the first alone."""
        self._session.open(lesson, Start() if self._session.view else start)
        if self._session.view is not None:
            self._teller.introduce(self._session.view)
        self._listener.wait()
        self._teller.begin()
        self._tell_trouble()

    def _list_lessons(self) -> None:
        lines = []
        for number, headline in enumerate(self._shelf.headlines(), 1):
            diagnostic = (
                f" It can't be opened: {headline.diagnostic}" if headline.diagnostic else ""
            )
            in_symbols = headline.language != ORIGINAL
            texts = (headline.title, headline.summary)
            named = [spoken_line(text, in_symbols=in_symbols) for text in texts]
            lines.append(
                f"{number}, {headline.slug}: {following(*map(sentence, named))}{diagnostic}"
            )
        self._voice.apart(lines or ["There are no lessons."])
        how = "Type open and the name or number of a lesson."
        self._voice.say(how if self._session.view else "Which lesson? Type its name or number.")

    def _chosen(self, name: str) -> str:
        """The name of a lesson that was called by its name or by its number in the list."""
        if not name:
            raise UnclearCommandError("Which lesson? Type lessons for their names.")
        headlines = self._shelf.headlines() if name.isdecimal() else ()
        if 1 <= (int(name) if headlines else 0) <= len(headlines):
            return str(headlines[int(name) - 1].path)
        return name


_ELSEWHERE = re.compile(r";? ?`tutor [a-z]+` shows .*")
"""What may be typed outside, said of a lesson that is not found."""


def _names_a_file(line: str) -> bool:
    """Whether a path or a lesson's name stands in it, of which no sign may be changed."""
    return line.split(" ", 1)[0].lower() in ("open", "edit", "o", "export", "e")


def _unknown(line: str) -> str:
    word = line.split()[0]
    near = command_table.nearest(line)
    meant = f" Did you mean {near}?" if near else ""
    return f"There is no command {word}.{meant} Type help for all of them."
