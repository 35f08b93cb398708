"""A script rewritten for a lesson, so that it computes the same values.

A class whose method holds the training loop is written without it: `self.w` becomes `w`, where the
class has one instance and is used for nothing else. A `while` that counts its passes becomes `for`.
A parser is given no arguments, and pictures are not drawn.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tutor.python_syntax import (
    PARSING,
    all_blocks,
    argument_names,
    first_line,
    given_arguments,
    imported_by,
    last_name,
    options_of,
    own_nodes,
    statements,
)
from tutor.script.code_pieces import (
    CodePieces,
    InlinedCalls,
    LineNamer,
    indented,
    refusal,
    replaced,
    stored_in,
    with_expressions,
)
from tutor.script.data_flow import writes
from tutor.script.outline import TrainingLoop


@dataclass(slots=True)
class TextWithoutClass:
    """A script's text in which a class is written as plain names and functions."""

    rows: list[str] = field(default_factory=list)
    origin: list[int] = field(default_factory=list)
    """A row → the line of the file that it was made from."""

    def add(self, code: str, line: int) -> None:
        """Add the rows of code that begins on a line of the file."""
        for number, row in enumerate(code.split("\n")):
            self.rows.append(row)
            self.origin.append(line + number)

    @property
    def text(self) -> str:
        """All rows."""
        return "\n".join(self.rows) + "\n"


def without_class(text: str, loop: TrainingLoop, place: LineNamer) -> TextWithoutClass | None:
    """The text without the class whose method the loop is in; None where it is in none.

    Raises ScriptError where the class can't be written as functions.
    """
    tree = ast.parse(text)
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and _holds(statement, loop.line):
            flat = _FlatClass(text, tree, statement, loop)
            if (reason := flat.obstacle()) is not None:
                method, why = loop.function, reason
                raise refusal(place, loop.line, "loop_in_method", method=method, why=why)
            return flat.written()
    return None


