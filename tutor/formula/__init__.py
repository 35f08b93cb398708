"""Formulas: LaTeX → MathML → rows of aligned text. A leaf: knows nothing of the other parts.

The three functions import what they need when first called: importing this package takes
some milliseconds, reading the first formula some hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from tutor.formula.model import Formula, Mark, Picture

__all__ = ["Formula", "Mark", "Picture", "draw", "draw_inline", "parse"]


@lru_cache(maxsize=512)
def parse(latex: str) -> Formula:
    """Read a formula. Raises FormulaError, with one line that says what is wrong.

    A formula is read once and drawn at every step, so what was read is kept.
    """
    from tutor.formula import tree  # noqa: PLC0415 - deferred, see above

    return tree.parse(latex)


def draw(
    formula: Formula,
    values: Mapping[str, str] | None = None,
    *,
    width: int | None = None,
    ascii: bool = False,
) -> Picture:
    r"""Draw a formula as rows of text of equal width.

    `values` gives the text for each \boxed expression; a missing one is a placeholder.
    With `width` (cells) a wider formula is broken before relations, + and −, where it has
    any; it can still come out wider, as nothing is dropped. `ascii` uses only ASCII.
    """
    from tutor.formula import layout  # noqa: PLC0415 - deferred, see above

    return layout.draw(formula, values, width=width, ascii=ascii)


def draw_inline(
    formula: Formula, values: Mapping[str, str] | None = None, *, ascii: bool = False
) -> str:
    r"""Draw a formula on one row: x_i → xᵢ, \frac{a}{b} → a/b, \sum_{i=1}^N → ∑ᵢ₌₁ᴺ."""
    from tutor.formula import inline  # noqa: PLC0415 - deferred, see above

    return inline.draw_inline(formula, values, ascii=ascii)
