"""The heart: a training run one can step, rewind, jump about in and change in mid-run.

Synchronous and without threads; knows no screen and no process. A run is its Record
(start and changes) and nothing else: every frame can be computed again from it, and
that is how going back works: from the last snapshot before the place, by replay.

The timeline: going back forgets nothing. Stepping forward from the past replays what
was recorded, changes of mode, device and learning rate included; a new change made in
the past cuts off what came after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import msgspec

from tutor.errors import RunError
from tutor.lesson.model import SETUP
from tutor.training import devices
from tutor.training.carry import carry_over
from tutor.training.frame import Change, Curve, Frame, Position, Record
from tutor.training.history import History, Keyframe
from tutor.training.look import Reading, frame_of, reading_of
from tutor.training.loop import LessonRaised, Loop, set_up
from tutor.training.program import Program

_END = _FAR = 2**62
"""As a step: the end of the epoch, whatever its number of steps. As an epoch: never."""


def never() -> bool:
    """The `until` of a run that nothing breaks off."""
    return False


class Run:
    """One run of a lesson's programs. All public methods that move return the new frame.

    Each raises LessonRaised when the lesson's code raises (the run then stands at the
    last good frame, or is `broken` if even Setup raised), and RunError when it is asked
    for something that there is not; then nothing has changed.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        mode: str | None = None,
        device: str = "cpu",
        learning_rate: float | None = None,
        seed: int = 0,
        quiet: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`quiet` is entered while the lesson's code runs again only to get somewhere."""
        self.programs = programs
        self._quiet = quiet
        mode = mode or next(iter(programs))
        self.check_start(programs, mode, device)
        rate = programs[mode].learning_rate if learning_rate is None else learning_rate
        self.record = Record(mode, devices.check(device), _checked_rate(rate), seed)
        self.note = ""
        """One line about what the last call did, where it needs a word."""
        self._begin()

    @staticmethod
    def check_start(programs: Mapping[str, Program], mode: str, device: str) -> None:
        """Raise RunError, saying what there is, if there is no such mode or device."""
        if mode not in programs:
            raise RunError(f"no mode {mode!r} in this lesson; there is {', '.join(programs)}")
        devices.check(device)

    @classmethod
    def from_record(
        cls,
        programs: Mapping[str, Program],
        record: Record,
        to: Position,
        quiet: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Run:
        """The run of this record, standing at `to`."""
        with quiet():
            start = (record.mode, record.device, record.learning_rate, record.seed)
            run = cls(programs, *start, quiet)
        run.record = record
        run._replay(to)
        return run

    # ── Where the run stands ────────────────────────────────────────────────────────

    @property
    def program(self) -> Program:
        """The program of the mode that the run is in."""
        return self._loop.program

    @property
    def at(self) -> Position:
        """Where the run stands. A step counts the learner's steps of this epoch."""
        return Position(self._loop.epoch, self._tick)

    @property
    def at_end(self) -> bool:
        """Whether the run stands at the end of an epoch (or before the first)."""
        return self._loop.at_end

    @property
    def furthest(self) -> int:
        """The last whole epoch that has been run since the last change."""
        return len(self._history.losses)

    @property
    def mode(self) -> str:
        """The gradient mode."""
        return self._loop.program.mode

    @property
    def device(self) -> str:
        """Where the tensors live: the device asked for, or cpu where the mode is NumPy's."""
        return self._loop.device

    @property
    def device_wanted(self) -> str:
        """The device asked for: `device` is another where the mode is NumPy's."""
        return self._device_wanted

    @property
    def learning_rate(self) -> float:
        """As it is now."""
        return self._rate

    @property
    def history_bytes(self) -> int:
        """What the run's memory of itself takes, about."""
        return self._history.size + 8 * self.furthest

    def frame(self) -> Frame:
        """The moment at hand, as plain data."""
        return frame_of(self._loop, self.at, self._rate, self.record.seed)

    def reading(self) -> Reading:
        """The figures of this epoch, for who wants all of them."""
        return reading_of(self._loop)

    def curve(self, columns: int) -> Curve:
        """The loss by epoch, thinned to at most so many columns."""
        return self._history.curve(columns, self.at.epoch)

    # ── Forward ─────────────────────────────────────────────────────────────────────

    def step_phase(self) -> Frame:
        """Run the next phase."""
        return self._guarded(self._step)

    def step_epoch(self) -> Frame:
        """Run to the end of this epoch, or of the next if this one is at its end."""
        return self._guarded(self._watched_epoch)

    def run(self, epochs: int, until: Callable[[], bool] = never) -> Frame:
        """Run `epochs` whole epochs (the one begun is finished first, and counts as one)."""
        target = self._loop.epoch + epochs - (not self._loop.at_end)
        return self.run_to(target, until)

    def run_to(self, epoch: int, until: Callable[[], bool] = never) -> Frame:
        """Run until the end of `epoch`, or until `until`, asked once an epoch, says so."""
        return self._guarded(lambda: self._forward(epoch, until))

    # ── Back and about ──────────────────────────────────────────────────────────────

    def back(self) -> Frame:
        """Go to the frame before; at the very start, stay."""
        at = self.at
        if at.step > 1 or (at.step == 1 and at.epoch == 0):
            return self._guarded(lambda: self._replay(Position(at.epoch, at.step - 1)))
        return self.seek(at.epoch - 1) if at.epoch else self.frame()

    def back_epoch(self) -> Frame:
        """Go to where this epoch began, or the one before if it is at its end."""
        return self.seek(self.at.epoch - 1) if self.at.epoch else self.seek(0)

    def seek(self, epoch: int, step: int | None = None, until: Callable[[], bool] = never) -> Frame:
        """Go to the end of `epoch`, or to after `step` steps of it.

        Within the run so far by replay, beyond it by training (which `until` can break off).
        """
        if epoch < 0:
            raise RunError(f"there is no epoch {epoch}: a run begins at epoch 0")
        if step is not None:
            to = Position(epoch, step) if step else Position(max(epoch - 1, 0), _END)
            return self._guarded(lambda: self._replay(to))
        if epoch > self.at.epoch or (epoch == self.at.epoch and not self._loop.at_end):
            ahead = self._nearest(epoch)
            if ahead is None or ahead.epoch <= self.at.epoch:
                known = epoch <= self.furthest
                with self._quiet() if known else nullcontext():
                    return self.run_to(epoch, until)
        return self._guarded(lambda: self._replay(Position(epoch, _END)))

    def restart(self, seed: int | None = None) -> Frame:
        """Begin again, as the run is now set: same mode, device, learning rate and seed."""
        past, self.note = self.record, ""
        seed = past.seed if seed is None else seed
        self.record = Record(self.mode, self._device_wanted, self._rate, seed)
        try:
            self._begin()
        except RunError:
            self.record = past
            raise
        return self.frame()

    # ── Changes ─────────────────────────────────────────────────────────────────────

    def switch(self, mode: str | None = None, device: str | None = None) -> Frame:
        """Go on in another mode or on another device, the parameters' values carried over.

        Setup runs anew there. In mid-batch the phases so far run again in the new mode,
        from the parameters with which the batch began, so that the place stays the same
        and the same phase can be compared. The learning rate follows the lesson's own
        for the new mode, unless the learner has set one.
        """
        self.check_start(self.programs, mode or self.mode, device or "cpu")
        device = device and devices.check(device)
        rate = None
        if mode is not None and self._rate == self.program.learning_rate:
            rate = self.programs[mode].learning_rate
        return self._change(Change(self.at, mode, device, rate))

    def set(self, *, learning_rate: float) -> Frame:
        """Go on with another learning rate. Raises RunError if it is no number above 0."""
        return self._change(Change(self.at, learning_rate=_checked_rate(learning_rate)))

    def _change(self, change: Change) -> Frame:
        past, at = self.record, self.at
        kept = self.record.changes[: self._applied]
        self.record = msgspec.structs.replace(self.record, changes=(*kept, change))
        self.note = ""
        try:
            self._apply_changes_here()
        except RunError:
            self.record = past
            self._replay(at)
            raise
        self._history.cut(at.epoch if self._loop.at_end else max(at.epoch - 1, 0))
        return self.frame()

    # ── How it is done ──────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """Stand at the very start of the record, with no history."""
        self._set_up()
        self._history = History()

    def _set_up(self) -> None:
        """Stand at the very start of the record, whatever the history."""
        start = self.record
        self._loop = set_up(
            self.programs[start.mode], start.device, start.learning_rate, start.seed
        )
        self._rate, self._device_wanted = start.learning_rate, start.device
        self._tick = self._applied = 0
        self._last_keyframe = time.perf_counter()
        self._tell_device()
        self._apply_changes_here()

    def _resume(self, keyframe: Keyframe) -> None:
        """Stand at the end of a keyframe's epoch, as far as a snapshot goes."""
        snapshot = keyframe.snapshot
        program = self.programs[keyframe.mode]
        self._loop = Loop(program, snapshot.device, snapshot.restore(), epoch=keyframe.epoch)
        self._loop.step = self._tick = self._loop.steps
        self._loop.boxed = dict(keyframe.boxed)
        self._rate, self._device_wanted = keyframe.learning_rate, keyframe.device_wanted
        self._applied = keyframe.applied
        self._last_keyframe = time.perf_counter()

    def _guarded(self, move: Callable[[], object]) -> Frame:
        """Do `move`; if the lesson raises, go back to where it last was whole."""
        self.note = ""
        start = self.at
        try:
            move()
        except LessonRaised:
            self._recover(start)
            raise
        return self.frame()

    def _recover(self, start: Position) -> None:
        """After an error in mid-phase: to the last frame before it."""
        whole = Position(self._loop.epoch, self._tick)
        if not self._tick and whole > start:
            whole = Position(self._loop.epoch - 1, _END)
        self._replay(max(start, whole))

    def _step(self) -> None:
        if self._loop.at_end:
            self._keep_keyframe()
            self._loop.begin_epoch()
            self._tick = 0
        self._loop.run_step()
        self._tick += 1
        self._after_step()

    def _after_step(self) -> None:
        if self._loop.at_end and self._loop.epoch == self.furthest + 1:
            self._history.losses.append(self._loop.loss())
        self._apply_changes_here()

    def _watched_epoch(self) -> None:
        """To the end of the epoch, phase by phase, so that its gradients are known."""
        self._step()
        while not self._loop.at_end:
            self._step()

    def _forward(self, epoch: int, until: Callable[[], bool]) -> None:
        """To the end of `epoch`: all but the last epoch in one piece, the last watched."""
        if not self._loop.at_end and self._loop.epoch <= epoch:
            self._watched_epoch()
        while self._loop.epoch < epoch:
            self._fast(min(epoch, self._next_change()) - 1, until)
            stopped = until()
            self._watched_epoch()
            if stopped:
                return

    def _fast(self, epoch: int, until: Callable[[], bool]) -> None:
        """Whole epochs to the end of `epoch`, or until `until`. No change lies on the way."""
        loop, losses, history = self._loop, self._history.losses, self._history
        while loop.epoch < epoch and not until():
            if time.perf_counter() - self._last_keyframe > history.interval:
                self._keep_keyframe()
            self._tick = 0
            loop.run_epoch()
            self._tick = loop.step
            if loop.epoch > len(losses):
                losses.append(loop.loss())

    def _keep_keyframe(self) -> None:
        """Keep a keyframe of this epoch's end, if there is none and it is time for one."""
        history, loop, now = self._history, self._loop, time.perf_counter()
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
                    self.mode,
                    self._device_wanted,
                    self._rate,
                    self._applied,
                    {SETUP: loop.boxed[SETUP]} if SETUP in loop.boxed else {},
                    snapshot,
                )
            )
        self._last_keyframe = time.perf_counter()

    def _next_change(self) -> int:
        """The epoch of the next change that has been recorded; far away if there is none."""
        changes = self.record.changes
        return changes[self._applied].at.epoch if self._applied < len(changes) else _FAR

    def _nearest(self, epoch: int) -> Keyframe | None:
        """The latest keyframe from which a frame of `epoch` comes out whole.

        One whole epoch is run on the way: what a snapshot leaves out is then there again.
        """
        return self._history.before(epoch - 2)

    def _replay(self, to: Position) -> None:
        """Go to a place by running again from the last keyframe before it, or from Setup."""
        keyframe = self._nearest(to.epoch)
        with self._quiet():
            if keyframe is None:
                self._set_up()
            else:
                self._resume(keyframe)
            self._forward(to.epoch - 1, never)
            while self._loop.epoch < to.epoch or (self._tick < to.step and not self._loop.at_end):
                self._step()

    # ── Changes, applied ────────────────────────────────────────────────────────────

    def _apply_changes_here(self) -> None:
        while self._applied < len(self.record.changes):
            change = self.record.changes[self._applied]
            if change.at != self.at:
                return
            self._applied += 1
            self._apply(change)

    def _apply(self, change: Change) -> None:
        rate = self._rate if change.learning_rate is None else change.learning_rate
        if change.mode is None and change.device is None:
            self._loop.set_learning_rate(self._rate, rate)
            self._rate = rate
            return
        program = self.programs[change.mode or self.mode]
        device = change.device or self._device_wanted
        new = set_up(program, device, rate, self.record.seed)
        left = carry_over(self._loop, new)
        self._loop, self._rate, self._device_wanted = new, rate, device
        self._tell_device()
        if left:
            self.note = f"{', '.join(left)} could not be carried over: of another size here"

    def _tell_device(self) -> None:
        if self._loop.device != self._device_wanted:
            self.note = (
                f"{self.mode} is NumPy and runs on the CPU: "
                f"running on {self._device_wanted} is what PyTorch adds"
            )


def _checked_rate(rate: float) -> float:
    if not 0 < rate < float("inf"):
        raise RunError(f"a learning rate is a number above 0, not {rate:g}")
    return float(rate)
