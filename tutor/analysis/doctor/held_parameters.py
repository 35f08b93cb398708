"""Parameters that are not trained: no optimizer holds them, or the name has another tensor now."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tutor.analysis.doctor.rule import (
    BackwardPass,
    DoctorRule,
    ExaminedStep,
    Patient,
    extreme_of,
    nonzero_grad,
)
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.graph_words import label_of
from tutor.protocol.inspections import CodeFix, DoctorFinding, Evidence
from tutor.python_syntax import last_line


@dataclass(frozen=True, slots=True)
class _Hidden:
    """A tensor that a module holds, and has not registered."""

    label: str
    attribute: str
    """The attribute of `self` that holds it: `layers`."""
    tensor: torch.Tensor
    container: Any
    """The list or dict that holds the tensor; the tensor itself, if it is an attribute."""
    registered: int
    """The number of parameters that the module has registered."""


class HeldParametersRule(DoctorRule):
    """Leaves that the loss reaches, and that no update changes, where an optimizer makes steps.

    Layers in a plain list, and tensors that a module does not register; an optimizer that holds
    tensors of a model that was replaced; parameters that it was not given.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._gradients: dict[int, float] = {}
        """The id of a leaf → the number of its gradient that is farthest from 0."""

    def after_backward(self, backward: BackwardPass) -> None:
        """Note the gradients of the leaves."""
        for key, leaf in self.patient.leaves.items():
            if (gradient := nonzero_grad(leaf.tensor)) is not None:
                self._gradients[key] = extreme_of(gradient)

    def at_end(self) -> Iterable[DoctorFinding]:
        """The parameters that are left out, if any: one finding for each reason."""
        left = {
            key
            for key, leaf in self.patient.leaves.items()
            if key in self._gradients and leaf.is_unchanged()
        }
        hidden = [one for one in self._hidden() if id(one.tensor) in left]
        yield from self._not_registered(hidden)
        held = self.patient.held()
        left -= {*(id(one.tensor) for one in hidden), *held}
        if left and self.patient.stepped:
            labels = {n: t for n, t in self.patient.parameters().items() if id(t) in left}
            yield from self._stale(labels, held) or self._not_held(labels, held)

    # ── Not registered ──────────────────────────────────────────────────────────────

    def _hidden(self) -> Iterator[_Hidden]:
        for name, module in self.patient.modules().items():
            known = set(map(id, module.parameters()))
            for path, inner in module.named_modules():
                for attribute, thing in vars(inner).items():
                    if attribute.startswith("_") and attribute.endswith(("s", "hook")):
                        continue  # PyTorch's own: _parameters, _modules, _forward_hooks
                    label = label_of(name, f"{path}.{attribute}" if path else attribute)
                    for at, tensor in _leaves_in(label, thing):
                        if id(tensor) not in known:
                            yield _Hidden(at, attribute, tensor, thing, len(known))

    def _not_registered(self, hidden: list[_Hidden]) -> Iterator[DoctorFinding]:
        """One finding for each attribute."""
        by_attribute: dict[str, list[_Hidden]] = {}
        for one in hidden:
            by_attribute.setdefault(one.attribute, []).append(one)
        for attribute, group in by_attribute.items():
            first = group[0]
            in_list = isinstance(first.container, list | tuple | dict)
            yield DoctorFinding(
                code="layers_in_list" if in_list else "tensor_not_registered",
                line=self.source.line_of(f"self.{attribute}"),
                variable=first.label,
                numbers={
                    "registered": first.registered,
                    "left_out": len(group),
                    **self._proof(first.tensor),
                },
                lesson="registered",
                exercise="layers-in-a-list" if in_list else "register-it",
                fix=self._registering(first),
            )

    def _registering(self, one: _Hidden) -> CodeFix | None:
        source, thing = self.source, one.container
        statement = next(source.assignments(f"self.{one.attribute}"), None)
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.expr):
            return None
        kind = "Parameter"
        if isinstance(thing, list | tuple | dict):
            members = thing.values() if isinstance(thing, dict) else thing
            has_modules = any(isinstance(member, torch.nn.Module) for member in members)
            kind = "Module" if has_modules else "Parameter"
            kind += "Dict" if isinstance(thing, dict) else "List"
        return source.replaced(value, f"{self.patient.nn()}.{kind}({source.segment(value)})")

    # ── Not held ────────────────────────────────────────────────────────────────────

    def _proof(self, tensor: torch.Tensor) -> dict[str, Evidence]:
        return {"gradient": self._gradients[id(tensor)], "change": 0.0}

    def _stale(
        self, labels: dict[str, torch.Tensor], held: dict[int, torch.Tensor]
    ) -> list[DoctorFinding]:
        """An optimizer that holds tensors of these shapes, which the loss does not reach."""
        known = set(map(id, self.patient.parameters().values()))
        gone = [t for key, t in held.items() if key not in self.patient.leaves and key not in known]
        shapes = [t.shape for t in gone]
        stale = {name: tensor for name, tensor in labels.items() if tensor.shape in shapes}
        if not stale:
            return []
        name, tensor = next(iter(stale.items()))
        numbers: dict[str, Evidence] = {"held": len(held), "gone": len(gone), **self._proof(tensor)}
        statement = self._creation()
        return [
            DoctorFinding(
                code="optimizer_holds_old_tensors",
                line=statement.lineno if statement is not None else 0,
                variable=name,
                numbers=numbers,
                lesson="registered",
                exercise="nothing-moves",
                fix=self._made_later(statement, name),
            )
        ]

    def _creation(self) -> ast.stmt | None:
        """The statement that makes the optimizer."""
        for name in self.patient.optimizers():
            for label in (name, f"self.{name.partition('.')[2]}"):
                for statement in self.source.assignments(label):
                    return statement
        return None

    def _made_later(self, statement: ast.stmt | None, name: str) -> CodeFix | None:
        """The optimizer made once more, after the last line that replaces the parameter."""
        if statement is None:
            return None
        source, end = self.source, last_line(statement)
        parts = [name, *(name[:i] for i, c in enumerate(name) if c in ".[")]
        later = [
            found
            for part in parts
            for found in source.assignments(part)
            if found.lineno > end and source.phase_of(found.lineno) == source.phase_of(end)
        ]
        if not later:
            return None
        last = max(later, key=lambda found: found.lineno)
        return source.after(last, source.segment(statement))

    def _not_held(
        self, labels: dict[str, torch.Tensor], held: dict[int, torch.Tensor]
    ) -> list[DoctorFinding]:
        modules = self.patient.modules()
        resting = {
            id(tensor)
            for module in modules.values()
            if not module.training
            for tensor in module.parameters()
        }
        labels = {name: tensor for name, tensor in labels.items() if id(tensor) not in resting}
        statement = self._creation()
        if not labels or self._is_choice(statement, labels.values()):
            return []
        name, tensor = next(iter(labels.items()))
        numbers = {"held": len(held), "left_out": len(labels), **self._proof(tensor)}
        return [
            DoctorFinding(
                code="parameter_not_held",
                line=statement.lineno if statement is not None else 0,
                variable=name,
                numbers=numbers,
                lesson="registered",
                fix=self._holding(statement, labels),
            )
        ]

    def _is_choice(self, statement: ast.stmt | None, left: Iterable[torch.Tensor]) -> bool:
        """Whether the optimizer is given a part of a model, whose other parts are left out."""
        match getattr(statement, "value", None):
            case ast.Call(args=[ast.Call(func=ast.Attribute(value=part, attr="parameters")), *_]):
                text = ast.unparse(part)
            case _:
                return False
        for name, module in self.patient.modules().items():
            if text.startswith((f"{name}.", f"{name}[")):
                known = set(map(id, module.parameters()))
                return all(id(tensor) in known for tensor in left)
        return False

    def _holding(
        self, statement: ast.stmt | None, labels: dict[str, torch.Tensor]
    ) -> CodeFix | None:
        """The optimizer with all of them among its parameters."""
        match getattr(statement, "value", None):
            case ast.Call(args=[ast.expr() as given, *_]):
                pass
            case _:
                return None
        if isinstance(given, ast.List) and any(isinstance(one, ast.Dict) for one in given.elts):
            return None
        source, more = self.source, dict.fromkeys(self._as_code(labels))
        text = source.segment(given)
        inner = text[1:-1].rstrip(", ") if isinstance(given, ast.List) else f"*{text}"
        return source.replaced(given, f"[{', '.join([inner, *more])}]")

    def _as_code(self, labels: dict[str, torch.Tensor]) -> Iterator[str]:
        """A whole module's parameters as one, others one by one."""
        left = set(map(id, labels.values()))
        modules = self.patient.modules()
        for name in labels:
            whole = next((n for n in modules if name.startswith((f"{n}.", f"{n}["))), None)
            if whole is not None and {id(t) for t in modules[whole].parameters()} <= left:
                yield f"*{whole}.parameters()"
            else:
                yield name


