"""The training loops of a script, and the outline that its stepping begins with."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Mapping

from tutor.lesson.model import GRADIENT, MANUAL, RESET, UPDATE
from tutor.python_syntax import (
    DEFINITIONS,
    FUNCTIONS,
    FunctionCode,
    LoopCode,
    argument_names,
    blocks_of,
    called_name,
    last_name,
    own_nodes,
    statements,
)
from tutor.script.code_index import WITHOUT_TRAINING, CodeIndex
from tutor.script.code_unit import is_over_parameters
from tutor.script.data_flow import (
    base_variable,
    dependences,
    is_loss,
    is_whole,
    sources,
    variables,
    writes,
)
from tutor.script.loop_facts import (
    epochs_of,
    gradient_mode,
    is_sum_of_batches,
    loss_expression,
    prediction_of,
)
from tutor.script.outline import Outline, TrainingLoop, WhyNoLoop
from tutor.script.parameter_names import ParameterNames, gradient_calls
from tutor.script.phases import PhaseCutter, StatementKinds
from tutor.script.training_signs import TrainingSigns

_LAYERS = re.compile(
    r"Linear|Sequential|Conv1d|Conv2d|Conv3d|Embedding|RNN|LSTM|GRU|Transformer|"
    r"ModuleList|Bilinear|TransformerEncoder|LazyLinear|Parameter|MLP"
)


def outline_of(source: str, local_modules: Collection[str] = ()) -> Outline:
    """The training loops of a script and their phases, or the reason why it has none.

    `local_modules` are the names of modules that stand beside the script. Raises SyntaxError.
    """
    try:
        return _outline(CodeIndex(source), local_modules)
    except RecursionError:
        return Outline((), WhyNoLoop("nested_too_deeply"))


def _outline(index: CodeIndex, local_modules: Collection[str]) -> Outline:
    signs = TrainingSigns(index)
    finder = LoopFinder(index, signs)
    found = finder.chosen()
    reasons = [(loop, why_not_stepped(index, loop)) for loop in found]
    loops = tuple(_loop(finder, loop) for loop, why in reasons if why is None)
    if (framework := _framework_of(index, _UNKNOWN_TENSORS)) and "torch" not in _packages(index):
        loops = tuple(loop for loop in loops if loop.mode == MANUAL)
        reasons = [(loop, framework) for loop in found]
    if loops:
        return Outline(loops)
    first: WhyNoLoop | None = next((why for _, why in reasons), None)
    return Outline((), first or why_no_loop(index, signs, local_modules))


def _loop(finder: LoopFinder, loop: LoopCode) -> TrainingLoop:
    index, kinds = finder.index, finder.kinds_in(loop)
    units = kinds.units()
    names = ParameterNames(finder.signs, units, loop)
    function = index.function_of(loop)
    cutter = PhaseCutter(kinds)
    loss = loss_expression(units)
    return TrainingLoop(
        line=loop.lineno,
        column=loop.col_offset,
        end_line=loop.end_lineno or loop.lineno,
        function=index.full_name(function) if function else "",
        mode=gradient_mode(index, finder.signs, kinds),
        phases=cutter.phases(),
        is_regular=cutter.is_regular,
        batches_at=cutter.batches_at,
        loss=loss,
        is_sum_of_batches=is_sum_of_batches(units, loss),
        losses_at=kinds.losses_at(own=True),
        other_losses_at=kinds.losses_at(own=False),
        prediction=prediction_of(units),
        parameters=names.parameters(),
        gradients={} if kinds.has_backward else names.gradients(),
        gradient_calls=tuple(gradient_calls(finder.signs, index.reached_code(loop.body))),
        gradient_uses=() if kinds.has_backward else tuple(names.gradient_uses()),
        layers=names.layers(),
        rates=names.rates(),
        epochs=epochs_of(finder.signs.numbers, loop),
        repeated_by=tuple(around.lineno for around in finder.loops_around(loop)),
    )


class LoopFinder:
    """Finds the loops that train, and of nested ones the loop whose passes are epochs."""

    def __init__(self, index: CodeIndex, signs: TrainingSigns) -> None:
        self.index, self.signs = index, signs
        self._called: dict[LoopCode, set[FunctionCode]] = {}
        self._kinds: dict[LoopCode, StatementKinds] = {}

    def kinds_in(self, loop: LoopCode) -> StatementKinds:
        """The kinds of a loop's statements."""
        if loop not in self._kinds:
            self._kinds[loop] = StatementKinds(self.index, self.signs, loop.body)
        return self._kinds[loop]

    def chosen(self) -> list[LoopCode]:
        """The outermost loops that train and do not make the parameters anew."""
        training = [loop for loop in self.index.loops if self._trains(loop)]
        called = set(self.index.reached_functions(self.index.tree.body))
        used = [loop for loop in training if self.index.function_of(loop) in {None, *called}]
        training = used or training
        kept = [
            loop
            for loop in training
            if not (self._makes_anew(loop) and any(self._holds(loop, n) for n in training))
        ]
        return [n for n in kept if not any(self._is_around(loop, n) for loop in kept)]

    def loops_around(self, loop: LoopCode) -> list[LoopCode]:
        """The loops that run this one in each of their passes."""
        return [outer for outer in self.index.loops if self._is_around(outer, loop)]

    def _is_around(self, outer: LoopCode, inner: LoopCode) -> bool:
        is_mutual = self._holds(inner, outer) and inner.lineno < outer.lineno
        return self._holds(outer, inner) and not is_mutual

    def _functions(self, loop: LoopCode) -> set[FunctionCode]:
        if loop not in self._called:
            self._called[loop] = set(self.index.reached_functions(loop.body))
        return self._called[loop]

    def _holds(self, outer: LoopCode, inner: LoopCode) -> bool:
        """Whether a loop runs inside another one, directly or in a function that it calls."""
        if outer is inner:
            return False
        around = list(self.index.ancestors(inner))
        if outer in around:
            function = self.index.function_of(inner)
            own = self.index.function_of(outer)
            return function is own or function in self._functions(outer)
        return self.index.function_of(inner) in self._functions(outer)

    def _trains(self, loop: LoopCode) -> bool:
        """Whether a loop takes gradients and updates parameters with them."""
        signs = self.signs.within(loop.body)
        if UPDATE not in signs:
            return False
        if GRADIENT not in signs and self._needs_backward(loop):
            return False
        kinds = self.kinds_in(loop)
        found = {kind for unit in kinds.units() for kind in unit.kinds.values()}
        return not (found <= {UPDATE, RESET} and is_over_parameters(loop, kinds.loop))

    def _needs_backward(self, loop: LoopCode) -> bool:
        """Whether the updates use gradients that PyTorch computes."""
        body = self.index.reached_code(loop.body)
        steps = [n for n in own_nodes(body) if isinstance(n, ast.Call)]
        if any(self.signs.is_optimizer_step(c) and not self.index.callees(c.func) for c in steps):
            return True
        changes = [c for s in statements(body) for c in self.signs.changes(s)]
        names = {n for c in changes for n in variables(c.added)}
        return any(n.endswith(".grad") for n in names)

    # ── Parameters made anew

    def _makes_anew(self, loop: LoopCode) -> bool:
        """Whether each pass of a loop trains new parameters: a sweep over learning rates."""
        body = self.index.reached_code(loop.body)
        nodes = [n for n in statements(body) if not isinstance(n, DEFINITIONS)]
        trained = self._trained_variables(nodes)
        flow = dependences(nodes)
        own_changes = {id(c.node) for n in nodes for c in self.signs.changes(n)}
        for node in nodes:
            is_plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)
            if id(node) in own_changes or not is_plain:
                continue
            if any(self._is_model(n, trained) for n in own_nodes([node])):
                return True
            value = getattr(node, "value", None)
            is_made = value is not None and self.signs.is_optimizer(value)
            if is_made and not self._is_conditional(node, loop):
                return True
            if self._is_start(node, trained, flow):
                return True
        return False

    def _is_conditional(self, node: ast.stmt, loop: LoopCode) -> bool:
        for parent in self.index.ancestors(node):
            if parent is loop:
                return False
            if isinstance(parent, ast.If):
                return not parent.orelse
        return False

    def _trained_variables(self, nodes: list[ast.stmt]) -> set[str]:
        """The variables that code changes by hand, also as the callers name them."""
        found = {c.variable for n in nodes for c in self.signs.changes(n)}
        for name in list(found):
            found |= {base_variable(v) for v in self.index.bindings.get(name, ()) if _is_name(v)}
        return found - {""}

    def _is_start(self, node: ast.stmt, trained: set[str], flow: dict[str, set[str]]) -> bool:
        """Whether a statement gives a parameter a value that no earlier one goes into."""
        value = getattr(node, "value", None)
        if value is None or not isinstance(node, ast.Assign | ast.AnnAssign):
            return False
        for name in trained:
            if is_whole(node, name) and name not in sources(variables([value]), flow):
                function = self.index.function_of(node)
                return function is None or name not in argument_names(function)
        return False

    def _is_model(self, node: ast.AST, trained: set[str]) -> bool:
        """Whether an expression makes a model of torch's layers or of a class of the file."""
        if not isinstance(node, ast.Call):
            return False
        if called_name(node) == "reset_parameters":
            return True
        name = last_name(node.func)
        if isinstance(node.func, ast.Name) and name in self.index.classes:
            return self.index.is_module(name) or self._holds_parameters(name, trained)
        dotted = self.index.dotted(node.func)
        return bool(_LAYERS.fullmatch(name)) and dotted.startswith(("torch.nn", "nn."))

    def _holds_parameters(self, name: str, trained: set[str]) -> bool:
        code = self.index.classes[name]
        methods = {n.name for n in ast.walk(code) if isinstance(n, FUNCTIONS)}
        if methods & {"__add__", "__mul__", "__matmul__", "step"}:
            return False  # a tensor of its own, or an optimizer
        if "parameters" in methods:
            return True
        inside = [s for n in ast.walk(code) if isinstance(n, FUNCTIONS) for s in statements(n.body)]
        if any(self.signs.changes(s) for s in inside):
            return True
        bound = self.index.bindings.items()
        held = {n for n, values in bound if any(called_name(v) == name for v in values)}

        return bool(held & trained)


