"""The comparison of a mode's figures on a device with the CPU's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tutor.lesson.model import Lesson
from tutor.protocol.events import CheckFinding
from tutor.training.figures import Reading, reading_of
from tutor.training.loop import Loop
from tutor.training.program import programs_of
from tutor.validation import device_figures
from tutor.validation.device_figures import FiguresOnDevice
from tutor.wording.check_findings import check_message

Write = Callable[..., Lesson]


def test_figures_of_the_cpu_are_its_own(write_lesson: Write) -> None:
    assert FiguresOnDevice(programs_of(write_lesson()), "autograd", "cpu").difference() is None


def test_a_gradient_that_differs_is_named(
    write_lesson: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops: list[Loop] = []

    def doubled_in_the_first(loop: Loop) -> Reading:
        loops.append(loop)
        reading = reading_of(loop)
        if loop is not loops[0]:
            return reading
        doubled = {n: None if g is None else 2 * g for n, g in reading.gradients.items()}
        return replace(reading, gradients=doubled)

    monkeypatch.setattr(device_figures, "reading_of", doubled_in_the_first)
    what = FiguresOnDevice(programs_of(write_lesson()), "autograd", "cpu").difference()
    assert what is not None
    assert (what.code, what.values["figure"]) == ("figure_differs", ["w", True])
    assert what.values["found"] == pytest.approx(2 * what.values["wanted"])
    of_value = replace(what, values={**what.values, "figure": ["w", False]})
    said, of_value_said = (
        check_message(CheckFinding(path="a.md", line=1, remark=one)) for one in (what, of_value)
    )
    assert said != of_value_said
