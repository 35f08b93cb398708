"""Exercises are graded alike where the last bit of a sum is another.

CPUs differ in how they round the last bit of a float32 sum, and training carries such a bit on.
In another process the exercises' runs start one float32 step away, and PyTorch computes without
the CPU's vector instructions: wrong answers, symptoms, solutions and conditions stay what they are
there, and the answers there are right here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests import shipped
from tests.lessons.runs import answer_to, rounds_of
from tutor.analysis.local_gradients import local_gradients
from tutor.lesson.exercise import Backpropagate, Exercise, Predict, Setting, Stage
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame, Position, RunRecipe
from tutor.training import devices
from tutor.training.exercises import close, expected_text, is_right, recipe_of
from tutor.training.probe import Probe
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.validation.exercise_check import ExerciseTrial, check_exercises
from tutor.wording.check_findings import check_line

each_lesson = pytest.mark.parametrize("slug", [path.stem for path in shipped.ORIGINALS])


# ── A start that is one float32 step away ───────────────────────────────────────────


class MovedStarts:
    """A lesson's exercises with their parameters moved, or not, by one step at the start."""

    def __init__(self, lesson: Lesson, programs: Mapping[str, Program]) -> None:
        self._lesson, self._programs = lesson, programs
        self._random = np.random.default_rng(0)
        self._frames: dict[RunRecipe, Frame] = {}
        """The start of each recipe: most exercises of a lesson begin with the same."""

    def lesson(self) -> Lesson:
        sections = tuple(
            msgspec.structs.replace(section, blocks=tuple(map(self._block, section.blocks)))
            for section in self._lesson.sections
        )
        return msgspec.structs.replace(self._lesson, sections=sections)

    def _block(self, block: object) -> object:
        if not isinstance(block, Exercise):
            return block
        changed = {"stage": self._stage(block.stage)}
        if isinstance(block, Predict):
            changed["again"] = tuple(
                msgspec.structs.replace(again, stage=self._stage(again.stage))
                for again in block.again
            )
        return msgspec.structs.replace(block, **changed)

    def _stage(self, stage: Stage) -> Stage:
        said = {(setting.parameter, setting.index) for setting in stage.settings}
        settings = list(stage.settings)
        frame = self._start_of(recipe_of(self._lesson, stage))
        for name, value in frame.values.items():
            if any(other.values[name] != value for other in frame.ranks):
                continue  # a setting would make it the same on all ranks
            for index, number in zip(np.ndindex(*value.shape), value.data, strict=True):
                if number or (name, index) not in said:  # a 0 that the question names is a 0
                    moved = _neighbour(number, value.dtype, self._random)
                    settings.append(Setting(name, index, moved))
        return msgspec.structs.replace(stage, settings=tuple(settings))

    def _start_of(self, recipe: RunRecipe) -> Frame:
        if recipe not in self._frames:
            run = Run.from_recipe(self._programs, recipe, Position(0, 0))
            self._frames[recipe] = run.frame()
        return self._frames[recipe]


def _neighbour(number: float, dtype: str, random: np.random.Generator) -> float:
    """The number, or the next one up or down; near 0 as far as it is around 1."""
    step = int(random.integers(-1, 2))
    if not step:
        return number
    kind = np.float32 if dtype == "float32" else np.float64
    if not number:
        return step * float(np.finfo(kind).eps)
    return float(np.nextafter(kind(number), kind(step * np.inf)))


# ── What is answered ────────────────────────────────────────────────────────────────


class GradedLesson(msgspec.Struct):
    """What `tutor check` finds in a lesson's exercises here, and the answers to each of them."""

    findings: list[str]
    answers: list[list[str | float]]

    @classmethod
    def of(cls, lesson: Lesson) -> GradedLesson:
        """The lesson from a start that is one float32 step away."""
        programs = programs_of(lesson)
        lesson = MovedStarts(lesson, programs).lesson()
        trials = [ExerciseTrial(lesson, programs, exercise) for exercise in lesson.exercises]
        found = [check_line(finding) for finding in check_exercises(lesson, programs)]
        return cls(found, [list(answers(trial)) for trial in trials])


def answers(trial: ExerciseTrial) -> Iterator[str | float]:
    """What is right, as the solution shows it, round by round or step by step."""
    exercise = trial.exercise
    if isinstance(exercise, Backpropagate):
        yield from _local(trial)
    elif isinstance(exercise, Predict):
        for asked in rounds_of(exercise):
            value = answer_to(trial, asked)
            yield value.text if asked.form == "choice" else expected_text(asked, value)


def wrong_ones(trial: ExerciseTrial, said: Sequence[str | float]) -> list[int]:
    """The numbers of the questions that this is no right answer to."""
    exercise = trial.exercise
    if isinstance(exercise, Backpropagate):
        right = zip(said, _local(trial), strict=True)
        accepted = [close(float(mine), value, exercise.tolerance) for mine, value in right]
    elif isinstance(exercise, Predict):
        asked = zip(rounds_of(exercise), said, strict=True)
        accepted = [is_right(each, answer_to(trial, each), str(mine)) for each, mine in asked]
    else:
        accepted = []
    return [number for number, is_accepted in enumerate(accepted) if not is_accepted]


def _local(trial: ExerciseTrial) -> list[float]:
    run = trial.begin(trial.exercise.stage)
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    return [step.expected for step in local_gradients(probe, run.standpoint()).questions]


# ── There and here ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def elsewhere() -> Mapping[str, GradedLesson]:
    """By lesson, what comes out with another start and without vector instructions."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.lessons.{Path(__file__).stem}"],
        input=msgspec.msgpack.encode([*map(shipped.read_once, shipped.ORIGINALS)], enc_hook=str),
        env=os.environ | {"ATEN_CPU_CAPABILITY": "default"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stderr.decode()
    return msgspec.json.decode(found.stdout, type=dict[str, GradedLesson])


@pytest.mark.filterwarnings("ignore")
@each_lesson
def test_exercises_are_graded_the_same(slug: str, elsewhere: Mapping[str, GradedLesson]) -> None:
    there = elsewhere[slug]
    assert there.findings == []
    lesson, programs = shipped.lesson(slug), shipped.programs(slug)
    for exercise, said in zip(lesson.exercises, there.answers, strict=True):
        assert wrong_ones(ExerciseTrial(lesson, programs, exercise), said) == [], exercise.id


if __name__ == "__main__":
    devices.use_one_thread()
    lessons = msgspec.msgpack.decode(
        sys.stdin.buffer.read(), type=list[Lesson], dec_hook=lambda kind, text: kind(text)
    )
    graded = {lesson.slug: GradedLesson.of(lesson) for lesson in lessons}
    sys.stdout.buffer.write(msgspec.json.encode(graded))
