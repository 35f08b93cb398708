"""The values of expressions that are watched, stand in formulas, or belong to an exercise.

They are evaluated with the lesson's names, within a time limit, and change nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import no_grad

from tutor.protocol.frame import NO_VALUE, NONE, Value
from tutor.training.devices import untouched_randomness
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Expression
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import named, no_value, text_value, value_of

if TYPE_CHECKING:
    from tutor.training.loop import Loop

_leave = os._exit
"""Kept before a lesson can replace it."""


def end_a_copy(process: int) -> None:
    """End this process if it is a copy that a lesson's code has made of `process` (os.fork).

    A copy runs the lesson's code to its end. Running on here, it would train and fork in its turn.
    """
    if os.getpid() != process:
        _leave(0)


def shown_values(
    loop: Loop, expressions: tuple[Expression, ...], pending: Collection[str] = ()
) -> dict[str, Value]:
    """Each expression's value by its label; words where it has none.

    One that reads a `pending` name has no value yet.
    """
    if not expressions:
        return {}
    now = loop.gradients_now()
    extra = {"gradient": loop.gradients or now, "gradient_now": now}
    calls = any(e.calls for e in expressions)
    safely = untouched_randomness(loop.device, loop.program) if calls else nullcontext()
    # Reading a non-leaf's `.grad` warns each time: that would look like the lesson's output.
    with safely, no_grad(), redirect_stderr(io.StringIO()):
        return {
            e.label: NO_VALUE if e.names.intersection(pending) else _evaluated(loop, e, extra)
            for e in expressions
        }


def _evaluated(loop: Loop, expression: Expression, extra: Mapping[str, Any]) -> Value:
    """The value, or why there is none. Raises LessonRaised if the learner stops it, each once."""
    stopped, source = loop.program.stopped, expression.source
    if source in stopped:
        return stopped[source]
    try:
        with limited():
            return _value(loop, expression.code, extra)
    except TookTooLong:  # the next frame would wait as long again
        stopped[source] = no_value("too_slow")
        return stopped[source]
    except MemoryError as error:  # NumPy's text says how much
        stopped[source] = text_value(str(error)) if str(error) else no_value("too_large")
        return stopped[source]
    except KeyboardInterrupt:
        stopped[source] = no_value("interrupted")
        words, line = expression.code.co_name, expression.line
        raise LessonRaised(loop.program, words, line, "KeyboardInterrupt", True) from None


def _value(loop: Loop, code: CodeType, extra: Mapping[str, Any]) -> Value:
    process = os.getpid()
    try:
        return value_of(eval(code, loop.namespace, extra))
    except NameError:  # not computed yet: there is nothing to show
        return NO_VALUE
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - it may raise anything, exit() too
        if loop.gradients is None and "gradient" in code.co_names:
            return NONE
        return text_value(named(error))
    finally:
        end_a_copy(process)


def exercise_values(
    loop: Loop, expressions: Sequence[str], losses: np.ndarray[Any, Any]
) -> tuple[Value, ...]:
    """The value of each expression of an exercise, of the whole epochs' `losses` among others.

    A Python string is of the dtype `str`. An expression that raises, or is none, is a text:
    `TypeError: …`.
    """
    # One dict for all: only globals are seen inside comprehensions and lambdas. It is a copy,
    # so that `:=` binds nothing in the lesson.
    scope = {**loop.namespace, **_exercise_names(loop, losses)}
    with untouched_randomness(loop.device), torch.no_grad():
        return tuple(_exercise_value(expression, scope) for expression in expressions)


def _exercise_names(loop: Loop, losses: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The names that an exercise's expression may read besides the lesson's (EXERCISE_NAMES).

    `learning_rate` is a name of the lesson's, as its code uses it. The gradients are of the types
    that the lesson has them in.
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


def _exercise_value(expression: str, scope: dict[str, Any]) -> Value:
    try:
        code = compile(expression.strip(), "<exercise>", "eval", dont_inherit=True)
        with limited():
            found = eval(code, scope)
            return Value((), (), "str", str(found)) if isinstance(found, str) else value_of(found)
    except TookTooLong:
        return no_value("too_slow")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it may raise anything, exit() too
        return text_value(named(error))
