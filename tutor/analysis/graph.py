"""The autograd graph of one step: how the loss was computed, and how its gradient came.

The batch runs once more in a Probe, through its Gradient phase and no further, and a
Recorder looks on; so a graph can be had at any place of the batch, and the run itself
keeps its own. What is drawn is what backward really walked through, from wherever the
lesson called it; if it has not been called, what hangs on `loss`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np
import torch
from torch.autograd.graph import Node as AutogradNode

from tutor.analysis.graph_recorder import (
    GradientArrival,
    GraphRecorder,
    KnownValue,
    safe_value,
)
from tutor.analysis.graph_words import OperationWords
from tutor.protocol.frame import MAX_ELEMENTS, NO_VALUE, NONE, Remark, Value
from tutor.protocol.inspections import AutogradGraph, GraphNode
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.loop import Loop
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, Standpoint
from tutor.training.program import Until
from tutor.training.values import text_value, to_numpy

MOST_NODES = 400
"""Most nodes of a graph (and most leaves below them); the rest is only counted."""

_LONGEST_ERROR = 120


def graph_of(probe: Probe, at: Standpoint, until: Until = never) -> AutogradGraph:
    """The graph of the batch that `at` stands in, with the values and gradients of this step.

    Never raises LessonRaised, but where the learner has stopped it: what the lesson raises
    stands in `remarks`, and so does a stop by `until` (called now and then).
    """
    probe.stand(at)
    loop = probe.loop
    left_over = loop.namespace.get("loss")  # of an earlier trace in this probe
    recorder = GraphRecorder(loop.program.filename, loop.namespace, until)
    try:
        error = trace(probe, recorder)
    except InspectionStopped:
        return AutogradGraph(remarks=(Remark("not_traced"),))
    names = names_at_backward(recorder, loop)
    loss = names.get("loss")
    loss = None if error and loss is left_over else loss
    graph = _graph(recorder, OperationWords(recorder, names, loop.program.parameters), loss)
    if graph.remarks == (Remark("by_hand"),):
        graph = AutogradGraph(remarks=(by_hand(loop),))
    if error is None:
        return graph
    return AutogradGraph(
        nodes=graph.nodes, remarks=(error, *(graph.remarks if graph.nodes else ()))
    )


def trace(probe: Probe, recorder: GraphRecorder) -> Remark | None:
    """Run the batch that `probe` stands at through its Gradient phase, `recorder` looking on.

    Returns what the lesson raised. Raises InspectionStopped, and LessonRaised where the learner has
    stopped it.
    """
    try:
        with recorder.watching():
            probe.run_phases(probe.program.gradient_at + 1)
    except LessonRaised as error:
        if isinstance(error.__cause__, InspectionStopped):
            raise error.__cause__ from None
        raise_if_stopped(error)
        if probe.program.is_script and isinstance(error.__cause__, NameError):
            # The script itself goes on: code before the batch, which a probe does not run, sets it.
            return Remark("name_not_set_yet", {"name": error.__cause__.name})
        return error.remark(_LONGEST_ERROR)
    return None


def by_hand(loop: Loop) -> Remark:
    """The remark that there is no graph: a script has only the one mode."""
    return Remark("by_hand_in_script" if loop.program.is_script else "by_hand")


def names_at_backward(recorder: GraphRecorder, loop: Loop) -> dict[str, Any]:
    """The lesson's names when backward began; as they are now if it did not."""
    names = loop.namespace if recorder.names is None else recorder.names
    return {**loop.parameters(), **names}  # a script's parameters may have no name of their own


