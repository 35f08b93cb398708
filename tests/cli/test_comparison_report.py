"""The text that `tutor run --compare` prints."""

from __future__ import annotations

import pytest

from tutor.cli.running import comparison_writer
from tutor.protocol.frame import NONE, Remark, Value
from tutor.protocol.inspections import ModeComparison, ParameterComparison


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (16, f"[{', '.join(['0'] * 16)}]"),
        (17, f"[{', '.join(['0'] * 8)}, ... 17 elements]"),
        (100, f"[{', '.join(['0'] * 8)}, ... 100 elements]"),
    ],
)
def test_a_large_gradient_is_cut_to_what_can_be_compared_by_eye(size: int, shown: str) -> None:
    row = ParameterComparison(
        parameter="w",
        gradients={"manual": Value((0.0,) * min(size, 16), (size,), "float32"), "autograd": NONE},
        ratio={},
        largest=0.0,
        remarks=(Remark("agree"),),
        agrees=True,
    )
    held = Remark("held", {"parameters": ["b"], "leader": "manual"}, modes=("model",))
    found: list[str] = []
    write = comparison_writer("text", found.append)
    for epoch in (1, 2):
        write(
            ModeComparison(epoch=epoch, batch=0, leader="manual", agreements=(row,), notes=(held,))
        )
    assert "".join(found).splitlines() == [
        "(in model b is held at its value in Setup: manual has none)",
        *("epoch 1, w: agree", f"    manual    {shown}", "    autograd  None"),
        *("epoch 2, w: agree", f"    manual    {shown}", "    autograd  None"),
    ]
