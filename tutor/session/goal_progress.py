"""How near a run is to an exercise's condition, and the condition in words.

Each comparison of the condition stands beside its value now: `losses[:10].min()` is the lowest
loss of epochs 1 to 10.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tutor.plain import one_line
from tutor.protocol.frame import Value
from tutor.session.number_format import setting, short
from tutor.training.answers import holds

_MOST_CELLS = 44
_NAMES = {"learning_rate": "learning rate", "losses": "the losses"}
_OF = {"min": "lowest", "max": "highest", "mean": "mean of", "sum": "sum of", "abs": "size of"}
_SAME = {"item", "detach", "float", "int"}
"""What a number goes through without becoming another one."""
_BY_PARAMETER = {"gradient": "gradient of {}", "gradient_now": "gradient of {}", "was": "{} before"}
_SIGNS: Mapping[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 1),
    ast.Sub: ("−", 1),
    ast.Mult: ("×", 2),
    ast.Div: ("/", 2),
    ast.Pow: ("^", 3),
}
"""How an operation is written, and how tightly it binds."""
_ATOM = 4


def words_of(node: ast.expr) -> str:
    """An expression in words, shorter than a line; empty if it has no words."""
    found = _words(node)
    return one_line(found) if found and len(found) <= _MOST_CELLS else ""


def _words(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=bool()):
            return ""
        case ast.Constant(value=int() | float() as number):
            return setting(number)
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return _NAMES.get(name, name)
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
        case ast.Call(func=ast.Name(id=name), args=[of], keywords=[]):
            return _called(name, of)
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=[], keywords=[]):
            return _called(name, of)
    return ""


def _joined(*parts: str) -> str:
    """The parts as one; empty where one of them has no words."""
    return "".join(parts) if all(parts) else ""


def _operand(node: ast.expr, binding: int) -> str:
    """In brackets where it binds less tightly than that."""
    words = _words(node)
    while isinstance(node, ast.Call) and (inner := _unwrapped(node)) is not None:
        node = inner
    is_loose = isinstance(node, ast.BinOp) and _SIGNS.get(type(node.op), ("", 0))[1] < binding
    return f"({words})" if words and is_loose else words


def _unwrapped(node: ast.Call) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[of]) if name in _SAME:
            return of
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=[]) if name in _SAME:
            return of
    return None


def _called(name: str, of: ast.expr) -> str:
    if name in _SAME:
        return _words(of)
    match name, of:
        case "max", ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(op=ast.Sub()) as apart]):
            return _joined(
                "largest distance of ", _words(apart.left), " from ", _words(apart.right)
            )
    return _joined(_OF.get(name, ""), " ", _operand(of, _ATOM))


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
        case _, ast.Constant(value=int()):
            return _joined(_operand(value, _ATOM), f"[{ast.unparse(index)}]")
        case _, ast.Tuple(elts=[ast.Constant(value=int()), *_]):
            return _joined(_operand(value, _ATOM), f"[{ast.unparse(index).strip('()')}]")
    return ""


THE_REST = "the rest of what is asked"
"""A part of a condition that has no words of its own."""
_LONGEST_NAME = 24
"""Of what a number is compared with: in place of a longer name stands that it may change."""

_SENSES: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "below",
    ast.LtE: "at most",
    ast.Gt: "above",
    ast.GtE: "at least",
    ast.Eq: "exactly",
    ast.NotEq: "other than",
}
_MIRRORED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}


@dataclass(frozen=True, slots=True)
class ComparisonState:
    """How one comparison stands where the run rests."""

    what: str
    """`lowest loss of epochs 1 to 10`."""
    holds: bool
    now: str = ""
    """`0.0031`, or `yes`; empty where there is no value yet."""
    wanted: str = ""
    """`below 1e−6`; empty where whether it holds says all."""
    named: str = ""
    """The same with a name, where the number is computed and may change with the run: `above loss
    of epoch 1 (now 26)`."""

    @property
    def stands(self) -> str:
        """The present value; words where there is none yet."""
        return self.now or "none yet"

    @property
    def should_be(self) -> str:
        """`, should be below 1e−6`; without the verb where it is so."""
        verb = "" if self.holds else "should be "
        return f", {verb}{self.named or self.wanted}" if self.wanted else ""


Marks = tuple[tuple[ComparisonState, ...], ...]
"""One of these is enough, and of that one all have to hold."""


@dataclass(frozen=True, slots=True)
class GoalComparison:
    """A part of a condition: what it compares, as expressions (empty where there is none)."""

    truth: str
    what: str = ""
    now: str = ""
    sense: str = ""
    target: str = ""
    tolerance: str = ""

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions to evaluate for the present state."""
        return (f"not not ({self.truth})", *filter(None, (self.now, self.target, self.tolerance)))

    def mark(self, values: Sequence[Value]) -> ComparisonState:
        """How it stands, where its expressions have these values."""
        is_so, found = holds(values[0]), iter(values[1:])
        if not self.now:
            return ComparisonState(self.what or THE_REST, is_so, "yes" if is_so else "not yet")
        now, target = _text(next(found)), next(found) if self.target else None
        tolerance = next(found) if self.tolerance else None
        if is_so and self.sense == "exactly":
            return ComparisonState(self.what, is_so, now)
        return ComparisonState(self.what, is_so, now, *self._wanted(target, tolerance))

    def _wanted(self, target: Value | None, tolerance: Value | None) -> tuple[str, str]:
        node = ast.parse(self.target, mode="eval").body
        name, is_literal = words_of(node), _is_literal(node)
        value = name if is_literal else _text(target)
        if not value:
            return (f"{self.sense} {name}" if name and not self.tolerance else ""), ""
        sense = f"within {self._width(tolerance)} of" if self.tolerance else self.sense
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        wanted = value if is_text and self.sense == "exactly" else f"{sense} {value}"
        if is_literal:
            return wanted, ""
        is_short = name and len(name) <= _LONGEST_NAME
        return wanted, f"{sense} {name} (now {value})" if is_short else f"{wanted} (as of now)"

    def _width(self, tolerance: Value | None) -> str:
        node = ast.parse(self.tolerance, mode="eval").body
        if _is_literal(node) or tolerance is None or not tolerance.data:
            return words_of(node)
        return _text(tolerance)


