"""Pieces of LaTeX with what parentheses need to know: how strongly their outermost sign binds.

A matrix product is written as `X w`, a product of arrays element by element as `a ⊙ b`, and a
product with a single number as `η · x` or `2 x`. They bind in this order, from the strongest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Binding(IntEnum):
    """The strength with which a term's outermost sign binds, the weakest first."""

    COMPARISON = 0
    SUM = 1
    NEGATIVE = 2
    PRODUCT = 3
    SCALED = 4
    """`2 x`, and `∑ x`, which reaches as far as products do."""
    MATRICES = 5
    FRACTION = 6
    """A fraction or a function of something: only a power needs parentheses around it."""
    POWER = 7
    ATOM = 8


@dataclass(frozen=True, slots=True)
class Term:
    """A piece of LaTeX."""

    latex: str
    binding: Binding = Binding.ATOM
    is_open: bool = False
    """Whether a factor behind it would be read as a part of the sum that it ends with."""
    negated: Term | None = None
    """Of `-a`: the term `a`."""

    @property
    def starts_with_digit(self) -> bool:
        """Whether a number before it would be read as a part of its own."""
        return self.latex[0].isdigit() or self.latex.startswith(r"\frac{")


def in_parentheses(term: Term) -> Term:
    """The term in parentheses that grow with it."""
    return Term(rf"\left({term.latex}\right)")


def _binding(term: Term, weakest: Binding) -> Term:
    """The term, in parentheses if it binds more weakly."""
    return term if term.binding >= weakest else in_parentheses(term)


def number(value: float) -> Term:
    """A number that is not negative, as Python writes it: 0.5, `10^{-8}`."""
    mantissa, _, exponent = repr(value).removesuffix(".0").partition("e")
    if not exponent:
        return Term(mantissa)
    power = Term(rf"10^{{{int(exponent)}}}", Binding.POWER)
    if float(mantissa) == 1:
        return power
    return Term(rf"{mantissa} \cdot {power.latex}", Binding.PRODUCT)


def negative(term: Term) -> Term:
    """`-a`."""
    inner = _binding(term, Binding.PRODUCT)
    return Term(f"-{inner.latex}", Binding.NEGATIVE, inner.is_open, negated=term)


def add(a: Term, b: Term, sign: str = "+") -> Term:
    """`a + b` or `a - b`."""
    if sign == "+" and b.negated:
        return add(a, b.negated, "-")
    left, right = _binding(a, Binding.SUM), _binding(b, Binding.PRODUCT)
    return Term(f"{left.latex} {sign} {right.latex}", Binding.SUM)


def compare(a: Term, b: Term, sign: str) -> Term:
    """`a > b`."""
    left, right = _binding(a, Binding.SUM), _binding(b, Binding.SUM)
    return Term(f"{left.latex} {sign} {right.latex}", Binding.COMPARISON)


def product(a: Term, b: Term, *, is_number: bool, is_scalar: bool) -> Term:
    """`a * b`; `is_number`: a is a number that is written out; `is_scalar`: a or b is a number."""
    if a.negated:
        return negative(product(a.negated, b, is_number=is_number, is_scalar=is_scalar))
    left = in_parentheses(a) if a.is_open else _binding(a, Binding.PRODUCT)
    right = b if b.is_open and b.binding > Binding.PRODUCT else _binding(b, Binding.MATRICES)
    if is_number and left.binding > Binding.PRODUCT and not right.starts_with_digit:
        return Term(f"{left.latex} {right.latex}", Binding.SCALED, right.is_open)
    if not is_scalar:
        left, right = _without_matrices(left), _without_matrices(right)
    sign = r"\cdot" if is_scalar else r"\odot"
    return Term(f"{left.latex} {sign} {right.latex}", Binding.PRODUCT, right.is_open)


def _without_matrices(term: Term) -> Term:
    return in_parentheses(term) if term.binding == Binding.MATRICES else term


def matrix_product(a: Term, b: Term) -> Term:
    """`a @ b`."""
    if a.negated:
        return negative(matrix_product(a.negated, b))
    left = in_parentheses(a) if a.is_open else _binding(a, Binding.SCALED)
    right = _binding(b, Binding.FRACTION)
    return Term(f"{left.latex} {right.latex}", Binding.MATRICES)


def fraction(a: Term, b: Term) -> Term:
    """`a / b`."""
    if a.negated:
        return negative(fraction(a.negated, b))
    return Term(rf"\frac{{{a.latex}}}{{{b.latex}}}", Binding.FRACTION)


def power(a: Term, b: Term) -> Term:
    """`a ** b`."""
    return Term(f"{_binding(a, Binding.ATOM).latex}^{{{b.latex}}}", Binding.POWER)


def transposed(a: Term) -> Term:
    """`a.T`."""
    return power(a, Term(r"\top"))


def subscripted(a: Term, index: str) -> Term:
    """`a[index]`; a name that has a subscript already stands in parentheses."""
    base = _binding(a, Binding.ATOM)
    if "_{" in base.latex and not base.latex.endswith(r"\right)"):
        base = in_parentheses(base)
    return Term(f"{base.latex}_{{{index}}}")


def summed(a: Term, below: str = "") -> Term:
    """The sum of all elements; `below` says which, if not all."""
    inner = _binding(a, Binding.PRODUCT)
    sign = rf"\sum_{{{below}}}" if below else r"\sum"
    return Term(f"{sign} {inner.latex}", Binding.SCALED, is_open=True)


def function(name: str, *arguments: Term) -> Term:
    """A function of its arguments; the name is LaTeX."""
    inside = ", ".join(argument.latex for argument in arguments)
    return Term(rf"{name}\left({inside}\right)", Binding.FRACTION)


def between(left: str, a: Term, right: str) -> Term:
    """The term between two delimiters: `|a|`."""
    return Term(rf"\left{left} {a.latex} \right{right}")


def root(a: Term) -> Term:
    """The square root."""
    return Term(rf"\sqrt{{{a.latex}}}")
