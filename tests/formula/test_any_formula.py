"""Random formulas: nothing of them is lost.

Random formulas are built together with the leaves they must show. A leaf may be drawn as a
sub- or superscript glyph, under a hat, or on another row: Unicode's compatibility
decomposition takes ᵢ back to i, ² to 2, ŷ to y and its hat, so that the test needs no
table of the code under test.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from tutor.formula import Formula, FormulaMark, FormulaPicture, draw, draw_inline, parse
from tutor.formula.words import words as spoken


@dataclass(frozen=True)
class Made:
    """A formula's source, and the characters that must be seen of it."""

    latex: str
    leaves: str


HAT = "\u0302"
VALUES = {"w": "0.5550", "x[3]": "-4", "y_pred[0, 1]": "1e-05", "d['k']": "nan"}
MARKUP = re.compile(r"[\\{}$^_&]|[^\x00-\x7F]")
"""LaTeX's markup, and signs that are not in words."""
_SYMBOLS = {
    r"\alpha": "α", r"\lambda": "λ", r"\Delta": "Δ", r"\epsilon": "ϵ", r"\partial": "∂",
    r"\nabla": "∇", r"\infty": "∞", r"\ldots": "…", r"\mathbb{R}": "ℝ", r"\mathbf{x}": "𝐱",
    r"\ell": "ℓ",
}  # fmt: skip
_OPERATORS = {
    "+": "+", "-": "−", "=": "=", r"\cdot": "·", r"\times": "×", r"\odot": "⊙", r"\le": "≤",
    r"\ne": "≠", r"\in": "∈", r"\approx": "≈", r"\leftarrow": "←", r"\Rightarrow": "⇒",
    ",": ",", r"\quad": "", r"\,": "", " ": "", "/": "/", r"\mid": "∣",
}  # fmt: skip

letters = st.sampled_from("abcdijkmnxyzLNTW").map(lambda c: Made(c, c))
numbers = st.sampled_from(["0", "1", "27", "3.14"]).map(lambda n: Made(n, n))
symbols = st.sampled_from(sorted(_SYMBOLS)).map(lambda c: Made(f"{{{c}}}", _SYMBOLS[c]))
words = st.sampled_from(["损失", "if", "误差 e", "a_b"]).map(
    lambda w: Made(r"\text{" + w + "}", w.replace(" ", ""))
)
functions = st.sampled_from(["exp", "log", "max", "lim"]).map(lambda f: Made("\\" + f + " ", f))
names = st.sampled_from(["relu", "MSE"]).map(lambda n: Made(rf"\mathrm{{{n}}}", n))
values = st.sampled_from(sorted(VALUES)).map(lambda v: Made(rf"\boxed{{{v}}}", VALUES[v]))
hats = letters.map(lambda m: Made(rf"\hat{{{m.latex}}}", m.leaves + HAT))
unknown = st.just(Made(r"\foo{q}", r"\foo{q}"))
leaves = st.one_of(
    letters, letters, numbers, symbols, words, functions, names, values, hats, unknown
)


def _row(parts: list[tuple[Made, str]]) -> Made:
    latex = " ".join(f"{m.latex} {operator}" for m, operator in parts)
    return Made(latex, "".join(m.leaves + _OPERATORS[operator] for m, operator in parts))


def _shape(template: str, glyphs: str, *parts: Made) -> Made:
    latex = template
    for part in parts:
        latex = latex.replace("@", part.latex, 1)
    return Made(latex, glyphs + "".join(p.leaves for p in parts))


_SHAPES = [
    (r"\frac{@}{@}", ""), (r"\tfrac{@}{@}", ""), ("{@}_{@}", ""), ("{@}^{@}", ""),
    ("{@}_{@}^{@}", ""), ("{@}'", "′"), (r"\sqrt{@}", "√"), (r"\sqrt[{@}]{@}", "√"),
    (r"\sum_{@}^{@}{@}", "∑"), (r"\int_{@}^{@}@", "∫"), (r"\max_{@}@", "max"),
    (r"\widehat{@ @}", ""), (r"\overline{@}", ""), (r"\left(@\right)", ""),
    (r"\left.@\right|_{@}", ""), (r"\left[@\right]^{@}", ""), (r"(@)", "()"),
    (r"\underbrace{@}_{@}", ""), (r"\overbrace{@}^{@}", ""), (r"\overset{@}{@}", ""),
    (r"\begin{pmatrix}@&@\\@&@\end{pmatrix}", ""), (r"\begin{vmatrix}@\\@\end{vmatrix}", ""),
    (r"\begin{cases}@&@\\@&@\end{cases}", ""),
    (r"\begin{array}{l|r}@&@\\\hline @&@\end{array}", ""),
    (r"\begin{aligned}@&=@\\&=@\end{aligned}", "=="), (r"\begin{gather}@\\@\end{gather}", ""),
    (r"\binom{@}{@}", ""), (r"\text{so $@$}", "so"),
]  # fmt: skip


