"""A recorder of one step's graph: the calls, their values, and the gradients of backward.

Recorded by a TorchFunctionMode, which sees each call as the lesson made it and its output with
its `grad_fn`. (A TorchDispatchMode works below autograd: it sees the kernels that one call is
composed of, but no output has a node there, and it makes PyTorch load its compiler, for seconds.)
Hooks record the way back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from tutor.protocol.frame import Value
from tutor.training.probe import InspectionStopped
from tutor.training.program import Until
from tutor.training.values import text_value, value_of

_CALLS_BETWEEN = 64
"""Calls between two calls of `until`."""

WAYS_BACK = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)
"""The functions that begin a backward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedCall:
    """One call of PyTorch, as the lesson made it."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    code: CodeType
    """The lesson's code that it stands in."""


@dataclass(slots=True, eq=False)
class KnownValue:
    """One node of the autograd graph, and as far as is known the call that made it."""

    node: Node
    leaf: torch.Tensor | None = None
    """The tensor whose gradient is accumulated here."""
    call: RecordedCall | None = None
    """None for a part of a composed call, and for a node that was made out of sight."""
    within: KnownValue | None = None
    """The node that the call returned, of which this node is a part."""
    module: RecordedCall | None = None
    """The module whose output this is; its `func` is the module."""
    outputs: dict[int, Value] = field(default_factory=dict)
    """Its outputs that have been seen, by their number."""
    old: torch.Tensor | None = None
    """The leaf's `.grad` when the leaf was first met."""


@dataclass(frozen=True, slots=True, eq=False)
class GradientArrival:
    """A gradient has come to a node. Arrivals stand in the order of backward."""

    run: int
    """PyTorch's number of the backward pass."""
    known: KnownValue
    gradients: tuple[torch.Tensor | None, ...]
    """The gradient of each output; where several paths meet, their sum."""
    old: torch.Tensor | None = None
    """A leaf's `.grad` then."""


