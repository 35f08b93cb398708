"""Formulas in spoken English."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.formula.test_any_formula import VALUES, Made, formulas
from tutor.formula import parse
from tutor.formula.nodes import Sym, walk
from tutor.formula.words import definition, words
from tutor.lesson.library import shipped_folder
from tutor.lesson.markdown import MathSpan, find

LESSONS = sorted(shipped_folder().rglob("*.md"))
MARKUP = re.compile(r"[\\{}$^_&]|[^\x00-\x7F]")
"""LaTeX's markup, and signs that are not in words."""


@pytest.mark.parametrize(
    ("latex", "said"),
    [
        (r"\hat{y}_i = w x_i", "y hat sub i equals w times x sub i"),
        (
            r"L = \frac{1}{N} \sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
            "L equals the mean over i from 1 to N of (y hat sub i minus y sub i) squared",
        ),
        (
            r"\frac1{N-1}\sum_{i=1}^{N} x_i",
            "1 over (N minus 1) times the sum over i from 1 to N of x sub i",
        ),
        (
            r"w \leftarrow w - \eta \frac{dL}{dw}",
            "w becomes w minus eta times the derivative of L with respect to w",
        ),
        (
            r"\frac{\partial^2 L}{\partial w \partial b}",
            "the second partial derivative of L with respect to w and b",
        ),
        (r"\frac{d^2 y}{dx^2} = 2", "the second derivative of y with respect to x equals 2"),
        (r"\frac{d}{dw} (w x)", "the derivative with respect to w of (w times x)"),
        (
            r"\partial L / \partial b = \delta",
            "the partial derivative of L with respect to b equals delta",
        ),
        (r"\frac{a + b}{2 c}", "(a plus b) over (2 times c)"),
        (r"\frac{1}{1 + \frac{a}{b}}", "the fraction 1, over 1 plus a over b, end fraction"),
        (
            r"\sigma(z) = \frac{1}{1 + e^{-z}}",
            "sigma of z equals 1 over (1 plus e to the power of minus z)",
        ),
        (r"\begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix}", "a row of 4: 1, 2, 3, 4"),
        (r"\begin{pmatrix} w \\ b \end{pmatrix} = v", "a column of 2: w, b; equals v"),
        (
            r"A = \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
            "A equals a 2 by 2 matrix: row 1: 1, 2; row 2: 3, 4",
        ),
        (
            r"\underbrace{2 x_i}_{\text{part } i} + \underbrace{b}_{1 - a}",
            "(2 times x sub i, called part i) plus (b, which is 1 minus a)",
        ),
        (
            r"\left. \frac{dL}{dw} \right|_{w=1} = -2",
            "the derivative of L with respect to w, at w equals 1, equals minus 2",
        ),
        (r"o_1^T \delta_2", "o sub 1 transpose times delta sub 2"),
        (r"x^2 + y^3 + z^n", "x squared plus y cubed plus z to the power of n"),
        (r"A^{-1} x^{-1}", "A inverse times x to the power of minus 1"),
        (r"\sqrt{2} \sqrt[3]{a + b}", "the square root of 2 times the cube root of (a plus b)"),
        (r"0 < x \le 1 \approx y", "0 is less than x, which is at most 1, which is about y"),
        (r"x = 1 \qquad y = 2", "x equals 1; y equals 2"),
        (
            r"\theta \leftarrow 0 \quad \text{for } \theta = W_1, b_1",
            "theta becomes 0, for theta equals W sub 1, b sub 1",
        ),
        (
            r"\text{relu}(z) = \begin{cases} z & \text{if } z > 0 \\ 0 & \text{otherwise}"
            r"\end{cases}",
            "relu of z equals either z, if z is greater than 0, or 0, otherwise",
        ),
        (r"\text{relu}'(z_1) \odot w", "relu prime of z sub 1 times, element by element, w"),
        (
            r"\begin{aligned} a &= b \\ &= c \\ d &= e \end{aligned}",
            "a equals b, which equals c; d equals e",
        ),
        (
            r"\max_i |x_i| \, \|w\|",
            "the maximum over i of the absolute value of x sub i times the norm of w",
        ),
        (r"\lim_{h \to 0} f(x + h)", "the limit as h goes to 0 of f of (x plus h)"),
        (r"\Delta w \propto \nabla L", "the change in w is proportional to the gradient of L"),
        (r"\nabla_\theta \leftarrow 0", "the gradient by theta becomes 0"),
        (r"\theta - \eta \nabla_\theta", "theta minus eta times the gradient by theta"),
        (r"v + \nabla_w^2", "v plus (the gradient by w) squared"),
        (r"2(1 - 2) \cdot 1 = \text{?}", "2 times (1 minus 2) times 1 equals what?"),
        (r"\sum_{n=1}^{N} x_n", "the sum over n from 1 to capital N of x sub n"),
        (r"\int_0^1 x \, dx", "the integral from 0 to 1 of x d x"),
        (r"-\log p(y | x)", "minus log of p of (y given x)"),
        (
            r"\sqrt{0.001}\,|g| = 2|g|",
            "the square root of 0.001 times the absolute value of g "
            "equals 2 times the absolute value of g",
        ),
        (
            r"|g|^2 + |g^2|",
            "(the absolute value of g) squared plus the absolute value of (g squared)",
        ),
        (
            r"e^{z/2} = \frac{e^z}{2}",
            "e to the power of (z over 2) equals (e to the power of z) over 2",
        ),
        (r"\log\frac13 = \frac{\log 1}{3}", "log of (1 over 3) equals (log of 1) over 3"),
        (r"a_{1/2} = \frac{a_1}{2}", "a sub (1 over 2) equals a sub 1 over 2"),
        (r"p_{y_i}^{(i)} + x_{ij}^2", "p sub (y sub i) superscript (i) plus x sub i j, squared"),
        (
            r"\frac{dL}{dy} (b + a) x",
            "the derivative of L with respect to y, times (b plus a) times x",
        ),
        (
            r"\frac{\partial L^{(i)}}{\partial z}",
            "the partial derivative of L superscript (i) with respect to z",
        ),
        (r"\sum_{i \in B} x_i", "the sum over i in B of x sub i"),
    ],
)
def test_it_is_said_like_this(latex: str, said: str):
    assert words(parse(latex)) == said


