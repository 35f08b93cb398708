"""The diagnosis of gradients that agree or do not, from nothing but their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tutor.analysis.finite_differences import (
    ModeGradient,
    Slopes,
    gradients_by_differences,
    probes_at_batches,
)
from tutor.analysis.gradient_diagnosis import OWN_DIFFERENCES, Samples, diagnose
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE, ParameterComparison
from tutor.training.program import programs_of
from tutor.training.values import Array

FOUR = Samples((4,))
RIGHT = np.array([[1.0, -2.0], [3.0, 0.5]])


def slopes(
    central: object, uncertainty: float = 1e-10, left: object = None, right: object = None
) -> Slopes:
    """Finite differences of this uncertainty: almost none unless given."""
    array = np.asarray(central, np.float64)
    nothing = np.full(array.shape, np.nan)
    return Slopes(
        central=array,
        uncertainty=np.full(array.shape, uncertainty),
        left=nothing if left is None else np.asarray(left, np.float64),
        right=nothing if right is None else np.asarray(right, np.float64),
        steepening=np.ones(array.shape),
        checked=(array.size, array.size),
    )


def found(mode: str, gradient: object, precise: Any = "same", **more: Any) -> ModeGradient:
    """A mode's gradient; in float64 the same number unless another is given."""
    shown = None if gradient is None else np.asarray(gradient)
    if isinstance(precise, str):
        precise = None if shown is None else shown.astype(np.float64)
    exact = None if precise is None else np.asarray(precise)
    return ModeGradient(mode, shown, exact, **more)


def by_hand(
    manual: object, autograd: object, samples: Samples | None = None, **more: Any
) -> ParameterComparison:
    """The diagnosis of a gradient by hand against autograd's, which is right."""
    both = [found("manual", manual, **more), found("autograd", autograd)]
    return diagnose("w", both, slopes(autograd), samples=samples)


def shifted(index: Any) -> Array:
    wrong = RIGHT.copy()
    wrong[index] += 1.0
    return wrong


THIRD = np.float64(1 / 3)
UNSURE = slopes(130.0, uncertainty=150.0)
KINK = slopes(-0.5, left=-1.0, right=0.0)


def other(gradient: float) -> list[ModeGradient]:
    """Autograd, and a mode that is another function, whose own slope is 7."""
    model = found(
        "model",
        gradient,
        another=Remark("another_function", {"more": ["b"], "less": []}),
        own=slopes(7.0),
    )
    return [found("autograd", 1.0), model]


