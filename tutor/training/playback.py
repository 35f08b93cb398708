"""The recipe of a run, played: forward, and to any place in it by keyframes and replay.

A run is its RunRecipe (start and changes) and nothing else: every frame can be computed again from
it, and that is how going back works: from the last keyframe before the place, by replay. Going
back forgets nothing. Stepping forward from the past replays what was recorded, changes included.
"""

from __future__ import annotations

import time
from functools import partial

from tutor.protocol.frame import EPOCH_END, Position, Remark
from tutor.training.devices import synchronize
from tutor.training.history import Keyframe
from tutor.training.loss_and_trail import NO_EPOCH
from tutor.training.program import Until
from tutor.training.run_state import RunState

_SLOW = 0.1
"""Seconds: a replay that takes longer leaves keyframes on its way, for going back from there."""
_CHECK_SECONDS = 0.001
"""Seconds of training between two calls of `until`."""
_COSTLY_CHECK_SECONDS = 0.03
"""Seconds between two calls where one costs more: a script's stack, or several ranks, must wait."""
_LONG_EPOCH = 0.2
"""Seconds: a longer epoch of a script runs phase by phase, so that it can be stopped in it."""
_LONG_WAY = 1.0
"""Seconds: a script's last epoch that has run as one piece runs again phase by phase, so that its
frame has all values, if that takes less."""


def never() -> bool:
    """The `until` of a move that nothing stops."""
    return False


