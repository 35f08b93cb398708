"""The parameters and the batches of a lesson that is made from a script."""

from __future__ import annotations

import ast
import dataclasses
import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tutor.lesson.model import AUTOGRAD, MANUAL, MODEL, OPTIMIZER
from tutor.protocol.inspections import LoopReport
from tutor.python_syntax import behind_bar, counted_range, names_in, parts_of
from tutor.script.code_facts import CodeFacts
from tutor.script.code_pieces import LineNamer, refusal
from tutor.script.outline import Span, TrainingLoop, span_of

FoundInRun: TypeAlias = Callable[[], LoopReport]
"""A function that runs the script, and returns the report on its loop."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The names that a lesson watches."""

    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    """Assignments behind Setup that give a model's parameters names."""
    gradients: tuple[str, ...] = ()
    """Assignments behind Gradient: a lesson calls the gradient of `w`, by hand, `dw`."""


def watched_parameters(
    loop: TrainingLoop,
    found_in_run: FoundInRun,
    facts: CodeFacts,
    tree: ast.Module,
    place: LineNamer,
) -> Watched:
    """The parameters of a loop by names. Raises ScriptError where a lesson can't name them.

    `facts` are those of Setup.
    """
    if loop.mode == AUTOGRAD and _has_own_autograd(tree, facts):
        raise refusal(place, loop.line, "gradients_of_own_class")
    stored = _returned_gradients(loop, facts, tree, place)
    # Items of a list or a dictionary that a loop goes through are changed in place.
    are_items = not loop.parameters or not facts.iterated.isdisjoint(loop.parameters)
    if loop.mode in (OPTIMIZER, MODEL) or (are_items and loop.mode == AUTOGRAD):
        for name in _replaced_items(loop, tree):
            raise refusal(place, loop.line, "parameters_in_one_name", name=name)
        named = _named(found_in_run().parameters, loop, facts, tree, place)
        return dataclasses.replace(named, gradients=stored)
    if not loop.parameters:
        raise refusal(place, loop.line, "parameters_not_told")
    for name in loop.parameters:
        if name in facts.iterated:
            raise refusal(place, loop.line, "parameters_in_one_name", name=name)
        if not name.isidentifier():
            raise refusal(place, loop.line, "parameter_is_no_name", name=name)
    if loop.mode == MANUAL:
        stored = tuple(_gradients_by_hand(loop, facts, tree, place))
    return Watched(loop.parameters, (), stored)


def _replaced_items(loop: TrainingLoop, tree: ast.Module) -> Iterator[str]:
    """The lists and dictionaries of parameters whose items the loop replaces by others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and loop.line <= node.lineno <= loop.end_line:
            whole = [t.value for t in node.targets if isinstance(t, ast.Subscript)]
            yield from (text for t in whole if (text := ast.unparse(t)) in loop.parameters)


def _returned_gradients(
    loop: TrainingLoop, facts: CodeFacts, tree: ast.Module, place: LineNamer
) -> tuple[str, ...]:
    """Statements that store gradients which a call returns where a lesson looks: in `.grad`.

    None where `backward()` does that.
    """
    nodes = list(ast.walk(tree))
    if any(isinstance(n, ast.Attribute) and n.attr == "backward" for n in nodes):
        return ()
    found: list[str] = []
    expressions = {span_of(n): n for n in nodes if isinstance(n, ast.expr)}
    assigned = [n for n in nodes if isinstance(n, ast.Assign) and len(n.targets) == 1]
    for call in loop.gradient_calls:
        given = expressions[call.parameters_at]
        result = next((n for n in assigned if call.place in _places(n.value)), None)
        taken = expressions[call.place]
        is_tuple = facts.dotted(getattr(taken, "func", taken)).endswith("autograd.grad")
        lines = _stored(result, given, is_tuple, call.is_first) if result else ()
        if not lines:
            raise refusal(place, call.place[0], "gradients_without_names")
        found += lines
    return tuple(found)


def _places(value: ast.expr) -> list[Span]:
    """The place of a value; of `call[0]`, that of `call`, too."""
    match value:
        case ast.Subscript(value=inner, slice=ast.Constant(value=0)):
            return [span_of(value), span_of(inner)]
    return [span_of(value)]


def _stored(result: ast.Assign, given: ast.expr, is_tuple: bool, is_first: bool) -> tuple[str, ...]:
    """The lines that store gradients, which an assignment gives names; none if it is not clear.

    `is_tuple`: the gradients are a tuple; `is_first`: they are the first item of what is assigned.
    """
    parameters, names = list(parts_of(given)), list(parts_of(result.targets[0]))
    names = names[:1] if is_first else names
    is_whole = is_tuple and isinstance(result.targets[0], ast.Name)
    is_whole = is_whole and not isinstance(result.value, ast.Subscript)
    is_plain = all(isinstance(node, ast.Name) for node in (*parameters, *names))
    if is_whole or not is_plain or len(names) != len(parameters):
        return ()
    pairs = zip(parameters, names, strict=True)
    return tuple(f"{ast.unparse(p)}.grad = {ast.unparse(n)}" for p, n in pairs)


def _has_own_autograd(tree: ast.Module, facts: CodeFacts) -> bool:
    """Whether a class of the file has a `backward` that is not PyTorch's to call."""
    return any(
        isinstance(node, ast.ClassDef)
        and "torch.autograd.Function" not in map(facts.dotted, node.bases)
        and any(isinstance(s, ast.FunctionDef) and s.name == "backward" for s in node.body)
        for node in ast.walk(tree)
    )


