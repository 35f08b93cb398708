"""The progress as a table for a screen of 80 columns, and as JSON for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tutor.cli.columns import columns, cut, screen
from tutor.lesson.library import Headline
from tutor.plain import json_text, one_line
from tutor.progress.records import ExerciseSummary, PlaceRecord, text_of
from tutor.progress.store import Store


@dataclass(frozen=True)
class Overview:
    """One lesson that something has been done in."""

    slug: str
    headline: Headline | None
    """None: there is no such lesson any more, or it lies outside of the library."""
    exercises: tuple[ExerciseSummary, ...]
    """Those that something happened at and that are still there, in the lesson's order."""
    place: PlaceRecord | None

    @property
    def count(self) -> int | None:
        """How many exercises the lesson has; None if that is not known."""
        return None if self.headline is None else len(self.headline.exercises)

    @property
    def last_visit(self) -> datetime | None:
        """When anything happened in it last."""
        times = [exercise.last for exercise in self.exercises]
        return max([*times, *([self.place.at] if self.place else [])], default=None)

    def how_many(self, state: str) -> int:
        """How many of the exercises are in this state."""
        return sum(exercise.state == state for exercise in self.exercises)


def overviews(
    exercises: Iterable[ExerciseSummary],
    places: Sequence[PlaceRecord],
    headlines: Sequence[Headline],
) -> list[Overview]:
    """The lessons that something has been done in: in the library's order, then the others."""
    by_lesson: dict[str, list[ExerciseSummary]] = {}
    for exercise in exercises:
        by_lesson.setdefault(exercise.lesson, []).append(exercise)
    left = {place.lesson: place for place in places}
    known = {headline.slug: headline for headline in reversed(headlines)}
    order = {headline.slug: number for number, headline in enumerate(headlines)}
    slugs = sorted({*by_lesson, *left}, key=lambda slug: (order.get(slug, len(order)), slug))
    return [
        Overview(
            slug,
            known.get(slug),
            _in_order(by_lesson.get(slug, []), known.get(slug)),
            left.get(slug),
        )
        for slug in slugs
    ]


def _in_order(
    found: list[ExerciseSummary], headline: Headline | None
) -> tuple[ExerciseSummary, ...]:
    if headline is None or headline.diagnostic:
        return tuple(found)
    by_id = {exercise.exercise: exercise for exercise in found}
    return tuple(by_id[id_] for id_, _ in headline.exercises if id_ in by_id)


# ── JSON ────────────────────────────────────────────────────────────────────────────


def json_of(found: Sequence[Overview], store: Store) -> str:
    """An object; times are ISO 8601 in UTC, or null."""
    last = _last(found)
    shown = {
        "file": str(store.file),
        "trouble": store.trouble,
        "last": last.slug if last else None,
        "lessons": [_lesson_json(overview) for overview in found],
    }
    return json_text(shown)


def _lesson_json(overview: Overview) -> dict[str, Any]:
    place = overview.place
    return {
        "slug": overview.slug,
        "title": overview.headline.title if overview.headline else None,
        "done": overview.how_many("done"),
        "skipped": overview.how_many("skipped"),
        "of": overview.count,
        "last_visit": _time(overview.last_visit),
        "exercises": [_exercise_json(exercise) for exercise in overview.exercises],
        "left": place
        and {
            "at": _time(place.at),
            "mode": place.mode,
            "device": place.device,
            "learning_rate": place.learning_rate,
            "epoch": place.epoch,
            "step": place.step,
            "fork": place.fork or None,
            "exercise": place.exercise or None,
        },
    }


def _exercise_json(exercise: ExerciseSummary) -> dict[str, Any]:
    return {
        "id": exercise.exercise,
        "kind": exercise.kind,
        "state": exercise.state,
        "tries": exercise.tries,
        "hints": exercise.hints,
        "first_done": _time(exercise.first_done),
        "last": _time(exercise.last),
        "solution_seen_first": exercise.was_shown_first,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else text_of(at)


# ── The table ───────────────────────────────────────────────────────────────────────

_HEAD = ("lesson", "done", "tries", "hints", "last visit", "left at")
_NUMBERS = (1, 2, 3)
"""Columns that are set to the right."""


def print_table(found: Sequence[Overview]) -> None:
    """A line for each lesson, and what it all comes to."""
    rows = [_HEAD, *(_row(overview) for overview in found)]
    width = screen()
    for line in columns(rows, _NUMBERS):
        print(cut(line, width))
    print(f"\n{_sum(found)}")
    last = _last(found)
    if last is not None and last.headline is not None:
        slug = one_line(last.slug)
        print(f"You were last in {slug}: `tutor {slug}` opens it.")


def _row(overview: Overview) -> tuple[str, ...]:
    done = overview.how_many("done")
    of = "" if overview.count is None else f" of {overview.count}"
    visit = overview.last_visit
    return (
        cut(one_line(overview.slug), 24),
        "none here" if overview.count == 0 else f"{done}{of}",
        str(sum(exercise.tries for exercise in overview.exercises)),
        str(sum(exercise.hints for exercise in overview.exercises)),
        _day(visit, datetime.now().astimezone()) if visit else "",
        one_line(_place(overview.place)) if overview.place else "",
    )


def _place(place: PlaceRecord) -> str:
    where = f"epoch {place.epoch}" if place.epoch else "the start"
    run = f"run {place.fork}" if place.fork else ""
    return ", ".join(filter(None, (where, place.mode, place.exercise, run)))


def _day(at: datetime, now: datetime) -> str:
    """At most 11 cells, on the learner's clock."""
    local = at.astimezone(now.tzinfo)
    days = (now.date() - local.date()).days
    if days in (0, 1):
        return f"today {local:%H:%M}" if days == 0 else "yesterday"
    return f"{local.day} {local:%b}" if local.year == now.year else f"{local:%Y-%m-%d}"


def _sum(found: Sequence[Overview]) -> str:
    done = sum(overview.how_many("done") for overview in found)
    skipped = sum(overview.how_many("skipped") for overview in found)
    lessons = f"{len(found)} lesson{'' if len(found) == 1 else 's'}"
    also = f", {skipped} skipped" if skipped else ""
    return f"{done} exercise{'' if done == 1 else 's'} done{also}, in {lessons}."


def _last(found: Sequence[Overview]) -> Overview | None:
    """Where the learner was last."""
    left = [(overview.place.at, overview.slug, overview) for overview in found if overview.place]
    return max(left)[-1] if left else None
