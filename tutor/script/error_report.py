"""The error in a Python program's output: its message, the program's own line, and the culprit.

Read are the tracebacks of Python and of IPython, and warnings (`train.py:12: UserWarning: …`). The
variable that an error speaks of, and the statement that made it fail, are looked for in the code,
which is read and never run: what can't be told from it is left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from tutor.python_syntax import (
    BACKWARD_HELPERS,
    CONVERSIONS,
    FUNCTIONS,
    called_name,
    loaded_names,
    own_blocks,
    statements,
    stored_names,
)

_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x1b\][^\x07]*\x07")
_BEGIN = re.compile(r"Traceback \(most recent call last\)|Traceback of (forward) call")
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)(?:, in (.+))?$')
_IPYTHON_FRAME = re.compile(r"^(?:File (.+?):(\d+)(?:, in (.+))?|(Cell In\s?\[\d+\]), line (\d+))$")
_IPYTHON_SOURCE = re.compile(r"^-+> ?(\d+) (.*)$")
_CARETS = re.compile(r"^\s*[~^]+\s*$")
_ERROR = re.compile(
    r"^(?:\[rank\d+\]: ?)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit))"
    r"(?:: (.*))?$"
)
_ANY_ERROR = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?$")
"""The line behind a traceback, whatever the class of the exception is called."""
_FIGURE = re.compile(r"[-+\d.e%\s]*(nan|inf)?\s*")
_WARNING = re.compile(r"^(.+?):(\d+): (\w*Warning): (.*)$")
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python\d[.\d]*)[/\\]|^<frozen")

MOST_LINES = 12
"""Lines of one message that are kept."""


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of a program that stood in a traceback or a warning."""

    file: str
    line: int
    function: str = ""
    """Empty at the top level of a file."""
    source: str = ""
    """Its text, if the output showed it."""
    expression: str = ""
    """The part of the line that failed, if the output marked one."""

    @property
    def is_own(self) -> bool:
        """Whether it is the learner's own code, not a library's."""
        return not _LIBRARY.search(self.file)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One error or warning."""

    type: str
    """`RuntimeError`; empty for a message that came alone."""
    message: str
    lines: tuple[CodeLine, ...] = ()
    """The calls that led to it, the innermost last."""
    forward: tuple[CodeLine, ...] = ()
    """With anomaly detection: the calls of the forward operation whose backward failed."""

    @property
    def is_warning(self) -> bool:
        """Whether the program went on after it."""
        return self.type.endswith("Warning")

    @property
    def text(self) -> str:
        """Type and message, as Python prints them."""
        return f"{self.type}: {self.message}" if self.type else self.message

    @property
    def own_line(self) -> CodeLine | None:
        """The innermost line of the learner's own code."""
        return next((line for line in reversed(self.lines) if line.is_own), None)

    @property
    def own_forward_line(self) -> CodeLine | None:
        """The learner's own line that computed the value whose backward failed."""
        return next((line for line in reversed(self.forward) if line.is_own), None)


def reports_in(output: str) -> list[ErrorReport]:
    """All errors and warnings in a program's output, in its order."""
    return list(_reports([_ESCAPE.sub("", line) for line in output.splitlines()]))


def report_of(message: str) -> ErrorReport:
    """A message that somebody has typed or pasted, with its traceback or without."""
    if found := reports_in(message):
        return found[-1]
    return ErrorReport("", " ".join(_ESCAPE.sub("", message).split()))


def _reports(lines: Sequence[str]) -> Iterator[ErrorReport]:
    calls: list[CodeLine] = []
    forward: tuple[CodeLine, ...] = ()
    at = 0
    while at < len(lines):
        line = lines[at]
        if begins := _BEGIN.search(line):
            calls, at = _traceback_calls(lines, at + 1)
            if begins[1]:
                forward, calls = tuple(calls), []
            continue
        if warning := _WARNING.match(line):
            behind = lines[at + 1] if lines[at + 1 : at + 2] else ""
            source = behind.strip() if behind.startswith("  ") else ""
            place = CodeLine(warning[1], int(warning[2]), source=source)
            yield ErrorReport(warning[3], warning[4].strip(), (place,))
        elif frame := _ipython_frame(lines, at):
            calls.append(frame)
        elif error := _named_error(line, is_behind_traceback=bool(calls)):
            message, at = _message(lines, at, error[2] or "")
            yield ErrorReport(error[1].rpartition(".")[2], message, tuple(calls), forward)
            calls, forward = [], ()
            continue
        at += 1


