"""Up to four runs of one lesson by name: forks, ghosts, and going from one to another.

One of them is the current run. A change made in its past keeps the run as it was, under its name,
and continues as a new one. A kept run is its RunRecipe and its History; a Run with namespaces of
its own is built from them when a frame of it is wanted. A run's name is the letter that it is
given, or a short name of the learner's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from tutor.errors import Refused
from tutor.protocol.commands import run_name
from tutor.protocol.frame import (
    EPOCH_END,
    Change,
    Element,
    Frame,
    Position,
    Remark,
    RunRecipe,
    settings_after,
)
from tutor.protocol.inspections import OtherRunState, RunInfo
from tutor.training.history import History
from tutor.training.lesson_error import LessonRaised
from tutor.training.playback import never
from tutor.training.program import Program, Until
from tutor.training.run import Run

LETTERS = "ABCDEFGH"
"""Twice as many letters as runs: a file from elsewhere may name runs by letters, too."""


def free_letter(taken: Collection[str]) -> str:
    """The first letter that no run is called by."""
    return next(letter for letter in LETTERS if letter not in taken)


def given_letters(runs: Sequence[tuple[str, str]]) -> list[str]:
    """A letter for each run, from its name and the letter that it had; no two are equal.

    A run that had no letter is given the one that it is called by, else a free one.
    """
    wished = [letter or name for name, letter in runs]
    found: list[str] = []
    for wish in wished:
        is_free = wish in LETTERS and len(wish) == 1 and wish not in found
        found.append(wish if is_free else free_letter([*found, *wished]))
    return found


def checked_name(name: str, others: Collection[str], letter: str) -> str:
    """The name without blanks around it. Raises Refused if it may not be the run's.

    `letter` is the run's own: it may be called by no other.
    """
    name = run_name(name)
    if name in others:
        raise Refused("run_name_taken", name=name)
    if len(name) == 1 and name in LETTERS and name != letter:
        raise Refused("letter_taken", letter=letter)
    return name


def same_place(programs: Mapping[str, Program], frame: Frame, recipe: RunRecipe) -> Position:
    """The place at which the run of `recipe` has done as many batches and phases as `frame`.

    Phases correspond by name: the modes' steps may differ.
    """
    epoch = frame.at.epoch
    if frame.is_epoch_end:
        return Position(epoch, EPOCH_END)
    here = programs[frame.mode].loop
    mode, *_ = settings_after((c for c in recipe.changes if c.at.epoch < epoch), recipe)
    there = programs[mode].loop
    names = [phase.name for phase in here]
    if frame.phase not in names:  # Setup: the run has not begun, or is not carried over yet
        return Position(epoch, 0)
    done = names[: names.index(frame.phase) + 1]
    shared = [i for i, phase in enumerate(there) if phase.name in done]
    step = frame.batch * len(there) + (shared[-1] + 1 if shared else 0)
    return Position(epoch, step) if step or not epoch else Position(epoch - 1, EPOCH_END)


MAX_RUNS = 4


class _NamedRun(msgspec.Struct, eq=False):
    """A run and its names. While it is not built, `run` is None; the other fields tell of it."""

    name: str
    letter: str
    """The label of its line in a plot; a new name does not change it."""
    recipe: RunRecipe
    history: History
    furthest: Position
    run: Run | None = None
    forked_at: Position | None = None
    known_loss: float = math.nan
    """The loss of its last epoch, as a bookmark has it."""

    def note_progress(self) -> None:
        """Take in what the current run has come to."""
        assert self.run is not None
        self.recipe, self.history = self.run.recipe, self.run.history
        self.furthest = self.run.furthest

    @property
    def has_own_name(self) -> bool:
        """Whether the learner has named it."""
        return self.name != self.letter

    @property
    def last_epoch(self) -> int:
        """The number of its whole epochs, including epochs that have yet to be run again."""
        whole = self.furthest.epoch - (self.furthest.step != EPOCH_END)
        return max(len(self.history.losses), whole, 0)

    @property
    def loss(self) -> float:
        """The loss of its last whole epoch; NaN if there is none."""
        losses = self.history.losses
        return losses.last if len(losses) == self.last_epoch else self.known_loss


def _named_by_letter(run: Run, letter: str, forked_at: Position | None = None) -> _NamedRun:
    """A run that is called by its letter."""
    parts = (run.recipe, run.history, run.furthest, run, forked_at)
    return _NamedRun(letter, letter, *parts)


class Runs:
    """The runs of one lesson.

    Moves of the current run may be asked of `current` itself. Changes are asked of this class,
    which keeps the run as it was where it would be lost. Methods raise what Run's methods raise;
    after a RunError all is as before.
    """

    def __init__(self, current: Run) -> None:
        self.remarks: tuple[Remark, ...] = ()
        """Remarks on the last call."""
        self._runs = [_named_by_letter(current, LETTERS[0])]
        """All runs, in the order in which they were kept; the current one last."""

    @classmethod
    def restored(cls, current: Run, infos: Sequence[RunInfo]) -> Runs:
        """The runs that `infos` describe: `current` as it stands, the others to be run again."""
        runs = cls(current)
        letters = given_letters([(info.name, info.letter) for info in infos])
        for info, letter in zip(infos, letters, strict=True):
            if info.is_current:
                now = runs._runs[-1]
                now.name, now.letter, now.forked_at = info.name, letter, info.forked_at
            elif info.recipe is not None:
                furthest = info.furthest or Position(0, 0)
                history = History(furthest=furthest)
                history.shrink()
                kept = _NamedRun(info.name, letter, info.recipe, history, furthest)
                kept.forked_at, kept.known_loss = info.forked_at, info.loss
                runs._runs.insert(-1, kept)
        return runs

    @property
    def current(self) -> Run:
        """The current run."""
        run = self._runs[-1].run
        assert run is not None
        return run

    @property
    def name(self) -> str:
        """The name of the current run."""
        return self._runs[-1].name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all runs, the current one last."""
        return tuple(run.name for run in self._runs)

    # ── Changes ─────────────────────────────────────────────────────────────────────

    def switch(self, mode: str | None = None, device: str | None = None) -> Frame:
        """Switch as Run.switch does; in the past, in a run of its own."""
        return self._fork(lambda: self.current.switch(mode, device))

    def set(self, *, learning_rate: float | None = None, element: Element | None = None) -> Frame:
        """Set as Run.set does; in the past, in a run of its own."""
        return self._fork(lambda: self.current.set(learning_rate=learning_rate, element=element))

    def reseed(self, seed: int) -> Frame:
        """Reseed as Run.reseed does; in the past, in a run of its own."""
        return self._fork(lambda: self.current.reseed(seed))

    def restart(self, seed: int | None = None) -> Frame:
        """Restart; the run as it was is kept, unless it would only be run once more."""
        run = self.current
        keep = self._has_begun() and run.recipe_again(seed) != _with_settings_at_start(run.recipe)
        return self._fork(lambda: run.restart(seed), keep, at=Position(0, 0))

    def fork(self) -> Frame:
        """Keep the run as it is, under its name, and continue from here with a copy of it."""
        if not self._has_begun():
            raise Refused("nothing_to_keep")
        return self._fork(self.current.forget_future, keep=True)

    def _has_begun(self) -> bool:
        return self.current.furthest > Position(0, 0)

    def _fork(
        self, change: Callable[[], Frame], keep: bool | None = None, at: Position | None = None
    ) -> Frame:
        """Do `change`; if `keep`, the run as it was until now is kept beside it.

        By default it is kept where it has a future, which the change would end.
        """
        if not (self.current.has_future if keep is None else keep):
            frame = change()
            self.remarks = self.current.remarks
            return frame
        gone = self._oldest_unnamed() if len(self._runs) >= MAX_RUNS else None
        run, at, now = self.current, at or self.current.at, self._runs[-1]
        now.note_progress()
        kept = replace(now, run=None, history=run.history.copy())
        frame = change()
        remarks = [Remark("kept_as", {"name": self.name})]
        if gone is not None:
            self._runs.remove(gone)
            remarks.append(Remark("gave_way", {"name": gone.name, "most": MAX_RUNS}))
        letter = free_letter({*self.names, *(run.letter for run in self._runs)})
        self._runs[-1:] = [kept, _named_by_letter(run, letter, at)]
        self.remarks = (*remarks, *run.remarks)
        return frame

    def _oldest_unnamed(self) -> _NamedRun:
        for kept in self._runs[:-1]:
            if not kept.has_own_name:
                return kept
        raise Refused("all_runs_named", most=MAX_RUNS)

    def close(self) -> None:
        """Give up the scripts of all runs."""
        for each in self._runs:
            if each.run is not None:
                each.run.close()

    # ── The others ──────────────────────────────────────────────────────────────────

    def infos(self, columns: int) -> tuple[RunInfo, ...]:
        """A description of each run, the current one last.

        The other runs' curves have `columns` columns; the current run's is `Run.curve`.
        """
        *others, now = self._runs
        now.note_progress()
        programs = self.current.programs
        told = [_info(kept, _used_changes(kept, programs), columns) for kept in others]
        mine = _info(now, now.recipe.changes)
        return (*told, replace(mine, is_current=True))

    def select(self, name: str, until: Until = never) -> Frame:
        """Continue with another run: at the current one's place if it came so far, or at its end.

        `until` may stop the way there: the run then stands where it has come to.
        """
        kept, before, old = self._find(name), self._runs[-1], self.current
        run = self._built(kept)
        if run is old:
            return run.frame()
        there = same_place(old.programs, old.frame(), run.recipe)
        run.history.grow()
        to = there if run.came_to(there) else kept.furthest
        frame = run.seek(to.epoch, to.step, until)
        before.note_progress()
        before.history.shrink()
        self._runs.remove(kept)
        self._runs.append(kept)
        code = "run_selected" if run.came_to(there) else "run_selected_at_end"
        self.remarks = (Remark(code, {"name": name}),)
        return frame

    def then(self, name: str, at: Position, until: Until = never) -> OtherRunState:
        """The state of another run at `at`, a position of the current run.

        Has no frame if it never came so far, or if `until` stopped it on the way; the next call
        continues from there.
        """
        run = self.current
        if name == self.name:
            return OtherRunState(name=name, frame=run.frame() if at == run.at else None)
        kept = self._find(name)
        try:
            other = self._built(kept)
            there = same_place(run.programs, run.frame(), other.recipe) if at == run.at else at
            if not other.came_to(there):
                remark = Remark("came_only_to", {"epoch": kept.furthest.epoch})
                return OtherRunState(name=name, frame=None, remark=remark)
            with run.quiet():
                frame = other.seek(there.epoch, there.step, until)
        except LessonRaised as error:
            return OtherRunState(name=name, frame=None, remark=Remark.of(error))
        if not other.stands_at(there):
            remark = Remark("runs_again", {"epoch": other.at.epoch, "of": there.epoch})
            return OtherRunState(name=name, frame=None, remark=remark)
        return OtherRunState(name=name, frame=frame)

    def catch_up(self, until: Until) -> bool:
        """Run a kept run of which only the recipe is known again, until `until` is true.

        Returns whether more is known of one now. Raises LessonRaised only if it is stopped
        by the learner.
        """
        is_more = False
        for kept in self._runs[:-1]:
            known = len(kept.history.losses)
            if known < kept.last_epoch and not until():
                try:
                    with self.current.quiet():
                        self._built(kept).seek(kept.furthest.epoch, kept.furthest.step, until)
                except LessonRaised as error:
                    if error.stopped:
                        raise
                is_more |= len(kept.history.losses) > known
        return is_more

    def rebuild_all(self) -> Frame:
        """Build the runs anew, where they were: an interrupt came between two statements of ours.

        Their histories save running everything again.
        """
        run = self.current
        for kept in self._runs[:-1]:
            kept.run = None
        new = Run.from_recipe(run.programs, run.recipe, run.at, run.quiet, history=run.history)
        self._runs[-1].run = new
        return new.frame()

    def rename(self, old: str, new: str) -> None:
        """Call a run something else. A run that the learner has named does not give way."""
        run = self._find(old)
        run.name = new = checked_name(new, [n for n in self.names if n != old], run.letter)
        self.remarks = (Remark("renamed", {"old": old, "new": new}),)

    def delete(self, name: str) -> None:
        """Forget a kept run."""
        if name == self.name:
            raise Refused("is_current_run", name=name)
        self._runs.remove(self._find(name))
        self.remarks = (Remark("deleted", {"name": name}),)

    def _find(self, name: str) -> _NamedRun:
        for run in self._runs:
            if run.name == name:
                return run
        raise Refused("no_run", name=name, available=list(self.names))

    def _built(self, kept: _NamedRun) -> Run:
        """The Run of a named run: Setup runs in a namespace of its own when it is first wanted."""
        if kept.run is None:
            like = self.current
            kept.run = Run.from_recipe(
                like.programs,
                kept.recipe,
                Position(0, 0),
                like.quiet,
                history=kept.history,
                generators=like.generators,
            )
        return kept.run


