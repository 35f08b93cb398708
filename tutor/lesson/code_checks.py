"""Checks of a lesson's Python and formulas that run neither; the table "who does what"."""

from __future__ import annotations

import ast
import builtins
import dis
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from types import CodeType

import msgspec

from tutor.errors import FormulaError
from tutor.lesson.model import (
    AUTOGRAD,
    GRADIENT,
    MANUAL,
    MODEL,
    OPTIMIZER,
    PHASES_IN_ORDER,
    PREDICT,
    SETUP,
    SYNCHRONIZE,
    UPDATE,
    DataNames,
    DiagnosticList,
    Fault,
    Lesson,
    Section,
    fences_of,
)
from tutor.python_syntax import (
    FUNCTIONS,
    dotted_name,
    imported_by,
    is_gradient_function,
    made_thing,
    pairs_of,
    root_name,
)

_KEPT = 1024
"""Pieces of code whose names are kept: a lesson's code is asked for them again and again."""

_ON_LINE = re.compile(r"\bon line (\d+)")


class PythonProblem(msgspec.Struct, frozen=True):
    """The reason why a piece of code is not Python."""

    line: int
    """1-based, in the file that the code is from."""
    reason: str
    """A code that `python_reason` has words for, or the compiler's own words."""


@lru_cache(_KEPT)
def why_not_code(code: str, first: int = 1) -> PythonProblem | None:
    """The reason why the code can't be compiled, or None; `first` is the line it begins on."""
    bad = _why_not(code, "exec") or _future_import(code)
    if bad is None:
        return None
    # Python names lines in its messages too: "… after 'if' statement on line 1".
    reason = _ON_LINE.sub(lambda match: f"on line {int(match[1]) + first - 1}", bad.reason)
    return PythonProblem(bad.line + first - 1, reason)


def _future_import(code: str) -> PythonProblem | None:
    """A `from __future__ import`, which holds in one phase's code and in no exported script."""
    for node in _nodes(code):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return PythonProblem(node.lineno, "future_import")
    return None


def why_not_expression(expression: str) -> str | None:
    """The reason why the text is not one Python expression, or None."""
    bad = _why_not(expression.strip(), "eval")
    return bad.reason if bad else None


def _why_not(code: str, kind: str) -> PythonProblem | None:
    try:
        with _quiet():
            compile(code, "<lesson>", kind, dont_inherit=True)
    except SyntaxError as error:
        last = 1 + code.rstrip("\n").count("\n")
        return PythonProblem(min(max(error.lineno or 1, 1), last), error.msg)
    except (ValueError, OverflowError) as error:  # NUL characters, lone surrogates
        return PythonProblem(1, str(error))
    except (RecursionError, MemoryError):  # the compiler raises these for deep nesting
        return PythonProblem(1, "nested_too_deeply")
    return None


def is_same_code(code: str, other: str) -> bool:
    """Whether two pieces of code do the same to the letter, comments and layout aside.

    What does not compile is only the same as itself.
    """
    if why_not_code(code) or why_not_code(other):
        return code == other
    with _quiet():
        return ast.dump(ast.parse(code)) == ast.dump(ast.parse(other))


def bound_names(codes: Iterable[str]) -> frozenset[str] | None:
    """The names that pieces of code bind at their top level, by any form of binding.

    None if that can't be known, because one of them imports `*`. The code must compile.
    """
    names: set[str] = set()
    for code in codes:
        bound = _bound_in(code)
        if bound is None:
            return None
        names |= bound
    return frozenset(names)


@lru_cache(_KEPT)
def _bound_in(code: str) -> frozenset[str] | None:
    if _imports_star(code):
        return None
    with _quiet():
        compiled = compile(code, "<lesson>", "exec", dont_inherit=True)
    return _operands(compiled, "STORE_NAME") | _all_operands(compiled, "STORE_GLOBAL")


def binds_data(data: DataNames, sections: Sequence[Section], mode: str) -> bool:
    """Whether, in this mode, Setup binds the input and the target, and Predict the prediction."""
    setup, predict = bound_in(sections, SETUP, mode), bound_in(sections, PREDICT, mode)
    given = setup is None or {data.input, data.target} <= setup
    return given and (predict is None or data.prediction in predict)


