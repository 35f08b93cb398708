"""The error messages of formulas, each one line."""

import pytest

from tutor.errors import FormulaError
from tutor.formula import parse


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        ("", "the formula is empty"),
        ("  \n % only a comment", "the formula is empty"),
        (r"\frac{a", r"\frac{ is never closed by }"),
        ("{a", "{ is never closed by }"),
        ("a}", "} without {"),
        (r"\left( a", r"\left( is never closed by \right"),
        (r"a \right)", r"\right without \left"),
        (r"\left a \right)", r"\left needs a delimiter such as ( [ \{ | or . behind it"),
        (r"\left( {a \right) }", r"\right comes before the end of {"),
        (r"\middle|", r"\middle without \left"),
        (r"\begin{cases} a", r"\begin{cases} is never closed by \end"),
        (r"\begin{cases} a \end{matrix}", r"\end{matrix} comes before the end of \begin{cases}"),
        ("a & b", r"& outside of an environment; put it into \begin{aligned}…\end{aligned}"),
        (r"\frac{a}", r"\frac lacks an argument"),
        (r"{\hat}", r"\hat lacks an argument"),
        ("x_", "_ lacks an argument"),
        ("x_i_j", "two subscripts on one base; write x_{ij} instead of x_i_j"),
        ("x^2^3", "two superscripts on one base; write x^{ab} instead of x^a^b"),
        (r"\boxed{ }", r"\boxed{} is empty: write a Python expression into it"),
        (r"\boxed w", r"\boxed needs its argument in braces: \boxed{…}"),
        (r"\text{a $x}", r"a $ in \text{…} is never closed; a dollar sign is \$"),
        ("a\\", "the formula ends in a lone backslash"),
        ("x" * 20_000, "the formula is longer than 10000 characters"),
        ("{" * 50 + "}" * 50, "the formula is nested more than 40 deep"),
        ("(" * 50 + ")" * 50, "the formula is nested more than 40 deep"),
        (r"\hat" * 100 + "x", "the formula is nested more than 40 deep"),
        (r"\sum\limits x", r"\limits must be followed by _ or ^"),
    ],
)
def test_an_error_is_named(latex, message):
    with pytest.raises(FormulaError) as caught:
        parse(latex)
    assert str(caught.value) == message


def test_an_unknown_environment_is_named_with_those_there_are():
    with pytest.raises(FormulaError, match=r"unknown environment 'tikzpicture'; there are aligned"):
        parse(r"\begin{tikzpicture} a \end{tikzpicture}")


def test_an_unknown_command_is_no_error_but_shown():
    assert parse(r"\foo{a}{b} + x").unsupported == (r"\foo{a}{b}",)


def test_a_macro_can_not_blow_up():
    bomb = r"\newcommand{\a}{xx}\newcommand{\b}{\a\a}\b"
    assert parse(bomb).unsupported == (r"\newcommand{\a}{xx}", r"\newcommand{\b}{\a\a}", r"\b")
