"""What a learner types is read as it is meant, and judged by the exercise's own measure."""

from __future__ import annotations

import math
import warnings

import pytest

from tutor.lesson.exercise import Predict, Stage, Wrong
from tutor.protocol.frame import NONE, Value
from tutor.training.exercises import (
    UnreadableError,
    as_answer,
    close,
    expected_text,
    holds,
    is_right,
    matching_reply,
    read_answer,
    read_number,
    read_sign,
)


def predict(**options: object) -> Predict:
    given = {
        "id": "one",
        "line": 1,
        "lines": {},
        "ask": "?",
        "hints": ("h",),
        "explain": "e",
        "stage": Stage(mode="manual"),
        "answer": "w",
    }
    return Predict(**(given | options))  # type: ignore[arg-type]


def number(x: float) -> Value:
    return Value((x,))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0.5", 0.5),
        (" ,5 ", 0.5),
        ("1,25", 1.25),
        ("3.", 3.0),
        ("+2", 2.0),
        ("-1/3", -1 / 3),
        ("1 / -4", -0.25),
        ("0,5/2", 0.25),
        ("−30", -30.0),
        ("1e-3", 1e-3),
        ("1e−3", 1e-3),
        ("－１．５", -1.5),
        ("½", 0.5),
    ],
)
def test_a_number_is_read_as_it_is_meant(text: str, meant: float) -> None:
    assert read_number(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("log 3", math.log(3)),
        ("-ln 0.5", -math.log(0.5)),
        ("1.5 * log 2 + 1", 1.5 * math.log(2) + 1),
        ("sqrt 2 / 2", math.sqrt(2) / 2),
        ("exp 1", math.e),
    ],
)
def test_a_function_of_a_number_needs_no_parentheses(text: str, meant: float) -> None:
    assert read_number(text) == pytest.approx(meant)


@pytest.mark.parametrize(
    "text", ["", "two", "1,000.5", "1 2", "log 2 3", "log", "2^", "1/2/x", "nan", "inf", "١"]
)
def test_what_is_no_number_is_told_so(text: str) -> None:
    with pytest.raises(UnreadableError, match="no_typed_number"):
        read_number(text)


def test_python_has_nothing_to_say_about_what_is_typed() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(UnreadableError, match="no_typed_number"):
            read_number("1if 2")
    assert not said


def test_what_cannot_be_computed_is_told_so() -> None:
    with pytest.raises(UnreadableError, match="divides_by_0"):
        read_number("1/0")
    with pytest.raises(UnreadableError, match="typed_too_large"):
        read_number("1e999")


def test_a_sign_is_read_whatever_the_keyboard_makes_of_it() -> None:
    assert [read_sign(text) for text in ("+", " - ", "−", "－", "0")] == ["+", "-", "-", "-", "0"]
    assert [read_sign(text) for text in ("Rises", "up", "negative", "falls", "stays")] == [*"++--0"]
    plus = ("larger", "it gets larger", "Positive (+)", "the loss rises", "变大")
    minus = ("smaller", "it becomes smaller.", "down", "negative, smaller", "负")
    none = ("it stays the same", "unchanged", "as it is: 0".replace(":", ""), "不变")
    for sign, texts in (("+", plus), ("-", minus), ("0", none)):
        assert {read_sign(text) for text in texts} == {sign}
    for unclear in ("not larger", "up or down", "larger than 0", "it is", "-3", "+ -"):
        with pytest.raises(UnreadableError, match="no_sign"):
            read_sign(unclear)
    with pytest.raises(UnreadableError, match="no_sign"):
        read_sign("-3")


