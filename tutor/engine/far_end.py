"""The program at the far end of ssh: owns the process that runs lessons, and relays its messages.

`tutor engine` runs it, which `tutor --on HOST` starts over ssh. When ssh's pipes are closed, or
silent for too long, it ends, and all that lessons have started with it.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NoReturn

from tutor.engine.connection import lines_until_silent
from tutor.engine.process import Process
from tutor.errors import EngineError
from tutor.protocol.commands import Command
from tutor.protocol.far_end import (
    DevicesListed,
    DumpStack,
    FarMessage,
    Hello,
    KillProcess,
    ListDevices,
    Ping,
    Pong,
    ProcessOver,
    SignalProcess,
    StackDumped,
    StartProcess,
    far_message_from_line,
)
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line


def serve() -> NoReturn:
    """Say hello, and serve until the connection is gone."""
    source, out = os.dup(0), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # ssh's pipes are the protocol's alone
        os.dup2(nothing, descriptor)
    far_end, status = FarEnd(out), 0
    try:
        far_end.serve(lines_until_silent(source, lambda: far_end.is_suspended))
    except Exception:  # noqa: BLE001 - reported to the other end, whatever it is
        traceback.print_exc()
        status = 1
    far_end.close()
    os._exit(status)  # a thread may still write to a connection that takes nothing


class FarEnd:
    """The owner of one process for lessons, which tells the client at the other end about it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._writing = threading.Lock()
        self._answers: queue.SimpleQueue[FarMessage] = queue.SimpleQueue()
        self._process: Process | None = None
        self.is_suspended = False
        """Whether the tutor is, which then gives no sign of life."""

    def serve(self, lines: Iterator[bytes]) -> None:
        """Do the requests on the lines. Never blocks: else silence could not be noticed."""
        self._write(Hello.here().to_line())
        threading.Thread(target=self._answer_on, daemon=True).start()
        for line in lines:
            message = far_message_from_line(line, Command)
            if isinstance(message, FarMessage):
                self._do(message)
            elif (process := self._process) is not None:  # a thread sees its end
                process.send(message)

    def close(self) -> None:
        """End the process, and everything that lessons have started in it."""
        if (process := self._process) is not None:
            process.end(0)

    def _do(self, message: FarMessage) -> None:
        process = self._process
        match message:
            case StartProcess(number):
                self._start(number)
            case Ping():
                self._answers.put(Pong())
            case ListDevices():
                threading.Thread(target=self._list_devices, daemon=True).start()
            case SignalProcess(number, is_to_all=True) if process is not None:
                self.is_suspended = number == signal.SIGSTOP
                process.signal_all(signal.Signals(number))
            case SignalProcess() if process is not None:
                process.interrupt()
            case DumpStack() if process is not None:
                threading.Thread(target=self._dump, args=(process,), daemon=True).start()
            case KillProcess() if process is not None:
                process.kill()

    def _start(self, number: int) -> None:
        if (process := self._process) is not None:
            process.kill()
        try:
            process = Process()
        except EngineError as error:
            self._answers.put(ProcessOver(number, 1, "", "", Remark.of(error)))
            return
        with self._writing:
            self._process = process
        threading.Thread(target=self._follow, args=(process, number), daemon=True).start()

    def _follow(self, process: Process, number: int) -> None:
        """Pass the events of a process on, and then its end."""
        status = process.follow(lambda event: self._write(to_line(event), process))
        over = ProcessOver(number, status, process.end_reason, process.error_text())
        self._write(to_line(over), process, is_last=True)

    def _dump(self, process: Process) -> None:
        process.dump_stack()
        self._answers.put(StackDumped(process.error_text()))

    def _list_devices(self) -> None:
        from tutor.training import devices  # noqa: PLC0415 - loads torch, which takes seconds

        found = tuple((name, devices.describe(name)) for name in devices.available())
        self._answers.put(DevicesListed(found))

    def _answer_on(self) -> None:
        while True:
            self._write(to_line(self._answers.get()))

    def _write(self, line: bytes, process: Process | None = None, *, is_last: bool = False) -> None:
        """Write a line, unless it is of a process that another has taken the place of.

        `is_last`: the line reports the end of the process. A later line of that process would be
        taken for one of the next process, and is not written.
        """
        with self._writing, suppress(OSError):  # nobody reads: the end of the input comes
            if process is None or process is self._process:
                if is_last:
                    self._process = None
                self._out.write(line)
                self._out.flush()
