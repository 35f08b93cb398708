"""The gradient mode of a training loop: who computes its gradients, and who updates."""

from __future__ import annotations

import ast

from tutor.script.code_index import CodeIndex
from tutor.script.statement_kinds import StatementKinds
from tutor.script.syntax_nodes import FunctionCode, called_name, last_name, own_nodes
from tutor.script.training_signs import TrainingSigns

MANUAL, AUTOGRAD, OPTIMIZER, MODEL = "manual", "autograd", "optimizer", "model"

_NO_MODEL = ("torch.nn.functional", "torch.nn.utils", "torch.nn.init", "torch.nn.Parameter")
_MODEL_LIBRARIES = ("torchvision.models", "transformers", "timm")
_WRAPPERS = frozenset({"compile", "DataParallel", "DDP", "DistributedDataParallel", "prepare"})
_OF_MODULES = frozenset({"parameters", "train", "eval", "state_dict", "named_parameters"})
"""Methods by which a module of torch is known, wherever it comes from."""


def mode_of(index: CodeIndex, signs: TrainingSigns, kinds: StatementKinds) -> str:
    """The gradient mode of the loop whose statements have these kinds."""
    if not kinds.has_backward:
        return MANUAL
    if _uses_model(index, kinds.loop.body):
        return MODEL
    return OPTIMIZER if kinds.has_optimizer else AUTOGRAD


def _uses_model(index: CodeIndex, body: list[ast.stmt]) -> bool:
    """Whether the loop uses a module of torch that has parameters."""
    if not any(n.partition(".")[0] == "torch" for n in index.imports.values()):
        return False
    code = [*body, *(s for f in index.reached(body) for s in f.body)]
    nodes = list(own_nodes(code))
    models = _Models(index)
    names = {last_name(n) for n in nodes if isinstance(n, ast.Name | ast.Attribute)}
    if any(models.is_model(name) for name in names):
        return True
    called = {last_name(n.func) for n in nodes if isinstance(n, ast.Call)}
    called -= {*(f.name for f in index.functions), *index.classes}
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in _OF_MODULES
        and last_name(node.value) in called
        and not index.classes_of(node.value)
        for node in ast.walk(index.tree)
    )


class _Models:
    """Tells which names of a file are bound to modules of torch."""

    def __init__(self, index: CodeIndex) -> None:
        self.index = index
        self._known: dict[str, bool] = {}
        self._made_by: dict[FunctionCode, bool] = {}

    def is_model(self, name: str) -> bool:
        """Whether a name is bound to a module of torch with parameters."""
        if name not in self._known:
            self._known[name] = False  # while it is looked up
            bound = self.index.bindings.get(name, ())
            self._known[name] = any(self._makes(value) for value in bound)
        return self._known[name]

    def _makes(self, value: ast.expr) -> bool:
        match value:
            case ast.Call(func=ast.Name(id=name)) if name in self.index.classes:
                return self.index.is_module(name)
            case ast.Call(func=ast.Attribute(value=inner, attr="to" | "cuda" | "cpu" | "double")):
                return self._makes(inner)
            case ast.Call(func=func, args=args):
                dotted = self.index.dotted(func)
                if dotted.startswith(("torch.nn.", "nn.")):
                    is_wrapper = called_name(value) in _WRAPPERS and bool(args)
                    return self._makes(args[0]) if is_wrapper else _is_layer(dotted)
                if dotted.startswith(_MODEL_LIBRARIES):
                    return dotted.rpartition(".")[2][:1] != "get" and "okenizer" not in dotted
                if called_name(value) in _WRAPPERS and args:
                    return self._makes(args[0])
                return self._is_made_by(value)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self.is_model(name)
        return False

    def _is_made_by(self, call: ast.Call) -> bool:
        """Whether a function of the file returns a model."""
        return any(map(self._returns_model, self.index.callees(call.func)))

    def _returns_model(self, function: FunctionCode) -> bool:
        if function not in self._made_by:
            self._made_by[function] = False  # while it is looked up: functions may call each other
            returned = (
                node.value
                for node in own_nodes(function.body)
                if isinstance(node, ast.Return) and node.value is not None
            )
            parts = (p for v in returned for p in (v.elts if isinstance(v, ast.Tuple) else [v]))
            self._made_by[function] = any(map(self._makes, parts))
        return self._made_by[function]


def _is_layer(dotted: str) -> bool:
    """Whether a name of `torch.nn` stands for a module with layers, not for a loss or a helper."""
    dotted = dotted if dotted.startswith("torch.") else f"torch.{dotted}"
    name = dotted.rpartition(".")[2]
    return not dotted.startswith(_NO_MODEL) and name[:1].isupper() and not name.endswith("Loss")
