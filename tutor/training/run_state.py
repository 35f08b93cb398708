"""A run at one place: its loop and settings there, put to its start or a keyframe, and changed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from msgspec.structs import replace

from tutor.lesson.model import SETUP
from tutor.protocol.frame import EPOCH_END, Change, Position, Remark, RunRecipe, Value
from tutor.training.changes import carry_over, other_loss, set_element
from tutor.training.devices import Randomness, SharedGenerators, seed_all
from tutor.training.history import History, Keyframe, KeyframeClock, RunSettings
from tutor.training.loop import Loop
from tutor.training.loss_and_trail import NO_EPOCH
from tutor.training.program import Program, Quiet
from tutor.training.set_up import set_up
from tutor.training.snapshot import SetupNamespace, Snapshot

_BETWEEN_KEYFRAMES = 0.1
"""Seconds of training between two keyframes of a script, which cost more than a lesson's."""
_MAX_NAMESPACES = 4
"""Namespaces kept for going back to; for an older one, Setup runs again."""


class RunState:
    """A recipe, the loop that plays it, and the settings of the place where it stands."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        recipe: RunRecipe,
        quiet: Quiet,
        history: History | None = None,
        generators: SharedGenerators | None = None,
    ) -> None:
        """Stands at the start. Raises LessonRaised if Setup does, RunError if it binds too little.

        `quiet` is entered while the lesson's code runs again only to get somewhere. `history`: the
        recipe's history so far, if there is one.
        """
        self.programs, self.recipe, self.quiet = programs, recipe, quiet
        self.history, self.generators = history or History(), generators or SharedGenerators()
        self.remarks: tuple[Remark, ...] = ()
        """Remarks on the last move."""
        self.randomness: Randomness | None = None
        """The generators' state as this run left it, while another run owns them."""
        self.has_run_again = False
        """Whether the last move has run this epoch again, from its start to here."""
        self.set_up_seconds = 0.0
        """The processor's seconds for the last Setup, or for a script to its loop."""
        self.epoch_seconds = 0.0
        """The seconds that an epoch takes, as last measured; 0.0 before."""
        self.clock = KeyframeClock()
        self._namespaces: dict[tuple[str, str, float, int], SetupNamespace] = {}
        self._loop: Loop | None = None
        self.start: Keyframe | None = None
        """The start of a script, so that going there does not run all of it again."""
        self.ran_as_one_piece = False
        """Whether a script's last epoch has run as one piece: its gradients are not known."""
        self.changes_at_end: tuple[Change, ...] | None = None
        """The changes that had been made in a script when it came to its end."""
        self.is_script = any(program.open_loop is not None for program in programs.values())
        if self.is_script:
            self.history.spacing = max(self.history.spacing, _BETWEEN_KEYFRAMES)
            self.history.interval = max(self.history.interval, _BETWEEN_KEYFRAMES)
        self.generators.leave()
        self.steps_taken = 0
        """The learner's steps of this epoch, as a Position counts them; `loop.step` counts the
        loop's. They differ after a change of mode: at the end of an epoch of 4 steps in `manual`,
        a change to `autograd`, which has a Reset too, makes `loop.step` 5; `steps_taken` stays 4.
        """
        self.begin()
        if self.is_script and not recipe.learning_rate:  # the script's own is known only now
            self.recipe = replace(recipe, learning_rate=self.settings.learning_rate)
        self.generators.take(self)

    def begin(self) -> None:
        """Stand at the very start of the recipe."""
        start, before = self.recipe, self._loop
        self._loop = self._set_up(start.mode, start.device, start.learning_rate, start.seed)
        if self.is_script:
            self.history.drop_keyframes()
            self.ran_as_one_piece, self.changes_at_end = False, None
            if before is not None:
                before.close()
            self.start = self.keyframe_here(None)
        self.steps_taken = 0
        self.clock.start(self.history.spacing)
        self.apply_changes_here()

    def _set_up(self, mode: str, device: str, rate: float, seed: int) -> Loop:
        """A loop at its start; these settings hold from now on."""
        started = time.thread_time()  # by the thread's own clock: a busy machine makes nothing slow
        loop = set_up(self.programs[mode], device, rate, seed, alone=False)
        self.set_up_seconds = time.thread_time() - started
        if self.is_script:
            device, rate = loop.device, loop.learning_rate_of_script()
        fresh = Randomness.now(loop.device)
        self.settings = RunSettings(device, rate, set_up_with=rate, seed=seed, fresh=fresh)
        self._namespaces[mode, device, rate, seed] = loop.setup_namespace
        if len(self._namespaces) > _MAX_NAMESPACES:
            del self._namespaces[next(iter(self._namespaces))]
        self.remarks = loop.remarks
        if loop.device != device:
            self.remarks = (Remark("on_numpy", {"mode": mode, "device": device}),)
        return loop

    def resume(self, keyframe: Keyframe | None) -> None:
        """Stand at the end of a keyframe's epoch, as far as a snapshot goes.

        At the very start, if there is none, or if it can't be restored any more.
        """
        if keyframe is not None and not keyframe.snapshot.can_be_restored:
            self.history.drop_keyframes()
            keyframe = None
        if keyframe is None or not self._restore(keyframe):
            self.begin()
            return
        self.loop.step = self.steps_taken = self.loop.steps
        self.settings = keyframe.settings
        self.clock.start(self.history.spacing)
        if keyframe is self.start:
            self.apply_changes_here()

    def _restore(self, keyframe: Keyframe) -> bool:
        """Put the loop to a keyframe; False if a script can't go back there."""
        if self.is_script:
            return self.loop.go_back(keyframe.snapshot, keyframe.epoch)
        settings, snapshot = keyframe.settings, keyframe.snapshot
        assert isinstance(snapshot, Snapshot)
        start = (keyframe.mode, settings.device_wanted, settings.set_up_with, settings.seed)
        setup_namespace = (
            snapshot.only_namespace
            or self._namespaces.get(start)
            or self._set_up(*start).setup_namespace
        )
        self._loop = type(self.loop)(
            self.programs[keyframe.mode],
            snapshot.device,
            setup_namespace.names,
            setup_namespace,
            epoch=keyframe.epoch,
            boxed=dict(keyframe.boxed),
        )
        self._loop.restore(snapshot)
        return True

    # ── Position ────────────────────────────────────────────────────────────────────

    @property
    def loop(self) -> Loop:
        """The loop that plays the recipe."""
        assert self._loop is not None
        return self._loop

    @property
    def at(self) -> Position:
        """The place of the run. A step counts the learner's steps of this epoch."""
        return Position(self.loop.epoch, self.steps_taken)

    @property
    def at_end(self) -> bool:
        """Whether the run stands at the end of an epoch (or before the first)."""
        return self.loop.at_end

    def stands_at(self, place: Position) -> bool:
        """Whether the run stands at a place, be it the end of an epoch by EPOCH_END."""
        if place.step == EPOCH_END:
            return self.at.epoch == place.epoch and self.at_end
        return self.at == place

    @property
    def epochs_done(self) -> float:
        """The epochs that have run, with the part of this one, about."""
        return max(self.loop.epoch - 1 + self.loop.part_done, 0.0)

    @property
    def program(self) -> Program:
        """The program of the mode that the run is in."""
        return self.loop.program

    @property
    def mode(self) -> str:
        """The gradient mode."""
        return self.loop.program.mode

    @property
    def device(self) -> str:
        """The device of the tensors: the one asked for, or cpu where the mode is NumPy's."""
        return self.loop.device

    @property
    def learning_rate(self) -> float:
        """The learning rate that the learner has set, or that the lesson began with."""
        return self.settings.learning_rate

    @property
    def last_epoch(self) -> int:
        """The last whole epoch that has been run since the last change."""
        return len(self.history.losses)

    @property
    def furthest(self) -> Position:
        """The furthest place that has been run since the last change.

        The step of a whole epoch's end is EPOCH_END, whatever its number of steps.
        """
        whole = Position(self.last_epoch, EPOCH_END) if self.last_epoch else Position(0, 0)
        return max(self.history.furthest, self.at, whole)

    @property
    def depends_on_seed(self) -> bool:
        """Whether a random number has been drawn in Setup, or may be drawn later."""
        return self.loop.setup_namespace.setup_has_drawn or self._may_draw_after_setup()

    def _may_draw_after_setup(self) -> bool:
        """Whether a random number was drawn after Setup; before an epoch has run, it may be."""
        return self._has_drawn_after_setup() or not self.last_epoch

    def close(self) -> None:
        """Give up a script wherever it waits; a lesson needs nothing."""
        self.loop.close()

    # ── Keyframes ───────────────────────────────────────────────────────────────────

    def keyframe_here(self, before: Keyframe | None) -> Keyframe | None:
        """A keyframe of this epoch's end; None if it can't be copied, or would be too large."""
        loop = self.loop
        snapshot = loop.snapshot(before.snapshot if before else None, self.history.room_for_next)
        if snapshot is None:
            return None
        boxed: Mapping[str, dict[str, Value]] = {k: v for k, v in loop.boxed.items() if k == SETUP}
        boxed = before.boxed if before and before.boxed == boxed else boxed
        return Keyframe(loop.epoch, loop.program.mode, self.settings, boxed, snapshot)

    # ── Changes ─────────────────────────────────────────────────────────────────────

    @property
    def changes_done(self) -> tuple[Change, ...]:
        """The recorded changes that have been made by this place."""
        return self.recipe.changes[: self.settings.applied]

    def next_change(self) -> int:
        """The epoch of the next recorded change; NO_EPOCH if there is none."""
        following = self.recipe.changes[self.settings.applied :]
        return following[0].at.epoch if following else NO_EPOCH

    def apply_changes_here(self) -> None:
        """Apply the changes that the recipe has at this very place and that are not yet done."""
        while self.settings.applied < len(self.recipe.changes):
            change = self.recipe.changes[self.settings.applied]
            if change.at != self.at:
                return
            self.settings = replace(self.settings, applied=self.settings.applied + 1)
            self._apply(change)

    def _apply(self, change: Change) -> None:
        old = self.learning_rate
        rate = old if change.learning_rate is None else change.learning_rate
        if change.mode is None and change.device is None:
            if change.learning_rate is not None:
                self.loop.set_learning_rate(old, rate)
            self.settings = replace(self.settings, learning_rate=rate)
        else:
            self._switch(change.mode or self.mode, change.device, rate)
        if change.element is not None:
            loop, element = self.loop, change.element
            self.remarks = loop.everywhere(
                "set_element", lambda: set_element(loop, element), element
            )
        if change.seed is not None:
            self._reseed(change.seed)

    def _switch(self, mode: str, device: str | None, rate: float) -> None:
        old, before, has_drawn = self.loop, self.settings, self._has_drawn_after_setup()
        generators = Randomness.now(old.device)
        new = self._set_up(mode, device or before.device_wanted, rate, before.seed)
        if old.step:
            generators.restore(new.device)  # no number is drawn twice because Setup has run anew
        fresh = Randomness.now(new.device)
        self.settings = replace(
            self.settings, applied=before.applied, fresh=fresh, has_drawn_before=has_drawn
        )
        remarks = new.everywhere("carry_over", lambda: carry_over(old, new), old)
        from_mode = old.program.mode
        self._loop = new
        if any(remark.code == "not_carried" for remark in remarks):
            self.remarks = ()
        elif mode != from_mode and not self.remarks:
            self.remarks = other_loss(old, new)
            if old.phases_done > old.program.update_at and old.step:
                self.remarks += (Remark("updated_by", {"mode": mode, "old_mode": from_mode}),)
        self.remarks += remarks

    def _reseed(self, seed: int) -> None:
        has_drawn = self._has_drawn_after_setup()
        code = "seed" if self._may_draw_after_setup() else "seed_unused_after_setup"
        self.remarks = (Remark(code, {"seed": seed}),)
        self.loop.everywhere("seed", lambda: seed_all(seed), seed)
        fresh = Randomness.now(self.device)
        self.settings = replace(self.settings, seed=seed, fresh=fresh, has_drawn_before=has_drawn)

    def _has_drawn_after_setup(self) -> bool:
        """Whether a random number has been drawn after Setup, as far as this run has come."""
        if self.settings.has_drawn_before or Randomness.now(self.device) != self.settings.fresh:
            return True
        latest = self.history.latest
        return latest is not None and (
            latest.settings.has_drawn_before or latest.snapshot.randomness != latest.settings.fresh
        )
