"""The messages between the app and the process that holds the run, as lines.

One line per message in each direction: msgpack in base64 (JSON has no NaN, and a diverged run has
little else). Commands go down, events come up.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The base class of commands and events; on the line, a tag names the class."""


Decoder: TypeAlias = msgspec.msgpack.Decoder[Any]

_encoder = msgspec.msgpack.Encoder(enc_hook=os.fsencode)


def decoder_of(kinds: Sequence[type[Message]]) -> Decoder:
    """The decoder of messages of these kinds; it takes milliseconds to make."""
    return msgspec.msgpack.Decoder(Union[tuple(kinds)], dec_hook=_path)  # noqa: UP007


def _path(kind: type, value: object) -> Path:
    """A path, the one type in messages that msgpack does not know, from its bytes."""
    assert kind is Path
    assert isinstance(value, bytes)
    return Path(os.fsdecode(value))


def to_line(message: Message) -> bytes:
    """One message as one line, newline included."""
    return base64.b64encode(_packed(message)) + b"\n"


def _packed(message: msgspec.Struct) -> bytes:
    """A message in msgpack. Half a surrogate pair, which no UTF-8 has, becomes `?`."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=os.fsencode)
        return _encoder.encode(_whole(plain))


def _whole(thing: Any) -> Any:
    """The data with a replacement for each half of a character in its texts."""
    if isinstance(thing, str):
        return thing.encode(errors="replace").decode()
    if isinstance(thing, dict):
        return {_whole(key): _whole(value) for key, value in thing.items()}
    return [_whole(one) for one in thing] if isinstance(thing, list | tuple) else thing


def message_from_line(decoder: Decoder, line: bytes) -> Any:
    """The message on a line. Raises msgspec.DecodeError if there is none, whatever it holds."""
    try:
        return decoder.decode(base64.b64decode(line))
    except (RecursionError, UnicodeDecodeError, binascii.Error) as error:
        raise msgspec.DecodeError(str(error)) from error
