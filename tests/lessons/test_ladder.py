"""Who does what, in every lesson: the table that the published notebooks arrive at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import shipped
from tutor.lesson.code_checks import ladder as ladder_of
from tutor.lesson.document import parse
from tutor.lesson.model import ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.source import read_script

CASES_OF_SCRIPTS = Path(__file__).parents[1] / "script" / "cases"
HAND, PYTORCH = True, False
PUBLISHED = {
    "manual": {"Predict": HAND, "Gradient": HAND, "Loss": HAND, "Update": HAND},
    "autograd": {"Predict": HAND, "Gradient": PYTORCH, "Loss": HAND, "Update": HAND},
    "optimizer": {"Predict": HAND, "Gradient": PYTORCH, "Loss": PYTORCH, "Update": PYTORCH},
    "model": {"Predict": PYTORCH, "Gradient": PYTORCH, "Loss": PYTORCH, "Update": PYTORCH},
}
SYNCHRONIZED = {"manual": HAND, "autograd": HAND, "optimizer": HAND, "model": PYTORCH}
"""The same of a lesson on several ranks."""


@pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
def test_the_ladder_of_a_shipped_lesson_is_the_published_one(path: Path) -> None:
    """Of its modes that are rungs: two lessons compare something else (`raw`, `float32`)."""
    lesson = shipped.read_once(path)
    ladder = {row.phase: dict(row.by_hand) for row in ladder_of(lesson)}
    synchronized = ladder.pop("Synchronize", None)
    assert (synchronized is not None) == (lesson.workers > 1)
    for mode, by_hand in (synchronized or {}).items():
        assert by_hand == SYNCHRONIZED.get(mode, HAND)
    for phase, by_hand in ladder.items():
        rungs = {mode: hand for mode, hand in by_hand.items() if mode in PUBLISHED}
        assert rungs == {mode: PUBLISHED[mode][phase] for mode in rungs}
    assert set(ladder) == set(PUBLISHED["manual"])


@pytest.mark.parametrize(
    ("name", "by_hand"), [("lbfgs_closure", PYTORCH), ("own_optimizer_class", HAND)]
)
def test_the_update_of_a_script_is_known_behind_a_call(name: str, by_hand: bool) -> None:
    """A closure's update stands in `opt.step(closure)`; a class of the script's own has `step`."""
    source = read_script(CASES_OF_SCRIPTS / f"{name}.py")
    outline = outline_of(source.text)
    lesson = lesson_of_script(source, outline, ScriptOptions(loop=1))
    ladder = {row.phase: row.by_hand[lesson.modes[0]] for row in ladder_of(lesson)}
    assert (ladder["Gradient"], ladder["Update"]) == (PYTORCH, by_hand)


CASES = {
    "the optimizer's step": ("Update", "optimizer.step()", PYTORCH),
    "an update with no_grad": ("Update", "with torch.no_grad():\n    w -= 0.1 * w.grad", HAND),
    "backward": ("Gradient", "loss.backward()", PYTORCH),
    "autograd.grad": ("Gradient", "(dw,) = torch.autograd.grad(loss, w)", PYTORCH),
    "functorch": ("Gradient", "dw = functorch.grad(squares)(y_pred, y)", PYTORCH),
    "a gradient function made in Setup": ("Gradient", "dw, _ = slope(y_pred, y)", PYTORCH),
    "the same for each example": ("Gradient", "dw = slopes(y_pred, y).mean()", PYTORCH),
    "a function that calls backward": ("Gradient", "descend(loss)", PYTORCH),
    "a function of the same name, by hand": ("Gradient", "dw = backward(x, y)", HAND),
    "a formula": ("Gradient", "dw = (2 * x * (y_pred - y)).mean()", HAND),
    "tensors without a module": ("Predict", "y_pred = torch.relu(x @ w)", HAND),
    "a module": ("Predict", "y_pred = net(x)", PYTORCH),
    "a module's other name": ("Predict", "y_pred = same(x)", PYTORCH),
    "one of a list": ("Predict", "y_pred = layers[0](x)", PYTORCH),
    "a class of the lesson's own": ("Predict", "y_pred = own.forward(x)", PYTORCH),
    "a function of torch.nn": ("Loss", "loss = F.mse_loss(y_pred, y)", PYTORCH),
    "a function under a name": ("Loss", "loss = measure(y_pred, y)", PYTORCH),
    "a function that calls torch.nn": ("Loss", "loss = of_torch(y_pred, y)", PYTORCH),
    "a loss of the lesson's own": ("Loss", "loss = squares(y_pred, y)", HAND),
    "arithmetic": ("Loss", "loss = ((y_pred - y) ** 2).mean()", HAND),
}

SETUP = """import functorch
import torch.nn.functional as F
from functorch import grad_and_value, vmap
from torch import nn
class Own(nn.Module):
    pass
def squares(a, b):
    return ((a - b) ** 2).mean()
def of_torch(a, b):
    return F.mse_loss(a, b)
def descend(loss):
    loss.backward()
def backward(x, y):
    return (2 * x * (w * x - y)).mean()
slope = grad_and_value(squares)
slopes = vmap(torch.func.grad(squares))
net, layers, own = nn.Linear(1, 1).to("cpu"), [nn.Linear(1, 1)], Own()
measure = nn.MSELoss()
same = net
x, y, w = torch.ones(2, 1), torch.ones(2, 1), torch.zeros(1, requires_grad=True)"""

CODE = {
    "Setup": SETUP,
    "Predict": "y_pred = x * w",
    "Loss": "loss = ((y_pred - y) ** 2).mean()",
    "Gradient": "loss.backward()",
    "Update": "with torch.no_grad():\n    w -= learning_rate * w.grad",
}


@pytest.mark.parametrize("fence", ["python", "python autograd"])
@pytest.mark.parametrize("case", CASES)
def test_who_does_a_phase_is_told_from_its_code_alone(
    case: str, fence: str, tmp_path: Path
) -> None:
    """A lesson need not have a mode `manual`, and its fences need name no mode."""
    changed, code, by_hand = CASES[case]
    text = "---\ntitle: t\nsummary: s\nparameters: [w]\n---\n"
    for phase, usual in CODE.items():
        text += f"## {phase}\n```{fence}\n{code if phase == changed else usual}\n```\n"
    lesson = parse(text, tmp_path / "t.md")
    ladder = {row.phase: row.by_hand[lesson.modes[0]] for row in ladder_of(lesson)}
    usual = {"Predict": HAND, "Loss": HAND, "Gradient": PYTORCH, "Update": HAND}
    assert ladder == {**usual, changed: by_hand}
