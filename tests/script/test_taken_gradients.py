"""Gradients that a script returns or keeps in local variables are those that its updates use."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.script.marked_scripts import keep_keyframes, lesson_of, muted
from tutor.protocol.frame import Frame, Value, is_same_frame
from tutor.script.program import script_programs
from tutor.training.run import Run

RATE = 0.125
"""The learning rate of all scripts."""

TORCH = """
import torch
torch.manual_seed(1)
x = torch.linspace(-1, 1, 6); y = 2 * x - 1
"""
NUMPY = """
import numpy as np
x = np.linspace(-1, 1, 6); y = 2 * x - 1
"""
LAYERS = """
import numpy as np
rng = np.random.default_rng(0)
X = rng.normal(size=(6, 2)); Y = X.sum(axis=1, keepdims=True)
class Linear:
    def __init__(self, i, o):
        self.W = rng.normal(size=(i, o)); self.b = np.zeros(o)
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, g):
        self.dW = self.x.T @ g; self.db = g.sum(axis=0)
        return g @ self.W.T
    def step(self, lr):
        self.W -= lr * self.dW
        self.b -= lr * self.db
class ReLU:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask
    def backward(self, g):
        return g * self.mask
    def step(self, lr):
        pass
"""
NETWORK = """
class Network:
    def __init__(self, layers):
        self.layers = layers
    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x
    def backward(self, g):
        for layer in reversed(self.layers):
            g = layer.backward(g)
    def step(self, lr):
        for layer in self.layers:
            layer.step(lr)
net = Network([Linear(2, 3), ReLU(), Linear(3, 1)])
for epoch in range(4):
    pred = net.forward(X)
    loss = np.mean((pred - Y) ** 2)
    net.backward(2 * (pred - Y) / Y.size)
    net.step(0.125)
