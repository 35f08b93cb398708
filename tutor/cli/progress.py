"""`tutor progress`: lists, exports, imports or deletes the learner's progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tutor.cli.terminal import agrees, is_attended, print_exactly, screen, warn, word
from tutor.errors import ProgressError, UsageError
from tutor.export import new_file
from tutor.lesson import library
from tutor.lesson.library import OTHERS, Headline, by_chapter
from tutor.plain import json_text, one_line
from tutor.progress import (
    Counts,
    ExerciseSummary,
    PlaceRecord,
    Record,
    free_name,
    is_script_key,
    progress_file,
    time_text,
)
from tutor.progress.store import Store, lines_of, read_lines
from tutor.wording.layout import columns, cut
from tutor.wording.lesson_faults import hint_of
from tutor.wording.notices import progress_error_text, set_aside_text
from tutor.wording.number_format import counted


@dataclass(frozen=True)
class Overview:
    """The progress in one lesson."""

    slug: str
    headline: Headline | None
    """None: there is no such lesson any more, or it lies outside of the library."""
    exercises: tuple[ExerciseSummary, ...]
    """The exercises with progress that the lesson still has, in its order."""
    place: PlaceRecord | None

    @property
    def count(self) -> int | None:
        """The number of the lesson's exercises; None if that is not known."""
        return None if self.headline is None else len(self.headline.exercises)

    @property
    def chapter(self) -> str:
        """The title of the lesson's chapter; empty if it is in none."""
        return "" if self.headline is None else self.headline.chapter

    @property
    def last_visit(self) -> datetime | None:
        """The time of the latest entry."""
        times = [exercise.last for exercise in self.exercises]
        return max([*times, *([self.place.at] if self.place else [])], default=None)

    def how_many(self, state: str) -> int:
        """The number of exercises in this state."""
        return sum(exercise.state == state for exercise in self.exercises)


def overviews(
    exercises: Iterable[ExerciseSummary],
    places: Sequence[PlaceRecord],
    headlines: Sequence[Headline],
) -> list[Overview]:
    """The lessons with progress: in the library's order, then the others."""
    by_lesson: dict[str, list[ExerciseSummary]] = {}
    for exercise in exercises:
        by_lesson.setdefault(exercise.lesson, []).append(exercise)
    left = {place.lesson: place for place in places if not is_script_key(place.lesson)}
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
    if headline is None or headline.fault:
        return tuple(found)
    by_id = {exercise.exercise: exercise for exercise in found}
    return tuple(by_id[id_] for id_, _ in headline.exercises if id_ in by_id)


@dataclass(frozen=True)
class ChapterOverview:
    """The progress in one chapter."""

    title: str
    headlines: tuple[Headline, ...]
    begun: tuple[Overview, ...]
    """Its lessons with progress."""

    @property
    def count(self) -> int:
        """The number of exercises in its lessons."""
        return sum(len(headline.exercises) for headline in self.headlines)

    def how_many(self, state: str) -> int:
        """The number of exercises in this state."""
        return sum(overview.how_many(state) for overview in self.begun)


def chapter_overviews(
    found: Sequence[Overview], headlines: Sequence[Headline]
) -> list[ChapterOverview]:
    """All chapters in order, begun or not."""
    return [
        ChapterOverview(title, tuple(within), tuple(o for o in found if o.chapter == title))
        for title, within in by_chapter(headlines).items()
        if title not in ("", OTHERS)
    ]


# ── JSON ────────────────────────────────────────────────────────────────────────────


def json_of(found: Sequence[Overview], chapters: Sequence[ChapterOverview], store: Store) -> str:
    """An object; times are ISO 8601 in UTC, or null."""
    last = _last(found)
    shown = {
        "file": str(store.file),
        "trouble": progress_error_text(store.trouble) if store.trouble else "",
        "last": last.slug if last else None,
        "chapters": [_chapter_json(chapter) for chapter in chapters],
        "lessons": [_lesson_json(overview) for overview in found],
    }
    return json_text(shown)


