"""A lesson's code in one mode, compiled: named phases that a Loop can run.

A Program need not come from a lesson file: anything that can be cut into the same
phases makes one. Line numbers in the compiled code count in the source file, so
that an error names the line the author wrote.
"""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from types import CodeType
from typing import Any

import msgspec
from msgspec.structs import replace

from tutor.errors import Refused, RunError
from tutor.lesson.code_checks import binds_data, stores_grad, why_not_code
from tutor.lesson.model import (
    REPORT,
    SETUP,
    SYNCHRONIZE,
    UPDATE,
    DataNames,
    Fence,
    Lesson,
    gradient_index,
)
from tutor.plain import one_line
from tutor.protocol.frame import Value
from tutor.training.liveness import (
    KEPT,
    Liveness,
    changed_in_place,
    expression_tree,
    liveness,
    loads,
    may_draw,
    names_bound_by,
    nodes_of,
)
from tutor.training.time_limit import VALUE_OF

Quiet = Callable[[], AbstractContextManager[object]]
Until = Callable[[], bool]
"""Called now and then by what takes long, which stops once it returns True."""


class UnheardOutput(io.TextIOWrapper):
    """A stream that counts the characters, and neither encodes nor keeps them."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self.characters = 0

    def write(self, text: str) -> int:
        """Count it."""
        self.characters += len(text)
        return len(text)


class Phase(msgspec.Struct, frozen=True):
    """One phase's code, compiled."""

    name: str
    code: CodeType
    lines: frozenset[int]
    """The lines of the source file that the phase's code stands on."""
    binds: frozenset[str]
    """The names that its code binds."""
    changes: frozenset[str]
    """The names that its code binds, or whose things it changes in place."""


class Expression(msgspec.Struct, frozen=True):
    r"""A Python expression that is shown: a watched one, or one in a `\boxed{…}`."""

    label: str
    source: str
    line: int
    """Its line in the source file."""
    code: CodeType
    names: frozenset[str]
    """The names that it reads."""
    calls: bool
    """Whether it calls anything: only then can it draw random numbers."""


class Program(msgspec.Struct, frozen=True, eq=False):
    """A lesson's code in one mode, compiled, with all facts about it that a run needs."""

    name: str
    """The lesson's slug."""
    filename: str
    mode: str
    parameters: tuple[str, ...]
    learning_rate: float
    epochs: int
    batches: int
    warm_up: int
    workers: int
    """The ranks that it runs on."""
    setup: Phase | None
    loop: tuple[Phase, ...]
    """Run once for each batch, in this order."""
    epoch_code: CodeType
    """A whole epoch as one piece, for speed: the same statements in the same order."""
    report: Phase | None
    watch: tuple[Expression, ...]
    boxed: Mapping[str, tuple[Expression, ...]]
    """The expressions in the formulas of each phase; "" for the sections that are none."""
    liveness: Liveness
    """The names that a snapshot may leave out or need not copy."""
    data: DataNames | None = None
    """The names of its data; None where it does not bind such names in this mode."""
    volatile: frozenset[str] = frozenset()
    """Names besides the parameters that an epoch both reads and writes, or changes in place.

    A running mean, an order of the data that is shuffled again in every epoch.
    """
    stores_grad: bool = False
    """Whether the code itself assigns gradients to `.grad`: then no tensor's is a variable `dw`."""
    may_draw: bool = True
    """Whether the code may draw from Python's or NumPy's own random number generators."""
    stopped: dict[str, Value] = msgspec.field(default_factory=dict)
    """An expression that is not evaluated again → the reason. All modes of a lesson share it."""
    open_loop: Callable[[str, float, int], Any] | None = None
    """Runs a script to its training loop, with a device, a learning rate (0.0: the script's own)
    and a seed; returns the Loop. None for a lesson."""
    open_probe: Callable[[str], Any] | None = None
    """Makes the Loop of a script's probe on a device, without any names yet."""

    writes_here: bool = False
    """Whether a script writes files where it wants: a second run of it would write them again."""
    place_of: Callable[[int], str] | None = None
    """Names a line of a script with the file, as people name it in a notebook."""

    @property
    def is_script(self) -> bool:
        """Whether it is a learner's own script, not a lesson."""
        return self.open_loop is not None

    def place(self, line: int | None) -> str:
        """A line with the file; only the file where the line is not known."""
        if not line:
            return self.filename
        return self.place_of(line) if self.place_of else f"{self.filename}:{line}"

    def expressions(self) -> tuple[Expression, ...]:
        """All expressions whose values it shows."""
        return (*(e for found in self.boxed.values() for e in found), *self.watch)

    @property
    def steps(self) -> int:
        """Steps in an epoch: each phase of each batch, and the Report."""
        return self.batches * len(self.loop) + (self.report is not None)

    @property
    def gradient_at(self) -> int:
        """Index in `loop` of the phase that completes the gradients of the loss."""
        return gradient_index([phase.name for phase in self.loop])

    @property
    def synchronizes(self) -> bool:
        """Whether a phase of its own makes the ranks' gradients one."""
        return any(phase.name == SYNCHRONIZE for phase in self.loop)

    @property
    def update_at(self) -> int:
        """Index in `loop` of the phase after which the parameters have moved on."""
        names = [phase.name for phase in self.loop]
        return names.index(UPDATE) if UPDATE in names else len(names) - 1

    def pending(self, done: int) -> frozenset[str]:
        """The names that have no value of this batch yet when `done` of its phases have run.

        The names that each epoch makes anew and that a later phase will bind (what they hold
        is left over from before), and `gradient` until there is one.
        """
        later = [*self.loop[done:], *([self.report] if self.report else [])]
        names = frozenset(name for phase in later for name in phase.binds) & self.liveness.rewritten
        return names | {"gradient"} if done <= self.gradient_at else names

    def phase_of_line(self, line: int) -> str:
        """The phase whose code stands on this line of the file; "" if none does."""
        phases = [self.setup, *self.loop, self.report]
        return next((p.name for p in phases if p is not None and line in p.lines), "")


