"""The messages between a command and the child process that runs lessons for it, one a line."""

from __future__ import annotations

import base64
import binascii
from typing import TypeAlias

import msgspec

from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.protocol.messages import packed, path_of


class CheckLesson(msgspec.Struct, frozen=True, tag=True):
    """Down: prove this lesson."""

    lesson: Lesson
    with_answers: bool = False
    """Tell the answers of its exercises, too."""


class TrainLesson(msgspec.Struct, frozen=True, tag=True):
    """Down: train this lesson, and tell its figures."""

    lesson: Lesson
    mode: str | None
    """None: as usual."""
    device: str
    learning_rate: float | None
    seed: int
    epochs: int | None
    """None: as the lesson says."""
    every: int
    """The figures of the epochs that this divides are told, and of the last."""
    format: str
    compare: bool = False
    with_debug: bool = False
    """Tell the traceback of an error, too."""


class TorchLoaded(msgspec.Struct, frozen=True, tag=True):
    """Up, once: PyTorch is there. What takes long from here on is the lesson's doing."""


class PartBegun(msgspec.Struct, frozen=True, tag=True):
    """Up: what is proven from here on, and the line of the file that it stands on."""

    line: int
    what: str


class FindingReported(msgspec.Struct, frozen=True, tag=True):
    """Up: one thing that is wrong."""

    line: int
    message: str
    is_note: bool = False
    """Whether nothing is wrong, and it only tells what has been proven."""


class AnswerComputed(msgspec.Struct, frozen=True, tag=True):
    """Up: what an exercise's answer is, computed."""

    line: int
    text: str


class FiguresPrinted(msgspec.Struct, frozen=True, tag=True):
    """Up: whole lines of figures."""

    text: str


class LessonPrinted(msgspec.Struct, frozen=True, tag=True):
    """Up: what the lesson has printed, and how many characters before it were left out."""

    text: str
    left_out: int = 0


class RunRemark(msgspec.Struct, frozen=True, tag=True):
    """Up: something that a reader of the figures has to know."""

    text: str


class RunFailed(msgspec.Struct, frozen=True, tag=True):
    """Up: why there are no more figures."""

    message: str
    is_usage: bool
    trace: str = ""


class LessonStopped(msgspec.Struct, frozen=True, tag=True):
    """Up, last: an interrupt met the lesson's own code, here."""

    line: int
    what: str


class RequestDone(msgspec.Struct, frozen=True, tag=True):
    """Up, last: all is proven, or found wrong."""

    is_spent: bool = False
    """Whether the lesson has left the process unfit for another lesson."""


Wish: TypeAlias = CheckLesson | TrainLesson
Event: TypeAlias = (
    TorchLoaded
    | PartBegun
    | FindingReported
    | AnswerComputed
    | FiguresPrinted
    | LessonPrinted
    | RunRemark
    | RunFailed
    | LessonStopped
    | RequestDone
)

_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_wishes: msgspec.msgpack.Decoder[Wish] = msgspec.msgpack.Decoder(Wish, dec_hook=path_of)


def to_line(message: Wish | Event) -> bytes:
    """A message as one line, newline included."""
    return base64.b64encode(packed(message)) + b"\n"


def wish_from_line(line: bytes) -> Wish:
    """The request on a line."""
    return _wishes.decode(base64.b64decode(line))


def event_from_line(line: bytes) -> Event:
    """The event on a line. Raises EngineError if it is none of these messages."""
    try:
        return _events.decode(base64.b64decode(line.rstrip(b"\n"), validate=True))
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise EngineError("no message") from error
