"""Small scripts whose training loop and phases are marked by comments, and how to run them.

    for epoch in range(3):  #: LOOP
        loss = x * w        #: Loss
        w -= 0.1            #: Update

The first mark of a phase, or one with a star (`#: Loss*`), is where a batch begins. `#: BATCHES`
marks the loop over batches.
"""

from __future__ import annotations

import ast
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.frame import Frame
from tutor.script.driver import Driver
from tutor.script.instrument import PREFIX, instrumented
from tutor.script.lesson import lesson_of_script
from tutor.script.loop_progress import PASS_END
from tutor.script.loops import outline_of
from tutor.script.outline import ScriptPhase, TrainingLoop, span_of
from tutor.script.program import ScriptOpener
from tutor.script.source import ScriptSource
from tutor.script.waiting_state import ExceptionHandlers
from tutor.training.run import Run

FILE = "/nowhere/train.py"
_MARK = re.compile(r"#: (\w+)(\*?)")


def marked_loop(source: str, **known: Any) -> TrainingLoop:
    """The loop that is marked in a script; `known`: fields of it besides."""
    statements: dict[int, ast.stmt] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            statements.setdefault(node.lineno, node)
    phases: list[ScriptPhase] = []
    place: dict[str, Any] = {}
    marks = ((n, _MARK.search(line)) for n, line in enumerate(source.splitlines(), 1))
    for line, mark in marks:
        if mark is None:
            continue
        node = statements[line]
        end = node.end_lineno or line
        if mark[1] == "LOOP":
            place |= {"line": line, "column": node.col_offset, "end_line": end}
        elif mark[1] == "BATCHES":
            place["batches_at"] = (line, node.col_offset)
        else:
            starts = bool(mark[2]) or not phases
            phases.append(ScriptPhase(mark[1], line, node.col_offset, end, starts))
    losses = tuple(
        span_of(func.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(func := node.func, ast.Attribute)
        and func.attr == "backward"
    )
    fields = {"mode": "autograd", "loss": "loss", "losses_at": losses} | place | known
    return TrainingLoop(phases=tuple(phases), **fields)


def driver_of(source: str, **known: Any) -> Driver:
    """A driver of a marked script that has not begun."""
    code = instrumented(source, FILE, marked_loop(source, **known))
    return Driver(code, ModuleType("__main__"), ExceptionHandlers(source, FILE))


def to_the_end(driver: Driver) -> list[int]:
    """Run a script to its end, phase by phase; returns the phases' numbers."""
    found: list[int] = []
    driver.go_on()
    while not driver.has_ended:
        while driver.has_next_pass():
            number = driver.begin_pass()
            while number != PASS_END:
                found.append(number)
                number = driver.resume()
        driver.go_on()
    return found


def plainly(source: str) -> tuple[dict[str, Any], str]:
    """The names of a script that has run as Python runs it, and what it has printed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(source, FILE, "exec", dont_inherit=True), names)
    return bits(names), output.getvalue()


@contextmanager
def muted() -> Iterator[None]:
    """Nothing is printed inside."""
    with redirect_stdout(io.StringIO()):
        yield


def run_of(source: str, *, seed: int = 0, keyframes: float = 0.0, **known: Any) -> Run:
    """A run of a marked script; `keyframes`: the seconds between two of its keyframes."""
    loop = marked_loop(source, **known)
    lesson = Lesson(
        slug="train.py",
        path=Path(FILE),
        digest="",
        source=source,
        title="",
        summary="",
        order=0,
        modes=(loop.mode,),
        parameters={loop.mode: ()},
        learning_rate={loop.mode: 0.0},
        epochs={loop.mode: 1},
        sections=(),
        script=ScriptOptions(),
    )
    run = Run({loop.mode: ScriptOpener(lesson, loop).program}, seed=seed, quiet=muted)
    keep_keyframes(run, keyframes)
    return run


def keep_keyframes(run: Run, seconds: float) -> None:
    """Keep a keyframe at the end of each epoch for 0 seconds; none for many."""
    run.history.interval = run.history.spacing = seconds
    run.clock.start(seconds)


def lesson_of(text: str) -> Lesson:
    """The lesson of a script as it is read."""
    source = ScriptSource(path=Path("train.py"), text=text, digest="0" * 64)
    return lesson_of_script(source, outline_of(text), ScriptOptions())


def steps_of(run: Run) -> list[Frame]:
    """The frames from here to the script's end, the last one that of the end."""
    found = [run.frame()]
    while not found[-1].is_over:
        found.append(run.step_phase())
    return found


def bits(names: Mapping[str, Any]) -> dict[str, Any]:
    """What names stand for, so that it can be compared to the bit."""
    return {k: _bits(v) for k, v in names.items() if not k.startswith(("__", PREFIX))}


def _bits(thing: Any, depth: int = 0) -> Any:
    if isinstance(thing, torch.Tensor):
        gradient = _bits(thing.grad) if thing.is_leaf else None
        return thing.requires_grad, thing.detach().numpy().tobytes(), gradient
    if isinstance(thing, np.ndarray):
        return thing.tolist() if thing.dtype.hasobject else thing.tobytes()
    if isinstance(thing, torch.nn.Module | torch.optim.Optimizer):
        return _bits(thing.state_dict(), depth)
    if isinstance(thing, dict):
        return {key: _bits(value, depth + 1) for key, value in thing.items()}
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing))
    if isinstance(thing, list | tuple | deque):
        return [_bits(item, depth + 1) for item in thing]
    if thing is None or isinstance(thing, int | float | str | bytes | bytearray):
        return bytes(thing) if isinstance(thing, bytearray) else thing
    own = getattr(thing, "__dict__", None)
    is_own = type(thing).__module__ == "__main__" and isinstance(own, dict) and depth < 4
    return _bits(own, depth + 1) if is_own else type(thing).__name__
