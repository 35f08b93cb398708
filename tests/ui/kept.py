"""A journal in memory, with things done and a lesson left."""

from __future__ import annotations

from msgspec.structs import replace

from tutor.lesson.library import Headline
from tutor.progress import ExerciseResult
from tutor.protocol.frame import Change, Position, RunRecipe
from tutor.session.bookmark import Bookmark
from tutor.session.journal import Journal
from tutor.ui.app import TutorApp
from tutor.ui.screens.lesson_list import LessonsPane

from .lessons import headline, lesson

KINDS = (("first", "predict"), ("second", "repair"), ("third", "predict"))


def curriculum() -> tuple[Headline, ...]:
    """Twenty-four lessons, each of which builds on the one before."""
    slugs = ["line", "xor", *(f"lesson-{n}" for n in range(3, 25))]
    return tuple(
        replace(
            headline(slug, f"The lesson {slug}"),
            exercises=KINDS,
            builds_on=(slugs[i - 1],) if i else (),
        )
        for i, slug in enumerate(slugs)
    )


def in_chapters() -> tuple[Headline, ...]:
    """Twenty-one lessons: three to five in each of five chapters, and the learner's own, last."""
    chapters = ("First steps", "PyTorch's graph", "Descending", "Networks", "Practice")
    sizes = (5, 5, 4, 3, 3)
    places = [chapter for chapter, size in zip(chapters, sizes, strict=True) for _ in range(size)]
    return tuple(
        replace(
            headline(f"lesson-{n}", f"Lesson {n}"),
            exercises=KINDS,
            builds_on=(f"lesson-{n - 1}",) if n > 1 else (),
            chapter=chapter,
        )
        for n, chapter in enumerate((*places, ""), 1)
    )


def chosen_in_view(app: TutorApp) -> str:
    """The chosen row, which must be in view."""
    pane = app.screen.query_one(LessonsPane)
    top, height = pane.scroll_offset.y, pane.scrollable_content_region.height
    assert top <= pane.chosen < top + height
    return pane.lines[pane.chosen].plain


def left(slug: str = "line", exercise: str = "", epoch: int = 3) -> Bookmark:
    """Left in mode autograd, to which it was switched on the way."""
    of = lesson(slug)
    recipe = RunRecipe("manual", "cpu", 0.01, 0, (Change(Position(1, 0), mode="autograd"),))
    return Bookmark(
        slug=slug,
        path=str(of.path),
        fingerprint=of.fingerprint(),
        language="en",
        recipe=recipe,
        at=Position(epoch, 2),
        exercise=exercise,
    )


class Kept(Journal):
    """Holds what a test says has been done."""

    def __init__(
        self, last: Bookmark | None = None, done: dict[str, dict[str, ExerciseResult]] | None = None
    ) -> None:
        self.last, self.done = last, done or {}
        self.asked = 0

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        self.asked += 1
        return self.done.get(lesson, {})

    def save_bookmark(self, bookmark: Bookmark) -> None:
        self.last = bookmark

    def bookmark_of(self, lesson: str) -> Bookmark | None:
        return self.last if self.last and self.last.slug == lesson else None

    def last_bookmark(self) -> Bookmark | None:
        return self.last
