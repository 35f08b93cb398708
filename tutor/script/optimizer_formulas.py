"""The formulas of an optimizer's step: plain SGD, SGD with momentum, and Adam."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from tutor.script import latex_terms as terms
from tutor.script.expression_latex import ExpressionLatex
from tutor.script.known_functions import NotExact
from tutor.script.latex_names import Names
from tutor.script.latex_terms import Term

THETA = r"\theta"
"""Any parameter that the optimizer holds."""
_MOST_PARAMETERS = 4
_HARMLESS = frozenset(("foreach", "fused", "capturable", "differentiable"))
_FOR_EACH = rf" \quad \text{{for each parameter }} {THETA}"


def each_parameter(names: Names) -> Term:
    """The gradient of any parameter. Raises NotExact if the file calls something theta."""
    if not names.is_free(THETA):
        raise NotExact
    return Term(rf"\nabla_{{{THETA}}}")


def optimizer_step(
    owner: ast.expr, expressions: ExpressionLatex, boxed: Callable[[str], str]
) -> Iterator[str]:
    """The equations of `owner.step()`; `boxed` appends a parameter's number.

    Raises NotExact if the code does not say which optimizer that is, or for another one.
    """
    made = expressions.facts.only_value(owner)
    if not isinstance(made, ast.Call):
        raise NotExact
    package, _, name = expressions.facts.dotted(made.func).rpartition(".")
    if not package.startswith("torch.optim") or len(made.args) > 2 or not made.args:
        raise NotExact
    settings = {k.arg or "": k.value for k in made.keywords if k.arg not in _HARMLESS}
    settings.pop("lr", None)
    rate = Term(r"\eta" if expressions.names.is_free(r"\eta") else r"\text{lr}")
    if name == "SGD" and not settings:
        yield from _plain(made.args[0], rate, expressions, boxed)
    elif name == "SGD" and settings.keys() == {"momentum"}:
        yield from _with_momentum(_number(settings["momentum"]), rate, expressions.names)
    elif name == "Adam" and settings.keys() <= {"betas", "eps"}:
        yield from _adam(settings, rate, expressions.names)
    else:
        raise NotExact


def _plain(
    held: ast.expr, rate: Term, expressions: ExpressionLatex, boxed: Callable[[str], str]
) -> Iterator[str]:
    parameters = held.elts if isinstance(held, ast.List | ast.Tuple) else []
    if not 0 < len(parameters) <= _MOST_PARAMETERS:
        yield _stepped(Term(THETA), rate, each_parameter(expressions.names)) + _FOR_EACH
        return
    for parameter in parameters:
        if not isinstance(parameter, ast.Name | ast.Attribute | ast.Subscript):
            raise NotExact
        term, gradient = expressions.term(parameter), expressions.gradient(parameter)
        yield _stepped(term, rate, gradient) + boxed(ast.unparse(parameter))


def _stepped(parameter: Term, rate: Term, along: Term) -> str:
    step = terms.product(rate, along, is_number=False, is_scalar=True)
    return rf"{parameter.latex} \leftarrow {terms.add(parameter, step, '-').latex}"


def _with_momentum(momentum: float, rate: Term, names: Names) -> Iterator[str]:
    gradient = each_parameter(names)
    if not names.is_free("v"):
        raise NotExact
    yield rf"v \leftarrow {_scaled(momentum, Term('v')).latex} + {gradient.latex}"
    yield _stepped(Term(THETA), rate, Term("v")) + _FOR_EACH


def _adam(settings: Mapping[str, ast.expr], rate: Term, names: Names) -> Iterator[str]:
    gradient = each_parameter(names)
    if not all(map(names.is_free, ("m", "v", "t"))):
        raise NotExact
    betas = settings.get("betas", ast.Tuple([ast.Constant(0.9), ast.Constant(0.999)]))
    if not isinstance(betas, ast.Tuple) or len(betas.elts) != 2:
        raise NotExact
    first, second = map(_number, betas.elts)
    epsilon = terms.number(_number(settings.get("eps", ast.Constant(1e-8))))
    m, v, squared = Term("m"), Term("v"), terms.power(gradient, Term("2"))
    yield _averaged(m, first, gradient)
    yield _averaged(v, second, squared)
    below = terms.add(terms.root(_corrected(v, second)), epsilon)
    yield _stepped(Term(THETA), rate, terms.fraction(_corrected(m, first), below)) + _FOR_EACH


def _averaged(average: Term, keeps: float, new: Term) -> str:
    """`m ← 0.9 m + 0.1 ∇`."""
    sum_of = terms.add(_scaled(keeps, average), _scaled(round(1 - keeps, 12), new))
    return rf"{average.latex} \leftarrow {sum_of.latex}"


def _corrected(average: Term, keeps: float) -> Term:
    """The average without the bias of its start at 0, at step t."""
    kept = terms.power(terms.number(keeps), Term("t"))
    return terms.fraction(average, terms.add(Term("1"), kept, "-"))


def _scaled(factor: float, of: Term) -> Term:
    return terms.product(terms.number(factor), of, is_number=True, is_scalar=True)


def _number(node: ast.expr) -> float:
    """A number that is written out. Raises NotExact."""
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        raise NotExact
    if not 0 <= node.value < 1:  # type: ignore[operator]
        raise NotExact
    return float(node.value)  # type: ignore[arg-type]
