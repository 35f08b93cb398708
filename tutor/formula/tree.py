"""LaTeX → MathML (by latex2mathml) → our own small tree.

Nothing may be lost on the way: if a MathML element is unknown, or a letter of the source is not in
the tree, the whole formula is "unsupported" and shown as its source.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tutor.errors import FormulaError
from tutor.formula import glyphs
from tutor.formula.latex_tokens import CANCEL, HLINE, MAX_DEPTH, TOO_DEEP, PreparedSource
from tutor.formula.nodes import (
    Accent,
    Brace,
    Break,
    Fenced,
    Formula,
    Frac,
    Node,
    NodeKind,
    Phantom,
    Root,
    RowNode,
    Scripts,
    Space,
    Stack,
    Styled,
    Sym,
    TableNode,
    TextNode,
    Unsupported,
    ValueNode,
    single,
    walk,
)
from tutor.formula.source import read

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def parse(latex: str) -> Formula:
    """Read a formula. Raises FormulaError, with one line that says what is wrong."""
    source = read(latex)
    pieces = source.pieces.values()
    boxed = tuple(p.expression for p in pieces if isinstance(p, ValueNode))
    try:
        root = _Reader(source.pieces).node(_mathml(source.latex))
        if not _nothing_lost(source, root):
            raise _UnknownMathError("a leaf is missing")
    except (_UnknownMathError, RecursionError):
        whole = " ".join(latex.split())
        return Formula(latex, boxed, (whole,), Unsupported(whole))
    unsupported = tuple(p.source for p in pieces if isinstance(p, Unsupported))
    return Formula(latex, boxed, unsupported, root)


class _UnknownMathError(Exception):
    """MathML that this module can't turn into a tree."""


_MESSAGES = {
    "DoubleSubscriptsError": "two subscripts on one base; write x_{ij} instead of x_i_j",
    "DoubleSuperscriptsError": "two superscripts on one base; write x^{ab} instead of x^a^b",
    "NoAvailableTokensError": "a command lacks an argument",
    "NumeratorNotFoundError": r"\over without anything before it",
    "DenominatorNotFoundError": r"\over without anything after it",
    "MissingSuperScriptOrSubscriptError": "_ or ^ without anything after it",
    "LimitsMustFollowMathOperatorError": r"\limits must follow an operator such as \sum",
}


def _mathml(latex: str) -> Element:
    # Deferred: importing latex2mathml takes some 100 ms.
    from latex2mathml.converter import Converter  # noqa: PLC0415

    try:
        return Converter(display="block").convert_to_element(latex)
    except Exception as error:  # the library's errors have no root of their own
        known = _MESSAGES.get(type(error).__name__)
        reason = known or f"it can't be read ({type(error).__name__})"
        raise FormulaError(reason) from error


def _nothing_lost(source: PreparedSource, root: Node) -> bool:
    """Whether each letter, digit and placeholder of the source is in the tree."""
    symbols = [n.text for n in walk(root) if isinstance(n, Sym)]
    found = Counter("".join(_plain(s) for s in symbols))
    plain: Counter[str] = Counter()
    for leaf, count in source.leaves.items():
        if leaf not in source.pieces:
            plain.update(_plain(leaf) * count)
    kinds = Counter(type(n) for n in walk(root))
    pieces = [n for n in source.pieces.values() if n not in (HLINE, CANCEL)]
    wanted = Counter(type(n) for n in pieces)
    words = {n.text for n in pieces if isinstance(n, Sym) and n.kind is NodeKind.FUNC}
    return (
        plain <= found
        and words <= {word for symbol in symbols for word in (symbol, *symbol.split())}
        and kinds[ValueNode] == wanted[ValueNode]
        and kinds[Unsupported] == wanted[Unsupported]
        and kinds[TextNode] >= wanted[TextNode]
    )


def _plain(text: str) -> str:
    """The letters behind letters of other alphabets: 𝐱 → x, ℝ → R."""
    return unicodedata.normalize("NFKC", text)