def _gradients_by_hand(
    loop: TrainingLoop, facts: CodeFacts, tree: ast.Module, place: LineNamer
) -> Iterator[str]:
    taken = _all_names(tree)
    for name in loop.parameters:
        gradient = loop.gradients.get(name, "")
        if not gradient and _has_items(name, tree):
            raise refusal(place, loop.line, "parameters_in_one_name", name=name)
        if not gradient or (gradient != f"d{name}" and f"d{name}" in taken):
            raise refusal(place, loop.line, "no_line_of_gradient", name=name)
        if gradient != f"d{name}":
            yield f"d{name} = {gradient}"
        if _is_tensor(name, facts):
            yield f"{name}.grad = d{name}.reshape({name}.shape)"


def _has_items(name: str, tree: ast.Module) -> bool:
    """Whether a name stands for a dictionary: the file asks for its items by texts."""
    return any(
        isinstance(node, ast.Subscript)
        and ast.unparse(node.value) == name
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        for node in ast.walk(tree)
    )


def _is_tensor(name: str, facts: CodeFacts) -> bool:
    """Whether PyTorch makes the first value of a name: a lesson looks for its `grad`."""
    values = facts.values_of(name)
    first = values[0] if values else None
    return isinstance(first, ast.Call) and facts.dotted(first.func).startswith("torch.")


def _named(
    found: Sequence[str], loop: TrainingLoop, facts: CodeFacts, tree: ast.Module, place: LineNamer
) -> Watched:
    """The parameters that the run has found, each under a name of its own."""
    if not found:
        raise refusal(place, loop.line, "parameters_not_told")
    names: list[str] = []
    aliases: list[str] = []
    for parameter in found:
        expression = _in_setup(parameter, facts)
        if expression is None:
            raise refusal(place, loop.line, "parameter_elsewhere", parameter=parameter)
        if not expression.isidentifier():
            alias = _alias(expression, [*_all_names(tree), *names])
            aliases.append(f"{alias} = {expression}")
            expression = alias
        names.append(expression)
    return Watched(tuple(names), tuple(aliases))


def _in_setup(parameter: str, facts: CodeFacts) -> str | None:
    """The expression of a parameter in Setup, where the parts of an object are plain names.

    `self.model.weight` is `model.weight` there. None if Setup gives it no name.
    """
    part = parameter.partition(".")[2]
    for expression in (parameter, part):
        if facts.values_of(re.split(r"\W", expression, maxsplit=1)[0]):
            return expression
    return None


def _alias(expression: str, taken: Sequence[str]) -> str:
    """A name for a parameter that is not taken.

    `weight` for `model.weight`, `weight_0` for `model[0].weight`, `params_0` for `params[0]`.
    """
    model, *path = re.findall(r"\w+", expression)
    numbers = [part for part in path if part.isdigit()]
    words = [part for part in path if not part.isdigit()]
    short = "_".join([*words, *numbers])
    candidates = [short, f"{model}_{short}", *(f"{model}_{short}_{n}" for n in range(2, 99))]
    return next(name for name in candidates if name not in taken and _is_name(name))


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _all_names(tree: ast.Module) -> set[str]:
    """All names of a file."""
    return names_in(tree) | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


# ── Batches ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Batches:
    """The loop over batches as statements of a lesson, which runs each batch by its number."""

    before: tuple[str, ...]
    """The statements that the first batch of an epoch runs before all else."""
    each: tuple[str, ...]
    """The statements that each batch begins with."""


def batches_of(target: ast.expr, iterable: ast.expr, spare_name: str) -> Batches:
    """The loop `for target in iterable`. `spare_name` is for a list of its items."""
    if arguments := counted_range(iterable):
        return Batches((), (f"{ast.unparse(target)} = {_item_of_range(arguments)}",))
    iterable = behind_bar(iterable)
    match iterable, target:
        case (
            ast.Call(func=ast.Name(id="enumerate"), args=[inner, *start], keywords=words),
            ast.Tuple(elts=[number, item]),
        ):
            first = "".join(f" + {ast.unparse(s)}" for s in (*start, *(w.value for w in words)))
            counter = f"{ast.unparse(number)} = batch{first}"
            found = batches_of(item, inner, spare_name)
            is_known = counter == "batch = batch"
            return Batches(found.before, (*found.each, *([] if is_known else [counter])))
    listed = f"{spare_name} = list({ast.unparse(iterable)})"
    return Batches((listed,), (f"{_without_brackets(target)} = {spare_name}[batch]",))


def _item_of_range(arguments: Sequence[ast.expr]) -> str:
    """The number that `range(…)` gives a batch: `10 + 2 * batch`."""
    start = "0" if len(arguments) == 1 else _in_brackets(arguments[0])
    step = _in_brackets(arguments[2]) if len(arguments) == 3 else "1"
    steps = "batch" if step == "1" else f"{step} * batch"
    return steps if start == "0" else f"{start} + {steps}"


def _without_brackets(target: ast.expr) -> str:
    if not isinstance(target, ast.Tuple):
        return ast.unparse(target)
    parts = ", ".join(map(ast.unparse, target.elts))
    return parts if len(target.elts) > 1 else f"{parts},"


def _in_brackets(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Constant) else f"({text})"