def bound_in(sections: Sequence[Section], phase: str, mode: str) -> frozenset[str] | None:
    """The names that a phase's code binds; None if that can't be known."""
    fences = [f for s in sections if s.phase == phase for f in s.fences(mode)]
    return bound_names(fence.code for fence in fences)


def free_names(expression: str) -> frozenset[str]:
    """The names that an expression reads from its namespace. The expression must compile."""
    with _quiet():
        compiled = compile(expression.strip(), "<lesson>", "eval", dont_inherit=True)
    read = _all_operands(compiled, "LOAD_NAME", "LOAD_GLOBAL")
    return read - _all_operands(compiled, "STORE_NAME", "STORE_GLOBAL")


def _all_operands(code: CodeType, *operations: str) -> frozenset[str]:
    """The names that these bytecode operations have in code and in all functions within it.

    Bytecode says it alike in all versions of Python; symbol tables count the variable of a
    comprehension as the module's own since Python 3.12.
    """
    return frozenset[str]().union(*(_operands(part, *operations) for part in codes_in(code)))


def _operands(code: CodeType, *operations: str) -> frozenset[str]:
    instructions = dis.get_instructions(code)
    return frozenset(str(i.argval) for i in instructions if i.opname in operations)


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A piece of code, then the code of the functions and classes that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def _imports_star(code: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in _nodes(code)
    )


def _nodes(code: str) -> Iterator[ast.AST]:
    with _quiet():
        return ast.walk(ast.parse(code))


def _quiet() -> warnings.catch_warnings[None]:
    """Warnings off: one about an odd escape in a string is of no use to the learner."""
    return warnings.catch_warnings(action="ignore")


def computes_gradient(codes: Iterable[str]) -> bool:
    """Whether some of a mode's code asks PyTorch for a gradient. The code must compile."""
    return _computes_gradient(tuple(codes))


@lru_cache(_KEPT)
def _computes_gradient(codes: tuple[str, ...]) -> bool:
    nodes = [node for code in codes for node in _nodes(code)]
    names = _BoundNames(nodes)
    return any(isinstance(node, ast.Call) and names.take_gradient(node) for node in nodes)


@lru_cache(_KEPT)
def stores_grad(code: ast.AST) -> bool:
    """Whether code assigns a gradient to `.grad` of anything; to assign None deletes one."""
    for node in ast.walk(code):
        match node:
            case ast.Assign(value=ast.Constant(value=None)):
                continue
            case ast.Assign(targets=targets):
                pass
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets = [target]
            case _:
                continue
        parts = [part for target in targets for part in ast.walk(target)]
        if any(isinstance(part, ast.Attribute) and part.attr == "grad" for part in parts):
            return True
    return False


GIVEN = ("np", "torch", "device", "learning_rate", "batch", "gradient", "gradient_now")
"""The names that a lesson's code, or its formulas, have without binding them."""

GIVEN_ON_RANKS = ("rank", "world_size", "dist")
"""The names that code on several ranks has besides these."""

_BY_PARAMETER = ("gradient", "gradient_now", "was")
"""Functions of a parameter's name, in quotes."""


def known_names(lesson: Lesson, modes: Iterable[str], more: Iterable[str] = ()) -> frozenset[str]:
    """The names that code of some of these modes, or `more` code, binds, and those that are given.

    Empty if that can't be known.
    """
    wanted = set(modes)
    codes = [f.code for f in fences_of(lesson.sections) if not f.modes or wanted & {*f.modes}]
    bound = bound_names([*codes, *more])
    given = GIVEN + GIVEN_ON_RANKS if lesson.workers > 1 else GIVEN
    return frozenset() if bound is None else bound.union(given)


