"""Mode, device and learning rate change in mid-run, and the place and parameters stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.training.conftest import shipped
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.errors import Refused
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame, Remark, Value, is_same_frame
from tutor.training import devices
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.validation.lesson_check import check


def close(one: dict[str, Value], other: dict[str, Value]) -> bool:
    """Whether two sets of values agree to float32's precision."""
    return all(np.allclose(one[n].data, other[n].data, rtol=1e-5, atol=1e-9) for n in one)


def places(run: Run) -> list[Frame]:
    """A frame in every place of epoch 3."""
    run.run_to(2)
    frames = [run.frame()]
    while run.at.epoch < 3 or not run.at_end:
        frames.append(run.step_phase())
    return frames


@pytest.mark.parametrize("to", ["manual", "autograd", "optimizer", "model"])
def test_a_switch_anywhere_keeps_place_parameters_and_gradient(to: str) -> None:
    whole = shipped("xor", "manual")
    for frame in places(whole):
        run = Run.from_recipe(whole.programs, whole.recipe, frame.at)
        switched = run.switch(mode=to)
        assert switched.mode == to
        assert switched.at.epoch == frame.at.epoch
        assert switched.batch == frame.batch
        assert close(switched.values, frame.values)
        if frame.phase not in ("Reset", "Predict", "Loss"):
            assert close(switched.gradients, frame.gradients)


def test_a_switched_run_goes_on_to_the_same_end() -> None:
    switching, staying = shipped("xor", "manual"), shipped("xor", "autograd")
    for epoch, mode in ((3, "autograd"), (7, "model"), (12, "optimizer"), (15, "manual")):
        switching.run_to(epoch)
        switching.step_phase()
        switching.step_phase()
        switching.switch(mode=mode)
    assert close(switching.run_to(20).values, staying.run_to(20).values)


def test_back_after_a_switch_is_the_frame_before_in_the_old_mode() -> None:
    run = shipped("xor", "manual")
    run.run_to(2)
    before = [run.step_phase() for _ in range(7)]
    run.switch(mode="autograd")
    assert run.back() == before[-2]


def test_before_the_first_step_a_mode_begins_with_its_own_values() -> None:
    run = shipped("line-through-origin", "autograd")
    frame = run.switch(mode="model")
    assert frame.values["w"].data == pytest.approx((-0.11639845720146245,))


def test_what_another_mode_has_not_got_stays_as_its_setup_made_it() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(50)
    w = run.frame().values["w"].data
    frame = run.switch(mode="model")
    assert frame.values["w"].data == w
    assert frame.values["b"].data == pytest.approx((-0.7111437139926876,))


def test_the_learning_rate_follows_the_lesson_unless_the_learner_has_set_one() -> None:
    run = shipped("twenty-points", "manual")
    assert run.learning_rate == 0.001
    assert run.switch(mode="autograd").learning_rate == 0.01
    run.set(learning_rate=0.005)
    assert run.switch(mode="manual").learning_rate == 0.005


def test_going_back_before_a_change_says_what_is_so_again() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(3)
    run.set(learning_rate=0.5)
    run.step_epoch()
    assert run.remarks == ()
    run.seek(1)
    assert run.remarks == (Remark("as_here", {"mode": "autograd", "rate": 0.01}),)


def test_a_new_learning_rate_reaches_the_optimizer() -> None:
    by_hand, optimizer = (shipped("line-through-origin", m) for m in ("autograd", "optimizer"))
    for run in (by_hand, optimizer):
        run.run_to(3)
        run.step_phase()
        run.set(learning_rate=0.003)
    assert close(by_hand.run_to(10).values, optimizer.run_to(10).values)


def test_a_switch_before_backward_leaves_the_graph_intact() -> None:
    run = shipped("xor", "manual")
    run.run_to(1)
    while run.step_phase().phase != "Loss":
        pass
    run.switch(mode="autograd")
    assert run.step_phase().phase == "Gradient"