def _named_error(line: str, *, is_behind_traceback: bool) -> re.Match[str] | None:
    """The error that a line names; a figure (`TestError: 0.31`) is none."""
    found = (_ANY_ERROR if is_behind_traceback else _ERROR).match(line)
    is_figure = found is not None and not is_behind_traceback and _FIGURE.fullmatch(found[2] or "x")
    return None if is_figure else found


def _traceback_calls(lines: Sequence[str], at: int) -> tuple[list[CodeLine], int]:
    """The calls of a traceback whose frames begin at a line, and the line behind them."""
    calls: list[CodeLine] = []
    while at < len(lines):
        if frame := _FRAME.match(lines[at]):
            shown = [line for line in lines[at + 1 : at + 3] if not _FRAME.match(line)]
            calls.append(_code_line(frame, shown))
        elif not lines[at][:1].isspace() and lines[at].strip():
            break
        at += 1
    return calls, at


def _code_line(frame: re.Match[str], shown: Sequence[str]) -> CodeLine:
    """A frame with the source below it, and the carets below that."""
    source = shown[0].strip() if shown and shown[0].startswith(" ") else ""
    carets = shown[1] if len(shown) > 1 and _CARETS.match(shown[1]) else ""
    expression = ""
    if source and carets:
        indent = len(shown[0]) - len(shown[0].lstrip())
        first = len(carets) - len(carets.lstrip()) - indent
        expression = source[max(first, 0) : len(carets.rstrip()) - indent]
    function = frame[3] or ""
    is_top = function in ("<module>", "<cell line: 1>")
    return CodeLine(frame[1], int(frame[2]), "" if is_top else function, source, expression)


def _ipython_frame(lines: Sequence[str], at: int) -> CodeLine | None:
    """A frame as IPython prints it, with an arrow at the line that failed."""
    frame = _IPYTHON_FRAME.match(lines[at].strip())
    if frame is None:
        return None
    arrows = (_IPYTHON_SOURCE.match(line.strip()) for line in lines[at + 1 : at + 12])
    arrow = next((found for found in arrows if found), None)
    file, line = (frame[1], frame[2]) if frame[1] else (frame[4], frame[5])
    function = (frame[3] or "").partition("(")[0]
    return CodeLine(file, int(line), function, arrow[2].strip() if arrow else "")


def _message(lines: Sequence[str], at: int, first: str) -> tuple[str, int]:
    """A message that may have several lines, and the line behind it."""
    message = [first.strip()]
    at += 1
    while at < len(lines) and lines[at].strip() and len(message) < MOST_LINES:
        if _BEGIN.search(lines[at]) or _ERROR.match(lines[at]) or _WARNING.match(lines[at]):
            break
        message.append(lines[at].strip())
        at += 1
    return " ".join(message).strip(), at


# ── The culprit ───────────────────────────────────────────────────────────────────────────

_COMPUTED_BY = re.compile(r"which is output \d+ of (\w+?)(?:Backward\d*)?(?:,|\s|$)")
_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "mm",
}
_CUTS = frozenset({"detach", "item", "numpy", "tolist", "argmax"})
"""Methods whose result is in no graph."""
_MODULES = frozenset({"torch", "nn", "F", "np", "numpy", "optim", "math"})
"""Names that usually stand for modules, not for variables."""

_BACKWARDS = BACKWARD_HELPERS | {"", "torch.autograd"}
"""Names whose `backward` takes the loss as an argument."""

_LOSS_FUNCTION = re.compile(r"loss|entropy|crit", re.IGNORECASE)

_Body: TypeAlias = Sequence[ast.stmt]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the learner's code."""

    line: int
    code: str
    """Its first line."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The variable that an error speaks of."""

    name: str
    """As it stands in the code: `loss`, `w.grad`, `x @ w`."""
    cause: Statement | None = None
    """The statement that changed, cut off or replaced it."""
    origin: Statement | None = None
    """The statement that computed it before that."""


def culprit_of(report: ErrorReport, kind: str, source: str) -> Culprit | None:
    """The culprit of an error of a kind (a key of `wording/torch_errors.toml`).

    `source` is the text of the file that the error's own line stands in, empty if it can't be
    read: then there is only the line itself. None if nothing can be told.
    """
    at = report.own_line
    if at is None:
        return None
    code = _Code(source, at)
    find = _FINDERS.get(kind, _operands)
    return find(code, report)


