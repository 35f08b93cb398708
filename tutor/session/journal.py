"""The learner's progress as the session saves it, and the bookmark of a lesson or a script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.plain import one_line
from tutor.progress.records import SCRIPT_KEY, ExerciseResult, PlaceRecord
from tutor.protocol.frame import Frame, Position, RunRecipe, settings_after
from tutor.protocol.inspections import RunInfo
from tutor.session.run_view import Notice

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt
    from tutor.session.engine_session import EngineSession


LONGEST_KEY = 200
"""Characters of the key of a bookmark."""

_LENGTH = 12
"""Hex digits that stand for a loop and arguments."""


def script_key(path: Path, options: ScriptOptions | None = None) -> str:
    """The key of a script's bookmark: its path, and its loop, arguments and ranks where it has any.

    A path that no record may hold, as it is too long or not printable, is replaced by its digest.
    """
    import hashlib  # noqa: PLC0415 - loads OpenSSL; the menu needs no digest

    text = os.path.abspath(path)
    if not text.isprintable() or len(text) > LONGEST_KEY - len(SCRIPT_KEY) - _LENGTH - 1:
        text = hashlib.sha256(os.fsencode(text)).hexdigest()
    run: tuple[object, ...] = (options.loop, options.arguments) if options else (1, ())
    run += (options.workers,) if options and options.workers > 1 else ()
    if run == (1, ()):
        return SCRIPT_KEY + text
    return f"{SCRIPT_KEY}{text}#{hashlib.sha256(repr(run).encode()).hexdigest()[:_LENGTH]}"


def is_of_script(key: str, script: str) -> bool:
    """Whether a key belongs to a script, which is named by its key, in any loop."""
    return key == script or (key.startswith(f"{script}#") and len(key) == len(script) + _LENGTH + 1)


def as_left(lesson: Lesson, left: ScriptOptions | None) -> Lesson:
    """A script with the loop, the arguments and the ranks that it was left with.

    The script is returned as it is if it no longer has that loop.
    """
    own = lesson.script
    if own is None or left is None:
        return lesson
    options = replace(own, loop=left.loop, arguments=left.arguments, workers=left.workers)
    if options == own:
        return lesson
    if left.loop == own.loop:
        return replace(lesson, script=options, workers=left.workers)
    from tutor.script.lesson import lesson_of_script  # noqa: PLC0415 - no lesson needs it
    from tutor.script.loops import outline_of  # noqa: PLC0415 - likewise
    from tutor.script.source import ScriptSource  # noqa: PLC0415 - likewise

    outline = outline_of(lesson.source)
    if left.loop > len(outline.loops):
        return lesson
    source = ScriptSource(path=lesson.path, text=lesson.source, digest=lesson.digest)
    return lesson_of_script(source, outline, options)


def next_to_do(exercises: Iterable[str], results: Mapping[str, ExerciseResult]) -> str | None:
    """The first exercise that is neither done nor skipped; else the first that was skipped.

    None if all are done.
    """
    left = [id_ for id_ in exercises if results.get(id_) != "done"]
    return next((id_ for id_ in left if results.get(id_) != "skipped"), next(iter(left), None))


class UnfinishedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """The progress in an exercise that is not done. Its fields are those of `Bookmark`."""

    exercise: str
    round: int = 0
    step: int = 0
    tries: int = 0
    hints: int = 0
    typed: str = ""


class Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """The place where a lesson was left, with all the data that is needed to resume there."""

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
    goal: int = 0
    """The epoch that the run went to."""
    runs: tuple[RunInfo, ...] = ()
    """All runs, without their curves."""
    exercise: str = ""
    """The id of the current exercise; its own run is set up anew."""
    round: int = 0
    """The number of times that its question had been asked again."""
    step: int = 0
    """The number of its current question, from 1; 0 where it has only one."""
    tries: int = 0
    hints: int = 0
    typed: str = ""
    """The text in its field, not answered yet."""
    is_editing: bool = False
    """Whether its code was open in the editor."""
    unfinished: tuple[UnfinishedAttempt, ...] = msgspec.field(default=(), name="halfway")
    """The other exercises that were begun and left."""
    script: ScriptOptions | None = None
    """The loop and the arguments of a script."""
    raw_path: bytes = b""
    """The path as bytes if its name is not UTF-8; then `path` is only for display."""

    @property
    def current(self) -> UnfinishedAttempt:
        """The attempt at the current exercise."""
        fields = UnfinishedAttempt.__struct_fields__
        return UnfinishedAttempt(**{name: getattr(self, name) for name in fields})

    @property
    def settings(self) -> tuple[str, str, float, int]:
        """Mode, device, learning rate and seed at its position."""
        made = (change for change in self.recipe.changes if change.at <= self.at)
        return settings_after(made, self.recipe)

    @property
    def file(self) -> Path:
        """The lesson's file."""
        return Path(os.fsdecode(self.raw_path) if self.raw_path else self.path)


