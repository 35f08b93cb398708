"""Parameters that get no gradient, or always one of 0."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from msgspec.structs import replace

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.tensors import extreme_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

_CUTS = frozenset({"detach", "item", "tolist", "numpy", "get data"})
"""Calls whose result is no part of the graph."""

_MAKERS = frozenset({"tensor", "zeros", "ones", "randn", "rand", "full", "empty"})
_FEWEST = 2
"""Backward passes that a parameter has to be seen in."""


class GradientRule(DoctorRule):
    """Parameters whose gradient is None or 0 after every backward pass.

    Of parameters that an optimizer holds; where there is none, of those of the lesson.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._passes, self._none, self._zero = Counter[str](), Counter[str](), Counter[str]()
        self._uses: Counter[int] = Counter()
        self._without_graph: dict[int, int] = {}
        """By the identity of a parameter: the line that uses it outside of the graph."""
        self._cuts: list[TorchCall] = []
        self._is_dead = False
        self._loss = 0.0

    def _watched(self) -> dict[str, torch.Tensor]:
        parameters, held = self.patient.parameters(), self.patient.held()
        if held:
            return {name: tensor for name, tensor in parameters.items() if id(tensor) in held}
        own = {id(thing) for thing in self.patient.run.loop.parameters().values()}
        return {n: t for n, t in parameters.items() if id(t) in own and t.requires_grad}

    def after_call(self, call: TorchCall) -> None:
        """Count the gradients that a backward has left."""
        if call.name != "backward":
            return
        loss = call.argument(0, "self")
        if isinstance(loss, torch.Tensor) and loss.numel():
            self._loss = max(self._loss, abs(extreme_of(loss)))
        for name, parameter in self._watched().items():
            if parameter.is_leaf:
                gradient = parameter.grad
                self._passes[name] += 1
                self._none[name] += gradient is None
                self._zero[name] += gradient is not None and not bool(gradient.any())

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """Note where the parameters are used."""
        watched = {id(tensor) for tensor in self._watched().values()}
        for call in moment.calls:
            if call.name.startswith(("get ", "set ", "optimizer")) and call.name != "get data":
                continue
            for argument in call.tensors():
                if id(argument) in watched and call.name not in ("backward", "zero"):
                    self._note_use(call, argument, moment)
            if call.name in _CUTS and moment.phase in ("Predict", "Loss") and _needs(call):
                self._cuts.append(call)
            if call.name == "relu" and isinstance(call.result, torch.Tensor):
                self._is_dead |= not bool(call.result.any())
        return ()

    def _note_use(self, call: TorchCall, argument: torch.Tensor, moment: Moment) -> None:
        if moment.phase not in ("Predict", "Loss"):
            return
        self._uses[id(argument)] += 1
        result = call.result
        if isinstance(result, torch.Tensor) and not result.requires_grad:
            self._without_graph.setdefault(id(argument), call.line)

    def at_end(self) -> Iterator[DoctorFinding]:
        """The parameters that never had a gradient other than 0: the first of each line."""
        groups: dict[tuple[str, int], list[DoctorFinding]] = {}
        for finding in self._all():
            groups.setdefault((finding.code, finding.line), []).append(finding)
        for group in groups.values():
            numbers = {**group[0].numbers, "parameters": len(group)}
            yield replace(group[0], numbers=numbers)

    def _all(self) -> Iterator[DoctorFinding]:
        """A finding for each of them."""
        for name, parameter in self._watched().items():
            passes = self._passes[name]
            if passes < _FEWEST:
                continue
            if not parameter.requires_grad:
                if not _freezes(self.patient.source):
                    yield self._frozen(name, passes)
            elif self._none[name] == passes:
                yield self._without_gradient(name, parameter, passes)
            elif self._none[name] + self._zero[name] == passes and self._loss > 0:
                yield self._always_zero(name, passes)

    # ── The findings ────────────────────────────────────────────────────────────────

    def _without_gradient(self, name: str, parameter: torch.Tensor, passes: int) -> DoctorFinding:
        uses = self._uses[id(parameter)]
        numbers = {"passes": passes, "gradients": 0, "uses": uses}
        source, line, fix = self.patient.source, self.patient.line_of_parameter(name), None
        if not uses:
            code, lesson, exercise = "parameter_unused", "registered", ""
        else:
            code, lesson, exercise = "parameter_cut_off", "detach", ""
            line = self._without_graph.get(id(parameter), 0)
            if not line and self._cuts:
                line = self._cuts[0].line
                fix = _joined(source, self._cuts[0])
            line = line or self.patient.line_of_parameter(name)
        return DoctorFinding(
            code=code, line=line, variable=name, numbers=dict(numbers), lesson=lesson,
            exercise=exercise, fix=fix,
        )  # fmt: skip

    def _always_zero(self, name: str, passes: int) -> DoctorFinding:
        return DoctorFinding(
            code="gradient_always_zero",
            line=self.patient.line_of_parameter(name),
            variable=name,
            numbers={"passes": passes, "gradient": 0.0, "loss": self._loss},
            lesson="dead-relu" if self._is_dead else "starting-weights",
        )

    def _frozen(self, name: str, passes: int) -> DoctorFinding:
        source = self.patient.source
        return DoctorFinding(
            code="frozen_in_optimizer",
            line=self.patient.line_of_parameter(name),
            variable=name,
            numbers={"requires_grad": False, "passes": passes, "gradient": "None"},
            lesson="before-backward",
            fix=_asking(source, name),
        )


def _needs(call: TorchCall) -> bool:
    """Whether what is cut off would have asked for a gradient."""
    return any(tensor.requires_grad for tensor in call.tensors())


def _freezes(source: SourceCode) -> bool:
    """Whether the code freezes parameters on purpose."""
    for node in source.nodes():
        match node:
            case ast.Assign(targets=[ast.Attribute(attr="requires_grad")]):
                return True
            case ast.Call(func=ast.Attribute(attr="requires_grad_"), args=[_, *_]):
                return True
    return False


def _joined(source: SourceCode, cut: TorchCall) -> CodeFix | None:
    """`y` for `y.detach()` on the line of a cut."""
    statement = source.statement_at(cut.line)
    for node in ast.walk(statement) if statement is not None else ():
        match node:
            case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=[]) if attr == cut.name:
                return source.replaced(node, source.segment(inner))
            case ast.Attribute(value=inner, attr="data") if cut.name == "get data":
                return source.replaced(node, source.segment(inner))
    return None


def _asking(source: SourceCode, name: str) -> CodeFix | None:
    """`requires_grad=True` in the call that makes a tensor."""
    for statement in source.assignments(name):
        value = getattr(statement, "value", None)
        match value:
            case ast.Call(func=ast.Attribute(attr=attr), keywords=keywords) if attr in _MAKERS:
                if all(keyword.arg != "requires_grad" for keyword in keywords):
                    text = source.segment(value)
                    return source.replaced(value, f"{text[:-1]}, requires_grad=True)")
    return None
