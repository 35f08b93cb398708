"""A loop at its start: seeded, its namespace made, and Setup run in it."""

from __future__ import annotations

import sys
from types import CodeType, ModuleType
from typing import TypeVar

import numpy as np
import torch

from tutor.errors import Refused
from tutor.lesson.model import SETUP
from tutor.training.devices import Randomness, seed_all
from tutor.training.loop import Loop
from tutor.training.optimizers import spare_compiler
from tutor.training.program import Program
from tutor.training.snapshot import LESSON_MODULE, Namespace, SetupNamespace

L = TypeVar("L", bound=Loop)


def set_up(
    program: Program, device: str, learning_rate: float, seed: int, *, alone: bool = True
) -> Loop:
    """Seed, make the namespace and run Setup in it. Raises LessonRaised.

    `alone`: of a lesson on several ranks, only this one's loop, as a probe needs it.
    """
    spare_compiler()
    if program.open_loop is not None:
        opened: Loop = program.open_loop(device, learning_rate, seed)
        return opened
    kind: type[Loop] = Loop
    if program.workers > 1:
        from tutor.training import ranks  # noqa: PLC0415 - few lessons need it

        if not alone:
            return ranks.set_up_together(program, device, learning_rate, seed)
        kind = ranks.LoneLoop
    seed_all(seed)
    return in_namespace(program, device, learning_rate, kind=kind)


def in_namespace(
    program: Program, device: str, learning_rate: float, *, rank: int = 0, kind: type[L]
) -> L:
    """A loop of this kind whose Setup has run in a namespace of its own. Raises LessonRaised."""
    seeded = Randomness.now(device)
    # NaN and infinity are values to show; numpy would print a warning of its own for each.
    np.seterr(over="ignore", invalid="ignore", divide="ignore")
    namespace: Namespace = {
        "__name__": LESSON_MODULE,
        "np": np,
        "torch": torch,
        "device": device,
        "learning_rate": learning_rate,
        "batch": 0,
        "__file__": program.filename,
    }
    if program.workers > 1:
        namespace |= {"rank": rank, "world_size": program.workers, "dist": torch.distributed}
    # A dataclass with an annotation in quotes looks for its module there.
    sys.modules.setdefault(LESSON_MODULE, ModuleType(LESSON_MODULE))
    setup_namespace = SetupNamespace(namespace)
    loop = kind(program, device, namespace, setup_namespace)
    if program.setup is not None:
        loop.execute(_fresh(program.setup.code))
    loop.keep_boxed(SETUP)
    missing = [name for name in program.parameters if name not in namespace]
    if missing:
        raise Refused("setup_unbound", path=program.filename, names=list(missing))
    if not any(isinstance(namespace[n], torch.Tensor) for n in program.parameters):
        loop.device = "cpu"
    setup_namespace.remember(program.liveness, draws=Randomness.now(device) != seeded)
    return loop


def _fresh(code: CodeType) -> CodeType:
    """A copy of compiled code, of the functions in it too.

    torch.compile remembers a function's code, and with it the namespace of its first run.
    """
    inner = (_fresh(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=tuple(inner))
