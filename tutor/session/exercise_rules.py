"""Commands that an exercise allows, and why it refuses the others."""

from __future__ import annotations

from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach
from tutor.protocol.frame import Position
from tutor.protocol.messages import (
    AnyCommand,
    Reseed,
    Restart,
    RunTo,
    Seek,
    SelectRun,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.session.attempt import Attempt

_ANSWER_FIRST = "First say what you expect: a answers · k: I know this · esc leaves"
_THIS_RUN = "The question is about this run, as it is · esc leaves the exercise"
_MEND = "Only the code may be changed here: o opens it · esc leaves the exercise"


def why_not(attempt: Attempt, command: AnyCommand, at: Position, place: Position) -> str:
    """Why this may not be done now; empty if it may. One line, fit to show.

    `at` is where the run stands, `place` where the question is asked.
    """
    exercise = attempt.exercise
    if isinstance(exercise, Reach):
        return _not_allowed(exercise, command)
    if isinstance(exercise, Choose) or attempt.state in ("wrong", "done"):
        return ""
    if isinstance(exercise, Predict | BeAutograd) and _goes_beyond(command, at, place):
        return _ANSWER_FIRST
    if _changes(command):
        return _THIS_RUN if isinstance(exercise, Predict | BeAutograd) else _MEND
    return ""


def _goes_beyond(command: AnyCommand, at: Position, place: Position) -> bool:
    """Whether the run might come to what is asked for: only phases before it may run."""
    match command:
        case StepPhase():
            return at >= place
        case Seek(epoch=epoch, step=step):
            return step is None or Position(epoch, step) > place
        case StepEpoch() | RunTo():
            return True
    return False


def _changes(command: AnyCommand) -> bool:
    kinds = Switch | SetLearningRate | SetElement | Reseed | SelectRun
    return isinstance(command, kinds) or (isinstance(command, Restart) and command.new_seed)


def _not_allowed(exercise: Reach, command: AnyCommand) -> str:
    what = _what_changes(command)
    if not what or what in exercise.may:
        return ""
    words = f"{_WORDS[what][0].upper()}{_WORDS[what][1:]}"
    return f"{words} is fixed in this exercise · you may change {may_change(exercise)}"


def _what_changes(command: AnyCommand) -> str:
    match command:
        case SetLearningRate():
            return "learning_rate"
        case Switch(mode=mode):
            return "mode" if mode is not None else "device"
        case SetElement():
            return "values"
        case Reseed() | Restart(new_seed=True):
            return "seed"
    return ""


_WORDS = {
    "learning_rate": "the learning rate",
    "mode": "the gradient mode",
    "device": "the device",
    "values": "a parameter's value",
    "seed": "the seed",
}
_KEYS = {"learning_rate": "[ ] l", "mode": "g", "device": "d", "values": "w", "seed": "S"}


def may_change(exercise: Exercise) -> str:
    """The changes that a Reach allows, in words, with the keys; empty for other kinds."""
    if not isinstance(exercise, Reach):
        return ""
    return ", ".join(f"{_WORDS[what]} ({_KEYS[what]})" for what in exercise.may)
