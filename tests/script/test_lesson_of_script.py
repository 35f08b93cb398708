"""A script's lesson: all of the file once, in order, and each phase where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tutor.lesson.model import SETUP, DisplayFormula, Fence, Lesson, ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.outline import Outline, ScriptPhase, TrainingLoop
from tutor.script.source import ScriptSource


def lesson_of(
    text: str, line: int, *phases: ScriptPhase, options: ScriptOptions | None = None, **more: Any
) -> Lesson:
    """The lesson of a script whose loop stands on a line."""
    settings = {"column": 0, "end_line": 99, "mode": "autograd", **more}
    loop = TrainingLoop(line=line, phases=phases, **settings)
    source = ScriptSource(path=Path("train.py"), text=text, digest="0" * 64)
    return lesson_of_script(source, Outline((loop,)), options or ScriptOptions())


def pieces(lesson: Lesson) -> list[tuple[str | None, int, str]]:
    found = [(s.phase, f.line, f.code) for s in lesson.sections for f in s.fences("autograd")]
    assert "".join(code for _, _, code in found) == lesson.source
    return found


TOP_LEVEL = """\
import torch

w = torch.tensor(0.0, requires_grad=True)
for epoch in range(20):
    y_pred = w * 2
    loss = (y_pred - 6) ** 2

    # the gradient
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    print(epoch)
    w.grad = None

