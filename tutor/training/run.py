"""A training run: step it, rewind it, jump in it, change it in the middle, and read it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import msgspec

from tutor.errors import Refused, RunError
from tutor.lesson.model import check_mode, is_learning_rate
from tutor.protocol.frame import (
    EPOCH_END,
    Change,
    Curve,
    Element,
    Frame,
    Position,
    Remark,
    RunRecipe,
    Value,
)
from tutor.training import devices
from tutor.training.devices import SharedGenerators
from tutor.training.expressions import exercise_values
from tutor.training.figures import exercise_names, frame_of
from tutor.training.history import History
from tutor.training.lesson_error import LessonRaised, lesson_raised
from tutor.training.playback import Playback, never
from tutor.training.probe import Standpoint, standpoint_of
from tutor.training.program import Program, Quiet, Until
from tutor.training.run_state import RunState
from tutor.training.values import to_numpy


class Run(RunState):
    """One run of a lesson's programs.

    A move returns the new frame, unless its name says otherwise:

    - `step_phase`: the next phase.
    - `step_epoch`: to the end of this epoch, or of the next one, phase by phase.
    - `run_to`: to the end of an epoch that is named, all epochs but that one as one piece.
    - `run`: the same for a number of epochs.
    - `seek`, `back`, `back_epoch`: to any place, by replay where the run has been.
    - `switch`, `set`, `reseed`, `restart`: changes, which the recipe holds.

    Each raises LessonRaised when the lesson's code raises (the run then stands at the last good
    frame), and RunError for a request that can't be met (then nothing has changed). `until`, where
    a method takes it, is called between epochs, about every millisecond; once it returns True the
    run stops at the end of an epoch, and nothing that was recorded is lost. Runs that move in turn
    share one set of `generators`, so that each finds the random number generators as it left them.
    """

    _is_kept = True
    """Whether the run is used on after an error; if not, it does not go back to a good frame."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        mode: str | None = None,
        device: str = "cpu",
        learning_rate: float | None = None,
        seed: int = 0,
        quiet: Quiet = nullcontext,
        *,
        is_kept: bool = True,
    ) -> None:
        """Stands at the start, in the lesson's first mode if none is named.

        `quiet` is entered while the lesson's code runs again only to get somewhere. A run that
        `is_kept` goes back to a good frame after an error; else nobody uses it any more.
        """
        self._is_kept = is_kept
        mode = mode or next(iter(programs))
        self.check_start(programs, mode, device)
        rate = programs[mode].learning_rate if learning_rate is None else learning_rate
        is_own = rate == programs[mode].learning_rate  # 0.0 for a script, which has its own
        rate = rate if is_own else _checked_rate(rate)
        recipe = RunRecipe(mode, devices.check(device), rate, seed)
        super().__init__(programs, recipe, quiet)
        self._playback = Playback(self)

    @staticmethod
    def check_start(programs: Mapping[str, Program], mode: str, device: str) -> None:
        """Raise RunError, with the modes and devices there are, if there is no such one."""
        check_mode(mode, programs)
        devices.check(device)

    @classmethod
    def from_recipe(
        cls,
        programs: Mapping[str, Program],
        recipe: RunRecipe,
        to: Position,
        quiet: Quiet = nullcontext,
        *,
        history: History | None = None,
        generators: SharedGenerators | None = None,
    ) -> Run:
        """The run of this recipe, standing at `to`.

        `history` is its history so far, if there is one: the keyframes save running it all again.
        """
        for change in (Change(to, recipe.mode, recipe.device), *recipe.changes):
            cls.check_start(programs, change.mode or recipe.mode, change.device or "cpu")
        run = cls.__new__(cls)
        with quiet():
            RunState.__init__(run, programs, recipe, quiet, history, generators)
        run._playback = Playback(run)
        run._playback.replay(to)
        return run

    # ── Position ────────────────────────────────────────────────────────────────────

    @property
    def has_future(self) -> bool:
        """Whether steps, epochs or changes are recorded after the place where the run stands."""
        here, furthest = self.at, self.furthest
        is_further = furthest.epoch > here.epoch if self.at_end else furthest > here
        return is_further or self.settings.applied < len(self.recipe.changes)

    def came_to(self, at: Position) -> bool:
        """Whether the run has come to this place already."""
        return at.epoch == 0 or at <= self.furthest

    @property
    def diverged_at(self) -> int | None:
        """The first epoch whose loss is NaN or infinite; None if there is none.

        None also where `loss` is no single number: that is no divergence.
        """
        loss = to_numpy(self.loop.loss())
        if loss is None or loss.size != 1:
            return None
        return self.history.losses.first_not_finite()

    def frame(self) -> Frame:
        """The moment at hand, as plain data."""
        self.generators.take(self)
        try:
            rate = self.loop.learning_rate_of_script() or self.learning_rate
            return frame_of(self.loop, self.at, rate, self.settings.seed)
        except (RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a lesson may have replaced what torch is read with
            raise lesson_raised(self.program, error) from error

    def evaluate(self, expressions: Sequence[str]) -> tuple[Value, ...]:
        """The values of an exercise's expressions here: see `exercise_values`."""
        self.generators.take(self)
        losses = self.history.losses.until(max(self.at.epoch - (not self.at_end), 0))
        with self.quiet():
            # One dict: only globals are seen inside comprehensions and lambdas. It is a copy, so
            # that `:=` binds nothing in the lesson.
            scope = {**self.loop.namespace, **exercise_names(self.loop, losses)}
            return exercise_values(expressions, scope, self.loop.device, self.program)

    def standpoint(self) -> Standpoint:
        """A copy of the batch that the run stands in, for a probe to start from."""
        self.generators.take(self)  # the generators' states are a part of it
        return standpoint_of(self.loop, self.learning_rate)

    def curve(self, columns: int) -> Curve:
        """The losses so far, in `columns` columns."""
        return self.history.losses.curve(columns, self.at.epoch)

    def trail(self) -> tuple[tuple[float, float], ...]:
        """The places of two parameters at the ends of earlier epochs, oldest first.

        Some 128 places each time the number of epochs doubles; empty where the parameters are
        not two numbers in all.
        """
        return self.history.trail.up_to(self.at.epoch - (not self.at_end))

    # ── Moves ───────────────────────────────────────────────────────────────────────

    def step_phase(self) -> Frame:
        """Run the next phase."""
        return self._move_and_frame(self._playback.step_phase)

    def step_phase_without_frame(self) -> None:
        """Run the next phase, where no frame is wanted."""
        self._move(self._playback.step_phase)

    def step_epoch(self, until: Until = never) -> Frame:
        """Run to the end of this epoch, or of the next if this one is at its end.

        `until` may stop an epoch of a script between two phases.
        """
        return self._move_and_frame(lambda: self._playback.step_epoch(until))

    def run(self, epochs: int, until: Until = never) -> Frame:
        """Run `epochs` whole epochs (the one begun is finished first, and counts as one)."""
        return self.run_to(self.loop.epoch + epochs - (not self.at_end), until)

    def run_to(self, epoch: int, until: Until = never) -> Frame:
        """Run until the end of `epoch`."""
        return self._move_and_frame(lambda: self._playback.run_to(epoch, until))

    def run_to_without_frame(self, epoch: int, until: Until = never) -> None:
        """Run until the end of `epoch`, where no frame is wanted, only figures."""
        self._move(lambda: self._playback.run_to(epoch, until, for_frame=False))

    def back(self, until: Until = never) -> Frame:
        """Go to the frame before; at the very start, stay."""
        at = self.at
        if self.loop.is_over:
            return self._move_and_frame(lambda: self._playback.replay(at, until, is_broken=True))
        if at.step > 1 or (at.step == 1 and at.epoch == 0):
            to = Position(at.epoch, at.step - 1)
            return self._move_and_frame(lambda: self._playback.replay(to, until))
        return self.seek(at.epoch - 1, until=until) if at.epoch else self.frame()

    def back_epoch(self, until: Until = never) -> Frame:
        """Go to where this epoch began, or the one before if it is at its end."""
        return self.seek(max(self.at.epoch - 1, 0), until=until)

    def seek(self, epoch: int, step: int = EPOCH_END, until: Until = never) -> Frame:
        """Go to the end of `epoch`, or to after `step` steps of it.

        Within the run so far by replay, beyond it by training.
        """
        if epoch < 0:
            raise Refused("no_epoch", epoch=epoch)
        if epoch > self.last_epoch and step == EPOCH_END:
            return self.run_to(epoch, until)
        to = Position(epoch, step)
        if step == 0:
            to = Position(max(epoch - 1, 0), EPOCH_END if epoch else 0)
        return self._move_and_frame(lambda: self._playback.replay(to, until))

    def restart(self, seed: int | None = None) -> Frame:
        """Begin again, as the run is now set: same mode, device, learning rate and seed.

        The weights begin with the same values, unless another seed is given.
        """
        past, depends_on_seed = self.recipe, self.depends_on_seed
        self._start_move()
        self.recipe = self.recipe_again(seed)
        try:
            self.begin()
        except RunError:
            self.recipe = past
            raise
        self.history = History()
        if seed not in (None, past.seed):
            self.remarks = (Remark("seed" if depends_on_seed else "seed_unused", {"seed": seed}),)
        return self.frame()

    def recipe_again(self, seed: int | None) -> RunRecipe:
        """The recipe of `restart`: the present settings, from the start."""
        seed = self.recipe.seed if seed is None else seed
        return RunRecipe(self.mode, self.settings.device_wanted, self.learning_rate, seed)

    def _start_move(self) -> None:
        """Take the generators, and remember how far the run came."""
        self.history.furthest = max(self.history.furthest, self.at)
        self.generators.take(self)
        self.remarks = ()
        if self.loop.is_lost:  # a rank ended while another run moved
            self._playback.replay(self.at, is_broken=True)
        self.has_run_again = False

    def _move_and_frame(self, move: Callable[[], object]) -> Frame:
        """Do `move`; returns the frame there."""
        self._move(move)
        return self.frame()

    def _move(self, move: Callable[[], object]) -> None:
        """Do `move`; if the lesson raises, go back to the last whole frame."""
        self._start_move()
        start, settings = self.at, (self.mode, self.learning_rate)
        try:
            with self.loop.entered():
                move()
        except LessonRaised as error:
            self._recover(start, error.__cause__, is_stopped=error.stopped)
            raise
        except (RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the lesson's own objects, while they are read or copied
            self._recover(start, error)
            raise lesson_raised(self.program, error) from error
        if (self.mode, self.learning_rate) != settings:
            # It stands in the past, or has met a change that was made there.
            self.remarks = (Remark("as_here", {"mode": self.mode, "rate": self.learning_rate}),)

    def _recover(
        self, start: Position, error: BaseException | None, *, is_stopped: bool = False
    ) -> None:
        """After an error in mid-phase: go to the last frame before it.

        There is no way from a lost GPU, and none is needed if nobody uses the run any more.

        A script that the learner has stopped may be slow: it goes to the end of an epoch from
        which nothing has to run again.
        """
        if devices.is_lost(error) or not self._is_kept:
            return
        self._free_memory(error)
        whole = self.at
        if not whole.step and whole > start:  # the epoch's very first phase has failed
            whole = Position(whole.epoch - 1, EPOCH_END)
        if self.is_script and is_stopped:
            with self.quiet():
                earlier = self.history.latest_until(whole.epoch - (whole.step != EPOCH_END))
                self.resume(earlier or self.start)
            if self.loop.epoch >= start.epoch - 1:
                return
        self._playback.replay(max(start, whole), is_broken=True)

    def _free_memory(self, error: BaseException | None) -> None:
        """If there is no memory left, free what the broken epoch holds: the way back needs some."""
        if error is not None and devices.is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)
            for name in self.program.liveness.rewritten:
                self.loop.namespace.pop(name, None)
            devices.free_memory()

    # ── Changes ─────────────────────────────────────────────────────────────────────

    def switch(self, mode: str | None = None, device: str | None = None) -> Frame:
        """Continue in another mode or on another device, the parameters' values carried over.

        Setup runs anew there. In mid-batch the phases so far run again in the new mode,
        from the parameters with which the batch began, so that the place stays the same
        and the same phase can be compared. The learning rate follows the lesson's own
        for the new mode, unless the learner has set one.
        """
        assert not self.is_script, "the session refuses it (`script_refusal`)"
        self.check_start(self.programs, mode or self.mode, device or "cpu")
        device = device and devices.check(device)
        rate = None
        if mode is not None and self.learning_rate == self.program.learning_rate:
            rate = self.programs[mode].learning_rate
        return self._change(Change(self.at, mode, device, rate))

    def set(self, *, learning_rate: float | None = None, element: Element | None = None) -> Frame:
        """Continue with another learning rate, or with another value of one parameter's number.

        An element that is set before this batch's gradient has been computed lets the batch's
        phases so far run again, so that what stands in their formulas is true; later only the
        value changes. Raises RunError if the learning rate is no number above 0, or there is
        no such parameter, element or value.
        """
        rate = None if learning_rate is None else _checked_rate(learning_rate)
        return self._change(Change(self.at, learning_rate=rate, element=element))

    def reseed(self, seed: int) -> Frame:
        """Continue with the random numbers of another seed."""
        return self._change(Change(self.at, seed=seed))

    def _change(self, change: Change) -> Frame:
        past, at = self.recipe, self.at
        self._start_move()
        if change.learning_rate is not None:
            self.loop.check_learning_rate()
        if self.loop.must_begin_anew:
            with self.quiet():
                self.begin()
            self._playback.replay(at)
        self.recipe = msgspec.structs.replace(past, changes=(*self.changes_done, change))
        try:
            self.apply_changes_here()
        except (RunError, MemoryError, RuntimeError) as error:
            self.recipe, cause = past, error.__cause__ or error
            if not devices.is_lost(cause):
                self._free_memory(cause)
                self._playback.replay(at, is_broken=True)
            if isinstance(error, RunError):
                raise
            raise lesson_raised(self.program, error) from error  # no memory for what is carried
        self.history.cut(at.epoch, whole=self.at_end)
        return self.frame()

    def forget_future(self) -> Frame:
        """Forget everything that is recorded after this place."""
        self.remarks = ()
        self.recipe = msgspec.structs.replace(self.recipe, changes=self.changes_done)
        self.history.cut(self.at.epoch + self.at_end, whole=False)
        return self.frame()


def _checked_rate(rate: float) -> float:
    if not is_learning_rate(rate):
        raise Refused("bad_rate", rate=rate)
    return float(rate)
