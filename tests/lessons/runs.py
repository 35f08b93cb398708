"""Runs of the shipped lessons, and their exercises by name."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any, TypeVar

import numpy as np

from tests import shipped
from tutor.errors import RunError
from tutor.lesson.exercise import Exercise, Predict, Repair
from tutor.protocol.frame import Element, Value
from tutor.training.exercises import holds, start_of
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.validation.exercise_check import ExerciseTrial

E = TypeVar("E", bound=Exercise)


def a_run(slug: str, mode: str | None = None, rate: float | None = None, **values: float) -> Run:
    """A run of a lesson from its start, with these values of parameters."""
    run = Run(shipped.programs(slug), mode, learning_rate=rate)
    for name, value in values.items():
        run.set(element=Element(name, (), value))
    return run


def losses(run: Run, count: int) -> np.ndarray[Any, Any]:
    """The losses of the next epochs."""
    run.run(count)
    return run.history.losses.numbers()[-count:]


def exercise(where: str, kind: type[E]) -> E:
    """The exercise that `LESSON/ID` names."""
    slug, _, id_ = where.partition("/")
    found = next(e for e in shipped.lesson(slug).exercises if e.id == id_)
    assert isinstance(found, kind)
    return found


def trial_of(where: str) -> ExerciseTrial:
    """The exercise that `LESSON/ID` names, ready to be run."""
    slug = where.partition("/")[0]
    kinds = Exercise.__args__  # type: ignore[attr-defined]
    return ExerciseTrial(shipped.lesson(slug), shipped.programs(slug), exercise(where, kinds))


def names_of(kind: type[E]) -> list[str]:
    """`LESSON/ID` of all exercises of a kind."""
    return [
        f"{path.stem}/{exercise.id}"
        for path in shipped.ORIGINALS
        for exercise in shipped.read_once(path).exercises
        if isinstance(exercise, kind)
    ]


def answer_to(trial: ExerciseTrial, asked: Predict) -> Value:
    """The answer of a prediction, one of its questions, after the phase that is asked about."""
    run = trial.begin(asked.stage)
    run.step_phase()
    (value,) = run.evaluate([asked.answer])
    return value


def rounds_of(exercise: Predict) -> list[Predict]:
    """The questions of a prediction in turn: the first, and each that follows a wrong answer."""
    return [exercise.asked_in(number) for number in range(1 + len(exercise.again))]


def passes(where: str, code: str) -> bool:
    """Whether a repair is passed with this code.

    It runs no further than to the first loss that the condition does not permit.
    """
    repair = exercise(where, Repair)
    try:
        run = trial_of(where).from_the_start(repair.stage, 0, code)
        for epochs, part in permitted_losses(repair.condition):
            run.run_to_without_frame(epochs)
            if not holds(*run.evaluate([part])):
                return False
        run.run_to_without_frame(repair.epochs)
    except RunError:
        return False
    return holds(*run.evaluate([repair.condition]))


@cache
def permitted_losses(condition: str) -> list[tuple[int, str]]:
    """The parts of a condition that read certain losses alone, and the epochs that make these.

    A part is one side of an outer `and`: where it is false, the condition is.
    """
    whole = ast.parse(condition.strip(), mode="eval").body
    is_and = isinstance(whole, ast.BoolOp) and isinstance(whole.op, ast.And)
    found = []
    for part in whole.values if is_and else [whole]:  # type: ignore[attr-defined]
        read = re.findall(r"losses\[(\d+)\]", source := ast.unparse(part))
        names = [node.id for node in ast.walk(part) if isinstance(node, ast.Name)]
        if read and names.count("losses") == len(read) and {*names} <= {"losses", "abs"}:
            found.append((1 + max(map(int, read)), source))
    return sorted(found)


def repair_run(where: str, epochs: int = 0, code: str | None = None) -> Run:
    """A run of a repair's mistake, or of `code` in its place, after so many epochs."""
    start = start_of(shipped.lesson(where.partition("/")[0]), exercise(where, Repair), code=code)
    run = Run.from_recipe(programs_of(start.lesson), start.recipe, start.at)
    if epochs:
        run.run_to(epochs)
    return run


def solved_run(where: str, epochs: int) -> Run:
    """A run of a repair's solution."""
    return repair_run(where, epochs, exercise(where, Repair).solution_code)
