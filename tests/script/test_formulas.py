"""Formulas of scripts: exactly what the code computes, or none."""

from __future__ import annotations

import ast
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tutor.formula import parse
from tutor.lesson.model import DisplayFormula
from tutor.script.code_facts import CodeFacts
from tutor.script.expression_latex import ExpressionLatex
from tutor.script.formulas import formulas_of
from tutor.script.latex_terms import Names, NotExact
from tutor.script.outline import ScriptPhase, TrainingLoop

from .latex_evaluator import evaluate

HEADER = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim, relu

a, b, n = 2, -3, 4
w = torch.tensor(0.0, requires_grad=True)
lr = 0.1
loss_fn = nn.MSELoss()
other_fn = nn.CrossEntropyLoss(weight=c)
linear = nn.Linear(1, 1)
net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1, bias=False)).to("cpu")
twice = nn.Linear(1, 1)
twice = nn.Linear(2, 2)

def sigmoid(z):
    '''Squashes.'''
    return 1 / (1 + np.exp(-z))

def steps(z):
    z = z + 1
    return z

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 3)
        self.out = nn.Linear(3, 1, bias=False)

    def forward(self, u):
        u = torch.tanh(self.hidden(u))
        return self.out(u)

class Twice(nn.Module):
    def forward(self, u):
        if u:
            u = u + 1
        return u

own_net = Net().to("cpu")
twice_net = Twice()

class Own:
    def tanh(self):
        return Own()
"""


MSE = r"\operatorname{mean}\left(\left(y_{\text{pred}} - y\right)^{2}\right)"
STEP = r"w \leftarrow w - \text{lr} \cdot \nabla_{w} = \boxed{w}"
RESET = r"\nabla_{w} \leftarrow 0"
EACH = r" \quad \text{for each parameter } \theta"


def latex_of(expression: str, header: str = HEADER) -> str:
    tree = ast.parse(f"{header}\nresult_of_it = {expression}")
    statement = tree.body[-1]
    assert isinstance(statement, ast.Assign)
    return ExpressionLatex(CodeFacts(tree, ("lr",)), Names(tree)).term(statement.value).latex


# ── Against the code itself ─────────────────────────────────────────────────────────

_SCALARS = st.sampled_from(["a", "b", "n", "2", "3", "10"])
_MATRICES = st.sampled_from(["X", "W1", "Y_t"])


def _operations(
    scalar: st.SearchStrategy[str], matrix: st.SearchStrategy[str]
) -> tuple[st.SearchStrategy[str], st.SearchStrategy[str]]:
    sign = st.sampled_from(["+", "-", "*", "/"])
    either = scalar | matrix
    scalars = st.one_of(
        st.builds("({} {} {})".format, scalar, sign, scalar),
        st.builds("(-{})".format, scalar),
        st.builds("({} ** 2)".format, scalar),
        st.builds("abs({})".format, scalar),
        st.builds("({}).sum()".format, matrix),
        st.builds("np.mean({})".format, matrix),
    )
    matrices = st.one_of(
        st.builds("({} {} {})".format, matrix, sign, either),
        st.builds("({} {} {})".format, scalar, sign, matrix),
        st.builds("({} @ {})".format, matrix, matrix),
        st.builds("(-{})".format, matrix),
        st.builds("({} ** 2)".format, matrix),
        st.builds("({}).T".format, matrix),
        st.builds("np.abs({})".format, matrix),
        st.builds("np.maximum({}, {})".format, either, matrix),
    )
    return scalars, matrices


def _expressions(depth: int) -> tuple[st.SearchStrategy[str], st.SearchStrategy[str]]:
    scalar, matrix = _SCALARS, _MATRICES
    for _ in range(depth):
        more_scalars, more_matrices = _operations(scalar, matrix)
        scalar, matrix = _SCALARS | more_scalars, _MATRICES | more_matrices
    return scalar, matrix


_TEXTS = st.one_of(*_expressions(3))


def _array(*rows: tuple[int, int]) -> np.ndarray:
    return np.array([[Fraction(x) for x in row] for row in rows], dtype=object)


VALUES = {
    "a": Fraction(2),
    "b": Fraction(-3),
    "n": Fraction(4),
    "X": _array((1, 2), (-3, 5)),
    "W1": _array((2, -1), (4, 3)),
    "Y_t": _array((-1, 7), (2, 6)),
}
LATEX = {"a": "a", "b": "b", "n": "n", "X": "X", "W1": "W_{1}", "Y_t": "Y_{t}"}
NUMBERS = {latex: VALUES[name] for name, latex in LATEX.items()}


class _Exact(ast.NodeTransformer):
    """Makes fractions of all numbers, so that nothing is rounded."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Call(ast.Name("Fraction", ast.Load()), [node], [])


