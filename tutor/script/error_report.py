"""The error in the output of a Python program: its type, its message, and the program's own line.

Read are the tracebacks of Python and of IPython, and warnings (`train.py:12: UserWarning: …`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x1b\][^\x07]*\x07")
_BEGIN = re.compile(r"Traceback \(most recent call last\)|Traceback of (forward) call")
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)(?:, in (.+))?$')
_IPYTHON_FRAME = re.compile(r"^(?:File (.+?):(\d+)(?:, in (.+))?|(Cell In\s?\[\d+\]), line (\d+))$")
_IPYTHON_SOURCE = re.compile(r"^-+> ?(\d+) (.*)$")
_CARETS = re.compile(r"^\s*[~^]+\s*$")
_ERROR = re.compile(
    r"^(?:\[rank\d+\]: ?)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit))"
    r"(?:: (.*))?$"
)
_ANY_ERROR = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?$")
"""The line behind a traceback, whatever the class of the exception is called."""
_FIGURE = re.compile(r"[-+\d.e%\s]*(nan|inf)?\s*")
_WARNING = re.compile(r"^(.+?):(\d+): (\w*Warning): (.*)$")
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python\d[.\d]*)[/\\]|^<frozen")

MOST_LINES = 12
"""Lines of one message that are kept."""


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of a program that stood in a traceback or a warning."""

    file: str
    line: int
    function: str = ""
    """Empty at the top level of a file."""
    source: str = ""
    """Its text, if the output showed it."""
    expression: str = ""
    """The part of it that failed, if the output marked one."""

    @property
    def is_own(self) -> bool:
        """Whether it is the learner's own code, not a library's."""
        return not _LIBRARY.search(self.file)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One error or warning."""

    type: str
    """`RuntimeError`; empty for a message that came alone."""
    message: str
    lines: tuple[CodeLine, ...] = ()
    """The calls that led to it, the innermost last."""
    forward: tuple[CodeLine, ...] = ()
    """With anomaly detection: the calls of the forward operation whose backward failed."""

    @property
    def is_warning(self) -> bool:
        """Whether the program went on after it."""
        return self.type.endswith("Warning")

    @property
    def text(self) -> str:
        """Type and message, as Python prints them."""
        return f"{self.type}: {self.message}" if self.type else self.message

    @property
    def own_line(self) -> CodeLine | None:
        """The innermost line of the learner's own code."""
        return next((line for line in reversed(self.lines) if line.is_own), None)

    @property
    def own_forward_line(self) -> CodeLine | None:
        """The learner's own line that computed the value whose backward failed."""
        return next((line for line in reversed(self.forward) if line.is_own), None)


def reports_in(output: str) -> list[ErrorReport]:
    """All errors and warnings in a program's output, in its order."""
    return list(_reports([_ESCAPE.sub("", line) for line in output.splitlines()]))


def report_of(message: str) -> ErrorReport:
    """A message that somebody has typed or pasted, with its traceback or without."""
    if found := reports_in(message):
        return found[-1]
    return ErrorReport("", " ".join(_ESCAPE.sub("", message).split()))


def _reports(lines: Sequence[str]) -> Iterator[ErrorReport]:
    calls: list[CodeLine] = []
    forward: tuple[CodeLine, ...] = ()
    at = 0
    while at < len(lines):
        line = lines[at]
        if begins := _BEGIN.search(line):
            calls, at = _calls(lines, at + 1)
            if begins[1]:
                forward, calls = tuple(calls), []
            continue
        if warning := _WARNING.match(line):
            behind = lines[at + 1] if lines[at + 1 : at + 2] else ""
            source = behind.strip() if behind.startswith("  ") else ""
            place = CodeLine(warning[1], int(warning[2]), source=source)
            yield ErrorReport(warning[3], warning[4].strip(), (place,))
        elif frame := _ipython_frame(lines, at):
            calls.append(frame)
        elif error := _error(line, is_behind_traceback=bool(calls)):
            message, at = _message(lines, at, error[2] or "")
            yield ErrorReport(error[1].rpartition(".")[2], message, tuple(calls), forward)
            calls, forward = [], ()
            continue
        at += 1


def _error(line: str, *, is_behind_traceback: bool) -> re.Match[str] | None:
    """The error that a line names; a figure (`TestError: 0.31`) is none."""
    found = (_ANY_ERROR if is_behind_traceback else _ERROR).match(line)
    is_figure = found is not None and not is_behind_traceback and _FIGURE.fullmatch(found[2] or "x")
    return None if is_figure else found


def _calls(lines: Sequence[str], at: int) -> tuple[list[CodeLine], int]:
    """The calls of a traceback whose frames begin at a line, and the line behind them."""
    calls: list[CodeLine] = []
    while at < len(lines):
        if frame := _FRAME.match(lines[at]):
            shown = [line for line in lines[at + 1 : at + 3] if not _FRAME.match(line)]
            calls.append(_code_line(frame, shown))
        elif not lines[at][:1].isspace() and lines[at].strip():
            break
        at += 1
    return calls, at


def _code_line(frame: re.Match[str], shown: Sequence[str]) -> CodeLine:
    """A frame with the source below it, and the carets below that."""
    source = shown[0].strip() if shown and shown[0].startswith(" ") else ""
    carets = shown[1] if len(shown) > 1 and _CARETS.match(shown[1]) else ""
    expression = ""
    if source and carets:
        indent = len(shown[0]) - len(shown[0].lstrip())
        first = len(carets) - len(carets.lstrip()) - indent
        expression = source[max(first, 0) : len(carets.rstrip()) - indent]
    function = frame[3] or ""
    is_top = function in ("<module>", "<cell line: 1>")
    return CodeLine(frame[1], int(frame[2]), "" if is_top else function, source, expression)


def _ipython_frame(lines: Sequence[str], at: int) -> CodeLine | None:
    """A frame as IPython prints it, with an arrow at the line that failed."""
    frame = _IPYTHON_FRAME.match(lines[at].strip())
    if frame is None:
        return None
    arrows = (_IPYTHON_SOURCE.match(line.strip()) for line in lines[at + 1 : at + 12])
    arrow = next((found for found in arrows if found), None)
    file, line = (frame[1], frame[2]) if frame[1] else (frame[4], frame[5])
    function = (frame[3] or "").partition("(")[0]
    return CodeLine(file, int(line), function, arrow[2].strip() if arrow else "")


def _message(lines: Sequence[str], at: int, first: str) -> tuple[str, int]:
    """A message that may have several lines, and the line behind it."""
    message = [first.strip()]
    at += 1
    while at < len(lines) and lines[at].strip() and len(message) < MOST_LINES:
        if _BEGIN.search(lines[at]) or _ERROR.match(lines[at]) or _WARNING.match(lines[at]):
            break
        message.append(lines[at].strip())
        at += 1
    return " ".join(message).strip(), at
