"""A lesson's code in one mode, compiled: named phases that a Loop can run.

A Program need not come from a lesson file: anything that can be cut into the same
phases makes one. Line numbers in the compiled code are those of the source file, so
that an error names the line the author wrote.

Liveness tells by the code alone which names an epoch needs from the one before. A name that every
epoch writes before it reads it (`y_pred`, `loss`) is dead between epochs: a snapshot may leave it
out, which matters because such tensors hang on a graph that can't be copied. A name that nothing
looks at after Setup is idle: it need not be copied. In doubt a name is carried.
"""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import CodeType
from typing import Any

from tutor.errors import Refused, RunError
from tutor.lesson.code_checks import binds_data, why_not_code
from tutor.lesson.model import REPORT, SETUP, DataNames, Fence, Lesson, gradient_index
from tutor.plain import one_line
from tutor.training.time_limit import VALUE_OF

_MUTATORS = {
    *("sort", "fill", "resize", "put", "partition", "shuffle", "copyto", "place", "putmask"),
    *("fill_diagonal", "setflags", "byteswap"),
}
"""NumPy's functions and methods that change an array in place; PyTorch's end in `_`."""

_CONTAINERS = {
    *("append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault"),
    *("popitem", "add", "discard", "appendleft", "popleft", "reverse", "rotate"),
}
"""Methods that change a list, a dict, a set or a deque."""

_KEPT = 4096
"""Pieces of code whose compilation and names are kept: those of a few lessons.

Where a learner edits one phase, or changes the mode and back, the rest need not be compiled again.
"""

_SEES_EVERYTHING = {"globals", "locals", "vars", "eval", "exec", "dir"}


@dataclass(frozen=True, slots=True)
class Liveness:
    """The names of a namespace that an epoch needs, reads and changes."""

    dead: frozenset[str]
    """Every epoch surely writes these before anything reads them."""
    touched: frozenset[str] | None
    """The names in the epochs, the functions and the shown expressions; None is all names."""
    fixed: frozenset[str] = frozenset()
    """The names that the epochs surely only read: no code of theirs changes them in place."""
    changed: frozenset[str] = frozenset()
    """The names whose objects the epochs change in place."""

    def is_idle(self, name: str) -> bool:
        """Whether nothing after Setup looks at this name."""
        return self.touched is not None and name not in self.touched


@lru_cache(_KEPT)
def liveness(
    setup: tuple[ast.stmt, ...], epoch: tuple[ast.stmt, ...], shown: tuple[str, ...]
) -> Liveness:
    """The liveness of names in a loop over the statements of `epoch`, after those of `setup`.

    `shown` are expressions evaluated after the epoch. Functions made in `setup` may be
    called at any time, so all that they read counts as needed. Where the code looks at
    its namespace as a whole, no name is dead and none idle.
    """
    if any(loads(node) & _SEES_EVERYTHING for node in (*setup, *epoch)):
        return Liveness(frozenset(), None)
    needed = set(_read_by_functions(setup))
    written: set[str] = set()
    for node in epoch:
        _walk(node, needed, written)
    expressions = [_parsed(source) for source in shown]
    for expression in expressions:
        needed |= loads(expression) - written
    touched = needed.union(*map(_named, epoch), *map(loads, expressions))
    may_change = [_changed_in(node, False) for node in setup]
    may_change += [_changed_in(node, True) for node in epoch]
    fixed = touched.difference(*may_change)
    changed = changed_in_place(epoch) & touched
    return Liveness(frozenset(written - needed), frozenset(touched), frozenset(fixed), changed)


@lru_cache(_KEPT)
def _parsed(source: str) -> ast.expr:
    return ast.parse(source.strip(), mode="eval").body


