"""The parameters in the front matter of a lesson that is made from a script."""

from __future__ import annotations

import ast
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
        found = _held(call.args[0], facts) if call.args else []
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


def _held(node: ast.expr, facts: CodeFacts) -> list[str]:
    """The expressions of the parameters that an optimizer is given; none if that is not known."""
    match node:
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return _all_held([_held_part(part, facts) for part in parts])
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _all_held([_held(left, facts), _held(right, facts)])
        case ast.Name():
            value = facts.resolved(node)
            return _held(value, facts) if isinstance(value, ast.List | ast.Tuple) else []
        case ast.Call(func=ast.Name(id="list" | "chain") | ast.Attribute(attr="chain"), args=parts):
            return _all_held([_held(part, facts) for part in parts])
        case ast.Call(func=ast.Attribute(value=ast.Name() as model, attr="parameters"), args=[]):
            try:
                inner = parameters_of(facts.resolved(model), facts)
            except UnknownModel:
                return []
            return [f"{model.id}{path}" for path in inner]
    return []


def _held_part(node: ast.expr, facts: CodeFacts) -> list[str]:
    """The parameters of one part of a list: a tensor, several of them, or a group."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Starred(value=several):
            return _held(several, facts)
        case ast.Dict(keys=[ast.Constant(value="params"), *_], values=[group, *_]):
            return _held(group, facts)
    return []


def _all_held(parts: Sequence[list[str]]) -> list[str]:
    """All parameters; none if those of a part are not known."""
    return [name for part in parts for name in part] if all(parts) else []


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
    elif name in ("RNN", "LSTM", "GRU"):
        if not {keyword.arg for keyword in call.keywords} <= {"batch_first"} or len(call.args) > 2:
            raise UnknownModel
        yield from (".weight_ih_l0", ".weight_hh_l0", ".bias_ih_l0", ".bias_hh_l0")
    elif name in ("RNNCell", "LSTMCell", "GRUCell"):
        if call.keywords or len(call.args) > 2:
            raise UnknownModel
        yield from (".weight_ih", ".weight_hh", ".bias_ih", ".bias_hh")
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
