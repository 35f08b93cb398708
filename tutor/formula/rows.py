"""Rows and tables of nodes that have been read: signs joined, delimiters paired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from msgspec.structs import replace

from tutor.errors import FormulaError
from tutor.formula.cursor import MAX_DEPTH
from tutor.formula.nodes import (
    Fenced,
    Frac,
    Node,
    NodeKind,
    RowNode,
    Scripts,
    Space,
    Stack,
    Styled,
    Sym,
    TableNode,
    TextNode,
    single,
    walk,
)

_Align: TypeAlias = Literal["left", "center", "right"]
_ALIGNS: dict[str, _Align] = {"l": "left", "c": "center", "r": "right"}
HLINE = TextNode("\x00line")
r"""Stands for an \hline until the table takes it out of its row."""


def joined(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes of a row, with signs that belong together joined, and delimiters paired."""
    return tuple(_paired(_merged(nodes)))


def as_one(nodes: list[Node]) -> Node:
    """The one node of a row, or a row of all its nodes."""
    return nodes[0] if len(nodes) == 1 else RowNode(joined(nodes))


def in_parentheses(*nodes: Node) -> list[Node]:
    """Nodes between parentheses, not yet paired."""
    return [Sym("(", NodeKind.OPEN), *nodes, Sym(")", NodeKind.CLOSE)]


def styled(nodes: Iterable[Node], display: bool) -> Node:
    """Nodes in display style or in text style; a lone fraction in text style is compact."""
    body = RowNode(joined(nodes))
    inner = single(body)
    if not display and isinstance(inner, Frac):
        return replace(inner, compact=True)
    return Styled(body, display)


# --- tables ---------------------------------------------------------------------------------


TABLES = {
    name: kind
    for kind, names in {
        "": "matrix array",
        "()": "pmatrix",
        "[]": "bmatrix",
        "{}": "Bmatrix",
        "||": "vmatrix",
        "‖‖": "Vmatrix",
        "small": "smallmatrix subarray",
        "cases": "cases dcases",
        "aligned": "aligned align align* alignedat split eqnarray eqnarray* flalign flalign* "
        "alignat alignat*",
        "gathered": "gather gather* gathered multline multline*",
    }.items()
    for name in names.split()
}
"""An environment → its kind of table, or the delimiters around its table."""


def table(rows: list[list[RowNode]], kind: str, columns: str = "") -> Node:
    """The table of an environment; `kind` is one in `TABLES`."""
    own = "".join(c for c in columns if c in _ALIGNS) or "c"
    letters = {"cases": "l", "aligned": "rl"}.get(kind, own)
    if kind == "aligned":
        left = (Sym(""),)  # a sign at the left edge of a second cell is between two sides
        rows = [[RowNode(left * (n % 2) + c.items) for n, c in enumerate(r)] for r in rows]
    lines, rows = _row_lines(rows)
    width = max(map(len, rows), default=0)
    aligns = tuple(_ALIGNS[letters[n % len(letters)]] for n in range(width))
    is_display = kind in ("aligned", "gathered")
    cells = tuple(map(tuple, rows))
    node = TableNode(cells, aligns, is_display, _column_lines(columns), tuple(lines))
    if kind in ("||", "‖‖"):
        return Fenced(kind[0], node, kind[1])
    row = RowNode((node,))
    if len(kind) == 2:
        return Fenced(kind[0], row, kind[1])
    return {"cases": RowNode((Fenced("{", row, ""),)), "small": row}.get(kind, node)


def _column_lines(columns: str) -> tuple[bool, ...]:
    """The columns after which a line stands; one before the first counts as after it."""
    lines: list[bool] = []
    letters = 0
    for c in columns if "|" in columns else "":
        if c == "|":
            lines.append(True)
        elif c in _ALIGNS:
            letters += 1
        if letters - len(lines) == 2:
            lines.append(False)
    return tuple(lines)


def _row_lines(rows: list[list[RowNode]]) -> tuple[list[int], list[list[RowNode]]]:
    r"""Take the \hline marks out of the rows, and the rows that are empty."""
    lines: list[int] = []
    kept: list[list[RowNode]] = []
    if not rows[-1][-1].items and not any(map(_says_something, rows[-1])):
        rows = rows[:-1]
    for row in rows:
        while row and row[0].items and row[0].items[0] == HLINE:
            lines.append(len(kept))
            row = [RowNode(row[0].items[1:]), *row[1:]]
        if row and not all(cell == RowNode(()) for cell in row):
            kept.append(row)
    return lines, kept


def _says_something(cell: Node) -> bool:
    """Whether a cell holds more than signs: a last row such as `&=&` is not finished."""
    nodes = [n for n in walk(cell) if not isinstance(n, RowNode)]
    return any(not isinstance(n, Sym) or n.text.isalnum() for n in nodes)


# --- rows -----------------------------------------------------------------------------------


def _merged(items: Iterable[Node]) -> list[Node]:
    """Join signs that were read apart, such as `:` and `=`, and add up spaces."""
    merged: list[Node] = []
    for item in items:
        last = merged[-1] if merged else None
        if isinstance(item, Space) and isinstance(last, Space):
            merged[-1] = Space(item.cells + last.cells)
        elif last == Sym(".") and isinstance(item, Sym) and item.text.isdecimal():
            merged[-1] = Sym("." + item.text)
        elif _is_thousands(merged, item):
            parts = [*merged[-2:], item]
            merged[-2:] = [Sym("".join(i.text for i in map(single, parts) if isinstance(i, Sym)))]
        elif item == _EQUALS and last is not None and single(last) in _WITH_EQUALS:
            merged[-1] = _WITH_EQUALS[single(last)]
        elif last == _ARG and _follows_arg(item):
            merged[-1] = _with_arg(item)
        else:
            merged.append(item)
    return merged


