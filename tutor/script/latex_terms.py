"""Pieces of LaTeX that know how strongly their outermost sign binds: parentheses depend on that.

A matrix product is written as `X w`, a product of arrays element by element as `a ⊙ b`, and a
product with a single number as `η · x` or `2 x`. They bind in this order, from the strongest.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tutor.python_syntax import names_in


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
    """The term `a`, if this is `-a`."""

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
        return Term(_side_by_side(left, right), Binding.SCALED, right.is_open)
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
    return Term(_side_by_side(left, right), Binding.MATRICES)


def _side_by_side(left: Term, right: Term) -> str:
    """A product without a sign; beside a word, which would run into it, with a dot."""
    dot = r"\cdot " if r"\text{" in left.latex + right.latex else ""
    return f"{left.latex} {dot}{right.latex}"


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


# ── The names of a script ─────────────────────────────────────────────────────────────────

_LETTERS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu",
    "nu", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Pi", "Sigma", "Phi", "Psi", "Omega",
]  # fmt: skip
_GREEK = {letter: rf"\{letter}" for letter in _LETTERS}
_GREEK |= {"eps": r"\epsilon"} | dict.fromkeys(("lam", "lamda", "lambda_", "lmbda"), r"\lambda")
_ITEM = re.compile(r"([XYxywzt])([ij])")
"""`xi` is one x of many in a learner's code, and no Greek letter."""
_STEM = re.compile(r"([A-Za-z]+?)(\d*)")