@lru_cache(_KEPT)
def _nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree; half a dozen questions are asked of each statement."""
    return tuple(ast.walk(tree))


def changed_in_place(statements: Iterable[ast.stmt]) -> frozenset[str]:
    """The names whose things these statements change in place: `np.random.shuffle(order)`."""
    return frozenset[str]().union(*map(_changed_in_place_by, statements))


@lru_cache(_KEPT)
def _changed_in_place_by(node: ast.stmt) -> frozenset[str]:
    return frozenset(name for part in _nodes(node) for name in _changed_object(part))


def _walk(node: ast.stmt, needed: set[str], written: set[str]) -> None:
    """Take one statement, in order, into the account of names needed and written."""
    if isinstance(node, ast.With):
        for item in node.items:
            needed |= loads(item.context_expr) - written
        for inner in node.body:
            _walk(inner, needed, written)
        return
    needed |= loads(node) - written
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        needed |= {node.target.id} - written
    if isinstance(node, ast.Delete):
        written -= {n.id for n in _nodes(node) if isinstance(n, ast.Name)}
    written |= _surely_bound(node)


def _surely_bound(node: ast.stmt) -> set[str]:
    """Names that a simple statement binds whatever happens (branches and loops bind none)."""
    if isinstance(node, ast.Assign):
        return {name for target in node.targets for name in _targets(target)}
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return _targets(node.target)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return set()


def _targets(target: ast.expr) -> set[str]:
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Tuple | ast.List):
        return {name for element in target.elts for name in _targets(element)}
    if isinstance(target, ast.Starred):
        return _targets(target.value)
    return set()


@lru_cache(_KEPT)
def loads(node: ast.AST) -> frozenset[str]:
    """The names that are read in a tree."""
    names = (n for n in _nodes(node) if isinstance(n, ast.Name))
    return frozenset(n.id for n in names if isinstance(n.ctx, ast.Load))


@lru_cache(_KEPT)
def _named(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in _nodes(node) if isinstance(n, ast.Name))


@lru_cache(_KEPT)
def _changed_in(node: ast.stmt, is_in_epoch: bool) -> frozenset[str]:
    """Names that a statement of the epoch, or a function, binds, changes or gives another name."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    parts = [node] if is_in_epoch else [n for n in _nodes(node) if isinstance(n, inner)]
    insides = [inside for part in parts for inside in _nodes(part)]
    return frozenset(name for inside in insides for name in _changed_by(inside))


def _changed_by(node: ast.AST) -> set[str]:
    """The names that a node binds, changes in place, or whose things it gives another name."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.Assign(value=value) | ast.NamedExpr(value=value) | ast.AnnAssign(value=value):
            return _roots(value)
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated):
            return _roots(iterated)
    return _changed_object(node)


def _changed_object(node: ast.AST) -> set[str]:
    """The names whose things a node changes in place."""
    match node:
        case (
            ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del())
        ):
            return _roots(node)
        case ast.AugAssign(target=target):
            return _roots(target)
        case ast.Call(func=ast.Attribute(attr=method) as func) if _changes_in_place(method):
            return _roots(func).union(*map(_roots, node.args))
        case ast.Call(func=ast.Attribute(attr=method) as func) if method in _CONTAINERS:
            return _roots(func)
        case ast.Call(args=arguments, keywords=keywords) if any(
            k.arg in ("out", "inplace") for k in keywords
        ):
            return set().union(*map(_roots, [*arguments, *(k.value for k in keywords)]))
    return set()


def _changes_in_place(method: str) -> bool:
    """Whether a method so called is known to change its object, or an argument."""
    return method in _MUTATORS or (method.endswith("_") and not method.endswith("__"))


def _roots(node: ast.AST | None) -> set[str]:
    """The names whose very things (or views of them) an expression may stand for."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            return _roots(inner)
        case ast.Call(func=ast.Attribute() as func, args=arguments):
            return _roots(func).union(*map(_roots, arguments))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return set[str]().union(*map(_roots, parts))
        case ast.IfExp(body=body, orelse=orelse):
            return _roots(body) | _roots(orelse)
    return set()


@lru_cache(_KEPT)
def _read_by_functions(statements: tuple[ast.stmt, ...]) -> frozenset[str]:
    """The globals that functions and classes defined here may read (attributes' names too)."""
    tree = ast.Module(body=[*statements], type_ignores=[])
    code = compile(tree, "<setup>", "exec", dont_inherit=True)
    waiting = [c for c in code.co_consts if isinstance(c, CodeType)]
    found: set[str] = set()
    while waiting:
        inner = waiting.pop()
        found |= set(inner.co_names)
        waiting += [c for c in inner.co_consts if isinstance(c, CodeType)]
    return frozenset(found)


Quiet = Callable[[], AbstractContextManager[object]]


class UnheardOutput(io.TextIOWrapper):
    """A stream that counts the characters, and neither encodes nor keeps them."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self.characters = 0

    def write(self, text: str) -> int:
        """Count it."""
        self.characters += len(text)
        return len(text)


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase's code, compiled."""

    name: str
    code: CodeType
    lines: frozenset[int]
    """The lines of the source file that the phase's code stands on."""
    binds: frozenset[str]
    """The names that its code binds."""
    changes: frozenset[str]
    """The names that its code binds, or whose things it changes in place."""


@dataclass(frozen=True, slots=True)
class Expression:
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


