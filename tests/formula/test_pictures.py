"""How constructs look that the corpus leaves out: with values, in ASCII, and broken to a width.

A formula that is too wide is broken before relations, + and −, and nothing is dropped.
"""

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest

from tutor.formula import draw, parse

Look = Callable[..., None]


@pytest.fixture
def looks() -> Look:
    """Assert that a formula is drawn exactly as the block of text shows it."""

    def check(
        latex: str,
        expected: str,
        values: Mapping[str, str] | None = None,
        *,
        width: int | None = None,
        ascii: bool = False,
    ) -> None:
        picture = draw(parse(latex), values, width=width, ascii=ascii)
        drawn = "\n".join(row.rstrip() for row in picture.rows)
        assert drawn == dedent(expected).strip("\n")

    return check


def test_a_matrix_of_live_values(looks):
    looks(
        r"W = \begin{bmatrix} \boxed{W[0,0]} & \boxed{W[0,1]} \\ \boxed{W[1,0]} & 7 \end{bmatrix}",
        """
        W = ⎡ 0.5  -1.25 ⎤
            ⎣  3     7   ⎦
        """,
        {"W[0,0]": "0.5", "W[0,1]": "-1.25", "W[1,0]": "3"},
    )


def test_a_first_cell_in_brackets_is_not_taken_for_columns(looks):
    looks(r"\begin{matrix} [a] & {c} \end{matrix}", "[a]  c")
    looks(r"\begin{matrix} {c} & [a] \end{matrix}", "c  [a]")


@pytest.mark.parametrize("environment", ["aligned", "align", "align*", "split"])
def test_aligned_lines_with_a_blank_row_where_fractions_would_touch(looks, environment):
    looks(
        rf"\begin{{{environment}}} L &= (\hat y - y)^2 \\ \frac{{dL}}{{dw}} &= 2(\hat y - y) x"
        rf" \\ &= -2 \end{{{environment}}}",
        """
         L = (ŷ − y)²

        dL
        ── = 2(ŷ − y) x
        dw

           = −2
        """,
    )


def test_the_blank_that_an_author_types_between_factors_is_kept(looks):
    looks(r"w x_i", "w xᵢ")
    looks(
        r"\frac{d L}{d w} + \partial L + 2 x (a + b) + f(x)", "dL\n── + ∂L + 2 x (a + b) + f(x)\ndw"
    )


def test_an_index_of_a_root_may_be_a_value(looks):
    looks(r"\sqrt[\boxed{d['k']}]{x}", "3\n √x", {"d['k']": "3"})


# --- in ASCII -----------------------------------------------------------------------------

ASCII_CASES = [
    (
        "the loss",
        r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        """
            1  N            2
        L = - sum (y^  - y )
            N i=1    i    i
        """,
    ),
    (
        "greek is spelled and kept apart",
        r"\alpha\beta x = 2\pi\lambda \le \partial L",
        "alpha beta x = 2 pi lambda <= dL",
    ),
    (
        "tall delimiters and fractions",
        r"\left( \frac{a}{b} \right) + \left[ \frac{a}{b} \right] + \sqrt{\frac{a}{b}} + \sqrt{x}",
        """
                     +-
        /a\\   [a]    |a
        |-| + [-] +  |- + sqrt(x)
        \\b/   [b]   \\|b
        """,
    ),
    (
        "cases and matrices",
        r"\begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases} +"
        r" \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
        """
        / 1  x > 0
        <          + [ 1  2 ]
        \\ 0  else    [ 3  4 ]
        """,
    ),
    (
        "accents that have no letter stand above",
        r"\hat y + \bar x + \vec v",
        """
             _   ->
        y^ + x + v
        """,
    ),
    ("other scripts become question marks", r"\text{损失} = 2", "?? = 2"),
]


@pytest.mark.parametrize(
    ("latex", "picture"), [c[1:] for c in ASCII_CASES], ids=[c[0] for c in ASCII_CASES]
)
def test_a_construct_looks_as_specified_in_ascii(looks, latex, picture):
    looks(latex, picture, ascii=True)


# --- broken to a width ----------------------------------------------------------------------


def test_relations_continue_below_the_first_one(looks):
    looks(
        r"\frac{dL}{dw} = \frac{dL}{d\hat{y}} \cdot \frac{d\hat{y}}{dw}"
        r" = 2(\hat{y} - y) \cdot x = 2(0.5 - 2) \cdot 1 = -3",
        """
        dL   dL   dŷ
        ── = ── · ── = 2(ŷ − y) · x
        dw   dŷ   dw

           = 2(0.5 − 2) · 1 = −3
        """,
        width=30,
    )


def test_terms_continue_behind_the_relation(looks):
    looks(
        r"\hat y = w_1 x_1 + w_2 x_2 + w_3 x_3 + w_4 x_4 - b",
        """
        ŷ = w₁ x₁ + w₂ x₂
            + w₃ x₃ + w₄ x₄
            − b
        """,
        width=20,
    )


def test_aligned_lines_are_broken_in_their_column(looks):
    looks(
        r"\begin{aligned} L &= a + b + c + d + e + f \\ M &= g \end{aligned}",
        """
        L = a + b + c + d
            + e + f

        M = g
        """,
        width=18,
    )


def test_a_sign_is_not_taken_for_an_operator(looks):
    looks(r"x = -a - b", "x = −a\n    − b", width=7)


def test_parentheses_are_broken_only_where_nothing_else_is_left(looks):
    looks(r"y = f(a + b + c)", "y = f(a\n    + b\n    + c)", width=8)


def test_what_cannot_be_broken_is_folded_and_marked():
    assert draw(parse(r"\text{abcdefgh}"), width=5).rows == ("abcd…", "…efgh")


def test_a_formula_that_fits_is_not_touched():
    formula = parse("a = b + c")
    assert draw(formula, width=9) == draw(formula)


def test_marks_move_with_their_values():
    picture = draw(parse(r"a + b + \boxed{v}"), {"v": "12345"}, width=9)
    assert picture.rows == ("a + b    ", "  + 12345")
    assert [(m.row, m.start, m.end) for m in picture.marks] == [(1, 4, 9)]
