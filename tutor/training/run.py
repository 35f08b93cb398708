"""A training run: step it, rewind it, jump in it, and change it in the middle.

Synchronous and without threads. A run is its RunRecipe (start and changes) and nothing else: every
frame can be computed again from it, and that is how going back works: from the last snapshot
before the place, by replay.

The timeline: going back forgets nothing. Stepping forward from the past replays what
was recorded, changes included; a new change made in the past cuts off what came after it
(Runs keeps that as a run of its own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from tutor.errors import RunError
from tutor.lesson.model import WANTED, is_learning_rate
from tutor.protocol.frame import Change, Curve, Element, Frame, Position, RunRecipe, Value
from tutor.training import devices
from tutor.training.history import History
from tutor.training.loop import LessonRaised, Loop, lesson_raised
from tutor.training.player import END, UNDRAWN, GeneratorOwner, Player, never
from tutor.training.probe import Standpoint, standpoint_of
from tutor.training.program import Program, Quiet
from tutor.training.readings import Reading, evaluate, frame_of, names_of, reading_of
from tutor.training.values import to_numpy


class Run:
    """One run of a lesson's programs. All public methods that move return the new frame.

    Each raises LessonRaised when the lesson's code raises (the run then stands at the
    last good frame), and RunError when it is asked for something that there is not (then
    nothing has changed). `until`, where a method takes it, is asked between epochs, about
    every millisecond, and breaks a long way off: the run then stands at the end of an epoch,
    and nothing that was recorded is lost. A process has one set of random number generators:
    runs that are to move in turn are made with one `turn`, and each finds the generators as
    it left them.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        mode: str | None = None,
        device: str = "cpu",
        learning_rate: float | None = None,
        seed: int = 0,
        quiet: Quiet = nullcontext,
        turn: GeneratorOwner | None = None,
    ) -> None:
        """Stands at the start, in the lesson's first mode if none is named.

        `quiet` is entered while the lesson's code runs again only to get somewhere.
        """
        mode = mode or next(iter(programs))
        self.check_start(programs, mode, device)
        rate = programs[mode].learning_rate if learning_rate is None else learning_rate
        record = RunRecipe(mode, devices.check(device), _checked_rate(rate), seed)
        self._player = Player(programs, record, quiet, turn=turn)

    @staticmethod
    def check_start(programs: Mapping[str, Program], mode: str, device: str) -> None:
        """Raise RunError, saying what there is, if there is no such mode or device."""
        if mode not in programs:
            raise RunError(f"no mode {mode!r} in this lesson; available: {', '.join(programs)}")
        devices.check(device)

    @classmethod
    def from_record(
        cls,
        programs: Mapping[str, Program],
        record: RunRecipe,
        to: Position,
        quiet: Quiet = nullcontext,
        until: Callable[[], bool] = never,
        *,
        history: History | None = None,
        turn: GeneratorOwner | None = None,
    ) -> Run:
        """The run of this record, standing at `to` (or where `until` broke it off).

        `history` is what is known of it already: its keyframes save running all of it again.
        """
        cls.check_start(programs, record.mode, record.device)
        for change in record.changes:
            cls.check_start(programs, change.mode or record.mode, change.device or "cpu")
        run = cls.__new__(cls)
        with quiet():
            run._player = Player(programs, record, quiet, history, turn)
        run._player.replay(to, until)
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
    def record(self) -> RunRecipe:
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
    def has_future(self) -> bool:
        """Whether steps, epochs or changes are recorded after the place where the run stands."""
        here = Position(self.at.epoch, END) if self.at_end else self.at
        furthest = self._player.furthest
        if furthest.epoch == here.epoch and self.at_end:
            furthest = here
        return furthest > here or self._player.applied < len(self.record.changes)

    @property
    def furthest_place(self) -> Position:
        """The furthest place that has been run since the last change.

        The step of a whole epoch's end is END, whatever its number of steps.
        """
        return self._player.furthest

    def came_to(self, at: Position) -> bool:
        """Whether this place has been run already."""
        return at.epoch == 0 or at <= self._player.furthest

    @property
    def turn(self) -> GeneratorOwner:
        """The generator owner that it shares with the runs that take turns with it."""
        return self._player.turn

    @property
    def quiet(self) -> Quiet:
        """The context in which the lesson's code is replayed without printing."""
        return self._player.quiet

    @property
    def history(self) -> History:
        """The history of its epochs."""
        return self._player.history

    @property
    def seed(self) -> int:
        """The seed of the random numbers that are drawn now."""
        return self._player.seed

    @property
    def draws(self) -> bool:
        """Whether a random number has been drawn, in Setup or later, as far as it has come."""
        return self._player.loop.setup_namespace.draws or self._player.draws()

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
        """The first epoch whose loss is NaN or infinite; None if there is none.

        None also where `loss` is no single number: that is no divergence.
        """
        loss = to_numpy(self._player.loop.loss())
        if loss is None or loss.size != 1:
            return None
        return self._player.history.losses.first_not_finite()

    @property
    def names(self) -> Mapping[str, Any]:
        """The lesson's own names and what they stand for. Not to be changed."""
        return self._player.loop.namespace

    def frame(self) -> Frame:
        """The moment at hand, as plain data."""
        player = self._player
        player.turn.take(player)
        try:
            return frame_of(player.loop, self.at, player.rate, player.seed)
        except (RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a lesson may have replaced what torch is read with
            raise lesson_raised(player.loop.program, error) from error

    def reading(self) -> Reading:
        """The figures of this epoch, for who wants all of them."""
        return reading_of(self._player.loop)

    @property
    def loop(self) -> Loop:
        """The training loop as it stands, to look at its names."""
        return self._player.loop

    def evaluate(self, expressions: Sequence[str]) -> tuple[Value, ...]:
        """The values of an exercise's expressions here: see `conditions.evaluate`."""
        player = self._player
        player.turn.take(player)
        losses = player.history.losses.until(max(self.at.epoch - (not self.at_end), 0))
        with self.quiet():
            return evaluate(player.loop, expressions, names_of(player.loop, losses))

    def standpoint(self) -> Standpoint:
        """The batch that it stands in, for a probe to look about from."""
        return standpoint_of(self._player.loop, self._player.rate)

    def curve(self, columns: int) -> Curve:
        """The loss by epoch, thinned to at most so many columns."""
        return self._player.history.losses.curve(columns, self.at.epoch)

    def trail(self) -> tuple[tuple[float, float], ...]:
        """Where the parameters have been by the end of earlier epochs, oldest first.

        Some 128 places each time the number of epochs doubles; empty where the parameters are
        not two numbers in all.
        """
        return self._player.history.trail.up_to(self.at.epoch - (not self.at_end))

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
        """Run until the end of `epoch`."""
        return self._guarded(lambda: self._player.forward(epoch, until))

    # ── Back and about ──────────────────────────────────────────────────────────────

    def back(self, until: Callable[[], bool] = never) -> Frame:
        """Go to the frame before; at the very start, stay."""
        at = self.at
        if at.step > 1 or (at.step == 1 and at.epoch == 0):
            to = Position(at.epoch, at.step - 1)
            return self._guarded(lambda: self._player.replay(to, until))
        return self.seek(at.epoch - 1, until=until) if at.epoch else self.frame()

    def back_epoch(self, until: Callable[[], bool] = never) -> Frame:
        """Go to where this epoch began, or the one before if it is at its end."""
        return self.seek(max(self.at.epoch - 1, 0), until=until)

    def seek(self, epoch: int, step: int | None = None, until: Callable[[], bool] = never) -> Frame:
        """Go to the end of `epoch`, or to after `step` steps of it.

        Within the run so far by replay, beyond it by training.
        """
        if epoch < 0:
            raise RunError(f"there is no epoch {epoch}: a run begins at epoch 0")
        if epoch > self.furthest and step is None:
            return self.run_to(epoch, until)
        to = Position(epoch, END if step is None else step)
        if step == 0:
            to = Position(max(epoch - 1, 0), END if epoch else 0)
        return self._guarded(lambda: self._player.replay(to, until))

    def restart(self, seed: int | None = None) -> Frame:
        """Begin again, as the run is now set: same mode, device, learning rate and seed.

        The weights begin with the same values, unless another seed is given.
        """
        player, past, has_drawn = self._player, self.record, self.draws
        player.begin_move()
        player.note = ""
        player.record = RunRecipe(
            self.mode, self.device_wanted, self.learning_rate, past.seed if seed is None else seed
        )
        try:
            player.begin()
        except RunError:
            player.record = past
            raise
        if seed not in (None, past.seed):
            player.note = f"seed {seed}" if has_drawn else UNDRAWN.format(seed=seed)
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

    def set(self, *, learning_rate: float | None = None, element: Element | None = None) -> Frame:
        """Go on with another learning rate, or with another value of one number of a parameter.

        An element that is set before this batch's gradient has been computed lets the batch's
        phases so far run again, so that what stands in their formulas is true; later only the
        value changes. Raises RunError if the learning rate is no number above 0, or there is
        no such parameter, element or value.
        """
        rate = None if learning_rate is None else _checked_rate(learning_rate)
        return self._change(Change(self.at, learning_rate=rate, element=element))

    def reseed(self, seed: int) -> Frame:
        """Go on with the random numbers of another seed."""
        return self._change(Change(self.at, seed=seed))

    def _change(self, change: Change) -> Frame:
        player, past, at = self._player, self.record, self.at
        player.begin_move()
        player.note = ""
        player.record = msgspec.structs.replace(
            past, changes=(*past.changes[: player.applied], change)
        )
        try:
            player.apply_changes_here()
        except RunError:
            player.record = past
            player.replay(at, broken=True)
            raise
        player.history.cut(at.epoch, whole=self.at_end)
        return self.frame()

    def forget_future(self) -> None:
        """Let this be all of the run: what is recorded after this place goes."""
        player = self._player
        player.note = ""  # what was said of a change before is no news
        kept = self.record.changes[: player.applied]
        player.record = msgspec.structs.replace(self.record, changes=kept)
        player.history.cut(self.at.epoch + self.at_end, whole=False)

    # ── When the lesson raises ──────────────────────────────────────────────────────

    def _guarded(self, move: Callable[[], object]) -> Frame:
        """Do `move`; if the lesson raises, go back to where it last was whole."""
        self._player.begin_move()
        self._player.note = ""
        start, settings = self.at, (self.mode, self.learning_rate)
        try:
            move()
        except LessonRaised:
            self._recover(start)
            raise
        except (RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the lesson's own things, while they are read or copied
            self._recover(start)
            raise lesson_raised(self.program, error) from error
        if (self.mode, self.learning_rate) != settings:
            # It stands in the past, or has met a change that was made there.
            self._player.note = f"as it was here: {self.mode}, learning rate {self.learning_rate:g}"
        return self.frame()

    def _recover(self, start: Position) -> None:
        """After an error in mid-phase: to the last frame before it."""
        whole = self.at
        if not whole.step and whole > start:  # the epoch's very first phase has failed
            whole = Position(whole.epoch - 1, END)
        self._player.replay(max(start, whole), broken=True)


def _checked_rate(rate: float) -> float:
    if not is_learning_rate(rate):
        raise RunError(f"a learning rate is {WANTED}, not {rate:g}")
    return float(rate)
