"""The start of an exercise: a lesson, a recipe and a position, all that opens a run."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tutor.lesson.exercise import Exercise, Repair, Stage, StartPlace
from tutor.lesson.model import Block, Fence, Lesson, Section
from tutor.protocol.frame import Change, Element, Position, RunRecipe


@dataclass(frozen=True, slots=True)
class ExerciseStart:
    """The lesson, recipe and position with which an exercise starts."""

    lesson: Lesson
    recipe: RunRecipe
    at: Position


def start_of(
    lesson: Lesson,
    exercise: Exercise,
    *,
    stage: Stage | None = None,
    code: str | None = None,
    device: str = "cpu",
) -> ExerciseStart:
    """The start of `exercise`, or of another `stage` of it, with other `code` for a Repair."""
    stage = stage or exercise.stage
    if isinstance(exercise, Repair):
        code = exercise.code if code is None else code
        lesson = with_code(lesson, stage.mode, exercise.phase, code)
    return ExerciseStart(lesson, recipe_of(lesson, stage, device), position_of(lesson, stage))


def recipe_of(lesson: Lesson, stage: Stage, device: str = "cpu") -> RunRecipe:
    """The recipe of the stage's run. `device` is where the learner computes."""
    start = Position(0, 0)
    changes = tuple(
        Change(start, element=Element(s.parameter, s.index, s.value)) for s in stage.settings
    )
    rate = lesson.learning_rate[stage.mode] if stage.learning_rate is None else stage.learning_rate
    return RunRecipe(stage.mode, device, rate, stage.seed, changes)


def position_of(lesson: Lesson, stage: Stage) -> Position:
    """The position just before the stage's phase."""
    return position_before(lesson, stage.mode, stage.at)


def position_before(lesson: Lesson, mode: str, place: StartPlace) -> Position:
    """The position after which the phase at `place` runs next. The phase must be the mode's."""
    if not place.phase:
        return Position(0, 0)
    names = [section.phase for section in lesson.loop(mode)]
    if place.phase in names:
        step = (place.batch - 1) * len(names) + names.index(place.phase)
    else:  # Report: after all batches
        step = lesson.batches * len(names)
    if step:
        return Position(place.epoch, step)
    if place.epoch <= 1:
        return Position(0, lesson.warm_up * len(names) if place.epoch else 0)
    whole = lesson.batches * len(names) + bool(_report(lesson, mode))
    return Position(place.epoch - 1, whole)


def with_code(lesson: Lesson, mode: str, phase: str, code: str) -> Lesson:
    """The lesson with this code for a phase in one mode; its lines count from 1.

    The lines of code that a learner edits are those of the editor, so that an error names them.
    """
    sections = tuple(
        _with_code(section, lesson.modes, mode, code) if section.phase == phase else section
        for section in lesson.sections
    )
    return msgspec.structs.replace(lesson, sections=sections)


def code_of(lesson: Lesson, mode: str, phase: str) -> str:
    """The code of a phase in a mode, as one text."""
    section = lesson.phase(phase)
    return "\n".join(f.code for f in section.fences(mode)) if section else ""


def _with_code(section: Section, modes: tuple[str, ...], mode: str, code: str) -> Section:
    blocks: list[Block] = []
    mine = Fence(code, 1, (mode,))
    for block in section.blocks:
        if not isinstance(block, Fence) or not block.runs_in(mode):
            blocks.append(block)
            continue
        if others := tuple(m for m in block.modes or modes if m != mode):
            blocks.append(msgspec.structs.replace(block, modes=others))
        if mine not in blocks:
            blocks.append(mine)
    if mine not in blocks:
        blocks.append(mine)
    return msgspec.structs.replace(section, blocks=tuple(blocks))


def _report(lesson: Lesson, mode: str) -> bool:
    section = lesson.phase("Report")
    return section is not None and bool(section.fences(mode))
