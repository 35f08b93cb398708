"""The curriculum: its order, and one exercise of each sort, played by its solution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.curriculum import Player, player
from tests import shipped
from tutor.lesson.exercise import Choose, Exercise, Predict, Reach, Repair, kind_of
from tutor.lesson.library import headlines
from tutor.lesson.model import Prose

IN_ORDER = tuple(h for h in headlines() if h.path.parent == shipped.FOLDER)

EXERCISES = tuple(e for h in IN_ORDER for e in shipped.lesson(h.slug).exercises)


@pytest.fixture(scope="module")
def learner() -> Iterator[Player]:
    """A player of one lesson after the other, on one engine."""
    with player() as out:
        yield out


def sort_of(exercise: Exercise) -> tuple[object, ...]:
    """All that decides which way an exercise takes through session and engine."""
    more: tuple[object, ...] = ()
    match exercise:
        case Predict():
            more = (exercise.form, exercise.stage.at.phase, bool(exercise.working))
        case Reach(solution=solution):
            more = (solution.mode is None, solution.seed is None, solution.learning_rate is None)
        case Repair():
            more = (exercise.phase, bool(exercise.symptom.error))
    return (kind_of(exercise), *more)


SORTS = {
    sort_of(exercise): (h.slug, exercise.id)
    for h in reversed(IN_ORDER)
    for exercise in reversed(shipped.lesson(h.slug).exercises)
}
"""The first exercise of each sort. That every other one can be done is what `tutor check` says."""


@pytest.mark.parametrize("slug", sorted({slug for slug, _ in SORTS.values()}))
def test_an_exercise_of_each_sort_can_be_done(learner: Player, slug: str) -> None:
    ids = {id for of, id in SORTS.values() if of == slug}
    played = [*learner.play(shipped.lesson(slug), ids)]
    assert {exercise.id for exercise, _ in played} == ids
    assert [f"{exercise.id}: {why}" for exercise, why in played if why] == []


def test_a_lesson_has_three_exercises_and_something_to_foresee() -> None:
    kinds = {h.slug: [kind_of(e) for e in shipped.lesson(h.slug).exercises] for h in IN_ORDER}
    assert {slug: k for slug, k in kinds.items() if len(k) < 3 or "predict" not in k} == {}


REMEMBER = {"en": "What to remember", "zh": "要点"}


def test_a_lesson_ends_with_three_things_to_remember() -> None:
    for lesson in map(shipped.read_once, (*shipped.ORIGINALS, *shipped.TRANSLATIONS)):
        last = lesson.sections[-1]
        assert last.heading == REMEMBER[lesson.language], lesson.path
        prose = [block for block in last.blocks if isinstance(block, Prose)]
        assert len(prose) == len(last.blocks), f"{lesson.path}: nothing but the three"
        lines = "".join(block.markdown for block in prose).strip().splitlines()
        assert [line[:2] for line in lines] == ["- ", "- ", "- "], lesson.path


def test_a_heading_is_a_few_words_and_no_sentences() -> None:
    """A paragraph that an editor's line break has joined to its heading would be one."""
    lessons = map(shipped.read_once, (*shipped.ORIGINALS, *shipped.TRANSLATIONS))
    long = {s.heading for lesson in lessons for s in lesson.sections if len(s.heading) > 50}
    assert long == set()


def test_there_are_lessons_enough_and_exercises_of_every_kind() -> None:
    assert len(IN_ORDER) >= 16
    assert {path.stem for path in shipped.ORIGINALS} == {h.slug for h in IN_ORDER}
    kinds = {kind_of(exercise) for exercise in EXERCISES}
    assert kinds == {"predict", "reach", "repair", "autograd", "choose"}


def test_the_right_choice_may_stand_anywhere() -> None:
    choices = [e.choices for e in EXERCISES if isinstance(e, Choose)]
    places = [[choice.is_right for choice in found].index(True) for found in choices]
    assert max(Counter(places).values()) <= len(places) / 2
    assert len(set(places)) > 3


def test_the_chapters_stand_in_their_order() -> None:
    chapters = ["First steps", "PyTorch's graph", "Descending", "Networks", "Practice"]
    assert list(dict.fromkeys(lesson.chapter for lesson in IN_ORDER)) == chapters
    orders = [lesson.order for lesson in IN_ORDER]
    assert orders == sorted(set(orders)), "each has a place of its own, chapter after chapter"


def test_what_a_lesson_builds_on_comes_before_it() -> None:
    order = [lesson.slug for lesson in IN_ORDER]
    wrong = [
        f"{lesson.slug} comes before {slug}"
        for place, lesson in enumerate(IN_ORDER)
        for slug in lesson.builds_on
        if slug not in order[:place]
    ]
    assert wrong == []
    assert any(lesson.builds_on for lesson in IN_ORDER)
