"""What is said of gradients that agree or do not, from nothing but their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tutor.analysis.finite_differences import Array, Slopes
from tutor.analysis.gradient_agreement import ModeGradient, Samples
from tutor.analysis.gradient_diagnosis import GradientDiagnosis, diagnose

FOUR = Samples((4,))
RIGHT = np.array([[1.0, -2.0], [3.0, 0.5]])


def slopes(
    central: object, uncertainty: float = 1e-10, left: object = None, right: object = None
) -> Slopes:
    """What a referee would say that is sure of itself, or as sure as told."""
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


def verdict(
    manual: object, autograd: object, samples: Samples | None = None, **more: Any
) -> GradientDiagnosis:
    """By hand against autograd, which is right."""
    evidence = [found("manual", manual, **more), found("autograd", autograd)]
    return diagnose("w", evidence, slopes(autograd), samples=samples)


def words(diagnosis: GradientDiagnosis) -> str:
    return diagnosis.verdict


# ── Agreement ───────────────────────────────────────────────────────────────────────


def test_the_same_numbers_agree() -> None:
    said = verdict(RIGHT, RIGHT)
    assert (words(said), said.agrees, said.ratio, said.largest) == (
        "agree", True, {"manual": 1.0}, 0.0)  # fmt: skip


def test_what_only_float32_has_rounded_agrees_and_says_how_much() -> None:
    exact = np.float64(1 / 3)
    said = diagnose(
        "w",
        [found("manual", np.float32(1 / 3) + np.float32(1e-7), exact), found("autograd", exact)],
        slopes(exact),
    )
    assert words(said) == "agree but for float32 rounding (3e-7 of the size)"
    assert said.agrees
    assert said.ratio == {"manual": 1.0}


def test_terms_that_cancel_near_zero_are_rounding_however_large_they_look() -> None:
    evidence = [found("manual", np.float32(3e-7), 1e-9), found("autograd", np.float32(1e-7), 1e-9)]
    said = diagnose("w", evidence, slopes(1e-9, uncertainty=1e-14))
    assert said.agrees
    assert words(said) == "agree but for float32 rounding (99.7% of the size, so close to 0)"


def test_where_all_modes_are_off_alike_it_is_told_by_how_much() -> None:
    evidence = [found(mode, np.float32(-5.19e-6), -5.36e-6) for mode in ("manual", "autograd")]
    assert words(diagnose("w", evidence, slopes(-5.36e-6, uncertainty=1e-13))) == (
        "agree but for float32 rounding (3.3% of the size, so close to 0)"
    )


def test_a_small_mistake_is_not_taken_for_rounding() -> None:
    said = verdict(np.array([1.0, 2.0, 3.0 * 1.0001]), np.array([1.0, 2.0, 3.0]))
    assert not said.agrees
    assert words(said) == "manual differs in element [2]: 3.0003, not 3"


def test_without_float64_what_a_rounding_of_the_parameter_can_do_is_allowed() -> None:
    near = diagnose("w", [found("manual", 5e-6, None), found("autograd", 1e-6, None)], slopes(1e-6))
    far = diagnose("w", [found("manual", 5e-2, None), found("autograd", 1e-2, None)], slopes(1e-2))
    assert (near.agrees, far.agrees) == (True, False)


# ── Mistakes ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("factor", "samples", "said"),
    [
        (4.0, FOUR, "is 4.000 times autograd: a sum where the mean was meant"),
        (0.25, FOUR, "is 0.250 times autograd: a mean where the sum was meant"),
        (
            4.0,
            Samples((2, 4), named=False),
            "is 4.000 times autograd: a sum where the mean was meant (if there are 4 samples)",
        ),
        (4.0, None, "is 4.000 times autograd"),
        (5.0, FOUR, "is 5.000 times autograd"),
        (1.0001, FOUR, "is 1.0001 times autograd"),
        (-1.0, FOUR, "has the opposite sign of autograd"),
        (
            -4.0,
            FOUR,
            "is -4.000 times autograd: opposite sign, and a sum where the mean was meant",
        ),
        (0.5, FOUR, "is 0.500 times autograd: is the 2 of a square's derivative missing?"),
        (0.0, FOUR, "is 0 where autograd is not"),
    ],
)
@pytest.mark.parametrize("right", [np.array(-30.0), RIGHT], ids=["a number", "an array"])
def test_one_factor_is_named(
    factor: float, samples: Samples | None, said: str, right: Array
) -> None:
    judged = verdict(factor * right, right, samples)
    assert words(judged) == f"manual {said}"
    assert judged.ratio == {"manual": factor}
    assert not judged.agrees


def test_gradients_that_were_added_up_are_told_from_a_factor() -> None:
    old, new = np.array(-57.0), np.array(-27.0)
    said = verdict(old + new, new, old=old)
    assert words(said) == (
        "manual is 3.111 times autograd: gradients added up (was the reset forgotten?)"
    )
    of_many = verdict(RIGHT + RIGHT.T, RIGHT, old=RIGHT.T)
    assert words(of_many) == (
        "manual is the old and the new one: gradients added up (was the reset forgotten?)"
    )


def test_an_old_gradient_that_was_cleared_is_nothing_to_accuse() -> None:
    assert words(verdict(2 * RIGHT, RIGHT, old=RIGHT.T)) == "manual is 2.000 times autograd"


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (np.s_[1, :], "differs in row 2, w[1]"),
        (np.s_[:, 0], "differs in column 1, w[:, 0]"),
        (np.s_[0, 1], "differs in element [0, 1]: -1, not -2"),
    ],
)
def test_the_place_of_a_mistake_is_named(index: Any, said: str) -> None:
    wrong = RIGHT.copy()
    wrong[index] += 1.0
    assert words(verdict(wrong, RIGHT)) == f"manual {said}"


def test_a_mistake_all_over_says_where_it_is_worst() -> None:
    wrong = RIGHT + np.array([[1.0, 2.0], [3.0, -4.0]])
    assert words(verdict(wrong, RIGHT)) == (
        "manual differs in every element, most in element [1, 1]: -3.5, not 0.5"
    )


@pytest.mark.parametrize("right", [RIGHT, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])])
def test_a_transposed_gradient_is_recognized(right: Array) -> None:
    assert words(verdict(right.T, right)) == "manual is autograd's transposed"


def test_a_gradient_of_another_shape_says_both() -> None:
    said = verdict(np.ones(3), RIGHT)
    assert words(said) == "manual has the shape (3), not (2, 2)"
    assert said.ratio == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"by_hand": True}, "manual has no gradient dw in its code"),
        ({}, "manual says None: no gradient"),
        ({"raised": "ValueError: three"}, "manual raised ValueError: three"),
    ],
)
def test_a_gradient_that_is_not_there_is_told(more: dict[str, Any], said: str) -> None:
    judged = verdict(None, RIGHT, **more)
    assert (words(judged), judged.ratio, judged.agrees) == (said, {}, False)


def test_none_is_right_where_the_loss_does_not_depend_on_it() -> None:
    said = diagnose("w", [found("manual", 0.0), found("autograd", None)], slopes(0.0))
    assert said.agrees
    assert words(said).endswith("autograd says None, as the loss does not depend on it")


def test_the_referee_accuses_autograd_too() -> None:
    """The words, the ratios, the marks and the largest difference are all by the right gradient."""
    evidence = [found("manual", -27.0), found("autograd", -81.0, old=np.array(-54.0))]
    said = diagnose("w", evidence, slopes(-27.0))
    assert words(said) == (
        "autograd is 3.000 times finite differences: gradients added up "
        "(was the reset forgotten?); the others agree"
    )
    assert said.measure == "finite differences"
    assert said.standing == {"manual": "right", "autograd": "wrong"}
    assert said.ratio == {"manual": 1.0, "autograd": 3.0}
    assert said.apart == {"autograd": (0,)}
    assert said.largest == 54.0


def test_only_the_elements_that_are_wrong_are_marked() -> None:
    wrong = RIGHT.copy()
    wrong[1, 0] += 1.0
    said = verdict(wrong, RIGHT)
    assert said.apart == {"manual": (2,)}
    assert not said.is_equal


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_rounding_is_called_by_the_type_that_rounds(dtype: type[np.floating[Any]]) -> None:
    exact = np.float64(1 / 3)
    shown = dtype(exact) + dtype(np.finfo(dtype).eps)
    said = diagnose("w", [found("manual", shown, exact), found("autograd", exact)], slopes(exact))
    name = "" if dtype is np.float64 else f"{np.dtype(dtype)} "
    assert words(said).startswith(f"agree but for {name}rounding (")
    assert said.is_equal


def test_modes_with_the_same_mistake_share_a_sentence() -> None:
    evidence = [found(mode, 2.0) for mode in ("manual", "model")] + [found("autograd", 1.0)]
    assert (
        words(diagnose("w", evidence, slopes(1.0))) == "manual and model are 2.000 times autograd"
    )


def test_a_mistake_too_small_to_show_is_told_of_float64() -> None:
    evidence = [found("manual", 0.0, 4e-9), found("autograd", 0.0, 1e-9)]
    said = diagnose("w", evidence, slopes(1e-9, uncertainty=1e-14))
    assert words(said) == "in float64 manual is 4.000 times autograd"


# ── What has no one answer ──────────────────────────────────────────────────────────


def test_on_a_kink_every_slope_between_the_two_sides_agrees() -> None:
    kink = slopes(-0.5, left=-1.0, right=0.0)
    said = diagnose("w", [found("manual", -1.0), found("autograd", 0.0)], kink)
    assert said.agrees
    assert words(said) == (
        "on a kink: the slope is -1 on the left and 0 on the right; "
        "manual takes -1, autograd takes 0"
    )
    assert not said.is_equal
    assert diagnose("w", [found("manual", 0.0), found("autograd", 0.0)], kink).is_equal
    beyond = diagnose("w", [found("manual", 0.7), found("autograd", 0.0)], kink)
    assert not beyond.agrees
    assert words(beyond).startswith("manual ")


def test_divergence_is_no_disagreement_of_modes() -> None:
    said = diagnose("w", [found("manual", math.nan), found("autograd", math.nan)], slopes(math.nan))
    assert words(said) == "not finite: there is nothing to compare"
    assert not said.agrees
    assert said.standing == {"manual": "unknown", "autograd": "unknown"}


def test_one_mode_that_overflows_alone_is_accused() -> None:
    said = verdict(math.inf, 1.0, precise=1.0)
    assert words(said) == "manual is not finite where autograd is"
    assert said.apart == {"manual": (0,)}


def test_a_referee_that_cannot_tell_says_so() -> None:
    evidence = [found("manual", 2.0), found("autograd", 2.0)]
    said = diagnose("w", evidence, slopes(130.0, uncertainty=150.0))
    assert said.agrees
    assert words(said) == (
        "agree; the loss is too large, or too flat, for finite differences to tell"
    )


def test_an_unsure_referee_still_sees_a_gross_mistake() -> None:
    evidence = [found("manual", 1e6), found("autograd", 1e6)]
    assert not diagnose("w", evidence, slopes(130.0, uncertainty=150.0)).agrees


# ── Other functions ─────────────────────────────────────────────────────────────────


def other(own: Slopes, gradient: float, **more: Any) -> Sequence[ModeGradient]:
    return [
        found("autograd", 1.0),
        found("model", gradient, another="it has b too", own=own, **more),
    ]


def test_a_mode_that_is_another_function_has_a_referee_of_its_own() -> None:
    right = diagnose("w", other(slopes(7.0), 7.0), slopes(1.0))
    assert right.agrees
    assert words(right) == (
        "agrees with finite differences; model is another function (it has b too) "
        "and agrees with its own finite differences"
    )
    assert right.ratio == {}
    assert right.standing == {"autograd": "right", "model": "other"}
    assert not right.is_equal
    wrong = diagnose("w", other(slopes(7.0), 14.0), slopes(1.0))
    assert words(wrong).startswith("model is 2.000 times its own finite differences")
    assert not wrong.agrees


def test_another_loss_is_told_as_the_reason() -> None:
    evidence = [
        found("manual", 4.0, another="its loss is 120, not 30", is_meant=False, own=slopes(4.0)),
        found("autograd", 1.0),
    ]
    said = diagnose("w", evidence, slopes(1.0))
    assert words(said) == "manual is 4.000 times autograd, as its loss is 120, not 30"
    assert (said.agrees, said.ratio) == (False, {"manual": 4.0})


def test_without_a_referee_autograd_is_believed_and_that_is_said() -> None:
    evidence = [found("manual", 4.0, None), found("autograd", 1.0, None)]
    assert words(diagnose("w", evidence, None)) == (
        "manual is 4.000 times autograd; "
        "no finite differences: its code does not compute in float64"
    )


def test_a_sample_of_large_parameters_says_how_many() -> None:
    few = replace(slopes([1.0, 1.0, np.nan]), checked=(2, 3))
    evidence = [found("manual", np.ones(3)), found("autograd", np.ones(3))]
    assert words(diagnose("w", evidence, few)) == "agree; 2 of 3 elements checked"
