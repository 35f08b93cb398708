"""Lessons that take their batches from an iterator, as most training loops do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.conftest import FRONT
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.lesson.model import Lesson
from tutor.protocol.frame import is_same_frame
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.validation.lesson_check import check

LOADER = (
    "data = torch.arange(1.0, 7.0)\n"
    "loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)\n"
    "w = torch.tensor(0.0, requires_grad=True)\n"
)
BEGUN = "if batch == 0:\n    it = iter(loader)\nx = next(it)\ny_pred = w * x"

LOOPS = {
    "made anew in each epoch": {"Setup": LOADER, "Predict": BEGUN},
    "there from Setup on": {"Setup": LOADER + "it = iter(loader)", "Predict": BEGUN},
    "a generator that never ends": {
        "Setup": LOADER + "def forever():\n    while True:\n        yield from loader\n"
        "it = forever()",
        "Predict": "x = next(it) + torch.rand(2)\ny_pred = w * x",
    },
    "enumerated": {
        "Setup": LOADER + "it = enumerate(loader)",
        "Predict": "if batch == 0:\n    it = enumerate(loader)\n_, x = next(it)\ny_pred = w * x",
    },
    "a loop in each batch": {
        "Setup": LOADER,
        "Predict": "for i, x in enumerate(loader):\n    if i == batch:\n        break\n"
        "y_pred = w * x",
    },
    "changed in place": {
        "Setup": LOADER + "it = iter([torch.ones(2) for _ in range(400)])",
        "Predict": "x = next(it)\nx += 1\ny_pred = w * x",
    },
}
FRONT_OF_BATCHES = FRONT.replace(
    "learning_rate: 0.1\nepochs: 10\n",
    "learning_rate: 0.01\nepochs: 10\nbatches: 2\nmodes: [autograd, optimizer]\nwatch: {x: x}\n",
)


@pytest.fixture(params=LOOPS)
def lesson(request: pytest.FixtureRequest, write_lesson: Callable[..., Lesson]) -> Lesson:
    return write_lesson(FRONT_OF_BATCHES, **LOOPS[request.param])


def test_it_passes_check(lesson: Lesson) -> None:
    assert [finding.remark for finding in check(lesson)] == []


def test_looking_about_and_comparing_leave_its_batches_alone(lesson: Lesson) -> None:
    programs = programs_of(lesson)
    alone = Run(programs)
    lockstep = ModeLockstep(programs, "cpu", 0.01, 0)
    expected = [alone.step_phase() for _ in range(14)]
    seen = Run(programs)
    for frame in expected:
        assert is_same_frame(seen.step_phase(), frame)
        compared = lockstep.compare(seen.standpoint(), seen.at.epoch)
        assert compared is not None


@pytest.mark.parametrize("steps", [3, 8, 13])
def test_another_mode_goes_on_with_the_same_batch(lesson: Lesson, steps: int) -> None:
    run = Run(programs_of(lesson))
    for _ in range(steps):
        run.step_phase()
    before = run.frame()
    after = run.switch("optimizer")
    assert after.watched == before.watched
    assert after.loss == before.loss


UNCOPIED = {
    "a file": "if batch == 0:\n    f = io.StringIO('1\\n2\\n3\\n')\nx = float(f.readline())",
    "a queue": "if batch == 0:\n    q = queue.Queue()\n    for i in range(3):\n        q.put(i)\n"
    "x = q.get()",
    "an iterator in a dict": "if batch == 0:\n    d = {'it': iter([1.0, 2.0, 3.0])}\n"
    "x = next(d['it'])",
}


@pytest.mark.parametrize("steps", [3, 8, 13])
@pytest.mark.parametrize("code", UNCOPIED.values(), ids=UNCOPIED)
def test_another_mode_goes_on_with_what_can_not_be_copied(
    code: str, steps: int, write_lesson: Callable[..., Lesson]
) -> None:
    phases = {"Setup": f"import io, queue\n{LOADER}", "Predict": f"{code}\ny_pred = w * x"}
    run = Run(programs_of(write_lesson(FRONT_OF_BATCHES, **phases)))
    for _ in range(steps):
        run.step_phase()
    before = run.frame()
    after = run.switch("optimizer")
    assert (after.watched, after.loss) == (before.watched, before.loss)
