"""The tree of a formula → spoken English.

The phrases are templates in `words_glyphs.TEMPLATES`. Parentheses stay, as they group, and are
added around the parts of fractions, powers and roots where the grouping could not be heard: no
two different trees get the same words. A nested fraction says where it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tutor.formula import words_glyphs as glyphs
from tutor.formula.nodes import (
    Accent,
    Brace,
    Break,
    Fenced,
    Formula,
    Frac,
    Node,
    NodeKind,
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
from tutor.formula.words_glyphs import phrase
from tutor.formula.words_patterns import (
    EXPECTATIONS,
    POWERS,
    PRIMES,
    SEPARATES,
    SLASHED,
    PhrasePart,
    PhraseRole,
    applies,
    bare,
    bounds,
    derivative,
    flat,
    is_atom,
    is_closed,
    is_expectation,
    is_factor,
    is_index,
    is_known_function,
    is_mean,
    is_signed_atom,
    is_variable,
    pair_of,
    sentence,
    slashed,
    stem,
    with_bars,
    without_values,
)

_GRADIENT = re.compile(r"""gradient(_now)?\[["'](\w+)["']\]""")
_MARKUP = re.compile(r"[\\{}$&^_\s]+")
_STOP = PhrasePart("", PhraseRole.STOP)
_Read: TypeAlias = tuple[list[PhrasePart], int]
"""The words for the next nodes of a row, and the number of these nodes."""


def words(formula: Formula, values: Mapping[str, str] | None = None) -> str:
    r"""A formula in plain English, on one line: `L equals (y hat minus y) squared`.

    `values` gives for each \boxed expression what is said in its place (a number, say);
    where it has none, the expression itself is named.
    """
    symbols = {n.text for n in walk(formula.root) if isinstance(n, Sym) and len(n.text) == 1}
    both = frozenset(c for c in symbols if c.isascii() and c.swapcase() in symbols)
    return _Speaker(values or {}, both - {"d", "D", "T"}).whole(formula.root)


def definition(formula: Formula) -> str:
    r"""The part of a formula before its live values: `a = b` of `a = b = \boxed{c}`.

    Empty where it says nothing but live values and their names.
    """
    return words(without_values(formula))


@dataclass(frozen=True, slots=True)
class _Speaker:
    """Turns nodes into words."""

    values: Mapping[str, str]
    both_cases: frozenset[str]
    """Letters that occur as capital and as small ones, which sound alike."""

    def whole(self, node: Node, *, product: str = "times") -> str:
        """A node as a text of its own."""
        return sentence(self.parts(flat(node)), product=product)

    def grouped(self, node: Node) -> str:
        """A node in parentheses, unless a listener hears its begin and end without them."""
        text = self.whole(node)
        is_negative = isinstance(single(node), ValueNode) and text.startswith("-")
        return text if is_atom(node) and not is_negative else f"({text})"

    # ── Rows ────────────────────────────────────────────────────────────────────────────

    def parts(self, items: Sequence[Node]) -> list[PhrasePart]:
        """The spoken parts of a row's nodes, each with its role between its neighbours."""
        items = with_bars(items)
        parts: list[PhrasePart] = []
        at = 0
        while at < len(items):
            if at and bare(items[at - 1]) == "/" and isinstance(items[at], Frac):
                items = [*items[:at], Fenced("(", items[at], ")"), *items[at + 1 :]]
            if at and isinstance(items[at], Space) and isinstance(items[at - 1], TextNode):
                at += 1
                continue
            said, taken = self._together(items, at)
            parts += said or self._one(items[at], items[at + 1 : at + 2])
            at += taken
        return parts

    def _together(self, items: Sequence[Node], at: int) -> _Read:
        """The words for nodes that are read together, and their number; none for a single node."""
        item, *following = items[at : at + SLASHED]
        if bare(item) == "." and (not following or isinstance(following[0], Space | Break)):
            return [_STOP], 1
        if (found := slashed(items[at : at + SLASHED])) is not None:
            return self._derivative(*found), SLASHED
        if not following:
            return [], 1
        for rule in (self._of_next, self._raised_call, self._gradient, self._call):
            if read := rule(item, following):
                return read
        return self._differential(items, at)

    def _of_next(self, item: Node, following: Sequence[Node]) -> _Read | None:
        """A function of a fraction, a mean, an expectation."""
        follows = following[0]
        if isinstance(follows, Frac) and (function := self._function(item)):
            return [PhrasePart(phrase("of group", function, self.whole(follows)))], 2
        if is_mean(item, follows):
            return [PhrasePart(self._big("the mean", follows), PhraseRole.PREFIX)], 2
        if is_expectation(item, follows):
            return [PhrasePart(self._expectation(item, follows))], 2
        return None

    def _raised_call(self, item: Node, following: Sequence[Node]) -> _Read | None:
        """A function of something in parentheses that carry scripts: `f(x)^2`."""
        raised = following[0]
        to = single(raised.base) if isinstance(raised, Scripts) else None
        if not isinstance(raised, Scripts) or not isinstance(to, Fenced):
            return None
        if not (is_known_function(item) or self._function(item)) or not applies(item, to):
            return None
        return [PhrasePart(self._with_scripts(f"({self._applied(item, to)})", raised))], 2

    def _gradient(self, item: Node, following: Sequence[Node]) -> _Read | None:
        r"""A gradient of what follows; `\nabla f(x)^2` is a power of the gradient."""
        if not self._is_nabla(item):
            return None
        raised = following[1] if len(following) > 1 else None
        if isinstance(raised, Scripts) and raised.sup is not None:
            to = single(raised.base)
            if isinstance(to, Fenced) and applies(following[0], to):
                (nabla,) = self._nabla(item)
                said = f"({nabla.text} {self._applied(following[0], to)})"
                return [PhrasePart(self._with_scripts(said, raised))], 3
        return self._nabla(item), 1

    def _call(self, item: Node, following: Sequence[Node]) -> _Read | None:
        """`f of x`: a function and its arguments."""
        to = following[0]
        if not isinstance(to, Fenced) or not applies(item, to):
            return None
        is_open = bool(self._function(item)) and len(following) > 1 and is_factor(following[1])
        return [PhrasePart(self._applied(item, to, is_group=is_open))], 2

    def _differential(self, items: Sequence[Node], at: int) -> _Read:
        """The `d x` of an integral, of a derivative, or of an equation for one."""
        if bare(items[at]) != "d" or not is_variable(items[at + 1]):
            return [], 1
        is_behind_frac = at > 0 and isinstance(items[at - 1], Frac)
        is_after = is_behind_frac or any(bare(stem(i)) in glyphs.INTEGRALS for i in items[:at])
        before_equals = bare(items[0]) == "d" and is_variable(items[1])
        if not (is_after or before_equals or len(items) == 2):
            return [], 1
        comma = ", " if is_behind_frac else ""
        return [PhrasePart(f"{comma}d {self.whole(items[at + 1])}", PhraseRole.TEXT)], 2

    def _applied(self, function: Node, to: Fenced, *, is_group: bool = False) -> str:
        """`f of x`; the arguments in parentheses where they are more than one symbol."""
        name = self._function(function) or self.whole(function)
        rule = "of" if is_atom(to.body) and not is_group else "of group"
        return phrase(rule, name, self.whole(to.body))

    def _expectation(self, operator: Node, to: Node) -> str:
        """`the expectation over x of (f of x)`."""
        node = single(operator)
        sub = bounds(node)[0]
        name = EXPECTATIONS[bare(stem(node))]
        over = "" if sub is None else f" over {self._range(sub)}"
        scripts = single(to) if isinstance(to, Scripts) else None
        fenced = single(scripts.base) if isinstance(scripts, Scripts) else single(to)
        body = fenced.body if isinstance(fenced, Fenced) else fenced
        said = f"{name}{over} of {self.grouped(Fenced('(', body, ')') if over else body)}"
        return self._with_scripts(f"({said})", scripts) if isinstance(scripts, Scripts) else said

    def _range(self, sub: Node) -> str:
        """The words for a range below an operator: `x in A`, `x distributed as p`."""
        return self.whole(sub, product="").replace(" is ", " ", 1)

    def _with_scripts(self, said: str, scripts: Scripts) -> str:
        """Words in parentheses with the scripts that stand behind them."""
        if scripts.sub is not None:
            said += phrase("sub", self._index(scripts.sub))
        return said + (self._power(scripts.sup, scripts.base) if scripts.sup is not None else "")

    @staticmethod
    def _is_nabla(node: Node) -> bool:
        return bare(node) == "∇" or (isinstance(node, Scripts) and bare(node.base) == "∇")

    def _nabla(self, node: Node) -> list[PhrasePart]:
        """A gradient, or with a square the Hessian, of what follows."""
        sub, sup = bounds(node)
        is_second = sup is not None and bare(sup) == "2"
        name = phrase("Hessian" if is_second else "gradient")
        by = "" if sub is None else phrase("by", self.whole(sub))
        raised = "" if sup is None or is_second else self._power(sup, node)
        return [PhrasePart(f"{name}{raised}{by} of", PhraseRole.PREFIX)]

    def _index(self, sub: Node) -> str:
        """A subscript: a function's name in it is only a name."""
        inner = single(sub)
        if isinstance(inner, Sym) and inner.kind is NodeKind.FUNC:
            return inner.text
        index = self.whole(sub, product="").removeprefix("is ")
        return index if is_index(sub) else f"({index})"

    def _one(self, item: Node, following: Sequence[Node]) -> list[PhrasePart]:
        """The words for one node, given the node that follows it, if any."""
        match item:
            case Sym():
                return self._symbol(item, following)
            case TextNode(text):
                if text and not text.strip("_"):
                    return [PhrasePart("blank")]
                return [PhrasePart(glyphs.TEXTS.get(text.strip(), text), PhraseRole.TEXT)]
            case ValueNode(expression):
                return [PhrasePart(self.values.get(expression) or _name(expression))]
            case Unsupported(source):
                return [PhrasePart(phrase("unsupported", _MARKUP.sub(" ", source)))]
            case Space(cells) if cells >= SEPARATES:
                is_words = following and isinstance(following[0], TextNode)
                return [PhrasePart(",", PhraseRole.MARK)] if is_words else [_STOP]
            case Break():
                return [_STOP]
            case Frac():
                return self._fraction(item)
            case Scripts(base, sub, sup) | Stack(base, sub, sup):
                return self._scripted(base, sub, sup, following)
            case TableNode(display=True):
                return self._lines(item)
            case Styled(body):
                return self.parts(flat(body))
            case _:
                return [PhrasePart(self._thing(item))]

    def _thing(self, node: Node) -> str:
        match node:
            case Accent(base, name):
                return f"{self.grouped(base)} {glyphs.ACCENTS.get(name, name)}"
            case Brace(base):
                return self.whole(base)
            case Root(body, None):
                return phrase("square root", self.grouped(body))
            case Root(body, index) if index is not None:
                if bare(index) == "3":
                    return phrase("cube root", self.grouped(body))
                return phrase("root", self.whole(index), self.grouped(body))
            case Fenced():
                return self._fenced(node)
            case TableNode():
                return self._matrix(node)
            case _:
                return ""

    # ── Symbols ─────────────────────────────────────────────────────────────────────────

    def _symbol(self, symbol: Sym, following: Sequence[Node]) -> list[PhrasePart]:
        text, name = symbol.text, glyphs.called(symbol.text)
        if not text:
            return []
        if following and text in glyphs.QUANTIFIERS:
            return [PhrasePart(glyphs.QUANTIFIERS[text], PhraseRole.STOP)]
        if following and text in glyphs.LEAN_ON:
            return [PhrasePart(glyphs.LEAN_ON[text], PhraseRole.PREFIX)]
        if text in glyphs.CONNECTIVES:
            return [PhrasePart(glyphs.CONNECTIVES[text], PhraseRole.STOP)]
        if text in glyphs.POSTFIX:
            return [PhrasePart(name, PhraseRole.POSTFIX)]
        if text in glyphs.BETWEEN:
            return [PhrasePart(name, PhraseRole.OPERATOR)]
        match symbol.kind:
            case NodeKind.REL:
                return [PhrasePart(glyphs.RELATIONS.get(text, name), PhraseRole.RELATION)]
            case NodeKind.BIN | NodeKind.MIDDLE:
                return [PhrasePart(glyphs.OPERATORS.get(text, name), PhraseRole.OPERATOR)]
            case NodeKind.PUNCT:
                return [_STOP if text == ";" else PhrasePart(text, PhraseRole.MARK)]
            case NodeKind.BIG:
                return [PhrasePart(f"{glyphs.BIG.get(text, name)} of", PhraseRole.PREFIX)]
            case NodeKind.FUNC:
                return self._before(glyphs.FUNCTIONS.get(text, text), following)
            case NodeKind.OPEN | NodeKind.CLOSE:
                return [PhrasePart(name, PhraseRole.TEXT)]
        name = f"capital {text}" if text in self.both_cases and text.isupper() else name
        return [PhrasePart(name, PhraseRole.TEXT if text in glyphs.ELLIPSES else PhraseRole.FACTOR)]

    def _before(self, function: str, following: Sequence[Node]) -> list[PhrasePart]:
        """A function's name, and `of` where an argument follows."""
        follows = following[0] if following else None
        kind = follows.kind if isinstance(follows, Sym) else NodeKind.ORD
        is_alone = follows is None or kind in (
            NodeKind.BIN,
            NodeKind.REL,
            NodeKind.PUNCT,
            NodeKind.CLOSE,
        )
        return (
            [PhrasePart(function)]
            if is_alone
            else [PhrasePart(f"{function} of", PhraseRole.PREFIX)]
        )

    def _function(self, node: Node) -> str:
        """The name of a function, with its scripts; "" if the node is none."""
        match node:
            case Sym(text, NodeKind.FUNC):
                return glyphs.FUNCTIONS.get(text, text)
            case Scripts(Sym(text, NodeKind.FUNC), sub, sup) | Stack(
                Sym(text, NodeKind.FUNC), sub, sup
            ):
                name = glyphs.FUNCTIONS.get(text, text)
                if sub is not None:
                    link = "over" if text in glyphs.OVER else "as" if "lim" in text else "sub"
                    link = "base" if text in ("log", "lg") else link
                    name += f" {link} {self._range(sub)}"
                return name + (self._power(sup, node) if sup is not None else "")
            case _:
                return ""

    # ── Scripts ─────────────────────────────────────────────────────────────────────────

    def _scripted(
        self, base: Node, sub: Node | None, sup: Node | None, following: Sequence[Node]
    ) -> list[PhrasePart]:
        inner = single(base)
        whole = Scripts(inner, sub, sup)
        if isinstance(inner, Sym) and inner.kind is NodeKind.BIG:
            name = glyphs.BIG.get(inner.text, glyphs.called(inner.text))
            return [PhrasePart(self._big(name, whole), PhraseRole.PREFIX)]
        if function := self._function(whole):
            return self._before(function, following)
        if isinstance(inner, Brace):
            return [
                PhrasePart(self._labelled(inner.base, [n for n in (sub, sup) if n is not None]))
            ]
        if isinstance(inner, Sym) and inner.kind in (NodeKind.REL, NodeKind.BIN):
            (part,) = self._symbol(inner, [])
            above = " ".join(self.whole(n) for n in (sub, sup) if n is not None)
            return [PhrasePart(f"{part.text} ({above})", part.role)]
        if isinstance(inner, Fenced) and not inner.opening and inner.closing == "|" and sub:
            limits = [self.whole(n) for n in (sub, sup) if n is not None]
            rule = "evaluated between" if sup else "evaluated at"
            return [PhrasePart(phrase(rule, self.whole(inner.body), *limits))]
        if isinstance(inner, Fenced) and inner.opening in ("‖", "∥") and sub is not None:
            text = phrase("norm", self._index(sub), self.grouped(inner.body))
            return [PhrasePart(text if sup is None else f"({text}){self._power(sup, inner)}")]
        text = self.grouped(inner)
        is_table = isinstance(inner, Fenced) and isinstance(single(inner.body), TableNode)
        is_named = isinstance(inner, Fenced) and (inner.opening, inner.closing) in glyphs.FENCES
        if is_named or is_table:
            text = f"({text})"
        if sub is not None:
            text += phrase("sub", self._index(sub))
            text += "," if sup is not None and len(flat(sub)) > 1 and is_index(sub) else ""
        return [PhrasePart(text + (self._power(sup, inner) if sup is not None else ""))]

    def _power(self, power: Node, base: Node) -> str:
        """The words for an exponent, with a leading space."""
        text = bare(power)
        if text in POWERS:
            return f" {POWERS[text]}"
        inner = single(power)
        primes = [i for i in flat(power) if bare(i) in PRIMES]
        if primes and primes != flat(power):
            rest = RowNode(tuple(flat(power)[len(primes) :]))
            said = "".join(f" {glyphs.called(bare(i))}" for i in primes)
            return said + self._power(rest, base)
        if isinstance(inner, Fenced) and inner.opening == "(":
            return phrase("superscript", self.whole(inner))
        said = self.whole(power)
        if bare(base) in ("ℝ", "ℂ", "ℤ", "ℕ"):
            said = said.replace(" times ", " by ")
        is_group = isinstance(single(base), Fenced)
        is_matrix = bare(base).isupper() or (is_group and _has_capital(base))
        if said == "minus 1" and is_matrix:
            return phrase("inverse")
        return phrase("power" if is_signed_atom(power) else "power group", said)

    def _big(self, name: str, node: Node) -> str:
        """`the sum over i from 1 to N of`."""
        lower, upper = bounds(node)
        said = name
        if lower is not None:
            first = self._limit(lower)
            first = first.replace(" equals ", " from ", 1) if upper is not None else first
            first = first.replace(" is ", " ", 1)
            is_integral = "integral" in name and " from " not in first and upper is not None
            said += f" {'from' if is_integral else 'over'} {first}"
        if upper is not None:
            said += f" to {self.grouped(upper)}"
        return f"{said} of"

    def _limit(self, lower: Node) -> str:
        """The words for the range below a sum, line by line."""
        table = single(lower)
        if not isinstance(table, TableNode):
            return self.whole(lower, product="")
        said = [self.whole(cell, product="") for row in table.rows for cell in row]
        return ", ".join([said[0], *(text.replace(" is ", " ", 1) for text in said[1:])]) + ","

    def _labelled(self, base: Node, labels: Sequence[Node]) -> str:
        """The words for a labelled brace: the label is a name, or the value of the part."""
        has_words = any(isinstance(n, TextNode) for label in labels for n in walk(label))
        label = " ".join(self.whole(n) for n in labels)
        text = self.whole(base)
        return phrase("named" if has_words else "labelled", text, label) if label else text

    # ── Fractions ───────────────────────────────────────────────────────────────────────

    def _fraction(self, node: Frac) -> list[PhrasePart]:
        if (found := derivative(node.over, node.under)) is not None:
            return self._derivative(*found)
        over, under = self.whole(node.over), self.whole(node.under)
        if not node.bar:
            return [
                PhrasePart(phrase("binomial", self.grouped(node.over), self.grouped(node.under)))
            ]
        if any(isinstance(n, Frac) for part in (node.over, node.under) for n in walk(part)):
            return [PhrasePart(phrase("nested fraction", over, under))]
        sides = ((node.over, over), (node.under, under))
        over, under = (said if self._is_closed(side, said) else f"({said})" for side, said in sides)
        return [PhrasePart(phrase("fraction", over, under))]

    def _is_closed(self, node: Node, said: str) -> bool:
        """Whether it needs no parentheses beside another part."""
        is_negative = isinstance(single(node), ValueNode) and said.startswith("-")
        return is_closed(node) and not is_negative

    def _derivative(
        self, kind: str, order: str, of: Sequence[Node], by: Sequence[Node]
    ) -> list[PhrasePart]:
        """`the second partial derivative of L with respect to w and b`."""
        what = " ".join(w for w in ("the", glyphs.ORDERS.get(order, ""), kind, "derivative") if w)
        variables = " and ".join(self.whole(n) for n in by)
        if not of:
            return [PhrasePart(phrase("derivative by", what, variables), PhraseRole.PREFIX)]
        said = phrase("derivative", what, self.grouped(RowNode(tuple(of))), variables)
        return [PhrasePart(said, is_long=True)]

    # ── What stands between delimiters ──────────────────────────────────────────────────

    def _fenced(self, node: Fenced) -> str:
        body = single(node.body)
        pair = (node.opening, node.closing)
        if isinstance(body, TableNode) and not body.display:
            if pair == ("{", ""):
                return self._cases(body)
            is_bars = pair in (("|", "|"), ("∣", "∣"))
            matrix = self._matrix(body)
            return phrase("determinant", matrix) if is_bars else matrix
        if pair == ("⟨", "⟩") and (sides := pair_of(node.body)):
            return phrase("inner product", *(self.grouped(side) for side in sides))
        if pair == ("{", "}"):
            return phrase("set", self.grouped(node.body).replace(" given ", " such that "))
        if pair in glyphs.FENCES:
            return f"{glyphs.FENCES[pair]} {self.grouped(node.body)}"
        text = self.whole(node.body)
        kept = {"(", "[", ")", "]", ""}
        opening, closing = (c if c in kept else f" {glyphs.called(c)} " for c in pair)
        return f"{opening}{text}{closing}"

    def _cases(self, table: TableNode) -> str:
        if all(len(row) == 1 for row in table.rows):  # equations that hold together
            return phrase("system", ", and ".join(self.whole(row[0]) for row in table.rows))
        rows = (", ".join(self._case(row)) for row in table.rows)
        return phrase("cases", ", or ".join(rows))

    def _case(self, row: Sequence[Node]) -> list[str]:
        """A value, and the condition for it with an `if`."""
        value, *conditions = row
        said = [self.whole(value)]
        for condition in conditions:
            items = flat(condition)
            is_bare = bool(items) and not any(isinstance(item, TextNode) for item in items)
            text = self.whole(condition)
            said.append(phrase("condition", text) if is_bare else text)
        return [text for text in said if text]

    def _matrix(self, table: TableNode) -> str:
        rows = [[self.whole(cell) for cell in row] for row in table.rows]
        height, width = len(rows), max(map(len, rows), default=0)
        if height == 1:
            return phrase("row vector", width, ", ".join(rows[0]))
        if width == 1:
            return phrase("column vector", height, ", ".join(row[0] for row in rows))
        said = (phrase("matrix row", i, ", ".join(row)) for i, row in enumerate(rows, 1))
        return phrase("matrix", height, width, "; ".join(said))

    def _lines(self, table: TableNode) -> list[PhrasePart]:
        """Displayed lines: statements, or one that continues from line to line."""
        parts: list[PhrasePart] = []
        for row in table.rows:
            is_new_row = True
            for index, cell in enumerate(row):
                said = self.parts(flat(cell))
                goes_on = index > 0 and isinstance(cell, RowNode) and cell.items[:1] == (Sym(""),)
                goes_on |= bool(said) and said[0].role in (PhraseRole.RELATION, PhraseRole.OPERATOR)
                goes_on |= bool(parts) and parts[-1].role in (
                    PhraseRole.RELATION,
                    PhraseRole.OPERATOR,
                )
                if parts and said and said[0].role is PhraseRole.TEXT and index > 0:
                    parts.append(PhrasePart(",", PhraseRole.MARK))
                elif parts and said and parts[-1].role is PhraseRole.TEXT and is_new_row:
                    parts.append(PhrasePart(",", PhraseRole.MARK) if goes_on else _STOP)
                elif parts and said and not goes_on:
                    parts.append(_STOP)
                parts += said
                is_new_row = is_new_row and not said
        return parts


def _name(expression: str) -> str:
    """The name of a Python expression: `the gradient of w`; other code stays as it is."""
    if found := _GRADIENT.fullmatch(expression):
        return f"the gradient of {found[2]}{' now' if found[1] else ''}"
    return expression.replace("_", " ") if expression.isidentifier() else expression


def _has_capital(node: Node) -> bool:
    """Whether a node contains a capital letter: it is then a matrix."""
    return any(isinstance(n, Sym) and len(n.text) == 1 and n.text.isupper() for n in walk(node))
