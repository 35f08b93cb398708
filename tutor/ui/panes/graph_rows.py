"""The rows of the autograd graph as text: what, by which operation, its value, its gradient.

Knows a Graph's rows and how far backward has come; nothing of widgets, keys or folding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from tutor.lesson.model import REPORT, Lesson
from tutor.plain import one_line
from tutor.training.frame import NO_VALUE, NONE, Frame, Value
from tutor.training.graph_tree import Row
from tutor.training.sights import Graph, Node
from tutor.ui import digits, looks, marks
from tutor.ui.looks import Piece, line

GAP = 2
WIDE, TIGHT = 3, 2
LEAST = 0.4
"""The part of a line that the tree keeps where values and gradients need more than the rest."""


@dataclass(frozen=True, slots=True)
class Look:
    """How much is said of each row."""

    has_ops: bool
    """Whether operations are named as PyTorch calls them."""
    precision: int
    """Significant digits of a number."""
    values: int
    """So many elements of an array are shown."""
    gradients: int
    """So many of a gradient that is one."""
    indent: int = WIDE
    """Cells by which a branch is set in."""


LOOKS = (
    Look(True, 5, 4, 4),
    Look(False, 5, 4, 4),
    Look(False, 4, 4, 4),
    Look(False, 4, 3, 3),
    Look(False, 4, 2, 2),
    Look(False, 4, 2, 2, indent=TIGHT),
    Look(False, 3, 1, 1, indent=TIGHT),
    Look(False, 3, 0, 1, indent=TIGHT),
    Look(False, 3, 0, 0, indent=TIGHT),
)
"""From the fullest to the shortest: the first that fits is taken."""


# ── How far backward has come ───────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Backward:
    """How many of backward's operations are shown."""

    done: int
    total: int
    phase: str
    """The phase that runs backward."""
    is_next: bool
    """Whether that phase is about to run: only then can it be gone into."""

    def mark(self, node: Node) -> Piece:
        """The mark before an operation while the phase is gone into."""
        if not self.is_next or node.order < 0:
            return marks.NONE
        return {self.done: marks.NEXT, self.done - 1: marks.DONE}.get(node.order, marks.NONE)

    def has_reached(self, node: Node) -> bool:
        """Whether the gradient of its output is known."""
        return 0 <= node.order < self.done

    @property
    def order(self) -> int:
        """Of the operation to keep in view, -1 if there is none."""
        return min(self.done, self.total - 1) if self.is_next else -1

    @property
    def words(self) -> str:
        """One line for the learner."""
        if not self.is_next:
            ran = self.done == self.total
            return (
                "backward has run" if ran else f"recorded going forward; {self.phase} walks it back"
            )
        if self.done == self.total:
            return f"backward has come to its end ({self.total} of {self.total})"
        return f"i: one operation of backward ({self.done} of {self.total})"


def backward(lesson: Lesson, frame: Frame, operations: int, graph: Graph) -> Backward:
    """How much of backward is to be seen at a frame, `operations` of it being gone into."""
    phases = [str(section.phase) for section in lesson.loop(frame.mode)]
    at = _gradient_at(phases)
    total = graph.operations
    is_next = frame.next_phase == phases[at]
    has_run = frame.phase == REPORT or frame.phase in phases[at:]
    done = total if has_run else min(operations, total) if is_next else 0
    return Backward(done, total, phases[at], is_next and not has_run)


def _gradient_at(phases: Sequence[str]) -> int:
    """The phase that leaves the gradients: before the update, where none is called so."""
    if "Gradient" in phases:
        return phases.index("Gradient")
    return max(phases.index("Update") - 1, 0) if "Update" in phases else len(phases) - 1


# ── The rows ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Cells:
    """One row's texts in one look."""

    mark: Piece
    prefix: str
    what: str
    op: str
    value: str
    gradient: str
    gradient_style: Style
    room: int
    """Cells that the gradient takes at most, now or once backward has come there."""
    folded: str
    """What is folded away below; it may be cut off."""


