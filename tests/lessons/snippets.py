"""Parts of code for repairs, of which fixes and failed fixes are made."""

from __future__ import annotations

from tests.lessons.runs import exercise
from tutor.lesson.exercise import Repair

NO_GRAD = "with torch.no_grad():\n    "
GRADCHECK = """\
slope = (f(w + h) - f(w - h)) / (2 * h)
point = {}
seen = []

def noted(w):
    seen.append(w.item())
    return f(w)

agrees = {}
"""
"""The code of `finite-differences/gradcheck` with a point and a check of it."""
DOUBLE = "torch.tensor(1.3, dtype=torch.float64, requires_grad=True)"

TABLE = "table = torch.tensor([[-2.0, -4.0], [-1.0, -2.0], [1.0, 2.0], [2.0, 4.0]])\n"

START = "w = torch.tensor(4.0, requires_grad=True)"
TENSORS = (
    "x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])\ny = torch.tensor([-1.0, 1.0, 3.0, 5.0])\n"
)

MEASURED = (
    NO_GRAD + "train_loss = ((x @ w - y) ** 2).mean().item()\n"
    "    val_loss = ((x_val @ w - y_val) ** 2).mean().item()\n"
    "epochs_done += 1\n"
)

DELTA = "delta = 2 * (Z - Y)\n"

DEEP = (
    "def layers(x, weights):\n"
    "    a = [x]\n"
    "    for matrix in weights:\n"
    "        a.append(torch.relu(a[-1] @ matrix))\n"
    "    return a\n"
    "draw = torch.Generator().manual_seed(2)\n"
    "x = torch.randn(64, 32, generator=draw).to(device)\n"
    "z = torch.randn(5, 32, 32, generator=draw).to(device)\n"
    "y = x[:, 0].abs()\n"
)
"""The Setup of `deep`, in starting-weights, without size and factors."""

OPTIMIZER = "torch.optim.SGD(model.parameters(), lr=learning_rate)"

OF_BATCH = (
    "chosen = order[2 * batch : 2 * batch + 2]\nx_batch, y_batch = x[chosen], y[chosen]\n"
    "log.clear()\nprediction = model(x_batch)"
)
"""What follows the sampler in the Predict of `ddp`."""


def changed_solution(where: str, old: str, new: str) -> tuple[str, str]:
    """A repair, and the code of its solution with this much of it changed."""
    return where, _changed(exercise(where, Repair).solution_code, old, new)


def changed_mistake(where: str, old: str, new: str) -> tuple[str, str]:
    """A repair, and its broken code with this much of it changed."""
    return where, _changed(exercise(where, Repair).code, old, new)


def _changed(code: str, old: str, new: str) -> str:
    assert old in code
    return code.replace(old, new)
