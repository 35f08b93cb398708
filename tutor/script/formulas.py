"""The formulas of a script's phases, derived from its statements where that is exact.

A statement that no formula says exactly stays a line of code.
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from tutor.lesson.model import DisplayFormula, Prose
from tutor.python_syntax import own_blocks
from tutor.script import latex_terms as terms
from tutor.script.code_facts import CodeFacts
from tutor.script.expression_latex import ExpressionLatex
from tutor.script.latex_terms import BINARY, Names, NotExact, Term
from tutor.script.outline import ScriptPhase, TrainingLoop

Said: TypeAlias = DisplayFormula | Prose
_MOST_LINES = 8
"""The most lines of code that stand in the place of a formula."""
_TAKEN = frozenset(("gradient", "gradient_now"))
"""Names that stand for all gradients where a formula's numbers are computed."""
_IN_PLACE = {f"{name}_": BINARY[name] for name in ("add", "sub", "mul", "div")}
_AUGMENTED = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_NO_GRAPH = frozenset(
    ["torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled", "torch.enable_grad"]
)


def formulas_of(
    text: str, loop: TrainingLoop, rate: str = ""
) -> Mapping[ScriptPhase, tuple[Said, ...]]:
    r"""The formula pane's content by phase: its formulas, and the code between them.

    Nothing where a phase has no formula. `rate`: the name that is written \eta.
    """
    tree = ast.parse(text)
    found = {phase: statements_of(tree, phase, loop.phases) for phase in loop.phases}
    every = [statement for statements in found.values() for statement in statements]
    writer = _StatementWriter(tree, text, loop, every, rate)
    said = {phase: tuple(writer.said(phase, statements)) for phase, statements in found.items()}
    has_formula = (p for p in said if any(isinstance(s, DisplayFormula) for s in said[p]))
    return {phase: said[phase] for phase in has_formula}


def statements_of(
    tree: ast.AST, phase: ScriptPhase, phases: Sequence[ScriptPhase]
) -> list[ast.stmt]:
    """The outermost statements that stand wholly in a phase, in the file's order."""
    start = (phase.line, phase.column)
    stops = [(p.line, p.column) for p in phases if start < (p.line, p.column)]
    stop = min(stops, default=(phase.end_line + 1, 0))

    def inside(node: ast.AST) -> Iterator[ast.stmt]:
        for child in (statement for block in own_blocks(node) for statement in block):
            place = (child.lineno, child.col_offset)
            end = (child.end_lineno or child.lineno, child.end_col_offset or 0)
            if start <= place < stop and end[0] <= phase.end_line and end <= stop:
                yield child
            elif child.lineno <= phase.end_line and end[0] >= phase.line:
                yield from inside(child)

    return sorted(inside(tree), key=lambda statement: (statement.lineno, statement.col_offset))


