"""The tree of a formula as small frozen nodes, and the public data of a drawn formula."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Literal, TypeAlias

import msgspec


class NodeKind(Enum):
    """The class of a node (TeX's atom types); the space around it follows from that."""

    ORD = auto()
    FUNC = auto()
    BIG = auto()
    BIN = auto()
    REL = auto()
    OPEN = auto()
    CLOSE = auto()
    PUNCT = auto()
    INNER = auto()
    MIDDLE = auto()
    """A delimiter between two others, as tall as they are; spaced like a relation."""


class Sym(msgspec.Struct, frozen=True):
    """A symbol, a number, or the name of a function."""

    text: str
    kind: NodeKind = NodeKind.ORD
    limits: bool = False
    """Whether its scripts stand below and above it in a displayed formula."""


class TextNode(msgspec.Struct, frozen=True):
    """Words, with the spaces that the author wrote."""

    text: str


class ValueNode(msgspec.Struct, frozen=True):
    r"""A live value: the Python expression of a \boxed."""

    expression: str


class Unsupported(msgspec.Struct, frozen=True):
    """LaTeX that can't be drawn, shown as it was written."""

    source: str


class Space(msgspec.Struct, frozen=True):
    """Explicit space in cells; a negative one takes the space between its neighbours away."""

    cells: int


SEPARATES = 3
"""Cells from which on a space is wide."""


class Soft(msgspec.Struct, frozen=True):
    """A blank that the author typed between two factors, as in `w x`."""


class Break(msgspec.Struct, frozen=True):
    """The end of a line outside of any environment."""


class RowNode(msgspec.Struct, frozen=True):
    """Nodes beside each other."""

    items: tuple[Node, ...]


class Frac(msgspec.Struct, frozen=True):
    """A numerator over a denominator; without a bar where it is a binomial."""

    over: Node
    under: Node
    bar: bool = True
    compact: bool = False
    r"""A \tfrac: on one row where that is possible."""


class Scripts(msgspec.Struct, frozen=True):
    """A base with a sub- or a superscript, or both."""

    base: Node
    sub: Node | None = None
    sup: Node | None = None


class Stack(msgspec.Struct, frozen=True):
    """A base with something centred under or over it."""

    base: Node
    under: Node | None = None
    over: Node | None = None


class Accent(msgspec.Struct, frozen=True):
    """A base under (or over) a hat, bar, tilde, vector arrow …"""

    base: Node
    name: str
    below: bool = False


class Brace(msgspec.Struct, frozen=True):
    """A base with a brace along its upper or lower edge."""

    base: Node
    over: bool


class Root(msgspec.Struct, frozen=True):
    """A square root, or the root named by `index`."""

    body: Node
    index: Node | None = None
    is_lined: bool = False
    """Whether its line is drawn even over a single symbol, as a factor follows."""


class Fenced(msgspec.Struct, frozen=True):
    """A body between delimiters that grow with it; "" where there is none."""

    opening: str
    body: Node
    closing: str


class TableNode(msgspec.Struct, frozen=True):
    """Cells in rows and columns."""

    rows: tuple[tuple[Node, ...], ...]
    align: tuple[Literal["left", "center", "right"], ...]
    display: bool = False
    """Lines of displayed formulas (aligned, gather) rather than a matrix."""
    column_lines: tuple[bool, ...] = ()
    """After which columns a line stands."""
    row_lines: tuple[int, ...] = ()
    """Before which rows a line stands."""


class Phantom(msgspec.Struct, frozen=True):
    """The room that a node takes, without the node."""

    body: Node


class Styled(msgspec.Struct, frozen=True):
    """A body in display style (limits above and below) or in text style."""

    body: Node
    display: bool


Node: TypeAlias = (
    Sym
    | TextNode
    | ValueNode
    | Unsupported
    | Space
    | Soft
    | Break
    | RowNode
    | Frac
    | Scripts
    | Stack
    | Accent
    | Brace
    | Root
    | Fenced
    | TableNode
    | Phantom
    | Styled
)


def walk(node: Node) -> Iterator[Node]:
    """`node` and all that is inside it."""
    yield node
    for name in node.__struct_fields__:
        yield from _nodes_in(getattr(node, name))


def _nodes_in(part: object) -> Iterator[Node]:
    """The nodes in a part of a node: a node, or a tuple of them; else none."""
    if isinstance(part, tuple):
        for inner in part:
            yield from _nodes_in(inner)
    elif isinstance(part, Node):
        yield from walk(part)


def separates(node: Node) -> bool:
    """Whether a node is a wide space: what stands on its two sides does not belong together."""
    return isinstance(node, Space) and node.cells >= SEPARATES


def single(node: Node) -> Node:
    """The one node inside nested rows of one item, or `node` itself."""
    while isinstance(node, RowNode) and len(node.items) == 1:
        node = node.items[0]
    return node


MarkKind: TypeAlias = Literal["value", "unsupported"]


class Formula(msgspec.Struct, frozen=True):
    """A formula that has been read."""

    latex: str
    boxed: tuple[str, ...]
    r"""The Python expressions of its \boxed{…}, in order."""
    unsupported: tuple[str, ...]
    """The pieces of LaTeX that are shown as their source."""
    root: Node


class FormulaMark(msgspec.Struct, frozen=True):
    """Cells of a picture that show a live value or LaTeX that can't be drawn."""

    row: int
    start: int
    """First terminal cell, counted from the picture's left edge."""
    end: int
    """The cell after the last."""
    kind: MarkKind
    text: str
    """The value's expression, or the LaTeX source."""


class FormulaPicture(msgspec.Struct, frozen=True):
    """A formula as rows of text, each exactly `width` terminal cells."""

    rows: tuple[str, ...]
    width: int
    baseline: int
    """The row that stands on the line of the text around it."""
    marks: tuple[FormulaMark, ...]
