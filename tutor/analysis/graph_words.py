"""A recorded operation in the words of the lesson: `w * x`, `mean(…)`, `model.linear(x)`.

An operand is called by a name only if that name, when backward began, stood for that very
object; one inside a function only if it stood for nothing else. Everything else is `(…)`.

A Spelling spells the operands out: `(y_pred - y) ** 2`, where a node of the graph says `(…) ** 2`,
because there the operand is the next node.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import CodeType, ModuleType
from typing import Any

import torch

from tutor.analysis.graph_recorder import GraphRecorder, KnownValue, RecordedCall, tensors_in
from tutor.digits import significant
from tutor.plain import cut_short, one_line
from tutor.training.values import is_spoiled

_LONGEST = 72
_LONGEST_OPERAND = 24
_MOST_ITEMS = 4
UNNAMED = "(…)"

_OPERATORS = {
    "add": "+", "sub": "-", "subtract": "-", "mul": "*", "multiply": "*", "div": "/",
    "divide": "/", "true_divide": "/", "truediv": "/", "floor_divide": "//", "floordiv": "//",
    "pow": "**", "matmul": "@", "remainder": "%", "mod": "%",
}  # fmt: skip
_REFLECTED = {
    "rsub": "-", "rdiv": "/", "rtruediv": "/", "rfloordiv": "//", "rpow": "**",
    "rmatmul": "@", "rmod": "%", "radd": "+", "rmul": "*",
}  # fmt: skip
_IN_PLACE = {"iadd": "+", "isub": "-", "imul": "*", "idiv": "/", "itruediv": "/", "ipow": "**"}

_OPERATIONS = {"t": "transposed", "clone": "copy", "copy slices": "a part written over"}
"""Meanings of some of PyTorch's short names, where there is no call to show."""


