"""Small lessons, made from text, for tests that need no screen and no process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests import shipped as lessons
from tests.shipped import MODES_OF_SAMPLE
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame
from tutor.training.program import programs_of
from tutor.training.run import Run

FRONT = """---
title: A test
summary: A test.
parameters: [w]
learning_rate: 0.1
epochs: 10
---
"""

PLAIN = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)",
    "Predict": "y_pred = w * x",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
    "Gradient": "loss.backward()",
    "Update": "with torch.no_grad():\n    w -= learning_rate * w.grad",
    "Reset": "w.grad.zero_()",
}
"""The phases of a lesson in which all goes well."""


def lesson_text(front: str = FRONT, **phases: str) -> str:
    """A lesson in one mode, its phases those of PLAIN or as given ("" leaves one out)."""
    code = {**PLAIN, **phases}
    body = (f"## {name}\n```python\n{text}\n```\n" for name, text in code.items() if text)
    return front + "\n".join(body)


@pytest.fixture
def write_lesson(tmp_path: Path) -> Callable[..., Lesson]:
    """Makes a Lesson of phases given by name."""

    def write(front: str = FRONT, **phases: str) -> Lesson:
        return parse(lesson_text(front, **phases), tmp_path / "test.md")

    return write


@pytest.fixture
def start(write_lesson: Callable[..., Lesson]) -> Callable[..., Run]:
    """Starts a run of a lesson made of phases given by name."""

    def begin(front: str = FRONT, **phases: str) -> Run:
        return Run(programs_of(write_lesson(front, **phases)))

    return begin


def shipped(slug: str, mode: str | None = None, **options: object) -> Run:
    """A run of a shipped lesson."""
    return Run(lessons.programs(slug), mode, **options)  # type: ignore[arg-type]


@cache
def unlike_runs() -> tuple[tuple[str, str], ...]:
    """Of MODES_OF_SAMPLE the first of each kind: by what is carried, and when phases run."""
    found: dict[object, tuple[str, str]] = {}
    for slug, mode in MODES_OF_SAMPLE:
        run = shipped(slug, mode)
        run.step_epoch()
        program, names = run.program, run.loop.namespace.values()
        carried = frozenset((type(thing), getattr(thing, "dtype", None)) for thing in names)
        times = program.batches > 1, program.warm_up > 0, program.report is None
        found.setdefault((carried, times), (slug, mode))
    return tuple(found.values())


def keep_every_epoch(run: Run) -> None:
    """A keyframe after every epoch: each of them has to be good enough to go on from."""
    run.history.interval = run.history.spacing = 0.0
    run.clock.start(run.history.spacing)


def step_through(run: Run, epochs: int) -> list[Frame]:
    """All frames of the next `epochs` epochs, the present one first."""
    frames = [run.frame()]
    last = run.at.epoch + epochs
    while run.at.epoch < last or not run.at_end:
        frames.append(run.step_phase())
    return frames
