"""The syntax trees of Python code: names, targets, imports, loops, blocks of statements.

What lessons, scripts and the doctor need of them. Nothing here runs code or loads torch.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TypeAlias

FunctionCode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
LoopCode: TypeAlias = ast.For | ast.AsyncFor | ast.While
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


def last_name(node: ast.AST) -> str:
    """`model` of `self.model`, of `model` and of `model[0]`; empty for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return last_name(value)
    return ""


def called_name(node: ast.AST) -> str:
    """The last part of the name that a call calls: `mean` of `np.mean(x)`; empty for others."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def is_of_self(node: ast.expr) -> bool:
    """Whether it is an attribute of `self`."""
    return isinstance(node, ast.Attribute) and last_name(node.value) == "self"


def own_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of code that runs at once: bodies of functions and classes are left out.

    Operators and contexts (`ast.Load`) are left out, too.
    """
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, DEFINITIONS):
            waiting += node.decorator_list[::-1]
        else:
            waiting += [n for n in ast.iter_child_nodes(node) if n._fields or n._attributes][::-1]


def argument_names(function: FunctionCode) -> set[str]:
    """The names of a function's parameters."""
    return {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}


def defaults_of(function: FunctionCode | ast.Lambda) -> dict[str, ast.expr]:
    """The default values of a function's parameters."""
    signature = function.args
    positional = [a.arg for a in (*signature.posonlyargs, *signature.args)]
    found = dict(zip(reversed(positional), reversed(signature.defaults), strict=False))
    by_word = zip(signature.kwonlyargs, signature.kw_defaults, strict=True)
    return found | {a.arg: value for a, value in by_word if value is not None}


def given_arguments(
    function: FunctionCode, call: ast.Call, *, is_bound: bool = False
) -> dict[str, ast.expr]:
    """The arguments of a call by the names of the function's parameters, as far as they tell.

    `is_bound`: the function is a method, and the call gives its first parameter, `self`, no value.
    """
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    known = takewhile(lambda value: not isinstance(value, ast.Starred), call.args)
    by_place = dict(zip(names[is_bound:], known, strict=False))
    return by_place | {word.arg: word.value for word in call.keywords if word.arg}


def names_in(*nodes: ast.AST) -> set[str]:
    """The plain names in some code."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def stored_names(node: ast.AST) -> set[str]:
    """The plain names that some code binds."""
    names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def loaded_names(node: ast.AST) -> set[str]:
    """The plain names that some code reads."""
    names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Load)}


def is_chain(node: ast.AST) -> bool:
    """Whether it is names with dots between them."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and is_chain(node.value))


def dotted_name(node: ast.AST, imports: Mapping[str, str]) -> str:
    """`torch.nn.Linear` for `nn.Linear`, imported names in full; "" for other expressions."""
    match node:
        case ast.Name(id=name):
            return imports.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            base = dotted_name(value, imports)
            return f"{base}.{attr}" if base else ""
    return ""


def root_name(node: ast.AST) -> str:
    """`layers` of `layers[0].weight`; "" if no plain name is at the root."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def imported_by(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import binds, and the dotted names that they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            module = "." * node.level + (node.module or "")
            yield alias.asname or alias.name, f"{module}.{alias.name}"


def first_line(node: ast.stmt) -> int:
    """The line that a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def last_line(node: ast.stmt | ast.expr) -> int:
    """The line that a statement or an expression ends on."""
    return node.end_lineno or node.lineno


# ── Targets and their values ────────────────────────────────────────────────────────────


def parts_of(target: ast.expr) -> Iterator[ast.expr]:
    """The elements of a tuple or list, and of those in it; else the expression itself."""
    if isinstance(target, ast.Tuple | ast.List) and target.elts:
        for element in target.elts:
            yield from parts_of(element)
    elif isinstance(target, ast.Starred):
        yield from parts_of(target.value)
    else:
        yield target