class OperationWords:
    """Names and texts for what a Recorder has recorded."""

    def __init__(
        self, recorder: GraphRecorder, names: Mapping[str, Any], first: Sequence[str]
    ) -> None:
        """`names` is the lesson's namespace when backward began; `first` are preferred."""
        self._made = recorder.made
        self._names: dict[int, list[str]] = {}
        self._outputs: dict[tuple[int, int], str] = {}
        ordered = [*(n for n in first if n in names), *(n for n in names if n not in first)]
        for name, thing in _all_named({name: names[name] for name in ordered}):
            self._name(name, thing)
        for name, things in recorder.locals.items():
            if len(things) == 1 and names.get(name, things[0]) is things[0]:
                self._name(name, things[0])

    def _name(self, name: str, thing: Any) -> None:
        self._names.setdefault(id(thing), []).append(name)
        if not isinstance(thing, torch.Tensor) or is_spoiled(thing):
            return
        if thing.requires_grad and thing.grad_fn is not None:
            self._outputs.setdefault((id(thing.grad_fn), thing.output_nr), name)

    def name_of(self, known: KnownValue) -> str:
        """The variable that holds the node's output (or its outputs), or the leaf; or ""."""
        if known.leaf is not None:
            return self._names.get(id(known.leaf), [""])[0]
        held = [self._outputs.get((id(known.node), number)) for number in sorted(known.outputs)]
        return ", ".join(name for name in held if name)

    def says(self, known: KnownValue) -> str:
        """The expression that the node computed; in general words where it is not known."""
        text = self.name_of(known) or "a leaf without a name" if known.leaf is not None else ""
        text = text or self._module_text(known.module) or self._text(known.call)
        return cut_short(one_line(text or _in_words(known)), _LONGEST)

    # ── Texts ───────────────────────────────────────────────────────────────────────

    def _module_text(self, call: RecordedCall | None) -> str:
        names = self._names.get(id(call.func)) if call else None
        return f"{names[0]}({self._arguments(call)})" if call and names else ""

    def _text(self, call: RecordedCall | None) -> str:
        if call is None:
            return ""
        name, args = _called(call.func), call.args
        if name == "__get__":
            return f"{self._operand(args[0], call.code)}.{_property(call.func)}"
        if name == "__getitem__":
            return f"{self._operand(args[0], call.code)}[{self._index(args[1], call.code)}]"
        bare = name.strip("_")
        if len(args) == 2 and not any(v is not None for v in call.kwargs.values()):
            operands = [self._operand(arg, call.code) for arg in args]
            if bare in _REFLECTED and name.startswith("__"):
                return _binary(operands[1], _REFLECTED[bare], operands[0])
            if bare in _IN_PLACE or (name.endswith("_") and bare in _OPERATORS and name != bare):
                is_in_place = bare in _IN_PLACE or not name.startswith("__")
                sign = _IN_PLACE.get(bare) or _OPERATORS[bare]
                return _binary(operands[0], sign + "=" * is_in_place, operands[1])
            if bare in _OPERATORS:
                # PyTorch tells `2 * w` and `w * 2` apart by nothing: a factor comes first.
                swap = bare.startswith("mul") and isinstance(args[1], int | float)
                left, right = operands[::-1] if swap else operands
                return _binary(left, _OPERATORS[bare], right)
        if bare == "neg" and len(args) == 1:
            return f"-{self._operand(args[0], call.code)}"
        return f"{bare}({self._arguments(call)})"

    def _operand(self, thing: Any, code: CodeType) -> str:
        """A name, a number, an element of something that has a name; else `(…)`."""
        if not isinstance(thing, torch.Tensor):
            return self._constant(thing, code)
        if names := self._names.get(id(thing)):
            written = {*code.co_names, *code.co_varnames}
            return next((name for name in names if name in written), names[0])
        tensor, call = self._made.get(id(thing), (None, None))
        if tensor is not thing or call is None:
            return UNNAMED
        if call.func is torch.tensor and thing.numel() == 1:
            return self._constant(thing.item(), code)
        is_element = _called(call.func) in ("__get__", "__getitem__")
        if not is_element and thing.requires_grad:
            return UNNAMED  # it has a node of its own, which says what it is
        text = self._text(call)
        if "…" in text or len(text) > _LONGEST_OPERAND:
            return UNNAMED
        return f"({text})" if " " in text.partition("(")[0] or text[0] == "-" else text

    def _constant(self, thing: Any, code: CodeType) -> str:
        if isinstance(thing, float):
            return significant(thing)
        if thing is None or isinstance(thing, bool | int):
            return repr(thing)
        if isinstance(thing, str):
            return repr(thing) if len(thing) <= 20 else "'…'"
        if isinstance(thing, torch.dtype | torch.device):
            return str(thing)
        if isinstance(thing, list | tuple):
            items = [self._argument(item, code) for item in thing[:_MOST_ITEMS]]
            return "[" + ", ".join(items + ["…"] * (len(thing) > _MOST_ITEMS)) + "]"
        return "…"

    def _argument(self, thing: Any, code: CodeType) -> str:
        text = self._operand(thing, code)
        return "…" if text == UNNAMED else text

    def _arguments(self, call: RecordedCall) -> str:
        args = list(call.args)
        while len(args) > 1 and args[-1] is None:
            args.pop()
        defaults = _defaults(call.func)
        written = {k: v for k, v in call.kwargs.items() if v is not None}
        named = [
            f"{key}={self._argument(value, call.code)}"
            for key, value in written.items()
            if isinstance(value, torch.Tensor) or key not in defaults or defaults[key] != value
        ]
        return ", ".join([*(self._argument(arg, call.code) for arg in args), *named])

    def _index(self, index: Any, code: CodeType) -> str:
        if isinstance(index, tuple):
            return ", ".join(self._index(part, code) for part in index)
        if isinstance(index, slice):
            ends = [index.start, index.stop, *([index.step] if index.step is not None else [])]
            return ":".join("" if end is None else self._index(end, code) for end in ends)
        return "..." if index is ... else self._argument(index, code)


# ── Names ───────────────────────────────────────────────────────────────────────────


