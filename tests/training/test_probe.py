"""A probe finds what the run finds, at any place of it, and leaves no trace in the run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import FRONT, PLAIN, shipped, unlike_runs
from tutor.analysis.finite_differences import (
    gradients_by_differences,
    gradients_by_program,
    probes_at_batches,
)
from tutor.lesson.model import Lesson
from tutor.training.lesson_error import LessonRaised
from tutor.training.loop import Loop
from tutor.training.probe import Probe, Standpoint, standpoint_of
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.validation.lesson_check import check


def loop_of(run: Run) -> Loop:
    return run.loop


def probe_of(run: Run, **options: Any) -> Probe:
    rate, seed = run.learning_rate, run.recipe.seed
    return Probe(run.program, run.device, rate, seed, **options)


def stand_of(run: Run) -> Standpoint:
    return standpoint_of(loop_of(run), run.learning_rate)


def bits(thing: Any) -> bytes | None:
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().numpy()
    return None if thing is None else np.asarray(thing).tobytes()


def number(thing: Any) -> np.float64:
    thing = thing.detach() if isinstance(thing, torch.Tensor) else thing
    return np.float64(np.asarray(thing).reshape(()))


def to_the_gradient(run: Run) -> None:
    """Into the next epoch, until the Gradient phase of its first batch has run."""
    run.step_phase()
    while loop_of(run).phases_done <= run.program.gradient_at:
        run.step_phase()


def assert_finds_the_same(run: Run, probe: Probe, loss: Any, gradients: dict[str, Any]) -> None:
    """By evaluating and by running the phases: the run's own loss and gradients."""
    at = stand_of(run)
    probe.stand(at)
    assert bits(number(probe.loss())) == bits(number(loss))
    probe.stand(at)
    probe.run_phases(run.program.gradient_at + 1)
    assert bits(probe.loop.loss()) == bits(loss)
    found = probe.loop.gradients or {}
    assert {n: bits(g) for n, g in found.items()} == {n: bits(g) for n, g in gradients.items()}


def assert_the_same_in_every_phase(run: Run, probe: Probe, batches: int = 1) -> None:
    """From every place of the batches to come."""
    for _ in range(batches):
        places = len(run.program.loop)
        seen: list[Any] = []
        to_the_gradient(run)
        loop = loop_of(run)
        loss, gradients = loop.loss(), dict(loop.gradients or {})
        loss = loss.detach().clone() if isinstance(loss, torch.Tensor) else loss
        while True:
            assert_finds_the_same(run, probe, loss, gradients)
            seen.append(run.at)
            if loop_of(run).phases_done == places:
                break
            run.step_phase()
        for _ in range(places - 1):
            run.back()
            assert_finds_the_same(run, probe, loss, gradients)
        for _ in range(places - 1):
            run.step_phase()
        assert run.at == seen[-1]


def test_a_probe_finds_the_runs_own_loss_and_gradients() -> None:
    for slug, mode in unlike_runs():
        run = shipped(slug, mode)
        probe = probe_of(run)
        assert_the_same_in_every_phase(run, probe, batches=2)
        run.run(9)
        assert_the_same_in_every_phase(run, probe)


NOISY = {
    "Setup": """
torch.manual_seed(3)
x = torch.randn(6, 3)
y = torch.randn(6, 1)
net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5),
                          torch.nn.ReLU(), torch.nn.Linear(8, 1))
w = net[0].weight
optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
rng = np.random.default_rng(5)
hidden = torch.zeros(1)
mean_loss = 0.0
seen = []
""",
    "Predict": """
hidden = 0.5 * hidden + float(rng.normal()) + np.random.rand() + 0.1 * random_number()
y_pred = net(x) + hidden
""",
    "Loss": "loss = ((y_pred - y) ** 2).mean()\nseen.append(loss.item())",
    "Update": "optimizer.step()\nmean_loss = 0.9 * mean_loss + 0.1 * loss.item()",
    "Reset": "optimizer.zero_grad()",
}
NOISY["Setup"] += (
    "\nimport random\ndef random_number():\n    return random.random() + float(w.detach().sum())"
)


def test_adam_dropout_and_every_kind_of_chance_come_out_the_same(
    start: Callable[..., Run],
) -> None:
    run = start(**NOISY)
    probe = probe_of(run)
    assert_the_same_in_every_phase(run, probe, batches=3)


