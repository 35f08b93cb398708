"""The formulas of an optimizer's step: SGD, Adam, AdamW, RMSprop, Adagrad."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from tutor.script import latex_terms as terms
from tutor.script.expression_latex import ExpressionLatex
from tutor.script.latex_terms import Names, NotExact, Term

THETA = r"\theta"
"""Any parameter that the optimizer holds."""
MOST_PARAMETERS = 4
_IMPLEMENTATION_OPTIONS = frozenset(("foreach", "fused", "capturable", "differentiable"))
FOR_EACH = rf" \quad \text{{for each parameter }} {THETA}"


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
    if any(isinstance(node, ast.Dict) for node in ast.walk(made.args[0])):
        raise NotExact  # groups with settings of their own
    settings = {k.arg or "": k.value for k in made.keywords if k.arg not in _IMPLEMENTATION_OPTIONS}
    settings.pop("lr", None)
    step = _Step(settings, expressions)
    if name == "SGD" and not settings:
        yield from step.plain(made.args[0], boxed)
    elif name in _STEPS:
        yield from _STEPS[name](step)
        if step.settings:
            raise NotExact
    else:
        raise NotExact


class _Step:
    """The equations of a step; each setting that they express is taken out of `settings`."""

    def __init__(self, settings: dict[str, ast.expr], expressions: ExpressionLatex) -> None:
        self.settings, self._expressions = settings, expressions
        names = expressions.names
        self._is_free = names.is_free
        self.rate = Term(r"\eta" if names.is_free(r"\eta") else r"\text{lr}")
        self.gradient = each_parameter(names)
        self.theta = Term(THETA)

    def plain(self, held: ast.expr, boxed: Callable[[str], str]) -> Iterator[str]:
        """Against the gradient; if the optimizer is given names, one equation for each."""
        parameters = held.elts if isinstance(held, ast.List | ast.Tuple) else []
        named = (ast.Name, ast.Attribute, ast.Subscript)
        are_named = all(isinstance(p, named) for p in parameters)
        if not are_named or not 0 < len(parameters) <= MOST_PARAMETERS:
            yield self._stepped(self.theta, self.gradient) + FOR_EACH
            return
        for parameter in parameters:
            term = self._expressions.term(parameter)
            gradient = self._expressions.gradient(parameter)
            yield self._stepped(term, gradient) + boxed(ast.unparse(parameter))

    def sgd(self) -> Iterator[str]:
        """With momentum, Nesterov's too, or with weight decay."""
        gradient = self.gradient
        if decay := self.number("weight_decay", 0):
            gradient = terms.add(gradient, _scaled(decay, self.theta))
        momentum = self.number("momentum", 0)
        is_nesterov = ast.unparse(self.settings.pop("nesterov", ast.Constant(False)))
        if not momentum:
            yield self._stepped(self.theta, gradient) + FOR_EACH
            return
        if is_nesterov not in ("True", "False"):
            raise NotExact
        v = self.symbol("v")
        yield rf"v \leftarrow {terms.add(_scaled(momentum, v), gradient).latex}"
        along = terms.add(gradient, _scaled(momentum, v)) if is_nesterov == "True" else v
        yield self._stepped(self.theta, along) + FOR_EACH

    def adamw(self) -> Iterator[str]:
        """Adam with weight decay apart from the gradient."""
        decay = _scaled(self.number("weight_decay", 0.01), self.theta)
        yield self._stepped(self.theta, decay) + FOR_EACH
        yield from self.adam()

    def adam(self) -> Iterator[str]:
        """Averages of the gradient and of its square, corrected for their start at 0."""
        betas = self.settings.pop("betas", ast.Tuple([ast.Constant(0.9), ast.Constant(0.999)]))
        if not isinstance(betas, ast.Tuple) or len(betas.elts) != 2:
            raise NotExact
        first, second = map(_number, betas.elts)
        m, v = self.symbol("m"), self.symbol("v")
        self.symbol("t")
        yield _averaged(m, first, self.gradient)
        yield _averaged(v, second, terms.power(self.gradient, Term("2")))
        below = terms.add(terms.root(_corrected(v, second)), self.epsilon(1e-8))
        along = terms.fraction(_corrected(m, first), below)
        yield self._stepped(self.theta, along) + FOR_EACH

    def rmsprop(self) -> Iterator[str]:
        """The gradient by the root of an average of its square."""
        v = self.symbol("v")
        yield _averaged(v, self.number("alpha", 0.99), terms.power(self.gradient, Term("2")))
        below = terms.add(terms.root(v), self.epsilon(1e-8))
        yield self._stepped(self.theta, terms.fraction(self.gradient, below)) + FOR_EACH

    def adagrad(self) -> Iterator[str]:
        """The gradient by the root of the sum of its squares."""
        v = self.symbol("v")
        yield rf"v \leftarrow {terms.add(v, terms.power(self.gradient, Term('2'))).latex}"
        below = terms.add(terms.root(v), self.epsilon(1e-10))
        yield self._stepped(self.theta, terms.fraction(self.gradient, below)) + FOR_EACH

    def number(self, name: str, default: float) -> float:
        """A setting that is a number. Raises NotExact if it is another expression."""
        return _number(self.settings.pop(name, ast.Constant(default)))

    def epsilon(self, default: float) -> Term:
        """The term that keeps the divisor from being 0."""
        return terms.number(self.number("eps", default))

    def symbol(self, latex: str) -> Term:
        """A sign that the file uses for nothing else. Raises NotExact."""
        if not self._is_free(latex):
            raise NotExact
        return Term(latex)

    def _stepped(self, parameter: Term, along: Term) -> str:
        step = terms.product(self.rate, along, is_number=False, is_scalar=True)
        return rf"{parameter.latex} \leftarrow {terms.add(parameter, step, '-').latex}"


_STEPS: Mapping[str, Callable[[_Step], Iterator[str]]] = {
    "SGD": _Step.sgd,
    "Adam": _Step.adam,
    "AdamW": _Step.adamw,
    "RMSprop": _Step.rmsprop,
    "Adagrad": _Step.adagrad,
}


def _averaged(average: Term, keeps: float, new: Term) -> str:
    """`m ← 0.9 m + 0.1 ∇`."""
    sum_of = terms.add(_scaled(keeps, average), _scaled(round(1 - keeps, 12), new))
    return rf"{average.latex} \leftarrow {sum_of.latex}"


def _corrected(average: Term, keeps: float) -> Term:
    """The average without the bias of its start at 0, at step t."""
    kept = terms.power(terms.number(keeps), Term("t"))
    return terms.fraction(average, terms.add(Term("1"), kept, "-"))


def _scaled(factor: float, term: Term) -> Term:
    return terms.product(terms.number(factor), term, is_number=True, is_scalar=True)


def _number(node: ast.expr) -> float:
    """A number that is written out. Raises NotExact."""
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        raise NotExact
    if not 0 <= node.value < 1:  # type: ignore[operator]
        raise NotExact
    return float(node.value)  # type: ignore[arg-type]