def slips(expression: str, known: Collection[str], parameters: Collection[str]) -> Iterator[Fault]:
    """Unknown names in an expression that compiles; of `known` names none if that is empty."""
    tree = ast.parse(expression.strip(), mode="eval")
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(ast.Name(function), ast.Constant(str(name))) if (
                function in _BY_PARAMETER
            ):
                if name not in parameters:
                    similar = [f'{function}["{near}"]' for near in _similar(name, parameters)]
                    yield Fault("unknown_parameter", {"name": name, "similar": similar})
    if known:
        for name in sorted(free_names(expression)):
            if name not in known and not hasattr(builtins, name):
                yield Fault("unknown_name", {"name": name, "similar": _similar(name, known)})


def _similar(name: str, known: Collection[str]) -> list[str]:
    """The known name that is most like another one; none if none is."""
    return get_close_matches(name, sorted(known), n=1, cutoff=0.5)


def check(latex: str, line: int, diagnostics: DiagnosticList) -> tuple[str, ...]:
    r"""The expressions in its `\boxed{…}`; what is wrong is added to `diagnostics`, on `line`."""
    from tutor import formula  # noqa: PLC0415 - a list of lessons does without

    try:
        parsed = formula.parse(latex)
    except FormulaError as error:
        diagnostics.add(line, "formula_does_not_parse", error=Fault(error.code, error.values))
        return ()
    for piece in parsed.unsupported:
        diagnostics.warn(line, "formula_not_drawable", piece=piece)
    for expression in parsed.boxed:
        if reason := why_not_expression(expression):
            values = {"expression": expression, "reason": reason}
            diagnostics.add(line, "boxed_is_no_expression", **values)
    return tuple(parsed.boxed)


# ── Who does what ───────────────────────────────────────────────────────────────────

_NETWORKS = "torch.nn"
_DATA_PARALLEL = "DistributedDataParallel"
"""The class that averages the gradients of all ranks while backward still runs."""


_FOUND_IN_SCRIPTS = {
    (GRADIENT, MANUAL): True,
    **{(GRADIENT, mode): False for mode in (AUTOGRAD, OPTIMIZER, MODEL)},
    **{(UPDATE, mode): True for mode in (MANUAL, AUTOGRAD)},
    (UPDATE, OPTIMIZER): False,
}
"""Whether a script computes a phase by hand, where its mode, read from its code, says that.

A call of `backward` or `step` doesn't: it may be a method of the script's own classes, or stand in
a function. With a module's mode, the update may be either.
"""


class LadderRow(msgspec.Struct, frozen=True):
    """One row of the table "who does what"."""

    phase: str
    by_hand: Mapping[str, bool | None]
    """For each mode: True by hand, False by PyTorch, None where the mode has no such phase."""


def ladder(lesson: Lesson) -> tuple[LadderRow, ...]:
    """A row for each of PHASES_IN_ORDER that the lesson has."""
    code = {mode: _Code(lesson, mode) for mode in lesson.modes}
    return tuple(
        LadderRow(phase, {mode: code[mode].is_by_hand(phase) for mode in code})
        for phase in PHASES_IN_ORDER
        if lesson.phase(phase) is not None
    )


def parsed(code: str) -> ast.Module:
    """The syntax tree of code; an empty one where it can't be parsed."""
    try:
        with _quiet():
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):  # a learner's own, not finished yet
        return ast.Module([], [])


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _nodes_by_phase(lesson: Lesson, nodes: Iterable[ast.AST]) -> dict[str, list[ast.AST]]:
    """The nodes of a script by the phase whose lines they are on."""
    phase_of = {n: s.phase for s in lesson.sections if s.phase for n in s.lines}
    found: dict[str, list[ast.AST]] = {s.phase: [] for s in lesson.sections if s.phase}
    for node in nodes:
        if phase := phase_of.get(getattr(node, "lineno", 0)):
            found[phase].append(node)
    return found


