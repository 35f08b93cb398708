"""A loss that is kept with its graph: `total += loss`, `losses.append(loss)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient, with_contents
from tutor.analysis.doctor.tensors import grad_fn_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

MOST_NODES = 2_000
_LONGEST = 2_000
"""Elements of a list that are looked at, from its end."""


class KeptGraphRule(DoctorRule):
    """A name, or a list, whose tensors still hold the graphs of losses that backward is done with.

    The graph of the last loss is held by the loss itself, which is no mistake.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._roots: dict[int, tuple[Any, tuple[int, int]]] = {}
        """The last node of each loss that backward was called on, with its epoch and batch."""
        self._fresh: list[Any] = []
        """The nodes of the present step."""
        self._reported: set[str] = set()

    def after_call(self, call: TorchCall) -> None:
        """Note the loss. Its node is kept alive here, so that no other gets its identity."""
        loss = call.argument(0, "self")
        if call.name == "backward" and (node := grad_fn_of(loss)) is not None:
            self._fresh.append(node)

    def after(self, moment: Moment) -> Iterator[DoctorFinding]:
        """The names that hold more than one loss's graph: after any step, as they may be reset."""
        batch = (moment.epoch, moment.batch)
        self._roots.update({id(node): (node, batch) for node in self._fresh})
        self._fresh.clear()
        if len(self._roots) < 2 or moment.error is not None:
            return
        parameters = set(map(id, self.patient.parameters().values()))
        for name, thing in self._things():
            if name in self._reported or id(thing) in parameters:
                continue
            kept = self._kept(thing)
            if len(kept) > 1:
                self._reported.add(name)
                yield self._finding(name, thing, len(kept))

    def _things(self) -> Iterator[tuple[str, Any]]:
        """The tensors and lists that names stand for, and those in attributes and dicts."""
        for name, thing in list(self.patient.namespace.items()):
            if name.startswith("__"):
                continue
            if isinstance(thing, list | tuple):
                yield name, thing
            else:
                yield from with_contents(name, thing)

    def _kept(self, thing: Any) -> set[tuple[int, int]]:
        """The batches whose loss's graph a tensor, or a list's tensors, still hold."""
        things = thing[-_LONGEST:] if isinstance(thing, list | tuple) else [thing]
        starts = [grad_fn_of(one) for one in things if isinstance(one, torch.Tensor)]
        found, known, waiting = (
            set[tuple[int, int]](),
            set[int](),
            [s for s in starts if s is not None],
        )
        while waiting and len(known) < MOST_NODES:
            node = waiting.pop()
            if id(node) in known:
                continue
            known.add(id(node))
            root = self._roots.get(id(node))
            if root is not None:
                found.add(root[1])
                if len(starts) > 1:
                    continue  # below it there is its own graph only
            waiting += [function for function, _ in node.next_functions if function is not None]
        return found

    def _finding(self, name: str, thing: Any, kept: int) -> DoctorFinding:
        statement, fix = self._where(name)
        return DoctorFinding(
            code="loss_kept_with_graph",
            line=statement.lineno if statement is not None else self.patient.source.line_of(name),
            variable=name,
            numbers={
                "kept": kept,
                "needed": 1,
                "epochs": self.patient.epoch,
                "in_list": isinstance(thing, list | tuple),
            },
            lesson="detach",
            fix=fix,
        )

    def _where(self, name: str) -> tuple[ast.stmt | None, CodeFix | None]:
        """The statement that adds a loss to the name, and the same with the loss's number."""
        source = self.patient.source
        for statement in source.statements():
            added = _added(statement, name)
            if added is not None:
                text = source.segment(added)
                is_plain = isinstance(added, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
                text = text if is_plain else f"({text})"
                return statement, source.replaced(added, f"{text}.item()")
        return None, None


def _added(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value a statement adds to a name: of `total += loss` and of `losses.append(loss)`."""
    match statement:
        case ast.AugAssign(target=target, value=value) if ast.unparse(target) == name:
            return value
        case ast.Assign(
            targets=[target], value=ast.BinOp(left=left, op=ast.Add(), right=value)
        ) if ast.unparse(target) == ast.unparse(left) == name:
            return value
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=kept, attr="append"), args=[v])) if (
            ast.unparse(kept) == name
        ):
            return v
    return None