def is_same(expression: str, latex: str) -> bool:
    code = ast.unparse(_Exact().visit(ast.parse(expression, mode="eval")))
    try:
        expected = eval(code, {"Fraction": Fraction, "np": np, **VALUES})
        found = evaluate(latex, NUMBERS)
    except ZeroDivisionError:
        assume(False)
    return np.shape(expected) == np.shape(found) and bool(np.all(expected == found))


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(_TEXTS)
def test_a_formula_says_what_the_code_computes(expression: str) -> None:
    code = ast.unparse(ast.parse(expression))  # only with the parentheses that Python needs
    latex = latex_of(code, "import numpy as np\na, b, n = 2, -3, 4")
    assert is_same(code, latex), latex
    assert not parse(latex).unsupported


@pytest.mark.parametrize(
    ("code", "latex"),
    [
        ("-(a - b)", r"-\left(a - b\right)"),
        ("a / (b * n)", r"\frac{a}{b \cdot n}"),
        ("(a + b) ** 2", r"\left(a + b\right)^{2}"),
        ("-a ** 2", "-a^{2}"),
        ("(-a) ** 2", r"\left(-a\right)^{2}"),
        ("a - (b - n)", r"a - \left(b - n\right)"),
        ("(X @ W1).T", r"\left(X W_{1}\right)^{\top}"),
        ("(X * W1) @ Y_t", r"\left(X \odot W_{1}\right) Y_{t}"),
        ("X * (W1 @ Y_t)", r"X \odot \left(W_{1} Y_{t}\right)"),
        ("1 / n * X.sum()", r"\frac{1}{n} \cdot \sum X"),
        ("X.sum() * n", r"\left(\sum X\right) \cdot n"),
        ("(X + Y_t).sum()", r"\sum \left(X + Y_{t}\right)"),
        ("-2 * X.T @ Y_t", r"-2 X^{\top} Y_{t}"),
        ("X @ (W1 @ Y_t)", r"X \left(W_{1} Y_{t}\right)"),
        ("2 * 3", r"2 \cdot 3"),
        ("a * -b", r"a \cdot \left(-b\right)"),
    ],
)
def test_parentheses_and_signs(code: str, latex: str) -> None:
    assert latex_of(code) == latex
    assert is_same(code, latex)


