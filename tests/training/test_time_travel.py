"""Any place of the run so far can be sought, and all that a run carries is there again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import PLAIN, keep_every_epoch, shipped, step_through, unlike_runs
from tutor.errors import Refused
from tutor.protocol.frame import EPOCH_END, NO_VALUE, Element, Position, Remark
from tutor.training.devices import Randomness
from tutor.training.run import Run

ADAM = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\n"
    "layer = torch.nn.Linear(3, 3)\n"
    "w = layer.weight\n"
    "optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)",
    "Predict": "y_pred = layer(x)",
    "Loss": "loss = ((y_pred - x) ** 2).mean()",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}
MOMENTUM = {
    **ADAM,
    "Setup": ADAM["Setup"].replace(
        "Adam(layer.parameters()", "SGD(layer.parameters(), momentum=0.9"
    ),
}
DRAWING = {
    **ADAM,
    "Predict": "rows = torch.randperm(3)[:2]\n"
    "y_pred = torch.nn.functional.dropout(layer(x)) + random.random() + np.random.rand()",
    "Setup": "import random\n" + ADAM["Setup"],
}


def state(thing: Any) -> Any:
    """A tensor, array, module or optimizer as plain data that can be compared to the bit."""
    if isinstance(thing, torch.Tensor):
        gradient = thing.grad if not thing._is_view() and thing.is_leaf else None
        raw = thing.detach().numpy().tobytes()
        return str(thing.dtype), tuple(thing.shape), raw, thing.requires_grad, state(gradient)
    if isinstance(thing, np.ndarray | np.generic):
        return str(thing.dtype), thing.shape, thing.tobytes()
    if isinstance(thing, torch.nn.Module | torch.optim.Optimizer):
        return type(thing).__name__, state(thing.state_dict())
    if isinstance(thing, dict):
        return {k: state(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [state(v) for v in thing]
    return thing if isinstance(thing, int | float | str | None) else type(thing).__name__


def all_of(run: Run) -> Any:
    """The frame, and all that lies behind it."""
    loop = run.loop
    names = {k: state(v) for k, v in loop.namespace.items() if k != "__builtins__"}
    return run.frame(), names, Randomness.now(run.device), state(loop.gradients or {})


def walk(run: Run, epochs: int) -> dict[Position, Any]:
    """All of every place of the first epochs."""
    seen = {run.at: all_of(run)}
    while run.at.epoch < epochs or not run.at_end:
        run.step_phase()
        seen[run.at] = all_of(run)
    return seen


def check_every_place(run: Run, epochs: int, seeks: int) -> None:
    """Go back step by step, then seek about at random; now and then step on from there."""
    keep_every_epoch(run)
    seen = walk(run, epochs)
    assert run.history.keyframe_epochs, "there are keyframes to come back to"
    for at in list(seen)[-2 : -seeks - 2 : -1]:
        run.back()
        assert all_of(run) == seen[at], f"back at {at}"
    places, chance = [at for at in seen if at.epoch], random.Random(1)
    for at in chance.sample(places, min(seeks, len(places))):
        run.seek(at.epoch, at.step)
        assert all_of(run) == seen[at], at
        run.step_phase()
        if run.at in seen:
            assert all_of(run) == seen[run.at], f"stepped on from {at}"


def test_every_place_of_every_kind_of_run_is_the_same_to_the_bit() -> None:
    for slug, mode in unlike_runs():
        run = shipped(slug, mode)
        check_every_place(run, 2, 8)
        far = {epoch: run.run_to(epoch) for epoch in range(3, 13)}
        for epoch in (11, 5, 8, 9, 3, 12):
            assert run.seek(epoch) == far[epoch], (slug, mode)
        run.seek(0)
        assert run.back() == run.frame(), "at the start, back stays"


@pytest.mark.parametrize("lesson", [ADAM, MOMENTUM, DRAWING], ids=["Adam", "momentum", "draws"])
def test_optimizer_and_random_state_are_the_same_to_the_bit(
    lesson: dict[str, str], start: Callable[..., Run]
) -> None:
    check_every_place(start(**lesson), 8, 15)


def test_a_view_stays_a_view(start: Callable[..., Run]) -> None:
    run = start(
        Setup="both = np.array([1.0, 2.0])\nw, other = both[:1], both[1:]\n"
        "flat = torch.arange(4.0)\nhalf = flat[2:]",
        Predict="half += 1.0",
        Loss="loss = float(both.sum()) + float(flat.sum())",
        Gradient="dw = 1.0",
        Update="w -= 0.1",
        Reset="",
    )
    check_every_place(run, 8, 15)


def test_a_class_that_the_lesson_defines_comes_back_as_itself(start: Callable[..., Run]) -> None:
    run = start(
        Setup="class Counter:\n    def __init__(self):\n        self.n = 0\n"
        "    def count(self):\n        self.n += step()\n"
        "def step():\n    return 2\n"
        "counter = Counter()\nx = torch.ones(3)\nw = torch.tensor(0.0, requires_grad=True)",
        Predict="counter.count()\ny_pred = w * x + counter.n",
    )
    keep_every_epoch(run)
    seen = [run.run_to(e) for e in range(1, 9)]
    assert [run.seek(e) for e in (7, 3, 5)] == [seen[6], seen[2], seen[4]]


@pytest.mark.parametrize(
    "phases",
    [
        {
            "Setup": "shared = np.ones(3, dtype=np.float32)\nx = torch.from_numpy(shared)\n"
            "w = torch.tensor(0.5, requires_grad=True)",
            "Update": "shared += 1\nwith torch.no_grad():\n    w -= 0.001 * w.grad",
        },
        {
            "Setup": f"{PLAIN['Setup']}\nnumbers = (0.1 * n for n in range(100))",
            "Predict": "y_pred = w * x + next(numbers)",
        },
    ],
    ids=["shared memory", "a generator"],
)
def test_what_would_lose_something_in_a_copy_is_run_again_from_the_start(
    start: Callable[..., Run], phases: dict[str, str]
) -> None:
    run = start(**phases)
    keep_every_epoch(run)
    seen = [run.run_to(e) for e in range(1, 7)]
    assert not run.history.keyframe_epochs
    assert [run.seek(e) for e in (4, 2)] == [seen[3], seen[1]]


def test_a_leaf_that_was_lost_is_lost_again(start: Callable[..., Run]) -> None:
    run = start(
        Update="w = w - learning_rate * w.grad",
        Gradient="w.retain_grad(); loss.backward()",
        Reset="",
    )
    keep_every_epoch(run)
    frames = step_through(run, 1)
    assert [run.back() for _ in frames[1:]] == frames[-2::-1]


def test_a_snapshot_that_would_take_too_much_is_not_kept(start: Callable[..., Run]) -> None:
    run = start()
    run.history.budget = 10
    keep_every_epoch(run)
    seen = [run.run_to(e) for e in range(1, 7)]
    assert not run.history.keyframe_epochs
    assert run.seek(4) == seen[3]


# ── Broken off ──────────────────────────────────────────────────────────────────────


def test_a_seek_that_is_broken_off_stands_whole_where_it_came_to() -> None:
    run = shipped("thermometer", "autograd")
    run.history.spacing = 1e9  # no keyframes: all is run again
    run.clock.start(run.history.spacing)
    end = run.run_to(300)
    asked: list[int] = []

    def until() -> bool:
        asked.append(run.at.epoch)
        return run.at.epoch >= 20

    frame = run.seek(200, until=until)
    assert 20 <= frame.at.epoch < 200
    assert frame == shipped("thermometer", "autograd").run_to(frame.at.epoch)
    assert run.last_epoch == 300, "nothing that was recorded is lost"
    assert asked[:5] == sorted(asked[:5]), "it can be asked how far it is"
    assert run.seek(300) == end


def test_from_where_one_stands_a_seek_goes_on() -> None:
    run = shipped("thermometer", "autograd")
    run.run_to(300)
    run.seek(10)
    steps: list[int] = []
    run.seek(12, until=lambda: bool(steps.append(run.at.epoch)))  # type: ignore[func-returns-value]
    assert min(steps) >= 10


def test_back_an_epoch_is_its_beginning_and_then_the_one_before() -> None:
    run = shipped("line-through-origin", "optimizer")
    two = run.run_to(2)
    run.run_to(3)
    run.step_phase()
    assert run.back_epoch().at == Position(3, 5)
    assert run.back_epoch() == two
    run.back_epoch()
    assert run.back_epoch().at == Position(0, 0)
    assert run.back_epoch().at == Position(0, 0)


# ── Changes ─────────────────────────────────────────────────────────────────────────


def test_stepping_on_from_the_past_meets_the_changes_that_were_made_there() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(3)
    run.set(learning_rate=0.02)
    run.run_to(5)
    run.switch(mode="optimizer")
    frames = step_through(run, 2)
    run.seek(1)
    assert run.frame().learning_rate == 0.01
    assert run.run_to(5) == frames[0]
    assert step_through(run, 2) == frames


def test_a_change_in_the_past_cuts_off_what_came_after() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(20)
    run.switch(mode="manual")
    run.run_to(40)
    run.seek(10)
    run.set(learning_rate=0.02)
    assert run.last_epoch == 10
    assert run.run_to(40).mode == "autograd"
    assert len(run.recipe.changes) == 1


def test_a_change_at_the_end_of_an_epoch_that_has_a_keyframe_is_met_again() -> None:
    run = shipped("line-through-origin", "autograd")
    keep_every_epoch(run)
    run.run_to(20)
    run.seek(10)
    run.set(learning_rate=0.02)
    frames = [run.run_to(epoch) for epoch in range(11, 21)]
    assert [run.seek(epoch) for epoch in range(20, 10, -1)] == frames[::-1]
    assert run.seek(10).learning_rate == 0.02
    assert run.seek(9).learning_rate == 0.01


SETTINGS = [
    ("line-through-origin", "autograd", Element("w", (), 3.0)),
    ("line-through-origin", "model", Element("w", (0, 0), 3.0)),
    ("sum-or-mean", "manual", Element("w", (), 3.0)),
    ("one-weight", "manual", Element("w", (), 3.0)),
    ("thermometer", "manual", Element("params", (1,), 3.0)),
]


@pytest.mark.parametrize(("slug", "mode", "element"), SETTINGS)
def test_an_element_is_set_whatever_holds_it_and_met_again(
    slug: str, mode: str, element: Element
) -> None:
    run = shipped(slug, mode)
    run.run_to(3)
    frame = run.set(element=element)
    value = frame.values[element.parameter]
    assert 3.0 in value.data
    assert run.recipe.changes[-1].element == element
    later = [run.run_to(e) for e in range(4, 8)]
    assert [run.seek(e) for e in (7, 3, 5)] == [later[3], frame, later[1]]
    assert Run.from_recipe(run.programs, run.recipe, Position(7, EPOCH_END)).frame() == later[3]


SETUP = "w = torch.tensor(2.0, requires_grad=True)\nx = torch.arange(1.0, 4.0)\n"
STATES = {
    "the process's generator": ("", "y_pred = w * x + torch.rand(3)"),
    "a generator of its own": (
        "own = np.random.default_rng(1)",
        "y_pred = w * x * own.uniform()",
    ),
    "an iterator": (
        "it = iter(range(100))",
        "y_pred = w * x * next(it)",
    ),
    "a deque": (
        "from collections import deque\nlast = deque([1.0, 2.0], maxlen=2)",
        "y_pred = w * x * sum(last)\nlast.append(last[-1] + 1)",
    ),
    "a set": (
        "seen = {1}",
        "y_pred = w * x * len(seen)\nseen.add(len(seen) + 1)",
    ),
    "a module's buffers": (
        "norm = torch.nn.BatchNorm1d(1)",
        "y_pred = w * norm(x[:, None])[:, 0] * norm.running_mean",
    ),
    "a module's buffers that its state dict leaves out": (
        "counter = torch.nn.Module()\n"
        "counter.register_buffer('n', torch.zeros(()), persistent=False)",
        "counter.n += 1\ny_pred = w * x * counter.n",
    ),
    "a name that is not there at first": (
        "",
        "try:\n    n = n + 1.0\nexcept NameError:\n    n = 1.0\ny_pred = w * x * n",
    ),
    "two names that change places": (
        "one, other = x[:1], x[1:2]",
        "y_pred = w * x * one * torch.arange(3)\none, other = other, one",
    ),
}


@pytest.mark.parametrize(("setup", "predict"), STATES.values(), ids=STATES)
def test_before_the_gradient_an_element_makes_the_batch_so_far_run_again(
    setup: str, predict: str, start: Callable[..., Run]
) -> None:
    noise = {"Setup": SETUP + setup, "Predict": predict}
    other = start(**noise)
    other.run_to(2)
    other.set(element=Element("w", (), 2.5))
    as_from_the_start = [other.step_phase(), other.step_phase(), other.step_epoch()]
    run = start(**noise)
    run.run_to(2)
    run.step_phase()
    run.step_phase()
    assert run.set(element=Element("w", (), 2.5)).loss == as_from_the_start[1].loss
    assert run.step_epoch() == as_from_the_start[2]
    again = Run.from_recipe(run.programs, run.recipe, run.at)
    assert all_of(again) == all_of(run)


def test_what_an_epoch_has_yet_to_compute_stays_open_when_a_batch_runs_again() -> None:
    run = shipped("thermometer", "autograd")
    run.run_to(2)
    loss = run.frame().loss
    run.step_phase()
    run.step_phase()
    frame = run.set(element=Element("params", (0,), 2.0))
    assert frame.phase == "Predict"
    assert frame.loss == loss, "the last that was computed"
    assert frame.boxed["Loss"]["loss"] == NO_VALUE
    assert frame.boxed["Predict"]["params[0]"].data == (2.0,)


def test_after_the_gradient_only_the_value_changes_and_that_is_said() -> None:
    run = shipped("line-through-origin", "autograd")
    for _ in range(3):
        frame = run.step_phase()
    gradient = frame.gradients
    frame = run.set(element=Element("w", (), 1.0))
    assert (frame.phase, frame.gradients, frame.values["w"].data) == ("Gradient", gradient, (1.0,))
    assert run.remarks == (Remark("old_gradient"),)
    assert run.step_phase().values["w"].data == pytest.approx((1.3,))
    run.set(element=Element("w", (), 1.0))
    assert run.remarks == ()


@pytest.mark.parametrize(
    ("element", "code", "values"),
    [
        (Element("v", (), 1.0), "no_parameter", {"available": ["w1", "b1", "w2", "b2"]}),
        (Element("w1", (0,), 1.0), "no_element", {"index": [0], "last": [1, 1]}),
        (Element("w1", (0, 2), 1.0), "no_element", {"index": [0, 2], "last": [1, 1]}),
        (Element("w1", (0, -1), 1.0), "no_element", {"index": [0, -1], "last": [1, 1]}),
        (Element("b1", (0,), float("nan")), "bad_value", {}),
        (Element("b1", (0,), 1e300), "bad_value", {"value": 1e300, "dtype": "float32"}),
    ],
)
def test_an_element_that_there_is_not_is_refused_and_nothing_changes(
    element: Element, code: str, values: dict[str, object]
) -> None:
    run = shipped("xor", "autograd")
    run.run_to(2)
    run.step_phase()
    before = all_of(run)
    with pytest.raises(Refused, match=code) as refused:
        run.set(element=element)
    assert refused.value.values.items() >= {"name": element.parameter, **values}.items()
    assert all_of(run) == before
    assert run.recipe.changes == ()


def test_another_seed_gives_other_numbers_from_here_on_and_the_same_ones_again(
    start: Callable[..., Run],
) -> None:
    noise = {"Predict": "y_pred = w * x + torch.rand(3)"}
    plain = start(**noise).run_to(12)
    run = start(**noise)
    keep_every_epoch(run)
    run.run_to(5)
    frame = run.reseed(7)
    assert (frame.seed, run.remarks) == (7, (Remark("seed", {"seed": 7}),))
    later = [run.run_to(e) for e in range(6, 13)]
    assert plain.loss != later[-1].loss
    assert [run.seek(e) for e in (12, 6, 9)] == [later[6], later[0], later[3]]
    assert run.seek(5).seed == 7
    assert run.seek(4).seed == 0


def test_a_seed_before_the_first_epoch_is_not_said_to_change_nothing() -> None:
    """Dropout draws its first number in epoch 1: at the start nobody knows whether one will be."""
    run, other = shipped("train-and-eval", "autograd"), shipped("train-and-eval", "autograd")
    run.reseed(3)
    other.restart(seed=4)
    assert run.remarks == (Remark("seed", {"seed": 3}),)
    assert other.remarks == (Remark("seed", {"seed": 4}),)
    first = shipped("train-and-eval", "autograd").run_to(3).loss
    assert {first, run.run_to(3).loss, other.run_to(3).loss} != {first}


def test_a_seed_where_nothing_is_drawn_is_said_to_change_nothing() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(5)
    run.reseed(3)
    assert run.remarks == (Remark("seed_unused_after_setup", {"seed": 3}),)
    run.restart(seed=4)
    assert run.remarks == (Remark("seed_unused", {"seed": 4}),)


def test_a_seed_where_something_was_drawn_is_not_said_to_change_nothing(
    start: Callable[..., Run],
) -> None:
    run = start(Predict="y_pred = w * x + torch.rand(3)")
    run.step_phase()
    run.restart(seed=4)
    assert run.remarks == (Remark("seed", {"seed": 4}),)
    run = start(Setup="x = torch.rand(3)\nw = torch.tensor(0.5, requires_grad=True)")
    run.restart(seed=4)
    assert run.remarks == (Remark("seed", {"seed": 4}),)


# ── The trail ───────────────────────────────────────────────────────────────────────


def test_the_trail_is_where_two_parameters_have_been() -> None:
    run = shipped("thermometer", "autograd")
    seen = [run.frame().values["params"].data]
    seen += [run.run_to(e).values["params"].data for e in range(1, 41)]
    assert list(run.trail()) == seen
    run.seek(10)
    assert list(run.trail()) == seen[:11], "up to where the run stands"
    run.set(learning_rate=0.001)
    assert run.run_to(20).values["params"].data == run.trail()[20]
    assert run.trail()[:11] == tuple(seen[:11])
    assert run.trail()[20] != seen[20]


def test_the_trail_of_a_long_run_grows_by_the_octave() -> None:
    run = shipped("thermometer", "manual")
    run.run_to(4000)
    assert 64 + 3 * 32 < len(run.trail()) <= 65 + 6 * 32


def test_one_parameter_leaves_no_trail() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(10)
    assert run.trail() == ()
    run.switch(mode="model")
    run.run_to(12)
    assert len(run.trail()) == 2, "two parameters do"


def test_a_long_run_thins_its_keyframes_out_to_its_budget_and_finds_every_epoch() -> None:
    run = shipped("xor", "manual")
    run.history.budget = 50_000
    keep_every_epoch(run)
    frames = {e: run.run_to(e) for e in (10, 60, 150)}
    assert 10_000 < run.history.size <= 50_000
    assert {e: run.seek(e) for e in frames} == frames
    assert run.history.copy().keyframe_epochs == run.history.keyframe_epochs
