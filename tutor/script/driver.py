"""A script that waits: at its training loop, and in the loop's body at each phase.

The script's code runs in a greenlet, which has a stack of its own. When it comes to its training
loop, that stack waits there. The driver runs the loop's body, one pass after the other, in a second
greenlet, which waits at each hook. When the loop is at its end, the first stack continues: the rest
of the script runs.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType
from typing import Any, TypeAlias

from greenlet import GreenletExit, getcurrent, greenlet

from tutor.script.instrument import AT, FOR, LOSS, STOPS, WHILE

Body: TypeAlias = Callable[..., Any]
"""One pass of the loop; see `instrument.BREAK` for its results."""

END = -1
"""In place of a phase's number: the end of a pass."""


@dataclass(slots=True)
class LoopItems:
    """The items that a `for` loop has had so far, and the iterator that yields the next."""

    iterator: Iterator[Any]
    known: list[Any] = field(default_factory=list)

    def has(self, index: int) -> bool:
        """Whether there is an item with this index, from 0; asks the iterator if need be."""
        if index < len(self.known):
            return True
        try:
            self.known.append(next(self.iterator))
        except StopIteration:
            return False
        return True


@dataclass(slots=True)
class WaitingLoop:
    """The loop at which the script waits."""

    body: Body
    items: LoopItems | None
    """None for `while`."""
    condition: Callable[[], Any] | None
    execution: int
    """How often the script has come to the loop, from 1."""
    passes: int = 0
    """Passes that have begun."""
    goes_on: bool | None = None
    """Whether there is a next pass, once that has been asked."""
    exit: Any = None
    """The result of the last pass: not None if it has left the loop."""


