"""Lessons checked in a child process: whatever one does, it costs a finding, and no more.

The child is `child_without_torch`: instead of a check, it runs the code of Predict.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.engine.child_without_torch import COMMAND
from tests.far_machine import HOST, SIMULATED, pretend
from tests.training.conftest import FRONT, lesson_text
from tests.waiting import PATIENCE
from tutor.cli.checking import findings
from tutor.engine import command_client, lesson_commands
from tutor.engine.child import Capture
from tutor.engine.command_client import CommandClient, raise_failure
from tutor.engine.connection import Connection
from tutor.engine.lesson_commands import run_lesson
from tutor.engine.process_state import CleanProcess
from tutor.errors import CodeRaised, EngineError, Refused, RunError
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.commands import CheckLesson
from tutor.protocol.events import CheckFinding, CommandDone, Event, RunFailed
from tutor.protocol.frame import Remark
from tutor.wording.check_findings import check_line
from tutor.wording.notices import error_text

SOUND = "y_pred = 1"
KEY = f"import os, signal; os.kill({os.getpid()}, signal.SIGALRM)"
"""In place of a hand on Ctrl+C, once the lesson runs."""


def far_client() -> CommandClient:
    """One whose child runs at the far end of a connection."""
    return CommandClient(connect=lambda: Connection(HOST))


@pytest.fixture(scope="module")
def _far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The way to the far end."""
    with pytest.MonkeyPatch.context() as patch:
        code = f"exec {shlex.join(COMMAND)}"
        pretend(patch, tmp_path_factory.mktemp("far"), *SIMULATED, code)
        yield


@pytest.fixture(scope="module")
def client() -> Iterator[CommandClient]:
    """One for all tests: whatever a lesson has done to its process, it serves the next."""
    with CommandClient(COMMAND) as found:
        yield found


