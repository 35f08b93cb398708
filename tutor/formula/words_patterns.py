"""Patterns in a formula's nodes: derivatives, means, function calls, live values."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeAlias

from msgspec.structs import replace

from tutor.formula.nodes import (
    SEPARATES,
    Accent,
    Break,
    Fenced,
    Formula,
    Frac,
    Node,
    NodeKind,
    Phantom,
    RowNode,
    Scripts,
    Soft,
    Space,
    Stack,
    Sym,
    TableNode,
    TextNode,
    ValueNode,
    separates,
    single,
    walk,
)

Derivative: TypeAlias = tuple[str, str, Sequence[Node], Sequence[Node]]
"""`partial` or nothing, its order ("" for the first), of what, by what."""

SLASHED = 5
r"""Nodes of a derivative on one line: `\partial L / \partial w`."""

_ALWAYS_FUNCTIONS = frozenset("fghFGHLJOPQσφψϕΦΨℒ𝒥𝒪𝒩ℓℙ")
_PROBABILITIES = frozenset("pqPQπ")
EXPECTATIONS = {"𝔼": "the expectation", "E": "the expectation", "𝕍": "the variance"}
EXPECTATIONS |= {"𝟙": "the indicator"}
POWERS = {"2": "squared", "3": "cubed", "T": "transpose", "⊤": "transpose"}
POWERS |= {"′": "prime", "″": "double prime", "‴": "triple prime"}
POWERS |= {"*": "star", "∗": "star", "⋆": "star", "†": "dagger", "∘": "degrees", "°": "degrees"}
"""Exponents that have words of their own."""
PRIMES = frozenset("′″‴")
AWAIT_TERM = (
    *(NodeKind.BIN, NodeKind.REL, NodeKind.OPEN, NodeKind.PUNCT, NodeKind.BIG, NodeKind.FUNC),
)
"""Kinds of symbols behind which a term begins: an operator there is a sign."""
BARS = frozenset("|∣‖∥")


def flat(node: Node) -> list[Node]:
    """The nodes of a row and of the rows in it, without nodes that are only room."""
    if isinstance(node, RowNode):
        return [inner for item in node.items for inner in flat(item)]
    is_room = isinstance(node, Soft | Phantom | Space) and not separates(node)
    return [] if is_room else [node]


def bare(node: Node) -> str:
    """The text of a node that is one symbol, else ""."""
    node = single(node)
    return node.text if isinstance(node, Sym) else ""


def ends_with_comma(node: Node) -> bool:
    """Whether the last node is a comma, as in the shape `(4,)`."""
    nodes = flat(node)
    return bool(nodes) and bare(nodes[-1]) == ","


def stem(node: Node) -> Node:
    """A node without its scripts."""
    inner = single(node)
    return single(inner.base) if isinstance(inner, Scripts | Stack) else inner


def is_variable(node: Node) -> bool:
    """Whether something may be derived by it: a letter, perhaps with scripts and a hat."""
    node = single(node)
    match node:
        case Sym(text, NodeKind.ORD):
            return text.isalpha()
        case Scripts(base) | Accent(base):
            return is_variable(base)
        case _:
            return False


def is_atom(node: Node) -> bool:
    """Whether a listener hears where it begins and ends, whatever stands before and behind it."""
    items = flat(node)
    if len(items) != 1:
        return len(items) == 2 and bare(items[0]) in ("∂", "Δ") and is_variable(items[1])
    match items[0]:
        case Sym() | TextNode() | ValueNode() | Fenced():
            return True
        case Scripts(base, _, sup) if sup is None or _is_parenthesised(sup):
            return is_atom(base)
        case Accent(base):
            return is_atom(base)
        case _:
            return False


def _is_parenthesised(node: Node) -> bool:
    inner = single(node)
    return isinstance(inner, Fenced) and (inner.opening, inner.closing) == ("(", ")")


def is_closed(node: Node) -> bool:
    """Whether a listener hears where it ends, as of an atom; `x squared` ends with `squared`."""
    inner = single(node)
    if isinstance(inner, Scripts) and inner.sup is not None:
        return bare(inner.sup) in POWERS and is_atom(inner.base)
    return is_atom(node)


def is_signed_atom(node: Node) -> bool:
    """An atom, or one with a sign before it: `minus z`."""
    items = flat(node)
    is_signed = len(items) > 1 and bare(items[0]) in ("−", "-", "+")
    return is_atom(RowNode(tuple(items[1:]))) if is_signed else is_atom(node)


def is_factor(node: Node) -> bool:
    """Whether a node is multiplied with the one before, as nothing else stands between them."""
    kind = node.kind if isinstance(node, Sym) else NodeKind.ORD
    return kind in (NodeKind.ORD, NodeKind.FUNC, NodeKind.BIG) and not isinstance(
        node, Space | Break | TextNode
    )


def is_index(node: Node) -> bool:
    """One symbol, or letters and numbers side by side, as an index may be."""
    items = flat(node)
    return bool(bare(node)) or all(
        isinstance(item, TextNode | ValueNode)
        or (isinstance(item, Sym) and item.text[:1].isalnum())
        for item in items
    )


# ── Derivatives ─────────────────────────────────────────────────────────────────────────


def derivative(over: Node, under: Node) -> Derivative | None:
    """The variable and function of a fraction that is a derivative; None if it is none."""
    above, below = flat(over), flat(under)
    if not above or len(below) < 2:
        return None
    sign, order = _differential(above[0])
    if not sign:
        return None
    by: list[Node] = []
    for d, variable in zip(below[::2], below[1::2], strict=False):
        if bare(d) != sign or not is_variable(variable):
            return None
        by.append(_without_order(variable, order))
    if len(below) % 2:
        return None
    return "partial" if sign == "∂" else "", order, above[1:], by


def slashed(items: Sequence[Node]) -> Derivative | None:
    r"""The derivative in `dL / dw`, written on one line."""
    if len(items) != SLASHED or bare(items[2]) != "/" or not is_variable(items[1]):
        return None
    return derivative(RowNode(tuple(items[:2])), RowNode(tuple(items[3:])))


def _differential(node: Node) -> tuple[str, str]:
    """`d` or `∂`, and the order that stands on it."""
    order = ""
    if isinstance(node, Scripts) and node.sub is None and node.sup is not None:
        order = bare(node.sup)
        node = node.base
    sign = bare(node)
    return (sign, order) if sign in ("d", "∂") else ("", "")


def _without_order(variable: Node, order: str) -> Node:
    inner = single(variable)
    if not (order and isinstance(inner, Scripts) and inner.sup and bare(inner.sup) == order):
        return inner
    return inner.base if inner.sub is None else replace(inner, sup=None)


# ── Sums and functions ──────────────────────────────────────────────────────────────────


def bounds(node: Node) -> tuple[Node | None, Node | None]:
    """The lower and the upper bound of a sum."""
    match node:
        case Scripts(_, sub, sup) | Stack(_, sub, sup):
            return sub, sup
        case _:
            return None, None


def is_mean(fraction: Node, big: Node) -> bool:
    """Whether they are 1 over N and a sum up to the same N."""
    if not isinstance(fraction, Frac) or bare(fraction.over) != "1":
        return False
    is_sum = isinstance(big, Scripts | Stack) and bare(big.base) == "∑"
    upper = bounds(big)[1] if is_sum else None
    return upper is not None and flat(upper) == flat(fraction.under)


def applies(node: Node, to: Fenced) -> bool:
    """Whether parentheses behind a node hold a function's argument, not a factor."""
    base = stem(node)
    is_function = isinstance(base, Sym) and base.kind is NodeKind.FUNC
    if to.opening not in ("([" if is_function else "("):
        return False
    if not to.opening or isinstance(single(to.body), TableNode):
        return False
    if isinstance(node, Scripts | Stack):
        power = bounds(node)[1]
        is_named = isinstance(base, TextNode) or (
            isinstance(base, Sym) and base.kind is NodeKind.FUNC
        )
        is_order = power is not None and _is_order(power, bare(node.base))
        if not is_named and power is not None and not is_order:
            return False
        node = base
    match node:
        case Sym(_, NodeKind.FUNC):
            return True
        case TextNode(text):
            return text.isalpha()
        case Sym(text, NodeKind.ORD) if text.isalpha() and text != "∂":
            plain = unicodedata.normalize("NFKC", text)
            is_function = text in _ALWAYS_FUNCTIONS or _are_arguments(to.body)
            is_function = is_function and (text != "d" or pair_of(to.body) is not None)
            return is_function or (plain in _PROBABILITIES and _is_event(to.body))
        case Fenced("(", body, ")"):
            return any(bare(i) in ("∘", "*", "∗", "⋆") for i in flat(body))
        case Accent(base) if not isinstance(base, Fenced):
            return applies(single(base), to)
        case _:
            return False