def _is_name(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute)


# ── The reasons why a script has no loop that can be stepped ──────────────────────────────

_FITS = frozenset({"fit", "fit_one_cycle", "fine_tune", "fit_generator", "partial_fit"})
_NO_TRAINING = re.compile(
    r"scal|encod|vectori|pca|imput|transform|label|preproc|^tfidf|tsne|umap|binar|kfold|tokeni",
    re.IGNORECASE,
)
_TRAINS = re.compile(r"train|fit|epoch|optimi|learn", re.IGNORECASE)
_TRAIN_FUNCTION = re.compile(r"(?:train|fit)(?:$|_(?!.*(?:split|set|data|loader|transform)))")
_TORCH = frozenset({"torch", "torchvision", "torchaudio", "torchtext", "torchmetrics"})
_MAY_TRAIN = re.compile(r"step|loop|run|main", re.IGNORECASE)
_MAKES = re.compile(r"^(?:create|get|make|build|load|init|save|plot)", re.IGNORECASE)


def why_not_stepped(index: CodeIndex, loop: LoopCode) -> WhyNoLoop | None:
    """The reason why a loop that trains can't be stepped; None if it can."""
    function = index.function_of(loop)
    if isinstance(loop, ast.AsyncFor) or isinstance(function, ast.AsyncFunctionDef):
        return WhyNoLoop("async_loop", loop.lineno, {"function": function.name if function else ""})
    if function is not None and _yields(function.body):
        return WhyNoLoop("generator_loop", loop.lineno, {"function": index.full_name(function)})
    if isinstance(_scope(index, loop), ast.ClassDef):
        return WhyNoLoop("loop_in_class_body", loop.lineno)
    return None


