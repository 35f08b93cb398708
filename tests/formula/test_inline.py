r"""Formulas on one row: examples, and random arithmetic.

Random arithmetic is written as LaTeX, drawn on one row, read back by the small evaluator
below, and compared in value. The evaluator reads as a reader does: a power binds most, then
what stands side by side, then `·` and `/` from left to right, then `+` and `−`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tutor.formula import draw_inline, parse


@pytest.mark.parametrize(
    ("latex", "row", "ascii_row"),
    [
        ("x_i", "xᵢ", "x_i"),
        (r"\hat{y}", "ŷ", "y^"),
        (r"\hat y_i^2", "ŷᵢ²", "y^_i^2"),
        (r"\frac{a}{b}", "a/b", "a/b"),
        (r"\frac{a + b}{2 c}", "(a + b)/(2 c)", "(a + b)/(2 c)"),
        (r"\frac{dL}{d\hat y}", "dL/dŷ", "dL/dy^"),
        (r"\frac{\partial L}{\partial w_1}", "∂L/∂w₁", "dL/dw_1"),
        (r"\sum_{i=1}^N x_i", "∑ᵢ₌₁ᴺ xᵢ", "sum_(i=1)^N x_i"),
        (r"w_{\text{new}} y", "w_(new) y", "w_new y"),
        (r"e^{-\eta t}", "e^(−ηt)", "e^(-eta t)"),
        (r"10^{-3}", "10⁻³", "10^(-3)"),
        (r"\sqrt{x + 1} + \sqrt 2", "√(x + 1) + √2", "sqrt(x + 1) + sqrt(2)"),
        (r"\sqrt[3]{x}", "³√x", "sqrt[3](x)"),
        (r"\overline{ab}", "bar(ab)", "bar(ab)"),
        (r"\sigma'(z)", "σ′(z)", "sigma'(z)"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "(1, 2; 3, 4)", "(1, 2; 3, 4)"),
        (r"\left. f \right|_{w=1}", "f|_(w=1)", "f|_(w=1)"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a = b; c = d", "a = b; c = d"),
        (r"\underbrace{a + b}_{\text{sum}}", "(a + b) [sum]", "(a + b) [sum]"),
        (r"A^T \in \mathbb{R}^{m \times n}", "Aᵀ ∈ ℝ^(m×n)", "A^T in R^(mxn)"),
        (r"\alpha x \le \lambda \cdot \infty", "α x ≤ λ · ∞", "alpha x <= lambda * inf"),
    ],
)
def test_one_row(latex, row, ascii_row):
    formula = parse(latex)
    assert draw_inline(formula) == row
    assert draw_inline(formula, ascii=True) == ascii_row


def test_values_stand_in_their_place():
    assert draw_inline(parse(r"w = \boxed{w}"), {"w": "0.5\n1"}) == "w = 0.5 1"


# --- random arithmetic ---------------------------------------------------------------------

LETTERS = {"a": Fraction(3), "b": Fraction(7, 5), "c": Fraction(-2), "k": Fraction(11, 3)}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@dataclass(frozen=True)
class Made:
    """LaTeX, its value, and what it is to its neighbours."""

    latex: str
    value: Fraction
    kind: str


def _frac(over: Made, under: Made) -> Made | None:
    if under.value == 0:
        return None
    return Made(rf"\frac{{{over.latex}}}{{{under.latex}}}", over.value / under.value, "factor")


def _power(base: Made, exponent: int) -> Made | None:
    if base.kind not in ("letter", "number") or (base.value == 0 and exponent < 0):
        return None
    return Made(f"{{{base.latex}}}^{{{exponent}}}", base.value**exponent, "factor")


def _raised(frac: Made | None, exponent: int) -> Made | None:
    if frac is None:
        return None
    return Made(rf"{frac.latex}^{{{exponent}}}", frac.value**exponent, "factor")


def _grouped(made: Made) -> str:
    return made.latex if made.kind != "sum" else rf"\left({made.latex}\right)"


def _product(left: Made, right: Made, sign: str) -> Made | None:
    if not sign and (right.kind == "number" or _begins_with_digit(right)):
        return None  # `a 2` is not written; of two numbers side by side the sign is
    latex = f"{_grouped(left)} {sign} {_grouped(right)}"
    return Made(latex, left.value * right.value, "product")


def _begins_with_digit(made: Made) -> bool:
    return made.latex.lstrip("{")[:1].isdigit()


def _sum(left: Made, right: Made, is_minus: bool) -> Made:
    second = _grouped(right) if is_minus else right.latex
    value = left.value - right.value if is_minus else left.value + right.value
    return Made(f"{left.latex} {'-' if is_minus else '+'} {second}", value, "sum")


letters = st.sampled_from(sorted(LETTERS)).map(lambda c: Made(c, LETTERS[c], "letter"))
numbers = st.integers(1, 12).map(lambda n: Made(str(n), Fraction(n), "number"))


def _grown(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    frac = st.builds(_frac, inner, inner)
    powers = st.builds(_power, st.one_of(letters, numbers), st.integers(-3, 4))
    shapes = [
        frac,
        frac,
        powers,
        st.builds(_product, inner, inner, st.sampled_from(["", "", r"\cdot"])),
        st.builds(_sum, inner, inner, st.booleans()),
        st.builds(_raised, frac, st.integers(1, 3)),
    ]
    return st.deferred(lambda: st.one_of(shapes).filter(bool))


formulas = st.recursive(st.one_of(letters, numbers), _grown, max_leaves=8)

# --- the evaluator -----------------------------------------------------------------------

_TOKEN = re.compile(r"\d+|[abck]|[-+*/^()−·]|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")


class _Evaluator:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        assert "".join(self.tokens) == text.replace(" ", ""), text
        self.at = 0

    def value(self) -> Fraction:
        value = self.sum()
        assert self.at == len(self.tokens), self.tokens
        return value

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def sum(self) -> Fraction:
        sign = self.take() if self.peek() in ("-", "−") else "+"
        value = self.quotients() * (-1 if sign != "+" else 1)
        while self.peek() in ("+", "-", "−"):
            sign = self.take()
            value += self.quotients() * (-1 if sign != "+" else 1)
        return value

    def quotients(self) -> Fraction:
        value = self.beside()
        while self.peek() in ("*", "·", "/"):
            value = value / self.beside() if self.take() == "/" else value * self.beside()
        return value

    def beside(self) -> Fraction:
        value = self.power()
        while self.peek() == "(" or self.peek().isalnum():
            value *= self.power()
        return value

    def power(self) -> Fraction:
        token = self.take()
        if token == "(":
            value = self.sum()
            assert self.take() == ")"
        else:
            value = LETTERS[token] if token in LETTERS else Fraction(int(token))
        if self.peek() == "^":
            self.take()
            value **= self.exponent()
        elif self.peek() and self.peek()[0] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻":
            value **= int(self.take().translate(_RAISED))
        return value

    def exponent(self) -> int:
        if self.peek() != "(":
            return int(self.take())
        return int(self.power())


@settings(max_examples=200)
@given(made=formulas, ascii=st.booleans())
def test_a_formula_on_one_row_has_the_value_of_its_tree(made: Made, ascii: bool):
    assume(made.kind not in ("letter", "number"))
    row = draw_inline(parse(made.latex), ascii=ascii)
    try:
        value = _Evaluator(row).value()
    except ZeroDivisionError:
        value = None
    assert value == made.value, (made.latex, row)