class GraphRecorder(TorchFunctionMode):
    """Records while it is entered. What it returns to the lesson is what PyTorch returned."""

    def __init__(self, filename: str, namespace: dict[str, Any], until: Until) -> None:
        """`filename` is what the lesson's code was compiled with."""
        super().__init__()
        self.nodes: dict[int, KnownValue] = {}
        """The known values by the id of their node, which they keep alive."""
        self.made: dict[int, tuple[torch.Tensor, RecordedCall]] = {}
        """The call that returned a tensor, by the tensor's id. Both are kept alive."""
        self.locals: dict[str, list[torch.Tensor]] = {}
        """The tensors that the names inside the lesson's functions have had."""
        self.arrivals: list[GradientArrival] = []
        self.after: dict[tuple[int, int], torch.Tensor] = {}
        """A leaf's `.grad` after it was added to, by run and node."""
        self.names: dict[str, Any] | None = None
        """The lesson's names as they stood when backward began (the last time it did)."""
        self.missed = 0
        """The number of calls that could not be recorded."""
        self._filename, self._namespace, self._until = filename, namespace, until
        self._handles: list[Any] = []
        self._calls, self._is_busy = 0, False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record inside; then take all hooks away."""
        modules = torch.nn.modules.module.register_module_forward_hook(
            self._module_returned, with_kwargs=True
        )
        try:
            with self:
                yield
        finally:
            modules.remove()
            for handle in self._handles:
                handle.remove()

    # ── The way forward ─────────────────────────────────────────────────────────────

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, and record what it did if the lesson's code called it."""
        kwargs = kwargs or {}
        frame = None if self._is_busy else frame_within(self._filename)
        if frame is None:
            return func(*args, **kwargs)
        self._calls += 1
        if self._calls % _CALLS_BETWEEN == 0 and self._until():
            raise InspectionStopped
        if func in WAYS_BACK:
            found = func(*args, **kwargs)
            if func is torch.autograd.grad:
                with self._looking():
                    self._handed_back(args[1], found)  # PyTorch hands its arguments on by place
            return found
        with self._looking():
            for tensor in tensors_in((args, kwargs)):
                self._meet(tensor)
        found = func(*args, **kwargs)
        with self._looking():
            self._note_locals(frame)
            self._called(RecordedCall(func, args, kwargs, frame.f_code), found)
        return found

    def _note_locals(self, frame: FrameType) -> None:
        if frame.f_locals is frame.f_globals:
            return
        for name, thing in frame.f_locals.items():
            if isinstance(thing, torch.Tensor):
                known = self.locals.setdefault(name, [])
                if not any(thing is other for other in known):
                    known.append(thing)

    def _called(self, call: RecordedCall, found: Any) -> None:
        for tensor in tensors_in(found):
            self.made[id(tensor)] = (tensor, call)
            node = node_of(tensor)
            if node is None or tensor.grad_fn is None:
                continue
            new = self._walk(node)
            if new:
                for part in new[1:]:
                    part.within = new[0] if part.leaf is None else None
            known = self.nodes[id(node)]
            if known.within is not None or known in new[:1]:
                known.within, known.call = None, call  # the lesson gets the whole, not a mere part
            known.outputs.setdefault(tensor.output_nr, safe_value(tensor))

    def _meet(self, tensor: torch.Tensor) -> None:
        """Get to know a tensor that no call in sight has returned."""
        node = node_of(tensor)
        if node is not None and id(node) not in self.nodes:
            self._walk(node)
            if tensor.grad_fn is not None:
                self.nodes[id(node)].outputs[tensor.output_nr] = safe_value(tensor)

    def _walk(self, start: Node) -> list[KnownValue]:
        """Get to know all new nodes from here down, and hook them."""
        found: list[KnownValue] = []
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if id(node) in self.nodes:
                continue
            known = self.nodes[id(node)] = KnownValue(node, leaf_of(node))
            self._hook(known)
            found.append(known)
            waiting += [child for child, _ in node.next_functions if child is not None]
        return found

    def _module_returned(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """One of PyTorch's own modules that is not made up of others has computed something."""
        is_own = not type(module).__module__.startswith("torch.nn.")
        if is_own or not isinstance(output, torch.Tensor) or any(module.children()):
            return
        with self._looking():
            known = self.nodes.get(id(node_of(output)))
            came_in = [node_of(tensor) for tensor in tensors_in((args, kwargs))]
            if known and known.call and not any(known.node is node for node in came_in):
                known.module = RecordedCall(module, args, kwargs, known.call.code)

    # ── The way back ────────────────────────────────────────────────────────────────

    def _hook(self, known: KnownValue) -> None:
        leaf, node = known.leaf, known.node
        if leaf is None:
            self._handles.append(node.register_prehook(lambda g: self._arrived(known, g)))
            return
        self._handles += [
            leaf.register_hook(lambda g: self._arrived(known, (g,))),  # type: ignore[no-untyped-call]
            leaf.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda _: self._accumulated(known)
            ),
        ]
        known.outputs[0], known.old = safe_value(leaf), _copy_of(leaf.grad)

    def _arrived(self, known: KnownValue, gradients: tuple[torch.Tensor | None, ...]) -> None:
        with self._looking():
            run = _current_run()
            if not self.arrivals or self.arrivals[-1].run != run:
                self.names = dict(self._namespace)
            old = None
            if known.leaf is not None:
                old, known.outputs[0] = _copy_of(known.leaf.grad), safe_value(known.leaf)
            # Held, not copied: PyTorch does not write into a tensor that is held elsewhere.
            self.arrivals.append(GradientArrival(run, known, gradients, old))

    def _accumulated(self, known: KnownValue) -> None:
        with self._looking():
            new = _copy_of(known.leaf.grad) if known.leaf is not None else None
            if new is not None:
                self.after[_current_run(), id(known.node)] = new

    def _handed_back(self, inputs: Any, gradients: tuple[Any, ...]) -> None:
        """`torch.autograd.grad` stops before the nodes of the inputs that it was asked about."""
        if not self.arrivals:
            return
        run = self.arrivals[-1].run
        there = {id(a.known.node) for a in self.arrivals if a.run == run}
        for tensor, gradient in zip(tensors_in(inputs), gradients, strict=False):
            known = self.nodes.get(id(node_of(tensor)))
            if known and gradient is not None and id(known.node) not in there:
                before = (None,) * tensor.output_nr
                self.arrivals.append(GradientArrival(run, known, (*before, gradient)))

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """While something is recorded, calls are not the lesson's."""
        self._is_busy = True
        try:
            yield
        except Exception:  # noqa: BLE001 - an exotic tensor may raise anything; the lesson continues
            self.missed += 1
        finally:
            self._is_busy = False


def safe_value(tensor: torch.Tensor) -> Value:
    """The tensor's Value, or words where it shows no numbers (sparse, or inside `vmap`)."""
    try:
        return value_of(tensor if tensor.layout == torch.strided else tensor.to_dense())
    except Exception as error:  # noqa: BLE001 - whatever an exotic tensor raises, the lesson continues
        return text_value(f"{type(tensor).__name__} ({type(error).__name__})")


def frame_within(filename: str) -> FrameType | None:
    """The innermost frame on the stack whose code was compiled with this file name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != filename:
        frame = frame.f_back
    return frame


def tensors_in(things: Any) -> Iterator[torch.Tensor]:
    """The tensors in arguments or in a result."""
    if isinstance(things, torch.Tensor):
        yield things
    elif isinstance(things, list | tuple | dict):
        for thing in things.values() if isinstance(things, dict) else things:
            if isinstance(thing, _MAY_HOLD):  # of many numbers none is asked
                yield from tensors_in(thing)


_MAY_HOLD = (torch.Tensor, list, tuple, dict)


def node_of(tensor: torch.Tensor) -> Node | None:
    """The node that a gradient of this tensor comes to; None if it needs none."""
    if not tensor.requires_grad:
        return None
    return tensor.grad_fn if tensor.grad_fn is not None else get_gradient_edge(tensor).node


def leaf_of(node: Node) -> torch.Tensor | None:
    """The leaf whose gradient a node adds up; None for all other nodes."""
    if type(node).__name__ != "AccumulateGrad":
        return None
    leaf = node.variable  # type: ignore[attr-defined]
    return leaf if isinstance(leaf, torch.Tensor) else None


def _copy_of(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.detach().clone()


def _current_run() -> int:
    """The number of the walk through the graph that is under way (as torch's own hooks ask)."""
    return torch._C._current_graph_task_id()
