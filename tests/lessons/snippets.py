"""Parts of code for repairs, of which fixes and failed fixes are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

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


Change: TypeAlias = Callable[[Repair], str]
"""What makes code of a repair's own."""


def changed_solution(old: str, new: str) -> Change:
    """The code of the repair's solution with this much of it changed."""
    return lambda repair: _changed(repair.solution_code, old, new)


def changed_mistake(old: str, new: str) -> Change:
    """The repair's broken code with this much of it changed."""
    return lambda repair: _changed(repair.code, old, new)


def _changed(code: str, old: str, new: str) -> str:
    assert old in code
    return code.replace(old, new)


def each(fixes: Mapping[str, Iterable[str | Change]]) -> Iterator[tuple[str, str]]:
    """Pairs of a repair and a code for it."""
    for where, codes in fixes.items():
        for code in codes:
            yield where, code if isinstance(code, str) else code(exercise(where, Repair))
