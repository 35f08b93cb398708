"""The rows of the autograd graph: a tree of operations, each with its value and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

import msgspec
from msgspec.structs import replace
from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from tutor.digits import GRAPH_DIGITS
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.frame import NO_VALUE, NONE, Frame, Value
from tutor.protocol.inspections import AutogradGraph, GraphNode, LocalGradientQuestion
from tutor.ui.lines import (
    ACTIVE,
    CHANGED,
    DIM,
    DONE_MARK,
    GUTTER,
    NEXT_MARK,
    NO_MARK,
    PLAIN,
    STRONG,
    VALUE,
    Piece,
    line,
)
from tutor.wording import number_format
from tutor.wording.layout import first_fitting

DEEPEST = 8
"""Levels that are drawn by indentation; of a deeper one the number is written."""

_BRANCH, _LAST, _RAIL, _BLANK = "├─ ", "└─ ", "│  ", "   "


class GraphRow(msgspec.Struct, frozen=True):
    """One line of the tree."""

    node: int
    """The node's id."""
    prefix: str
    """The tree lines before it: `│  └─ `; empty for a root."""
    seen_before: bool
    """Whether an earlier row shows this node and its inputs."""
    hidden: int
    """The number of nodes that are folded away below it."""
    depth: int


def tree(graph: AutogradGraph, fold: frozenset[int] = frozenset()) -> tuple[GraphRow, ...]:
    """The rows of the graph, with everything below the nodes of `fold` left out.

    Several roots (backward was called on more than one thing) are several trees, the loss's
    first. The parts of composed calls have no rows of their own.
    """
    inputs_of = graph.inputs_past_parts()
    shown: set[int] = set()
    rows: list[GraphRow] = []
    # By hand, not by recursion: a graph may be deeper than Python's stack.
    used = {child for children in inputs_of.values() for child in children}
    waiting = [(node, "", "", 0) for node in reversed(inputs_of) if node not in used]
    while waiting:
        node, rails, branch, depth = waiting.pop()
        seen_before, folded = node in shown, node in fold
        shown.add(node)
        hidden = len(_reached([node], inputs_of)) if folded and not seen_before else 0
        deep = f"{depth:<2} " + rails[-(DEEPEST - 2) * len(_RAIL) :]
        prefix = (rails if depth <= DEEPEST else deep) + branch
        rows.append(GraphRow(node, prefix, seen_before, hidden, depth))
        if seen_before or folded:
            continue
        inputs = inputs_of[node]
        inner = rails + {_BRANCH: _RAIL, _LAST: _BLANK}.get(branch, "")
        for i, child in reversed(list(enumerate(inputs))):
            waiting.append((child, inner, _LAST if i == len(inputs) - 1 else _BRANCH, depth + 1))
    return tuple(rows)