_EM_CELLS = (0.08, 0.9, 1.9)
"""Widths, in em, from which a space takes 1, 3, 6 cells."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns MathML elements into nodes."""

    pieces: Mapping[str, Node]

    def node(self, element: Element) -> Node:
        """The node that an element stands for."""
        match element.tag:
            case "math" | "mrow" | "mpadded":
                return self._row(element)
            case "mi" | "mn" | "mo" | "mtext":
                return self._leaf(element)
            case "mspace":
                return _space(element)
            case "mstyle":
                return self._style(element)
            case "mfrac":
                over, under = self._parts(element, 2)
                return Frac(over, under, bar=element.get("linethickness") != "0")
            case "msqrt":
                return Root(self._row(element))
            case "mroot":
                body, index = self._parts(element, 2)
                return Root(body, index)
            case "mphantom":
                return Phantom(self._row(element))
            case "mtable":
                return self._table(element)
            case _:
                return self._scripted(element)

    def _scripted(self, element: Element) -> Node:
        match element.tag:
            case "msub":
                return Scripts(*self._parts(element, 2))
            case "msup":
                base, sup = self._parts(element, 2)
                return Scripts(base, sup=sup)
            case "msubsup":
                return Scripts(*self._parts(element, 3))
            case "munder" | "mover":
                return self._stack(element)
            case "munderover":
                return Stack(*self._parts(element, 3))
            case _:
                raise _UnknownMathError(element.tag)

    def _parts(self, element: Element, count: int) -> list[Node]:
        if len(element) != count:
            raise _UnknownMathError(f"{element.tag} with {len(element)} parts")
        return [self.node(child) for child in element]

    # --- leaves ---------------------------------------------------------------------------

    def _leaf(self, element: Element) -> Node:
        if len(element):
            return self._row(element)  # \mathop{…} and its kin: a mo around other elements
        text = html.unescape(element.text or "").replace("\u2009", " ").replace("\u2006", " ")
        piece = self.pieces.get(text)
        if piece is not None:
            return Sym("") if piece == CANCEL else piece
        if not text.strip():
            return Space(1) if text else Sym("")
        if text.startswith("\\") and len(text) > 1:
            return Unsupported(text)
        text = {"~": "∼", "\u22c5": "·"}.get(text, text)
        if element.get("fence") == "true":
            return Sym(text, NodeKind.MIDDLE)
        text = glyphs.in_variant(text, element.get("mathvariant"))
        if text == "mod":
            return Sym(text, NodeKind.BIN)
        if len(text) > 1 and text[0].isalpha() and element.tag != "mn":
            return Sym(text, NodeKind.FUNC, limits=text in glyphs.LIMIT_FUNCTIONS)
        kind = glyphs.kind_of(text)
        limits = kind is NodeKind.BIG and text not in glyphs.INTEGRALS
        return Sym(text, kind, limits=limits)

    def _style(self, element: Element) -> Node:
        body = self._row(element)
        display = element.get("displaystyle")
        if display is None:
            return body
        inner = single(body)
        if display == "false" and isinstance(inner, Frac):
            return replace(inner, compact=True)
        return Styled(body, display == "true")

    # --- rows -----------------------------------------------------------------------------

    def _row(self, element: Element) -> RowNode:
        if len(element) and element[0].get("form") == "prefix":
            return RowNode((self._fenced(element),))
        items = [self.node(child) for child in element]
        return RowNode(tuple(_paired(_merged(items))))

    def _fenced(self, element: Element) -> Fenced:
        r"""A \left … \right, or the brace of cases, which has no other end."""
        inside = list(element)[1:]
        closing = ""
        if inside and inside[-1].get("form") == "postfix":
            closing = html.unescape(inside.pop().text or "")
        body = RowNode(tuple(_paired(_merged([self.node(e) for e in inside]))))
        return Fenced(html.unescape(element[0].text or ""), body, closing)

    def _stack(self, element: Element) -> Node:
        """A limit, an accent or a brace: MathML writes all three alike."""
        if len(element) != 2:
            raise _UnknownMathError(f"{element.tag} with {len(element)} parts")
        base, other = element
        mark = html.unescape(other.text or "") if other.tag == "mo" and not len(other) else ""
        below = element.tag == "munder"
        if mark in ("⏞", "⏟"):
            return Brace(self.node(base), over=not below)
        if mark in glyphs.ACCENTS:
            name = "underline" if below else glyphs.ACCENTS[mark]
            return Accent(self.node(base), name, below=below)
        inner = self.node(base)
        if self.pieces.get("".join(other.itertext())) == CANCEL:
            return Accent(inner, "cancel")
        attached = self.node(other)
        return Stack(inner, under=attached) if below else Stack(inner, over=attached)

    # --- tables ---------------------------------------------------------------------------

    def _table(self, element: Element) -> TableNode:
        rows = [[self._row(cell) for cell in row] for row in element]
        lines, rows = _row_lines(rows)
        aligns = [[_alignment(cell.get("columnalign")) for cell in row] for row in element]
        widest = max(aligns, key=len, default=[])
        return TableNode(
            tuple(tuple(row) for row in rows),
            tuple(widest),
            element.get("displaystyle") == "true",
            tuple(w == "solid" for w in (element.get("columnlines") or "").split()),
            tuple(lines),
        )


def _alignment(name: str | None) -> Literal["left", "center", "right"]:
    return "left" if name == "left" else "right" if name == "right" else "center"


def _row_lines(rows: list[list[RowNode]]) -> tuple[list[int], list[list[RowNode]]]:
    r"""Take the \hline marks out of the rows: before which rows they stand."""
    lines: list[int] = []
    kept: list[list[RowNode]] = []
    for row in rows:
        while row and row[0].items and row[0].items[0] == HLINE:
            lines.append(len(kept))
            row = [RowNode(row[0].items[1:]), *row[1:]]
        if row and not all(cell == RowNode(()) for cell in row):
            kept.append(row)
    return lines, kept


def _space(element: Element) -> Node:
    if element.get("linebreak") == "newline":
        return Break()
    width = element.get("width", "")
    if width.startswith(("negative", "-")):
        return Space(-1)
    found = re.match(r"([\d.]+)em", width)
    if found is None:
        return Space(1 if width else 0)
    em = float(found[1])
    thin, quad, double = _EM_CELLS
    return Space(6 if em > double else 3 if em > quad else 1 if em > thin else 0)


def _merged(items: Iterable[Node]) -> list[Node]:
    """Join symbols that the library separates, such as `:` and `=`, and add up spaces."""
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
        elif item == Sym("=", NodeKind.REL) and last is not None and single(last) == _PLUS:
            merged[-1] = Sym("+=", NodeKind.REL)
        elif last == _ARG and _follows_arg(item):
            merged[-1] = _with_arg(item)
        elif item == Sym("=", NodeKind.REL) and merged and merged[-1] == Sym(":", NodeKind.PUNCT):
            merged[-1] = Sym(":=", NodeKind.REL)
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
    rest = sum(_bar_of(item, NodeKind.MIDDLE) != "" for item in items)
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
        elif rest and not isinstance(item, Scripts):
            opened = len(done)
            done.append(item)
            continue
        else:
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


_PLUS = Sym("+", NodeKind.BIN)
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
                raise FormulaError(TOO_DEEP)
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
