"""A formula that is too wide is broken before relations, + and −, and nothing is dropped."""

from tutor.formula import draw, parse


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
