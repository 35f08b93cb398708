"""The process of another rank, as rank 0 has it, and what the two tell each other."""

from __future__ import annotations

import io
import marshal
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Pipe
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore
from torch.distributed import init_process_group  # by name: a script has another one

from tutor.protocol.frame import Remark
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Program
from tutor.training.time_limit import for_the_main_thread_alone

FOLLOWER = "tutor.engine.follower"
"""The module that a follower runs. It is only named here: it stands above this one."""

UNCLEAN = ("process", 0)
"""An entry in the list of released numbers that asks a rank for more: to undo all that lessons have
done to its process."""

WHERE = "where"
"""The request for the Whereabouts of a rank's main thread."""

COLLECTIVE_SECONDS = 60.0
"""Seconds in which the ranks have to join, and an operation of NCCL has to end.

The watch can't see that an operation of NCCL waits, because the GPU does the waiting.
"""
HALT = timedelta(days=1)
"""The time that the ranks may stand still within an operation of gloo (Ctrl+Z, a machine asleep).

To gloo, that is time in which another rank does not answer. What waits in vain is ended by the
watch, which doesn't count it.
"""
_GONE = 10.0
"""Seconds in which a process that has closed its connection ends."""
_CPU_SECONDS = 0.002
"""Processor time that a thread that waits may take between two looks at it.

One that computes gets more, on a very busy machine, too.
"""

_HAS_CLOCK = hasattr(time, "pthread_getcpuclockid")
_TORCH = str(Path(torch.__file__).parent) + os.sep
_WAITS = _TORCH if _HAS_CLOCK else _TORCH + "distributed"
"""The files whose functions may wait: where nobody knows whether they compute, only these."""
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def to_bytes(message: object) -> bytes:
    """A message to another rank: pickled, compiled code too."""
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol=5)
    pickler.dispatch_table = {CodeType: lambda code: (marshal.loads, (marshal.dumps(code),))}
    pickler.dump(message)
    return out.getvalue()


# ── Reports of ranks ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The place of a rank's main thread at one moment."""

    line: int | None
    """The line in the lesson's file; None if none of its code runs."""
    outer_line: int | None
    """The line of the phase that runs: the first one, if it calls a function of the lesson."""
    operation: str
    """The function of torch's that was called from there; empty if it is not in any."""
    seconds: float
    """The processor's time that the thread has taken."""

    @classmethod
    def of(cls, filename: str) -> Whereabouts:
        """The place of this process's main thread, as far as it runs code of this file."""
        main = threading.main_thread()
        frame, operation = sys._current_frames().get(main.ident or 0), ""
        is_in_torch = frame is not None and frame.f_code.co_filename.startswith(_WAITS)
        line = outer_line = None
        while frame is not None:
            if frame.f_code.co_filename == filename:
                outer_line = frame.f_lineno
                line = line or outer_line
            elif line is None and frame.f_code.co_name != "wrapper":  # around each operation
                operation = frame.f_code.co_name
            frame = frame.f_back
        seconds = 0.0
        if _HAS_CLOCK and main.ident:
            seconds = time.clock_gettime(time.pthread_getcpuclockid(main.ident))
        return cls(line, outer_line, operation if is_in_torch else "", seconds)

    def is_waiting_since(self, before: Whereabouts | None) -> bool:
        """Whether the thread has done nothing but wait in torch since an earlier moment."""
        return (
            before is not None
            and self.operation != ""
            and (self.line, self.operation) == (before.line, before.operation)
            and self.seconds - before.seconds < _CPU_SECONDS
        )


def let_stand_still(group: dist.ProcessGroup | None) -> None:
    """Let all the processes of a group that uses gloo on the CPU halt for a time."""
    assert group is not None
    group._get_backend(torch.device("cpu"))._set_default_timeout(HALT)


@contextmanager
def without_output() -> Iterator[None]:
    """A span in which nothing reaches standard output: gloo prints a line there in torch 2.9."""
    try:
        kept = os.dup(1)
    except OSError:  # a lesson has closed it
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@dataclass(frozen=True, slots=True)
class Joining:
    """The rank, size and port with which a follower joins the group."""

    rank: int
    size: int
    port: int
    backend: str

    def join(self, store: TCPStore | None = None) -> None:
        """Make the process group; waits until all ranks have come to this."""
        patience = timedelta(seconds=COLLECTIVE_SECONDS)
        store = store or TCPStore("127.0.0.1", self.port, None, False, timeout=patience)
        before = os.environ.get("GLOO_SOCKET_IFNAME")
        os.environ["GLOO_SOCKET_IFNAME"] = _LOOPBACK
        try:
            with without_output():
                init_process_group(
                    self.backend,
                    store=store,
                    rank=self.rank,
                    world_size=self.size,
                    timeout=patience,
                )
            let_stand_still(dist.group.WORLD)
        finally:
            del os.environ["GLOO_SOCKET_IFNAME"]
            if before is not None:
                os.environ["GLOO_SOCKET_IFNAME"] = before