def test_a_live_value_is_said_where_it_stands():
    formula = parse(r"L = (\boxed{y_pred} - 2)^2 = \boxed{loss}")
    said = words(formula, {"y_pred": "-1.5", "loss": "12.25"})
    assert said == "L equals (-1.5 minus 2) squared, which equals 12.25"
    assert words(parse(r"\boxed{w}^2"), {"w": "-3"}) == "(-3) squared"


def test_a_value_that_is_not_known_is_called_by_its_name():
    formula = parse(r"\frac{dL}{dw} = \boxed{gradient['w']} \cdot \boxed{learning_rate}")
    said = "the derivative of L with respect to w equals the gradient of w times learning rate"
    assert words(formula) == said


@pytest.mark.parametrize(
    ("latex", "said"),
    [
        (
            r"L = (a - b)^2 = (\boxed{a} - \boxed{b})^2 = \boxed{loss}",
            "L equals (a minus b) squared",
        ),
        (r"x_i = 2 u_i \qquad x_1 = \boxed{x[0]}", "x sub i equals 2 times u sub i"),
        (r"L = \boxed{loss}", ""),
        (r"w_1: \quad -\boxed{a} = \boxed{b}", ""),
        (r"w \leftarrow w - g", "w becomes w minus g"),
    ],
)
def test_before_a_step_only_what_holds_without_its_values_is_said(latex: str, said: str):
    assert definition(parse(latex)) == said


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_formula_that_is_shipped_can_be_said(path: Path):
    found = [m.latex for m in find(path.read_text("utf-8").split("\n")) if isinstance(m, MathSpan)]
    for latex in dict.fromkeys(found):
        formula = parse(latex)
        said = words(formula, dict.fromkeys(formula.boxed, "7"))
        own_words = "".join(re.findall(r"\\text\{([^}]*)\}", latex))
        assert not set(MARKUP.findall(said)) - set(own_words), (latex, said)
        assert definition(formula) or formula.boxed
        assert _letters(formula.root) <= set(re.findall(r"\w+", said)), (latex, said)


def _letters(root) -> set[str]:
    """The letters of a formula, those apart that have words of their own: d, and T on top."""
    symbols = {n.text for n in walk(root) if isinstance(n, Sym)}
    return {t for t in symbols if len(t) == 1 and t.isascii() and t.isalpha()} - {"d", "T"}


@settings(max_examples=100)
@given(made=formulas)
def test_whatever_the_formula_nothing_of_it_is_left_as_a_sign(made: Made):
    said = words(parse(made.latex), VALUES)
    plain = re.sub(r"误差|损失|a_b|foo", "", said)
    assert said.isprintable()
    assert not MARKUP.findall(plain), said
    shown = Counter(v for v in VALUES.values() if rf"\boxed{{{_expression(v)}}}" in made.latex)
    assert all(value in said for value in shown)


def _expression(value: str) -> str:
    return next(e for e, v in VALUES.items() if v == value)
