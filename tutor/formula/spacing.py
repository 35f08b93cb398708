"""The blank cells between the nodes of a row: TeX's classes, in whole cells.

Used by the picture and by the one-row form alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tutor.formula.nodes import (
    Fenced,
    Frac,
    Node,
    NodeKind,
    Phantom,
    RowNode,
    Scripts,
    Soft,
    Space,
    Stack,
    Styled,
    Sym,
    TableNode,
    TextNode,
    Unsupported,
    single,
)

_TIGHT = frozenset("∂∇∆dΔ")
"""Symbols that lean on what follows, blank or no blank: ∂L, dw, ∇L."""


@dataclass(frozen=True, slots=True)
class Spaced:
    """A node of a row, the blank cells before it, and its class there."""

    gap: int
    node: Node
    kind: NodeKind
    """Its class on its left side, a + or − in front of a term being ORD."""
    after_operator: bool = False
    """Whether a sign of its own would stand behind another operator."""


@dataclass(frozen=True, slots=True)
class _Atom:
    node: Node
    left: NodeKind
    right: NodeKind
    soft: bool = False
    extra: int | None = None
    """Explicit space before it."""


def spaced(items: Iterable[Node], *, script: bool = False, stacked: bool = True) -> list[Spaced]:
    """The row's nodes with the blanks before each; `Space` and `Soft` are used up.

    In a `script` relations and operators are tight. Where fractions are not `stacked`
    they are ordinary factors.
    """
    atoms = _resolved(list(_atoms(items, stacked)))
    result: list[Spaced] = []
    previous: _Atom | None = None
    for atom in atoms:
        gap = 0 if previous is None else _gap(previous, atom, script)
        if atom.extra is not None:
            gap = max(gap, atom.extra) if atom.extra > 0 else 0
        result.append(Spaced(gap, atom.node, atom.left, _is_operator(previous)))
        previous = atom
    return result


def _atoms(items: Iterable[Node], stacked: bool) -> Iterator[_Atom]:
    soft, extra = False, None
    for item in items:
        match item:
            case Soft():
                soft = True
            case Space(cells):
                extra = cells if extra is None else max(extra, cells)
            case _:
                left, right = _sides(item, stacked)
                yield _Atom(item, left, right, soft, extra)
                soft, extra = False, None
    if extra is not None and extra > 0:
        yield _Atom(Sym(""), NodeKind.ORD, NodeKind.ORD, extra=extra)


def _sides(node: Node, stacked: bool) -> tuple[NodeKind, NodeKind]:
    """The class of a node for its left neighbour and for its right neighbour."""
    match node:
        case Sym(kind=kind):
            return kind, kind
        case Scripts(base=base) | Stack(base=base):
            left, right = _sides(single(base), stacked)
            return left, NodeKind.ORD if right is NodeKind.CLOSE else right
        case Fenced(opening, _, closing):
            left = NodeKind.OPEN if opening else NodeKind.INNER
            return left, NodeKind.CLOSE if closing else NodeKind.INNER
        case Frac():
            kind = NodeKind.INNER if stacked and not node.compact else NodeKind.ORD
            return kind, kind
        case TableNode() | Unsupported() | Styled():
            return NodeKind.INNER, NodeKind.INNER
        case Phantom(body):
            return _sides(single(body), stacked)
        case RowNode(items) if items:
            left, right = _sides(items[0], stacked)[0], _sides(items[-1], stacked)[1]
            inner = NodeKind.INNER
            return (
                inner if left is inner else NodeKind.ORD,
                inner if right is inner else NodeKind.ORD,
            )
        case _:
            return NodeKind.ORD, NodeKind.ORD


_BEFORE_SIGN = (
    NodeKind.BIN,
    NodeKind.REL,
    NodeKind.OPEN,
    NodeKind.PUNCT,
    NodeKind.BIG,
    NodeKind.FUNC,
)


def _resolved(atoms: list[_Atom]) -> list[_Atom]:
    """Make an operator without a left or right operand an ordinary symbol: a sign."""
    done: list[_Atom] = []
    for index, atom in enumerate(atoms):
        if atom.left is NodeKind.BIN:
            before = done[-1].right if done else None
            after = atoms[index + 1].left if index + 1 < len(atoms) else None
            lonely = before is None or before in _BEFORE_SIGN
            if lonely or after in (None, NodeKind.REL, NodeKind.CLOSE, NodeKind.PUNCT):
                atom = replace(atom, left=NodeKind.ORD, right=NodeKind.ORD)
        done.append(atom)
    return done


def _gap(left: _Atom, right: _Atom, script: bool) -> int:
    kinds = (left.right, right.left)
    if _touches_blank(left.node, right.node):
        return 0
    if NodeKind.MIDDLE in kinds:
        return 1
    if NodeKind.REL in kinds or NodeKind.BIN in kinds:
        return 0 if script else int(kinds != (NodeKind.REL, NodeKind.REL))
    if kinds[1] in (NodeKind.PUNCT, NodeKind.CLOSE) or kinds[0] is NodeKind.OPEN:
        return 0
    if kinds[0] is NodeKind.PUNCT:
        return 0 if script else 1
    if kinds == (NodeKind.FUNC, NodeKind.OPEN):
        return 0
    if NodeKind.INNER in kinds:
        return 0 if script and _is_sign(left) else 1
    if kinds[0] in (NodeKind.FUNC, NodeKind.BIG) or kinds[1] in (NodeKind.FUNC, NodeKind.BIG):
        return 0 if _is_sign(left) else 1
    return int(right.soft and not script and not _leans(left.node))


def _touches_blank(left: Node, right: Node) -> bool:
    r"""Whether words bring their own blank along, as in `\text{if } x`."""
    ends = isinstance(left, TextNode) and left.text.endswith(" ")
    return ends or (isinstance(right, TextNode) and right.text.startswith(" "))


def _is_sign(atom: _Atom) -> bool:
    return isinstance(atom.node, Sym) and atom.node.text in ("−", "+", "±")


def _leans(node: Node) -> bool:
    base = node.base if isinstance(node, Scripts) else node
    return isinstance(base, Sym) and base.text in _TIGHT


def _is_operator(atom: _Atom | None) -> bool:
    return atom is not None and (atom.right is NodeKind.BIN or _is_sign(atom))


def run_together(before: str, after: str) -> bool:
    """Whether two parts, one of them a spelled name, would read as one: `alpha` and `x`."""
    if not before[-1:].isalnum() or not after[:1].isalnum():
        return False
    return any(len(end) == 2 and end.isalpha() for end in (before[-2:], after[:2]))


def script_text(node: Node | None, table: dict[str, str]) -> str | None:
    """A script in glyphs of `table`, for the row of its base; None where one is missing."""
    text = "" if node is None else _flat(node)
    if not text or any(c not in table for c in text):
        return None
    return "".join(table[c] for c in text)


def _flat(node: Node) -> str:
    """The characters of a node that is only symbols beside each other, else ""."""
    match node:
        case Sym(text):
            return text
        case RowNode(items):
            parts = [_flat(i) for i in items if not isinstance(i, Soft)]
            return "".join(parts) if all(parts) else ""
        case Fenced(opening, body, closing) if opening and closing:
            inner = _flat(body)
            return opening + inner + closing if inner else ""
        case _:
            return ""
