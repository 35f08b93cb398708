"""A small script as a lesson, with an outline by hand, and an engine that pretends to run it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.commands import Command, OpenLesson, Restart, StepEpoch, StepPhase
from tutor.protocol.events import Event, FrameShown
from tutor.protocol.frame import Frame, Value
from tutor.script.lesson import lesson_of_script
from tutor.script.outline import Outline, ScriptPhase, TrainingLoop
from tutor.session.run_view import RunView

from .fake_engine import FakeEngine, Simulated

TEXT = """\
import torch

x = torch.tensor([1.0, 2.0, 3.0, 4.0])
y = 2 * x


def train(lr=0.01):
    w = torch.tensor(0.0, requires_grad=True)
    for epoch in range(3):
        y_pred = w * x
        loss = ((y_pred - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None
    return w


w = train()
print("w", w.item())
"""
IN_CELLS = (
    TEXT.replace("import torch\n\n", "# %% [3]\nimport torch\n")
    .replace("\n\ndef train", "\n# %% [7]\ndef train")
)  # fmt: skip
"""The same in two cells of a notebook; no line has moved."""
LOOP_LINE = 9
LAST_EPOCH = 3
LINES = {"Predict": 10, "Loss": 11, "Gradient": 12, "Update": 13, "Reset": 15}

PHASES = (
    ScriptPhase("Predict", 10, 8, 10, starts_batch=True),
    ScriptPhase("Loss", 11, 8, 11),
    ScriptPhase("Gradient", 12, 8, 12),
    ScriptPhase("Update", 13, 8, 14),
    ScriptPhase("Reset", 15, 8, 15),
)


@dataclass(frozen=True)
class Read:
    """A script's file as it was read."""

    path: Path
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def script(
    text: str = TEXT,
    path: str = "/home/anna/train.py",
    phases: tuple[ScriptPhase, ...] = PHASES,
    line: int = LOOP_LINE,
    **options: Any,
) -> Lesson:
    loop = TrainingLoop(
        line=line,
        column=4,
        end_line=phases[-1].end_line,
        function="train",
        mode="autograd",
        phases=phases,
        loss="loss",
        prediction="y_pred",
        rates=("lr",),
        epochs=LAST_EPOCH,
    )
    return lesson_of_script(Read(Path(path), text), Outline((loop,)), ScriptOptions(**options))


SCRIPT = script()


def in_script(frame: Frame, *, is_over: bool = False) -> Frame:
    """A frame of the simulated run with the lines of the script."""
    is_between = frame.is_epoch_end or not frame.at.epoch
    next_line = LOOP_LINE if is_between else LINES[frame.next_phase]
    line = LINES.get(frame.phase or "", 0)
    boxed: dict[str, Any] = {}
    steps = frame.steps if frame.at.epoch else 0
    return replace(frame, line=line, next_line=next_line, is_over=is_over, boxed=boxed, steps=steps)


def at(epoch: int, step: int, *, is_over: bool = False) -> Frame:
    """A frame of the script."""
    return in_script(replace(Simulated(), epoch=epoch, step=step).frame(), is_over=is_over)


def large_array(norm: float, *shape: int) -> Value:
    return Value((0.5,) * 64, shape, "float32", mean=0.25, norm=norm)


def network(layers: int, norm: float = 5.0) -> Frame:
    values = {f"model[{i}].weight": large_array(norm + i, 64, 32) for i in range(layers)}
    gradients = {name: large_array(0.125, 64, 32) for name in values}
    return replace(at(1, 4), values=values, gradients=gradients, gradients_now=gradients)


def view_of(now: Frame | None, lesson: Lesson = SCRIPT, **more: Any) -> RunView:
    return RunView(lesson, "autograd", "cpu", LAST_EPOCH, frame=now, **more)


class ScriptEngine(FakeEngine):
    """Its run is that of the script: over, when a step is asked for after the last epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False
        self.rate_is_known = True

    def tell(self, event: Event) -> None:
        if isinstance(event, FrameShown):
            frame = in_script(event.frame, is_over=self.is_over)
            if not self.rate_is_known:
                frame = replace(frame, learning_rate=0.0)
            event = replace(event, frame=frame)
        super().tell(event)

    def _apply(self, number: int, command: Command) -> Any:
        is_end = self.at.epoch == LAST_EPOCH and self.at.step == len(LINES)
        if is_end and isinstance(command, StepPhase | StepEpoch):
            self.is_over = True
            return None
        if not isinstance(command, OpenLesson | Restart) and self.is_over:
            self.is_over = type(command).__name__ in ("Inspect", "Fork", "Pause")
        if isinstance(command, OpenLesson | Restart):
            self.is_over = False
        return super()._apply(number, command)
