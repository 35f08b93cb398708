"""The place where a parameter's gradient stands, whoever computes it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import FRONT, PLAIN, lesson_text, step_through
from tutor.analysis.variable_info import info_of
from tutor.export.formats import script
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson, gradient_variable
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.training.values import gradient_of, set_gradient
from tutor.validation.lesson_check import check

NEEDS = torch.tensor(0.5, requires_grad=True)


def with_grad(tensor: torch.Tensor) -> torch.Tensor:
    tensor.grad = torch.tensor(3.0)
    return tensor


@pytest.mark.parametrize(
    ("parameter", "gradient"),
    [
        (np.float64(0.5), 7.0),
        (torch.tensor(0.5), 7.0),
        (with_grad(torch.tensor(0.5)), 3.0),
        (with_grad(torch.tensor(0.5, requires_grad=True)), 3.0),
        (torch.tensor(0.5, requires_grad=True), None),
        (2 * NEEDS, None),
        (None, 7.0),
    ],
    ids=["array", "tensor", "grad of its own", "autograd", "before backward", "mid-graph", "none"],
)
def test_the_variable_is_the_gradient_only_where_autograd_computes_none(
    parameter: Any, gradient: float | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a tensor in mid-graph warns when it is asked
        assert gradient_of("w", parameter, {"dw": 7.0}) == gradient


def test_a_variable_is_only_a_part_where_the_code_adds_it_to_grad(
    start: Callable[..., Run],
) -> None:
    gradient = "dw = (2 * x * (y_pred - y)).mean()\nw.grad = dw if w.grad is None else w.grad + dw"
    run = start(
        Setup="x, y = torch.ones(2), torch.zeros(2)\nw = torch.tensor(0.5)",
        Gradient=gradient,
        Update="w -= learning_rate * w.grad",
        Reset="w.grad = None",
    )
    frames = [run.step_phase() for _ in range(5)]
    assert [frame.gradients["w"].data for frame in frames if frame.phase == "Gradient"] == [(1.0,)]
    assert frames[-1].phase == "Reset"
    assert frames[-1].gradients_now["w"].data == ()


def test_the_variable_of_an_attribute_is_one_too() -> None:
    assert gradient_variable("w1") == "dw1"
    assert gradient_variable("net.first.W") == "net.first.dW"


def test_a_gradient_that_is_set_is_a_copy_and_stands_where_the_code_keeps_it() -> None:
    own = np.array(3.0)
    names: dict[str, Any] = {"w": torch.tensor(0.5), "dw": 1.0}
    set_gradient("w", own, names, has_variable=True)
    names["dw"] += 1
    assert (names["w"].grad, float(names["dw"]), float(own)) == (None, 4.0, 3.0)
    set_gradient("w", np.zeros(2), names, has_variable=True)
    assert "dw" not in names
    set_gradient("w", own, names, has_variable=False)
    names["w"].grad += 1
    assert (float(names["w"].grad), float(own)) == (4.0, 3.0)
    array: dict[str, Any] = {"w": np.zeros(2)}
    set_gradient("w", np.ones(2), array, has_variable=False)
    assert array["dw"].tolist() == [1.0, 1.0]
    set_gradient("w", None, array, has_variable=False)
    assert "dw" not in array


MODES = FRONT.replace("epochs: 10\n", "epochs: 10\nmodes: [manual, autograd]\n")
BY_HAND = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5)",
    "Gradient": "dw = (2 * (y_pred - 2 * x) * x).mean()",
    "Update": "w -= learning_rate * dw",
    "Reset": "del dw",
}


@pytest.fixture
def both(tmp_path: Any) -> Lesson:
    """A lesson with PyTorch's tensors in two modes: one by hand."""
    text = lesson_text(MODES)
    for phase, code in BY_HAND.items():
        fence = f"```python\n{PLAIN[phase]}\n```\n"
        by_hand = f"```python manual\n{code}\n```\n"
        text = text.replace(fence, by_hand + fence.replace("python", "python autograd"))
    return parse(text, tmp_path / "test.md")


def test_modes_by_hand_and_by_autograd_show_the_same_gradients(both: Lesson) -> None:
    programs = programs_of(both)
    frames = {mode: step_through(Run(programs, mode), 3) for mode in programs}
    for mine, theirs in zip(frames["manual"], frames["autograd"], strict=True):
        if mine.phase in ("Gradient", "Update"):
            assert mine.gradients["w"].data == pytest.approx(theirs.gradients["w"].data)
            assert mine.gradients_now["w"].data == pytest.approx(theirs.gradients["w"].data)


def test_a_switch_within_a_batch_keeps_the_gradient(both: Lesson) -> None:
    run = Run(programs_of(both), "manual")
    run.run(2)
    for _ in range(3):
        frame = run.step_phase()
    assert frame.phase == "Gradient"
    for mode in ("autograd", "manual"):
        now = run.switch(mode)
        assert now.gradients["w"].data == pytest.approx(frame.gradients["w"].data)
    info = info_of(run.loop, "w")
    assert info.gradient is not None
    assert info.gradient.data == pytest.approx(frame.gradients["w"].data)
    assert info.remark is not None
    assert info.remark.code == "gradient_by_hand"


def test_such_a_lesson_passes_its_check(both: Lesson) -> None:
    assert list(check(both)) == []


@pytest.mark.parametrize("mode", ["manual", "autograd"])
def test_the_exported_script_prints_the_gradients(both: Lesson, mode: str) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(script(both, mode), {"__name__": "__main__"})
    figures = [json.loads(line) for line in printed.getvalue().splitlines()]
    run = Run(programs_of(both), mode)
    for figure in figures:
        gradient = run.step_epoch().gradients["w"].data[0]
        assert figure["gradients"]["w"] == pytest.approx(gradient, abs=1e-7)


def test_going_back_shows_the_same_gradient_by_hand(start: Callable[..., Run]) -> None:
    run = start(**BY_HAND)
    frames = step_through(run, 3)
    for frame in reversed(frames[:-1]):
        assert run.back().gradients == frame.gradients
