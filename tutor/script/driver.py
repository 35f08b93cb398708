"""A script that waits: at its training loop, and in the loop's body at each phase.

The script's code runs in a greenlet, which has a stack of its own. When it comes to its training
loop, that stack waits there. The driver runs the loop's body, one pass after the other, in a second
greenlet, which waits at each hook. When the loop is at its end, the first stack continues: the rest
of the script runs.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import CellType, CodeType, FrameType, ModuleType
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from greenlet import GreenletExit, getcurrent, greenlet

from tutor.script.instrument import (
    AT,
    BATCHES,
    CLASS,
    KEEP_GIVEN,
    KEEP_LOSS,
    KEEP_OTHER_LOSS,
    KEEP_RETURNED,
    KEEP_USED,
    LOOP,
    PREFIX,
    STOPS,
    WHILE,
)
from tutor.script.loop_progress import PASS_END, LoopCondition, LoopItems, PassLoss, items_in
from tutor.script.parameters import TakenGradients
from tutor.script.waiting_state import (
    CreationHashes,
    ExceptionHandlers,
    GuardedPlace,
    SavedThreadSettings,
    ScriptThreadSettings,
)

LoopBody: TypeAlias = Callable[..., Any]
"""One pass of the loop; see `instrument.BREAK` for its results."""

_PEEK = torch._C._functorch.peek_interpreter_stack
"""Not None within `torch.func.grad` and the like: nothing can wait there."""


@dataclass(frozen=True, slots=True)
class LeftBy:
    """The exception by which a pass has left the loop, and which the script handles outside it."""

    error: BaseException


@dataclass(slots=True)
class WaitingLoop:
    """The loop at which the script waits."""

    body: LoopBody
    items: LoopItems | LoopCondition
    execution: int
    """The number of times that the script has come to the loop, from 1."""
    guards: Sequence[GuardedPlace] = ()
    """The script's handlers of exceptions around the loop."""
    names: dict[str, Any] = field(default_factory=dict)
    """The names of the functions that wait at the loop, kept until after their return."""
    passes: int = 0
    """Passes that have begun."""
    goes_on: bool | None = None
    """Whether there is a next pass, once that has been asked."""
    exit: Any = None
    """The result of the last pass: not None if it has left the loop."""

    def cells(self) -> dict[str, CellType]:
        """The names that the loop shares with the function around it."""
        body = self.body
        return dict(zip(body.__code__.co_freevars, body.__closure__ or (), strict=True))

    def shared_names(self) -> dict[str, Any]:
        """The values of these names; without those that have none now."""
        found = {}
        for name, cell in self.cells().items():
            with suppress(ValueError):  # it is empty
                found[name] = cell.cell_contents
        return found