def test_a_mode_that_is_not_there_is_refused_with_those_that_are() -> None:
    run = shipped("one-weight", "manual")
    with pytest.raises(Refused, match=r"no_mode: .*'model'.*\['manual', 'autograd'\]"):
        run.switch(mode="model")
    assert run.recipe.changes == ()


def test_numpy_stays_on_the_cpu_and_says_what_pytorch_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ("cpu", "meta"))
    run = shipped("line-through-origin", "manual")
    frame = run.switch(device="meta")
    assert frame.device == "cpu"
    assert run.remarks == (Remark("on_numpy", {"mode": "manual", "device": "meta"}),)
    assert run.recipe.changes[-1].device == "meta"


def test_a_device_that_was_chosen_is_kept_for_the_modes_that_can_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second device is played by the CPU under another name: what counts is who asks for it."""
    monkeypatch.setattr(devices, "available", lambda: ("cpu", "cpu:0"))
    run = shipped("line-through-origin", "manual")
    run.run_to(2)
    run.switch(device="cpu:0")
    assert run.switch(mode="autograd").device == "cpu:0"
    assert run.step_epoch().device == "cpu:0"
    assert run.switch(mode="manual").device == "cpu"


STATEFUL = {
    "adam": ["autograd", "optimizer"],
    "momentum": ["autograd", "optimizer"],
    "schedules": ["optimizer", "adam"],
    "batch-norm": ["model"],
    "forgotten-zero": ["autograd", "optimizer"],
    "mini-batches": ["autograd"],
    "accumulate-and-clip": ["optimizer"],
    "xor": ["model"],
}
"""Lessons in which an epoch hands on more than the parameters: moments, a schedule, gradients."""


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize(("slug", "mode"), [(s, m) for s, ms in STATEFUL.items() for m in ms])
def test_another_device_continues_as_the_first_would_have(
    slug: str, mode: str, phases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available", lambda: ("cpu", "cpu:0"))
    stayed, moved = (list(frames(slug, mode, phases, device)) for device in (None, "cpu:0"))
    assert moved[0].values == stayed[0].values
    assert moved[0].gradients_now == stayed[0].gradients_now
    assert moved[1].device == "cpu:0"
    assert is_same_frame(msgspec.structs.replace(moved[1], device="cpu"), stayed[1])


def frames(slug: str, mode: str, phases: int, device: str | None) -> Iterator[Frame]:
    """The frame some phases after three epochs, and one later; in between, on another device."""
    run = shipped(slug, mode)
    run.run_to(3)
    for _ in range(phases):
        run.step_phase()
    if device is not None:
        run.switch(device=device)
    yield run.frame()
    yield run.run_to(7)


def test_a_learning_rate_set_in_mid_batch_is_kept_on_another_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "available", lambda: ("cpu", "cpu:0"))
    run = shipped("adam", "optimizer")
    run.run_to(3)
    run.step_phase()
    run.set(learning_rate=0.25)
    run.switch(device="cpu:0")
    assert run.loop.namespace["optimizer"].param_groups[0]["lr"] == 0.25


def test_a_setup_that_raises_leaves_the_run_where_it_was(
    write_lesson: Callable[..., Lesson],
) -> None:
    front = "---\ntitle: T\nsummary: T.\nparameters: [w]\nmodes: [good, bad]\n---\n"
    lesson = write_lesson(
        front, Setup="w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)"
    )
    programs = programs_of(lesson)
    run = Run({"good": programs["good"], "bad": broken(programs["bad"])}, "good")
    before = run.run_to(5)
    with pytest.raises(LessonRaised, match="bind"):
        run.switch(mode="bad")
    assert run.frame() == before
    assert run.step_epoch().at.epoch == 6


def broken(program: Program) -> Program:
    """The program with a Setup that raises."""
    setup = program.setup
    assert setup is not None
    code = compile("raise ValueError('does not bind')", program.filename, "exec")
    return msgspec.structs.replace(program, setup=msgspec.structs.replace(setup, code=code))


# ── The same random numbers in the new mode ─────────────────────────────────────────

CHANCE = {
    "numpy's": ("", "pick = np.random.choice(6, 2, replace=False)"),
    "torch's": ("", "pick = torch.randperm(6)[:2].numpy()"),
    "Python's": ("import random", "pick = random.sample(range(6), 2)"),
    "its own of numpy": ("own = np.random.default_rng(7)", "pick = own.choice(6, 2)"),
    "its own of old numpy": ("own = np.random.RandomState(7)", "pick = own.choice(6, 2)"),
    "its own of torch": (
        "own = torch.Generator().manual_seed(7)",
        "pick = torch.randperm(6, generator=own)[:2].numpy()",
    ),
    "its own of Python": (
        "import random\nown = random.Random(7)",
        "pick = own.sample(range(6), 2)",
    ),
    "an order made at batch 0": (
        "",
        "if batch == 0:\n    order = np.random.permutation(6)\n"
        "pick = order[2 * batch:2 * batch + 2]",
    ),
    "an order shuffled at batch 0": (
        "order = np.arange(6)",
        "if batch == 0:\n    np.random.shuffle(order)\npick = order[2 * batch:2 * batch + 2]",
    ),
    "a list shuffled in every epoch": (
        "import random\norder = list(range(6))",
        "if batch == 0:\n    random.shuffle(order)\npick = order[2 * batch:2 * batch + 2]",
    ),
    "a place in the data that moves on": (
        "place = 0",
        "place = (place + 2) % 7\npick = [place % 6, (place + 1) % 6]",
    ),
    "a queue": (
        "queue = []",
        "if not queue:\n    queue.extend(np.random.permutation(6).tolist())\n"
        "pick = [queue.pop(), queue.pop()]",
    ),
    # It can't be copied: the other mode makes it again, and takes from it what was taken.
    "the iterator of a data loader": (
        "from torch.utils.data import DataLoader\n"
        "loader = DataLoader(list(range(6)), batch_size=2, shuffle=True)",
        "if batch == 0:\n    it = iter(loader)\npick = next(it).numpy()",
    ),
}
"""What a lesson may draw its batches with: in Setup, and in Predict, of all its modes."""

DRAWN = """---
title: Drawn
summary: A batch is drawn.
parameters: [w]
epochs: 3
batches: 2
---
## Setup
```python
{setup}
```
```python manual
x = np.arange(1.0, 7.0)
w = np.float64(0.0)
```
```python autograd
x = torch.arange(1.0, 7.0, dtype=torch.float64)
w = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
```
## Predict
```python
{predict}
xb = x[pick]
y_pred = w * xb
```
## Loss
```python
loss = ((y_pred - 2 * xb) ** 2).mean()
```
## Gradient
```python manual
dw = (2 * (y_pred - 2 * xb) * xb).mean()
```
```python autograd
loss.backward()
```
## Update
```python manual
w -= learning_rate * dw
```
```python autograd
with torch.no_grad():
    w -= learning_rate * w.grad
w.grad = None
```
"""


@pytest.fixture(params=CHANCE, ids=[what.replace(" ", "-") for what in CHANCE])
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> Lesson:
    """A lesson in two modes that draws its batches in one of these ways."""
    setup, predict = CHANCE[request.param]
    return parse(DRAWN.format(setup=setup or "pass", predict=predict), tmp_path / "drawn.md")


def test_a_switch_draws_no_other_batch(drawn: Lesson) -> None:
    """Whatever a mode has drawn, the other draws too: here, later, and after switching back."""
    programs = programs_of(drawn)
    alone = Run(programs, "manual")
    frames = [alone.step_phase() for _ in range(2 * alone.program.steps)]
    switching = Run(programs, "manual")
    to_and_fro = cycle((("autograd",), ("manual",), ("autograd", "manual")))
    for right, modes in zip(frames, to_and_fro, strict=False):
        switching.step_phase()
        for mode in modes:
            frame = switching.switch(mode=mode)
            assert [remark.code for remark in switching.remarks] in ([], ["updated_by"])
            assert close({"loss": frame.loss}, {"loss": right.loss}) or right.phase == "Predict"
            assert close(frame.values, right.values)
            if right.phase not in ("Predict", "Loss"):
                assert close(frame.gradients, right.gradients)


def test_the_batches_of_a_checked_lesson_may_be_drawn(drawn: Lesson) -> None:
    assert check(drawn) == ()


def test_all_modes_are_compared_on_the_same_batch(drawn: Lesson) -> None:
    programs = programs_of(drawn)
    run = Run(programs, "autograd")
    lockstep = ModeLockstep(programs, "cpu", run.learning_rate, 0)
    for _ in range(2 * run.program.steps):
        run.step_phase()
        found = lockstep.compare(run.standpoint(), run.at.epoch)
        assert found is not None
        assert found.parameters[0].agrees, found.parameters[0].remarks


def test_another_loss_after_a_switch_is_told(tmp_path: Path) -> None:
    """Where the same numbers can't be drawn again, the learner is told that the batch differs."""
    text = (
        DRAWN.format(setup="pass", predict="pass")
        .replace(
            "pass\nxb = x[pick]\ny_pred = w * xb\n```",
            "```\n```python manual\nxb = x[np.random.choice(6, 2)]\ny_pred = w * xb\n```\n"
            "```python autograd\nxb = x[torch.randperm(6)[:2]]\ny_pred = w * xb\n```",
        )
        .replace("```python\n```\n", "")
    )
    run = Run(programs_of(parse(text, tmp_path / "drawn.md")), "manual")
    run.step_phase()
    manual = run.step_phase()
    assert manual.phase == "Loss"
    autograd = run.switch(mode="autograd")
    assert autograd.loss.data != manual.loss.data
    (remark,) = run.remarks
    assert (remark.code, remark.values["mode"]) == ("other_loss", "autograd")
    assert remark.values["loss"] == pytest.approx(autograd.loss.data[0])
    assert remark.values["old_loss"] == pytest.approx(manual.loss.data[0])


