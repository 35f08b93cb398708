"""Blanks and parentheses between the nodes of a row, in the picture and in the one-row form.

The blanks are those of TeX's classes, in whole cells. Parentheses: a fraction on one line (`a/b`)
and a root without a line over it (`√n`) do not show where they end. Beside a factor they get
some: `2 (1/2)`, `(1/n) Xᵀy`, `√(n)x`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from tutor.formula.nodes import (
    Accent,
    Brace,
    Break,
    Fenced,
    Frac,
    Node,
    NodeKind,
    Phantom,
    Root,
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
    ValueNode,
    separates,
    single,
)
from tutor.formula.words_patterns import AWAIT_TERM, BARS, applies

_TIGHT = frozenset("∂∇∆dΔ")
"""Symbols that lean on the next node, blank or no blank: ∂L, dw, ∇L."""


class Spaced(msgspec.Struct, frozen=True):
    """A node of a row, the blank cells before it, and its class there."""

    gap: int
    node: Node
    kind: NodeKind
    """Its class on its left side, a + or − in front of a term being ORD."""
    after_operator: bool = False
    """Whether a sign of its own would stand behind another operator."""


class _Atom(msgspec.Struct, frozen=True):
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
        gap, is_behind_operator = 0, False
        if previous is not None:
            gap = _gap(previous, atom, script)
            is_behind_operator = previous.right is NodeKind.BIN or _is_sign(previous)
        if atom.extra is not None:
            gap = max(gap, atom.extra) if atom.extra > 0 else 0
        result.append(Spaced(gap, atom.node, atom.left, is_behind_operator))
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


def _resolved(atoms: list[_Atom]) -> list[_Atom]:
    """Make an operator without a left or right operand an ordinary symbol: a sign."""
    done: list[_Atom] = []
    for index, atom in enumerate(atoms):
        if atom.left is NodeKind.BIN:
            before = done[-1].right if done else None
            after = atoms[index + 1].left if index + 1 < len(atoms) else None
            is_alone = before in (None, *AWAIT_TERM)
            if is_alone or after in (None, NodeKind.REL, NodeKind.CLOSE, NodeKind.PUNCT):
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


def is_negative(node: Node, text: str) -> bool:
    """Whether a node is a live value whose text is a negative number."""
    return isinstance(single(node), ValueNode) and text.startswith(("-", "−")) and len(text) > 1


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


# --- parentheses ------------------------------------------------------------------------------

_OPERATORS_BEFORE = frozenset("/÷∘∖")
"""Operators that would take only the numerator of a fraction behind them."""


def with_parentheses(
    items: Iterable[Node], is_in_line: Callable[[Frac], bool] | None = None
) -> list[Node]:
    """The items of a row with the parentheses that it needs on one line.

    In a picture, `is_in_line` says which fractions are written with a `/`; the others stay as
    they are, and a root gets its line instead of parentheses.
    """
    row = [item for item in items if not isinstance(item, Soft)]
    placed = iter(range(len(row)))
    done: list[Node] = []
    for item in items:
        if isinstance(item, Soft):
            done.append(item)
            continue
        at = next(placed)
        before, after = _near(row[:at][::-1]), _near(row[at + 1 :])
        before, after = _without_its_bar(row[:at], before, after)
        done += _one(item, before, after, is_in_line)
    return done


def _without_its_bar(
    earlier: Sequence[Node], before: Node | None, after: Node | None
) -> tuple[Node | None, Node | None]:
    """The neighbours; a bar that begins or has ended an absolute value counts as a factor."""
    bars = sum(bare_text(item) in BARS for item in earlier)
    if bars % 2 == 0 and after is not None and bare_text(after) in "|‖":
        after = Fenced("|", after, "|")
    if bars % 2 == 0 and before is not None and bare_text(before) in "|‖":
        before = Fenced("|", before, "|")
    return before, after


def bare_text(node: Node) -> str:
    """The symbol of a node without its scripts; " " if it is none."""
    node = unstyled(node)
    node = unstyled(node.base) if isinstance(node, Scripts) else node
    return (node.text or " ") if isinstance(node, Sym) else " "


def _near(items: Sequence[Node]) -> Node | None:
    """The first of the items that shows something, unless a wide space comes before it."""
    for item in items:
        if separates(item):
            return None
        if not isinstance(item, Space | Phantom) and item != Sym(""):
            return item
    return None


def _one(
    item: Node, before: Node | None, after: Node | None, is_in_line: Callable[[Frac], bool] | None
) -> list[Node]:
    node = unstyled(item)
    is_behind = _multiplies(before, is_before=True)
    if isinstance(node, Frac) and node.bar and (is_in_line is None or is_in_line(node)):
        if is_behind or _multiplies(after, is_before=False) or _is_slash(after):
            is_apart = is_behind and not isinstance(before, Fenced | None) and not _is_named(before)
            return [*([Soft()] if is_apart else []), Fenced("(", node, ")")]
    elif isinstance(node, Root):
        body = unstyled(node.body)
        if isinstance(body, Sym | ValueNode | Accent) and _multiplies(after, is_before=False):
            is_picture = is_in_line is not None
            body = body if is_picture else Fenced("(", body, ")")
            node = replace(node, body=body, is_lined=is_picture)
        if node.index is not None and is_behind:
            return [Fenced("(", node, ")")]
        return [node]
    return [item]


def _is_slash(node: Node | None) -> bool:
    return node is not None and unstyled(node) == Sym("/")


def unstyled(node: Node) -> Node:
    """A node out of its rows of one item and out of a style."""
    node = single(node)
    while isinstance(node, Styled):
        node = single(node.body)
    return node


def unscripted(node: Node) -> Node:
    """A node without styles and scripts."""
    node = unstyled(node)
    return unstyled(node.base) if isinstance(node, Scripts | Stack) else node


def _is_named(node: Node) -> bool:
    """Whether a node is a function or a sum, which is taken of the next nodes."""
    base = unscripted(node)
    return isinstance(base, Sym) and base.kind in (NodeKind.FUNC, NodeKind.BIG)


def _multiplies(node: Node | None, *, is_before: bool) -> bool:
    """Whether a neighbour is multiplied with the node beside it, or takes it as argument."""
    if node is None:
        return False
    node, base = unstyled(node), unscripted(node)
    match node:
        case TextNode(text):
            edge = text[-1:] if is_before else text[:1]
            return bool(edge.strip()) and edge.isalnum()
        case Break() | TableNode() | Space():
            return False
    if isinstance(base, Sym):
        if base.text in BARS:
            return isinstance(node, Scripts) and not is_before
        if base.kind is NodeKind.BIG:
            return not is_before
        if base.text in _OPERATORS_BEFORE or base.text == "mod":
            return is_before or base.text == "/"
        return base.kind in (NodeKind.ORD, NodeKind.FUNC, NodeKind.INNER) and base.text[:1] not in (
            "…",
            ".",
            "⋯",
        )
    return True


def is_raised_twice(base: Node) -> bool:
    """Whether a power of it on one line needs parentheses: `(1/2)²`, `(√x)²`, `(aᵇ)ᶜ`."""
    node = unstyled(base)
    if isinstance(node, RowNode):
        return len([i for i in node.items if not isinstance(i, Soft | Space)]) > 1 and not _is_name(
            node
        )
    if isinstance(node, Scripts):
        return node.sup is not None
    return isinstance(node, Frac | Root)


def _is_name(row: RowNode) -> bool:
    """Whether a row is operators or the parts of a name, such as `arg min`."""
    return all(isinstance(i, Sym) and i.kind is not NodeKind.ORD for i in row.items)


def needs_parentheses(node: Node) -> bool:
    """Whether a part must be put in parentheses to stand beside a `/` or under a root."""
    node = unstyled(node)
    match node:
        case RowNode(items):
            if _is_barred(items):
                return False
            return any(_breaks_apart(item, items[at + 1 :]) for at, item in enumerate(items))
        case Frac(bar=True) | TableNode():
            return True
        case TextNode(text):
            return " " in text.strip()
        case Sym(text):
            return text == "/"
        case _:
            return False


def _breaks_apart(item: Node, after: Sequence[Node]) -> bool:
    """Whether an item of a row makes it more than one product."""
    node, base = unstyled(item), unscripted(item)
    if isinstance(node, RowNode):
        return needs_parentheses(node)
    if isinstance(node, TextNode):
        return " " in node.text.strip()
    if isinstance(node, TableNode | Break) or separates(node):
        return True
    if not isinstance(base, Sym):
        return False
    if base.kind is NodeKind.FUNC:
        follows = _near(after)
        return follows is not None and not (
            isinstance(unstyled(follows), Fenced) and len(after) == 1
        )
    if base.text in "|‖":
        return False
    is_operator = base.kind in (
        NodeKind.BIN,
        NodeKind.REL,
        NodeKind.PUNCT,
        NodeKind.BIG,
        NodeKind.MIDDLE,
    )
    return is_operator or base.text in ("/", "∣")


def is_product(node: Node) -> bool:
    """Whether a node has several factors, a differential (`dw`, `∂w`) being one."""
    node = unstyled(node)
    if isinstance(node, Brace):
        return is_product(node.base)
    if not isinstance(node, RowNode):
        return False
    factors = [i for i in node.items if not isinstance(i, Soft | Space | Phantom)]
    first: Node | None = factors[0] if factors else None
    if _is_barred(factors):
        return False
    if isinstance(first, Scripts):
        first = first.base
    is_differential = isinstance(first, Sym) and first.text in "d∂" and len(factors) == 2
    if len(factors) == 2 and isinstance(called := unstyled(factors[1]), Fenced):
        return not applies(factors[0], called)
    return len(factors) > 1 and not is_differential


def _is_barred(items: Sequence[Node]) -> bool:
    """Whether a row is one absolute value or one norm."""
    bars = [at for at, item in enumerate(items) if bare_text(item) in "|‖"]
    return bars == [0, len(items) - 1]
