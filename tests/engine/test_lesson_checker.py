"""Lessons proven in a child process: whatever one does, it costs a finding, and no more.

The child is the real one but for torch: what it is given as a proof runs the code of Predict.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.conftest import FRONT, lesson_text
from tests.waiting import PATIENCE
from tutor.engine import command_child, lesson_child, process_state
from tutor.engine.command_messages import CheckLesson, Event, FindingReported
from tutor.engine.lesson_checker import LessonChecker
from tutor.errors import EngineError
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson

CHILD = """
from tutor.engine import command_child
from tutor.engine.command_messages import AnswerComputed, PartBegun, LessonStopped, FindingReported

def prove(wish, tell):
    (fence,) = wish.lesson.phase("Predict").fences("autograd")
    tell(PartBegun(fence.line, "mode autograd, Predict"))
    try:
        exec(fence.code, {})
        tell(FindingReported(fence.line, "all that was asked for has run"))
    except KeyboardInterrupt:
        tell(LessonStopped(fence.line + 1, "mode autograd, Predict"))
    if "unfit" in fence.code:
        return True
    if wish.with_answers:
        tell(AnswerComputed(fence.line, "an-exercise: 3"))

command_child.main(lambda: prove)
"""
SOUND = "y_pred = 1"
KEY = f"import os, signal; os.kill({os.getpid()}, signal.SIGALRM)"
"""In place of a hand on Ctrl+C, once the lesson runs."""


@pytest.fixture
def proofs() -> Iterator[LessonChecker]:
    with LessonChecker([sys.executable, "-c", CHILD]) as found:
        yield found


def predicting(code: str) -> Lesson:
    return parse(lesson_text(Predict=code), Path("test.md"))


def told(proofs: LessonChecker, code: str) -> str:
    (finding,) = proofs.prove(predicting(code))
    return str(finding)


def test_nothing_that_a_lesson_prints_gets_out_and_nothing_typed_gets_in(
    proofs: LessonChecker, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = "import os, sys\nprint('\\x1b[31m')\nos.system('echo hi')\nsys.stderr.write('\\x07')"
    assert told(proofs, loud + "\nassert not sys.stdin.read()").endswith("has run")
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_lesson_that_ends_its_process_costs_a_finding_and_the_next_is_proven(
    proofs: LessonChecker,
) -> None:
    assert told(proofs, "import os\nos._exit(3)") == (
        "test.md:16: mode autograd, Predict ended its process, which exited with status 3; "
        "nothing more of this lesson was proven"
    )
    assert told(proofs, SOUND).endswith("has run")
    proofs.prove(predicting(SOUND), with_answers=True)
    assert [answer.text for answer in proofs.answers] == ["an-exercise: 3"]
    assert "ended by SIGKILL" in told(proofs, "import os\nos.kill(os.getpid(), 9)")


def test_an_endless_loop_is_told_with_the_line_that_it_is_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lesson_child, "GRACE", PATIENCE)
    # A second for a child that has loaded all it needs: within a tenth, a busy machine runs none.
    with LessonChecker([sys.executable, "-c", CHILD], seconds=1.0) as proofs:
        assert told(proofs, "while True:\n    pass") == (
            "test.md:17: mode autograd, Predict did not come to its end within 1 s; "
            "nothing more of this lesson was proven"
        )


def test_ctrl_c_says_what_was_being_proven_and_leaves_no_process(
    proofs: LessonChecker,
) -> None:
    proofs.prove(predicting(SOUND))
    assert proofs._child is not None
    child = proofs._child.process
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"test\.md:17: mode autograd, Predict"):
            proofs.prove(predicting(f"{KEY}\nwhile True:\n    pass"))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not child.is_alive


def test_a_copy_that_a_lesson_makes_of_its_process_says_nothing(proofs: LessonChecker) -> None:
    forking = "import os\nif not os.fork():\n    raise KeyboardInterrupt\nos.wait()"
    assert told(proofs, forking).endswith("has run")  # once, and the copy has ended


def test_a_lesson_that_writes_into_the_tutors_pipe_costs_a_finding(proofs: LessonChecker) -> None:
    garbage = "import os, time\nfor d in range(3, 9):\n    try:\n        os.write(d, b'x\\n')\n"
    said = told(proofs, garbage + "    except OSError:\n        pass\ntime.sleep(9)")
    assert "Predict meddled with the tutor's own pipe" in said
    assert told(proofs, SOUND).endswith("has run")


@pytest.mark.parametrize("label", ["endless", "größte Zahl"])
def test_an_expression_that_only_a_process_end_stops_is_told_with_its_line(label: str) -> None:
    child = """
from tutor.engine import command_child
from tutor.engine.command_messages import PartBegun
from tutor.training import program, time_limit
time_limit.SECONDS, time_limit._MORE = 0.1, 0.1

def prove(wish, tell):
    tell(PartBegun(16, "mode autograd, Predict"))
    (watched,) = program.programs_of(wish.lesson)["autograd"].watch
    with time_limit.limited():
        eval(watched.code, {})

command_child.main(lambda: prove)
"""
    front = FRONT.replace("epochs: 10", f"epochs: 10\nwatch:\n  {label}: max(iter(int, 1))")
    lesson = parse(lesson_text(front), Path("test.md"))
    with LessonChecker([sys.executable, "-c", child]) as proofs:
        (finding,) = proofs.prove(lesson)
    line = front.splitlines().index(f"  {label}: max(iter(int, 1))") + 1
    said = str(finding)
    assert said.startswith(f"test.md:{line}: mode autograd, the value of {label} did not come to")


def test_what_a_lesson_prints_is_neither_kept_nor_encoded_and_much_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_child, "limit_memory", lambda _: None)
    monkeypatch.setattr(process_state, "clear_standard_input", lambda: None)
    prove, told = command_child._load(), list[Event]()
    printing = "y_pred = w * x\nimport sys\nsys.stdout.fileno()\n"
    for text in ("print('little')", f"print('x' * {command_child.MUCH_PRINTED})"):
        prove(
            CheckLesson(parse(lesson_text(Predict=printing + text), Path("test.md"))), told.append
        )
    (note,) = (event for event in told if isinstance(event, FindingReported))
    assert note.is_note
    assert "characters, which are not shown" in note.message


def test_a_process_that_can_not_start_is_told() -> None:
    with (
        LessonChecker([sys.executable, "-c", "raise OSError('no torch')"]) as proofs,
        pytest.raises(EngineError, match="could not start: OSError: no torch"),
    ):
        proofs.prove(predicting(SOUND))


def test_the_next_lesson_is_proven_in_another_process_where_this_one_is_unfit(
    proofs: LessonChecker,
) -> None:
    numbers = []
    for word in ("unfit", "fit", "fit"):
        proofs.prove(predicting(f"{word} = 1"))
        numbers.append(proofs._child and proofs._child.process)
    first, second, third = numbers
    assert first is None
    assert second is third is not None


def test_a_proven_lesson_leaves_nothing_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_child, "limit_memory", lambda _: None)
    monkeypatch.setattr(process_state, "clear_standard_input", lambda: None)
    told: list[object] = []
    prove = command_child._load()
    setup = "torch.set_default_dtype(torch.float64)\nw = torch.tensor(1.0, requires_grad=True)\n"
    lesson = parse(lesson_text(Setup=setup + "x = torch.ones(3)"), Path("test.md"))
    assert prove(CheckLesson(lesson), told.append) is False
    assert [
        event for event in told if isinstance(event, FindingReported) and not event.is_note
    ] == []
    assert torch.get_default_dtype() == torch.float32
