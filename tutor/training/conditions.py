"""The values of an exercise's expressions at a run's position. Evaluation changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tutor.protocol.frame import Value
from tutor.training.loop import Loop, untouched_randomness
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import named, text_value, value_of


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
    was = loop.parameter_values() if loop.batch_start is None else loop.batch_start
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
