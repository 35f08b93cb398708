"""The questions of a backward pass: local gradients of one step's graph, and their sums.

The batch runs once more in a Probe, through its Gradient phase, as for the graph.
Each local gradient is PyTorch's own: when backward comes to an operation, that operation's node
is asked what it makes of a gradient of 1. Where values hold several numbers (a small batch), the
way back is walked along the last of them, `y_pred[3]`; in what they share all ways meet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import Node as AutogradNode

from tutor.analysis.graph import by_hand, names_at_backward, steps_of_backward, trace
from tutor.analysis.graph_recorder import (
    GraphRecorder,
    KnownValue,
    node_of,
    safe_value,
)
from tutor.analysis.graph_words import Spelling, element_of
from tutor.protocol.frame import Remark, Value
from tutor.protocol.inspections import GradientFlow, LocalGradientQuestion, LocalGradients
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, Standpoint
from tutor.training.program import Until

MOST_ELEMENTS = 6
"""A value of more numbers is not asked about: there are too many paths to add up."""

_NOTHING_TO_DO = frozenset({
    "Alias", "Clone", "Detach", "Expand", "Lift", "Mean", "Permute", "Reshape", "Select", "Slice",
    "Squeeze", "Sum", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View",
})  # fmt: skip
"""Operations that may leave each number as it is: there is no question about those that do."""


def local_gradients(probe: Probe, at: Standpoint, until: Until = never) -> LocalGradients:
    """The questions of the batch that `at` stands in, in the order of backward.

    Has none, and says why, where something holds more than MOST_ELEMENTS numbers or mixes them
    (as a product of matrices does), where backward is not called, and where `until` (called now
    and then) has stopped it. Raises LessonRaised only where the learner has stopped it.
    """
    probe.stand(at)
    loop = probe.loop
    recorder = _LocalRecorder(loop.program.filename, loop.namespace, until)
    try:
        raised = trace(probe, recorder)
    except InspectionStopped:
        return LocalGradients(why=Remark("not_traced"))
    if raised is not None:
        return LocalGradients(why=raised)
    if not recorder.arrivals:
        is_by_hand = not isinstance(loop.namespace.get("loss"), torch.Tensor)
        return LocalGradients(why=by_hand(loop) if is_by_hand else Remark("no_backward"))
    words = Spelling(recorder, names_at_backward(recorder, loop), loop.program.parameters)
    try:
        questions = tuple(_Questions(recorder, words).all())
    except _NotAskedError as error:
        return LocalGradients(why=error.why)
    return LocalGradients(
        questions=questions, why=None if questions else Remark("nothing_computed")
    )


class _NotAskedError(Exception):
    """Something in the graph can't be asked about."""

    def __init__(self, code: str, expression: str, **values: object) -> None:
        super().__init__(code)
        self.why = Remark(code, {"expression": expression, **values})


class _LocalRecorder(GraphRecorder):
    """Records also what each node makes of a gradient of 1, before backward lets go of it."""

    def __init__(self, filename: str, namespace: dict[str, Any], until: Until) -> None:
        super().__init__(filename, namespace, until)
        self.local: dict[int, list[tuple[torch.Tensor | None, ...]]] = {}
        """The gradients of its inputs, by the node's id and by the element of its output that is 1
        (the others are 0); None for an input that needs no gradient."""

    def _arrived(self, known: KnownValue, gradients: tuple[torch.Tensor | None, ...]) -> None:
        super()._arrived(known, gradients)
        if known.leaf is None and len(gradients) == 1 and gradients[0] is not None:
            with self._looking(), torch.no_grad():
                found = [known.node(one) for one in _ones(gradients[0])]  # type: ignore[operator]
                self.local[id(known.node)] = [g if isinstance(g, tuple) else (g,) for g in found]


def _ones(like: torch.Tensor) -> list[torch.Tensor]:
    """A 1 in each element in turn; none where there are too many of them."""
    count = like.numel()
    if count > MOST_ELEMENTS:
        return []
    return list(torch.eye(count).to(like).reshape(count, *like.shape))


@dataclass(frozen=True, slots=True)
class _Use:
    """An operation that uses a value, and its local gradients in it."""

    operation: KnownValue
    locals: tuple[float, ...]
    """One for each element of the operation's output: in the value's element of that place, if it
    has several; in its last one where the output is a single number."""


