"""The figures of a loop: a frame, an epoch's figures whole, and what an exercise may read."""

from __future__ import annotations

import msgspec

from tutor.lesson.model import REPORT
from tutor.protocol.frame import Frame, Position, RankFigures
from tutor.training.loop import Loop
from tutor.training.values import Array, is_finite, to_numbers, to_numpy, value_of


class Reading(msgspec.Struct, frozen=True):
    """The figures of an epoch, whole: arrays of any size, in the lesson's own precision."""

    epoch: int
    loss: float | None
    """The loss; None if there is no single number that is one."""
    values: dict[str, Array]
    """Each parameter's value after the update."""
    gradients: dict[str, Array | None]
    """The gradient that the update used; None if there was none."""
    rank: int = 0
    others: tuple[Reading, ...] = ()
    """The figures of the other ranks, if the lesson has several."""


def frame_of(loop: Loop, at: Position, learning_rate: float, seed: int) -> Frame:
    """The moment at hand, as plain data. `at` counts the learner's steps, not the loop's."""
    mine = rank_figures(loop, 0)
    line, next_line = loop.lines
    return Frame(
        at=at,
        steps=at.step + loop.steps - loop.step,
        batch=loop.batch,
        batches=loop.batches,
        phase=loop.last_phase_name(),
        next_phase=loop.next_phase_name(),
        mode=loop.program.mode,
        device=loop.device,
        learning_rate=learning_rate,
        seed=seed,
        loss=mine.loss,
        loss_phase=_loss_phase(loop),
        values=mine.values,
        gradients=mine.gradients,
        gradients_now=mine.gradients_now,
        watched=mine.watched,
        boxed=loop.boxed_values(),
        diverged=not _is_finite(loop),
        line=line,
        next_line=next_line,
        is_over=loop.is_over,
        gradients_before_sync=mine.gradients_before_sync,
        ranks=loop.other_figures(),
    )


def _is_finite(loop: Loop) -> bool:
    """Whether the loss and all parameters are."""
    return all(map(is_finite, (loop.loss(), *loop.parameters().values())))


def _loss_phase(loop: Loop) -> str:
    """The name of the phase that the present loss comes from; empty for a script, which has one.

    Report may compute the loss of all samples, where Loss has that of a batch or a shard.
    """
    program, last = loop.program, loop.last_phase_name()
    report = tuple(filter(None, (program.report,)))
    done = report if last == REPORT else program.loop[: loop.phases_done]
    before = program.loop if loop.batch or last == REPORT else (*program.loop, *report)
    phases = () if program.is_script else (*before, *done)
    return next((phase.name for phase in reversed(phases) if "loss" in phase.binds), "")


def rank_figures(loop: Loop, rank: int) -> RankFigures:
    """The figures of a loop as plain data."""
    now = loop.gradients_now()
    used = loop.gradients if loop.gradients is not None else now
    return RankFigures(
        rank=rank,
        loss=value_of(loop.loss()),
        values={n: value_of(thing) for n, thing in loop.parameters().items()},
        gradients={n: value_of(g) for n, g in used.items()},
        gradients_now={n: value_of(g) for n, g in now.items()},
        gradients_before_sync={
            n: value_of(g) for n, g in (loop.gradients_before_sync or {}).items()
        },
        watched=loop.evaluate(loop.program.watch),
    )


def reading_of(loop: Loop, rank: int = 0) -> Reading:
    """The figures of the loop's epoch; `rank`: the rank that the loop runs on."""
    loss = to_numpy(loop.loss())
    used = loop.gradients if loop.gradients is not None else loop.gradients_now()
    return Reading(
        epoch=loop.epoch,
        loss=float(loss.reshape(())) if loss is not None and loss.size == 1 else None,
        values=loop.parameter_values(),
        gradients={name: to_numbers(g) for name, g in used.items()},
        rank=rank,
        others=loop.other_readings(),
    )


def exercise_names(loop: Loop, losses: Array) -> dict[str, object]:
    """The names that an exercise's expression may read besides the lesson's (EXERCISE_NAMES).

    `learning_rate` is a name of the lesson's, as its code uses it. The gradients are of the types
    that the lesson has them in.
    """
    now = loop.copied_gradients()
    was = loop.batch_start.values if loop.batch_start else loop.parameter_values()
    return {
        "epoch": loop.epoch,
        "losses": losses,
        "was": {name: array.copy() if array.ndim else array.item() for name, array in was.items()},
        "gradient": dict(now if loop.gradients is None else loop.gradients),
        "gradient_now": now,
        "mode": loop.program.mode,
        "diverged": not _is_finite(loop),
    }
