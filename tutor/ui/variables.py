"""The names in a lesson's code that the learner can select, and the inspection of one in words.

They are read from the code as text; nothing is run.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
from textual.content import Content

from tutor.digits import ARRAY_DIGITS, SCALAR_DIGITS
from tutor.lesson.code_checks import parsed
from tutor.lesson.model import Fence
from tutor.plain import one_line, plain
from tutor.protocol.frame import NO_VALUE, NONE, Value
from tutor.protocol.inspections import VariableInfo
from tutor.ui.lines import DIM, STRONG, VALUE, Piece, line, rule
from tutor.wording.number_format import is_single, value_text

_MODULES = frozenset({"np", "torch"})
"""Names that every run has; they are no values of the lesson."""

_BUILTINS = frozenset(dir(builtins))


class Name(msgspec.Struct, frozen=True):
    """A name at one place of the code: `w`, `w.grad`, `model.linear.weight`."""

    text: str
    line: int
    """The line number in the lesson's file, from 1."""
    start: int
    """Its first character in the line as it is shown (tabs expanded)."""
    end: int


def meaningful_names(fences: Sequence[Fence]) -> tuple[Name, ...]:
    """Every name of this code that stands for something while it runs, in reading order.

    Chains of attributes are one name. Left out are modules, functions, and what lives only
    inside a function, a class or a comprehension. A fence that is no Python has none.
    """
    return _names_in(tuple(fences))


def names_of_file(source: str) -> tuple[Name, ...]:
    """The names in a whole file, those inside functions and classes as well."""
    return _names_in((Fence(source, 1),), is_file=True)


@lru_cache(32)
def _names_in(fences: tuple[Fence, ...], *, is_file: bool = False) -> tuple[Name, ...]:
    trees = [(fence, parsed(plain(fence.code))) for fence in fences]
    bound = _Bound([tree for _, tree in trees])
    found: list[Name] = []
    for fence, tree in trees:
        rows = plain(fence.code).split("\n")
        for name in _Finder(bound, is_file=is_file).names(tree):
            place = _place(name, rows)
            if place is not None:
                found.append(Name(ast.unparse(name), fence.line + name.lineno - 1, *place))
    return tuple(sorted(found, key=lambda name: (name.line, name.start)))


def _place(name: ast.expr, rows: Sequence[str]) -> tuple[int, int] | None:
    """The first character and the one after the last; None for a node of several lines.

    ast counts bytes, and older Pythons count wrongly in f-strings, so the text is checked.
    """
    row = rows[name.lineno - 1].encode() if name.lineno <= len(rows) else b""
    if name.end_lineno != name.lineno or name.end_col_offset is None:
        return None
    text = row[name.col_offset : name.end_col_offset].decode(errors="replace")
    if text != ast.unparse(name):
        return None
    start = len(row[: name.col_offset].decode(errors="replace"))
    return start, start + len(text)


class _Bound:
    """The names that the code binds, and their kinds."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        stored = (ast.Store, ast.Del)
        self.assigned = {
            n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, stored)
        }
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
        imported = {(a.asname or a.name).partition(".")[0] for n in imports for a in n.names}
        self.no_values = _MODULES | imported | {n.name for n in nodes if isinstance(n, definitions)}

    def is_value(self, root: str, called: bool) -> bool:
        """Whether a name stands for a value; a called name does only if it was assigned."""
        if root in self.no_values:
            return False
        return root in self.assigned or not (called or root in _BUILTINS)


class _Finder:
    """A visitor of one fence that keeps track of the hidden names."""

    def __init__(self, bound: _Bound, *, is_file: bool) -> None:
        """`is_file`: names inside functions and classes count, too."""
        self._bound = bound
        self._is_file = is_file

    def names(self, node: ast.AST, hidden: frozenset[str] = frozenset()) -> Iterator[ast.expr]:
        """The names and chains in `node`, without those that are `hidden` in it."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            inner = node.body if self._is_file and not isinstance(node, ast.Lambda) else []
            for statement in inner:
                yield from self.names(statement, hidden)
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from self._chain(node, hidden, called=False)
        elif isinstance(node, ast.Call):
            yield from self._called(node.func, hidden)
            for part in (*node.args, *node.keywords):
                yield from self.names(part, hidden)
        else:
            if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                hidden |= {n.id for g in node.generators for n in _all_names(g.target)}
            for child in ast.iter_child_nodes(node):
                yield from self.names(child, hidden)

    def _called(self, function: ast.expr, hidden: frozenset[str]) -> Iterator[ast.expr]:
        """The names before a call's parentheses: `loss` of `loss.backward()`; none of `print()`."""
        if isinstance(function, ast.Attribute):
            yield from self.names(function.value, hidden)
        elif isinstance(function, ast.Name):
            yield from self._chain(function, hidden, called=True)
        else:
            yield from self.names(function, hidden)

    def _chain(
        self, node: ast.Name | ast.Attribute, hidden: frozenset[str], called: bool
    ) -> Iterator[ast.expr]:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name):  # an attribute of the value of an expression
            yield from self.names(root, hidden)
        elif root.id not in hidden and self._bound.is_value(root.id, called):
            yield node


