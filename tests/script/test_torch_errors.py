"""PyTorch's own errors, raised here, are found and explained; so are those of the lessons."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback
import warnings
from pathlib import Path

import pytest

from tests import shipped
from tutor.lesson.exercise import Repair
from tutor.script.error_report import ErrorReport, culprit_of, reports_in
from tutor.wording.script_faults import nearest_error, torch_error_of, torch_errors

W = "w = torch.ones(3, requires_grad=True)\n"
RAISED = {
    "changed in place": W + "h = w.exp()\nh += 1\nh.sum().backward()",
    "no graph": "torch.ones(3).sum().backward()",
    "not a scalar": W + "(w * 2).backward()",
    "backward twice": W + "y = (w * w).sum()\ny.backward()\ny.backward()",
    "leaf in place": W + "w -= 1",
    "target size": "F.mse_loss(torch.ones(3), torch.ones(3, 1))",
    "shapes of a product": "nn.Linear(2, 1)(torch.ones(1, 3))",
    "batch sizes": "F.cross_entropy(torch.ones(3, 2), torch.zeros(2).long())",
    "shapes side by side": "torch.ones(3) + torch.ones(4)",
    "devices": "torch.ones(3) + torch.ones(3, device='meta')",
    "types of floats": "nn.Linear(3, 1)(torch.from_numpy(np.ones((1, 3))))",
    "type of targets": "F.cross_entropy(torch.ones(3, 2), torch.zeros(3))",
    "class out of range": "F.cross_entropy(torch.ones(3, 2), torch.tensor([0, 1, 2]))",
    "index out of range": "nn.Embedding(3, 2)(torch.tensor(3))",
    "no parameters": "torch.optim.SGD([], lr=0.1)",
    "method not called": "torch.optim.SGD(nn.Linear(1, 1).parameters, lr=0.1)",
    "not a parameter": "m = nn.Linear(1, 1)\nm.weight = m.weight * 2",
    "other parameters": "nn.Linear(1, 1).load_state_dict({})",
    "optimizes a non-leaf": W + "torch.optim.SGD([w * 2], lr=0.1)",
    "gradient of a non-leaf": W + "(w * 2).grad",
    "flag of a non-leaf": W + "(w * 2).requires_grad = False",
    "scheduler first": W
    + "o = torch.optim.SGD([w], lr=0.1)\ns = torch.optim.lr_scheduler.StepLR(o, 2)\ns.step()",
    "numpy with a gradient": W + "w.numpy()",
    "no gradient yet": W + "w - 0.1 * w.grad",
    "a plain number": W + "w.sum().item().backward()",
    "whole numbers": "torch.tensor(3, requires_grad=True)",
    "not a probability": "F.binary_cross_entropy(torch.tensor([2.0]), torch.tensor([1.0]))",
    "one example alone": "nn.BatchNorm1d(2)(torch.ones(1, 2))",
    "gradcheck": "t = torch.ones(2, dtype=torch.double, requires_grad=True)\n"
    "torch.autograd.gradcheck(lambda t: t.detach() * t, (t,))",
    "born NaN": "x = torch.zeros(1, requires_grad=True)\n"
    "with torch.autograd.detect_anomaly():\n    (x.sqrt() * 0).sum().backward()",
    "not one number": "torch.ones(2).item()",
    "unused parameter": W + "torch.autograd.grad(torch.ones(1, requires_grad=True).sum(), [w])",
    "shape of the vector": W + "(w * 2).backward(torch.ones(2))",
    "another number of elements": "torch.ones(3).view(2, 2)",
    "column of classes": "F.cross_entropy(torch.ones(3, 2), torch.zeros(3, 1).long())",
    "view of a transposed tensor": "torch.ones(2, 3).T.view(6)",
    "batch of unequal parts": "torch.stack([torch.ones(2), torch.ones(3)])",
    "dimension of a softmax": "F.softmax(torch.ones(2, 2))",
    "copy of a tensor": "torch.tensor(torch.ones(2))",
}
"""By kind of error: code that raises it, or has PyTorch warn of it."""

OTHERS = [
    ("changed in place", W + "y = (w * w).sum()\nwith torch.no_grad():\n    w -= 1\ny.backward()"),
    ("leaf in place", W + "w[0] = 1"),
    ("shapes of a product", "np.ones((2, 3)) @ np.ones((2, 3))"),
    ("shapes side by side", "np.ones(2) + np.ones(3)"),
    ("types of floats", "torch.ones(2).double() @ torch.ones(2)"),
    ("type of targets", "torch.ones(2)[torch.ones(1)]"),
    ("types of floats", "torch.ones(2, 2).double() @ torch.ones(2, 2)"),
    ("not one number", "float(np.ones(2))"),
    ("types of floats", "nn.Linear(2, 1)(torch.ones(1, 2).long())"),
    ("not one number", "if torch.ones(2) > 0:\n    pass"),
    ("no gradient yet", W + "w.grad.zero_()"),
    ("another number of elements", "torch.ones(3).sum(1)"),
    ("index out of range", "torch.ones(3)[3]"),
    (
        "not a parameter",
        "class M(nn.Module):\n    def __init__(self):\n        self.l = nn.Linear(1, 1)\nM()",
    ),
]
"""Another way to some of them."""

ELSEWHERE = {
    "numpy on a device": "TypeError: can't convert cuda:0 device type tensor to numpy. Use "
    "Tensor.cpu() to copy the tensor to host memory first.",
    "out of memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "devices": "RuntimeError: Expected all tensors to be on the same device, but found at least "
    "two devices, cuda:0 and cpu! (when checking argument for argument mat1 in method addmm)",
    "class out of range": "RuntimeError: CUDA error: device-side assert triggered",
    "types of floats": "RuntimeError: expected mat1 and mat2 to have the same dtype, but got: "
    "double != float",
    "parameter without a part": "RuntimeError: Expected to have finished reduction in the prior "
    "iteration before starting a new one.",
}
"""Messages of a GPU, as PyTorch's issues quote them."""


