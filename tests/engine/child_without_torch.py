"""The child process of `tutor check` and `tutor run` but for torch: it runs the code of Predict.

Of a run, Setup's code once and Predict's in each epoch, which has a line of figures. Run as a
script. With the word "watching" it evaluates the first watched expression instead, and gives it a
tenth of a second.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from msgspec.structs import replace

from tutor.engine import child
from tutor.engine.child import Capture, Inbox
from tutor.lesson.model import SETUP, Fence, Lesson
from tutor.protocol.commands import CheckLesson, TrainLesson
from tutor.protocol.events import (
    AnswersComputed,
    CheckFinding,
    CommandDone,
    EngineReady,
    Event,
    FiguresPrinted,
    LessonPart,
    LessonStopped,
    PartBegun,
    ProcessUnfit,
)
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line
from tutor.training import program, time_limit

COMMAND = (sys.executable, __file__)
_TUTOR = (
    "import sys; from tutor.cli import main; from tutor.engine.command_client import CommandClient;"
    f"CommandClient.__init__.__defaults__ = ({COMMAND!r}, None); sys.exit(main())"
)
TUTOR = (sys.executable, "-c", _TUTOR)
"""The tutor with this child; arguments may follow."""
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
        assert isinstance(command, CheckLesson | TrainLesson)
        if spent:
            send(ProcessUnfit(reason=spent))
            os._exit(0)
        answer: Event = CommandDone(answers=command.number)
        with inbox.interrupts.raised(), capture.muted():
            try:
                if isinstance(command, CheckLesson):
                    check(command, send)
                else:
                    train(command, send)
            except KeyboardInterrupt as stop:
                path = str(command.lesson.path)
                stack = traceback.extract_tb(stop.__traceback__)
                line = next((f.lineno for f in stack if f.filename == path), None)
                answer = LessonStopped(part=replace(PREDICT, line=line or 0), answers=1)
        spent = Remark("thread_left") if "unfit" in command.lesson.source else None
        send(answer)


def fence_of(lesson: Lesson, phase: str) -> Fence:
    section = lesson.phase(phase)
    assert section is not None
    return section.fences("autograd")[0]


def run(lesson: Lesson, phase: str, names: dict[str, Any]) -> None:
    fence = fence_of(lesson, phase)
    exec(compile("\n" * (fence.line - 1) + fence.code, str(lesson.path), "exec"), names)


def check(command: CheckLesson, send: Callable[[Event], None]) -> None:
    line = fence_of(command.lesson, "Predict").line
    send(PartBegun(part=replace(PREDICT, line=line)))
    if "watching" in sys.argv:
        evaluate_watched(command.lesson)
    run(command.lesson, "Predict", {"__name__": "lesson"})
    note = Remark("text", {"text": "all that was asked for has run"})
    send(CheckFinding(path=str(command.lesson.path), line=line, remark=note))
    if command.with_answers:
        send(AnswersComputed(exercise="an-exercise", texts=("3",)))


def train(command: TrainLesson, send: Callable[[Event], None]) -> None:
    names: dict[str, Any] = {"__name__": "lesson"}
    run(command.lesson, SETUP, names)
    for epoch in range(command.epochs or 10):
        send(PartBegun(part=replace(PREDICT, line=fence_of(command.lesson, "Predict").line)))
        run(command.lesson, "Predict", names)
        if not (epoch + 1) % max(command.every, 1):
            send(FiguresPrinted(text=f"epoch {epoch + 1}\n"))


def evaluate_watched(lesson: Lesson) -> None:
    time_limit.EXPRESSION_SECONDS, time_limit._MORE = 0.1, 0.1
    (watched,) = program.programs_of(lesson)["autograd"].watch
    with time_limit.limited():
        eval(watched.code, {})


if __name__ == "__main__":
    child.main(serve)
