"""The same place in another run: which of its steps corresponds to a frame of this one."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.protocol.frame import Frame, Position, RunRecipe, settings_of
from tutor.training.player import END
from tutor.training.program import Program


def same_place(programs: Mapping[str, Program], frame: Frame, record: RunRecipe) -> Position:
    """Where the run of `record` has done what the run of `frame` has: epoch, batch and phases.

    Phases correspond by name: the modes' steps may differ.
    """
    epoch = frame.at.epoch
    if frame.is_epoch_end:
        return Position(epoch, END)
    here = programs[frame.mode].loop
    mode, *_ = settings_of((c for c in record.changes if c.at.epoch < epoch), record)
    there = programs[mode].loop
    names = [phase.name for phase in here]
    if frame.phase not in names:  # Setup: the run has not begun, or is not carried over yet
        return Position(epoch, 0)
    done = names[: names.index(frame.phase) + 1]
    shared = [i for i, phase in enumerate(there) if phase.name in done]
    step = frame.batch * len(there) + (shared[-1] + 1 if shared else 0)
    return Position(epoch, step) if step or not epoch else Position(epoch - 1, END)
