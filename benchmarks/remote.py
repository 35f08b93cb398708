"""An engine over ssh against one on this machine: a key's time and bytes, a run's throughput.

    python -m benchmarks.remote [ROUNDS]

A real sshd on a loopback port, over lines that take 0, 50 and 200 ms there and back. A key is one
phase, from the command to its frame; bytes are those on the line, ssh's own among them. The
throughput is that between the first and the last frame that come during a run.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tests.far_machine import HOST, Line, running_sshd
from tests.terminal import TUTOR
from tutor.engine.client import EngineClient
from tutor.lesson.document import read
from tutor.protocol.commands import Command, FramePainted, OpenLesson, Restart, RunTo, StepPhase
from tutor.protocol.events import EngineReady, Event, FrameShown

LESSON = Path(__file__).parents[1] / "lessons" / "thermometer.md"
DELAYS = (0, 50, 200)
"""Milliseconds there and back."""
KEYS = 20
EPOCHS = 60_000
"""So many that the round trips at the start and the end of a run count little."""


class Engine:
    """An engine with the lesson open, here or over a line."""

    def __init__(self, line: Line | None = None) -> None:
        self._line = line
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.client = EngineClient(host=HOST if line else "")
        self.client.start(self._events.put)
        while not isinstance(self._events.get(), EngineReady):
            pass
        self.ask(OpenLesson(lesson=read(LESSON), mode="autograd"))

    def ask(self, command: Command) -> list[tuple[float, int]]:
        """Do a command; the time and the epoch of each frame that came before the answer."""
        number = self.client.send(command)
        frames = []
        while (event := self._events.get()).answers != number:
            if isinstance(event, FrameShown):
                frames.append((time.perf_counter(), event.frame.at.epoch))
                self.client.send(FramePainted())
        return frames

    def milliseconds_a_key(self) -> float:
        """The mean of some phases, each asked for when the one before is answered."""
        started = time.perf_counter()
        for _ in range(KEYS):
            self.ask(StepPhase())
        return (time.perf_counter() - started) * 1000 / KEYS

    def epochs_a_second(self) -> float:
        """From the first frame of a run to its last on the way."""
        self.ask(Restart())
        frames = self.ask(RunTo(epoch=EPOCHS))
        (since, first), (until, last) = frames[0], frames[-1]
        return (last - first) / (until - since)

    def bytes_a_key(self) -> float:
        """In both directions."""
        assert self._line is not None
        before = self._line.carried
        self.milliseconds_a_key()
        return (self._line.carried - before) / KEYS


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sshd = stack.enter_context(running_sshd(folder))
        os.environ["TUTOR_REMOTE"] = str(TUTOR)
        engines = {"here": Engine()}
        for delay in DELAYS:
            line = Line(sshd.port, delay / 2000)
            os.environ["TUTOR_SSH"] = sshd.ssh(line.port)
            engines[f"over ssh, {delay} ms"] = Engine(line)
        for engine in engines.values():
            stack.callback(engine.client.close)
        keys: dict[str, list[float]] = {name: [] for name in engines}
        runs: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, engine in engines.items():
                keys[name].append(engine.milliseconds_a_key())
                runs[name].append(engine.epochs_a_second())
        print_table("a key, to its frame", "ms", keys, "here", min)
        print_table(f"a run of {EPOCHS} epochs", "epochs/s", runs, "here", max)
        for name, engine in list(engines.items())[1:]:
            print(f"{name}: {engine.bytes_a_key():.0f} bytes a key")


if __name__ == "__main__":
    with own_home():
        main()