class _BoundNames:
    """The meaning of the names that code binds: imports, functions, values."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self._imports = {"np": "numpy"}
        self.functions: dict[str, ast.AST] = {}
        self.values: dict[str, list[ast.expr]] = defaultdict(list)
        for node in nodes:
            self._imports |= imported_by(node)
            if isinstance(node, FUNCTIONS):
                self.functions[node.name] = node
            elif isinstance(node, ast.Assign):
                self._add_values(node)

    def _add_values(self, node: ast.Assign) -> None:
        for target, value in (p for t in node.targets for p in pairs_of(t, node.value)):
            if isinstance(target, ast.Name) and value is not None:
                self.values[target.id].append(value)

    @property
    def has_torch(self) -> bool:
        """Whether the code imports PyTorch."""
        return any(dotted.startswith("torch") for dotted in self._imports.values())

    def dotted(self, node: ast.expr) -> str:
        """The dotted name of an expression, with imported names in full; empty if it has none."""
        return dotted_name(node, self._imports)

    def take_gradient(self, call: ast.Call) -> bool:
        """Whether a call lets PyTorch compute a gradient."""
        return (
            _method(call) == "backward"
            or self.dotted(call.func).startswith("torch.autograd.")
            or is_gradient_function(call.func, self._imports, self.values)
        )

    def calls_in(self, nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
        """The calls in code, and in the functions of these names that it calls by their names."""
        seen, waiting = set[str](), list(nodes)
        while waiting:
            node = waiting.pop()
            if not isinstance(node, ast.Call):
                continue
            yield node
            match node.func:
                case ast.Name(id=name) if name in self.functions and name not in seen:
                    seen.add(name)
                    waiting += ast.walk(self.functions[name])


class _Code:
    """All the code of a mode, and the names in it that stand for modules."""

    def __init__(self, lesson: Lesson, mode: str) -> None:
        self._mode_of_script = mode if lesson.script is not None else ""
        if lesson.script is not None:
            nodes = list(ast.walk(parsed(lesson.source)))
            self._phases = _nodes_by_phase(lesson, nodes)
        else:
            self._phases = {
                section.phase: [n for f in fences for n in ast.walk(parsed(f.code))]
                for section in lesson.sections
                if section.phase and (fences := section.fences(mode))
            }
            nodes = [node for found in self._phases.values() for node in found]
        self._names = names = _BoundNames(nodes)
        self._has_torch = lesson.script is None or names.has_torch
        self._classes = {
            node.name
            for node in nodes
            if isinstance(node, ast.ClassDef)
            and any(names.dotted(base).startswith(_NETWORKS) for base in node.bases)
        }
        calls = [node.func for node in nodes if isinstance(node, ast.Call)]
        self._is_data_parallel = any(names.dotted(f).endswith(_DATA_PARALLEL) for f in calls)
        self._modules: set[str] = set()
        for name, values in names.values.items():
            if any(map(self._makes_a_module, values)):
                self._modules.add(name)

    def is_by_hand(self, phase: str) -> bool | None:
        """Whether the mode computes a phase by hand; None where it has no code for it."""
        if phase == SYNCHRONIZE and self._is_data_parallel:
            return False
        if phase not in self._phases:
            return None
        if not self._has_torch:
            return True
        if (found := _FOUND_IN_SCRIPTS.get((phase, self._mode_of_script))) is not None:
            return found
        calls = self._names.calls_in(self._phases[phase])
        if phase == GRADIENT:
            return not any(map(self._names.take_gradient, calls))
        if phase == SYNCHRONIZE:
            return True
        if phase == UPDATE:
            return not any(_method(call) == "step" for call in calls)
        return not any(map(self._is_of_a_network, calls))

    def _is_of_a_network(self, call: ast.Call) -> bool:
        """Whether a call is of a module, or of a function of torch.nn."""
        return (
            self._names.dotted(call.func).startswith(_NETWORKS)
            or root_name(call.func) in self._modules
        )

    def _makes_a_module(self, value: ast.expr) -> bool:
        """Whether an expression is, or holds, a module or a function of torch.nn."""
        if isinstance(value, ast.List | ast.Tuple):
            return any(map(self._makes_a_module, value.elts))
        if isinstance(value, ast.Name) and value.id in self._modules:
            return True
        value = made_thing(value)
        name = self._names.dotted(value.func if isinstance(value, ast.Call) else value)
        is_own = name in self._classes and isinstance(value, ast.Call)
        return is_own or (name.startswith(f"{_NETWORKS}.") and not name.endswith(".Parameter"))