class Driver:
    """Runs a script to its training loop, the loop pass by pass, and then the rest."""

    def __init__(
        self,
        code: CodeType,
        module: ModuleType,
        handlers: ExceptionHandlers,
        with_gradients: Collection[int] = (),
    ) -> None:
        """`module` is the script's own: the driver puts its own names into it.

        `with_gradients`: the numbers of the phases that only train where PyTorch records what
        gradients need; elsewhere (`torch.no_grad()`) the same code evaluates the model.
        """
        self.module = module
        self.names = names = vars(module)
        self.device = "cpu"
        """The device of the script's parameters, once it is known."""
        self.loss = PassLoss(with_gradients)
        self.gradients = taken = TakenGradients()
        self.batches: int | None = None
        """The number of this pass's batches, once the script has come to its loop over them."""
        self.loop: WaitingLoop | None = None
        """None before the script has come to its loop, and once it has ended."""
        self.hashes = CreationHashes()
        self.executions = 0
        self.has_ended = False
        self._thread_settings = ScriptThreadSettings()
        self._handlers = handlers
        self._script = greenlet(lambda: exec(code, names))
        self._code = code
        self._pass: greenlet | None = None
        self._goes_past: Callable[[int], bool] | None = None
        self._is_closing = False
        self._left_over: dict[str, Any] = {}
        """The names of functions that have returned, as they were at the last phase."""
        names.update({STOPS: False, AT: self._at, BATCHES: self._count})
        names.update({KEEP_LOSS: self._keep_loss, KEEP_OTHER_LOSS: self._keep_other_loss})
        names.update({KEEP_GIVEN: taken.keep_given, KEEP_RETURNED: taken.keep_returned})
        names.update({KEEP_USED: taken.keep_used})
        names.update({LOOP: self._run_loop, WHILE: LoopCondition, CLASS: self.hashes.in_class})

    # ── The script's own stack ──────────────────────────────────────────────────────

    @property
    def is_gone(self) -> bool:
        """Whether the script's own stack is gone: the rest has run, or has raised."""
        return self._script.dead

    def go_on(self) -> None:
        """Run the script from where its stack waits to its loop, or to its end.

        An exception by which a pass has left the loop is raised there. Whatever the script does
        not catch passes through; its stack is gone then.
        """
        loop, self.loop = self.loop, None
        if loop is not None and isinstance(loop.exit, LeftBy):
            self._switch(self._script, error=loop.exit.error)
        else:
            self._switch(self._script, loop.exit if loop else None)
        self.has_ended = self._script.dead
        if self.loop is not None:
            self.loop.guards = self._handlers.around(_frames(self._script))
            for frame in self._functions(self._script):
                self.loop.names.update(frame.f_locals)

    def run_rest(self) -> None:
        """Run the script to a loop with a pass to run, or to its end; `exit()` is an end, too."""
        while not self.has_ended and not self.has_next_pass():
            try:
                self.go_on()
            except SystemExit as error:
                if error.code not in (None, 0):
                    raise
                self.has_ended = True

    def _switch(self, to: greenlet, *value: Any, error: BaseException | None = None) -> Any:
        """Run a greenlet until it waits or ends, in the script's own thread settings."""
        to.parent = getcurrent()
        if not to:  # it has not begun
            to.gr_context = self._thread_settings.context
            value = ()
        with self._thread_settings.on(), self.hashes.counting():
            if error is None:
                return to.switch(*value)
            return to.throw(type(error), error, error.__traceback__)

    def _run_loop(self, body: LoopBody, iterable: Any) -> Any:
        """Run a loop: the code calls this in its place."""
        if getcurrent() is not self._script:
            return _run_unstepped(body, iterable)
        is_while = isinstance(iterable, LoopCondition)
        items = iterable if is_while else LoopItems(iterable, lambda: self.device)
        self.executions += 1
        self.loop = WaitingLoop(body, items, self.executions)
        return _wait()

    # ── The passes of the loop ──────────────────────────────────────────────────────

    def has_next_pass(self) -> bool:
        """Whether the loop goes on; asks its iterable or its condition, once for each pass."""
        loop = self.loop
        if loop is None or loop.exit is not None:
            return False
        if loop.goes_on is None:
            if loop.items.is_plain:
                loop.goes_on = loop.items.has(loop.passes)
            else:
                self._switch(greenlet(self._ask_for_pass))
        return bool(loop.goes_on)

    def _ask_for_pass(self) -> None:
        """Ask whether the loop goes on, in the script's own thread settings."""
        loop = self.loop
        assert loop is not None
        try:
            loop.goes_on = loop.items.has(loop.passes)
        except BaseException as error:  # noqa: BLE001 - the script's own
            self._leave_by(error)
            loop.goes_on = False

    def passes_left(self) -> int | None:
        """The number of passes to come if nothing leaves the loop; None if that is not known."""
        return self.loop.items.left(self.loop.passes) if self.loop else None

    @property
    def has_asked_ahead(self) -> bool:
        """Whether items of later passes are known, and may be out of date."""
        loop = self.loop
        return loop is not None and not loop.items.is_plain and loop.items.count > loop.passes

    def begin_pass(self) -> int:
        """Begin a pass, and run to its first hook; returns the phase's number, or PASS_END."""
        self._pass = greenlet(self._run_pass)
        return self.resume()

    def resume(self, goes_past: Callable[[int], bool] | None = None) -> int:
        """Run to the next hook of the pass; returns the phase's number, or PASS_END.

        It does not wait at a hook that `goes_past` says True of. The thread has the script's
        settings. What the script raises and does not catch passes through; the pass is gone then.
        """
        assert self._pass is not None
        self.names[STOPS], self._goes_past = True, goes_past
        try:
            number = self._switch(self._pass)
        finally:
            self.names[STOPS], self._goes_past = False, None
        return PASS_END if self._pass.dead else number

    def run_passes(self, count: int, after: Callable[[], object]) -> int:
        """Run whole passes without a stop; `after` is called after each. Returns their number."""
        done = 0

        def run() -> None:
            nonlocal done
            loop = self.loop
            while done < count and loop is not None and loop.exit is None:
                if loop.goes_on is None:
                    self._ask_for_pass()
                if not loop.goes_on:
                    return
                self._run_pass()
                done += 1
                after()

        self._switch(greenlet(run))
        return done

    def _run_pass(self) -> None:
        loop = self.loop
        assert loop is not None
        loop.passes += 1
        loop.goes_on = self.batches = None
        self.loss.begin_pass()
        try:
            loop.exit = loop.body(loop.items[loop.passes - 1])
        except BaseException as error:  # noqa: BLE001 - the script's own
            self._leave_by(error)
        self.loss.end_pass()

    def _leave_by(self, error: BaseException) -> None:
        """Leave the loop by an exception that the script handles or ends with; raise any other.

        KeyboardInterrupt is the learner's, who stops the tutor's run.
        """
        assert self.loop is not None
        is_end = isinstance(error, SystemExit) and error.code in (None, 0)
        if not is_end:
            if isinstance(error, GreenletExit | KeyboardInterrupt):
                raise error
            if not any(guard.catches_it(error) for guard in self.loop.guards):
                raise error
        self.loop.exit = LeftBy(error)

    def thread_settings(self) -> SavedThreadSettings:
        """The script's own settings of the thread, while it waits."""
        return self._thread_settings.saved()

    def go_back(self, loop: WaitingLoop, passes: int, thread_settings: SavedThreadSettings) -> bool:
        """Stand after `passes` passes of a loop; False if the script is no longer near it.

        It is where its stack waits at the loop, or where the loop was its last and no `with`
        around it has closed what it needs.
        """
        self.drop_pass()
        self._left_over = {}
        is_left = loop is not self.loop
        if is_left and (self.loop or loop.execution != self.executions):
            return False
        if is_left and any(guard.closes for guard in loop.guards):
            return False
        if not loop.items.keeps(passes):
            return False
        self.loop, self.has_ended = loop, False
        loop.passes, loop.goes_on, loop.exit = passes, None, None
        self.batches = None
        self._thread_settings.restore(thread_settings)
        return True

    def end_again(self, thread_settings: SavedThreadSettings) -> None:
        """Go to the script's end, to which it has come before."""
        self.loop, self.has_ended = None, True
        self._thread_settings.restore(thread_settings)

    def drop_pass(self) -> None:
        """Give up the pass that waits at a hook."""
        if self._pass is not None:
            self._kill(self._pass)
        self._pass = None

    def close(self) -> None:
        """Give up the script wherever it waits."""
        self.drop_pass()
        self._kill(self._script)
        self.loop = None

    def _kill(self, waiting: greenlet) -> None:
        """End a greenlet: its code leaves its `with` and `finally` blocks."""
        if not waiting:
            return
        self._is_closing = self.names[STOPS] = True
        try:
            self._switch(waiting, error=GreenletExit())
        except Exception:  # noqa: BLE001 - the script's own clean-up: the run it was of is gone
            return
        finally:
            self._is_closing = self.names[STOPS] = False

    # ── Hooks ───────────────────────────────────────────────────────────────────────

    def _at(self, number: int) -> None:
        if self._is_closing:  # the code has caught the GreenletExit by which it was to end
            raise GreenletExit
        if getcurrent() is not self._pass or _PEEK() is not None:
            return
        if number in self.loss.with_gradients and self.loss.is_evaluating():
            return
        if self._goes_past is None or not self._goes_past(number):
            _wait(number)

    def _count(self, iterable: Any) -> Any:
        self.batches = items_in(iterable)
        return iterable

    def _keep_loss(self, loss: Any, is_trained: bool = False) -> Any:
        if self.loop is not None and not _is_matrix(loss):
            self.loss.keep(loss, is_trained=is_trained)
        return loss

    def _keep_other_loss(self, loss: Any) -> Any:
        if self.loop is not None and not _is_matrix(loss):
            self.loss.keep_other(loss)
        return loss

    # ── Names ───────────────────────────────────────────────────────────────────────

    def all_names(self) -> dict[str, Any]:
        """The names of the script's module and of the functions that wait, innermost last."""
        inner = {name: value for scope in self.scopes() for name, value in scope.items()}
        if self._pass is not None and not self._pass.dead:
            self._left_over = inner
        found = self._left_over | self.names | inner
        return {name: value for name, value in found.items() if not name.startswith(PREFIX)}

    def lookup(self) -> Mapping[str, Any]:
        """All names as a view, without a copy: to be read before the script goes on."""
        inner = cast("list[MutableMapping[str, Any]]", self.scopes()[::-1])
        return ChainMap(*inner, self.names, self._left_over) if inner else self.names

    def bind(self, name: str, value: Any) -> None:
        """Give an expression of the script (`w`, `params["w"]`) another value."""
        cells = self._cells()
        if name in cells:
            cells[name].cell_contents = value
        elif name in self.names:
            self.names[name] = value
        elif not name.isidentifier():
            exec(f"{name} = {PREFIX}value", {**self.all_names(), f"{PREFIX}value": value})

    def can_bind(self, expression: str) -> bool:
        """Whether the code reads a number from a settable place: `lr`, `args.lr`, not `0.1`."""
        try:
            value = eval(expression, self.all_names())
        except Exception:  # noqa: BLE001 - a script's own objects may raise anything when read
            return False
        if not isinstance(value, int | float) or expression[:1].isdigit():
            return False
        inner = {name for scope in self.scopes() for name in scope}
        is_own = expression in self._cells() or expression not in inner
        return not expression.isidentifier() or is_own

    def _cells(self) -> dict[str, CellType]:
        return self.loop.cells() if self.loop else {}

    def scopes(self) -> list[Mapping[str, Any]]:
        """The names of the script's functions that wait, outermost first, without the module's.

        Where the script has gone on, and the loop was gone back into, they are those that waited.
        """
        waiting = self._functions(self._script)
        if not waiting and self.loop is not None:
            return [self.loop.names, self.loop.shared_names(), *self._pass_scopes()]
        return [*(frame.f_locals for frame in waiting), *self._pass_scopes()]

    def _pass_scopes(self) -> list[Mapping[str, Any]]:
        return [frame.f_locals for frame in self._functions(self._pass)]

    def _functions(self, waiting: greenlet | None) -> list[FrameType]:
        """The frames of a greenlet that are of functions of the script's file, outermost first."""
        found: list[FrameType] = []
        frame = waiting.gr_frame if waiting else None
        while frame is not None:
            code = frame.f_code
            if code.co_filename == self._code.co_filename and code.co_name != "<module>":
                found.append(frame)
            frame = frame.f_back
        return found[::-1]


def _is_matrix(loss: Any) -> bool:
    """Whether it is several numbers, such as the errors of all samples, and so no loss."""
    if isinstance(loss, torch.Tensor):
        return loss.numel() != 1
    return isinstance(loss, list | tuple) or (isinstance(loss, np.ndarray) and loss.size != 1)


def _wait(*value: Any) -> Any:
    """Wait in a greenlet, with a value for the driver, until it is resumed."""
    parent = getcurrent().parent
    assert parent is not None
    return parent.switch(*value)


def _frames(waiting: greenlet | None) -> list[FrameType]:
    found: list[FrameType] = []
    frame = waiting.gr_frame if waiting else None
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _run_unstepped(body: LoopBody, iterable: Any) -> Any:
    """Run a loop that is not stepped: the body of the stepped loop has called it."""
    for item in iterable:
        result = body(item)
        if result is not None:
            return result
    return None
