import math
import re
from pathlib import Path

import msgspec
import pytest

import tutor.training
from tests.ui.scripts import at
from tutor.protocol.frame import NONE, Position, Value
from tutor.wording import number_format


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.3, "0.300000"),
        (-30.0, "−30"),
        (21.675, "21.6750"),
        (597.7401, "597.740"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.00012345, "1.2345e−4"),
        (1.5e300, "1.5000e300"),
        (123456.7, "123456.7"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "−inf"),
    ],
)
def test_a_number_is_shown_with_six_digits_and_a_whole_one_without_decimals(
    x: float, text: str
) -> None:
    assert number_format.number(x, 6) == text


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (0.01, 6, "0.01"),
        (1e-5, 6, "1e−5"),
        (5e-4, 5, "0.0005"),
        (-7.5, 6, "−7.5"),
        (0.0512348, 6, "0.0512348"),
        (10.05, 6, "10.05"),
        (-0.0, 6, "0"),
        (123456.0, 3, "123456"),
        (12345.6, 4, "12350"),
        (1.2345678, 2, "1.2"),
        (1.2345678, 8, "1.2345678"),
        (2e6, 6, "2e6"),
        (math.nan, 6, "NaN"),
        (-math.inf, 6, "−inf"),
    ],
)
def test_a_trimmed_number_has_no_zeros_at_its_end_and_at_most_its_digits(
    x: float, digits: int, text: str
) -> None:
    assert number_format.trimmed(x, digits) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (math.inf, ""),
        (0.2, "less than 1 s left"),
        (12.3, "about 12 s left"),
        (89.0, "about 89 s left"),
        (170.0, "about 3 min left"),
        (7000.0, "about 2 h left"),
    ],
)
def test_the_time_left_is_rounded_as_a_person_would(seconds: float | None, words: str) -> None:
    assert number_format.time_left(seconds) == words


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.0, ""),
        (120.4, "120 epochs/s"),
        (99.7, "100 epochs/s"),
        (1.44, "1.4 epochs/s"),
        (0.435, "2.3 s/epoch"),
        (1 / 89, "89 s/epoch"),
        (1 / 270, "4.5 min/epoch"),
        (1 / 7200, "2 h/epoch"),
    ],
)
def test_slow_epochs_are_told_by_their_time(rate: float, words: str) -> None:
    assert number_format.speed(rate) == words


def test_no_gradient_is_shown_as_none_and_never_as_zero() -> None:
    assert number_format.value_text(NONE) == "None"
    assert number_format.value_text(Value((0.0,))) == "0"


def test_an_array_is_shown_as_rows_in_brackets() -> None:
    value = Value((1.0, 0.25, -3.5, 4.0), (2, 2), "float32")
    assert number_format.value_lines(value, 4) == ("[ 1      0.2500]", "[−3.500  4     ]")
    assert number_format.value_text(value, 3) == "[[1 0.250] [−3.50 4]]"


def test_what_a_long_array_leaves_out_is_counted() -> None:
    value = Value(tuple(float(i) for i in range(64)), (100,), "float32")
    assert number_format.value_lines(value, 5)[-1] == "… 36 more"
    assert number_format.value_text(value) == "[0 1 2 3 …]"


def test_truth_values_are_words() -> None:
    assert number_format.value_text(Value((1.0,), (), "bool")) == "True"


def test_an_array_of_one_number_is_shown_as_that_number() -> None:
    assert number_format.value_text(Value((0.5,), (1,), "float32")) == "0.50000"


def test_every_reason_why_there_is_no_value_or_no_python_has_words() -> None:
    package = Path(tutor.training.__file__).parents[1]
    sources = [*package.glob("training/*.py"), package / "lesson" / "code_checks.py"]
    code = re.compile(r'(?:no_value\(|why=|PythonProblem\([\w.]+, )"(\w+)"')
    codes = {found for source in sources for found in code.findall(source.read_text())}
    assert codes == set(number_format._REASONS)
    for code in codes:
        assert " " in number_format.value_text(Value((), (), "text", why=code))
    assert number_format.value_text(Value((), (), "text", "KeyError: 'w'")) == "KeyError: 'w'"


