"""A loop that runs a script's phases by themselves, in a copy of its names: for looking.

The graph, plots of the loss and finite differences need it. The copy shares nothing with the script
that the phases could change, so that looking changes nothing in the run. Large data are shared: the
phases only read them. Only phases that stand in one block, one after the other, can be run so:
those of a batch. A phase that leaves its block (`continue`, `return`) has no code of its own.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from tutor.lesson.code_checks import codes_in
from tutor.lesson.model import LOSS, PREDICT, RESET
from tutor.python_syntax import all_blocks, first_line, flat_targets
from tutor.script.data_flow import reads, text_of, variable
from tutor.script.instrument import HANDED_ON, PREFIX, STOPS
from tutor.script.outline import ScriptPhase, TrainingLoop
from tutor.script.parameters import NUMBERS, ParameterTable, unwrapped
from tutor.training.liveness import changed_in_place, liveness, loads
from tutor.training.loop import Loop
from tutor.training.program import Phase, Program
from tutor.training.snapshot import Namespace, SetupNamespace

_LARGE_DATA = 2**22
"""Bytes of memory above which data that need no gradient are shared, not copied."""


class ProbeLoop(Loop):
    """A loop that runs a script's phases in a copy of its names."""

    def __init__(
        self,
        program: Program,
        outline: TrainingLoop,
        device: str,
        table: ParameterTable,
        sums: Collection[str] = (),
    ) -> None:
        """`sums`: the expressions that a batch adds to, found by `sums_in`."""
        namespace: Namespace = {}
        super().__init__(program, device, namespace, SetupNamespace(namespace))
        self._table = table
        self._outline = outline
        self._sums = sums
        self._start: dict[str, Any] = {}
        """The values of these sums as the batch begins."""

    def adopt(self, names: Namespace) -> None:
        """Go on in a copy of these names."""
        self.namespace.clear()
        # Functions of the script that the phases call have hooks in them.
        self.namespace.update({STOPS: False, **dict.fromkeys(HANDED_ON, _itself)})
        self.namespace.update(_copied_names(names, names, self.program.filename, self.namespace))
        self._table.look(self.namespace)
        self._table.computed = ()  # a gradient is what its expression is where the probe stands

        found = {sum_: self._table.value(sum_, self.namespace) for sum_ in self._sums}
        self._start = {
            sum_: copy.deepcopy(value)
            for sum_, value in found.items()
            if isinstance(value, (*NUMBERS, list))
        }

    def begin_batch_again(self) -> None:
        """Let sums over batches be as they were: each evaluation adds to them."""
        for sum_, value in self._start.items():
            self.bind(sum_, copy.deepcopy(value))

    def parameters(self) -> dict[str, Any]:
        """The parameters by the expressions that name them."""
        return self._table.read(self.namespace)

    def gradients_now(self) -> dict[str, Any]:
        """Each parameter's gradient as it is now, by the same expressions."""
        return self._table.read_gradients(self.namespace)

    def loss(self) -> Any:
        """The value of the expression whose gradient is taken; None if it has none."""
        return unwrapped(self._table.value(self._outline.loss, self.namespace))

    def bind(self, name: str, value: Any) -> None:
        """Give an expression of the script another value."""
        self.namespace[f"{PREFIX}value"] = value  # of two dicts, `w = …` would bind a local name
        exec(f"{name} = {PREFIX}value", self.namespace)
        del self.namespace[f"{PREFIX}value"]

    def set_learning_rate(self, old: float, new: float) -> None:
        """The copy has the rate of the script."""


def _itself(thing: Any, *_more: Any) -> Any:
    return thing


def own_names_read(statements: Iterable[ast.stmt]) -> frozenset[str]:
    """The names that statements read themselves."""
    return frozenset(name for s in statements for name in (*loads(s), *_added_to(s)))


def sums_in(loop: TrainingLoop, phases: Mapping[int, Sequence[ast.stmt]]) -> frozenset[str]:
    """The expressions that the evaluation of a batch's loss reads first, and then changes.

    `phases`: the statements of the loop's phases. `sse` of `sse += err ** 2`, `h` of
    `h = tanh(a * x + b * h)`, `self.errors` of `self.errors.append(err)`.
    """
    batch = tuple(stmt for group in phases.values() for stmt in group)
    names = [loop.phases[number].name for number in phases]
    evaluated = [
        node
        for name, group in zip(names, phases.values(), strict=True)
        if name in (PREDICT, LOSS, RESET)
        for stmt in group
        for node in ast.walk(stmt)
    ]
    rewritten = liveness((), batch, ()).rewritten
    return frozenset(text_of(t) for t in _changed(evaluated)) - rewritten


def _changed(nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    """The names, attributes and elements that code changes and reads, without any calls."""
    for node in nodes:
        found: list[ast.expr] = []
        match node:
            case ast.AugAssign(target=target):
                found = [target]
            case ast.Assign():
                found = [t for t in flat_targets(node) if variable(t) in reads(node)]
            case ast.Call(func=ast.Attribute(value=value, attr="append" | "extend")):
                found = [value]
        yield from (f for f in found if not any(isinstance(n, ast.Call) for n in ast.walk(f)))


def names_for_probe(
    read: Collection[str] | None, names: Mapping[str, Any], filename: str
) -> dict[str, Any] | None:
    """Copies of the names that a batch needs, if these are those that it reads; None of None."""
    if read is None:
        return None
    home: dict[str, Any] = {}
    home.update(_copied_names(names, _names_needed(read, names), filename, home))
    return home


def _names_needed(read: Collection[str], names: Mapping[str, Any]) -> frozenset[str]:
    """Names that are read, and those that the functions and classes so named read."""
    waiting = list(read)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found or name not in names:
            continue
        found.add(name)
        waiting += _read_by(names[name])
    return frozenset(found)


def _added_to(statement: ast.stmt) -> list[str]:
    """The names that a statement reads in order to bind them anew: `total` in `total += 1`."""
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.AugAssign))
    return [node.target.id for node in nodes if isinstance(node.target, ast.Name)]