def _yields(body: list[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(body))


def _scope(index: CodeIndex, loop: LoopCode) -> ast.AST | None:
    return next((n for n in index.ancestors(loop) if isinstance(n, DEFINITIONS)), None)


def why_no_loop(
    index: CodeIndex, signs: TrainingSigns, local_modules: Collection[str]
) -> WhyNoLoop:
    """The reason why a script has no training loop, the most telling one."""
    return (
        _in_module(index, local_modules)
        or _framework_of(index, _FRAMEWORKS)
        or _library_fit(index)
        or _in_package(index)
        or _incomplete(index, signs)
        or _no_loop(index, signs)
    )


def _in_module(index: CodeIndex, local_modules: Collection[str]) -> WhyNoLoop | None:
    """A call of a module beside the script whose name speaks of training."""
    found = [call for node in index.calls if (call := _local_call(index, node, local_modules))]
    for pattern in (_TRAINS, _MAY_TRAIN):
        for line, module, name in found:
            last = name.rpartition(".")[2]
            if pattern.search(last) and not _MAKES.search(last):
                return WhyNoLoop("loop_in_module", line, {"module": module, "name": name})
    return None


def _in_package(index: CodeIndex) -> WhyNoLoop | None:
    """A call of a package's function that trains: `engine.train(model, …)`, `d2l.train_ch3(…)`."""
    known = WITHOUT_TRAINING | sys.stdlib_module_names | _TORCH
    for node in index.calls:
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in index.imports:
                module = index.imports[name]
                if module.partition(".")[0] not in known and _TRAIN_FUNCTION.match(attr):
                    values = {"module": module, "name": f"{name}.{attr}"}
                    return WhyNoLoop("loop_in_module", node.lineno, values)
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


_UNKNOWN_TENSORS = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "paddle": "PaddlePaddle",
    "mlx": "MLX",
    "mxnet": "MXNet",
    "mindspore": "MindSpore",
    "tinygrad": "tinygrad",
}
"""Frameworks by their packages, whose tensors the tutor can't read or put back."""
_FRAMEWORKS = {**_UNKNOWN_TENSORS, **dict.fromkeys(("jax", "flax", "optax"), "JAX")}
_TRAINING_PART = re.compile(r"optim|grad|Tape|Sequential|\bModel\b", re.IGNORECASE)


