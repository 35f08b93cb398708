"""A model that is evaluated in training mode or with a graph, or trained in evaluation mode."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tutor.analysis.doctor.module_forwards import (
    DropoutCall,
    Forward,
    ForwardWatcher,
)
from tutor.analysis.doctor.rule import TO_THE_END, DoctorRule, Patient, number_at, place_of_extreme
from tutor.analysis.doctor.torch_calls import CallRecorder
from tutor.analysis.graph_recorder import tensors_in
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.devices import untouched_randomness

_LESSON = "train-and-eval"


class EvaluationRule(DoctorRule):
    """A forward pass is an evaluation if its output is compared with data, and no backward comes.

    A forward under no_grad that a trained loss is computed with (a teacher, a generator) is none.
    """

    epochs = 1

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._watcher: ForwardWatcher | None = None
        self._recorder: CallRecorder | None = None
        if patient.lesson.script is not None:
            self.epochs = TO_THE_END

    def watching(self, recorder: CallRecorder) -> AbstractContextManager[object]:
        """Watch the forward passes of whole epochs: an evaluation often stands at their end."""
        if not self.patient.modules():
            return nullcontext()
        self._recorder = recorder
        self._watcher = ForwardWatcher(recorder.filename, lambda: recorder.is_paused)
        return self._watcher.watching()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The findings so far, if no batch is under way."""
        return self.after_whole_epochs() if self.patient.run.loop.at_end else ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The findings of all forward passes of the epochs so far."""
        if self._watcher is None or self._recorder is None:
            return []
        with self._recorder.paused():
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
        for call in watcher.dropouts[:1]:
            yield from self._of_dropout(call)

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
        source, name = self.patient.source, self._name_of(forward)
        statement = source.statement_at(forward.line)
        if not name or statement is None:
            return None
        is_inside = source.function_around(forward.line) or source.loops_around(forward.line)
        is_lesson = self.patient.lesson.script is None
        back = any(ast.unparse(call.func) == f"{name}.train" for call in source.calls("train"))
        follows = bool(is_inside) or is_lesson
        return source.before(statement, f"{name}.eval()") if back or not follows else None

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
                    fix=self._fix_of_training(mine[-1]),
                )

    def _fix_of_training(self, forward: Forward) -> CodeFix | None:
        name = self._name_of(forward)
        statement = self.patient.source.statement_at(forward.line)
        if statement is None or not name:
            return None
        return self.patient.source.before(statement, f"{name}.train()")

    def _of_dropout(self, call: DropoutCall) -> Iterator[DoctorFinding]:
        """The function `dropout`, which does not know the mode of the model."""
        statement = self.patient.source.statement_at(call.line)
        found = [n for n in ast.walk(statement) if _is_dropout(n)] if statement else []
        if not found:
            return
        node = found[0]
        assert isinstance(node, ast.Call)
        source = self.patient.source
        parts = [*map(source.segment, node.args)]
        parts += [f"{k.arg}={source.segment(k.value)}" for k in node.keywords]
        code = f"{source.segment(node.func)}({', '.join(parts)}, training=self.training)"
        function = source.function_around(call.line)
        is_method = isinstance(function, ast.FunctionDef) and "self" in ast.unparse(function.args)
        yield DoctorFinding(
            code="dropout_in_evaluation",
            line=call.line,
            variable=ast.unparse(node.args[0]) if node.args else "",
            numbers={"dropped": call.probability, "wanted": 0.0},
            lesson=_LESSON,
            fix=source.replaced(node, code) if is_method else None,
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