def _grown(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    rows = st.lists(st.tuples(inner, st.sampled_from(sorted(_OPERATORS))), min_size=1, max_size=3)

    def fill(shape: tuple[str, str]) -> st.SearchStrategy[Made]:
        parts = [inner] * shape[0].count("@")
        return st.builds(lambda *p: _shape(shape[0], shape[1], *p), *parts)

    return st.one_of(rows.map(_row), st.sampled_from(_SHAPES).flatmap(fill))


formulas = st.recursive(leaves, _grown, max_leaves=10).filter(lambda m: m.leaves)


def _seen(text: str) -> Counter[str]:
    tall_parentheses = str.maketrans("⎛⎞", "()")
    plain = unicodedata.normalize("NFKD", text).translate(tall_parentheses)
    return Counter(c for c in plain if not c.isspace())


def _cells(picture: FormulaPicture, mark: FormulaMark) -> str:
    text, at = "", 0
    for character in picture.rows[mark.row]:
        width = wcswidth(character)
        # A combining mark stands in the cell of the letter before it.
        if mark.start <= at - (not width) < mark.end:
            text += character
        at += width
    return text


def _marks_show_what_they_say(picture: FormulaPicture) -> None:
    """A source too long for a row goes on in the next; a value never does."""
    for mark in picture.marks:
        if mark.kind == "value":
            assert _cells(picture, mark) == VALUES[mark.text]
        else:
            assert mark.end > mark.start
            assert _cells(picture, mark) in mark.text


@settings(max_examples=150)
@given(made=formulas, width=st.none() | st.integers(20, 60))
def test_every_leaf_is_found(made: Made, width: int | None):
    formula = parse(made.latex)
    assert formula.unsupported == (r"\foo{q}",) * made.latex.count(r"\foo{q}")
    seen_in_the_picture(formula, made, width)
    seen_in_ascii(formula, made, width)
    seen_on_one_row(formula, made)
    said_in_words(formula)


def seen_in_the_picture(formula: Formula, made: Made, width: int | None) -> None:
    picture = draw(formula, VALUES, width=width)
    seen, wanted = _seen("".join(picture.rows)), _seen(made.leaves)
    assert wanted - seen == Counter()
    assert all(seen[c] == wanted[c] for c in seen if c.isalnum())
    assert {wcswidth(row) for row in picture.rows} == {picture.width}
    assert "".join(picture.rows).isprintable()
    assert 0 <= picture.baseline < len(picture.rows)
    _marks_show_what_they_say(picture)
    shown = [m.text for m in picture.marks if m.kind == "value"]
    assert sorted(shown) == sorted(formula.boxed)


def seen_in_ascii(formula: Formula, made: Made, width: int | None) -> None:
    picture = draw(formula, VALUES, width=width, ascii=True)
    assert all(row.isascii() and row.isprintable() for row in picture.rows)
    assert {len(row) for row in picture.rows} == {picture.width}
    plain = Counter(c for c in made.leaves if c.isascii() and c.isalnum())
    assert plain - Counter("".join(picture.rows)) == Counter()
    _marks_show_what_they_say(picture)


def seen_on_one_row(formula: Formula, made: Made) -> None:
    row = draw_inline(formula, VALUES)
    assert row.isprintable()
    letters_and_digits = Counter({c: n for c, n in _seen(made.leaves).items() if c.isalnum()})
    assert letters_and_digits - _seen(row) == Counter()
    assert draw_inline(formula, VALUES, ascii=True).isascii()


def said_in_words(formula: Formula) -> None:
    """Nothing of it is left as a sign, and each value is said."""
    said = spoken(formula, VALUES)
    plain = re.sub(r"误差|损失|a_b|foo", "", said)
    assert said.isprintable()
    assert not MARKUP.findall(plain), said
    assert all(VALUES[expression] in said for expression in formula.boxed)
