"""Lessons on several ranks, made from text."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tests.training.conftest import FRONT, PLAIN
from tutor.engine import supervisor
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame
from tutor.training.program import programs_of
from tutor.training.rank_process import FOLLOWER
from tutor.training.run import Run

RANKED_FRONT = FRONT.replace("epochs: 10", "epochs: 10\nworkers: 2")
THREE = RANKED_FRONT.replace("workers: 2", "workers: 3")

SHARDED = {
    "Setup": (
        "x = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0, 11.0])[rank::world_size]\n"
        "w = torch.tensor(0.5, requires_grad=True)"
    ),
    "Predict": PLAIN["Predict"],
    "Loss": PLAIN["Loss"],
    "Gradient": PLAIN["Gradient"],
    "Synchronize": "dist.all_reduce(w.grad)\nw.grad /= world_size",
    "Update": PLAIN["Update"],
    "Reset": PLAIN["Reset"],
}
"""The phases of a lesson that shares its batch among its ranks."""
DROPOUT = {
    "Setup": SHARDED["Setup"] + "\ntorch.manual_seed(rank)\nkeep = np.random.default_rng(rank)",
    "Predict": (
        "noise = torch.randn(len(x)) + np.random.rand() + keep.random()\ny_pred = w * x + noise"
    ),
}
"""Each rank draws random numbers of its own, from three generators."""
SMALL_STEPS = RANKED_FRONT.replace("learning_rate: 0.1", "learning_rate: 0.01")


def ranked_text(front: str = SMALL_STEPS, **phases: str) -> str:
    """A lesson on two ranks, its phases those of SHARDED or as given."""
    body = (f"## {n}\n```python\n{code}\n```\n" for n, code in (SHARDED | phases).items() if code)
    return front + "\n".join(body)


def ranked_lesson(front: str = SMALL_STEPS, **phases: str) -> Lesson:
    return parse(ranked_text(front, **phases), Path("test.md"))


def ranked_run(front: str = SMALL_STEPS, **phases: str) -> Run:
    return Run(programs_of(ranked_lesson(front, **phases)))


def followers() -> set[int]:
    """The processes of other ranks below this one."""
    found = set()
    for pid in supervisor.descendants(os.getpid()):
        with suppress(OSError):  # it has just ended
            if FOLLOWER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def of_all(frame: Frame, name: str) -> list[tuple[float, ...]]:
    """The numbers of a parameter on each rank."""
    return [frame.values[name].data, *(rank.values[name].data for rank in frame.ranks)]
