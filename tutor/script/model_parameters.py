"""The parameters of a model of torch.nn, by its code: `model.weight`, `model[0].bias`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tutor.script.code_facts import CodeFacts

_WITH_BIAS = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d", "BatchNorm1d", "BatchNorm2d"})
_WITH_BIAS |= {"LayerNorm"}
_WITHOUT_BIAS = frozenset({"Embedding"})
_WITHOUT_PARAMETERS = frozenset(
    {
        "ReLU",
        "LeakyReLU",
        "Sigmoid",
        "Tanh",
        "Softmax",
        "LogSoftmax",
        "GELU",
        "SiLU",
        "ELU",
        "Softplus",
        "Identity",
        "Flatten",
        "Unflatten",
        "Dropout",
        "Dropout2d",
        "MaxPool2d",
        "AvgPool2d",
    }
)
_LOSSES = "Loss"


class UnknownModel(Exception):
    """A model whose parameters its code does not say."""


def parameters_of(made: ast.expr, facts: CodeFacts, tree: ast.Module) -> list[str]:
    """The parameters of what an expression makes, as they stand behind it: `.weight`, `[0].bias`.

    Raises UnknownModel.
    """
    match made:
        case ast.Call(func=ast.Attribute(value=inner, attr="to" | "train" | "double" | "float")):
            return parameters_of(inner, facts, tree)
        case ast.Call(func=ast.Name(id=name)) if name in facts.callables:
            return list(_of_class(_class(name, tree), facts, tree))
        case ast.Call():
            module = facts.module_made_by(made)
            if module is not None:
                return list(_of_layer(*module, facts, tree))
    raise UnknownModel


def _of_layer(name: str, call: ast.Call, facts: CodeFacts, tree: ast.Module) -> Iterator[str]:
    if name == "Sequential":
        for index, part in enumerate(call.args):
            for inner in parameters_of(part, facts, tree):
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


def _class(name: str, tree: ast.Module) -> ast.ClassDef:
    found = [s for s in tree.body if isinstance(s, ast.ClassDef) and s.name == name]
    if len(found) != 1:
        raise UnknownModel
    return found[0]


def _of_class(own: ast.ClassDef, facts: CodeFacts, tree: ast.Module) -> Iterator[str]:
    """The parameters that `__init__` gives a module, in order."""
    bases = [facts.dotted(base) for base in own.bases]
    init = next(
        (s for s in own.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None
    )
    if bases != ["torch.nn.Module"] or init is None:
        raise UnknownModel
    for statement in init.body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                for inner in _of_value(statement.value, facts, tree):
                    yield f".{name}{inner}"
            case ast.Expr():  # super().__init__()
                continue
            case _:
                raise UnknownModel


def _of_value(value: ast.expr, facts: CodeFacts, tree: ast.Module) -> list[str]:
    """The parameters in an attribute of a module; none in one that is no module."""
    is_call = isinstance(value, ast.Call)
    return parameters_of(value, facts, tree) if is_call else []
