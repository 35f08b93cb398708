"""How each construct looks. The expected rows are the specification: read them."""

import pytest


def test_the_loss_of_the_design_looks_as_designed(looks):
    looks(
        r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        """
            1  N
        L = ─  ∑  (ŷᵢ − yᵢ)²
            N i=1
        """,
    )


@pytest.mark.parametrize(
    ("latex", "row"),
    [
        (r"\hat{y}_i = w x_i", "ŷᵢ = w xᵢ"),
        (r"W_2^T", "W₂ᵀ"),
        (r"x_i^2", "xᵢ²"),
        (r"\sigma'(z) = x'' + f'(x)^2", "σ′(z) = x″ + f′(x)²"),
        (r"a_{ij}^{(l)}", "aᵢⱼ⁽ˡ⁾"),
        (r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t", "mₜ = β₁ mₜ₋₁ + (1 − β₁) gₜ"),
        (r"\bar x + \tilde{x} + \vec v + \dot x", "x̄ + x̃ + v⃗ + ẋ"),
        (r"\hat{y_i}", "ŷᵢ"),
        (r"\sqrt{2} + \sqrt[3]{x}", "√2 + ³√x"),
        (r"h = \mathrm{relu}(x W_1 + b_1)", "h = relu(x W₁ + b₁)"),
        (r"-\log x + \exp(-x) - (-1)", "−log x + exp(−x) − (−1)"),
        (r"w \leftarrow w - \eta \, \Delta w", "w ← w − η Δw"),
        (r"A \Rightarrow B, a \le b \ne c \approx d", "A ⇒ B, a ≤ b ≠ c ≈ d"),
        (r"\delta_1 \odot \delta_2 \times 3 \cdot 4", "δ₁ ⊙ δ₂ × 3 · 4"),
        (r"x \in \mathbb R, \infty, \ldots, \nabla L", "x ∈ ℝ, ∞, …, ∇L"),
        (r"\int_0^1 f(x)\,dx", "∫₀¹ f(x) dx"),
        (r"\max_i x_i = \sum_i p_i", "maxᵢ xᵢ = ∑ᵢ pᵢ"),
        (r"\|w\|_2^2 + |x|", "‖w‖₂² + |x|"),
        (r"a \quad b \; c \! d", "a   b cd"),
        (r"\tfrac{1}{2} + \tfrac{a+b}{2c}", "1/2 + (a+b)/(2c)"),
        (r"x \not= y \not\in Z", "x ≠ y ∉ Z"),
        (r"\text{损失} = \text{50\% of $x_i$}", "损失 = 50% of xᵢ"),
        (r"\mathbf{x}^\top \boldsymbol{\theta} \mathcal{L}", "𝐱ᵀ 𝛉 ℒ"),
        (r"1{,}000 + f(x, y) = 3.14", "1,000 + f(x, y) = 3.14"),
        (r"p(y_i \mid x_i; \theta)", "p(yᵢ ∣ xᵢ; θ)"),
    ],
)
def test_what_fits_on_one_row_stays_on_one_row(looks, latex, row):
    looks(latex, row)


def test_the_chain_rule_is_fractions_beside_each_other(looks):
    looks(
        r"\frac{dL}{dw} = \frac{dL}{d\hat{y}} \cdot \frac{d\hat{y}}{dw}",
        """
        dL   dL   dŷ
        ── = ── · ──
        dw   dŷ   dw
        """,
    )


def test_the_bar_of_an_outer_fraction_is_the_longer_one(looks):
    looks(
        r"\frac{\frac{a}{b}}{c} = \dfrac{a}{bc}",
        """
         a
         ─
         b    a
        ─── = ──
         c    bc
        """,
    )


def test_a_script_without_glyphs_is_raised_or_lowered(looks):
    looks(
        r"w_{\text{new}} = e^{-\eta t}",
        """
                −ηt
        w    = e
         new
        """,
    )


def test_a_superscript_stands_above_a_subscript(looks):
    looks(
        r"h_{t-1}^{\alpha+\beta}",
        """
         α+β
        hₜ₋₁
        """,
    )


def test_softmax(looks):
    looks(
        r"\mathrm{softmax}(z)_i = \frac{e^{z_i}}{\sum_{j=1}^{K} e^{z_j}}",
        """
                          zᵢ
                         e
        softmax(z)ᵢ = ─────────
                             zⱼ
                      ∑ⱼ₌₁ᴷ e
        """,
    )


def test_limits_stand_below_and_above(looks):
    looks(
        r"\lim_{n \to \infty} \prod_{k=1}^{n} \max_{i,j} a_i",
        """
             n
        lim  ∏  max aᵢ
        n→∞ k=1 i,j
        """,
    )


def test_limits_of_two_lines(looks):
    looks(
        r"\sum_{\substack{i=1 \\ i \ne j}}^{n} a_i",
        """
         n
         ∑  aᵢ
        i=1
        i≠j
        """,
    )


def test_a_root_has_a_line_over_its_body(looks):
    looks(
        r"x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}",
        """
                  ________
            −b ± √b² − 4ac
        x = ──────────────
                  2a
        """,
    )


def test_a_tall_root(looks):
    looks(
        r"\sqrt{\frac{1}{N} \sum_i x_i^2}",
        """
         ┌────────
         │1
         │─ ∑ᵢ xᵢ²
        √│N
        """,
    )


def test_a_wide_accent_stands_over_all_letters(looks):
    looks(
        r"\widehat{abc} + \overline{xy} + \overrightarrow{AB} + \underline{cd}",
        """
        ╱‾╲   __   ─→
        abc + xy + AB + cd
                        ‾‾
        """,
    )


def test_parentheses_grow_and_their_power_stands_at_the_top(looks):
    looks(
        r"\left( \frac{a}{b} \right)^2 + \left[ \frac{a}{b} \right]_{n} + (\frac{a}{b})",
        """
        ⎛a⎞²   ⎡a⎤    ⎛a⎞
        ⎜─⎟  + ⎢─⎥  + ⎜─⎟
        ⎝b⎠    ⎣b⎦ₙ   ⎝b⎠
        """,
    )


def test_parentheses_do_not_grow_for_a_script(looks):
    looks(
        r"(x^{a+\beta})",
        """
          a+β
        (x   )
        """,
    )


def test_a_bar_says_where_a_derivative_is_taken(looks):
    looks(
        r"\left. \frac{dL}{dw} \right|_{w=1} = -2",
        """
        dL│
        ──│    = −2
        dw│w=1
        """,
    )


def test_all_kinds_of_delimiters_grow(looks):
    looks(
        r"\left\{ x \middle| \frac{x}{2} \right\} \left\lfloor \frac{a}{b} \right\rfloor"
        r" \left\langle \frac{a}{b} \right\rangle \left\| \frac{a}{b} \right\|",
        """
        ⎧  │ x⎫ ⎢a⎥ ╱a╲ ║a║
        ⎨x │ ─⎬ ⎢─⎥ ⟨─⟩ ║─║
        ⎩  │ 2⎭ ⎣b⎦ ╲b╱ ║b║
        """,
    )


def test_matrices(looks):
    looks(
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \begin{bmatrix} x_1 \\ x_2 \end{bmatrix}"
        r" \ne \begin{vmatrix} a & b \\ c & d \end{vmatrix}",
        """
        ⎛ 1  2 ⎞ ⎡ x₁ ⎤ ≠ │ a  b │
        ⎝ 3  4 ⎠ ⎣ x₂ ⎦   │ c  d │
        """,
    )


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


def test_an_array_with_lines(looks):
    looks(
        r"\begin{array}{c|c} x & y \\ \hline 0 & 1 \end{array}",
        """
        x │ y
        ──┼──
        0 │ 1
        """,
    )


def test_cases_have_a_brace_with_its_point_in_the_middle(looks):
    looks(
        r"\mathrm{relu}(z) = \begin{cases} z & \text{if } z > 0 \\ 0 & \text{否则} \end{cases}",
        """
                  ⎧ z  if z > 0
        relu(z) = ⎨
                  ⎩ 0  否则
        """,
    )


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


def test_aligned_pairs(looks):
    looks(
        r"\begin{aligned} a &= b & c &= d \\ e &= -f & g &\le h \end{aligned}",
        """
        a = b    c = d
        e = −f   g ≤ h
        """,
    )


def test_gathered_lines_are_centred(looks):
    looks(
        r"\begin{gather} a = b + c \\ d = e \end{gather}",
        """
        a = b + c
          d = e
        """,
    )


def test_lines_outside_of_an_environment(looks):
    looks(r"a = b \\ c = d", "a = b\nc = d")


def test_braces_below_and_above_carry_their_words(looks):
    looks(
        r"\underbrace{\frac{\partial L}{\partial \hat{y}}}_{\text{误差}} \cdot"
        r" \overbrace{a + b}^{n}",
        """
                 n
        ∂L     ╭─┴─╮
        ──   · a + b
        ∂ŷ
        ╰┬╯
        误差
        """,
    )


def test_words_over_an_arrow_or_a_relation(looks):
    looks(
        r"x \xrightarrow{\text{forward}} \hat{y} \stackrel{!}{=} y",
        """
           forward    !
        x ────────→ ŷ = y
        """,
    )


def test_a_binomial_has_no_bar(looks):
    looks(
        r"\binom{n}{k} = {n \choose k}",
        """
        ⎛n⎞   ⎛n⎞
        ⎜ ⎟ = ⎜ ⎟
        ⎝k⎠   ⎝k⎠
        """,
    )


def test_a_minus_keeps_away_from_a_fraction_bar(looks):
    looks(
        r"-\frac{1}{N}",
        """
          1
        − ─
          N
        """,
    )


def test_the_blank_that_an_author_types_between_factors_is_kept(looks):
    looks(r"w x_i", "w xᵢ")
    looks(
        r"\frac{d L}{d w} + \partial L + 2 x (a + b) + f(x)", "dL\n── + ∂L + 2 x (a + b) + f(x)\ndw"
    )


def test_scripts_of_scripts_do_not_cover_each_other(looks):
    looks(
        r"{{a}_{q}^{b}}_{i}^{d} + \left[\frac{a}{b}\right]_1^2",
        """
               ⎡a⎤²
        aᵇᵢᵈ + ⎢─⎥
         q     ⎣b⎦₁
        """,
    )


def test_mathematics_in_words_in_mathematics(looks):
    looks(r"\text{so $x_i$ \& $\text{b $c$}$}", "so xᵢ & b c")


def test_an_index_of_a_root_may_be_a_value(looks):
    looks(r"\sqrt[\boxed{d['k']}]{x}", "3\n √x", {"d['k']": "3"})


# --- in ASCII -----------------------------------------------------------------------------


def test_the_loss_in_ascii(looks):
    looks(
        r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        """
            1  N            2
        L = - sum (y^  - y )
            N i=1    i    i
        """,
        ascii=True,
    )


def test_greek_is_spelled_and_kept_apart_in_ascii(looks):
    looks(
        r"\alpha\beta x = 2\pi\lambda \le \partial L",
        "alpha beta x = 2 pi lambda <= dL",
        ascii=True,
    )


def test_tall_delimiters_and_fractions_in_ascii(looks):
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


def test_cases_and_matrices_in_ascii(looks):
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


def test_accents_that_have_no_letter_stand_above_in_ascii(looks):
    looks(
        r"\hat y + \bar x + \vec v",
        """
             _   ->
        y^ + x + v
        """,
        ascii=True,
    )


def test_other_scripts_become_question_marks_in_ascii(looks):
    looks(r"\text{损失} = 2", "?? = 2", ascii=True)
