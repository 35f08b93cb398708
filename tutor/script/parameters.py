"""The parameters of a running script, found by looking, their names, and their gradients.

An optimizer's tensors are parameters; without one, all leaves that require a gradient; in NumPy,
the names that the code changes by hand. Each is named by an expression of the script:
`w`, `model.fc1.weight`, `model[0].bias`, `params["w"]`, `self.w`.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, ValuesView
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any, Protocol

import numpy as np
import torch

from tutor.lesson.model import GRADIENT, MANUAL, UPDATE, gradient_variable
from tutor.script.data_flow import text_of
from tutor.script.outline import LayerParameter, TrainingLoop
from tutor.training.values import is_by_hand, stored_gradient

_DEEPEST = 3
"""Attributes and items that are followed from a name."""

_DEEPEST_LAYER = 5
"""The same, on the way to a layer of a network."""

_MOST_ITEMS = 200
"""Items of one list or dict that are looked at."""

_MOST_OBJECTS = 2000
"""Objects of a model without PyTorch that are looked at."""

_INDEX = re.compile(r"\.(\d+)(?=\.|$)")

NUMBERS = (int, float, np.ndarray, np.generic, torch.Tensor)


class SettableNames(Protocol):
    """The names of a running script, as its Driver has them."""

    def lookup(self) -> Mapping[str, Any]:
        """All names with their values."""

    def can_bind(self, expression: str) -> bool:
        """Whether the code reads a number from a settable place."""

    def bind(self, name: str, value: Any) -> None:
        """Give an expression of the script another value."""


@dataclass(slots=True)
class ParameterTable:
    """The parameters' expressions, compiled, and the optimizers that hold them."""

    loop: TrainingLoop
    targets: frozenset[str] = frozenset()
    """The targets of the file's `for` loops: `p` is no name for a parameter that a list holds."""
    literal_rate: float = 0.0
    """The learning rate that stands in the code as a number; 0.0 if none does."""
    expressions: dict[str, CodeType] = field(default_factory=dict)
    gradients: dict[str, CodeType] = field(default_factory=dict)
    computed: Collection[str] = ()
    """The parameters whose gradients no name of the code keeps: each use computes them."""
    taken: Mapping[str, Any] = field(default_factory=dict)
    """Gradients as the code has handed them over, or has computed them for its last update."""
    _optimizers: dict[str, CodeType] = field(default_factory=dict)
    """The expressions of the optimizers: the script may make another one on its way."""

    def forget(self) -> None:
        """Look again: the script has come to its loop once more, perhaps with other names."""
        self.expressions, self.taken = {}, {}

    def optimizers(self, names: Mapping[str, Any]) -> list[torch.optim.Optimizer]:
        """The optimizers as they are now."""
        found = (_evaluated(code, names) for code in self._optimizers.values())
        return [thing for thing in found if isinstance(thing, torch.optim.Optimizer)]

    def look(self, names: Mapping[str, Any]) -> None:
        """Find the parameters in a script's names, unless they are known already."""
        if self.expressions:
            return
        found = list(_reachable({k: v for k, v in names.items() if k not in self.targets}))
        found += [(k, v) for k, v in names.items() if k in self.targets]
        optimizers = {n: t for n, t in found if isinstance(t, torch.optim.Optimizer)}
        labels = [label for label, _ in _tensors(found, optimizers.values())]
        changed, of_layers = self._changed_by_hand(names)
        if not labels or self.loop.mode == MANUAL or self._are_others(changed, found, names):
            labels = changed
        labels = labels or list(_of_own_models(names))
        self.expressions = {label: _code(label) for label in labels}
        self._optimizers = {label: _code(label) for label in optimizers}
        by_hand = {**self.loop.gradients, **of_layers}
        gradients = {n: by_hand.get(n, gradient_variable(n)) for n in labels}
        self.gradients = {n: _code(gradient) for n, gradient in gradients.items()}
        read = {*self.loop.parameters, *labels}
        phases = {phase.name for phase in self.loop.phases}
        is_in_update = UPDATE in phases and GRADIENT not in phases
        self.computed = {
            n
            for n, g in gradients.items()
            if not _is_name(g)
            or read & _parts_read(g)
            or (is_in_update and n in self.loop.gradients)
        }

    def _changed_by_hand(self, names: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The labels of the parameters that the code changes by hand; gradients of layers' own."""
        known = [e for e in self.loop.parameters if not self.targets & _parts_read(e)]
        things = {e: _evaluated(_code(e), names) for e in known}
        labels = [label for e, thing in things.items() for label in _numbers(e, thing)]
        is_whole = len(known) == len(self.loop.parameters)
        if is_whole and all(thing is not None for thing in things.values()):
            return labels, {}
        layers = dict(_of_layers(self.loop.layers, names, self.targets))
        return [*dict.fromkeys([*labels, *layers])], layers

    def _are_others(
        self, by_hand: list[str], found: list[tuple[str, Any]], names: Mapping[str, Any]
    ) -> bool:
        """Whether the code changes tensors by hand that are none of a model's own."""
        things = [_evaluated(_code(label), names) for label in by_hand]
        tensors = [t for t in things if isinstance(t, torch.Tensor)]
        own = {id(t) for n, thing in found for _, t in _own_tensors(n, thing) if t.requires_grad}
        return bool(tensors) and own.isdisjoint(map(id, tensors))

    def read(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Each parameter by its expression; None where it has no value now."""
        return {n: unwrapped(_evaluated(code, names)) for n, code in self.expressions.items()}

    def read_gradients(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Each parameter's gradient by the parameter's expression; None where it has none now."""
        return {label: self.gradient(label, names) for label in self.expressions}

    def objects(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """The object that holds each parameter, such as a `Value(data=0.5)`."""
        return {n: _evaluated(code, names) for n, code in self.expressions.items()}

    def versions(self, names: Mapping[str, Any]) -> dict[str, int]:
        """The number of changes in place of each parameter that is a tensor, as PyTorch counts."""
        things = self.objects(names)
        return {n: t._version for n, t in things.items() if isinstance(t, torch.Tensor)}

    def gradient(self, label: str, names: Mapping[str, Any]) -> Any:
        """A parameter's gradient, as its expression has it, or as the code has handed it over."""
        found = None if label in self.computed else self._gradient_by_name(label, names)
        return self.taken.get(label) if found is None else found

    def _gradient_by_name(self, label: str, names: Mapping[str, Any]) -> Any:
        """`.grad` of a tensor, or the code's own by hand."""
        thing = _evaluated(self.expressions[label], names)
        stored = stored_gradient(thing)
        if stored is not None or not is_by_hand(thing):
            return stored
        if not isinstance(thing, NUMBERS) and hasattr(thing, "grad"):
            return unwrapped(thing.grad)
        return unwrapped(_evaluated(self.gradients[label], names))

    def compute(self, names: Mapping[str, Any]) -> None:
        """Take the gradients that an update computes itself: `w -= 0.1 * (w * x - y) * x`.

        Their expressions have other values with the update, or with the next sample.
        """
        values = {n: unwrapped(_evaluated(self.gradients[n], names)) for n in self.computed}
        self.take({n: copy.deepcopy(g) for n, g in values.items() if g is not None})

    def take(self, found: Mapping[str, Any], *, is_gradient: bool = False) -> None:
        """Take the gradients that a phase has handed over; one that is Gradient keeps no older."""
        self.taken = {**({} if is_gradient else self.taken), **found}

    def value(self, expression: str, names: Mapping[str, Any]) -> Any:
        """The value of an expression of the script; None if it has none."""
        return _evaluated(_code(expression), names)

    def holds_rate(self, driver: SettableNames) -> bool:
        """Whether an optimizer or a name of the code holds the learning rate."""
        return bool(self.optimizers(driver.lookup()) or self._rate_names(driver))

    def _rate_names(self, driver: SettableNames) -> list[str]:
        """The names of the learning rate that can be set: `lr`, `args.lr`."""
        return [name for name in self.loop.rates if driver.can_bind(name)]

    def set_rate(self, driver: SettableNames, new: float) -> None:
        """Change the rate of all optimizers, and of the names that stand for it in the code.

        A parameter group with a rate of its own keeps its ratio to the first.
        """
        names = driver.lookup()
        old = self.learning_rate(names)
        if new == old:
            return
        for optimizer in self.optimizers(names):
            for group in optimizer.param_groups:
                rate = group["lr"]
                is_plain = rate == old or not old or not math.isfinite(old)
                number = new if is_plain else float(rate) * new / old
                is_tensor = isinstance(rate, torch.Tensor)
                group["lr"] = rate.fill_(number) if is_tensor else number
        for name in self._rate_names(driver):
            driver.bind(name, new)

    def learning_rate(self, names: Mapping[str, Any]) -> float:
        """The learning rate of the first optimizer, or of the code; 0.0 if nothing tells."""
        for optimizer in self.optimizers(names):
            return float(optimizer.param_groups[0]["lr"])
        for rate in self.loop.rates:
            value = unwrapped(self.value(rate, names))
            if isinstance(value, NUMBERS) and np.ndim(value) == 0:
                return float(value)
        return self.literal_rate


def _tensors(
    found: list[tuple[str, Any]], optimizers: Collection[torch.optim.Optimizer]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters that are tensors: each once, by the first expression that leads there."""
    by_id: dict[int, tuple[str, torch.Tensor]] = {}
    for label, thing in found:
        for name, tensor in _own_tensors(label, thing):
            by_id.setdefault(id(tensor), (name, tensor))
    if optimizers:
        held = [p for o in optimizers for g in o.param_groups for p in g["params"]]
        yield from (by_id[id(p)] for p in dict.fromkeys(held) if id(p) in by_id)
    else:
        yield from ((n, t) for n, t in by_id.values() if t.requires_grad and t.is_leaf)


def unwrapped(thing: Any) -> Any:
    """The number in an object of the script's own class, such as `Value(data=0.5)`."""
    if type(thing) is torch.Tensor or thing is None or isinstance(thing, NUMBERS):
        return thing
    data = getattr(thing, "data", None)
    return data if isinstance(data, NUMBERS) else thing


def _code(expression: str) -> CodeType:
    try:
        return compile(expression, "<parameter>", "eval", dont_inherit=True)
    except SyntaxError:
        return compile("None", "<parameter>", "eval")


def _parts_read(expression: str) -> set[str]:
    """The names, attributes and items that an expression reads, as text: `self`, `self.w`."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        return set()
    kinds = (ast.Name, ast.Attribute, ast.Subscript)
    return {text_of(node) for node in ast.walk(tree) if isinstance(node, kinds)}


def _is_name(expression: str) -> bool:
    """Whether an expression names what the code has computed: `dw`, `grads["w"]`."""
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return True
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript)


def _evaluated(code: CodeType, names: Mapping[str, Any]) -> Any:
    """The value of an expression of names, attributes and items; None if it has none."""
    try:
        return eval(code, {"__builtins__": {}}, names)
    except Exception:  # noqa: BLE001 - a script's own objects may raise anything when read
        return None


def _numbers(expression: str, thing: Any) -> Iterator[str]:
    """The expressions of the numbers and arrays in a parameter that may be a list or a dict."""
    if isinstance(thing, dict | list | tuple) and len(thing) <= _MOST_ITEMS:
        for label, item in _parts(expression, thing):
            yield from _numbers(label, item)
    elif thing is not None:
        yield expression


def _of_own_models(names: Mapping[str, Any]) -> Iterator[str]:
    """The expressions of the parameters of models without PyTorch: objects with a `grad`."""
    seen: set[int] = set()
    models = [(n, t) for n, t in names.items() if callable(_of_class(t, "parameters"))]
    waiting = models[::-1]
    while waiting and len(seen) < _MOST_OBJECTS:
        label, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if type(thing).__module__ == "__main__" and "grad" in getattr(thing, "__dict__", ()):
            if isinstance(unwrapped(thing), NUMBERS):
                yield label
        elif not isinstance(thing, (*NUMBERS, str)):
            waiting += list(_parts(label, thing))[::-1]


def _of_layers(
    layers: Collection[LayerParameter], names: Mapping[str, Any], targets: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The parameters of all layers that the names lead to, each with its gradient's expression."""
    own = {name: thing for name, thing in names.items() if name not in targets}
    for label, thing in _reachable(own, _DEEPEST_LAYER):
        classes = [cls.__name__ for cls in type(thing).__mro__ if cls.__module__ == "__main__"]
        for layer in layers:
            if layer.class_name in classes and isinstance(
                unwrapped(vars(thing).get(layer.name)), NUMBERS
            ):
                name = f"{label}.{layer.name}"
                usual = gradient_variable(name)
                yield name, f"{label}.{layer.gradient}" if layer.gradient else usual


def _of_class(thing: Any, name: str) -> Any:
    """An attribute of the script's own class of a thing; None if it is no such thing."""
    return getattr(type(thing), name, None) if type(thing).__module__ == "__main__" else None


def _own_tensors(label: str, thing: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a thing that can be parameters, each with its expression."""
    if isinstance(thing, torch.Tensor):
        yield label, thing
    elif isinstance(thing, torch.nn.Module):
        for path, tensor in thing.named_parameters():
            yield label + _INDEX.sub(r"[\1]", f".{path}"), tensor


def _reachable(names: Mapping[str, Any], deepest: int = _DEEPEST) -> Iterator[tuple[str, Any]]:
    """The things that a script's names lead to; first the values of the names themselves."""
    seen: set[int] = set()
    level = [(name, thing) for name, thing in names.items() if not name.startswith("__")]
    for _ in range(deepest):
        below: list[tuple[str, Any]] = []
        for label, thing in level:
            if id(thing) in seen and not isinstance(thing, torch.Tensor):
                continue
            seen.add(id(thing))
            yield label, thing
            below += _parts(label, thing)
        level = below


def _key(key: str | int) -> str:
    """A key as it is usually written in code, in double quotes."""
    return json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key)


def _parts(label: str, thing: Any) -> Iterable[tuple[str, Any]]:
    """The items or attributes of a container, or of an object of the script's own class."""
    if isinstance(thing, dict) and len(thing) <= _MOST_ITEMS:
        return [(f"{label}[{_key(k)}]", v) for k, v in thing.items() if isinstance(k, str | int)]
    if isinstance(thing, list | tuple) and len(thing) <= _MOST_ITEMS:
        return [(f"{label}[{i}]", v) for i, v in enumerate(thing)]
    if isinstance(thing, torch.nn.Module | torch.Tensor | ModuleType | FunctionType | type):
        return ()
    own = getattr(thing, "__dict__", None)
    if type(thing).__module__ == "__main__" and isinstance(own, dict):
        return [(f"{label}.{name}", value) for name, value in own.items()]
    return ()


# ── The gradients that the code returns or uses, as its hooks hand them over ──────────


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
                if isinstance(used, NUMBERS):
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
