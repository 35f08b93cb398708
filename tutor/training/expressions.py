"""The values of expressions that are watched, stand in formulas, or belong to an exercise.

They are evaluated with the lesson's names, within a time limit, and change nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from functools import lru_cache
from types import CodeType
from typing import Any

import msgspec
import torch
from torch import no_grad

from tutor.protocol.frame import NO_VALUE, NONE, Value
from tutor.training.devices import untouched_randomness
from tutor.training.lesson_error import STOPPED, LessonRaised
from tutor.training.liveness import KEPT, expression_tree, may_draw
from tutor.training.program import Expression, Program
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import named, no_value, text_value, value_of

_exit_at_once = os._exit
"""The function itself: a lesson may give its name another meaning."""


def end_a_copy(process: int) -> None:
    """End this process if it is a copy that a lesson's code has made of `process` (os.fork).

    A copy runs the lesson's code to its end. Running on here, it would train and fork in its turn.
    """
    if os.getpid() != process:
        _exit_at_once(0)


class ReadableNames(msgspec.Struct, frozen=True):
    """The names that a watched expression may read."""

    lesson: dict[str, Any]
    """The lesson's namespace."""
    gradient: Mapping[str, Any] | None
    """The gradients as they last stood before an update; None before the first."""
    gradient_now: Mapping[str, Any]

    @property
    def added(self) -> dict[str, Any]:
        """The names besides the lesson's."""
        return {"gradient": self.gradient or self.gradient_now, "gradient_now": self.gradient_now}


def shown_values(
    program: Program,
    device: str,
    names: ReadableNames,
    expressions: Sequence[Expression],
    pending: Collection[str],
) -> dict[str, Value]:
    """Each expression's value by its label; words where it has none.

    One that reads a `pending` name has no value yet.
    """
    if not expressions:
        return {}
    calls = any(e.calls for e in expressions)
    safely = untouched_randomness(device, program) if calls else nullcontext()
    # Reading a non-leaf's `.grad` warns each time: that would look like the lesson's output.
    with safely, no_grad(), redirect_stderr(io.StringIO()):
        return {
            e.label: NO_VALUE if e.names.intersection(pending) else _evaluated(program, e, names)
            for e in expressions
        }


def _evaluated(program: Program, expression: Expression, names: ReadableNames) -> Value:
    """The value, or why there is none.

    Raises LessonRaised if the learner stops it; then this expression is not evaluated again.
    """
    stopped, source = program.stopped, expression.source
    if source in stopped:
        return stopped[source]
    try:
        with limited():
            return _value(expression.code, names)
    except TookTooLong:  # the next frame would wait as long again
        stopped[source] = no_value("too_slow")
        return stopped[source]
    except MemoryError as error:  # NumPy's text says how much
        stopped[source] = text_value(str(error)) if str(error) else no_value("too_much_memory")
        return stopped[source]
    except KeyboardInterrupt:
        stopped[source] = no_value("interrupted")
        words, line = expression.code.co_name, expression.line
        raise LessonRaised(program, words, line, STOPPED, True) from None


def _value(code: CodeType, names: ReadableNames) -> Value:
    process = os.getpid()
    try:
        return value_of(eval(code, names.lesson, names.added))
    except NameError:  # not computed yet: there is nothing to show
        return NO_VALUE
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - it may raise anything, exit() too
        if names.gradient is None and "gradient" in code.co_names:
            return NONE
        return text_value(named(error))
    finally:
        end_a_copy(process)


def exercise_values(
    expressions: Sequence[str], scope: dict[str, Any], device: str, program: Program
) -> tuple[Value, ...]:
    """The value of each expression of an exercise, which may read the names of `scope`.

    A Python string is of the dtype `str`. An expression that raises, or is none, is a text:
    `TypeError: …`.
    """
    # Where neither the code nor an expression may draw from them, NumPy's generator is not asked.
    known = None if any(map(_may_draw, expressions)) else program
    with untouched_randomness(device, known), torch.no_grad():
        return tuple(_exercise_value(expression, scope) for expression in expressions)


@lru_cache(KEPT)
def _may_draw(expression: str) -> bool:
    try:
        return may_draw(expression_tree(expression))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # it is no expression
        return True


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
