"""The tree of a formula → spoken English.

The phrases are in the style of ClearSpeak. Parentheses stay, as they group, and are added around
the parts of fractions, powers and roots where the grouping could not be heard: no two different
trees get the same words. A nested fraction says where it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from tutor.formula import words_sentence as spoken
from tutor.formula.glyphs import INTEGRALS
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
    separates,
    single,
    walk,
)
from tutor.formula.spacing import is_negative
from tutor.formula.words_patterns import (
    EXPECTATIONS,
    POWERS,
    PRIMES,
    SLASHED,
    applies,
    bare,
    bounds,
    derivative,
    ends_with_comma,
    flat,
    is_atom,
    is_closed,
    is_expectation,
    is_factor,
    is_index,
    is_known_function,
    is_matrix_in_parentheses,
    is_mean,
    is_nabla,
    is_signed_atom,
    is_variable,
    pair_of,
    slashed,
    stem,
    with_bars,
    without_values,
)
from tutor.formula.words_sentence import (
    STOP,
    PhrasePart,
    PhraseRole,
    cases,
    lines,
    matrix,
    name_of_expression,
    sentence,
    sign_part,
    spoken_name,
    text_part,
)

_MARKUP = re.compile(r"[\\{}$&^_\s]+")
_NO_ARGUMENT = (NodeKind.BIN, NodeKind.REL, NodeKind.PUNCT, NodeKind.CLOSE)
"""Kinds of symbols before which a function has no argument."""
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


class _Speaker(msgspec.Struct, frozen=True):
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
        return text if is_atom(node) and not is_negative(node, text) else f"({text})"

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
            return [STOP], 1
        if (found := slashed(items[at : at + SLASHED])) is not None:
            return self._derivative(*found), SLASHED
        if is_nabla(item) and isinstance(item, Scripts) and _has_no_argument(following):
            return [PhrasePart(_gradient_alone(item, self))], 1
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
            return [PhrasePart(f"{function} of ({self.whole(follows)})")], 2
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
        r"""A gradient of the next nodes; `\nabla f(x)^2` is a power of the gradient."""
        if not is_nabla(item):
            return None
        raised = following[1] if len(following) > 1 else None
        if isinstance(raised, Scripts) and raised.sup is not None:
            to = single(raised.base)
            if isinstance(to, Fenced) and applies(following[0], to):
                (nabla,) = _nabla(item, self)
                said = f"({nabla.text} {self._applied(following[0], to)})"
                return [PhrasePart(self._with_scripts(said, raised))], 3
        return _nabla(item, self), 1

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
        is_after = is_behind_frac or any(bare(stem(i)) in INTEGRALS for i in items[:at])
        before_equals = bare(items[0]) == "d" and is_variable(items[1])
        if not (is_after or before_equals or len(items) == 2):
            return [], 1
        comma = ", " if is_behind_frac else ""
        return [PhrasePart(f"{comma}d {self.whole(items[at + 1])}", PhraseRole.TEXT)], 2

    def _applied(self, function: Node, to: Fenced, *, is_group: bool = False) -> str:
        """`f of x`; the arguments in parentheses where they are more than one symbol."""
        name = self._function(function) or self.whole(function)
        arguments = self.whole(to.body)
        is_plain = is_atom(to.body) and not is_group
        return f"{name} of {arguments}" if is_plain else f"{name} of ({arguments})"

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
        """Words with the scripts that stand behind them."""
        sub, sup = scripts.sub, scripts.sup
        if sub is not None:
            said += f" sub {self._index(sub)}"
            said += "," if sup is not None and len(flat(sub)) > 1 and is_index(sub) else ""
        return said + (self._power(sup, scripts.base) if sup is not None else "")

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
                return [text_part(text)]
            case ValueNode(expression):
                return [PhrasePart(self.values.get(expression) or name_of_expression(expression))]
            case Unsupported(source):
                return [PhrasePart(f"LaTeX {_MARKUP.sub(' ', source)}")]
            case Space() if separates(item):
                is_words = following and isinstance(following[0], TextNode)
                return [PhrasePart(",", PhraseRole.MARK)] if is_words else [STOP]
            case Break():
                return [STOP]
            case Frac():
                return self._fraction(item)
            case Scripts(base, sub, sup) | Stack(base, sub, sup):
                return self._scripted(base, sub, sup, following)
            case TableNode(display=True):
                return lines(item, self.parts)
            case Styled(body):
                return self.parts(flat(body))
            case _:
                return [PhrasePart(self._thing(item))]

    def _thing(self, node: Node) -> str:
        match node:
            case Accent(base, name):
                return f"{self.grouped(base)} {spoken.ACCENTS.get(name, name)}"
            case Brace(base):
                return self.whole(base)
            case Root(body, None):
                return f"the square root of {self.grouped(body)}"
            case Root(body, index) if index is not None:
                kind = "cube root" if bare(index) == "3" else f"root {self.whole(index)}"
                return f"the {kind} of {self.grouped(body)}"
            case Fenced():
                return self._fenced(node)
            case TableNode():
                return matrix(node, self.whole)
            case _:
                return ""

    # ── Symbols ─────────────────────────────────────────────────────────────────────────

    def _symbol(self, symbol: Sym, following: Sequence[Node]) -> list[PhrasePart]:
        text, kind = symbol.text, symbol.kind
        if not text:
            return []
        if (part := sign_part(text, kind, is_last=not following)) is not None:
            return [part]
        if kind is NodeKind.FUNC:
            return _before(spoken.FUNCTIONS.get(text, text), following)
        name = spoken_name(text)
        if text in self.both_cases and text.isupper():
            name = f"capital {text}"
        return [PhrasePart(name, PhraseRole.TEXT if text in spoken.ELLIPSES else PhraseRole.FACTOR)]

    def _function(self, node: Node) -> str:
        """The name of a function, with its scripts; "" if the node is none."""
        match node:
            case Sym(text, NodeKind.FUNC):
                return spoken.FUNCTIONS.get(text, text)
            case Scripts(Sym(text, NodeKind.FUNC), sub, sup) | Stack(
                Sym(text, NodeKind.FUNC), sub, sup
            ):
                name = spoken.FUNCTIONS.get(text, text)
                if sub is not None:
                    link = "over" if text in spoken.OVER else "as" if "lim" in text else "sub"
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
            return [PhrasePart(self._big(spoken_name(inner.text), whole), PhraseRole.PREFIX)]
        if function := self._function(whole):
            return _before(function, following)
        if isinstance(inner, Brace):
            labels = [n for n in (sub, sup) if n is not None]
            return [PhrasePart(self._labelled(inner.base, labels))]
        if isinstance(inner, Sym) and inner.kind in (NodeKind.REL, NodeKind.BIN):
            (part,) = self._symbol(inner, [])
            above = " ".join(self.whole(n) for n in (sub, sup) if n is not None)
            return [PhrasePart(f"{part.text} ({above})", part.role)]
        if isinstance(inner, Fenced) and not inner.opening and inner.closing == "|" and sub:
            at = f"from {self.whole(sub)} to {self.whole(sup)}" if sup else f"at {self.whole(sub)}"
            return [PhrasePart(f"{self.whole(inner.body)}, {at},")]
        if isinstance(inner, Fenced) and inner.opening in ("‖", "∥") and sub is not None:
            text = f"the {self._index(sub)} norm of {self.grouped(inner.body)}"
            return [PhrasePart(text if sup is None else f"({text}){self._power(sup, inner)}")]
        text = self.grouped(inner)
        if isinstance(inner, Fenced) and _is_named(inner):
            text = f"({text})"
        return [PhrasePart(self._with_scripts(text, whole))]

    def _power(self, power: Node, base: Node) -> str:
        """The words for an exponent, with a leading space."""
        text = bare(power)
        if text in POWERS:
            return f" {POWERS[text]}"
        inner = single(power)
        primes = [i for i in flat(power) if bare(i) in PRIMES]
        if primes and primes != flat(power):
            rest = RowNode(tuple(flat(power)[len(primes) :]))
            said = "".join(f" {spoken_name(bare(i))}" for i in primes)
            return said + self._power(rest, base)
        if isinstance(inner, Fenced) and inner.opening == "(":
            return f" superscript {self.whole(inner)}"
        said = self.whole(power)
        if bare(base) in ("ℝ", "ℂ", "ℤ", "ℕ"):
            said = said.replace(" times ", " by ")
        is_matrix = bare(base).isupper() or is_matrix_in_parentheses(base)
        if said == "minus 1" and is_matrix:
            return " inverse"
        return f" to the power of {said}" if is_signed_atom(power) else f" to the power of ({said})"

    def _big(self, name: str, node: Node) -> str:
        """`the sum over i from 1 to N of`."""
        lower, upper = bounds(node)
        said = name
        if lower is not None:
            first = self._limit(lower).replace(" is ", " ", 1)
            first = first.replace(" equals ", " from ", 1) if upper is not None else first
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
        first, *others = (cell for row in table.rows for cell in row)
        return ", ".join((self.whole(first, product=""), *map(self._range, others), ""))

    def _labelled(self, base: Node, labels: Sequence[Node]) -> str:
        """The words for a labelled brace: the label is a name, or the value of the part."""
        has_words = any(isinstance(n, TextNode) for label in labels for n in walk(label))
        label = " ".join(self.whole(n) for n in labels)
        text = self.whole(base)
        is_called = "called" if has_words else "which is"
        return f"({text}, {is_called} {label})" if label else text

    def _fraction(self, node: Frac) -> list[PhrasePart]:
        if (found := derivative(node.over, node.under)) is not None:
            return self._derivative(*found)
        over, under = self.whole(node.over), self.whole(node.under)
        if not node.bar:
            return [PhrasePart(f"{self.grouped(node.over)} choose {self.grouped(node.under)}")]
        if any(isinstance(n, Frac) for part in (node.over, node.under) for n in walk(part)):
            return [PhrasePart(f"the fraction {over}, over {under}, end fraction,")]
        over = over if _is_closed(node.over, over) else f"({over})"
        under = under if _is_closed(node.under, under) else f"({under})"
        return [PhrasePart(f"{over} over {under}")]

    def _derivative(
        self, kind: str, order: str, of: Sequence[Node], by: Sequence[Node]
    ) -> list[PhrasePart]:
        """`the second partial derivative of L with respect to w and b`."""
        what = " ".join(w for w in ("the", spoken.ORDERS.get(order, ""), kind, "derivative") if w)
        variables = " and ".join(self.whole(n) for n in by)
        if not of:
            return [PhrasePart(f"{what} with respect to {variables} of", PhraseRole.PREFIX)]
        said = self.grouped(RowNode(tuple(of)))
        return [PhrasePart(f"{what} of {said} with respect to {variables}", is_long=True)]

    def _fenced(self, node: Fenced) -> str:
        body = single(node.body)
        pair = (node.opening, node.closing)
        if isinstance(body, TableNode) and not body.display:
            if pair == ("{", ""):
                return cases(body, self.whole)
            is_bars = pair in (("|", "|"), ("∣", "∣"))
            said = matrix(body, self.whole)
            return f"the determinant of {said}" if is_bars else said
        if pair == ("⟨", "⟩") and (sides := pair_of(node.body)):
            return f"the inner product of {' and '.join(map(self.grouped, sides))}"
        if pair == ("{", "}"):
            return f"the set of {self.grouped(node.body).replace(' given ', ' such that ')}"
        if pair in spoken.FENCES:
            return f"{spoken.FENCES[pair]} {self.grouped(node.body)}"
        text = self.whole(node.body)
        kept = {"(", "[", ")", "]", ""}
        opening, closing = (c if c in kept else f" {spoken_name(c)} " for c in pair)
        return f"{opening}{text}{',' if ends_with_comma(node.body) else ''}{closing}"


def _is_named(fenced: Fenced) -> bool:
    """Whether its words don't end with a parenthesis, as for a table or an absolute value."""
    is_operation = (fenced.opening, fenced.closing) in spoken.FENCES
    return is_operation or isinstance(single(fenced.body), TableNode)


