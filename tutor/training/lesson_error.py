"""The error of a lesson's or a script's own code: its phase, its line and what was raised."""

from __future__ import annotations

import re
import traceback
from typing import Any

import msgspec

from tutor.errors import CodeRaised
from tutor.plain import cut_short, one_line, shortened
from tutor.protocol.frame import Remark
from tutor.training.devices import is_out_of_memory
from tutor.training.program import Program

_GPU_IS_FULL = re.compile(r".*?out of memory.*?Tried to allocate [\d.]+ \w+", re.DOTALL)
"""The part of PyTorch's message that says something; it goes on for several lines."""

STOPPED = Remark("code_stopped", {"text": "KeyboardInterrupt"})
"""The error of code that was stopped."""


class LessonRaised(CodeRaised):
    """An error of the lesson's own code, with its phase and its line in the file.

    `error` has the exception's type and text as its parameter `text`, if there is an exception. The
    phase is empty if it met no line of the lesson.
    """

    def __init__(
        self, program: Program, phase: str, line: int | None, error: Remark, stopped: bool = False
    ) -> None:
        super().__init__(
            "script_raised" if program.is_script else "lesson_raised",
            place=program.place(line),
            phase=phase,
            mode=program.mode,
            error=(error.code, error.values),
        )
        self.lesson, self.phase, self.line, self.error = program.name, phase, line, error
        self.mode = program.mode
        self.stopped = stopped

    def remark(self, longest: int | None = None) -> Remark:
        """The phase and the error, whose text is cut to `longest` characters."""
        values = self.error.values
        if longest and "text" in values:
            values = {**values, "text": cut_short(one_line(values["text"]), longest)}
        return Remark("phase_raised", {"phase": self.phase, "error": (self.error.code, values)})


def on_rank(error: Remark, rank: int) -> Remark:
    """The error, with the rank that raised it."""
    return msgspec.structs.replace(error, values={**error.values, "on_rank": rank})


def raise_if_stopped(error: Exception) -> None:
    """Raise an error again if it is the learner's wish to stop: no lesson is to blame for that."""
    if isinstance(error, LessonRaised) and error.stopped:
        raise error


def lesson_raised(program: Program, error: BaseException) -> LessonRaised:
    """The error with its phase (outermost line in the lesson) and line (innermost)."""
    if isinstance(error, SyntaxError) and error.filename == program.filename:
        lines = [error.lineno or 0]
    else:
        found = traceback.walk_tb(error.__traceback__)
        lines = [n for frame, n in found if frame.f_code.co_filename == program.filename]
    phase = program.phase_of_line(lines[0]) if lines else ""
    line = lines[-1] if lines else None
    stopped = isinstance(error, KeyboardInterrupt)
    return LessonRaised(program, phase, line, _remark_on(error), stopped)


def _remark_on(error: BaseException) -> Remark:
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    text, code = "".join(traceback.format_exception_only(error)).strip(), "text"
    values: dict[str, Any] = {}
    if isinstance(error, SystemExit):
        code = "called_exit"
        values["status"] = "" if error.code is None else shortened(str(error.code))
    elif isinstance(error, EOFError) and "reading a line" in str(error):
        code = "read_input"
    elif is_out_of_memory(error) and (asked := _GPU_IS_FULL.match(text)):
        code, text = "gpu_is_full", asked[0]
    return Remark(code, {"text": shortened(text), **values})
