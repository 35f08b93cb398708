"""The commands that come in from the app, read by a thread. Ends the process with its input.

The app may be gone by then without a word: what a lesson has started is ended from here, too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from typing import BinaryIO

from tutor.protocol.messages import AnyCommand, EndProcess, FramePainted, command_from_line


class Inbox:
    """Commands as they come in, read by a thread."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._waiting: deque[AnyCommand] = deque()
        self._arrived = threading.Condition()
        self.taken = False
        """Whether the app has painted: its first screen, and then the last frame."""
        threading.Thread(target=self._read_on, name="inbox", daemon=True).start()

    def __bool__(self) -> bool:
        """Whether a command waits."""
        return bool(self._waiting)

    def peek(self) -> AnyCommand:
        """The next command, left where it is. There must be one."""
        return self._waiting[0]

    def next(self) -> AnyCommand:
        """The next command; waits for it."""
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._waiting))
            return self._waiting.popleft()

    def wait_until_painted(self) -> None:
        """Wait for the first Taken."""
        with self._arrived:
            self._arrived.wait_for(lambda: self.taken)

    def _read_on(self) -> None:
        try:
            self._read_all()
        finally:  # a lesson has closed the descriptor, say: nothing could be asked any more
            os._exit(1)

    def _read_all(self) -> None:
        for line in self._source:
            command = command_from_line(line)
            if isinstance(command, EndProcess):
                break
            with self._arrived:
                if isinstance(command, FramePainted):
                    self.taken = True
                else:
                    self._waiting.append(command)
                self._arrived.notify()
        # The app is gone. The main thread may be deep in a lesson's endless loop.
        if os.getpgrp() == os.getpid():  # then nobody else is in the group
            os.killpg(0, signal.SIGKILL)
        os._exit(0)