def test_text_of_a_value_is_one_line_that_no_terminal_obeys() -> None:
    hostile = Value((), (), "text", "first\n\x1b[2Jsecond")
    assert number_format.value_text(hostile) == "first ^[[2Jsecond"
    assert number_format.value_lines(hostile, 4) == ("first ^[[2Jsecond",)


def test_an_empty_array_is_shown() -> None:
    assert number_format.value_text(Value((), (0,), "float32")) == "[]"


def test_a_change_says_up_down_or_same_without_colour() -> None:
    assert number_format.change_text(2.0, 1.0, 6) == "▲1"
    assert number_format.change_text(-2.0, 1.0, 6) == "▼3"
    assert number_format.change_text(2.0, 2.0, 6) == "="
    assert number_format.change_text(math.nan, 2.0, 6) == ""
    assert number_format.change_text(math.inf, 2.0, 6) == "▲inf"


def test_decimal_points_stand_in_one_column() -> None:
    assert number_format.align_points(["30", "−0.5", "None"]) == ["  30  ", "  −0.5", "None  "]


def marked(now: str, was: str) -> str:
    """`now` with each changed stretch in angle brackets."""
    for start, end in reversed(number_format.changed_spans(now, was)):
        now = f"{now[:start]}<{now[start:end]}>{now[end:]}"
    return now


@pytest.mark.parametrize(
    ("was", "now", "shown"),
    [
        ("0.3000", "0.3000", "0.3000"),
        ("0.30000", "0.55500", "0.<55500>"),
        ("1.9960", "1.9962", "1.996<2>"),
        ("21.675", "21.680", "21.6<80>"),
        ("30", "21.675", "<21.675>"),
        ("30", "30.5", "30.<5>"),
        ("30.5", "30", "<30>"),
        ("9.9999", "10.001", "<10.001>"),
        ("−0.5", "0.5", "<0.5>"),
        ("−0.50", "−0.51", "−0.5<1>"),
        ("1.2345e−4", "1.2300e−4", "1.23<00>e−4"),
        ("1.2345e−4", "1.2345e−5", "<1.2345e−5>"),
        ("None", "0", "<0>"),
        ("NaN", "inf", "<inf>"),
        ("[1 2.50 3]", "[1 2.75 3]", "[1 2.<75> 3]"),
        ("[[1 2] [3 4]]", "[[1 2] [3 5]]", "[[1 2] [3 <5>]]"),
        ("[1 2]", "[1 2 3]", "<[1 2 3]>"),
    ],
)
def test_a_number_is_marked_from_the_first_digit_that_has_changed(
    was: str, now: str, shown: str
) -> None:
    assert marked(now, was) == shown


def test_batches_are_counted_in_the_first_epoch_of_a_script_and_known_after_it() -> None:
    frame = msgspec.structs.replace(at(1, 3), batch=1, batches=2)
    assert number_format.of_batches(frame) == "2"
    assert number_format.of_batches(msgspec.structs.replace(frame, at=Position(1, 5))) == "2 of 2"
    assert (
        number_format.of_batches(msgspec.structs.replace(frame, at=Position(2, 3), batches=8))
        == "2 of 8"
    )
    assert number_format.of_batches(msgspec.structs.replace(frame, next_line=0)) == "2 of 2"


def test_a_large_array_is_worded_by_shape_mean_and_norm() -> None:
    large = Value((0.5,) * 64, (16, 8), "float32", mean=0.25, norm=3.0)
    assert number_format.value_text(large) == "(16×8: mean 0.25000, norm 3)"
    assert number_format.value_lines(large, 4) == ("(16×8: mean 0.2500, norm 3)",)
    assert number_format.summary(Value((3.0, 4.0), (2,), "float32")) == {
        "mean": "3.500",
        "norm": "5",
    }
    assert number_format.summary(NONE) == {}


def test_an_article_is_the_one_that_is_said() -> None:
    said_with_an = [n for n in (1, 2, 7, 8, 10, 11, 12, 18, 28, 80, 89, 110, 180, 800, 8000, 11_000,
                                1100) if number_format.article(n) == "an"]  # fmt: skip
    assert said_with_an == [8, 11, 18, 80, 89, 800, 8000, 11_000]
