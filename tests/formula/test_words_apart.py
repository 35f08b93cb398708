"""A listener can tell formulas apart: no two different trees get the same words.

Two trees are different if they group their parts differently. The notation of a product or a
quotient does not count, nor does the layout of statements.
"""

from itertools import product
from pathlib import Path

from tutor.formula import parse
from tutor.formula.nodes import (
    Accent,
    Brace,
    Break,
    Fenced,
    Frac,
    Node,
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
    single,
)
from tutor.formula.words import words
from tutor.formula.words_patterns import with_bars
from tutor.lesson.library import shipped_folder
from tutor.lesson.markdown import MathSpan, find

_UNSAID = {"", "·", "⋅", "×", ",", ";"}
"""Signs of a product, which need not be written, and marks."""


def shape(node: Node):
    """The grouping of a formula's parts, as tuples that can be compared."""
    items = _quotients(with_bars(_items(node)))
    return items[0] if len(items) == 1 else ("row", *items)


def _items(node: Node) -> list[Node]:
    match node:
        case RowNode(items):
            return [inner for item in items for inner in _items(item)]
        case Styled(body):
            return _items(body)
        case TableNode(rows, display=True):
            return [inner for row in rows for cell in row for inner in _items(cell)]
        case Soft() | Space() | Phantom() | Break():
            return []
        case Sym(text) if text in _UNSAID:
            return []
    return [node]


def _quotients(items: list[Node]) -> list[object]:
    """The shapes of the items; `a / b` is a fraction."""
    shapes: list[object] = []
    for item in items:
        if shapes[-1:] == ["/"] and len(shapes) > 1:
            shapes[-2:] = [("over", shapes[-2], _shape(item))]
        else:
            shapes.append(_shape(item))
    return shapes


def _shape(node: Node) -> object:
    match node:
        case Sym(text) | TextNode(text):
            return text.strip()
        case ValueNode(text) | Unsupported(text):
            return ("value", text)
        case Frac(over, under, bar):
            return ("over" if bar else "choose", shape(over), shape(under))
        case Scripts(base, sub, sup) | Stack(base, sub, sup):
            inner = single(base)
            if isinstance(inner, Fenced) and (inner.opening, inner.closing) == ("(", ")"):
                base = inner.body  # a fraction with a power gets parentheses when it is read
            return ("scripts", shape(base), *(n if n is None else shape(n) for n in (sub, sup)))
        case Accent(base, name):
            return (name, shape(base))
        case Brace(base):
            return ("brace", shape(base))
        case Root(body, index):
            return ("root", shape(body), index and shape(index))
        case Fenced("(", body, ")") if isinstance(shape(body), str):
            return shape(body)  # `log (z)` is `log z`
        case Fenced(opening, body, closing):
            return (opening, shape(body), closing)
        case TableNode(rows):
            return ("table", *(tuple(map(shape, row)) for row in rows))
    raise AssertionError(node)


def assert_distinct(formulas: list[str]) -> None:
    """Assert that formulas of different shapes have different words."""
    by_words: dict[str, tuple[str, object]] = {}
    for latex in formulas:
        formula = parse(latex)
        said, here = words(formula), shape(formula.root)
        other, there = by_words.setdefault(said, (latex, here))
        assert here == there, f"{latex} and {other} are both said as: {said}"


def test_the_formulas_of_the_lessons_are_told_apart() -> None:
    found: dict[str, None] = {}
    for path in sorted(shipped_folder().rglob("*.md")):
        lines = Path(path).read_text("utf-8").split("\n")
        found |= {m.latex: None for m in find(lines) if isinstance(m, MathSpan)}
    assert len(found) > 100
    assert_distinct(list(found))


_ONE = (r"\log @", r"\sqrt{@}", "|@|", r"\hat{@}", "-@", "(@)", "{@}^2", "{@}^{(n)}", r"\sum_i @",
        r"\underbrace{@}_n", r"\frac{dL}{dx} @")  # fmt: skip
_TWO = (r"\frac{@}{@}", "{@}^{@}", "{@}_{@}", "@ @", "@ + @", "@ / @")


def _filled(template: str, *parts: str) -> str:
    for part in parts:
        template = template.replace("@", part, 1)
    return template


def test_what_stands_in_a_fraction_a_power_a_root_is_told_from_what_stands_beside_it() -> None:
    small = [_filled(t, "z") for t in _ONE] + [_filled(t, "x", "y") for t in _TWO]
    one = [_filled(t, s) for t, s in product(_ONE, small)]
    left = [_filled(t, s, "z") for t, s in product(_TWO, small)]
    right = [_filled(t, "z", s) for t, s in product(_TWO, small)]
    assert_distinct([*small, *one, *left, *right])
