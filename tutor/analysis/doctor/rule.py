"""The base of the doctor's rules, and the views of a run that a rule gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.tensors import held_by
from tutor.analysis.doctor.torch_calls import CallRecorder, TorchCall
from tutor.analysis.graph_words import label_of, with_contents
from tutor.lesson.model import Lesson
from tutor.protocol.frame import RunRecipe
from tutor.protocol.inspections import DoctorFinding
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Phase, Program, Quiet, Until
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import to_numpy

TO_THE_END = 10**9
"""As `epochs` of a rule: it wants a script run to its end, if that does not take long."""


@dataclass(slots=True)
class Patient:
    """The run that is examined, and all that belongs to it."""

    lesson: Lesson
    programs: Mapping[str, Program]
    recipe: RunRecipe
    """The recipe of the examined run: the last settings of the learner's run, from its start.

    A change on the way, as of the learning rate by a key, is never seen.
    """
    run: Run
    source: SourceCode
    quiet: Quiet
    until: Until
    """Whether the examination is to stop. A rule that takes long asks it between its steps."""
    stepped: dict[int, torch.optim.Optimizer] = field(default_factory=dict)
    """The optimizers that have made a step, by identity."""

    @property
    def namespace(self) -> Mapping[str, Any]:
        """The live names of the code."""
        return self.run.loop.namespace

    @property
    def epoch(self) -> int:
        """The epoch that the run is in, from 1."""
        return self.run.loop.epoch

    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters that are tensors, by name: the lesson's, then its modules' parameters.

        Each tensor stands there once. Tensors that only an optimizer holds are left out.
        """
        found = {n: t for n, t in self.run.loop.parameters().items() if isinstance(t, torch.Tensor)}
        known = set(map(id, found.values()))
        for name, module in self.modules().items():
            for path, tensor in module.named_parameters():
                if id(tensor) not in known:
                    known.add(id(tensor))
                    found[label_of(name, path)] = tensor
        return found

    def modules(self) -> dict[str, torch.nn.Module]:
        """The modules that have names, without those inside another module."""
        found = {
            n: m
            for n, m in self._named(torch.nn.Module)
            if not isinstance(m, torch.jit.ScriptModule)
        }
        inner = {id(m) for module in found.values() for m in module.modules() if m is not module}
        return {name: module for name, module in found.items() if id(module) not in inner}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers that names stand for, and those without a name that have made a step."""
        found = dict(self._named(torch.optim.Optimizer))
        known = set(map(id, found.values()))
        hidden = [one for key, one in self.stepped.items() if key not in known]
        return {**found, **{f"optimizer {i}": one for i, one in enumerate(hidden, 1)}}

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        """The objects of a type, each once, by name: also in lists, dicts and attributes."""
        known: set[int] = set()
        for name, thing in list(self.namespace.items()):
            if name.startswith("__"):
                continue
            for label, one in with_contents(name, thing):
                if issubclass(type(one), kind) and id(one) not in known:
                    known.add(id(one))
                    yield label, one

    def held(self) -> dict[int, torch.Tensor]:
        """The tensors that optimizers hold, by identity."""
        return {
            id(tensor): tensor
            for optimizer in self.optimizers().values()
            for tensor in held_by(optimizer)
        }

    def line_of_parameter(self, label: str) -> int:
        """The line that makes a parameter: of the name, of a module's attribute, of the module."""
        found = self.source.line_of(label)
        root, *path = re.split(r"[.\[]", label)
        for attribute in path[:1]:
            found = found or self.source.line_of(f"self.{attribute}")
        return found or self.source.line_of(root)

    def nn(self) -> str:
        """The module `torch.nn` as the code can call it."""
        return "nn" if "torch" not in self.namespace and "nn" in self.namespace else "torch.nn"

    def name_of(self, thing: object) -> str:
        """The name or label of an object (`w`, `model[0].weight`, `self.model`); "" if none."""
        for name, one in [*self.parameters().items(), *self.namespace.items()]:
            if one is thing and not name.startswith("__"):
                return name
        return next((name for name, one in self._named(type(thing)) if one is thing), "")


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the examined run, which is about to run or has just run."""

    phase: str
    """The name of the phase; Setup before the first step, "" for a script's code after its loop."""
    code: Phase | None
    """Its compiled code and lines, if it is known."""
    calls: list[TorchCall]
    """The calls of PyTorch that it made; none before it has run."""
    epoch: int
    batch: int
    error: LessonRaised | None = None
    """The error that it raised; the run then stands before it."""
    failed: TorchCall | None = None
    """The first of its calls of PyTorch that raised; the code may have caught that error."""

    def calls_of(self, *names: str) -> Iterator[TorchCall]:
        """The calls of these names."""
        return (call for call in self.calls if call.name in names)


class DoctorRule:
    """One kind of mistake. An examination makes one object of each rule, and calls it in turn.

    A rule never changes the run, and bears whatever objects the code has made.
    """

    epochs = 0
    """The epoch at whose end `after_whole_epochs` is called; 0: it is not.

    The run goes there after the last examined step. A rule may set this while steps are examined,
    in `at_end` at the latest.
    """

    def __init__(self, patient: Patient) -> None:
        self.patient, self.source = patient, patient.source
        self.hooks: list[RemovableHandle] = []
        """Its hooks on nodes of the graph that a backward is about to go through."""

    def unhook(self) -> None:
        """Take these hooks away."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    def watching(self, recorder: CallRecorder) -> AbstractContextManager[object]:
        """Entered while the run is stepped, for hooks of the rule's own.

        What runs while the recorder is paused is no step of the run.
        """
        return nullcontext()

    def before_backward(self, call: TorchCall, loss: torch.Tensor | None) -> None:
        """Called just before each backward, with its loss if that is one tensor."""

    def after_backward(self, call: TorchCall, loss: torch.Tensor | None) -> None:
        """Called just after each backward; then `hooks` are removed."""

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """Called just before each step of an optimizer."""

    def before(self, moment: Moment) -> None:
        """Called before each step, and once (phase Setup) before the first."""

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The mistakes seen after a step; also after one that has raised an error."""
        return ()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The mistakes seen after the last examined step; also where it raised an error."""
        return ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The mistakes seen at the end of the epoch `epochs`, or of the run if that comes first."""
        return ()


# ── Bounds of an examination ────────────────────────────────────────────────────────


@contextmanager
def time_bound(seconds: float) -> Iterator[None]:
    """Raise TookTooLong after `seconds`, wherever the code is then."""
    try:
        with limited(seconds, ends_process=False):
            yield
    except LessonRaised as error:
        if isinstance(error.__cause__, TookTooLong):
            raise error.__cause__ from None
        raise


def run_in_loop(run: Run, epoch: int, until: Until) -> None:
    """Run to the end of `epoch`, or of the loop: the code after a script's loop may take hours."""
    if run.program.open_loop is None:
        run.advance(epoch, until)
    while run.loop.epoch < epoch and not until() and not is_at_loop_end(run):
        run.advance(run.loop.epoch + 1, until)


def is_at_loop_end(run: Run) -> bool:
    """Whether the next step would run the code after a script's loop."""
    return run.loop.is_over or (run.at_end and run.loop.is_at_loop_end)


def loss_of(run: Run) -> float | None:
    """The loss of a run as it stands; None where it is no single number."""
    found = to_numpy(run.loop.loss())
    return None if found is None or found.size != 1 else float(found.reshape(()))