CHANGING_PLACES = {
    "Setup": f"{PLAIN['Setup']}\none, other = x[:1], x[1:2]",
    "Predict": "one, other = other, one\ny_pred = w * x * one * torch.arange(3)",
}


@pytest.mark.parametrize("code", [NOISY, CHANGING_PLACES], ids=["noise", "names of views"])
def test_evaluating_twice_gives_the_same_loss(
    code: dict[str, str], start: Callable[..., Run]
) -> None:
    run = start(**code)
    run.run(2)
    probe = probe_of(run)
    probe.stand(stand_of(run))
    first = probe.loss()
    assert [probe.loss(), probe.loss()] == [first, first]
    probe.stand(stand_of(run))
    assert probe.loss() == first


@pytest.mark.parametrize(
    "optimizer",
    [
        "torch.optim.Adam([w], lr=learning_rate)",
        "torch.optim.SGD([w], lr=learning_rate, momentum=0.9)",
    ],
)
def test_the_update_to_come_is_foreseen_bit_for_bit(
    start: Callable[..., Run], optimizer: str
) -> None:
    setup = (
        f"x = torch.tensor([1.0, 2.0])\nw = torch.tensor(0.5, requires_grad=True)\no = {optimizer}"
    )
    run = start(Setup=setup, Update="o.step()", Reset="o.zero_grad()")
    probe = probe_of(run)
    run.run(5)
    run.set(learning_rate=0.3)
    to_the_gradient(run)
    probe.stand(stand_of(run))
    probe.run_phases(4)
    foreseen = probe.loop.parameter_values()
    run.step_phase()
    assert {n: bits(v) for n, v in foreseen.items()} == {"w": bits(loop_of(run).namespace["w"])}


def test_a_hand_written_adam_keeps_its_moments(start: Callable[..., Run]) -> None:
    run = start(
        Setup="x = np.array([1.0, 2.0])\nw = 0.5\nm, t, state = 0.0, 0, {'v': 0.0}",
        Gradient="dw = float((2 * x * (y_pred - 2 * x)).mean())",
        Update="t += 1\nm = 0.9 * m + 0.1 * dw\nstate['v'] = 0.9 * state['v'] + dw * dw\n"
        "w -= learning_rate * m / (1 - 0.9**t) / state['v'] ** 0.5",
        Reset="",
    )
    probe = probe_of(run)
    run.run(4)
    to_the_gradient(run)
    at = stand_of(run)
    for _ in range(2):  # what the first trial left behind is no part of the second
        probe.stand(at)
        probe.run_phases(4)
    foreseen = probe.loop.namespace["w"]
    run.step_phase()
    assert foreseen == loop_of(run).namespace["w"]


def test_a_function_that_reads_a_global_parameter_sees_the_probes_own(
    start: Callable[..., Run],
) -> None:
    setup = "x = torch.tensor([1.0, 2.0])\nw = torch.tensor(0.5, requires_grad=True)\n"
    run = start(Setup=setup + "def f(x):\n    return w * x", Predict="y_pred = f(x)")
    probe = probe_of(run)
    run.step_epoch()
    probe.stand(stand_of(run))
    assert probe.loss({"w": np.array(2.0)}) == 0.0
    assert probe.loss({"w": np.array(3.0)}) == 2.5
    assert loop_of(run).namespace["w"].item() != 3.0


def everything(loop: Loop) -> dict[str, Any]:
    """What a probe could have spoilt: values, identities, versions, gradients."""
    found: dict[str, Any] = {"names": {n: id(t) for n, t in loop.namespace.items()}}
    for name, thing in loop.namespace.items():
        if isinstance(thing, torch.Tensor):
            grad = thing.grad if thing.is_leaf else None
            found[name] = (bits(thing), thing._version, id(grad), bits(grad))
        elif isinstance(thing, np.ndarray | float | int):
            found[name] = bits(thing)
    found["torch"] = torch.get_rng_state().numpy().tobytes()
    found["numpy"] = str(np.random.get_state())
    found["python"] = random.getstate()
    return found


@pytest.mark.parametrize(("slug", "mode"), [("xor", "model"), ("sum-or-mean", "manual")])
def test_a_probe_leaves_the_run_as_it_was(slug: str, mode: str) -> None:
    run = shipped(slug, mode)
    probe = probe_of(run)
    for _ in range(9):
        run.step_phase()
        before = everything(loop_of(run))
        at = stand_of(run)
        probe.stand(at)
        probe.loss({n: v + 1 for n, v in at.start.values.items()})
        probe.stand(at)
        probe.run_phases(len(run.program.loop))
        assert everything(loop_of(run)) == before


