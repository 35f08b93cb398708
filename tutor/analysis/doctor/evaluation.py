"""A model that is evaluated in training mode or with a graph, or trained in evaluation mode.

This shows in the forward passes of the code's models, and in the use of their outputs.
"""

from __future__ import annotations

import ast
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from tutor.analysis.doctor.rule import (
    TO_THE_END,
    DoctorRule,
    Patient,
    nodes_below,
    number_at,
    place_of_extreme,
)
from tutor.analysis.doctor.torch_calls import LOSS_FUNCTIONS, CallRecorder
from tutor.analysis.graph_recorder import WAYS_BACK, frame_within, tensors_in
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.devices import untouched_randomness

_DIFFERENCES = frozenset({"sub", "__sub__", "__rsub__", "rsub", "eq", "__eq__", "ne", "__ne__"})
"""Operations that compare, if the other operand is a tensor of the data."""


@dataclass(slots=True, eq=False)
class Forward:
    """One call of a model by the code."""

    module: torch.nn.Module
    line: int
    name: str
    """The model's name where it was called; "" if it has none there."""
    is_training: bool
    """The model's mode in that moment."""
    is_recorded: bool
    """Whether it was recorded for autograd."""
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    layers: list[tuple[torch.nn.Module, bool]] = field(default_factory=list)
    """Its layers that compute something else in evaluation, and whether each was in training."""
    nodes: int = 0
    """Nodes of the graph that was recorded, by it or by the first one of its line."""
    is_compared: bool = False
    """Whether the output was compared with data."""
    is_trained: bool = False
    """Whether a backward pass came through it, or through what was computed with it."""