# ── Known functions ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "latex"),
    [
        ("w * x", r"w \cdot x"),
        ("x * y", r"x \odot y"),
        ("lr * w.grad", r"\text{lr} \cdot \nabla_{w}"),
        ("((y_pred - y) ** 2).mean()", MSE),
        ("F.mse_loss(y_pred, y)", MSE),
        ("loss_fn(y_pred, y)", MSE),
        ("torch.mean(torch.square(y_pred - y))", MSE),
        ("np.mean(np.power(np.subtract(y_pred, y), 2))", MSE),
        ("F.mse_loss(p, y, reduction='sum')", r"\sum \left(p - y\right)^{2}"),
        ("F.l1_loss(p, y)", r"\operatorname{mean}\left(\left\lvert p - y \right\rvert\right)"),
        ("F.cross_entropy(z, y)", r"\operatorname{cross-entropy}\left(z, y\right)"),
        ("F.binary_cross_entropy(p, y)", r"\operatorname{binary cross-entropy}\left(p, y\right)"),
        (
            "F.binary_cross_entropy_with_logits(z, y)",
            r"-\operatorname{mean}\left(y \odot \log\left(\sigma\left(z\right)\right) + "
            r"\left(1 - y\right) \odot \log\left(1 - \sigma\left(z\right)\right)\right)",
        ),
        ("linear(x)", r"x \cdot \text{linear.weight}^{\top} + \text{linear.bias}"),
        (
            "net(x)",
            r"\tanh\left(x \cdot \text{net[0].weight}^{\top} + \text{net[0].bias}\right) "
            r"\cdot \text{net[2].weight}^{\top}",
        ),
        (
            "own_net(x)",
            r"\tanh\left(x \cdot \text{own\_net.hidden.weight}^{\top} + "
            r"\text{own\_net.hidden.bias}\right) \cdot \text{own\_net.out.weight}^{\top}",
        ),
        ("np.exp(-z)", "e^{-z}"),
        ("torch.exp(z + 1)", r"\exp\left(z + 1\right)"),
        ("z.sigmoid()", r"\sigma\left(z\right)"),
        ("relu(z)", r"\operatorname{relu}\left(z\right)"),
        ("np.maximum(0, z)", r"\max\left(0, z\right)"),
        ("z.clamp(min=0)", r"\max\left(z, 0\right)"),
        ("np.clip(z, a, n)", r"\min\left(\max\left(z, a\right), n\right)"),
        ("torch.softmax(z, dim=1)", r"\operatorname{softmax}_{\text{dim 1}}\left(z\right)"),
        ("z.sum(axis=0, keepdims=True)", r"\sum_{\text{axis 0}} z"),
        ("torch.norm(z)", r"\left\lVert z \right\rVert"),
        ("np.sqrt(v) + 1e-8", r"\sqrt{v} + 10^{-8}"),
        ("2.5e-7 * v", r"2.5 \cdot 10^{-7} \cdot v"),
        ("(z > 0) * v", r"\left[ z > 0 \right] \odot v"),
        (
            "np.where(z > 0, z, 0.1 * z)",
            r"\begin{cases} z & \text{if } z > 0 \\ 0.1 z & \text{else} \end{cases}",
        ),
        ("sigmoid(X @ w1)", r"\operatorname{sigmoid}\left(X w_{1}\right)"),
        ("x[0]", "x_{0}"),
        ("x[:, 0]", "x_{:,0}"),
        ("w1[i]", r"\left(w_{1}\right)_{i}"),
        ("w1[i][0]", r"\left(\left(w_{1}\right)_{i}\right)_{0}"),
        ("(x_t + y)[0]", r"\left(x_{t} + y\right)_{0}"),
        ("len(x)", r"\operatorname{len}\left(x\right)"),
        ("x.shape[0]", r"\operatorname{len}\left(x\right)"),
        ("z.detach().item()", "z"),
        ("z.astype(np.float32)", "z"),
        ("params['w'] + 1", r'\text{params["w"]} + 1'),
        ("self.v + 1", "v + 1"),
        ("y_hat - alpha", r"\hat{y} - \alpha"),
        ("np.pi * r", r"\pi \cdot r"),
    ],
)
def test_known_functions(code: str, latex: str) -> None:
    found = latex_of(code)
    assert not parse(found).unsupported
    assert found == latex


@pytest.mark.parametrize(
    "code",
    [
        "model(x)",
        "f(x)",
        "steps(x)",
        "twice(x)",
        "twice_net(x)",
        "own_net(x, y)",
        "other_fn(z, y)",
        "x.tanh()",
        "x[1:3]",
        "x[..., None]",
        "x[mask, :2]",
        "x.view(-1, 1)",
        "x.squeeze()",
        "x.max(dim=1)",
        "torch.norm(x, 1)",
        "x.std(ddof=1)",
        "sum(xs)",
        "max(xs)",
        "int(x)",
        "z.astype(int)",
        "z.to(torch.int64)",
        "a // b",
        "a % b",
        "a < b < n",
        "not a",
        "x if a else y",
        "[a, b]",
        "'text'",
        "True",
        "1e999",
        "torch.add(x, y, alpha=2)",
        "F.mse_loss(p, y, weight=v)",
        "F.cross_entropy(z, y, label_smoothing=0.1)",
        "F.dropout(x)",
        "torch.sum(x, dim=(0, 1))",
        "np.dot(*pair)",
        "scipy.optimize.rosen(x)",
        "np",
    ],
)
def test_code_that_no_formula_says_exactly_has_none(code: str) -> None:
    with pytest.raises(NotExact):
        latex_of(code)