CONTAINED = """---
title: Contained
summary: A running mean in a container.
parameters: [w]
epochs: 3
---
## Setup
```python manual
w = np.float64(1.0)
state = {numpy}
```
```python autograd
w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
state = {torch}
```
## Predict
```python
y_pred = 3 * w
```
## Loss
```python
loss = y_pred ** 2
```
## Gradient
```python manual
dw = 18 * w
```
```python autograd
loss.backward()
```
## Update
```python manual
state[{key}] = 0.9 * state[{key}] + dw
w -= 0.01 * state[{key}]
```
```python autograd
state[{key}] = 0.9 * state[{key}] + w.grad
with torch.no_grad():
    w -= 0.01 * state[{key}]
w.grad = None
```
"""


@pytest.mark.parametrize(
    ("numpy", "torch", "key"),
    [
        ("[np.zeros(())]", "[torch.zeros((), dtype=torch.float64)]", "0"),
        ("{'m': np.zeros(())}", "{'m': torch.zeros((), dtype=torch.float64)}", "'m'"),
    ],
)
def test_state_in_a_container_goes_along(numpy: str, torch: str, key: str, tmp_path: Path) -> None:
    text = CONTAINED.replace("{numpy}", numpy).replace("{torch}", torch).replace("{key}", key)
    programs = programs_of(parse(text, tmp_path / "contained.md"))
    one, other = Run(programs, "manual"), Run(programs, "manual")
    one.run(2)
    other.run(1)
    other.switch("autograd")
    other.run(1)
    assert other.frame().values["w"].data[0] == pytest.approx(one.frame().values["w"].data[0])