@pytest.fixture(scope="module", params=["here", "far"])
def either(
    request: pytest.FixtureRequest, client: CommandClient, _far: None
) -> Iterator[CommandClient]:
    """That one, and another whose child runs at the far end of a connection."""
    if request.param == "here":
        yield client
        return
    with far_client() as found:
        yield found


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lesson that can be interrupted is not killed because the machine is slow."""
    monkeypatch.setattr(command_client, "INTERRUPT_SECONDS", PATIENCE)


def predicting(code: str, path: str = "test.md") -> Lesson:
    return parse(lesson_text(Predict=code), Path(path))


def found(client: CommandClient, code: str, seconds: float = 60.0) -> str:
    (finding,) = findings(client, CheckLesson(lesson=predicting(code)), seconds).findings
    return check_line(finding)


def test_a_lesson_with_a_path_that_is_not_utf_8_is_checked(client: CommandClient) -> None:
    path = os.fsdecode(b"a folder\xff/b \xfe.md")
    (finding,) = findings(client, CheckLesson(lesson=predicting(SOUND, path))).findings
    assert check_line(finding) == "a folder?/b ?.md:16: all that was asked for has run"


def test_nothing_that_a_lesson_prints_gets_out_and_nothing_typed_gets_in(
    client: CommandClient, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = "import os, sys\nprint('\\x1b[31m')\nos.system('echo hi')\nsys.stderr.write('\\x07')"
    assert found(client, loud + "\nassert not sys.stdin.read()").endswith("has run")
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_lesson_that_ends_its_process_costs_a_finding_and_the_next_is_checked(
    either: CommandClient,
) -> None:
    assert found(either, "import os\nos._exit(3)") == (
        "test.md:17: mode autograd, Predict ended its process, which exited with status 3; "
        "nothing more of this lesson was checked"
    )
    assert found(either, SOUND).endswith("has run")
    asked = CheckLesson(lesson=predicting(SOUND), with_answers=True)
    assert findings(either, asked).answers == ["an-exercise: 3"]
    killed = found(either, "import os\nos.kill(os.getpid(), 9)")
    assert killed.startswith(
        "test.md:17: mode autograd, Predict ended its process, which was ended"
    )
    assert "by SIGKILL" in killed


def test_an_endless_loop_is_told_with_the_line_that_it_is_at(either: CommandClient) -> None:
    found(either, SOUND)  # it has loaded all it needs
    # Within a tenth of a second, a busy machine runs none of it.
    assert found(either, "while True: pass", 1.0) == (
        "test.md:16: mode autograd, Predict did not finish within 1 s; "
        "nothing more of this lesson was checked"
    )


@pytest.mark.parametrize("make", [lambda: CommandClient(COMMAND), far_client])
@pytest.mark.usefixtures("_far")
def test_ctrl_c_says_what_was_being_checked_and_leaves_no_process(
    make: Callable[[], CommandClient], capsys: pytest.CaptureFixture[str]
) -> None:
    with make() as client:
        found(client, SOUND)
        assert client._child is not None
        child = client._child.process
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                found(client, f"{KEY}; all(True for _ in iter(int, 1))")
        finally:
            signal.signal(signal.SIGALRM, before)
        assert not child.is_alive
    assert capsys.readouterr().err == "tutor: stopped at test.md:16: mode autograd, Predict\n"


@pytest.mark.parametrize("when", ["while a lesson runs", "between two"])
@pytest.mark.usefixtures("_far")
def test_a_lost_connection_ends_the_command_with_one_line_that_names_the_host(when: str) -> None:
    with far_client() as client:
        assert found(client, SOUND).endswith("has run")
        assert client._connection is not None
        ssh = client._connection._ssh
        code = SOUND
        if when == "between two":
            ssh.kill()
            ssh.wait()
        else:
            code = f"import os, time\nos.kill({ssh.pid}, 9)\ntime.sleep(99)"
        with pytest.raises(EngineError, match=HOST) as lost:
            found(client, code)
        assert error_text(lost.value).isprintable()


def test_a_copy_that_a_lesson_makes_of_its_process_says_nothing(client: CommandClient) -> None:
    forking = "import os\nif not os.fork():\n    raise KeyboardInterrupt\nos.wait()"
    assert found(client, forking).endswith("has run")  # once, and the copy has ended


def test_a_lesson_that_writes_into_the_tutors_pipe_costs_a_finding(client: CommandClient) -> None:
    garbage = "import os, time\nfor d in range(3, 9):\n    try:\n        os.write(d, b'x\\n')\n"
    shown = found(client, garbage + "    except OSError:\n        pass\ntime.sleep(9)")
    assert "Predict wrote into the tutor's own pipe, and its process was ended" in shown
    assert found(client, SOUND).endswith("has run")


def test_an_expression_that_only_a_process_end_stops_is_told_with_its_line() -> None:
    label = "größte Zahl"
    front = FRONT.replace("epochs: 10", f"epochs: 10\nwatch:\n  {label}: max(iter(int, 1))")
    with CommandClient((*COMMAND, "watching")) as client:
        lesson = parse(lesson_text(front), Path("test.md"))
        (finding,) = findings(client, CheckLesson(lesson=lesson)).findings
    line = front.splitlines().index(f"  {label}: max(iter(int, 1))") + 1
    expected = f"test.md:{line}: mode autograd, the value of {label} did not finish"
    assert check_line(finding).startswith(expected)


def test_a_failure_is_the_lessons_own_error_or_a_refusal() -> None:
    raised = {"place": "a.md:3", "phase": "Loss", "mode": "m", "error": ["text", {"text": "no"}]}
    with pytest.raises(CodeRaised) as failed:
        raise_failure(RunFailed(remark=Remark("lesson_raised", raised)))
    assert (failed.value.code, failed.value.values) == ("lesson_raised", raised)
    with pytest.raises(RunError, match="a line"):
        raise_failure(RunFailed(remark=Remark("text", {"text": "a line"})))
    with pytest.raises(Refused) as refused:
        raise_failure(RunFailed(remark=Remark("no_mode", {"mode": "x"}), trace="trace"))
    assert (refused.value.code, refused.value.is_usage) == ("no_mode", True)
    assert refused.value.__notes__ == ["trace"]


def test_a_process_that_can_not_start_is_told() -> None:
    with (
        CommandClient([sys.executable, "-c", "raise OSError('no torch')"]) as client,
        pytest.raises(EngineError, match=r"not_started.*OSError: no torch"),
    ):
        found(client, SOUND)


def test_the_next_lesson_is_checked_in_another_process_where_this_one_is_unfit(
    client: CommandClient,
) -> None:
    children = []
    for word in ("unfit", "fit", "fit"):
        assert found(client, f"{word} = 1").endswith("has run")
        children.append(client._child)
    first, second, third = children
    assert first is not second is third


def checked(lesson: Lesson) -> list[Event]:
    """The events of a check in this process."""
    events: list[Event] = []
    with closing(Capture()) as capture:
        run_lesson(CheckLesson(lesson=lesson), events.append, capture)
    assert events.pop() == CommandDone()
    return events


@pytest.fixture
def _unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_commands, "limit_memory", lambda _: None)


@pytest.mark.usefixtures("_unlimited")
def test_what_a_lesson_prints_is_neither_kept_nor_encoded_and_much_is_told() -> None:
    events = []
    printing = "y_pred = w * x\nimport sys\nsys.stdout.fileno()\n"
    for text in ("print('little')", f"print('x' * {lesson_commands.MUCH_PRINTED})"):
        events += checked(predicting(printing + text))
    (note,) = (event for event in events if isinstance(event, CheckFinding))
    assert note.is_note
    assert note.remark.code == "printed_much"


@pytest.mark.usefixtures("_unlimited")
def test_a_checked_lesson_leaves_nothing_to_the_next() -> None:
    clean = CleanProcess()
    setup = "torch.set_default_dtype(torch.float64)\nw = torch.tensor(1.0, requires_grad=True)\n"
    lesson = parse(lesson_text(Setup=setup + "x = torch.ones(3)"), Path("test.md"))
    assert not any(isinstance(e, CheckFinding) and not e.is_note for e in checked(lesson))
    assert clean.restore() is None
    assert torch.get_default_dtype() == torch.float32