def _packages(index: CodeIndex) -> set[str]:
    """The packages that a script imports."""
    return {dotted.partition(".")[0] for dotted in index.imports.values()}


def _framework_of(index: CodeIndex, frameworks: Mapping[str, str]) -> WhyNoLoop | None:
    """The first call of one of these frameworks that makes what a training loop needs."""
    for node in index.calls if _packages(index) & frameworks.keys() else ():
        dotted = index.dotted(node.func)
        framework = frameworks.get(dotted.partition(".")[0])
        if framework and _TRAINING_PART.search(dotted):
            return WhyNoLoop("other_framework", node.lineno, {"framework": framework})
    return None


def _library_fit(index: CodeIndex) -> WhyNoLoop | None:
    """A call of a library that trains by itself: `model.fit(x, y)`."""
    for node in index.calls:
        func = node.func
        if not isinstance(func, ast.Attribute) or index.callees(func):
            continue
        made = [v for v in index.bindings.get(last_name(func.value), ()) if isinstance(v, ast.Call)]
        names = [last_name(func.value), *(called_name(v) for v in made), called_name(func.value)]
        is_trainer = func.attr == "train" and any("Trainer" in name for name in names)
        is_fit = func.attr in _FITS and not any(_NO_TRAINING.search(name) for name in names)
        if is_fit or is_trainer:
            return WhyNoLoop("fit_of_library", node.lineno, {"call": ast.unparse(func)})
    return None


def _incomplete(index: CodeIndex, signs: TrainingSigns) -> WhyNoLoop | None:
    """The loop that comes nearest: one without an update, or without a backward pass."""
    for loop in index.loops:
        called = index.reached_functions([loop.test]) if isinstance(loop, ast.While) else []
        if {GRADIENT, UPDATE} <= signs.of_functions(called):
            return WhyNoLoop("update_in_condition", loop.lineno)
    for code, sign in (("no_update", GRADIENT), ("no_backward", UPDATE)):
        for loop in index.loops:
            if sign in signs.within(loop.body):
                return WhyNoLoop(code, loop.lineno)
    for loop in index.loops:
        for node in statements(loop.body):
            names = [n for n in writes(node) if is_loss(n.rpartition(".")[2])]
            if names and len(names[0]) > 1 and isinstance(node, ast.Assign | ast.AugAssign):
                return WhyNoLoop("no_update", loop.lineno, {"loss": names[0]})
    return None


def _no_loop(index: CodeIndex, signs: TrainingSigns) -> WhyNoLoop:
    """No loop at all; the line of a training step that stands in none."""
    for node in statements(index.tree.body):
        is_simple = not blocks_of(node) and not isinstance(node, DEFINITIONS)
        if is_simple and GRADIENT in signs.within([node]):
            return WhyNoLoop("step_without_loop", node.lineno)
    return WhyNoLoop("no_loop")
