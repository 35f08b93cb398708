"""What a lesson says comes along, as text and nothing else, and only what concerns the mode."""

from __future__ import annotations

import ast
import io
import json
import textwrap
import tokenize
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests import shipped as lessons
from tests.training.conftest import lesson_text
from tutor.errors import Refused, RunError
from tutor.export.code import ExportSettings
from tutor.export.formats import CHANGED, legible, notebook, script
from tutor.lesson.document import parse
from tutor.lesson.model import (
    SETUP,
    Block,
    DisplayFormula,
    Fault,
    Lesson,
    LessonDiagnostics,
    Prose,
    Section,
)

LINE = lessons.lesson("line-through-origin")
PLAIN = parse(lesson_text(), Path("plain.md"))

HOSTILE = [
    '"""; boom(); """',
    '""""""""',
    'ends in a quote"',
    "ends in a backslash\\",
    r"\"\"\"; boom()",
    r"\N{nonsense} \x \u12",
    "a\nboom()\n# b",
    "a\rboom()\r\nboom()",
    "a\fboom()\vboom()\x85boom()\u2028boom()",
    "# coding: utf-16",
    "\x1b[31mred\u202e",
]


def titled(text: str) -> Lesson:
    """A lesson that says nothing but this: title, summary, headings, prose and a formula."""
    said: tuple[Block, ...] = (Prose(text, 1), DisplayFormula(text, 1))
    sections = [replace(s, blocks=(*said, *s.blocks, *said)) for s in PLAIN.sections]
    sections = [Section("", 1, None, said), *sections, Section(text, 1, None, said)]
    return replace(PLAIN, title=text, summary=text, sections=tuple(sections))


def code_of(text: str) -> str:
    """A program without its docstring (and, as ever in a tree, without its comments)."""
    tree = ast.parse(text)
    assert isinstance(tree.body[0], ast.Expr)
    return ast.dump(ast.Module(tree.body[1:], []))


def codes(cells: list[dict[str, str]]) -> list[str]:
    return [cell["source"] for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("title", HOSTILE)
def test_no_title_and_no_text_gets_out_of_its_docstring_or_comment(title: str) -> None:
    lesson = titled(title)
    text = script(lesson, "autograd")
    assert code_of(text) == code_of(script(PLAIN, "autograd"))
    assert "──" in text
    assert tokenize.detect_encoding(io.BytesIO(text.encode()).readline)[0] == "utf-8"
    assert all(c == "\n" or c.isprintable() for c in text)
    cells = json.loads(notebook(lesson, "autograd"))["cells"]
    plain_cells = json.loads(notebook(PLAIN, "autograd"))["cells"]
    assert codes(cells) == codes(plain_cells)


def test_a_title_is_not_taken_for_markdown_in_a_notebook() -> None:
    lesson = titled("*a* <b>b</b> $x_1$ `c` [d](e) # f")
    first = json.loads(notebook(lesson, "autograd"))["cells"][0]["source"]
    said = r"\*a\* \<b\>b\</b\> \$x\_1\$ \`c\` \[d\](e) \# f"
    assert first.startswith(f"# {said}, in mode autograd")


def test_the_prose_is_the_modes_own() -> None:
    by_hand, model = script(LINE, "manual"), script(LINE, "model")
    setup = next(section for section in LINE.sections if section.phase == SETUP)
    prose = [block.markdown for block in setup.blocks if isinstance(block, Prose)]
    before_by_hand, before_model = (text[:30] for text in prose[:2])
    assert before_by_hand in by_hand
    assert before_by_hand not in model
    assert before_model in model
    assert before_model not in by_hand
    for text in (by_hand, model):
        assert "Four points lie on the line" in text
        assert "What to remember" in text
        assert any("∑  2 xᵢ (ŷᵢ − yᵢ)" in row for row in text.split("\n"))


def test_a_phase_that_the_mode_lacks_is_left_out() -> None:
    assert "── Reset" in script(LINE, "autograd")
    assert "── Reset" not in script(LINE, "manual")


def test_only_what_is_used_is_imported() -> None:
    by_hand, autograd = script(LINE, "manual"), script(LINE, "autograd")
    assert "import torch" not in by_hand
    assert "device =" not in by_hand
    assert "import numpy" not in autograd


@pytest.mark.parametrize("mode", LINE.modes)
def test_the_code_stands_in_it_to_the_character_but_for_the_indent(mode: str) -> None:
    text = script(LINE, mode)
    for section in LINE.sections:
        indent = "" if section.phase == "Setup" else "    "
        for fence in section.fences(mode):
            assert f"\n{textwrap.indent(fence.code, indent)}" in text


def test_lines_of_prose_are_wrapped_to_be_read() -> None:
    for mode in LINE.modes:
        assert max(map(len, script(LINE, mode).splitlines())) <= 100


def test_settings_are_the_lessons_own_unless_others_are_asked_for() -> None:
    assert "learning_rate = 0.01\nepochs = 100\n" in script(LINE, "manual")
    settings = ExportSettings("cuda:1", 0.5, 7, seed=3, every=2)
    lines = script(LINE, "model", settings).splitlines()
    asked = {'device = "cuda:1"', "learning_rate = 0.5", "epochs = 7", "every = 2"}
    assert {*asked, "torch.manual_seed(3)"} <= set(lines)


def test_a_run_that_was_changed_on_its_way_is_not_passed_off_as_the_same() -> None:
    for make in (script, notebook):
        assert CHANGED[:20] not in make(LINE, "manual", ExportSettings())
        assert CHANGED[:20] in make(LINE, "manual", ExportSettings(changed=True))


def test_an_unknown_mode_is_named_with_those_there_are() -> None:
    with pytest.raises(Refused, match="no_mode"):
        script(LINE, "magic")


def test_code_that_cannot_stand_in_a_loop_is_told_in_words() -> None:
    lesson = parse(lesson_text(Predict="\x0cy_pred = w * x"), Path("f.md"))
    with pytest.raises(RunError, match="not_exportable"):
        script(lesson, "autograd")


def test_code_that_no_script_can_hold_is_no_lesson() -> None:
    with pytest.raises(LessonDiagnostics) as raised:
        parse(lesson_text(Setup="from __future__ import annotations\nw = 1"), Path("f.md"))
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.fault == Fault("code_is_not_python", {"reason": "future_import"})


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"a \boxed{w}", r"a \boxed{\mathtt{w}}"),
        (r"\boxed{y_pred[3]} b", r"\boxed{\mathtt{y\_pred[3]}} b"),
        (r"\boxed {a ** b}", r"\boxed{\mathtt{a\ **\ b}}"),
        (r"\boxed{{1: 2}[1] % 3}", r"\boxed{\mathtt{\{1:\ 2\}[1]\ \%\ 3}}"),
        (r"\boxed{a < b}\boxed{c}", r"\boxed{\mathtt{a\ \lt{}\ b}}\boxed{\mathtt{c}}"),
    ],
)
def test_code_in_a_box_is_spelled_for_latex(latex: str, shown: str) -> None:
    assert legible(latex) == shown