def _used_changes(kept: _NamedRun, programs: Mapping[str, Program]) -> tuple[Change, ...]:
    """The changes after which the run was stepped; a later one has changed none of its numbers."""
    changes, furthest = kept.recipe.changes, kept.furthest
    if furthest == Position(0, 0):
        return changes
    mode = kept.recipe.mode
    used = []
    for change in changes:
        steps = programs[mode].steps
        if change.at < min(furthest, Position(furthest.epoch, steps)):
            used.append(change)
        mode = change.mode or mode
    return tuple(used)


def _info(kept: _NamedRun, changes: tuple[Change, ...], columns: int = 0) -> RunInfo:
    mode, device, learning_rate, seed = settings_after(changes, kept.recipe)
    losses = kept.history.losses
    return RunInfo(
        name=kept.name,
        letter=kept.letter,
        mode=mode,
        device=device,
        learning_rate=learning_rate,
        seed=seed,
        last_epoch=kept.last_epoch,
        loss=kept.loss,
        changes=changes,
        curve=losses.curve(columns, len(losses)) if columns else None,
        forked_at=kept.forked_at,
        recipe=kept.recipe,
        furthest=kept.furthest,
    )


def _with_settings_at_start(recipe: RunRecipe) -> RunRecipe:
    """The recipe in which changes before the first step have become the start's own settings."""

    def is_setting(change: Change) -> bool:
        return change.at == Position(0, 0) and change.element is None and change.seed is None

    first = [c for c in recipe.changes if is_setting(c)]
    if recipe.changes[: len(first)] != tuple(first):
        return recipe
    mode, device, rate, _ = settings_after(first, recipe)
    return RunRecipe(mode, device, rate, recipe.seed, recipe.changes[len(first) :])
