"""The batches of a lesson that is made from a script: their number, and the data of each."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass

from tutor.script.code_facts import CodeFacts
from tutor.script.syntax_nodes import defaults_of, substituted

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_BY_SHAPE = frozenset({"randn", "rand", "zeros", "ones"})
_DRAWN = frozenset({"normal", "uniform", "random", "standard_normal", "integers", "randint"})
_SPACED = frozenset({"linspace", "logspace"})
_OF_LIST = frozenset({"tensor", "array", "asarray", "as_tensor", "from_numpy", "FloatTensor"})
_SAME_LENGTH = frozenset(
    {"float", "to", "double", "astype", "numpy", "clone", "copy", "detach", "sin"}
)


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of an epoch."""

    count: int
    before: tuple[str, ...]
    """The statements that the first batch of an epoch runs before all else."""
    each: tuple[str, ...]
    """The statements that each batch begins with."""


class BatchCounter:
    """Counts the passes of loops whose code says how many there are."""

    def __init__(self, facts: CodeFacts, options: Mapping[str, ast.expr]) -> None:
        """`options` are the values of the command line's options, by name."""
        self._facts, self._options = facts, options

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
            case ast.Call(func=ast.Name(id="zip"), args=[_, _, *_] as arguments) if all(
                isinstance(argument, ast.Name) for argument in arguments
            ):
                count = self.length(iterable)
                items = ", ".join(f"{ast.unparse(argument)}[batch]" for argument in arguments)
                return Batches(count, (), (f"{target} = {items}",)) if count else None
        count = self._loader_length(iterable)
        listed = f"{spare_name} = list({ast.unparse(iterable)})"
        return Batches(count, (listed,), (f"{target} = {spare_name}[batch]",)) if count else None

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

    def _loader_length(self, name: ast.expr) -> int | None:
        """The batches of a DataLoader of tensors that the code makes; another thing's length."""
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
            case ast.Call(func=ast.Name(id="int"), args=[of]):
                return None if (number := self._number(of)) is None else int(number)
            case ast.Attribute(value=ast.Name(), attr=name) if name in self._options:
                return self._whole(self._options[name])
            case ast.Subscript(value=ast.Attribute(value=of, attr="shape"), slice=ast.Constant(0)):
                return self.length(of)
            case ast.Name() if (given := self._facts.resolved(node)) is not node:
                return self._whole(given)
            case ast.BinOp(left=left, op=op, right=right):
                first, second = self._whole(left), self._whole(right)
                if first is not None and second and (compute := _OPERATORS.get(type(op))):
                    return int(compute(first, second))
        return None

    def _number(self, node: ast.expr) -> float | None:
        """The number that an expression stands for: `0.8 * len(data)`."""
        match node:
            case ast.Constant(value=float() as value):
                return value
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                first, second = self._number(left), self._number(right)
                return None if first is None or second is None else first * second
        return self._whole(node)

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
            case ast.ListComp(generators=generators):
                counts = [None if g.ifs else self.length(g.iter) for g in generators]
                known = [count for count in counts if count is not None]
                return math.prod(known) if len(known) == len(counts) else None
            case ast.Subscript(slice=ast.Name() as chosen):  # labels choose rows
                return self.length(chosen)
            case ast.Subscript(value=of, slice=ast.Slice() as rows):
                return self._length_of_slice(of, rows)
            case ast.Subscript(
                value=ast.Call(args=[_, ast.List(elts=sizes), *_]) as split,
                slice=ast.Constant(value=int() as at),
            ) if self._facts.dotted(split.func).endswith("random_split"):
                return self._whole(sizes[at]) if at < len(sizes) else None
            case ast.BinOp(left=left, right=right, op=op):
                first, second = self.length(left), self.length(right)
                if isinstance(op, ast.MatMult) or first == second or self._facts.is_scalar(right):
                    return first
                return second if self._facts.is_scalar(left) else None
            case ast.Call():
                return self._length_of_call(node)
        return None

    def _length_of_slice(self, of: ast.expr, rows: ast.Slice) -> int | None:
        """The length of `x[:80]`."""
        length, step = self.length(of), rows.step or ast.Constant(1)
        parts = rows.lower or ast.Constant(0), rows.upper or ast.Constant(length), step
        bounds = [self._whole(part) for part in parts]
        if length is None or None in bounds:
            return None
        return len(range(*slice(*bounds).indices(length)))

    def _length_of_own(self, own: ast.ClassDef, call: ast.Call) -> int | None:
        """The length of an object of a class of the file, as its `__len__` says."""
        methods = {s.name: s for s in own.body if isinstance(s, ast.FunctionDef)}
        init, length = methods.get("__init__"), methods.get("__len__")
        others = [method for method in methods.values() if method is not init]
        if init is None or length is None or any(map(_may_change_length, others)):
            return None
        values = _local_values(init, call, ["self"])
        return None if values is None else self._whole(_returned(length, values))

    def _length_of_result(self, function: ast.FunctionDef, call: ast.Call) -> int | None:
        """The length of what a function of the file returns."""
        values = _local_values(function, call, [])
        return None if values is None else self.length(_returned(function, values))

    def _length_of_call(self, call: ast.Call) -> int | None:
        name = ast.unparse(call.func)
        if own := self._facts.classes.get(name):
            return self._length_of_own(own, call)
        if function := self._facts.functions.get(name):
            return self._length_of_result(function, call)
        if (size := _drawn_size(call)) is not None:
            return self._whole(size)
        if name := self._facts.dotted(call.func).rpartition(".")[2]:
            return self._made_by(name, call)
        if not isinstance(call.func, ast.Attribute):
            return None
        method, owner = call.func.attr, call.func.value
        arguments = [ast.unparse(argument) for argument in call.args]
        if method in ("split", "chunk") and len(arguments) == 1 and not call.keywords:
            return _parts(self.length(owner), self._whole(call.args[0]), method)
        is_column = method in ("view", "reshape") and arguments == ["-1", "1"]
        is_column = is_column or (method == "unsqueeze" and arguments in (["1"], ["-1"]))
        return self.length(owner) if is_column or method in _SAME_LENGTH else None

    def _made_by(self, name: str, call: ast.Call) -> int | None:
        """The length of the result of a function of NumPy, PyTorch or Python."""
        arguments = call.args
        counts = [k.value for k in call.keywords if k.arg in ("steps", "num")]
        if name in ("range", "arange"):
            return self._range_of_lengths(arguments) if arguments else None
        if name == "zip" and arguments:
            lengths = [self.length(argument) for argument in arguments]
            known = [length for length in lengths if length is not None]
            return min(known) if len(known) == len(lengths) else None
        if name in _BY_SHAPE and arguments:
            sizes = arguments[0].elts if isinstance(arguments[0], ast.Tuple) else arguments
            return self._whole(sizes[0])
        if name in _SPACED and len(arguments) + len(counts) == 3:
            return self._whole([*arguments, *counts][2])
        if (name in _OF_LIST or name in ("TensorDataset", "sin", "cos")) and arguments:
            return self.length(arguments[0])
        return None