@dataclass(frozen=True, slots=True)
class Goal:
    """A condition as the comparisons it is made of."""

    ways: tuple[tuple[GoalComparison, ...], ...]
    """One of these is enough; none where nothing of it can be put into words."""

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions to evaluate for the present state."""
        return tuple(e for way in self.ways for part in way for e in part.expressions)

    def marks(self, values: Sequence[Value]) -> Marks:
        """How each comparison stands, where `expressions` have these values."""
        rest = iter(values)
        return tuple(
            tuple(part.mark([next(rest) for _ in part.expressions]) for part in way)
            for way in self.ways
        )


def goal_of(condition: str) -> Goal:
    """The comparisons of a condition, without those that only guard another one."""
    node = ast.parse(condition.strip(), mode="eval").body
    ways = tuple(tuple(_comparisons(way)) for way in _parts(node, ast.Or))
    return Goal(ways if any(part.what for way in ways for part in way) else ())


def _parts(node: ast.expr, by: type[ast.boolop]) -> Sequence[ast.expr]:
    return node.values if isinstance(node, ast.BoolOp) and isinstance(node.op, by) else (node,)


def _comparisons(way: ast.expr) -> Iterator[GoalComparison]:
    parts = [single for part in _parts(way, ast.And) for single in _singled(part)]
    for part in parts:
        others = [other for other in parts if other is not part]
        if not _only_guards(part, others):
            yield _comparison(part)


def _singled(node: ast.expr) -> Iterator[ast.expr]:
    """`0 < x < 1` is `0 < x` and `x < 1`."""
    if not isinstance(node, ast.Compare):
        yield node
        return
    lefts = (node.left, *node.comparators)
    for left, op, right in zip(lefts, node.ops, node.comparators, strict=False):
        yield ast.Compare(left=left, ops=[op], comparators=[right])


# ── What only guards another ────────────────────────────────────────────────────────


def _only_guards(part: ast.expr, others: Sequence[ast.expr]) -> bool:
    """Whether it says no more than that another part can be asked at all."""
    match part:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="len"), args=[ast.Name(id="losses")]),
            ops=[ast.GtE()],
            comparators=[ast.Constant(value=int(count))],
        ):
            return count <= max((_epochs_read(n) for o in others for n in ast.walk(o)), default=0)
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            read = {ast.dump(node) for other in others for node in ast.walk(other)}
            return ast.dump(left) in read
    return False


def _epochs_read(node: ast.AST) -> int:
    """How many epochs there have to be for this to be a number."""
    match node:
        case ast.Subscript(value=ast.Name(id="losses"), slice=ast.Constant(value=int(index))):
            return index + 1
        case ast.Subscript(value=ast.Name(id="losses")):
            return 1
    return 0


# ── One comparison ──────────────────────────────────────────────────────────────────


def _comparison(node: ast.expr) -> GoalComparison:
    truth = ast.unparse(node)
    match node:
        case ast.Name(id="diverged"):
            return GoalComparison(truth, "the run has diverged")
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id="diverged")):
            return GoalComparison(truth, "the run has not diverged")
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _SENSES:
            if _is_literal(left) and type(op) in _MIRRORED:
                left, op, right = right, _MIRRORED[type(op)](), left
            return _near(truth, left, op, right) or _compared(truth, left, op, right)
    return GoalComparison(truth)


def _compared(truth: str, left: ast.expr, op: ast.cmpop, right: ast.expr) -> GoalComparison:
    what = words_of(left)
    if not what:
        return GoalComparison(truth)
    return GoalComparison(truth, what, ast.unparse(left), _SENSES[type(op)], ast.unparse(right))


def _near(truth: str, left: ast.expr, op: ast.cmpop, right: ast.expr) -> GoalComparison | None:
    """`abs(a - b) < c`: a is to be within c of b."""
    if not isinstance(op, ast.Lt | ast.LtE):
        return None
    match left:
        case ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(op=ast.Sub()) as apart]):
            near, of = apart.left, apart.right
        case ast.Call(func=ast.Name(id="abs"), args=[near]):
            of = ast.Constant(value=0)
        case _:
            return None
    what = words_of(near)
    if not what:
        return None
    return GoalComparison(
        truth, what, ast.unparse(near), "within", ast.unparse(of), ast.unparse(right)
    )


def _is_literal(node: ast.expr) -> bool:
    bare = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(bare, ast.Constant)


def _text(value: Value | None) -> str:
    """A single number or a string; empty where it is neither."""
    if value is None or not (value.dtype == "str" or len(value.data) == 1 == value.size):
        return ""
    is_plain = value.dtype not in ("str", "bool") and value.is_finite
    return setting(value.data[0]) if is_plain else short(value)
