"""A file's text becomes a Lesson, each part with its exact line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tutor.lesson.code_checks import binds_data
from tutor.lesson.document import parse, read
from tutor.lesson.model import (
    DataNames,
    DisplayFormula,
    Fault,
    Fence,
    Lesson,
    LessonDiagnostics,
    Prose,
    Section,
)
from tutor.wording.notices import error_text

LINE = (Path(__file__).parent / "line.md").read_text("utf-8")


def lesson(text: str = LINE) -> Lesson:
    return parse(text, Path("line.md"))


def section(text: str, heading: str = "Predict") -> Section:
    return next(s for s in lesson(text).sections if s.heading == heading)


def with_prose(minimal: str, prose: str) -> str:
    """The minimal lesson with prose at the beginning of Predict, which is on line 11."""
    return minimal.replace("## Predict\n", f"## Predict\n{prose}\n\n")


def test_the_front_matter_becomes_the_lessons_fields() -> None:
    line = lesson()
    assert (line.slug, line.title, line.order) == ("line", "A line through the origin", 20)
    assert line.summary == "One weight learns y = 2x."
    assert line.modes == ("manual", "autograd", "optimizer")
    assert line.parameters == {"manual": ("w",), "autograd": ("w",), "optimizer": ("w",)}
    assert line.learning_rate == {"manual": 0.01, "autograd": 0.01, "optimizer": 0.001}
    assert line.epochs == {"manual": 100, "autograd": 100, "optimizer": 100}
    assert (line.batches, line.warm_up, line.own_gradient) == (4, 1, ("manual",))
    assert line.watch == {
        "manual": {"double": "2 * w"},
        "autograd": {"double": "2 * w", "kind": "w.dtype"},
        "optimizer": {"double": "2 * w"},
    }


def test_what_is_left_out_has_a_default(minimal: str) -> None:
    small = lesson(minimal)
    assert small.modes == ("autograd",)
    assert small.learning_rate == {"autograd": 0.01}
    assert small.epochs == {"autograd": 100}
    assert (small.batches, small.warm_up, small.watch, small.own_gradient) == (1, 0, None, ())
    assert small.comparable
    assert small.order > lesson().order


def test_a_lesson_may_say_that_its_modes_are_different_runs(minimal: str) -> None:
    assert not lesson(minimal.replace("---\n", "---\ncomparable: false\n", 1)).comparable


def test_sections_keep_the_files_order_and_know_their_phase() -> None:
    assert [(s.heading, s.line, s.phase) for s in lesson().sections] == [
        ("", 19, None),
        ("Setup", 22, "Setup"),
        ("Predict", 34, "Predict"),
        ("Loss", 49, "Loss"),
        ("Gradient", 55, "Gradient"),
        ("Update", 64, "Update"),
        ("What you saw", 75, None),
        ("And more", 79, None),
    ]


def test_the_introduction_is_the_prose_before_the_first_heading() -> None:
    (prose,) = lesson().sections[0].blocks
    assert prose == Prose(
        "Prose before the first phase is the introduction: $\\hat{y}$\nof it.", 19
    )


def test_prose_formulas_and_fences_of_a_phase_keep_their_order() -> None:
    assert section(LINE).blocks == (
        Prose("The model has one weight …", 35),
        DisplayFormula("\\hat{y}_i = w x_i", 36),
        DisplayFormula(
            "\\hat{y}_4 = \\boxed{w} \\cdot \\boxed{x[3]} = \\boxed{y_pred[3]}",
            37,
            ("w", "x[3]", "y_pred[3]"),
        ),
        Fence("y_pred = w * x\n", 39),
        Prose("### A word about names\nPyTorch calls this *forward*.\n\n```text\nw * x\n```", 42),
    )


def test_every_fence_stands_in_the_file_on_the_line_it_names() -> None:
    lines = LINE.split("\n")
    fences = [b for s in lesson().sections for b in s.blocks if isinstance(b, Fence)]
    assert len(fences) == 8
    for fence in fences:
        code = fence.code.split("\n")[:-1]
        assert lines[fence.line - 1 : fence.line - 1 + len(code)] == code


def test_a_fence_names_the_modes_that_run_it() -> None:
    setup = section(LINE, "Setup")
    assert [b.modes for b in setup.blocks if isinstance(b, Fence)] == [
        ("manual",),
        ("autograd", "optimizer"),
    ]
    assert len(setup.fences("optimizer")) == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_change_nothing_but_the_digest(
    newline: str, mark: str, tmp_path: Path
) -> None:
    file = tmp_path / "line.md"
    file.write_bytes((mark + LINE.replace("\n", newline)).encode())
    found = read(file)
    assert found.sections == lesson().sections
    assert found.source == LINE
    assert found.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_parsing_the_text_that_was_read_gives_the_same_digest(tmp_path: Path) -> None:
    file = tmp_path / "line.md"
    file.write_text(LINE, "utf-8")
    assert parse(read(file).source, file) == read(file)


def test_a_formula_in_mid_line_parts_the_prose_around_it(minimal: str) -> None:
    text = with_prose(minimal, "So $$a = b$$ holds,\nand $$\nc = d\n$$ too.")
    assert section(text).blocks[:5] == (
        Prose("So ", 12),
        DisplayFormula("a = b", 12),
        Prose("holds,\nand ", 12),
        DisplayFormula("c = d", 13),
        Prose("too.", 15),
    )


def test_a_formula_on_its_own_lines_needs_no_blank_line_before_it(minimal: str) -> None:
    text = with_prose(minimal, "The model:\n$$\ny = w x\n+ b\n$$\nand so on.")
    assert section(text).blocks[:3] == (
        Prose("The model:", 12),
        DisplayFormula("y = w x\n+ b", 13),
        Prose("and so on.", 17),
    )


def test_a_formula_in_a_list_is_shown_as_a_formula(minimal: str) -> None:
    text = with_prose(minimal, "- first\n- the loss\n  $$L = \\boxed{loss}$$\n- last")
    assert section(text).blocks[:3] == (
        Prose("- first\n- the loss", 12),
        DisplayFormula("L = \\boxed{loss}", 14, ("loss",)),
        Prose("- last", 15),
    )


def test_dollars_in_code_and_escaped_dollars_are_no_formulas(minimal: str) -> None:
    prose = "Costs \\$5, `$\\frac{` and $6; `$$`\n\n    $$ indented"
    assert section(with_prose(minimal, prose)).blocks[0] == Prose(prose, 12)


def test_a_fence_of_another_kind_is_prose(minimal: str) -> None:
    text = with_prose(minimal, "```text\nx\n```\n```yaml\nask: [\n```")
    assert section(text).blocks[0] == Prose("```text\nx\n```\n```yaml\nask: [\n```", 12)
    assert len(section(text).blocks) == 2


def test_modes_may_be_declared_with_names_and_an_order_of_their_own(minimal: str) -> None:
    text = minimal.replace("parameters:", "modes: [slow, manual]\nparameters:")
    text = text.replace("```python\nloss.", "```python slow\nloss.")
    text += "```python manual\ndw = 1\n```\n"
    assert lesson(text).modes == ("slow", "manual")


def test_parameters_may_differ_by_mode(minimal: str) -> None:
    text = minimal.replace("[w]", "{manual: [w], autograd: [w, v]}")
    text = text.replace("w = torch", "v = w = torch").replace(
        "python\nloss.", "python autograd\nloss."
    )
    text += "```python manual\ndw = 1\n```\n"
    assert lesson(text).parameters == {"manual": ("w",), "autograd": ("w", "v")}


@pytest.mark.parametrize(
    "binding",
    [
        "w: float = 1.0",
        "v, (w, *u) = 1, (2, 3)",
        "with open('f') as w:\n    pass",
        "for w in range(3):\n    pass",
        "import numpy as w",
        "from numpy import *",
        "def w():\n    pass",
        "class w:\n    pass",
        "print(w := 3)",
        "[w := i for i in range(3)]",
        "if True:\n    w = 1",
        "try:\n    pass\nexcept ValueError as w:\n    pass",
        "match 3:\n    case w:\n        pass",
        "def start():\n    global w\n    w = 1\nstart()",
    ],
)
def test_a_parameter_may_be_bound_in_any_way_that_python_has(minimal: str, binding: str) -> None:
    text = minimal.replace("w = torch.tensor(1.0, requires_grad=True)", binding)
    assert lesson(text).parameters["autograd"] == ("w",)


@pytest.mark.parametrize(
    "gradient",
    [
        "loss.sum().backward()",
        "(dw,) = torch.autograd.grad(loss, w)",
        "from torch.autograd import grad\nanything = grad(loss, w)",
        "dw = 2",
        "with torch.no_grad():\n    dw = 2",
        "for dw in range(3):\n    pass",
    ],
)
def test_a_gradient_may_come_from_pytorch_or_be_written_out(minimal: str, gradient: str) -> None:
    assert lesson(minimal.replace("loss.backward()", gradient)).loop("autograd")


def test_an_odd_escape_in_a_string_is_no_fault(
    minimal: str, recwarn: pytest.WarningsRecorder
) -> None:
    lesson(minimal.replace("loss.backward()", 'loss.backward()\nprint("\\d")'))
    assert not recwarn.list


def test_numbers_may_be_written_as_1e_minus_3(minimal: str) -> None:
    text = minimal.replace("parameters:", "learning_rate: 1e-3\nparameters:")
    assert lesson(text).learning_rate == {"autograd": 0.001}


def test_a_title_is_what_is_written_not_what_yaml_makes_of_it(minimal: str) -> None:
    assert lesson(minimal.replace("Two times", "yes")).title == "yes"


def test_faults_are_sorted_by_line_and_carry_it(minimal: str) -> None:
    text = minimal.replace("w * 2", "w *").replace("title", "titel")
    with pytest.raises(LessonDiagnostics) as caught:
        lesson(text)
    assert [diagnostic.line for diagnostic in caught.value.diagnostics] == [1, 2, 13]


@pytest.mark.parametrize("damage", ["modes: [a", "modes: slow", "title: x: y\nmodes: [slow]"])
def test_a_front_matter_at_fault_is_not_told_again_for_each_fence(
    minimal: str, damage: str
) -> None:
    text = minimal.replace("parameters:", f"{damage}\nparameters:")
    with pytest.raises(LessonDiagnostics) as caught:
        lesson(text.replace("```python\nloss.", "```python slow\nloss."))
    assert all(diagnostic.line <= 5 for diagnostic in caught.value.diagnostics), str(caught.value)


def test_a_fault_never_hands_an_escape_sequence_to_the_terminal(minimal: str) -> None:
    text = minimal.replace("loss.backward()", "loss.backward()\n```\n```python \x1b[31m\nx = 1")
    with pytest.raises(LessonDiagnostics) as caught:
        parse(text, Path("a\x1b]0;b.md"))
    assert "\x1b" not in error_text(caught.value)
    assert "^[[31m" in error_text(caught.value)


DATA = ("y_pred = w * 2", "y_pred = w * x")


def with_data(text: str, *, front: str = "") -> str:
    """The lesson with an input and a target, and lines of front matter about them."""
    text = text.replace("w = torch", "x, y = torch.tensor(2.0), torch.tensor(3.0)\nw = torch")
    return text.replace(*DATA).replace("parameters:", f"{front}parameters:")


def test_a_lesson_may_say_what_its_data_are_called(minimal: str) -> None:
    front = "data: {input: x, target: y, prediction: y_pred}\n"
    assert lesson(with_data(minimal, front=front)).data == DataNames("x", "y", "y_pred")


def test_data_with_the_usual_names_need_not_be_named(minimal: str) -> None:
    assert lesson(with_data(minimal)).data == DataNames("x", "y", "y_pred")


def test_a_lesson_without_such_names_has_no_data(minimal: str) -> None:
    assert lesson(minimal).data is None
    in_predict = with_data(minimal).replace("y_pred = w * x", "x = 2\ny_pred = w * x")
    assert lesson(in_predict).data is not None, "Setup binds x as well"
    only_in_predict = minimal.replace("y_pred = w * 2", "x = y = 2\ny_pred = w * x")
    assert lesson(only_in_predict).data is None


def test_data_are_known_in_the_modes_that_bind_them(minimal: str) -> None:
    text = with_data(minimal).replace("```python\ny_pred", "```python autograd\ny_pred")
    found = lesson(text.replace("## Loss", "```python model\nguess = y_pred = w\n```\n\n## Loss"))
    assert found.data is not None
    assert binds_data(found.data, found.sections, "autograd")
    assert binds_data(found.data, found.sections, "model")
    other = DataNames("x", "y", "guess")
    assert binds_data(other, found.sections, "model")
    assert not binds_data(other, found.sections, "autograd")


# ── What is remarked, and keeps nobody from using the lesson ────────────────────────


def warnings(text: str) -> dict[int, Fault]:
    return {warning.line: warning.fault for warning in lesson(text).warnings}


def line_of(text: str, piece: str) -> int:
    return text[: text.index(piece)].count("\n") + 1


def test_a_formula_that_can_not_be_drawn_is_remarked_wherever_it_stands(minimal: str) -> None:
    exercise = r"""
```yaml exercise
id: first
kind: choose
ask: What is $\fo{x}$?
hints: [A hint., 'Another, $\fooo$.']
explain: |
  It is one.
  It is $\foooo$.
choices:
  - {text: One, right: true}
  - {text: Two, reply: No.}
```
"""
    assert lesson(minimal).warnings == ()
    text = with_prose(minimal, r"An error in $\f{x}$ here.") + exercise
    told = warnings(text)
    assert told == {
        line_of(text, piece): Fault("formula_not_drawable", {"piece": piece})
        for piece in (r"\f{x}", r"\fo{x}", r"\fooo", r"\foooo")
    }
    assert len(told) == 4


def test_phases_in_an_order_that_can_not_be_meant_are_remarked(minimal: str) -> None:
    predict = minimal[minimal.index("## Predict") : minimal.index("## Loss")]
    text = minimal.replace(predict, "").replace("## Gradient", f"{predict}## Gradient")
    assert warnings(text) == {
        line_of(text, "## Predict"): Fault(
            "phases_out_of_order", {"first": "Loss", "then": "Predict"}
        )
    }
    assert not warnings(minimal.replace("## Predict", "## Reset\n```python\n1\n```\n## Predict"))
