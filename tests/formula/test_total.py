r"""Drawing and saying are total: no formula, no width and no value makes them fail.

The functions are called without the fallback of `tutor.formula`, so that a failure is seen
here; the fallback has a test of its own.
"""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from tests.formula.test_any_formula import VALUES, Made, formulas
from tutor import formula as formulas_of
from tutor.formula import inline, layout, parse, words
from tutor.formula.picture import FEWEST_CELLS
from tutor.formula.picture import draw as draw_picture
from tutor.plain_mode.spoken_text import spoken_formula
from tutor.ui.prose import inline_formulas

_RAGGED = [
    r"\begin{aligned} @ &= @ && @ \end{aligned}",
    r"\begin{aligned} a &= @ && \text{(chain rule)} \\ & @ \end{aligned}",
    r"\begin{align} @ &=& @ \\ &=& \end{align}",
    r"\begin{cases} @ \\ @ & @ & @ \end{cases}",
    r"\begin{array}{l|r} @ \\ \hline & @ \end{array}",
    r"\begin{bmatrix} @ \\ @ \end{bmatrix}^T_{@}",
    r"{\bf @} + \cancel{@} \Big|_{@} \hspace{0.5in} \rule{1cm}{1pt}",
    r"\prod\limits_{@}^{@} @ \quad \substack{@ \\ @} \overset{@}{=} \underset{@}{\arg\min}",
    r"\begin{aligned} & \\ & \end{aligned} @",
]


def _filled(template: str, parts: list[Made]) -> str:
    for part in parts:
        template = template.replace("@", part.latex, 1)
    return template


ragged = st.sampled_from(_RAGGED).flatmap(
    lambda t: st.lists(formulas, min_size=t.count("@"), max_size=t.count("@")).map(
        lambda parts: _filled(t, parts)
    )
)
latex = st.one_of(formulas.map(lambda m: m.latex), ragged)
LONG = r"\frac{1}{n}\left(2 (w x_1 - y_1) x_1 + 2 (w x_2 - y_2) x_2 + 2 (w x_3 - y_3) x_3\right)"


@settings(max_examples=80)
@given(source=latex, width=st.integers(1, 200), ascii=st.booleans(), live=st.booleans())
@example(rf"\begin{{aligned}} a &= {LONG} && c \end{{aligned}}", 40, False, False)
def test_whatever_the_formula_and_the_width_it_is_drawn_said_and_written_on_one_row(
    source: str, width: int, ascii: bool, live: bool
):
    formula, values = parse(source), VALUES if live else None
    picture = draw_picture(formula, values, width, ascii=ascii)
    assert picture.width <= max(width, FEWEST_CELLS)
    assert {wcswidth(row) for row in picture.rows} == {picture.width}
    assert all(0 <= m.start < m.end <= picture.width for m in picture.marks if m.text)
    assert all(0 <= m.row < len(picture.rows) for m in picture.marks)
    assert words.words(formula, values).isprintable()
    assert words.definition(formula).isprintable()
    assert inline.draw_inline(formula, values).isprintable()
    assert inline.draw_inline(formula, values, ascii=True).isascii()


_ODD = "⟨⟩⟦⟧⌊▢★½²ₙℏℵ∮⨀⊨⊢⇝≲⪯⊴⌢ªﬁ№①漢ё€§¶†‡←↯"


@settings(max_examples=80)
@given(text=st.text(st.one_of(st.characters(categories=["S", "P", "L", "N"])), max_size=6))
@example(_ODD)
def test_a_unicode_name_is_never_said(text: str):
    """Each sign that is typed into a formula is said in words or left as it is."""
    plain = "".join(c for c in text if c not in "\\{}$&%#_^~'\"")
    if not plain.strip():
        return
    said = words.words(parse(f"x + {plain} = 1"))
    for character in plain:
        name = unicodedata.name(character, "").lower()
        assert name.count(" ") < 2 or name not in said


def test_a_formula_that_can_not_be_drawn_is_shown_as_its_source(monkeypatch):
    def fail(*args, **kwargs):
        raise IndexError("a fault of ours")

    formula = parse(r"\sqrt{x} + 1")
    for owner, name in (
        (layout.Typesetter, "_root"),
        (inline._Writer, "_root"),
        (words._Speaker, "_thing"),
    ):
        monkeypatch.setattr(owner, name, fail)
    assert formulas_of.draw(formula).rows == (r"\sqrt{x} + 1",)
    assert formulas_of.draw(formula).marks[0].kind == "unsupported"
    assert formulas_of.draw_inline(formula) == r"\sqrt{x} + 1"
    assert formulas_of.say(formula) == formulas_of.define(formula) == "LaTeX sqrt x + 1"
    assert inline_formulas(False)(r"\sqrt{x} + 1") == r"\sqrt{x} + 1"
    assert spoken_formula(r"\sqrt{x} + 1", is_inline=True) == "LaTeX sqrt x + 1"


@pytest.mark.parametrize("width", [10, 24, 40])
def test_a_matrix_that_is_too_wide_is_folded_and_marked(width: int):
    row = " & ".join(str(1000 + n) for n in range(12))
    formula = parse(rf"W = \begin{{bmatrix}} {row} \\ {row} \end{{bmatrix}}")
    picture = draw_picture(formula, None, width, ascii=False)
    drawn = "\n".join(picture.rows)
    assert picture.width <= width
    assert all(drawn.count(str(1000 + n)) == 2 for n in range(12))
    folds = sum(row.endswith("…") or "… " in row for row in picture.rows)
    assert folds >= 1
    assert drawn.count("…") % 2 == 0


def test_an_import_loads_nothing_heavy():
    """The screen imports the package before it paints."""
    code = (
        "import sys, tutor.formula; from tutor.formula import Formula, FormulaPicture, draw, parse;"
        "heavy = ('tutor.formula.commands', 'wcwidth', 'torch', 'textual', 'rich', 'numpy');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