def _before(function: str, following: Sequence[Node]) -> list[PhrasePart]:
    """A function's name, and `of` where an argument follows."""
    if _has_no_argument(following):
        return [PhrasePart(function)]
    return [PhrasePart(f"{function} of", PhraseRole.PREFIX)]


def _has_no_argument(following: Sequence[Node]) -> bool:
    """Whether nothing follows that a function or a gradient could be of."""
    follows = following[0] if following else None
    kind = follows.kind if isinstance(follows, Sym) else NodeKind.ORD
    return follows is None or isinstance(follows, Space) or kind in _NO_ARGUMENT


def _nabla(node: Node, speaker: _Speaker) -> list[PhrasePart]:
    """A gradient, or with a square the Hessian, of the next nodes."""
    sub, sup = bounds(node)
    is_second = sup is not None and bare(sup) == "2"
    name = "the Hessian" if is_second else "the gradient"
    by = "" if sub is None else f" with respect to {speaker.whole(sub)}"
    raised = "" if sup is None or is_second else speaker._power(sup, node)
    return [PhrasePart(f"{name}{raised}{by} of", PhraseRole.PREFIX)]


def _gradient_alone(node: Scripts, speaker: _Speaker) -> str:
    """A gradient as a quantity: `the gradient with respect to theta`, in parentheses if squared."""
    by = "" if node.sub is None else f" with respect to {speaker.whole(node.sub)}"
    said = f"the gradient{by}"
    return said if node.sup is None else f"({said}){speaker._power(node.sup, node.base)}"


def _is_closed(node: Node, said: str) -> bool:
    """Whether it needs no parentheses beside another part."""
    return is_closed(node) and not is_negative(node, said)
