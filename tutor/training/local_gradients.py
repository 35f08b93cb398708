"""The questions to who plays autograd: the local gradients of one step's graph, and their sums.

The batch runs once more in a Probe, through its Gradient phase, as for a picture of the graph.
Each local gradient is PyTorch's own: when backward comes to an operation, that operation's
node is asked what it makes of a gradient of 1. Knows nothing of who is asked, and how.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import Node as AutogradNode

from tutor.training.frame import Value
from tutor.training.graph import BROKEN_OFF, BY_HAND, trace
from tutor.training.graph_record import BrokenOff, Known, Recorder, node_of, safe_value
from tutor.training.player import never
from tutor.training.probe import Probe, Standpoint
from tutor.training.sights import Local, LocalStep
from tutor.training.spelling import Spelling

_NO_BACKWARD = "Nothing calls backward in this phase: there is no way back to go."
_NOTHING_DONE = "The loss is a leaf itself: nothing was computed."

_NOTHING_TO_DO = frozenset({
    "Alias", "Clone", "Detach", "Expand", "Lift", "Mean", "Permute", "Reshape", "Select", "Slice",
    "Squeeze", "Sum", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View",
})  # fmt: skip
"""Operations that leave a single number as it is: nobody is asked about those."""


def local_gradients(probe: Probe, at: Standpoint, until: Callable[[], bool] = never) -> Local:
    """The questions of the batch that `at` stands in, in the order of backward.

    Has none, and says why, where something is no single number or backward is not called, and
    where `until` (asked now and then) has broken it off. Raises LessonRaised only where the
    learner has stopped it.
    """
    probe.stand(at)
    loop = probe.loop
    recorder = _LocalRecorder(loop.program.filename, loop.namespace, until)
    try:
        raised = trace(probe, recorder)
    except BrokenOff:
        return Local(why=BROKEN_OFF)
    if raised or not recorder.arrivals:
        is_by_hand = not isinstance(loop.namespace.get("loss"), torch.Tensor)
        return Local(why=raised or (BY_HAND if is_by_hand else _NO_BACKWARD))
    names = recorder.names if recorder.names is not None else dict(loop.namespace)
    words = Spelling(recorder, names, loop.program.parameters)
    try:
        steps = tuple(_Questions(recorder, words).all())
    except _NoNumberError as error:
        return Local(why=str(error))
    return Local(steps=steps, why="" if steps else _NOTHING_DONE)


class _NoNumberError(Exception):
    """Something in the graph can't be asked about. One line, fit to show."""


class _LocalRecorder(Recorder):
    """Records also what each node makes of a gradient of 1, before backward lets go of it."""

    def __init__(self, filename: str, namespace: dict[str, Any], until: Callable[[], bool]) -> None:
        super().__init__(filename, namespace, until)
        self.local: dict[int, tuple[torch.Tensor | None, ...]] = {}
        """By the id of the node: by input, None for one that needs no gradient."""

    def _arrived(self, known: Known, gradients: tuple[torch.Tensor | None, ...]) -> None:
        super()._arrived(known, gradients)
        if known.leaf is None and len(gradients) == 1 and gradients[0] is not None:
            with self._looking(), torch.no_grad():
                found = known.node(torch.ones_like(gradients[0]))  # type: ignore[operator]
                self.local[id(known.node)] = found if isinstance(found, tuple) else (found,)


@dataclass(frozen=True, slots=True)
class _Use:
    """An operation that uses a value, and its local gradient in it."""

    operation: Known
    local: float


