"""The errors of formulas, by code."""

import pytest

from tutor.errors import FormulaError
from tutor.formula import parse


@pytest.mark.parametrize(
    ("latex", "code", "values"),
    [
        ("", "empty", {}),
        ("  \n % only a comment", "empty", {}),
        (r"\frac{a", "never_closed", {"opener": r"\frac{", "closer": "}"}),
        ("{a", "never_closed", {"opener": "{", "closer": "}"}),
        ("a}", "not_open", {"closer": "}", "opener": "{"}),
        (r"\left( a", "never_closed", {"opener": r"\left(", "closer": r"\right"}),
        (r"a \right)", "not_open", {"closer": r"\right", "opener": r"\left"}),
        (r"\left a \right)", "delimiter_missing", {"command": r"\left"}),
        (r"\left( {a \right) }", "other_is_open", {"closer": r"\right", "opener": "{"}),
        (r"\middle|", "not_open", {"closer": r"\middle", "opener": r"\left"}),
        (r"\begin{cases} a", "never_closed", {"opener": r"\begin{cases}", "closer": r"\end"}),
        (r"\begin{cases} a \end{matrix}", "other_is_open",
         {"closer": r"\end{matrix}", "opener": r"\begin{cases}"}),
        (r"\sqrt[3", "never_closed", {"opener": r"\sqrt[", "closer": "]"}),
        ("a & b", "no_table", {"command": "&"}),
        (r"\sqrt{a & b}", "table_is_not_inner", {"command": "&", "opener": "{"}),
        (r"\begin{tikzpicture} a \end{tikzpicture}", "unknown_environment",
         {"name": "tikzpicture"}),
        (r"\begin{matrix} a \hline b \end{matrix}", "hline_in_row", {}),
        (r"\frac{a}", "argument_missing", {"command": r"\frac"}),
        (r"{\hat}", "argument_missing", {"command": r"\hat"}),
        ("x_", "argument_missing", {"command": "_"}),
        (r"\over 2", "nothing_before", {"command": r"\over"}),
        (r"1 \over", "nothing_after", {"command": r"\over"}),
        ("x_i_j", "two_subscripts", {}),
        ("x^2^3", "two_superscripts", {}),
        (r"\boxed{ }", "boxed_is_empty", {}),
        (r"\boxed w", "braces_missing", {"command": r"\boxed"}),
        (r"\substack a", "braces_missing", {"command": r"\substack"}),
        (r"\text{a $x}", "dollar_not_closed", {"command": r"\text"}),
        (r"\hspace{wide}", "no_width", {"command": r"\hspace", "width": "wide"}),
        (r"\kern x", "width_missing", {"command": r"\kern"}),
        ("a\\", "lone_backslash", {}),
        ("x" * 20_000, "formula_too_long", {"most": 10_000}),
        ("{" * 50 + "}" * 50, "too_deep", {"most": 40}),
        ("(" * 50 + ")" * 50, "too_deep", {"most": 40}),
        (r"\hat" * 100 + "x", "too_deep", {"most": 40}),
        (r"\sum\limits x", "limits_without_script", {"command": r"\limits"}),
        (r"x\limits_2", "limits_without_operator", {}),
    ],
)  # fmt: skip
def test_an_error_is_named(latex, code, values):
    with pytest.raises(FormulaError) as caught:
        parse(latex)
    assert (caught.value.code, caught.value.values) == (code, values)


def test_an_unknown_command_is_no_error_but_shown():
    assert parse(r"\foo{a}{b} + x").unsupported == (r"\foo{a}{b}",)


def test_a_macro_can_not_blow_up():
    bomb = r"\newcommand{\a}{xx}\newcommand{\b}{\a\a}\b"
    assert parse(bomb).unsupported == (r"\newcommand{\a}{xx}", r"\newcommand{\b}{\a\a}", r"\b")