def targets_of(node: ast.AST) -> list[ast.expr]:
    """The targets that a statement assigns or deletes."""
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
        case ast.For(target=target) | ast.AsyncFor(target=target):
            return [target]
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return [item.optional_vars for item in items if item.optional_vars]
    return []


def flat_targets(node: ast.AST) -> list[ast.expr]:
    """The targets that a statement assigns or deletes; each element of a tuple by itself."""
    return [part for target in targets_of(node) for part in parts_of(target)]


def pairs_of(
    target: ast.expr, value: ast.expr | None
) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Each element of a target with its value; None where the code does not say that value."""
    if isinstance(target, ast.Tuple | ast.List):
        values: Sequence[ast.expr | None] = [None] * len(target.elts)
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            values = value.elts
        for part, of_part in zip(target.elts, values, strict=True):
            yield from pairs_of(part, of_part)
    elif isinstance(target, ast.Starred):
        yield from pairs_of(target.value, None)
    else:
        yield target, value


# ── What a loop goes through ────────────────────────────────────────────────────────────

SAME_ITEMS = frozenset({"reversed", "list", "tuple", "sorted"})
"""Functions that give the items of their first argument."""
RANGES = ("range", "trange")
"""Functions that count."""
_BARS = frozenset({"tqdm", "track", "progress_bar"})
"""Functions that show a progress bar while a loop goes through their first argument."""


def behind_bar(iterated: ast.expr) -> ast.expr:
    """The thing that a loop goes through: `batches` of `tqdm(batches, desc="training")`."""
    while called_name(iterated) in _BARS and (arguments := getattr(iterated, "args", [])):
        iterated = arguments[0]
    return iterated


def counted_range(iterated: ast.expr) -> list[ast.expr] | None:
    """The arguments of the `range(…)` that a loop counts through, with a bar or not; else None."""
    match behind_bar(iterated):
        case ast.Call(func=func, args=arguments) if last_name(func) in RANGES:
            return None if any(isinstance(a, ast.Starred) for a in arguments) else arguments
    return None


def items_of(target: ast.expr, iterated: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each part of a loop's target with the thing whose items it stands for.

    `for i, (p, g) in enumerate(zip(params, grads))`: i of a range, p of params, g of grads.
    """
    iterated = behind_bar(iterated)
    name, arguments = called_name(iterated), getattr(iterated, "args", [])
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else []
    if name in SAME_ITEMS and arguments:
        yield from items_of(target, arguments[0])
    elif name == "enumerate" and arguments and len(parts) == 2:
        yield parts[0], ast.Call(ast.Name("range", ast.Load()), [], [])
        yield from items_of(parts[1], arguments[0])
    elif name == "zip" and parts and len(parts) == len(arguments):
        for part, source in zip(parts, arguments, strict=True):
            yield from items_of(part, source)
    else:
        yield target, iterated


def iterated_things(iterated: ast.expr) -> Iterator[ast.expr]:
    """The things that a loop goes through: both arguments of a `zip`, say."""
    iterated = behind_bar(iterated)
    arguments = getattr(iterated, "args", [])
    name = called_name(iterated)
    if arguments and (name in SAME_ITEMS or name == "enumerate"):
        yield from iterated_things(arguments[0])
    elif name == "zip":
        for argument in arguments:
            yield from iterated_things(argument)
    else:
        yield iterated


# ── Code of PyTorch ─────────────────────────────────────────────────────────────────────

_GRADIENT_MAKERS = frozenset({"grad", "value_and_grad", "grad_and_value", "jacrev", "jacfwd"})
"""Functions of these libraries that make the function of a gradient."""
_GRADIENT_LIBRARIES = ("torch.func", "functorch", "jax", "autograd", "elegy")

FUNCTION_WRAPPERS = frozenset(
    {"partial", "compile", "jit", "no_grad", "vmap", "checkpoint", "script"}
)
"""Functions that give back a function which calls their first argument."""

