"""A script's code with hooks: what runs in place of the file, at the same lines.

Six things are added to the syntax tree. A hook stands before each phase's first statement. The
loss is handed over where its gradient is taken, or where it is assigned; gradients are, where a
call returns them or a change by hand uses them. What a loop over batches
goes through is handed over as well, to be counted. A class gets hashes that are the same in each
run (`waiting_state.py`). And the training loop becomes a call: its body
is made a function, which shares all names with the code around it.

    for epoch in range(100):          def _tutor_body(_tutor_item):
        y_pred = x @ w                    global epoch, y_pred, …
        …                                 epoch = _tutor_item
    else:                                 if _tutor_stops: _tutor_at(0)
        print("done")                     y_pred = x @ w
                                          …
                                      _tutor_exit = _tutor_loop(_tutor_body, range(100))
                                      if _tutor_exit is None:
                                          print("done")
"""

from __future__ import annotations

import ast
import copy
import symtable
import textwrap
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

from tutor.python_syntax import FunctionCode, first_line, flat_targets, own_nodes
from tutor.script.outline import ScriptPhase, TrainingLoop, span_of

PREFIX = "_tutor_"
"""The prefix of all names that the code gets besides its own."""

STOPS, AT = f"{PREFIX}stops", f"{PREFIX}at"
KEEP_LOSS, KEEP_OTHER_LOSS = f"{PREFIX}loss", f"{PREFIX}other_loss"
BATCHES, CLASS = f"{PREFIX}batches", f"{PREFIX}class"
KEEP_GIVEN, KEEP_RETURNED = f"{PREFIX}given", f"{PREFIX}returned"
KEEP_USED = f"{PREFIX}used"
HANDED_ON = (KEEP_LOSS, KEEP_OTHER_LOSS, KEEP_GIVEN, KEEP_RETURNED, KEEP_USED, BATCHES, CLASS)
"""The hooks that return their first argument."""
LOOP, WHILE = f"{PREFIX}loop", f"{PREFIX}while"
_BODY, _ITEM, _CONDITION = f"{PREFIX}body", f"{PREFIX}item", f"{PREFIX}condition"
_EXIT = f"{PREFIX}exit"

BREAK = False
"""The result of a loop's body that has left the loop by `break`.

None is the end of a pass, also by `continue`; `(value,)` is `return value`.
"""


def instrumented(source: str, filename: str, loop: TrainingLoop) -> CodeType:
    """The code of a script with hooks for one of its loops. The source must be valid Python."""
    tree = ast.parse(source, filename)
    tree = _Handovers(loop).visit(tree)
    tree = _Hooks(loop.phases).visit(tree)
    tree = _LoopCall(loop).visit(tree)
    ast.fix_missing_locations(tree)
    return _named_as_around(compile(tree, filename, "exec", dont_inherit=True))


def _named_as_around(code: CodeType) -> CodeType:
    """The code in which the loop's body has the name of the function around it.

    A script can read it: a logger prints it, and so does a traceback.
    """
    inner = f"{_BODY}.<locals>."
    found: list[object] = []
    for constant in code.co_consts:
        if isinstance(constant, str) and inner in constant:  # the qualified name of a class
            found.append(constant.replace(inner, ""))
        elif isinstance(constant, CodeType):
            own = _named_as_around(constant)
            own = own.replace(co_qualname=own.co_qualname.replace(inner, ""))
            if own.co_name in (_BODY, _CONDITION):
                own = own.replace(co_name=code.co_name, co_qualname=code.co_qualname)
            found.append(own)
        else:
            found.append(constant)
    return code.replace(co_consts=tuple(found))


# ── Hooks ───────────────────────────────────────────────────────────────────────────


