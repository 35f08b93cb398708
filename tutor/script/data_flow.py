"""The variables that statements read and write, told apart by their spelling.

A variable is `w`, `self.w`, or `w.grad`; an element (`params["w"]`) counts as the whole.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from tutor.python_syntax import (
    DEFINITIONS,
    LOOPS,
    LoopCode,
    blocks_of,
    flat_targets,
    own_nodes,
)

_CHANGING = frozenset({"append", "extend", "add", "insert", "forward", "__call__", "setdefault"})
"""Methods that change their object."""
_FORWARD = re.compile(r"forward|predict|propagate", re.IGNORECASE)
"""Names of methods that keep their result in their object, when called as a statement."""
_VIEWS = frozenset({"data", "T", "mT"})
"""Attributes that are another view of the same tensor."""
_RATE_NAME = re.compile(
    r"(?:^|_)(?:lr|l_?r(?:ate)?)\d*(?:_|\d|$)|learn(?:ing)?_?rate|step_?size|"
    r"^(?:alpha|eta|η|α|rate|gamma)_?\d*$",
    re.IGNORECASE,
)
_GRADIENT = re.compile(
    r"grad|nabla|∇|delta|deriv|^d_?\w{1,3}\d*_?$|^d[A-Z]\w*$|^d_\w+$|^g$|^g_?[wbWB]\d*$|^[wb]\d?_?g$"
)
_NO_GRADIENT = re.compile(
    r"dt|df|dim|dims|dev|dot|do|day|den|dst|dir|dist|data|dx|dict|db_path|doc|docs|dp|"
    r"diff|done|d|grade|grad_fn|grad_scaler|dtype|grad_norm|deltas_t|requires_grad|"
    r"no_grad|dd|drop|ds|dl"
)
_LOSS = re.compile(
    r"loss|cost|^(?:mse|rmse|mae|sse|rss|bce|ce|nll|objective|criterion|obj|residual|penalty|"
    r"kl|kld|kl_div|recon|hinge|bce_\w+)\d*$|^[jle]$|err(?:or)?s?(?:_|\d|$)|^resid|^diff",
    re.IGNORECASE,
)
_LOSS_WORDS = (
    "loss", "cost", "mse", "sse", "nll", "bce", "rmse", "mae", "rss", "ce", "j", "l", "hinge",
)  # fmt: skip
_TOTAL = re.compile(
    r"^(?:total|epoch|running|avg|average|val|valid|test|sum|prev|best|last|old|history|min|eval|"
    r"cum|acc|log|batch_count)_|_(?:history|list|log|total|sum|avg|values|arr|curve)$|losses$|costs$|errors$|hist$",
    re.IGNORECASE,
)


def is_rate(name: str) -> bool:
    """Whether a name is usual for a learning rate."""
    return bool(_RATE_NAME.search(name))


def is_gradient(name: str) -> bool:
    """Whether a name is usual for a gradient: `dw`, `grad_w`, `delta2`."""
    return bool(_GRADIENT.search(name)) and not _NO_GRADIENT.fullmatch(name)


def is_loss(name: str) -> bool:
    """Whether a name is usual for a loss or an error, and not for a sum over batches."""
    return bool(_LOSS.search(name)) and not _TOTAL.search(name) and not is_gradient(name)


def loss_rank(name: str) -> int:
    """The rank of a name among those that measure the error, 0 for the most telling."""
    last = name.lower()
    whole = [at for at, word in enumerate(_LOSS_WORDS) if last.rstrip("0123456789") == word]
    part = [7 + at for at, word in enumerate(_LOSS_WORDS[:7]) if word in last]
    return min([*whole, *part, 20])


def variable(node: ast.AST) -> str:
    """The variable that an expression names; empty if none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            if attr in _VIEWS:
                return variable(value)
            base = variable(value)
            if attr == "grad":
                return f"{base}.grad" if base else ""
            return f"{base}.{attr}" if base in ("self", "cls") else base
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return variable(value)
        case ast.Call(func=ast.Attribute(value=value)):
            return variable(value)
    return ""


def base_variable(node: ast.AST) -> str:
    """The variable of an expression, without `.grad`."""
    return variable(node).removesuffix(".grad")


def variables(nodes: Iterable[ast.AST]) -> set[str]:
    """The variables that code reads."""
    return {name for node in nodes for name in _read(node)}


def _read(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=value):
            if name := variable(node):
                yield name
                yield from (n for n in _read(value) if n not in ("self", "cls"))
            else:
                yield from _read(value)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            named = (n for n in own_nodes(node.body) if isinstance(n, ast.Name | ast.Attribute))
            yield from (name for inner in named for name in _read(inner))
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _read(child)


def reads(node: ast.stmt) -> set[str]:
    """The variables that a simple statement, or the head of a compound one, reads."""
    match node:
        case ast.Assign(value=value):
            elements = [t for t in flat_targets(node) if isinstance(t, ast.Subscript)]
            return variables([value, *elements])
        case ast.AugAssign(target=target, value=value):
            return variables([target, value])
        case ast.AnnAssign(value=value):
            return variables([value] if value else [])
        case ast.AsyncFor(iter=iterated):
            return variables([iterated])
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return variables(item.context_expr for item in items)
        case ast.Match(subject=subject):
            return variables([subject])
    return set() if isinstance(node, DEFINITIONS) else variables(head_of(node))