class Playback:
    """A run on its way: forward, and by replay to any place of its recipe.

    An exception of the lesson's code passes through and leaves the loop in mid-phase: `Run`
    recovers from it.
    """

    def __init__(self, run: RunState) -> None:
        self._run = run

    # ── Forward ─────────────────────────────────────────────────────────────────────

    def step_phase(self, *, for_frame: bool = True, may_stop: bool = True) -> None:
        """Run the next phase, then apply the changes that were recorded after it.

        `for_frame` and `may_stop` mean what they mean for `Loop.run_step`.
        """
        run = self._run
        if run.loop.at_end and (not self._enter_epoch() or run.loop.at_end):
            return
        run.loop.run_step(for_frame=for_frame, may_stop=may_stop)
        run.steps_taken += 1
        self._after_step()

    def _after_step(self) -> None:
        run = self._run
        if run.loop.at_end and run.loop.epoch == run.last_epoch + 1:
            run.history.add_epoch(run.loop)
            run.history.follow_trail(run.loop)
        run.apply_changes_here()

    def _enter_epoch(self, until: Until = never) -> bool:
        """Enter the next epoch; False if there is none, because a script has come to its end.

        False also if `until` has stopped the way to that end.
        """
        run = self._run
        run.history.start_trail(run.loop)
        self._keep_keyframe()
        before = run.loop.executions
        if not self._has_next_epoch(until):
            if run.loop.is_over:
                run.remarks = (Remark("script_ended", {"epoch": run.loop.epoch}),)
            return False
        run.loop.begin_epoch()
        if run.loop.executions > before:
            run.remarks = (Remark("loop_again", {"number": run.loop.executions}),)
        run.steps_taken, run.ran_as_one_piece = 0, False
        if run.loop.at_end:  # an epoch that comes to none of the phases counts as one step
            run.steps_taken = 1
            self._after_step()
        return True

    def _has_next_epoch(self, until: Until) -> bool:
        """Whether an epoch follows. At the end of a script's loop the rest of the script runs.

        It runs again from its start where the rest has run before, with other numbers: `until`
        may stop it on the way.
        """
        run = self._run
        if not run.is_script or run.loop.is_over or not run.loop.is_at_loop_end:
            return run.loop.has_next_epoch()
        here, changes = Position(run.loop.epoch, EPOCH_END), run.changes_done
        if run.ran_as_one_piece and self._seconds_from_keyframe(here.epoch) < _LONG_WAY:
            self.replay(here, is_broken=True)
        if run.loop.rest_has_run:
            if run.changes_at_end == changes and run.loop.end_again():
                return False
            with run.quiet():
                run.begin()
            self.replay(here, until)
            if run.loop.epoch < here.epoch:
                return False
        run.changes_at_end = changes
        return run.loop.has_next_epoch()

    def _seconds_from_keyframe(self, epoch: int) -> float:
        """Seconds to come to the end of `epoch` again."""
        keyframe = self._nearest(epoch, is_end=True)
        return (epoch - (keyframe.epoch if keyframe else 0)) * self._run.epoch_seconds

    def step_epoch(self, until: Until = never, *, for_frame: bool = True) -> bool:
        """Go to the end of the epoch, phase by phase, so that its gradients are known.

        An epoch of a script may be long: `until` can stop it between two phases; returns whether
        it has. `for_frame`: a frame of the epoch's end will be made.
        """
        run = self._run
        clock = time.perf_counter
        started, is_whole = clock(), run.loop.at_end
        if is_whole and not self._enter_epoch(until):
            return False
        asked = clock()
        while not run.loop.at_end:
            if self._run_past_hooks(EPOCH_END, until, for_frame=for_frame):
                return True
            if not run.loop.at_end:
                # Formula values of an earlier batch are overwritten by the last batch's.
                self.step_phase(for_frame=for_frame and run.loop.in_last_batch, may_stop=False)
            if run.is_script and clock() - asked > _CHECK_SECONDS and not run.loop.at_end:
                if until():
                    return True
                asked = clock()
        if is_whole and run.is_script:
            run.epoch_seconds = clock() - started
        return False

    def _run_past_hooks(self, end: int, until: Until, *, for_frame: bool = True) -> bool:
        """Run phases of a script whose numbers nobody asks for, to step `end` at most.

        Returns whether `until` stopped that. A change that was recorded within the epoch is made
        between two steps, as it was.
        """
        run = self._run
        if not run.is_script or run.next_change() <= run.loop.epoch:
            return False
        before = run.loop.step
        try:
            is_stopped = run.loop.run_past_hooks(end, until, for_frame=for_frame)
        finally:
            run.steps_taken += run.loop.step - before
        if run.loop.step > before:
            self._after_step()
        return is_stopped

    def run_to(self, epoch: int, until: Until, *, for_frame: bool = True) -> bool:
        """Go to the end of `epoch`: all but the last epoch in one piece, the last phase by phase.

        Returns whether `until`, called between epochs, has stopped it at an earlier epoch's end.
        """
        run = self._run
        into = not run.loop.at_end and run.loop.epoch <= epoch
        if into and self.step_epoch(until, for_frame=for_frame):
            return True
        while run.loop.epoch < epoch:
            is_stopped = self._run_fast(min(epoch, run.next_change()) - 1, until)
            is_stopped |= self.step_epoch(until, for_frame=for_frame)
            if is_stopped or run.loop.is_over or until():
                return run.loop.epoch < epoch
        return False

    def _run_fast(self, epoch: int, until: Until) -> bool:
        """Run whole epochs to the end of `epoch`; returns whether `until` stopped it before.

        There is no change on the way. `until` and the clock would cost more than a small epoch: as
        many epochs run in one go as take a millisecond.
        """
        run, loop, clock = self._run, self._run.loop, time.perf_counter
        run.history.start_trail(loop)
        while loop.epoch < epoch and not self._must_be_asked():
            if until():
                return True
            if loop.is_over or loop.epochs_left == 1 or loop.is_at_loop_end:
                return False  # the last epoch runs phase by phase: the run may rest at its end
            if clock() > run.clock.due:
                self._keep_keyframe()
            is_costly = run.is_script or run.program.workers > 1
            seconds = _COSTLY_CHECK_SECONDS if is_costly else _CHECK_SECONDS
            together = int(seconds / run.epoch_seconds) if run.epoch_seconds else 1
            first, started = loop.epoch, clock()
            left = (loop.epochs_left or NO_EPOCH) - 1
            self._run_together(min(epoch - first, max(1, together), left))
            run.epoch_seconds = max(clock() - started, 1e-9) / (loop.epoch - first)
        return False

    def _must_be_asked(self) -> bool:
        """Whether an epoch of a script takes so long that `until` has to be asked within it."""
        return self._run.is_script and not 0 < self._run.epoch_seconds < _LONG_EPOCH

    def _run_together(self, count: int) -> None:
        """Run `count` epochs or fewer: only known ones, or new ones as far as the trail's next."""
        run = self._run
        loop, history = run.loop, run.history
        known = len(history.losses) - loop.epoch
        run.steps_taken, run.ran_as_one_piece = 0, True
        if known > 0:
            loop.run_epochs(min(count, known), lambda: None)
        else:
            keep = partial(history.add_epoch, loop)
            loop.run_epochs(min(count, max(1, history.trail.next_epoch - loop.epoch)), keep)
            history.follow_trail(loop)
        run.steps_taken = loop.step

    # ── Keyframes ───────────────────────────────────────────────────────────────────

    def _keep_keyframe(self) -> None:
        """Keep a keyframe of this epoch's end, if there is none and it is time for one."""
        run = self._run
        now = time.perf_counter()
        if now < run.clock.due:
            return
        synchronize(run.loop.device)  # else the snapshot would pay for the epochs before it
        latest, seconds = run.history.latest, now - run.clock.started
        # By the thread's own clock: a busy machine does not make a snapshot expensive.
        started = time.thread_time()
        if latest is None or latest.epoch < run.loop.epoch:
            keyframe = run.keyframe_here(latest)
            if keyframe is not None:
                run.history.keep(keyframe, seconds)
        run.clock.start(run.history.spacing, cost=time.thread_time() - started)

    # ── Replay ──────────────────────────────────────────────────────────────────────

    def replay(self, to: Position, until: Until = never, *, is_broken: bool = False) -> None:
        """Go to a place, from here or by running again from the last keyframe before it.

        `until`, called between epochs, may stop it at the end of one. `is_broken`: the loop is in
        mid-phase now, and can't be continued.
        """
        run = self._run
        keyframe = self._nearest(to.epoch, is_end=to.step == EPOCH_END)
        with run.quiet():
            must_go_back = is_broken or run.at > to
            if must_go_back or (keyframe and keyframe.epoch > run.loop.epoch):
                run.resume(keyframe)
            is_stopped = self._run_to_keeping_keyframes(to.epoch - 1, until)
        run.has_run_again = run.at_end and run.loop.epoch == to.epoch - 1
        if not is_stopped:
            with run.quiet():  # by itself: what it prints belongs to this epoch
                self._step_to(to, until)
        run.remarks = ()  # the remarks of changes on the way are old

    def _nearest(self, epoch: int, *, is_end: bool = False) -> Keyframe | None:
        """The latest keyframe from which a frame of `epoch` comes out whole.

        One whole epoch runs on the way: it computes again all that a snapshot leaves out. The frame
        at the end of a script's epoch needs no other epoch than its own.
        """
        run = self._run
        left_out = 1 if is_end and run.is_script else 2
        return run.history.latest_until(epoch - left_out) or run.start

    def _run_to_keeping_keyframes(self, epoch: int, until: Until) -> bool:
        """Go to the end of `epoch`; returns whether `until` stopped it.

        A long way is halved again and again, with a keyframe after each half: going back step by
        step from its end is then quick.
        """
        run = self._run
        left, near = epoch - run.loop.epoch, list[Keyframe]()
        if left * run.epoch_seconds < _SLOW:
            return self.run_to(epoch, until)
        while left > 2 and left * run.epoch_seconds > _SLOW / 4:
            if self.run_to(run.loop.epoch + left // 2, until) or run.loop.is_over:
                return True
            keyframe = run.keyframe_here(self._nearest(run.loop.epoch))
            near += [keyframe] if keyframe else []
            left = epoch - run.loop.epoch
        run.history.keep_near(near)
        return self.run_to(epoch, until)

    def _step_to(self, to: Position, until: Until) -> None:
        """Step phase by phase into the epoch of `to`; near it, keep the values for its frame."""
        run = self._run
        near = 2 * max(len(program.loop) for program in run.programs.values()) + 1
        while run.loop.epoch < to.epoch or (run.steps_taken < to.step and not run.loop.at_end):
            if run.loop.is_over or (run.is_script and until()):
                return
            into = run.loop.epoch == to.epoch or run.loop.at_end
            if into and not run.loop.at_end:
                if self._run_past_hooks(to.step - near, until):
                    return
                if run.loop.at_end:
                    continue
            may_stop = into and to.step - run.steps_taken <= near
            self.step_phase(for_frame=may_stop or run.loop.in_last_batch, may_stop=may_stop)