class _Questions:
    """The questions about the last backward pass."""

    def __init__(self, recorder: _LocalRecorder, words: Spelling) -> None:
        """Raises _NotAskedError where something holds too many numbers, or mixes them."""
        self._nodes, self._local, self._words = recorder.nodes, recorder.local, words
        last = recorder.arrivals[-1].run
        arrivals = [a for a in recorder.arrivals if a.run == last]
        self._gradients = {id(a.known.node): a.gradients for a in arrivals}
        walked = {id(a.known.node): a.known for a in arrivals}
        self._order = steps_of_backward(tuple(walked.values()))
        self._walked = [k for k in walked.values() if not self._does_nothing(k)]
        self._inputs = {id(k.node): self._inputs_of(k) for k in self._walked if k.leaf is None}
        self._uses: dict[int, list[_Use]] = defaultdict(list)
        for known in self._walked:
            for source, locals_ in self._inputs.get(id(known.node), {}).items():
                self._uses[source].append(_Use(known, locals_))

    def all(self) -> Iterator[LocalGradientQuestion]:
        """All questions in the order of backward; a sum of gradients stands where it is formed."""
        for known in self._walked:
            uses = self._uses[id(known.node)]
            ways = sum(len(self._elements(known, use)) for use in uses)
            if ways > 1 or (ways and known.leaf is not None):
                yield self._total(known, uses)
            yield from self._locals(known)

    def _elements(self, known: KnownValue, use: _Use) -> range:
        """The elements of an operation's output from which a way leads to the value's last."""
        count = len(use.locals)
        return range(0 if _size(known) == 1 else count - 1, count)

    # ── Questions ───────────────────────────────────────────────────────────────────

    def _locals(self, known: KnownValue) -> Iterator[LocalGradientQuestion]:
        inputs = self._inputs.get(id(known.node), {})
        values = self._values(known) if inputs else {}
        for source, locals_ in inputs.items():
            yield LocalGradientQuestion(
                asks="local",
                output=_indexed(self._words.says(known), known.outputs[0]),
                input=self._label(self._nodes[source]),
                values=values,
                expected=locals_[-1],
                order=self._order[id(known.node)],
            )

    def _total(self, known: KnownValue, uses: list[_Use]) -> LocalGradientQuestion:
        flows: list[GradientFlow] = []
        for use in uses:
            elements = self._elements(known, use)
            output = self._words.label(use.operation)
            if len(elements) == 1:
                output = self._label(use.operation, elements[0])
            gradients = tuple(self._gradient(use.operation, element) for element in elements)
            locals_ = tuple(use.locals[element] for element in elements)
            flows.append(GradientFlow(output, gradients, locals_))
        return LocalGradientQuestion(
            asks="total",
            output="",
            input=self._label(known),
            flows=tuple(flows),
            expected=self._gradient(known),
            order=self._order[id(known.node)],
        )

    def _values(self, known: KnownValue) -> dict[str, float]:
        """The operation's inputs, constants among them, and its output."""
        found: dict[str, float] = {}
        for name, tensor in self._words.operands(known):
            node = self._nodes.get(id(node_of(tensor)))
            label = self._words.label(self._source(node)) if node else name
            if 1 <= tensor.numel() <= MOST_ELEMENTS:
                value = safe_value(tensor)
                found[_indexed(label, value)] = _one_number(value, label)
        for source in self._inputs[id(known.node)]:  # what PyTorch put between is not seen
            label = self._label(self._nodes[source])
            found[label] = _one_number(self._nodes[source].outputs.get(0), label)
        label = self._label(known)
        found[label] = _one_number(known.outputs.get(0), label)
        return found

    def _label(self, known: KnownValue, element: int = -1) -> str:
        """The name of one number of the node's output (or of the leaf)."""
        return _indexed(self._words.label(known), known.outputs[0], element)

    # ── Numbers ─────────────────────────────────────────────────────────────────────

    def _inputs_of(self, known: KnownValue) -> dict[int, tuple[float, ...]]:
        """The local gradients in each input, by its node; of one used twice, their sum.

        Raises _NotAskedError if the output or an input is no number or too many, if a local
        gradient is not known, and if the output mixes an input's numbers.
        """
        text = self._words.label(known)
        _one_number(known.outputs.get(0) if len(known.outputs) == 1 else None, text)
        by_element = self._local.get(id(known.node), [])
        found: dict[int, tuple[float, ...]] = {}
        for place, (child, _) in enumerate(known.node.next_functions):
            gradients = [parts[place] for parts in by_element if place < len(parts)]
            if child is None or not gradients:
                continue
            source = self._source(self._nodes[id(child)])
            _one_number(source.outputs.get(0), self._words.label(source))
            locals_ = [
                _local(g, i, known, source) for i, g in enumerate(gradients) if g is not None
            ]
            if None in locals_:
                raise _NotAskedError("mixes_numbers", text)
            before = found.get(id(source.node), (0.0,) * len(locals_))
            found[id(source.node)] = tuple(
                a + b for a, b in zip(before, locals_, strict=True) if b is not None
            )
        if not any(found.values()):
            raise _NotAskedError("unknown_local_gradient", text)
        return {source: locals_ for source, locals_ in found.items() if locals_}

    def _gradient(self, known: KnownValue, element: int = -1) -> float:
        (gradient,) = self._gradients[id(known.node)]
        value = None if gradient is None else safe_value(gradient)
        return _one_number(value, "a gradient", element)

    # ── Operations without a question ───────────────────────────────────────────────

    def _source(self, known: KnownValue) -> KnownValue:
        """The node that a value comes from, past all that leaves a single number as it is."""
        while self._does_nothing(known):
            known = self._nodes[id(_only_input(known.node))]
        return known

    def _does_nothing(self, known: KnownValue) -> bool:
        operation = known.node.name().rpartition("::")[2].partition("Backward")[0]
        if operation not in _NOTHING_TO_DO or _only_input(known.node) is None:
            return False
        if id(known.node) not in self._local:
            return True
        by_element = self._local[id(known.node)]
        count = len(by_element)
        return count > 0 and all(
            gradient is None or _is_one(gradient, element, count)
            for element, parts in enumerate(by_element)
            for gradient in parts
        )