def _all_names(node: ast.AST) -> Iterator[ast.Name]:
    return (n for n in ast.walk(node) if isinstance(n, ast.Name))


# ── Moving between names ────────────────────────────────────────────────────────────


def name_beside(names: Sequence[Name], chosen: Name, by: int) -> Name | None:
    """The next name (`by` 1) or the one before (-1); None at the end."""
    index = names.index(chosen) + by
    return names[index] if 0 <= index < len(names) else None


def on_next_line(names: Sequence[Name], chosen: Name, by: int) -> Name | None:
    """The name closest below (`by` 1) or above (-1); None where there is none."""
    lines = sorted({name.line for name in names if (name.line - chosen.line) * by > 0})
    if not lines:
        return None
    line = lines[0] if by > 0 else lines[-1]
    return min((n for n in names if n.line == line), key=lambda n: abs(n.start - chosen.start))


def same_name(names: Sequence[Name], chosen: Name) -> Name | None:
    """The same name in other code: at the same place, else where it first stands."""
    if chosen in names:
        return chosen
    return next((name for name in names if name.text == chosen.text), None)


HEIGHT = 4
"""The number of lines, the same for all names so that nothing jumps."""

_LEAST_VALUE = 12
"""The least width of a value in cells."""


def variable_lines(name: str, info: VariableInfo | None, width: int) -> list[Content]:
    """HEIGHT lines on `name`; the facts of another name are never shown for it."""
    mine = info if info is not None and info.name == name else None
    if mine is None:
        said: Sequence[Content] = [line(("…", DIM))]
    elif mine.value == NO_VALUE:
        said = [line(("no value yet: the line that sets it has not run", DIM))]
    else:
        said = [_value(mine, width), line(_autograd(mine, width)), line(*_gradient(mine))]
    kind: Sequence[Piece] = [" ", ("── ", DIM), one_line(mine.type)] if mine and mine.type else ()
    shown = [rule(width, (one_line(name), STRONG), *kind), *said]
    shown += [line()] * (HEIGHT - len(shown))
    return [content.truncate(width, ellipsis=True) for content in shown]


def _value(info: VariableInfo, width: int) -> Content:
    """The value and its kind of number."""
    kind = " · ".join(_kind_words(info))
    room = max(_LEAST_VALUE, width - len(kind) - 3) if kind else width
    text = line((_shown(info.value), VALUE)).truncate(room, ellipsis=True)
    return text + line(("   " + kind, DIM)) if kind else text


def _kind_words(info: VariableInfo) -> list[str]:
    value = info.value
    if not value.is_number:
        return [f"on {one_line(info.device)}"] if info.device else []
    words = [value.dtype] if value.dtype != info.type else []
    if value.shape or "." in info.type:
        words.append(f"shape {value.shape}")
    if info.device:
        words.append(f"on {one_line(info.device)}")
    return words


def _autograd(info: VariableInfo, width: int) -> str:
    """Lines on the variable's part in autograd."""
    if info.requires_grad is None:
        if info.type.startswith("numpy."):
            return "a NumPy value: autograd does not track it"
        return "a plain number: autograd does not track it" if info.value.is_number else ""
    if not info.is_leaf:
        made = one_line(info.grad_fn or "None")
        return f"not a leaf, requires_grad={info.requires_grad}, grad_fn={made}"
    role = "backward() fills its .grad" if info.requires_grad else "autograd does not follow it"
    words = f"a leaf, requires_grad={info.requires_grad}"
    long = f"{words}, grad_fn=None: {role}"
    return long if len(long) <= width else f"{words}: {role}"


def _gradient(info: VariableInfo) -> list[Piece]:
    """The variable's gradient; None in words, because None is not 0."""
    gradient = info.gradient
    if gradient == NONE:
        return ["gradient None", (" (none yet: that is not the same as 0)", DIM)]
    if gradient is not None:
        return ["gradient ", (_shown(gradient), VALUE)]
    if info.is_leaf is False:
        return [("no gradient of its own: autograd keeps those of leaves", DIM)]
    return [("no gradient: none is required", DIM)] if info.is_leaf else []


def _shown(value: Value) -> str:
    """The number with as many digits as in the numbers pane."""
    return value_text(value, SCALAR_DIGITS if is_single(value) else ARRAY_DIGITS)
