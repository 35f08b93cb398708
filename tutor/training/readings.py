"""Readings of a loop: a frame, whole figures, the values of an exercise's expressions.

Reading changes nothing in the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tutor.protocol.frame import Frame, Position, Value
from tutor.training.devices import untouched_randomness
from tutor.training.loop import Loop
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import named, text_value, to_numbers, to_numpy, value_of


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of an epoch, whole: arrays of any size, in the lesson's own precision."""

    epoch: int
    loss: float
    """NaN if there is none."""
    values: dict[str, np.ndarray[Any, Any]]
    """Each parameter's value after the update."""
    gradients: dict[str, np.ndarray[Any, Any] | None]
    """The gradient that the update used; None if there was none."""


def frame_of(loop: Loop, at: Position, learning_rate: float, seed: int) -> Frame:
    """The moment at hand, as plain data. `at` counts the learner's steps, not the loop's."""
    now = loop.gradients_now()
    used = loop.gradients if loop.gradients is not None else now
    return Frame(
        at=at,
        steps=at.step + loop.steps - loop.step,
        batch=loop.batch,
        batches=loop.program.batches,
        phase=loop.last_phase_name(),
        next_phase=loop.next_phase_name(),
        mode=loop.program.mode,
        device=loop.device,
        learning_rate=learning_rate,
        seed=seed,
        loss=value_of(loop.loss()),
        values={n: value_of(loop.namespace.get(n)) for n in loop.program.parameters},
        gradients={n: value_of(g) for n, g in used.items()},
        gradients_now={n: value_of(g) for n, g in now.items()},
        watched=loop.watched_values(),
        boxed=loop.boxed_values(),
        diverged=not loop.is_finite(),
    )


def reading_of(loop: Loop) -> Reading:
    """The figures of the loop's epoch."""
    loss = to_numpy(loop.loss())
    used = loop.gradients if loop.gradients is not None else loop.gradients_now()
    return Reading(
        epoch=loop.epoch,
        loss=float(loss.reshape(())) if loss is not None and loss.size == 1 else math.nan,
        values=loop.parameter_values(),
        gradients={name: to_numbers(g) for name, g in used.items()},
    )


def evaluate(loop: Loop, expressions: Sequence[str], names: Mapping[str, Any]) -> tuple[Value, ...]:
    """Each expression's value, with the lesson's names and, before them, `names`.

    A Python string is of the dtype `str`. An expression that raises, or is none, is a text:
    `TypeError: …`.
    """
    # One dict for all: only globals are seen inside comprehensions and lambdas. It is a copy,
    # so that `:=` binds nothing in the lesson.
    scope = {**loop.namespace, **names}
    with untouched_randomness(loop.device), torch.no_grad():
        return tuple(_value(expression, scope) for expression in expressions)


def names_of(loop: Loop, losses: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The names that an exercise's expression may read besides the lesson's (EXERCISE_NAMES).

    `losses` are those of the whole epochs so far. `learning_rate` is a name of the lesson's,
    as its code uses it. The gradients are of the types that the lesson has them in.
    """
    now = loop.gradients_now(copied=True)
    was = loop.batch_start.values if loop.batch_start else loop.parameter_values()
    return {
        "epoch": loop.epoch,
        "losses": losses,
        "was": {name: array.copy() if array.ndim else array.item() for name, array in was.items()},
        "gradient": dict(now if loop.gradients is None else loop.gradients),
        "gradient_now": now,
        "mode": loop.program.mode,
        "diverged": not loop.is_finite(),
    }


def _value(expression: str, scope: dict[str, Any]) -> Value:
    try:
        code = compile(expression.strip(), "<exercise>", "eval", dont_inherit=True)
        with limited():
            found = eval(code, scope)
            return Value((), (), "str", str(found)) if isinstance(found, str) else value_of(found)
    except TookTooLong as error:
        return text_value(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it may raise anything, exit() too
        return text_value(named(error))