class _Hooks(ast.NodeTransformer):
    """Puts a hook before the first statement of each phase."""

    def __init__(self, phases: Sequence[ScriptPhase]) -> None:
        self._numbers = {(p.line, p.column): number for number, p in enumerate(phases)}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                setattr(node, field, [new for stmt in block for new in self._with_hook(stmt)])
        return node

    def _with_hook(self, node: ast.stmt) -> Iterator[ast.stmt]:
        number = self._numbers.pop((first_line(node), node.col_offset), None)
        if number is not None:
            (hook,) = ast.parse(f"if {STOPS}: {AT}({number})").body
            yield ast.copy_location(hook, node)
        yield node


class _Handovers(ast.NodeTransformer):
    """Hands values over to the driver, and gives classes their hashes.

    `loss.backward()` becomes `_tutor_loss(loss).backward()`, and `w -= lr * dw` becomes
    `w -= lr * _tutor_used(dw, lambda: w, "w", False)`.
    """

    def __init__(self, loop: TrainingLoop) -> None:
        self._loss, self._batches_at = loop.loss, loop.batches_at
        self._lines = {
            line for phase in loop.phases for line in range(phase.line, phase.end_line + 1)
        }
        calls = loop.gradient_calls
        self._hooks = dict.fromkeys(loop.losses_at, f"{KEEP_LOSS}(True)")
        self._hooks |= dict.fromkeys(loop.other_losses_at, f"{KEEP_OTHER_LOSS}()")
        self._hooks |= {call.parameters_at: f"{KEEP_GIVEN}()" for call in calls}
        self._hooks |= {call.place: f"{KEEP_RETURNED}({call.is_first})" for call in calls}
        for use in loop.gradient_uses:
            hook = f"{KEEP_USED}(lambda: {use.parameter}, {use.parameter!r}, {use.is_negated}"
            evaluated = f", lambda: {use.gradient}" if use.gradient else ""
            self._hooks[use.place] = f"{hook}{evaluated})"

    def visit(self, node: ast.AST) -> Any:
        """Hand over an expression whose gradient is taken, or that is or returns gradients."""
        found = super().visit(node)
        if isinstance(node, ast.expr) and hasattr(node, "lineno"):
            hook = self._hooks.pop(span_of(node), None)
            return _handed(hook, found) if hook else found
        return found

    def _visit_assignment(
        self, node: ast.Assign | ast.AnnAssign | ast.AugAssign
    ) -> ast.AST | list[ast.AST]:
        """Hand over the loss after its assignment, too: it is shown before its gradient."""
        self.generic_visit(node)
        if not self._loss or node.lineno not in self._lines or node.value is None:
            return node
        if self._loss not in map(ast.unparse, flat_targets(node)):
            return node
        (after,) = ast.parse(f"{KEEP_LOSS}({self._loss})").body
        return [node, ast.copy_location(after, node)]

    visit_Assign = visit_AnnAssign = visit_AugAssign = _visit_assignment

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        """Hand over the loss of `(loss := …)`."""
        self.generic_visit(node)
        if self._loss == node.target.id and node.lineno in self._lines:
            node.value = _handed(f"{KEEP_LOSS}()", node.value)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        """Hand over what the loop over batches goes through, to be counted."""
        self.generic_visit(node)
        if (node.lineno, node.col_offset) == self._batches_at:
            node.iter = _handed(f"{BATCHES}()", node.iter)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Give a class hashes that are the same in each run."""
        self.generic_visit(node)
        first = [*node.decorator_list, node][0]
        node.decorator_list.insert(0, ast.copy_location(ast.Name(CLASS, ast.Load()), first))
        return node


def _handed(hook: str, value: ast.expr) -> ast.expr:
    """The call of a hook, with a value as its first argument."""
    call = ast.parse(hook, mode="eval").body
    assert isinstance(call, ast.Call)
    for inner in ast.walk(call):
        ast.copy_location(inner, value)
    call.args.insert(0, value)
    return call


# ── The loop ────────────────────────────────────────────────────────────────────────


class _LoopCall(ast.NodeTransformer):
    """Makes the training loop a call of the driver, and its body a function."""

    def __init__(self, loop: TrainingLoop) -> None:
        self._place = (loop.line, loop.column)
        self._functions: list[FunctionCode] = []
        self._bound: list[ast.stmt] = []
        """The statements that make the body's names the function's own."""

    def _visit_function(self, node: FunctionCode) -> ast.AST:
        self._functions.append(node)
        self.generic_visit(node)
        self._functions.pop()
        first = _after_docstring(node)
        node.body[first:first] = [ast.copy_location(stmt, node.body[0]) for stmt in self._bound]
        self._bound = []
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """A loop in the body of a class is none of a function around it."""
        functions, self._functions = self._functions, []
        self.generic_visit(node)
        self._functions = functions
        return node

    def _visit_loop(self, node: ast.For | ast.While) -> ast.AST | list[ast.stmt]:
        if (node.lineno, node.col_offset) != self._place:
            self.generic_visit(node)
            return node
        function = self._functions[-1] if self._functions else None
        names = _bound_names(node)
        self._bound = _binding_statements(names, function)
        return [ast.copy_location(stmt, node) for stmt in _loop_call(node, names, function)]

    visit_For = visit_While = _visit_loop


def _loop_call(
    loop: ast.For | ast.While, names: set[str], function: FunctionCode | None
) -> list[ast.stmt]:
    """The statements in place of the loop, which binds these names."""
    scope = _declarations(names, function)
    body, made = _BodyExits(function).block(loop.body), list[ast.stmt]()
    if isinstance(loop, ast.For):
        items, target = loop.iter, ast.Assign([loop.target], ast.Name(_ITEM, ast.Load()))
        body = [ast.copy_location(target, loop.target), *body]
    else:
        condition = _BodyExits(function).visit(loop.test)
        test = ast.copy_location(ast.Return(condition), loop.test)
        made = [_function(_CONDITION, [], [*copy.deepcopy(scope), test])]
        items = ast.Call(ast.Name(WHILE, ast.Load()), [ast.Name(_CONDITION, ast.Load())], [])
    made.append(_function(_BODY, [_ITEM], [*scope, *body]))
    call = ast.Call(ast.Name(LOOP, ast.Load()), [ast.Name(_BODY, ast.Load()), items], [])
    ran = ast.Assign([ast.Name(_EXIT, ast.Store())], call)
    return [*made, ran, *_after(loop, function)]


def _after(loop: ast.For | ast.While, function: FunctionCode | None) -> list[ast.stmt]:
    """The statements after the call: the loop's `else`, and its `return`."""
    after: list[ast.stmt] = []
    if loop.orelse:
        (ended,) = ast.parse(f"if {_EXIT} is None: pass").body
        assert isinstance(ended, ast.If)
        ended.body = loop.orelse
        after.append(ended)
    if function is not None:
        after += ast.parse(f"if {_EXIT}: return {_EXIT}[0]").body
    return after