BACKWARD_HELPERS = frozenset(
    {"accelerator", "fabric", "autograd", "dist_autograd", "engine", "model_engine", "manager"}
)
"""Names of things whose `backward` is given the loss: `accelerator.backward(loss)`."""

CONVERSIONS = frozenset({"to", "cpu", "cuda", "xpu", "double", "float", "half", "bfloat16"})
"""Methods that bring a tensor or a module to another device or dtype."""

_SAME_MODULE = CONVERSIONS | {"train", "eval", "requires_grad_", "share_memory"}
"""Methods of a module that give back the module itself."""


def made_thing(node: ast.expr) -> ast.expr:
    """`Net()` of `Net().to(device).train()`: without methods that give back the same module."""
    match node:
        case ast.Call(func=ast.Attribute(value=made, attr=attr)) if attr in _SAME_MODULE:
            return made_thing(made)
    return node


def is_gradient_function(
    node: ast.expr,
    imports: Mapping[str, str],
    bindings: Mapping[str, Sequence[ast.expr]],
    wrappers: Collection[str] = FUNCTION_WRAPPERS,
) -> bool:
    """Whether an expression is a function made to compute a gradient: `torch.func.grad(f)`.

    Also such a function in one of the wrappers, `vmap(grad(f))`, and a name that is bound to one.
    """
    seen, waiting = set[str](), [node]
    while waiting:
        match waiting.pop():
            case ast.Name(id=name) if name not in seen:
                seen.add(name)
                waiting += bindings.get(name, ())
            case ast.Call(func=maker, args=arguments):
                dotted = dotted_name(maker, imports)
                is_maker = dotted.rpartition(".")[2] in _GRADIENT_MAKERS
                if is_maker and dotted.startswith(_GRADIENT_LIBRARIES):
                    return True
                if last_name(maker) in wrappers:
                    waiting += arguments[:1]
    return False


# ── Blocks of statements ────────────────────────────────────────────────────────────────


def blocks_of(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements in a compound statement; none of a function or class."""
    return [] if isinstance(node, DEFINITIONS) else own_blocks(node)


def own_blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements directly in a statement, function, class or file."""
    found = [getattr(node, part, None) for part in ("body", "orelse", "finalbody")]
    found += [handler.body for handler in getattr(node, "handlers", ())]
    found += [case.body for case in getattr(node, "cases", ())]
    return [block for block in found if isinstance(block, list) and block]


def all_blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """All lists of statements in a file."""
    for node in ast.walk(tree):
        yield from own_blocks(node)


def statements(block: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a block and of the blocks in it, in the file's order."""
    for node in block:
        yield node
        for inner in sorted(blocks_of(node), key=lambda b: b[0].lineno):
            yield from statements(inner)


# ── Arguments of the command line ───────────────────────────────────────────────────────


def options_of(tree: ast.AST) -> Iterator[tuple[str, Mapping[str, ast.expr]]]:
    """The options that parsers are told of, as they are typed, and what is said of each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and last_name(node.func) == "add_argument":
            said = {word.arg: word.value for word in node.keywords if word.arg}
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), said


def default_options(tree: ast.AST) -> dict[str, ast.expr]:
    """The values of the options of parsers that are given no arguments: `parse_args([])`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and last_name(n.func) in PARSING]
    given = [c.args for c in calls if isinstance(c.func, ast.Attribute)]
    if not given or any([*map(ast.unparse, arguments)] != ["[]"] for arguments in given):
        return {}
    return {
        option.lstrip("-").replace("-", "_"): said["default"]
        for option, said in options_of(tree)
        if "default" in said
    }


PARSING = ("parse_args", "parse_known_args")
"""The methods of a parser that read the arguments of the command line."""


# ── Names replaced ──────────────────────────────────────────────────────────────────────


def substituted(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """A copy of an expression, with other expressions in the place of names."""
    found: ast.expr = _Substituted(values).visit(copy.deepcopy(node))
    return found


class _Substituted(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._values.get(node.id, node))