print(w)
"""
PHASES = (
    ScriptPhase("Predict", 5, 4, 5, True),
    ScriptPhase("Loss", 6, 4, 6),
    ScriptPhase("Gradient", 9, 4, 9),
    ScriptPhase("Update", 10, 4, 11),
    ScriptPhase("Reset", 13, 4, 13),
)


def test_the_file_is_cut_at_its_phases() -> None:
    lesson = lesson_of(TOP_LEVEL, 4, *PHASES)
    assert pieces(lesson) == [
        (SETUP, 1, TOP_LEVEL[: TOP_LEVEL.index("for")]),
        (None, 4, "for epoch in range(20):\n"),
        ("Predict", 5, "    y_pred = w * 2\n"),
        ("Loss", 6, "    loss = (y_pred - 6) ** 2\n\n"),
        (None, 8, "    # the gradient\n"),
        ("Gradient", 9, "    loss.backward()\n"),
        ("Update", 10, "    with torch.no_grad():\n        w -= 0.1 * w.grad\n"),
        (None, 12, "    print(epoch)\n"),
        ("Reset", 13, "    w.grad = None\n\n"),
        (None, 15, "print(w)\n"),
    ]
    assert lesson.phase_of_line(11) == "Update"
    assert lesson.phase_of_line(12) == ""
    assert lesson.steps("autograd") == ("Predict", "Loss", "Gradient", "Update", "Reset")
    assert [s.heading for s in lesson.sections if s.heading] == [SETUP, *(p.name for p in PHASES)]


def test_a_phase_has_its_formulas_above_its_code() -> None:
    known = {"loss": "loss", "prediction": "y_pred", "parameters": ("w",)}
    lesson = lesson_of(TOP_LEVEL, 4, *PHASES, **known)
    assert [[type(block) for block in section.blocks] for section in lesson.sections] == [
        [Fence],
        [Fence],
        [DisplayFormula, Fence],
        [DisplayFormula, Fence],
        [Fence],
        [DisplayFormula, Fence],
        [DisplayFormula, Fence],
        [Fence],
        [DisplayFormula, Fence],
        [Fence],
    ]
    assert lesson.boxed() == ("y_pred", "loss", "w.grad", "w")


def test_a_phase_in_a_function_above_the_loop_stands_where_the_file_has_it() -> None:
    text = (
        "def step():\n    loss.backward()\n\nx = 1\nfor e in range(3):\n    loss = x\n    step()\n"
    )
    phases = (ScriptPhase("Loss", 6, 4, 6), ScriptPhase("Gradient", 2, 4, 2))
    lesson = lesson_of(text, 5, *phases)
    assert [(phase, line) for phase, line, _ in pieces(lesson)] == [
        (SETUP, 1),
        ("Gradient", 2),
        (SETUP, 4),
        (None, 5),
        ("Loss", 6),
        (None, 7),
    ]
    assert [s.heading for s in lesson.sections] == [SETUP, "Gradient", "", "", "Loss", ""]


def test_phases_on_one_line_are_cut_at_their_columns() -> None:
    text = "for e in é(3): loss = 'é'; loss.backward()  # both\nprint()"
    phases = (
        ScriptPhase("Loss", 1, 16, 1),
        ScriptPhase("Gradient", 1, 16 + len("loss = 'é'; ".encode()), 1),
    )
    lesson = lesson_of(text, 1, *phases)
    assert pieces(lesson) == [
        (None, 1, "for e in é(3): "),
        ("Loss", 1, "loss = 'é'; "),
        ("Gradient", 1, "loss.backward()  # both\n"),
        (None, 2, "print()"),
    ]


def test_a_phase_around_another_one_goes_on_behind_it() -> None:
    text = "for e in r:\n    with g:\n        w -= 1\n        w.grad = None\n        w += 0\n"
    phases = (ScriptPhase("Update", 2, 4, 5), ScriptPhase("Reset", 4, 8, 4))
    lesson = lesson_of(text, 1, *phases)
    assert [(phase, line) for phase, line, _ in pieces(lesson)] == [
        (None, 1),
        ("Update", 2),
        ("Reset", 4),
        ("Update", 5),
    ]


def test_other_line_ends_are_kept() -> None:
    text = "a = 1\r\n\r\nfor e in r:\r\n    loss = a\r\n\x0c\r\nb = 2\r\n"
    phases = (ScriptPhase("Loss", 4, 4, 4),)
    lesson = lesson_of(text, 3, *phases)
    assert [line for _, line, _ in pieces(lesson)] == [1, 3, 4, 6]


def test_its_settings_are_those_of_the_outline() -> None:
    options = ScriptOptions(loop=1, arguments=("--fast",))
    known = {"options": options, "epochs": 20, "parameters": ("w",)}
    lesson = lesson_of(TOP_LEVEL, 4, *PHASES, **known)
    assert (lesson.slug, lesson.title, lesson.path) == ("train.py", "train.py", Path("train.py"))
    assert (lesson.modes, lesson.parameters) == (("autograd",), {"autograd": ("w",)})
    assert (lesson.epochs, lesson.script) == ({"autograd": 20}, replace(options, line=4))
    assert (lesson.data, lesson.comparable, lesson.batches) == (None, False, 1)


@pytest.mark.parametrize(
    ("code", "rates", "expected"),
    [
        ("lr = 0.2", ("lr",), 0.2),
        ("self.lr = 1", ("self.lr",), 1.0),
        ("step: float = 3e-4", ("step",), 3e-4),
        ("opt = SGD(p, lr=0.5)", (), 0.5),
        ("def fit(x, lr=0.3): pass", ("lr",), 0.3),
        ("def fit(x, *, y, lr=0.3): pass", ("lr",), 0.3),
        (
            "p.add_argument('--learning-rate', type=float, default=0.7)",
            ("args.learning_rate",),
            0.7,
        ),
        ("lr = 0.2\nlr = 0.4", ("lr",), 0.01),
        ("lr = float(s)", ("lr",), 0.01),
        ("lr = -1", ("lr",), 0.01),
        ("lr = True", ("lr",), 0.01),
        ("momentum = 0.9", (), 0.01),
    ],
)
def test_the_learning_rate_is_the_number_in_the_code(
    code: str, rates: tuple[str, ...], expected: float
) -> None:
    text = f"{code}\nfor e in r:\n    loss = 1\n"
    phases = (ScriptPhase("Loss", text.count("\n"), 4, text.count("\n")),)
    lesson = lesson_of(text, text.count("\n") - 1, *phases, rates=rates)
    assert lesson.learning_rate == {"autograd": expected}