def _function(name: str, arguments: Sequence[str], body: list[ast.stmt]) -> ast.stmt:
    (made,) = ast.parse(f"def {name}({', '.join(arguments)}): pass").body
    assert isinstance(made, ast.FunctionDef)
    made.body = body
    return made


def _declarations(names: set[str], function: FunctionCode | None) -> list[ast.stmt]:
    """`global` and `nonlocal` for the names that the body binds."""
    of_module = names if function is None else names & _declared(function, ast.Global)
    own = names - of_module
    found: list[ast.stmt] = [ast.Global(sorted(of_module))] if of_module else []
    return [*found, ast.Nonlocal(sorted(own))] if own else found


def _binding_statements(names: set[str], function: FunctionCode | None) -> list[ast.stmt]:
    """A statement, never run, by which Python's compiler finds the names bound in the function."""
    if function is None:
        return []
    declared = _declared(function, ast.Global) | _declared(function, ast.Nonlocal)
    own = sorted(names - declared)
    return ast.parse(f"if 0: {' = '.join(own)} = None").body if own else []


def _declared(function: FunctionCode, kind: type[ast.Global] | type[ast.Nonlocal]) -> set[str]:
    nodes = (node for node in own_nodes(function.body) if isinstance(node, kind))
    return {name for node in nodes for name in node.names}


