"""Parameters that are not trained: no optimizer holds them, or it holds others."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tutor.analysis.doctor.rule import DoctorRule, Patient, label_of
from tutor.analysis.doctor.tensors import extreme_of, leaves_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding, Evidence


@dataclass(frozen=True, slots=True)
class _Hidden:
    """A tensor that a module holds, and has not registered."""

    label: str
    attribute: str
    """Of `self`: `layers`."""
    tensor: torch.Tensor
    container: Any
    """The list or dict that it is in; itself, if it is an attribute."""
    registered: int
    """The number of parameters that the module has registered."""


class HeldParametersRule(DoctorRule):
    """Leaves that the loss reaches, and that no update changes, where an optimizer makes steps.

    Layers in a plain list, and tensors that a module does not register; an optimizer that holds
    tensors of a model that was replaced; parameters that it was not given.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._starts: dict[int, torch.Tensor] = {}
        self._gradients: dict[int, float] = {}
        """By the identity of a leaf: the number of its gradient that is farthest from 0."""
        self._leaves: dict[int, torch.Tensor] = {}
        self._has_stepped = False

    def before_call(self, call: TorchCall) -> None:
        """Note the leaves of the loss, and that an optimizer makes a step."""
        if call.name != "backward":
            self._has_stepped = True
            return
        for leaf in leaves_of(call.argument(0, "self")):
            self._leaves[id(leaf)] = leaf
            self._starts.setdefault(id(leaf), _sample(leaf))

    def after_call(self, call: TorchCall) -> None:
        """Note the gradients of the leaves."""
        if call.name == "backward":
            for key, leaf in self._leaves.items():
                if leaf.grad is not None and bool(leaf.grad.any()):
                    self._gradients[key] = extreme_of(leaf.grad)

    def at_end(self) -> Iterable[DoctorFinding]:
        """The parameters that are left out, if any: one finding for each reason."""
        left = {
            key: leaf
            for key, leaf in self._leaves.items()
            if key in self._gradients and torch.equal(_sample(leaf), self._starts[key])
        }
        hidden = [one for one in self._hidden() if id(one.tensor) in left]
        yield from self._not_registered(hidden)
        held = self.patient.held()
        for one in (*hidden, *held.values()):
            left.pop(id(one.tensor if isinstance(one, _Hidden) else one), None)
        if left and self._has_stepped:
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
                line=self.patient.source.line_of(f"self.{attribute}"),
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
        source, thing = self.patient.source, one.container
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
        gone = [t for key, t in held.items() if key not in self._leaves and key not in known]
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
                for statement in self.patient.source.assignments(label):
                    return statement
        return None

    def _made_later(self, statement: ast.stmt | None, name: str) -> CodeFix | None:
        """The optimizer made once more, after the last line that replaces the parameter."""
        if statement is None:
            return None
        source, end = self.patient.source, statement.end_lineno or statement.lineno
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
        source, more = self.patient.source, dict.fromkeys(self._as_code(labels))
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


_WHOLE = 2**18
"""Numbers of a tensor that are all compared; of a larger one, some of them are."""


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor's numbers, or of evenly spaced ones."""
    numbers = tensor.detach().reshape(-1)
    return numbers[:: max(1, numbers.numel() // _WHOLE)].clone()


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