def _is_order(power: Node, letter: str) -> bool:
    """Whether a superscript counts derivatives: `f′`, `f⁽ⁿ⁾`. Elsewhere `(n)` is a label."""
    if bare(power) in PRIMES or bare(power) in ("*", "∗", "⋆"):
        return True
    if _is_parenthesised(power):
        return letter in ("f", "g", "h")
    return letter in _ALWAYS_FUNCTIONS or letter in ("V", "A")


def is_known_function(node: Node) -> bool:
    """Whether a letter is a function or a probability, whatever stands in the parentheses."""
    return bare(stem(node)) in _ALWAYS_FUNCTIONS | _PROBABILITIES


def _are_arguments(body: Node) -> bool:
    """Variables, numbers and applied functions with marks between them: `x`, `x, y`, `y | x`.

    A single number is a factor; anything else may be one.
    """
    items = flat(body)
    if any(isinstance(item, Sym) and item.text in (",", ";", "|", "∣", "‖") for item in items):
        return True
    is_call = len(items) == 2 and isinstance(items[1], Fenced) and applies(items[0], items[1])
    return is_call or (len(items) == 1 and is_variable(items[0]))


def _is_event(body: Node) -> bool:
    """Whether it is an event that has a probability: `X = 1`, `A ∪ B`."""
    kinds = (NodeKind.REL, NodeKind.MIDDLE)
    return any(isinstance(i, Sym) and (i.kind in kinds or i.text in "∪∩") for i in flat(body))