@dataclass(frozen=True, slots=True)
class Program:
    """A lesson's code in one mode, compiled, with what a run needs to know of it."""

    name: str
    """The lesson's slug."""
    filename: str
    mode: str
    parameters: tuple[str, ...]
    learning_rate: float
    epochs: int
    batches: int
    warm_up: int
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
    draws: bool = True
    """Whether the code may draw from Python's or NumPy's own random number generators."""
    stopped: dict[str, str] = field(default_factory=dict, compare=False)
    """The reason why an expression is not evaluated again; shared by all modes of a lesson."""
    open_loop: Callable[[str, float], Any] | None = field(default=None, compare=False)
    """Of a script: runs it to its training loop, with a device and a learning rate (0.0: its own);
    returns the Loop."""
    open_probe: Callable[[str], Any] | None = field(default=None, compare=False)
    """Of a script: makes the Loop of a probe on a device, without any names yet."""

    place_of: Callable[[int], str] | None = field(default=None, compare=False)
    """Of a script: a line with the file, as people name it in a notebook."""

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
        """Index in `loop` of the phase after which the gradients are as the update uses them."""
        return gradient_index([phase.name for phase in self.loop])

    @property
    def update_at(self) -> int:
        """Index in `loop` of the phase after which the parameters have moved on."""
        names = [phase.name for phase in self.loop]
        return names.index("Update") if "Update" in names else len(names) - 1

    def pending(self, done: int) -> frozenset[str]:
        """The names that have no value of this batch yet when `done` of its phases have run.

        The names that each epoch makes anew and that a later phase will bind (what they hold
        is left over from before), and `gradient` until there is one.
        """
        later = [*self.loop[done:], *([self.report] if self.report else [])]
        names = frozenset(name for phase in later for name in phase.binds) & self.liveness.dead
        return names | {"gradient"} if done <= self.gradient_at else names

    def phase_of_line(self, line: int) -> str:
        """The phase whose code stands on this line of the file; "" if none does."""
        phases = [self.setup, *self.loop, self.report]
        return next((p.name for p in phases if p is not None and line in p.lines), "")


def programs_of(
    lesson: Lesson, modes: Iterable[str] | None = None, without: Collection[str] = ()
) -> dict[str, Program]:
    """The lesson's program in each of its modes (or in those of `modes`), in order.

    Expressions whose labels are in `without` have no value. Raises RunError if its code can't be
    compiled: a file's has been, a learner's may not.
    """
    try:
        programs = {mode: _program(lesson, mode) for mode in modes or lesson.modes}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refusal(lesson) or RunError(f"{lesson.path}: {error}") from error
    stopped = {
        e.source: "it is not evaluated: it did not come to its end"
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
        volatile=(_bound(epoch) | alive.changed)
        - alive.dead
        - {*lesson.parameters[mode], "np", "torch"},
        draws=any(map(_may_draw, (*setup, *epoch, *map(_parsed, shown)))),
    )


def boxed_of(lesson: Lesson) -> dict[str, tuple[Expression, ...]]:
    r"""By phase: the expressions in its formulas' `\boxed{…}`."""
    filename = str(lesson.path)
    return {
        phase: tuple(_expression(e, e, filename, line) for e, line in lines.items())
        for phase, lines in lesson.boxed_by_phase().items()
    }


def _tree(fences: Iterable[Fence]) -> tuple[ast.stmt, ...]:
    return tuple(node for fence in fences for node in _statements(fence.code, fence.line))


@lru_cache(_KEPT)
def _statements(code: str, line: int) -> Sequence[ast.stmt]:
    """The statements of code that begins on this line. They are shared: nothing changes them."""
    return ast.parse("\n" * (line - 1) + code).body


@lru_cache(_KEPT)
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


@lru_cache(_KEPT)
def _code_phase(name: str, body: tuple[ast.stmt, ...], filename: str) -> Phase:
    lines = {n for stmt in body for n in range(stmt.lineno, (stmt.end_lineno or stmt.lineno) + 1)}
    binds = _bound(body)
    changes = binds | changed_in_place(body)
    return Phase(name, _compile([*body], filename), frozenset(lines), binds, changes)


@lru_cache(_KEPT)
def _expression(label: str, source: str, filename: str, line: int) -> Expression:
    """It is compiled as code of the file, so that any stack tells its line and its name."""
    tree = ast.parse(source.strip(), filename, "eval")
    ast.increment_lineno(tree, line - 1)
    calls = any(isinstance(node, ast.Call) for node in _nodes(tree))
    names = loads(tree)
    code = compile(tree, filename, "eval", dont_inherit=True)
    code = code.replace(co_name=VALUE_OF + one_line(label))
    return Expression(label, source, line, code, names, calls)


@lru_cache(_KEPT)
def _may_draw(tree: ast.AST) -> bool:
    """Whether code mentions `random` or could get at it by an import: without, it can't draw."""
    ways = (ast.Import, ast.ImportFrom)
    words = {"random", "eval", "exec", "getattr", "__import__"}
    return any(
        isinstance(n, ways)
        or (isinstance(n, ast.Name) and n.id in words)
        or (isinstance(n, ast.Attribute) and n.attr in words)
        for n in _nodes(tree)
    )


def _bound(trees: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset[str]().union(*map(_bound_in, trees))


@lru_cache(_KEPT)
def _bound_in(tree: ast.AST) -> frozenset[str]:
    """The names that stand in a tree to be bound."""
    names = (n for n in _nodes(tree) if isinstance(n, ast.Name))
    return frozenset(n.id for n in names if isinstance(n.ctx, ast.Store))