@pytest.mark.parametrize(
    ("form", "typed", "answer"),
    [
        ("number", "1/4", "0.25"),
        ("sign", "plus", "+"),
        ("choice", " 2. ", "down"),
        ("choice", "3", None),
        ("choice", "0", None),
    ],
)
def test_an_answer_is_read_in_its_form(form: str, typed: str, answer: str | None) -> None:
    choices = {"up": "It rises", "down": "It falls"} if form == "choice" else {}
    assert read_answer(predict(form=form, choices=choices), typed) == answer


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("number", number(0.1 + 0.2)),
        ("sign", number(-2.0)),
        ("choice", Value((), (), "str", "up")),
    ],
)
def test_a_value_is_right_as_its_own_answer(form: str, value: Value) -> None:
    choices = {"up": "It rises", "down": "It falls"} if form == "choice" else {}
    exercise = predict(form=form, choices=choices)
    assert is_right(exercise, value, as_answer(exercise, value))


def test_the_tolerance_is_relative_and_absolute_where_the_answer_is_0() -> None:
    assert close(0.99, 1.0, 0.01)
    assert close(-30.2, -30.0, 0.01)
    assert not close(-29.6, -30.0, 0.01)
    assert close(0.01, 0.0, 0.01)
    assert not close(0.02, 0.0, 0.01)
    assert not close(1.0, math.nan, 0.01)


def test_a_number_in_whatever_array_is_a_number() -> None:
    assert is_right(predict(), Value((2.0,), (1, 1), "float32"), "2")
    assert not is_right(predict(), Value((2.0, 2.0), (2,), "float32"), "2")
    assert not is_right(predict(), NONE, "0")
    assert not is_right(predict(), Value((0.0,), (), "bool"), "0")


def test_a_sign_is_that_of_the_number() -> None:
    exercise = predict(form="sign")
    assert is_right(exercise, number(-1e-9), "-")
    assert is_right(exercise, number(0.0), "0")
    assert not is_right(exercise, number(3.0), "0")


def test_a_choice_is_right_by_its_key() -> None:
    exercise = predict(form="choice", choices={"up": "It rises", "down": "It falls"})
    assert is_right(exercise, Value((), (), "str", "up"), "up")
    assert not is_right(exercise, Value((), (), "text", "up"), "up"), "the words of an error"
    assert expected_text(exercise, Value((), (), "str", "up")) == "It rises"


def test_the_first_wrong_answer_that_it_is_has_the_word() -> None:
    exercise = predict(wrong=(Wrong("4 * w", "The sum."), Wrong("-w", "The sign."), Wrong("w", "")))
    values = (number(8.0), number(-2.0), Value((), (), "text", "TypeError: no"))
    assert matching_reply(exercise, "8.01", values) == "The sum."
    assert matching_reply(exercise, "-2", values) == "The sign."
    assert matching_reply(exercise, "5", values) == ""


def test_a_condition_holds_only_if_it_is_true() -> None:
    assert holds(Value((1.0,), (), "bool"))
    assert not holds(Value((0.0,), (), "bool"))
    assert not holds(Value((1.0,), (), "int"))
    assert not holds(Value((), (), "text", "NameError: name 'x' is not defined"))


def test_an_expected_answer_is_written_as_one_could_type_it() -> None:
    assert expected_text(predict(), number(-1 / 3)) == "-0.333333"
    assert read_number(expected_text(predict(), number(1e-7))) == 1e-7
    assert expected_text(predict(form="sign"), number(-0.5)) == "-"


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("2*(1-2)*1", -2.0),
        ("−log(1/2)", 0.6931471805599453),
        ("ln(2)", 0.6931471805599453),
        ("sqrt(2) ** 2", 2.0000000000000004),
        ("2^3 - e/e + 0*pi", 7.0),
    ],
)
def test_a_sum_of_numbers_is_what_it_comes_to(typed: str, number: float) -> None:
    assert read_number(typed) == number


@pytest.mark.parametrize(
    "typed", ["w", "True", "log(0)", "1/(1-1)", "9**9**9", "print(1)", "[1]", "1 if 1 else 2", "("]
)
def test_what_is_no_sum_or_comes_to_nothing_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UnreadableError, match=r"no_typed_number|typed_not_finite"):
        read_number(typed)