def _chapter_json(chapter: ChapterOverview) -> dict[str, Any]:
    return {
        "title": chapter.title,
        "lessons": [headline.slug for headline in chapter.headlines],
        "done": chapter.how_many("done"),
        "skipped": chapter.how_many("skipped"),
        "of": chapter.count,
    }


def _lesson_json(overview: Overview) -> dict[str, Any]:
    place = overview.place
    return {
        "slug": overview.slug,
        "title": overview.headline.title if overview.headline else None,
        "chapter": overview.chapter or None,
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
    return None if at is None else time_text(at)


# ── The table ───────────────────────────────────────────────────────────────────────

_HEAD = ("lesson", "done", "tries", "hints", "last visit", "left at")
_NUMBERS = (1, 2, 3)
"""Columns that are set to the right."""


def print_table(found: Sequence[Overview], chapters: Sequence[ChapterOverview]) -> None:
    """Print a line for each chapter and for each lesson with progress, and the sums."""
    rows = [_HEAD, *_rows(found, chapters)]
    width = screen()
    for line in columns(rows, _NUMBERS):
        print(cut(line, width))
    print(f"\n{_sum(found)}")
    last = _last(found)
    if last is not None and last.headline is not None:
        print(f"You were last in {one_line(last.slug)}: `tutor {word(last.slug)}` opens it.")


def _rows(
    found: Sequence[Overview], chapters: Sequence[ChapterOverview]
) -> Iterator[tuple[str, ...]]:
    indent = "  " if chapters else ""
    for chapter in chapters:
        done = f"{chapter.how_many('done')} of {chapter.count}"
        yield (cut(one_line(chapter.title), 26), done, "", "", "", "")
        yield from (_row(overview, indent) for overview in chapter.begun)
    others = [overview for overview in found if not overview.chapter]
    if others and chapters:
        yield (OTHERS, "", "", "", "", "")
    yield from (_row(overview, indent) for overview in others)


def _row(overview: Overview, indent: str) -> tuple[str, ...]:
    done = overview.how_many("done")
    of = "" if overview.count is None else f" of {overview.count}"
    visit = overview.last_visit
    return (
        indent + cut(one_line(overview.slug), 24),
        "none here" if overview.count == 0 else f"{done}{of}",
        str(sum(exercise.tries for exercise in overview.exercises)),
        str(sum(exercise.hints for exercise in overview.exercises)),
        _day(visit, datetime.now().astimezone()) if visit else "",
        one_line(_place_words(overview.place)) if overview.place else "",
    )


def _place_words(place: PlaceRecord) -> str:
    where = f"epoch {place.epoch}" if place.epoch else "the start"
    run = f"run {place.fork}" if place.fork else ""
    return ", ".join(filter(None, (where, place.mode, place.exercise, run)))


def _day(at: datetime, now: datetime) -> str:
    """A day on the learner's clock, in at most 11 cells."""
    local = at.astimezone(now.tzinfo)
    days = (now.date() - local.date()).days
    if days in (0, 1):
        return f"today {local:%H:%M}" if days == 0 else "yesterday"
    return f"{local.day} {local:%b}" if local.year == now.year else f"{local:%Y-%m-%d}"


def _sum(found: Sequence[Overview]) -> str:
    done = sum(overview.how_many("done") for overview in found)
    skipped = sum(overview.how_many("skipped") for overview in found)
    also = f", {skipped} skipped" if skipped else ""
    return f"{counted(done, 'exercise')} done{also}, in {counted(len(found), 'lesson')}."


def _last(found: Sequence[Overview]) -> Overview | None:
    """The lesson where the learner was last."""
    left = [(overview.place.at, overview.slug, overview) for overview in found if overview.place]
    return max(left)[-1] if left else None


_LIMIT = 256 * 2**20
"""Bytes of a file to import."""


def progress_command(options: argparse.Namespace) -> None:
    """Do the action. Raises ProgressError if the progress can't be read or written."""
    actions = {"export": _export, "import": _import, "reset": _reset}
    with _progress_file() as store:
        actions.get(options.action, _show)(store, options)


@contextmanager
def _progress_file() -> Iterator[Store]:
    """The progress file; a problem that does not stop the command is printed."""
    store = Store(progress_file())
    try:
        if store.set_aside:
            warn(set_aside_text(store.set_aside))
        yield store
        if store.trouble:
            warn(progress_error_text(store.trouble))
    finally:
        store.close()


def _show(store: Store, options: argparse.Namespace) -> None:
    headlines = library.headlines()
    found = overviews(store.exercises(), store.places(), headlines)
    chapters = chapter_overviews(found, headlines)
    if options.json:
        print(json_of(found, chapters, store))
    elif found:
        print_table(found, chapters)
    else:
        usable = [headline.slug for headline in headlines if not headline.fault]
        print("Nothing has been done yet. Type `tutor` to choose a lesson", end="")
        print(f",\nor `tutor {one_line(usable[0])}` to begin with the first." if usable else ".")


def _export(store: Store, options: argparse.Namespace) -> None:
    records = store.records()
    if str(options.file) == "-":
        print_exactly("".join(lines_of(records)))
        return
    _write(records, options.file, options.force)
    print(one_line(f"{counted(len(records), 'entry')} written to {options.file}"))


def _import(store: Store, options: argparse.Namespace) -> None:
    name = "standard input" if str(options.file) == "-" else one_line(str(options.file))
    records = read_lines(_read(options.file, name).splitlines(), name)
    new = store.merge(records)
    if new.all:
        print(f"Added from the {counted(len(records), 'entry')} in {name}: {_words(new)}.")
    else:
        print(
            f"Nothing new in {name}: all of its {counted(len(records), 'entry')} are already here."
        )


def _reset(store: Store, options: argparse.Namespace) -> None:
    lesson = _lesson(store, options.lesson) if options.lesson else None
    count = len(store.records(lesson))
    if not count:
        print("There is nothing to delete.")
        return
    what = f"all progress in {one_line(lesson)}" if lesson else "all progress in all lessons"
    if not options.yes:
        if not is_attended():
            why = "there is no terminal to ask on; give --yes to delete without asking"
            raise UsageError(why)
        if not agrees(f"Delete {what} ({counted(count, 'entry')})?"):
            print("Nothing was deleted.")
            return
    backup = free_name(store.file, "backup", ".jsonl")
    store.forget(lesson, lambda records: _write(records, backup))
    print(
        f"Deleted {what}. A backup is kept; to restore it:\n"
        f"  tutor progress import {word(str(backup))}"
    )


def _lesson(store: Store, name: str) -> str:
    """The slug for a slug or a lesson's file. Raises UsageError if there is none."""
    known = {record.lesson for record in store.records()}
    slug = library.slug_of(Path(name)) if name.endswith(".md") else name
    if slug not in known and not any(h.slug == slug for h in library.headlines()):
        hint = hint_of(get_close_matches(slug, known, n=3))
        raise UsageError(one_line(f"nothing has been done in a lesson named `{slug}`{hint}"))
    return slug


def _read(path: Path, name: str) -> bytes:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_LIMIT + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_LIMIT + 1)
    except OSError as error:
        raise ProgressError("unreadable", file=name, words=error.strerror) from None
    if len(data) > _LIMIT:
        raise ProgressError("file_too_long", file=name)
    return data


def _write(records: Sequence[Record], path: Path, force: bool = False) -> None:
    with new_file(path, force) as file:
        file.writelines(lines_of(records))
        file.flush()
        os.fsync(file.fileno())  # the records are deleted after this: the backup must be on disk


def _words(new: Counts) -> str:
    """The number of new records in words: 12 exercise entries, 1 bookmark."""
    kinds = (("exercise entry", new.deeds), ("bookmark", new.places), ("draft", new.drafts))
    return ", ".join(counted(count, noun) for noun, count in kinds if count)