def remarks_of(diagnosis: ParameterComparison) -> list[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """The codes of its remarks, with their parameters and modes."""
    return [(remark.code, remark.values, remark.modes) for remark in diagnosis.remarks]


def mistake(diagnosis: ParameterComparison) -> tuple[str, dict[str, Any]]:
    """The code and the parameters of the one remark, on the mode `manual`, which is wrong."""
    ((code, values, modes),) = remarks_of(diagnosis)
    assert (modes, diagnosis.agrees) == (("manual",), False)
    return code, values


RAISED = {"error": ("text", {"text": "ValueError: three"}), "phase": "Loss", "line": 7}


def about(number: float) -> Any:
    """A part of a gradient's size that is rounding, to its leading digit."""
    return pytest.approx(number, rel=0.2)


# ── Remarks ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("manual", "autograd", "differences", "agrees", "remarks"),
    [
        pytest.param((RIGHT,), (RIGHT,), slopes(RIGHT), True, [("agree", {})],
                     id="the same numbers"),
        pytest.param(
            (np.float32(1 / 3) + np.float32(1e-7), THIRD), (THIRD,), slopes(THIRD),
            True, [("agree", {"rounding": about(3e-7), "dtype": "float32"})], id="float32 rounds"),
        pytest.param(
            (np.float32(3e-7), 1e-9), (np.float32(1e-7), 1e-9), slopes(1e-9, 1e-14), True,
            [("agree", {"rounding": about(1.0), "dtype": "float32"})],
            id="terms that cancel near zero"),
        pytest.param(
            (np.float32(-5.19e-6), -5.36e-6), (np.float32(-5.19e-6), -5.36e-6),
            slopes(-5.36e-6, 1e-13), True,
            [("agree", {"rounding": about(0.033), "dtype": "float32"})],
            id="all modes are off alike"),
        pytest.param(
            (np.array([1.0, 2.0, 3.0 * 1.0001]),), (np.array([1.0, 2.0, 3.0]),),
            slopes([1.0, 2.0, 3.0]), False,
            [("elements", {"measure": "autograd", "index": [2], "found": pytest.approx(3.0003),
                           "right": 3.0, "count": 1, "total": 3, "is_complex": False})],
            id="a small mistake is no rounding"),
        pytest.param(
            (0.0, 4e-9), (0.0, 1e-9), slopes(1e-9, 1e-14), False,
            [("factor", {"factor": pytest.approx(4.0), "measure": "autograd", "in_float64": True})],
            id="a mistake too small to show"),
        pytest.param((math.nan,), (math.nan,), slopes(math.nan), False, [("none_finite", {})],
                     id="divergence"),
        pytest.param((2.0,), (2.0,), UNSURE, True, [("agree", {}), ("differences_unsure", {})],
                     id="differences that cannot tell"),
        pytest.param(
            (4.0, None), (1.0, None), None, False,
            [("factor", {"factor": 4.0, "measure": "autograd"}), ("no_differences", {})],
            id="without differences autograd is believed"),
        pytest.param(
            (np.ones(3),), (np.ones(3),), replace(slopes([1.0, 1.0, np.nan]), checked=(2, 3)),
            True, [("agree", {}), ("sampled", {"checked": 2, "size": 3})],
            id="a sample of a large parameter"),
        pytest.param(
            (-1.0,), (0.0,), KINK, True,
            [("kink", {"index": [], "left": -1.0, "right": 0.0, "taken": [-1.0, 0.0], "more": 0})],
            id="a kink: every slope between the sides"),
    ],
)  # fmt: skip
def test_the_remarks_and_whether_the_modes_agree(
    manual: tuple[Any, ...], autograd: tuple[Any, ...], differences: Slopes | None, agrees: bool,
    remarks: list[tuple[str, dict[str, Any]]],
) -> None:  # fmt: skip
    both = [found("manual", *manual), found("autograd", *autograd)]
    diagnosis = diagnose("w", both, differences)
    assert [(code, values) for code, values, _ in remarks_of(diagnosis)] == remarks
    assert diagnosis.agrees == agrees


AUTOGRADS = {"measure": "autograd"}


@pytest.mark.parametrize(
    ("diagnosis", "code", "values"),
    [
        (by_hand(np.array(-84.0), np.array(-27.0), old=np.array(-57.0)), "factor",
         {"factor": pytest.approx(84 / 27), "reason": "added_up", **AUTOGRADS}),
        (by_hand(RIGHT + RIGHT.T, RIGHT, old=RIGHT.T), "added_up", {}),
        (by_hand(2 * RIGHT, RIGHT, old=RIGHT.T), "factor", {"factor": 2.0, **AUTOGRADS}),
        (by_hand(shifted(np.s_[1, :]), RIGHT), "row", {"parameter": "w", "index": 1}),
        (by_hand(shifted(np.s_[:, 0]), RIGHT), "column", {"parameter": "w", "index": 0}),
        (by_hand(shifted(np.s_[0, 1]), RIGHT), "elements",
         {"index": [0, 1], "found": -1.0, "right": -2.0, "count": 1, "total": 4,
          "is_complex": False, **AUTOGRADS}),
        (by_hand(RIGHT + np.array([[1.0, 2.0], [3.0, -4.0]]), RIGHT), "elements",
         {"index": [1, 1], "found": -3.5, "right": 0.5, "count": 4, "total": 4,
          "is_complex": False, **AUTOGRADS}),
        (by_hand(RIGHT.T, RIGHT), "transposed", AUTOGRADS),
        (by_hand(np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2).T), "transposed",
         AUTOGRADS),
        (by_hand(np.ones(3), RIGHT), "shape", {"shape": [3], "right": [2, 2]}),
        (by_hand(None, RIGHT, has_variable=True), "no_variable", {"parameter": "w"}),
        (by_hand(None, RIGHT), "none", {}),
        (by_hand(None, RIGHT, raised=Remark("raised", RAISED)), "raised", RAISED),
        (by_hand(math.inf, 1.0, precise=1.0), "not_finite", AUTOGRADS),
    ],
)  # fmt: skip
def test_a_mistake_and_its_place_are_named(
    diagnosis: ParameterComparison, code: str, values: dict[str, Any]
) -> None:
    assert mistake(diagnosis) == (code, values)