def _after_docstring(function: FunctionCode) -> int:
    """Where a statement can be put into a function: after its docstring and its declarations."""
    first = 1 if ast.get_docstring(function, clean=False) is not None else 0
    while first < len(function.body) and isinstance(
        function.body[first], ast.Global | ast.Nonlocal
    ):
        first += 1
    return first


def _bound_names(loop: ast.For | ast.While) -> set[str]:
    """The names that a loop binds in its own scope, as Python's compiler finds them."""
    declared = (n for n in own_nodes([loop]) if isinstance(n, ast.Global | ast.Nonlocal))
    outer = {name for node in declared for name in node.names}
    body = textwrap.indent(ast.unparse(loop), "  ")
    text = f"def outer({', '.join(outer)}):\n def own():\n{body}"
    (around,) = symtable.symtable(text, "<loop>", "exec").get_children()
    own = next(table for table in around.get_children() if table.get_name() == "own")
    assert isinstance(own, symtable.Function)
    found = {*own.get_locals(), *(outer & _assigned_symbols(own))}
    return {name for name in found if not name.startswith(PREFIX)}


def _assigned_symbols(table: symtable.SymbolTable) -> set[str]:
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}


class _BodyExits(ast.NodeTransformer):
    """Turns the ways out of a loop's body into results of a function."""

    def __init__(self, function: FunctionCode | None) -> None:
        self._function = function
        self._is_inner = False
        """Whether the statement stands in a loop within the body."""

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """The statements of a loop's body, rewritten as a function's body."""
        return [self.visit(stmt) for stmt in body]

    def visit_Break(self, node: ast.Break) -> ast.AST:
        """`break` leaves the function; a `break` of an inner loop stays as it is."""
        return node if self._is_inner else ast.copy_location(ast.Return(ast.Constant(BREAK)), node)

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        """`continue` ends the function."""
        return node if self._is_inner else ast.copy_location(ast.Return(ast.Constant(None)), node)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        """`return value` leaves the loop with `(value,)`."""
        value = self.visit(node.value) if node.value else ast.Constant(None)
        return ast.copy_location(ast.Return(ast.Tuple([value], ast.Load())), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """`total: float = 0.0` without its annotation: a name of another scope can't have one."""
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        plain: ast.stmt = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(plain, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """`super()` finds its class and its object: it uses those of the surrounding function.

        At the file's top level `locals()`, `exec(…)` and the like work on the module's names.
        """
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="locals" | "vars"), args=[]) if not self._function:
                node.func = ast.copy_location(ast.Name("globals", ast.Load()), node.func)
            case ast.Call(func=ast.Name(id="exec" | "eval"), args=[_]) if not self._function:
                node.args.append(ast.Call(ast.Name("globals", ast.Load()), [], []))
            case ast.Call(func=ast.Name(id="super"), args=[], keywords=[]) if self._function:
                first = [*self._function.args.posonlyargs, *self._function.args.args][:1]
                if first:
                    node.args = [
                        ast.Name("__class__", ast.Load()),
                        ast.Name(first[0].arg, ast.Load()),
                    ]
        return node

    def _visit_loop(self, node: ast.For | ast.AsyncFor | ast.While) -> ast.AST:
        was, self._is_inner = self._is_inner, True
        node.body = [self.visit(stmt) for stmt in node.body]
        self._is_inner = was
        node.orelse = [self.visit(stmt) for stmt in node.orelse]
        if isinstance(node, ast.While):
            node.test = self.visit(node.test)
        else:
            node.iter = self.visit(node.iter)
        return node

    visit_For = visit_AsyncFor = visit_While = _visit_loop

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _leave
    visit_ClassDef = visit_Lambda = _leave
