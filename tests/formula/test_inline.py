"""Formulas on one row, inside prose."""

import pytest

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