"""
SCRIPTS = {
    "one tensor": (
        TORCH + "w = torch.zeros(1, requires_grad=True)\n"
        "for t in range(4):\n"
        "    loss = ((w * x - y) ** 2).mean()\n"
        "    dw = torch.autograd.grad(loss, w)[0]\n"
        "    with torch.no_grad():\n"
        "        w -= 0.125 * dw\n",
        ["w"],
    ),
    "two tensors, by an imported function": (
        TORCH + "from torch.autograd import grad\n"
        "w = torch.zeros(1, requires_grad=True); b = torch.zeros((), requires_grad=True)\n"
        "for t in range(4):\n"
        "    loss = ((w * x + b - y) ** 2).mean()\n"
        "    dw, db = grad(loss, inputs=(w, b))\n"
        "    with torch.no_grad():\n"
        "        w -= 0.125 * dw\n"
        "        b -= 0.125 * db\n",
        ["w", "b"],
    ),
    "new tensors in a list": (
        TORCH + "params = [torch.zeros(1, requires_grad=True) for _ in range(2)]\n"
        "for t in range(4):\n"
        "    loss = ((params[0] * x + params[1] - y) ** 2).mean()\n"
        "    grads = torch.autograd.grad(loss, params)\n"
        "    with torch.no_grad():\n"
        "        for i in range(len(params)):\n"
        "            params[i] = params[i] - 0.125 * grads[i]\n"
        "            params[i].requires_grad_(True)\n",
        ["params[0]", "params[1]"],
    ),
    "a model's parameters, read only once": (
        TORCH + "net = torch.nn.Linear(1, 1)\n"
        "for t in range(4):\n"
        "    loss = ((net(x[:, None])[:, 0] - y) ** 2).mean()\n"
        "    grads = torch.autograd.grad(loss, net.parameters())\n"
        "    with torch.no_grad():\n"
        "        for p, g in zip(net.parameters(), grads):\n"
        "            p -= 0.125 * g\n",
        ["net.weight", "net.bias"],
    ),
    "copies of a model's parameters": (
        TORCH + "from torch.func import functional_call, grad_and_value\n"
        "net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))\n"
        "params = {k: v.detach().clone() for k, v in net.named_parameters()}\n"
        "def loss_fn(params, x, y):\n"
        "    return ((functional_call(net, params, (x[:, None],))[:, 0] - y) ** 2).mean()\n"
        "for t in range(4):\n"
        "    grads, loss = grad_and_value(loss_fn)(params, x, y)\n"
        "    params = {k: p - 0.125 * grads[k] for k, p in params.items()}\n",
        ['params["0.weight"]', 'params["0.bias"]', 'params["2.weight"]', 'params["2.bias"]'],
    ),
    "a function that has been made before": (
        TORCH + "from torch.func import grad\n"
        "def loss_fn(x, w):\n"
        "    return ((w * x - y) ** 2).mean()\n"
        "gradient = grad(loss_fn, argnums=1)\n"
        "w = torch.zeros(1)\n"
        "for t in range(4):\n"
        "    loss = loss_fn(x, w)\n"
        "    dw = gradient(x, w)\n"
        "    w = w - 0.125 * dw\n",
        ["w"],
    ),
    "in the update itself": (
        NUMPY + "theta0, theta1 = 0.0, 0.0\n"
        "for t in range(4):\n"
        "    h = theta0 + theta1 * x\n"
        "    cost = np.sum((h - y) ** 2) / (2 * len(x))\n"
        "    temp0 = theta0 - 0.125 * np.sum(h - y) / len(x)\n"
        "    temp1 = theta1 - 0.125 * np.sum((h - y) * x) / len(x)\n"
        "    theta0, theta1 = temp0, temp1\n",
        ["theta0", "theta1"],
    ),
    "in a dictionary of a function": (
        NUMPY + "def update(parameters, grads, learning_rate=0.125):\n"
        "    for k in ('w', 'b'):\n"
        "        parameters[k] = parameters[k] - learning_rate * grads['d' + k]\n"
        "    return parameters\n"
        "parameters = {'w': np.zeros(1), 'b': np.zeros(1)}\n"
        "for t in range(4):\n"
        "    h = parameters['w'] * x + parameters['b']\n"
        "    cost = np.mean((h - y) ** 2)\n"
        "    grads = {'dw': 2 * np.mean((h - y) * x), 'db': 2 * np.mean(h - y)}\n"
        "    parameters = update(parameters, grads)\n",
        ['parameters["w"]', 'parameters["b"]'],
    ),
    "layers of a network": (
        LAYERS + NETWORK,
        ["net.layers[0].W", "net.layers[0].b", "net.layers[2].W", "net.layers[2].b"],
    ),
    "layers in a loop": (
        LAYERS + "l1 = Linear(2, 3); l2 = Linear(3, 1)\n"
        "for epoch in range(4):\n"
        "    out = l2.forward(l1.forward(X))\n"
        "    loss = ((out - Y) ** 2).mean()\n"
        "    g = l2.backward(2 * (out - Y) / Y.size)\n"
        "    l1.backward(g)\n"
        "    for l in (l1, l2):\n"
        "        l.step(0.125)\n",
        ["l1.W", "l1.b", "l2.W", "l2.b"],
    ),
}


def run_of(source: str) -> Run:
    lesson = lesson_of(source)
    run = Run(script_programs(lesson), seed=0, quiet=muted)
    keep_keyframes(run, 0.0)
    return run


def numbers(value: Value) -> np.ndarray:
    assert value.is_number, value
    return np.array(value.data).reshape(value.shape)


def assert_is_used(before: Frame, after: Frame) -> None:
    """The gradients shown are those by which the parameters have moved."""
    for label, value in after.values.items():
        was, now, gradient = map(numbers, (before.values[label], value, after.gradients[label]))
        np.testing.assert_allclose((was - now) / RATE, np.broadcast_to(gradient, now.shape),
            rtol=1e-4, atol=1e-5)  # fmt: skip
        assert np.any(gradient)


@pytest.mark.parametrize(("source", "labels"), SCRIPTS.values(), ids=SCRIPTS)
def test_gradients_are_those_that_the_update_uses(source: str, labels: list[str]) -> None:
    run = run_of(source)
    frames = [run.frame(), *(run.step_epoch() for _ in range(3))]
    assert list(frames[0].values) == labels
    for before, after in pairwise(frames):
        assert_is_used(before, after)
    assert is_same_frame(run.seek(1), frames[1])
    run.step_phase()
    assert is_same_frame(run.seek(2), frames[2])
    assert is_same_frame(run.seek(0), frames[0])


@pytest.mark.parametrize("name", ["one tensor", "new tensors in a list", "layers in a loop"])
def test_gradient_is_known_once_it_is_taken(name: str) -> None:
    run = run_of(SCRIPTS[name][0])
    run.step_epoch()
    while run.step_phase().phase != "Gradient":
        pass
    taken = run.frame()
    assert_is_used(taken, run.step_epoch())
    assert taken.gradients == run.frame().gradients