def _local_values(
    function: ast.FunctionDef, call: ast.Call, given: list[str]
) -> dict[str, ast.expr] | None:
    """The values of a function's names in terms of its call; None if more than values are set."""
    names = [a.arg for a in function.args.args if a.arg not in given]
    values = defaults_of(function) | dict(zip(names, call.args, strict=False))
    values |= {word.arg: word.value for word in call.keywords if word.arg}
    for statement in function.body:
        pairs: list[tuple[ast.expr, ast.expr]]
        match statement:
            case ast.Assign(targets=[ast.Attribute() | ast.Name() as target], value=value):
                pairs = [(target, value)]
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=parts)):
                pairs = [*zip(targets, parts, strict=False)]
            case ast.Expr(value=ast.Constant()) | ast.Return():
                continue
            case ast.Expr(value=ast.Call(func=func)) if ast.unparse(func) == "super().__init__":
                continue
            case _:
                return None
        values |= {ast.unparse(name): substituted(value, values) for name, value in pairs}
    return values


def _returned(function: ast.FunctionDef, values: Mapping[str, ast.expr]) -> ast.expr:
    """The result of a function's last line."""
    match function.body[-1]:
        case ast.Return(value=ast.expr() as result):
            return substituted(result, values)
    return ast.Constant(None)


def _may_change_length(method: ast.FunctionDef) -> bool:
    """Whether a method sets an attribute, or calls a method of one that makes it longer."""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                return True
            case ast.Call(func=ast.Attribute(value=ast.Attribute(), attr=name)):
                if name in ("append", "extend", "insert", "pop", "remove", "clear", "update"):
                    return True
    return False


def _drawn_size(call: ast.Call) -> ast.expr | None:
    """The first number of `size=(40, 2)`, as NumPy's generators are told."""
    last = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    size = next((k.value for k in call.keywords if k.arg == "size"), None)
    if size is None and last in ("normal", "uniform") and len(call.args) == 3:
        size = call.args[2]
    if size is None and last in ("randint", "integers"):
        size = next((a for a in call.args if isinstance(a, ast.Tuple)), None)
    if last not in _DRAWN or size is None:
        return None
    return size.elts[0] if isinstance(size, ast.Tuple) and size.elts else size


def _parts(length: int | None, by: int | None, method: str) -> int | None:
    """The tensors that `split` and `chunk` make of one of this length."""
    if not length or not by:
        return None
    each = by if method == "split" else math.ceil(length / by)
    return math.ceil(length / each)


def _without_brackets(target: ast.expr) -> str:
    if not isinstance(target, ast.Tuple):
        return ast.unparse(target)
    parts = ", ".join(map(ast.unparse, target.elts))
    return parts if len(target.elts) > 1 else f"{parts},"


def _in_brackets(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Constant) else f"({text})"