class _Code:
    """The statement at a place of the learner's code, and the statements before it."""

    def __init__(self, source: str, at: CodeLine) -> None:
        self.lines = source.splitlines()
        self.body: _Body = ()
        tree = _tree_of(source)
        if tree is not None and 0 < at.line <= len(self.lines):
            self.body = _body_around(tree, at.line)
        self.line = at.line
        found = [s for s in statements(self.body) if s.lineno <= at.line <= _end(s)]
        self.statement: ast.AST | None = found[-1] if found else _parsed_line(at)
        self.expression: ast.AST | None = _tree_of(at.expression) or self.statement

    def before(self) -> list[ast.stmt]:
        """The simple statements before the place, the nearest first, and then all others.

        In a loop, the others were run in the pass before.
        """
        simple = [s for s in statements(self.body) if not own_blocks(s)]
        near = [s for s in simple if s.lineno < self.line]
        return near[::-1] + [s for s in simple if s.lineno >= self.line][::-1]

    def shown(self, node: ast.stmt) -> Statement:
        """A statement as it stands in the file."""
        return Statement(node.lineno, self.lines[node.lineno - 1].strip())


def _tree_of(source: str) -> ast.Module | None:
    if not source.strip():
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # a part of a statement, magics of a notebook
        return None


def _parsed_line(at: CodeLine) -> ast.AST | None:
    """The statement of a line that is known by itself only."""
    for text in (at.source, f"{at.source} pass", at.source.rstrip(":"), f"({at.source}"):
        if (tree := _tree_of(text)) is not None and tree.body:
            return tree.body[0]
    return None


def _end(node: ast.stmt) -> int:
    """The last line of a simple statement, or of a compound statement's head."""
    if (blocks := own_blocks(node)) and not isinstance(node, ast.Try):
        return max(node.lineno, blocks[0][0].lineno - 1)
    return node.end_lineno or node.lineno


def _body_around(tree: ast.Module, line: int) -> _Body:
    """The body of the innermost function around a line, or the file's body."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno).body if around else tree.body


# ── Finders, one for each kind of error that has its own variable ────────────────────────────


def _receiver(code: _Code, _: ErrorReport) -> Culprit | None:
    """`loss` of `loss.backward()`."""
    name = _receiver_of(code)
    return Culprit(name) if name else None


def _receiver_of(code: _Code) -> str:
    """The tensor that `backward` is called on, or that a library's `backward` is given."""
    for node in ast.walk(code.statement or ast.Pass()):
        if isinstance(node, ast.Call) and called_name(node) == "backward":
            assert isinstance(node.func, ast.Attribute | ast.Name)
            name = ast.unparse(node.func).rpartition(".")[0]
            return ast.unparse(node.args[0]) if name in _BACKWARDS and node.args else name
    return ""


def _cut_off(code: _Code, report: ErrorReport) -> Culprit | None:
    """The loss without a graph, and the statement on the way to it that cut the graph."""
    name = _receiver_of(code)
    if not name:
        return _operands(code, report)
    wanted, cut = {name.partition(".")[0]}, None
    for node in code.before():
        if cut or node.lineno > code.line or not wanted.intersection(stored_names(node)):
            continue
        wanted |= loaded_names(node)
        if any(_is_cut(inner) for inner in ast.walk(node)):
            cut = node
    return Culprit(name, cause=code.shown(cut) if cut else None)


def _is_cut(node: ast.AST) -> bool:
    """Whether it is a call that cuts the graph: `t.detach()`, `float(t)`, `torch.tensor(t)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name)) if name in _CUTS:
            return True
        case ast.Call(func=ast.Name(id="float") | ast.Attribute(attr="tensor" | "as_tensor")):
            return bool(node.args) and bool(loaded_names(node.args[0]))
    return False


def _changed_in_place(code: _Code, report: ErrorReport) -> Culprit | None:
    """The tensor that backward needs and that a statement has changed since.

    PyTorch names the operation that computed it (`output 0 of AddBackward0`), none for a leaf.
    """
    found = _COMPUTED_BY.search(report.message)
    by = found[1].lower() if found else ""
    before = code.before()
    changes = [(name, node) for node in before if (name := _changed_thing(node))]
    origins = [node for node in before if not _changed_thing(node)]
    if by:
        made = {name for n in origins if by in _operations(n) for name in stored_names(n)}
        changes = [(name, node) for name, node in changes if name in made] or changes
    else:
        changes = [(n, node) for n, node in changes if n.endswith(".step()")] or changes
    if len({name for name, _ in changes}) != 1:
        return _receiver(code, report)
    name, node = changes[0]
    origin = next((n for n in origins if name in stored_names(n)), None)
    return Culprit(name, code.shown(node), code.shown(origin) if origin else None)


def _changed_thing(node: ast.stmt) -> str:
    """The tensor that a statement changes in place, or `optimizer.step()`; empty if none."""
    if any(_is_cut(inner) for inner in ast.walk(node)):  # a sum of plain numbers
        return ""
    match node:
        case ast.AugAssign(target=ast.Name() | ast.Attribute() as target):
            return ast.unparse(target)
        case (
            ast.AugAssign(target=ast.Subscript() as target)
            | ast.Assign(targets=[ast.Subscript() as target])
        ):
            is_key = isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str)
            return "" if is_key else ast.unparse(target.value)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=value, attr=method))):
            name = ast.unparse(value)
            if method == "step":
                return "" if "sched" in name else f"{name}.step()"
            is_change = method.endswith("_") and method[0] != "_"
            return name if is_change and not _MODULES.intersection(name.split(".")) else ""
    return ""


def _operations(node: ast.stmt) -> set[str]:
    """The operations in a statement, as PyTorch's graph names them: `add`, `sigmoid`."""
    signs = {_OPERATORS[type(n.op)] for n in ast.walk(node) if _is_arithmetic(n)}
    return signs | {called_name(n).lower() for n in ast.walk(node)}