class _FlatClass:
    """Writes a script without a class and without its one instance: methods become functions."""

    def __init__(self, text: str, tree: ast.Module, own: ast.ClassDef, loop: TrainingLoop) -> None:
        self._tree, self._class, self._loop = tree, own, loop
        self._pieces = CodePieces(text)
        self._methods = {n.name: n for n in own.body if isinstance(n, ast.FunctionDef)}
        self._init = self._methods.get("__init__")
        self._calls = [n for n in ast.walk(tree) if self._is_instance(n)]
        """The calls that make an instance: one, where the class can be written."""
        self._instance_names = {n.args.args[0].arg for n in self._methods.values() if n.args.args}
        """`self`, and the name of the instance."""
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if (
                    value in self._calls or self._chain(node)
                ):
                    self._instance_names.add(name)

    def _is_instance(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func) == self._class.name

    # ── Refusals ────────────────────────────────────────────────────────────────────

    def obstacle(self) -> tuple[str, str] | None:
        """Why the class can't be written as functions: a code, and a name; None if it can."""
        own = self._class
        others = [n for n in own.body if n not in self._methods.values() and not _is_text(n)]
        uses = [n for n in ast.walk(self._tree) if isinstance(n, ast.Name) and n.id == own.name]
        is_plain = not (own.bases or own.keywords or own.decorator_list or others)
        if not is_plain:
            return "not_plain", own.name
        for method in self._methods.values():
            if not method.args.args or method.decorator_list:
                return "decorated", method.name
        if not len(uses) == len(self._calls) == 1:
            return "not_one_instance", own.name
        attributes = {n.value for n in self._attributes(self._tree)}
        returns = (s for m in self._methods.values() for s in m.body if _returns_self(s))
        attributes |= {n for s in returns for n in ast.walk(s) if isinstance(n, ast.Name)}
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.Name) or node in attributes:
                continue
            if node.id in self._instance_names and not self._is_made(node):
                return "passed_on", node.id
        name = self._ambiguous()
        return ("ambiguous", name) if name else None

    def _is_made(self, name: ast.AST) -> bool:
        """Whether a name is given the instance there."""
        made = (n for n in ast.walk(self._tree) if isinstance(n, ast.Assign))
        return any(n.targets == [name] and (n.value in self._calls or self._chain(n)) for n in made)

    def _chain(self, statement: ast.AST) -> bool:
        """Whether it is `a = A().fit()` of a method that returns `self`."""
        match statement:
            case ast.Assign(
                targets=[ast.Name()], value=ast.Call(func=ast.Attribute(value=made, attr=name))
            ) if made in self._calls and name in self._methods:
                return _returns_self(self._methods[name].body[-1])
        return False

    def _attributes(self, node: ast.AST) -> Iterator[ast.Attribute]:
        """All `self.x` in some code, and all attributes of the instance."""
        for inner in ast.walk(node):
            match inner:
                case ast.Attribute(value=ast.Name(id=name)) if name in self._instance_names:
                    yield inner

    def _ambiguous(self) -> str:
        """A name of an attribute or method that stands for something else already; else ""."""
        own = {n.attr for n in self._attributes(self._tree)} | {*self._methods} - {"__init__"}
        outside = [s for s in self._tree.body if s is not self._class]
        given = self._given_as_they_are([n for s in outside for n in _names_in(s)])
        taken = {*dir(builtins)} | {n for s in outside for n in _names_in(s)} - given
        if wrong := (own & taken) | {name for name in own if name.startswith("__")}:
            return min(wrong)
        for method in self._methods.values():
            parameters = argument_names(method) - {method.args.args[0].arg}
            local = own & (parameters | {*stored_in(method)})
            stored = {n for s in method.body if (n := self._parameter_stored(s))} & parameters
            is_inlined = method is self._init or _holds(method, self._loop.line)
            if wrong := local - stored if is_inlined else local:
                return min(wrong)
        return ""

    def _given_as_they_are(self, outside: Sequence[str]) -> set[str]:
        """The attributes that always are the values of the module's names with their spelling.

        `model` is one in `Trainer(model)` with `self.model = model`.
        """
        call = self._calls[0]
        stores = [n for n in self._attributes(self._class) if isinstance(n.ctx, ast.Store)]
        if self._init is None or not isinstance(call, ast.Call):
            return set()
        stored = {self._parameter_stored(s) for s in self._init.body} - {""}
        given = given_arguments(self._init, call, is_bound=True)
        same = {name for name, value in given.items() if ast.unparse(value) == name}
        once = {n for n in stored & same if outside.count(n) == 1}
        return {n for n in once if [s.attr for s in stores].count(n) == 1}

    def _parameter_stored(self, statement: ast.stmt) -> str:
        """`lr` in `self.lr = lr`, a line that is dropped; empty for another statement."""
        match statement:
            case ast.Assign(targets=[ast.Attribute() as target], value=ast.Name(id=name)):
                is_own = any(target is n for n in self._attributes(statement))
                return name if is_own and target.attr == name else ""
        return ""

    # ── Writing it ──────────────────────────────────────────────────────────────────

    def written(self) -> TextWithoutClass:
        """The text without the class."""
        flat = TextWithoutClass()
        self._write(self._tree.body, flat, "")
        return flat

    def _write(self, body: Iterable[ast.stmt], flat: TextWithoutClass, margin: str) -> None:
        for statement in body:
            line = first_line(statement)
            if statement is self._class:
                for method in self._methods.values():
                    if method is not self._init:
                        self._write_function(method, flat)
            elif isinstance(statement, ast.If) and self._calls[0] in ast.walk(statement):
                flat.add(f"{margin}if {ast.unparse(statement.test)}:", line)
                self._write(statement.body, flat, margin + "    ")
            elif self._calls[0] in ast.walk(statement):
                self._write_instance(statement, flat, margin)
            else:
                self._add(statement, flat, margin)

    def _write_function(self, method: ast.FunctionDef, flat: TextWithoutClass) -> None:
        head = ast.parse(ast.unparse(method)).body[0]
        assert isinstance(head, ast.FunctionDef)
        head.args.args.pop(0)
        head.body = [ast.Pass()]
        flat.add(self._renamed(ast.unparse(head)).rpartition("\n")[0], method.lineno)
        stored = {n.attr for n in self._attributes(method) if isinstance(n.ctx, ast.Store)}
        if stored:
            flat.add(f"    global {', '.join(sorted(stored))}", method.lineno)
        for statement in method.body:
            if not self._parameter_stored(statement) and not _returns_self(statement):
                self._add(statement, flat, "    ")

    def _write_instance(self, statement: ast.stmt, flat: TextWithoutClass, margin: str) -> None:
        """The code of `__init__`, then the rest of the statement, if it is more than `a = A()`."""
        call, line = self._calls[0], first_line(statement)
        assert isinstance(call, ast.Call)
        if self._init is not None:
            init = ast.parse(ast.unparse(self._init)).body[0]
            assert isinstance(init, ast.FunctionDef)
            init.args.args.pop(0)
            for text in InlinedCalls(self._tree, lambda at: f"{at}").arguments(call, init):
                flat.add(margin + text, line)
            for inner in self._init.body:
                if not self._parameter_stored(inner) and not _is_text(inner):
                    self._add(inner, flat, margin)
        if not (isinstance(statement, ast.Assign) and statement.value is call):
            text = self._pieces.text_of(statement)
            made = next(n for n in ast.walk(ast.parse(text)) if self._is_instance(n))
            code = ast.unparse(ast.parse(text)).replace(f"{ast.unparse(made)}.", "")
            code = code.partition(" = ")[2] if self._chain(statement) else code
            flat.add(indented(code) if margin else code, line)

    def _add(self, statement: ast.stmt, flat: TextWithoutClass, margin: str) -> None:
        code = self._renamed(self._pieces.text_of(statement))
        last = statement.end_lineno or statement.lineno
        first = max(last - code.count("\n"), 1)
        flat.add(indented(code) if margin else code, first)

    def _renamed(self, code: str) -> str:
        """The code with `w` for `self.w`."""
        tree = ast.parse(code)
        return with_expressions(code, tree, {n: n.attr for n in self._attributes(tree)})