def _reached(starts: Iterable[int], ways: Mapping[int, Sequence[int]]) -> list[int]:
    """The nodes that the ways from these lead to, each once, the nearest first."""
    found: dict[int, None] = {}
    waiting = [*starts]
    for node in waiting:  # it grows meanwhile
        new = [following for following in ways.get(node, ()) if following not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


class Backward(msgspec.Struct, frozen=True):
    """The part of backward that is shown."""

    done: int
    total: int
    phase: str
    """The phase that runs backward."""
    is_next: bool
    """Whether that phase is about to run: only then can its operations be shown one by one."""
    asked: int | None = None
    """The operation that an exercise asks about; None where none does."""

    def mark(self, node: GraphNode) -> Piece:
        """The mark before an operation while operations are shown one by one."""
        if not self.is_next or node.order < 0:
            return NO_MARK
        if self.asked is not None:
            return NEXT_MARK if node.order == self.asked else NO_MARK
        return {self.done: NEXT_MARK, self.done - 1: DONE_MARK}.get(node.order, NO_MARK)

    def has_reached(self, node: GraphNode) -> bool:
        """Whether the gradient of its output is known."""
        return 0 <= node.order < self.done

    @property
    def order(self) -> int:
        """The order of the operation to keep in view; -1 without one."""
        if self.asked is not None:
            return self.asked
        return min(self.done, self.total - 1) if self.is_next else -1

    @property
    def words(self) -> str:
        """The state of the gradients in a few words."""
        if not self.is_next:
            return "backward has run" if self.done == self.total else f"filled in by {self.phase}"
        if self.asked is not None:
            return "found so far, ▶ is the question"
        if self.done == self.total:
            return f"backward is finished ({self.total} of {self.total})"
        return f"i: next operation ({self.done} of {self.total})"


def backward(
    lesson: Lesson,
    frame: Frame,
    operations: int,
    graph: AutogradGraph,
    asked_of: LocalGradientQuestion | None,
) -> Backward:
    """The part of backward to show at a frame, after this number of operations.

    While an exercise asks about an operation, it is what has been found before that question.
    """
    phase, total = lesson.gradient_phase(frame.mode), graph.operations
    is_next = frame.next_phase == phase
    has_run = lesson.has_gradients(frame.mode, frame.phase, frame.line)
    if asked_of is not None and is_next and not has_run:
        return Backward(asked_of.known, total, phase, True, asked_of.order)
    done = total if has_run else min(operations, total) if is_next else 0
    return Backward(done, total, phase, is_next and not has_run)


def below(graph: AutogradGraph, node: GraphNode) -> list[GraphNode]:
    """The nodes that this node was computed from, each once."""
    nodes = {n.id: n for n in graph.nodes}
    inputs = {n.id: [i for i in n.inputs if i in nodes] for n in graph.nodes}
    return [nodes[id_] for id_ in _reached([node.id], inputs)]


def above(graph: AutogradGraph, order: int) -> frozenset[int]:
    """The ids of the nodes in whose branch the operation with this place in backward stands."""
    users: dict[int, list[int]] = {}
    for node in graph.nodes:
        for child in node.inputs:
            users.setdefault(child, []).append(node.id)
    starts = [node.id for node in graph.nodes if node.order == order >= 0]
    return frozenset(_reached(starts, users))


GAP = 2
WIDE, TIGHT = 3, 2
MOST_ELEMENTS = 8
"""No more of an array are shown, however wide the pane."""

WISHED = 4
"""The number of elements for which other columns are made wider."""

TREE_SHARE = 0.4
"""The part of a line that the tree keeps where values and gradients need more than the rest."""


class GraphDetail(msgspec.Struct, frozen=True):
    """The detail in which each row is shown."""

    has_ops: bool
    """Whether operations are named as PyTorch calls them."""
    digits: int
    """Significant digits of a number."""
    values: int
    """The number of elements of an array that are shown."""
    gradients: int
    """The number of elements of an array's gradient that are shown."""
    indent: int = WIDE
    """Cells by which a branch is set in."""


_MOST, _FEWER, _FEWEST = GRAPH_DIGITS
DETAILS = (
    GraphDetail(True, _MOST, 3, 3),
    GraphDetail(False, _MOST, 2, 2),
    GraphDetail(False, _MOST, 2, 2, indent=TIGHT),
    GraphDetail(False, _FEWER, 2, 2, indent=TIGHT),
    GraphDetail(False, _FEWER, 1, 1, indent=TIGHT),
    GraphDetail(False, _FEWEST, 1, 1, indent=TIGHT),
    GraphDetail(False, _FEWEST, 0, 1, indent=TIGHT),
    GraphDetail(False, _FEWEST, 0, 0, indent=TIGHT),
)
"""The ways to write a row, the fullest first: the first that fits is taken."""


class _Cells(msgspec.Struct, frozen=True):
    """One row's texts in one degree of detail."""

    prefix: str
    what: str
    style: Style = PLAIN
    """The style of `what`."""
    mark: Piece = NO_MARK
    op: str = ""
    value: str = ""
    gradient: str = ""
    gradient_style: Style = PLAIN
    room: int = 0
    """Cells that the gradient takes at most, now or once backward has come there."""
    folded: str = ""
    """The words on the operations folded away below; they may be cut off."""


class GraphTable(msgspec.Struct, frozen=True):
    """The rows at one width, ready to be shown with any of them chosen."""

    words: str
    columns: _Columns
    cells: Sequence[_Cells]
    width: int

    def lines(self, chosen: int) -> Iterator[Content]:
        """The heading, then a line for each row; `chosen` is the index of one, or -1."""
        can_unfold = chosen >= 0 and self.cells[chosen].folded
        words = self.words + (" · enter unfolds" if can_unfold else "")
        yield self.columns.heading(words, self.width)
        for index, cells in enumerate(self.cells):
            yield self.columns.line(cells, index == chosen, self.width)


def laid_out(
    rows: Sequence[GraphRow], graph: AutogradGraph, so_far: Backward, width: int
) -> GraphTable:
    """The rows in the fullest detail in which all of them fit."""
    nodes = {node.id: node for node in graph.nodes}
    on_show = [(row, nodes[row.node]) for row in rows]
    layouts = (
        (detail, [_cells(row, node, graph, so_far, detail) for row, node in on_show])
        for detail in DETAILS
    )

    def width_of(layout: tuple[GraphDetail, list[_Cells]]) -> int:
        columns = _Columns.of(layout[1])
        return columns.width - (columns.slack(width) if layout[0].indent == TIGHT else 0)

    detail, table = first_fitting(layouts, width_of, width)
    columns = _Columns.of(table)
    wish = replace(detail, values=WISHED, gradients=WISHED)
    wished = [_cells(row, node, graph, so_far, wish) for row, node in on_show]
    columns = columns.within(width, _Columns.of(wished))
    filled = [
        cells if row.seen_before else _filled(cells, node, so_far, detail, columns, width)
        for cells, (row, node) in zip(table, on_show, strict=True)
    ]
    filled = _labelled(filled, on_show, width - columns.at_gradient)
    return GraphTable(so_far.words, columns, filled, width)


def _filled(
    cells: _Cells,
    node: GraphNode,
    so_far: Backward,
    detail: GraphDetail,
    columns: _Columns,
    width: int,
) -> _Cells:
    """The row with as many more elements of its arrays as have room in their columns."""
    room = width - columns.at_gradient - (GAP + len(cells.folded) if cells.folded else 0)
    values = _most(lambda n: _number(node.value, detail.digits, n), columns.value)
    later = _most(
        lambda n: _gradient(node, node.order >= 0, replace(detail, gradients=n)),
        room,
    )
    detail = replace(
        detail, values=max(detail.values, values), gradients=max(detail.gradients, later)
    )
    return replace(
        cells,
        value=_number(node.value, detail.digits, detail.values),
        gradient=_gradient(node, so_far.has_reached(node), detail),
        room=len(_gradient(node, node.order >= 0, detail)),
    )


def _most(text_of: Callable[[int], str], room: int) -> int:
    """The number of elements with which the text fits."""
    fits = (len(text_of(count)) <= room for count in range(1, MOST_ELEMENTS + 1))
    return sum(takewhile(bool, fits))


def _labelled(
    table: Sequence[_Cells], on_show: Sequence[tuple[GraphRow, GraphNode]], room: int
) -> list[_Cells]:
    """The table with a label before each leaf's gradient, if all of it fits."""
    leaves = {
        i: f"{_name(node)}.grad: "
        for i, (row, node) in enumerate(on_show)
        if node.is_leaf and not row.seen_before
    }
    if any(cell_len(label) + table[i].room > room for i, label in leaves.items()):
        return list(table)
    return [
        replace(cells, gradient=leaves.get(i, "") + cells.gradient) for i, cells in enumerate(table)
    ]


class _Columns(msgspec.Struct, frozen=True):
    """The widths of a table's columns."""

    what: int
    op: int
    value: int
    gradient: int

    @classmethod
    def of(cls, table: Sequence[_Cells]) -> _Columns:
        """The widths of these texts."""
        return cls(
            what=max(cell_len(c.prefix + c.what) for c in table),
            op=max(len(c.op) for c in table),
            value=max(len("value"), *(len(c.value) for c in table)),
            gradient=max(len("gradient"), *(c.room for c in table)),
        )

    @property
    def width(self) -> int:
        """The width of a whole line."""
        right = (self.op, self.value, self.gradient)
        return GUTTER + self.what + sum(w + GAP for w in right if w)

    @property
    def at_value(self) -> int:
        """The cell at which the values begin."""
        return GUTTER + self.what + (self.op + GAP if self.op else 0) + GAP

    @property
    def at_gradient(self) -> int:
        """The cell at which the gradients begin, which have the rest of the line."""
        return self.at_value + self.value + GAP

    def _least(self, width: int) -> int:
        return min(self.what, int(width * TREE_SHARE))

    def slack(self, width: int) -> int:
        """The room for a long text, which is cut in a narrow pane before numbers are left out."""
        return min(self.what // 4, self.what - self._least(width))

    def within(self, width: int, wished: _Columns) -> _Columns:
        """The widths with which a line fits: the expression gives way, then the gradient is cut.

        What room is left goes to the gradients and then to the values, as far as they wish.
        """
        left = width - self.width
        if left < 0:
            return replace(self, what=max(self._least(width), self.what + left))
        left -= max(0, wished.gradient - self.gradient)
        value = max(self.value, min(wished.value, self.value + left))
        return replace(self, value=value)

    def heading(self, words: str, width: int) -> Content:
        """The names of the columns and the words, as far as they fit."""
        last = f"gradient · {words}"
        fits = self.at_gradient + len(last) <= width
        text = "operation" if fits else words
        names = "value", last if fits else "gradient"
        for at, name in zip((self.at_value, self.at_gradient), names, strict=True):
            if len(text) + GAP <= at:
                text = text.ljust(at) + name
        return line((text, DIM)).truncate(width, ellipsis=True)

    def line(self, cells: _Cells, is_chosen: bool, width: int) -> Content:
        """One row, cut to the width."""
        what = line((cells.what, ACTIVE if is_chosen else cells.style))
        what = what.truncate(max(4, self.what - len(cells.prefix)), ellipsis=True)
        blank = " " * max(0, self.what - len(cells.prefix) - what.cell_length)
        pieces: list[Piece] = [blank]
        if self.op:
            pieces.append((" " * GAP + cells.op.ljust(self.op), DIM))
        pieces.append((" " * GAP + cells.value.ljust(self.value), PLAIN))
        pieces += [" " * GAP, (cells.gradient, cells.gradient_style)]
        if cells.folded:
            pieces.append((" " * GAP + cells.folded, DIM))
        whole = line(cells.mark, (cells.prefix, DIM)) + what + line(*pieces)
        return whole.rstrip().truncate(width, ellipsis=True)


def _cells(
    row: GraphRow, node: GraphNode, graph: AutogradGraph, so_far: Backward, detail: GraphDetail
) -> _Cells:
    prefix = _set_in(row.prefix, detail.indent)
    if row.seen_before:
        return _Cells(prefix=prefix, what=f"{_name(node)} (see above)")
    now = _gradient(node, so_far.has_reached(node), detail)
    later = _gradient(node, node.order >= 0, detail)
    return _Cells(
        mark=so_far.mark(node),
        prefix=prefix,
        what=_what(node) + (" …" if row.hidden else ""),
        op=one_line(node.op) if detail.has_ops else "",
        value=_number(node.value, detail.digits, detail.values),
        gradient=now,
        gradient_style=_gradient_style(node, so_far),
        room=max(len(now), len(later)) + (GAP + len(_count(row)) if row.hidden else 0),
        folded=_folded(row, node, graph),
        style=STRONG if node.is_leaf or node.name else PLAIN,
    )


def _gradient_style(node: GraphNode, so_far: Backward) -> Style:
    """The style of a gradient: strong if it has just arrived, dim if it was there before."""
    if so_far.mark(node) == DONE_MARK:
        return CHANGED
    return VALUE if so_far.has_reached(node) else DIM


def _set_in(prefix: str, indent: int) -> str:
    """The rails of the tree, `indent` cells for each level (three as they come, or two)."""
    if indent == WIDE:
        return prefix
    for wide, tight in (("├─ ", "├ "), ("└─ ", "└ "), ("│  ", "│ "), ("   ", "  ")):
        prefix = prefix.replace(wide, tight)
    return prefix


def _what(node: GraphNode) -> str:
    """`y_pred = w * x`, or only the name, or only the operation."""
    name, says = one_line(node.name), one_line(node.says)
    return f"{name} = {says}" if name and says and name != says else name or says or node.op


def _name(node: GraphNode) -> str:
    return one_line(node.name or node.says or node.op)


def _folded(row: GraphRow, node: GraphNode, graph: AutogradGraph) -> str:
    """`… 12 operations to w1, b1`: the operations that are folded away below a line."""
    if not row.hidden:
        return ""
    leaves = [_name(n) for n in below(graph, node) if n.is_leaf]
    names = f" to {', '.join(leaves)}" if leaves else ""
    return _count(row) + names


def _count(row: GraphRow) -> str:
    return f"… {number_format.counted(row.hidden, 'operation')}"


# ── Numbers ─────────────────────────────────────────────────────────────────────────


def _number(value: Value, digits: int, elements: int, with_shape: bool = True) -> str:
    """A number; `[2×3] 1 2 …` for an array, of which `elements` are shown."""
    if number_format.is_single(value):
        return number_format.value_text(value, digits).strip("[]")
    shape = f"[{'×'.join(map(str, value.shape))}]"
    shown = [number_format.number(x, digits) for x in value.data[:elements]]
    if not with_shape:
        shown = shown or ["…"]
        return f"[{' '.join(shown)}{' …' if value.size > len(shown) and elements else ''}]"
    return " ".join([shape, *shown, *(["…"] if shown and value.size > len(shown) else [])])


def _gradient(node: GraphNode, is_known: bool, detail: GraphDetail) -> str:
    """The gradient where backward has come; a leaf's accumulation as old + new."""
    digits = detail.digits
    if node.old is None:
        return _number(node.gradient, digits, detail.gradients) if is_known else ""
    some = min(detail.gradients, 3)
    old = _number(node.old, digits, some, with_shape=False)
    if not is_known or node.new is None or node.gradient in (NONE, NO_VALUE):
        return old
    arrived = _number(node.gradient, digits, some, with_shape=False)
    if node.old == NONE:
        return f"None, so {arrived} is stored" if some > 1 else f"None, now {arrived}"
    if arrived.startswith(number_format.MINUS):
        arrived = f"({arrived})"
    return f"{old} + {arrived} = {_number(node.new, digits, some, with_shape=False)}"