class _Questions:
    """What the last walk through the graph gives to ask."""

    def __init__(self, recorder: _LocalRecorder, words: Spelling) -> None:
        """Raises _NoNumberError where something is no single number."""
        self._nodes, self._local, self._words = recorder.nodes, recorder.local, words
        last = recorder.arrivals[-1].run
        arrivals = [a for a in recorder.arrivals if a.run == last]
        self._gradients = {id(a.known.node): a.gradients for a in arrivals}
        walked = {id(a.known.node): a.known for a in arrivals}
        self._walked = [k for k in walked.values() if not self._does_nothing(k)]
        self._inputs = {id(k.node): self._inputs_of(k) for k in self._walked if k.leaf is None}
        self._uses: dict[int, list[_Use]] = defaultdict(list)
        for known in self._walked:
            for source, local in self._inputs.get(id(known.node), {}).items():
                self._uses[source].append(_Use(known, local))

    def all(self) -> Iterator[LocalStep]:
        """In the order of backward; what flows together is asked where backward has it."""
        for known in self._walked:
            uses = self._uses[id(known.node)]
            if len(uses) > 1 or (uses and known.leaf is not None):
                yield self._total(known, uses)
            yield from self._locals(known)

    # ── Questions ───────────────────────────────────────────────────────────────────

    def _locals(self, known: Known) -> Iterator[LocalStep]:
        inputs = self._inputs.get(id(known.node), {})
        values = self._values(known) if inputs else {}
        for source, local in inputs.items():
            yield LocalStep(
                asks="local",
                output=self._words.says(known),
                input=self._words.label(self._nodes[source]),
                values=values,
                expected=local,
            )

    def _total(self, known: Known, uses: list[_Use]) -> LocalStep:
        name = self._words.label(known)
        values: dict[str, float] = {}
        for use in uses:
            output = self._words.label(use.operation)
            more = f" ({len(values) // 2 + 1})" if f"gradient of {output}" in values else ""
            values[f"gradient of {output}{more}"] = self._gradient(use.operation)
            values[f"local gradient of {output} in {name}{more}"] = use.local
        return LocalStep(
            asks="total", output="", input=name, values=values, expected=self._gradient(known)
        )

    def _values(self, known: Known) -> dict[str, float]:
        """The operation's inputs, constants among them, and its output."""
        found: dict[str, float] = {}
        for name, tensor in self._words.operands(known):
            node = self._nodes.get(id(node_of(tensor)))
            label = self._words.label(self._source(node)) if node else name
            if tensor.numel() == 1:
                found[label] = self._number(safe_value(tensor), label)
        for source in self._inputs[id(known.node)]:  # what PyTorch put between is not seen
            label = self._words.label(self._nodes[source])
            found[label] = self._number(self._nodes[source].outputs.get(0), label)
        label = self._words.label(known)
        found[label] = self._number(known.outputs.get(0), label)
        return found

    # ── Numbers ─────────────────────────────────────────────────────────────────────

    def _inputs_of(self, known: Known) -> dict[int, float]:
        """By the node it comes from: the local gradient in each input; of one used twice, in all.

        Raises _NoNumberError if the output, an input or a local gradient is no single number.
        """
        text = self._words.label(known)
        self._number(known.outputs.get(0) if len(known.outputs) == 1 else None, text)
        found: dict[int, float] = defaultdict(float)
        local = self._local.get(id(known.node), ())
        for (child, _), gradient in zip(known.node.next_functions, local, strict=False):
            if child is None or gradient is None:
                continue
            source = self._source(self._nodes[id(child)])
            self._number(source.outputs.get(0), self._words.label(source))
            found[id(source.node)] += self._number(safe_value(gradient), text)
        if not found:
            raise _NoNumberError(f"`{text}` can't be asked about: its local gradient is not known.")
        return dict(found)

    def _gradient(self, known: Known) -> float:
        (gradient,) = self._gradients[id(known.node)]
        return self._number(None if gradient is None else safe_value(gradient), "a gradient")

    @staticmethod
    def _number(value: Value | None, what: str) -> float:
        if value is None or value.size != 1 or len(value.data) != 1:
            many = f"holds {value.size} numbers" if value and value.size > 1 else "is no number"
            raise _NoNumberError(f"`{what}` {many}: only steps of single numbers can be asked.")
        return value.data[0]

    # ── What is passed over ─────────────────────────────────────────────────────────

    def _source(self, known: Known) -> Known:
        """The node that a value comes from, past all that leaves a single number as it is."""
        while self._does_nothing(known):
            known = self._nodes[id(_only_input(known.node))]
        return known

    def _does_nothing(self, known: Known) -> bool:
        operation = known.node.name().rpartition("::")[2].partition("Backward")[0]
        if operation not in _NOTHING_TO_DO or _only_input(known.node) is None:
            return False
        local = self._local.get(id(known.node), ())
        return all(g is None or (g.numel() == 1 and g.item() == 1.0) for g in local)


def _only_input(node: AutogradNode) -> AutogradNode | None:
    inputs = [child for child, _ in node.next_functions if child is not None]
    return inputs[0] if len(inputs) == 1 else None