@pytest.mark.parametrize(
    ("factor", "samples", "code", "reason"),
    [
        (4.0, FOUR, "factor", {"reason": "sum"}),
        (0.25, FOUR, "factor", {"reason": "mean"}),
        (4.0, Samples((2, 4), named=False), "factor", {"reason": "sum", "count": 4}),
        (4.0, None, "factor", {}),
        (5.0, FOUR, "factor", {}),
        (1.0001, FOUR, "factor", {}),
        (-1.0, FOUR, "opposite", {}),
        (-4.0, FOUR, "factor", {"reason": "sum"}),
        (0.5, FOUR, "factor", {"reason": "square"}),
        (0.0, FOUR, "zero", {}),
    ],
)
@pytest.mark.parametrize("right", [np.array(-30.0), RIGHT], ids=["a number", "an array"])
def test_one_factor_is_named(
    factor: float, samples: Samples | None, code: str, reason: dict[str, Any], right: Array
) -> None:
    diagnosis = by_hand(factor * right, right, samples)
    number = {"factor": pytest.approx(factor)} if code == "factor" else {}
    assert mistake(diagnosis) == (code, {**AUTOGRADS, **number, **reason})
    assert diagnosis.ratio == {"manual": factor}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_rounding_is_called_by_the_type_that_rounds(dtype: type[np.floating[Any]]) -> None:
    shown = dtype(THIRD) + dtype(np.finfo(dtype).eps)
    both = [found("manual", shown, THIRD), found("autograd", THIRD)]
    diagnosis = diagnose("w", both, slopes(THIRD))
    ((code, values, _),) = remarks_of(diagnosis)
    assert (code, values["dtype"]) == (
        "agree", "" if dtype is np.float64 else str(np.dtype(dtype))
    )  # fmt: skip
    assert values["rounding"] > 0
    assert diagnosis.is_equal


def test_modes_with_the_same_mistake_share_a_remark() -> None:
    three = [found(mode, 2.0) for mode in ("manual", "model")] + [found("autograd", 1.0)]
    expected = ("factor", {"factor": 2.0, **AUTOGRADS}, ("manual", "model"))
    assert remarks_of(diagnose("w", three, slopes(1.0))) == [expected]


def of_element(index: list[int], found: float, right: float, count: int) -> dict[str, Any]:
    """The parameters of a remark on elements of a complex gradient of two numbers."""
    numbers = {"found": found, "right": right, "count": count, "total": 4}
    return {"index": index, **numbers, "is_complex": True, **AUTOGRADS}


@pytest.mark.parametrize(
    ("manual", "code", "values"),
    [
        ([[1.0, 2.0], [3.0, -4.5]], "elements", of_element([1, 1], -4.5, -4.0, 1)),
        ([[1.0, 3.0], [3.0, -3.0]], "elements", of_element([0, 1], 3.0, 2.0, 2)),
        ([[1.0, -2.0], [3.0, 4.0]], "conjugate", AUTOGRADS),
        ([[2.0, 4.0], [6.0, -8.0]], "factor", {"factor": 2.0, **AUTOGRADS}),
    ],
)
def test_complex_gradients_are_compared_in_both_parts(
    manual: list[list[float]], code: str, values: dict[str, Any]
) -> None:
    right = np.array([[1.0, 2.0], [3.0, -4.0]])
    both = [found("manual", np.array(manual)), found("autograd", right)]
    diagnosis = diagnose("w", both, slopes(right), is_complex=True)
    assert mistake(diagnosis) == (code, values)
    assert diagnosis.is_complex


# ── Figures and marks ───────────────────────────────────────────────────────────────


def test_figures_of_gradients_that_agree() -> None:
    same = by_hand(RIGHT, RIGHT)
    rounded = by_hand(np.float32(1 / 3) + np.float32(1e-7), THIRD, precise=THIRD)
    assert (same.ratio, same.largest, rounded.ratio) == ({"manual": 1.0}, 0.0, {"manual": 1.0})


def test_without_float64_what_a_rounding_of_the_parameter_can_do_is_allowed() -> None:
    near = diagnose("w", [found("manual", 5e-6, None), found("autograd", 1e-6, None)], slopes(1e-6))
    far = diagnose("w", [found("manual", 5e-2, None), found("autograd", 1e-2, None)], slopes(1e-2))
    assert (near.agrees, far.agrees) == (True, False)


def test_where_there_is_no_factor_there_is_no_ratio() -> None:
    assert by_hand(np.ones(3), RIGHT).ratio == by_hand(None, RIGHT).ratio == {}