def _is_arithmetic(node: ast.AST) -> TypeGuard[ast.BinOp]:
    return isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS


def _replaced(code: _Code, report: ErrorReport) -> Culprit | None:
    """The tensor whose `.grad` is None, and the statement that made its name another tensor."""
    grads = [
        ast.unparse(node.value)
        for node in ast.walk(code.statement or ast.Pass())
        if isinstance(node, ast.Attribute) and node.attr == "grad"
    ]
    if not grads:
        return _operands(code, report)
    name = grads[0]
    for node in code.before():
        if isinstance(node, ast.Assign) and _is_result(node, name):
            return Culprit(name, cause=code.shown(node))
    return Culprit(name)


def _is_result(node: ast.Assign, name: str) -> bool:
    """Whether this name is assigned a value that is computed from a tensor, and so is no leaf."""
    if name not in stored_names(node):
        return False
    of_itself = name in loaded_names(node.value)
    is_moved = any(called_name(n) in CONVERSIONS for n in ast.walk(node.value))
    has_flag = "requires_grad" in ast.unparse(node.value)
    is_last = called_name(node.value) in ("requires_grad_", "tensor", "Parameter")
    is_computed = isinstance(node.value, ast.BinOp)
    return not is_last and (of_itself or (has_flag and (is_moved or is_computed)))


def _operands(code: _Code, _: ErrorReport) -> Culprit | None:
    """The expression that failed if the output marks one; else the tensors in the statement."""
    node = code.expression
    if node is None:
        return None
    names = sorted(loaded_names(node) - _MODULES - {"self"} - _called_names(node))
    if isinstance(node, ast.Module):
        return Culprit(ast.unparse(node)) if names else None
    return Culprit(", ".join(names)) if 0 < len(names) <= 3 else None


def _target(code: _Code, report: ErrorReport) -> Culprit | None:
    """`y` of `F.cross_entropy(z, y)` and of `nn.CrossEntropyLoss()(z, y)`."""
    for node in ast.walk(code.expression or ast.Pass()):
        match node:
            case ast.Call(func=func, args=[_, target, *_]) if isinstance(
                func, ast.Call
            ) or _LOSS_FUNCTION.search(called_name(node)):
                return Culprit(ast.unparse(target))
    return _operands(code, report)


def _method(code: _Code, report: ErrorReport) -> Culprit | None:
    """`model.parameters` of `SGD(model.parameters)`: a method of an object that is not called."""
    nodes = list(ast.walk(code.statement or ast.Pass()))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    others = (n for n in nodes if isinstance(n, ast.Attribute) and id(n) not in called)
    names = [name for name in map(ast.unparse, others) if not _MODULES & set(name.split("."))]
    return Culprit(names[0]) if len(names) == 1 else _operands(code, report)


_FINDERS: dict[str, Callable[[_Code, ErrorReport], Culprit | None]] = {
    "changed in place": _changed_in_place,
    "no graph": _cut_off,
    "not a scalar": _receiver,
    "backward twice": _receiver,
    "a plain number": _receiver,
    "shape of the vector": _receiver,
    "no gradient yet": _replaced,
    "gradient of a non-leaf": _replaced,
    "method not called": _method,
    "type of targets": _target,
    "class out of range": _target,
    "column of classes": _target,
}


def _called_names(node: ast.AST) -> set[str]:
    """The names of functions that are called."""
    calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return {f.id for f in calls if isinstance(f, ast.Name)}
