"""Plays a run's Record: forward, and to any place in it, by snapshots and replay.

Does not know what a learner may ask for, nor how to tell of errors: a lesson's exception goes
right through, and leaves the player in mid-phase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tutor.lesson.model import SETUP
from tutor.protocol.frame import Change, Position, RunRecipe
from tutor.training.carry import carry_over, other_loss, set_element
from tutor.training.history import INTERVAL, History, Keyframe
from tutor.training.loop import Loop
from tutor.training.loop import set_up as set_up_loop
from tutor.training.program import Program, Quiet
from tutor.training.randomness import Randomness, seed_all
from tutor.training.snapshot import SetupNamespace

UNDRAWN = "seed {seed}: no random number was drawn, all the same"
"""What to say of a new seed where no random number depends on it."""

END = _FAR = 2**62
"""As a step: the end of the epoch, whatever its number of steps. As an epoch: never."""

_SLOW = 0.1
"""Seconds: a replay that takes longer leaves keyframes on its way, for going back from there."""
_UNASKED = 0.001
"""Seconds of training in which nobody is asked whether to stop."""
_COST = 20
"""A snapshot is taken only after so many times the training time that the last one took."""
_HOMES = 4
"""Namespaces kept for going back to; of an earlier one Setup runs again."""


def never() -> bool:
    """The `until` of a run that nothing breaks off."""
    return False


class GeneratorOwner:
    """The run that owns the process's random number generators: all runs share one set."""

    def __init__(self) -> None:
        self.holder: Player | None = None

    def leave(self) -> None:
        """Nobody's turn: who had it will find the generators as they are now."""
        if self.holder is not None:
            self.holder.randomness = Randomness.now(self.holder.loop.device)
        self.holder = None

    def take(self, player: Player) -> None:
        """Have the generators as this player left them."""
        if self.holder is player:
            return
        self.leave()
        if player.randomness is not None:
            player.randomness.restore(player.loop.device)
        self.holder = player