def _all_named(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All named values: variables first, then their attributes such as `model.linear.weight`."""
    yield from ((name, thing) for name, thing in names.items() if _is_nameable(thing))
    for name, thing in names.items():
        if isinstance(thing, torch.nn.Module):
            for path, inner in [*thing.named_modules(), *thing.named_parameters()]:
                if path:
                    yield label_of(name, path), inner
        elif not name.startswith("__"):
            inside = islice(with_contents(name, thing, most=_MOST_NAMED), 1, None)
            yield from ((label, inner) for label, inner in inside if _is_nameable(inner))


def _is_nameable(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor | torch.nn.Module)


def label_of(name: str, path: str) -> str:
    """The label of a part of a module as code would say it: `model[0].weight`."""
    parts = (f"[{part}]" if part.isdecimal() else f".{part}" for part in path.split("."))
    return name + "".join(parts)


_MOST_NAMED = 10_000
"""Things in one list that a graph may name: more is a data set."""
_CLOSED = (type, ModuleType, torch.Tensor, torch.nn.Module)
"""Objects that are not looked into."""


def with_contents(name: str, thing: Any, most: int = 200) -> Iterator[tuple[str, Any]]:
    """An object and the first things that it holds, one level deep, by label.

    Nothing of the object's own is called: it may raise anything.
    """
    yield name, thing
    kind = type(thing)
    if issubclass(kind, list | tuple):
        for i, one in enumerate(thing[:most]):
            yield f"{name}[{i}]", one
    elif issubclass(kind, dict):
        for key, one in list(dict.items(thing))[:most]:
            if isinstance(key, str | int):
                yield f"{name}[{key!r}]", one
    elif not issubclass(kind, _CLOSED):
        for attribute, one in list(_attributes(thing).items())[:most]:
            yield f"{name}.{attribute}", one


def _attributes(thing: Any) -> dict[str, Any]:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


# ── Functions ───────────────────────────────────────────────────────────────────────


def _called(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", type(func).__name__)


def _property(getter: Any) -> str:
    """The property that `Tensor.T.__get__` gets."""
    return str(getattr(getattr(getter, "__self__", None), "__name__", "…"))


def _binary(left: str, sign: str, right: str) -> str:
    return f"({left}) {sign} {right}" if left.startswith("-") else f"{left} {sign} {right}"


def _defaults(func: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that need not be written, where the function says so."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (ValueError, TypeError):  # most functions written in C do not say them
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _in_words(known: KnownValue) -> str:
    """`LogSoftmaxBackward0` as `log softmax`."""
    bare = re.sub(r"(Backward\d*)?$", "", known.node.name().rpartition("::")[2], count=1)
    words = " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[A-Z]", bare)).lower()
    return _OPERATIONS.get(words, words or known.node.name())


_DEEPEST = 4
"""Levels of nested operations that are spelled out."""


class Spelling(OperationWords):
    """Names and texts; an operand without a name is put into the text as its own text."""

    _depth = 0

    def label(self, known: KnownValue) -> str:
        """The label of the node's output (or of the leaf): its name, or else its expression."""
        return self.name_of(known) or self.says(known)

    def says(self, known: KnownValue) -> str:
        """The expression that the node computed, with no more parentheses than Python needs."""
        text = super().says(known)
        body = _parsed(text)
        return ast.unparse(body) if body is not None else text

    def operands(self, known: KnownValue) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors that the operation was called with, and what each is called."""
        if known.call is not None:
            for tensor in tensors_in((known.call.args, known.call.kwargs)):
                yield self._argument(tensor, known.call.code), tensor

    def _operand(self, thing: Any, code: CodeType) -> str:
        text = super()._operand(thing, code)
        inner = self._spelled_out(thing) if text == UNNAMED else ""
        return (f"({inner})" if _binds_loosely(inner) else inner) or text

    def _argument(self, thing: Any, code: CodeType) -> str:
        """The text of an argument, which needs no parentheses between commas."""
        text = super()._operand(thing, code)
        inner = self._spelled_out(thing) if text == UNNAMED else text
        return inner or "…"

    def _spelled_out(self, thing: Any) -> str:
        tensor, call = self._made.get(id(thing), (None, None))
        if tensor is not thing or call is None or self._depth >= _DEEPEST:
            return ""
        self._depth += 1
        try:
            return self._text(call)
        finally:
            self._depth -= 1


def element_of(text: str, place: Sequence[int]) -> str:
    """The name of one element of an expression's value: `y_pred[3]`, `(y_pred - y)[3, 0]`."""
    body = _parsed(text)
    index = ", ".join(map(str, place))
    if body is None:
        return f"{text}[{index}]"
    where = ast.parse(index, mode="eval").body
    return ast.unparse(ast.Subscript(body, where, ast.Load()))


def _binds_loosely(text: str) -> bool:
    body = _parsed(text)
    return " " in text if body is None else isinstance(body, ast.BinOp | ast.UnaryOp)


def _parsed(text: str) -> ast.expr | None:
    """The syntax tree of a text; None for words, and where something is left out of the text."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
