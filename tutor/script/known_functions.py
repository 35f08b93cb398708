"""The functions and methods of NumPy, PyTorch and `math` that formulas have a sign for."""

from __future__ import annotations

import ast
from collections.abc import Callable

from tutor.script import latex_terms as terms
from tutor.script.latex_names import Names
from tutor.script.latex_terms import Binding, Term


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
_ACTIVATIONS = {
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "GELU": "gelu",
    "SiLU": "silu",
    "Identity": "",
}
"""A layer of torch.nn without parameters → its function."""


def unary(name: str, of: Term, names: Names) -> Term:
    """A function of one argument, element by element. Raises NotExact for an unknown one."""
    if name in _NAMED:
        return terms.function(_NAMED[name], of)
    if name == "exp":
        return _exponential(of, names)
    if name == "sigmoid":
        sign = r"\sigma" if names.is_free(r"\sigma") else r"\operatorname{sigmoid}"
        return terms.function(sign, of)
    if name in _SHAPED:
        return _SHAPED[name](of)
    raise NotExact


def _exponential(of: Term, names: Names) -> Term:
    """`e^{-z}`, or `exp(…)` where the exponent is long or the file calls something e."""
    inner = of.negated or of
    if inner.binding == Binding.ATOM and r"\left" not in inner.latex and names.is_free("e"):
        return Term(f"e^{{{of.latex}}}", Binding.POWER)
    return terms.function(r"\exp", of)


_SHAPED: dict[str, Callable[[Term], Term]] = {
    "abs": lambda of: terms.between(r"\lvert", of, r"\rvert"),
    "sqrt": terms.root,
    "square": lambda of: terms.power(of, Term("2")),
    "neg": terms.negative,
    "reciprocal": lambda of: terms.fraction(Term("1"), of),
    "log1p": lambda of: terms.function(r"\log", terms.add(Term("1"), of)),
    "floor": lambda of: terms.between(r"\lfloor", of, r"\rfloor"),
    "ceil": lambda of: terms.between(r"\lceil", of, r"\rceil"),
}


def activation(name: str, made_by: ast.Call, of: Term, names: Names) -> Term:
    """A layer of torch.nn that has no parameters. Raises NotExact for another one."""
    arguments = [keyword.arg for keyword in made_by.keywords]
    if name not in _ACTIVATIONS or arguments not in ([], ["inplace"]):
        if name == "Softmax" and arguments == ["dim"]:
            axis = ast.unparse(made_by.keywords[0].value)
            return terms.function(rf"\operatorname{{softmax}}_{{\text{{dim {axis}}}}}", of)
        raise NotExact
    function = _ACTIVATIONS[name]
    return unary(function, of, names) if function else of
