"""The bookmark of a lesson or a script: its key, its data, and how the progress file holds it.

It is made of the learner's own run, which is set aside while an exercise is on.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.plain import one_line
from tutor.progress import SCRIPT_KEY, PlaceRecord
from tutor.protocol.frame import EPOCH_END, Frame, Position, RunRecipe, settings_after
from tutor.protocol.inspections import RunInfo
from tutor.session.run_view import Notice

LONGEST_KEY = 200
"""Characters of the key of a bookmark."""

_DIGEST_LENGTH = 12
"""Hex digits that stand for a loop and arguments."""


# ── Keys ────────────────────────────────────────────────────────────────────────────


def key_of(lesson: Lesson) -> str:
    """The key of a lesson's bookmark: its slug, or the key of a script."""
    return script_key(lesson.path, lesson.script) if lesson.script else lesson.slug


def script_key(path: Path, options: ScriptOptions | None = None) -> str:
    """The key of a script's bookmark: its path, and its loop, arguments and ranks where it has any.

    A path that no record may hold, as it is too long or not printable, is replaced by its digest.
    """
    import hashlib  # noqa: PLC0415 - loads OpenSSL; the menu needs no digest

    text = os.path.abspath(path)
    if not text.isprintable() or len(text) > LONGEST_KEY - len(SCRIPT_KEY) - _DIGEST_LENGTH - 1:
        text = hashlib.sha256(os.fsencode(text)).hexdigest()
    run: tuple[object, ...] = (options.loop, options.arguments) if options else (1, ())
    run += (options.workers,) if options and options.workers > 1 else ()
    if run == (1, ()):
        return SCRIPT_KEY + text
    return f"{SCRIPT_KEY}{text}#{hashlib.sha256(repr(run).encode()).hexdigest()[:_DIGEST_LENGTH]}"


def is_key_of_script(key: str, script: str) -> bool:
    """Whether a key is of this script, which is named by its key, in any loop."""
    length = len(script) + 1 + _DIGEST_LENGTH
    return key == script or (key.startswith(f"{script}#") and len(key) == length)


# ── Data ────────────────────────────────────────────────────────────────────────────


class UnfinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that can be resumed: the learner's own, or that of a goal that is not reached."""

    recipe: RunRecipe
    at: Position
    runs: tuple[RunInfo, ...] = ()
    """All runs, without their curves."""
    target_epoch: int = 0


class UnfinishedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """The progress in an exercise that is not done."""

    exercise: str
    round: int = 0
    """The number of times that its question had been asked again."""
    question: int = msgspec.field(default=0, name="step")
    """The number of its current question, from 1; 0 where it has only one."""
    tries: int = 0
    hints: int = 0
    typed: str = ""
    """The text in its field, not answered yet."""
    run: UnfinishedRun | None = None
    """Its run, where that is the learner's own doing: to resume there."""


class Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """The place where a lesson was left, with all the data that is needed to resume there.

    Some fields are encoded under the names that they have in the bookmarks of older versions.
    """

    slug: str
    """The lesson's, or the key of a script (`key_of`)."""
    path: str
    fingerprint: str
    """The fingerprint of the lesson's code at that time."""
    language: str
    recipe: RunRecipe = msgspec.field(name="record")
    at: Position
    before: Position | None = None
    """The position of the frame that this one was compared with, if a replay passes it."""
    target_epoch: int = msgspec.field(default=0, name="goal")
    """The epoch that the run went to."""
    runs: tuple[RunInfo, ...] = ()
    """All runs, without their curves."""
    exercise: str = ""
    """The id of the current exercise; empty if none was on. Its own run is set up anew."""
    is_editing: bool = False
    """Whether its code was open in the editor."""
    unfinished: tuple[UnfinishedAttempt, ...] = msgspec.field(default=(), name="halfway")
    """The exercises that were begun and are not done, the current one included."""
    script: ScriptOptions | None = None
    """The loop and the arguments of a script."""
    raw_path: bytes = b""
    """The path as bytes if it is not printable; then `path` is only for display."""

    @property
    def settings(self) -> tuple[str, str, float, int]:
        """Mode, device, learning rate and seed at its position."""
        made = (change for change in self.recipe.changes if change.at <= self.at)
        return settings_after(made, self.recipe)

    @property
    def is_at_start(self) -> bool:
        """Whether it is at the start of a run that has not been changed: nothing leads there."""
        return self.at == Position(0, 0) and not self.recipe.changes

    @property
    def file(self) -> Path:
        """The lesson's file."""
        return Path(os.fsdecode(self.raw_path) if self.raw_path else self.path)


