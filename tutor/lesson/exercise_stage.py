"""The stage of an exercise: the keys `mode`, `learning_rate`, `seed`, `set` and `at`."""

from __future__ import annotations

import re

import msgspec

from tutor.lesson import scalars
from tutor.lesson.diagnostics import did_you_mean
from tutor.lesson.exercise import Setting, Stage, StartPlace
from tutor.lesson.exercise_context import ExerciseContext
from tutor.lesson.exercise_entry import ExerciseEntry
from tutor.lesson.model import PHASES, SETUP

STAGE_KEYS = {
    "mode": "autograd",
    "learning_rate": "0.1",
    "seed": "3",
    "set": "{w: 3}",
    "at": "1 gradient",
}
"""The keys of a stage, with an example of each."""

_PLACE = re.compile(r"(\d{1,9}) +([A-Za-z]+)(?: +(\d{1,9}))?")
_TARGET = re.compile(r"([^\W\d]\w*)(?:\[( *\d{1,9} *(?:, *\d{1,9} *)*)\])?")


def stage_of(
    entry: ExerciseEntry,
    context: ExerciseContext,
    base: Stage | None = None,
    *,
    start: StartPlace = StartPlace(),  # noqa: B008 - it is frozen
    repaired: str = "",
) -> Stage:
    """The stage that the keys of `entry` say; what they leave out is as in `base`.

    Without a `base`, `start` is where a run stands that `at` says nothing of.
    `repaired` is a phase that runs in this exercise whether or not the mode has code for it.
    """
    was = base or Stage(mode=context.modes[0], at=start)
    mode = mode_of(entry, context, was.mode)
    at = _place_of(entry, context) if "at" in entry else was.at
    settings = settings_of(entry, context, mode) if "set" in entry else was.settings
    if "at" in entry or "mode" in entry or base is None:
        key = "at" if "at" in entry else "mode"
        if wrong := context.why_not_place(mode, at, repaired):
            entry.diagnostic(key, wrong)
    if "mode" in entry and "set" not in entry:
        for setting in settings:
            if wrong := context.why_not_parameter(mode, setting.parameter):
                entry.diagnostic("mode", f"{wrong} (it is in `set`)")
    return Stage(
        mode=mode,
        learning_rate=entry.optional("learning_rate", scalars.RATE) or was.learning_rate,
        seed=entry.one("seed", scalars.at_least(0), was.seed),
        settings=settings,
        at=at,
    )


def mode_of(entry: ExerciseEntry, context: ExerciseContext, default: str) -> str:
    """The mode that an entry names."""
    mode = entry.one("mode", scalars.MODE, default)
    if wrong := context.why_not_mode(mode):
        entry.diagnostic("mode", wrong)
    return mode


def settings_of(entry: ExerciseEntry, context: ExerciseContext, mode: str) -> tuple[Setting, ...]:
    """The numbers under `set`."""
    found: dict[tuple[str, tuple[int, ...]], Setting] = {}
    for key, node in entry.pairs("set", STAGE_KEYS["set"]):
        value = entry.value(key, node, scalars.NUMBER)
        target = _TARGET.fullmatch(key.strip())
        if target is None:
            entry.diagnostic(
                f"set.{key}", f"`{key}` names no number; write one such as `w: 3` or `W[0,1]: 3`"
            )
            continue
        name, index = target[1], tuple(int(i) for i in (target[2] or "").split(",") if i)
        if wrong := context.why_not_parameter(mode, name):
            entry.diagnostic(f"set.{key}", wrong)
        elif (name, index) in found:
            entry.diagnostic(f"set.{key}", f"`{key}` is set twice; keep one of them")
        elif value is not None:
            found[name, index] = Setting(name, index, value)
    return tuple(found.values())


def one_epoch_later(stage: Stage, context: ExerciseContext) -> Stage:
    """The same question with other numbers, where the author gives none."""
    at = stage.at
    batch = min(at.batch, context.batches) if at.epoch == 0 else at.batch
    return msgspec.structs.replace(stage, at=StartPlace(at.epoch + 1, at.phase, batch))


def _place_of(entry: ExerciseEntry, context: ExerciseContext) -> StartPlace:
    """The place that `at` names; the start, and a diagnostic, if it can't be read."""
    written = entry.one("at", scalars.TEXT, "")
    found = _PLACE.fullmatch(written)
    if found is None:
        if written:
            entry.diagnostic(
                "at",
                f"`at` must be EPOCH PHASE or EPOCH PHASE BATCH, not `{written}`; "
                "write `at: 1 gradient`",
            )
        return StartPlace()
    epoch, phase, batch = int(found[1]), found[2].capitalize(), int(found[3] or 1)
    if phase == SETUP:
        entry.diagnostic("at", "Setup runs before anything else; leave `at` out to begin after it")
        return StartPlace()
    if phase not in PHASES:
        known = [p.lower() for p in PHASES if p != SETUP]
        entry.diagnostic("at", f"unknown phase `{found[2]}`{did_you_mean(found[2], known)}")
        return StartPlace()
    if batch == 0:
        entry.diagnostic("at", "batches count from 1; write `at: 1 gradient 1`")
        return StartPlace()
    return StartPlace(epoch, phase, batch)
