"""Formulas in spoken English; the corpus has examples without values."""

import re
from pathlib import Path

import pytest

from tests.formula.test_any_formula import MARKUP
from tutor.formula import parse
from tutor.formula.nodes import Sym, walk
from tutor.formula.words import definition, words
from tutor.lesson.library import shipped_folder
from tutor.lesson.markdown import MathSpan, find

LESSONS = sorted(shipped_folder().rglob("*.md"))


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