def _read_by(thing: Any) -> list[str]:
    if isinstance(thing, FunctionType):
        return list(_names_in_code(thing.__code__))
    if isinstance(thing, type) or not callable(thing):
        return []
    methods = [m for cls in type(thing).__mro__ for m in vars(cls).values()]
    own = [m for m in methods if isinstance(m, FunctionType) and m.__module__ == "__main__"]
    return [name for method in own for name in _names_in_code(method.__code__)]


def _names_in_code(code: CodeType) -> set[str]:
    return {name for part in codes_in(code) for name in part.co_names}


def _copied_names(
    names: Mapping[str, Any], wanted: Collection[str], filename: str, home: Namespace
) -> Namespace:
    """Copies of the things that these names stand for; without those that can't be copied.

    What two names share is shared in the copy. Functions of the file look for their globals in
    `home`.
    """
    copies: Namespace = {}
    memo: dict[int, Any] = {}
    for name in wanted:
        thing = names[name]
        try:
            copies[name] = _copied_thing(thing, memo, filename, home)
        except KeyboardInterrupt:
            raise
        except Exception:  # noqa: BLE001 - a graph, a file, an iterator: the phases do without it
            continue
    return copies


def _copied_thing(thing: Any, memo: dict[int, Any], filename: str, home: Namespace) -> Any:
    if isinstance(thing, ModuleType | type):
        return thing
    if isinstance(thing, FunctionType):
        return _copied_function(thing, memo, filename, home)
    if _is_large_data(thing):
        return thing
    copied = copy.deepcopy(thing, memo)
    if isinstance(thing, torch.optim.Optimizer):
        # Its own way to be copied leaves out what a subclass has added: `_params` of LBFGS.
        more = {k: v for k, v in vars(thing).items() if k not in vars(copied)}
        vars(copied).update(copy.deepcopy(more, memo))
    return copied


def _is_large_data(thing: Any) -> bool:
    """Whether a copy would be large; of a tensor, all of its storage counts."""
    if isinstance(thing, torch.Tensor) and thing.layout is torch.strided:
        return thing.untyped_storage().nbytes() > _LARGE_DATA and not thing.requires_grad
    return isinstance(thing, np.ndarray) and thing.nbytes > _LARGE_DATA


def _copied_function(
    function: FunctionType, memo: dict[int, Any], filename: str, home: Namespace
) -> Any:
    if function.__code__.co_filename != filename:
        return function
    if id(function) in memo:
        return memo[id(function)]
    cells = tuple(CellType() for _ in function.__closure__ or ())
    new = FunctionType(
        function.__code__, home, function.__name__, function.__defaults__, cells or None
    )
    new.__kwdefaults__ = function.__kwdefaults__
    memo[id(function)] = new
    for cell, old in zip(cells, function.__closure__ or (), strict=True):
        try:
            cell.cell_contents = _copied_thing(old.cell_contents, memo, filename, home)
        except ValueError:  # it is empty
            continue
    return new


# ── The code of the phases ────────────────────────────────────────────────────────────────

NOTHING = compile("", "<phase>", "exec")


def phases_with_code(source: str, filename: str, loop: TrainingLoop) -> tuple[Phase, ...]:
    """The loop's phases; those that a probe can run, with their code."""
    statements = phase_statements(source, loop)
    return tuple(
        _phase(phase, statements.get(number, ()), filename)
        for number, phase in enumerate(loop.phases)
    )


def phase_statements(source: str, loop: TrainingLoop) -> dict[int, tuple[ast.stmt, ...]]:
    """The number of each phase of a batch → its statements; empty if these are not in one block."""
    numbers = {(p.line, p.column): number for number, p in enumerate(loop.phases)}
    first = next((n for n, p in enumerate(loop.phases) if p.starts_batch), 0)
    for block in all_blocks(ast.parse(source)):
        found = [numbers.get((first_line(stmt), stmt.col_offset)) for stmt in block]
        if first in found:
            return _grouped(block, found)
    return {}


def for_targets(source: str) -> frozenset[str]:
    """The names that the file's `for` loops and comprehensions bind, and nothing else does."""
    nodes = list(ast.walk(ast.parse(source)))
    loops = (n.target for n in nodes if isinstance(n, ast.For | ast.comprehension))
    inside = [n for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)]
    bound = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return frozenset(n.id for n in inside) - frozenset(n.id for n in bound if n not in inside)


def _grouped(block: list[ast.stmt], found: list[int | None]) -> dict[int, tuple[ast.stmt, ...]]:
    groups: dict[int, tuple[ast.stmt, ...]] = {}
    now: int | None = None
    for stmt, number in zip(block, found, strict=True):
        now = number if number is not None else now
        if now is not None:
            groups[now] = (*groups.get(now, ()), stmt)
    return groups


def _phase(phase: ScriptPhase, statements: tuple[ast.stmt, ...], filename: str) -> Phase:
    lines = frozenset(range(phase.line, phase.end_line + 1))
    try:
        code = compile(ast.Module([*statements], []), filename, "exec", dont_inherit=True)
    except SyntaxError:  # `continue`, `break` or `return` outside of its loop
        return Phase(phase.name, NOTHING, lines, frozenset(), frozenset())
    nodes = (node for stmt in statements for node in ast.walk(stmt))
    names = (n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    binds = frozenset(name.id for name in names)
    return Phase(phase.name, code, lines, binds, binds | changed_in_place(statements))
