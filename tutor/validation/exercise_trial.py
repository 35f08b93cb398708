"""One try at an exercise of a lesson that is checked: its run, and findings on its lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from tutor.errors import RunError
from tutor.lesson.exercise import Exercise, Stage, StartPlace
from tutor.lesson.model import Lesson
from tutor.protocol.events import CheckFinding, LessonPart
from tutor.protocol.frame import Remark, Value
from tutor.training.exercises import is_truth, position_of, recipe_of, with_code
from tutor.training.history import History
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.program import Program, programs_of
from tutor.training.run import Run

OnPart: TypeAlias = Callable[[LessonPart], object]
"""Called with the part that is checked next: it may never come to its end."""


def ignore_progress(part: LessonPart) -> None:
    """An OnPart that does nothing."""


class EndError(Exception):
    """An exercise can't be tried out any further; `finding` is the reason."""

    def __init__(self, finding: CheckFinding) -> None:
        super().__init__(finding)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class ExerciseTrial:
    """An exercise, the lesson it is in, and that lesson's programs."""

    lesson: Lesson
    programs: Mapping[str, Program]
    exercise: Exercise
    on_part: OnPart = ignore_progress
    device: str = "cpu"

    def finding(
        self, code: str, *keys: str, cause: Remark | None = None, **values: Any
    ) -> CheckFinding:
        """A finding on the line of the first of these keys that the author has written."""
        lines = self.exercise.lines
        line = next((lines[key] for key in keys if key in lines), self.exercise.line)
        remark = Remark(code, values)
        return CheckFinding(path=str(self.lesson.path), line=line, remark=remark, cause=cause)

    def failure(self, code: str, error: RunError, *keys: str) -> EndError:
        """The end of a trial: what the run could not do, and why. Raises the error if stopped."""
        return EndError(self.finding(code, *keys, cause=reason_of(error)))

    def begin(self, stage: Stage, again: str = "") -> Run:
        """A run that stands at `stage`. `again`: the entry that the stage belongs to, if any.

        Raises EndError.
        """
        try:
            return self._run_at(self.lesson, self.programs, stage)
        except RunError as error:
            keys = ("at", "set") if isinstance(error, LessonRaised) else ("set", "at")
            own = [f"{again}.{key}" for key in keys] if again else []
            raise self.failure("cannot_begin", error, *own, again, *keys) from error

    def from_the_start(self, stage: Stage, epochs: int, code: str | None = None) -> Run:
        """The run of a stage after `epochs` epochs; with other code for a Repair's phase.

        Raises RunError.
        """
        lesson, programs = self.lesson, self.programs
        if code is not None:
            lesson = with_code(lesson, stage.mode, self.exercise.phase, code)  # type: ignore[union-attr]
            programs = programs_of(lesson, [stage.mode])
        run = self._run_at(lesson, programs, msgspec.structs.replace(stage, at=StartPlace()))
        run.advance(epochs)
        return run

    def _run_at(self, lesson: Lesson, programs: Mapping[str, Program], stage: Stage) -> Run:
        recipe, place = recipe_of(lesson, stage, self.device), position_of(lesson, stage)
        # No keyframes: a trial does not go back.
        return Run.from_recipe(programs, recipe, place, history=History(spacing=math.inf))

    def is_true(self, run: Run, condition: str, *keys: str) -> bool:
        """Whether a condition holds. Raises EndError if it is neither True nor False."""
        (value,) = run.evaluate([condition])
        if not is_truth(value):
            if "is ambiguous" in value.text:  # Python's words for an array where a truth has to be
                raise EndError(self.finding("truth_of_array", *keys))
            raise EndError(self.finding("no_truth", *keys, value=unexpected(value)))
        return bool(value.data[0])


def unexpected(value: Value) -> tuple[str, dict[str, Any]]:
    """A value that can't be an answer, as a code with parameters: a parameter of a finding."""
    if value.dtype == "text":
        return "none", {"reason": value.why or value.text}
    if value.dtype == "str":
        return "text", {"text": value.text}
    if value.size != 1 and value.shape:
        return "array", {"shape": value.shape}
    if not value.data:
        return "other", {"text": value.text}
    if value.dtype == "bool":
        return "other", {"text": str(bool(value.data[0]))}
    return "number", {"number": value.data[0]}


def reason_of(error: RunError) -> Remark:
    """The error of the lesson, or the refusal.

    Raises the error itself if somebody has stopped it (Ctrl+C): no lesson is to blame for that.
    """
    raise_if_stopped(error)
    if not isinstance(error, LessonRaised):
        return Remark.of(error)
    return Remark("phase_raised", {"phase": error.phase, "error": error.message})
