"""Formulas: LaTeX → a small tree → rows of aligned text, or words.

The functions import what they need when first called: importing this package takes some
milliseconds, reading the first formula some hundred. Only `parse` raises, and only
FormulaError: a formula that the other functions fail on is drawn or said as its source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar

from tutor.formula.nodes import Formula, FormulaMark, FormulaPicture

__all__ = [
    "Formula",
    "FormulaMark",
    "FormulaPicture",
    "define",
    "draw",
    "draw_inline",
    "parse",
    "say",
]

_Made = TypeVar("_Made")


@lru_cache(maxsize=512)
def parse(latex: str) -> Formula:
    """Read a formula. Raises FormulaError.

    A formula is read once and drawn at every step, so what was read is kept.
    """
    from tutor.formula import commands  # noqa: PLC0415 - deferred, see above

    return commands.parse(latex)


def draw(
    formula: Formula,
    values: Mapping[str, str] | None = None,
    *,
    width: int | None = None,
    ascii: bool = False,
) -> FormulaPicture:
    r"""Draw a formula as rows of text of equal width.

    `values` gives the text for each \boxed expression; a missing one is a placeholder. A
    formula wider than `width` cells (4 at least) is broken into lines, and folded where that
    is not enough; `…` marks each fold. `ascii` uses only ASCII.
    """
    from tutor.formula import picture  # noqa: PLC0415 - deferred, see above

    return _or_source(lambda f: picture.draw(f, values, width, ascii=ascii), formula)


def draw_inline(
    formula: Formula, values: Mapping[str, str] | None = None, *, ascii: bool = False
) -> str:
    r"""Draw a formula on one row: x_i → xᵢ, \frac{a}{b} → a/b, \sum_{i=1}^N → ∑ᵢ₌₁ᴺ."""
    from tutor.formula import inline  # noqa: PLC0415 - deferred, see above

    return _or_source(lambda f: inline.draw_inline(f, values, ascii=ascii), formula)


def say(formula: Formula, values: Mapping[str, str] | None = None) -> str:
    r"""Say a formula in English; `values` gives what is said for each \boxed expression."""
    from tutor.formula import words  # noqa: PLC0415 - deferred, see above

    return _or_source(lambda f: words.words(f, values), formula)


def define(formula: Formula) -> str:
    """Say what a formula says before its live values are known; "" if it says only those."""
    from tutor.formula import words  # noqa: PLC0415 - deferred, see above

    return _or_source(words.definition, formula)


def _or_source(make: Callable[[Formula], _Made], formula: Formula) -> _Made:
    """The result of `make` for a formula, or for its source as text if `make` fails."""
    from tutor.formula.nodes import Unsupported  # noqa: PLC0415 - deferred, see above

    try:
        return make(formula)
    except Exception:  # noqa: BLE001 - a fault of ours must not end a lesson; tests draw without it
        source = " ".join(formula.latex.split())
        return make(Formula(formula.latex, (), (source,), Unsupported(source)))
