"""The error of a lesson's or a script's own code: its phase, its line and its message."""

from __future__ import annotations

import re
import traceback

from tutor.errors import RunError
from tutor.plain import cut_short, one_line, shortened
from tutor.protocol.frame import Remark
from tutor.training.devices import is_out_of_memory
from tutor.training.program import Program

_GPU_IS_FULL = re.compile(r".*?out of memory.*?Tried to allocate [\d.]+ \w+", re.DOTALL)
"""The part of PyTorch's message that says something; it goes on for several lines."""

SOMEWHERE = "the code"
"""The phase of an exception that met no line of the lesson."""


class LessonRaised(RunError):
    """The lesson's own code raised; says the phase, the line in the file and the message."""

    def __init__(
        self, program: Program, phase: str, line: int | None, message: str, stopped: bool = False
    ) -> None:
        what = phase if program.is_script else f"{phase} in mode {program.mode}"
        super().__init__(one_line(f"{program.place(line)}: {what} raised {message}"))
        self.lesson, self.phase, self.line, self.message = program.name, phase, line, message
        self.mode = program.mode
        self.stopped = stopped

    def remark(self, longest: int) -> Remark:
        """The phase and the message, cut to `longest` characters, for an inspection."""
        error = cut_short(one_line(self.message), longest)
        return Remark("phase_raised", {"phase": self.phase, "error": error})


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
    what = "script" if program.is_script else "lesson"
    if isinstance(error, KeyboardInterrupt):
        message = "KeyboardInterrupt: it was stopped"
    elif isinstance(error, SystemExit):
        message = f"SystemExit: the {what} called exit({'' if error.code is None else error.code})"
    elif isinstance(error, EOFError) and "reading a line" in str(error):
        message = f"EOFError: a {what} can't use input(); put the value into its code"
    else:
        message = "".join(traceback.format_exception_only(error)).strip()
    if is_out_of_memory(error) and (asked := _GPU_IS_FULL.match(message)):
        message = f"{asked[0]}; make the tensors smaller, or compute on the CPU"
    message, line = shortened(message), lines[-1] if lines else None
    stopped = isinstance(error, KeyboardInterrupt)
    return LessonRaised(program, phase or SOMEWHERE, line, message, stopped)
