"""The parameters and batches in the front matter of a lesson that is made from a script."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tutor.script.code_facts import CodeFacts
from tutor.script.code_pieces import LineNamer, refusal
from tutor.script.outline import TrainingLoop
from tutor.script.syntax_nodes import names_in


@dataclass(frozen=True, slots=True)
class Watched:
    """The names that a lesson watches."""

    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    """Assignments behind Setup that give a model's parameters names."""
    gradients: tuple[str, ...] = ()
    """Assignments behind Gradient: a lesson calls the gradient of `w`, by hand, `dw`."""


def watched_parameters(
    loop: TrainingLoop, facts: CodeFacts, tree: ast.Module, place: LineNamer
) -> Watched:
    """The parameters of a loop by names. Raises ScriptError where the code does not tell them."""
    if loop.mode in ("optimizer", "model"):
        return _held_by_optimizers(loop, facts, tree, place)
    if not loop.parameters:
        raise refusal(place, loop.line, "parameters_not_told")
    parameters = tuple(p for name in loop.parameters for p in _elements(name, loop, facts))
    for name in parameters:
        if name in facts.iterated:
            raise refusal(place, loop.line, "parameters_in_one_name", name=name)
        if not name.isidentifier():
            raise refusal(place, loop.line, "parameter_is_no_name", name=name)
    if loop.mode == "autograd" and "backward" in facts.methods:
        raise refusal(place, loop.line, "gradients_of_own_class")
    names = _all_names(tree)
    gradients = _own_gradients(loop, facts, names, place) if loop.mode == "manual" else ()
    return Watched(parameters, (), tuple(gradients))


def _elements(name: str, loop: TrainingLoop, facts: CodeFacts) -> tuple[str, ...]:
    """The names in a list of parameters, which autograd's are changed in place; else the name."""
    match facts.resolved(ast.Name(name)):
        case ast.List(elts=elements) | ast.Tuple(elts=elements) if loop.mode == "autograd":
            names = tuple(e.id for e in elements if isinstance(e, ast.Name))
            is_fixed = all(facts.only_value(e) is not None for e in elements)
            return names if is_fixed and len(names) == len(elements) else (name,)
    return (name,)


def _own_gradients(
    loop: TrainingLoop, facts: CodeFacts, taken: set[str], place: LineNamer
) -> Iterator[str]:
    for name in loop.parameters:
        gradient = loop.gradients.get(name, "")
        if not gradient or (gradient != f"d{name}" and f"d{name}" in taken):
            raise refusal(place, loop.line, "no_line_of_gradient", name=name)
        if gradient != f"d{name}":
            yield f"d{name} = {gradient}"
        if _is_tensor(name, facts):
            yield f"{name}.grad = d{name}.reshape({name}.shape)"


def _is_tensor(name: str, facts: CodeFacts) -> bool:
    """Whether PyTorch makes the first value of a name: a lesson looks for its `grad`."""
    values = facts.values_of(name)
    first = values[0] if values else None
    return isinstance(first, ast.Call) and facts.dotted(first.func).startswith("torch.")


def _held_by_optimizers(
    loop: TrainingLoop, facts: CodeFacts, tree: ast.Module, place: LineNamer
) -> Watched:
    names: list[str] = []
    aliases: list[str] = []
    for call in _optimizers(facts, tree):
        found = list(_held(call.args[0], facts)) if call.args else []
        if not found:
            held = ast.unparse(call.args[0]) if call.args else "its parameters"
            raise refusal(place, call.lineno, "held_not_told", held=held)
        for expression in found:
            if expression.isidentifier():
                names.append(expression)
                continue
            alias = _alias(expression, [*_all_names(tree), *names])
            names.append(alias)
            aliases.append(f"{alias} = {expression}")
    if not names:
        raise refusal(place, loop.line, "no_optimizer")
    return Watched(tuple(dict.fromkeys(names)), tuple(aliases))


