"""What is told of a name under the cursor, at the very place where the run stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.conftest import PLAIN, shipped
from tutor.analysis.variable_info import info_of
from tutor.protocol.frame import NO_VALUE, NONE, Remark
from tutor.protocol.inspections import VariableInfo
from tutor.training.run import Run


def told(run: Run, name: str) -> VariableInfo:
    return info_of(run.loop, name)


def steps(run: Run, count: int) -> Run:
    for _ in range(count):
        run.step_phase()
    return run


def test_a_leaf_tensor_has_all_its_facts() -> None:
    found = told(shipped("one-weight", "autograd"), "w")
    assert found.value.data == (1.0,)
    assert (found.type, found.device) == ("torch.Tensor", "cpu")
    assert (found.requires_grad, found.is_leaf, found.grad_fn) == (True, True, "")


def test_no_gradient_yet_is_not_a_gradient_of_zero() -> None:
    run = shipped("one-weight", "autograd")
    assert told(run, "w").gradient == NONE
    assert told(run, "w.grad").value == NONE
    steps(run, 3)
    assert told(run, "w").gradient.data == (-2.0,)  # type: ignore[union-attr]
    assert told(run, "w.grad").value.data == (-2.0,)
    steps(run, 2)
    assert told(run, "w").gradient.data == (0.0,)  # type: ignore[union-attr]


def test_what_is_no_leaf_keeps_no_gradient_and_says_so(recwarn: pytest.WarningsRecorder) -> None:
    run = steps(shipped("one-weight", "autograd"), 3)
    found = told(run, "y_pred")
    assert (found.is_leaf, found.grad_fn, found.gradient) == (False, "MulBackward0", None)
    assert found.remark == Remark("no_leaf")
    assert told(run, "y_pred.grad").value == NO_VALUE
    assert not recwarn.list, "asking for its .grad would print a warning"


def test_data_can_have_no_gradient() -> None:
    found = told(shipped("one-weight", "autograd"), "x")
    assert (found.requires_grad, found.is_leaf, found.gradient) == (False, True, None)


def test_a_gradient_that_is_kept_on_demand_is_shown(start: Callable[..., Run]) -> None:
    run = start(Predict="y_pred = w * x\ny_pred.retain_grad()")
    assert told(steps(run, 2), "y_pred").gradient == NONE
    assert told(steps(run, 1), "y_pred").gradient.shape == (3,)  # type: ignore[union-attr]


def test_a_parameter_by_hand_has_the_gradient_that_is_computed_by_hand() -> None:
    run = shipped("one-weight", "manual")
    found = told(run, "w")
    assert (found.type, found.device, found.requires_grad) == ("numpy.float32", "", None)
    assert found.gradient == NONE
    assert told(steps(run, 3), "w").gradient.data == (-2.0,)  # type: ignore[union-attr]
    assert told(steps(run, 2), "w").gradient == NONE, "left over from the epoch before"


def test_what_a_batch_has_yet_to_compute_has_no_value() -> None:
    run = shipped("one-weight", "autograd")
    run.run(3)
    assert told(run, "loss").value.is_number
    steps(run, 1)
    found = told(run, "loss")
    assert found.value == NO_VALUE
    assert found.remark == Remark("not_computed", {"phase": "Loss"})
    assert told(run, "y_pred").value.is_number


@pytest.mark.parametrize("name", ["z", "self", "forward"])
def test_names_inside_a_function_or_class_are_unbound_and_it_is_said(name: str) -> None:
    slug, mode = ("xor", "manual") if name == "z" else ("xor", "model")
    found = told(shipped(slug, mode), name)
    assert found.value == NO_VALUE
    assert found.remark == Remark("inner_name")


def test_a_name_that_nobody_binds_is_told_apart() -> None:
    assert told(shipped("xor"), "zebra").remark == Remark("unknown_name")


def test_dotted_names_are_looked_up() -> None:
    run = shipped("line-through-origin", "model")
    weight = told(run, "model.linear.weight")
    assert (weight.type, weight.value.shape) == ("torch.nn.Parameter", (1, 1))
    assert told(run, "model").value.text == "Line(linear: Linear)"
    assert told(run, "x.shape").value.text == "(4, 1)"
    assert told(run, "torch.no_grad").type == "type"
    assert told(run, "torch.nn.MSELoss").value.text == "class MSELoss"
    assert told(run, "np.float32").value.text == "class float32"
    assert told(run, "optimizer").value.text == "SGD, learning rate 0.01"
    assert told(run, "optimizer.step").value != NO_VALUE
    assert told(run, "mse").type == "torch.nn.modules.loss.MSELoss"
    assert told(run, "x.nothing").remark == Remark("no_attribute", {"attribute": "nothing"})


SPY = """
calls = []
class Spy:
    made = 1
    def __init__(self):
        self.kept = 2
    @property
    def ran(self):
        calls.append("property")
    def __getattr__(self, name):
        calls.append("getattr")
        return 3
    def __repr__(self):
        calls.append("repr")
        return "spy"
spy = Spy()
spies = [spy, {1: spy}]
"""


def test_looking_runs_no_code_of_the_lesson(start: Callable[..., Run]) -> None:
    run = start(Setup=PLAIN["Setup"] + SPY)
    assert told(run, "spy").value.text == "Spy object"
    assert told(run, "spies").value.text == "[Spy object, {1: Spy object}]"
    assert told(run, "spy.kept").value.data == (2.0,)
    assert told(run, "spy.made").value.data == (1.0,)
    assert told(run, "spy.ran").value == NO_VALUE
    assert told(run, "spy.absent").value == NO_VALUE
    assert told(run, "calls").value.text == "[]"


def test_no_text_is_long_and_none_commands_the_terminal(start: Callable[..., Run]) -> None:
    more = "\nwords = ['word' * 1000] * 1000\nescape = '\\x1b[31mred'\nmany = [x] * 9\n"
    run = start(
        Setup=PLAIN["Setup"] + more + f"class {'Long' * 100}:\n    pass\nit = {'Long' * 100}()"
    )
    for name in ("words", "escape", "many", "it", "escape." + "a" * 10):
        found = told(run, name)
        assert len(found.value.text) <= 200
        assert len(found.type) <= 60
        assert "\x1b" not in found.value.text + str(found.remark)
    assert told(run, "many").value.text.startswith("[Tensor of shape (3,), ")


def test_pythons_own_names_are_known(start: Callable[..., Run]) -> None:
    assert told(start(), "range").value.text == "class range"
    assert told(start(), "print").value.text == "function print"
    assert told(start(), "learning_rate").value.data == (0.1,)


def test_a_name_that_the_report_binds_again_has_the_value_of_its_phase() -> None:
    run = shipped("xor", "manual")
    run.run_to(1)
    steps(run, 2)
    assert told(run, "loss").value.is_number
    remark = told(run, "dw1").remark
    assert remark is not None
    assert remark.code == "not_computed"