def test_a_container_with_other_keys_stays_as_its_setup_made_it(tmp_path: Path) -> None:
    text = CONTAINED.replace("{key}", "'m'").replace("{numpy}", "{'m': np.zeros(())}")
    text = text.replace("{torch}", "{'m': torch.zeros((), dtype=torch.float64), 'n': 3}")
    run = Run(programs_of(parse(text, tmp_path / "contained.md")), "manual")
    run.run(1)
    run.switch("autograd")
    assert run.loop.namespace["state"].keys() == {"m", "n"}


STEPPED = """---
title: Stepped
summary: One optimizer in two modes.
parameters: [w, b]
learning_rate: 0.05
epochs: 20
batches: 2
---
## Setup
```python
x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [-2.0, 1.0], [0.5, 0.5]])
y = torch.tensor([1.0, 2.0, 3.0, 4.0])
```
```python optimizer
w, b = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
optimizer = torch.optim.{first}
```
```python model
model = torch.nn.Module()
model.w = torch.nn.Parameter(torch.zeros(2))
model.b = torch.nn.Parameter(torch.zeros(1))
w, b = model.w, model.b
optimizer = torch.optim.{second}
```
```python
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
```
## Reset
```python
optimizer.zero_grad()
```
## Predict
```python
xb, yb = x[2 * batch:2 * batch + 2], y[2 * batch:2 * batch + 2]
y_pred = xb @ w + b
```
## Loss
```python
loss = ((y_pred - yb) ** 2).mean()
```
## Gradient
```python
loss.backward()
```
## Update
```python
optimizer.step()
if batch:
    scheduler.step()
```
"""
PLAIN, ADAM = "SGD({}, lr=learning_rate)", "Adam({}, lr=learning_rate)"
MOMENTUM = "SGD({}, lr=learning_rate, momentum=0.9)"