def test_none_is_right_where_the_loss_does_not_depend_on_it() -> None:
    diagnosis = diagnose("w", [found("manual", 0.0), found("autograd", None)], slopes(0.0))
    assert diagnosis.agrees
    assert remarks_of(diagnosis)[-1] == ("independent", {}, ("autograd",))


def test_autograd_can_be_wrong_too() -> None:
    """Remarks, ratios, marks and the largest difference are all by the right gradient."""
    both = [found("manual", -27.0), found("autograd", -81.0, old=np.array(-54.0))]
    diagnosis = diagnose("w", both, slopes(-27.0))
    added_up = {"factor": 3.0, "measure": FINITE_DIFFERENCE, "reason": "added_up"}
    assert remarks_of(diagnosis) == [
        ("factor", added_up, ("autograd",)), ("others_agree", {}, ())
    ]  # fmt: skip
    assert diagnosis.measure == FINITE_DIFFERENCE
    assert diagnosis.standing == {"manual": "right", "autograd": "wrong"}
    assert diagnosis.ratio == {"manual": 1.0, "autograd": 3.0}
    assert diagnosis.apart == {"autograd": (0,)}
    assert diagnosis.largest == 54.0


def test_only_the_elements_that_are_wrong_are_marked() -> None:
    diagnosis = by_hand(shifted(np.s_[1, 0]), RIGHT)
    assert diagnosis.apart == {"manual": (2,)}
    assert not diagnosis.is_equal
    assert by_hand(math.inf, 1.0, precise=1.0).apart == {"manual": (0,)}


def test_modes_on_a_kink_may_differ_but_not_beyond_its_sides() -> None:
    def both(manual: float) -> ParameterComparison:
        return diagnose("w", [found("manual", manual), found("autograd", 0.0)], KINK)

    assert (both(-1.0).is_equal, both(0.0).is_equal) == (False, True)
    assert not both(0.7).agrees
    assert remarks_of(both(0.7))[0][2] == ("manual",)


def test_divergence_marks_no_mode_as_wrong() -> None:
    assert by_hand(math.nan, math.nan).standing == {"manual": "unknown", "autograd": "unknown"}


def test_unsure_differences_still_show_a_gross_mistake() -> None:
    assert not diagnose("w", [found("manual", 1e6), found("autograd", 1e6)], UNSURE).agrees


# ── Other functions ─────────────────────────────────────────────────────────────────


def test_a_mode_that_is_another_function_has_differences_of_its_own() -> None:
    right = diagnose("w", other(7.0), slopes(1.0))
    assert right.agrees
    assert remarks_of(right) == [
        ("agrees_with_differences", {}, ()),
        ("another_function", {"more": ["b"], "less": []}, ("model",)),
    ]
    assert right.ratio == {}
    assert right.standing == {"autograd": "right", "model": "other"}
    assert not right.is_equal
    wrong = diagnose("w", other(14.0), slopes(1.0))
    factor = {"factor": 2.0, "measure": OWN_DIFFERENCES}
    assert remarks_of(wrong)[0] == ("factor", factor, ("model",))
    assert not wrong.agrees


def test_another_loss_is_named_as_the_reason() -> None:
    why = Remark("another_loss", {"loss": 120.0, "right_loss": 30.0})
    manual = found("manual", 4.0, another=why, is_meant=False, own=slopes(4.0))
    diagnosis = diagnose("w", [manual, found("autograd", 1.0)], slopes(1.0))
    assert mistake(diagnosis) == (
        "factor_of_another_loss", {"factor": 4.0, **AUTOGRADS, **why.values}
    )  # fmt: skip
    assert diagnosis.ratio == {"manual": 4.0}


@pytest.mark.parametrize(("at", "right"), [(2e-6, 3.0), (-2e-6, 1.0)])
def test_a_kink_within_the_step_of_a_difference_is_to_one_side(
    write_lesson: Callable[..., Lesson], at: float, right: float
) -> None:
    lesson = write_lesson(
        Setup=f"w = torch.tensor({at}, requires_grad=True)",
        Predict="y_pred = w",
        Loss="loss = w + 2 * torch.relu(w)",
    )
    (probe,) = probes_at_batches(programs_of(lesson)["autograd"])
    (slope,) = gradients_by_differences(probe, {"w": np.array(right)})["w"].slopes
    assert slope == pytest.approx(right, rel=1e-4)
    (slope,) = gradients_by_differences(probe, {"w": np.array(5.0)})["w"].slopes
    assert slope <= 3.01