def test_a_graph_that_waits_for_its_backward_still_can(start: Callable[..., Run]) -> None:
    plain, looked_at = start(**NOISY), start(**NOISY)
    probe = probe_of(looked_at)
    plain = start(**NOISY)
    frames = [plain.step_phase() for _ in range(12)]
    looked_at.restart()
    for frame in frames:
        assert looked_at.step_phase() == frame
        probe.stand(stand_of(looked_at))
        probe.loss()
        probe.run_phases(2)


def test_a_probe_says_nothing(start: Callable[..., Run], capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    class Quiet:
        def __enter__(self) -> None:
            calls.append("in")

        def __exit__(self, *_: object) -> None:
            calls.append("out")

    run = start()
    probe = probe_of(run, quiet=Quiet)
    probe.stand(stand_of(run))
    probe.loss()
    probe.run_phases(1)
    assert calls == ["in", "out"] * 3
    run.step_phase()
    assert not capfd.readouterr().out


def test_a_standpoint_does_not_move_with_the_run(start: Callable[..., Run]) -> None:
    run = start(**NOISY)
    to_the_gradient(run)
    at = stand_of(run)
    before = {n: bits(v) for n, v in at.start.values.items()}
    probe = probe_of(run)
    probe.stand(at)
    loss = probe.loss()
    run.run(7)
    assert {n: bits(v) for n, v in at.start.values.items()} == before
    probe.stand(at)
    assert probe.loss() == loss


def test_data_of_another_seed_are_those_of_the_run(start: Callable[..., Run]) -> None:
    setup = "x = torch.randn(50_000)\nw = torch.tensor(0.5, requires_grad=True)"
    run = start(Setup=setup)
    probe = Probe(run.program, "cpu", 0.1, seed=7)
    run.step_epoch()
    at = stand_of(run)
    assert at.start.carried["x"] is loop_of(run).namespace["x"], "large data are not copied"
    assert_finds_the_same(run, probe, loop_of(run).loss(), dict(loop_of(run).gradients or {}))
    assert probe.loop.namespace["x"] is not loop_of(run).namespace["x"]


def test_large_data_that_the_epoch_changes_are_copied(start: Callable[..., Run]) -> None:
    setup = "x = torch.randn(50_000)\nw = torch.tensor(0.5, requires_grad=True)"
    run = start(Setup=setup, Reset="w.grad.zero_()\nx.mul_(0.5)")
    run.step_epoch()
    assert stand_of(run).start.carried["x"] is not loop_of(run).namespace["x"]


def test_a_precise_probe_computes_in_float64() -> None:
    for slug, mode in unlike_runs():
        run = shipped(slug, mode)
        run.step_epoch()
        probe, rough = probe_of(run, precise=True), probe_of(run)
        for each in (probe, rough):
            each.stand(stand_of(run))
        assert probe.loss() == pytest.approx(rough.loss(), rel=1e-5, abs=1e-9), (slug, mode)
        probe.stand(stand_of(run))
        probe.run_phases(len(run.program.loop))
        moved = probe.loop.parameter_values()
        assert {str(v.dtype) for v in moved.values()} == {"float64"}, (slug, mode)
        for name, value in stand_of(run).now.items():
            assert moved[name] == pytest.approx(value, rel=1e-4, abs=1e-6), (slug, mode)


OWN_DATA = {
    "an object": "class Data:\n    def __init__(self):\n        self.x = ones\ndata = Data()",
    "a list": "data = [ones]",
    "a default argument": "def data(x=ones * 1):\n    return x",
    "a data set": "from torch.utils.data import DataLoader, TensorDataset\n"
    "data = DataLoader(TensorDataset(ones), batch_size=3)",
    "a list to load": "from torch.utils.data import DataLoader\ndata = DataLoader([*ones], 3)",
}
READ = {
    "a default argument": "data()",
    "an object": "data.x",
    "a list": "data[0]",
    "a list to load": "next(iter(data))",
}


@pytest.mark.parametrize("where", OWN_DATA)
def test_a_precise_probe_computes_with_data_wherever_they_are(
    write_lesson: Callable[..., Lesson], where: str
) -> None:
    setup = f"ones, x = torch.ones(3, 2), 1.0\n{OWN_DATA[where]}\n"
    predict = f"y_pred = {READ.get(where, 'next(iter(data))[0]')} @ w"
    weight = "w = torch.zeros(2, requires_grad=True)"
    assert check(write_lesson(Setup=setup + weight, Predict=predict)) == ()


MADE = {
    "a hidden state": "h = torch.zeros(2)\nfor _ in range(3):\n"
    "    h = torch.tanh(torch.outer(w, w) @ h + 1)\ny_pred = h * w",
    "noise": "y_pred = torch.randn(3, 2) @ w",
    "a cast": "y_pred = torch.arange(2).float() @ w",
    "a cast of what has a gradient": "y_pred = torch.eye(2) @ (w.float() * 2).float()",
}


@pytest.mark.parametrize("predict", MADE.values(), ids=MADE)
def test_a_precise_probe_computes_with_floats_that_the_code_makes(
    write_lesson: Callable[..., Lesson], predict: str
) -> None:
    lesson = write_lesson(Setup="x = 1.0\nw = torch.ones(2, requires_grad=True)", Predict=predict)
    assert check(lesson) == ()
    run = Run(programs_of(lesson))
    to_the_gradient(run)
    probe = probe_of(run, precise=True)
    probe.stand(stand_of(run))
    assert probe.loss() == pytest.approx(float(number(run.loop.loss())), rel=1e-4)
    probe.run_phases(run.program.gradient_at + 1)
    assert {str(g.dtype) for g in (probe.loop.gradients or {}).values()} == {"torch.float64"}


def test_predict_takes_other_inputs_and_gives_the_old_ones_back() -> None:
    run = shipped("xor", "autograd")
    probe = probe_of(run)
    probe.stand(stand_of(run))
    names = probe.loop.namespace
    x = names["x"]
    found = probe.predict({"x": np.zeros((7, 2))}, "o2")
    assert found is not None
    assert found.shape == (7, 1)
    assert len(set(found.ravel().tolist())) == 1
    assert names["x"] is x
    assert names["batch"] == 0


def test_a_lesson_may_differentiate_while_it_predicts(start: Callable[..., Run]) -> None:
    setup = PLAIN["Setup"].replace("3.0]", "3.0], requires_grad=True")
    predict = (
        "(slope,) = torch.autograd.grad((w * x**2).sum(), x, create_graph=True)\ny_pred = slope"
    )
    run = start(Setup=setup, Predict=predict)
    probe = probe_of(run)
    to_the_gradient(run)
    probe.stand(stand_of(run))
    assert probe.loss() == number(loop_of(run).loss())


def test_an_error_in_a_probe_names_its_line_and_spoils_nothing(start: Callable[..., Run]) -> None:
    run = start(Predict="y_pred = w * x\nassert w < 1, 'too far'")
    probe = probe_of(run)
    probe.stand(stand_of(run))
    with pytest.raises(LessonRaised, match="too far"):
        probe.loss({"w": np.array(5.0)})
    assert np.isfinite(probe.loss({"w": np.array(0.5)}))
    assert run.step_epoch().at.epoch == 1


def test_more_warm_up_than_batches_is_no_report(write_lesson: Callable[..., Any]) -> None:
    front = FRONT.replace("epochs: 10", "epochs: 10\nwarm_up: 3\nbatches: 2")
    run = Run(programs_of(write_lesson(front)))
    probe = probe_of(run)
    for _ in range(2 * len(run.program.loop) + 3):
        run.step_phase()
    loop = loop_of(run)
    assert loop.batch == 2
    assert_finds_the_same(run, probe, loop.loss(), dict(loop.gradients or {}))


def test_phases_run_from_the_batchs_start_whatever_was_evaluated_before(
    write_lesson: Callable[..., Lesson],
) -> None:
    lesson = write_lesson(
        Setup="w = torch.tensor(1.0, requires_grad=True)\nlevel = torch.tensor(8.0)",
        Predict="level = level / 2\ny_pred = w * level",
        Loss="loss = y_pred ** 2",
    )
    program = programs_of(lesson)[lesson.modes[0]]
    probe = next(probes_at_batches(program))
    gradients_by_differences(probe, {})
    assert gradients_by_program(probe) == gradients_by_program(next(probes_at_batches(program)))
