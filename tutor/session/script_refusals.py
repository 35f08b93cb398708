"""The commands that do nothing for a learner's own script, and why."""

from __future__ import annotations

from tutor.lesson.code_checks import own_seed_line
from tutor.protocol.messages import (
    Command,
    Reseed,
    Restart,
    RunTo,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.session.run_view import Notice, RunView


def script_refusal(command: Command, view: RunView | None) -> Notice | None:
    """The reason why a script does not take a command; None if it does, and for a lesson."""
    if view is None or view.lesson.script is None:
        return None
    match command:
        case Switch(mode=str()):
            return Notice("one_mode", {"mode": view.mode})
        case Switch():
            return Notice("script_device", {"name": view.device})
        case Restart(new_seed=True) | Reseed():
            line = own_seed_line(view.lesson.source)
            return Notice("script_seed", {"line": line}) if line else None
        case StepPhase() | StepEpoch() | RunTo() if view.frame is not None and view.frame.is_over:
            return Notice("script_over")
    return None