def _leaves_in(label: str, thing: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The leaves that ask for a gradient in an attribute, in a list of it, and in its modules."""
    if isinstance(thing, torch.Tensor):
        if thing.is_leaf and thing.requires_grad:
            yield label, thing
    elif isinstance(thing, torch.nn.Module):
        for path, tensor in thing.named_parameters():
            yield label_of(label, path), tensor
    elif isinstance(thing, list | tuple):
        for i, one in enumerate(thing):
            yield from _leaves_in(f"{label}[{i}]", one)
    elif isinstance(thing, dict):
        for key, one in thing.items():
            yield from _leaves_in(f"{label}[{key!r}]", one)


@dataclass(frozen=True, slots=True)
class _Lost:
    name: str
    gradient: float
    """The last gradient of the leaf (of an array: its element farthest from 0)."""
    now: torch.Tensor
    statement: ast.stmt


class LostLeafRule(DoctorRule):
    """A parameter's name that has come to stand for a tensor without a gradient of its own."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._leaves: dict[str, torch.Tensor] = {}
        """The leaves that the names have stood for last."""
        self._lost: dict[str, _Lost] = {}
        self._is_confirmed = self._has_backward = False
        self._note_leaves()

    def before_backward(self, backward: BackwardPass) -> None:
        """A name that is still lost at the next backward stays so."""
        self._has_backward = True
        self._confirm()

    def _note_leaves(self) -> None:
        for name, thing in self.patient.run.loop.parameters().items():
            if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                self._leaves[name] = thing

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The findings, once it is certain that no later line makes it a leaf again."""
        if step.error is not None:
            self._is_confirmed = bool(self._lost)
        else:
            self._look(step)
            self._note_leaves()
        if not self._is_confirmed:
            return ()
        lost, self._lost, self._is_confirmed = list(self._lost.values()), {}, False
        return [self._finding(one, lost) for one in lost]

    def at_end(self) -> Iterable[DoctorFinding]:
        """The findings about parameters after which no backward came."""
        self._confirm()
        lost = list(self._lost.values())
        return [self._finding(one, lost) for one in lost]

    def _look(self, step: ExaminedStep) -> None:
        for name, thing in self.patient.run.loop.parameters().items():
            before = self._leaves.get(name)
            if not isinstance(thing, torch.Tensor) or before is None or thing is before:
                continue
            if before.grad is None or not self._has_backward or name in self._lost:
                continue
            statement = self._statement(step, name)
            if statement is not None and not (thing.is_leaf and thing.requires_grad):
                gradient = extreme_of(before.grad)
                self._lost[name] = _Lost(name, gradient, thing, statement)

    def _statement(self, step: ExaminedStep, name: str) -> ast.stmt | None:
        found = [s for s in self.source.assignments(name) if isinstance(s, ast.Assign)]
        mine = [s for s in found if self.source.phase_of(s.lineno) == step.phase_name]
        return mine[-1] if mine else None

    def _confirm(self) -> None:
        """Forget the names that stand for a leaf again."""
        now = self.patient.run.loop.parameters()
        for name in list(self._lost):
            thing = now.get(name)
            if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                del self._lost[name]
        self._is_confirmed = bool(self._lost)

    def _finding(self, lost: _Lost, together: list[_Lost]) -> DoctorFinding:
        return DoctorFinding(
            code="lost_leaf",
            line=lost.statement.lineno,
            variable=lost.name,
            numbers={
                "gradient_before": lost.gradient,
                "gradient": "None",
                "was_leaf": True,
                "is_leaf": lost.now.is_leaf,
                "requires_grad": lost.now.requires_grad,
            },
            lesson="lost-leaf",
            exercise="a-new-w" if lost.now.requires_grad else "a-plain-w",
            fix=_fix(self.source, [one.statement for one in together]),
        )


def _fix(source: SourceCode, statements: list[ast.stmt]) -> CodeFix | None:
    """The updates in place; None unless all are `w = w - …` on lines that follow each other."""
    statements = sorted(statements, key=lambda statement: statement.lineno)
    updates = [_in_place(source, statement) for statement in statements]
    ends = [last_line(s) + 1 for s in statements]
    starts = [s.lineno for s in statements]
    if None in updates or starts[1:] != ends[:-1] or len({s.col_offset for s in statements}) > 1:
        return None
    code = [str(update) for update in updates]
    if not _is_without_grad(source, statements[0]):
        code = ["with torch.no_grad():", *(f"    {line}" for line in code)]
    if not _resets(source):
        names = [ast.unparse(s.targets[0]) for s in statements if isinstance(s, ast.Assign)]
        code += [f"{name}.grad = None" for name in names]
    whole = source.replaced(statements[0], "\n".join(code))
    return CodeFix(line=whole.line, end_line=ends[-1] - 1, code=whole.code)


def _in_place(source: SourceCode, statement: ast.stmt) -> str | None:
    """`w -= …` for `w = w - …`."""
    match statement:
        case ast.Assign(targets=[target], value=ast.BinOp(left=left, op=op, right=right)) if (
            ast.unparse(left) == ast.unparse(target) and isinstance(op, ast.Sub | ast.Add)
        ):
            sign = "-" if isinstance(op, ast.Sub) else "+"
            return f"{ast.unparse(target)} {sign}= {source.segment(right)}"
    return None


def _is_without_grad(source: SourceCode, statement: ast.stmt) -> bool:
    return any(
        "no_grad" in ast.unparse(item.context_expr)
        for node in source.enclosing(statement)
        if isinstance(node, ast.With)
        for item in node.items
    )


def _resets(source: SourceCode) -> bool:
    """Whether a line resets gradients in any way."""
    text = "\n".join(map(ast.unparse, source.tree))
    return any(word in text for word in ("zero_grad", ".grad = None", ".grad.zero_"))