def test_names_that_would_look_alike_are_written_as_in_the_code() -> None:
    assert latex_of("w1 + w_1") == r"\text{w1} + \text{w\_1}"
    assert latex_of("lam + lamda") == r"\text{lam} + \text{lamda}"
    assert latex_of("xi + yj") == "x_{i} + y_{j}"
    assert latex_of("xi + x_i") == r"\text{xi} + \text{x\_i}"
    assert latex_of("eta * lr") == r"\eta \cdot \text{lr}"
    assert latex_of("np.exp(e)") == r"\exp\left(e\right)"
    assert latex_of("torch.sigmoid(sigma)") == r"\operatorname{sigmoid}\left(\sigma\right)"
    assert latex_of("train_loss + größe_2 + __x") == (
        r"\text{train\_loss} + \text{größe\_2} + \text{\_\_x}"
    )


# ── Statements ──────────────────────────────────────────────────────────────────────


def formulas(body: str, header: str = HEADER, **settings_of: object) -> list[str]:
    """The LaTeX, or the code, of a phase with these statements."""
    text = f"{header}\nfor epoch in range(3):\n" + "".join(f"    {s}\n" for s in body.split("\n"))
    first = header.count("\n") + 3
    phase = ScriptPhase("Update", first, 4, text.count("\n"))
    given_settings = {"mode": "autograd", "rates": ("lr",), "loss": "loss", **settings_of}
    loop = TrainingLoop(line=first - 1, column=0, end_line=99, phases=(phase,), **given_settings)  # type: ignore[arg-type]
    said = formulas_of(text, loop).get(phase, ())
    for block in said:
        if isinstance(block, DisplayFormula):
            parsed = parse(block.latex)
            assert (parsed.boxed, parsed.unsupported) == (block.boxed, ())
    return [b.latex if isinstance(b, DisplayFormula) else b.markdown for b in said]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("loss = (x @ y) ** 2", [r"\text{loss} = \left(x y\right)^{2} = \boxed{loss}"]),
        ("gradient = 2 * lr", [r"\text{gradient} = 2 \cdot \text{lr}"]),
        ("h = x @ v", ["h = x v"]),
        ("h = relu(h)", [r"h \leftarrow \operatorname{relu}\left(h\right)"]),
        ("h = x\nh = v", [r"h \leftarrow x", r"h \leftarrow v"]),
        ("w -= lr * w.grad", [STEP]),
        ("w = w - lr * w.grad", [STEP]),
        ("w.data -= lr * w.grad", [STEP]),
        ("w.data = w.data - lr * w.grad.data", [STEP]),
        ("w.sub_(lr * w.grad)", [STEP]),
        ("w = (w - lr * w.grad).detach().requires_grad_()", [STEP]),
        ("with torch.no_grad():\n    w -= lr * w.grad", [STEP]),
        ("w.add_(w.grad, alpha=-lr)", [STEP]),
        ("w -= 1\nw -= 2", [r"w \leftarrow w - 1", r"w \leftarrow w - 2 = \boxed{w}"]),
        ("w.grad = None", [RESET]),
        ("w.grad.zero_()", [RESET]),
        ("w.grad.data.zero_()", [RESET]),
        (
            "for p in net.parameters():\n    p.data -= lr * p.grad",
            [r"p \leftarrow p - \text{lr} \cdot \nabla_{p} \quad \text{for each } p"],
        ),
        (
            "w -= 1\nprint(\n    w)",
            [r"w \leftarrow w - 1 = \boxed{w}", "`print(`\\\n`    w)`"],
        ),
        (
            "h = sigmoid(x)",
            [
                r"h = \operatorname{sigmoid}\left(x\right)",
                r"\operatorname{sigmoid}\left(z\right) = \frac{1}{1 + e^{-z}}",
            ],
        ),
        ("a, b = b, a", []),
        ("w.grad, b.grad = None, None", [RESET, r"\nabla_{b} \leftarrow 0"]),
        ("f, g = g, x", [r"f = g", r"g = x"]),
        ("if epoch:\n    w -= 1", []),
        ("h = g = x", []),
        ("for i in range(3):\n    w -= i", []),
        ("w //= 2", []),
        ("w = None", []),
        ("loss.backward(gradient=v)", []),
        ("Own().backward()", []),
    ],
)
def test_statements(body: str, expected: list[str]) -> None:
    assert formulas(body, parameters=("w",)) == expected


