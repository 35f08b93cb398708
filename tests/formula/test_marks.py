"""Live values and unsupported pieces: where they are, and that nothing of them is lost."""

import pytest
from wcwidth import wcswidth

from tutor.formula import FormulaMark, FormulaPicture, draw, draw_inline, parse


def cells(picture: FormulaPicture, mark: FormulaMark) -> str:
    """The text in the marked cells."""
    text, at = "", 0
    for character in picture.rows[mark.row]:
        if mark.start <= at < mark.end:
            text += character
        at += wcswidth(character)
    return text


def test_expressions_are_raw_python_in_order():
    formula = parse(r"\boxed{y_pred[3]} = \boxed{x[0, 1] ** 2} + \boxed{ {'a': 1}['a'] % 2 }")
    assert formula.boxed == ("y_pred[3]", "x[0, 1] ** 2", "{'a': 1}['a'] % 2")


def test_values_stand_in_place_of_their_expressions():
    picture = draw(
        parse(r"\hat{y}_4 = \boxed{w} \cdot \boxed{x[3]} = \boxed{y_pred[3]}"),
        {"w": "0.5550", "x[3]": "4", "y_pred[3]": "2.2200"},
    )
    assert picture.rows == ("ŷ₄ = 0.5550 · 4 = 2.2200",)
    assert picture.marks == (
        FormulaMark(0, 5, 11, "value", "w"),
        FormulaMark(0, 14, 15, "value", "x[3]"),
        FormulaMark(0, 18, 24, "value", "y_pred[3]"),
    )


def test_a_missing_value_is_a_visible_placeholder():
    formula = parse(r"\frac{\boxed{a}}{\boxed{b}}")
    assert draw(formula, {"a": "12"}).rows == ("12", "──", "□ ")
    assert draw(formula, {"a": "12"}, ascii=True).rows == ("12", "--", "? ")
    assert draw_inline(formula, {"a": "12"}) == "12/□"


def test_marks_count_wide_characters_as_two_cells():
    picture = draw(
        parse(r"\text{损失} = \boxed{loss} \text{（很小）} \boxed{n}"), {"loss": "3", "n": "4"}
    )
    assert [cells(picture, m) for m in picture.marks] == ["3", "4"]
    assert picture.marks[0].start == 7


def test_marks_are_on_their_rows():
    formula = parse(r"\sum_{i=1}^{\boxed{n}} \frac{\boxed{a}}{\boxed{b}} + x_{\boxed{k}}")
    picture = draw(formula, {"n": "10", "a": "111", "b": "22", "k": "5"})
    shown = {m.text: (m.row, cells(picture, m)) for m in picture.marks}
    assert shown == {"n": (0, "10"), "a": (0, "111"), "b": (2, "22"), "k": (2, "5")}


def test_a_value_of_several_lines_is_marked_on_each():
    picture = draw(parse(r"W = \left[\boxed{W}\right]"), {"W": "1 2\n3 4\n5 6"})
    assert picture.rows == ("    ⎡1 2⎤", "W = ⎢3 4⎥", "    ⎣5 6⎦")
    assert [(m.row, cells(picture, m)) for m in picture.marks] == [
        (0, "1 2"),
        (1, "3 4"),
        (2, "5 6"),
    ]


def test_a_negative_value_behind_an_operator_or_below_a_power_is_in_parentheses():
    formula = parse(r"\boxed{a} - \boxed{b} \cdot \boxed{a}^2")
    values = {"a": "-1.5", "b": "−2"}
    picture = draw(formula, values)
    assert picture.rows == ("-1.5 − (−2) · (-1.5)²",)
    assert [cells(picture, m) for m in picture.marks] == ["-1.5", "−2", "-1.5"]
    assert draw_inline(formula, values) == picture.rows[0]


def test_unsupported_pieces_are_marked_where_they_stand():
    formula = parse(r"\enclose{x} + y_\foo")
    picture = draw(formula)
    assert formula.unsupported == (r"\enclose{x}", r"\foo")
    assert [(m.kind, m.text, cells(picture, m)) for m in picture.marks] == [
        ("unsupported", r"\enclose{x}", r"\enclose{x}"),
        ("unsupported", r"\foo", r"\foo"),
    ]


@pytest.mark.parametrize("hostile", ["\x1b[31m", "a\x07", "\x9b2J", "x\u202ey", "\r\b", "[bold]"])
@pytest.mark.parametrize("latex", ["x {} y", r"\text{{a{}b}}", r"\foo{{{}}}", r"\boxed{{v}}"])
def test_control_characters_come_out_as_visible_text(hostile, latex):
    formula = parse(latex.format(hostile))
    for ascii in (False, True):
        drawn = "".join(draw(formula, {"v": hostile}, ascii=ascii).rows)
        inline = draw_inline(formula, {"v": hostile}, ascii=ascii)
        assert (drawn + inline).isprintable()


def test_an_escape_is_shown_as_a_caret_and_a_bracket():
    assert draw(parse("a + \x1b[31m")).rows == ("a + ^[[31m",)
    assert draw(parse(r"\boxed{v}"), {"v": "\x1b[31m"}).rows == ("^[[31m",)
