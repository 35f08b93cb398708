"""Every kind of value that a lesson may hold: checked, run, stepped, gone back to, compared.

Each either works or is refused in one line that names it.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.conftest import FRONT
from tutor.analysis import finite_differences
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.errors import RunError
from tutor.export.formats import script
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Remark, is_same_frame
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.training.values import is_finite, to_numpy, value_of
from tutor.validation.lesson_check import check
from tutor.wording.check_findings import check_message

Write = Callable[..., Lesson]

X = "x = torch.tensor([1.0, 2.0])\n"
EMBEDDING = "x = torch.tensor([1, 3])\nemb = torch.nn.Embedding(5, 2, sparse=True)\nw = emb.weight"

TRAINED = {
    "bfloat16": {"Setup": X + "w = torch.tensor(0.0, dtype=torch.bfloat16, requires_grad=True)"},
    "float16": {"Setup": X + "w = torch.tensor(0.0, dtype=torch.float16, requires_grad=True)"},
    "float64": {"Setup": X + "w = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)"},
    "complex": {
        "Setup": X + "w = torch.tensor(1j, requires_grad=True)",
        "Loss": "loss = ((y_pred - 2 * x).abs() ** 2).mean()",
    },
    "sparse gradient": {
        "Setup": EMBEDDING,
        "Predict": "y_pred = emb(x)",
        "Loss": "loss = (y_pred**2).sum()",
    },
    "dataclass": {
        "Setup": "from dataclasses import dataclass\n@dataclass\nclass Config:\n"
        "    rate: float = 1.0\n"
        f"    name: 'str' = 'a'\nconfig = Config()\n{X}"
        "w = torch.tensor(0.0, requires_grad=True)"
    },
    "not a number": {"Loss": "loss = torch.log((w * x).sum() * 0 - 1) * w"},
    "own generators": {
        "Setup": X + "w = torch.tensor(0.0, requires_grad=True)\nimport random\n"
        "dice, mine = np.random.default_rng(1), torch.Generator().manual_seed(2)",
        "Predict": "y_pred = w * x + dice.normal() + torch.randn(2, generator=mine) + "
        "random.random()",
    },
    "autocast": {
        "Setup": "x = torch.ones(4, 2)\nw = torch.full((2, 1), 0.5, requires_grad=True)",
        "Predict": "with torch.autocast('cpu', dtype=torch.bfloat16):\n    y_pred = x @ w",
        "Loss": "loss = ((y_pred - 2) ** 2).mean()",
    },
}
"""Phases of lessons that train; all but those given as in PLAIN."""

BOTH = FRONT.replace("epochs: 10\n", "epochs: 10\nmodes: [autograd, optimizer]\n")


@pytest.fixture(params=TRAINED)
def trained(request: pytest.FixtureRequest, write_lesson: Write) -> Lesson:
    phases = {"Loss": "loss = ((y_pred - 2 * x) ** 2).mean()", "Reset": "w.grad = None"}
    return write_lesson(BOTH, **(phases | TRAINED[request.param]))


def test_it_passes_check(trained: Lesson) -> None:
    assert [finding.remark for finding in check(trained)] == []


def test_another_mode_goes_on_with_its_value(trained: Lesson) -> None:
    run = Run(programs_of(trained))
    run.run(2)
    run.step_phase()
    run.step_phase()
    before, after = run.frame(), run.switch("optimizer")
    assert repr(after.values) == repr(before.values)
    assert repr(after.loss) == repr(before.loss)


def test_its_modes_are_compared(trained: Lesson) -> None:
    run = Run(programs_of(trained))
    run.run(2)
    lockstep = ModeLockstep(run.programs, "cpu", run.learning_rate, 0)
    assert lockstep.compare(run.standpoint(), run.at.epoch) is not None


def test_it_is_exported(trained: Lesson) -> None:
    assert "loss.backward()" in script(trained, "autograd")


OF_EACH = (
    test_it_passes_check,
    test_another_mode_goes_on_with_its_value,
    test_its_modes_are_compared,
    test_it_is_exported,
)
"""Also told of a lesson with a compiled function, in `test_set_up`."""


# ── Values that are looked at ───────────────────────────────────────────────────────

SHOWN = {
    "torch.tensor([1 + 2j, 2])": "complex64, shape (2,)",
    "torch.tensor([1 + 2j]).conj()": "1-2j",
    "torch.tensor([1 + 2j]).conj().imag": (-2.0,),
    "torch.eye(2).to_sparse()": (1.0, 0.0, 0.0, 1.0),
    "torch.eye(2).to_sparse_csr()": (1.0, 0.0, 0.0, 1.0),
    "torch.ones(2).to(torch.float8_e4m3fn)": (1.0, 1.0),
    "torch.ones(2).to(torch.float8_e5m2)": (1.0, 1.0),
    "torch.ones(2, dtype=torch.uint16)": (1.0, 1.0),
    "torch.empty(2, dtype=torch.uint4)": "uint4, shape (2,)",
    "torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)": (1.0, 1.0),
    "torch.empty(3, device='meta')": "float32, shape (3,), on the device meta, without numbers",
    "torch.nested.nested_tensor([torch.ones(2), torch.ones(1)])": "float32, nested, of 2 tensors",
    "np.array([1j, 2])": "complex128, shape (2,)",
    "np.array(['a'])": "array(['a'], dtype='<U1')",
    "np.array([None, 1], object)": "array([None, 1], dtype=object)",
    "np.array(['2020-01-01'], 'M8[D]')": "array(['2020-01-01'], dtype='datetime64[D]')",
    "2**70": (float(2**70),),
    "2**2000": (float("inf"),),
    "1j": "0+1j",
    "exit()": "SystemExit: None",
    "Rude()": "Rude (its repr raised SystemExit)",
    "rude": "Torch: it can't be read (ValueError: no)",
}
"""By expression: the numbers or the text that are shown."""

RUDE = """
class Rude:
    def __repr__(self):
        raise SystemExit