def stepped(first: str, second: str, held: str = "model.parameters()") -> Run:
    """A run whose modes `optimizer` and `model` have these optimizers."""
    text = STEPPED.format(first=first.format("[w, b]"), second=second.format(held))
    return Run(programs_of(parse(text, Path("stepped.md"))), "optimizer")


@pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")  # of a copied optimizer
@pytest.mark.parametrize("phases", [0, 2, 8])
@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM])
def test_the_state_of_an_optimizer_goes_along_into_a_mode_that_has_the_same_one(
    optimizer: str, phases: int
) -> None:
    staying, switching = (stepped(optimizer, optimizer) for _ in range(2))
    for epoch, mode in ((3, "model"), (5, "optimizer")):
        switching.run_to(epoch)
        for _ in range(phases):
            switching.step_phase()
        switching.switch(mode=mode)
        assert all(remark.code == "updated_by" for remark in switching.remarks)
    assert switching.run_to(8).values == staying.run_to(8).values
    switching.seek(4)
    assert switching.frame().values == staying.seek(4).values
    assert switching.run_to(9).values == staying.run_to(9).values


def anew(*names: str, mode: str = "model") -> tuple[Remark, ...]:
    return (Remark("state_begins_anew", {"names": list(names), "mode": mode}),)


@pytest.mark.parametrize(
    ("first", "second", "held", "told"),
    [
        (MOMENTUM, ADAM, "[w, b]", ["optimizer", "scheduler"]),
        (MOMENTUM, MOMENTUM, "[b, w]", ["optimizer", "scheduler"]),
        (ADAM, ADAM, "[w]", ["optimizer", "scheduler"]),
        (MOMENTUM, MOMENTUM.replace("9", "5"), "[w, b]", ["optimizer", "scheduler"]),
        (ADAM, PLAIN, "[w, b]", ["scheduler"]),
        (PLAIN, PLAIN, "[w, b]", []),
    ],
)
def test_of_an_optimizer_that_is_another_one_it_is_told_that_it_begins_anew(
    first: str, second: str, held: str, told: list[str]
) -> None:
    run = stepped(first, second, held)
    run.step_phase()
    run.switch(mode="model")
    assert run.remarks == (), "there is no state yet"
    run.switch(mode="optimizer")
    run.run_to(2)
    run.switch(mode="model")
    assert run.remarks[1:] == (anew(*told) if told else ())


def test_where_only_one_mode_has_an_optimizer_that_one_begins_anew() -> None:
    run = shipped("momentum", "autograd")
    run.run_to(3)
    run.switch(mode="optimizer")
    assert run.remarks[1:] == anew("optimizer", mode="optimizer")
    run.run_to(5)
    run.switch(mode="autograd")
    assert [remark.code for remark in run.remarks] == ["updated_by"]
