"""The comparisons that an exercise's condition is made of, and the state of each in a run.

`tutor.wording.goals` has the words.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from tutor.protocol.frame import Value
from tutor.training.exercises import holds

_MIRRORED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
_COMPARING = ast.Lt | ast.LtE | ast.Gt | ast.GtE | ast.Eq | ast.NotEq


class GoalComparison(msgspec.Struct, frozen=True):
    """A part of a condition as expressions; all but `condition` are empty if it compares nothing.

    `abs(w - 3) < 0.1` is `w`, "Within", the target `3` and the tolerance `0.1`.
    """

    condition: str
    now: str = ""
    sense: str = ""
    """The name of the operator in `ast`, or "Within"."""
    target: str = ""
    tolerance: str = ""
    settled_after: int | None = None
    """The number of epochs after which it no longer changes to true; None if it always may."""

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions to evaluate for the present state."""
        parts = (self.now, self.target, self.tolerance)
        return (f"not not ({self.condition})", *filter(None, parts))

    def state(self, values: Sequence[Value]) -> ComparisonState:
        """The state in which `expressions` have these values."""
        rest = iter(values[1:])
        now, target, tolerance = (
            next(rest) if part else None for part in (self.now, self.target, self.tolerance)
        )
        error = values[0].text if values[0].dtype == "text" else ""
        return ComparisonState(self, holds(values[0]), now, target, tolerance, error)


class ComparisonState(msgspec.Struct, frozen=True):
    """The state of one comparison at the run's present position."""

    comparison: GoalComparison
    holds: bool
    now: Value | None = None
    target: Value | None = None
    tolerance: Value | None = None
    error: str = ""
    """The error that the condition raises: `NameError: name 'shown' is not defined`."""

    def is_missed(self, epochs: int) -> bool:
        """Whether it does not hold, and no longer can in a run of so many epochs."""
        settled = self.comparison.settled_after
        return not self.holds and settled is not None and epochs >= settled


Marks = tuple[tuple[ComparisonState, ...], ...]
"""The ways to reach a goal: one of them is enough, and of that one all comparisons must hold."""


class Goal(msgspec.Struct, frozen=True):
    """A condition as the comparisons it is made of."""

    ways: tuple[tuple[GoalComparison, ...], ...]
    """The ways to reach it: one of them is enough."""

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions to evaluate for the present state."""
        return tuple(e for way in self.ways for part in way for e in part.expressions)

    @staticmethod
    def is_missed(marks: Marks, epochs: int) -> bool:
        """Whether a run can't reach it any more, whose comparisons stand so after these epochs."""
        return bool(marks) and all(any(part.is_missed(epochs) for part in way) for way in marks)

    def marks(self, values: Sequence[Value]) -> Marks:
        """The state of each comparison, where `expressions` have these values."""
        rest = iter(values)
        return tuple(
            tuple(part.state([next(rest) for _ in part.expressions]) for part in way)
            for way in self.ways
        )


def goal_of(condition: str) -> Goal:
    """The comparisons of a condition, without those that only guard another one."""
    node = ast.parse(condition.strip(), mode="eval").body
    return Goal(tuple(tuple(_comparisons(way)) for way in _parts(node, ast.Or)))


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


# ── Comparisons that only guard ─────────────────────────────────────────────────────


def _only_guards(part: ast.expr, others: Sequence[ast.expr]) -> bool:
    """Whether a part only makes sure that another has a value.

    So does the first of `len(losses) >= 3 and losses[2] < 1`.
    """
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
    """The number of epochs after which an expression has a value."""
    match node:
        case ast.Subscript(value=ast.Name(id="losses"), slice=ast.Constant(value=int(index))):
            return index + 1
        case ast.Subscript(value=ast.Name(id="losses")):
            return 1
    return 0


def _comparison(node: ast.expr) -> GoalComparison:
    condition = ast.unparse(node)
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if isinstance(op, _COMPARING):
            pass
        case _:
            return GoalComparison(condition, settled_after=settled_after(node))
    if is_literal(left) and type(op) in _MIRRORED:
        left, op, right = right, _MIRRORED[type(op)](), left
    if isinstance(op, ast.Lt | ast.LtE) and (apart := _distance(left)) is not None:
        now, target = map(ast.unparse, apart)
        parts = (now, "Within", target, ast.unparse(right))
    else:
        parts = (ast.unparse(left), type(op).__name__, ast.unparse(right), "")
    return GoalComparison(condition, *parts, settled_after(node))


_FUNCTIONS = frozenset({"abs", "all", "any", "bool", "float", "len", "max", "min"})


def settled_after(node: ast.expr) -> int | None:
    """The number of epochs after which a comparison no longer changes to true, if there is one.

    `losses[:10].min() < 1` reads the first 10 losses only, `epoch == 1` is over after epoch 1.
    """
    match node:
        case ast.Compare(
            left=ast.Name(id="epoch") | ast.Call(ast.Name(id="len"), [ast.Name(id="losses")]),
            ops=[ast.Eq() | ast.Lt() | ast.LtE()],
            comparators=[ast.Constant(value=int(last))],
        ):
            return last
    read = [_epochs_read_at_most(part) for part in ast.walk(node) if _is_of_losses(part)]
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    others = [name for name in names if name not in _FUNCTIONS]
    known = [count for count in read if count is not None]
    return max(known) if known and len(others) == len(known) else None


def _is_of_losses(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) == "losses"


def _epochs_read_at_most(node: ast.AST) -> int | None:
    """The last epoch that a subscript of `losses` reads; None where that depends on the run."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=int(index))):
            return index + 1
        case ast.Subscript(slice=ast.Slice(upper=ast.Constant(value=int(last)))):
            return last
    return None


def _distance(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The two numbers whose distance an expression is: `abs(a - b)`, or `abs(a)` from 0."""
    match node:
        case ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(op=ast.Sub()) as apart]):
            return apart.left, apart.right
        case ast.Call(func=ast.Name(id="abs"), args=[near]):
            return near, ast.Constant(value=0)
    return None


def is_literal(node: ast.expr) -> bool:
    """Whether an expression is a number or a string as it is written, with a sign or without."""
    bare = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(bare, ast.Constant)