class Torch(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *args, **kwargs):
        raise ValueError("no")

rude = torch.ones(2).as_subclass(Torch)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", ["watched", "boxed"])
def test_every_kind_of_value_is_shown(write_lesson: Write, where: str) -> None:
    setup = X + RUDE + "w = torch.tensor(0.5, requires_grad=True)"
    if where == "watched":
        watch = "".join(f'  "{expression}": "{expression}"\n' for expression in SHOWN)
        front = FRONT.replace("epochs: 10\n", f"epochs: 10\nwatch:\n{watch}")
        lesson = write_lesson(front, Setup=setup)
    else:
        boxes = "\n\n".join(f"$$\\boxed{{{expression}}}$$" for expression in SHOWN)
        predict = f"y_pred = w * x\n```\n{boxes}\n```python\n1"
        lesson = write_lesson(Setup=setup, Predict=predict)
    run = Run(programs_of(lesson))
    run.run(2)
    frame = run.step_phase()
    shown = frame.watched if where == "watched" else frame.boxed["Predict"]
    assert {name: value.data or value.text for name, value in shown.items()} == SHOWN
    assert is_same_frame(run.seek(frame.at.epoch, frame.at.step), frame)


def test_no_dtype_of_torch_ends_a_run() -> None:
    names = (getattr(torch, name) for name in dir(torch))
    for dtype in {name for name in names if isinstance(name, torch.dtype)}:
        try:
            thing = torch.empty(2, dtype=dtype)
        except (RuntimeError, NotImplementedError, TypeError):
            continue  # torch itself can't make one
        value = value_of(thing)
        assert value.dtype == str(dtype).removeprefix("torch.")
        assert value.data or value.dtype in value.text
        to_numpy(thing), is_finite(thing)


def test_a_large_array_that_is_no_block_is_read_without_a_copy_of_it() -> None:
    array = np.broadcast_to(np.arange(3.0), (10**9, 3))
    assert value_of(array).data[:4] == (0.0, 1.0, 2.0, 0.0)
    assert len(value_of(array).data) == 64


# ── What can't be trained is refused ────────────────────────────────────────────────

