"""An exercise's condition in words, and how near a run is to it.

Each comparison is shown with its present value: `losses[:10].min()` is the lowest loss of epochs
1 to 10.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping

import msgspec

from tutor.plain import one_line
from tutor.protocol.frame import Value
from tutor.session.goal_progress import ComparisonState, GoalComparison, Marks, goal_of, is_literal
from tutor.wording.number_format import trimmed, value_text

_MOST_CELLS = 48
_MOST_FACT_CELLS = 80
"""The most cells of a fact, which may take more than one line."""
_NAMES = {"learning_rate": "learning rate", "losses": "the losses"}
_OF = {
    "min": "lowest",
    "max": "highest",
    "mean": "mean of",
    "sum": "sum of",
    "abs": "size of",
    "std": "standard deviation of",
}
_SAME = {"item", "detach", "float", "int"}
"""The calls that return their number as it is."""
_BY_PARAMETER = {
    "gradient": "gradient of {}",
    "gradient_now": "gradient of {}",
    "was": "{} before the last update",
}
_SIGNS: Mapping[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 1),
    ast.Sub: ("−", 1),
    ast.Mult: ("×", 2),
    ast.Div: ("/", 2),
    ast.MatMult: ("@", 2),
    ast.Pow: ("^", 3),
}
"""The sign of each operation, and its binding strength."""
_ATOM = 4
"""The binding strength of a name, a number or a call."""


def words_of(node: ast.expr) -> str:
    """An expression in words, shorter than a line; empty if it has no words."""
    found = _words(node)
    return one_line(found) if found and len(found) <= _MOST_CELLS else ""


def _words(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=bool()):
            return ""
        case ast.Constant(value=int() | float() as number):
            return trimmed(number)
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return _NAMES.get(name, name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return f"{name}.{attribute}"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _joined("−", _operand(operand, _ATOM))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            sign, binding = _SIGNS[type(op)]
            return _joined(_operand(left, binding), f" {sign} ", _operand(right, binding + 1))
        case ast.Subscript(value=ast.Name(id="losses"), slice=index):
            return _loss_of(index)
        case ast.Subscript(value=value, slice=index):
            return _element(value, index)
        case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id="losses")]):
            return "epochs so far"
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            return _called(name, argument)
        case ast.Call(func=ast.Attribute(value=argument, attr=name), args=[], keywords=[]):
            return _called(name, argument)
    return ""


def _joined(*parts: str) -> str:
    """The parts as one; empty where one of them has no words."""
    return "".join(parts) if all(parts) else ""


def _operand(node: ast.expr, binding: int) -> str:
    """The operand, in brackets where it binds less tightly than that."""
    words = _words(node)
    while isinstance(node, ast.Call) and (inner := _unwrapped(node)) is not None:
        node = inner
    is_loose = isinstance(node, ast.BinOp) and _SIGNS.get(type(node.op), ("", 0))[1] < binding
    return f"({words})" if words and is_loose else words


def _unwrapped(node: ast.Call) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _SAME:
            return argument
        case ast.Call(func=ast.Attribute(value=argument, attr=name), args=[]) if name in _SAME:
            return argument
    return None


def _called(name: str, argument: ast.expr) -> str:
    if name in _SAME:
        return _words(argument)
    match name, argument:
        case "max", ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(op=ast.Sub()) as apart]):
            return _joined(
                "largest distance of ", _words(apart.left), " from ", _words(apart.right)
            )
        case "max", ast.Call(func=ast.Name(id="abs"), args=[ast.Call() as change]) if (
            ast.unparse(change.func) == "np.diff" and len(change.args) == 1
        ):
            return _joined("largest change in ", _words(change.args[0]))
    is_losses = isinstance(argument, ast.Name) and argument.id == "losses"
    one = "loss" if is_losses and name in ("min", "max") else _operand(argument, _ATOM)
    return _joined(_OF.get(name, ""), " ", one)


def _loss_of(index: ast.expr) -> str:
    match index:
        case ast.Constant(value=int(epoch)):
            return f"loss of epoch {epoch + 1}"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
            return "loss of the last epoch"
        case ast.Slice(lower=None, upper=ast.Constant(value=int(last)), step=None):
            return f"loss of epochs 1 to {last}"
        case ast.Slice(
            lower=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(count))),
            upper=None,
            step=None,
        ):
            return f"loss of the last {count} epochs"
    return ""


def _element(value: ast.expr, index: ast.expr) -> str:
    match value, index:
        case ast.Name(id=name), ast.Constant(value=str(parameter)) if name in _BY_PARAMETER:
            return _BY_PARAMETER[name].format(parameter)
        case (
            ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(parameter))),
            ast.Constant(value=int(number)),
        ) if name in _BY_PARAMETER:
            return _BY_PARAMETER[name].format(f"{parameter}[{number}]")
        case _, ast.Constant(value=int()) | ast.Slice():
            return _joined(_operand(value, _ATOM), f"[{ast.unparse(index)}]")
        case _, ast.Tuple(elts=[ast.Constant(value=int()) | ast.Slice(), *_]):
            return _joined(_operand(value, _ATOM), f"[{ast.unparse(index).strip('()')}]")
    return ""


# ── Comparisons ─────────────────────────────────────────────────────────────────────

THE_REST = "the rest of what is asked"
"""A part of a condition that has no words of its own."""
_LONGEST_NAME = 24
"""Characters of the name of a target; instead of a longer one, `(as of now)` is shown."""
_SENSES = {
    "Lt": "below",
    "LtE": "at most",
    "Gt": "above",
    "GtE": "at least",
    "Eq": "exactly",
    "NotEq": "other than",
}


class GoalWords(msgspec.Struct, frozen=True):
    """The state of one comparison in words."""

    what: str
    """`lowest loss of epochs 1 to 10`."""
    holds: bool
    now: str = ""
    """`0.0031`, or `yes`; empty where there is no value yet."""
    wanted: str = ""
    """`below 1e−6`; empty where whether it holds says all."""
    named: str = ""
    """`wanted` with a name, where the number is computed and may change with the run: `above
    loss of epoch 1 (now 26)`."""

    @property
    def is_formula(self) -> bool:
        """Whether the compared number is written as a formula."""
        return _is_formula(self.what)

    @property
    def wanted_value(self) -> str:
        """The wanted value, with the name of what it is compared with if it has a short one."""
        is_nameless = _is_formula(self.named) or self.named.startswith(self.wanted)
        return self.wanted if is_nameless else self.named or self.wanted

    @property
    def stands(self) -> str:
        """The present value; words where there is none yet."""
        return self.now or "none yet"

    @property
    def should_be(self) -> str:
        """`, should be below 1e−6`; without the verb where it is so."""
        verb = "" if self.holds else "should be "
        return f", {verb}{self.named or self.wanted}" if self.wanted else ""


def _is_formula(words: str) -> bool:
    return any(f" {sign} " in words for sign, _ in _SIGNS.values())


def goal_words(marks: Marks) -> tuple[tuple[GoalWords, ...], ...]:
    """The comparisons in words; empty where nothing of the condition has words."""
    ways = tuple(tuple(_words_for(state) for state in way) for way in marks)
    return ways if any(part.what != THE_REST for way in ways for part in way) else ()


def fact_words(state: ComparisonState) -> str:
    """The words for a condition that compares no two numbers; empty if it has none."""
    compares = state.comparison.now
    return "" if compares else _fact(ast.parse(state.comparison.condition, mode="eval").body)


def unmet(marks: Marks, given: str, solution: str) -> ComparisonState | None:
    """The first comparison that does not hold, and that gives nothing of the `solution` away.

    It gives away what the `given` code lacks, other than names.
    """
    secret = _pieces(solution) - _pieces(given)
    failing = (state for way in marks[:1] for state in way if not state.holds)
    return next((s for s in failing if secret.isdisjoint(_pieces(s.comparison.condition))), None)


def _pieces(code: str) -> set[str]:
    """The calls, operations, subscripts and attributes in some code."""
    pieces = (ast.Call, ast.BinOp, ast.Subscript, ast.Attribute)
    return {ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, pieces)}


def subjects(marks: Marks) -> list[str]:
    """The subjects of the comparisons that do not hold: `the losses`, `` the step of `w` ``."""
    found: dict[str, None] = {}
    for state in (state for way in marks[:1] for state in way if not state.holds):
        tree = ast.parse(state.comparison.condition, mode="eval")
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        of = [
            node.slice.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("was", "gradient")
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ]
        if "was" in names:
            found.update((f"the step of `{one_line(name)}`", None) for name in of)
        elif "gradient" in names:
            found.update((f"the gradient of `{one_line(name)}`", None) for name in of)
        elif "losses" in names:
            found["the losses"] = None
    return list(found)


def first_name(marks: Marks) -> str:
    """The outermost name in the first comparison that does not hold; empty if there is none."""
    failing = [state for way in marks[:1] for state in way if not state.holds]
    nodes = ast.walk(ast.parse(failing[0].comparison.condition)) if failing else ()
    names = (node.id for node in nodes if isinstance(node, ast.Name))
    return next((name for name in names if not hasattr(builtins, name)), "")


def _words_for(state: ComparisonState) -> GoalWords:
    comparison, is_so = state.comparison, state.holds
    what = words_of(ast.parse(comparison.now, mode="eval").body) if comparison.now else ""
    if not what:
        fact = one_line(_fact(ast.parse(comparison.condition, mode="eval").body))
        is_short = 0 < len(fact) <= _MOST_FACT_CELLS
        return GoalWords(fact if is_short else THE_REST, is_so, "yes" if is_so else "not yet")
    if is_so and comparison.sense == "Eq":
        return GoalWords(what, is_so, _text(state.now))
    return GoalWords(what, is_so, _text(state.now), *_wanted(state))


def _fact(node: ast.expr) -> str:
    """A condition on a whole array as a statement; empty where it has no words."""
    match node:
        case ast.Name(id="diverged"):
            return "the run has diverged"
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id="diverged")):
            return "the run has not diverged"
        case ast.Call(func=ast.Name(id="bool"), args=[argument]):
            return _fact(argument)
        case ast.UnaryOp(
            op=ast.Not(), operand=ast.Call(func=ast.Attribute(value=argument, attr="any"), args=[])
        ):
            return _joined(_words(argument), " is 0 everywhere")
        case ast.Call(func=ast.Attribute(value=argument, attr="any" | "all" as how), args=[]):
            return _joined("one of " if how == "any" else "each of ", _bounds(argument))
        case ast.Call(
            func=ast.Name(id="all"),
            args=[
                ast.GeneratorExp(
                    elt=argument, generators=[ast.comprehension(target=name, iter=all_, ifs=[])]
                )
            ],
        ) if whole := _words(all_):
            said = _bounds(argument, {ast.unparse(name): f"each of {whole}"})
            is_of_parts = said and not said.startswith("each of ")
            return _joined(said, f" for each of {whole}") if is_of_parts else said
        case ast.Call(func=function, args=[argument, near]) if (
            ast.unparse(function) == "np.allclose"
        ):
            return _joined(_words(argument), " is close to ", _words(near) or ast.unparse(near))
    return ""


def _bounds(node: ast.expr, names: Mapping[str, str] = {}) -> str:
    """`w is above 1 and below 2`, of one comparison or of two with `&`; empty if not of one thing.

    `names`: the words for expressions that have others here.
    """
    is_both = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd)
    parts = (node.left, node.right) if isinstance(node, ast.BinOp) and is_both else (node,)
    found = [c for part in parts for way in goal_of(ast.unparse(part)).ways for c in way]
    compared, *others = {comparison.now for comparison in found}
    if others or not compared:
        return ""
    what = names.get(compared) or _words(ast.parse(compared, mode="eval").body)
    senses = [
        _joined(_SENSES.get(c.sense, ""), " ", _words(ast.parse(c.target, mode="eval").body))
        for c in found
    ]
    return _joined(what, " is ", " and ".join(senses)) if all(senses) else ""


def _wanted(state: ComparisonState) -> tuple[str, str]:
    """The wanted value; and the same with a name, where it may change with the run."""
    comparison = state.comparison
    node = ast.parse(comparison.target, mode="eval").body
    name = words_of(node)
    value = name if is_literal(node) else _text(state.target)
    if not value:
        sense = _SENSES.get(comparison.sense)
        return (f"{sense} {name}" if name and sense else ""), ""
    sense = _SENSES.get(comparison.sense) or f"within {_width(comparison, state.tolerance)} of"
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    wanted = value if is_text and comparison.sense == "Eq" else f"{sense} {value}"
    if is_literal(node):
        return wanted, ""
    is_short = name and len(name) <= _LONGEST_NAME
    return wanted, f"{sense} {name} (now {value})" if is_short else f"{wanted} (as of now)"


def _width(comparison: GoalComparison, tolerance: Value | None) -> str:
    node = ast.parse(comparison.tolerance, mode="eval").body
    if is_literal(node) or tolerance is None or not tolerance.data:
        return words_of(node)
    return _text(tolerance)


def _text(value: Value | None) -> str:
    """A single number or a string; empty where it is neither."""
    if value is None or not (value.dtype == "str" or len(value.data) == 1 == value.size):
        return ""
    return value_text(value) if value.dtype in ("str", "bool") else trimmed(value.data[0])
