"""What crosses the border comes out on the other side as it went in."""

from __future__ import annotations

import math

import msgspec
import pytest

from tests import shipped as lessons
from tutor.protocol.commands import OpenLesson, StepPhase, Switch, command_from_line
from tutor.protocol.events import LessonFailed, event_from_line
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line


@pytest.mark.parametrize(
    "command",
    [
        StepPhase(number=7),
        Switch(mode="manual"),
        OpenLesson(lesson=lessons.lesson("xor"), learning_rate=math.inf),
    ],
)
def test_a_command_is_one_line_and_comes_back_whole(
    command: StepPhase | Switch | OpenLesson,
) -> None:
    line = to_line(command)
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert command_from_line(line) == command


def test_an_event_is_not_a_command() -> None:
    failed = LessonFailed(lesson="x", phase="Loss", line=3, error=Remark("text", {"text": "no"}))
    assert event_from_line(to_line(failed)) == failed
    with pytest.raises(msgspec.ValidationError):
        command_from_line(to_line(failed))