def test_formulas_stand_in_a_scripts_comments_as_pictures() -> None:
    text = script(LINE, "autograd")
    assert not any(source in text for source in ("$$", "boxed", r"\frac", r"\hat{"))  # LaTeX
    assert "ŷ" in text
    assert "y_pred[3]" in text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (r"the answer $\hat{y}$, for $x_1 = 1$", "# the answer ŷ, for x₁ = 1"),
        (r"the code `$\alpha$`, then $\alpha$", r"# the code `$\alpha$`, then α"),
        (r"5 \$ and $\alpha$", r"# 5 \$ and α"),
        (r"- the rate $\eta$\n- $\frac{a}{b}$", "# - the rate η\n# - a/b"),
        ("| $a_1$ | $a_2$ |\n|---|---|\n| `$a_1$` | $a_1$ |", "# | a₁ | a₂ |"),
        (r"> quoted $w_0$", "# > quoted w₀"),
    ],
)
def test_formulas_in_sentences_stand_in_a_scripts_comments_as_the_tutor_shows_them(
    written: str, said: str
) -> None:
    text = script(titled(written.replace(r"\n", "\n")), "autograd")
    assert said in text


@pytest.mark.parametrize("slug", ["one-weight", "xor", "forgotten-zero", "thermometer"])
def test_no_latex_is_left_in_the_comments_of_a_shipped_lessons_script(slug: str) -> None:
    lesson = lessons.lesson(slug)
    for mode in lesson.modes:
        comments = [row for row in script(lesson, mode).splitlines() if row.strip().startswith("#")]
        assert [row for row in comments if "$" in row or "\\" in row] == []


def test_every_formula_of_the_lesson_is_in_the_notebook() -> None:
    cells = json.loads(notebook(LINE, "autograd"))["cells"]
    text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    formulas = [b for s in LINE.sections for b in s.blocks if isinstance(b, DisplayFormula)]
    assert text.count("$$") == 2 * len(formulas)
    assert r"\boxed{\mathtt{y\_pred[3]}}" in text