def _optimizers(facts: CodeFacts, tree: ast.Module) -> list[ast.Call]:
    """The calls that make an optimizer."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    made = [c for c in calls if re.fullmatch(r"torch\.optim\.[A-Z]\w+", facts.dotted(c.func))]
    return [c for c in made if not facts.dotted(c.func).endswith("LR")]


def _held(node: ast.expr, facts: CodeFacts) -> Iterator[str]:
    """The expressions of the parameters that an optimizer is given; none if that is not known."""
    match node:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            for element in elements:
                if not isinstance(element, ast.Name):
                    return
            yield from (ast.unparse(element) for element in elements)
        case ast.Name():
            value = facts.resolved(node)
            if isinstance(value, ast.List | ast.Tuple):
                yield from _held(value, facts)
        case ast.Call(func=ast.Attribute(value=ast.Name() as model, attr="parameters"), args=[]):
            try:
                inner = parameters_of(facts.resolved(model), facts)
            except UnknownModel:
                return
            yield from (f"{model.id}{path}" for path in inner)


def _alias(expression: str, taken: Sequence[str]) -> str:
    """`weight` for `model.weight`, `weight_0` for `model[0].weight`; a name that is not taken."""
    model, *path = re.findall(r"\w+", expression)
    numbers = [part for part in path if part.isdigit()]
    words = [part for part in path if not part.isdigit()]
    short = "_".join([*words, *numbers])
    candidates = [short, f"{model}_{short}", *(f"{model}_{short}_{n}" for n in range(2, 99))]
    return next(name for name in candidates if name not in taken)


def _all_names(tree: ast.Module) -> set[str]:
    """All names of a file."""
    return names_in(tree) | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


# ── The parameters of a model ─────────────────────────────────────────────────────────

_WITH_BIAS = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d", "BatchNorm1d", "BatchNorm2d"})
_WITH_BIAS |= {"LayerNorm"}
_WITHOUT_BIAS = frozenset({"Embedding"})
_WITHOUT_PARAMETERS = frozenset({"ReLU", "LeakyReLU", "Sigmoid", "Tanh", "Softmax",
    "LogSoftmax", "GELU", "SiLU", "ELU", "Softplus", "Identity", "Flatten",
    "Unflatten", "Dropout", "Dropout2d", "MaxPool2d", "AvgPool2d"})  # fmt: skip
_LOSSES = "Loss"


class UnknownModel(Exception):
    """A model whose parameters its code does not say."""


def parameters_of(made: ast.expr, facts: CodeFacts) -> list[str]:
    """The parameters of an expression's result, as they stand behind it: `.weight`, `[0].bias`.

    Raises UnknownModel.
    """
    match made:
        case ast.Call(func=ast.Attribute(value=inner, attr="to" | "train" | "double" | "float")):
            return parameters_of(inner, facts)
        case ast.Call(func=ast.Name(id=name)) if name in facts.callables:
            if (own := facts.modules.get(name)) is None:
                raise UnknownModel
            return list(_of_class(own, facts))
        case ast.Call():
            module = facts.module_made_by(made)
            if module is not None:
                return list(_of_layer(*module, facts))
    raise UnknownModel


def _of_layer(name: str, call: ast.Call, facts: CodeFacts) -> Iterator[str]:
    if name == "Sequential":
        for index, part in enumerate(call.args):
            for inner in parameters_of(part, facts):
                yield f"[{index}]{inner}"
    elif name == "Parameter":
        yield ""
    elif name in _WITH_BIAS or name in _WITHOUT_BIAS:
        if any(keyword.arg not in _PLAIN for keyword in call.keywords):
            raise UnknownModel
        yield ".weight"
        bias = next((ast.unparse(k.value) for k in call.keywords if k.arg == "bias"), "True")
        if bias not in ("True", "False") or (len(call.args) > 2 and name == "Linear"):
            raise UnknownModel
        if name in _WITH_BIAS and bias == "True":
            yield ".bias"
    elif name not in _WITHOUT_PARAMETERS and not name.endswith(_LOSSES):
        raise UnknownModel


_PLAIN = frozenset({"bias", "in_features", "out_features", "kernel_size", "stride", "padding"})
_PLAIN |= {"in_channels", "out_channels", "num_embeddings", "embedding_dim", "dtype", "device"}


def _of_class(own: ast.ClassDef, facts: CodeFacts) -> Iterator[str]:
    """The parameters that `__init__` gives a module, in order."""
    init = next(
        (s for s in own.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None
    )
    if init is None:
        raise UnknownModel
    for statement in init.body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                if isinstance(statement.value, ast.Call):  # else it is no module
                    yield from (f".{name}{of}" for of in parameters_of(statement.value, facts))
            case ast.Expr():  # super().__init__()
                continue
            case _:
                raise UnknownModel


# ── The loop over batches: their number, and the data of each ─────────────────────────────

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
            case ast.ListComp(generators=generators):
                counts = [None if g.ifs else self.length(g.iter) for g in generators]
                known = [count for count in counts if count is not None]
                return math.prod(known) if len(known) == len(counts) else None
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
