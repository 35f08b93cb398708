"""The messages between the tutor here and the program beside the engine on another machine.

They travel over ssh's standard input and output, between commands and events. Before all others
comes the line of a Hello, which any version can read.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from tutor import __version__
from tutor.protocol.commands import Command
from tutor.protocol.events import Event
from tutor.protocol.frame import Remark
from tutor.protocol.messages import Decoder, Message, decoder_of, message_from_line

HELLO = b"tutor-engine "


class Hello(msgspec.Struct, frozen=True):
    """The first line of the far end: the versions there, which have to be those here.

    Tutors of two versions may have the same messages, but not all codes in them.
    """

    version: str
    """The tutor's version."""
    protocol: str
    """The digest of its messages."""

    @classmethod
    def here(cls) -> Hello:
        """The versions of this tutor."""
        return cls(__version__, protocol_digest())

    def to_line(self) -> bytes:
        """The line, on which a text that a shell has printed before it does not end."""
        return b"\n" + HELLO + msgspec.json.encode(self) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Hello | None:
        """The Hello on a line; None if there is none."""
        try:
            return msgspec.json.decode(line.removeprefix(HELLO), type=cls)
        except msgspec.MsgspecError:
            return None


def protocol_digest() -> str:
    """A digest of the fields of all messages: another one where a message has changed."""
    fields: dict[str, list[tuple[str, str]]] = {}

    def collect(kind: Any) -> None:
        is_message = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        if is_message and kind.__qualname__ not in fields:
            fields[kind.__qualname__] = [(n, str(t)) for n, t in kind.__annotations__.items()]
            collect(tuple(get_type_hints(kind).values()))
        for part in kind if isinstance(kind, tuple) else get_args(kind):
            collect(part)

    collect(tuple(kind for base in (Command, Event, FarMessage) for kind in base.__subclasses__()))
    return hashlib.sha256(json.dumps(sorted(fields.items())).encode()).hexdigest()[:12]


class FarMessage(Message, frozen=True):
    """The base class of the messages besides commands and events, in both directions."""


# ── From here to there ──────────────────────────────────────────────────────────────


class StartProcess(FarMessage, frozen=True):
    """Start a process for lessons, in place of the one before."""

    number: int


class SignalProcess(FarMessage, frozen=True):
    """Send the process a signal, or also everything that a lesson has started in it."""

    signal: int
    is_to_all: bool


class DumpStack(FarMessage, frozen=True):
    """Let the process write its stack down. StackDumped answers."""


class KillProcess(FarMessage, frozen=True):
    """End the process at once, with everything that a lesson has started in it."""


class ListDevices(FarMessage, frozen=True):
    """Answered by DevicesListed."""


class Ping(FarMessage, frozen=True):
    """A sign of life; answered by Pong."""


# ── From there to here ──────────────────────────────────────────────────────────────


class StackDumped(FarMessage, frozen=True):
    """The stack has been written."""

    errors: str
    """The process's error output."""


class ProcessOver(FarMessage, frozen=True):
    """The process with this number has ended, and all that it has started."""

    number: int
    status: int
    end_reason: str
    errors: str
    not_started: Remark | None = None
    """The reason why it could not be started."""


class DevicesListed(FarMessage, frozen=True):
    """The devices there, each with its description."""

    devices: tuple[tuple[str, str], ...]


class Pong(FarMessage, frozen=True):
    """The answer to a Ping."""


M = TypeVar("M", bound=Message)


@cache
def _decoder(base: type[Message]) -> Decoder:
    return decoder_of((*base.__subclasses__(), *FarMessage.__subclasses__()))


def far_message_from_line(line: bytes, base: type[M]) -> M | FarMessage:
    """The message on a line: one of these, or of those of the `base` (Command, Event).

    Raises msgspec.DecodeError if there is none.
    """
    message: M | FarMessage = message_from_line(_decoder(base), line)
    return message
