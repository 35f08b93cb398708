"""The gradients that a script's code returns or uses, by the parameters that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from tutor.lesson.model import GRADIENT, UPDATE
from tutor.script.outline import TrainingLoop

_NUMBERS = (int, float, np.ndarray, np.generic, torch.Tensor)


class TakenGradients:
    """Notes the gradients that the hooks in a script's code hand over while a phase runs."""

    def __init__(self) -> None:
        self._before: Mapping[str, Any] | None = None
        """The parameters' objects as the phase began; None while nobody asks for gradients."""
        self._given: Any = None
        self._found: list[tuple[Any, str, Any]] = []

    @contextmanager
    def noted(self, parameters: Callable[[], Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """A span in which gradients are noted, by the parameters' labels: there are some behind it.

        `parameters` returns the objects that hold the parameters, by label.
        """
        found: dict[str, Any] = {}
        before = self._before = parameters()
        try:
            yield found
        finally:
            noted, self._found = self._found, []
            self._before = self._given = None
        after = parameters()
        for thing, text, gradient in noted:
            of = _labels_of(thing, text, before) or _labels_of(thing, text, after)
            found |= dict.fromkeys(of, gradient)

    # ── The hooks

    def keep_given(self, parameters: Any) -> Any:
        """Keep what a call will return the gradients of."""
        if self._before is None:
            return parameters
        if isinstance(parameters, Iterator):  # such as `model.parameters()`, read only once
            parameters = tuple(parameters)
        is_view = isinstance(parameters, ValuesView)
        self._given = tuple(parameters) if is_view else parameters
        return parameters

    def keep_returned(self, result: Any, is_first: bool) -> Any:
        """Note the gradients that the call has returned; `is_first`: with a value beside them."""
        if self._before is not None:
            given, self._given = self._given, None
            gradients = result[0] if is_first else result
            is_one = isinstance(given, torch.Tensor) and isinstance(gradients, tuple)
            pairs = _pairs(given, gradients[0] if is_one and gradients else gradients)
            self._found += [(thing, "", _copied(g)) for thing, g in pairs]
        return result

    def keep_used(
        self,
        value: Any,
        parameter: Callable[[], Any],
        text: str,
        is_negated: bool = False,
        gradient: Callable[[], Any] | None = None,
    ) -> Any:
        """Note the gradient that a change by hand uses: `gradient()`, or else the value itself."""
        if self._before is not None:
            with suppress(Exception):  # a script's own objects may raise anything when read
                used = _copied(value if gradient is None else gradient())
                if is_negated:
                    used = -used
                if isinstance(used, _NUMBERS):
                    self._found.append((parameter(), text, used))
        return value


class GradientsOfUpdates:
    """The gradients that the updates of one batch have used, where there are several, as in a GAN.

    The backward pass of the next loss may leave others there, which no update uses.
    """

    def __init__(self, loop: TrainingLoop, versions: Callable[[], Mapping[str, int]]) -> None:
        """`versions` returns how often each parameter that is a tensor has been changed."""
        names = [phase.name for phase in loop.phases]
        self._are_several = min(map(names.count, (GRADIENT, UPDATE))) > 1
        self._versions, self._before = versions, dict[str, int]()
        self._used: dict[str, Any] = {}

    def begin_batch(self) -> None:
        """Forget the gradients of the batch before."""
        self._used = {}

    def begin_phase(self, name: str) -> None:
        """Note the parameters before an update."""
        is_one = self._are_several and name == UPDATE
        self._before = dict(self._versions()) if is_one else {}

    def after_phase(self, gradients: dict[str, Any] | None) -> dict[str, Any] | None:
        """The gradients, with those that this update and the ones before it have used."""
        if gradients is None or not self._before:
            return gradients
        changed = [n for n, version in self._versions().items() if version != self._before.get(n)]
        self._used |= {name: gradients[name] for name in changed if name in gradients}
        return {**gradients, **self._used}


def _labels_of(thing: Any, text: str, parameters: Mapping[str, Any]) -> list[str]:
    """The labels of a parameter. Equal numbers are often one object: there the text decides."""
    found = [label for label, known in parameters.items() if known is thing]
    if isinstance(thing, int | float | complex | np.generic):
        return [label for label in found if label == text]
    return found


def _pairs(given: Any, gradients: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each tensor with its gradient, in two structures that are alike."""
    if isinstance(given, torch.Tensor) and isinstance(gradients, torch.Tensor):
        if given.shape == gradients.shape:
            yield given, gradients
    elif isinstance(given, Mapping) and isinstance(gradients, Mapping):
        for key in given:
            yield from _pairs(given[key], gradients.get(key))
    elif isinstance(given, list | tuple) and isinstance(gradients, list | tuple):
        for one, gradient in zip(given, gradients, strict=False):
            yield from _pairs(one, gradient)


def _copied(thing: Any) -> Any:
    """A copy of a gradient: the code may change it in place."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().clone()
    return thing.copy() if isinstance(thing, np.ndarray) else thing