def _holds(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or 0)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _returns_self(statement: ast.stmt) -> bool:
    match statement:
        case ast.Return(value=ast.Name(id="self")):
            return True
    return False


def _names_in(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to things: variables, functions, imports."""
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]


# ── Arguments of the command line, and pictures ───────────────────────────────────────────


def with_default_arguments(text: str) -> str:
    """The text in which parsers are given no arguments, as if the script had none.

    It is left as it is where a parser needs an argument.
    """
    tree = ast.parse(text)
    for option, said in options_of(tree):
        is_needed = "required" in said or not (option.startswith("-") or "nargs" in said)
        if is_needed:
            return text
    places = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=method), args=[], keywords=[]):
                if method in PARSING:
                    end = (node.end_col_offset or 1) - 1
                    places.append((node.end_lineno or 1, end, end, "[]"))
    return replaced(text, places)


def without_batch(text: str) -> str:
    """The text with another name for `batch`, which in a lesson is the batch's number."""
    nodes = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name))
    if not any(n.id == "batch" and isinstance(n.ctx, ast.Store) for n in nodes):
        return text
    return _without_name(text, "batch", ("batch_data", "data_of_batch", "_batch_data"))


def without_loss_function(text: str) -> str:
    """The text with another name for a function `loss`: in a lesson, that is the loss itself."""
    return _without_name(text, "loss", ("loss_function", "function_of_loss", "_loss_function"))


def _without_name(text: str, name: str, others: Iterable[str]) -> str:
    """The text with the first of other names that is free.

    It is left as it is where an argument, a class or an import has that name, or an f-string it.
    """
    nodes = list(ast.walk(ast.parse(text)))
    found = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name]
    inside = {id(n) for s in nodes if isinstance(s, ast.JoinedStr) for n in ast.walk(s)}
    named = {getattr(n, part, "") for n in nodes if n not in functions for part in _NAMING}
    declared = {word for n in nodes if isinstance(n, ast.Global | ast.Nonlocal) for word in n.names}
    if name in named | declared or any(id(n) in inside for n in found):
        return text
    taken = {n.id for n in nodes if isinstance(n, ast.Name)} | named
    new = next((other for other in others if other not in taken), name)
    places = [(n.lineno, n.col_offset, n.end_col_offset or 0, new) for n in found]
    begins = [(n.lineno, n.col_offset + len("def ")) for n in functions]
    places += [(line, at, at + len(name), new) for line, at in begins]
    return replaced(text, places)


_NAMING = ("arg", "name", "asname")
"""The attributes of nodes that name an argument, a function, a class or a module."""


_DRAWING = ("matplotlib", "seaborn")
_PURE = frozenset({"numpy", "detach", "cpu", "item", "tolist", "format", "squeeze", "flatten",
    "view", "reshape", "range", "len", "str", "round", "float", "int", "list", "arange",
    "linspace"})  # fmt: skip
"""Functions and methods that change nothing and draw no random numbers."""


def without_pictures(text: str) -> str:
    """The text without the statements that only draw; all lines stay where they are.

    It is left as it is where something else reads what they make.
    """
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {n for i in imports for n, dotted in imported_by(i) if dotted.startswith(_DRAWING)}
    drawn: list[ast.stmt] = []
    while more := [s for s in _drawing(tree, names) if s not in drawn]:
        drawn += more
        names |= {name for s in more for name in stored_in(s)}
    inside = {id(n) for s in drawn for n in ast.walk(s)}
    read = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in inside}
    return text if read & names or not drawn else _blanked(text, tree, drawn)


