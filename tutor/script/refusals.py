"""The reasons why a script has no loop that can be stepped."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from tutor.script.code_index import CodeIndex
from tutor.script.data_flow import is_loss, statements, writes
from tutor.script.outline import Refusal
from tutor.script.syntax_nodes import FUNCTIONS, LOOPS, LoopCode, called_name, last_name, own_nodes
from tutor.script.training_signs import GRADIENT, UPDATE, TrainingSigns

_FITS = frozenset({"fit", "fit_one_cycle", "fine_tune", "fit_generator", "partial_fit"})
_NO_TRAINING = re.compile(
    r"scal|encod|vectori|pca|imput|transform|label|preproc|^tfidf|tsne|umap|binar|kfold|tokeni",
    re.IGNORECASE,
)
_TRAINS = re.compile(r"train|fit|epoch|optimi|learn", re.IGNORECASE)
_MAY_TRAIN = re.compile(r"step|loop|run|main", re.IGNORECASE)
_MAKES = re.compile(r"^(?:create|get|make|build|load|init|save|plot)", re.IGNORECASE)


def refusal_of_loop(index: CodeIndex, loop: LoopCode) -> Refusal | None:
    """The reason why a loop that trains can't be stepped; None if it can."""
    function = index.function_of(loop)
    if isinstance(loop, ast.AsyncFor) or isinstance(function, ast.AsyncFunctionDef):
        return Refusal("async_loop", loop.lineno, {"function": function.name if function else ""})
    if function is not None and _yields(function.body):
        return Refusal("generator_loop", loop.lineno, {"function": index.full_name(function)})
    if isinstance(_scope(index, loop), ast.ClassDef):
        return Refusal("loop_in_class_body", loop.lineno)
    return None


def _yields(body: list[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(body))


def _scope(index: CodeIndex, loop: LoopCode) -> ast.AST | None:
    kinds = (*FUNCTIONS, ast.ClassDef)
    return next((n for n in index.ancestors(loop) if isinstance(n, kinds)), None)


def refusal_of(index: CodeIndex, signs: TrainingSigns, local_modules: Collection[str]) -> Refusal:
    """The reason why a script has no training loop, the most telling one."""
    return (
        _in_module(index, local_modules)
        or _library_fit(index)
        or _incomplete(index, signs)
        or _no_loop(index, signs)
    )


def _in_module(index: CodeIndex, local_modules: Collection[str]) -> Refusal | None:
    """A call of a module beside the script whose name speaks of training."""
    found = [call for node in _calls(index) if (call := _local_call(index, node, local_modules))]
    for pattern in (_TRAINS, _MAY_TRAIN):
        for line, module, name in found:
            last = name.rpartition(".")[2]
            if pattern.search(last) and not _MAKES.search(last):
                return Refusal("loop_in_module", line, {"module": module, "name": name})
    return None


def _local_call(
    index: CodeIndex, node: ast.Call, local_modules: Collection[str]
) -> tuple[int, str, str] | None:
    """The line, module and name of a call of a module beside the script, or of its object."""
    root = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id in index.imports:
        module, name = _module_and_name(index.dotted(node.func))
        if module in local_modules or index.dotted(node.func).startswith("."):
            return None if _is_class(name) else (node.lineno, module, name or module)
    base = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    for made in index.bindings.get(base, ()):
        module, _ = _module_and_name(index.dotted(made.func) if isinstance(made, ast.Call) else "")
        if module in local_modules:
            return node.lineno, module, f"{base}.{called_name(node)}"
    return None


def _module_and_name(dotted: str) -> tuple[str, str]:
    module, _, name = dotted.lstrip(".").partition(".")
    return module, name


def _is_class(name: str) -> bool:
    return name.rpartition(".")[2][:1].isupper()


def _library_fit(index: CodeIndex) -> Refusal | None:
    """A call of a library that trains by itself: `model.fit(x, y)`."""
    for node in _calls(index):
        func = node.func
        if not isinstance(func, ast.Attribute) or index.callees(func):
            continue
        made = [v for v in index.bindings.get(last_name(func.value), ()) if isinstance(v, ast.Call)]
        names = [last_name(func.value), *(called_name(v) for v in made), called_name(func.value)]
        is_trainer = func.attr == "train" and any("Trainer" in name for name in names)
        is_fit = func.attr in _FITS and not any(_NO_TRAINING.search(name) for name in names)
        if is_fit or is_trainer:
            return Refusal("fit_of_library", node.lineno, {"call": ast.unparse(func)})
    return None


def _incomplete(index: CodeIndex, signs: TrainingSigns) -> Refusal | None:
    """The loop that comes nearest: one without an update, or without a backward pass."""
    loops = [n for n in ast.walk(index.tree) if isinstance(n, LOOPS)]
    loops.sort(key=lambda n: n.lineno)
    for loop in loops:
        called = index.reached([loop.test]) if isinstance(loop, ast.While) else []
        if {GRADIENT, UPDATE} <= signs.of_functions(called):
            return Refusal("update_in_condition", loop.lineno)
    for code, sign in (("no_update", GRADIENT), ("no_backward", UPDATE)):
        for loop in loops:
            if sign in signs.within(loop.body):
                return Refusal(code, loop.lineno)
    for loop in loops:
        for node in statements(loop.body):
            names = [n for n in writes(node) if is_loss(n.rpartition(".")[2])]
            if names and len(names[0]) > 1 and isinstance(node, ast.Assign | ast.AugAssign):
                return Refusal("no_update", loop.lineno, {"loss": names[0]})
    return None


def _no_loop(index: CodeIndex, signs: TrainingSigns) -> Refusal:
    """No loop at all; the line of a training step that stands in none."""
    for node in statements(index.tree.body):
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)) and GRADIENT in signs.own([node]):
            return Refusal("step_without_loop", node.lineno)
    return Refusal("no_loop")


def _calls(index: CodeIndex) -> list[ast.Call]:
    found = [n for n in ast.walk(index.tree) if isinstance(n, ast.Call)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))