class Names:
    """The LaTeX of a file's names, and of members such as `self.w` or `params["w"]`."""

    def __init__(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        known = names_in(tree)
        known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        members = {found for node in nodes if (found := member_of(node))}
        self._known = frozenset(known)
        self._count = Counter(map(_latex, known))
        self._members = Counter(_latex(name) for _, name in members)

    def term(self, name: str) -> Term:
        """A name of the file."""
        latex = _latex(name)
        others = self._count[latex] - (name in self._known)
        return as_written(name) if others else Term(latex)

    def is_free(self, latex: str) -> bool:
        """Whether nothing in the file is written so: then it can stand for something else."""
        return not self._count[latex] and not self._members[latex]

    def member(self, node: ast.expr) -> Term | None:
        """`self.w` or `params["w"]`; w, if nothing else in the file has this name."""
        if (found := member_of(node)) is None:
            return None
        latex = _latex(found[1])
        is_alone = self._members[latex] == 1 and not self._count[latex]
        return Term(latex) if is_alone else as_written(ast.unparse(node).replace("'", '"'))


def member_of(node: ast.AST) -> tuple[str, str] | None:
    """The owner and the name of a member."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return "self", name
        case ast.Subscript(value=owner, slice=ast.Constant(value=str() as name)):
            return ast.unparse(owner), name
    return None


def as_written(name: str) -> Term:
    """A name as it stands in the code."""
    return Term(_text(name))


def _latex(name: str) -> str:
    if item := _ITEM.fullmatch(name):
        return f"{item[1]}_{{{item[2]}}}"
    if name in _GREEK:
        return _GREEK[name]
    if name.endswith("_hat") and len(name) == len("y_hat") and name[0].isascii():
        return rf"\hat{{{name[0]}}}"
    first, *rest = name.split("_")
    stem = _STEM.fullmatch(first)
    if stem is None or not all(part.isascii() and part.isalnum() for part in rest):
        return _text(name)
    letter, digits = stem.groups()
    if len(letter) > 1 and letter not in _GREEK and not all(map(str.isdigit, rest)):
        return _text(name)
    base = _GREEK.get(letter) or (letter if len(letter) == 1 else rf"\text{{{letter}}}")
    below = [part if part.isdigit() or len(part) == 1 else rf"\text{{{part}}}" for part in rest]
    below = [digits, *below] if digits else below
    return f"{base}_{{{','.join(below)}}}" if below else base


def _text(name: str) -> str:
    escaped = re.sub(r"([_&%$#{}])", r"\\\1", name)
    return rf"\text{{{escaped}}}"


# ── The functions and methods that formulas have a sign for ───────────────────────────────


class NotExact(Exception):
    """Code that no formula says exactly."""


PACKAGES = frozenset(["builtins", "math", "numpy", "numpy.linalg", "torch",
    "torch.linalg", "torch.special", "torch.nn.functional", "scipy.special"])  # fmt: skip
SYNONYMS = {
    "absolute": "abs",
    "fabs": "abs",
    "expit": "sigmoid",
    "power": "pow",
    "negative": "neg",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "mm": "matmul",
    "mv": "matmul",
    "dot": "matmul",
    "clip": "clamp",
    "t": "transpose",
    "vector_norm": "norm",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
}
BINARY: dict[str, type[ast.operator]] = {
    "add": ast.Add,
    "sub": ast.Sub,
    "mul": ast.Mult,
    "div": ast.Div,
    "pow": ast.Pow,
    "matmul": ast.MatMult,
}
REDUCTIONS = frozenset(("sum", "mean", "max", "min", "std", "var", "norm"))
AXES = frozenset(("dim", "axis"))

_NAMED = {name: rf"\{name}" for name in ["log", "sin", "cos", "tan", "sinh", "cosh", "tanh"]}
_NAMED |= {"asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan"}
_NAMED |= {"log2": r"\log_{2}", "log10": r"\log_{10}"}
_NAMED |= {
    name: rf"\operatorname{{{name}}}"
    for name in ["relu", "softplus", "gelu", "silu", "sign", "elu", "erf"]
}
_FUNCTIONS = ("ReLU", "Sigmoid", "Tanh", "Softplus", "GELU", "SiLU")
_ACTIVATIONS = {"Identity": "", **{name: name.lower() for name in _FUNCTIONS}}
"""A layer of torch.nn without parameters → its function."""


def unary(name: str, operand: Term, names: Names) -> Term:
    """A function of one argument, element by element. Raises NotExact for an unknown one."""
    if name in _NAMED:
        return function(_NAMED[name], operand)
    if name == "exp":
        return _exponential(operand, names)
    if name == "sigmoid":
        sign = r"\sigma" if names.is_free(r"\sigma") else r"\operatorname{sigmoid}"
        return function(sign, operand)
    if name in _SHAPED:
        return _SHAPED[name](operand)
    raise NotExact


def _exponential(operand: Term, names: Names) -> Term:
    """`e^{-z}`, or `exp(…)` where the exponent is long or the file calls something e."""
    inner = operand.negated or operand
    if inner.binding == Binding.ATOM and r"\left" not in inner.latex and names.is_free("e"):
        return Term(f"e^{{{operand.latex}}}", Binding.POWER)
    return function(r"\exp", operand)


_SHAPED: dict[str, Callable[[Term], Term]] = {
    "abs": lambda operand: between(r"\lvert", operand, r"\rvert"),
    "sqrt": root,
    "square": lambda operand: power(operand, Term("2")),
    "neg": negative,
    "reciprocal": lambda operand: fraction(Term("1"), operand),
    "log1p": lambda operand: function(r"\log", add(Term("1"), operand)),
    "floor": lambda operand: between(r"\lfloor", operand, r"\rfloor"),
    "ceil": lambda operand: between(r"\lceil", operand, r"\rceil"),
}


def activation(name: str, made_by: ast.Call, operand: Term, names: Names) -> Term:
    """A layer of torch.nn that has no parameters. Raises NotExact for another one."""
    arguments = [keyword.arg for keyword in made_by.keywords]
    if name not in _ACTIVATIONS or arguments not in ([], ["inplace"]):
        if name == "Softmax" and arguments == ["dim"]:
            axis = ast.unparse(made_by.keywords[0].value)
            return function(rf"\operatorname{{softmax}}_{{\text{{dim {axis}}}}}", operand)
        raise NotExact
    computes = _ACTIVATIONS[name]
    return unary(computes, operand, names) if computes else operand