def drawn(
    rows: Sequence[Row], graph: Graph, so_far: Backward, width: int, chosen: int
) -> Iterator[Content]:
    """The heading, then a line for each row; `chosen` is the index of one, or -1."""
    nodes = {node.id: node for node in graph.nodes}
    for look in LOOKS:
        table = [_cells(row, nodes[row.node], graph, so_far, look) for row in rows]
        columns = _Columns.of(table)
        # Where it is narrow, a long text is cut rather than that numbers are left out.
        if columns.width - (0 if look.indent == WIDE else columns.what // 4) <= width:
            break
    columns = columns.within(width)
    can_unfold = chosen >= 0 and rows[chosen].hidden
    yield columns.heading(so_far.words + (" · enter unfolds" if can_unfold else ""), width)
    for index, (row, cells) in enumerate(zip(rows, table, strict=True)):
        yield columns.line(cells, nodes[row.node], index == chosen, width)


@dataclass(frozen=True, slots=True)
class _Columns:
    """How wide the columns of a table are."""

    what: int
    op: int
    value: int
    gradient: int

    @classmethod
    def of(cls, table: Sequence[_Cells]) -> _Columns:
        """As wide as their texts."""
        return cls(
            what=max(cell_len(c.prefix + c.what) for c in table),
            op=max(len(c.op) for c in table),
            value=max(len("value"), *(len(c.value) for c in table)),
            gradient=max(len("gradient"), *(c.room for c in table)),
        )

    @property
    def width(self) -> int:
        """Of a whole line."""
        return marks.GUTTER + self.what + sum(w + GAP for w in self._right)

    @property
    def _right(self) -> list[int]:
        return [w for w in (self.op, self.value, self.gradient) if w]

    def within(self, width: int) -> _Columns:
        """So narrow that a line fits: what is computed gives way, then the gradient is cut."""
        over = max(0, self.width - width)
        least = min(self.what, int(width * LEAST))
        return _Columns(max(least, self.what - over), self.op, self.value, self.gradient)

    def heading(self, words: str, width: int) -> Content:
        """The words, and as much as they leave room for of what the columns are."""
        at_value = marks.GUTTER + self.what + (self.op + GAP if self.op else 0) + GAP
        at_gradient = at_value + self.value + GAP
        text = words
        for at, name in ((at_value, "value"), (at_gradient, "gradient")):
            if len(text) + GAP <= at:
                text = text.ljust(at) + name
        return line((text, looks.DIM)).truncate(width, ellipsis=True)

    def line(self, cells: _Cells, node: Node, is_chosen: bool, width: int) -> Content:
        """One row, cut to the width."""
        what = line((cells.what, _what_style(node, is_chosen)))
        what = what.truncate(max(4, self.what - len(cells.prefix)), ellipsis=True)
        blank = " " * max(0, self.what - len(cells.prefix) - what.cell_length)
        pieces: list[Piece] = [blank]
        if self.op:
            pieces.append((" " * GAP + cells.op.ljust(self.op), looks.DIM))
        pieces.append((" " * GAP + cells.value.ljust(self.value), looks.PLAIN))
        pieces += [" " * GAP, (cells.gradient, cells.gradient_style)]
        if cells.folded:
            pieces.append((" " * GAP + cells.folded, looks.DIM))
        whole = line(cells.mark, (cells.prefix, looks.DIM)) + what + line(*pieces)
        return whole.rstrip().truncate(width, ellipsis=True)


def _what_style(node: Node, is_chosen: bool) -> Style:
    if is_chosen:
        return looks.ACTIVE
    return looks.STRONG if node.is_leaf or node.name else looks.PLAIN


def _cells(row: Row, node: Node, graph: Graph, so_far: Backward, look: Look) -> _Cells:
    prefix = _set_in(row.prefix, look.indent)
    if row.seen_before:
        return _Cells(
            marks.NONE, prefix, f"{_name(node)} (see above)", "", "", "", looks.PLAIN, 0, ""
        )
    now = _gradient(node, so_far.has_reached(node), look)
    later = _gradient(node, node.order >= 0, look)
    return _Cells(
        mark=so_far.mark(node),
        prefix=prefix,
        what=_what(node) + (" …" if row.hidden else ""),
        op=one_line(node.op) if look.has_ops else "",
        value=_number(node.value, look.precision, look.values),
        gradient=now,
        gradient_style=_gradient_style(node, so_far),
        room=max(len(now), len(later)) + (GAP + len(_count(row)) if row.hidden else 0),
        folded=_folded(row, node, graph),
    )


def _gradient_style(node: Node, so_far: Backward) -> Style:
    """What has just arrived stands out; what a leaf had before recedes."""
    if so_far.mark(node) == marks.DONE:
        return looks.CHANGED
    return looks.VALUE if so_far.has_reached(node) else looks.DIM


def _set_in(prefix: str, indent: int) -> str:
    """The rails of the tree, so many cells for each level (three as they come, or two)."""
    if indent == WIDE:
        return prefix
    for wide, tight in (("├─ ", "├ "), ("└─ ", "└ "), ("│  ", "│ "), ("   ", "  ")):
        prefix = prefix.replace(wide, tight)
    return prefix


def _what(node: Node) -> str:
    """`y_pred = w * x`, or what there is of it."""
    name, says = one_line(node.name), one_line(node.says)
    return f"{name} = {says}" if name and says and name != says else name or says or node.op


def _name(node: Node) -> str:
    return one_line(node.name or node.says or node.op)


def _folded(row: Row, node: Node, graph: Graph) -> str:
    """`… 12 operations to w1, b1`: what is folded away below a line."""
    if not row.hidden:
        return ""
    leaves = [_name(n) for n in below(graph, node) if n.is_leaf]
    names = f" to {', '.join(leaves)}" if leaves else ""
    return _count(row) + names


def _count(row: Row) -> str:
    return f"… {row.hidden} operation{'s' if row.hidden > 1 else ''}"


def below(graph: Graph, node: Node) -> list[Node]:
    """All that it was computed from, each once."""
    by_id = {n.id: n for n in graph.nodes}
    found: dict[int, Node] = {}
    waiting = [i for i in node.inputs if i in by_id]
    while waiting:
        child = waiting.pop(0)
        if child not in found:
            found[child] = by_id[child]
            waiting += [i for i in by_id[child].inputs if i in by_id]
    return list(found.values())


def above(graph: Graph, order: int) -> frozenset[int]:
    """The ids of all in whose branch the operation with this place in backward stands."""
    users: dict[int, list[int]] = {}
    for node in graph.nodes:
        for child in node.inputs:
            users.setdefault(child, []).append(node.id)
    waiting = [node.id for node in graph.nodes if node.order == order]
    found: set[int] = set()
    while waiting:
        new = [user for user in users.get(waiting.pop(), ()) if user not in found]
        found.update(new)
        waiting += new
    return frozenset(found)


# ── Numbers ─────────────────────────────────────────────────────────────────────────


def _number(value: Value, precision: int, elements: int, with_shape: bool = True) -> str:
    """A number; `[2×3] 1 2 …` for an array, of which so many elements are shown."""
    if digits.is_single(value):
        return one_line(digits.short(value, precision)).strip("[]")
    shape = f"[{'×'.join(map(str, value.shape))}]"
    shown = [digits.number(x, precision) for x in value.data[:elements]]
    if not with_shape:
        shown = shown or ["…"]
        return f"[{' '.join(shown)}{' …' if value.size > len(shown) and elements else ''}]"
    return " ".join([shape, *shown, *(["…"] if shown and value.size > len(shown) else [])])


def _gradient(node: Node, is_known: bool, look: Look) -> str:
    """The gradient where backward has come; a leaf's accumulation as old + new."""
    precision = look.precision
    if node.old is None:
        return _number(node.gradient, precision, look.gradients) if is_known else ""
    some = min(look.gradients, 2)
    label = f"{_name(node)}.grad: " if look.gradients > 2 else ""
    old = _number(node.old, precision, some, with_shape=False)
    if not is_known or node.new is None or node.gradient in (NONE, NO_VALUE):
        return f"{label}{old}"
    arrived = _number(node.gradient, precision, some, with_shape=False)
    if node.old == NONE:
        return f"{label}None, so {arrived} is stored" if some > 1 else f"None, now {arrived}"
    if arrived.startswith(digits.MINUS):
        arrived = f"({arrived})"
    return f"{label}{old} + {arrived} = {_number(node.new, precision, some, with_shape=False)}"