def _only_input(node: AutogradNode) -> AutogradNode | None:
    inputs = [child for child, _ in node.next_functions if child is not None]
    return inputs[0] if len(inputs) == 1 else None


def _is_one(gradient: torch.Tensor, element: int, count: int) -> bool:
    """Whether a gradient of `count` elements is 1 in this one, and 0 in the others."""
    flat = gradient.flatten()
    return flat.numel() == count and float(flat[element]) == 1 and int(flat.count_nonzero()) == 1


def _local(
    gradient: torch.Tensor, element: int, known: KnownValue, source: KnownValue
) -> float | None:
    """The derivative of an element of a node's output by its source's number of the same place.

    `gradient` is what the node makes of a 1 in that element. With the last number, where the
    output is a single one. None if it changes with numbers of other places too.
    """
    flat = gradient.flatten()
    if _size(source) == 1:
        return float(flat.sum())
    if _size(known) == 1:
        return float(flat[-1])
    is_alone = flat.numel() == _size(source) == _size(known)
    others = int(flat.count_nonzero()) - int(bool(flat[element])) if is_alone else 1
    return None if others else float(flat[element])


def _size(known: KnownValue) -> int:
    """The number of elements of the node's output (or of the leaf); 0 if that was not seen."""
    value = known.outputs.get(0)
    return value.size if value else 0


def _indexed(label: str, value: Value, element: int = -1) -> str:
    """The name of one number of a value: `y_pred[3]`, `(y_pred - y)[3]`; scalars keep theirs."""
    if value.size == 1:
        return label
    place = np.unravel_index(element % value.size, value.shape)
    return element_of(label, [int(index) for index in place])


def _one_number(value: Value | None, what: str, element: int = -1) -> float:
    """One of a value's numbers. Raises _NotAskedError if it has none, or too many."""
    if value is None or not value.data:
        raise _NotAskedError("no_number", what)
    if value.size > MOST_ELEMENTS:
        raise _NotAskedError("too_many_numbers", what, count=value.size, most=MOST_ELEMENTS)
    return value.data[element]