class Request(NamedTuple):
    """A request of rank 0 to another rank."""

    name: str
    """A method of FollowerLoops; or WHERE, whose argument is the file of the lesson's code."""
    arguments: tuple[Any, ...]
    released: tuple[tuple[str, int], ...] = ()
    """The kinds and numbers of loops and snapshots that are needed no more; UNCLEAN among them."""


@dataclass(frozen=True, slots=True)
class RankFailure:
    """A rank that raised an error, ended, or waits for one that does not come."""

    rank: int
    error: Remark
    line: int | None = None
    phase: str = ""
    """Empty for the phase that ran."""
    stopped: bool = False
    outer_line: int | None = None
    """The line that says which phase ran, where many were run as one piece."""

    def as_error(self, program: Program, phase: str) -> LessonRaised:
        """The failure as an error of the lesson, on the phase's first line if no other is known."""
        found = program.phase_of_line(self.outer_line) if self.outer_line else ""
        name = self.phase or found or phase
        parts = (program.setup, *program.loop, program.report)
        lines = [min(p.lines) for p in parts if p is not None and p.name == name and p.lines]
        line = self.line or next(iter(lines), None)
        return LessonRaised(program, name, line, self.error, self.stopped)


@dataclass(frozen=True, slots=True)
class FollowerAnswer:
    """The answer of a follower to a request: a result, or the error that was met."""

    result: Any = None
    output: str = ""
    """The text that its code has printed meanwhile."""
    raised: RankFailure | None = None
    refused: tuple[str, dict[str, Any]] | None = None
    """The code and the values of a refusal."""


# ── One follower ────────────────────────────────────────────────────────────────────


class FollowerProcess:
    """The process of one other rank, as rank 0 has it."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.answer: FollowerAnswer | None = None
        self.is_ready = False
        self.here: Whereabouts | None = None
        self.before: Whereabouts | None = None
        self.is_asked = False
        """Whether it has been asked where it is, and has not said so yet."""
        self._receiving = threading.Lock()
        """Also held while the files are closed: the watch may be looking at them."""
        self._sending = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.pipe, theirs = Pipe()
        # All that is loaded stays: to look for garbage meanwhile takes a tenth longer.
        code = f"import gc; gc.disable(); from {FOLLOWER} import main; main({theirs.fileno()})"
        with for_the_main_thread_alone():  # it takes no signal before it can handle it
            self.process = subprocess.Popen(
                (sys.executable, "-P", "-c", code),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
            )
        theirs.close()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def send(self, message: bytes) -> None:
        """Send it a message."""
        with self._sending, suppress(OSError):  # it has ended, which the watch sees
            self.pipe.send_bytes(message)

    def ask_where(self, filename: str) -> None:
        """Ask it where it is, unless it is still being sent a request, which may take long."""
        if self._sending.acquire(blocking=False):
            try:
                self.is_asked = True
                with suppress(OSError):  # as above
                    self.pipe.send_bytes(to_bytes(Request(WHERE, (filename,))))
            finally:
                self._sending.release()

    def receive(self) -> bool:
        """Take in what it has sent; False if it can't send any more."""
        with self._receiving, suppress(OSError, EOFError):
            while self.pipe.poll(0):
                message = pickle.loads(self.pipe.recv_bytes())
                if isinstance(message, Whereabouts):
                    self.before, self.here, self.is_asked = self.here, message, False
                elif isinstance(message, FollowerAnswer):
                    self.answer = message
                else:
                    self.is_ready = True
            return True
        return False

    def error_text(self) -> str:
        """The end of its error output."""
        with self._receiving:
            if self._errors.closed:  # with the group, by another thread
                return ""
            file = self._errors.fileno()
            size = os.fstat(file).st_size
            return os.pread(file, 2**16, max(size - 2**16, 0)).decode(errors="replace")

    def last_lines(self, filename: str) -> list[int]:
        """The lines of the lesson in the last stack that it wrote, as it does when it ends.

        The line that was reached comes first, that of the phase last.
        """
        stack = self.error_text().rpartition("most recent call first")[2]
        name = re.escape(filename.encode("ascii", "backslashreplace").decode())
        return [int(line) for line in re.findall(rf'File "{name}", line (\d+)', stack)]

    def how_ended(self) -> Remark:
        """The way in which it ended."""
        try:
            status = self.process.wait(_GONE)
        except subprocess.TimeoutExpired:
            return Remark("closed_connection")
        if status >= 0:
            return Remark("exited", {"status": status})
        name = f"signal {-status}"
        with suppress(ValueError):
            name = signal.Signals(-status).name
        return Remark("killed", {"signal": name})

    def end(self) -> None:
        """Kill it."""
        self.process.kill()

    def close(self) -> None:
        """Kill it, and wait until it is gone."""
        self.end()
        self.process.wait()
        with self._receiving, self._sending:
            self.pipe.close()
            self._errors.close()
