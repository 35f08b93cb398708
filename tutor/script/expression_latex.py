"""The LaTeX of an expression of a script, where LaTeX can say exactly what the code computes."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

from tutor.python_syntax import is_chain, substituted
from tutor.script import latex_terms as terms
from tutor.script.code_facts import LOSS_MODULES, SAME_NUMBERS, CodeFacts
from tutor.script.latex_terms import (
    AXES,
    BINARY,
    PACKAGES,
    REDUCTIONS,
    SYNONYMS,
    Binding,
    Names,
    NotExact,
    Term,
    activation,
    as_written,
    unary,
)

_SIGNS = {
    ast.Gt: ">",
    ast.GtE: r"\ge",
    ast.Lt: "<",
    ast.LtE: r"\le",
    ast.Eq: "=",
    ast.NotEq: r"\ne",
}
_CONSTANTS = {"pi": r"\pi", "e": "e"}
_TO_WHOLE = ("int", "long", "bool")
_SWAPPED = {("0", "1"), ("1", "0"), ("-1", "-2"), ("-2", "-1")}
_MOST_LAYERS = 3


class ExpressionLatex:
    """Translates expressions of one file. `definitions` gathers the file's functions in them."""

    def __init__(self, facts: CodeFacts, names: Names, rate: str = "") -> None:
        r"""`rate` is the name of the learning rate that is written \eta, as lessons write it."""
        self.facts, self.names, self._rate = facts, names, rate
        self.definitions: dict[str, str] = {}
        """The name of a function → an equation that defines it."""

    def term(self, node: ast.expr) -> Term:
        """The expression as LaTeX. Raises NotExact."""
        if ast.unparse(node) == self._rate and self.names.is_free(r"\eta"):
            return Term(r"\eta")
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                if not math.isfinite(value):  # type: ignore[arg-type]
                    raise NotExact
                return terms.number(value)  # type: ignore[arg-type]
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return terms.negative(self.term(operand))
            case ast.BinOp():
                return self._operator(node)
            case ast.Compare():
                return terms.between("[", self.comparison(node), "]")
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
        raise NotExact

    def comparison(self, node: ast.expr) -> Term:
        """A comparison of two. Raises NotExact if it is none."""
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            raise NotExact
        sign = _SIGNS.get(type(node.ops[0]))
        if sign is None:
            raise NotExact
        return terms.compare(self.term(node.left), self.term(node.comparators[0]), sign)

    def gradient(self, expression: ast.expr) -> Term:
        """The gradient that a tensor has: `w.grad`."""
        return Term(rf"\nabla_{{{self.term(expression).latex}}}")

    # ── Names ───────────────────────────────────────────────────────────────────────

    def _name(self, node: ast.Name) -> Term:
        if self.facts.dotted(node) or node.id in self.facts.callables:
            raise NotExact
        return self.names.term(node.id)

    def _attribute(self, node: ast.Attribute) -> Term:
        package, _, last = self.facts.dotted(node).rpartition(".")
        if package:
            latex = _CONSTANTS.get(last, "") if package in PACKAGES else ""
            if not latex or not self.names.is_free(latex):
                raise NotExact
            return Term(latex)
        if member := self.names.member(node):
            return member
        if node.attr in ("T", "mT"):
            return terms.transposed(self.term(node.value))
        if node.attr == "data":
            return self.term(node.value)
        if node.attr == "grad":
            return self.gradient(node.value)
        if not is_chain(node) or node.attr in ("shape", "ndim"):
            raise NotExact
        return as_written(ast.unparse(node))

    def _subscript(self, node: ast.Subscript) -> Term:
        value, index = node.value, node.slice
        if isinstance(value, ast.Attribute) and value.attr == "shape":
            return self._length(value.value, index)
        if member := self.names.member(node):
            return member
        base = self.term(value)
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        below = ",".join(self._index(part) for part in parts)
        return terms.subscripted(base, below)

    def _index(self, node: ast.expr) -> str:
        if isinstance(node, ast.Slice):
            if node.lower or node.upper or node.step:
                raise NotExact
            return ":"
        return self.term(node).latex

    def _length(self, sequence: ast.expr, index: ast.expr) -> Term:
        """`x.shape[0]` is `len(x)`; the other lengths have no usual sign."""
        if isinstance(index, ast.Constant) and index.value == 0:
            return terms.function(r"\operatorname{len}", self.term(sequence))
        raise NotExact

    # ── Operators ───────────────────────────────────────────────────────────────────

    def _operator(self, node: ast.BinOp) -> Term:
        a, b = self.term(node.left), self.term(node.right)
        match node.op:
            case ast.Add():
                return terms.add(a, b)
            case ast.Sub():
                return terms.add(a, b, "-")
            case ast.Mult():
                return terms.product(
                    a,
                    b,
                    is_number=_is_number(node.left),
                    is_scalar=self.facts.is_scalar(node.left) or self.facts.is_scalar(node.right),
                )
            case ast.MatMult():
                return terms.matrix_product(a, b)
            case ast.Div():
                return terms.fraction(a, b)
            case ast.Pow():
                return terms.power(a, b)
        raise NotExact

    # ── Calls ───────────────────────────────────────────────────────────────────────

    def _call(self, call: ast.Call) -> Term:
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            raise NotExact
        if made := self.facts.call_of_module(call.func):
            return self._module(ast.unparse(call.func), made, call)
        if own := self.facts.own_model(call.func):
            return self.term(result_of_forward(own, call))
        if dotted := self.facts.dotted(call.func):
            package, _, name = dotted.rpartition(".")
            if package not in PACKAGES:
                raise NotExact
            if package == "builtins" and name not in ("abs", "pow", "len", "float"):
                return self._builtin(name, call)
            return self._known(SYNONYMS.get(name, name), call.args, call, package=package)
        if isinstance(call.func, ast.Attribute):
            name = call.func.attr
            if name in self.facts.methods:
                raise NotExact
            return self._known(SYNONYMS.get(name, name), [call.func.value, *call.args], call)
        return self._own_function(call)

    def _builtin(self, name: str, call: ast.Call) -> Term:
        """`max` and `min` of two; `sum` adds along one axis, and `int` cuts off."""
        if name not in ("max", "min") or len(call.args) < 2 or call.keywords:
            raise NotExact
        return terms.function(rf"\{name}", *map(self.term, call.args))

    def _known(
        self, name: str, operands: Sequence[ast.expr], call: ast.Call, package: str = ""
    ) -> Term:
        """A function of NumPy, PyTorch or math, or a method; the receiver is the first operand."""
        keywords = {k.arg or "": k.value for k in call.keywords}
        count = len(operands)
        if name in BINARY and count == 2 and not keywords:
            return self._operator(ast.BinOp(operands[0], BINARY[name](), operands[1]))
        if name in REDUCTIONS:
            return self._reduction(name, operands, keywords)
        if loss := self._loss(name, operands, keywords):
            return loss
        if (not package and name in SAME_NUMBERS) or name == "float":
            return self._same_numbers(name, operands, call)
        match name, count:
            case "clamp", _:
                return self._clamped(operands, keywords)
            case "transpose", _ if not keywords and self._is_swap(operands):
                return terms.transposed(self.term(operands[0]))
            case (("maximum" | "minimum"), 2) if not keywords:
                return terms.function(rf"\{name[:3]}", *map(self.term, operands))
            case "where", 3 if package and not keywords:
                return self._cases(*operands)
            case "size", 2 if not package:
                return self._length(*operands)
            case (("len" | "numel"), 1):
                return terms.function(rf"\operatorname{{{name}}}", self.term(operands[0]))
        if count == 1 and not keywords:
            return unary(name, self.term(operands[0]), self.names)
        raise NotExact

    def _is_swap(self, operands: Sequence[ast.expr]) -> bool:
        axes = tuple(map(ast.unparse, operands[1:]))
        return not axes or axes in _SWAPPED

    def _same_numbers(self, name: str, operands: Sequence[ast.expr], call: ast.Call) -> Term:
        """`x.detach()`, `x.float()`: the numbers stay as they are."""
        to = ast.unparse(ast.Tuple([*operands[1:], *(k.value for k in call.keywords)]))
        is_kept = isinstance(operands[0], ast.Compare) or not any(w in to for w in _TO_WHOLE)
        if not operands or not is_kept:
            raise NotExact
        return self.term(operands[0])

    def _reduction(
        self, name: str, operands: Sequence[ast.expr], keywords: dict[str, ast.expr]
    ) -> Term:
        """A sum, mean or norm: of all elements, or along an axis that the sign names."""
        below = self._axis(name, operands, keywords)
        operand = self.term(operands[0])
        if name == "sum":
            return terms.summed(operand, below)
        if name == "norm":
            return terms.between(r"\lVert", operand, r"\rVert")
        sign = rf"\{name}" if name in ("max", "min") else rf"\operatorname{{{name}}}"
        return terms.function(f"{sign}_{{{below}}}" if below else sign, operand)

    def _axis(self, name: str, operands: Sequence[ast.expr], keywords: dict[str, ast.expr]) -> str:
        """The subscript that names the axis; "" for all elements. Raises NotExact."""
        keywords = {k: v for k, v in keywords.items() if k not in ("keepdim", "keepdims")}
        given = [*operands[1:], *(v for k, v in keywords.items() if k in AXES)]
        if not operands or len(given) > 1 or not keywords.keys() <= AXES:
            raise NotExact
        if not given:
            return ""
        try:
            axis = ast.literal_eval(given[0])
        except ValueError:
            raise NotExact from None
        if type(axis) is not int or name not in ("sum", "mean", "softmax"):
            raise NotExact
        return rf"\text{{{next(iter(keywords), 'axis')} {axis}}}"

    def _clamped(self, operands: Sequence[ast.expr], keywords: dict[str, ast.expr]) -> Term:
        limits = dict(zip(("min", "max"), operands[1:], strict=False)) | keywords
        if len(operands) > 3 or not limits or not limits.keys() <= {"min", "max"}:
            raise NotExact
        found = self.term(operands[0])
        for limit, sign in (("min", r"\max"), ("max", r"\min")):
            if limit in limits:
                found = terms.function(sign, found, self.term(limits[limit]))
        return found

    def _cases(self, condition: ast.expr, a: ast.expr, b: ast.expr) -> Term:
        when = self.comparison(condition).latex
        first, second = self.term(a).latex, self.term(b).latex
        rows = rf"{first} & \text{{if }} {when} \\ {second} & \text{{else}}"
        return Term(rf"\begin{{cases}} {rows} \end{{cases}}", Binding.COMPARISON)

    # ── Losses and layers ───────────────────────────────────────────────────────────

    def _loss(
        self, name: str, operands: Sequence[ast.expr], keywords: dict[str, ast.expr]
    ) -> Term | None:
        """A loss of PyTorch of prediction and target; None if it is another function."""
        if name == "softmax" or name == "log_softmax":
            below = self._axis("softmax", operands, keywords)
            sign = r"\operatorname{softmax}" + (f"_{{{below}}}" if below else "")
            found = terms.function(sign, self.term(operands[0]))
            return terms.function(r"\log", found) if name == "log_softmax" else found
        if name in ("cross_entropy", "binary_cross_entropy"):
            if len(operands) != 2 or keywords:
                raise NotExact
            sign = rf"\operatorname{{{name.replace('_cross_', ' cross_').replace('_', '-')}}}"
            return terms.function(sign, *map(self.term, operands))
        if name not in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits"):
            return None
        reduction = ast.unparse(keywords.pop("reduction", ast.Constant("mean"))).strip("'")
        if len(operands) != 2 or keywords or reduction not in ("mean", "sum", "none"):
            raise NotExact
        each = self._each_loss(name, *operands)
        if reduction == "none":
            return each
        if each.negated:
            return terms.negative(_reduced(reduction, each.negated))
        return _reduced(reduction, each)

    def _each_loss(self, name: str, prediction: ast.expr, target: ast.expr) -> Term:
        a, b = self.term(prediction), self.term(target)
        if name == "mse_loss":
            return terms.power(terms.add(a, b, "-"), Term("2"))
        if name == "l1_loss":
            return terms.between(r"\lvert", terms.add(a, b, "-"), r"\rvert")
        p, one = unary("sigmoid", a, self.names), Term("1")
        yes = terms.product(b, unary("log", p, self.names), is_number=False, is_scalar=False)
        rest, not_p = terms.add(one, b, "-"), terms.add(one, p, "-")
        no = terms.product(rest, unary("log", not_p, self.names), is_number=False, is_scalar=False)
        return terms.negative(terms.add(yes, no))

    def _module(self, label: str, made: tuple[str, ast.Call], call: ast.Call) -> Term:
        """A call of a layer or loss of torch.nn that the file makes once."""
        if call.keywords:
            raise NotExact
        name, arguments = made
        if loss := LOSS_MODULES.get(name):
            keywords = {k.arg or "": k.value for k in arguments.keywords}
            if arguments.args or not (found := self._loss(loss, call.args, keywords)):
                raise NotExact
            return found
        if len(call.args) != 1 or ast.unparse(arguments).count("Linear") > _MOST_LAYERS:
            raise NotExact
        return self._layer(label, made, self.term(call.args[0]))

    def _layer(self, label: str, made: tuple[str, ast.Call], argument: Term) -> Term:
        name, arguments = made
        if name == "Sequential" and not arguments.keywords:
            for index, part in enumerate(arguments.args):
                inner = self.facts.module_made_by(part)
                if inner is None:
                    raise NotExact
                argument = self._layer(f"{label}[{index}]", inner, argument)
            return argument
        if name != "Linear":
            return activation(name, arguments, argument, self.names)
        values = [*arguments.args[2:], *(k.value for k in arguments.keywords)]
        weight = terms.transposed(as_written(f"{label}.weight"))
        found = terms.matrix_product(argument, weight)
        if "False" in map(ast.unparse, values):
            return found
        return terms.add(found, as_written(f"{label}.bias"))

    # ── The file's own functions ────────────────────────────────────────────────────

    def _own_function(self, call: ast.Call) -> Term:
        """A function of the file that is one expression; its definition is kept."""
        if not isinstance(call.func, ast.Name) or call.keywords:
            raise NotExact
        found = self.facts.functions.get(call.func.id)
        result = _only_result(found) if found else None
        if found is None or result is None or len(found.args.args) != len(call.args):
            raise NotExact
        name = found.name
        sign = rf"\operatorname{{{name}}}" if name.isalpha() else as_written(name).latex
        if name not in self.definitions:
            self.definitions[name] = ""  # a function that calls itself
            try:
                parameters = [self.names.term(argument.arg) for argument in found.args.args]
                head = terms.function(sign, *parameters)
                self.definitions[name] = f"{head.latex} = {self.term(result).latex}"
            except NotExact:
                del self.definitions[name]
                raise
        return terms.function(sign, *map(self.term, call.args))