class ForwardWatcher:
    """Sees the forward passes, and follows their outputs through the calls of a recorder."""

    def __init__(self, recorder: CallRecorder) -> None:
        self._recorder = recorder
        self.forwards: list[Forward] = []
        self.dropout: tuple[int, float] | None = None
        """The line and the probability of the first call of the function `dropout` in the forward
        of a model that is in evaluation mode."""
        self._last: dict[int, Forward] = {}
        """A line → its last forward pass, the only one that keeps its data."""
        self._open: list[tuple[torch.nn.Module, Forward]] = []
        self._notes: dict[int, tuple[Any, frozenset[Forward]]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch inside; then take all hooks away."""
        hooks = (
            register_module_forward_pre_hook(self._begun),
            register_module_forward_hook(self._after_forward, with_kwargs=True, always_call=True),
        )
        self._recorder.followers.append(self._follow)
        try:
            yield
        finally:
            self._recorder.followers.remove(self._follow)
            for hook in hooks:
                hook.remove()
            self._open, self._notes = [], {}

    # ── Modules ─────────────────────────────────────────────────────────────────────

    def _begun(self, module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if self._recorder.is_paused:
            return
        if self._open:
            self._open.append((module, self._open[0][1]))
            return
        frame = frame_within(self._recorder.filename)
        if frame is not None:
            is_recorded = torch.is_grad_enabled()
            name, line = _name_in(frame, module), frame.f_lineno
            forward = Forward(module, line, name, module.training, is_recorded, arguments, {})
            self._open.append((module, forward))

    def _after_forward(
        self, module: torch.nn.Module, arguments: tuple[Any, ...], *rest: Any
    ) -> None:
        """`rest`: the keywords and the output; of a forward that raised, the output None alone."""
        if self._recorder.is_paused or not self._open or self._open[-1][0] is not module:
            return
        keywords, output = rest if len(rest) == 2 else ({}, None)
        _, forward = self._open.pop()
        if changes_in_evaluation(module):
            forward.layers.append((module, module.training))
        if self._open or not any(True for _ in module.parameters()):
            return
        forward.keywords = keywords
        self._keep(forward, list(tensors_in(output)))

    def _keep(self, forward: Forward, outputs: list[torch.Tensor]) -> None:
        """Keep a forward whose output can be followed, and the data of the last one of a line."""
        forward.is_recorded &= any(t.requires_grad for t in outputs)
        last = self._last.get(forward.line)
        if last is not None:
            last.arguments, last.keywords = (), {}
            forward.nodes = last.nodes
        if forward.is_recorded and not forward.nodes:
            forward.nodes = sum(1 for _ in nodes_below(*outputs))
        self._last[forward.line] = forward
        self.forwards.append(forward)
        for output in outputs:
            self._note(output, self._sources([output]) | {forward})

    # ── Calls ───────────────────────────────────────────────────────────────────────

    def _follow(
        self, func: object, args: tuple[Any, ...], keywords: Mapping[str, Any], result: Any
    ) -> None:
        """Follow the outputs of the models into the result of a call."""
        if func is torch.nn.functional.dropout:
            self._look_at_dropout(args, keywords)
        tensors = list(tensors_in([args, *keywords.values()]))
        sources = [self._sources([tensor]) for tensor in tensors]
        known = frozenset[Forward]().union(*sources)
        if func in WAYS_BACK:
            for forward in known:
                forward.is_trained = True
            return
        if not known:
            return
        for tensor in tensors_in(result):
            self._note(tensor, known | self._sources([tensor]))
        name = str(getattr(func, "__name__", ""))
        is_difference = name in _DIFFERENCES and any(
            not found and tensor.numel() > 1 and not tensor.requires_grad
            for tensor, found in zip(tensors, sources, strict=True)
        )
        if name in LOSS_FUNCTIONS or (is_difference and not self._open):
            for forward in known:
                forward.is_compared = True

    def _look_at_dropout(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        is_on = keywords.get("training", args[2] if len(args) > 2 else True)
        probability = keywords.get("p", args[1] if len(args) > 1 else 0.5)
        if self.dropout is None and self._open and is_on and probability > 0:
            module, frame = self._open[-1][0], frame_within(self._recorder.filename)
            if not (module.training or isinstance(module, _DropoutNd)):
                self.dropout = (frame.f_lineno if frame is not None else 0, float(probability))

    def _sources(self, tensors: Any) -> frozenset[Forward]:
        found = (self._notes.get(id(tensor)) for tensor in tensors)
        return frozenset[Forward]().union(*(note[1] for note in found if note is not None))

    def _note(self, tensor: torch.Tensor, forwards: frozenset[Forward]) -> None:
        key, notes = id(tensor), self._notes
        notes[key] = (weakref.ref(tensor, lambda _: notes.pop(key, None)), forwards)


def _name_in(frame: FrameType, module: torch.nn.Module) -> str:
    """The name of a model in a frame: `net`, `self.net`; "" if it has none."""
    for names in (frame.f_locals, frame.f_globals):
        for name, thing in list(names.items()):
            if thing is module:
                return name
    me = frame.f_locals.get("self")
    for name, thing in [*vars(me).items()] if hasattr(me, "__dict__") else []:
        if thing is module:
            return f"self.{name}"
    return ""


def changes_in_evaluation(module: torch.nn.Module) -> bool:
    """Whether a layer computes something else in evaluation than in training."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return isinstance(module, _BatchNorm) and module.track_running_stats


_LESSON = "train-and-eval"


class EvaluationRule(DoctorRule):
    """A forward pass is an evaluation if its output is compared with data, and no backward comes.

    A forward under no_grad that a trained loss is computed with (a teacher, a generator) is none.
    """

    epochs = 1

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._watcher: ForwardWatcher | None = None
        if patient.lesson.script is not None:
            self.epochs = TO_THE_END

    def watching(self) -> AbstractContextManager[object]:
        """Watch the forward passes of whole epochs: an evaluation often stands at their end."""
        if not self.patient.modules():
            return nullcontext()
        self._watcher = ForwardWatcher(self.patient.recorder)
        return self._watcher.watching()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The findings so far, if no batch is under way."""
        return self.after_whole_epochs() if self.patient.run.loop.at_end else ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The findings of all forward passes of the epochs so far."""
        if self._watcher is None:
            return []
        with self.patient.recorder.paused():
            return list(self._findings(self._watcher))

    def _findings(self, watcher: ForwardWatcher) -> Iterator[DoctorFinding]:
        trained = {(f.line, f.is_recorded) for f in watcher.forwards if f.is_trained}
        for forward in reversed(watcher.forwards):
            is_evaluation = forward.is_compared and not forward.is_trained
            # A line that trains too may skip a backward now and then.
            is_sure = (forward.line, forward.is_recorded) not in trained
            if is_evaluation and is_sure and forward.arguments:
                yield from self._of_evaluation(forward)
        yield from self._of_training(watcher.forwards)
        if watcher.dropout is not None:
            yield from self._of_dropout(*watcher.dropout)

    # ── Evaluations ─────────────────────────────────────────────────────────────────

    def _of_evaluation(self, forward: Forward) -> Iterator[DoctorFinding]:
        layers = [layer for layer, is_training in forward.layers if is_training]
        if forward.is_training and layers:
            yield from self._in_training_mode(forward, layers[0])
        if forward.is_recorded and forward.nodes:
            yield DoctorFinding(
                code="evaluated_with_graph",
                line=forward.line,
                variable=self._name_of(forward),
                numbers={"nodes": forward.nodes, "wanted": 0},
                lesson=_LESSON,
            )

    def _in_training_mode(
        self, forward: Forward, layer: torch.nn.Module
    ) -> Iterator[DoctorFinding]:
        """The finding, if the same data give another output in evaluation mode."""
        here, there = self._output(forward, True), self._output(forward, False)
        if here is None or there is None or here.shape != there.shape:
            return
        index = place_of_extreme(here - there)
        if not here.numel() or number_at(here, index) == number_at(there, index):
            return
        yield DoctorFinding(
            code="evaluated_in_training_mode",
            line=forward.line,
            variable=self._name_of(forward),
            numbers={
                "in_training": number_at(here, index),
                "in_evaluation": number_at(there, index),
                "layer": type(layer).__name__,
            },
            lesson=_LESSON,
            exercise="two-answers",
            fix=self._fix(forward),
        )

    def _output(self, forward: Forward, is_training: bool) -> torch.Tensor | None:
        """The model's output for the same data in one of its modes. All is left as it was."""
        with untouched_randomness(self.patient.run.device), _put_back(forward.module):
            forward.module.train(is_training)
            try:
                with torch.no_grad():
                    found = forward.module(*forward.arguments, **forward.keywords)
            except Exception:  # noqa: BLE001 - the code's own forward may raise anything
                return None
            return next((t.detach().clone() for t in tensors_in(found)), None)

    def _fix(self, forward: Forward) -> CodeFix | None:
        """`model.eval()` before the evaluation, if no training follows or it calls `train()`."""
        source, back = self.source, f"{self._name_of(forward)}.train"
        is_inside = source.function_around(forward.line) or source.loops_around(forward.line)
        follows = bool(is_inside) or self.patient.lesson.script is None
        goes_back = any(ast.unparse(call.func) == back for call in source.calls("train"))
        return self._before(forward, "eval") if goes_back or not follows else None

    def _before(self, forward: Forward, method: str) -> CodeFix | None:
        """A call of this method of the model before a forward pass."""
        name, statement = self._name_of(forward), self.source.statement_at(forward.line)
        if statement is None or not name:
            return None
        return self.source.before(statement, f"{name}.{method}()")

    # ── Training ────────────────────────────────────────────────────────────────────

    def _of_training(self, forwards: list[Forward]) -> Iterator[DoctorFinding]:
        """Models that are trained in training mode first, and in evaluation mode from then on."""
        for module in {id(f.module): f.module for f in forwards}.values():
            mine = [f for f in forwards if f.module is module and f.is_trained and f.layers]
            if not mine or not mine[0].is_training or mine[-1].is_training:
                continue
            layers = [layer for layer, is_training in mine[0].layers if is_training]
            off = {id(layer) for layer, is_training in mine[-1].layers if not is_training}
            if any(id(layer) in off for layer in layers):
                yield DoctorFinding(
                    code="trained_in_evaluation_mode",
                    line=mine[-1].line,
                    variable=self._name_of(mine[-1]),
                    numbers={
                        "in_training": sum(f.is_training for f in mine),
                        "in_evaluation": sum(not f.is_training for f in mine),
                        "layer": type(layers[0]).__name__,
                    },
                    lesson=_LESSON,
                    exercise="no-way-back",
                    fix=self._before(mine[-1], "train"),
                )

    def _of_dropout(self, line: int, probability: float) -> Iterator[DoctorFinding]:
        """The function `dropout`, which does not know the mode of the model."""
        source = self.source
        node = next(filter(_is_dropout, source.nodes_at(line)), None)
        if not isinstance(node, ast.Call):
            return
        function = source.function_around(line)
        is_method = isinstance(function, ast.FunctionDef) and "self" in ast.unparse(function.args)
        yield DoctorFinding(
            code="dropout_in_evaluation",
            line=line,
            variable=ast.unparse(node.args[0]) if node.args else "",
            numbers={"dropped": probability, "wanted": 0.0},
            lesson=_LESSON,
            fix=source.called_with(node, more=["training=self.training"]) if is_method else None,
        )

    def _name_of(self, forward: Forward) -> str:
        return forward.name or self.patient.name_of(forward.module)


def _is_dropout(node: ast.AST) -> bool:
    """Whether it is a call of the function that leaves out `training`."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "dropout"
        and len(node.args) < 3
        and all(k.arg not in ("training", None) for k in node.keywords)
    )


@contextmanager
def _put_back(module: torch.nn.Module) -> Iterator[None]:
    """Give the modes and the running statistics of a model back as they were."""
    modes = [(part, part.training) for part in module.modules()]
    buffers: list[tuple[torch.Tensor, torch.Tensor]] = [
        (buffer, buffer.detach().clone())
        for part in module.modules()
        if isinstance(part, _BatchNorm)
        for buffer in part.buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for part, was in modes:
            part.training = was
        with torch.no_grad():
            for buffer, old in buffers:
                buffer.copy_(old)
