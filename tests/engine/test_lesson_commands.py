"""The text that `tutor run --compare` prints."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tutor.analysis.gradient_diagnosis import GradientDiagnosis
from tutor.analysis.mode_comparison import GradientRow, GradientTable
from tutor.engine.lesson_commands import comparison_writer

DIAGNOSIS = GradientDiagnosis({}, 0.0, "agree", True, True, "autograd", {}, {})


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (16, f"[{', '.join(['0'] * 16)}]"),
        (17, f"[{', '.join(['0'] * 8)}, ... 17 elements]"),
        (100, f"[{', '.join(['0'] * 8)}, ... 100 elements]"),
    ],
)
def test_a_large_gradient_is_cut_to_what_can_be_compared_by_eye(size: int, shown: str) -> None:
    out = io.StringIO()
    gradients = {"manual": np.zeros(size), "autograd": None}
    row = GradientRow("w", gradients, (size, size), DIAGNOSIS)
    write = comparison_writer("text", out)
    for epoch in (1, 2):
        write(GradientTable(epoch, 0, "manual", (row,), "one note"))
    assert out.getvalue().splitlines() == [
        "(one note)",
        *("epoch 1, w: agree", f"    manual    {shown}", "    autograd  None"),
        *("epoch 2, w: agree", f"    manual    {shown}", "    autograd  None"),
    ]
