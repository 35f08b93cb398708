"""How each construct looks. The expected rows are the specification: read them."""

import pytest


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
        (r"\cancel x + x^12 + 2pt", "x̸ + x¹2 + 2pt"),
        (r"f''' + f'^2 + x_i'", "f‴ + f′² + xᵢ′"),
        (r"\hat\mathbf{x} + x_\mathrm{in} \iff \bot", "𝐱̂ + xᵢₙ ⟺ ⊥"),
    ],
)
def test_what_fits_on_one_row_stays_on_one_row(looks, latex, row):
    looks(latex, row)


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


CASES = [
    (
        "the loss of the design looks as designed",
        r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        """
            1  N
        L = ─  ∑  (ŷᵢ − yᵢ)²
            N i=1
        """,
    ),
    (
        "the chain rule is fractions beside each other",
        r"\frac{dL}{dw} = \frac{dL}{d\hat{y}} \cdot \frac{d\hat{y}}{dw}",
        """
        dL   dL   dŷ
        ── = ── · ──
        dw   dŷ   dw
        """,
    ),
    (
        "the bar of an outer fraction is the longer one",
        r"\frac{\frac{a}{b}}{c} = \dfrac{a}{bc}",
        """
         a
         ─
         b    a
        ─── = ──
         c    bc
        """,
    ),
    (
        "a script without glyphs is raised or lowered",
        r"w_{\text{new}} = e^{-\eta t}",
        """
                −ηt
        w    = e
         new
        """,
    ),
    (
        "a superscript stands above a subscript",
        r"h_{t-1}^{\alpha+\beta}",
        """
         α+β
        hₜ₋₁
        """,
    ),
    (
        "softmax",
        r"\mathrm{softmax}(z)_i = \frac{e^{z_i}}{\sum_{j=1}^{K} e^{z_j}}",
        """
                          zᵢ
                         e
        softmax(z)ᵢ = ─────────
                             zⱼ
                      ∑ⱼ₌₁ᴷ e
        """,
    ),
    (
        "limits stand below and above",
        r"\lim_{n \to \infty} \prod_{k=1}^{n} \max_{i,j} a_i",
        """
             n
        lim  ∏  max aᵢ
        n→∞ k=1 i,j
        """,
    ),
    (
        "limits of two lines",
        r"\sum_{\substack{i=1 \\ i \ne j}}^{n} a_i",
        """
         n
         ∑  aᵢ
        i=1
        i≠j
        """,
    ),
    (
        "a root has a line over its body",
        r"x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}",
        """
                  ________
            −b ± √b² − 4ac
        x = ──────────────
                  2a
        """,
    ),
    (
        "a tall root",
        r"\sqrt{\frac{1}{N} \sum_i x_i^2}",
        """
         ┌────────
         │1
         │─ ∑ᵢ xᵢ²
        √│N
        """,
    ),
    (
        "a wide accent stands over all letters",
        r"\widehat{abc} + \overline{xy} + \overrightarrow{AB} + \underline{cd}",
        """
        ╱‾╲   __   ─→
        abc + xy + AB + cd
                        ‾‾
        """,
    ),
    (
        "parentheses grow and their power stands at the top",
        r"\left( \frac{a}{b} \right)^2 + \left[ \frac{a}{b} \right]_{n} + (\frac{a}{b})",
        """
        ⎛a⎞²   ⎡a⎤    ⎛a⎞
        ⎜─⎟  + ⎢─⎥  + ⎜─⎟
        ⎝b⎠    ⎣b⎦ₙ   ⎝b⎠
        """,
    ),
    (
        "parentheses do not grow for a script",
        r"(x^{a+\beta})",
        """
          a+β
        (x   )
        """,
    ),
    (
        "a bar says where a derivative is taken",
        r"\left. \frac{dL}{dw} \right|_{w=1} = -2",
        """
        dL│
        ──│    = −2
        dw│w=1
        """,
    ),
    (
        "all kinds of delimiters grow",
        r"\left\{ x \middle| \frac{x}{2} \right\} \left\lfloor \frac{a}{b} \right\rfloor"
        r" \left\langle \frac{a}{b} \right\rangle \left\| \frac{a}{b} \right\|",
        """
        ⎧  │ x⎫ ⎢a⎥ ╱a╲ ║a║
        ⎨x │ ─⎬ ⎢─⎥ ⟨─⟩ ║─║
        ⎩  │ 2⎭ ⎣b⎦ ╲b╱ ║b║
        """,
    ),
    (
        "matrices",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \begin{bmatrix} x_1 \\ x_2 \end{bmatrix}"
        r" \ne \begin{vmatrix} a & b \\ c & d \end{vmatrix}",
        """
        ⎛ 1  2 ⎞ ⎡ x₁ ⎤ ≠ │ a  b │
        ⎝ 3  4 ⎠ ⎣ x₂ ⎦   │ c  d │
        """,
    ),
    (
        "a last row whose last cell is empty is kept",
        r"\begin{pmatrix} a & b \\ c & \end{pmatrix} \binom27^2",
        """
                 ⎛2⎞²
        ⎛ a  b ⎞ ⎜ ⎟
        ⎝ c    ⎠ ⎝7⎠
        """,
    ),
    (
        "an array with lines",
        r"\begin{array}{c|c} x & y \\ \hline 0 & 1 \end{array}",
        """
        x │ y
        ──┼──
        0 │ 1
        """,
    ),
    (
        "cases have a brace with its point in the middle",
        r"\mathrm{relu}(z) = \begin{cases} z & \text{if } z > 0 \\ 0 & \text{否则} \end{cases}",
        """
                  ⎧ z  if z > 0
        relu(z) = ⎨
                  ⎩ 0  否则
        """,
    ),
    (
        "aligned pairs",
        r"\begin{aligned} a &= b & c &= d \\ e &= -f & g &\le h \end{aligned}",
        """
        a = b    c = d
        e = −f   g ≤ h
        """,
    ),
    (
        "gathered lines are centred",
        r"\begin{gather} a = b + c \\ d = e \end{gather}",
        """
        a = b + c
          d = e
        """,
    ),
    ("lines outside of an environment", r"a = b \\ c = d", "a = b\nc = d"),
    (
        "braces below and above carry their words",
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
    ),
    (
        "words over an arrow or a relation",
        r"x \xrightarrow{\text{forward}} \hat{y} \stackrel{!}{=} y",
        """
           forward    !
        x ────────→ ŷ = y
        """,
    ),
    (
        "a binomial has no bar",
        r"\binom{n}{k} = {n \choose k}",
        """
        ⎛n⎞   ⎛n⎞
        ⎜ ⎟ = ⎜ ⎟
        ⎝k⎠   ⎝k⎠
        """,
    ),
    (
        "a minus keeps away from a fraction bar",
        r"-\frac{1}{N}",
        """
          1
        − ─
          N
        """,
    ),
    (
        "scripts of scripts do not cover each other",
        r"{{a}_{q}^{b}}_{i}^{d} + \left[\frac{a}{b}\right]_1^2",
        """
               ⎡a⎤²
        aᵇᵢᵈ + ⎢─⎥
         q     ⎣b⎦₁
        """,
    ),
    ("mathematics in words in mathematics", r"\text{so $x_i$ \& $\text{b $c$}$}", "so xᵢ & b c"),
]


@pytest.mark.parametrize(("latex", "picture"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_construct_looks_as_specified(looks, latex, picture):
    looks(latex, picture)


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
