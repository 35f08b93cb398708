"""Formulas: LaTeX → MathML → rows of aligned text. A leaf: knows nothing of the other parts."""

from tutor.formula.box import Mark
from tutor.formula.inline import draw_inline
from tutor.formula.layout import Picture, draw
from tutor.formula.tree import Formula, parse

__all__ = ["Formula", "Mark", "Picture", "draw", "draw_inline", "parse"]