def _graph(recorder: GraphRecorder, words: OperationWords, loss: Any) -> AutogradGraph:
    tallies = {id(tally.known.node): tally for tally in _tallies(recorder)}
    top = loss.grad_fn if isinstance(loss, torch.Tensor) else None
    executed = [t.known.node for t in sorted(tallies.values(), key=lambda tally: tally.last)]
    roots = _roots(executed, top)
    if not roots:
        code = "no_gradient_asked" if isinstance(loss, torch.Tensor) else "by_hand"
        return AutogradGraph(remarks=(Remark(code),))
    reached = _reached(roots)
    kept = _kept(reached, roots[0], executed)
    ids = {id(node): i for i, node in enumerate(kept)}
    known = [recorder.nodes.get(id(node), KnownValue(node)) for node in kept]
    order = steps_of_backward([recorder.nodes[id(node)] for node in executed if id(node) in ids])
    nodes = (_node(k, ids, order, tallies.get(id(k.node)), words) for k in known)
    left_out = len(reached) - len(kept)
    is_elsewhere = bool(executed) and top is not None and all(node is not top for node in reached)
    remarks = (
        Remark("only_forward") if not executed else None,
        Remark("backward_elsewhere") if is_elsewhere else None,
        _how_it_came(recorder, tallies.values()),
        Remark("nodes_left_out", {"count": left_out}) if left_out else None,
        Remark("not_all_seen") if recorder.missed else None,
    )
    return AutogradGraph(nodes=tuple(nodes), remarks=tuple(n for n in remarks if n is not None))


def _node(
    known: KnownValue,
    ids: Mapping[int, int],
    order: Mapping[int, int],
    tally: _Tally | None,
    words: OperationWords,
) -> GraphNode:
    node = known.node
    inputs = (ids.get(id(child)) for child, _ in node.next_functions)
    value, gradient = _value_and_gradient(known, tally)
    old = new = None
    if known.leaf is not None:
        grad = known.old if tally is None else tally.old
        old = NONE if grad is None else safe_value(grad)
        new = safe_value(tally.new) if tally is not None and tally.new is not None else None
    return GraphNode(
        id=ids[id(node)],
        op=node.name().rpartition("::")[2],
        says=words.says(known),
        name=words.name_of(known),
        inputs=tuple(i for i in inputs if i is not None),
        value=value,
        gradient=gradient,
        order=order.get(id(node), -1),
        old=old,
        new=new,
        within=ids.get(id(known.within.node)) if known.within else None,
    )


def _value_and_gradient(known: KnownValue, tally: _Tally | None) -> tuple[Value, Value]:
    value = _one_value(known.outputs)
    if tally is None:
        return value, NO_VALUE
    gradients = {i: safe_value(g) for i, g in enumerate(tally.gradients) if g is not None}
    if gradients and len(known.outputs) > 1:
        # The loss may not hang on some of its outputs: nothing comes to them, which counts as 0.
        zeros = {
            i: msgspec.structs.replace(v, data=(0.0,) * len(v.data))
            for i, v in known.outputs.items()
        }
        gradients = zeros | gradients
    gradient = _one_value(gradients)
    is_sure = not gradients or value.shape == gradient.shape
    return value if is_sure else NO_VALUE, gradient


def _one_value(outputs: Mapping[int, Value]) -> Value:
    """The value of a node: of its one output, or of all of them on top of each other."""
    values = [outputs[number] for number in sorted(outputs)]
    if not values:
        return NO_VALUE
    if len(values) == 1:
        return values[0]
    first = values[0]
    if any((v.shape, v.dtype) != (first.shape, first.dtype) for v in values):
        return text_value(f"{len(values)} outputs of different shapes")
    data = tuple(number for value in values for number in value.data)
    if any(len(value.data) < value.size for value in values):
        data = first.data  # if a value is cut off, the next ones would begin at a wrong place
    return Value(data[:MAX_ELEMENTS], (len(values), *first.shape), first.dtype)


def steps_of_backward(executed: Sequence[KnownValue]) -> dict[int, int]:
    """Each node's step of backward, by its id(): the parts of one call are one step."""
    order: dict[int, int] = {}
    count = 0
    for known in executed:
        whole = order.get(id(known.within.node)) if known.within else None
        order[id(known.node)] = count if whole is None else whole
        count += whole is None
    return order


# ── The nodes of the graph ──────────────────────────────────────────────────────────


def _roots(executed: Sequence[AutogradNode], loss: AutogradNode | None) -> list[AutogradNode]:
    """The nodes that backward began with, the loss first; the loss alone if it never began."""
    inner = {id(child) for node in executed for child, _ in node.next_functions}
    roots = [node for node in executed if id(node) not in inner]
    if not roots:
        return [loss] if loss is not None else []
    return sorted(roots, key=lambda node: node is not loss)


