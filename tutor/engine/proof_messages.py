"""What crosses the border between who has lessons proven and the process that proves them.

A message is a line. Knows nothing of processes and of proofs.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeAlias

import msgspec

from tutor.engine.messages import packed, path_of
from tutor.errors import EngineError
from tutor.lesson.model import Lesson


class Prove(msgspec.Struct, frozen=True):
    """Down: prove this lesson."""

    lesson: Lesson
    with_answers: bool = False
    """Tell the answers of its exercises, too."""


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """Up, once: PyTorch is there. What takes long from here on is the lesson's doing."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """Up: what is proven from here on, and the line of the file that it stands on."""

    line: int
    what: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """Up: one thing that is wrong."""

    line: int
    message: str
    is_note: bool = False
    """Whether nothing is wrong, and it only tells what has been proven."""


class Answered(msgspec.Struct, frozen=True, tag=True):
    """Up: what an exercise's answer is, computed."""

    line: int
    text: str


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """Up, last: an interrupt met the lesson's own code, here."""

    line: int
    what: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """Up, last: all is proven, or found wrong."""


Event: TypeAlias = Loaded | Begun | Told | Answered | Stopped | Done

_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_wishes: msgspec.msgpack.Decoder[Prove] = msgspec.msgpack.Decoder(Prove, dec_hook=path_of)


def to_line(message: Prove | Event) -> bytes:
    """A message as one line, newline included."""
    return base64.b64encode(packed(message)) + b"\n"


def wish_from_line(line: bytes) -> Prove:
    """What is asked for on a line."""
    return _wishes.decode(base64.b64decode(line))


def event_from_line(line: bytes) -> Event:
    """What is told on a line. Raises EngineError if it is none of these messages."""
    try:
        return _events.decode(base64.b64decode(line.rstrip(b"\n"), validate=True))
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise EngineError("no message") from error
