"""Prose, notices, numbers and lines, as they are said."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import msgspec
import pytest

from tests.shipped import lesson as shipped
from tests.ui.fake_engine import Simulated
from tutor.plain import cell_width
from tutor.plain_mode import help_lines, nearest_command, read
from tutor.plain_mode.exercise_text import spoken_notice
from tutor.plain_mode.run_narrator import all_values, changes, spoken_printed
from tutor.plain_mode.spoken_lesson import after, spoken_number, spoken_value
from tutor.plain_mode.spoken_text import (
    LineWriter,
    SpokenCode,
    following,
    in_words,
    sentence,
    spoken_formula,
    spoken_prose,
    spoken_python,
)
from tutor.protocol.frame import NONE, RankFigures, Value
from tutor.session.run_view import Notice
from tutor.wording.layout import wrap


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        ("One **bold** `w.grad` and $w_1$.\nGoes on.", ["One bold w.grad and w sub 1. Goes on."]),
        ("- first\n- second\n\n1. a\n2. b", ["first", "second", "1. a", "2. b"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["a; b", "1; 2"]),
        ("$$y = 2x$$", ["y equals 2 times x."]),
        ("```python\nw = 1\n```", [SpokenCode("w = 1\n")]),
        ("[a link](http://x) and <b>tags</b>", ["a link and <b>tags</b>"]),
        ("a → b … “so” – fine", ['a to b ... "so" - fine']),
        ("Near 1 for $z = 0$; then $z = 3$.", ["Near 1 for z equal to 0; then z equals 3."]),
        (r"It starts at $w \approx 2$.", ["It starts at w about 2."]),
        ("The shape $(4,)$ or (4,), `(4,)`.", ["The shape (4,) or (4,), (4,)."]),
        ("2 · 3 = 6", ["2 times 3 = 6"]),
    ],
)
def test_prose_is_said_line_by_line(markdown: str, lines: list[object]):
    assert spoken_prose(markdown) == lines


def test_a_formula_that_can_not_be_read_is_said_as_it_is_written():
    assert spoken_formula(r"\frac{a") == r"\frac{a"


@pytest.mark.parametrize(
    ("notice", "said"),
    [
        (Notice("beginning"), "This is the beginning. Next goes on."),
        (
            Notice("target_reached", {"epoch": 8, "further": 16}),
            "Epoch 8 is reached. Run again goes on to 16.",
        ),
        (Notice("back_at", {"reason": "it ended", "epoch": 3}), "It ended. Back at epoch 3."),
        (
            Notice("answer_first"),
            "First say what you expect. Skip: I know this. Leave: to the lesson.",
        ),
        (Notice("stopping"), "Stopping."),
        (
            Notice("left_at_exercise", {"id": "first-step"}),
            "You left this lesson at exercise first-step. Go on takes you there.",
        ),
        (
            Notice("exercise_skipped", {"number": 2, "is_typing": True, "is_last": False}),
            "Exercise 2 is skipped. Unskip takes that back.",
        ),
        (
            Notice("last_exercise", {"to_do": [1, 3], "skipped": []}),
            "No later exercise is open; 1 and 3 are still open. Exercises shows them.",
        ),
        (
            Notice("last_exercise", {"to_do": [], "skipped": []}),
            "All exercises are done. Lessons: all lessons.",
        ),
    ],
)
def test_notices_name_commands_in_place_of_keys(notice: Notice, said: str):
    assert spoken_notice(notice) == said


def test_a_key_that_a_shipped_lesson_names_can_be_typed():
    named = re.compile(r"(?:key|按) `(\S)`|\(`([A-Za-z])`\)")
    keys = {
        key or letter
        for path in Path(__file__).parents[2].glob("lessons/**/*.md")
        for key, letter in named.findall(path.read_text("utf-8"))
    }
    assert len(keys) > 3
    assert [key for key in keys if read(key) is None] == []


@pytest.mark.parametrize(
    ("x", "said"),
    [(-30.0, "-30"), (21.675, "21.675"), (0.30000001192, "0.3"), (1e-5, "1e-5"), (-0.0, "0"),
     (math.nan, "not a number"), (-math.inf, "minus infinity")],
)  # fmt: skip
def test_a_number_has_no_digits_that_say_nothing(x: float, said: str):
    assert spoken_number(x) == said


def test_arrays_are_said_row_by_row():
    assert spoken_value(Value((1.0, 2.0), (2,))) == "2 numbers: 1, 2"
    assert spoken_value(Value((1.0, 2.0, 3.0, 4.0), (2, 2))) == (
        "a 2 by 2 matrix: row 1: 1, 2; row 2: 3, 4"
    )
    assert spoken_value(Value((1.0, 2.0), (2, 1))) == "a column of 2: 1, 2"
    assert spoken_value(Value((1.0, 2.0), (1, 2)), is_part=True) == "(a row of 2: 1, 2)"
    assert spoken_value(Value((1.0,) * 64, (100,))).endswith("1; and 84 more")
    assert spoken_value(NONE) == "None"


def test_a_change_too_small_to_be_seen_is_told_as_such():
    frame = Simulated(epoch=1, step=5).frame()
    w = Value((frame.values["w"].data[0] + 1e-9,), (), "float32")
    assert changes(msgspec.structs.replace(frame, values={"w": w}), frame) == [
        "w rose by 1e-9, to 0.3."
    ]


def test_what_is_true_or_not_is_no_number_and_an_expression_no_name():
    frame = Simulated(epoch=1, step=5).frame()
    yes, no = (Value((x,), (), "bool") for x in (1.0, 0.0))
    many = Value((1.0, 2.0), (2,))
    leaf, other = ({"w is a leaf": x, "predictions": many} for x in (yes, no))
    before, after = (msgspec.structs.replace(frame, watched=x) for x in (leaf, other))
    assert changes(after, before) == ["w is a leaf: no longer true."]
    assert changes(before, after) == ["w is a leaf: now true."]
    assert "w is a leaf: false." in all_values(after)
    assert "predictions: 2 numbers: 1, 2." in all_values(after)


def test_the_loss_of_report_is_told_without_that_of_the_batch_before() -> None:
    batch = msgspec.structs.replace(Simulated(epoch=1, step=5).frame(), loss=Value((25.0,)))
    report = msgspec.structs.replace(batch, loss=Value((2.5,)))
    assert "25" in changes(report, batch)[0]
    assert changes(msgspec.structs.replace(report, loss_phase="Report"), batch) == [
        "The loss is 2.5."
    ]


def test_what_another_rank_computes_is_told_with_its_number() -> None:
    frame = Simulated().frame()
    loss, gradient, own = (Value((number,)) for number in (2.0, -3.0, -4.0))
    other = RankFigures(
        rank=1, loss=loss, values={"w": loss}, gradients={"w": gradient},
        gradients_now={"w": gradient}, gradients_before_sync={"w": own}, watched={},
    )  # fmt: skip
    ranked = msgspec.structs.replace(frame, ranks=(other,))
    said = [line for line in all_values(ranked) if "rank 1" in line]
    assert [re.findall(r"2|-3|minus 3|4", line)[0] for line in said] == ["2", "2"]
    moved = msgspec.structs.replace(other, loss=gradient)
    after = msgspec.structs.replace(frame, ranks=(moved,))
    assert len(changes(after, ranked)) == 1
    assert "rank 1" in changes(after, ranked)[0]


def test_a_warning_is_said_by_its_message_and_lines_of_signs_are_not():
    assert list(
        spoken_printed(
            [
                "/somewhere/a lesson.md:1: UserWarning: No leaf. (Triggered internally at x.)",
                "  ---",
                "======",
                "w = 3",
            ]
        )
    ) == ["A warning, UserWarning: No leaf.", "Printed: w = 3"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("(y_pred - y) ** 2", "the square of (y_pred minus y)"),
        ("mean(((y_pred - y) ** 2)[3])", "the mean of number 4 of the square of (y_pred minus y)"),
        ("-(a * b / W[0, 1])", "minus ((a times b) over row 1, column 2 of W)"),
        ("relu(x @ W + b)", "relu of ((x times, as matrices, W) plus b)"),
        ("a - (b - c)", "a minus (b minus c)"),
        ("loss.backward()", "loss.backward()"),
        ("w -= 1", "w -= 1"),
        ("x[1:3] + 1", "x[1:3] + 1"),
    ],
)
def test_operations_of_python_are_put_in_words(code: str, said: str):
    assert spoken_python(code) == said


def test_in_chinese_prose_formulas_are_their_symbols_and_quotes_stay():
    (said,) = spoken_prose("只有一个“权重”。\n一个点：$x = 1$ → 2", in_symbols=True)
    assert said == "只有一个“权重”。一个点：x = 1 → 2"
    assert spoken_formula(r"x = 1 \qquad y = 2", in_symbols=True) == "x = 1; y = 2."
    assert following("一个权重。", "四个点。", "One.") == "一个权重。四个点。One."


def test_capitals_are_told_from_small_letters_in_the_help():
    (line,) = help_lines("restart")
    assert line == "restart, or capital R: start again from the same weights."


def test_signs_are_put_in_words():
    assert in_words("w → 2, x ≤ 3 · −1") == "w to 2, x at most 3 times -1"
    assert in_words("epoch 3 · two left · a · b") == "epoch 3, two left, a times b"


def test_a_line_can_not_carry_an_escape_sequence_and_is_wrapped_at_blanks():
    out = io.StringIO()
    voice = LineWriter(out, 20)
    voice.say(
        "\x1b[2Jone two three four five six",
        "",
        SpokenCode("a = 1"),
        SpokenCode("a\nb", numbered=True),
    )
    assert out.getvalue().splitlines() == [
        "^[[2Jone two three", "four five six",
        "Code: a = 1", "Code:", "Line 1: a", "Line 2: b", "End of code.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [("这是平均值。", "这是平均值。"), ("他说：“对。”", "他说：“对。”"), ("四个点", "四个点。"),
     ("Four points", "Four points."), ("", "")],
)  # fmt: skip
def test_a_sentence_ends_as_its_language_has_it(text: str, said: str):
    assert sentence(text) == said


def test_chinese_is_wrapped_by_its_cells_and_no_row_begins_with_a_closing_mark():
    text = "损失是平均值，所以梯度就是这四个导数的 mean。现在调用 loss.backward() 吧。"
    for width in range(6, 40):
        rows = wrap(text, width)
        assert max(map(cell_width, rows)) <= width
        assert "".join(rows).replace(" ", "") == text.replace(" ", "")
        if width >= 20:
            assert not [row for row in rows if row[0] in "，。"]
    assert wrap(text, 14) == ["损失是平均值，", "所以梯度就是这", "四个导数的", "mean。现在调用",
                              "loss.backward(", ") 吧。"]  # fmt: skip


def test_single_letters_tell_capitals_apart_and_words_do_not():
    commands = [read(line) for line in ("r", "R", "RUN 3", "mode  manual ", "5")]
    names = [(c[0].name, c[1]) if c else None for c in commands]
    assert names == [("run", ""), ("restart", ""), ("run", "3"), ("mode", "manual"), None]
    assert nearest_command("exercize 3") == "exercise"
    assert nearest_command("qqqq") == ""


def test_a_formula_whose_numbers_are_unknown_is_read_without_the_code_in_its_boxes():
    chain = shipped("chain-of-three")
    section = chain.phase("Gradient")
    assert section is not None
    told = [line for line in after(chain, section, {}, with_words=True) if isinstance(line, str)]
    assert any("equals" in line for line in told)
    assert not [line for line in told if "gradient[" in line]
