"""How many digits each kind of number has, wherever the learner sees it.

Each is about the number of its significant digits. What a person reads is written by `number` and
`trimmed` in `wording/number_format.py`, which say more; `significant` writes numbers for the
command line, and those that become text below the wording. `whole_number` reads what was typed.
"""

from __future__ import annotations

PLAIN_DIGITS = 6
"""A number in a sentence or a label: learning rates and other settings, messages, plain mode."""

SCALAR_DIGITS = 6
"""A single number in the numbers pane and the variables."""
ARRAY_DIGITS = 4
"""An element of an array in the numbers pane and the variables; mean and norm of a large one."""
SUMMARY_DIGITS = 4
"""The change of a norm; the figures of a parameter that has one line in the numbers pane."""
FORMULA_DIGITS = 5
"""A value in a formula, also a mean or norm; the answer to a prediction, and its working."""
BRIEF_DIGITS = 4
"""A loss in the timeline and in the list of runs; the largest difference of two gradients."""
RATIO_DIGITS = 4
"""The ratio of two gradients, and a slope beside a kink."""
FACTOR_DIGITS = 7
"""The factor between two gradients where it is close to 1."""

GRAPH_DIGITS = (5, 4, 3)
"""A number in the graph: as many digits as leave room for the tree."""
COMPARISON_DIGITS = (6, 5, 4, 3)
"""A number in the comparison of modes: as many digits as leave room for all elements."""

LEGEND_DIGITS = 5
"""A number in the legend of a plot."""
AXIS_DIGITS = 3
"""A number at a plot's axis; one more for each digit in which the axis's numbers are alike."""
GRID_DIGITS = 3
"""A number that is read off the grid of a plot, and so is only about right."""
POINT_DIGITS = 2
"""A number within a plot, at its place."""

LOSS_LINE_DIGITS = 8
"""The loss in a line of `tutor run`."""
EXACT_DIGITS = 9
"""A number by which two float32 can be told apart, whatever they are."""
BOUND_DIGITS = 1
"""The size of what rounding explains."""


def significant(x: complex, digits: int = PLAIN_DIGITS) -> str:
    """A number with `digits` significant digits, without zeros at its end: `0.25`, `1e-05`."""
    return f"{x:.{digits}g}"


def rounded(x: float, digits: int) -> float:
    """The number, rounded to `digits` significant digits."""
    return float(significant(x, digits))


def whole_number(text: str, most: int) -> int | None:
    """The whole number from 0 to `most` that a text in ASCII digits is; else None."""
    digits = text.lstrip("0") or text[:1]
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None
