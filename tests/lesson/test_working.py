"""The working of an answer: its leaves, its result, and its numbers as LaTeX."""

from __future__ import annotations

import pytest

from tutor.errors import WorkingError
from tutor.lesson.working import has_calculation, latex, leaves, result

NUMBERS = {
    "a": (-3.0,),
    "b": (2.0,),
    "c": (0.5,),
    "v[0]": (4.0,),
    "x.mean()": (0.5,),
    "x": (1.0, -2.0, 3.0),
    "y": (4.0, 5.0, -6.0),
}


def text(number: float) -> str:
    return "1 \\cdot 10^{-5}" if number == 1e-5 else f"{number:g}"


@pytest.mark.parametrize(
    ("expression", "written", "value"),
    [
        ("b - c * a", r"2 - 0.5 \cdot (-3)", 3.5),
        ("a * b - c", r"-3 \cdot 2 - 0.5", -6.5),
        ("a - (b - c) / (a / b)", r"-3 - (2 - 0.5) / (-3 / 2)", -2),
        ("a ** 2 + -b", r"(-3)^{2} + (-2)", 7),
        ("-(b + c) ** 0.5 * b", r"-(2 + 0.5)^{0.5} \cdot 2", -(2.5**0.5) * 2),
        ("(b ** 2) ** 3", r"(2^{2})^{3}", 64),
        ("1e-5 * b", r"1 \cdot 10^{-5} \cdot 2", 2e-5),
        ("c / 1e-5", r"0.5 / (1 \cdot 10^{-5})", 5e4),
        ("float(b * c).item()", r"2 \cdot 0.5", 1),
        ("np.log(b) + b.exp() - torch.sigmoid(c - c)", None, 0.6931472 + 7.389056 - 0.5),
        ("abs(a) + math.sqrt(v[0])", r"\left| -3 \right| + \sqrt{4}", 5),
        ("max(0, a) + min(b, c, 1)", r"\max(0, -3) + \min(2, 0.5, 1)", 0.5),
        ("x.sum() * b", r"(1 - 2 + 3) \cdot 2", 4),
        ("b - (x * y).mean()", r"2 - (1 \cdot 4 - 2 \cdot 5 + 3 \cdot (-6)) / 3", 10),
        ("(b * (x - y)).sum()", None, 2 * (-3 - 7 + 9)),
        ("((x - x.mean()) ** 2).sum()", "(1 - 0.5)^{2} + (-2 - 0.5)^{2} + (3 - 0.5)^{2}", 12.75),
        ("b + (y - 6).sum() * 2", r"2 + ((4 - 6) + (5 - 6) + (-6 - 6)) \cdot 2", -28),
        ("b + (c + (-x).sum())", "2 + 0.5 + (-1) - (-2) - 3", 0.5),
        ("np.sum(x - b)", "(1 - 2) + (-2 - 2) + (3 - 2)", -4),
    ],
)
def test_an_expression_is_written_with_its_numbers(
    expression: str, written: str | None, value: float
) -> None:
    assert set(leaves(expression)) <= set(NUMBERS)
    if written is not None:
        assert latex(expression, NUMBERS, text) == written
    assert result(expression, NUMBERS) == pytest.approx(value)


def test_what_is_no_calculation_is_one_number() -> None:
    expression = 'w[0] * gradient["w"][1] + x.norm() * x.mean(axis=0) - y.grad + len(losses)'
    assert leaves(expression) == (
        "w[0]",
        "gradient['w'][1]",
        "x.norm()",
        "x.mean(axis=0)",
        "y.grad",
        "len(losses)",
    )
    assert has_calculation(expression)
    assert not any(map(has_calculation, ("w", "float(w.grad)", "2", "x.norm()", "w > 2")))


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("b * x", "working_not_one_number"),
        ("b / (c - c)", "working_fails"),
        ("np.log(a)", "working_fails"),
        ("x.sum() * x", "working_not_one_number"),
        ("(x * z).sum()", "working_lengths_differ"),
        ("many.sum()", "working_terms"),
        ("a ** c", "working_fails"),
    ],
)
def test_a_working_that_comes_to_nothing_says_why(expression: str, code: str) -> None:
    with pytest.raises(WorkingError) as told:
        result(expression, {**NUMBERS, "z": (1.0, 2.0), "many": (1.0,) * 9})
    assert told.value.code == code


def test_no_working_takes_long_however_deep_it_nests() -> None:
    assert result("-" * 200 + "a", NUMBERS) == -3
    nested = "(" * 25 + "a" + " + b) * c" * 25
    assert result(nested, NUMBERS) == pytest.approx(2)
    assert latex(nested, NUMBERS, text).count("(") == 25
