"""Typed commands: their form, and those that move the run or change its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import msgspec

from tutor.lesson.model import LARGEST_WHOLE
from tutor.plain_mode import exercise_text, spoken_inspections
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.run_narrator import CommandKind, RunNarrator
from tutor.plain_mode.spoken_lesson import has_symbols, spoken_number
from tutor.plain_mode.spoken_text import Line
from tutor.protocol.commands import (
    DeleteRun,
    RenameRun,
    RunTo,
    SelectRun,
    SetElement,
    SetLearningRate,
    Switch,
)
from tutor.protocol.inspections import RunInfo
from tutor.session.run_view import Notice, RunView
from tutor.session.session import Session
from tutor.wording import parameter_input
from tutor.wording.number_format import listed
from tutor.wording.parameter_input import (
    read_learning_rate,
    read_position,
    read_run_name,
    read_seed,
    read_whole_number,
)

T = TypeVar("T")

MOST_TIMES = 1000
"""The largest number of repetitions of one command."""

NOT_LOOKING: Mapping[str, object] = {
    "columns": 0, "plot": None, "name": "", "graph": False, "compare": False, "then": ""
}  # fmt: skip
"""The engine computes nothing besides the run: all of it costs time."""


class UnclearCommandError(Exception):
    """A typed command that can't be done. The text says why."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The parts of plain mode that a command acts on."""

    session: Session
    listener: EventListener
    narrator: RunNarrator
    more_lines: Callable[[], Iterable[str]]
    """Reads the further lines of a command.

    Raises KeyboardInterrupt, or EOFError if the input ends before the last of them.
    """

    def inspected(self, part: str, **look: object) -> RunView:
        """The view with a new inspection of this kind, complete if several follow each other.

        Raises UnclearCommandError if none came.
        """
        session, before = self.session, self._part(part)

        def is_there() -> bool:
            now = self._part(part)
            return now is not before and getattr(now, "is_whole", True)

        session.wanted = msgspec.structs.replace(session.wanted, **look)
        session.send(session.wanted)
        try:
            self.listener.wait(is_there)
        finally:
            session.inspect(**NOT_LOOKING)
            self.listener.wait()
            session.notice = Notice()  # the engine repeats the last one with each answer
        if session.view is None or self._part(part) is before:
            raise UnclearCommandError("It was not computed. Type the command again.")
        return session.view

    def _part(self, name: str) -> object:
        return getattr(self.session.view.inspections, name) if self.session.view else None


CommandOutcome: TypeAlias = CommandKind | list[Line] | Iterator[Line]
"""The kind of the command, whose result is told next; or the lines that answer a question."""


Needs: TypeAlias = Literal["", "frame", "exercise"]
Do: TypeAlias = Callable[[CommandContext, str, RunView], CommandOutcome]


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """A command that can be typed: its words, its help, and the function that does it."""

    words: tuple[str, ...]
    """The name first; single letters are the keys of the screen."""
    help: str
    do: Do | None = None
    """Called with the argument. Raises UnclearCommandError. None: the reader itself does it."""
    argument: str = ""
    """The argument as the help shows it; empty for a command without one."""
    needs: Needs = ""
    """Whether it needs a lesson that has begun, or an exercise."""
    is_repeated: bool = False
    """Whether the argument says how often it is done."""

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]


def typed(
    words: str, argument: str = "", *, needs: Needs = "", is_repeated: bool = False
) -> Callable[[Do], TypedCommand]:
    """Make a typed command of a function, whose docstring is the command's help."""

    def command(do: Do) -> TypedCommand:
        text = (do.__doc__ or "").rstrip(".")
        help = text[:1].lower() + text[1:]
        return TypedCommand(tuple(words.split()), help, do, argument, needs, is_repeated)

    return command


