"""The epoch that a run goes to, and what lies beyond it: more epochs, or the rest of a script."""

from __future__ import annotations

from tutor.protocol.frame import Position
from tutor.session.run_view import RunView


def is_at_goal(view: RunView) -> bool:
    """Whether the run has come to its goal; a script that has ended has none."""
    frame = view.frame
    return frame is not None and not frame.is_over and frame.at >= Position(view.goal, frame.steps)


def is_at_last_epoch(view: RunView) -> bool:
    """Whether the loop of a script has come to the last epoch that its code says."""
    script = view.lesson.script
    is_counted = script is not None and script.is_counted
    return is_counted and is_at_goal(view) and view.epoch == view.lesson.epochs[view.mode]


def goal_beyond(view: RunView) -> int:
    """The epoch that the next run goes to, from the goal on.

    From the last epoch of a script's loop that is the one after it: the script ends before.
    """
    return view.epoch + (1 if is_at_last_epoch(view) else view.lesson.epochs[view.mode])