class Driver:
    """Runs a script to its training loop, the loop pass by pass, and then the rest."""

    def __init__(self, code: CodeType, module: ModuleType) -> None:
        """`module` is the script's own: the driver puts its own names into it."""
        self.module = module
        self.names = names = vars(module)
        self.loss: Any = None
        """The object whose gradient was taken last, or that was assigned as the loss."""
        self.loop: WaitingLoop | None = None
        """None before the script has come to its loop, and once it has ended."""
        self.on_phase: Callable[[int], object] | None = None
        """Called at each hook while the body does not stop there."""
        self.executions = 0
        self.has_ended = False
        self._context = contextvars.copy_context()
        self._script = greenlet(self._run_script)
        self._code = code
        self._pass: greenlet | None = None
        names.update({STOPS: False, AT: self._at, LOSS: self._keep_loss})
        names.update({FOR: self._for, WHILE: self._while})

    # ── The script's own stack ──────────────────────────────────────────────────────

    def _run_script(self) -> None:
        exec(self._code, self.names)

    def go_on(self) -> None:
        """Run the script from where its stack waits to its loop, or to its end.

        Whatever the script raises passes through; its stack is gone then. Where the rest has
        run already, because the loop was gone back into, it does not run again.
        """
        loop, self.loop = self.loop, None
        if not self._script.dead:
            self._switch(self._script, loop.exit if loop else None)
        self.has_ended = self._script.dead

    def _switch(self, to: greenlet, *value: Any) -> Any:
        """Run a greenlet until it waits or ends, with the script's own context variables."""
        to.parent = getcurrent()
        if not to:  # it has not begun
            to.gr_context = self._context
            value = ()
        return to.switch(*value)

    def _for(self, body: Body, iterable: Any) -> Any:
        """In place of a `for` loop."""
        if getcurrent() is not self._script:
            return _run_for(body, iterable)
        return self._wait_at_loop(body, LoopItems(iter(iterable)), None)

    def _while(self, body: Body, condition: Callable[[], Any]) -> Any:
        """In place of a `while` loop."""
        if getcurrent() is not self._script:
            return _run_while(body, condition)
        return self._wait_at_loop(body, None, condition)

    def _wait_at_loop(
        self, body: Body, items: LoopItems | None, condition: Callable[[], Any] | None
    ) -> Any:
        self.executions += 1
        self.loop = WaitingLoop(body, items, condition, self.executions)
        return _wait()

    # ── The passes of the loop ──────────────────────────────────────────────────────

    def has_next_pass(self) -> bool:
        """Whether the loop goes on; asks its iterable or its condition, once for each pass."""
        loop = self.loop
        if loop is None or loop.exit is not None:
            return False
        if loop.goes_on is None:
            if loop.items is not None:
                loop.goes_on = loop.items.has(loop.passes)
            else:
                assert loop.condition is not None
                loop.goes_on = bool(self._call(loop.condition))
        return loop.goes_on

    def _call(self, function: Callable[[], Any]) -> Any:
        """Call a function of the script's where its context variables hold."""
        result = list[Any]()
        self._switch(greenlet(lambda: result.append(function())))
        return result[0]

    def begin_pass(self) -> int:
        """Begin a pass, and run to its first hook; returns the phase's number, or END."""
        self._count_pass()
        self._pass = greenlet(self._run_pass)
        return self.resume()

    def resume(self) -> int:
        """Run to the next hook of the pass; returns the phase's number, or END.

        Whatever the script raises passes through; the pass is gone then.
        """
        assert self._pass is not None
        self.names[STOPS] = True
        try:
            number = self._switch(self._pass)
        finally:
            self.names[STOPS] = False
        return END if self._pass.dead else number

    def run_passes(self, count: int, after: Callable[[], object]) -> int:
        """Run whole passes without a stop; `after` is called after each. Returns their number."""
        self.names[STOPS] = self.on_phase is not None
        done = 0

        def run() -> None:
            nonlocal done
            while done < count and self.has_next_pass():
                self._count_pass()
                self._run_pass()
                done += 1
                after()

        try:
            self._switch(greenlet(run))
        finally:
            self.names[STOPS] = False
        return done

    def _count_pass(self) -> None:
        assert self.loop is not None
        self.loop.passes += 1
        self.loop.goes_on = None

    def _run_pass(self) -> None:
        loop = self.loop
        assert loop is not None
        if loop.items is not None:
            loop.exit = loop.body(loop.items.known[loop.passes - 1])
        else:
            loop.exit = loop.body()

    def go_back(self, loop: WaitingLoop, passes: int) -> bool:
        """Stand after so many passes of a loop; False if the script is no longer near it.

        It is where its stack waits at the loop, or where the loop was its last.
        """
        self.drop_pass()
        if loop is not self.loop and (self.loop or loop.execution != self.executions):
            return False
        self.loop, self.has_ended = loop, False
        loop.passes, loop.goes_on, loop.exit = passes, None, None
        return True

    def drop_pass(self) -> None:
        """Give up the pass that waits at a hook."""
        if self._pass is not None:
            _kill(self._pass)
        self._pass = None

    def close(self) -> None:
        """Give up the script wherever it waits."""
        self.drop_pass()
        _kill(self._script)
        self.loop = None

    # ── Hooks ───────────────────────────────────────────────────────────────────────

    def _at(self, number: int) -> None:
        if self.on_phase is not None:
            self.on_phase(number)
        elif getcurrent() is self._pass:
            _wait(number)

    def _keep_loss(self, loss: Any) -> Any:
        self.loss = loss
        return loss

    # ── Looking ─────────────────────────────────────────────────────────────────────

    def loop_names(self) -> dict[str, Any]:
        """The names of the loop's body, where the function around it has returned already."""
        if self.loop is None or self._script:
            return {}
        body = self.loop.body
        found = {}
        for name, cell in zip(body.__code__.co_freevars, body.__closure__ or (), strict=True):
            with suppress(ValueError):  # an empty cell
                found[name] = cell.cell_contents
        return found

    def frames(self) -> list[FrameType]:
        """The Python frames that wait, of the script and then of the pass, outermost first."""
        return [*_frames(self._script), *_frames(self._pass)]


def _wait(*value: Any) -> Any:
    """Called in a greenlet: wait here, with a value for the driver, until it is resumed."""
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


def _kill(waiting: greenlet) -> None:
    """End a greenlet: its code leaves its `with` and `finally` blocks."""
    if waiting:
        waiting.parent = getcurrent()
        try:
            waiting.throw(GreenletExit)
        except Exception:  # noqa: BLE001 - the script's own clean-up: the run it was of is gone
            return


def _run_for(body: Body, iterable: Any) -> Any:
    """A loop that is not stepped: one that the body of the stepped loop has called."""
    for item in iterable:
        result = body(item)
        if result is not None:
            return result
    return None


def _run_while(body: Body, condition: Callable[[], Any]) -> Any:
    while condition():
        result = body()
        if result is not None:
            return result
    return None
