"""The words of inspections, one for every code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tutor
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE, ParameterComparison
from tutor.wording import check_findings, engine_remarks, inspections
from tutor.wording.remarks import diagnosis, remark_text

CODE = re.compile(
    r"\b(?:Remark|Refused|_never|_NotAskedError|trial\.finding|trial\.failure"
    r"|self\.finding|self\._remark)\(\s*\"(\w+)\""
)


def test_every_code_in_the_sources_has_words_and_all_words_a_code() -> None:
    text = "".join(p.read_text("utf-8") for p in Path(tutor.__file__).parent.rglob("*.py"))
    known = {*inspections._REMARKS, *inspections._COMPOSED, *inspections._MISTAKES}
    engine = {*engine_remarks._TEMPLATES, *engine_remarks._ABORTS}
    assert not known & engine
    check = {*check_findings._TEMPLATES}
    assert not (known | engine) & check
    known |= engine | check
    only_values_are_shown = {"another_loss"}
    assert set(CODE.findall(text)) - only_values_are_shown <= known
    assert not [code for code in known if text.count(f'"{code}"') < 2]


@pytest.mark.parametrize(
    ("remark", "text"),
    [
        (Remark("nodes_left_out", {"count": 203}), "203 more nodes further down are left out."),
        (Remark("backward_times", {"times": 2}),
         "Backward was called 2 times: the gradients are added up."),
        (Remark("phase_raised", {
            "phase": "Predict", "error": ["text", {"text": "ValueError: \x1b[31m{x}"}]}),
         "Predict raised ValueError: ^[[31m{x}"),
        (Remark("too_many_numbers", {"expression": "w * x", "count": 7, "most": 6}),
         "`w * x` holds 7 numbers: only up to 6 can be asked about."),
        (Remark("features_for_plane", {"count": 1}),
         "each sample has 1 input, and a plane takes two"),
        (Remark("features_for_plane", {"count": 3}),
         "each sample has 3 inputs, and a plane takes two"),
        (Remark("not_computed", {"phase": "Loss"}), "not computed yet: Loss binds it"),
        (Remark("held", {"parameters": ["b", "c"], "leader": "manual"}, ("model",)),
         "in model b and c are held at their values in Setup: manual has none"),
        (Remark("only", {"parameter": "b"}, ("optimizer", "model")),
         "only optimizer and model have b"),
    ],
)  # fmt: skip
def test_a_remark_in_words(remark: Remark, text: str) -> None:
    assert remark_text(remark) == text


MANUAL = ("manual",)
BY_AUTOGRAD = {"measure": "autograd"}
BY_DIFFERENCES = {"measure": FINITE_DIFFERENCE}


def factor(number: float, *modes: str, **values: object) -> Remark:
    return Remark("factor", {"factor": number, **BY_AUTOGRAD, **values}, modes or MANUAL)


def elements(
    index: list[int], found: float, right: float, count: int, *, is_complex: bool = False
) -> Remark:
    numbers = {"found": found, "right": right, "count": count, "total": 4}
    values = {"index": index, **numbers, "is_complex": is_complex, **BY_AUTOGRAD}
    return Remark("elements", values, MANUAL)


@pytest.mark.parametrize(
    ("remark", "text"),
    [
        (Remark("agree"), "agree"),
        (Remark("agree", {"rounding": 3.2e-7, "dtype": "float32"}),
         "agree except for float32 rounding (3e-7 of the size)"),
        (Remark("agree", {"rounding": 2e-16, "dtype": ""}),
         "agree except for rounding (2e-16 of the size)"),
        (Remark("agree", {"rounding": 0.997, "dtype": "float32"}),
         "agree except for float32 rounding (99.7% of the size, so close to 0)"),
        (Remark("agrees_with_differences"), "agrees with finite differences"),
        (Remark("none_finite"), "not finite: there is nothing to compare"),
        (Remark("differences_unsure"),
         "the loss is too large, or too flat, for finite differences to tell"),
        (Remark("no_differences"),
         "no finite differences: its code does not compute in float64"),
        (Remark("sampled", {"checked": 2, "size": 3}), "2 of 3 elements checked"),
        (Remark("kink", {"index": [], "left": -1.0, "right": 0.0, "taken": [-1.0, 0.0], "more": 0},
                ("manual", "autograd")),
         "on a kink: the slope is −1 on the left and 0 on the right; "
         "manual takes −1, autograd takes 0"),
        (factor(3.11111, reason="added_up"),
         "manual is 3.111 times autograd: gradients added up (was the reset forgotten?)"),
        (Remark("added_up", {}, MANUAL),
         "manual is the old and the new one: gradients added up (was the reset forgotten?)"),
        (factor(2.0), "manual is 2 times autograd"),
        (factor(2.0, "manual", "model"), "manual and model are 2 times autograd"),
        (factor(4.0, in_float64=True), "in float64 manual is 4 times autograd"),
        (factor(1.0001), "manual is 1.0001 times autograd"),
        (factor(4.0, reason="sum"), "manual is 4 times autograd: a sum where the mean was meant"),
        (factor(0.25, reason="mean"),
         "manual is 0.25 times autograd: a mean where the sum was meant"),
        (factor(4.0, reason="sum", count=4),
         "manual is 4 times autograd: a sum where the mean was meant (if there are 4 samples)"),
        (factor(-4.0, reason="sum"),
         "manual is −4 times autograd: opposite sign, and a sum where the mean was meant"),
        (factor(0.5, reason="square"),
         "manual is 0.5 times autograd: is the 2 of a square's derivative missing?"),
        (factor(2.0, "model", measure=f"own_{FINITE_DIFFERENCE}"),
         "model is 2 times its own finite differences"),
        (Remark("opposite", BY_AUTOGRAD, MANUAL), "manual has the opposite sign of autograd"),
        (Remark("zero", BY_AUTOGRAD, MANUAL), "manual is 0 where autograd is not"),
        (Remark("zero", BY_DIFFERENCES, MANUAL), "manual is 0 where finite differences are not"),
        (Remark("row", {"parameter": "w", "index": 1}, MANUAL), "manual differs in row 2, w[1]"),
        (Remark("column", {"parameter": "w", "index": 0}, MANUAL),
         "manual differs in column 1, w[:, 0]"),
        (elements([0, 1], -1.0, -2.0, 1), "manual differs in element [0, 1]: −1, not −2"),
        (elements([1, 1], -3.5, 0.5, 4),
         "manual differs in every element, most in element [1, 1]: −3.5, not 0.5"),
        (elements([1, 1], -4.5, -4.0, 1, is_complex=True),
         "manual differs in the imaginary part of element [1]: −4.5, not −4"),
        (elements([0, 1], 3.0, 2.0, 2, is_complex=True),
         "manual differs in 2 of 4 numbers, most in the imaginary part of element [0]: 3, not 2"),
        (Remark("conjugate", BY_AUTOGRAD, MANUAL), "manual is the complex conjugate of autograd"),
        (Remark("transposed", BY_AUTOGRAD, MANUAL), "manual is autograd's transposed"),
        (Remark("transposed", BY_DIFFERENCES, MANUAL), "manual is finite differences' transposed"),
        (Remark("shape", {"shape": [3], "right": [2, 2]}, MANUAL),
         "manual has the shape (3,), not (2, 2)"),
        (Remark("no_variable", {"parameter": "w"}, MANUAL),
         "manual has no gradient dw in its code"),
        (Remark("none", {}, MANUAL), "manual gives None: no gradient"),
        (Remark("raised", {
            "error": ["text", {"text": "ValueError: three"}], "phase": "Loss", "line": 7}, MANUAL),
         "manual raised ValueError: three (Loss, line 7)"),
        (Remark("not_finite", BY_AUTOGRAD, MANUAL), "manual is not finite where autograd is"),
        (Remark("independent", {}, ("autograd",)),
         "autograd gives None, as the loss does not depend on it"),
        (Remark("another_function", {"more": ["b"], "less": []}, ("model",)),
         "model is another function (it has b too) and agrees with its own finite differences"),
        (Remark("factor_of_another_loss",
                {"factor": 4.0, **BY_AUTOGRAD, "loss": 120.0, "right_loss": 30.0}, MANUAL),
         "manual is 4 times autograd, as its loss is 120, not 30"),
    ],
)  # fmt: skip
def test_a_remark_on_gradients_in_words(remark: Remark, text: str) -> None:
    assert remark_text(remark) == text


def test_a_diagnosis_is_one_sentence() -> None:
    remarks = (factor(3.0, "autograd", **BY_DIFFERENCES), Remark("others_agree"))
    only = Remark("only", {"parameter": "w"}, MANUAL)
    words = "autograd is 3 times finite differences; the others agree"
    for first, start in (((), ""), ((only,), "only manual has w: ")):
        found = ParameterComparison(
            parameter="w", ratio={}, largest=0.0, remarks=(*first, *remarks), agrees=False,
            is_equal=False,
        )  # fmt: skip
        assert diagnosis(found) == f"{start}{words}"
