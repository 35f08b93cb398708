"""The tree of a formula → one row of text, for mathematics inside prose."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from tutor.formula import glyphs
from tutor.formula.box import struck, visible
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
from tutor.formula.spacing import (
    is_negative,
    is_product,
    is_raised_twice,
    needs_parentheses,
    run_together,
    script_text,
    spaced,
    unscripted,
    unstyled,
    with_parentheses,
)
from tutor.plain import cell_width


def draw_inline(
    formula: Formula, values: Mapping[str, str] | None = None, *, ascii: bool = False
) -> str:
    """A formula on one row, as `tutor.formula.draw_inline` draws it, which calls this.

    Scripts without glyphs become `_(…)` and `^(…)`.
    """
    return _Writer(values or {}, ascii).text(formula.root)


class _Writer(msgspec.Struct, frozen=True):
    """Writes nodes as text."""

    values: Mapping[str, str]
    ascii: bool
    script: bool = False
    """Whether this is a script, in which operators are tight."""

    def text(self, node: Node) -> str:
        """Any node as text."""
        match node:
            case Sym(text) | TextNode(text) | Unsupported(text):
                return self._shown(text)
            case ValueNode(expression):
                value = self.values.get(expression, "?" if self.ascii else "□")
                return self._shown(" ".join(value.split("\n")))
            case RowNode(items):
                return self._row(items)
            case Frac(over, under, bar):
                return self._frac(over, under, bar)
            case Stack(base, under, over) if isinstance(single(base), Brace):
                labels = " ".join(self.text(n) for n in (under, over) if n is not None)
                return f"{self._grouped(base, product=True)} [{labels}]"
            case Scripts(base, sub, sup) | Stack(base, sub, sup):
                return self._scripts(base, sub, sup)
            case Fenced(opening, body, closing):
                inside = self.text(body)
                if isinstance(unstyled(body), Frac) and inside.startswith("C("):
                    return inside
                if closing and not opening and needs_parentheses(body):
                    inside = f"({inside})"
                return self._shown(opening) + inside + self._shown(closing)
            case Styled(body):
                return self.text(body)
            case _:
                return self._other(node)

    def _other(self, node: Node) -> str:
        match node:
            case Accent(base, name):
                return self._accent(base, name)
            case Brace(base):
                return self.text(base)
            case Root(body, index):
                return self._root(body, index)
            case Phantom(body):
                return " " * cell_width(self.text(body))
            case TableNode(rows):
                return "; ".join(self._cells(row) for row in rows)
            case Break():
                return "; "
            case _:
                return ""

    def _shown(self, text: str) -> str:
        text = visible(text)
        return glyphs.spell(text) if self.ascii else text

    def _row(self, items: tuple[Node, ...]) -> str:
        written = last = ""
        before: Node = Sym("")
        for item in spaced(with_parentheses(items), stacked=False, script=self.script):
            text = self.text(item.node)
            if item.after_operator and is_negative(item.node, text):
                text = f"({text})"
            blank = " " * item.gap
            spelled = self.ascii and (run_together(last, text) or _would_join(before, text))
            is_limit = _is_function(before) and last.endswith(")") and text[:1] == "("
            if not blank and (spelled or is_limit or (last.endswith(")") and text[:1].isalpha())):
                blank = " "
            written += blank + text
            last, before = text, item.node
        return written

    def _cells(self, row: tuple[Node, ...]) -> str:
        """The cells of a table's row; an alignment's continue each other."""
        written = ""
        before: Node = Sym("")
        for cell in row:
            text = self.text(cell)
            is_aligned = isinstance(cell, RowNode) and cell.items[:1] == (Sym(""),)
            is_aligned = is_aligned and not text[:1].isalnum()
            if is_aligned or not written.strip():
                written += text
            elif text.strip():
                is_continued = _is_relation(before, -1) or _is_relation(cell, 0)
                written = written.rstrip() + (" " if is_continued else ", ") + text.strip()
            before = cell
        return written.strip()

    def _grouped(self, node: Node, *, product: bool = False) -> str:
        node = single(node)
        if isinstance(node, Brace):
            node = node.base
        text = self.text(node)
        group = needs_parentheses(node) or (product and is_product(node))
        return f"({text})" if group else text

    def _frac(self, over: Node, under: Node, bar: bool) -> str:
        if not bar:
            return f"C({self.text(over)}, {self.text(under)})"
        return f"{self._grouped(over)}/{self._grouped(under, product=True)}"

    def _root(self, body: Node, index: Node | None) -> str:
        inner = self.text(body)
        is_fenced = isinstance(unstyled(body), Fenced) and inner[:1] + inner[-1:] == "()"
        atom = is_fenced or isinstance(unstyled(body), Sym | ValueNode | Accent)
        if self.ascii:
            inner = inner if is_fenced else f"({inner})"
        elif not atom:
            inner = f"({inner})"
        if index is None:
            return self._shown("√") + inner
        raised = None if self.ascii else script_text(index, glyphs.INLINE_SUPERSCRIPTS)
        if raised is not None:
            return f"{raised}√{inner}"
        return f"{self._shown('√')}[{self.text(index)}]{inner}"

    def _scripts(self, base: Node, sub: Node | None, sup: Node | None) -> str:
        text = self.text(base)
        if sup is not None and (is_negative(base, text) or is_raised_twice(base)):
            text = f"({text})"
        if self.ascii and sup is not None:
            primes, sup = _primes_and_rest(sup)
            text += primes
        subscripts = {} if self.ascii else glyphs.INLINE_SUBSCRIPTS
        superscripts = glyphs.ASCII_SUPERSCRIPTS if self.ascii else glyphs.INLINE_SUPERSCRIPTS
        return text + self._script(sub, "_", subscripts) + self._script(sup, "^", superscripts)

    def _script(self, node: Node | None, sign: str, table: dict[str, str]) -> str:
        if node is None:
            return ""
        glyph_text = script_text(node, table)
        if glyph_text is not None:
            return glyph_text
        text = replace(self, script=True).text(node)
        plain = self.ascii and text.isalnum() and not needs_parentheses(node)
        return f"{sign}{text}" if plain else f"{sign}({text})"

    def _accent(self, base: Node, name: str) -> str:
        inner = single(base)
        if isinstance(inner, Scripts):
            return self._scripts(Accent(inner.base, name), inner.sub, inner.sup)
        text = self.text(base)
        if (
            name == "cancel"
            and not self.ascii
            and not any(isinstance(n, ValueNode) for n in walk(base))
        ):
            return struck(text)
        combining = glyphs.COMBINING.get(name)
        if not self.ascii and combining and cell_width(text) == 1:
            return visible(text + combining)
        if self.ascii and name in glyphs.ASCII_ACCENTS and isinstance(inner, Sym):
            return text + glyphs.ASCII_ACCENTS[name]
        return f"{name}({text})"


def _is_relation(cell: Node, at: int) -> bool:
    """Whether the first (0) or the last (-1) symbol of a cell is a relation or an operator."""
    shown = [i for i in _items(cell) if i != Sym("")]
    symbol = shown[at] if shown else None
    return isinstance(symbol, Sym) and symbol.kind in (NodeKind.REL, NodeKind.BIN)


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, RowNode) else (node,)


def _would_join(before: Node, after: str) -> bool:
    """Whether the text behind a script written with `^` or `_` would be read into it."""
    if not isinstance(before, Scripts):
        return False
    is_power = before.sup is not None and _primes_and_rest(before.sup)[1] is not None
    return after[:1].isalnum() or (is_power and after[:1] == "(")


def _primes_and_rest(sup: Node) -> tuple[str, Node | None]:
    """The primes that a superscript begins with, in ASCII, and the rest of it."""
    items = _items(sup)
    count = 0
    while count < len(items) and items[count] in (Sym("′"), Sym("″"), Sym("‴")):
        count += 1
    primes = "".join("'" * (1 + "′″‴".index(i.text)) for i in items[:count] if isinstance(i, Sym))
    rest = items[count:]
    return primes, (RowNode(rest) if rest else None)


def _is_function(node: Node) -> bool:
    base = unscripted(node)
    return isinstance(base, Sym) and base.kind is NodeKind.FUNC
