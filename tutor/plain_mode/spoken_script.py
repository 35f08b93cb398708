"""A learner's own script as lines to be read aloud: its loop, its lines, what comes next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tutor.lesson.model import Lesson, Section, fences_of
from tutor.plain import one_line, plain
from tutor.plain_mode.line_writer import Line, SpokenCode
from tutor.protocol.frame import Frame
from tutor.script.line_places import place_in
from tutor.session.run_view import RunView
from tutor.wording.number_format import counted

MOST_LINES = 30
"""Lines of a file that are read at once."""


def introduction(lesson: Lesson, mode: str, device: str) -> Iterator[Line]:
    """The name of the script, and its loop."""
    loop = one_line(lesson.summary).replace("`", "")
    yield f"Script: {one_line(lesson.title)}. {loop}"
    yield f"Its gradient mode is {mode}, and it runs on {device}."
    yield "Setup: the script runs to its loop."


def of_line(lesson: Lesson, line: int) -> str:
    """`, line 12`; empty for a lesson, whose lines are in a file that nobody reads."""
    return f", {place_in(lesson)(line)}" if line else ""


def what_is_next(view: RunView) -> Iterator[Line]:
    """The next phase, and the line of code that it begins on."""
    frame, section = view.frame, view.next_section
    if frame is None:
        return
    if section is None or frame.is_over:
        yield "The script has ended. Type back to go back, restart to start again."
        return
    line = frame.next_line or (section.lines[0] if section.lines else 0)
    code = code_line(view.lesson, line)
    begins = "" if line in section.lines else "from "
    place = f"{begins}{place_in(view.lesson)(line)}"
    yield f"Next: {section.phase}, {place}{f': {code}' if code else '.'}"


def further_code(lesson: Lesson, section: Section) -> Iterator[Line]:
    """All lines of a phase that has more than the one that was told as the next."""
    if len(section.lines) > 1:
        yield code_of(lesson, section)


def code_of(lesson: Lesson, section: Section) -> SpokenCode:
    """The lines of a phase, with their numbers in the file."""
    code = "".join(fence.code for fence in fences_of([section]))
    text, first = textwrap.dedent(code).rstrip(), section.lines[0]
    return SpokenCode(text, numbered=True, first=first, place_of=place_in(lesson))


def code_line(lesson: Lesson, line: int) -> str:
    """A line of the script without its indentation; empty if there is none."""
    lines = plain(lesson.source).split("\n")
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def code_from(lesson: Lesson, first: int) -> Iterator[Line]:
    """The file from a line on, as much of it as is read at once."""
    lines = lesson.source.rstrip("\n").split("\n")
    if not 1 <= first <= len(lines):
        yield f"The script has {counted(len(lines), 'line')}: there is no line {first}."
        return
    chosen = lines[first - 1 : first - 1 + MOST_LINES]
    yield SpokenCode("\n".join(chosen), numbered=True, first=first, place_of=place_in(lesson))
    last = first + len(chosen) - 1
    if last < len(lines):
        place = place_in(lesson)(last + 1).removeprefix("line ")
        yield f"There are {len(lines) - last} more lines. Type code {place} to go on."


def where_it_ended(frame: Frame) -> str:
    """The position of a script that has ended."""
    return f"The script has ended, after epoch {frame.at.epoch}. Type back to go back."