def simple(
    words: str,
    help: str,
    method: Callable[[Session], None],
    kind: CommandKind,
    argument: str = "",
    *,
    needs: Needs = "",
) -> TypedCommand:
    """A command that calls one method of the session, as often as the argument says."""

    def do(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
        method(on.session)
        return kind

    return TypedCommand(tuple(words.split()), help, do, argument, needs, bool(argument))


def clear(read: Callable[[str], T], text: str) -> T:
    """The value that a parser of the session reads from a text. Raises UnclearCommandError."""
    try:
        return read(text)
    except ValueError as error:
        raise UnclearCommandError(str(error)) from None


def times(argument: str) -> int:
    """The number of repetitions that was typed. Raises UnclearCommandError."""
    return clear(lambda text: read_whole_number(text, 1, MOST_TIMES), argument or "1")


# ── The run ─────────────────────────────────────────────────────────────────────────


@typed("next n", "[N]", is_repeated=True)
def _next(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Run the next phase, or N phases; so does an empty line."""
    attempt = on.session.attempt
    if attempt is not None and attempt.state in ("wrong", "done"):
        on.session.controller.go_on()
        return "exercise"
    if attempt is not None and attempt.wants.is_answer:
        asked = exercise_text.question(attempt, has_symbols(view.lesson))
        how = f"{exercise_text.ANSWERS[attempt.wants].how} Or type hint, skip or leave."
        raise UnclearCommandError(f"Answer the question first. {asked}\n{how}")
    on.session.step_phase()
    return "phase"


@typed("epoch s", "[N]")
def _epoch(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Run to the end of the epoch, or N epochs on."""
    count, frame = times(argument), view.frame
    if count == 1 or frame is None:
        on.session.step_epoch()
    else:
        is_whole = not frame.at.epoch or frame.is_epoch_end
        on.session.request(RunTo(epoch=frame.at.epoch + count - (not is_whole)))
    return "epochs"


@typed("operation i", needs="frame")
def _operation(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """One operation of backward, inside the Gradient phase."""
    before = view.operations
    view = on.inspected("graph", graph=True)
    graph, frame = view.inspections.graph, view.frame
    if graph is not None and frame is not None and not graph.operations:
        return list(spoken_inspections.graph(graph, view.lesson, frame, 0))
    on.session.step_operation()
    now = on.session.view
    if graph is None or now is None or now.operations <= before:
        return "phase"
    return list(spoken_inspections.operation(graph, now.operations))


@typed("run r", "[N]")
def _run(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Run to the last epoch, or to epoch N."""
    if not argument:
        on.session.toggle_run()
        return "epochs"
    epoch = clear(lambda text: read_whole_number(text, 0, LARGEST_WHOLE), argument)
    if epoch <= view.epoch and view.frame and view.frame.is_epoch_end:
        raise UnclearCommandError(
            f"The run is already past epoch {epoch}, at the end of epoch {view.epoch}. "
            f"jump {epoch} goes back to it."
        )
    on.session.request(RunTo(epoch=epoch))
    return "epochs"


@typed("jump j", "EPOCH [PHASE]")
def _jump(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Go to an epoch's end, or to a phase: jump 12 loss; in a script, or to a step: jump 12 3."""
    if not argument:
        raise UnclearCommandError("To which epoch? Type jump and its number, and perhaps a phase.")
    on.session.seek(*clear(lambda text: read_position(text, view.lesson, view.mode), argument))
    return "jump"


@typed("seed S", "[N]")
def _seed(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Start again with another seed, or with seed N."""
    if not argument:
        on.session.new_seed()
    elif on.session.attempt is not None:
        raise UnclearCommandError("In an exercise a seed can't be chosen: type seed alone.")
    else:
        on.session.open_with_seed(clear(read_seed, argument))
    return "jump"


# ── Settings of the run ─────────────────────────────────────────────────────────────


@typed("mode g", "[NAME]")
def _mode(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Switch to the next gradient mode, or to the named one."""
    modes = view.lesson.modes
    if not argument:
        on.session.next_mode()
    elif (mode := next((m for m in modes if m.lower() == argument.lower()), None)) is None:
        raise UnclearCommandError(f"There is no mode {argument}; available: {listed(modes)}.")
    elif mode == view.mode:
        raise UnclearCommandError(f"The mode is already {mode}.")
    else:
        on.session.request(Switch(mode=mode))
    return "change"


@typed("device d", "[NAME]")
def _device(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Switch to the next device, or to the named one."""
    if argument:
        on.session.request(Switch(device=argument.lower()))
    else:
        on.session.next_device()
    return "change"


@typed("reconnect C")
def _reconnect(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Connect again to the other machine, after the connection was lost."""
    on.session.reconnect()
    on.listener.is_coming_back = on.session.notice.code == "connected"
    return "jump"


@typed("lr l", "[NUMBER]")
def _learning_rate(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Say the learning rate, or set it."""
    if not argument:
        rate = on.session.learning_rate
        return [f"The learning rate {f'is {spoken_number(rate)}' if rate else 'is not known yet'}."]
    on.session.request(SetLearningRate(value=clear(read_learning_rate, argument)))
    return "change"


@typed("set w", "NAME VALUE")
def _set(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Set a number of a parameter: set w 1.5, or set W[0,1] = 1.5."""
    if view.frame is None:
        raise UnclearCommandError("There is nothing to set yet: the lesson has not begun.")
    values = view.frame.values
    element = clear(lambda text: parameter_input.read(text, values, command="set "), argument)
    on.session.request(SetElement(element=element))
    return "notice"  # the session says what was set


# ── Runs ────────────────────────────────────────────────────────────────────────────


@typed("runs F", "[go NAME | rename NAME NEW | delete NAME]")
def _runs(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """List your runs; resume, rename or delete one of them."""
    if not argument:
        return list(spoken_inspections.runs(view.runs))
    action, *words = argument.split()
    if action not in ("go", "rename", "delete") or len(words) != 1 + (action == "rename"):
        raise UnclearCommandError(
            "Type runs alone for the list, or runs go NAME, runs rename NAME NEW, runs delete NAME."
        )
    run = _named_run(words[0], view)
    if action == "go":
        if run.is_current:
            raise UnclearCommandError(f"You are already in run {run.name}.")
        on.session.request(SelectRun(name=run.name))
        return "jump"
    if action == "delete":
        on.session.request(DeleteRun(name=run.name))
    else:
        on.session.request(RenameRun(name=run.name, new=clear(read_run_name, words[1])))
    return "notice"


@typed("then", "[NAME]", needs="frame")
def _then(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """The values of another run at the same position."""
    others = [run.name for run in view.runs if not run.is_current]
    if not others:
        raise UnclearCommandError("There is no other run. Type fork to keep this one.")
    run = _named_run(argument or others[-1], view)
    if run.is_current:
        raise UnclearCommandError(f"You are in run {run.name}: name another to compare with.")
    found = on.inspected("then", then=run.name).inspections.then
    return list(spoken_inspections.other_run(found)) if found else []


def _named_run(name: str, view: RunView) -> RunInfo:
    """The run with this name or letter. Raises UnclearCommandError."""
    for run in view.runs:
        if name.lower() in (run.name.lower(), run.letter.lower()):
            return run
    names = listed([run.name for run in view.runs])
    raise UnclearCommandError(f"There is no run {name}; available: {names}.")


RUN_COMMANDS = (
    _next,
    _epoch,
    _operation,
    simple("back b", "go back one phase, or N phases", Session.back_phase, "jump", "[N]"),
    simple("back-epoch B", "go back to the start of the epoch", Session.back_epoch, "jump", "[N]"),
    _run,
    _jump,
    simple("restart R", "start again from the same weights", Session.restart, "jump"),
    _seed,
    simple("reseed z", "continue with a new seed", Session.reseed, "change"),
    _mode,
    _device,
    _reconnect,
    _learning_rate,
    _set,
    simple("fork f", "keep this run as it is, and continue with a copy", Session.fork, "notice"),
    _runs,
    _then,
)
