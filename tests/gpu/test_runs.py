"""Runs on a GPU: exact ways back, a change of the device, memory, and no waiting in an epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch

from tests import shipped
from tests.training.conftest import keep_every_epoch, write_lesson
from tests.training.host_reads import HostReads
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame, is_same_frame
from tutor.training import devices
from tutor.training.lesson_error import LessonRaised
from tutor.training.probe import Probe
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.training.runs import Runs

__all__ = ["write_lesson"]

ON_DEVICE = [
    ("mini-batches", "autograd"),
    ("adam", "optimizer"),
    ("xor", "model"),
    ("batch-norm", "model"),
    ("train-and-eval", "autograd"),
]
"""Lessons with batches, an optimizer's state, a warm-up, a model's buffers, random numbers."""

modes = pytest.mark.parametrize(("slug", "mode"), ON_DEVICE)


def started(slug: str, mode: str, device: str) -> Run:
    return Run(shipped.programs(slug), mode, device)


@modes
def test_every_way_to_a_place_shows_the_same_to_the_bit(slug: str, mode: str, device: str) -> None:
    run = started(slug, mode, device)
    keep_every_epoch(run)
    seen = [run.frame()]
    for _ in range(4):
        seen.append(run.step_epoch())
    for frame in reversed(seen):
        assert is_same_frame(run.seek(frame.at.epoch, frame.at.step), frame)
    assert is_same_frame(run.run_to(seen[-1].at.epoch), seen[-1])
    assert is_same_frame(run.restart(), seen[0])
    assert is_same_frame(run.run_to(seen[-1].at.epoch), seen[-1])


@modes
def test_a_fork_leaves_the_run_as_it_was(slug: str, mode: str, device: str) -> None:
    runs = Runs(started(slug, mode, device))
    runs.current.run_to(3)
    seen = runs.current.run_to(5)
    runs.current.seek(3)
    runs.set(learning_rate=runs.current.learning_rate / 2)
    assert not is_same_frame(runs.current.run_to(5), seen)
    assert is_same_frame(runs.select("A"), seen)


def tensors_of(run: Run) -> list[torch.Tensor]:
    """The parameters, and all that optimizers keep of them but counts of steps."""
    found = [t for t in run.loop.parameters().values() if isinstance(t, torch.Tensor)]
    for thing in run.loop.namespace.values():
        if isinstance(thing, torch.optim.Optimizer):
            found += [
                value
                for state in thing.state.values()
                for name, value in state.items()
                if isinstance(value, torch.Tensor) and name != "step"
            ]
    return found


def near(one: Frame, other: Frame) -> bool:
    """Whether the parameters are the same but for rounding."""
    return all(
        math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4)
        for name, value in one.values.items()
        for a, b in zip(value.data, other.values[name].data, strict=True)
    )


@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.parametrize("mode", ["autograd", "optimizer"])
@pytest.mark.parametrize("slug", ["adam", "momentum"])
def test_another_device_takes_over_parameters_and_optimizer(
    slug: str, mode: str, way: str, device: str
) -> None:
    one, other = ("cpu", device) if way == "there" else (device, "cpu")
    stayed = started(slug, mode, one).run_to(12)
    run = started(slug, mode, one)
    before = run.run_to(6)
    after = run.switch(device=other)
    assert after.values == before.values, "to the bit"
    assert {t.device for t in tensors_of(run)} == {torch.empty(0, device=other).device}
    assert near(run.run_to(12), stayed), "a moment that is lost shows in the second digit"
    assert is_same_frame(run.seek(6), after)
    assert is_same_frame(run.seek(3), started(slug, mode, one).run_to(3))


def waits(run: Run, epochs: int) -> int:
    """How often the CPU waits for the device while it trains, to the frame at the end."""
    if not run.device.startswith("cuda"):
        with HostReads() as reads:
            run.run(epochs)
        return len(reads)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run.run(epochs)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


@modes
def test_many_epochs_do_not_wait_for_each(slug: str, mode: str, device: str) -> None:
    run = started(slug, mode, device)
    run.clock.due = math.inf  # keyframes come by the clock, and are compared with one another
    run.run(1)
    few, many = waits(run, 10), waits(run, 40)
    assert few > 0, "a frame is read"
    assert many - few <= 4, "losses come in bundles"


@pytest.mark.gpu
@pytest.mark.parametrize("slug", ["xor", "adam"])
def test_a_lesson_that_is_closed_leaves_no_memory_taken(slug: str, gpu: str) -> None:
    if not gpu.startswith("cuda"):
        pytest.skip("only CUDA tells how much memory each process has")

    def train() -> None:
        run = Run(shipped.programs(slug), "optimizer", gpu)
        keep_every_epoch(run)
        run.run_to(20)
        Probe(run.program, gpu, run.learning_rate, 0).stand(run.standpoint())
        assert torch.cuda.memory_allocated(gpu) > before

    torch.ones(1, device=gpu).item()
    devices.free_memory()
    before = torch.cuda.memory_allocated(gpu)
    train()
    devices.free_memory()
    assert torch.cuda.memory_allocated(gpu) == before


TOO_LARGE = {
    "stand-in": 'raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 PiB. '
    'GPU 0 has a total capacity of 139.81 GiB.\\nSee documentation.")',
    "gpu": "torch.empty(2**50, device=device)",
}


def test_no_more_memory_is_one_line_and_the_run_stands_where_it_was(
    write_lesson: Callable[..., Lesson], device: str
) -> None:
    how = TOO_LARGE["stand-in" if device == "cpu:0" else "gpu"]
    lesson = write_lesson(
        Setup="epoch = 0\nx = torch.ones(3, device=device)\n"
        "w = torch.tensor(0.5, device=device, requires_grad=True)",
        Predict=f"epoch += 1\nif epoch == 8:\n    {how}\ny_pred = w * x",
    )
    run = Run(programs_of(lesson), None, device)
    keep_every_epoch(run)
    seen = run.run_to(7)
    with pytest.raises(LessonRaised, match="out of memory") as caught:
        run.run_to(20)
    text = caught.value.error.values["text"]
    assert "\n" not in text
    assert "total capacity" not in text
    assert is_same_frame(run.frame(), seen)
    assert run.loop.namespace["epoch"] == 7