def writes(node: ast.stmt) -> set[str]:
    """The variables that a simple statement, or the head of a compound one, gives a value."""
    found = {variable(t) for t in flat_targets(node)}
    for inner in own_nodes(head_of(node)):
        match inner:
            case ast.NamedExpr(target=target):
                found.add(variable(target))
            case ast.Call(func=ast.Attribute(value=ast.Name() as value, attr=attr)) if isinstance(
                node, ast.Expr
            ) and _FORWARD.search(attr):
                found.add(variable(value))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                is_in_place = attr.endswith("_") and not attr.endswith("__")
                if attr in _CHANGING or is_in_place:
                    found.add(variable(value))
            case ast.keyword(arg="out", value=value):
                found.add(variable(value))
    return found - {""}


def is_whole(node: ast.stmt, name: str) -> bool:
    """Whether a statement gives a variable a new value that does not depend on the old one."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or name in reads(node):
        return False
    return any(variable(t) == name and not isinstance(t, ast.Subscript) for t in flat_targets(node))


def is_compound(node: ast.stmt) -> bool:
    """Whether a statement has statements in it."""
    return bool(blocks_of(node))


def head_of(node: ast.stmt) -> list[ast.AST]:
    """The code of a statement that runs before the statements in it; a simple one is all head."""
    match node:
        case ast.If(test=test) | ast.While(test=test):
            return [test]
        case ast.For(iter=iterated):
            return [iterated]
    return [] if is_compound(node) else [node]


def dependences(nodes: Iterable[ast.stmt]) -> dict[str, set[str]]:
    """A variable → the variables that it is computed from directly, in any order."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        read = reads(node)
        for name in writes(node):
            found.setdefault(name, set()).update(read)
    return found


def sources(names: Iterable[str], computed_from: Mapping[str, set[str]]) -> set[str]:
    """The variables that some depend on, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += computed_from.get(name, ())
    return found


# ── Expressions as text ───────────────────────────────────────────────────────────────

_SHAPING = frozenset({"squeeze", "view", "flatten", "reshape", "ravel", "float"})
"""Methods whose result has the same numbers."""


def text_of(node: ast.expr) -> str:
    """An expression as text, with double quotes around the keys of names."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
            quotes = '"' if key.isprintable() and not set('"\\') & set(key) else ""
            return f"{text_of(value)}[{f'{quotes}{key}{quotes}' if quotes else repr(key)}]"
        case ast.Subscript(value=value, slice=index):
            return f"{text_of(value)}[{ast.unparse(index)}]"
        case ast.Attribute(value=ast.Name() | ast.Attribute() | ast.Subscript() as value):
            return f"{text_of(value)}.{node.attr}"
    return ast.unparse(node)


def named_text(node: ast.AST) -> str:
    """The text of a name, an attribute or an element; `out` for `out.squeeze()`; else ""."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            has_call = any(isinstance(n, ast.Call) for n in ast.walk(node))
            return text_of(node) if variable(node) and not has_call else ""
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SHAPING:
            return named_text(value)
    return ""


# ── The statements that give variables their values ───────────────────────────────────

_HEADLESS = (ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match, ast.AsyncFor)


class StatementFlow:
    """The statements of a loop's body or of a function, without the bodies of inner functions."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self._blocks: dict[ast.stmt, tuple[int, ...]] = {}
        self.loops: dict[ast.stmt, tuple[LoopCode, ...]] = {}
        """A statement → the loops that it stands in, the outermost first."""
        self._add(body, (), ())
        self.position = {node: at for at, node in enumerate(self._blocks)}
        self.simple = [n for n in self._blocks if not is_compound(n) or isinstance(n, ast.If)]
        """The simple statements, and the `if`s, which stand for their conditions."""
        self.heads = [n for n in self._blocks if not isinstance(n, _HEADLESS)]
        """These, and the loops, which stand for their heads."""

    def _add(
        self, block: Sequence[ast.stmt], around: tuple[int, ...], loops: tuple[LoopCode, ...]
    ) -> None:
        for node in block:
            self._blocks[node], self.loops[node] = around, loops
            for inner in sorted(blocks_of(node), key=lambda b: b[0].lineno):
                is_sure = isinstance(node, ast.With | ast.Try)
                deeper = (*loops, node) if isinstance(node, LOOPS) and inner is node.body else loops
                self._add(inner, around if is_sure else (*around, id(inner)), deeper)

    def writers(
        self, node: ast.stmt, names: Iterable[str], but: Collection[ast.stmt] = ()
    ) -> list[ast.stmt]:
        """The simple statements before a statement that its variables come from, nearest first.

        Without those in `but`, and what only these read.
        """
        return self._collected(list(self._blocks)[: self.position[node]], names, node, but)

    def writers_behind(self, node: ast.stmt, names: Iterable[str]) -> list[ast.stmt]:
        """The statements behind it that its variables come from, from the pass before."""
        return self._collected(list(self._blocks)[self.position[node] + 1 :], names, node)

    def _collected(
        self,
        nodes: list[ast.stmt],
        names: Iterable[str],
        reader: ast.stmt,
        but: Collection[ast.stmt] = (),
    ) -> list[ast.stmt]:
        wanted, found = set(names), []
        for writer in reversed(nodes):
            made = writes(writer) & wanted
            if not made or writer in but:
                continue
            is_simple = not is_compound(writer) or isinstance(writer, ast.If)
            if is_simple and not isinstance(writer, DEFINITIONS):
                found.append(writer)
            if self._is_always_before(writer, reader):
                wanted -= {name for name in made if is_whole(writer, name)}
            wanted |= reads(writer)
        return found

    def is_sure(self, node: ast.stmt) -> bool:
        """Whether a statement runs in each pass of the loops around it: it stands in no `if`."""
        return len(self._blocks[node]) == len(self.loops[node])

    def _is_always_before(self, writer: ast.stmt, reader: ast.stmt) -> bool:
        """Whether each pass that comes to the reader has run the writer."""
        around = self._blocks[writer]
        return self._blocks[reader][: len(around)] == around