class LearnersRun(msgspec.Struct, frozen=True):
    """The learner's own run of the lesson; it is set aside while an exercise is on."""

    lesson: Lesson
    run: UnfinishedRun
    before: Frame | None = None
    """The frame that the present one is compared with."""

    @property
    def has_begun(self) -> bool:
        """Whether the learner has done anything that a bookmark would keep."""
        run = self.run
        return run.at > Position(0, 0) or bool(run.recipe.changes) or len(run.runs) > 1

    def bookmark(
        self,
        exercise: str = "",
        unfinished: tuple[UnfinishedAttempt, ...] = (),
        *,
        is_editing: bool = False,
    ) -> Bookmark:
        """The bookmark of this run and the current exercise, which is among the unfinished ones."""
        lesson = self.lesson
        return Bookmark(
            slug=key_of(lesson),
            path=one_line(str(lesson.path)),
            raw_path=b"" if str(lesson.path).isprintable() else bytes(lesson.path),
            fingerprint=lesson.fingerprint(),
            script=lesson.script and msgspec.structs.replace(lesson.script, modules=None),
            language=lesson.language,
            before=self._position_before(),
            exercise=exercise,
            is_editing=is_editing,
            unfinished=unfinished,
            **msgspec.structs.asdict(self.run),
        )

    def _position_before(self) -> Position | None:
        """The position of the frame before; None if this run has never been there."""
        place = self.before.at if self.before else None
        furthest = next((run.furthest for run in self.run.runs if run.is_current), None)
        is_there = place is not None and furthest is not None and place <= furthest
        return place if is_there and place != self.run.at else None


def lesson_as_left(lesson: Lesson, bookmark: Bookmark) -> Lesson:
    """The lesson; of a script, in the loop, with the arguments and on the ranks of the bookmark.

    The script is returned as it is if it no longer has that loop.
    """
    if lesson.script is None or bookmark.script is None:
        return lesson
    from tutor.script.lesson import in_other_run  # noqa: PLC0415 - no lesson needs it

    return in_other_run(lesson, bookmark.script)


def left_notice(lesson: Lesson, bookmark: Bookmark) -> Notice:
    """The notice of where a lesson was left; for a script also whether it has changed since."""
    epoch = bookmark.at.epoch
    if lesson.script is not None:
        as_left = lesson_as_left(lesson, bookmark)
        if bookmark.fingerprint != as_left.fingerprint():
            return Notice("script_changed")
        is_here = as_left is lesson or as_left.script is None
        if is_here and bookmark.is_at_start:
            return Notice()
        if as_left is lesson or as_left.script is None:
            return Notice("script_left_in_epoch", {"epoch": epoch})
        loop = as_left.script.loop if as_left.script.loop != lesson.script.loop else None
        run = {"loop": loop, "arguments": as_left.script.arguments}
        return Notice("script_left_in_run", {"epoch": epoch, **run})
    if bookmark.exercise:
        return Notice("left_at_exercise", {"id": bookmark.exercise})
    if bookmark.is_at_start:
        return Notice()
    return Notice("left_in_epoch", {"epoch": epoch})


# ── Records ─────────────────────────────────────────────────────────────────────────

_MOST = 10**12
"""More than any count that a run comes to in a lifetime."""
_MOST_OF = {"step": EPOCH_END, "seed": 2**64 - 1}
"""The greatest numbers of the fields that may be greater."""
_FREE = ("path", "script", "typed", "parameter", "index")
"""Fields that the learner, or the code, may fill with anything."""


def packed(bookmark: Bookmark, at: datetime) -> PlaceRecord:
    """The record of a bookmark, with the settings that hold at its position."""
    mode, device, learning_rate, _ = bookmark.settings
    forks = [run.name for run in bookmark.runs if run.is_current and len(bookmark.runs) > 1]
    return PlaceRecord(
        lesson=bookmark.slug,
        at=at,
        mode=mode,
        device=device,
        learning_rate=learning_rate,
        epoch=bookmark.at.epoch,
        step=bookmark.at.step,
        fork=forks[0] if forks else "",
        exercise=bookmark.exercise,
        data=msgspec.msgpack.encode(bookmark),
    )


def unpacked(data: bytes) -> Bookmark | None:
    """The packed bookmark; None if it can't be read or is not plausible.

    It may come from another version of the tutor, or from a file of unknown origin.
    """
    try:
        fields = _with_current_attempt(msgspec.msgpack.decode(data, type=dict[str, Any]))
        bookmark = msgspec.convert(fields, Bookmark)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        return None
    return bookmark if _is_plausible(bookmark) else None


def _with_current_attempt(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a bookmark, with the current attempt among the unfinished ones.

    Older versions wrote that attempt's fields beside the bookmark's own.
    """
    names = ("round", "step", "tries", "hints", "typed")
    attempt = {name: fields[name] for name in names if name in fields}
    if not attempt or not fields.get("exercise"):
        return fields
    current = {"exercise": fields["exercise"], **attempt}
    return {**fields, "halfway": [*fields.get("halfway", ()), current]}


def _is_plausible(value: object, name: str = "") -> bool:
    """Whether all texts in a field of this name are short and printable, all numbers possible."""
    if name in _FREE:
        return True
    match value:
        case str():
            return value.isprintable() and len(value) <= LONGEST_KEY
        case int():
            return 0 <= value <= _MOST_OF.get(name, _MOST)
        case tuple():
            return all(_is_plausible(item, name) for item in value)
        case msgspec.Struct():
            names = value.__struct_fields__
            return all(_is_plausible(getattr(value, field), field) for field in names)
    return True
