"""Plays a run's Record: forward, and to any place in it, by snapshots and replay.

Knows where every recorded change lies and applies it on the way. Does not know what a
learner may ask for, nor how to tell of errors: a lesson's exception goes right through,
and leaves the player in mid-phase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tutor.lesson.model import SETUP
from tutor.training.carry import carry_over
from tutor.training.frame import Change, Position, Record
from tutor.training.history import History, Keyframe
from tutor.training.loop import Loop
from tutor.training.loop import set_up as set_up_loop
from tutor.training.program import Program
from tutor.training.quiet import Quiet

END = _FAR = 2**62
"""As a step: the end of the epoch, whatever its number of steps. As an epoch: never."""


def never() -> bool:
    """The `until` of a run that nothing breaks off."""
    return False


class Player:
    """A record, the loop that plays it, and the history of what was played."""

    def __init__(self, programs: Mapping[str, Program], record: Record, quiet: Quiet) -> None:
        """Stands at the start. Raises LessonRaised if Setup does, RunError if it binds too little.

        `quiet` is entered while the lesson's code runs again only to get somewhere.
        """
        self.programs = programs
        self.record = record
        self.quiet = quiet
        self.note = ""
        """One line about what the last move did, where it needs a word."""
        self.begin()

    @property
    def at(self) -> Position:
        """Where the run stands. A step counts the learner's steps of this epoch."""
        return Position(self.loop.epoch, self.tick)

    def begin(self) -> None:
        """Stand at the very start of the record, with no history."""
        self.set_up()
        self.history = History()

    def set_up(self) -> None:
        """Stand at the very start of the record, whatever the history."""
        start = self.record
        self.loop = set_up_loop(
            self.programs[start.mode], start.device, start.learning_rate, start.seed
        )
        self.rate, self.device_wanted = start.learning_rate, start.device
        self.tick = self.applied = 0
        self._last_keyframe = time.perf_counter()
        self._tell_device()
        self.apply_changes_here()

    def resume(self, keyframe: Keyframe) -> None:
        """Stand at the end of a keyframe's epoch, as far as a snapshot goes."""
        snapshot = keyframe.snapshot
        program = self.programs[keyframe.mode]
        self.loop = Loop(program, snapshot.device, snapshot.restore(), epoch=keyframe.epoch)
        self.loop.step = self.tick = self.loop.steps
        self.loop.boxed = dict(keyframe.boxed)
        self.rate, self.device_wanted = keyframe.learning_rate, keyframe.device_wanted
        self.applied = keyframe.applied
        self._last_keyframe = time.perf_counter()

    def step(self, *, looking: bool = True) -> None:
        """Run the next phase, then apply the changes that were recorded after it."""
        if self.loop.at_end:
            self._enter_epoch()
        self.loop.run_step(looking=looking)
        self.tick += 1
        self._after_step()

    def _enter_epoch(self) -> None:
        self._keep_keyframe()
        self.loop.begin_epoch()
        self.tick = 0

    def _after_step(self) -> None:
        if self.loop.at_end and self.loop.epoch == len(self.history.losses) + 1:
            self.history.losses.append(self.loop.loss(), on_cpu=self.loop.device == "cpu")
        self.apply_changes_here()

    def watched_epoch(self) -> None:
        """To the end of the epoch, phase by phase, so that its gradients are known."""
        if self.loop.at_end:
            self._enter_epoch()
        while not self.loop.at_end:
            # What stood in the formulas for an earlier batch is overwritten by the last.
            self.step(looking=self.loop.in_last_batch)

    def forward(self, epoch: int, until: Callable[[], bool]) -> None:
        """To the end of `epoch`: all but the last epoch in one piece, the last watched."""
        if not self.loop.at_end and self.loop.epoch <= epoch:
            self.watched_epoch()
        while self.loop.epoch < epoch:
            self._fast(min(epoch, self._next_change()) - 1, until)
            stopped = until()
            self.watched_epoch()
            if stopped:
                return

    def _fast(self, epoch: int, until: Callable[[], bool]) -> None:
        """Whole epochs to the end of `epoch`, or until `until`. No change lies on the way."""
        loop, losses, history = self.loop, self.history.losses, self.history
        clock, on_cpu = time.perf_counter, loop.device == "cpu"

        def enough() -> bool:
            if loop.epoch >= epoch or until():
                return True
            if clock() - self._last_keyframe > history.interval:
                self._keep_keyframe()
            self.tick = 0
            return False

        def keep(loss: Any) -> None:
            self.tick = loop.step
            if loop.epoch > len(losses):
                losses.append(loss, on_cpu=on_cpu)

        loop.run_epochs(enough, keep)

    def _keep_keyframe(self) -> None:
        """Keep a keyframe of this epoch's end, if there is none and it is time for one."""
        history, loop, now = self.history, self.loop, time.perf_counter()
        latest = history.latest
        if latest is not None and latest.epoch >= loop.epoch:
            return
        if now - self._last_keyframe < history.interval:
            return
        snapshot = loop.snapshot(latest.snapshot if latest else None)
        if snapshot is not None:
            history.keep(
                Keyframe(
                    loop.epoch,
                    loop.program.mode,
                    self.device_wanted,
                    self.rate,
                    self.applied,
                    {SETUP: loop.boxed[SETUP]} if SETUP in loop.boxed else {},
                    snapshot,
                )
            )
        self._last_keyframe = time.perf_counter()

    def _next_change(self) -> int:
        """The epoch of the next change that has been recorded; far away if there is none."""
        changes = self.record.changes
        return changes[self.applied].at.epoch if self.applied < len(changes) else _FAR

    def nearest(self, epoch: int) -> Keyframe | None:
        """The latest keyframe from which a frame of `epoch` comes out whole.

        One whole epoch is run on the way: what a snapshot leaves out is then there again.
        """
        return self.history.before(epoch - 2)

    def replay(self, to: Position) -> None:
        """Go to a place by running again from the last keyframe before it, or from Setup."""
        keyframe = self.nearest(to.epoch)
        with self.quiet():
            if keyframe is None:
                self.set_up()
            else:
                self.resume(keyframe)
            self.forward(to.epoch - 1, never)
            while self.loop.epoch < to.epoch or (self.tick < to.step and not self.loop.at_end):
                self.step()
        self.note = ""  # what was said of the changes on the way has been said before

    # ── Changes, applied ────────────────────────────────────────────────────────────

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
            return
        program = self.programs[change.mode or self.loop.program.mode]
        device = change.device or self.device_wanted
        new = set_up_loop(program, device, rate, self.record.seed)
        left = carry_over(self.loop, new)
        self.loop, self.rate, self.device_wanted = new, rate, device
        self._tell_device()
        if left:
            self.note = f"{', '.join(left)} could not be carried over: of another size here"

    def _tell_device(self) -> None:
        if self.loop.device != self.device_wanted:
            self.note = (
                f"{self.loop.program.mode} is NumPy and runs on the CPU: "
                f"running on {self.device_wanted} is what PyTorch adds"
            )
