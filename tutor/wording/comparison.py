"""The words of a comparison of all modes: its result, and how each gradient stands."""

from __future__ import annotations

from collections.abc import Sequence

from tutor.plain import one_line
from tutor.protocol.inspections import ParameterComparison
from tutor.wording.number_format import setting


def result(agreements: Sequence[ParameterComparison]) -> tuple[str, bool]:
    """The result for all parameters, and whether no mode is wrong."""
    for words, is_right, found in (
        ("Not all are right", False, [a for a in agreements if "wrong" in a.standing.values()]),
        ("Not finite", False, [a for a in agreements if not a.agrees]),
        ("All are right, though not equal", True, [a for a in agreements if not a.is_equal]),
    ):
        if found:
            return f"{words}: {', '.join(one_line(a.parameter) for a in found)}", is_right
    return "All agree", True


def standing(agreement: ParameterComparison, mode: str) -> str:
    """A mode's gradient beside the right one; empty if all modes show the same."""
    how = agreement.standing.get(mode)
    if how == "other":
        return "right for its own function"
    if how == "wrong":
        ratio = agreement.ratio.get(mode)
        if not agreement.gradients[mode].data:
            return "no gradient"
        if ratio in (None, 1.0):
            return "differs"
        return f"{setting(float(f'{ratio:.4g}'))} times {one_line(agreement.measure)}"
    return "right" if how == "right" and not agreement.is_equal else ""
