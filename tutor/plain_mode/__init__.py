"""A lesson as a stream of lines with typed commands: for screen readers, pipes and logs.

A second front end over the same session as the screen's, which never loads Textual or torch. Each
command is answered before the next is read. The help is made from the table of all commands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from tutor.digits import whole_number
from tutor.errors import LessonError, LessonFileError
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.library import OTHERS
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.plain_mode import exercise_text
from tutor.plain_mode.commands import (
    RUN_COMMANDS,
    CommandContext,
    TypedCommand,
    UnclearCommandError,
    times,
)
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.question_commands import QUESTION_COMMANDS, answer
from tutor.plain_mode.run_narrator import RunNarrator
from tutor.plain_mode.spoken_text import LineWriter, following, in_words, sentence, spoken_line
from tutor.session.journal import Journal
from tutor.session.pending import Engine
from tutor.session.run_view import Notice, Start
from tutor.session.session import Session
from tutor.wording.lesson_faults import lesson_fault_text
from tutor.wording.notices import error_text

if TYPE_CHECKING:
    from tutor.lesson.library import Headline


COMMANDS: Sequence[TypedCommand] = (
    *RUN_COMMANDS,
    *QUESTION_COMMANDS,
    TypedCommand(("lessons", "m"), "list the lessons"),
    TypedCommand(("open",), "open another lesson", argument="LESSON"),
    TypedCommand(("help", "?"), "this list, or the help of one command", argument="[COMMAND]"),
    TypedCommand(("quit", "q", "exit"), "leave the tutor; the end of the input does the same"),
)
_BY_WORD = {word: command for command in COMMANDS for word in command.words}


def read(line: str) -> tuple[TypedCommand, str] | None:
    """The command of a line and its argument; None if the line begins with no command.

    An empty line is `next`. Words may be typed in capitals; single letters may not, as
    `r` and `R` are different commands.
    """
    word, _, argument = line.strip().partition(" ")
    if not word:
        return _BY_WORD["next"], ""
    command = _BY_WORD.get(word) or (_BY_WORD.get(word.lower()) if len(word) > 1 else None)
    return (command, argument.strip()) if command else None


def help_lines(word: str = "") -> Iterator[str]:
    """One line for each command, or for the named one."""
    wanted = _BY_WORD.get(word)
    if word and wanted is None:
        yield f"There is no command {word}. Type help for all of them."
        return
    for command in (wanted,) if wanted else COMMANDS:
        others = command.words[1:]
        short = f", or {' or '.join(map(_spelled, others))}" if others else ""
        argument = f" {command.argument}" if command.argument else ""
        yield f"{command.name}{argument}{short}: {command.help}."


def _spelled(word: str) -> str:
    """A word that is told from others by ear: `capital R`."""
    if word == "?":
        return "a question mark"
    return f"capital {word}" if len(word) == 1 and word.isupper() else word


def nearest_command(line: str) -> str:
    """The command most like the typed word; empty if none is near."""
    word = line.split()[0].lower() if line.split() else ""
    names = [word for word in _BY_WORD if len(word) > 1]
    return next(iter(get_close_matches(word, names, n=1, cutoff=0.5)), "")


@dataclass(frozen=True, slots=True)
class LessonSource:
    """The lessons that can be opened."""

    open: Callable[[str], Lesson]
    """The function that opens a lesson by a slug or a path; raises LessonError."""
    headlines: Callable[[], Sequence[Headline]]


class CommandReader:
    """One session in plain mode, from the first line to the last."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        source: LessonSource,
        lines: TextIO,
        out: TextIO,
        *,
        width: int | None = None,
        is_attended: bool = False,
    ) -> None:
        """`lines` are the commands; `is_attended`: somebody types them and gets a prompt."""
        self._session = Session(engine, journal=journal)
        self._journal = journal
        self._source = source
        self._lines = lines
        self._is_attended = is_attended
        self._writer = LineWriter(out, width)
        self._listener = EventListener(engine, self._session, self._writer, is_attended=is_attended)
        self._narrator = RunNarrator(self._session, self._writer)
        self._context = CommandContext(
            self._session, self._listener, self._narrator, self._more_lines
        )
        self._trouble = Notice()

    def read(self, name: str | None, start: Start) -> None:
        """Open a lesson; do the typed commands up to `quit` or the last line.

        Without a name the first line names the lesson. Raises LessonError if the named lesson
        can't be opened, EngineError if the engine's process is gone.
        """
        lesson = self._source.open(name) if name is not None else None
        exercise, start = start.exercise, replace(start, exercise="")  # of this lesson alone
        self._listener.start()
        if self._session.host:
            self._writer.say(f"All code runs on {one_line(self._session.host)}.")
        if lesson is not None:
            self._open(lesson, start)
            if exercise:
                self._do(f"exercise {exercise}", start)
        else:
            self._list_lessons()
        while (line := self._next_line()) is not None:
            if not self._do(line, start):
                break

    # ── Lines ───────────────────────────────────────────────────────────────────────────

    def _next_line(self) -> str | None:
        """The next command; None at the end of the input. A second Ctrl+C ends the program."""
        self._writer.gap()
        if self._is_attended:
            self._writer.prompt()
        try:
            line = self._lines.readline()
        except KeyboardInterrupt:
            self._writer.answered()
            self._writer.gap()
            self._writer.say("Press Ctrl+C once more, or type quit, to leave.")
            if self._is_attended:
                self._writer.prompt()
            line = self._lines.readline()
        if self._is_attended:
            self._writer.answered()
        return line.rstrip("\n") if line else None

    def _more_lines(self) -> Iterator[str]:
        """The lines up to one with a single dot. Raises EOFError if the input ends before it."""
        self._writer.say("Type the code line by line, then a single dot on a line of its own.")
        try:
            while (line := self._lines.readline()).strip() != ".":
                if not line:
                    raise EOFError
                yield line.rstrip("\n")
        except KeyboardInterrupt:
            self._writer.answered()
            self._writer.gap()
            raise

    # ── Commands ────────────────────────────────────────────────────────────────────────

    def _do(self, line: str, start: Start) -> bool:
        """Do the command in a line; returns whether to read another one."""
        line = unicodedata.normalize("NFKC", line) if not _has_path(line) else line
        found = read(line)
        if found is not None and found[0].name == "quit":
            return False
        rows = self._writer.rows
        try:
            self._carry_out(line, found, start)
        except UnclearCommandError as error:
            self._writer.say(in_words(str(error)))
        except LessonError as error:
            why = error_text(error)
            if isinstance(error, LessonFileError):
                why = lesson_fault_text(error.code, error.values)  # which names no command
            why = in_words(why.replace("`", ""))
            self._writer.say(f"{sentence(why)} Type lessons for their names.")
        except KeyboardInterrupt:  # it comes just after the end of what it was to stop
            if not self._is_attended:
                raise
            self._writer.answered()
            self._writer.gap()
            return True
        if self._writer.rows == rows:
            self._narrator.nothing_new()
        return True

    def _carry_out(self, line: str, found: tuple[TypedCommand, str] | None, start: Start) -> None:
        view, attempt = self._session.view, self._session.attempt
        command, argument = found or (None, "")
        name = command.name if command else ""
        if command and argument and not command.argument:
            raise UnclearCommandError(f"{name} takes nothing after it: type it alone.")
        if attempt is not None and exercise_text.is_answer(line, attempt, is_command=bool(found)):
            self._act(answer, line.strip())
        elif name == "help":
            self._writer.apart(help_lines(argument))
        elif name == "lessons":
            self._list_lessons()
        elif name == "open":
            self._open(self._source.open(self._lesson_named(argument)), start)
        elif view is None:
            self._open(self._source.open(self._lesson_named(line.strip())), start)
        elif command is not None:
            self._act(command, argument)
        elif attempt is not None and exercise_text.is_number(line):
            raise UnclearCommandError(exercise_text.ANSWERS[attempt.wants].how)
        else:
            self._writer.say(_unknown(line))

    def _act(self, command: TypedCommand, argument: str) -> None:
        """Do a command as often as was asked; each phase is told, of other steps only the end."""
        if command.needs == "exercise" and self._session.attempt is None:
            raise UnclearCommandError("You are not in an exercise. Type exercise to begin one.")
        count = times(argument) if command.is_repeated else 1
        for left in reversed(range(count)):
            is_over = self._do_once(command, argument, is_last=not left)
            if is_over:
                break
        self._report_unsaved()

    def _do_once(self, command: TypedCommand, argument: str, *, is_last: bool) -> bool:
        """Do a command, and tell its result; returns whether it is not to be done again."""
        view = self._session.view
        assert view is not None
        assert command.do is not None
        if command.needs == "frame" and view.frame is None:
            raise UnclearCommandError("No lesson has begun: there is nothing to look at yet.")
        answer = command.do(self._context, argument, view)
        if isinstance(answer, list | Iterator):
            self._writer.apart(list(answer))
            return True
        self._listener.wait()
        is_last = is_last or self._session.notice.kind in ("refused", "failed")
        if is_last or command.name == "next":
            self._narrator.tell(answer)
        return is_last

    def _report_unsaved(self) -> None:
        """Say that progress can't be saved, once for each reason."""
        trouble = self._journal.trouble
        if trouble.code and trouble != self._trouble:
            self._writer.say(exercise_text.spoken_notice(trouble))
        self._trouble = trouble

    # ── Lessons ─────────────────────────────────────────────────────────────────────────

    def _open(self, lesson: Lesson, start: Start) -> None:
        """Begin a lesson; the settings of the command line hold for the first one only."""
        self._session.open(lesson, Start() if self._session.view else start)
        if self._session.view is not None:
            self._narrator.introduce(self._session.view)
        self._listener.wait()
        self._narrator.begin()
        self._report_unsaved()

    def _list_lessons(self) -> None:
        lines = []
        chapter = ""
        for number, headline in enumerate(self._source.headlines(), 1):
            if headline.chapter != chapter:
                chapter = headline.chapter
                lines.append(sentence(f"Chapter: {spoken_line(chapter)}" if chapter else OTHERS))
            fault = headline.fault
            wrong = f" It can't be opened: {in_words(lesson_fault_text(*fault))}" if fault else ""
            in_symbols = headline.language != ORIGINAL
            texts = (headline.title, headline.summary)
            named = [spoken_line(text, in_symbols=in_symbols) for text in texts]
            lines.append(f"{number}, {headline.slug}: {following(*map(sentence, named))}{wrong}")
        self._writer.apart(lines or ["There are no lessons."])
        how = "Type open and the name or number of a lesson."
        self._writer.say(how if self._session.view else "Which lesson? Type its name or number.")

    def _lesson_named(self, name: str) -> str:
        """The name or path of a lesson that was named, or numbered as in the list."""
        if not name:
            raise UnclearCommandError("Which lesson? Type lessons for their names.")
        headlines = self._source.headlines() if name.isdecimal() else ()
        number = whole_number(name, len(headlines))
        return str(headlines[number - 1].path) if number else name


def _has_path(line: str) -> bool:
    """Whether the line has a path or a lesson's name, which must stay as typed."""
    return line.split(" ", 1)[0].lower() in ("open", "edit", "o", "export", "e")


def _unknown(line: str) -> str:
    word = line.split()[0]
    near = nearest_command(line)
    meant = f" Did you mean {near}?" if near else ""
    return f"There is no command {word}.{meant} Type help for all of them."
