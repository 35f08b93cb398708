"""The base of the doctor's rules, and the views of a run that a rule gets."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import CallRecorder, TorchCall
from tutor.analysis.graph_recorder import leaf_of
from tutor.analysis.graph_words import label_of, with_contents
from tutor.lesson.model import Lesson
from tutor.protocol.frame import RunRecipe
from tutor.protocol.inspections import DoctorFinding
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Phase, Program, Quiet, Until
from tutor.training.run import Run

MOST_NODES = 50_000
"""Nodes that are looked at; the graph of a long recurrent run has more."""

MOST_COPIED = 2**18
"""Numbers of a leaf that are all compared; of a larger one, some of them are."""

TO_THE_END = 10**9
"""As `epochs` of a rule: it wants a script run to its end, if that does not take long."""


@dataclass(frozen=True, slots=True)
class SeenLeaf:
    """A leaf that a backward has come to."""

    tensor: torch.Tensor
    line: int
    """The line of the first backward that came to it."""
    start: torch.Tensor
    """A sample of its numbers just before."""

    @classmethod
    def at(cls, tensor: torch.Tensor, line: int) -> SeenLeaf:
        """The leaf as it is now."""
        return cls(tensor, line, _sample(tensor))

    def is_unchanged(self) -> bool:
        """Whether no update has changed it since."""
        return torch.equal(_sample(self.tensor), self.start)


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
    recorder: CallRecorder
    """The recorder of the run's calls. While it is paused, what runs is no step of the run."""
    source: SourceCode
    quiet: Quiet
    until: Until
    """Whether the examination is to stop. A rule that takes long asks it between its steps."""
    stepped: dict[int, torch.optim.Optimizer] = field(default_factory=dict)
    """The optimizers that have made a step, by identity."""
    leaves: dict[int, SeenLeaf] = field(default_factory=dict)
    """The leaves that a backward has come to, by identity."""

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

    def see_leaves(self, backward: BackwardPass) -> None:
        """Note the leaves that a backward comes to, as they are before its update."""
        for leaf in backward.leaves:
            if id(leaf) not in self.leaves:
                with suppress(RuntimeError):  # a nested tensor has no one shape
                    self.leaves[id(leaf)] = SeenLeaf.at(leaf, backward.call.line)

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
class ExaminedStep:
    """One step of the examined run, which has just run."""

    phase_name: str
    """The name of the phase; "" for a script's code after its loop."""
    compiled: Phase | None
    """Its compiled code and lines, if it is known."""
    calls: list[TorchCall]
    """The calls of PyTorch that it made."""
    epoch: int
    batch: int
    error: LessonRaised | None = None
    """The error that it raised; the run then stands before it."""
    failed: TorchCall | None = None
    """The first of its calls of PyTorch that raised; the code may have caught that error."""

    def calls_of(self, *names: str) -> Iterator[TorchCall]:
        """The calls of these names."""
        return (call for call in self.calls if call.name in names)


@dataclass(frozen=True)
class BackwardPass:
    """One backward pass of the examined run."""

    call: TorchCall
    """The call that begins it; its `line` is the code's."""
    hooks: list[RemovableHandle] = field(default_factory=list)
    """The rules' hooks on nodes of the graph, which are taken away after the pass."""

    @cached_property
    def loss(self) -> torch.Tensor | None:
        """The loss that it begins at; None where there are several."""
        loss = self.call.argument(0, "tensors")
        return loss if isinstance(loss, torch.Tensor) else None

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes that it comes to, the nearest first, up to MOST_NODES."""
        return list(nodes_below(self.loss))

    @cached_property
    def leaves(self) -> list[torch.Tensor]:
        """The leaves that it gives a gradient to, each once."""
        loss = self.loss
        if loss is not None and loss.is_leaf:
            return [loss] if loss.requires_grad else []
        return [leaf for node in self.nodes if (leaf := leaf_of(node)) is not None]

    def unhook(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()


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
        """The run stands behind Setup."""
        self.patient, self.source = patient, patient.source

    def watching(self) -> AbstractContextManager[object]:
        """Entered while the run is stepped, for hooks of the rule's own."""
        return nullcontext()

    def before_backward(self, backward: BackwardPass) -> None:
        """Called just before each backward."""

    def after_backward(self, backward: BackwardPass) -> None:
        """Called just after each backward, whose hooks have been removed."""

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """Called just before each step of an optimizer."""

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The mistakes seen after a step; also after one that has raised an error."""
        return ()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The mistakes seen after the last examined step; also where it raised an error."""
        return ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The mistakes seen at the end of the epoch `epochs`, or of the run if that comes first."""
        return ()


# ── Numbers of tensors, as evidence ─────────────────────────────────────────────────


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor's numbers, or of MOST_COPIED evenly spaced ones."""
    numbers = tensor.detach().to_dense().reshape(-1)
    return numbers[:: max(1, numbers.numel() // MOST_COPIED)].clone()


def place_of_extreme(tensor: torch.Tensor) -> tuple[int, ...]:
    """The index of the element that is farthest from 0; () of a single number without axes."""
    if not tensor.numel():
        return ()
    at = int(torch.nan_to_num(tensor.detach().to_dense()).abs().reshape(-1).argmax())
    return tuple(int(i) for i in np.unravel_index(at, tuple(tensor.shape))) if tensor.ndim else ()


def number_at(tensor: torch.Tensor, index: tuple[int, ...]) -> float:
    """One element as a number; of a complex one the real part."""
    found = tensor.detach().to_dense()[index].cpu()
    return float(found.real if found.is_complex() else found)


def extreme_of(tensor: torch.Tensor) -> float:
    """The number that is farthest from 0; of a complex one the real part."""
    return number_at(tensor, place_of_extreme(tensor))


def tensor_norm(tensor: torch.Tensor) -> float:
    """The root of the sum of the squares."""
    return float(tensor.detach().to_dense().norm())


def nonzero_grad(tensor: torch.Tensor) -> torch.Tensor | None:
    """The gradient of a tensor; None if it has none, or one that is all 0."""
    return tensor.grad if tensor.grad is not None and bool(tensor.grad.any()) else None


def held_by(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The tensors that an optimizer changes."""
    return [tensor for group in optimizer.param_groups for tensor in group["params"]]


# ── The graph ───────────────────────────────────────────────────────────────────────


def grad_fn_of(thing: Any) -> Any:
    """The graph's node that made a tensor; None for a leaf, and for a thing that is no tensor."""
    try:
        return getattr(thing, "grad_fn", None)
    except RuntimeError:  # a view whose base has been changed since has none
        return None


def nodes_below(*tensors: Any) -> Iterator[Node]:
    """Each node that a backward of these tensors comes to, the nearest first, up to MOST_NODES."""
    found = map(grad_fn_of, tensors)
    waiting: deque[Node] = deque(node for node in found if node is not None)
    known = set(waiting)
    while waiting and len(known) <= MOST_NODES:
        node = waiting.popleft()
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in known:
                known.add(child)
                waiting.append(child)
