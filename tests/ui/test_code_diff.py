"""What two modes write differently, phase by phase."""

import pytest
from msgspec.structs import replace

from tutor.lesson.model import Fence, Section
from tutor.ui.code_lines import Difference, compared_with, difference, turned

from .exercises import PREDICT, REACH, REPAIR, with_exercises
from .lessons import lesson

MODES = ("manual", "autograd", "optimizer", "model")


def shown(found: Difference, phase: str) -> list[str]:
    (change,) = [p for p in found.phases if p.phase == phase]
    return [line.sign + line.code for line in change.lines]


def says(found: Difference, phase: str) -> str:
    return next(p.says for p in found.phases if p.phase == phase)


def between(old: str, new: str) -> Difference:
    fences = (Fence(old, 2, ("manual",)), Fence(new, 9, ("autograd",)))
    wanted = tuple(fence for fence in fences if fence.code)
    return difference(
        replace(lesson(), sections=(Section("Update", 1, "Update", wanted),)), "manual", "autograd"
    )


def test_a_line_that_goes_and_one_that_comes() -> None:
    found = difference(lesson(), "manual", "autograd")
    assert shown(found, "Gradient") == ["-dw = (2 * x * (y_pred - y)).mean()", "+loss.backward()"]
    assert (says(found, "Predict"), shown(found, "Predict")) == ("the same in both", [])
    assert difference(with_exercises(PREDICT, REACH, REPAIR), *MODES[:2]) == found


def test_the_later_mode_of_the_ladder_takes_over_whichever_runs() -> None:
    assert difference(lesson(), "autograd", "manual") == difference(lesson(), "manual", "autograd")


def test_a_phase_that_goes_or_comes_altogether_is_said_in_words() -> None:
    assert says(between("w -= dw\n", ""), "Update") == "autograd no longer writes any code here"
    assert says(between("", "w -= w.grad\n"), "Update") == "manual writes no code here"


def test_the_summary_counts_the_lines_of_a_step_and_not_those_of_setup() -> None:
    assert difference(lesson(), "manual", "autograd").summary() == (
        "What you stop writing when autograd takes over: 1 line",
        "What you write instead: 2 lines (Setup not counted)",
    )


def test_a_line_that_is_only_indented_and_a_blank_one_are_no_change() -> None:
    found = between("a = 1\n\nb = 2\n", "with torch.no_grad():\n    a = 1\n    b = 2\n")
    assert shown(found, "Update") == ["+with torch.no_grad():", "     a = 1", "     b = 2"]
    assert found.summary()[0].endswith("nothing")


def test_a_mode_that_is_none_of_the_lesson_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        difference(lesson(), "manual", "nobody")


def test_turning_begins_with_the_mode_below_and_ends_with_none() -> None:
    assert compared_with(MODES, "optimizer") == ("autograd", "manual", "model")
    seen = [""]
    for _ in range(4):
        seen.append(turned(MODES, "optimizer", seen[-1]))
    assert seen == ["", "autograd", "manual", "model", ""]
    assert turned(MODES, "manual", "") == "autograd"
    assert turned(("only",), "only", "") == ""