def _drawing(tree: ast.Module, names: set[str]) -> Iterator[ast.stmt]:
    """The statements that call what these names stand for."""
    for block in all_blocks(tree):
        for statement in block:
            match statement:
                case ast.Expr(value=ast.Call() as value) | ast.Assign(value=ast.Call() as value):
                    others = [n for n in ast.walk(value) if isinstance(n, ast.Call)]
                    of_names = [n for n in others if _root(n.func) in names]
                    pure = [n for n in others if n in of_names or last_name(n.func) in _PURE]
                    if value in of_names and len(pure) == len(others):
                        yield statement


def _root(node: ast.expr) -> str:
    """`plt` of `plt.gca().plot`."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _blanked(text: str, tree: ast.Module, drawn: Sequence[ast.stmt]) -> str:
    """The text without these statements; where a block had no others, it has `pass`."""
    rows = text.split("\n")
    for block in all_blocks(tree):
        gone = [s for s in block if s in drawn]
        for statement in gone:
            first, last = statement.lineno, statement.end_lineno or 0
            beside = [s for s in block if s is not statement]
            if any(first <= s.lineno <= last or s.end_lineno == first for s in beside):
                return text
            row = rows[first - 1]
            if row[: statement.col_offset].strip():  # `if show: plt.show()`
                return text
            margin = row[: len(row) - len(row.lstrip())]
            rows[first - 1 : last] = [""] * (last - first + 1)
            if len(gone) == len(block) and statement is block[0]:
                rows[first - 1] = f"{margin}pass"
    return "\n".join(rows)


# ── A `while` that counts as `for` ────────────────────────────────────────────────────────


def with_for_loop(text: str, line: int) -> str:
    """The text with `for n in range(0, 100):` for `while n < 100:` on a line; else as it is.

    All lines stay where they are. Before the loop `n` is given a whole number; the last line of
    the loop is `n += 1`, and nothing else in it changes `n` or what it is compared with.
    """
    for block in all_blocks(ast.parse(text)):
        for at, loop in enumerate(block):
            if isinstance(loop, ast.While) and loop.lineno == line:
                start = _start(loop, block[:at])
                return text if start is None else _rewritten(text, loop, start)
    return text


def _start(loop: ast.While, before: Sequence[ast.stmt]) -> int | None:
    """The number that the counter starts with; None if the passes can't be counted so."""
    match loop.test, loop.body[-1]:
        case (
            ast.Compare(left=ast.Name(id=name), ops=[ast.Lt() | ast.LtE()], comparators=[end]),
            ast.AugAssign(target=ast.Name(id=counter), op=ast.Add(), value=ast.Constant(value=1)),
        ) if name == counter:
            pass
        case _:
            return None
    body = loop.body[:-1]
    is_plain = isinstance(end, ast.Constant | ast.Name | ast.Attribute)
    fixed = {name, ast.unparse(end)}
    is_changed = any(writes(statement) & fixed for statement in statements(body))
    has_continue = any(isinstance(node, ast.Continue) for node in own_nodes(body))
    if not body or loop.orelse or not is_plain or is_changed or has_continue:
        return None
    for statement in reversed(before):
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=target)], value=ast.Constant(value=int() as first)
            ):
                if target == name:
                    return first
            case _ if any(name in writes(inner) for inner in statements([statement])):
                return None
    return None


def _rewritten(text: str, loop: ast.While, start: int) -> str:
    """The text with another head of the loop, and without the line that counts."""
    assert isinstance(loop.test, ast.Compare)
    end = ast.unparse(loop.test.comparators[0])
    end += " + 1" if isinstance(loop.test.ops[0], ast.LtE) else ""
    bounds = f"{start}, {end}" if start else end
    lines = [row.encode() for row in text.split("\n")]
    head, last = f"for {ast.unparse(loop.test.left)} in range({bounds})", loop.body[-1]
    row = lines[loop.lineno - 1]
    if loop.test.end_lineno != loop.lineno or last.lineno == loop.body[-2].end_lineno:
        return text
    behind = row[loop.test.end_col_offset :].lstrip(b") ")
    lines[loop.lineno - 1] = row[: loop.col_offset] + head.encode() + behind
    lines[last.lineno - 1] = b""
    return b"\n".join(lines).decode()