def raised_by(code: str) -> str:
    """The error of the code as Python prints it, or else the last warning."""
    names: dict[str, object] = {}
    exec("import numpy as np, torch\nfrom torch import nn\nimport torch.nn.functional as F", names)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            exec(code, names)
        except Exception as error:  # noqa: BLE001 - any kind is looked up
            return f"{type(error).__name__}: {error}"
    return str(heard[-1].message)


CASES = [*RAISED.items(), *OTHERS]


@pytest.mark.parametrize(("key", "code"), CASES, ids=[key for key, _ in CASES])
def test_what_the_installed_pytorch_says_is_known(key: str, code: str) -> None:
    said = raised_by(code)
    found = torch_error_of(said)
    assert found is not None, said
    assert found.key == key, said


@pytest.mark.parametrize("key", ELSEWHERE)
def test_what_a_gpu_says_is_known(key: str) -> None:
    (report,) = reports_in(ELSEWHERE[key])
    found = torch_error_of(report.text)
    assert found is not None
    assert found.key == key


def test_the_repair_of_mixed_types_quotes_what_cpu_and_gpu_both_say() -> None:
    (exercise,) = (e for e in shipped.lesson("cpu-and-gpu").exercises if e.id == "mixed-types")
    assert isinstance(exercise, Repair)
    said = raised_by("nn.Linear(1, 1, bias=False)(torch.ones(3, 1).double())")
    assert exercise.symptom.error in said
    assert exercise.symptom.error in ELSEWHERE["types of floats"]


def test_each_kind_is_raised_once_here_and_leads_to_a_lesson() -> None:
    keys = [error.key for error in torch_errors()]
    assert sorted(set(keys)) == sorted({*RAISED, *ELSEWHERE})
    assert len(set(keys)) == len(keys)
    for error in torch_errors():
        exercises = {e.id for e in shipped.lesson(error.lesson).exercises}
        assert not error.exercise or error.exercise in exercises, error.key


def test_every_error_of_a_shipped_repair_is_known() -> None:
    for path in shipped.ORIGINALS:
        for exercise in shipped.read_once(path).exercises:
            if isinstance(exercise, Repair) and exercise.symptom.error:
                assert torch_error_of(exercise.symptom.error), f"{path.stem}/{exercise.id}"


def test_an_unknown_message_is_not_explained_and_the_nearest_is_offered() -> None:
    assert torch_error_of("NameError: name 'los' is not defined") is None
    assert nearest_error("NameError: name 'los' is not defined") is None
    garbled = "grad may be implicitly created only for outputs that are scalar"
    assert torch_error_of(garbled) is None
    found = nearest_error(garbled)
    assert found is not None
    assert found.key == "not a scalar"