def _scripted_fractions(items: Iterable[Node]) -> Iterator[Node]:
    """A fraction with a script gets parentheses, so that the script is not on its numerator."""
    for item in items:
        if isinstance(item, Scripts) and isinstance(single(item.base), Frac):
            item = replace(item, base=Fenced("(", single(item.base), ")"))
        yield item


def _tall_bars(items: list[Node]) -> list[Node]:
    r"""Make delimiters of each \Big|: of two a pair, of one with an index `taken at`."""
    done: list[Node] = []
    opened: int | None = None
    rest = sum(bool(_bar_of(item, NodeKind.MIDDLE)) for item in items)
    for item in items:
        bar = _bar_of(item, NodeKind.MIDDLE)
        rest -= bool(bar)
        if not bar:
            done.append(item)
            continue
        if opened is not None:
            body: Node = RowNode(tuple(done[opened + 1 :]))
            pair, start = Fenced(bar, body, bar), opened
        elif isinstance(item, Scripts) and item.sub is not None and done:
            start = _term_start(done)
            pair = Fenced("", RowNode(tuple(done[start:])), bar)
        else:
            if rest and not isinstance(item, Scripts):
                opened = len(done)
            done.append(item)
            continue
        del done[start:]
        done.append(replace(item, base=pair) if isinstance(item, Scripts) else pair)
        opened = None
    return done


def _lone_bar(items: list[Node]) -> list[Node]:
    r"""A single `\|`, as in D(p \| q), stands between two sides."""
    if sum(_bar_of(item) == "‖" for item in items) != 1:
        return items
    return [Sym("‖", NodeKind.MIDDLE) if item == Sym("‖") else item for item in items]


def _bar_of(item: Node, *kinds: NodeKind) -> str:
    """The bar that an item is, perhaps with scripts, if it is of one of the kinds; else ""."""
    base = single(item.base) if isinstance(item, Scripts) else item
    is_bar = isinstance(base, Sym) and base.text in _BARS and (not kinds or base.kind in kinds)
    return base.text if is_bar and isinstance(base, Sym) else ""


def _term_start(items: list[Node]) -> int:
    """The index at which the term of the last item begins."""
    ends = (NodeKind.REL, NodeKind.BIN, NodeKind.PUNCT, NodeKind.OPEN, NodeKind.MIDDLE)
    for at in range(len(items) - 1, -1, -1):
        item = items[at]
        if isinstance(item, Sym) and item.kind in ends and at < len(items) - 1:
            return at + 1
    return 0


def _is_thousands(before: list[Node], item: Node) -> bool:
    r"""Whether an item is the end of `1{,}000`, a comma in braces before it."""
    if len(before) < 2 or not (isinstance(item, Sym) and item.text.isdecimal()):
        return False
    number, comma = before[-2:]
    is_number = isinstance(number, Sym) and number.text.replace(",", "").isdecimal()
    return is_number and isinstance(comma, RowNode) and single(comma) == Sym(",", NodeKind.PUNCT)


_EQUALS = Sym("=", NodeKind.REL)
_WITH_EQUALS: dict[Node, Sym] = {
    Sym("+", NodeKind.BIN): Sym("+=", NodeKind.REL),
    Sym(":", NodeKind.PUNCT): Sym(":=", NodeKind.REL),
}
"""A sign → what it makes with an equals sign behind it."""
_ARG = Sym("arg", NodeKind.FUNC)


def _follows_arg(item: Node) -> bool:
    base = single(item.base) if isinstance(item, Scripts | Stack) else item
    return isinstance(base, Sym) and base.text in ("min", "max")


def _with_arg(item: Node) -> Node:
    r"""`\arg\min` as one operator, with the limits of its second half."""
    if isinstance(item, Scripts | Stack):
        return replace(item, base=_with_arg(single(item.base)))
    return replace(item, text=f"arg {item.text}", limits=True) if isinstance(item, Sym) else item


_BARS = ("|", "‖")


def _paired(items: list[Node]) -> list[Node]:
    """Make a Fenced of each delimiter and its partner, so that they can grow.

    LaTeX's `(x)^2` has its script on the `)`: it moves on to the pair.
    """
    done: list[Node] = []
    opened: list[int] = []
    for item in items:
        closing = _closing(item)
        if isinstance(item, Sym) and item.kind is NodeKind.OPEN:
            opened.append(len(done))
            if len(opened) > MAX_DEPTH:
                raise FormulaError("too_deep", most=MAX_DEPTH)
        elif closing and opened:
            start = opened.pop()
            opening = done[start]
            body = RowNode(tuple(_lone_bar(done[start + 1 :])))
            del done[start:]
            pair = Fenced(opening.text if isinstance(opening, Sym) else "", body, closing)
            item = replace(item, base=pair) if isinstance(item, Scripts) else pair
        done.append(item)
    return _lone_bar(_tall_bars(list(_scripted_fractions(_paired_bars(done)))))


def _closing(item: Node) -> str:
    base = item.base if isinstance(item, Scripts) else item
    return base.text if isinstance(base, Sym) and base.kind is NodeKind.CLOSE else ""


def _paired_bars(items: list[Node]) -> list[Node]:
    """The bars of a vmatrix: only directly around a table is it sure that they are a pair."""
    done: list[Node] = []
    for item in items:
        base = item.base if isinstance(item, Scripts) else item
        table = done[-1] if done else None
        bar = base.text if isinstance(base, Sym) else ""
        if bar in _BARS and isinstance(table, TableNode) and done[-2:-1] == [Sym(bar)]:
            pair = Fenced(bar, table, bar)
            del done[-2:]
            item = replace(item, base=pair) if isinstance(item, Scripts) else pair
        done.append(item)
    return done
