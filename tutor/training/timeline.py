"""The recipe of a run, played: forward, and to any place in it by keyframes and replay.

A run is its RunRecipe (start and changes) and nothing else: every frame can be computed again from
it, and that is how going back works: from the last keyframe before the place, by replay. Going
back forgets nothing. Stepping forward from the past replays what was recorded, changes included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from tutor.lesson.model import SETUP
from tutor.protocol.frame import Change, Position, Remark, RunRecipe, Value
from tutor.training.changes import carry_over, other_loss, set_element
from tutor.training.devices import Randomness, seed_all, synchronize
from tutor.training.history import END, History, Keyframe, KeyframeClock, RunSettings
from tutor.training.loop import Loop
from tutor.training.program import Program, Quiet
from tutor.training.set_up import set_up
from tutor.training.snapshot import SetupNamespace, Snapshot

_SLOW = 0.1
"""Seconds: a replay that takes longer leaves keyframes on its way, for going back from there."""
_UNASKED = 0.001
"""Seconds of training between two calls of `until`."""
_UNASKED_WHERE_COSTLY = 0.03
"""The same where it costs more to stop: a script's stack has to wait, or several ranks."""
_BETWEEN_KEYFRAMES = 0.1
"""Seconds of training between two keyframes of a script, which cost more than a lesson's."""
_LONG_EPOCH = 0.2
"""Seconds: a longer epoch of a script runs phase by phase, so that it can be stopped in it."""
_LONG_WAY = 1.0
"""Seconds: in less, a script's last epoch that has run as one piece runs again, watched."""
_MAX_NAMESPACES = 4
"""Namespaces kept for going back to; of an earlier one Setup runs again."""


def never() -> bool:
    """The `until` of a move that nothing stops."""
    return False


class GeneratorOwner:
    """The run that owns the process's random number generators: all runs share one set."""

    def __init__(self) -> None:
        self.holder: RunTimeline | None = None

    def leave(self) -> None:
        """Let no run own them: the one that did will find them as they are now."""
        if self.holder is not None:
            self.holder.randomness = Randomness.now(self.holder.device)
        self.holder = None

    def take(self, run: RunTimeline) -> None:
        """Set the generators as this run left them."""
        if self.holder is run:
            return
        self.leave()
        if run.randomness is not None:
            run.randomness.restore(run.device)
        self.holder = run


def seed_note(seed: int, has_drawn: bool) -> Remark:
    """The note on a new seed; `has_drawn`: whether the lesson draws random numbers."""
    return Remark("seed" if has_drawn else "seed_unused", {"seed": seed})


