"""All five kinds of exercises, done in a pseudo-terminal at 80×24."""

from __future__ import annotations

from pathlib import Path

from benchmarks.curriculum_terminal import play
from tests.shipped import lesson
from tutor.lesson.exercise import KINDS, kind_of


def test_every_kind_of_exercise_can_be_done_by_its_solution(tmp_path: Path) -> None:
    chain = lesson("chain-of-three")
    assert {kind_of(exercise) for exercise in chain.exercises} == set(KINDS)
    assert play(chain, tmp_path) == []