def test_the_learning_rate_has_the_name_of_the_code_or_the_sign_of_lessons() -> None:
    update = "w -= alpha * w.grad"
    assert formulas(update, HEADER + "alpha = 0.1\n", rates=("alpha",)) == [
        r"w \leftarrow w - \alpha \cdot \nabla_{w} = \boxed{w}"
    ]
    tree = ast.parse(f"{HEADER}\nalpha = 0.1\n{update}")
    in_lesson = ExpressionLatex(CodeFacts(tree, ("alpha",)), Names(tree), rate="alpha")
    assert in_lesson.term(ast.parse("alpha", mode="eval").body).latex == r"\eta"


def test_backward_adds_to_each_gradient() -> None:
    one = (
        r"\nabla_{w} \leftarrow \nabla_{w} + "
        r"\frac{\partial \text{loss}}{\partial w} = \boxed{w.grad}"
    )
    assert formulas("loss.backward()", parameters=("w",)) == [one]
    of_each = (
        r"\nabla_{\theta} \leftarrow \nabla_{\theta} + "
        r"\frac{\partial \left(f + g\right)}{\partial \theta} "
        r"\quad \text{for each parameter } \theta"
    )
    assert formulas("(f + g).backward()") == [of_each]
    optimizer = "class S:\n    def step(self):\n        for p in self.held: p -= p.grad\n"
    assert formulas("(f + g).backward()", HEADER + optimizer, parameters=("opt.held",)) == [of_each]
    assert formulas("loss.backward()", HEADER + "theta = 1\n") == []


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            "optim.SGD(net.parameters(), lr=0.1)",
            [r"\theta \leftarrow \theta - \eta \cdot \nabla_{\theta}" + EACH],
        ),
        ("optim.SGD([w], 0.1)", [STEP.replace(r"\text{lr}", r"\eta")]),
        (
            "torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)",
            [
                r"v \leftarrow 0.9 v + \nabla_{\theta}",
                r"\theta \leftarrow \theta - \eta \cdot v" + EACH,
            ],
        ),
        (
            "optim.SGD([*net.parameters(), w], lr=0.1)",
            [r"\theta \leftarrow \theta - \eta \cdot \nabla_{\theta}" + EACH],
        ),
        ("optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)", []),
        ("optim.SGD(net.parameters(), lr=0.1, momentum=mu)", []),
        ("optim.SGD(net.parameters(), lr=0.1, momentum=0.9, dampening=0.1)", []),
        ("optim.RMSprop(net.parameters(), centered=True)", []),
        ("optim.NAdam(net.parameters())", []),
        ("optim.SGD([{'params': [w], 'lr': 1}], lr=0.1)", []),
        ("MyOptimizer(net.parameters())", []),
    ],
)
def test_steps_of_optimizers(made: str, expected: list[str]) -> None:
    assert formulas("opt.step()", f"{HEADER}opt = {made}\n") == expected


@pytest.mark.parametrize(
    "made",
    [
        "SGD(p, lr=0.1, weight_decay=0.5)",
        "SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.25)",
        "SGD(p, lr=0.1, momentum=0.9)",
        "Adam(p, lr=0.1, betas=(0.5, 0.75))",
        "AdamW(p, lr=0.1)",
        "RMSprop(p, lr=0.1)",
        "RMSprop(p, lr=0.1, alpha=0.5)",
        "Adagrad(p, lr=0.1)",
    ],
)
def test_an_optimizer_steps_as_its_formulas_say(made: str) -> None:
    equations = formulas("opt.step()", f"{HEADER}p = net.parameters()\nopt = torch.optim.{made}\n")
    assert equations
    start, gradients = [1.0, -2.0], ([0.5, 3.0], [-1.0, 0.25], [2.0, 2.0])
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = eval(f"torch.optim.{made}", {"torch": torch, "p": [theta]})
    state = {r"\theta": np.array(start), r"\eta": 0.1, "v": np.zeros(2), "m": np.zeros(2)}
    for step, gradient in enumerate(gradients, 1):
        theta.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        state |= {"t": step, r"\nabla_{\theta}": np.array(gradient)}
        for equation in equations:
            name, _, value = equation.partition(r" \quad")[0].partition(r" \leftarrow ")
            state[name] = evaluate(value, state)
    np.testing.assert_allclose(theta.detach().numpy(), state[r"\theta"].astype(float), rtol=1e-12)


def test_an_optimizer_that_is_made_twice_has_no_formula() -> None:
    made = "opt = optim.SGD(net.parameters(), 0.1)\n"
    assert formulas("opt.step()", HEADER + made + made) == []
    assert formulas("opt.step(closure)", HEADER + made) == []