def _reduced(reduction: str, term: Term) -> Term:
    if reduction == "sum":
        return terms.summed(term)
    return terms.function(r"\operatorname{mean}", term)


def _only_result(function: ast.FunctionDef) -> ast.expr | None:
    """The expression that a function returns, if it does nothing else."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    names = function.args
    is_plain = not (names.vararg or names.kwarg or names.kwonlyargs or names.posonlyargs)
    if len(body) != 1 or not is_plain or function.decorator_list:
        return None
    return body[0].value if isinstance(body[0], ast.Return) else None


def _is_number(node: ast.expr) -> bool:
    """Whether it is a number that is written out, a negative one perhaps."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant)


# ── The expression that a model of the file computes ──────────────────────────────────

_MOST_NODES = 150
"""In an expression; a longer one is no formula to read."""


def result_of_forward(model: ast.ClassDef, call: ast.Call) -> ast.expr:
    """The expression that a call of the model computes, of its arguments and its layers.

    Raises NotExact if `forward` does more than assign names and return an expression.
    """
    forward = [s for s in model.body if isinstance(s, ast.FunctionDef) and s.name == "forward"]
    if len(forward) != 1 or call.keywords or forward[0].decorator_list:
        raise NotExact
    parameters = forward[0].args
    names = [argument.arg for argument in parameters.args]
    is_plain = not (parameters.vararg or parameters.kwarg or parameters.kwonlyargs)
    if not is_plain or len(names) != len(call.args) + 1:
        raise NotExact
    values = dict(zip(names, [call.func, *call.args], strict=True))
    for statement in forward[0].body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = _with(values, value)
            case ast.Return(value=ast.expr() as value):
                return _with(values, value)
            case _:
                raise NotExact
    raise NotExact


def _with(values: Mapping[str, ast.expr], node: ast.expr) -> ast.expr:
    """An expression with the values of names in their place. Raises NotExact if it is long."""
    if any(isinstance(inner, ast.Lambda) for inner in ast.walk(node)):  # its names are its own
        raise NotExact
    found = substituted(node, values)
    if sum(1 for _ in ast.walk(found)) > _MOST_NODES:
        raise NotExact
    return found
