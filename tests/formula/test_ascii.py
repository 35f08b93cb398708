"""Pictures for a terminal that knows only ASCII."""


def test_the_loss(looks):
    looks(
        r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        """
            1  N            2
        L = - sum (y^  - y )
            N i=1    i    i
        """,
        ascii=True,
    )


def test_greek_is_spelled_and_kept_apart(looks):
    looks(
        r"\alpha\beta x = 2\pi\lambda \le \partial L",
        "alpha beta x = 2 pi lambda <= dL",
        ascii=True,
    )


def test_tall_delimiters_and_fractions(looks):
    looks(
        r"\left( \frac{a}{b} \right) + \left[ \frac{a}{b} \right] + \sqrt{\frac{a}{b}} + \sqrt{x}",
        """
                     +-
        /a\\   [a]    |a
        |-| + [-] +  |- + sqrt(x)
        \\b/   [b]   \\|b
        """,
        ascii=True,
    )


def test_cases_and_matrices(looks):
    looks(
        r"\begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases} +"
        r" \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
        """
        / 1  x > 0
        <          + [ 1  2 ]
        \\ 0  else    [ 3  4 ]
        """,
        ascii=True,
    )


def test_accents_that_have_no_letter_stand_above(looks):
    looks(
        r"\hat y + \bar x + \vec v",
        """
             _   ->
        y^ + x + v
        """,
        ascii=True,
    )


def test_other_scripts_become_question_marks(looks):
    looks(r"\text{损失} = 2", "?? = 2", ascii=True)
