"""Any remark in words, whether an inspection makes it or the engine; and a comparison's result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tutor.digits import RATIO_DIGITS
from tutor.plain import one_line
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE, ParameterComparison
from tutor.wording.engine_remarks import engine_remark_text
from tutor.wording.inspections import inspection_text, measure_text
from tutor.wording.number_format import trimmed


def remark_text(remark: Remark) -> str:
    """A remark in words, on one line."""
    text = inspection_text(remark)
    return one_line(engine_remark_text(remark) if text is None else text)


def remarks_text(remarks: Iterable[Remark], separator: str = " ") -> str:
    """Remarks in words, on one line; empty where there are none."""
    return separator.join(map(remark_text, remarks))


# ── The modes side by side ──────────────────────────────────────────────────────────


def diagnosis(compared: ParameterComparison) -> str:
    """The diagnosis of one parameter's gradients, in one sentence."""
    remarks = compared.remarks
    if remarks and remarks[0].code == "only":
        return f"{remark_text(remarks[0])}: {remarks_text(remarks[1:], '; ')}"
    return remarks_text(remarks, "; ")


def comparison_result(parameters: Sequence[ParameterComparison]) -> tuple[str, bool]:
    """The result for all parameters, and whether no mode is wrong."""
    for words, is_right, found in (
        ("Not all are right", False, [p for p in parameters if "wrong" in p.standing.values()]),
        ("Not finite", False, [p for p in parameters if not p.agrees]),
        ("All are right, though not equal", True, [p for p in parameters if not p.is_equal]),
    ):
        if found:
            return f"{words}: {', '.join(one_line(p.parameter) for p in found)}", is_right
    return "All agree", True


def gradient_standing(compared: ParameterComparison, mode: str) -> str:
    """A mode's gradient beside the right one; empty if all modes agree."""
    if mode == FINITE_DIFFERENCE:
        return remarks_text(r for r in compared.remarks if r.code == "sampled")
    how = compared.standing.get(mode)
    if how == "other":
        return "right for its own function"
    if how == "wrong":
        ratio = compared.ratio.get(mode)
        if not compared.gradients[mode].data:
            return "no gradient"
        if ratio in (None, 1.0):
            return "differs"
        return f"{trimmed(ratio, RATIO_DIGITS)} times {measure_text(compared.measure)}"
    return "right" if how == "right" and not compared.is_equal else ""
