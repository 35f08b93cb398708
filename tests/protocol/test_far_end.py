"""The messages to the far end, and the digest that tells whether both sides have the same."""

from __future__ import annotations

import base64
import subprocess
import sys

import msgspec
import pytest

from tutor.protocol.commands import StepPhase
from tutor.protocol.events import Event
from tutor.protocol.far_end import (
    HELLO,
    DevicesListed,
    FarMessage,
    Hello,
    Ping,
    ProcessOver,
    far_message_from_line,
    protocol_digest,
)
from tutor.protocol.messages import to_line

HERE = "from tutor.protocol.far_end import protocol_digest as p; print(p())"


def test_the_digest_is_the_same_in_every_process_and_another_for_other_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = subprocess.run((sys.executable, "-c", HERE), capture_output=True, text=True, check=True)
    before = protocol_digest()
    assert there.stdout.strip() == before
    monkeypatch.setattr(StepPhase, "__annotations__", {"count": "int"})
    assert protocol_digest() != before


@pytest.mark.parametrize(
    "message",
    [Ping(), ProcessOver(3, -9, "", 'in "a"\nline'), DevicesListed((("cpu", "2 threads"),))],
)
def test_a_message_is_one_line_and_comes_back(message: FarMessage) -> None:
    line = to_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert far_message_from_line(line, Event) == message


@pytest.mark.parametrize("thing", [None, {}, {"type": "Hello"}, b"\xff", [1, "x"]])
def test_what_is_no_message_is_refused(thing: object) -> None:
    for line in (base64.b64encode(msgspec.msgpack.encode(thing)), b"!", to_line(StepPhase())):
        with pytest.raises(msgspec.MsgspecError):
            far_message_from_line(line, Event)


def test_a_hello_stands_on_a_line_of_its_own() -> None:
    before, line, after = Hello.here().to_line().split(b"\n")
    assert (before, after) == (b"", b"")
    assert Hello.from_line(line) == Hello.here()
    assert Hello.from_line(HELLO + b'{"version": 3}') is None
