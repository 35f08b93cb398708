"""An expression that has no end costs a few seconds, and is told with its line."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.training.conftest import FRONT, PLAIN
from tests.waiting import PATIENCE
from tutor.lesson.model import Lesson
from tutor.training import time_limit
from tutor.training.run import Run
from tutor.validation.lesson_check import check
from tutor.wording.check_findings import check_message

ENDLESS = PLAIN["Setup"] + "\ndef endless():\n    while True:\n        pass"


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(time_limit, "EXPRESSION_SECONDS", 0.1)
    monkeypatch.setattr(time_limit, "_is_on", False)
    before = signal.getsignal(signal.SIGALRM)
    time_limit.limit_expressions()
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may leave no time for a tenth of a second: that stops no expression."""
    monkeypatch.setattr(time_limit, "EXPRESSION_SECONDS", PATIENCE)


def watching(expression: str) -> str:
    return FRONT.replace("epochs: 10", f"epochs: 10\nwatch:\n  count: {expression}")


def line_of(lesson: Lesson, text: str) -> int:
    return next(n for n, line in enumerate(lesson.source.split("\n"), 1) if text in line)


@pytest.mark.parametrize(
    "expression", ["endless()", "time.sleep(99)", "sum(1 for _ in iter(int, 1))"]
)
def test_a_watched_expression_without_an_end_is_told_once_on_its_line(
    write_lesson: Callable[..., Lesson], expression: str
) -> None:
    lesson = write_lesson(watching(expression), Setup=f"import time\n{ENDLESS}")
    (finding,) = check(lesson)
    assert finding.line == line_of(lesson, "count:")
    assert "count has no value: it did not finish within 0.1 s" in check_message(finding)


def test_a_formula_without_an_end_is_told_on_its_line_in_all_modes_at_once(
    write_lesson: Callable[..., Lesson],
) -> None:
    front = FRONT.replace("epochs: 10", "epochs: 10\nmodes: [autograd, other]\ncomparable: false")
    formula = "y_pred = w * x\n```\n\n$$\n\\boxed{endless()}\n$$\n\n```python\nz = 1"
    lesson = write_lesson(front, Setup=ENDLESS, Predict=formula)
    (finding,) = check(lesson)
    assert lesson.source.split("\n")[finding.line - 1] in ("$$", "\\boxed{endless()}")
    assert check_message(finding).startswith("modes autograd, other: endless() has no value")


@pytest.mark.usefixtures("unhurried")
def test_an_expression_that_takes_too_much_memory_is_evaluated_once(
    start: Callable[..., Run],
) -> None:
    setup = PLAIN["Setup"] + "\ntimes = []\ndef huge():\n    times.append(1)\n    raise MemoryError"
    run = start(watching("huge()"), Setup=setup)
    run.step_epoch()
    assert run.frame().watched["count"].why == "too_much_memory"
    assert len(run.loop.namespace["times"]) == 1


def test_an_exercise_s_expression_without_an_end_has_no_value(start: Callable[..., Run]) -> None:
    (value,) = start(Setup=ENDLESS).evaluate(["endless()"])
    assert value.why == "too_slow"


@pytest.mark.usefixtures("unhurried")
def test_a_lesson_s_own_timer_and_handler_are_as_they_were(start: Callable[..., Run]) -> None:
    setup = PLAIN["Setup"] + "\nimport signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)"
    run = start(watching("1 + 1"), Setup=setup + "\nsignal.setitimer(signal.ITIMER_REAL, 9999)")
    try:
        run.step_epoch()
        assert 9999 - PATIENCE < signal.getitimer(signal.ITIMER_REAL)[0] <= 9999
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
        assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.usefixtures("unhurried")
def test_one_alarm_for_all_the_time_that_the_process_stood_still_stops_no_expression() -> None:
    def evaluate(alarms: int) -> None:
        with time_limit.limited():
            for _ in range(alarms):
                signal.raise_signal(signal.SIGALRM)

    evaluate(alarms=1)
    with pytest.raises(time_limit.TookTooLong):
        evaluate(alarms=time_limit._ALARMS)


@pytest.mark.usefixtures("unhurried")
def test_no_alarm_is_left_to_come_after_an_expression_in_time(start: Callable[..., Run]) -> None:
    run = start(watching("1 + 1"))
    for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
        assert signal.getitimer(timer) == (0.0, 0.0)
    assert run.step_epoch().watched["count"].data == (2.0,)
