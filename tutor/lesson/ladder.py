"""The table "who does what": which phases a mode's code does by hand, and which PyTorch does.

By PyTorch is a gradient of its autograd, an update by an optimizer's `step`, and a prediction
or a loss that a module or a function of `torch.nn` computes. Everything else is by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from tutor.lesson.model import LADDER_PHASES, LadderRow, Lesson

_AUTOGRAD = ("torch.autograd", "torch.func")
_NETWORKS = "torch.nn"


def ladder(lesson: Lesson) -> tuple[LadderRow, ...]:
    """A row for each phase of LADDER_PHASES that the lesson has."""
    code = {mode: _Code(_trees(lesson, mode)) for mode in lesson.modes}
    return tuple(
        LadderRow(name, {mode: _is_by_hand(lesson, name, mode, code[mode]) for mode in code})
        for name in LADDER_PHASES
        if lesson.phase(name) is not None
    )


def _trees(lesson: Lesson, mode: str) -> list[ast.Module]:
    sections = (section for section in lesson.sections if section.phase)
    return [_parsed(fence.code) for section in sections for fence in section.fences(mode)]


def _parsed(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):  # a learner's own, not finished yet
        return ast.Module([], [])


def _is_by_hand(lesson: Lesson, phase: str, mode: str, code: _Code) -> bool | None:
    section = lesson.phase(phase)
    fences = section.fences(mode) if section is not None else ()
    if not fences:
        return None
    calls = [n for f in fences for n in ast.walk(_parsed(f.code)) if isinstance(n, ast.Call)]
    if phase == "Gradient":
        return not any(map(code.is_autograd, calls))
    if phase == "Update":
        return not any(_method(call) == "step" for call in calls)
    return not any(map(code.is_of_a_network, calls))


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


class _Code:
    """All the code of a mode: what its imports mean, and which names stand for modules."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        self._means = {"torch": "torch", "np": "numpy"}
        for node in nodes:
            self._means.update(_imported(node))
        self._classes = {
            node.name
            for node in nodes
            if isinstance(node, ast.ClassDef)
            and any(self._dotted(base).startswith(_NETWORKS) for base in node.bases)
        }
        self._modules: set[str] = set()
        for node in nodes:
            for target, value in _assigned(node):
                if isinstance(target, ast.Name) and self._makes_a_module(value):
                    self._modules.add(target.id)

    def is_autograd(self, call: ast.Call) -> bool:
        """Whether a call lets PyTorch compute a gradient."""
        return _method(call) == "backward" or self._dotted(call.func).startswith(_AUTOGRAD)

    def is_of_a_network(self, call: ast.Call) -> bool:
        """Whether a call is of a module, or of a function of torch.nn."""
        return self._dotted(call.func).startswith(_NETWORKS) or _root(call.func) in self._modules

    def _makes_a_module(self, value: ast.expr) -> bool:
        """Whether an expression is, or holds, a module or a function of torch.nn."""
        if isinstance(value, ast.List | ast.Tuple):
            return any(map(self._makes_a_module, value.elts))
        called = value.func if isinstance(value, ast.Call) else value
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Call):
            return self._makes_a_module(called.value)  # Net().to(device)
        name = self._dotted(called)
        is_own = name in self._classes and isinstance(value, ast.Call)
        return is_own or (name.startswith(f"{_NETWORKS}.") and not name.endswith(".Parameter"))

    def _dotted(self, node: ast.expr) -> str:
        """`torch.nn.Linear` for `nn.Linear`, by the imports; "" for any other expression."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self._means.get(node.id, node.id), *names])


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import binds, and what they mean."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Target and value, name by name where several are assigned at once."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        parts: Sequence[ast.expr] = target.elts if isinstance(target, ast.Tuple) else ()
        if isinstance(node.value, ast.Tuple) and len(parts) == len(node.value.elts):
            yield from zip(parts, node.value.elts, strict=True)
        else:
            yield target, node.value


def _root(node: ast.expr) -> str:
    """`layers` of `layers[0]`; `model` of `model.forward`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