class RunTimeline:
    """A recipe, the loop that plays it, and the history of what was played.

    An exception of the lesson's code passes through and leaves the loop in mid-phase: `Run`
    recovers from it.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        recipe: RunRecipe,
        quiet: Quiet,
        history: History | None = None,
        turn: GeneratorOwner | None = None,
    ) -> None:
        """Stands at the start. Raises LessonRaised if Setup does, RunError if it binds too little.

        `quiet` is entered while the lesson's code runs again only to get somewhere; `history` is
        what is known of this recipe already.
        """
        self.programs, self.recipe, self.quiet = programs, recipe, quiet
        self.history, self.turn = history or History(), turn or GeneratorOwner()
        self.notes: tuple[Remark, ...] = ()
        """What there is to say of the last move."""
        self.randomness: Randomness | None = None
        """The generators' state as this run left it, while another run owns them."""
        self.has_run_again = False
        """Whether the last move has run this epoch again, from its start to here."""
        self._epoch_seconds = 0.0
        """How long an epoch takes, as last measured; 0.0 before."""
        self._clock = KeyframeClock()
        self._namespaces: dict[tuple[str, str, float, int], SetupNamespace] = {}
        self._loop: Loop | None = None
        self._start: Keyframe | None = None
        """Of a script: the start, so that going there does not run all of it again."""
        self._is_unwatched = False
        """Whether a script's last epoch has run as one piece: its gradients are not known."""
        self._ended_after: tuple[Change, ...] | None = None
        """The changes that a script had met when it came to its end."""
        self._is_script = any(program.open_loop is not None for program in programs.values())
        if self._is_script:
            self.history.spacing = max(self.history.spacing, _BETWEEN_KEYFRAMES)
            self.history.interval = max(self.history.interval, _BETWEEN_KEYFRAMES)
        self.turn.leave()
        self._begin()
        if self._is_script and not recipe.learning_rate:  # its own, which is known only now
            rate = self.settings.learning_rate
            self.recipe = msgspec.structs.replace(recipe, learning_rate=rate)
        self.turn.take(self)

    def _begin(self) -> None:
        """Stand at the very start of the recipe."""
        start, before = self.recipe, self._loop
        self._loop = self._set_up(start.mode, start.device, start.learning_rate, start.seed)
        if self._is_script:
            self.history.drop_keyframes()
            self._is_unwatched, self._ended_after = False, None
            if before is not None:
                before.close()
            self._start = self._keyframe(None)
        self._steps_taken = 0
        self._clock.start(self.history.spacing)
        self._apply_changes_here()

    def _set_up(self, mode: str, device: str, rate: float, seed: int) -> Loop:
        """A loop at its start; the settings are from now on these."""
        loop = set_up(self.programs[mode], device, rate, seed, alone=False)
        if self._is_script:
            device, rate = loop.device, loop.learning_rate()
        fresh = Randomness.now(loop.device)
        self.settings = RunSettings(device, rate, set_up_with=rate, seed=seed, fresh=fresh)
        self._namespaces[mode, device, rate, seed] = loop.setup_namespace
        if len(self._namespaces) > _MAX_NAMESPACES:
            del self._namespaces[next(iter(self._namespaces))]
        self.notes = loop.notes
        if loop.device != device:
            self.notes = (Remark("on_numpy", {"mode": mode, "device": device}),)
        return loop

    def _resume(self, keyframe: Keyframe | None) -> None:
        """Stand at the end of a keyframe's epoch, as far as a snapshot goes.

        At the very start, if there is none, or if it can't be restored any more.
        """
        if keyframe is not None and isinstance(keyframe.snapshot, Snapshot):
            if not keyframe.snapshot.can_be_restored:
                self.history.drop_keyframes()
                self._begin()
                return
            self._restore(keyframe, keyframe.snapshot)
        elif keyframe is None or not self.loop.go_back(keyframe.snapshot, keyframe.epoch):
            self._begin()
            return
        self.loop.step = self._steps_taken = self.loop.steps
        self.settings = keyframe.settings
        self._clock.start(self.history.spacing)
        if keyframe is self._start:
            self._apply_changes_here()

    def _restore(self, keyframe: Keyframe, snapshot: Snapshot) -> None:
        settings = keyframe.settings
        start = (keyframe.mode, settings.device_wanted, settings.set_up_with, settings.seed)
        setup_namespace = (
            snapshot.setup_namespace
            or self._namespaces.get(start)
            or self._set_up(*start).setup_namespace
        )
        self._loop = type(self.loop)(
            self.programs[keyframe.mode],
            snapshot.device,
            snapshot.restore(setup_namespace),
            setup_namespace,
            epoch=keyframe.epoch,
            boxed=dict(keyframe.boxed),
        )

    # ── Where it stands ─────────────────────────────────────────────────────────────

    @property
    def loop(self) -> Loop:
        """The loop that plays the recipe."""
        assert self._loop is not None
        return self._loop

    @property
    def at(self) -> Position:
        """Where the run stands. A step counts the learner's steps of this epoch."""
        return Position(self.loop.epoch, self._steps_taken)

    @property
    def at_end(self) -> bool:
        """Whether the run stands at the end of an epoch (or before the first)."""
        return self.loop.at_end

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
        """Where the tensors live: the device asked for, or cpu where the mode is NumPy's."""
        return self.loop.device

    @property
    def learning_rate(self) -> float:
        """As it is now."""
        return self.settings.learning_rate

    @property
    def furthest(self) -> int:
        """The last whole epoch that has been run since the last change."""
        return len(self.history.losses)

    @property
    def furthest_place(self) -> Position:
        """The furthest place that has been run since the last change.

        The step of a whole epoch's end is END, whatever its number of steps.
        """
        whole = Position(self.furthest, END) if self.furthest else Position(0, 0)
        return max(self.history.reached, self.at, whole)

    @property
    def draws(self) -> bool:
        """Whether a random number has been drawn, in Setup or later, as far as it has come."""
        return self.loop.setup_namespace.draws or self._has_drawn()

    def close(self) -> None:
        """Give up a script wherever it waits; a lesson needs nothing."""
        self.loop.close()

    # ── Forward ─────────────────────────────────────────────────────────────────────

    def _step(self, *, looking: bool = True, resting: bool = True) -> None:
        """Run the next phase, then apply the changes that were recorded after it."""
        if self.loop.at_end and (not self._enter_epoch() or self.loop.at_end):
            return
        self.loop.run_step(looking=looking, resting=resting)
        self._steps_taken += 1
        self._after_step()

    def _after_step(self) -> None:
        if self.loop.at_end and self.loop.epoch == self.furthest + 1:
            self.history.losses.append(self.loop.loss(), on_cpu=self.loop.device == "cpu")
            self.history.follow_trail(self.loop)
        self._apply_changes_here()

    def _enter_epoch(self, until: Callable[[], bool] = never) -> bool:
        """Enter the next epoch; False if there is none, because a script has come to its end.

        False also if `until` has stopped the way to that end.
        """
        self.history.start_trail(self.loop)
        self._keep_keyframe()
        if not self._has_next_epoch(until):
            if self.loop.is_over:
                self.notes = (Remark("script_ended", {"epoch": self.loop.epoch}),)
            return False
        self.loop.begin_epoch()
        self._steps_taken, self._is_unwatched = 0, False
        if self.loop.at_end:  # an epoch that comes to none of the phases counts as one step
            self._steps_taken = 1
            self._after_step()
        return True

    def _has_next_epoch(self, until: Callable[[], bool]) -> bool:
        """Whether an epoch follows. At the end of a script's loop the rest of the script runs.

        It runs again from its start where the rest has run before, with other numbers: `until`
        may stop it on the way.
        """
        if not self._is_script or self.loop.is_over or not self.loop.is_at_loop_end:
            return self.loop.has_next_epoch()
        here, changes = Position(self.loop.epoch, END), self.recipe.changes[: self.settings.applied]
        if self._is_unwatched and self._seconds_from_keyframe(here.epoch) < _LONG_WAY:
            self._replay(here, is_broken=True)
        if self.loop.is_spent:
            if self._ended_after == changes and self.loop.end_again():
                return False
            with self.quiet():
                self._begin()
            self._replay(here, until)
            if self.loop.epoch < here.epoch:
                return False
        self._ended_after = changes
        return self.loop.has_next_epoch()

    def _seconds_from_keyframe(self, epoch: int) -> float:
        """Seconds to come to the end of `epoch` again."""
        keyframe = self._nearest(epoch, is_end=True)
        return (epoch - (keyframe.epoch if keyframe else 0)) * self._epoch_seconds

    def _step_through_epoch(
        self, until: Callable[[], bool] = never, *, for_frame: bool = True
    ) -> bool:
        """To the end of the epoch, phase by phase, so that its gradients are known.

        An epoch of a script may be long: `until` can stop it between two phases; returns whether
        it has. `for_frame`: what a frame shows is looked at on the way.
        """
        clock = time.perf_counter
        started, is_whole = clock(), self.loop.at_end
        if is_whole and not self._enter_epoch(until):
            return False
        asked = clock()
        while not self.loop.at_end:
            if self._run_unseen(END, until, for_frame=for_frame):
                return True
            if not self.loop.at_end:
                # Formula values of an earlier batch are overwritten by the last batch's.
                self._step(looking=for_frame and self.loop.in_last_batch, resting=False)
            if self._is_script and clock() - asked > _UNASKED and not self.loop.at_end:
                if until():
                    return True
                asked = clock()
        if is_whole and self._is_script:
            self._epoch_seconds = clock() - started
        return False

    def _run_unseen(self, end: int, until: Callable[[], bool], *, for_frame: bool = True) -> bool:
        """Phases of a script that nobody looks at, to step `end` at most; whether it was stopped.

        A change within the epoch is made where it was: between two steps.
        """
        if not self._is_script or self._next_change() <= self.loop.epoch:
            return False
        before = self.loop.step
        try:
            is_stopped = self.loop.run_unseen(end, until, for_frame=for_frame)
        finally:
            self._steps_taken += self.loop.step - before
        if self.loop.step > before:
            self._after_step()
        return is_stopped

    def _forward(self, epoch: int, until: Callable[[], bool], *, for_frame: bool = True) -> bool:
        """To the end of `epoch`: all but the last epoch in one piece, the last phase by phase.

        Returns whether `until`, called between epochs, has stopped it at an earlier epoch's end.
        """
        into = not self.loop.at_end and self.loop.epoch <= epoch
        if into and self._step_through_epoch(until, for_frame=for_frame):
            return True
        while self.loop.epoch < epoch:
            is_stopped = self._run_fast(min(epoch, self._next_change()) - 1, until)
            is_stopped |= self._step_through_epoch(until, for_frame=for_frame)
            if is_stopped or self.loop.is_over or until():
                return self.loop.epoch < epoch
        return False

    def _run_fast(self, epoch: int, until: Callable[[], bool]) -> bool:
        """Whole epochs to the end of `epoch`, or until `until`; returns whether that stopped it.

        There is no change on the way. `until` and the clock would cost more than a small epoch: as
        many epochs run in one go as take a millisecond.
        """
        loop, clock = self.loop, time.perf_counter
        self.history.start_trail(loop)
        while loop.epoch < epoch and not self._must_be_asked():
            if until():
                return True
            if loop.is_over or loop.epochs_left == 1 or loop.is_at_loop_end:
                return False  # the last epoch runs phase by phase: the run may rest at its end
            if clock() > self._clock.due:
                self._keep_keyframe()
            is_costly = self._is_script or self.program.workers > 1
            unasked = _UNASKED_WHERE_COSTLY if is_costly else _UNASKED
            together = int(unasked / self._epoch_seconds) if self._epoch_seconds else 1
            first, started = loop.epoch, clock()
            left = (loop.epochs_left or END) - 1
            self._run_together(min(epoch - first, max(1, together), left))
            self._epoch_seconds = max(clock() - started, 1e-9) / (loop.epoch - first)
        return False

    def _must_be_asked(self) -> bool:
        """Whether an epoch of a script takes so long that `until` has to be asked within it."""
        return self._is_script and not 0 < self._epoch_seconds < _LONG_EPOCH

    def _run_together(self, count: int) -> None:
        """Run `count` epochs, or fewer: to the next one whose end is kept, or that is new."""
        loop, losses, trail = self.loop, self.history.losses, self.history.trail
        known = len(losses) - loop.epoch
        self._steps_taken, self._is_unwatched = 0, True
        if known > 0:
            loop.run_epochs(min(count, known), lambda loss: None)
        else:
            keep = partial(losses.append, on_cpu=loop.device == "cpu")
            loop.run_epochs(min(count, max(1, trail.next_epoch - loop.epoch)), keep)
            self.history.follow_trail(loop)
        self._steps_taken = loop.step

    # ── Keyframes ───────────────────────────────────────────────────────────────────

    def _keep_keyframe(self) -> None:
        """Keep a keyframe of this epoch's end, if there is none and it is time for one."""
        now = time.perf_counter()
        if now < self._clock.due:
            return
        synchronize(self.loop.device)  # a snapshot's cost is not that of the epochs before it
        latest, seconds = self.history.latest, now - self._clock.started
        # By the thread's own clock: a busy machine does not make a snapshot expensive.
        started = time.thread_time()
        if latest is None or latest.epoch < self.loop.epoch:
            keyframe = self._keyframe(latest)
            if keyframe is not None:
                self.history.keep(keyframe, seconds)
        self._clock.start(self.history.spacing, cost=time.thread_time() - started)

    def _keyframe(self, before: Keyframe | None) -> Keyframe | None:
        """A keyframe of this epoch's end; None if it can't be copied, or would be too large."""
        loop = self.loop
        snapshot = loop.snapshot(before.snapshot if before else None, self.history.largest)
        if snapshot is None:
            return None
        boxed: Mapping[str, dict[str, Value]] = {k: v for k, v in loop.boxed.items() if k == SETUP}
        boxed = before.boxed if before and before.boxed == boxed else boxed
        return Keyframe(loop.epoch, loop.program.mode, self.settings, boxed, snapshot)

    # ── Replay ──────────────────────────────────────────────────────────────────────

    def _replay(
        self, to: Position, until: Callable[[], bool] = never, *, is_broken: bool = False
    ) -> None:
        """Go to a place, from here or by running again from the last keyframe before it.

        `until`, called between epochs, may stop it at the end of one. `is_broken`: the loop is in
        mid-phase now, and can't be continued.
        """
        keyframe = self._nearest(to.epoch, is_end=to.step == END)
        with self.quiet():
            must_go_back = is_broken or self.at > to
            if must_go_back or (keyframe and keyframe.epoch > self.loop.epoch):
                self._resume(keyframe)
            is_stopped = self._approach(to.epoch - 1, until)
        self.has_run_again = self.at_end and self.loop.epoch == to.epoch - 1
        if not is_stopped:
            with self.quiet():  # by itself: what it prints belongs to this epoch
                self._step_to(to, until)
        self.notes = ()  # the notes of changes on the way are old

    def _nearest(self, epoch: int, *, is_end: bool = False) -> Keyframe | None:
        """The latest keyframe from which a frame of `epoch` comes out whole.

        One whole epoch runs on the way: what a snapshot leaves out is then there again. The frame
        at the end of a script's epoch needs no other epoch than its own.
        """
        left_out = 1 if is_end and self._is_script else 2
        return self.history.before(epoch - left_out) or self._start

    def _approach(self, epoch: int, until: Callable[[], bool]) -> bool:
        """To the end of `epoch`; returns whether `until` stopped it.

        A long way is halved again and again, with a keyframe after each half: going back step by
        step from its end is then quick.
        """
        left, near = epoch - self.loop.epoch, list[Keyframe]()
        if left * self._epoch_seconds < _SLOW:
            return self._forward(epoch, until)
        while left > 2 and left * self._epoch_seconds > _SLOW / 4:
            if self._forward(self.loop.epoch + left // 2, until) or self.loop.is_over:
                return True
            keyframe = self._keyframe(self._nearest(self.loop.epoch))
            near += [keyframe] if keyframe else []
            left = epoch - self.loop.epoch
        self.history.keep_near(near)
        return self._forward(epoch, until)

    def _step_to(self, to: Position, until: Callable[[], bool]) -> None:
        """Phase by phase into the epoch of `to`; near it, what its frame shows is recorded."""
        near = 2 * max(len(program.loop) for program in self.programs.values()) + 1
        while self.loop.epoch < to.epoch or (self._steps_taken < to.step and not self.loop.at_end):
            if self.loop.is_over or (self._is_script and until()):
                return
            into = self.loop.epoch == to.epoch or self.loop.at_end
            if into and not self.loop.at_end:
                if self._run_unseen(to.step - near, until):
                    return
                if self.loop.at_end:
                    continue
            resting = into and to.step - self._steps_taken <= near
            self._step(looking=resting or self.loop.in_last_batch, resting=resting)

    # ── Changes ─────────────────────────────────────────────────────────────────────

    def _next_change(self) -> int:
        """The epoch of the next recorded change; END if there is none."""
        following = self.recipe.changes[self.settings.applied :]
        return following[0].at.epoch if following else END

    def _apply_changes_here(self) -> None:
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
            self.notes = loop.everywhere("set_element", lambda: set_element(loop, element), element)
        if change.seed is not None:
            self._reseed(change.seed)

    def _switch(self, mode: str, device: str | None, rate: float) -> None:
        old, before, has_drawn = self.loop, self.settings, self._has_drawn()
        generators = Randomness.now(old.device)
        new = self._set_up(mode, device or before.device_wanted, rate, before.seed)
        if old.step:
            generators.restore(new.device)  # no number is drawn twice because Setup has run anew
        fresh = Randomness.now(new.device)
        self.settings = replace(
            self.settings, applied=before.applied, fresh=fresh, has_drawn=has_drawn
        )
        remarks = new.everywhere("carry_over", lambda: carry_over(old, new), old)
        from_mode = old.program.mode
        self._loop = new
        if any(remark.code == "not_carried" for remark in remarks):
            self.notes = ()
        elif mode != from_mode and not self.notes:
            self.notes = other_loss(old, new)
            if old.phases_done > old.program.update_at and old.step:
                self.notes += (Remark("updated_by", {"mode": mode, "old_mode": from_mode}),)
        self.notes += remarks

    def _reseed(self, seed: int) -> None:
        has_drawn = self._has_drawn()
        self.notes = (seed_note(seed, has_drawn),)
        self.loop.everywhere("seed", lambda: seed_all(seed), seed)
        fresh = Randomness.now(self.device)
        self.settings = replace(self.settings, seed=seed, fresh=fresh, has_drawn=has_drawn)

    def _has_drawn(self) -> bool:
        """Whether a random number has been drawn after Setup, as far as this run has come."""
        if self.settings.has_drawn or Randomness.now(self.device) != self.settings.fresh:
            return True
        latest = self.history.latest
        return latest is not None and (
            latest.settings.has_drawn or latest.snapshot.randomness != latest.settings.fresh
        )
