"""Exercises are graded alike where the last bit of a sum is another.

CPUs differ in how they round the last bit of a float32 sum, and training carries such a bit on.
Here the exercises' runs start one float32 step away, and PyTorch computes without the CPU's
vector instructions: answers, wrong answers, symptoms, solutions and conditions stay what they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests import shipped
from tests.lessons.runs import answer_to, rounds_of
from tutor.analysis.local_gradients import local_gradients
from tutor.lesson.exercise import BeAutograd, Exercise, Predict, Setting, Stage, StartPlace
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Position
from tutor.training import devices
from tutor.training.exercises import close, expected_text, is_right, recipe_of
from tutor.training.probe import Probe
from tutor.training.program import Program
from tutor.training.run import Run
from tutor.validation.exercise_check import ExerciseTrial, check_exercises

each_lesson = pytest.mark.parametrize("slug", [path.stem for path in shipped.ORIGINALS])


# ── A start that is one float32 step away ───────────────────────────────────────────


def moved(lesson: Lesson) -> Lesson:
    """The lesson with each exercise's parameters moved, or not, by one step at the start."""
    random = np.random.default_rng(0)

    def with_moved_exercises(block: object) -> object:
        if not isinstance(block, Exercise):
            return block
        changed = {"stage": _moved_stage(lesson, block.stage, random)}
        if isinstance(block, Predict):
            changed["again"] = tuple(
                msgspec.structs.replace(again, stage=_moved_stage(lesson, again.stage, random))
                for again in block.again
            )
        return msgspec.structs.replace(block, **changed)

    sections = tuple(
        msgspec.structs.replace(section, blocks=tuple(map(with_moved_exercises, section.blocks)))
        for section in lesson.sections
    )
    return msgspec.structs.replace(lesson, sections=sections)


def _moved_stage(lesson: Lesson, stage: Stage, random: np.random.Generator) -> Stage:
    at_start = msgspec.structs.replace(stage, at=StartPlace())
    recipe = recipe_of(lesson, at_start)
    run = Run.from_recipe(shipped.programs(lesson.slug), recipe, Position(0, 0))
    said = {(setting.parameter, setting.index) for setting in stage.settings}
    settings = list(stage.settings)
    frame = run.frame()
    for name, value in frame.values.items():
        if any(other.values[name] != value for other in frame.ranks):
            continue  # a setting would make it the same on all ranks
        for index, number in zip(np.ndindex(*value.shape), value.data, strict=True):
            if number or (name, index) not in said:  # a 0 that the question names is a 0
                settings.append(Setting(name, index, _neighbour(number, value.dtype, random)))
    return msgspec.structs.replace(stage, settings=tuple(settings))


def _neighbour(number: float, dtype: str, random: np.random.Generator) -> float:
    """The number, or the next one up or down; near 0 as far as it is around 1."""
    step = int(random.integers(-1, 2))
    if not step:
        return number
    kind = np.float32 if dtype == "float32" else np.float64
    if not number:
        return step * float(np.finfo(kind).eps)
    return float(np.nextafter(kind(number), kind(step * np.inf)))


@pytest.mark.filterwarnings("ignore")
@each_lesson
def test_a_start_one_float32_step_away_is_graded_the_same(slug: str) -> None:
    lesson = shipped.lesson(slug)
    other = moved(lesson)
    programs = shipped.programs(slug)
    assert [str(finding) for finding in check_exercises(other, programs)] == []
    for one, there in zip(lesson.exercises, other.exercises, strict=True):
        for number, said in enumerate(answers(lesson, programs, one)):
            assert is_accepted(ExerciseTrial(other, programs, there), number, said), (
                one.id,
                number,
            )


# ── What is answered ────────────────────────────────────────────────────────────────


def answers(
    lesson: Lesson, programs: Mapping[str, Program], exercise: Exercise
) -> Iterator[str | float]:
    """What is right, as the solution shows it, round by round or step by step."""
    trial = ExerciseTrial(lesson, programs, exercise)
    if isinstance(exercise, BeAutograd):
        yield from _local(trial)
    elif isinstance(exercise, Predict):
        for asked in rounds_of(exercise):
            value = answer_to(trial, asked)
            yield value.text if asked.form == "choice" else expected_text(asked, value)


def is_accepted(trial: ExerciseTrial, number: int, said: str | float) -> bool:
    """Whether this is a right answer to the question of that number."""
    exercise = trial.exercise
    if isinstance(exercise, BeAutograd):
        return close(float(said), _local(trial)[number], exercise.tolerance)
    assert isinstance(exercise, Predict)
    asked = exercise.asked_in(number)
    return is_right(asked, answer_to(trial, asked), str(said))


def _local(trial: ExerciseTrial) -> list[float]:
    run = trial.begin(trial.exercise.stage)
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    return [step.expected for step in local_gradients(probe, run.standpoint()).steps]


# ── Without the CPU's vector instructions ───────────────────────────────────────────


def test_without_vector_instructions_all_is_graded_the_same() -> None:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.lessons.{Path(__file__).stem}"],
        env=os.environ | {"ATEN_CPU_CAPABILITY": "default"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    for slug, elsewhere in json.loads(found.stdout).items():
        lesson, programs = shipped.lesson(slug), shipped.programs(slug)
        for exercise, there in zip(lesson.exercises, elsewhere, strict=True):
            for number, said in enumerate(there):
                accepted = is_accepted(ExerciseTrial(lesson, programs, exercise), number, said)
                assert accepted, (slug, exercise.id, number)


def _all_answers() -> dict[str, list[list[str | float]]]:
    """By lesson: the answers to each exercise. Raises AssertionError if one can't be done."""
    found = {}
    for slug in (path.stem for path in shipped.ORIGINALS):
        lesson, programs = shipped.lesson(slug), shipped.programs(slug)
        assert list(check_exercises(lesson, programs)) == []
        found[slug] = [list(answers(lesson, programs, each)) for each in lesson.exercises]
    return found


if __name__ == "__main__":
    devices.use_one_thread()
    print(json.dumps(_all_answers()))