def is_expectation(operator: Node, to: Node | None) -> bool:
    """Whether it is `E[X]`: an expectation (or a variance) and its argument."""
    fenced = single(to.base) if isinstance(to, Scripts) else to
    if not isinstance(fenced, Fenced) or fenced.opening not in ("[", "(", "{"):
        return False
    letter = bare(stem(operator))
    is_power = isinstance(operator, Scripts) and operator.sup is not None
    is_double = letter in ("𝔼", "𝕍", "𝟙")
    return letter in EXPECTATIONS and not is_power and (is_double or fenced.opening == "[")


def pair_of(body: Node) -> tuple[Node, Node] | None:
    """The two sides of a comma, if there is one comma and something on either side."""
    items = flat(body)
    commas = [at for at, item in enumerate(items) if bare(item) == ","]
    if len(commas) != 1 or not 0 < commas[0] < len(items) - 1:
        return None
    return RowNode(tuple(items[: commas[0]])), RowNode(tuple(items[commas[0] + 1 :]))


def with_bars(items: Sequence[Node]) -> list[Node]:
    """The row with each pair of bars made one: an absolute value, or a norm."""
    done: list[Node] = []
    opened: tuple[int, str] | None = None
    for at, item in enumerate(items):
        base = item.base if isinstance(item, Scripts) else item
        bar = bare(base) if bare(base) in BARS else ""
        if opened is not None and bar == opened[1] and len(done) > opened[0] + 1:
            pair = Fenced(bar, RowNode(tuple(done[opened[0] + 1 :])), bar)
            del done[opened[0] :]
            done.append(replace(item, base=pair) if isinstance(item, Scripts) else pair)
            opened = None
        else:
            if bar and opened is None and _opens(bar, done, items[at:]):
                opened = (len(done), bar)
            done.append(item)
    return done


def _opens(bar: str, before: Sequence[Node], rest: Sequence[Node]) -> bool:
    r"""Whether a bar begins a pair. Behind a factor it does if one of the rest ends it.

    `2|g|` is twice an absolute value; the one bar of `p(y | x)` is `given`, as is every `\mid`.
    """
    if not before or _awaits_term(before[-1]):
        return True
    left = sum(bare(item.base if isinstance(item, Scripts) else item) == bar for item in rest)
    return bar != "∣" and left % 2 == 0


def _awaits_term(node: Node) -> bool:
    """Whether a bar behind it opens a pair: there is no pair for it to close."""
    node = stem(node)
    if isinstance(node, Fenced):
        return node.opening in BARS
    return isinstance(node, Sym) and node.kind in AWAIT_TERM


def is_nabla(node: Node) -> bool:
    """Whether it is the sign of a gradient, with scripts or without."""
    return bare(node) == "∇" or (isinstance(node, Scripts) and bare(node.base) == "∇")


def is_matrix_in_parentheses(node: Node) -> bool:
    """Whether it contains a capital letter: it is then a matrix."""
    letters = (n.text for n in walk(node) if isinstance(n, Sym) and len(n.text) == 1)
    return isinstance(single(node), Fenced) and any(map(str.isupper, letters))


# ── Without live values ─────────────────────────────────────────────────────────────────


def without_values(formula: Formula) -> Formula:
    """A formula without its live values, and without the names that only stand for them."""
    if not formula.boxed:
        return formula
    kept: list[Node] = []
    for statement in _split(flat(formula.root), lambda n: isinstance(n, Space)):
        sides = _split(statement, lambda n: bare(n) == "=")
        known = list(takewhile(lambda side: not _is_live(side), sides))
        if known and (len(known) > 1 or _is_statement(known[0])):
            kept += [*([Space(SEPARATES)] if kept else []), *_joined(known)]
    return replace(formula, root=RowNode(tuple(kept)), boxed=())


def _split(items: Sequence[Node], is_border: Callable[[Node], bool]) -> list[list[Node]]:
    parts: list[list[Node]] = [[]]
    for item in items:
        if is_border(item):
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _joined(sides: Sequence[Sequence[Node]]) -> list[Node]:
    """The sides of an equation with the signs between them again."""
    first, *others = sides
    return [*first, *(n for side in others for n in (Sym("=", NodeKind.REL), *side))]


def _is_statement(items: Sequence[Node]) -> bool:
    """Whether it is a statement without an equals sign, such as `w ← w − η g` or a table."""
    return any(
        isinstance(i, TableNode) or (isinstance(i, Sym) and i.kind is NodeKind.REL) for i in items
    )


def _is_live(items: Sequence[Node]) -> bool:
    return any(isinstance(node, ValueNode) for item in items for node in walk(item))