REFUSED = {
    "w = [torch.tensor(0.0, requires_grad=True)]": "w is a list: give each tensor",
    "w = torch.nn.Linear(1, 1)": "w is a Linear: give each tensor",
    "w = {'a': 1.0}": "w is a dict: give each tensor",
    "w = 'a'": "w holds no numbers to train (str)",
    "w = np.array(['a'])": "w holds no numbers to train (<U1, shape (1,))",
    "w = torch.empty(2, device='meta')": "w holds no numbers to train (float32, shape (2,), on",
    "w = 0": "w is a whole number (int): write it with a decimal point",
    "w = np.array([1])": "w is a whole number (int64, shape (1,))",
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_parameter_that_can_not_be_trained_is_named(write_lesson: Write, code: str) -> None:
    nothing = dict.fromkeys(["Predict", "Update", "Reset"], "1")
    lesson = write_lesson(Setup=code, **nothing, Gradient="dw = 0.0", Loss="loss = 1.0")
    (finding,) = check(lesson)
    assert REFUSED[code] in check_message(finding)
    assert lesson.source.split("\n")[finding.line - 1] == "## Setup"


LOSSES = {
    "loss = (y_pred - 2 * x) ** 2 + 0 * 1\nback = loss.sum()": "float32, shape (3,): make it a",
    "loss = y_pred.sum() * 1j\nback = y_pred.sum()": "complex64: make it real",
    "loss = 'a'\nback = y_pred.sum()": "the loss is not a number",
}


@pytest.mark.parametrize("code", LOSSES)
def test_a_loss_that_is_no_single_number_is_refused(write_lesson: Write, code: str) -> None:
    lesson = write_lesson(Loss=code, Gradient="back.backward()")
    (finding,) = check(lesson)
    assert LOSSES[code] in check_message(finding)
    run = Run(programs_of(lesson))
    run.run(3)
    assert run.diverged_at is None


def test_the_elements_of_a_large_parameter_are_sampled_and_it_is_said(write_lesson: Write) -> None:
    code = "x = torch.ones(1000)\nw = torch.zeros(1000, requires_grad=True)"
    lesson = write_lesson(Setup=code, Loss="loss = ((y_pred - 2) ** 2).sum() / 1000")
    (note,) = check(lesson)
    assert note.is_note
    assert note.remark == Remark("checked_by_sample", {"samples": [(64, 1000, "w")]})
    wrong = lesson.source.replace("loss.backward()", "loss.backward()\nw.grad[500:] *= 2")
    from tutor.lesson.document import parse

    (finding,) = check(parse(wrong, Path(lesson.path)))
    assert not finding.is_note


def test_the_gradient_of_a_large_parameter_is_checked_in_little_memory(
    write_lesson: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite_differences, "_HUGE", 2**10)
    size = 2**18
    setup = f"x = 1.0\nw = torch.full(({size},), 0.5, requires_grad=True)"
    program = programs_of(write_lesson(Setup=setup))["autograd"]
    probe = next(finite_differences.probes_at_batches(program))
    said = finite_differences.gradients_by_program(probe)
    tracemalloc.start()
    try:
        finite_differences.gradients_by_differences(probe, said)
        assert tracemalloc.get_traced_memory()[1] < 4 * 8 * size
    finally:
        tracemalloc.stop()


def test_the_largest_numbers_are_found_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_differences, "_PIECE", 7)
    numbers = np.array([0.0, -9.0, np.nan, 3.0, *np.linspace(0, 2, 30), 8.0, np.inf])
    largest = finite_differences._largest(numbers, 4)
    assert sorted(largest.tolist()) == [1, 3, 34, 35]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_memory_that_does_not_do_for_a_check_is_told(
    write_lesson: Write, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def gradients(*_: object) -> None:
        raise error

    monkeypatch.setattr("tutor.validation.lesson_check.gradients_by_differences", gradients)
    (finding,) = check(write_lesson())
    assert finding.remark.code == "no_memory"


def test_what_a_lesson_replaces_ends_no_process(
    write_lesson: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back at the end
    code = X + "w = torch.tensor(0.5, requires_grad=True)\n"
    for name in ("no_grad", "get_rng_state", "isfinite"):
        before = getattr(torch, name)
        run = Run(programs_of(write_lesson(Setup=code + "import sys\nsys.excepthook = None")))
        try:
            setattr(torch, name, None)
            for _ in itertools.repeat(None, 3):
                with contextlib.suppress(RunError):
                    run.step_phase()
        finally:
            setattr(torch, name, before)


# ── Large arrays ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "thing",
    [
        torch.arange(100.0).reshape(4, 25),
        torch.arange(100, dtype=torch.int64).reshape(4, 25),
        torch.arange(100.0).reshape(4, 25).to(torch.bfloat16).requires_grad_(),
        torch.arange(100.0).reshape(25, 4).T,
        np.arange(100.0).reshape(4, 25),
        np.arange(100, dtype=np.float32).reshape(4, 25)[:, ::-1],
    ],
    ids=lambda thing: str(thing.dtype),
)
def test_of_an_array_that_is_not_carried_whole_mean_and_norm_are(thing: object) -> None:
    value = value_of(thing)
    assert len(value.data) == 64
    assert value.shape == (4, 25)
    assert value.mean == pytest.approx(49.5)
    assert value.norm == pytest.approx(float(np.linalg.norm(np.arange(100.0))), rel=1e-5)


@pytest.mark.parametrize(
    "thing", [torch.ones(64), np.ones((8, 8)), torch.ones(100, dtype=torch.bool), 3.0, None]
)
def test_all_else_has_no_mean(thing: object) -> None:
    assert (value_of(thing).mean, value_of(thing).norm) == (None, None)


def test_an_element_that_is_not_finite_shows_in_the_mean() -> None:
    spoiled = torch.ones(100)
    spoiled[-1] = float("nan")
    assert np.isnan(value_of(spoiled).mean)
    assert np.isinf(value_of(spoiled.numpy()[:99] * np.inf).mean)