def _kept(
    reached: Sequence[AutogradNode], root: AutogradNode, executed: Sequence[AutogradNode]
) -> list[AutogradNode]:
    """The nodes that a Graph carries, the root first, then as backward came to them.

    In this order no kept node hangs on a node that is cut off. The leaves that it hangs
    on are kept too, though backward may come to them last.
    """
    order = {id(node): i for i, node in enumerate(executed)}
    ranked = sorted(reached, key=lambda node: (node is not root, order.get(id(node), len(order))))
    kept, cut = ranked[:MOST_NODES], ranked[MOST_NODES:]
    needed = {id(child) for node in kept for child, _ in node.next_functions}
    leaves = [node for node in cut if id(node) in needed and not node.next_functions]
    return kept + leaves[:MOST_NODES]


def _reached(roots: Iterable[AutogradNode]) -> list[AutogradNode]:
    """The nodes from the roots down, each once and below one that was computed from it."""
    found: dict[int, AutogradNode] = {}
    waiting = list(roots)[::-1]
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        waiting += [child for child, _ in reversed(node.next_functions) if child is not None]
    return list(found.values())


# ── Arrived gradients ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Tally:
    """The gradients that arrived at one node, added up as far as PyTorch added them up."""

    known: KnownValue
    gradients: tuple[torch.Tensor | None, ...]
    times: int
    """The number of arrivals."""
    last: int
    """The index of the last arrival."""
    old: torch.Tensor | None
    new: torch.Tensor | None
    """None where it was handed back and not added."""


def _tallies(recorder: GraphRecorder) -> Iterator[_Tally]:
    """The gradient that arrived at each node, added up over all backward passes that count.

    Those count that added to a leaf's `.grad`, from the last time on that it was emptied
    (or otherwise changed) in between. What `torch.autograd.grad` hands back is not added up:
    there the last counts.
    """
    adding = {run for run, _ in recorder.after}
    stale = {run for run in adding if run < _last_changed(recorder)}
    by_node: dict[int, list[tuple[int, GradientArrival]]] = defaultdict(list)
    for i, arrival in enumerate(recorder.arrivals):
        if arrival.run not in stale:
            by_node[id(arrival.known.node)].append((i, arrival))
    for node, arrivals in by_node.items():
        counted = [(i, a) for i, a in arrivals if a.run in adding] or arrivals[-1:]
        last, newest = counted[-1]
        yield _Tally(
            known=newest.known,
            gradients=_sum([a.gradients for _, a in counted]),
            times=len(counted),
            last=last,
            old=counted[0][1].old,
            new=recorder.after.get((newest.run, node)),
        )


def _last_changed(recorder: GraphRecorder) -> int:
    """The first walk after a leaf's `.grad` was last changed between two walks; 0 if never."""
    first, left = 0, dict[int, torch.Tensor]()  # runs count from 0, but none before has left any
    for arrival in recorder.arrivals:
        node = id(arrival.known.node)
        if node in left and _bytes(arrival.old) != _bytes(left[node]):
            first = arrival.run
        if (new := recorder.after.get((arrival.run, node))) is not None:
            left[node] = new
    return first


def _bytes(tensor: torch.Tensor | None) -> bytes | None:
    """A value's bytes, to compare NaN as well."""
    found = to_numpy(tensor.to_dense() if tensor is not None else None)
    return np.ascontiguousarray(found).tobytes() if found is not None else None


def _sum(gradients: Sequence[tuple[torch.Tensor | None, ...]]) -> tuple[torch.Tensor | None, ...]:
    """Output by output; None is nothing, not 0."""
    if len(gradients) == 1:
        return gradients[0]
    there = ([g for g in of_one if g is not None] for of_one in zip_longest(*gradients))
    with torch.no_grad():
        return tuple(reduce(torch.add, found) if found else None for found in there)


def _how_it_came(recorder: GraphRecorder, tallies: Iterable[_Tally]) -> Remark | None:
    """A remark on how backward ran, where it was not simply called once."""
    if _last_changed(recorder):
        return Remark("backward_again")
    leaves = [tally for tally in tallies if tally.known.leaf is not None]
    times = max((tally.times for tally in leaves), default=1)
    if times > 1:
        return Remark("backward_times", {"times": times})
    if leaves and all(tally.new is None for tally in leaves):
        return Remark("handed_back")
    return None