def key_of(lesson: Lesson) -> str:
    """The name of a lesson in the journal: its slug, or the key of a script."""
    return script_key(lesson.path, lesson.script) if lesson.script else lesson.slug


def left_notice(lesson: Lesson, bookmark: Bookmark) -> Notice:
    """The notice of where a lesson was left; for a script also whether it has changed since."""
    epoch = bookmark.at.epoch
    if lesson.script is not None:
        left = as_left(lesson, bookmark.script)
        if bookmark.fingerprint != left.fingerprint():
            return Notice("script_changed")
        if left is lesson or left.script is None:
            return Notice("script_left_in_epoch", {"epoch": epoch})
        loop = left.script.loop if left.script.loop != lesson.script.loop else None
        run = {"loop": loop, "arguments": left.script.arguments}
        return Notice("script_left_in_run", {"epoch": epoch, **run})
    if bookmark.exercise:
        return Notice("left_at_exercise", {"id": bookmark.exercise})
    return Notice("left_in_epoch", {"epoch": epoch})


class Draft(msgspec.Struct, frozen=True):
    """A learner's code for a Repair."""

    code: str
    is_own: bool = True
    """Whether it was typed, or agreed to, on this machine; otherwise the learner is asked first."""


class Journal:
    """The store of the learner's progress; this base class saves nothing.

    No method ever raises; only `flush` blocks.
    """

    def record_result(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        """Record a result of an exercise of the lesson with this slug."""

    def save_bookmark(self, bookmark: Bookmark) -> None:
        """Save the bookmark of a lesson."""

    def save_draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        """Save the learner's code for a Repair."""

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        """The learner's code for a Repair; None if there is none."""
        return None

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        """The best result so far, by exercise (done before skipped before tried)."""
        return {}

    def bookmark_of(self, lesson: str) -> Bookmark | None:
        """The bookmark of a lesson; None if there is none that can be read."""
        return None

    def last_bookmark(self, script: str = "") -> Bookmark | None:
        """The latest bookmark of all lessons, or of all loops of the script with this key."""
        return None

    def refresh(self) -> None:
        """Include records of other processes in the next query."""

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait up to `timeout` seconds until all is written; returns whether it is."""
        return True

    @property
    def trouble(self) -> Notice:
        """The reason why nothing is saved; mostly empty."""
        return Notice()


_MOST = 10**12
"""More than any count that a run comes to in a lifetime."""

_MOST_STEPS = 2**62
"""More than the step that stands for the end of an epoch (END of a run)."""


def packed(left: Bookmark, at: datetime) -> PlaceRecord:
    """The record of a bookmark, with the settings that hold at its position."""
    mode, device, learning_rate, _ = left.settings
    forks = [run.name for run in left.runs if run.is_current and len(left.runs) > 1]
    return PlaceRecord(
        lesson=left.slug,
        at=at,
        mode=mode,
        device=device,
        learning_rate=learning_rate,
        epoch=left.at.epoch,
        step=left.at.step,
        fork=forks[0] if forks else "",
        exercise=left.exercise,
        data=msgspec.msgpack.encode(left),
    )


def unpacked(data: bytes) -> Bookmark | None:
    """The packed bookmark; None if it can't be read or is not plausible.

    It may come from another version of the tutor, or from a file of unknown origin.
    """
    try:
        left = msgspec.msgpack.decode(data, type=Bookmark)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return left if _is_plausible(left) else None


def _is_plausible(left: Bookmark) -> bool:
    """Whether its names are printable and its numbers possible."""
    recipes = [left.recipe, *(run.recipe for run in left.runs if run.recipe)]
    changes = [c for recipe in recipes for c in recipe.changes]
    changes += [c for run in left.runs for c in run.changes]
    names = [left.slug, *(run.name for run in left.runs)]
    names += [text for recipe in recipes for text in (recipe.mode, recipe.device)]
    names += [text for run in left.runs for text in (run.mode, run.device)]
    names += [text for change in changes for text in (change.mode, change.device) if text]
    places = [left.at, left.before, *(change.at for change in changes)]
    places += [place for run in left.runs for place in (run.forked_at, run.reached)]
    counts = [place.epoch for place in places if place]
    steps = [place.step for place in places if place]
    counts += [left.goal, left.round, left.step, left.tries, left.hints]
    counts += [run.furthest for run in left.runs]
    counts += [count for half in left.unfinished for count in (half.round, half.step)]
    counts += [count for half in left.unfinished for count in (half.tries, half.hints)]
    seeds = [recipe.seed for recipe in recipes] + [run.seed for run in left.runs]
    seeds += [change.seed for change in changes if change.seed is not None]
    return (
        all(name.isprintable() and len(name) <= LONGEST_KEY for name in names)
        and all(0 <= count <= _MOST for count in counts)
        and all(0 <= step <= _MOST_STEPS for step in steps)
        and all(0 <= seed < 2**64 for seed in seeds)
    )


@dataclass(frozen=True, slots=True)
class PausedRun:
    """The learner's own run of the lesson while an exercise is on."""

    lesson: Lesson
    recipe: RunRecipe
    at: Position
    runs: tuple[RunInfo, ...]
    """All runs, without their curves."""
    goal: int
    before: Frame | None = None
    """The frame that the present one is compared with."""

    @property
    def has_begun(self) -> bool:
        """Whether the learner has done anything that a bookmark would keep."""
        return self.at > Position(0, 0) or bool(self.recipe.changes) or len(self.runs) > 1

    def reopen(self, engine_session: EngineSession) -> None:
        """Open the run again, as it was."""
        runs, goal = self.runs, self.goal
        engine_session.open_run(self.lesson, self.recipe, self.at, runs, goal, before=self.before)

    def bookmark(
        self, attempt: Attempt | None = None, others: tuple[UnfinishedAttempt, ...] = ()
    ) -> Bookmark:
        """The bookmark of this run, with the current attempt and the other unfinished ones."""
        lesson = self.lesson
        current = unfinished(attempt) if attempt else UnfinishedAttempt(exercise="")
        return Bookmark(
            slug=key_of(lesson),
            path=one_line(str(lesson.path)),
            raw_path=b"" if str(lesson.path).isprintable() else bytes(lesson.path),
            fingerprint=lesson.fingerprint(),
            script=lesson.script and msgspec.structs.replace(lesson.script, modules=None),
            language=lesson.language,
            recipe=self.recipe,
            at=self.at,
            before=self._position_before(),
            goal=self.goal,
            runs=self.runs,
            **msgspec.structs.asdict(current),
            is_editing=attempt is not None and attempt.is_editing,
            unfinished=others,
        )

    def _position_before(self) -> Position | None:
        """The position of the frame before; None if this run has never been there."""
        place = self.before.at if self.before else None
        reached = next((run.reached for run in self.runs if run.is_current), None)
        is_there = place is not None and reached is not None and place <= reached
        return place if is_there and place != self.at else None


def paused_run(engine_session: EngineSession) -> PausedRun | None:
    """The present run; None while there is none."""
    view, recipe = engine_session.view, engine_session.recipe
    if view is None or view.frame is None or recipe is None:
        return None
    runs = tuple(msgspec.structs.replace(run, curve=None) for run in view.runs)
    return PausedRun(view.lesson, recipe, view.frame.at, runs, view.goal, view.before)


def unfinished(attempt: Attempt) -> UnfinishedAttempt:
    """The part of an attempt that is saved; after a wrong answer the next round is asked."""
    return UnfinishedAttempt(
        exercise=attempt.exercise.id,
        round=attempt.round + (attempt.state == "wrong"),
        step=attempt.step,
        tries=attempt.tries,
        hints=len(attempt.hints),
        typed=attempt.typed,
    )
