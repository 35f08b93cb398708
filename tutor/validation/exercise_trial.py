"""Where one exercise is tried out: it begins its runs, and tells a finding by the right line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tutor.errors import RunError
from tutor.lesson.exercise import Exercise, Stage, StartPlace
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.frame import Value
from tutor.training.answers import is_truth
from tutor.training.exercise_start import position_of, record_of, with_code
from tutor.training.loop import LessonRaised
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.validation.finding import Begun, Finding, nobody


class EndError(Exception):
    """An exercise can't be tried out any further; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class ExerciseTrial:
    """An exercise, the lesson it is in, and that lesson's programs."""

    lesson: Lesson
    programs: Mapping[str, Program]
    exercise: Exercise
    begun: Begun = nobody

    def finding(self, message: str, *keys: str) -> Finding:
        """A finding on the line of the first of these keys that the author has written."""
        lines = self.exercise.lines
        line = next((lines[key] for key in keys if key in lines), self.exercise.line)
        return Finding(str(self.lesson.path), line, message)

    def begin(self, stage: Stage, again: str = "") -> Run:
        """A run that stands at `stage`, that of the entry `again` if it is asked again.

        Raises EndError.
        """
        try:
            return self._begun(self.lesson, self.programs, stage)
        except RunError as error:
            keys = ("at", "set") if isinstance(error, LessonRaised) else ("set", "at")
            own = [f"{again}.{key}" for key in keys] if again else []
            what = f"the exercise can't begin here: {said_by(error)}"
            raise EndError(self.finding(what, *own, again, *keys)) from error

    def from_the_start(self, stage: Stage, epochs: int, code: str | None = None) -> Run:
        """The run of a stage after so many epochs; with other code for a Repair's phase.

        Raises RunError.
        """
        lesson, programs = self.lesson, self.programs
        if code is not None:
            lesson = with_code(lesson, stage.mode, self.exercise.phase, code)  # type: ignore[union-attr]
            programs = programs_of(lesson, [stage.mode])
        run = self._begun(lesson, programs, msgspec.structs.replace(stage, at=StartPlace()))
        run.run_to(epochs)
        return run

    @staticmethod
    def _begun(lesson: Lesson, programs: Mapping[str, Program], stage: Stage) -> Run:
        return Run.from_record(programs, record_of(lesson, stage), position_of(lesson, stage))

    def truth(self, run: Run, condition: str, *keys: str) -> bool:
        """Whether a condition holds. Raises EndError if it is neither True nor False."""
        (value,) = run.evaluate([condition])
        if not is_truth(value):
            what = f"this {is_what(value)}; it must be True or False"
            if "is ambiguous" in value.text:  # Python's words for an array where a truth has to be
                what = (
                    "this asks whether a whole array is true, and `losses` is an array; "
                    "write `len(losses) > 0 and …`, or `(…).all()`"
                )
            raise EndError(self.finding(what, *keys))
        return bool(value.data[0])


def is_what(value: Value) -> str:
    """An unexpected value in words: `is an array of shape (4,)`."""
    if value.dtype == "text":
        return f"has no value ({one_line(value.text)})"
    if value.dtype == "str":
        return f"is the text “{one_line(value.text)}”"
    if value.size != 1:
        return f"is an array of shape {value.shape}" if value.shape else f"is {value.text}"
    return f"is {bool(value.data[0])}" if value.dtype == "bool" else f"is {value.data[0]:.6g}"


def said_by(error: RunError) -> str:
    """The error of the lesson, or the refusal, on one line.

    Raises the error itself if somebody has stopped it (Ctrl+C): no lesson is to blame for that.
    """
    if not isinstance(error, LessonRaised):
        return one_line(str(error))
    if error.stopped:
        raise error
    return f"{error.phase} raised {one_line(error.message)}"
