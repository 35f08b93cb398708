"""The heart: a training run one can step, rewind, jump about in and change in mid-run.

Synchronous and without threads; knows no screen and no process. A run is its Record
(start and changes) and nothing else: every frame can be computed again from it, and
that is how going back works: from the last snapshot before the place, by replay.

The timeline: going back forgets nothing. Stepping forward from the past replays what
was recorded, changes of mode, device and learning rate included; a new change made in
the past cuts off what came after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import msgspec

from tutor.errors import RunError
from tutor.training import devices
from tutor.training.frame import Change, Curve, Frame, Position, Record
from tutor.training.look import Reading, frame_of, reading_of
from tutor.training.loop import LessonRaised
from tutor.training.player import END, Player, never
from tutor.training.program import Program
from tutor.training.quiet import Quiet


class Run:
    """One run of a lesson's programs. All public methods that move return the new frame.

    Each raises LessonRaised when the lesson's code raises (the run then stands at the
    last good frame), and RunError when it is asked for something that there is not (then
    nothing has changed). A process has one set of random number generators, so that only
    the run that was started, restarted or moved to another place last may use them.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        mode: str | None = None,
        device: str = "cpu",
        learning_rate: float | None = None,
        seed: int = 0,
        quiet: Quiet = nullcontext,
    ) -> None:
        """Stands at the start, in the lesson's first mode if none is named.

        `quiet` is entered while the lesson's code runs again only to get somewhere.
        """
        mode = mode or next(iter(programs))
        self.check_start(programs, mode, device)
        rate = programs[mode].learning_rate if learning_rate is None else learning_rate
        record = Record(mode, devices.check(device), _checked_rate(rate), seed)
        self._player = Player(programs, record, quiet)

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
        quiet: Quiet = nullcontext,
    ) -> Run:
        """The run of this record, standing at `to`."""
        start = (record.mode, record.device, record.learning_rate, record.seed)
        with quiet():
            run = cls(programs, *start, quiet)
        run._player.record = record
        run._player.replay(to)
        return run

    # ── Where the run stands ────────────────────────────────────────────────────────

    @property
    def program(self) -> Program:
        """The program of the mode that the run is in."""
        return self._player.loop.program

    @property
    def programs(self) -> Mapping[str, Program]:
        """The lesson's program in each mode."""
        return self._player.programs

    @property
    def record(self) -> Record:
        """The whole recipe of the run: where it began, and what was changed where."""
        return self._player.record

    @property
    def note(self) -> str:
        """One line about what the last call did; empty where it needs no word."""
        return self._player.note

    @property
    def at(self) -> Position:
        """Where the run stands. A step counts the learner's steps of this epoch."""
        return self._player.at

    @property
    def at_end(self) -> bool:
        """Whether the run stands at the end of an epoch (or before the first)."""
        return self._player.loop.at_end

    @property
    def furthest(self) -> int:
        """The last whole epoch that has been run since the last change."""
        return len(self._player.history.losses)

    @property
    def mode(self) -> str:
        """The gradient mode."""
        return self._player.loop.program.mode

    @property
    def device(self) -> str:
        """Where the tensors live: the device asked for, or cpu where the mode is NumPy's."""
        return self._player.loop.device

    @property
    def device_wanted(self) -> str:
        """The device asked for: `device` is another where the mode is NumPy's."""
        return self._player.device_wanted

    @property
    def learning_rate(self) -> float:
        """As it is now."""
        return self._player.rate

    @property
    def diverged_at(self) -> int | None:
        """The first epoch whose loss is NaN or infinite; None if there is none."""
        return self._player.history.losses.first_not_finite()

    def frame(self) -> Frame:
        """The moment at hand, as plain data."""
        return frame_of(self._player.loop, self.at, self._player.rate, self.record.seed)

    def reading(self) -> Reading:
        """The figures of this epoch, for who wants all of them."""
        return reading_of(self._player.loop)

    def curve(self, columns: int) -> Curve:
        """The loss by epoch, thinned to at most so many columns."""
        return self._player.history.curve(columns, self.at.epoch)

    # ── Forward ─────────────────────────────────────────────────────────────────────

    def step_phase(self) -> Frame:
        """Run the next phase."""
        return self._guarded(self._player.step)

    def step_epoch(self) -> Frame:
        """Run to the end of this epoch, or of the next if this one is at its end."""
        return self._guarded(self._player.watched_epoch)

    def run(self, epochs: int, until: Callable[[], bool] = never) -> Frame:
        """Run `epochs` whole epochs (the one begun is finished first, and counts as one)."""
        target = self._player.loop.epoch + epochs - (not self._player.loop.at_end)
        return self.run_to(target, until)

    def run_to(self, epoch: int, until: Callable[[], bool] = never) -> Frame:
        """Run until the end of `epoch`, or until `until`, asked once an epoch, says so."""
        return self._guarded(lambda: self._player.forward(epoch, until))

    # ── Back and about ──────────────────────────────────────────────────────────────

    def back(self) -> Frame:
        """Go to the frame before; at the very start, stay."""
        at = self.at
        if at.step > 1 or (at.step == 1 and at.epoch == 0):
            return self._guarded(lambda: self._player.replay(Position(at.epoch, at.step - 1)))
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
            to = Position(epoch, step) if step else Position(max(epoch - 1, 0), END)
            return self._guarded(lambda: self._player.replay(to))
        if epoch > self.at.epoch or (epoch == self.at.epoch and not self._player.loop.at_end):
            ahead = self._player.nearest(epoch)
            if ahead is None or ahead.epoch <= self.at.epoch:
                known = epoch <= self.furthest
                with self._player.quiet() if known else nullcontext():
                    return self.run_to(epoch, until)
        return self._guarded(lambda: self._player.replay(Position(epoch, END)))

    def restart(self, seed: int | None = None) -> Frame:
        """Begin again, as the run is now set: same mode, device, learning rate and seed."""
        player, past = self._player, self.record
        seed = past.seed if seed is None else seed
        player.note = ""
        player.record = Record(self.mode, self.device_wanted, self.learning_rate, seed)
        try:
            player.begin()
        except RunError:
            player.record = past
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
        if mode is not None and self._player.rate == self.program.learning_rate:
            rate = self.programs[mode].learning_rate
        return self._change(Change(self.at, mode, device, rate))

    def set(self, *, learning_rate: float) -> Frame:
        """Go on with another learning rate. Raises RunError if it is no number above 0."""
        return self._change(Change(self.at, learning_rate=_checked_rate(learning_rate)))

    def _change(self, change: Change) -> Frame:
        player, past, at = self._player, self.record, self.at
        player.note = ""
        player.record = msgspec.structs.replace(
            past, changes=(*past.changes[: player.applied], change)
        )
        try:
            player.apply_changes_here()
        except RunError:
            player.record = past
            player.replay(at)
            raise
        player.history.cut(at.epoch, whole=self.at_end)
        return self.frame()

    # ── When the lesson raises ──────────────────────────────────────────────────────

    def _guarded(self, move: Callable[[], object]) -> Frame:
        """Do `move`; if the lesson raises, go back to where it last was whole."""
        self._player.note = ""
        start, settings = self.at, (self.mode, self.learning_rate)
        try:
            move()
        except LessonRaised:
            self._recover(start)
            raise
        if (self.mode, self.learning_rate) != settings:
            # It stands in the past, or has met a change that was made there.
            self._player.note = f"as it was here: {self.mode}, learning rate {self.learning_rate:g}"
        return self.frame()

    def _recover(self, start: Position) -> None:
        """After an error in mid-phase: to the last frame before it."""
        whole = self.at
        if not whole.step and whole > start:  # the epoch's very first phase has failed
            whole = Position(whole.epoch - 1, END)
        self._player.replay(max(start, whole))


def _checked_rate(rate: float) -> float:
    if not 0 < rate < float("inf"):
        raise RunError(f"a learning rate is a number above 0, not {rate:g}")
    return float(rate)