# ── Tracebacks ──────────────────────────────────────────────────────────────────────────


def output_of(path: Path, code: str) -> str:
    """A program run in this process, and all that Python prints of its warnings and its error."""
    path.write_text(code)
    names = {"__name__": "__main__"}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        try:
            exec(compile(code, str(path), "exec"), names)
        except Exception as error:  # noqa: BLE001 - any kind is printed
            frames = error.__traceback__ and error.__traceback__.tb_next  # without this function
            said = "".join(traceback.format_exception(type(error), error, frames))
        else:
            said = ""
    shown = (warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in heard)
    return "".join([*shown, said])


TORCHLESS = """
import json
import warnings

def read(text):
    warnings.warn("read it")
    return [json.loads(line) for line in text.splitlines()]

def main():
    return read("1\\n{")

main()
"""


def test_a_program_that_is_run_here_prints_what_python_prints(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    printed = output_of(path, TORCHLESS)
    done = subprocess.run(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert printed == done.stdout
    assert len(reports_in(printed)) == 2


PROGRAM = """
import torch

w = torch.ones(3, requires_grad=True)


def forward(x):
    h = torch.sigmoid(w * x)
    h += 1  # the mistake
    return h.sum()


def train(epochs):
    for epoch in range(epochs):
        loss = forward(2.0)
        loss.backward()


train(3)
"""


def test_the_innermost_line_of_the_learner_is_found_in_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    (report,) = reports_in(output_of(path, PROGRAM))
    own = report.own_line
    assert own is not None
    assert (own.file, own.line, own.function) == (str(path), 16, "train")
    assert own.source == "loss.backward()"
    assert not report.is_warning


CULPRITS = {
    "changed in place": (
        "w = torch.ones(3, requires_grad=True)\nx = torch.ones(3)\nh = torch.sigmoid(w * x)\n"
        "x += 1\nh += 1\nloss = h.sum()\nloss.backward()",
        ("h", "h += 1", "h = torch.sigmoid(w * x)"),
    ),
    "changed in place by a step": (
        "w = torch.ones(3, requires_grad=True)\nopt = torch.optim.SGD([w], lr=0.1)\n"
        "w.grad = torch.ones(3)\nloss = (w * w).sum()\nopt.step()\nloss.backward()",
        ("opt.step()", "opt.step()", None),
    ),
    "no graph": (
        "w = torch.ones(3, requires_grad=True)\ny = (w * 2).detach()\nz = y + 1\nloss = z.sum()\n"
        "loss.backward()",
        ("loss", "y = (w * 2).detach()", None),
    ),
    "no gradient yet": (
        "w = torch.ones(1, requires_grad=True)\nfor _ in range(2):\n    loss = (w * w).sum()\n"
        "    loss.backward()\n    w = w - 0.1 * w.grad",
        ("w", "w = w - 0.1 * w.grad", None),
    ),
    "changed in place, beside sums of numbers and entries of a dict": (
        "w = torch.ones(3, requires_grad=True)\nlog = {}\ntotal = 0\nx = torch.ones(3).float()\n"
        "h = w.exp()\ntotal += h.sum().item()\nlog['h'] = total\nh += x\nloss = h.sum()\n"
        "loss.backward()",
        ("h", "h += x", "h = w.exp()"),
    ),
    "no graph, where neither a conversion nor new data have cut it": (
        "w = torch.zeros(1)\ny = torch.tensor([1.0])\nloss = ((w.float() - y) ** 2).sum()\n"
        "loss.backward()",
        ("loss", None, None),
    ),
    "a method that is not called": (
        "model = torch.nn.Linear(1, 1)\nopt = torch.optim.SGD(model.parameters, lr=0.1)",
        ("model.parameters", None, None),
    ),
    "a target of a loss function": (
        "z, y = torch.ones(2, 3), torch.ones(2)\nloss = torch.nn.CrossEntropyLoss()(z, y)",
        ("y", None, None),
    ),
    "a target of a loss with a name": (
        "criterion = torch.nn.CrossEntropyLoss()\nz, y = torch.ones(2, 3), torch.ones(2)\n"
        "loss = criterion(z, y)",
        ("y", None, None),
    ),
    "shapes side by side": (
        "a, b = torch.ones(3), torch.ones(4)\nc = 2 * (a + b)",
        ("a + b", None, None),
    ),
}


@pytest.mark.parametrize("name", CULPRITS)
def test_the_variable_and_the_statement_at_fault_are_found(name: str, tmp_path: Path) -> None:
    code, expected = CULPRITS[name]
    path = tmp_path / "train.py"
    output = output_of(path, f"import torch\n{code}\n")
    report = reports_in(output)[-1]
    error = torch_error_of(report.text)
    assert error is not None, output
    found = culprit_of(report, error.key, path.read_text())
    assert found is not None
    cause = found.cause and found.cause.code
    origin = found.origin and found.origin.code
    assert (found.name, cause, origin) == expected


def test_the_numbers_of_a_message_are_explained() -> None:
    error = torch_error_of(said := raised_by("nn.Linear(4, 1)(torch.ones(8, 5))"))
    assert error is not None
    detail = error.detail_of(said)
    assert all(part in detail for part in ("nn.Linear(4, 1)", "nn.Linear(5, 1)"))
    assert not error.detail_of("mat1 and mat2 shapes cannot be multiplied")


def test_without_the_file_the_line_alone_is_used() -> None:
    report = reports_in(
        'Traceback (most recent call last):\n  File "gone.py", line 3, in <module>\n'
        "    total.backward()\nRuntimeError: element 0 of tensors does not require grad and does "
        "not have a grad_fn\n"
    )[-1]
    found = culprit_of(report, "no graph", "")
    assert found is not None
    assert found.name == "total"


def test_a_warning_names_the_line_that_it_came_from() -> None:
    (report,) = reports_in("epoch 0\n/home/me/train.py:7: UserWarning: Beware\n  y = f(x)\n")
    assert report.is_warning
    assert report.own_line is not None
    assert (report.own_line.line, report.own_line.source) == (7, "y = f(x)")


def test_a_cell_of_a_notebook_is_the_learners_own() -> None:
    output = """---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
Cell In[4], line 3
      1 w = torch.ones(3, requires_grad=True)
      2 y = w * 2
----> 3 y.backward()

File ~/env/lib/python3.11/site-packages/torch/_tensor.py:648, in Tensor.backward(self, gradient)
    638 if has_torch_function_unary(self):
--> 648 torch.autograd.backward(

RuntimeError: grad can be implicitly created only for scalar outputs
"""
    report = reports_in(output)[-1]
    assert report.own_line is not None
    assert (report.own_line.file, report.own_line.line) == ("Cell In[4]", 3)
    error = torch_error_of(report.text)
    assert error is not None
    found = culprit_of(report, error.key, "")
    assert found is not None
    assert found.name == "y"


def test_colours_and_chained_errors_are_read_and_no_text_is_an_error() -> None:
    assert reports_in("epoch 1 loss 0.5\nall done, no Error here\n") == []
    first, last = reports_in(
        "\x1b[31mKeyError\x1b[0m: 'a'\n\nDuring handling of the above exception, another exception "
        "occurred:\n\nTraceback (most recent call last):\n"
        '  File "t.py", line 1, in f\n    g()\n\x1b[1;35mValueError\x1b[0m: \x1b[35mbad\x1b[0m\n'
    )
    assert first.text == "KeyError: 'a'"
    assert last == ErrorReport("ValueError", "bad", last.lines)


def test_a_figure_is_no_error_and_any_class_behind_a_traceback_is_one() -> None:
    assert reports_in("TestError: 0.31\nMeanAbsoluteError: 1e-3 \n") == []
    traceback = 'Traceback (most recent call last):\n  File "t.py", line 2, in <module>\n    f()\n'
    (report,) = reports_in(f"{traceback}Diverged: the loss is nan\n")
    assert report.text == "Diverged: the loss is nan"


def test_with_anomaly_detection_the_forward_line_is_found(tmp_path: Path) -> None:
    code = "x = torch.zeros(1, requires_grad=True)\ny = torch.sqrt(x)\n(y * 0).sum().backward()"
    inside = textwrap.indent(code, "    ")
    output = output_of(
        tmp_path / "train.py", f"import torch\nwith torch.autograd.detect_anomaly():\n{inside}\n"
    )
    report = reports_in(output)[-1]
    assert report.own_forward_line is not None
    assert report.own_forward_line.source == "y = torch.sqrt(x)"
