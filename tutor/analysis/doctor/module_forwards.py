"""The forward passes of the code's models, and what became of their outputs."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from tutor.analysis.doctor.rule import nodes_below
from tutor.analysis.doctor.torch_calls import is_tutors
from tutor.analysis.graph_recorder import frame_within, tensors_in

_COMPARING = frozenset(
    {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
    | {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "gaussian_nll_loss"}
    | {"hinge_embedding_loss", "multi_margin_loss", "poisson_nll_loss"}
)
"""Loss functions: they compare an output with a target."""
_DIFFERENCES = frozenset({"sub", "__sub__", "__rsub__", "rsub", "eq", "__eq__", "ne", "__ne__"})
"""Operations that compare, if the other operand is a tensor of the data."""
_WAYS_BACK = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)


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


@dataclass(slots=True, eq=False)
class DropoutCall:
    """A call of the function `dropout` in the forward of a model that is in evaluation mode."""

    line: int
    probability: float
    module: torch.nn.Module


class ForwardWatcher(TorchFunctionMode):
    """Sees the forward passes while it is entered, and follows their outputs."""

    def __init__(self, filename: str, is_paused: Callable[[], bool]) -> None:
        """`filename` is the code's; what runs while `is_paused` says so is not the run's."""
        super().__init__()
        self.forwards: list[Forward] = []
        self.dropouts: list[DropoutCall] = []
        self._filename = filename
        self._last: dict[int, Forward] = {}
        """By line: the last one, which alone keeps its data."""
        self._open: list[tuple[torch.nn.Module, Forward]] = []
        self._notes: dict[int, tuple[Any, frozenset[Forward]]] = {}
        self._is_paused = is_paused

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch inside; then take all hooks away."""
        hooks = (
            register_module_forward_pre_hook(self._begun),
            register_module_forward_hook(self._ended, with_kwargs=True, always_call=True),
        )
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()
            self._open, self._notes = [], {}

    # ── Modules ─────────────────────────────────────────────────────────────────────

    def _begun(self, module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if self._is_paused():
            return
        if self._open:
            self._open.append((module, self._open[0][1]))
            return
        frame = frame_within(self._filename)
        if frame is not None:
            is_recorded = torch.is_grad_enabled()
            name, line = _name_in(frame, module), frame.f_lineno
            forward = Forward(module, line, name, module.training, is_recorded, arguments, {})
            self._open.append((module, forward))

    def _ended(self, module: torch.nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        """`rest`: the keywords and the output; of a forward that raised, the output None alone."""
        if self._is_paused() or not self._open or self._open[-1][0] is not module:
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

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, and follow the outputs of the models into its result."""
        keywords = kwargs or {}
        if self._is_paused() or is_tutors(sys._getframe(1), self._filename):
            return func(*args, **keywords)
        if func in _WAYS_BACK:
            for forward in self._sources(tensors_in([args, *keywords.values()])):
                forward.is_trained = True
            return func(*args, **keywords)
        result = func(*args, **keywords)
        if func is torch.nn.functional.dropout:
            self._look_at_dropout(args, keywords)
        self._follow(str(getattr(func, "__name__", "")), [*args, *keywords.values()], result)
        return result

    def _follow(self, name: str, arguments: list[Any], result: Any) -> None:
        tensors = list(tensors_in(arguments))
        sources = [self._sources([tensor]) for tensor in tensors]
        known = frozenset[Forward]().union(*sources)
        if not known:
            return
        for tensor in tensors_in(result):
            self._note(tensor, known | self._sources([tensor]))
        is_difference = name in _DIFFERENCES and any(
            not found and tensor.numel() > 1 and not tensor.requires_grad
            for tensor, found in zip(tensors, sources, strict=True)
        )
        if name in _COMPARING or (is_difference and not self._open):
            for forward in known:
                forward.is_compared = True

    def _look_at_dropout(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        is_on = keywords.get("training", args[2] if len(args) > 2 else True)
        probability = keywords.get("p", args[1] if len(args) > 1 else 0.5)
        module = self._open[-1][0] if self._open else None
        is_function = module is not None and not isinstance(module, _DropoutNd)
        if module and is_function and is_on and probability > 0 and not module.training:
            self.dropouts.append(DropoutCall(self._line(), float(probability), module))

    def _sources(self, tensors: Any) -> frozenset[Forward]:
        found = (self._notes.get(id(tensor)) for tensor in tensors)
        return frozenset[Forward]().union(*(note[1] for note in found if note is not None))

    def _note(self, tensor: torch.Tensor, forwards: frozenset[Forward]) -> None:
        key, notes = id(tensor), self._notes
        notes[key] = (weakref.ref(tensor, lambda _: notes.pop(key, None)), forwards)

    def _line(self) -> int:
        frame = frame_within(self._filename)
        return frame.f_lineno if frame is not None else 0


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
