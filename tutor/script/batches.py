"""How a script's loop over batches becomes a lesson's `batches`: how many, and what each takes."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass

from tutor.script.code_facts import CodeFacts

_BY_SHAPE = frozenset({"randn", "rand", "zeros", "ones"})
_DRAWN = frozenset({"normal", "uniform", "random", "standard_normal", "integers", "randint"})
_SPACED = frozenset({"linspace", "logspace"})
_OF_LIST = frozenset({"tensor", "array", "asarray", "as_tensor", "from_numpy", "FloatTensor"})
_SAME_LENGTH = frozenset(
    {"float", "unsqueeze", "to", "double", "astype", "numpy", "clone", "copy", "detach", "sin"}
)


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of an epoch."""

    count: int
    before: tuple[str, ...]
    """What the first batch of an epoch runs before all else."""
    each: tuple[str, ...]
    """What each batch begins with."""


class BatchCounter:
    """Counts the passes of loops whose code says what they go through."""

    def __init__(self, facts: CodeFacts) -> None:
        self._facts = facts

    def batches(self, loop: ast.For, spare_name: str) -> Batches | None:
        """The loop as batches; None if that can't be told. `spare_name` is for a list of them."""
        iterable, target = loop.iter, _without_brackets(loop.target)
        match iterable:
            case ast.Call(func=ast.Name(id="tqdm"), args=[inner]):
                return self.batches(ast.For(loop.target, inner, [], []), spare_name)
            case ast.Call(func=ast.Name(id="range"), args=arguments):
                return self._of_range(loop, target, arguments)
            case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *start]):
                starts = [*start, *(keyword.value for keyword in iterable.keywords)]
                return self._numbered(loop, inner, spare_name, starts)
            case ast.Call(func=ast.Name(id="zip"), args=arguments):
                lengths = [self.length(a) for a in arguments]
                if None in lengths or not all(isinstance(a, ast.Name) for a in arguments):
                    return None
                items = ", ".join(f"{ast.unparse(a)}[batch]" for a in arguments)
                return Batches(
                    min(n for n in lengths if n is not None), (), (f"{target} = {items}",)
                )
            case ast.Name():
                count = self._loader_length(iterable)
                if count is None:
                    return None
                return Batches(
                    count,
                    (f"{spare_name} = list({iterable.id})",),
                    (f"{target} = {spare_name}[batch]",),
                )
        return None

    def _of_range(self, loop: ast.For, target: str, arguments: list[ast.expr]) -> Batches | None:
        count = self._range_of_lengths(arguments)
        if not count or not isinstance(loop.target, ast.Name):
            return None
        start, step = ("0", "1") if len(arguments) == 1 else (ast.unparse(arguments[0]), "1")
        step = _in_brackets(arguments[2]) if len(arguments) == 3 else step
        value = "batch" if step == "1" else f"{step} * batch"
        return Batches(
            count, (), (f"{target} = {value if start == '0' else f'{start} + {value}'}",)
        )

    def _range_of_lengths(self, arguments: list[ast.expr]) -> int | None:
        """The passes of `range(0, len(x), 16)`."""
        numbers = [self._whole(argument) for argument in arguments]
        known = [number for number in numbers if number is not None]
        return len(range(*known)) if len(known) == len(numbers) and 0 not in known[2:] else None

    def _numbered(
        self, loop: ast.For, inner: ast.expr, spare_name: str, starts: list[ast.expr]
    ) -> Batches | None:
        if not isinstance(loop.target, ast.Tuple) or len(loop.target.elts) != 2:
            return None
        first = "".join(f" + {ast.unparse(start)}" for start in starts)
        number, item = loop.target.elts
        found = self.batches(ast.For(item, inner, [], []), spare_name)
        if found is None or not isinstance(number, ast.Name):
            return None
        counts = () if number.id == "batch" and not first else (f"{number.id} = batch{first}",)
        return Batches(found.count, found.before, (*found.each, *counts))

    def _loader_length(self, name: ast.Name) -> int | None:
        """The batches of a DataLoader of tensors that the code makes."""
        made = self._facts.resolved(name)
        if not isinstance(made, ast.Call) or not self._facts.dotted(made.func).endswith(
            "DataLoader"
        ):
            return self.length(name)
        settings = {k.arg: k.value for k in made.keywords}
        if not settings.keys() <= {"batch_size", "shuffle", "generator", "drop_last", "dataset"}:
            return None
        data = made.args[0] if made.args else settings.get("dataset")
        size = made.args[1] if len(made.args) > 1 else settings.get("batch_size", ast.Constant(1))
        total = self.length(data) if data is not None else None
        each = self._whole(size)
        drops = ast.unparse(settings.get("drop_last", ast.Constant(False)))
        if not total or not each or drops not in ("True", "False"):
            return None
        return total // each if drops == "True" else math.ceil(total / each)

    def _whole(self, node: ast.expr) -> int | None:
        """The whole number that an expression stands for."""
        match node:
            case ast.Constant(value=int() as value):
                return value
            case ast.Call(func=ast.Name(id="len"), args=[of]):
                return self.length(of)
            case ast.Subscript(value=ast.Attribute(value=of, attr="shape"), slice=ast.Constant(0)):
                return self.length(of)
            case ast.Name() if (given := self._facts.resolved(node)) is not node:
                return self._whole(given)
            case ast.BinOp(left=left, op=ast.Mult() | ast.FloorDiv() as op, right=right):
                first, second = self._whole(left), self._whole(right)
                if first is not None and second:
                    return first * second if isinstance(op, ast.Mult) else first // second
        return None

    def length(self, node: ast.expr) -> int | None:
        """The length of an array, tensor, list or TensorDataset that the code makes."""
        match node:
            case ast.Name():
                value = self._facts.resolved(node)
                return self.length(value) if value is not node else None
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return None if any(isinstance(e, ast.Starred) for e in elements) else len(elements)
            case ast.UnaryOp(operand=operand):
                return self.length(operand)
            case ast.Subscript(slice=ast.Name() as chosen):  # labels choose rows
                return self.length(chosen)
            case ast.BinOp(left=left, right=right, op=op):
                first, second = self.length(left), self.length(right)
                if isinstance(op, ast.MatMult) or first == second or self._facts.is_scalar(right):
                    return first
                return second if self._facts.is_scalar(left) else None
            case ast.Call():
                return self._length_of_call(node)
        return None

    def _length_of_call(self, call: ast.Call) -> int | None:
        name = self._facts.dotted(call.func).rpartition(".")[2]
        if not name:
            if not isinstance(call.func, ast.Attribute):
                return None
            if (size := _drawn_size(call)) is not None:
                return self._whole(size)
            method, owner = call.func.attr, call.func.value
            if method in ("view", "reshape") and list(map(ast.unparse, call.args)) == ["-1", "1"]:
                return self.length(owner)
            first_axis = method == "unsqueeze" and list(map(ast.unparse, call.args)) not in (
                ["1"],
                ["-1"],
            )
            return self.length(owner) if method in _SAME_LENGTH and not first_axis else None
        if (size := _drawn_size(call)) is not None:
            return self._whole(size)
        arguments = call.args
        if name in _BY_SHAPE and arguments:
            sizes = arguments[0].elts if isinstance(arguments[0], ast.Tuple) else arguments
            return self._whole(sizes[0])
        if name in _SPACED and len(arguments) >= 3:
            return self._whole(arguments[2])
        if name == "arange" and arguments:
            return self._range_of_lengths(arguments)
        if (name in _OF_LIST or name in ("TensorDataset", "sin", "cos")) and arguments:
            return self.length(arguments[0])
        return None


def _drawn_size(call: ast.Call) -> ast.expr | None:
    """The first number of `size=(40, 2)`, as NumPy's generators are told."""
    last = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    size = next((k.value for k in call.keywords if k.arg == "size"), None)
    if size is None and last in ("normal", "uniform") and len(call.args) == 3:
        size = call.args[2]
    if last not in _DRAWN or size is None:
        return None
    return size.elts[0] if isinstance(size, ast.Tuple) and size.elts else size


def _without_brackets(target: ast.expr) -> str:
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return ", ".join(map(ast.unparse, parts))


def _in_brackets(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Constant) else f"({text})"
