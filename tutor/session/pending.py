"""The engine as the session uses it, and the commands that wait for its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeVar, get_args

from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    Examine,
    Fork,
    OpenLesson,
    Pause,
    ReadingCommand,
    Reseed,
    Restart,
    RunTo,
    Seek,
    SelectRun,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
    WriteSeries,
)
from tutor.protocol.events import Event
from tutor.protocol.frame import RunRecipe


class Engine(Protocol):
    """The engine as the session uses it; `tutor.engine.client` is the real one.

    It takes commands without ever blocking, and reports events from a thread of its own.
    """

    host: str
    """The machine that it runs on; empty for this one."""

    def start(self, on_event: Callable[[Event], object]) -> None:
        """Start. `on_event` is called from another thread: it may only post a message."""

    def send(self, command: Command) -> int:
        """Pass a command on and return its number, which the answer carries."""

    def busy_for(self) -> float:
        """Seconds that the oldest unanswered command has been waiting; 0.0 if none has."""

    def stop(self) -> None:
        """Stop what runs: politely first, by force a second later. ProcessEnded reports it."""

    def suspend(self) -> None:
        """Halt the process that runs lessons, until `resume`."""

    def resume(self) -> None:
        """Continue the process."""

    def reconnect(self) -> None:
        """Connect again to the lost host, and go to where the run stood. Raises EngineError.

        Blocks: ssh may ask at the terminal, and Ctrl+C raises KeyboardInterrupt.
        """

    def close(self) -> None:
        """End the engine for good."""


_HELD = (StepPhase, StepEpoch, BackPhase, BackEpoch, Switch, SetLearningRate, Restart, Reseed, Fork)
"""Commands whose key may be held down."""
_NOT_COUNTED = (Pause, RunTo, *get_args(ReadingCommand))
"""Commands that come with others, or move nothing."""


Kind = TypeVar("Kind", bound=Command)


class UnansweredCommands(dict[int, Command]):
    """The commands that were sent and have no answer yet, by number."""

    def oldest(self) -> Command:
        """The command that has waited longest."""
        return next(iter(self.values()))

    def last(self, *kinds: type[Kind]) -> Kind | None:
        """The last command of these kinds; None if none waits."""
        return next((c for c in reversed(self.values()) if isinstance(c, kinds)), None)

    def last_switch(self, what: Literal["mode", "device"]) -> Switch | None:
        """The last switch of the mode, or of the device."""
        commands = [c for c in self.values() if isinstance(c, Switch)]
        return next((c for c in reversed(commands) if getattr(c, what) is not None), None)

    def may_move(self) -> bool:
        """Whether one of them may still move the run, or open it."""
        return any(not isinstance(c, ReadingCommand) for c in self.values())

    def is_key_repeated_enough(self, command: Command) -> bool:
        """Whether one such command is under way already, and one more waits.

        On a slow line, a key that is held down would go on acting long after it was let go.
        """
        last = [_kind(c) for c in self.values() if not isinstance(c, _NOT_COUNTED)][-2:]
        return isinstance(command, _HELD) and last == [_kind(command)] * 2


def _kind(command: Command) -> tuple[type[Command], bool]:
    """The kind of a command, as keys tell them apart: a Switch is of the mode or of the device."""
    return type(command), isinstance(command, Switch) and command.device is None


def running_notice(command: Command, phase: str | None) -> tuple[str, Mapping[str, object]]:
    """The notice for a command that takes long: its code, and the parameters."""
    match command:
        case StepPhase() if phase:
            return "phase_runs", {"phase": phase}
        case OpenLesson(recipe=RunRecipe(), epoch=epoch) if epoch > 1:
            return "run_to_runs", {"epoch": epoch}
        case OpenLesson() | Restart() | Switch() | StepPhase():
            return "setup_runs", {}
        case Seek():
            return "run_to_runs", {"epoch": command.epoch}
        case SelectRun():
            return "change_runs", {"name": command.name}
        case WriteSeries():
            return "writing_runs", {}
        case Examine():
            return "examination_runs", {}
        case _:
            return "epoch_runs", {}