class Player:
    """A record, the loop that plays it, and the history of what was played."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        record: RunRecipe,
        quiet: Quiet,
        history: History | None = None,
        turn: GeneratorOwner | None = None,
    ) -> None:
        """Stands at the start. Raises LessonRaised if Setup does, RunError if it binds too little.

        `quiet` is entered while the lesson's code runs again only to get somewhere;
        `history` is what is known of this record already. Players that take turns share `turn`.
        """
        self.programs = programs
        self.record = record
        self.quiet = quiet
        self.note = ""
        """One line about what the last move did, where it needs a word."""
        self.history = history or History()
        self.turn = turn or GeneratorOwner()
        self.randomness: Randomness | None = None
        """The generators' state as this player left it, while another one has its turn."""
        self.pace = 0.0
        """Seconds that an epoch takes, as last measured; 0.0 before."""
        self._homes: dict[tuple[str, str, float, int], SetupNamespace] = {}
        self.turn.leave()
        self.set_up()
        self.turn.take(self)

    @property
    def at(self) -> Position:
        """Where the run stands. A step counts the learner's steps of this epoch."""
        return Position(self.loop.epoch, self.tick)

    @property
    def furthest(self) -> Position:
        """The furthest place that has been run since the last change."""
        epochs = len(self.history.losses)
        whole = Position(epochs, END) if epochs else Position(0, 0)
        return max(self.history.reached, self.at, whole)

    def begin_move(self) -> None:
        """To be done before anything that moves the run: take the turn, know how far it came."""
        self.history.reached = max(self.history.reached, self.at)
        self.turn.take(self)

    def begin(self) -> None:
        """Stand at the very start of the record, with no history."""
        self.set_up()
        self.history = History()

    def set_up(self) -> None:
        """Stand at the very start of the record, whatever the history."""
        start = self.record
        self.loop = self._set_up(start.mode, start.device, start.learning_rate, start.seed)
        self.tick = self.applied = 0
        self.has_drawn = False
        self._wait_for_keyframe()
        self._tell_device()
        self.apply_changes_here()

    def _set_up(self, mode: str, device: str, rate: float, seed: int) -> Loop:
        """A loop at its start; device, learning rate and seed are from now on these."""
        loop = set_up_loop(self.programs[mode], device, rate, seed)
        self.device_wanted, self.rate, self.seed = device, rate, seed
        self.set_up_with, self.fresh = rate, Randomness.now(loop.device)
        self._homes[mode, device, rate, seed] = loop.setup_namespace
        if len(self._homes) > _HOMES:
            del self._homes[next(iter(self._homes))]
        return loop

    def resume(self, keyframe: Keyframe) -> None:
        """Stand at the end of a keyframe's epoch, as far as a snapshot goes."""
        start = (keyframe.mode, keyframe.device_wanted, keyframe.set_up_with, keyframe.seed)
        snapshot = keyframe.snapshot
        setup_namespace = (
            snapshot.setup_namespace
            or self._homes.get(start)
            or self._set_up(*start).setup_namespace
        )
        program = self.programs[keyframe.mode]
        self.loop = Loop(
            program,
            snapshot.device,
            snapshot.restore(setup_namespace),
            setup_namespace,
            epoch=keyframe.epoch,
        )
        self.loop.step = self.tick = self.loop.steps
        self.loop.boxed = dict(keyframe.boxed)
        _, self.device_wanted, self.set_up_with, self.seed = start
        self.rate, self.applied = keyframe.learning_rate, keyframe.applied
        self.fresh, self.has_drawn = keyframe.fresh, keyframe.has_drawn
        self._wait_for_keyframe()

    # ── Forward ─────────────────────────────────────────────────────────────────────

    def step(self, *, looking: bool = True, resting: bool = True) -> None:
        """Run the next phase, then apply the changes that were recorded after it."""
        if self.loop.at_end:
            self._enter_epoch()
        self.loop.run_step(looking=looking, resting=resting)
        self.tick += 1
        self._after_step()

    def _enter_epoch(self) -> None:
        self._start_trail()
        self._keep_keyframe()
        self.loop.begin_epoch()
        self.tick = 0

    def _after_step(self) -> None:
        if self.loop.at_end and self.loop.epoch == len(self.history.losses) + 1:
            self._take_down(self.loop.loss(), on_cpu=self.loop.device == "cpu")
        self.apply_changes_here()

    def _take_down(self, loss: Any, *, on_cpu: bool) -> None:
        """Remember this epoch, which has been run for the first time."""
        self.history.losses.append(loss, on_cpu=on_cpu)
        self._follow_trail()

    def _follow_trail(self) -> None:
        loop, trail = self.loop, self.history.trail
        if loop.epoch >= trail.next_epoch:
            trail.add(loop.epoch, loop.namespace, loop.program.parameters)

    def _start_trail(self) -> None:
        if self.loop.epoch == 0 and not len(self.history.losses):
            self.history.trail.cut(-1)
            self.history.trail.add(0, self.loop.namespace, self.loop.program.parameters)

    def watched_epoch(self) -> None:
        """To the end of the epoch, phase by phase, so that its gradients are known."""
        if self.loop.at_end:
            self._enter_epoch()
        while not self.loop.at_end:
            # What stood in the formulas for an earlier batch is overwritten by the last.
            self.step(looking=self.loop.in_last_batch, resting=False)

    def forward(self, epoch: int, until: Callable[[], bool]) -> bool:
        """To the end of `epoch`: all but the last epoch in one piece, the last watched.

        Returns whether `until`, asked between epochs, has broken it off: it then stands at
        the end of an epoch before.
        """
        if not self.loop.at_end and self.loop.epoch <= epoch:
            self.watched_epoch()
        while self.loop.epoch < epoch:
            stopped = self._fast(min(epoch, self._next_change()) - 1, until)
            self.watched_epoch()
            if stopped or until():
                return self.loop.epoch < epoch
        return False

    def _fast(self, epoch: int, until: Callable[[], bool]) -> bool:
        """Whole epochs to the end of `epoch`, or until `until`; returns whether it said so.

        No change lies on the way. What is not asked after every epoch costs next to nothing:
        so many are run in one go as take a millisecond.
        """
        loop, clock = self.loop, time.perf_counter
        self._start_trail()
        while loop.epoch < epoch:
            if until():
                return True
            if clock() > self._keyframe_due:
                self._keep_keyframe()
            together = int(_UNASKED / self.pace) if self.pace else 1
            first, started = loop.epoch, clock()
            self._run_together(min(epoch - first, max(1, together)))
            self.pace = max(clock() - started, 1e-9) / (loop.epoch - first)
        return False

    def _run_together(self, count: int) -> None:
        """So many epochs, or fewer: to the next that belongs on the trail, or is new."""
        loop, losses, trail = self.loop, self.history.losses, self.history.trail
        known = len(losses) - loop.epoch
        self.tick = 0
        if known > 0:
            loop.run_epochs(min(count, known), _ignored)
        else:
            keep = partial(losses.append, on_cpu=loop.device == "cpu")
            loop.run_epochs(min(count, max(1, trail.next_epoch - loop.epoch)), keep)
            self._follow_trail()
        self.tick = loop.step

    # ── Keyframes ───────────────────────────────────────────────────────────────────

    def _keep_keyframe(self) -> None:
        """Keep a keyframe of this epoch's end, if there is none and it is time for one."""
        history, now = self.history, time.perf_counter()
        if now < self._keyframe_due:
            return
        latest, seconds = history.latest, now - self._last_keyframe
        # By the thread's own clock: a busy machine makes no snapshot dear.
        started = time.thread_time()
        if latest is None or latest.epoch < self.loop.epoch:
            keyframe = self._keyframe(latest)
            if keyframe is not None:
                history.keep(keyframe, seconds)
        self._wait_for_keyframe(time.thread_time() - started)

    def _keyframe(self, before: Keyframe | None) -> Keyframe | None:
        """A keyframe of this epoch's end; None if it can't be copied, or would be too large."""
        loop = self.loop
        snapshot = loop.snapshot(before.snapshot if before else None, self.history.largest)
        if snapshot is None:
            return None
        boxed = {SETUP: loop.boxed[SETUP]} if SETUP in loop.boxed else {}
        return Keyframe(
            epoch=loop.epoch,
            mode=loop.program.mode,
            device_wanted=self.device_wanted,
            learning_rate=self.rate,
            set_up_with=self.set_up_with,
            seed=self.seed,
            applied=self.applied,
            fresh=self.fresh,
            has_drawn=self.has_drawn,
            boxed=before.boxed if before and before.boxed == boxed else boxed,
            snapshot=snapshot,
        )

    def _wait_for_keyframe(self, cost: float = 0.0) -> None:
        """The next keyframe is due when enough has been trained for what the last one cost."""
        self._last_keyframe = time.perf_counter()
        dear = max(1.0, _COST * cost / INTERVAL)
        self._keyframe_due = self._last_keyframe + self.history.spacing * dear

    def nearest(self, epoch: int) -> Keyframe | None:
        """The latest keyframe from which a frame of `epoch` comes out whole.

        One whole epoch is run on the way: what a snapshot leaves out is then there again.
        """
        return self.history.before(epoch - 2)

    # ── About ───────────────────────────────────────────────────────────────────────

    def replay(
        self, to: Position, until: Callable[[], bool] = never, *, broken: bool = False
    ) -> None:
        """Go to a place, from here or by running again from the last keyframe before it.

        `until`, asked between epochs, breaks it off: then it stands at the end of one.
        `broken`: where it stands now is in mid-phase, and nothing to go on from.
        """
        keyframe = self.nearest(to.epoch)
        with self.quiet():
            if broken or self.at > to or (keyframe and keyframe.epoch > self.loop.epoch):
                if keyframe is None:
                    self.set_up()
                else:
                    self.resume(keyframe)
            if not self._approach(to.epoch - 1, until):
                self._step_to(to)
        self.note = ""  # what was said of the changes on the way has been said before

    def _approach(self, epoch: int, until: Callable[[], bool]) -> bool:
        """To the end of `epoch`; returns whether it was stopped.

        A long way is gone by halves, with a keyframe after each: who goes back from there
        step by step does not go all the way again.
        """
        left, near = epoch - self.loop.epoch, list[Keyframe]()
        if left * self.pace < _SLOW:
            return self.forward(epoch, until)
        while left > 2 and left * self.pace > _SLOW / 4:
            if self.forward(self.loop.epoch + left // 2, until):
                return True
            keyframe = self._keyframe(self.nearest(self.loop.epoch))
            near += [keyframe] if keyframe else []
            left = epoch - self.loop.epoch
        self.history.keep_near(near)
        return self.forward(epoch, until)

    def _step_to(self, to: Position) -> None:
        """Phase by phase into the epoch of `to`, and what stands around it is looked at."""
        near = 2 * max(len(program.loop) for program in self.programs.values()) + 1
        while self.loop.epoch < to.epoch or (self.tick < to.step and not self.loop.at_end):
            into = self.loop.epoch == to.epoch or self.loop.at_end
            resting = into and to.step - self.tick <= near
            self.step(looking=resting or self.loop.in_last_batch, resting=resting)

    # ── Changes, applied ────────────────────────────────────────────────────────────

    def _next_change(self) -> int:
        """The epoch of the next change that has been recorded; far away if there is none."""
        changes = self.record.changes
        return changes[self.applied].at.epoch if self.applied < len(changes) else _FAR

    def apply_changes_here(self) -> None:
        """Apply the changes that the record has at this very place and that are not yet done."""
        while self.applied < len(self.record.changes):
            change = self.record.changes[self.applied]
            if change.at != self.at:
                return
            self.applied += 1
            self._apply(change)

    def _apply(self, change: Change) -> None:
        rate = self.rate if change.learning_rate is None else change.learning_rate
        if change.mode is None and change.device is None:
            self.loop.set_learning_rate(self.rate, rate)
            self.rate = rate
        else:
            self._switch(change.mode or self.loop.program.mode, change.device, rate)
        if change.element is not None:
            self.note = set_element(self.loop, change.element)
        if change.seed is not None:
            self._reseed(change.seed)

    def _switch(self, mode: str, device: str | None, rate: float) -> None:
        self.has_drawn, old = self.draws(), self.loop
        stood = Randomness.now(old.device)
        new = self._set_up(mode, device or self.device_wanted, rate, self.seed)
        if old.step:
            stood.restore(new.device)  # no number is drawn twice because Setup has run anew
            self.fresh = Randomness.now(new.device)
        left, by = carry_over(old, new), old.program.mode
        self.loop = new
        self._tell_device()
        if left:
            self.note = f"{', '.join(left)} could not be carried over: of another size here"
        elif mode != by and not self.note:
            updated = old.phases_done > old.program.update_at and old.step
            told = f"{by} made this update; the formulas show what {mode} would do"
            self.note = " · ".join(filter(None, [other_loss(old, new), told if updated else ""]))

    def _reseed(self, seed: int) -> None:
        self.has_drawn = self.draws()
        self.note = f"seed {seed}" if self.has_drawn else UNDRAWN.format(seed=seed)
        seed_all(seed)
        self.seed, self.fresh = seed, Randomness.now(self.loop.device)

    def draws(self) -> bool:
        """Whether a random number has been drawn after Setup, as far as this run has come."""
        if self.has_drawn or Randomness.now(self.loop.device) != self.fresh:
            return True
        latest = self.history.latest
        return latest is not None and (
            latest.has_drawn or latest.snapshot.randomness != latest.fresh
        )

    def _tell_device(self) -> None:
        if self.loop.device != self.device_wanted:
            self.note = (
                f"{self.loop.program.mode} is NumPy and runs on the CPU: "
                f"running on {self.device_wanted} is what PyTorch adds"
            )


def _ignored(loss: Any) -> None:
    """Discard the loss of an epoch whose loss is known."""
