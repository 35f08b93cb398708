"""Commands that are a single call on the runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tutor.engine.process import limit_memory
from tutor.protocol.messages import (
    AnyCommand,
    BackEpoch,
    BackPhase,
    DeleteRun,
    Fork,
    Pause,
    RenameRun,
    Reseed,
    Restart,
    SelectRun,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.training.runs import Runs


def act(runs: Runs, command: AnyCommand, until: Callable[[], bool]) -> None:
    """Do what one command asks. Raises what the runs raise; `until` breaks long ways off."""
    match command:
        case StepPhase():
            runs.current.step_phase()
        case StepEpoch():
            runs.current.step_epoch()
        case BackPhase():
            runs.current.back()
        case BackEpoch():
            runs.current.back_epoch()
        case Restart(new_seed=new_seed):
            runs.restart(_new_seed(runs) if new_seed else None)
        case Switch():
            _switch(runs, command)
        case SetLearningRate(value=value):
            runs.set(learning_rate=value)
        case SetElement(element=element):
            runs.set(element=element)
            where = f"[{', '.join(map(str, element.index))}]" if element.index else ""
            number = f"{element.value:g}".replace("-", "−")  # as the numbers on the screen
            said = f"{element.parameter}{where} is {number} now"
            runs.note = " · ".join(filter(None, (said, runs.note)))
        case Reseed():
            runs.reseed(_new_seed(runs))
        case Fork():
            runs.fork()
        case SelectRun(name=name):
            runs.take(name, until)
        case RenameRun(name=name, new=new):
            runs.rename(name, new)
        case DeleteRun(name=name):
            runs.delete(name)
        case Pause():
            pass
        case _:
            raise AssertionError(f"{command} is no single call")


def _switch(runs: Runs, command: Switch) -> None:
    limit_memory(command.device or runs.current.settings.device_wanted)
    try:
        runs.switch(mode=command.mode, device=command.device)
    finally:
        limit_memory(runs.current.settings.device_wanted)


def _new_seed(runs: Runs) -> int:
    """One that none of the runs has: small, so that it can be read and typed again."""
    taken = {info.seed for info in runs.infos(0)}
    return next(seed for seed in iter(lambda: secrets.randbelow(10_000), -1) if seed not in taken)