def programs_of(
    lesson: Lesson, modes: Iterable[str] | None = None, without: Collection[str] = ()
) -> dict[str, Program]:
    """The lesson's program in each of its modes (or in each of `modes`), in order.

    Expressions whose labels are in `without` have no value. Raises RunError if its code can't be
    compiled: a file's has been, a learner's may not.
    """
    try:
        programs = {mode: _program(lesson, mode) for mode in modes or lesson.modes}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refusal(lesson) or RunError(f"{lesson.path}: {error}") from error
    stopped = {
        e.source: Value((), (), "text", why="left_out")
        for program in programs.values()
        for e in program.expressions()
        if e.label in without
    }
    return {mode: replace(program, stopped=stopped) for mode, program in programs.items()}


def _refusal(lesson: Lesson) -> Refused | None:
    for section in lesson.sections:
        for fence in (b for b in section.blocks if isinstance(b, Fence)):
            if bad := why_not_code(fence.code, fence.line):
                return Refused("not_python", line=bad.line, phase=section.phase, reason=bad.reason)
    return None


def _program(lesson: Lesson, mode: str) -> Program:
    filename = str(lesson.path)
    has_data = lesson.data is not None and binds_data(lesson.data, lesson.sections, mode)
    trees = {s.phase: _tree(s.fences(mode)) for s in lesson.sections if s.phase}
    setup, report = trees.get(SETUP, ()), trees.get(REPORT, ())
    loop = lesson.loop(mode)
    batch = tuple(node for section in loop for node in trees[str(section.phase)])
    epoch = (*batch, *report)
    watched = (lesson.watch or {}).get(mode, {})
    shown = (*watched.values(), *lesson.boxed(), *lesson.parameters[mode])
    alive = liveness(setup, epoch, shown)
    return Program(
        name=lesson.slug,
        filename=filename,
        mode=mode,
        parameters=lesson.parameters[mode],
        learning_rate=lesson.learning_rate[mode],
        epochs=lesson.epochs[mode],
        batches=lesson.batches,
        warm_up=lesson.warm_up,
        workers=lesson.workers,
        setup=_code_phase(SETUP, setup, filename) if setup else None,
        loop=tuple(_code_phase(str(s.phase), trees[str(s.phase)], filename) for s in loop),
        epoch_code=_epoch_code(batch, lesson.batches, report, filename),
        report=_code_phase(REPORT, report, filename) if report else None,
        watch=tuple(
            _expression(label, source, filename, lesson.watch_lines[mode][label])
            for label, source in watched.items()
        ),
        boxed=boxed_of(lesson),
        liveness=alive,
        data=lesson.data if has_data else None,
        volatile=(names_bound_by(epoch) | alive.changed)
        - alive.rewritten
        - {*lesson.parameters[mode], "np", "torch", "dist"},
        stores_grad=any(map(stores_grad, (*setup, *epoch))),
        may_draw=any(map(may_draw, (*setup, *epoch, *map(expression_tree, shown)))),
    )


def boxed_of(lesson: Lesson) -> dict[str, tuple[Expression, ...]]:
    r"""The expressions in the `\boxed{…}` of each phase's formulas."""
    filename = str(lesson.path)
    return {
        phase: tuple(_expression(e, e, filename, line) for e, line in lines.items())
        for phase, lines in lesson.boxed_by_phase().items()
    }


def _tree(fences: Iterable[Fence]) -> tuple[ast.stmt, ...]:
    return tuple(node for fence in fences for node in _statements(fence.code, fence.line))


@lru_cache(KEPT)
def _statements(code: str, line: int) -> Sequence[ast.stmt]:
    """The statements of code that begins on this line. They are shared: nothing changes them."""
    return ast.parse("\n" * (line - 1) + code).body


@lru_cache(KEPT)
def _epoch_code(
    batch: tuple[ast.stmt, ...], batches: int, report: tuple[ast.stmt, ...], filename: str
) -> CodeType:
    """`for batch in range(batches):` and the loop's phases in it, then the Report."""
    every_batch = ast.parse(f"for batch in range({batches}): pass").body[0]
    assert isinstance(every_batch, ast.For)
    every_batch.body = [*batch]
    return _compile([every_batch, *report], filename)


def _compile(body: list[ast.stmt], filename: str) -> CodeType:
    return compile(ast.Module(body=body, type_ignores=[]), filename, "exec", dont_inherit=True)


@lru_cache(KEPT)
def _code_phase(name: str, body: tuple[ast.stmt, ...], filename: str) -> Phase:
    lines = {n for stmt in body for n in range(stmt.lineno, (stmt.end_lineno or stmt.lineno) + 1)}
    binds = names_bound_by(body)
    changes = binds | changed_in_place(body)
    return Phase(name, _compile([*body], filename), frozenset(lines), binds, changes)


@lru_cache(KEPT)
def _expression(label: str, source: str, filename: str, line: int) -> Expression:
    """An expression, compiled as code of the file: any stack tells its line and its name."""
    tree = ast.parse(source.strip(), filename, "eval")
    ast.increment_lineno(tree, line - 1)
    calls = any(isinstance(node, ast.Call) for node in nodes_of(tree))
    names = loads(tree)
    code = compile(tree, filename, "eval", dont_inherit=True)
    code = code.replace(co_name=VALUE_OF + one_line(label))
    return Expression(label, source, line, code, names, calls)
