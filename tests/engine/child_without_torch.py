"""The child process of `tutor check` but for torch: instead of a check, it runs Predict's code.

Run as a script. With the word "watching" it evaluates the first watched expression instead, and
gives it a tenth of a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from msgspec.structs import replace

from tutor.engine import child
from tutor.engine.streams import Capture, Inbox
from tutor.lesson.model import Fence, Lesson
from tutor.protocol.commands import CheckLesson
from tutor.protocol.events import (
    AnswerComputed,
    CommandDone,
    EngineReady,
    Event,
    Finding,
    LessonPart,
    LessonStopped,
    PartBegun,
    ProcessUnfit,
)
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line
from tutor.training import program, time_limit

COMMAND = (sys.executable, __file__)
PREDICT = LessonPart(mode="autograd", phase="Predict")


def serve(inbox: Inbox, out: BinaryIO) -> None:
    def send(event: Event) -> None:
        out.write(to_line(event))
        out.flush()

    send(EngineReady(torch="0", devices=()))
    spent: Remark | None = None
    capture = Capture()
    while True:
        command = inbox.next()
        assert isinstance(command, CheckLesson)
        if spent:
            send(ProcessUnfit(reason=spent))
            os._exit(0)
        answer: Event = CommandDone(answers=command.number)
        with inbox.interrupts.raised(), capture.muted():
            try:
                check(command, send)
            except KeyboardInterrupt:
                line = predict(command.lesson).line + 1
                answer = LessonStopped(part=replace(PREDICT, line=line), answers=1)
        spent = Remark("thread_left") if "unfit" in command.lesson.source else None
        send(answer)


def predict(lesson: Lesson) -> Fence:
    section = lesson.phase("Predict")
    assert section is not None
    return section.fences("autograd")[0]


def check(command: CheckLesson, send: Callable[[Event], None]) -> None:
    fence = predict(command.lesson)
    send(PartBegun(part=replace(PREDICT, line=fence.line)))
    if "watching" in sys.argv:
        evaluate_watched(command.lesson)
    code = compile("\n" * (fence.line - 1) + fence.code, str(command.lesson.path), "exec")
    exec(code, {"__name__": "lesson"})
    path = str(command.lesson.path)
    note = Remark("text", {"text": "all that was asked for has run"})
    send(Finding(path=path, line=fence.line, what=note))
    if command.with_answers:
        send(AnswerComputed(text="an-exercise: 3"))


def evaluate_watched(lesson: Lesson) -> None:
    time_limit.SECONDS, time_limit._MORE = 0.1, 0.1
    (watched,) = program.programs_of(lesson)["autograd"].watch
    with time_limit.limited():
        eval(watched.code, {})


if __name__ == "__main__":
    child.main(serve)