class _StatementWriter:
    """Writes the statements of one loop."""

    def __init__(
        self,
        tree: ast.Module,
        text: str,
        loop: TrainingLoop,
        statements: Sequence[ast.stmt],
        rate: str,
    ) -> None:
        self.facts = CodeFacts(tree, loop.rates)
        self.names = Names(tree)
        self.expressions = ExpressionLatex(self.facts, self.names, rate)
        self.text, self.loop = text, loop
        self._changes = Counter(t for s in statements for t in _changed_in(s))
        """The number of times that the loop's phases change each name."""
        named = {loop.loss, loop.prediction, *loop.parameters, *loop.gradients.values()}
        self._shown = {_name_of(_expression(name)): name for name in named if name}
        """The names whose numbers are always shown: as `ast` writes them → as the outline does."""
        self._boxed: set[tuple[str, str]] = set()
        """Pairs of a phase and an expression whose number is shown there."""
        self._last: Mapping[str, ast.stmt] = {}
        """A name → the last statement of the phase that changes it."""

    def said(self, phase: ScriptPhase, statements: Sequence[ast.stmt]) -> Iterator[Said]:
        """The formulas of a phase's statements, one for each, or their code."""
        self.expressions.definitions.clear()
        defined: set[str] = set()
        flat = list(_without_graphs(statements, self.facts))
        self._last = {name: s for s in flat for name in _changed_in(s)}
        for statement in flat:
            try:
                equations = list(self._equations(statement))
            except NotExact:
                yield Prose(_as_code(statement, self.text), statement.lineno)
                continue
            definitions = self.expressions.definitions
            equations += [equation for name, equation in definitions.items() if name not in defined]
            defined.update(definitions)
            for latex in equations:
                yield self._formula(phase, latex, statement.lineno)

    def _formula(self, phase: ScriptPhase, latex: str, line: int) -> DisplayFormula:
        """The formula, with its number unless another phase of this name shows it."""
        equation, _, boxed = latex.partition(_NUMBER)
        expression = boxed.removesuffix("}")
        if not boxed or (phase.name, expression) in self._boxed:
            return DisplayFormula(equation, line)
        self._boxed.add((phase.name, expression))
        return DisplayFormula(latex, line, (expression,))

    # ── Statements ──────────────────────────────────────────────────────────────────

    def _equations(self, statement: ast.stmt) -> Iterator[str]:
        """The equations that say what a statement does. Raises NotExact."""
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                yield from self._assigned_pairwise(statement, targets, values)
            case ast.Assign(targets=[target], value=value):
                yield self._assigned(statement, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield self._assigned(statement, target, value)
            case ast.AugAssign(target=target, op=op, value=value) if isinstance(op, _AUGMENTED):
                yield self._changed(statement, target, ast.BinOp(target, op, value))
            case ast.Expr(value=ast.Call(func=ast.Attribute()) as call):
                yield from self._called(statement, call)
            case ast.For():
                yield from self._for_each(statement)
            case _:
                raise NotExact

    def _assigned_pairwise(
        self, statement: ast.stmt, targets: Sequence[ast.expr], values: Sequence[ast.expr]
    ) -> Iterator[str]:
        """`w.grad, b.grad = None, None`: if no value belongs to another target."""
        if len(targets) != len(values):
            raise NotExact
        for at, (target, value) in enumerate(zip(targets, values, strict=True)):
            if any(_mentions(value, other) for other in targets[:at]):
                raise NotExact
            yield self._assigned(statement, target, value)

    def _assigned(self, statement: ast.stmt, target: ast.expr, value: ast.expr) -> str:
        if isinstance(value, ast.Constant) and value.value is None:
            if not isinstance(target, ast.Attribute) or target.attr != "grad":
                raise NotExact
            return _reset(self.expressions.gradient(target.value))
        name = _name_of(target)
        is_gradient = isinstance(target, ast.Attribute) and target.attr == "grad"
        is_new = self._changes[name] == 1 and not is_gradient and not _mentions(value, target)
        return self._changed(statement, target, value, "=" if is_new else r"\leftarrow")

    def _changed(
        self, statement: ast.stmt, target: ast.expr, value: ast.expr, sign: str = r"\leftarrow"
    ) -> str:
        """`w ← w - η ∇ = 0.5`: the number is right if nothing else in the phase changes it."""
        if isinstance(target, ast.Tuple | ast.List | ast.Starred):
            raise NotExact
        latex = f"{self.expressions.term(target).latex} {sign} {self._term(value).latex}"
        name = _name_of(target)
        shown = self._shown.get(name) or (name if self.facts.is_scalar(target) else "")
        is_last = self._last.get(name) is statement and shown not in _TAKEN
        if not shown or not is_last or isinstance(value, ast.Constant):
            return latex
        return f"{latex}{_NUMBER}{shown}}}"

    def _term(self, value: ast.expr) -> Term:
        return self.expressions.term(value)

    def _called(self, statement: ast.stmt, call: ast.Call) -> Iterator[str]:
        """A method that changes something."""
        assert isinstance(call.func, ast.Attribute)
        owner, method = call.func.value, call.func.attr
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if method in self.facts.methods or self.facts.dotted(call.func):
            raise NotExact
        if method == "backward" and not call.args and keywords.keys() <= {"retain_graph"}:
            yield from self._backward(owner)
        elif method == "zero_" and isinstance(_bare(owner), ast.Attribute):
            yield _reset(self._term(owner))
        elif method == "zero_grad" and keywords.keys() <= {"set_to_none"}:
            yield _reset(each_parameter(self.names)) + FOR_EACH
        elif method == "step" and not call.args and not keywords:
            yield from optimizer_step(owner, self.expressions, self._boxed_parameter)
        elif method == "copy_" and len(call.args) == 1 and not keywords:
            yield self._changed(statement, owner, call.args[0])
        elif method in _IN_PLACE and len(call.args) == 1 and keywords.keys() <= {"alpha"}:
            value = call.args[0]
            if factor := keywords.get("alpha"):
                value = ast.BinOp(factor, ast.Mult(), value)
            yield self._changed(statement, owner, ast.BinOp(owner, _IN_PLACE[method](), value))
        else:
            raise NotExact

    def _boxed_parameter(self, name: str) -> str:
        return f"{_NUMBER}{name}}}" if name.isidentifier() else ""

    def _backward(self, loss: ast.expr) -> Iterator[str]:
        """PyTorch adds the derivative of the loss to each parameter's gradient."""
        loss_term = self._term(loss)
        if loss_term.binding != terms.Binding.ATOM:
            loss_term = terms.in_parentheses(loss_term)
        parameters = self.loop.parameters
        in_class = {f"self.{name.partition('.')[2]}" for name in parameters}  # as methods write it
        is_a_list = not self.facts.iterated.isdisjoint(in_class.union(parameters))
        if is_a_list or not 0 < len(parameters) <= MOST_PARAMETERS:
            yield _added(each_parameter(self.names), loss_term, Term(THETA)) + FOR_EACH
            return
        for name in parameters:
            expression = _expression(name)
            gradient = self.expressions.gradient(expression)
            latex = _added(gradient, loss_term, self._term(expression))
            yield f"{latex}{_NUMBER}{name}.grad}}" if _is_short(name) else latex

    def _for_each(self, loop: ast.For) -> Iterator[str]:
        """A loop that does the same for each parameter."""
        is_plain = isinstance(loop.iter, ast.Name | ast.Attribute | ast.List | ast.Tuple)
        if isinstance(loop.iter, ast.Call):
            function = loop.iter.func
            is_plain = isinstance(function, ast.Attribute) and function.attr == "parameters"
            is_plain = is_plain or self.facts.dotted(function) == "builtins.zip"
        targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        if not is_plain or loop.orelse or not all(isinstance(t, ast.Name) for t in targets):
            raise NotExact
        self._last = {}  # no number stands for all of them
        each = self._term(targets[0]).latex
        for statement in _without_graphs(loop.body, self.facts):
            for latex in self._equations(statement):
                yield rf"{latex} \quad \text{{for each }} {each}"


_NUMBER = r" = \boxed{"


def _reset(gradient: Term) -> str:
    return rf"{gradient.latex} \leftarrow 0"


def _added(gradient: Term, loss: Term, parameter: Term) -> str:
    derivative = rf"\frac{{\partial {loss.latex}}}{{\partial {parameter.latex}}}"
    return rf"{gradient.latex} \leftarrow {gradient.latex} + {derivative}"


def _is_short(name: str) -> bool:
    return len(name) <= 16 and "{" not in name


def _bare(node: ast.expr) -> ast.expr:
    """`w.grad` of `w.grad.data`."""
    while isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    return node


def _expression(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _name_of(target: ast.expr) -> str:
    return ast.unparse(_bare(target))


def _mentions(value: ast.expr, target: ast.expr) -> bool:
    name = _name_of(target)
    nodes = (n for n in ast.walk(value) if isinstance(n, ast.Name | ast.Attribute | ast.Subscript))
    return any(ast.unparse(node) == name for node in nodes)


def _changed_in(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement changes, one for each change."""
    for node in ast.walk(statement):
        match node:
            case ast.Assign(targets=targets):
                for target in targets:
                    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
                    yield from map(_name_of, parts)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                yield _name_of(target)
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if method.endswith("_"):
                yield _name_of(owner)


def _without_graphs(statements: Sequence[ast.stmt], facts: CodeFacts) -> Iterator[ast.stmt]:
    """The statements, those in `with torch.no_grad():` among them."""
    for statement in statements:
        if isinstance(statement, ast.With) and all(
            isinstance(item.context_expr, ast.Call)
            and facts.dotted(item.context_expr.func) in _NO_GRAPH
            and item.optional_vars is None
            for item in statement.items
        ):
            yield from _without_graphs(statement.body, facts)
        elif not isinstance(statement, ast.Pass):
            yield statement


def _as_code(statement: ast.stmt, text: str) -> str:
    """The statement's lines as Markdown, each as code."""
    segment = ast.get_source_segment(text, statement, padded=True) or ast.unparse(statement)
    lines = [line.rstrip() for line in textwrap.dedent(segment).splitlines() if line.strip()]
    shown = lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"]
    return "\\\n".join(map(_code_span, shown))


def _code_span(line: str) -> str:
    ticks = "`"
    while ticks in line:
        ticks += "`"
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


# ── The steps of optimizers ───────────────────────────────────────────────────────────

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
